//! Decisions over values that are not inline (E17). The coordinator never holds such values: an agent looks at them, and what
//! comes back is small. The attempt is one like any other; its result is the decision.

use std::sync::Arc;

use super::branch::{ITEMS, OPEN, SECOND, refused};
use super::control::PORT;
use super::{Body, Lists, Run, Values};
use crate::condition::Condition;
use crate::condition::question::{ANSWER_PORT, Answer, Asked, Asks, Items, LIST_PORTS, Question};
use crate::fault::{Fault, is_planted};
use crate::graph::{Logic, ScopeKind};
use crate::id::{Instance, PortIx};
use crate::limits;
use crate::node_type::Runner;
use crate::partition::io::QUESTION_ITEMS;
use crate::run::event::{NodeError, OutputValue, Piece, PortOutput, Verdict};
use crate::value::{Value, ValueRef};

/// Who can look at the values that a node is decided by.
pub(super) enum Reach {
    /// The coordinator, at once.
    Here,
    /// An agent.
    Agent,
    /// Nobody.
    Nowhere(NodeError),
}

impl Run {
    /// Whether these values are more than the coordinator looks at for one node.
    pub(crate) fn is_too_much_at_once(wanted: &[ValueRef]) -> bool {
        // What is longer lies in the artifact store, and only its description is read.
        let inline = wanted.iter().map(|reference| reference.bytes as usize);
        let bytes: usize = inline.filter(|bytes| *bytes <= limits::INLINE_VALUE_BYTES_MAX).sum();
        wanted.len() > limits::EXPRESSION_VALUES_MAX || bytes > limits::EXPRESSION_VALUES_BYTES_MAX
    }

    /// Whether the coordinator does not look at all of these values; `values` are those at hand, fewer if they are too much.
    pub(super) fn needs_agent(wanted: &[ValueRef], values: &Values) -> bool {
        Self::is_too_much_at_once(wanted) || wanted.iter().any(|reference| is_large(reference, values))
    }

    /// Who can look at the values that a node is decided by; `values` are those at hand, fewer if they are too much.
    pub(super) fn reach(&self, instance: Instance, values: &Values, lists: &Lists) -> Reach {
        let wanted = self.needs_to_decide(instance, values, lists).values;
        if !Self::needs_agent(&wanted, values) {
            return Reach::Here;
        }
        let bytes =
            wanted.iter().filter(|reference| is_large(reference, values)).map(|it| u64::from(it.bytes)).sum::<u64>();
        // What lies in the chunks of a list is counted where it is read.
        let count: usize = self.question(instance).map_or(0, |(_, arriving)| {
            let values = arriving.iter().flat_map(|(_, value)| value.pieces());
            values.filter(|piece| matches!(piece, Piece::Item(_))).count()
        });
        if count <= limits::DELEGATED_VALUES_MAX && bytes <= limits::DELEGATED_VALUES_BYTES_MAX {
            return Reach::Agent;
        }
        let (count, bytes) = (limits::DELEGATED_VALUES_MAX, limits::DELEGATED_VALUES_BYTES_MAX);
        let message = format!(
            "its conditions look at more than {count} values or {bytes} bytes; have a node before it take out what matters, or put \
             them into the body of a logic:map, where they look at one item at a time"
        );
        Reach::Nowhere(refused("values_too_large", message))
    }

    /// Whether an attempt of this node is a question to an agent, and its result a decision.
    pub(super) fn is_delegated(&self, instance: Instance) -> bool {
        matches!(self.graph.node(instance.node).runner, Runner::Control(_))
    }

    /// What an agent is asked for a node that decides by values, and the values that it looks at, each with its number;
    /// `None` for other nodes.
    pub(crate) fn question(&self, instance: Instance) -> Option<(Question, Vec<(PortIx, OutputValue)>)> {
        let node = self.graph.node(instance.node);
        let logic = node.logic.as_deref().filter(|_| self.is_delegated(instance))?;
        let (mut arriving, mut at) = (Vec::new(), instance);
        let text = |condition: &Condition| condition.text().to_owned();
        let asks = match logic {
            Logic::If(condition) => Asks::Cases { conditions: vec![text(condition)], all: false },
            Logic::Switch { cases, all } => Asks::Cases { conditions: cases.iter().map(text).collect(), all: *all },
            Logic::Gate => Asks::Gate,
            Logic::Filter(condition) => {
                let (items, value) = self.items(instance);
                arriving.extend(value.map(|value| (QUESTION_ITEMS, value)));
                Asks::Filter { condition: text(condition), items }
            }
            Logic::Scope(scope) => {
                let ScopeKind::Loop { until, score, .. } = &scope.kind else { return None };
                // It looks at what is in its turn.
                at.scope = self.state.expansions.get(&instance)?.turn;
                Asks::Turn { until: until.as_deref().map(text), score: score.as_deref().map(text) }
            }
            Logic::Pass
            | Logic::Merge { .. }
            | Logic::Race { .. }
            | Logic::Stop { .. }
            | Logic::Split(_)
            | Logic::Review(_)
            | Logic::Listen(_)
            | Logic::Invoke(_) => {
                return None;
            }
        };
        let mut needs: Vec<_> = match logic {
            Logic::Gate => vec![OPEN],
            Logic::Scope(scope) => scope.conditions().flat_map(Condition::needs).copied().collect(),
            _ => logic.conditions().iter().flat_map(Condition::needs).copied().collect(),
        };
        needs.sort_unstable();
        needs.dedup();
        let values = needs.into_iter().zip(0..).map(|(need, place)| {
            let name = self.name_of(instance.node, need);
            match self.needed(at, need) {
                Some(value) => {
                    arriving.push((PortIx(place), value));
                    Asked { name, arrives: true, constant: serde_json::Value::Null }
                }
                None => Asked { name, arrives: false, constant: self.constant(instance.node, need) },
            }
        });
        let values = values.collect();
        Some((Question { node: node.id.to_string(), asks, values, run: self.shown_to_conditions() }, arriving))
    }

    /// Where the items of a filter come from, and what brings them.
    fn items(&self, at: Instance) -> (Items, Option<OutputValue>) {
        match (self.alone(at), self.input_value(at, PORT)) {
            (Some(one), given) => {
                let or_alone = matches!(given, Some(OutputValue::Gather(_)));
                (Items::Within { or_alone }, Some(OutputValue::One(one)))
            }
            (None, Some(given @ (OutputValue::One(_) | OutputValue::List(_)))) => {
                (Items::Within { or_alone: true }, Some(given))
            }
            // Where its items lie is not at hand when the answer comes.
            (None, Some(given @ OutputValue::Pieces(_))) => (Items::Long, Some(given)),
            // The places of those that are kept would be no small answer.
            (None, Some(OutputValue::Gather(items))) if items.len() > limits::EXPRESSION_VALUES_MAX => {
                (Items::Long, Some(OutputValue::Gather(items)))
            }
            (None, Some(given)) => (Items::Each, Some(given)),
            (None, None) => (Items::Constant(self.constant(at.node, ITEMS)), None),
        }
    }

    /// What comes of a turn of a loop, by what an agent found out.
    pub(super) fn delegated_verdict(
        &self,
        instance: Instance,
        values: &[(Arc<str>, Value)],
    ) -> Option<Result<Verdict, NodeError>> {
        let scope = self.graph.scope(instance.node)?;
        let ScopeKind::Loop { until, score: worth, .. } = &scope.kind else { return Some(Err(bad_answer())) };
        Some(match read_answer(values) {
            Some(Answer::Turn { ends, score }) => {
                let score = score.map(f64::from_bits);
                let is_sound = (until.is_some() || !ends)
                    && worth.is_some() == score.is_some()
                    && score.is_none_or(|score| !score.is_nan());
                if is_sound { Ok(Verdict { ends, score }) } else { Err(bad_answer()) }
            }
            _ => Err(bad_answer()),
        })
    }

    /// What a node gives, by what an agent found out.
    pub(super) fn delegated_outputs(
        &self,
        instance: Instance,
        values: Vec<(Arc<str>, Value)>,
        body: &mut Body,
    ) -> Result<Vec<PortOutput>, NodeError> {
        let bad = bad_answer;
        let answer = read_answer(&values).ok_or_else(bad)?;
        let logic = self.graph.node(instance.node).logic.as_deref().ok_or_else(bad)?;
        match (logic, answer) {
            (Logic::If(_) | Logic::Switch { .. } | Logic::Gate, Answer::Taken(places)) => {
                let most = match logic {
                    Logic::Switch { cases, all: true } => cases.len(),
                    _ => 1,
                };
                let count = logic.conditions().len().max(1);
                let is_sound = places.len() <= most && are_places(&places, count);
                let is_heard = is_sound && !is_planted(Fault::AnswerNotHeard);
                let holding: Vec<PortIx> = places.into_iter().filter(|_| is_heard).map(PortIx).collect();
                if !is_sound {
                    return Err(bad());
                }
                Ok(self.open(instance, &taken(logic, holding), body))
            }
            (Logic::Filter(_), Answer::Kept(places)) => {
                let items = match (self.alone(instance), self.input_value(instance, PORT)) {
                    (Some(one), _) | (None, Some(OutputValue::One(one) | OutputValue::List(one))) => vec![one],
                    (None, Some(OutputValue::Gather(references))) => references,
                    (None, _) => return Err(bad()),
                };
                if !are_places(&places, items.len()) {
                    return Err(bad());
                }
                let is_kept = |place: &(usize, ValueRef)| places.binary_search(&(place.0 as u32)).is_ok();
                let (kept, dropped): (Vec<_>, Vec<_>) = items.into_iter().enumerate().partition(is_kept);
                let list = |items: Vec<(usize, ValueRef)>| {
                    OutputValue::Gather(items.into_iter().map(|(_, reference)| reference).collect())
                };
                Ok(both(list(kept), list(dropped)))
            }
            (Logic::Filter(_), Answer::Divided) => {
                let mut list = |port: &str| {
                    let value = given(&values, port).ok_or_else(bad)?;
                    super::admit::check_size(port, value)?;
                    Ok(OutputValue::One(body.put(value.clone())))
                };
                let [kept, dropped] = LIST_PORTS;
                Ok(both(list(kept)?, list(dropped)?))
            }
            _ => Err(bad()),
        }
    }
}

fn given<'a>(values: &'a [(Arc<str>, Value)], port: &str) -> Option<&'a Value> {
    values.iter().find(|(known, _)| **known == *port).map(|(_, value)| value)
}

fn read_answer(values: &[(Arc<str>, Value)]) -> Option<Answer> {
    let answer = given(values, ANSWER_PORT).filter(|value| value.artifact().is_none())?;
    serde_json::from_slice(answer.json()).ok()
}

fn bad_answer() -> NodeError {
    let message = "the agent's answer makes no sense; bring coordinator and agents to one build".to_owned();
    refused("bad_answer", message)
}

/// The outputs that are taken when these conditions of a node hold.
pub(super) fn taken(logic: &Logic, holding: Vec<PortIx>) -> Vec<PortIx> {
    match logic {
        Logic::If(_) => vec![if holding.is_empty() { SECOND } else { PORT }],
        Logic::Switch { cases, .. } if holding.is_empty() => vec![PortIx(cases.len() as u16)],
        _ => holding,
    }
}

/// Whether a value at hand is JSON in the artifact store. Of a file only the description is read.
fn is_large(reference: &ValueRef, values: &Values) -> bool {
    values.get(reference).and_then(Value::artifact).is_some_and(|artifact| artifact.is_json)
}

/// Places in ascending order, each once, of so many.
fn are_places<T: Copy + Ord + Into<u32>>(places: &[T], count: usize) -> bool {
    let is_last_known = places.last().is_none_or(|place| ((*place).into() as usize) < count);
    is_last_known && places.windows(2).all(|pair| pair[0] < pair[1])
}

fn both(kept: OutputValue, dropped: OutputValue) -> Vec<PortOutput> {
    vec![PortOutput { port: PORT, value: kept }, PortOutput { port: SECOND, value: dropped }]
}
