//! A child lives through the death of its coordinator as any run does: what its parent gave stays taken over.

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use serde_json::json;

use super::{EFFECTS, RUN_TIME_MAX, completed, id, in_state, run_path, worked};

const LENGTH: usize = 8;
const BEFORE: usize = 4;

/// A chain of effects, of which each takes a moment.
fn slow() -> Graph {
    let mut graph = Graph::default().node("topic", "input:text", json!({ "text": "tides" }));
    for number in 0..LENGTH {
        let before = if number == 0 { "topic.text".to_owned() } else { format!("n{}.out", number - 1) };
        graph = graph.node(&format!("n{number}"), "debug:effect", json!({ "file": EFFECTS, "ms": 60 }));
        graph = graph.edge(&before, &format!("n{number}.in"));
    }
    graph
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_goes_on_after_its_coordinator_was_killed() {
    let mut cluster = Cluster::start(1, 4).await;
    let parent = completed(cluster.client(), "slow", &slow()).await;
    let (path, client) = (run_path(&id(&parent), "resume"), cluster.client().clone());
    let body = json!({ "fromNodeId": format!("n{BEFORE}"), "downstream": "all" });
    let started = client.post(&path, &body, "the one child").await;
    assert_eq!(started.status, 201, "{started}");
    let child = text(&started.json()["executionId"]);
    wait::until("a child half-way", RUN_TIME_MAX, || async {
        let done = worked(&cluster, &child).len();
        if done >= 2 { Ok(()) } else { Err(format!("{done} nodes are done")) }
    })
    .await;
    cluster.restart(Part::Coordinator);
    let ended = client.ended(&child, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let expected: Vec<String> = (BEFORE..LENGTH).map(|number| format!("n{number}")).collect();
    let done = worked(&cluster, &child);
    assert_eq!(done.keys().cloned().collect::<Vec<_>>(), expected, "nothing before the start, and nothing left out");
    let reused: Vec<String> = (0..BEFORE).map(|number| format!("n{number}")).collect();
    assert_eq!(in_state(&ended, "CACHED"), reused);
    assert_eq!(ended["parentExecutionId"], parent["id"]);

    // Whoever had no answer asks again, and gets the same child.
    let again = client.post(&path, &body, "the one child").await;
    assert_eq!((again.status, &again.json()["executionId"]), (201, &json!(child)), "{again}");
    assert_eq!(again.headers.get("idempotent-replayed").map(|value| value.as_bytes()), Some(&b"true"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn children_whose_start_is_cut_off_are_whole_or_not_there() {
    let mut cluster = Cluster::start(1, 4).await;
    let parent = completed(cluster.client(), "short", &slow()).await;
    let (path, client) = (run_path(&id(&parent), "resume"), cluster.client().clone());
    for turn in 0..4 {
        let body = json!({ "fromNodeId": format!("n{}", LENGTH - 1) });
        let key = format!("child {turn}");
        let asked = client.post(&path, &body, &key);
        let killed = async {
            wait::pace(std::time::Duration::from_millis(turn * 3)).await;
            cluster.restart(Part::Coordinator);
        };
        let (answer, ()) = tokio::join!(asked, killed);
        assert_eq!(answer.status, 201, "{answer}");
        let ended = client.ended(&text(&answer.json()["executionId"]), RUN_TIME_MAX).await;
        assert_eq!((&ended["status"], in_state(&ended, "CACHED").len()), (&json!("COMPLETED"), LENGTH - 1), "{ended}");
    }
}
