//! W1 and W3: one run at a time.

use std::time::Instant;

use super::cluster::Cluster;
use super::http::Connection;
use super::measured::Measured;
use super::report::{Report, round};
use super::{graphs, quantile};
use crate::error::Result;

const CHAIN_WARM_UP_RUNS: usize = 50;
const CHAIN_RUNS: usize = 500;
/// Widths of W3, and how often each is measured.
const FAN_OUTS: [(usize, usize); 2] = [(1_000, 5), (10_000, 3)];

/// W1: from the request that starts a run of the chain to the answer that it is over.
pub(super) async fn chain(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let mut connection = cluster.connect().await?;
    let workflow = connection.save(&graphs::chain()).await?;
    times_ms(&mut connection, &workflow, CHAIN_WARM_UP_RUNS).await?;
    let before = cluster.counters().await?;
    let times = times_ms(&mut connection, &workflow, CHAIN_RUNS).await?;
    let after = cluster.counters().await?;
    let (p50_ms, p99_ms) = (round(quantile(&times, 0.5)), round(quantile(&times, 0.99)));
    report.line(Measured::W1 { p50_ms, p99_ms, runs: CHAIN_RUNS }, after.since(before))
}

/// W3: one run of many parallel nodes and a join; the median of a few.
pub(super) async fn fan_out(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let mut connection = cluster.connect().await?;
    for (width, runs) in FAN_OUTS {
        let workflow = connection.save(&graphs::fan_out(width)).await?;
        times_ms(&mut connection, &workflow, 1).await?;
        let before = cluster.counters().await?;
        let times = times_ms(&mut connection, &workflow, runs).await?;
        let after = cluster.counters().await?;
        let wall_ms = round(quantile(&times, 0.5));
        report.line(Measured::W3 { nodes: width, wall_ms, runs }, after.since(before))?;
    }
    Ok(())
}

async fn times_ms(connection: &mut Connection, workflow: &str, runs: usize) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let since = Instant::now();
        connection.run(workflow).await?;
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
