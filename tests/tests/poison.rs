//! Poison: a node that ends every agent it runs on is found, alone, and takes nobody with it.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, history};
use cluster_tests::wait;
use serde_json::json;

/// Agents that one poisoned node may cost: two to be suspected, three alone to be proven.
const AGENTS_LOST_MAX: usize = 5;
/// How long it may take to prove.
const PROOF_TIME_MAX: Duration = Duration::from_secs(120);
/// Runs beside it.
const NEIGHBOURS: usize = 6;

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

    let mut lost = 0;
    let path = format!("/api/v1/workflows/executions/{execution}");
    let client = cluster.client().clone();
    wait::until("the proof", PROOF_TIME_MAX, || {
        for part in [Part::Agent(0), Part::Agent(1)] {
            if cluster.process(part).ended().is_some() {
                lost += 1;
                cluster.restart(part);
            }
        }
        let run = client.get_json(&path);
        async move {
            let run = run.await;
            if run["status"] == "RUNNING" { Err(run.to_string()) } else { Ok(()) }
        }
    })
    .await;
    let run = client.get_json(&path).await;
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
