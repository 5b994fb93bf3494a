//! Waiting for the world on real processes: for a while, until an instant, for signals and for calls of hooks. Whatever is killed
//! and whichever way clocks jump, each wait ends once, for its own reason, and not before.

#![allow(clippy::panic, clippy::unwrap_used)]

mod clocks;
mod hooks;
mod restarts;
mod signals;
mod storm;
mod times;

use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

/// How long a run may take, or a wait to begin.
const RUN_TIME_MAX: Duration = Duration::from_secs(90);
/// The file that tells how often what hangs on a wait was done.
const AFTER: &str = "after";

/// A node that waits, what comes of what it was told, and what comes of its time.
fn waits(node_type: &str, config: Value) -> Graph {
    Graph::default()
        .node("w", node_type, config)
        .node("after", "debug:effect", json!({ "file": AFTER }))
        .node("out", "output:preview", json!({}))
        .node("late", "output:preview", json!({}))
        .edge("w.body", "after.item")
        .edge("w.body", "out.value")
        .edge("w.timed_out", "late.value")
}

/// A node that waits for a time, and what comes then.
fn timer(config: Value) -> Graph {
    Graph::default()
        .node("in", "input:text", json!({ "text": "at last" }))
        .node("w", "logic:wait", config)
        .node("after", "debug:effect", json!({ "file": AFTER }))
        .edge("in.text", "w.value")
        .edge("w.value", "after.item")
}

fn signal(config: Value) -> Graph {
    waits("logic:signal", config)
}

fn hook(config: Value) -> Graph {
    waits("logic:wait_webhook", config)
}

async fn start(client: &Client, name: &str, graph: &Graph) -> String {
    let workflow = client.save(name, graph).await;
    client.run(&workflow, name).await
}

/// What a run waits for, once there are so many of this kind.
async fn waiting(client: &Client, execution: &str, kind: &str, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} times {kind} in {execution}"), RUN_TIME_MAX, || async {
        let run = client.execution(execution).await;
        let all = run["waitingOn"].as_array().cloned().unwrap_or_default();
        let found: Vec<Value> = all.into_iter().filter(|waiting| waiting["kind"] == kind).collect();
        if found.len() == count { Ok(found) } else { Err(run.to_string()) }
    })
    .await
}

/// Where the only hook of a run is called: the path of its address, which any gateway takes.
async fn address(client: &Client, execution: &str) -> String {
    path(&waiting(client, execution, "webhook", 1).await[0]["url"])
}

fn path(url: &Value) -> String {
    let url = text(url);
    let at = url.find("/api/v1/hooks/").unwrap_or_else(|| panic!("{url} is no address of a hook"));
    url[at..].to_owned()
}

async fn send_signal(client: &Client, execution: &str, name: &str, body: &Value, key: &str) -> Answer {
    client.post(&format!("/api/v1/workflows/executions/{execution}/signals/{name}"), body, key).await
}

/// A signal that is taken; whether a node has it.
async fn signalled(client: &Client, execution: &str, name: &str, body: &Value) -> bool {
    let sent = send_signal(client, execution, name, body, &format!("{execution} {name} {body}")).await;
    assert_eq!(sent.status, 202, "{sent}");
    let sent = sent.json();
    assert_eq!((&sent["executionId"], &sent["name"]), (&json!(execution), &json!(name)));
    assert!(sent["seq"].as_u64().is_some_and(|seq| seq > 0), "{sent}");
    sent["delivered"].as_bool().unwrap()
}

/// Calls a hook once, as whoever has its address.
async fn call(client: &Client, path: &str, body: &Value) -> Answer {
    send(client.anonymous(Method::POST, path).json(body)).await.unwrap()
}

/// Calls a hook under a key until there is an answer that is more than "not now".
async fn call_until_answered(client: &Client, path: &str, body: &Value, key: &str) -> Answer {
    wait::until(&format!("an answer of {path}"), RUN_TIME_MAX, || async {
        let answer = send(client.anonymous(Method::POST, path).header("idempotency-key", key).json(body)).await?;
        let is_answered = answer.status != 503 && answer.json()["code"] != "idempotency_in_progress";
        if is_answered { Ok(answer) } else { Err(answer.to_string()) }
    })
    .await
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A run that has completed.
async fn completed(client: &Client, execution: &str) -> Value {
    let ended = client.ended(execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    ended
}

fn node<'a>(execution: &'a Value, id: &str) -> &'a Value {
    let nodes = execution["nodeRuns"].as_array().into_iter().flatten();
    nodes.into_iter().find(|shown| shown["nodeId"] == id).unwrap_or(&Value::Null)
}

/// What a preview shows; null if nothing came to it.
fn shown(execution: &Value, id: &str) -> Value {
    node(execution, id)["output"]["value"].clone()
}

/// How many events of a type a run's history has.
async fn events_of(client: &Client, execution: &str, kind: &str) -> usize {
    client.events(execution).await.iter().filter(|event| event["type"] == kind).count()
}

/// How often a run has done what hangs on its wait.
fn effects(cluster: &Cluster, execution: &str) -> usize {
    cluster.witnessed(AFTER).iter().filter(|effect| effect.execution == execution).count()
}
