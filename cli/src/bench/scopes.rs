//! The works map and loop: one long run of items or turns, and whether what each costs stays the same.

use std::time::Instant;

use super::cluster::Cluster;
use super::graphs;
use super::progress::Progress;
use super::quantile;
use super::report::{Costs, Measured, Report, round};
use crate::error::Result;

/// Runs of the small workflow while nothing else is there, the first of them not measured.
const QUIET_RUNS: usize = 300;
const WARM_UP_RUNS: usize = 50;
/// Turns of the loop: as many as one may have.
const TURNS: usize = 10_000;
/// Where the first cost is taken; the last is taken at the end.
const EARLY: usize = 1_000;
/// Over how many items: one in so many of all.
const WINDOW_SHARE: usize = 50;
/// At least so many of them.
const WINDOW_MIN: usize = 500;

/// One run of a map over `items` items by itself, and one more beside small runs of another workflow.
pub(super) async fn map(cluster: &Cluster, items: usize, report: &mut Report) -> Result<()> {
    let mut connection = cluster.connect().await?;
    let canary = connection.save(&graphs::chain()).await?;
    let workflow = connection.save(&graphs::map(items)).await?;
    let quiet = canary_ms(cluster, &canary, QUIET_RUNS).await?;
    let before = cluster.counters().await?;
    let since = Instant::now();
    let ((), progress) = Progress::of(cluster, connection.run(&workflow)).await?;
    let wall_ms = since.elapsed().as_secs_f64() * 1e3;
    let after = cluster.counters().await?;
    let since = Instant::now();
    let (done, busy) = beside(cluster, &canary, connection.run(&workflow)).await;
    done?;
    let wall_beside_ms = since.elapsed().as_secs_f64() * 1e3;
    let busy = busy?;
    let [quiet_p50_ms, quiet_p99_ms] = [0.5, 0.99].map(|q| round(quantile(&quiet, q)));
    let [busy_p50_ms, busy_p99_ms] = [0.5, 0.99].map(|q| round(quantile(&busy, q)));
    let line = Measured::Map {
        items,
        concurrency: graphs::MAP_CONCURRENCY,
        wall_ms: round(wall_ms),
        items_per_s: (items as f64 / wall_ms * 1e3).round() as u64,
        costs: costs(&progress, items),
        wall_beside_ms: round(wall_beside_ms),
        busy_runs: busy.len(),
        quiet_p50_ms,
        quiet_p99_ms,
        busy_p50_ms,
        busy_p99_ms,
        p50_ratio: round(busy_p50_ms / quiet_p50_ms),
        p99_ratio: round(busy_p99_ms / quiet_p99_ms),
    };
    report.line(line, after.since(before))
}

/// One run of a loop.
pub(super) async fn turns(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let mut connection = cluster.connect().await?;
    let workflow = connection.save(&graphs::turns(TURNS)).await?;
    let warm_up = connection.save(&graphs::chain()).await?;
    canary_ms(cluster, &warm_up, WARM_UP_RUNS).await?;
    let before = cluster.counters().await?;
    let since = Instant::now();
    let ((), progress) = Progress::of(cluster, connection.run(&workflow)).await?;
    let wall_ms = round(since.elapsed().as_secs_f64() * 1e3);
    let after = cluster.counters().await?;
    report.line(Measured::Loop { turns: TURNS, wall_ms, costs: costs(&progress, TURNS) }, after.since(before))
}

/// Runs the small workflow again and again, one run at a time, until `long` is over; returns what each took.
async fn beside<T>(cluster: &Cluster, canary: &str, long: impl Future<Output = T>) -> (T, Result<Vec<f64>>) {
    let over = std::cell::Cell::new(false);
    let long = async {
        let done = long.await;
        over.set(true);
        done
    };
    let small = async {
        let mut connection = cluster.connect().await?;
        let mut times = Vec::new();
        while !over.get() {
            let since = Instant::now();
            connection.run(canary).await?;
            times.push(since.elapsed().as_secs_f64() * 1e3);
        }
        // The last one was not beside the other all the time.
        times.pop();
        Ok(times)
    };
    tokio::join!(long, small)
}

async fn canary_ms(cluster: &Cluster, canary: &str, runs: usize) -> Result<Vec<f64>> {
    let mut connection = cluster.connect().await?;
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let since = Instant::now();
        connection.run(canary).await?;
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.split_off(WARM_UP_RUNS.min(runs)))
}

/// What an item cost early and late, and how much memory there was on the way.
fn costs(progress: &Progress, items: usize) -> Costs {
    let (items, early) = (items as u64, EARLY.min(items / 10) as u64);
    let window = (items / WINDOW_SHARE as u64).max(WINDOW_MIN as u64).min(items / 10);
    let (early_us, early_processor_us) = progress.cost_us(early, early + window);
    let (late_us, late_processor_us) = progress.cost_us(items - window, items);
    let tenth = |tenth: u64| progress.cost_us(items * tenth / 10, items * (tenth + 1) / 10);
    let tenths: Vec<(f64, f64)> = (0..10).map(tenth).collect();
    let bytes_tenths: Vec<u64> = (1..=10).map(|tenth| progress.bytes_at(items * tenth / 10)).collect();
    let added = progress.bytes_at(items) as f64 - progress.bytes_at(items / 10) as f64;
    Costs {
        early_us: round(early_us),
        late_us: round(late_us),
        ratio: round(late_us / early_us),
        processor_ratio: round(late_processor_us / early_processor_us),
        tenths_us: tenths.iter().map(|(us, _)| round(*us)).collect(),
        tenths_processor_us: tenths.iter().map(|(_, us)| round(*us)).collect(),
        bytes_start: progress.bytes_at(0),
        bytes_tenths,
        bytes_max: progress.bytes_max(),
        bytes_per_item: round(added / (items - items / 10) as f64),
    }
}
