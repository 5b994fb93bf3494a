//! Decisions over values that lie in the artifact store, with real processes: an agent looks at them, whoever dies meanwhile.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use serde_json::{Value, json};

const RUN_TIME_MAX: Duration = Duration::from_secs(120);
/// Bytes of the text that is looked at.
const BYTES: usize = 1_000_000;

/// `big` is looked at by an if and a switch, a long list by a filter, and what a turn gives by its loop.
fn graph() -> Graph {
    let cases = json!([
        {"id": "small", "when": "size(value) < 1000"},
        {"id": "large", "when": format!("size(value) == {BYTES} && nodes.big.output.startsWith('xx')")},
    ]);
    let graph = Graph::default().node("big", "debug:bytes", json!({ "count": BYTES }));
    let graph = graph.node("if", "logic:if", json!({ "condition": "value.contains('y')" })).edge("big.out", "if.value");
    let graph = graph.node("switch", "logic:switch", json!({ "cases": cases })).edge("if.false", "switch.value");
    let graph = graph.node("numbers", "debug:list", json!({ "count": 200_000 }));
    let graph = graph.node("filter", "logic:filter", json!({ "condition": "item % 20000 == 0" }));
    let graph = graph.edge("numbers.out", "filter.items").edge("switch.large", "after.value");
    let graph = graph.node("after", "output:preview", json!({})).node("kept", "output:gallery", json!({}));
    let graph = graph.node("never", "output:preview", json!({})).edge("if.true", "never.value");
    let until = format!("size(result) == {BYTES} && iteration == 1");
    let graph = graph.edge("filter.kept", "kept.items").node("loop", "logic:loop", json!({ "until": until }));
    let graph =
        graph.node("turn", "debug:bytes", json!({ "count": BYTES })).inside("loop").edge("turn.out", "loop.result");
    graph.node("turns", "output:preview", json!({})).edge("loop.iterations", "turns.value")
}

fn node<'a>(run: &'a Value, id: &str) -> &'a Value {
    run["nodeRuns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["nodeId"] == id)
        .unwrap_or_else(|| panic!("no {id}: {run}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_looks_at_what_is_too_large_for_the_coordinator() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("large", &graph()).await;
    let execution = client.run(&workflow, "large").await;
    let run = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    assert_eq!(node(&run, "never")["state"], "SKIPPED", "{run}");
    assert_eq!(node(&run, "after")["state"], "COMPLETED", "{run}");
    let kept: Vec<u32> = (0..200_000).step_by(20_000).collect();
    assert_eq!(node(&run, "kept")["output"]["items"], json!(kept), "{run}");
    assert_eq!(node(&run, "turns")["output"]["value"], 2, "{run}");
    assert_eq!(node(&run, "loop")["attempts"], 2, "an agent looked at each turn: {run}");
    let types = client.get_json("/api/v1/nodes").await.to_string();
    assert!(types.contains("debug:bytes") && !types.contains("engine:"), "it is no node type");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_while_it_looks_takes_no_decision_with_it() {
    let mut cluster = Cluster::start(1, 1).await;
    let graph = Graph::default().node("big", "debug:bytes", json!({ "count": BYTES }));
    let graph = graph.node("if", "logic:if", json!({ "condition": "size(value) > 1000" })).edge("big.out", "if.value");
    let graph = graph.node("out", "output:preview", json!({})).edge("if.true", "out.value");
    let workflow = cluster.client().save("dying", &graph).await;
    // It stops at its second piece of work, which is the condition, and is killed there.
    let _exit = cluster.stop(Part::Agent(0)).await;
    cluster.start_part(Part::Agent(0), Some("agent.before-work:2:stop"));
    let client = cluster.client().clone();
    let execution = client.run(&workflow, "dying").await;
    let process = cluster.process(Part::Agent(0));
    wait::until("the agent is about to evaluate", RUN_TIME_MAX, || {
        let stands = process.said().contains("crash point agent.before-work hit 2");
        async move { if stands { Ok(()) } else { Err("it has not begun".to_owned()) } }
    })
    .await;
    cluster.kill(Part::Agent(0));
    cluster.start_part(Part::Agent(0), None);
    let run = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    assert_eq!(node(&run, "out")["state"], "COMPLETED", "{run}");
    assert_eq!(node(&run, "if")["attempts"], 2, "the first went with the agent: {run}");
}
