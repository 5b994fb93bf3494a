//! Part of a graph, and runs that go on from others, by REST and real processes: what is called again and what is not shows outside
//! of the cluster, in the ledger of a sandbox and in the lines of effect nodes.

#![allow(clippy::panic, clippy::unwrap_used)]

mod bodies;
mod failed;
mod kills;
mod lists;
mod maps;
mod part;
mod plans;
mod refusals;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Answer, Client};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use serde_json::{Value, json};

/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// Where effect nodes write.
const EFFECTS: &str = "effects";

/// Posts under an Idempotency-Key of its own.
async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    client.post(path, body, &format!("key {}", KEYS.fetch_add(1, Ordering::Relaxed))).await
}

fn run_path(execution: &str, rest: &str) -> String {
    format!("/api/v1/workflows/executions/{execution}/{rest}")
}

/// Goes on from a run, and gives the child when it is over.
async fn resume(client: &Client, parent: &str, body: Value) -> Value {
    let resumed = post(client, &run_path(parent, "resume"), &body).await;
    assert_eq!(resumed.status, 201, "{body}: {resumed}");
    let started = resumed.json();
    assert_eq!(started["parentExecutionId"], parent, "{started}");
    client.ended(&text(&started["executionId"]), RUN_TIME_MAX).await
}

/// Runs a graph to its end, and gives the run.
async fn completed(client: &Client, name: &str, graph: &Graph) -> Value {
    let workflow = client.save(name, graph).await;
    let execution = client.run(&workflow, name).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    ended
}

fn id(run: &Value) -> String {
    text(&run["id"])
}

fn node<'a>(run: &'a Value, id: &str) -> &'a Value {
    run["nodeRuns"].as_array().into_iter().flatten().find(|node| node["nodeId"] == id).unwrap_or(&Value::Null)
}

/// The nodes of a run by the word for how they stand.
fn in_state<'a>(run: &'a Value, state: &str) -> Vec<&'a str> {
    let nodes = run["nodeRuns"].as_array().into_iter().flatten().filter(|node| node["state"] == state);
    let mut ids: Vec<&str> = nodes.filter_map(|node| node["nodeId"].as_str()).collect();
    ids.sort_unstable();
    ids
}

/// How often each effect node of a run has done its work, by node.
fn worked(cluster: &Cluster, execution: &str) -> BTreeMap<String, usize> {
    let mut worked = BTreeMap::new();
    for effect in cluster.witnessed(EFFECTS).into_iter().filter(|effect| effect.execution == execution) {
        *worked.entry(effect.place.0).or_default() += 1;
    }
    worked
}

/// As many effect nodes, once each.
fn once(nodes: &[&str]) -> BTreeMap<String, usize> {
    nodes.iter().map(|node| ((*node).to_owned(), 1)).collect()
}

fn effect() -> Value {
    json!({ "file": EFFECTS })
}

/// `topic → a → b → c`, of which each leaves a line and gives null; and `draft → publish → out` beside them, with a line for
/// each of the two.
fn chain() -> Graph {
    Graph::default()
        .node("topic", "input:text", json!({ "text": "tides" }))
        .node("a", "debug:effect", effect())
        .node("b", "debug:effect", effect())
        .node("c", "debug:effect", effect())
        .node("draft", "debug:echo", json!({}))
        .node("drafted", "debug:effect", effect())
        .node("publish", "debug:echo", json!({}))
        .node("published", "debug:effect", effect())
        .node("out", "output:preview", json!({}))
        .edge("topic.text", "a.in")
        .edge("a.out", "b.in")
        .edge("b.out", "c.in")
        .edge("topic.text", "draft.in")
        .edge("topic.text", "drafted.in")
        .edge("draft.out", "publish.in")
        .edge("draft.out", "published.in")
        .edge("publish.out", "out.value")
}

/// All that works in [`chain`].
const CHAIN: [&str; 5] = ["a", "b", "c", "drafted", "published"];
