//! What a policy says around failures, on a whole cluster: limits of what is at work at once hold across partitions and through
//! the death of the coordinator, and each level's word counts as the document says.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

/// Runs that share a limit.
const RUNS: usize = 12;
/// How long each of their nodes works.
const NODE_MS: u64 = 40;
/// How many of them may do so at once.
const LIMIT: usize = 2;
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

async fn cluster(arguments: &[&str]) -> Cluster {
    let arguments = vec![(Part::Coordinator, arguments.iter().map(|&word| word.to_owned()).collect())];
    Cluster::set_up(Shape::new(1, 2, 8), Setting { arguments, ..Setting::default() }).await
}

/// When each attempt of a run was given away and when its end was taken in, as the coordinator's clock has it.
async fn attempts(cluster: &Cluster, run: &str) -> Vec<(String, String)> {
    let trace = cluster.client().get_json(&format!("/api/v1/workflows/executions/{run}/trace")).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let nodes = trace["nodes"].as_array().unwrap();
    let attempts = nodes.iter().flat_map(|node| node["attempts"].as_array().unwrap());
    attempts.map(|attempt| (text(&attempt["assignedTime"]), text(&attempt["endTime"]))).collect()
}

/// The most of these that there were at once.
fn most_at_once(spans: &[(String, String)]) -> usize {
    // Of one instant, ends come first: a place is free before somebody else gets it.
    let mut turns: Vec<(&str, bool)> =
        spans.iter().flat_map(|(begin, end)| [(begin.as_str(), true), (end.as_str(), false)]).collect();
    turns.sort_unstable();
    let mut now: isize = 0;
    let counts = turns.into_iter().map(|(_, begins)| {
        now += if begins { 1 } else { -1 };
        now
    });
    usize::try_from(counts.max().unwrap_or_default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_across_runs_and_through_the_death_of_the_coordinator() {
    let mut cluster = cluster(&["--concurrency-limits", &format!("shared:*={LIMIT}")]).await;
    let graph = (0..3).fold(Graph::default().node("input", "input:text", json!({ "text": "thread" })), |graph, ix| {
        let (id, config) = (format!("n{ix}"), json!({ "ms": NODE_MS }));
        let policy = json!({ "concurrencyKey": "shared:{{tenant}}" });
        graph.node_with(&id, "debug:sleep", config, policy).edge("input.text", &format!("{id}.in"))
    });
    let workflow = cluster.client().save("limited", &graph).await;
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(cluster.client().run(&workflow, &format!("limited {number}")).await);
    }
    // While some work, others wait for a place and say so.
    wait::until("word of who waits for a place", RUN_TIME_MAX, || async {
        let mut said = Vec::new();
        for run in &runs {
            let poll = cluster.client().get_json(&format!("/api/v1/workflows/executions/{run}/poll")).await;
            said.extend(poll["waitingOn"].as_array().unwrap().clone());
        }
        let waits = |waiting: &Value| waiting["kind"] == "concurrency" && waiting["need"] == "shared:default";
        if said.iter().any(waits) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    let mut spans = Vec::new();
    for run in &runs {
        let ended = cluster.client().ended(run, RUN_TIME_MAX).await;
        assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
        spans.extend(attempts(&cluster, run).await);
    }
    assert!(spans.len() >= 3 * RUNS, "{} attempts", spans.len());
    assert_eq!(most_at_once(&spans), LIMIT, "of {} attempts", spans.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_of_policy_counts_where_the_ones_above_are_silent() {
    let cluster = cluster(&["--node-policy", r#"{"retry": {"maxAttempts": 3, "initialMs": 1}}"#]).await;
    let graph = Graph::default().node("server", "debug:fail", json!({ "times": 9 })).node_with(
        "own",
        "debug:fail",
        json!({ "times": 9 }),
        json!({ "retry": { "maxAttempts": 1 } }),
    );
    let tries = async |name: &str, policy: Option<&str>| {
        let mut body = graph.named(name);
        if let Some(policy) = policy {
            body["policy"] = serde_json::from_str(policy).unwrap();
        }
        let saved = cluster.client().post("/api/v1/workflows", &body, &format!("save {name}")).await;
        assert!(saved.is_success(), "{saved}");
        let workflow = saved.json()["id"].as_str().unwrap().to_owned();
        let run = cluster.client().run(&workflow, name).await;
        let ended = cluster.client().ended(&run, RUN_TIME_MAX).await;
        let nodes = ended["nodeRuns"].as_array().unwrap();
        let of = |id: &str| nodes.iter().find(|node| node["nodeId"] == id).unwrap()["attempts"].clone();
        (of("server"), of("own"), ended["status"].clone(), workflow)
    };
    // A run whose failures are caught shows how often each node was tried.
    let caught = r#"{"onError": "continue", "retry": {"maxAttempts": 2}}"#;
    let (server, own, status, workflow) = tries("workflow's", Some(caught)).await;
    assert_eq!((server, own, status), (2.into(), 1.into(), "COMPLETED".into()));
    let (server, own, status, _) = tries("server's", Some(r#"{"onError": "continue"}"#)).await;
    assert_eq!((server, own, status), (3.into(), 1.into(), "COMPLETED".into()));
    assert_eq!(tries("nobody's", None).await.2, "FAILED");
    // The policy is part of the document: it is kept as it was sent, and goes when the graph is replaced without it.
    let path = format!("/api/v1/workflows/{workflow}");
    let kept = cluster.client().get_json(&path).await;
    assert_eq!(kept["policy"], serde_json::from_str::<Value>(caught).unwrap(), "{kept}");
    let replaced = cluster.client().request(Method::PUT, &path).json(&graph.parts()).send().await.unwrap();
    assert!(replaced.status().is_success(), "{replaced:?}");
    assert_eq!(cluster.client().get_json(&path).await.get("policy"), None);
    let lint = async |policy: Value| {
        let mut body = graph.parts();
        body["policy"] = policy;
        cluster.client().post("/api/v1/workflows/lint", &body, "lint").await.json()
    };
    let refused = lint(json!({ "retry": { "tries": 1 } })).await;
    assert_eq!(refused["violations"][0]["path"], "/policy/retry/tries", "{refused}");
    let fine = lint(json!({ "timeoutMs": 1 })).await;
    assert!(fine["violations"].as_array().unwrap().is_empty(), "{fine}");
}
