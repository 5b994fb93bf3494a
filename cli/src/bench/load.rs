//! W2: many runs at once.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::graphs::{self, CHAIN_NODES};
use super::http::Connection;
use super::measured::Measured;
use super::quantile;
use super::report::Report;
use super::share::Share;
use crate::error::{Context, Exit, Result};
use crate::limits::BENCH_CASE_TIME_MAX;

pub(super) const RUNS: usize = 1_000;
const IN_FLIGHT: [usize; 2] = [64, 256];
const WARM_UP_ROUNDS: usize = 2;
/// The figure is the best of three medians of three rounds: a noisy neighbour spoils a set, not the result.
const SETS: usize = 3;
const ROUNDS_PER_SET: usize = 3;

/// W2: nodes a second while so many runs of the chain are in flight.
pub(super) async fn chains(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let workflow: Arc<str> = cluster.connect().await?.save(&graphs::chain()).await?.into();
    for in_flight in IN_FLIGHT {
        let mut connections = warm(cluster, &workflow, in_flight).await?;
        let (before, since) = (cluster.counters().await?, Instant::now());
        let mut medians = Vec::new();
        while medians.len() < SETS && (medians.is_empty() || since.elapsed() < BENCH_CASE_TIME_MAX) {
            let rate;
            (connections, rate) = set(connections, &workflow).await?;
            medians.push(rate);
        }
        let after = cluster.counters().await?;
        let refusals: u64 = connections.iter().map(|connection| connection.refusals).sum();
        let nodes_per_s = medians.iter().copied().max().unwrap_or(0);
        let line = Measured::W2 { in_flight, nodes_per_s, medians, runs: RUNS, refusals };
        report.line(line, after.since(before))?;
    }
    Ok(())
}

/// Nodes a second in each of so many sets of rounds of W2.
pub(super) async fn sets(cluster: &Cluster, workflow: &Arc<str>, count: usize) -> Result<Vec<u64>> {
    let mut connections = warm(cluster, workflow, IN_FLIGHT[0]).await?;
    let mut rates = Vec::with_capacity(count);
    for _ in 0..count {
        let rate;
        (connections, rate) = set(connections, workflow).await?;
        rates.push(rate);
    }
    Ok(rates)
}

/// So many connections, over which the workflow has run for a while.
async fn warm(cluster: &Cluster, workflow: &Arc<str>, in_flight: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(in_flight);
    for _ in 0..in_flight {
        connections.push(cluster.connect().await?);
    }
    for _ in 0..WARM_UP_ROUNDS {
        (connections, _) = round(connections, workflow).await?;
    }
    Ok(connections)
}

/// The median of a few rounds, in nodes a second.
async fn set(mut connections: Vec<Connection>, workflow: &Arc<str>) -> Result<(Vec<Connection>, u64)> {
    let mut rates = Vec::with_capacity(ROUNDS_PER_SET);
    for _ in 0..ROUNDS_PER_SET {
        let seconds;
        (connections, seconds) = round(connections, workflow).await?;
        rates.push((RUNS * CHAIN_NODES) as f64 / seconds);
    }
    Ok((connections, quantile(&rates, 0.5).round() as u64))
}

/// Runs the workflow [`RUNS`] times over all connections; returns these and the seconds it took.
pub(super) async fn round(connections: Vec<Connection>, workflow: &Arc<str>) -> Result<(Vec<Connection>, f64)> {
    let share = Share::of(RUNS);
    let mut tasks = JoinSet::new();
    let since = Instant::now();
    for mut connection in connections {
        let (share, workflow) = (share.clone(), workflow.clone());
        tasks.spawn(async move {
            while share.take() {
                connection.run(&workflow).await?;
            }
            Ok(connection)
        });
    }
    let mut connections = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        connections.push(joined.context(Exit::Failed, "the load generator broke")??);
    }
    Ok((connections, since.elapsed().as_secs_f64()))
}
