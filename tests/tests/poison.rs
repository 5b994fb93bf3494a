//! Poison: a node that ends every agent it runs on is found, alone, and takes nobody with it; nor does one item of a map.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::items::attempts;
use cluster_tests::cluster::{Cluster, Part, history};
use cluster_tests::wait;
use serde_json::{Value, json};

/// Agents that one poisoned node may cost: two to be suspected, three alone to be proven.
const AGENTS_LOST_MAX: usize = 5;
/// How long it may take to prove.
const PROOF_TIME_MAX: Duration = Duration::from_secs(120);
/// Runs beside it.
const NEIGHBOURS: usize = 6;
/// Items of the map, and the one of them that ends its agent.
const ITEMS: usize = 20;
const BAD: usize = 7;

fn poisoned() -> Graph {
    let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    let graph = graph.node("poison", "debug:abort", json!({})).node("output", "output:preview", json!({}));
    graph.edge("input.text", "poison.in").edge("poison.out", "output.value")
}

fn innocent() -> Graph {
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    graph = graph.node("output", "output:preview", json!({}));
    let mut last = "input.text".to_owned();
    for number in 0..8 {
        let id = format!("n{number}");
        graph = graph.node(&id, "debug:effect", json!({ "file": "innocent", "ms": 150 }));
        graph = graph.edge(&last, &format!("{id}.in"));
        last = format!("{id}.out");
    }
    graph.edge(&last, "output.value")
}

/// Starts agents again until a run is over: how many ended, and the run.
async fn proven(cluster: &mut Cluster, execution: &str) -> (usize, Value) {
    let mut lost = 0;
    let path = format!("/api/v1/workflows/executions/{execution}");
    let client = cluster.client().clone();
    let run = wait::until("the proof", PROOF_TIME_MAX, || {
        for part in [Part::Agent(0), Part::Agent(1)] {
            if cluster.process(part).ended().is_some() {
                lost += 1;
                cluster.restart(part);
            }
        }
        let run = client.get_json(&path);
        async move {
            let run = run.await;
            if run["status"] == "RUNNING" { Err(run.to_string()) } else { Ok(run) }
        }
    })
    .await;
    (lost, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_node_is_quarantined_and_its_neighbours_finish() {
    let mut cluster = Cluster::start(2, 4).await;
    let (poisoned, innocent) = (poisoned(), innocent());
    let bad = cluster.client().save("poisoned", &poisoned).await;
    let good = cluster.client().save("innocent", &innocent).await;
    let mut neighbours = Vec::new();
    for number in 0..NEIGHBOURS {
        neighbours.push(cluster.client().run(&good, &format!("neighbour {number}")).await);
    }
    let execution = cluster.client().run(&bad, "poison").await;

    let client = cluster.client().clone();
    let (lost, run) = proven(&mut cluster, &execution).await;
    println!("poison: {lost} agents lost, then {}", run["error"]);
    assert_eq!(run["status"], "FAILED", "{run}");
    assert_eq!((&run["error"]["code"], &run["error"]["class"]), (&json!("poison_node"), &json!("poison")), "{run}");
    assert_eq!(run["error"]["nodeId"], "poison");
    assert!(lost <= AGENTS_LOST_MAX, "{lost} agents were lost to one node");
    let events = client.events(&execution).await;
    assert_eq!(history::problems(&poisoned, &run, &events), Vec::<String>::new());

    cluster.serves().await;
    for neighbour in &neighbours {
        let ended = client.ended(neighbour, PROOF_TIME_MAX).await;
        assert_eq!(ended["status"], "COMPLETED", "an innocent run was blamed: {ended}");
        let events = client.events(neighbour).await;
        assert_eq!(history::problems(&innocent, &ended, &events), Vec::<String>::new());
    }
    let after = client.run(&good, "after the proof").await;
    assert_eq!(client.ended(&after, PROOF_TIME_MAX).await["status"], "COMPLETED");
    assert!(cluster.process(Part::Agent(0)).ended().is_none() && cluster.process(Part::Agent(1)).ended().is_none());
}

/// A map whose items work, and one of which ends its agent.
fn poisoned_item(mode: &str) -> Graph {
    Graph::default()
        .node("list", "input:json", json!({ "value": (0..ITEMS).collect::<Vec<_>>() }))
        .node("m", "logic:map", json!({ "onItemError": mode }))
        .node("is-bad", "logic:if", json!({ "condition": format!("value == {BAD}") }))
        .inside("m")
        .node("poison", "debug:abort", json!({}))
        .inside("m")
        .node("work", "debug:effect", json!({ "file": mode, "ms": 150 }))
        .inside("m")
        .node("same", "debug:echo", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .node("errors", "output:preview", json!({}))
        .edge("list.json", "m.items")
        .edge("m.item", "is-bad.value")
        .edge("is-bad.true", "poison.item")
        .edge("is-bad.false", "work.item")
        .edge("work.out", "same.in")
        .edge("m.item", "same.in")
        .edge("same.out", "m.result")
        .edge("m.results", "out.value")
        .edge("m.errors", "errors.value")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_item_is_quarantined_and_the_other_items_complete() {
    let mut cluster = Cluster::start(2, 4).await;
    for mode in ["collect", "skip"] {
        let workflow = cluster.client().save(mode, &poisoned_item(mode)).await;
        let execution = cluster.client().run(&workflow, mode).await;
        let (lost, run) = proven(&mut cluster, &execution).await;
        println!("poison: an item of {ITEMS} with onItemError {mode} cost {lost} agents");
        assert_eq!(run["status"], "COMPLETED", "{run}");
        assert!((1..=AGENTS_LOST_MAX).contains(&lost), "{lost} agents were lost to one item");
        let nodes = run["nodeRuns"].as_array().unwrap();
        let given = |id: &str| &nodes.iter().find(|node| node["nodeId"] == id).unwrap()["output"]["value"];
        let item = |item: usize| if item == BAD { Value::Null } else { json!([null, item]) };
        let wanted = (0..ITEMS).filter(|number| mode == "collect" || *number != BAD).map(item).collect();
        assert_eq!(*given("out"), Value::Array(wanted));
        let errors = given("errors").as_array().unwrap();
        let shown = (errors.len(), &errors[0]["index"], &errors[0]["code"], &errors[0]["class"]);
        assert_eq!(shown, (1, &json!(BAD), &json!("poison_node"), &json!("poison")), "{errors:?}");
        let worked = attempts(&cluster.witnessed(mode));
        let others = (0..ITEMS).filter(|number| *number != BAD).map(|number| ("work".to_owned(), number.to_string()));
        assert_eq!(worked.into_keys().collect::<BTreeSet<_>>(), others.collect());
        let events = cluster.client().events(&execution).await;
        assert_eq!(history::problems_of_items(&run, &events), Vec::<String>::new());
    }
}
