//! The works map and loop: one long run of items or turns, whether what each costs stays the same, and what another
//! tenant notices of it.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::cluster::Cluster;
use super::http::Connection;
use super::measured::{Beside, Costs, Long, Measured};
use super::progress::Progress;
use super::report::{Report, round};
use super::{graphs, machine, quantile, slope};
use crate::error::{Failure, Result};
use crate::limits::BENCH_BESIDE_TIME_MAX;

/// Small runs that are not measured.
const WARM_UP_RUNS: usize = 50;
/// They are begun so far from each other, or one after the other if they take longer: fifty a second burden nobody.
const CANARY_PERIOD: Duration = Duration::from_millis(20);
/// Small runs before each of the long ones, while nothing else is there. The two take turns, so that what else goes on on
/// the machine spoils neither more than the other. A 99th percentile of a few hundred is the luck of three or four of them.
const QUIET_RUNS: usize = 150;
/// Long runs with small ones beside them: at least so many, and until there were enough small ones.
const ROUNDS_MIN: usize = 8;
const BUSY_RUNS_MIN: usize = 3_000;
/// Long runs with nothing beside them: what an item costs is the median of all, since one look at a few dozen milliseconds is as
/// much of what the machine did just then.
const ALONE_RUNS: usize = 5;
/// Turns of the loop: as many as one may have.
const TURNS: usize = 10_000;
/// Where the first cost is taken; the last is taken at the end.
const EARLY: usize = 1_000;
/// Over how many items: one in so many of all.
const WINDOW_SHARE: usize = 50;
/// At least so many of them.
const WINDOW_MIN: usize = 500;

/// Runs of a map over `items` items beside small runs of another tenant, and some by themselves.
pub(super) async fn map(cluster: &Cluster, items: usize, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::map(items)).await?;
    let concurrency = graphs::MAP_CONCURRENCY;
    long(cluster, &workflow, items, report, |long| Measured::Map { items, concurrency, long }).await
}

/// The same with a loop.
pub(super) async fn turns(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let workflow = cluster.connect().await?.save(&graphs::turns(TURNS)).await?;
    long(cluster, &workflow, TURNS, report, |long| Measured::Loop { turns: TURNS, long }).await
}

async fn long(
    cluster: &Cluster,
    workflow: &str,
    count: usize,
    report: &mut Report,
    measured: impl FnOnce(Long) -> Measured,
) -> Result<()> {
    let mut connection = cluster.connect().await?;
    let mut canary = Canary::of_another_tenant(cluster).await?;
    canary.one_by_one(WARM_UP_RUNS).await?;
    let bytes_idle = cluster.coordinator_pid().and_then(machine::resident_bytes);
    let bytes_idle =
        bytes_idle.ok_or_else(|| Failure::failed("this system does not tell what memory a process takes"))?;
    let beside = beside(&mut connection, workflow, &mut canary).await?;
    let (mut walls_ms, mut looked_at) = (Vec::new(), Vec::new());
    let mut before = cluster.counters().await?;
    for _ in 0..ALONE_RUNS {
        before = cluster.counters().await?;
        let since = Instant::now();
        let ((), progress) = Progress::of(cluster, connection.run(workflow)).await?;
        walls_ms.push(since.elapsed().as_secs_f64() * 1e3);
        looked_at.push(progress);
    }
    // Rows, attempts and commits are those of the last one.
    let after = cluster.counters().await?;
    let wall_ms = quantile(&walls_ms, 0.5);
    let long = Long {
        runs: ALONE_RUNS,
        wall_ms: round(wall_ms),
        per_s: (count as f64 / wall_ms * 1e3).round() as u64,
        costs: costs(&looked_at, count),
        bytes_idle,
        beside,
    };
    report.line(measured(long), after.since(before))
}

/// Small runs that are looked at by how long they take.
struct Canary {
    connection: Connection,
    workflow: String,
}

impl Canary {
    async fn of_another_tenant(cluster: &Cluster) -> Result<Self> {
        let mut connection = cluster.connect_as_another_tenant("canary").await?;
        let workflow = connection.save(&graphs::chain()).await?;
        Ok(Self { connection, workflow })
    }

    /// At the canary's pace; what each of them took, in milliseconds.
    async fn one_by_one(&mut self, runs: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            times.push(self.one().await?);
        }
        Ok(times)
    }

    /// The same until `long` is over.
    async fn until<T>(&mut self, long: impl Future<Output = Result<T>>) -> Result<Vec<f64>> {
        let is_over = Cell::new(false);
        let long = async {
            let done = long.await;
            is_over.set(true);
            done
        };
        let small = async {
            let mut times = Vec::new();
            while !is_over.get() {
                let time = self.one().await?;
                // The last one was not beside the other all the time.
                if !is_over.get() {
                    times.push(time);
                }
            }
            Ok(times)
        };
        let (_, times) = tokio::try_join!(long, small)?;
        Ok(times)
    }

    async fn one(&mut self) -> Result<f64> {
        let since = Instant::now();
        self.connection.run(&self.workflow).await?;
        let time = since.elapsed();
        sleep_until(since + CANARY_PERIOD).await;
        Ok(time.as_secs_f64() * 1e3)
    }
}

async fn beside(connection: &mut Connection, workflow: &str, canary: &mut Canary) -> Result<Beside> {
    let (mut quiet, mut busy, mut walls_ms) = (Vec::new(), Vec::new(), Vec::new());
    let begun = Instant::now();
    while walls_ms.len() < ROUNDS_MIN || busy.len() < BUSY_RUNS_MIN && begun.elapsed() < BENCH_BESIDE_TIME_MAX {
        quiet.extend(canary.one_by_one(QUIET_RUNS).await?);
        let since = Instant::now();
        let long = async {
            connection.run(workflow).await?;
            walls_ms.push(since.elapsed().as_secs_f64() * 1e3);
            Ok(())
        };
        busy.extend(canary.until(long).await?);
    }
    let [quiet_p50_ms, quiet_p99_ms] = [0.5, 0.99].map(|q| round(quantile(&quiet, q)));
    let [busy_p50_ms, busy_p99_ms] = [0.5, 0.99].map(|q| round(quantile(&busy, q)));
    Ok(Beside {
        long_runs: walls_ms.len(),
        wall_beside_ms: round(quantile(&walls_ms, 0.5)),
        quiet_runs: quiet.len(),
        busy_runs: busy.len(),
        quiet_p50_ms,
        quiet_p99_ms,
        busy_p50_ms,
        busy_p99_ms,
        p50_ratio: round(busy_p50_ms / quiet_p50_ms),
        p99_ratio: round(busy_p99_ms / quiet_p99_ms),
    })
}

/// What an item cost early and late, each the median of all runs, and how much memory there was on the way: that of the first
/// run, and the most of all.
fn costs(runs: &[Progress], items: usize) -> Costs {
    let (items, early) = (items as u64, EARLY.min(items / 10) as u64);
    let window = (items / WINDOW_SHARE as u64).max(WINDOW_MIN as u64).min(items / 10);
    let cost_us = |from: u64, to: u64| -> (f64, f64) {
        let costs: Vec<(f64, f64)> = runs.iter().map(|run| run.cost_us(from, to)).collect();
        let median = |one: fn(&(f64, f64)) -> f64| quantile(&costs.iter().map(one).collect::<Vec<_>>(), 0.5);
        (median(|cost| cost.0), median(|cost| cost.1))
    };
    let (early_us, early_processor_us) = cost_us(early, early + window);
    // The last look spans the run's end, so the last items are as many from it as the first from its start.
    let (late_us, late_processor_us) = cost_us(items - early - window, items - early);
    let tenths: Vec<(f64, f64)> = (0..10).map(|tenth| cost_us(items * tenth / 10, items * (tenth + 1) / 10)).collect();
    let bytes_at = |items: u64| runs.first().map_or(0, |run| run.bytes_at(items));
    let bytes_tenths: Vec<u64> = (1..=10).map(|tenth| bytes_at(items * tenth / 10)).collect();
    let looks: Vec<(u64, u64)> = (1..=10).map(|tenth| (items * tenth / 10, bytes_tenths[tenth as usize - 1])).collect();
    Costs {
        early_us: round(early_us),
        late_us: round(late_us),
        ratio: round(late_us / early_us),
        early_processor_us: round(early_processor_us),
        late_processor_us: round(late_processor_us),
        processor_ratio: round(late_processor_us / early_processor_us),
        tenths_us: tenths.iter().map(|(us, _)| round(*us)).collect(),
        tenths_processor_us: tenths.iter().map(|(_, us)| round(*us)).collect(),
        bytes_start: bytes_at(0),
        bytes_tenths,
        bytes_max: runs.iter().map(Progress::bytes_max).max().unwrap_or_default(),
        bytes_per_item: round(slope(&looks)),
    }
}
