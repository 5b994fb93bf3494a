//! What clients see of maps and loops: counts, single items with their inputs, attempts and results, and the index that events,
//! traces and waits carry.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, Client};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use serde_json::{Value, json};

const RUN_TIME_MAX: Duration = Duration::from_secs(60);
const ITEMS: usize = 120;

fn node<'a>(nodes: &'a Value, id: &str) -> &'a Value {
    nodes.as_array().into_iter().flatten().find(|node| node["nodeId"] == id).unwrap_or(&Value::Null)
}

fn path(execution: &str, rest: &str) -> String {
    format!("/api/v1/workflows/executions/{execution}/{rest}")
}

fn indices(page: &Value) -> Vec<Value> {
    page["instances"].as_array().into_iter().flatten().map(|instance| instance["index"].clone()).collect()
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// A map that ends well with some failed items: those of 7, 17, 27…
fn failing() -> Graph {
    let config = json!({ "onItemError": "collect", "concurrency": 8 });
    Graph::failing_map((0..ITEMS).collect(), config, "value % 10 != 7")
}

async fn run(client: &Client, name: &str, graph: &Graph) -> String {
    let workflow = client.save(name, graph).await;
    client.run(&workflow, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_counted_found_and_named() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let execution = run(client, "failing", &failing()).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");

    let counts = |completed, failed, skipped| json!({ "total": ITEMS, "completed": completed, "failed": failed, "skipped": skipped, "running": 0 });
    assert_eq!(node(&ended["nodeRuns"], "m")["items"], counts(108, 12, 0));
    assert_eq!(node(&ended["nodeRuns"], "w")["items"], counts(108, 0, 12));
    assert!(node(&ended["nodeRuns"], "out").get("items").is_none());
    let poll = client.get_json(&path(&execution, "poll")).await;
    assert_eq!(node(&poll["nodeStates"], "m")["items"], counts(108, 12, 0));

    pages(client, &execution).await;
    one(client, &execution).await;
    told(client, &execution).await;
}

/// Pages of items, whole and by how they stand.
async fn pages(client: &Client, execution: &str) {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get_json(&path(execution, &format!("nodes/w?limit=50&cursor={cursor}"))).await;
        assert_eq!((&page["kind"], &page["items"]["total"]), (&json!("node"), &json!(ITEMS)), "{page}");
        seen.extend(indices(&page));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, (0..ITEMS).map(|item| json!([item])).collect::<Vec<_>>());
    let failed = client.get_json(&path(execution, "nodes/m?status=FAILED&limit=3")).await;
    assert_eq!(failed["kind"], "instance");
    assert_eq!(indices(&failed), [json!([7]), json!([17]), json!([27])]);
    assert!(failed["instances"][0]["error"]["message"].is_string(), "{failed}");
    let skipped = client.get_json(&path(execution, "nodes/w?status=SKIPPED&limit=200")).await;
    assert_eq!((indices(&skipped).len(), &skipped["nextCursor"]), (12, &Value::Null));
}

/// One instance, one item, and what is neither.
async fn one(client: &Client, execution: &str) {
    let done = client.get_json(&path(execution, "nodes/w?index=42")).await;
    assert_eq!(
        (&done["kind"], &done["state"], &done["index"]),
        (&json!("instance"), &json!("COMPLETED"), &json!([42]))
    );
    assert_eq!((&done["inputs"]["item"], &done["output"]["out"]), (&json!(42), &json!(42)), "{done}");
    assert_eq!(done["attemptRuns"].as_array().map(Vec::len), Some(1));
    assert_eq!(done["attemptRuns"][0]["outcome"], "SUCCEEDED");
    let failed = client.get_json(&path(execution, "nodes/no?index=17")).await;
    assert_eq!((&failed["state"], &failed["output"]), (&json!("FAILED"), &Value::Null), "{failed}");
    assert_eq!(failed["attemptRuns"][0]["error"]["class"], "invalid_request");
    let item = client.get_json(&path(execution, "nodes/m?index=42")).await;
    assert_eq!((&item["kind"], &item["inputs"]), (&json!("item"), &json!({ "item": 42 })), "{item}");
    assert_eq!(item["output"], json!({ "result": 42 }));
    let whole = client.get_json(&path(execution, "nodes/out")).await;
    assert_eq!((&whole["kind"], &whole["inputs"]["value"][17]), (&json!("instance"), &Value::Null));
    assert_eq!(whole["inputs"]["value"][18], 18);
    for (rest, refused) in [
        ("nodes/w?index=x", (400, "invalid_parameter")),
        ("nodes/w?index=1,2", (400, "invalid_index")),
        ("nodes/out?index=0", (400, "invalid_index")),
        ("nodes/w?index=120", (404, "instance_not_found")),
        ("nodes/none", (404, "node_not_found")),
        ("nodes/w?cursor=x", (400, "bad_cursor")),
        ("nodes/w?status=DONE", (400, "invalid_parameter")),
    ] {
        let answer = client.get(&path(execution, rest)).await;
        assert_eq!(code(&answer), (refused.0, refused.1.to_owned()), "{rest}: {answer}");
    }
}

/// Events and the trace name items.
async fn told(client: &Client, execution: &str) {
    let events = client.events(execution).await;
    let is_of = |event: &&Value| event["type"] == "node.completed" && event["nodeId"] == "w";
    let done: Vec<&Value> = events.iter().filter(is_of).collect();
    assert_eq!(done.len(), 108);
    for event in &done {
        assert_eq!(event["index"], json!([event["outputs"]["out"]]), "{event}");
    }
    let last = events.iter().rev().find_map(|event| event["items"].as_array()).unwrap();
    assert_eq!((&last[0]["nodeId"], &last[0]["completed"], &last[0]["failed"]), (&json!("m"), &json!(108), &json!(12)));
    // Whoever takes the history up in the middle is told the same.
    let middle = done[60];
    let rest =
        client.get_json(&path(execution, &format!("events?after={}", middle["seq"].as_u64().unwrap() - 1))).await;
    assert_eq!(&rest["events"][0], middle);
    let trace = client.get_json(&path(execution, "trace?nodesLimit=1000")).await;
    let spans: Vec<&Value> = trace["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|span| span["nodeId"] == "w" && span["index"] == json!([42]))
        .collect();
    assert_eq!(spans.len(), 1, "{trace}");
    let otlp = client.get(&path(execution, "trace?format=otlp&nodesLimit=1000")).await.json();
    let is_item = |span: &&Value| {
        let index = json!({ "key": "heddle.node.index", "value": { "stringValue": "42" } });
        span["attributes"].as_array().is_some_and(|attributes| attributes.contains(&index))
    };
    let spans = otlp["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter().filter(is_item);
    // Two nodes, and the attempt of the one that an agent ran.
    assert_eq!(spans.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_shown_of_lifted_nodes_that_no_item_has_run() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    // Nothing fails, so what takes the error is skipped in each item.
    let graph = |items: Value| {
        Graph::default()
            .node("list", "input:list", json!({ "items": items }))
            .node_with("w", "debug:echo", json!({}), json!({ "onError": "continue" }))
            .node("rescue", "debug:echo", json!({}))
            .node("m", "logic:map", json!({}))
            .node("in_m", "debug:echo", json!({}))
            .inside("m")
            .node("out", "output:preview", json!({}))
            .node("rescued", "output:preview", json!({}))
            .edge("list.items", "w.item")
            .edge("list.items", "m.items")
            .edge("m.item", "in_m.item")
            .edge("in_m.out", "m.result")
            .edge("w.out", "out.value")
            .edge("w.error", "rescue.item")
            .edge("rescue.out", "rescued.value")
    };
    for (name, items, w, rescue) in [
        ("empty", json!([]), ("SKIPPED", json!([])), json!([])),
        ("two", json!([1, 2]), ("COMPLETED", json!([1, 2])), json!([null, null])),
    ] {
        let execution = run(client, name, &graph(items.clone())).await;
        let ended = client.ended(&execution, RUN_TIME_MAX).await;
        let of = |id: &str| node(&ended["nodeRuns"], id);
        assert_eq!((&of("w")["state"], &of("w")["output"]["out"]), (&json!(w.0), &w.1), "{ended}");
        assert_eq!((&of("rescue")["state"], &of("rescue")["output"]["out"]), (&json!("SKIPPED"), &rescue), "{ended}");
        let alone = client.get_json(&path(&execution, "nodes/rescue")).await;
        assert_eq!(alone["output"]["out"], rescue, "{alone}");
        for id in ["w", "rescue", "m", "in_m"] {
            assert_eq!(of(id)["items"]["total"], items.as_array().unwrap().len(), "{id}: {ended}");
        }
        assert_eq!(of("in_m")["output"]["out"], Value::Null, "it shows in its map");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_at_work_are_shown_with_what_they_wait_for() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let nested = Graph::default()
        .node("list", "input:json", json!({ "value": [[1, 2], [3]] }))
        .node("outer", "logic:map", json!({}))
        .node("inner", "logic:map", json!({}))
        .inside("outer")
        .node("w", "logic:wait", json!({ "forMs": 3_600_000 }))
        .inside("inner")
        .node("out", "output:preview", json!({}))
        .edge("list.json", "outer.items")
        .edge("outer.item", "inner.items")
        .edge("inner.item", "w.value")
        .edge("w.value", "inner.result")
        .edge("inner.results", "outer.result")
        .edge("outer.results", "out.value");
    let execution = run(client, "waiting", &nested).await;
    let running = wait::until("all items to wait", RUN_TIME_MAX, || async {
        let run = client.execution(&execution).await;
        if run["waitingOn"].as_array().is_some_and(|waiting| waiting.len() == 3) {
            Ok(run)
        } else {
            Err(run.to_string())
        }
    })
    .await;
    let waiting: Vec<_> = running["waitingOn"].as_array().unwrap().iter().map(|it| it["index"].clone()).collect();
    assert_eq!(waiting, [json!([0, 0]), json!([0, 1]), json!([1, 0])]);
    assert!(running["waitingOn"].as_array().unwrap().iter().all(|it| it["kind"] == "timer" && it["dueAt"].is_string()));
    let items = &node(&running["nodeRuns"], "outer")["items"];
    assert_eq!((&items["total"], &items["running"]), (&json!(2), &json!(2)));
    assert_eq!(node(&running["nodeRuns"], "inner")["items"]["total"], Value::Null);
    let within = client.get_json(&path(&execution, "nodes/w?index=0&status=WAITING")).await;
    assert_eq!((&within["kind"], indices(&within)), (&json!("node"), vec![json!([0, 0]), json!([0, 1])]));
    let inner = client.get_json(&path(&execution, "nodes/inner?index=1")).await;
    assert_eq!((&inner["inputs"]["items"], indices(&inner)), (&json!([3]), vec![json!([1, 0])]), "{inner}");
    let none = client.get(&path(&execution, "nodes/w?index=99")).await;
    assert_eq!(code(&none), (404, "instance_not_found".to_owned()), "{none}");
    let cancelled = client.post(&path(&execution, "cancel"), &json!({}), "cancel").await;
    assert!(cancelled.is_success(), "{cancelled}");
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(node(&ended["nodeRuns"], "outer")["items"]["skipped"], 2, "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_all_items_have_addresses_and_turns_their_numbers() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let files = Graph::default()
        .node("list", "input:json", json!({ "value": [1, 2, 3] }))
        .node("m", "logic:map", json!({}))
        .node("draw", "debug:file", json!({ "count": 100_000 }))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.json", "m.items")
        .edge("m.item", "draw.in")
        .edge("draw.out", "m.result")
        .edge("m.results", "out.value");
    let execution = run(client, "files", &files).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let poll = client.get_json(&path(&execution, "poll")).await;
    for id in ["m", "out"] {
        let urls = node(&poll["nodeStates"], id)["outputUrls"].as_array().map(Vec::len);
        assert_eq!(urls, Some(3), "{id}: {poll}");
    }
    assert_eq!(poll["finalOutput"]["urls"].as_array().map(Vec::len), Some(3));
    let one = client.get_json(&path(&execution, "nodes/draw?index=1")).await;
    let url = one["output"]["out"]["url"].as_str().unwrap_or_else(|| panic!("{one}"));
    let at = url.find("/api/").unwrap();
    let file = cluster_tests::cluster::client::send(client.anonymous(reqwest::Method::GET, &url[at..])).await.unwrap();
    assert_eq!((file.status, file.body.len()), (200, 100_000));

    let turns = Graph::default()
        .node("l", "logic:loop", json!({ "maxIterations": 3 }))
        .node("w", "debug:echo", json!({}))
        .inside("l")
        .node("out", "output:preview", json!({}))
        .edge("l.iteration", "w.item")
        .edge("w.out", "l.result")
        .edge("l.result", "out.value");
    let execution = run(client, "turns", &turns).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(node(&ended["nodeRuns"], "l")["items"]["completed"], 3, "{ended}");
    let turn = client.get_json(&path(&execution, "nodes/l?index=2")).await;
    assert_eq!(
        (&turn["kind"], &turn["inputs"]["iteration"], &turn["output"]["result"]),
        (&json!("item"), &json!(2), &json!(2))
    );
}

/// A race between what is quick and what sleeps, which is given up.
fn race(graph: Graph, source: &str, inside: Option<&str>, [quick, slow, race]: [&str; 3]) -> Graph {
    let placed = |graph: Graph| inside.into_iter().fold(graph, |graph, container| graph.inside(container));
    let graph = placed(graph.node(quick, "debug:echo", json!({})));
    let graph = placed(graph.node(slow, "debug:sleep", json!({ "ms": 600_000 })));
    let graph = placed(graph.node(race, "logic:race", json!({})));
    let (from, to) = (|node: &str| format!("{node}.out"), |node: &str| format!("{node}.in"));
    let graph = graph.edge(source, &to(quick)).edge(source, &to(slow));
    graph.edge(&from(quick), &format!("{race}.branches")).edge(&from(slow), &format!("{race}.branches"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_a_race_is_told_and_lists_of_events_are_counted() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("list", "input:json", json!({ "value": [1, 2] }))
        .node("m", "logic:map", json!({}))
        .node("out", "output:preview", json!({}));
    let graph = race(graph, "list.json", None, ["quick", "slow", "race"]);
    let graph = race(graph, "m.item", Some("m"), ["quickItem", "slowItem", "raceItem"]);
    let graph = graph.edge("list.json", "m.items").edge("raceItem.value", "m.result").edge("m.results", "out.value");
    let execution = run(client, "races", &graph).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let state = |id: &str| node(&ended["nodeRuns"], id)["state"].clone();
    assert_eq!((state("slow"), state("slowItem")), (json!("CANCELLED"), json!("CANCELLED")), "one word for one thing");
    let events = client.events(&execution).await;
    let given_up: Vec<(&Value, &Value)> = events
        .iter()
        .flat_map(|event| event["givenUp"].as_array().into_iter().flatten().map(move |it| (event, it)))
        .collect();
    let mut names: Vec<String> =
        given_up.iter().map(|(_, it)| format!("{} {} {}", it["nodeId"], it["index"], it["state"])).collect();
    names.sort_unstable();
    assert_eq!(names, [r#""slow" null "CANCELLED""#, r#""slowItem" [0] "CANCELLED""#, r#""slowItem" [1] "CANCELLED""#]);
    for (event, loser) in given_up {
        let race = if loser["nodeId"] == "slow" { "race" } else { "raceItem" };
        let decided = event["decided"].as_array().into_iter().flatten();
        assert!(decided.into_iter().any(|it| it["nodeId"] == race && it["index"] == loser["index"]), "{event}");
    }
    let list = events
        .iter()
        .flat_map(|event| event["decided"].as_array().into_iter().flatten())
        .find(|it| it["nodeId"] == "out")
        .unwrap();
    assert_eq!(list["outputs"]["value"], json!({ "leftOut": true, "items": 2 }), "{list}");
}

/// Long runs stay folded between two looks; a coordinator that has just begun reads all of the history.
#[tokio::test(flavor = "multi_thread")]
async fn who_looks_again_and_again_sees_what_who_looks_once_does() {
    let mut cluster = Cluster::start(1, 8).await;
    let config = json!({ "onItemError": "collect", "concurrency": 64 });
    let graph = Graph::failing_map((0..1_500).collect(), config, "value % 100 != 7");
    let execution = run(cluster.client(), "long", &graph).await;
    let (client, looks, most) = (cluster.client(), Cell::new(0), Cell::new(0));
    let again = wait::until("the end of the run", RUN_TIME_MAX, async || {
        let seen = client.execution(&execution).await;
        let counts = &node(&seen["nodeRuns"], "m")["items"];
        let closed = ["completed", "failed"].iter().filter_map(|state| counts[*state].as_u64()).sum::<u64>();
        assert!(closed >= most.replace(closed), "what was seen stays: {seen}");
        looks.set(looks.get() + 1);
        if seen["status"] == "COMPLETED" { Ok(seen) } else { Err(seen["status"].to_string()) }
    });
    let again = again.await;
    assert_eq!(node(&again["nodeRuns"], "m")["items"]["completed"], 1_485, "after {} looks: {again}", looks.get());
    assert_eq!(cluster.client().execution(&execution).await, again);
    cluster.restart(Part::Coordinator);
    cluster.heal().await;
    assert_eq!(cluster.client().execution(&execution).await, again);
}
