//! What effect nodes in maps and loops have written down outside of the cluster, and which items a run's events are about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Cluster;

/// A node in one item: its id, and the numbers of the items and turns that it lies in, the outermost first, as `3.0`; empty
/// outside of all.
pub type Place = (String, String);

/// One line that an effect node has written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    /// Of which run.
    pub execution: String,
    /// Of which node in which item.
    pub place: Place,
    /// By which attempt.
    pub attempt: u64,
}

impl Effect {
    /// Reads a line; `None` if it is none, as the last one of a process that was killed while it wrote it.
    fn read(line: &str) -> Option<Self> {
        let (line, index) = line.split_once(" @").unwrap_or((line, ""));
        let mut words = line.split(' ');
        let (execution, node, attempt) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?);
        Some(Self { execution, place: (node, index.to_owned()), attempt: attempt.parse().ok()? })
    }
}

impl Cluster {
    /// The lines of an effects file.
    pub fn witnessed(&self, file: &str) -> Vec<Effect> {
        self.effects(file).iter().filter_map(|line| Effect::read(line)).collect()
    }
}

/// The attempts that did the same node of the same item of one run, by place.
pub fn attempts(effects: &[Effect]) -> BTreeMap<Place, Vec<u64>> {
    let mut attempts: BTreeMap<Place, Vec<u64>> = BTreeMap::new();
    for effect in effects {
        attempts.entry(effect.place.clone()).or_default().push(effect.attempt);
    }
    attempts
}

/// Which item or turn each number of a scope stands for: of whose, and which one.
#[derive(Debug, Default)]
pub struct Scopes(BTreeMap<u64, (u64, u64)>);

impl Scopes {
    /// All that the events of a run open.
    pub fn of(events: &[Value]) -> Self {
        let mut scopes = Self::default();
        events.iter().for_each(|event| scopes.note(event));
        scopes
    }

    /// Those that one event opens.
    pub fn note(&mut self, event: &Value) {
        for opened in event["decided"].as_array().into_iter().flatten() {
            let (Some(first), Some(from)) = (opened["firstScope"].as_u64(), opened["from"].as_u64()) else { continue };
            let outside = opened["scope"].as_u64().unwrap_or_default();
            let items = opened["items"].as_u64().unwrap_or_default();
            self.0.extend((0..items).map(|step| (first + step, (outside, from + step))));
        }
    }

    /// What an event, or a part of one, is about.
    pub fn place(&self, about: &Value) -> Place {
        let mut index = Vec::new();
        let mut scope = about["scope"].as_u64().unwrap_or_default();
        while let Some((outside, number)) = self.0.get(&scope) {
            index.push(number.to_string());
            scope = *outside;
        }
        index.reverse();
        (about["nodeId"].as_str().unwrap_or_default().to_owned(), index.join("."))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The attempts that the run's history says were lost, and of each the agent that had it.
pub fn lost(events: &[Value]) -> BTreeMap<(Place, u64), String> {
    let scopes = Scopes::of(events);
    let of = |about: &Value| (scopes.place(about), about["attempt"].as_u64().unwrap_or_default());
    let assigned = events.iter().flat_map(|event| event["assigned"].as_array().into_iter().flatten());
    let agents: BTreeMap<_, _> =
        assigned.map(|about| (of(about), about["agentId"].as_str().unwrap_or_default().to_owned())).collect();
    let lost: BTreeSet<_> = events.iter().filter(|event| event["type"] == "attempt.lost").map(of).collect();
    agents.into_iter().filter(|(attempt, _)| lost.contains(attempt)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_whose_work_it_is() {
        let effect = |node: &str, index: &str, attempt| {
            Some(Effect { execution: "run".into(), place: (node.into(), index.into()), attempt })
        };
        assert_eq!(Effect::read("run work 2 @17.0"), effect("work", "17.0", 2));
        assert_eq!(Effect::read("run work 1"), effect("work", "", 1));
        assert_eq!(Effect::read("run wo"), None);
    }

    #[test]
    fn events_say_which_items_they_are_about() {
        let opened = |first: u64, from: u64, scope: u64| json!({ "nodeId": "m", "scope": scope, "firstScope": first, "from": from, "items": 2 });
        let events = [
            json!({ "type": "run.started", "decided": [opened(1, 0, 0)], "assigned": [
                { "nodeId": "w", "scope": 2, "attempt": 1, "agentId": "a" },
            ] }),
            json!({ "type": "attempt.lost", "nodeId": "w", "scope": 2, "attempt": 1, "decided": [opened(3, 5, 2)] }),
        ];
        let scopes = Scopes::of(&events);
        let place = |scope: u64| scopes.place(&json!({ "nodeId": "w", "scope": scope })).1;
        assert_eq!((scopes.len(), place(1), place(4)), (4, "0".to_owned(), "1.6".to_owned()));
        assert_eq!(scopes.place(&json!({ "nodeId": "out" })), ("out".to_owned(), String::new()));
        let wanted = ((("w".to_owned(), "1".to_owned()), 1), "a".to_owned());
        assert_eq!(lost(&events).into_iter().collect::<Vec<_>>(), [wanted]);
    }
}
