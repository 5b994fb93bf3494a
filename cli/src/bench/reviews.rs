//! Reviews: from a person's answer to the start of what waits for it, while many runs wait on disk, and of a run with a
//! long history.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::cluster::Cluster;
use super::http::Connection;
use super::measured::Measured;
use super::parked::{self, evicted};
use super::report::{Report, round};
use super::{graphs, quantile};
use crate::error::{Exit, Failure, Result};
use crate::limits::{BENCH_BESIDE_TIME_MAX, BENCH_FILL_TIME_MAX};
use crate::ui::clock;

/// Of the runs that wait, those that are answered before it counts, and those that count.
const WARM_UP_REVIEWS: usize = 50;
const REVIEWS: usize = 500;
/// The long run: maps of so many items one after the other, and how often it asks people then. An item is two nodes, so
/// that there are a million events of half as many items.
const LONG_MAPS: usize = 5;
const LONG_MAP_ITEMS: usize = 100_000;
const LONG_REVIEWS: usize = 10;
/// Pause between two looks at a run.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What a run that waits for people costs, and how fast it goes on when they answer.
pub(super) async fn measure(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    short(cluster, report).await?;
    long(cluster, report).await
}

/// Some of many short runs.
async fn short(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::reviewed()).await?;
    let filled = parked::filled(cluster, &workflow).await?;
    let coordinator_start_ms = parked::start_ms(cluster).await?;
    let mut connection = cluster.connect().await?;
    // All over the runs, so that what lies beside each other on disk is not read once for all.
    let step = (filled.runs.len() / (WARM_UP_REVIEWS + REVIEWS)).max(1);
    let mut chosen = filled.runs.iter().step_by(step);
    for run in chosen.by_ref().take(WARM_UP_REVIEWS) {
        answer(&mut connection, run, graphs::AFTER_REVIEW).await?;
    }
    let before = cluster.counters().await?;
    let mut times = Times::default();
    for run in chosen.take(REVIEWS) {
        times.take_down(answer(&mut connection, run, graphs::AFTER_REVIEW).await?);
    }
    let line = Measured::Review {
        parked_runs: filled.runs.len(),
        bytes_after: filled.bytes_after,
        coordinator_start_ms,
        reviews: times.starts_ms.len(),
        start_p50_ms: round(quantile(&times.starts_ms, 0.5)),
        start_p99_ms: round(quantile(&times.starts_ms, 0.99)),
        answer_p50_ms: round(quantile(&times.answers_ms, 0.5)),
        answer_p99_ms: round(quantile(&times.answers_ms, 0.99)),
    };
    report.line(line, cluster.counters().await?.since(before))
}

/// One long run, which is on disk only whenever it is answered.
async fn long(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let mut connection = cluster.connect().await?;
    let workflow = connection.save(&graphs::long_reviewed(LONG_MAPS, LONG_MAP_ITEMS, LONG_REVIEWS)).await?;
    let before = cluster.counters().await?;
    let run = connection.execute(&workflow).await?;
    let mut times = Times::default();
    let mut events = 0;
    for at in 0..LONG_REVIEWS {
        asked(&mut connection, &run).await?;
        events = cluster.counters().await?.since(before).event_rows;
        evicted(cluster, 0).await?;
        times.take_down(answer(&mut connection, &run, &graphs::after_review(at)).await?);
    }
    let line = Measured::LongReview {
        events,
        reviews: times.starts_ms.len(),
        start_p50_ms: round(quantile(&times.starts_ms, 0.5)),
        start_max_ms: round(quantile(&times.starts_ms, 1.0)),
        answer_p50_ms: round(quantile(&times.answers_ms, 0.5)),
        answer_max_ms: round(quantile(&times.answers_ms, 1.0)),
    };
    report.line(line, cluster.counters().await?.since(before))
}

/// From the request that decides a review.
#[derive(Default)]
struct Times {
    /// To the start of the next node.
    starts_ms: Vec<f64>,
    /// To the answer.
    answers_ms: Vec<f64>,
}

impl Times {
    fn take_down(&mut self, (start_ms, answer_ms): (f64, f64)) {
        self.starts_ms.push(start_ms);
        self.answers_ms.push(answer_ms);
    }
}

#[derive(Deserialize)]
struct Open {
    id: String,
}

/// Waits until a run asks people.
async fn asked(connection: &mut Connection, run: &str) -> Result<()> {
    let until = Instant::now() + BENCH_FILL_TIME_MAX;
    while open(connection, run).await?.is_empty() {
        if Instant::now() > until {
            return Err(Failure::new(Exit::Timeout, format!("{run} asked nobody")));
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

async fn open(connection: &mut Connection, run: &str) -> Result<Vec<Open>> {
    connection.get(&format!("/api/v1/reviews?executionId={run}")).await
}

/// Answers the review of a run; gives the milliseconds to the start of the node after it, and to the answer.
async fn answer(connection: &mut Connection, run: &str, next: &str) -> Result<(f64, f64)> {
    let open = open(connection, run).await?;
    let [review] = open.as_slice() else { return Err(Failure::failed(format!("{run} does not wait for one review"))) };
    let body = json!({ "decision": "approve" }).to_string();
    let (since, since_ms) = (Instant::now(), now_ms());
    let path = format!("/api/v1/reviews/{}/decision", review.id);
    connection.post::<serde_json::Value>(&path, body.as_bytes()).await?;
    let answer_ms = since.elapsed().as_secs_f64() * 1e3;
    let started_ms = started_ms(connection, run, next).await?;
    Ok(((started_ms - since_ms).max(0.0), answer_ms))
}

/// When the node after the review began, in milliseconds since 1970.
async fn started_ms(connection: &mut Connection, run: &str, next: &str) -> Result<f64> {
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
    let path = format!("/api/v1/workflows/executions/{run}/nodes/{next}");
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
