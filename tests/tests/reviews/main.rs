//! Reviews over REST on real processes: each is decided once, whoever asks and whatever is killed; others hear who was first;
//! and what is no decision changes nothing.

#![allow(clippy::panic, clippy::unwrap_used)]

mod items;
mod kinds;
mod large;
mod many;
mod people;
mod refusals;
mod reused;

use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

/// How long a run may take, or a review to open.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// What people who decide may.
const SCOPES: [&str; 2] = ["reviews:decide", "executions:read"];

/// A client with a key of its own.
async fn person(cluster: &mut Cluster, subject: &str, scopes: &[&str]) -> Client {
    let wanted = json!({ "subject": subject, "scopes": scopes });
    let made = cluster.client().post("/api/v1/keys", &wanted, &format!("key of {subject}")).await;
    assert_eq!(made.status, 201, "{made}");
    let log = cluster.folder().join(format!("{subject}.jsonl"));
    Client::new(&cluster.origin(0), &text(&made.json()["key"]), &log)
}

/// A value, a review of it, and what is left of both.
fn reviewed(config: Value) -> Graph {
    Graph::default()
        .node("value", "input:text", json!({ "text": "as it was" }))
        .node("check", "logic:review", config)
        .node("yes", "output:preview", json!({}))
        .node("no", "output:preview", json!({}))
        .edge("value.text", "check.value")
        .edge("check.approved", "yes.value")
        .edge("check.rejected", "no.value")
}

async fn start(client: &Client, name: &str, graph: &Graph) -> String {
    let workflow = client.save(name, graph).await;
    client.run(&workflow, name).await
}

/// All reviews of a run that are open, the oldest first.
async fn open(client: &Client, execution: &str) -> Vec<Value> {
    let mut path = format!("/api/v1/reviews?executionId={execution}&limit=200");
    let mut reviews = Vec::new();
    loop {
        let page = client.get(&path).await;
        assert!(page.is_success(), "GET {path}: {page}");
        reviews.extend(page.json().as_array().cloned().unwrap_or_default());
        let link = page.headers.get("link").and_then(|link| link.to_str().ok());
        match link.and_then(|link| link.strip_prefix('<')?.split_once('>')) {
            Some((next, _)) => path = next.to_owned(),
            None => return reviews,
        }
    }
}

/// The reviews of a run, once so many are open.
async fn opened(client: &Client, execution: &str, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} open reviews"), RUN_TIME_MAX, || async {
        let reviews = open(client, execution).await;
        if reviews.len() == count { Ok(reviews) } else { Err(format!("{} are open", reviews.len())) }
    })
    .await
}

/// The id of the only review of a run.
async fn the_review(client: &Client, execution: &str) -> String {
    text(&opened(client, execution, 1).await[0]["id"])
}

async fn review(client: &Client, id: &str) -> Value {
    client.get_json(&format!("/api/v1/reviews/{id}")).await
}

async fn decide(client: &Client, id: &str, decision: &Value, key: &str) -> Answer {
    client.post(&format!("/api/v1/reviews/{id}/decision"), decision, key).await
}

/// The same without an Idempotency-Key: it is a request of its own, whatever was said before.
async fn decide_anew(client: &Client, id: &str, decision: &Value) -> Answer {
    let request = client.request(Method::POST, &format!("/api/v1/reviews/{id}/decision"));
    send(request.json(decision)).await.unwrap()
}

/// A decision that is taken.
async fn decided(client: &Client, id: &str, decision: &Value) -> Value {
    let answer = decide(client, id, decision, &format!("{id} {decision}")).await;
    assert_eq!(answer.status, 200, "{decision}: {answer}");
    answer.json()
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn output<'a>(execution: &'a Value, node: &str) -> &'a Value {
    let nodes = execution["nodeRuns"].as_array().into_iter().flatten();
    nodes.into_iter().find(|shown| shown["nodeId"] == node).map_or(&Value::Null, |shown| &shown["output"])
}

/// The state of a node, in Heddle's words.
fn state(execution: &Value, node: &str) -> String {
    let nodes = execution["nodeRuns"].as_array().into_iter().flatten();
    text(&nodes.into_iter().find(|shown| shown["nodeId"] == node).unwrap()["state"])
}
