//! Execute up to a node in the body of a map or a loop: the body runs as far as that, and what nobody can know of the rest is
//! absent. What goes on from there has the items and turns that there were.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, id, node, post, resume, run_path};

/// A map over pages, and a loop that ends when its result is 2; each with two nodes, one after the other.
fn graph() -> Graph {
    Graph::default()
        .node("pages", "input:json", json!({ "value": ["x", "y", "z"] }))
        .node("each", "logic:map", json!({ "onItemError": "skip" }))
        .node("page", "debug:echo", json!({}))
        .inside("each")
        .node("paged", "debug:echo", json!({}))
        .inside("each")
        .node("all", "output:preview", json!({}))
        .node("again", "logic:loop", json!({ "until": "result >= 2" }))
        .node("turn", "debug:echo", json!({}))
        .inside("again")
        .node("turned", "debug:echo", json!({}))
        .inside("again")
        .node("last", "output:preview", json!({}))
        .edge("pages.json", "each.items")
        .edge("each.item", "page.item")
        .edge("page.out", "paged.item")
        .edge("paged.out", "each.result")
        .edge("each.results", "all.value")
        .edge("again.iteration", "turn.item")
        .edge("turn.out", "turned.item")
        .edge("turned.out", "again.result")
        .edge("again.result", "last.value")
}

/// Executes up to a node, and gives the run when it is over.
async fn up_to(client: &Client, workflow: &str, target: &str) -> Value {
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let started = post(client, &path, &json!({ "targetNodeId": target })).await;
    assert_eq!(started.status, 201, "{started}");
    let run = client.ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    run
}

/// How many items of a node are done, and how many of them an earlier run gave.
fn done(run: &Value, id: &str) -> (u64, u64) {
    let items = &node(run, id)["items"];
    let count = |key: &str| items[key].as_u64().unwrap_or_default();
    (count("completed"), count("cached"))
}

/// The outputs of a node that are there.
fn gave<'a>(run: &'a Value, id: &str) -> Vec<&'a str> {
    let output = &node(run, id)["output"];
    output.as_object().into_iter().flat_map(|output| output.keys()).map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_runs_once_where_its_result_is_no_part_of_the_run() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("turns", &graph()).await;
    let part = up_to(client, &workflow, "turn").await;
    assert_eq!((done(&part, "turn"), node(&part, "turned")), ((1, 0), &Value::Null), "{part}");
    assert_eq!((gave(&part, "again"), &node(&part, "again")["state"]), (vec![], &json!("COMPLETED")), "{part}");

    let on = json!({ "fromNodeId": "turned" });
    let planned = post(client, &run_path(&id(&part), "resume"), &json!({ "fromNodeId": "turned", "plan": true })).await;
    assert_eq!(planned.status, 200, "{planned}");
    let names =
        |key: &str| planned.json()[key].as_array().into_iter().flatten().map(|it| it["nodeId"].clone()).collect();
    let (will, reused): (Vec<Value>, Vec<Value>) = (names("willRun"), names("reused"));
    assert!(will.contains(&json!("turned")) && reused.contains(&json!("turn")), "{planned}");
    let child = resume(client, &id(&part), on).await;
    assert_eq!(
        (&child["status"], &node(&child, "last")["output"]["value"]),
        (&json!("COMPLETED"), &json!(2)),
        "{child}"
    );
    assert_eq!((done(&child, "turn"), done(&child, "turned")), ((3, 1), (3, 0)), "the first turn was there");

    // The node that gives the result is all that the loop needs.
    let whole = up_to(client, &workflow, "turned").await;
    assert_eq!(
        (done(&whole, "turned"), &node(&whole, "again")["output"]["iterations"]),
        ((3, 0), &json!(3)),
        "{whole}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_gives_no_results_where_they_are_no_part_of_the_run() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("pages", &graph()).await;
    let part = up_to(client, &workflow, "page").await;
    assert_eq!((done(&part, "page"), node(&part, "paged")), ((3, 0), &Value::Null), "{part}");
    assert_eq!((gave(&part, "each"), &node(&part, "each")["output"]["errors"]), (vec!["errors"], &json!([])), "{part}");
    let path = run_path(&id(&part), "nodes/page?index=1");
    assert_eq!(client.get_json(&path).await["output"]["out"], "y");
    // It is no result of the whole map.
    let read = client.get_json(&format!("/api/v1/workflows/{workflow}")).await;
    let nodes = read["nodes"].as_array().into_iter().flatten();
    let each = nodes.clone().find(|node| node["id"] == "each").map(|node| &node["data"]);
    assert!(each.is_some_and(|data| data.get("output").is_none()), "{read}");

    let child = resume(client, &id(&part), json!({ "fromNodeId": "paged" })).await;
    assert_eq!(node(&child, "all")["output"]["value"], json!(["x", "y", "z"]), "{child}");
    assert_eq!((done(&child, "page"), done(&child, "paged")), ((3, 3), (3, 0)), "{child}");
}
