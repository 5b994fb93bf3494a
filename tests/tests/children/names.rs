//! Which workflow a child runs, and what goes in and comes out by name.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use reqwest::Method;
use serde_json::{Value, json};

use super::{children, id_of, invoke, invoke_with, node, output, over};

/// Says what it is given, with a word of its own.
fn saying(word: &str) -> Graph {
    Graph::default()
        .node("topic", "input:text", json!({}))
        .node("word", "input:text", json!({ "text": word }))
        .node("count", "input:number", json!({ "value": 1 }))
        .node("both", "debug:echo", json!({}))
        .node("said", "output:json", json!({ "name": "summary" }))
        .node("plain", "output:text", json!({}))
        .edge("topic.text", "both.in")
        .edge("word.text", "both.in")
        .edge("both.out", "said.json")
        .edge("topic.text", "plain.text")
}

async fn replace(client: &Client, workflow: &str, graph: &Graph) {
    let request = client.request(Method::PUT, &format!("/api/v1/workflows/{workflow}"));
    let saved = send(request.json(&graph.named("changed"))).await.unwrap();
    assert!(saved.is_success(), "{saved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_in_and_come_out_by_name_of_the_version_that_is_named() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let child = client.save("says", &saying("one")).await;
    replace(client, &child, &saying("two")).await;
    for (version, word) in [(json!(1), "one"), (json!("latest"), "two"), (Value::Null, "two")] {
        let graph = Graph::default().node("in", "input:text", json!({ "text": "tea" }));
        let more = json!({ "version": version, "inputs": { "topic": "never" } });
        let graph = invoke(graph, "call", &child, &more)
            .node("out", "output:json", json!({}))
            .node("all", "output:json", json!({}))
            .edge("in.text", "call.topic")
            .edge("call.summary", "out.json")
            .edge("call.outputs", "all.json");
        let ended = over(client, &format!("version {version}"), &graph).await;
        assert_eq!(output(&ended, "out")["json"], json!(["tea", word]), "{ended}");
        assert_eq!(output(&ended, "all")["json"], json!({ "summary": ["tea", word], "plain": "tea" }));
        let of_it = children(client, &id_of(&ended)).await;
        assert_eq!(output(&ended, "call")["executionId"], of_it[0]["id"]);
        assert_eq!(node(&ended, "call")["childExecutionId"], of_it[0]["id"]);
        assert_eq!(of_it[0]["workflowVersion"], if word == "one" { json!(1) } else { json!(2) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_as_early_as_it_is_known() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let child = client.save("says", &saying("one")).await;
    let parent = |input: &str, output: &str| {
        let graph = Graph::default().node("in", "input:json", json!({ "value": { "a": 1 } }));
        invoke(graph, "call", &child, &json!({}))
            .node("out", "output:json", json!({}))
            .edge("in.json", &format!("call.{input}"))
            .edge(&format!("call.{output}"), "out.json")
    };
    // Names that the child has not: the graph may be saved, since the child may come later, and is not run.
    for (name, graph) in [("input", parent("subject", "summary")), ("output", parent("topic", "poem"))] {
        let saved = client.post("/api/v1/workflows", &graph.named(name), name).await;
        assert!(saved.is_success(), "{saved}");
        assert_ne!(saved.json()["diagnostics"]["counts"]["warning"], 0, "{saved}");
        let started = client.execute(&text(&saved.json()["id"]), name).await;
        assert_eq!(started.status, 422, "{started}");
    }
    // What the values are is known when they are there.
    let graph = Graph::default().node("in", "input:list", json!({ "items": [1] }));
    let more = json!({ "inputs": { "topic": "a" } });
    let graph = invoke(graph, "call", &child, &more).edge("in.items", "call.count");
    let ended = over(client, "a list for a number", &graph).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("child_inputs")), "{ended}");
    let nobody = "wf_00000000000000000000000001";
    let ended = over(client, "nobody", &invoke(Graph::default(), "call", nobody, &json!({}))).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("child_not_found")), "{ended}");
    let ended = over(
        client,
        "no version",
        &invoke(Graph::default(), "call", &child, &json!({ "version": 7, "inputs": { "topic": "a" } })),
    )
    .await;
    assert_eq!(ended["error"]["code"], "child_not_found", "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_goes_in_and_comes_back() {
    const BYTES: usize = 300_000;
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let child = Graph::default()
        .node("text", "input:text", json!({}))
        .node("big", "debug:bytes", json!({ "count": BYTES }))
        .node("same", "output:text", json!({}))
        .node("own", "output:json", json!({}))
        .edge("text.text", "same.text")
        .edge("text.text", "big.item")
        .edge("big.out", "own.json");
    let child = client.save("large", &child).await;
    let graph = Graph::default().node("big", "debug:bytes", json!({ "count": BYTES }));
    let graph = invoke(graph, "call", &child, &json!({}))
        .node("same", "output:json", json!({}))
        .node("own", "output:json", json!({}))
        .edge("big.out", "call.text")
        .edge("call.same", "same.json")
        .edge("call.own", "own.json");
    let ended = over(client, "outer", &graph).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    for shown in ["same", "own"] {
        let value = &output(&ended, shown)["json"];
        assert_eq!(value["bytes"], json!(BYTES + 2), "{shown}: {ended}");
        let url = value["url"].as_str().unwrap();
        let path = url.find("/api/").map(|at| &url[at..]).unwrap();
        let bytes = send(client.request(Method::GET, path)).await.unwrap().body;
        assert_eq!(bytes.len(), BYTES + 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_workflow_is_not_found() {
    let mut cluster = Cluster::start(1, 4).await;
    let origin = cluster.origin(0);
    let client = cluster.client().clone();
    let tenant = json!({ "id": "other", "name": "Other" });
    assert_eq!(client.post("/api/v1/tenants", &tenant, "tenant").await.status, 201);
    let scopes = ["workflows:read", "workflows:write", "workflows:execute", "executions:read"];
    let made = client.post("/api/v1/tenants/other/keys", &json!({ "scopes": scopes, "subject": "o" }), "key").await;
    assert_eq!(made.status, 201, "{made}");
    let other = Client::new(&origin, &text(&made.json()["key"]), &cluster.folder().join("other.jsonl"));
    let theirs = other.save("theirs", &saying("secret")).await;
    let policy = json!({ "onError": "continue" });
    let more = json!({ "inputs": { "topic": "a" } });
    let graph = invoke_with(Graph::default(), "call", &theirs, &more, policy).node("told", "output:json", json!({}));
    let ended = over(&client, "steals", &graph.edge("call.error", "told.json")).await;
    assert_eq!(output(&ended, "told")["json"]["code"], "child_not_found", "{ended}");
    assert!(other.runs_of(&theirs).await.is_empty());
}
