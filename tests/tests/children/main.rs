//! Runs that invoke runs, on real processes: what children give comes back by name, once, whatever is killed; what becomes of a
//! parent becomes of its children; and each is seen from the other.

#![allow(clippy::panic, clippy::unwrap_used)]

mod ends;
mod names;
mod tree;

use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use serde_json::{Value, json};

/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

async fn start(client: &Client, name: &str, graph: &Graph) -> String {
    let workflow = client.save(name, graph).await;
    client.run(&workflow, name).await
}

/// A run of a new workflow, when it is over.
async fn over(client: &Client, name: &str, graph: &Graph) -> Value {
    let execution = start(client, name, graph).await;
    client.ended(&execution, RUN_TIME_MAX).await
}

/// Adds a node that runs a workflow with more of a config.
fn invoke(graph: Graph, id: &str, workflow: &str, more: &Value) -> Graph {
    invoke_with(graph, id, workflow, more, json!({}))
}

fn invoke_with(graph: Graph, id: &str, workflow: &str, more: &Value, policy: Value) -> Graph {
    let mut config = json!({ "workflowId": workflow });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    graph.node_with(id, "blueprint:invoke", config, policy)
}

/// What a run has invoked, the newest first.
async fn children(client: &Client, execution: &str) -> Vec<Value> {
    let mut path = format!("/api/v1/workflows/executions/{execution}/children?limit=200");
    let mut found = Vec::new();
    loop {
        let page = client.get(&path).await;
        assert!(page.is_success(), "GET {path}: {page}");
        found.extend(page.json().as_array().cloned().unwrap_or_default());
        let link = page.headers.get("link").and_then(|link| link.to_str().ok());
        match link.and_then(|link| link.strip_prefix('<')?.split_once('>')) {
            Some((next, _)) => path = next.to_owned(),
            None => return found,
        }
    }
}

/// What a node of a run shows.
fn node<'a>(execution: &'a Value, id: &str) -> &'a Value {
    let nodes = execution["nodeRuns"].as_array().into_iter().flatten();
    nodes.into_iter().find(|node| node["nodeId"] == id).unwrap_or(&Value::Null)
}

fn output<'a>(execution: &'a Value, id: &str) -> &'a Value {
    &node(execution, id)["output"]
}

fn id_of(run: &Value) -> String {
    text(&run["id"])
}
