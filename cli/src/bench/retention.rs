//! Retention: a database full of finished runs whose time is over, and W2 beside their removal.

use std::sync::Arc;
use std::time::Duration;

use heddle_coordinator::journal::sqlite;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Counters};
use super::measured::Measured;
use super::report::{Report, round};
use super::{graphs, load, quantile};
use crate::error::{Context, Exit, Result};

/// Finished runs in the database.
const RUNS: u32 = 1_000_000;
/// How long ago the last of them ended, in days: longer than runs are kept.
const ENDED_DAYS: u64 = 40;
/// Sets of three rounds of W2 beside the removal; as many before it, and after it.
const SETS: usize = 5;
/// How long the removal is looked at by itself.
const ALONE: Duration = Duration::from_secs(15);

const KEEP_ALL: &[(&str, &str)] = &[("HEDDLE_KEEP_RUNS_DAYS", "0")];
const KEEP_YOUNG: &[(&str, &str)] = &[("HEDDLE_KEEP_RUNS_DAYS", "30")];

/// Fills the database with copies of a run, and measures W2 without, with and again without retention.
pub(super) async fn measure(cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    let mut connection = cluster.connect().await?;
    let short = connection.save(&graphs::short_chain()).await?;
    connection.run(&short).await?;
    let workflow: Arc<str> = connection.save(&graphs::chain()).await?.into();
    drop(connection);
    cluster.stop_coordinator().await;
    let file = cluster.database_file();
    let filling = {
        let (file, ago) = (file.clone(), Duration::from_secs(ENDED_DAYS * 24 * 60 * 60));
        tokio::task::spawn_blocking(move || sqlite::copy_finished(&file, RUNS, ago))
    };
    let what = "cannot fill the database";
    let rows_per_run = filling.await.context(Exit::Failed, what)?.context(Exit::Failed, what)?;
    let bytes = || std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let removed = || sqlite::removed(&file).context(Exit::Failed, "cannot count what was removed");
    let filled_bytes = bytes();

    cluster.start_coordinator(KEEP_ALL).await?;
    let before_nodes_per_s = load::sets(cluster, &workflow, SETS).await?;
    cluster.stop_coordinator().await;

    let before_bytes = bytes();
    cluster.start_coordinator(KEEP_YOUNG).await?;
    let (counted, since) = (removed()?, Instant::now());
    let beside_nodes_per_s = load::sets(cluster, &workflow, SETS).await?;
    let beside = per_second(counted, removed()?, since);
    let beside_bytes = bytes();
    let (counted, since) = (removed()?, Instant::now());
    sleep(ALONE).await;
    let alone = per_second(counted, removed()?, since);
    cluster.stop_coordinator().await;

    cluster.start_coordinator(KEEP_ALL).await?;
    let after_nodes_per_s = load::sets(cluster, &workflow, SETS).await?;
    let around: Vec<f64> = before_nodes_per_s.iter().chain(&after_nodes_per_s).map(|rate| *rate as f64).collect();
    let within: Vec<f64> = beside_nodes_per_s.iter().map(|rate| *rate as f64).collect();
    let slower = 100.0 * (1.0 - quantile(&within, 0.5) / quantile(&around, 0.5));
    let line = Measured::Retention {
        runs: RUNS,
        rows_per_run,
        before_nodes_per_s,
        beside_nodes_per_s,
        after_nodes_per_s,
        slower_percent: round(slower),
        runs_per_s_beside: beside.0,
        rows_per_s_beside: beside.1,
        runs_per_s_alone: alone.0,
        rows_per_s_alone: alone.1,
        file_bytes: [filled_bytes, before_bytes, beside_bytes, bytes()],
    };
    report.line(line, Counters::default())
}

/// Runs and rows a second.
fn per_second(before: (u64, u64), after: (u64, u64), since: Instant) -> (u64, u64) {
    let seconds = since.elapsed().as_secs_f64();
    let rate = |before: u64, after: u64| (after.saturating_sub(before) as f64 / seconds).round() as u64;
    (rate(before.0, after.0), rate(before.1, after.1))
}
