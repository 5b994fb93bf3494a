//! Small random workflows with maps, loops, reductions, lists, races and failures: what each gives, and what it leaves with
//! a witness, can be told from outside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::graph::Graph;
use super::items::{Effect, Place, attempts, place};
use super::random::Random;
use super::workload::EFFECTS;

const PARTS_MAX: usize = 3;
const ITEMS_MAX: usize = 10;
const TURNS_MAX: usize = 4;
const EFFECT_MS_MAX: usize = 40;
const RACE_MS_MAX: usize = 60;

/// A workflow, and what has to come of it.
#[derive(Debug)]
pub struct Contained {
    /// Its graph. The node `input` takes a text.
    pub graph: Graph,
    /// What each of these nodes gives.
    outputs: Vec<(String, Wanted)>,
    /// Effects that have to be there.
    effects: BTreeSet<Place>,
    /// Nodes that may have their effect once at most, whatever is killed: nobody can tell whether they had it.
    careful: BTreeSet<String>,
}

/// What a value has to be.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Is(Value),
    OneOf(Vec<Value>),
    List(Vec<Wanted>),
}

impl Wanted {
    fn is_met(&self, value: &Value) -> bool {
        match self {
            Wanted::Is(wanted) => wanted == value,
            Wanted::OneOf(wanted) => wanted.contains(value),
            Wanted::List(wanted) => value.as_array().is_some_and(|items| {
                items.len() == wanted.len() && wanted.iter().zip(items).all(|(wanted, item)| wanted.is_met(item))
            }),
        }
    }
}

impl Contained {
    /// Draws one. It has at least one map.
    pub fn draw(random: &mut Random) -> Self {
        let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
        let graph = graph.node("output", "output:preview", json!({})).edge("input.text", "output.value");
        let contained = Self { graph, outputs: Vec::new(), effects: BTreeSet::new(), careful: BTreeSet::new() };
        let mut drawing = Drawing { contained, random, part: 0 };
        drawing.map();
        for part in 1..=drawing.random.below(PARTS_MAX) {
            drawing.part = part;
            match drawing.random.below(6) {
                0 | 1 => drawing.map(),
                2 => drawing.looping(),
                3 => drawing.reduce(),
                4 => drawing.lift(),
                _ => drawing.lists(),
            }
        }
        drawing.contained
    }

    /// Everything that is wrong with what came of a run that is completed.
    pub fn problems(&self, execution: &Value, events: &[Value], effects: &[Effect]) -> Vec<String> {
        let id = execution["id"].as_str().unwrap_or_default();
        let mut problems = Vec::new();
        let shown: BTreeMap<&str, &Value> = execution["nodeRuns"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|node| (node["nodeId"].as_str().unwrap_or_default(), &node["output"]["value"]))
            .collect();
        for (node, wanted) in &self.outputs {
            let given = shown.get(node.as_str()).copied().unwrap_or(&Value::Null);
            if !wanted.is_met(given) {
                problems.push(format!("{id}: wrong-output: {node} gives {given}, not {wanted:?}"));
            }
        }
        let own: Vec<Effect> = effects.iter().filter(|effect| effect.execution == id).cloned().collect();
        let done = attempts(&own);
        let ends = Ends::of(events);
        for (place, attempts) in &done {
            for attempt in attempts.iter().filter(|attempt| !ends.may_have_worked(place, **attempt)) {
                problems.push(format!("{id}: needless-effect: {place:?} by attempt {attempt}, beside {attempts:?}"));
            }
            if self.careful.contains(&place.0) && attempts.len() > 1 {
                problems.push(format!("{id}: effect-again: {place:?} by attempts {attempts:?}"));
            }
        }
        for (place, attempt) in &ends.completed {
            let is_effect = self.effects.contains(place) || self.careful.contains(&place.0);
            if is_effect && !done.get(place).is_some_and(|attempts| attempts.contains(attempt)) {
                problems.push(format!("{id}: lost-effect: {place:?} is completed by attempt {attempt}"));
            }
        }
        let missing = self.effects.iter().filter(|place| !done.contains_key(*place));
        problems.extend(missing.map(|place| format!("{id}: lost-effect: {place:?}")));
        problems
    }
}

/// How attempts ended, by the run's history.
struct Ends {
    completed: BTreeMap<Place, u64>,
    /// Nobody knows what these have done, or it was not wanted any more.
    gone: BTreeSet<(Place, u64)>,
    /// Lost a race, or a failed item: no end need be written down.
    last: BTreeMap<Place, u64>,
}

impl Ends {
    fn of(events: &[Value]) -> Self {
        let mut ends = Self { completed: BTreeMap::new(), gone: BTreeSet::new(), last: BTreeMap::new() };
        let attempt = |about: &Value| about["attempt"].as_u64().unwrap_or_default();
        for event in events {
            match event["type"].as_str() {
                Some("node.completed" | "attempt.settled") => {
                    ends.completed.insert(place(event), attempt(event));
                }
                Some("attempt.lost" | "attempt.discarded") => {
                    ends.gone.insert((place(event), attempt(event)));
                }
                Some("attempt.stopped") => {
                    let stopped = event["attempts"].as_array().into_iter().flatten();
                    ends.gone.extend(stopped.map(|about| (place(about), attempt(about))));
                }
                _ => {}
            }
            for assigned in event["assigned"].as_array().into_iter().flatten() {
                let last = ends.last.entry(place(assigned)).or_default();
                *last = attempt(assigned).max(*last);
            }
        }
        ends
    }

    /// An attempt has its effect because its result counts, or because it ended unheard.
    fn may_have_worked(&self, place: &Place, attempt: u64) -> bool {
        let is_counted = self.completed.get(place) == Some(&attempt);
        let is_last = !self.completed.contains_key(place) && self.last.get(place) == Some(&attempt);
        is_counted || is_last || self.gone.contains(&(place.clone(), attempt))
    }
}

struct Drawing<'a> {
    contained: Contained,
    random: &'a mut Random,
    part: usize,
}

/// What runs for each item of a map.
#[derive(Clone, Copy)]
enum Body {
    Plain,
    Retried,
    Failing,
    Caught,
    FallenBack,
    Raced,
    Careful,
    Nested,
    Looped,
}

const BODIES: [Body; 9] = [
    Body::Plain,
    Body::Retried,
    Body::Failing,
    Body::Caught,
    Body::FallenBack,
    Body::Raced,
    Body::Careful,
    Body::Nested,
    Body::Looped,
];

impl Drawing<'_> {
    fn id(&self, name: &str) -> String {
        format!("p{}{name}", self.part)
    }

    fn node(&mut self, inside: Option<&str>, name: &str, node_type: &str, config: Value, policy: Value) -> String {
        let id = self.id(name);
        let graph = std::mem::take(&mut self.contained.graph).node_with(&id, node_type, config, policy);
        self.contained.graph = match inside {
            Some(container) => graph.inside(container),
            None => graph,
        };
        id
    }

    fn edge(&mut self, from: (&str, &str), to: (&str, &str)) {
        let graph = std::mem::take(&mut self.contained.graph);
        self.contained.graph = graph.edge(&format!("{}.{}", from.0, from.1), &format!("{}.{}", to.0, to.1));
    }

    fn effect_config(&mut self) -> Value {
        json!({ "file": EFFECTS, "ms": self.random.below(EFFECT_MS_MAX) })
    }

    /// A node with an effect that may be had again when its agent is lost.
    fn effect(&mut self, inside: Option<&str>, name: &str) -> String {
        let mut config = self.effect_config();
        config["effect"] = if self.random.percent(30) { json!("keyed") } else { json!("pure") };
        self.node(inside, name, "debug:effect", config, json!({}))
    }

    fn echo(&mut self, inside: Option<&str>, name: &str, config: Value) -> String {
        self.node(inside, name, "debug:echo", config, json!({}))
    }

    fn gives(&mut self, from: (&str, &str), wanted: Wanted) {
        let output = self.node(None, "out", "output:preview", json!({}), json!({}));
        self.edge(from, (&output, "value"));
        self.contained.outputs.push((output, wanted));
    }

    fn has_effects(&mut self, node: &str, items: impl IntoIterator<Item = String>) {
        self.contained.effects.extend(items.into_iter().map(|index| (node.to_owned(), index)));
    }

    fn list(&mut self, items: &[Value]) -> String {
        self.node(None, "list", "input:json", json!({ "value": items }), json!({}))
    }

    /// Each item works once or twice, fails, races or holds lists of its own.
    fn map(&mut self) {
        let body = BODIES[self.random.below(BODIES.len())];
        let items: Vec<usize> = (0..self.random.below(ITEMS_MAX + 1)).collect();
        let values: Vec<Value> = match body {
            Body::Nested => items.iter().map(|item| json!([item, item + 1])).collect(),
            _ => items.iter().map(|item| json!(item)).collect(),
        };
        let list = self.list(&values);
        let skips = self.random.percent(50) && matches!(body, Body::Failing);
        let mode = if skips { "skip" } else { "collect" };
        let config = json!({ "concurrency": 1 + self.random.below(8), "onItemError": mode });
        let map = self.node(None, "map", "logic:map", config, json!({}));
        self.edge((&list, "json"), (&map, "items"));
        let work = match body {
            Body::Careful => {
                let mut config = self.effect_config();
                config["effect"] = json!("blind");
                let id = self.node(Some(&map), "work", "debug:effect", config, json!({ "onUnknown": "fail" }));
                self.contained.careful.insert(id.clone());
                id
            }
            _ => self.effect(Some(&map), "work"),
        };
        self.edge((&map, "item"), (&work, "item"));
        let failing = self.random.below(ITEMS_MAX);
        let wanted = self.body(body, &map, &work, failing);
        let done = items.iter().filter(|item| match body {
            Body::Failing => **item != failing,
            Body::Raced | Body::Careful => false,
            _ => true,
        });
        let done: Vec<String> = done.map(usize::to_string).collect();
        self.has_effects(&work, done.clone());
        match body {
            Body::FallenBack => self.has_effects(&self.id("no"), done),
            Body::Nested => {
                self.has_effects(&self.id("inner"), done.iter().flat_map(|at| [format!("{at}.0"), format!("{at}.1")]));
            }
            Body::Looped => {
                let Wanted::List(turns) = wanted(0) else { return };
                let places = done.iter().flat_map(|at| (0..turns.len()).map(move |turn| format!("{at}.{turn}")));
                self.has_effects(&self.id("turn"), places);
            }
            _ => {}
        }
        let given = items.into_iter().filter(|item| !(skips && *item == failing)).map(wanted).collect();
        self.gives((&map, "results"), Wanted::List(given));
    }

    /// Draws what comes after the work on an item; says what an item gives.
    fn body(&mut self, body: Body, map: &str, work: &str, failing: usize) -> impl Fn(usize) -> Wanted + use<> {
        let inside = Some(map);
        let fails = json!({ "times": 1_000, "class": "invalid_request" });
        let pair = |item: usize| Wanted::Is(json!([null, item]));
        let wanted: Box<dyn Fn(usize) -> Wanted> = match body {
            Body::Plain | Body::Retried | Body::Failing | Body::FallenBack | Body::Careful => {
                let last = match body {
                    Body::Retried => {
                        let retry = json!({ "retry": { "maxAttempts": 4, "initialMs": 20, "maxMs": 100 } });
                        let config = json!({ "times": 1 + self.random.below(2) });
                        let id = self.node(inside, "retried", "debug:fail", config, retry);
                        self.edge((work, "out"), (&id, "in"));
                        id
                    }
                    Body::FallenBack => {
                        let fallback = [json!({ "nodeType": "debug:effect", "config": self.effect_config() })];
                        let policy = json!({ "onError": "fallback", "fallback": fallback });
                        let id = self.node(inside, "no", "debug:fail", fails, policy);
                        self.edge((work, "out"), (&id, "in"));
                        id
                    }
                    Body::Failing => {
                        let is_it = json!({ "condition": format!("value == {failing}") });
                        let is_it = self.node(inside, "is", "logic:if", is_it, json!({}));
                        let no = self.node(inside, "no", "debug:fail", fails, json!({}));
                        self.edge((map, "item"), (&is_it, "value"));
                        self.edge((&is_it, "true"), (&no, "item"));
                        work.to_owned()
                    }
                    _ => work.to_owned(),
                };
                let result = self.echo(inside, "result", json!({}));
                self.edge((&last, "out"), (&result, "in"));
                self.edge((map, "item"), (&result, "in"));
                self.edge((&result, "out"), (map, "result"));
                match body {
                    Body::Failing => {
                        Box::new(move |item| if item == failing { Wanted::Is(Value::Null) } else { pair(item) })
                    }
                    Body::Careful => Box::new(|item| Wanted::OneOf(vec![json!([null, item]), Value::Null])),
                    _ => Box::new(pair),
                }
            }
            Body::Caught => {
                let no = self.node(inside, "no", "debug:fail", fails, json!({ "onError": "continue" }));
                let caught = self.echo(inside, "caught", json!({ "value": "caught" }));
                self.edge((work, "out"), (&no, "in"));
                self.edge((&no, "error"), (&caught, "in"));
                self.edge((&caught, "out"), (map, "result"));
                Box::new(|_| Wanted::Is(json!("caught")))
            }
            Body::Raced => {
                let ms = json!({ "ms": self.random.below(RACE_MS_MAX) });
                let sleeper = self.node(inside, "sleeper", "debug:sleep", ms, json!({}));
                let race = self.node(inside, "race", "logic:race", json!({}), json!({}));
                self.edge((map, "item"), (&sleeper, "item"));
                for (before, name) in [(work, "a"), (&sleeper, "b")] {
                    let branch = self.echo(inside, name, json!({ "value": name }));
                    self.edge((before, "out"), (&branch, "in"));
                    self.edge((&branch, "out"), (&race, "branches"));
                }
                self.edge((&race, "value"), (map, "result"));
                Box::new(|_| Wanted::OneOf(vec![json!("a"), json!("b")]))
            }
            Body::Nested => {
                let within = self.node(inside, "within", "logic:map", json!({}), json!({}));
                let inner = self.effect(Some(&within), "inner");
                let result = self.echo(Some(&within), "result", json!({}));
                self.edge((map, "item"), (&within, "items"));
                self.edge((&within, "item"), (&inner, "item"));
                self.edge((&inner, "out"), (&result, "in"));
                self.edge((&within, "item"), (&result, "in"));
                self.edge((&result, "out"), (&within, "result"));
                self.edge((&within, "results"), (map, "result"));
                Box::new(move |item| Wanted::List(vec![pair(item), pair(item + 1)]))
            }
            Body::Looped => {
                let turns = self.turns(inside, (map, "item"));
                self.edge((&self.id("loop"), "result"), (map, "result"));
                Box::new(move |_| Wanted::List((0..turns).map(pair).collect()))
            }
        };
        wanted
    }

    /// A loop that lists what its turns gave; says how many there will be.
    fn turns(&mut self, inside: Option<&str>, seed: (&str, &str)) -> usize {
        let last = self.random.below(TURNS_MAX);
        let config = json!({ "until": format!("iteration == {last}"), "select": "all" });
        let looping = self.node(inside, "loop", "logic:loop", config, json!({}));
        let turn = self.effect(Some(&looping), "turn");
        let result = self.echo(Some(&looping), "result", json!({}));
        self.edge(seed, (&looping, "seed"));
        self.edge((&looping, "value"), (&turn, "item"));
        self.edge((&turn, "out"), (&result, "in"));
        self.edge((&looping, "iteration"), (&result, "in"));
        self.edge((&result, "out"), (&looping, "result"));
        last + 1
    }

    fn looping(&mut self) {
        let turns = self.turns(None, ("input", "text"));
        self.has_effects(&self.id("turn"), (0..turns).map(|turn| turn.to_string()));
        let given = (0..turns).map(|turn| Wanted::Is(json!([null, turn]))).collect();
        self.gives((&self.id("loop"), "result"), Wanted::List(given));
    }

    /// Each turn is given what the one before has made.
    fn reduce(&mut self) {
        let items: Vec<usize> = (0..self.random.below(ITEMS_MAX / 2)).collect();
        let list = self.list(&items.iter().map(|item| json!(item)).collect::<Vec<_>>());
        let reduce = self.node(None, "reduce", "logic:reduce", json!({}), json!({}));
        let work = self.effect(Some(&reduce), "work");
        let result = self.echo(Some(&reduce), "result", json!({}));
        self.edge((&list, "json"), (&reduce, "items"));
        self.edge((&reduce, "item"), (&work, "item"));
        for from in [(reduce.as_str(), "accumulator"), (&work, "out"), (&reduce, "item")] {
            self.edge(from, (&result, "in"));
        }
        self.edge((&result, "out"), (&reduce, "result"));
        self.has_effects(&work, items.iter().map(usize::to_string));
        let given = items.iter().fold(Value::Null, |before, item| json!([before, null, item]));
        self.gives((&reduce, "result"), Wanted::Is(given));
    }

    /// A node that takes one value is given a list.
    fn lift(&mut self) {
        let count = 2 + self.random.below(ITEMS_MAX);
        let items: Vec<String> = (0..count).map(|item| format!("item {item}")).collect();
        let list = self.node(None, "list", "input:list", json!({ "items": items }), json!({}));
        let work = self.effect(None, "work");
        let result = self.echo(None, "result", json!({}));
        self.edge((&list, "items"), (&work, "item"));
        self.edge((&work, "out"), (&result, "in"));
        self.has_effects(&work, (0..count).map(|item| item.to_string()));
        self.gives((&result, "out"), Wanted::Is(json!(vec![Value::Null; count])));
    }

    /// Lists of lists: cut by a node, or by the map itself.
    fn lists(&mut self) {
        let items: Vec<usize> = (0..self.random.below(ITEMS_MAX + 1)).collect();
        let size = 1 + self.random.below(4);
        let list = self.list(&items.iter().map(|item| json!(item)).collect::<Vec<_>>());
        let (from, config) = if self.random.percent(50) {
            let batch = self.node(None, "batch", "logic:batch", json!({ "size": size }), json!({}));
            self.edge((&list, "json"), (&batch, "items"));
            ((batch, "batches"), json!({}))
        } else {
            ((list, "json"), json!({ "batchSize": size }))
        };
        let map = self.node(None, "map", "logic:map", config, json!({}));
        let work = self.effect(Some(&map), "work");
        let result = self.echo(Some(&map), "result", json!({}));
        self.edge((&from.0, from.1), (&map, "items"));
        self.edge((&map, "item"), (&work, "in"));
        self.edge((&map, "item"), (&result, "item"));
        self.edge((&result, "out"), (&map, "result"));
        let batches: Vec<Value> = items.chunks(size).map(|items| json!(items)).collect();
        self.has_effects(&work, (0..batches.len()).map(|batch| batch.to_string()));
        self.gives((&map, "results"), Wanted::Is(json!(batches)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: &str) -> Place {
        ("w".to_owned(), index.to_owned())
    }

    /// A map over one item, and a careful node outside.
    fn contained() -> Contained {
        Contained {
            graph: Graph::default(),
            outputs: vec![("out".to_owned(), Wanted::List(vec![Wanted::Is(json!(1))]))],
            effects: BTreeSet::from([place("0")]),
            careful: BTreeSet::from(["c".to_owned()]),
        }
    }

    fn events() -> [Value; 3] {
        let assigned =
            |node: &str, index: Value, attempt: u64| json!({ "nodeId": node, "index": index, "attempt": attempt });
        let first = json!([0]);
        [
            json!({ "type": "run.started", "assigned": [assigned("w", first.clone(), 1), assigned("c", Value::Null, 1)] }),
            json!({
                "type": "attempt.lost", "nodeId": "w", "index": first, "attempt": 1,
                "assigned": [assigned("w", first.clone(), 2)],
            }),
            json!({ "type": "node.completed", "nodeId": "w", "index": first, "attempt": 2 }),
        ]
    }

    fn found(value: Value, effects: &[(&str, &str, u64)]) -> Vec<String> {
        let execution = json!({ "id": "run", "nodeRuns": [{ "nodeId": "out", "output": { "value": value } }] });
        let effect = |(node, index, attempt): &(&str, &str, u64)| Effect {
            execution: "run".into(),
            place: ((*node).to_owned(), (*index).to_owned()),
            attempt: *attempt,
        };
        let effects: Vec<Effect> = effects.iter().map(effect).collect();
        contained().problems(&execution, &events(), &effects)
    }

    #[test]
    fn a_run_that_went_well_has_no_problem() {
        assert_eq!(found(json!([1]), &[("w", "0", 2)]), Vec::<String>::new());
        // The attempt that was lost may have worked, too.
        assert_eq!(found(json!([1]), &[("w", "0", 1), ("w", "0", 2), ("c", "", 1)]), Vec::<String>::new());
    }

    #[test]
    fn each_anomaly_has_its_name() {
        let done = ("w", "0", 2);
        for (anomaly, value, effects) in [
            ("wrong-output", json!([2]), vec![done]),
            ("wrong-output", json!([1, 1]), vec![done]),
            ("wrong-output", json!(null), vec![done]),
            ("lost-effect", json!([1]), vec![]),
            ("lost-effect", json!([1]), vec![("w", "0", 1)]),
            ("needless-effect", json!([1]), vec![done, ("w", "0", 3)]),
            ("effect-again", json!([1]), vec![done, ("c", "", 1), ("c", "", 1)]),
        ] {
            let found = found(value, &effects);
            assert!(found.iter().any(|problem| problem.contains(anomaly)), "{anomaly}: {found:?}");
        }
    }

    #[test]
    fn every_body_is_drawn_and_gives_its_nodes_to_its_container() {
        let mut random = Random::from_seed(7);
        let mut types = BTreeSet::new();
        for _ in 0..100 {
            let contained = Contained::draw(&mut random);
            let parts = contained.graph.parts();
            let nodes = parts["nodes"].as_array().unwrap();
            assert!(nodes.iter().any(|node| node["data"]["nodeType"] == "logic:map"));
            types.extend(nodes.iter().map(|node| node["data"]["nodeType"].as_str().unwrap().to_owned()));
        }
        for wanted in
            ["logic:loop", "logic:reduce", "logic:batch", "logic:race", "logic:if", "input:list", "debug:fail"]
        {
            assert!(types.contains(wanted), "{wanted} is never drawn");
        }
    }
}
