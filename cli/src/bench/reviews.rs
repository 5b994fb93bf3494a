//! Reviews: from a person's answer to the start of what waits for it, while thousands of runs wait on disk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::Cluster;
use super::http::Connection;
use super::measured::Measured;
use super::parked::evicted;
use super::report::{Report, round};
use super::share::Share;
use super::{graphs, quantile};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::BENCH_BESIDE_TIME_MAX;
use crate::ui::clock;

const CONNECTIONS: usize = 32;
/// Runs that wait for people.
const PARKED_RUNS: usize = 10_000;
/// Of them, those that are answered before it counts, and those that count.
const WARM_UP_REVIEWS: usize = 50;
const REVIEWS: usize = 500;
/// Pause between two looks at a run that was answered.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// From the request that decides a review to the beginning of the node after it, by the trace, and to the answer.
pub(super) async fn answered(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::reviewed()).await?;
    let runs = park(cluster, &workflow).await?;
    evicted(cluster).await?;
    let mut connection = cluster.connect().await?;
    // All over the runs, so that what lies beside each other on disk is not read once for all.
    let chosen: Vec<&String> = runs.iter().step_by(PARKED_RUNS / (WARM_UP_REVIEWS + REVIEWS)).collect();
    let (warm_up, counted) = chosen.split_at(WARM_UP_REVIEWS);
    for run in warm_up {
        answer(&mut connection, run).await?;
    }
    let before = cluster.counters().await?;
    let (mut starts_ms, mut answers_ms) = (Vec::new(), Vec::new());
    for run in counted.iter().take(REVIEWS) {
        let (start_ms, answer_ms) = answer(&mut connection, run).await?;
        starts_ms.push(start_ms);
        answers_ms.push(answer_ms);
    }
    let after = cluster.counters().await?;
    let line = Measured::Review {
        parked_runs: runs.len(),
        reviews: starts_ms.len(),
        start_p50_ms: round(quantile(&starts_ms, 0.5)),
        start_p99_ms: round(quantile(&starts_ms, 0.99)),
        answer_p50_ms: round(quantile(&answers_ms, 0.5)),
        answer_p99_ms: round(quantile(&answers_ms, 0.99)),
    };
    report.line(line, after.since(before))
}

/// Starts the runs that wait; gives their ids.
async fn park(cluster: &Cluster, workflow: &str) -> Result<Vec<String>> {
    let share = Share::of(PARKED_RUNS);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = cluster.connect().await?;
        let (share, workflow) = (share.clone(), workflow.to_owned());
        tasks.spawn(async move {
            let mut started = Vec::new();
            while share.take() {
                started.push(connection.execute(&workflow).await?);
            }
            Ok::<_, Failure>(started)
        });
    }
    let mut runs = Vec::with_capacity(PARKED_RUNS);
    while let Some(joined) = tasks.join_next().await {
        runs.extend(joined.context(Exit::Failed, "the load generator broke")??);
    }
    Ok(runs)
}

/// Answers the review of a run; gives the milliseconds to the start of the next node, and to the answer.
async fn answer(connection: &mut Connection, run: &str) -> Result<(f64, f64)> {
    #[derive(Deserialize)]
    struct Open {
        id: String,
    }
    let open: Vec<Open> = connection.get(&format!("/api/v1/reviews?executionId={run}")).await?;
    let [review] = open.as_slice() else { return Err(Failure::failed(format!("{run} does not wait for one review"))) };
    let body = json!({ "decision": "approve" }).to_string();
    let (since, since_ms) = (Instant::now(), now_ms());
    let path = format!("/api/v1/reviews/{}/decision", review.id);
    connection.post::<serde_json::Value>(&path, body.as_bytes()).await?;
    let answer_ms = since.elapsed().as_secs_f64() * 1e3;
    let started_ms = started_ms(connection, run).await?;
    Ok(((started_ms - since_ms).max(0.0), answer_ms))
}

/// When the node after the review began, in milliseconds since 1970.
async fn started_ms(connection: &mut Connection, run: &str) -> Result<f64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Node {
        attempt_runs: Vec<Attempt>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Attempt {
        start_time: Option<String>,
    }
    let path = format!("/api/v1/workflows/executions/{run}/nodes/{}", graphs::AFTER_REVIEW);
    let until = Instant::now() + BENCH_BESIDE_TIME_MAX;
    loop {
        let node: Node = connection.get(&path).await?;
        let started = node.attempt_runs.first().and_then(|attempt| attempt.start_time.as_deref());
        if let Some(started) = started.and_then(clock::parse) {
            return Ok(started as f64);
        }
        if Instant::now() > until {
            return Err(Failure::new(Exit::Timeout, format!("{run} did not go on after its review")));
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}
