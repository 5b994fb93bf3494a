//! What people have decided is reused for the same value; nothing else stands in for it.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::runs::text;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, decided, open, refusal, reviewed, start, state, the_review};

/// A workflow as a read shows it, to be executed up to `yes`.
async fn read(client: &Client, workflow: &str) -> Value {
    let read = client.get_json(&format!("/api/v1/workflows/{workflow}")).await;
    json!({ "nodes": read["nodes"], "edges": read["edges"], "targetNodeId": "yes" })
}

fn data<'a>(request: &'a mut Value, id: &str) -> &'a mut Value {
    let nodes = request["nodes"].as_array_mut().into_iter().flatten();
    let found = nodes.into_iter().find(|node| node["id"] == id);
    &mut found.unwrap()["data"]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_decision_about_the_same_value_stands_in_for_a_review() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let execution = start(client, "reused", &reviewed(json!({}))).await;
    let review = the_review(client, &execution).await;
    decided(client, &review, &json!({ "decision": "approve", "data": "as ann wants it" })).await;
    let parent = client.ended(&execution, RUN_TIME_MAX).await;
    let workflow = text(&parent["workflowId"]);
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let execute = async |body: &Value, key: &str| client.post(&path, body, key).await;

    // As it was read: the same value was decided about.
    let request = read(client, &workflow).await;
    let again = execute(&request, "as read").await;
    assert_eq!(again.status, 201, "{again}");
    let run = client.ended(&text(&again.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!((&run["status"], state(&run, "check")), (&json!("COMPLETED"), "CACHED".to_owned()), "{run}");

    // Another value is asked about, whatever the node carries.
    let mut other = request.clone();
    let value = data(&mut other, "value");
    value["config"]["text"] = json!("another one");
    value.as_object_mut().unwrap().retain(|key, _| !["output", "result", "cached"].contains(&&**key));
    let asks = execute(&other, "another value").await;
    assert_eq!(asks.status, 201, "{asks}");
    let asks = text(&asks.json()["executionId"]);
    let review = the_review(client, &asks).await;
    decided(client, &review, &json!({ "decision": "reject" })).await;
    client.ended(&asks, RUN_TIME_MAX).await;

    // Somebody's own word is no decision: not by itself, and not in the place of what was decided.
    let mut own = request.clone();
    data(&mut own, "check").as_object_mut().unwrap().remove("cached");
    let mut changed = request.clone();
    data(&mut changed, "check")["output"]["approved"] = json!("as I want it");
    for (body, key) in [(&own, "own word"), (&changed, "changed")] {
        let refused = execute(body, key).await;
        assert_eq!(refusal(&refused), (422, "review_not_decided".to_owned()), "{key}: {refused}");
    }
    let edit = json!({ "outputs": { "check": { "approved": "as I want it" } } });
    let refused = client.post(&format!("/api/v1/workflows/executions/{execution}/resume"), &edit, "edit").await;
    assert_eq!(refusal(&refused), (422, "review_not_decided".to_owned()), "{refused}");
    assert_eq!(open(client, &execution).await, Vec::<Value>::new());
    assert_eq!(client.runs_of(&workflow).await.len(), 3, "what was refused began no run");
}
