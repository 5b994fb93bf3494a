//! Reads a run's history as anybody can over REST, folds it anew, and compares it with what the cluster says of the run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::graph::Graph;
use super::items::place;

/// What may still be written down after a run's end.
pub const BOOKKEEPING: &[&str] = &[
    "attempt.stopped",
    "attempt.discarded",
    "attempt.settled",
    "attempt.handle",
    "attempt.provider_cancelled",
    "attempt.provider_over",
    "attempt.provider_not_cancelled",
];

/// Everything that is wrong with a run that has ended, of a graph without bodies and branches.
pub fn problems(graph: &Graph, execution: &Value, events: &[Value]) -> Vec<String> {
    folded(Some(graph), execution, events)
}

/// Everything that is wrong with the history of any other run that has ended: each node of each item is looked at by itself.
/// What waits for what, and what is left of all items, is for the caller to look at.
pub fn problems_of_items(execution: &Value, events: &[Value]) -> Vec<String> {
    folded(None, execution, events)
}

fn folded(graph: Option<&Graph>, execution: &Value, events: &[Value]) -> Vec<String> {
    let mut fold = Fold { graph, nodes: BTreeMap::new(), ended: None, problems: Vec::new() };
    for (index, event) in events.iter().enumerate() {
        fold.step(index, event);
    }
    fold.compare(execution, events.len());
    let id = execution["id"].as_str().unwrap_or_default();
    fold.problems.iter().map(|problem| format!("{id}: {problem}")).collect()
}

struct Fold<'a> {
    /// If every node runs once, and after all that lead to it.
    graph: Option<&'a Graph>,
    /// By their names, which say in a body of which item they are.
    nodes: BTreeMap<String, Node>,
    ended: Option<&'static str>,
    problems: Vec<String>,
}

#[derive(Default)]
struct Node {
    attempts: u64,
    live: BTreeSet<u64>,
    /// The outputs that were committed, each with its place in the history.
    outputs: Vec<Value>,
    failed: bool,
}

impl Fold<'_> {
    fn step(&mut self, index: usize, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        if event["seq"] != index as u64 + 1 {
            self.say(format!("gap: event {} has seq {}", index + 1, event["seq"]));
        }
        if self.ended.is_some() && !BOOKKEEPING.contains(&kind) {
            self.say(format!("resurrection: {kind} at {} after the end", event["seq"]));
        }
        match kind {
            "node.completed" | "attempt.settled" => {
                self.gone(event);
                self.completed(event);
            }
            "timer.fired" => self.completed(event),
            // What a node gave that agents run was told before people looked at it.
            "review.decided" | "review.timed_out" => match event["state"].as_str() {
                Some("COMPLETED") if self.node(event).outputs.is_empty() => self.completed(event),
                Some("FAILED") => self.node(event).failed = true,
                _ => {}
            },
            "attempt.lost" if event["error"].is_null() => self.gone(event),
            "node.retrying" | "node.fallback" | "attempt.discarded" => self.gone(event),
            "node.failed" | "attempt.lost" => {
                self.gone(event);
                self.node(event).failed = true;
            }
            "attempt.handed_back" | "attempt.stopped" => {
                for attempt in list(event, "attempts") {
                    self.gone(attempt);
                }
            }
            "run.completed" => self.ended = Some("COMPLETED"),
            "run.failed" => self.ended = Some("FAILED"),
            "run.cancelled" => self.ended = Some("CANCELLED"),
            _ => {}
        }
        for decision in list(event, "decided") {
            match decision["state"].as_str() {
                Some("COMPLETED") => self.completed(decision),
                Some("FAILED") => self.node(decision).failed = true,
                _ => {}
            }
        }
        for assignment in list(event, "assigned") {
            self.assigned(assignment);
        }
    }

    fn node(&mut self, about: &Value) -> &mut Node {
        self.nodes.entry(named(about)).or_default()
    }

    fn gone(&mut self, about: &Value) {
        let attempt = about["attempt"].as_u64().unwrap_or_default();
        if !self.node(about).live.remove(&attempt) {
            self.say(format!("zombie-commit: attempt {attempt} of {} was not under way", named(about)));
        }
    }

    fn completed(&mut self, about: &Value) {
        self.node(about).outputs.push(about["outputs"].clone());
        if self.node(about).outputs.len() > 1 {
            self.say(format!("double-commit: {}", named(about)));
        }
        self.early(about, "completed");
    }

    fn assigned(&mut self, about: &Value) {
        let attempt = about["attempt"].as_u64().unwrap_or_default();
        let node = self.node(about);
        let is_next = attempt > node.attempts;
        let is_alone = node.live.insert(attempt) && node.live.len() == 1;
        let is_done = !node.outputs.is_empty();
        node.attempts = node.attempts.max(attempt);
        if !is_next || !is_alone || is_done {
            let why = if is_done { "it is completed" } else { "another attempt was given out" };
            self.say(format!("double-run: attempt {attempt} of {}, but {why}", named(about)));
        }
        self.early(about, "assigned");
    }

    /// Nothing starts before everything it takes is there.
    fn early(&mut self, about: &Value, what: &str) {
        let Some(graph) = self.graph else { return };
        let id = name(about);
        let is_there = |before: &&str| self.nodes.get(*before).is_some_and(|node| !node.outputs.is_empty());
        let missing: Vec<String> = graph.before(&id).filter(|before| !is_there(before)).map(str::to_owned).collect();
        if !missing.is_empty() {
            self.say(format!("early-start: {id} {what} before {}", missing.join(", ")));
        }
    }

    fn compare(&mut self, execution: &Value, events: usize) {
        let (status, seq) = (execution["status"].as_str(), execution["seq"].as_u64());
        if status != self.ended || seq != Some(events as u64) {
            let ended = self.ended;
            self.say(format!("fold: {status:?} at {seq:?}, but the history says {ended:?} at {events}"));
        }
        let Some(graph) = self.graph else { return };
        for shown in list(execution, "nodeRuns") {
            self.compare_node(shown, status == Some("COMPLETED"));
        }
        if list(execution, "nodeRuns").len() != graph.nodes().count() {
            self.say("fold: nodes are missing".to_owned());
        }
    }

    fn compare_node(&mut self, shown: &Value, is_whole: bool) {
        let (id, state) = (name(shown), shown["state"].as_str().unwrap_or_default());
        let node = self.nodes.entry(id.clone()).or_default();
        // What never began in a run that failed or was cancelled is as it was.
        let is_terminal = ["COMPLETED", "FAILED", "SKIPPED", "CANCELLED", "PENDING"].contains(&state);
        let agrees = (state == "COMPLETED") != node.outputs.is_empty() && (state == "FAILED") == node.failed;
        let is_same = node.outputs.iter().all(|outputs| is_same(outputs, &shown["output"]));
        let is_left = !node.live.is_empty();
        if !is_terminal || !agrees || (is_whole && state != "COMPLETED") {
            self.say(format!("fold: {id} is {state}, which its history does not give"));
        }
        if !is_same {
            self.say(format!("dirty-output: {id} shows {}, which its history does not give", shown["output"]));
        }
        if is_left && is_whole {
            self.say(format!("orphan: an attempt of {id} has no end"));
        }
    }

    fn say(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// The node's id, and in a body which item it is of.
fn named(about: &Value) -> String {
    match place(about) {
        (node, index) if index.is_empty() => node,
        (node, index) => format!("{node}@{index}"),
    }
}

fn name(about: &Value) -> String {
    about["nodeId"].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

/// Whether the outputs are the same; what an event says by reference is taken as it is.
fn is_same(told: &Value, shown: &Value) -> bool {
    match (told, shown) {
        (Value::Object(reference), _) if reference.contains_key("digest") => true,
        (Value::Object(told), Value::Object(shown)) => {
            told.len() == shown.len()
                && told.iter().all(|(port, value)| shown.get(port).is_some_and(|s| is_same(value, s)))
        }
        (Value::Array(told), Value::Array(shown)) => {
            told.len() == shown.len() && told.iter().zip(shown).all(|(told, shown)| is_same(told, shown))
        }
        _ => told == shown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph() -> Graph {
        let graph = Graph::default().node("a", "input:text", json!({})).node("b", "debug:echo", json!({}));
        graph.edge("a.text", "b.in")
    }

    fn started() -> Value {
        json!({
            "seq": 1, "type": "run.started", "decided": [{ "nodeId": "a", "state": "COMPLETED", "outputs": { "text": "x" } }],
            "assigned": [{ "nodeId": "b", "attempt": 1 }],
        })
    }

    fn completed(seq: u64, attempt: u64) -> Value {
        json!({ "seq": seq, "type": "node.completed", "nodeId": "b", "attempt": attempt, "outputs": { "out": "x" } })
    }

    fn ended(seq: u64) -> Value {
        json!({ "seq": seq, "type": "run.completed" })
    }

    fn execution(seq: u64, output: &str) -> Value {
        json!({ "id": "exec", "status": "COMPLETED", "seq": seq, "nodeRuns": [
            { "nodeId": "a", "state": "COMPLETED", "output": { "text": "x" } },
            { "nodeId": "b", "state": "COMPLETED", "output": { "out": output } },
        ] })
    }

    #[test]
    fn a_clean_history_has_no_problem() {
        let events = [started(), completed(2, 1), ended(3)];
        assert_eq!(problems(&graph(), &execution(3, "x"), &events), Vec::<String>::new());
    }

    #[test]
    fn what_people_decide_is_an_output() {
        let mut asked = started();
        asked["decided"] = json!([asked["decided"][0], { "nodeId": "b", "state": "WAITING", "reviewId": "rev" }]);
        asked["assigned"] = json!([]);
        let decided = json!({
            "seq": 2, "type": "review.decided", "nodeId": "b", "state": "COMPLETED", "outputs": { "out": "x" },
        });
        assert_eq!(problems(&graph(), &execution(3, "x"), &[asked, decided, ended(3)]), Vec::<String>::new());
    }

    #[test]
    fn each_item_has_a_history_of_its_own() {
        let assigned = |item: u64| json!({ "nodeId": "b", "index": [item], "attempt": 1 });
        let in_item = |seq: u64, item: u64| {
            let mut event = completed(seq, 1);
            event["index"] = json!([item]);
            event
        };
        let started = json!({ "seq": 1, "type": "run.started", "assigned": [assigned(0), assigned(1)] });
        let events = |item: u64| [started.clone(), in_item(2, 0), in_item(3, item), ended(4)];
        assert_eq!(problems_of_items(&execution(4, "x"), &events(1)), Vec::<String>::new());
        let found = problems_of_items(&execution(4, "x"), &events(0)).join("\n");
        assert!(found.contains("zombie-commit: attempt 1 of b@0") && found.contains("double-commit: b@0"), "{found}");
    }

    #[test]
    fn each_anomaly_has_its_name() {
        let again = json!({ "seq": 3, "type": "run.continued", "assigned": [{ "nodeId": "b", "attempt": 2 }] });
        let early = json!({ "seq": 1, "type": "run.started", "assigned": [{ "nodeId": "b", "attempt": 1 }] });
        let cases = [
            ("gap", vec![started(), completed(3, 1), ended(4)], execution(3, "x")),
            ("resurrection", vec![started(), completed(2, 1), ended(3), again.clone()], execution(4, "x")),
            ("zombie-commit", vec![started(), completed(2, 7), ended(3)], execution(3, "x")),
            ("double-commit", vec![started(), completed(2, 1), completed(3, 1), ended(4)], execution(4, "x")),
            ("double-run", vec![started(), completed(2, 1), again, ended(4)], execution(4, "x")),
            ("early-start", vec![early, completed(2, 1), ended(3)], execution(3, "x")),
            ("fold", vec![started(), completed(2, 1)], execution(2, "x")),
            ("dirty-output", vec![started(), completed(2, 1), ended(3)], execution(3, "y")),
        ];
        for (anomaly, events, execution) in cases {
            let found = problems(&graph(), &execution, &events);
            assert!(
                found.iter().any(|problem| problem.starts_with(&format!("exec: {anomaly}"))),
                "{anomaly}: {found:?}"
            );
        }
    }
}
