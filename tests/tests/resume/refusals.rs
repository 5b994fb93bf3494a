//! What makes no sense is refused with what to do, and changes nothing.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use serde_json::{Value, json};

use super::{CHAIN, chain, completed, id, once, post, run_path, worked};

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_changes_nothing() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = chain()
        .node("numbers", "utility:text_split", json!({ "by": "words", "size": 1 }))
        .node("map", "logic:map", json!({}))
        .node("item", "debug:echo", json!({}))
        .inside("map")
        .node("when", "utility:datetime", json!({}))
        .edge("topic.text", "numbers.text")
        .edge("numbers.chunks", "map.items")
        .edge("map.item", "item.item")
        .edge("item.out", "map.result");
    let parent = completed(client, "nonsense", &graph).await;
    let (execution, workflow) = (id(&parent), text(&parent["workflowId"]));
    let elsewhere =
        completed(client, "elsewhere", &Graph::default().node("x", "input:text", json!({ "text": "x" }))).await;
    let path = run_path(&execution, "resume");
    for (body, status, code) in [
        (json!({}), 422, "nothing_to_resume"),
        (json!({ "downstream": "all" }), 422, "nothing_to_resume"),
        (json!({ "fromNodeId": "nowhere" }), 422, "unknown_node"),
        (json!({ "fromNodeId": "a", "toNodeId": "nowhere" }), 422, "unknown_node"),
        (json!({ "outputs": { "nowhere": { "out": 1 } } }), 422, "unknown_node"),
        (json!({ "outputs": { "draft": { "nothing": 1 } } }), 422, "invalid_outputs"),
        (json!({ "outputs": { "when": { "epoch": "soon" } } }), 422, "invalid_outputs"),
        (json!({ "toNodeId": "c", "outputs": { "draft": { "out": "not on the way" } } }), 422, "invalid_outputs"),
        (json!({ "outputs": { "item": { "out": "of one item" } } }), 422, "invalid_outputs"),
        (json!({ "fromNodeId": "a", "indices": [[3]] }), 422, "invalid_indices"),
        (json!({ "fromNodeId": "item", "indices": [[999]] }), 422, "invalid_indices"),
        (json!({ "fromNodeId": "a", "planToken": "no such plan" }), 409, "plan_changed"),
        (json!({ "fromNodeId": "a", "inputs": { "nowhere": 1 } }), 422, "invalid_inputs"),
        (json!({ "fromNodeId": "a", "graph": { "nodes": [{ "id": "a" }], "edges": [] } }), 422, "invalid_graph"),
        (json!({ "from": "a" }), 400, "unknown_field"),
        (json!({ "fromNodeId": "" }), 422, "invalid_field"),
        (json!({ "targetNodeId": "" }), 422, "invalid_field"),
        (json!({ "fromNodeId": "a", "toNodeId": "" }), 422, "invalid_field"),
        (json!({ "fromNodeId": "a", "planToken": "" }), 422, "invalid_field"),
        (json!({ "fromNodeId": "item", "indices": [] }), 422, "invalid_field"),
        (json!({ "outputs": { "draft": {} } }), 422, "invalid_field"),
        (json!({ "outputs": { "topic": { "text": 5 } } }), 422, "invalid_outputs"),
        (json!({ "outputs": { "numbers": { "chunks": "one" } } }), 422, "invalid_outputs"),
        (json!({ "outputs": { "draft": "text" } }), 400, "invalid_field"),
    ] {
        for plan in [false, true] {
            let mut body = body.clone();
            // A plan agrees to nothing beforehand, so no token can be wrong.
            if plan && code == "plan_changed" {
                continue;
            }
            if plan {
                body["plan"] = json!(true);
            }
            let refused = post(client, &path, &body).await;
            assert_eq!((refused.status, &refused.json()["code"]), (status, &json!(code)), "{body}: {refused}");
            assert!(refused.json()["message"].as_str().is_some_and(|text| text.len() > 10), "{refused}");
        }
    }
    let absent = post(client, &run_path("exec_01KZZZZZZZ0000000000000000", "resume"), &json!({})).await;
    assert_eq!((absent.status, &absent.json()["code"]), (404, &json!("execution_not_found")));
    let execute = format!("/api/v1/workflows/{workflow}/execute");
    for (from, code) in
        [("exec_01KZZZZZZZ0000000000000000", "execution_not_found"), (&id(&elsewhere), "execution_not_found")]
    {
        let refused = post(client, &execute, &json!({ "fromExecutionId": from })).await;
        assert_eq!((refused.status, &refused.json()["code"]), (404, &json!(code)), "{refused}");
    }
    for field in ["targetNodeId", "fromExecutionId"] {
        let refused = post(client, &execute, &json!({ field: "" })).await;
        assert_eq!((refused.status, &refused.json()["path"]), (422, &json!(format!("/{field}"))), "{refused}");
    }
    // What a request says itself is what the node could have given, or refused with its place.
    let mut parts = graph.parts();
    let place = parts["nodes"].as_array().unwrap().iter().position(|node| node["id"] == "numbers").unwrap();
    for output in [json!({ "chunks": [5] }), json!({ "chunks": "one" })] {
        parts["nodes"][place]["data"]["output"] = output;
        let refused = post(client, &execute, &parts).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid_outputs")), "{refused}");
        let path = format!("/nodes/{place}/data/output/chunks");
        assert_eq!(refused.json()["violations"][0]["path"], json!(path), "{refused}");
    }
    // Alone runs only what has the same before it in each run of a batch.
    let behind = json!({
        "targetNodeId": "map", "only": true, "fromExecutionId": execution,
        "iteratorConfigs": [{ "nodeId": "topic", "values": ["tides", "dunes"] }],
    });
    let refused = post(client, &execute, &behind).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("only_needs_results")), "{refused}");
    assert_eq!(client.runs_of(&workflow).await, [&execution[..]], "no run has begun");
    assert_eq!((client.execution(&execution).await, worked(&cluster, &execution)), (parent, once(&CHAIN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_over_is_not_resumed() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("topic", "input:text", json!({ "text": "tides" }))
        .node("wait", "logic:wait", json!({ "forMs": 600_000 }))
        .edge("topic.text", "wait.value");
    let workflow = client.save("waits", &graph).await;
    let execution = client.run(&workflow, "waits").await;
    for verb in ["resume", "rerun"] {
        let refused = post(client, &run_path(&execution, verb), &json!({})).await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("execution_not_terminal")), "{refused}");
        let waiting = &refused.json()["waitingOn"][0];
        assert_eq!((&waiting["kind"], &waiting["nodeId"]), (&json!("timer"), &json!("wait")), "{refused}");
    }
    let standing: Value = client.execution(&execution).await;
    assert_eq!((&standing["status"], client.runs_of(&workflow).await.len()), (&json!("RUNNING"), 1));
}
