//! W4 and W5: runs that wait.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::machine::resident_bytes;
use super::report::{Measured, Report, round};
use super::share::Share;
use super::{graphs, quantile};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{BENCH_EVICT_WAIT_MAX, BENCH_FILL_TIME_MAX};

const CONNECTIONS: usize = 32;
const WARM_UP_RUNS: usize = 500;
/// Runs per batch of W4: few enough to be submitted before the first of them leaves memory.
const BATCH_RUNS: usize = 4_000;
/// Batches of W4 after the first has left memory.
const BATCHES: usize = 4;
/// Waiting runs in the database when W5 starts the coordinator.
const START_RUNS: usize = 100_000;
const STARTS: usize = 3;
/// A run may be in memory for another reason than being new; so many do not spoil a slope.
const IN_MEMORY_REST: u64 = 8;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// W4: what one more waiting run adds to the coordinator's resident memory, while it is in memory and when it has left.
pub(super) async fn memory(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::parked()).await?;
    park(cluster, &workflow, WARM_UP_RUNS, None).await?;
    evicted(cluster).await?;
    let before = cluster.counters().await?;

    park(cluster, &workflow, BATCH_RUNS / 2, None).await?;
    let half = sample(cluster).await?;
    park(cluster, &workflow, BATCH_RUNS / 2, None).await?;
    let full = sample(cluster).await?;
    evicted(cluster).await?;
    let (first, _) = sample(cluster).await?;
    for _ in 0..BATCHES {
        park(cluster, &workflow, BATCH_RUNS, None).await?;
        evicted(cluster).await?;
    }
    let (last, _) = sample(cluster).await?;

    let held = full.1.saturating_sub(half.1);
    // When most of the second half left memory while it was submitted, there is nothing to divide by.
    let bytes_before = (held >= BATCH_RUNS as u64 / 4).then(|| per_run(half.0, full.0, held));
    let bytes_after = per_run(first, last, (BATCHES * BATCH_RUNS) as u64);
    let after = cluster.counters().await?;
    let runs = BATCH_RUNS * (BATCHES + 1);
    let line = Measured::W4 { bytes_before, bytes_after, runs, resident_bytes: last };
    report.line(line, after.since(before))
}

/// W5: from the start of the coordinator's process to its word that it is ready, on a database full of waiting runs.
pub(super) async fn start(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::parked()).await?;
    let before = cluster.counters().await?;
    let missing = START_RUNS.saturating_sub(cluster.parked_runs());
    park(cluster, &workflow, missing, Some(Instant::now() + BENCH_FILL_TIME_MAX)).await?;
    let after = cluster.counters().await?;
    evicted(cluster).await?;
    let mut times_ms = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        times_ms.push(cluster.restart_coordinator().await?.as_secs_f64() * 1e3);
    }
    let start_ms = round(quantile(&times_ms, 0.5));
    let line = Measured::W5 { start_ms, parked_runs: cluster.parked_runs(), starts: STARTS };
    report.line(line, after.since(before))
}

/// Starts waiting runs until there are `runs` more, or the time is over.
async fn park(cluster: &Cluster, workflow: &str, runs: usize, until: Option<Instant>) -> Result<()> {
    let share = Share::of(runs);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = cluster.connect().await?;
        let (share, workflow) = (share.clone(), workflow.to_owned());
        tasks.spawn(async move {
            let mut started = 0;
            while until.is_none_or(|until| Instant::now() < until) && share.take() {
                connection.execute(&workflow).await?;
                started += 1;
            }
            Ok(started)
        });
    }
    while let Some(joined) = tasks.join_next().await {
        cluster.add_parked_runs(joined.context(Exit::Failed, "the load generator broke")??);
    }
    Ok(())
}

/// Waits until next to no run is in the coordinator's memory.
async fn evicted(cluster: &Cluster) -> Result<()> {
    let until = Instant::now() + BENCH_EVICT_WAIT_MAX;
    loop {
        let held = cluster.counters().await?.runs_in_memory;
        if held <= IN_MEMORY_REST {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Failure::new(Exit::Timeout, format!("{held} waiting runs did not leave memory")));
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// The coordinator's resident bytes, and the runs it has in memory.
async fn sample(cluster: &Cluster) -> Result<(u64, u64)> {
    let runs = cluster.counters().await?.runs_in_memory;
    let bytes = cluster.coordinator_pid().and_then(resident_bytes);
    let bytes = bytes.ok_or_else(|| Failure::failed("this system does not tell how much memory a process has"))?;
    Ok((bytes, runs))
}

fn per_run(from: u64, to: u64, runs: u64) -> i64 {
    ((to as f64 - from as f64) / runs as f64).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_may_fall() {
        assert_eq!(per_run(1_000, 3_000, 20), 100);
        assert_eq!(per_run(3_000, 1_000, 20), -100);
    }
}
