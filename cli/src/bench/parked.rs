//! W4 and W5: runs that wait.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::machine::resident_bytes;
use super::measured::Measured;
use super::report::{Report, round};
use super::share::Share;
use super::{graphs, quantile, slope};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{BENCH_EVICT_WAIT_MAX, BENCH_FILL_TIME_MAX};

const CONNECTIONS: usize = 32;
const WARM_UP_RUNS: usize = 500;
/// How long one half of the runs takes to submit that W4 measures in memory: shorter than a run stays there.
const HALF_TIME: Duration = Duration::from_millis(600);
/// Bounds of such a half.
const HALF_RUNS_MIN: usize = 200;
const HALF_RUNS_MAX: usize = 2_000;
/// Waiting runs in the database when W5 starts the coordinator.
const START_RUNS: usize = 100_000;
/// The last of them, over which W4 takes the slope of those that left memory: by then all caches of bounded size are
/// full, and what still grows grows with the runs.
const SLOPE_RUNS: usize = 50_000;
/// Looks at the memory on the way, so that what the allocator happens to hold at one of them does not make the slope.
const SLOPE_LOOKS: usize = 10;
const STARTS: usize = 3;
/// A run may be in memory for another reason than being new; so many do not spoil a slope.
const IN_MEMORY_REST: u64 = 8;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// W4: what one more waiting run adds to the coordinator's resident memory, while it is in memory and when it has left.
pub(super) async fn memory(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::parked()).await?;
    let since = Instant::now();
    park(cluster, &workflow, WARM_UP_RUNS, None).await?;
    let rate = WARM_UP_RUNS as f64 / since.elapsed().as_secs_f64();
    evicted(cluster, IN_MEMORY_REST).await?;
    let before = cluster.counters().await?;

    let half_runs = ((rate * HALF_TIME.as_secs_f64()) as usize).clamp(HALF_RUNS_MIN, HALF_RUNS_MAX);
    park(cluster, &workflow, half_runs, None).await?;
    let half = sample(cluster).await?;
    park(cluster, &workflow, half_runs, None).await?;
    let full = sample(cluster).await?;
    let held = full.1.saturating_sub(half.1);
    // When most of the first half left memory meanwhile, there is nothing to divide by.
    let bytes_before = (held >= half_runs as u64 / 2).then(|| per_run(half.0, full.0, held));

    let Filled { bytes_after, resident_bytes, .. } = filled(cluster, &workflow).await?;
    let after = cluster.counters().await?;
    let line = Measured::W4 { bytes_before, bytes_after, parked_runs: cluster.parked_runs(), resident_bytes };
    report.line(line, after.since(before))
}

/// Waiting runs up to [`START_RUNS`], all of which have left memory.
pub(super) struct Filled {
    /// What one more of the last of them added.
    pub(super) bytes_after: i64,
    /// The most that the coordinator had.
    pub(super) resident_bytes: u64,
    /// Those that were started for it.
    pub(super) runs: Vec<String>,
}

/// Fills the database with waiting runs.
pub(super) async fn filled(cluster: &Cluster, workflow: &str) -> Result<Filled> {
    let mut runs = fill(cluster, workflow, START_RUNS - SLOPE_RUNS, BENCH_FILL_TIME_MAX).await?;
    let from = cluster.parked_runs();
    let mut looks = vec![(from as u64, sample(cluster).await?.0)];
    for look in 1..=SLOPE_LOOKS {
        let until = from + look * SLOPE_RUNS / SLOPE_LOOKS;
        runs.extend(fill(cluster, workflow, until, BENCH_FILL_TIME_MAX / 8).await?);
        looks.push((cluster.parked_runs() as u64, sample(cluster).await?.0));
    }
    let resident_bytes = looks.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
    Ok(Filled { bytes_after: slope(&looks).round() as i64, resident_bytes, runs })
}

/// W5: from the start of the coordinator's process to its word that it is ready, on a database full of waiting runs.
pub(super) async fn start(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::parked()).await?;
    let before = cluster.counters().await?;
    // After W4 next to nothing is missing, unless making them takes too long anyway.
    let is_begun = cluster.parked_runs() > 0;
    let time = if is_begun { BENCH_FILL_TIME_MAX / 4 } else { BENCH_FILL_TIME_MAX };
    fill(cluster, &workflow, START_RUNS, time).await?;
    let after = cluster.counters().await?;
    let start_ms = start_ms(cluster).await?;
    let line = Measured::W5 { start_ms, parked_runs: cluster.parked_runs(), starts: STARTS };
    report.line(line, after.since(before))
}

/// The median of a few starts of the coordinator's process, in milliseconds.
pub(super) async fn start_ms(cluster: &mut Cluster) -> Result<f64> {
    let mut times_ms = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        times_ms.push(cluster.restart_coordinator().await?.as_secs_f64() * 1e3);
    }
    Ok(round(quantile(&times_ms, 0.5)))
}

/// Starts waiting runs until there are `runs` in all, or the time is over, and waits until they have left memory; gives
/// their ids.
async fn fill(cluster: &Cluster, workflow: &str, runs: usize, time: Duration) -> Result<Vec<String>> {
    let missing = runs.saturating_sub(cluster.parked_runs());
    let started = park(cluster, workflow, missing, Some(Instant::now() + time)).await?;
    evicted(cluster, IN_MEMORY_REST).await?;
    Ok(started)
}

/// Starts waiting runs until there are `runs` more, or the time is over; gives their ids.
async fn park(cluster: &Cluster, workflow: &str, runs: usize, until: Option<Instant>) -> Result<Vec<String>> {
    let share = Share::of(runs);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = cluster.connect().await?;
        let (share, workflow) = (share.clone(), workflow.to_owned());
        tasks.spawn(async move {
            let mut started = Vec::new();
            while until.is_none_or(|until| Instant::now() < until) && share.take() {
                started.push(connection.execute(&workflow).await?);
            }
            Ok(started)
        });
    }
    let mut runs = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let started = joined.context(Exit::Failed, "the load generator broke")??;
        cluster.add_parked_runs(started.len());
        runs.extend(started);
    }
    Ok(runs)
}

/// Waits until no more than `rest` runs are in the coordinator's memory.
pub(super) async fn evicted(cluster: &Cluster, rest: u64) -> Result<()> {
    let until = Instant::now() + BENCH_EVICT_WAIT_MAX;
    loop {
        let held = cluster.counters().await?.runs_in_memory;
        if held <= rest {
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
        assert_eq!(slope(&[(0, 5_000), (10, 4_000), (20, 3_000)]), -100.0);
    }

    #[test]
    fn one_look_that_strays_does_not_make_the_slope() {
        let mut looks: Vec<(u64, u64)> = (0..10).map(|look| (look * 100, 50_000 + look * 700)).collect();
        looks[9].1 += 1_000_000;
        assert_eq!(slope(&looks), 7.0);
    }
}
