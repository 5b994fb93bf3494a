//! Reads the configs of maps, loops and what is built on them.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::logic::Reader;
use super::problem::{Problem, join, rule, shown};
use super::scope::{Scope, ScopeKind, Select};
use crate::control_types::scope::{looping, map, reduce};
use crate::id::PortIx;
use crate::limits;
use crate::policy::OnItemError;

impl Reader<'_> {
    pub(super) fn map(&self, report: &mut dyn FnMut(Problem)) -> Result<Scope, Problem> {
        let window = self.number("concurrency", 1..=limits::SCOPE_WINDOW_MAX);
        let batch = self.number("batchSize", 1..=limits::BATCH_ITEMS_MAX);
        let (window, batch) = match (window, batch) {
            (Ok(window), Ok(batch)) => (window.unwrap_or(limits::SCOPE_WINDOW), batch),
            (Err(problem), Err(other)) => {
                report(other.node(&self.node.id));
                return Err(problem);
            }
            (Err(problem), _) | (_, Err(problem)) => return Err(problem),
        };
        let on_item_error = match self.word("onItemError", &["fail", "skip", "collect"])? {
            "skip" => OnItemError::Skip,
            "collect" => OnItemError::Collect,
            _ => OnItemError::Fail,
        };
        Ok(Scope {
            kind: ScopeKind::Map { window, on_item_error: Some(on_item_error), batch },
            lists: vec![(map::ITEMS, map::ITEM)],
            index: Some(map::INDEX),
            results: vec![(map::RESULT, map::RESULTS)],
            errors: Some(map::ERRORS),
        })
    }

    pub(super) fn looping(&self, report: &mut dyn FnMut(Problem)) -> Result<Scope, Problem> {
        let mut optional = |key: &str| match self.config.get(key) {
            None | Some(Value::Null) => None,
            value => match self.expression(value, key, &join(&(self.path)(), key)) {
                Ok(condition) => Some(condition),
                Err(problem) => {
                    report(problem.node(&self.node.id));
                    None
                }
            },
        };
        let (until, score) = (optional("until").map(Box::new), optional("score").map(Box::new));
        let select = match self.word("select", &["last", "best", "all"])? {
            "best" => Select::Best,
            "all" => Select::All,
            _ => Select::Last,
        };
        if select == Select::Best && self.config.get("score").is_none_or(Value::is_null) {
            let message = format!("Node \"{}\" selects the best turn, but has no score.", shown(&self.node.label));
            let fix = "Write score as a CEL expression that gives a number, such as \"result.score\".";
            return Err(Problem::new(rule::BAD_CONFIG, message, fix).at(join(&(self.path)(), "score")));
        }
        let turns_max = self.number("maxIterations", 1..=limits::LOOP_TURNS_MAX)?.unwrap_or(limits::LOOP_TURNS);
        Ok(Scope {
            kind: ScopeKind::Loop { until, score, turns_max, select },
            lists: Vec::new(),
            index: Some(looping::ITERATION),
            results: vec![(looping::RESULT, looping::ALL)],
            errors: None,
        })
    }

    pub(super) fn reduce(&self) -> Scope {
        Scope {
            kind: ScopeKind::Reduce,
            lists: vec![(reduce::ITEMS, reduce::ITEM)],
            index: Some(reduce::INDEX),
            results: Vec::new(),
            errors: None,
        }
    }

    pub(super) fn batch(&self) -> Result<Scope, Problem> {
        let size = self.number("size", 1..=limits::BATCH_ITEMS_MAX)?.ok_or_else(|| {
            let message = format!("Node \"{}\" needs size, a number.", shown(&self.node.label));
            let fix = "Write how many items each list shall have.";
            Problem::new(rule::BAD_CONFIG, message, fix).at(join(&(self.path)(), "size"))
        })?;
        Ok(Scope {
            kind: ScopeKind::Batch(size),
            lists: vec![(PortIx(0), PortIx(0))],
            index: None,
            results: vec![(PortIx(0), PortIx(0))],
            errors: None,
        })
    }

    /// A whole number, if the key is there.
    pub(super) fn number(&self, key: &str, bounds: RangeInclusive<u32>) -> Result<Option<u32>, Problem> {
        let given = match self.config.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(given) => given,
        };
        let number = given.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|it| bounds.contains(it));
        number.map(Some).ok_or_else(|| {
            let message = format!("{key} of node \"{}\" cannot be {}.", self.node.label, shown(&given.to_string()));
            let fix = format!("Write a whole number from {} to {}.", bounds.start(), bounds.end());
            Problem::new(rule::BAD_CONFIG, message, fix).at(join(&(self.path)(), key))
        })
    }
}
