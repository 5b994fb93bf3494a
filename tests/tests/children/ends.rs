//! What ends a child, and what that does to its parent: failures, races, depth.

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, Shape};
use cluster_tests::wait;
use serde_json::json;
use tempfile::TempDir;

use super::{RUN_TIME_MAX, children, id_of, invoke, invoke_with, node, output, over, start};

/// Fails at once, for good.
fn failing() -> Graph {
    Graph::default()
        .node("in", "input:text", json!({ "text": "x" }))
        .node("no", "debug:fail", json!({ "times": 9, "class": "invalid_request" }))
        .node("said", "output:preview", json!({}))
        .edge("in.text", "no.item")
        .edge("no.out", "said.value")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_fails_fails_its_node_or_is_caught() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let child = client.save("fails", &failing()).await;
    let parent = invoke(Graph::default(), "call", &child, &json!({}));
    let failed = over(client, "not caught", &parent).await;
    let of_it = children(client, &id_of(&failed)).await;
    let error = &failed["error"];
    assert_eq!(
        (&failed["status"], &error["code"], &error["nodeId"]),
        (&json!("FAILED"), &json!("child_failed"), &json!("call"))
    );
    let says = error["message"].as_str().unwrap();
    assert!(says.contains(&id_of(&of_it[0])) && says.contains("\"no\""), "{says}");
    let policy = json!({ "onError": "continue" });
    let parent =
        invoke_with(Graph::default(), "call", &child, &json!({}), policy).node("told", "output:json", json!({}));
    let caught = over(client, "caught", &parent.edge("call.error", "told.json")).await;
    assert_eq!(caught["status"], "COMPLETED", "{caught}");
    assert_eq!(output(&caught, "told")["json"]["code"], "child_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_somebody_cancels_fails_its_node() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let child = client.save("waits", &Graph::default().node("wait", "logic:wait", json!({ "for": "1h" }))).await;
    let parent = start(client, "parent", &invoke(Graph::default(), "call", &child, &json!({}))).await;
    let begun = || async { children(client, &parent).await.first().map(id_of).ok_or_else(|| "none".to_owned()) };
    let child = wait::until("a child", RUN_TIME_MAX, begun).await;
    let seen = client.execution(&child).await;
    assert_eq!(seen["invokedBy"], json!({ "executionId": parent, "nodeId": "call" }));
    let stopped = client.post(&format!("/api/v1/workflows/executions/{child}/cancel"), &json!({}), "stop").await;
    assert_eq!(stopped.status, 200, "{stopped}");
    let ended = client.ended(&parent, RUN_TIME_MAX).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("child_cancelled")));
}

/// Nobody waits for it any more, so it would be paid for in vain.
#[tokio::test(flavor = "multi_thread")]
async fn children_of_a_run_that_is_set_aside_are_cancelled() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let mut cluster = Cluster::on(Shape::new(1, 1, 4), &format!("sqlite:{}", file.display())).await;
    let client = cluster.client().clone();
    // What it waits for is an instant, so that no look at who waits for nothing finds it.
    let waits = Graph::default().node("wait", "logic:wait", json!({ "for": "1h" }));
    let grandchild = client.save("grandchild", &waits).await;
    let child = client.save("child", &invoke(waits, "call", &grandchild, &json!({}))).await;
    let parent = start(&client, "parent", &invoke(Graph::default(), "call", &child, &json!({}))).await;
    let below = async |run: &str| {
        let begun = || async { children(&client, run).await.first().map(id_of).ok_or_else(|| "none".to_owned()) };
        wait::until("a child", RUN_TIME_MAX, begun).await
    };
    let child = below(&parent).await;
    let grandchild = below(&child).await;
    cluster.kill(Part::Coordinator);
    {
        let id: heddle_core::id::RunId = parent.parse().unwrap();
        let database = rusqlite::Connection::open(&file).unwrap();
        let spoil = |sql: &str| database.execute(sql, [id.to_bytes()]).unwrap();
        assert!(spoil("UPDATE event SET crc = ~crc WHERE run = ?1") > 0);
        assert_eq!(spoil("UPDATE run SET phase = 1 WHERE id = ?1"), 1);
    }
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    assert_eq!(client.ended(&parent, RUN_TIME_MAX).await["error"]["code"], "quarantined");
    // Whoever has set it aside ends before it has told anybody.
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    for run in [&child, &grandchild] {
        let ended = client.ended(run, RUN_TIME_MAX).await;
        assert_eq!(ended["status"], "CANCELLED", "{ended}");
    }
    let why = format!("the run {parent}, which has invoked it, was set aside");
    assert_eq!(client.execution(&child).await["cancelled"]["reason"], json!(why));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_cancels_the_child_that_loses() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let slow = Graph::default()
        .node("wait", "logic:wait", json!({ "for": "1h" }))
        .node("said", "output:preview", json!({}))
        .edge("wait.value", "said.value");
    let child = client.save("slow", &slow).await;
    let graph = Graph::default()
        .node("in", "input:text", json!({ "text": "quick" }))
        .node("quick", "logic:wait", json!({ "forMs": 700 }))
        .node("race", "logic:race", json!({}))
        .node("out", "output:preview", json!({}))
        .edge("in.text", "quick.value")
        .edge("quick.value", "race.branches")
        .edge("race.value", "out.value");
    let graph = invoke(graph, "call", &child, &json!({})).edge("call.said", "race.branches");
    let ended = over(client, "race", &graph).await;
    assert_eq!((&ended["status"], &output(&ended, "out")["value"]), (&json!("COMPLETED"), &json!("quick")), "{ended}");
    let of_it = children(client, &id_of(&ended)).await;
    let loser = client.ended(&id_of(&of_it[0]), RUN_TIME_MAX).await;
    assert_eq!(loser["status"], "CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_invokes_itself_ends_by_its_condition_or_by_its_depth() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let first = Graph::default().node("items", "input:list", json!({ "items": [] }));
    let workflow = client.save("itself", &first).await;
    // Each takes one item off, until one is left.
    let graph = Graph::default()
        .node("items", "input:list", json!({}))
        .node("more", "logic:if", json!({ "condition": "size(value) > 1" }))
        .node("cut", "logic:filter", json!({ "condition": "index > 0" }))
        .edge("items.items", "more.value")
        .edge("more.true", "cut.items");
    let graph = invoke(graph, "again", &workflow, &json!({})).edge("cut.kept", "again.items");
    let request = client.request(reqwest::Method::PUT, &format!("/api/v1/workflows/{workflow}"));
    let saved = cluster_tests::cluster::client::send(request.json(&graph.named("itself"))).await.unwrap();
    assert!(saved.is_success(), "{saved}");
    let depth = |ids: Vec<String>| ids.len();
    let items: Vec<u32> = (0..5).collect();
    let started = client
        .post(&format!("/api/v1/workflows/{workflow}/execute"), &json!({ "inputs": { "items": items } }), "within")
        .await;
    let within = client.ended(started.json()["executionId"].as_str().unwrap(), RUN_TIME_MAX).await;
    assert_eq!(within["status"], "COMPLETED", "{within}");
    assert_eq!(depth(client.runs_of(&workflow).await), 5);
    let items: Vec<u32> = (0..40).collect();
    let started = client
        .post(&format!("/api/v1/workflows/{workflow}/execute"), &json!({ "inputs": { "items": items } }), "beyond")
        .await;
    let beyond = client.ended(started.json()["executionId"].as_str().unwrap(), RUN_TIME_MAX).await;
    assert_eq!((&beyond["status"], &beyond["error"]["code"]), (&json!("FAILED"), &json!("child_failed")));
    // Of sixteen that failed one behind the other only the innermost is told, and how deep it lies.
    let says = beyond["error"]["message"].as_str().unwrap();
    assert!(says.starts_with("16 runs down, the run exec_") && says.contains("with too_deep: "), "{says}");
    assert_eq!((says.matches("exec_").count(), says.matches("child_failed").count()), (1, 0), "{says}");
    let path = format!("/api/v1/workflows/executions/{}/explain", id_of(&beyond));
    let explained = client.get_json(&path).await;
    let next = explained["ending"]["next"].as_str().unwrap();
    let innermost = &says["16 runs down, the run ".len()..].split(' ').next().unwrap();
    assert!(next.contains(&workflow) && next.contains(innermost), "{next}");
    assert_eq!(depth(client.runs_of(&workflow).await), 5 + 1 + 16, "sixteen lie below the first");
    let path = format!("/api/v1/workflows/executions?workflowId={workflow}&status=FAILED&limit=200");
    let failed = client.get_json(&path).await;
    let codes: Vec<&str> =
        failed.as_array().unwrap().iter().map(|run| run["error"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == "too_deep").count(), 1, "{codes:?}");
    // Each run counts once, with its own code; the class is that of what failed at the bottom.
    let figures = client.get_json(&format!("/api/v1/workflows/{workflow}/stats")).await;
    let counted = |code: &str| {
        let of_code = figures["errors"].as_array().unwrap().iter().find(|error| error["code"] == code);
        of_code.map(|error| (error["count"].clone(), error["class"].clone())).unwrap()
    };
    let (all, bottom) = (counted("child_failed"), counted("too_deep"));
    assert_eq!((&all.0, &bottom.0, &all.1), (&json!(16), &json!(1), &bottom.1), "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_takes_over_what_its_child_gave() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let child = Graph::default()
        .node("in", "input:text", json!({ "text": "kept" }))
        .node("said", "output:preview", json!({}))
        .edge("in.text", "said.value");
    let child = client.save("gives", &child).await;
    let parent = invoke(Graph::default(), "call", &child, &json!({}))
        .node("no", "debug:fail", json!({ "times": 9, "class": "invalid_request" }))
        .edge("call.said", "no.item");
    let failed = over(client, "resumed", &parent).await;
    assert_eq!(failed["status"], "FAILED");
    let resumed =
        client.post(&format!("/api/v1/workflows/executions/{}/resume", id_of(&failed)), &json!({}), "go on").await;
    assert_eq!(resumed.status, 201, "{resumed}");
    let again = client.ended(resumed.json()["executionId"].as_str().unwrap(), RUN_TIME_MAX).await;
    assert_eq!((&node(&again, "call")["state"], &output(&again, "call")["said"]), (&json!("CACHED"), &json!("kept")));
    assert_eq!(client.runs_of(&child).await.len(), 1, "the child did not run again");
}
