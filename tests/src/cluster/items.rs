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

/// What an event, or a part of one, is about.
pub fn place(about: &Value) -> Place {
    let index = about["index"].as_array().into_iter().flatten().map(Value::to_string);
    (about["nodeId"].as_str().unwrap_or_default().to_owned(), index.collect::<Vec<_>>().join("."))
}

/// The attempts that the run's history says were lost, and of each the agent that had it.
pub fn lost(events: &[Value]) -> BTreeMap<(Place, u64), String> {
    let of = |about: &Value| (place(about), about["attempt"].as_u64().unwrap_or_default());
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
        let events = [
            json!({ "type": "run.started", "assigned": [
                { "nodeId": "w", "index": [1], "attempt": 1, "agentId": "a" },
                { "nodeId": "w", "index": [1, 6], "attempt": 1, "agentId": "b" },
            ] }),
            json!({ "type": "attempt.lost", "nodeId": "w", "index": [1, 6], "attempt": 1 }),
        ];
        assert_eq!(place(&json!({ "nodeId": "out" })), ("out".to_owned(), String::new()));
        let wanted = ((("w".to_owned(), "1.6".to_owned()), 1), "b".to_owned());
        assert_eq!(lost(&events).into_iter().collect::<Vec<_>>(), [wanted]);
    }
}
