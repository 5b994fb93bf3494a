//! What a node says while it runs reaches those who watch: every piece once, in order, before the result.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// Pieces of each stream.
const PIECES: usize = 400;

fn streams(count: usize, ms: u64) -> Graph {
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    for number in 0..count {
        let id = format!("stream{number}");
        graph = graph
            .node(&id, "debug:stream", json!({ "count": PIECES, "ms": ms }))
            .edge("input.text", &format!("{id}.in"));
    }
    graph
}

fn whole() -> String {
    (0..PIECES).map(|number| format!("{number} ")).collect()
}

/// A run's events as one client sees them from now on, to the end: kind and data.
async fn watch(client: &Client, execution: &str) -> Vec<(String, Value)> {
    let request = client.request(Method::GET, &format!("/api/v1/workflows/executions/{execution}/events"));
    let text = request.header("accept", "text/event-stream").timeout(RUN_TIME_MAX).send().await.unwrap();
    let text = text.text().await.unwrap();
    let of = |block: &str| {
        let kind = block.lines().find_map(|line| line.strip_prefix("event: "))?.to_owned();
        let data: String = block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        Some((kind, serde_json::from_str(&data).unwrap()))
    };
    text.split("\n\n").filter_map(of).collect()
}

/// Waits until the first stream is further than this; how far it is then.
async fn progressed(client: &Client, execution: &str, than: f64) -> f64 {
    let path = format!("/api/v1/workflows/executions/{execution}/poll");
    wait::until("a stream at work", RUN_TIME_MAX, || async {
        let run = client.get_json(&path).await;
        let shown = run["nodeStates"].as_array().into_iter().flatten().find(|node| node["nodeId"] == "stream0");
        let progress = shown.and_then(|node| node["progress"].as_f64()).unwrap_or_default();
        if progress > than { Ok(progress) } else { Err(run["nodeStates"].to_string()) }
    })
    .await
}

/// The pieces of one node, if none is missing and none comes after its result.
fn pieces(events: &[(String, Value)], node: &str) -> String {
    let (mut next, mut text, mut is_over) = (0, String::new(), false);
    for (kind, data) in events.iter().filter(|(_, data)| data["nodeId"] == node) {
        match kind.as_str() {
            "node.delta" => {
                assert!(!is_over, "a piece after the result: {data}");
                assert_eq!(
                    (data["from"].as_u64(), &data["attempt"]),
                    (Some(next), &json!(1)),
                    "a gap or a double: {data}"
                );
                assert!(data.get("seq").is_none(), "{data}");
                next = data["to"].as_u64().unwrap() + 1;
                text.push_str(data["text"].as_str().unwrap());
            }
            "node.completed" => {
                assert_eq!(data["outputs"]["out"], json!(whole()));
                is_over = true;
            }
            _ => {}
        }
    }
    assert!(is_over, "{events:?}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_piece_reaches_those_who_watch_and_those_who_come_late() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let workflow = client.save("streams", &streams(4, 2)).await;
    let execution = client.run(&workflow, "streams").await;
    let (early, other) = (client.clone(), execution.clone());
    let early = tokio::spawn(async move { watch(&early, &other).await });
    assert!(progressed(client, &execution, 0.3).await < 1.0, "progress shows while it runs");
    let late = watch(client, &execution).await;
    let early = early.await.unwrap();
    for number in 0..4 {
        let node = format!("stream{number}");
        assert_eq!(pieces(&early, &node), whole());
        assert_eq!(pieces(&late, &node), whole(), "whoever comes late gets what is buffered");
    }
    let after = watch(client, &execution).await;
    assert!(after.iter().all(|(kind, _)| kind != "node.delta"), "pieces are in no history");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_over_a_restart_of_the_coordinator() {
    let mut cluster = Cluster::start(1, 4).await;
    let workflow = cluster.client().save("restart", &streams(1, 10)).await;
    let execution = cluster.client().run(&workflow, "restart").await;
    let (client, other) = (cluster.client().clone(), execution.clone());
    let watched = tokio::spawn(async move { watch(&client, &other).await });
    progressed(cluster.client(), &execution, 0.0).await;
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    let events = watched.await.unwrap();
    let deltas = events.iter().filter(|(kind, _)| kind == "node.delta");
    // What was said while nobody listened is a gap in the numbers; the result has it all.
    let last = deltas.filter_map(|(_, data)| data["to"].as_u64()).next_back();
    assert_eq!(last, Some(PIECES as u64 - 1), "the re-attached attempt goes on showing");
    let result = events.iter().find(|(kind, data)| kind == "node.completed" && data["nodeId"] == "stream0");
    assert_eq!(result.unwrap().1["outputs"]["out"], json!(whole()));
}

/// The row of a run that has just ended is there an instant before its last event is at hand.
#[tokio::test(flavor = "multi_thread")]
async fn lists_show_runs_that_end_at_this_moment() {
    const RUNS: usize = 1_500;
    const AT_ONCE: usize = 16;
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client().clone();
    let workflow = client.save("short", &Graph::default().node("n", "debug:noop", json!({}))).await;
    let path = format!("/api/v1/workflows/{workflow}/executions?limit=20");
    let (over, mut lists) = (Arc::<AtomicBool>::default(), tokio::task::JoinSet::new());
    for _ in 0..4 {
        let (client, path, over) = (client.clone(), path.clone(), over.clone());
        lists.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let answer = client.get(&path).await;
                assert!(answer.is_success(), "{answer}");
            }
        });
    }
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let (client, workflow) = (client.clone(), workflow.clone());
        runs.spawn(async move {
            for round in 0..RUNS / AT_ONCE {
                let run = client.run(&workflow, &format!("short {number} {round}")).await;
                client.ended(&run, RUN_TIME_MAX).await;
            }
        });
    }
    runs.join_all().await;
    over.store(true, Ordering::Relaxed);
    lists.join_all().await;
}
