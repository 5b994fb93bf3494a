//! Worlds whose graph is known: what seeds have found once is looked at again in every world, whatever seeds draw by then.

use serde_json::{Value as Json, json};

use super::graphs::{Script, Scripted};
use super::knobs::Knobs;
use super::random::Random;
use super::work;
use super::world::World;

/// Worlds in which each graph runs.
const WORLDS: u64 = 150;

/// A graph in the making.
#[derive(Default)]
struct Known {
    nodes: Vec<Json>,
    edges: Vec<Json>,
}

impl Known {
    fn with(mut self, id: &str, kind: &str, config: Json) -> Self {
        self.nodes.push(json!({"id": id, "data": {"nodeType": kind, "config": config, "policy": {}}}));
        self
    }

    /// The last node lies in the body of this one.
    fn inside(mut self, container: &str) -> Self {
        self.nodes.last_mut().expect("there is a node")["parentId"] = container.into();
        self
    }

    /// An edge from `node.output` to `node.input`.
    fn edge(mut self, from: &str, to: &str) -> Self {
        let end = |text: &str| text.split_once('.').map(|(node, port)| (node.to_owned(), port.to_owned()));
        let ((source, output), (target, input)) = end(from).zip(end(to)).expect("ends are node.port");
        let id = format!("e{}", self.edges.len());
        self.edges
            .push(json!({"id": id, "source": source, "sourceHandle": output, "target": target, "targetHandle": input}));
        self
    }

    /// Runs it in worlds that are otherwise drawn; no world may find anything.
    fn stands(self) {
        self.stands_with(|knobs| knobs);
    }

    /// The same in worlds of which some is set.
    fn stands_with(self, set: fn(Knobs) -> Knobs) {
        let script = Script { work_ms: (0, 200), fail_percent: 0, is_poison: false };
        for seed in 0..WORLDS {
            let mut random = Random::from_seed(seed);
            let knobs = set(Knobs { graphs: 1, ..Knobs::draw(&mut random) });
            let scripts = vec![script; self.nodes.len()];
            let graph = Scripted::of(self.nodes.clone(), self.edges.clone(), scripts);
            let report = World::of(random, knobs, vec![graph], None, None).run();
            assert_eq!(report.violation.map(|found| found.to_string()), None, "seed {seed}");
        }
    }
}

#[test]
fn lifted_nodes_that_lead_to_a_race_are_given_up_when_it_is_won() {
    let known = Known::default().with("quick", work::WORK, json!({"salt": 1})).with(
        "start",
        "input:json",
        json!({"value": {"n": 3}}),
    );
    let known = known.with("list", "logic:merge", json!({"mode": "all"})).edge("start.json", "list.branches");
    let known = known.with("lifted", work::ONE, json!({"salt": 2})).edge("list.values", "lifted.one");
    let known = known.with("after", work::WORK, json!({"salt": 3})).edge("lifted.side", "after.in");
    let known = known.with("race", "logic:race", json!({"cancelLosers": true}));
    known.edge("quick.out", "race.branches").edge("after.out", "race.branches").stands();
}

#[test]
fn json_that_is_a_list_counts_as_one_value_unless_a_filter_is_given_nothing_else() {
    let list = json!([{"n": 1}, {"n": 2}, {"n": 3}]);
    let known = Known::default().with("list", "input:json", json!({"value": list}));
    let known = known.with("one", "input:json", json!({"value": {"n": 4}}));
    let filter = || json!({"condition": "index % 2 == 0"});
    let known = known.with("alone", "logic:filter", filter()).edge("list.json", "alone.items");
    let known = known.with("beside", "logic:filter", filter()).edge("list.json", "beside.items");
    let known = known.edge("one.json", "beside.items").edge("list.json", "beside.items");
    let known = known.with("merge", "logic:merge", json!({"mode": "all"})).edge("list.json", "merge.branches");
    let known = known.with("merged", "logic:merge", json!({"mode": "first"})).edge("list.json", "merged.branches");
    let known = known.edge("one.json", "merged.branches").with("map", "logic:map", json!({}));
    known.edge("merged.value", "map.items").edge("beside.kept", "map.items").stands();
}

#[test]
fn what_hung_on_the_address_of_a_hook_is_taken_over_with_the_map_whose_item_failed_before_the_call() {
    let known = Known::default().with("list", "input:list", json!({"items": [{"n": 4}, {"n": 7}]}));
    let known = known.with("map", "logic:map", json!({"onItemError": "collect"})).edge("list.items", "map.items");
    let hook = json!({"timeoutMs": 20_000});
    let known = known.with("hook", "logic:wait_webhook", hook).inside("map").edge("map.item", "hook.value");
    let known = known.with("tell", work::WORK, json!({"salt": 1})).inside("map").edge("hook.url", "tell.in");
    let known = known.with("long", "logic:wait", json!({"forMs": 2_000})).inside("map").edge("map.item", "long.value");
    let known = known.with("fails", "logic:if", json!({"condition": "value.none == 1"})).inside("map");
    let known = known.edge("long.value", "fails.value").edge("hook.body", "map.result");
    let known = known.with("after", work::WORK, json!({"salt": 2})).edge("map.results", "after.in");
    known.stands_with(|knobs| Knobs { resume_percent: 100, ..knobs });
}
