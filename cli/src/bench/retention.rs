//! Retention: a database full of finished runs whose time is over, and W2 beside their removal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heddle_coordinator::journal::postgres::{self, PostgresJournal};
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
    let data = match cluster.given_database() {
        Some(url) => {
            Data::Server(PostgresJournal::open(postgres::Options::new(url)).await.context(Exit::Failed, FILL)?)
        }
        None => Data::File(cluster.database_file()),
    };
    let rows_per_run = data.fill().await?;
    let filled_bytes = data.bytes().await?;

    cluster.start_coordinator(KEEP_ALL).await?;
    let before_nodes_per_s = load::sets(cluster, &workflow, SETS).await?;
    cluster.stop_coordinator().await;

    let before_bytes = data.bytes().await?;
    cluster.start_coordinator(KEEP_YOUNG).await?;
    let (counted, since) = (data.removed().await?, Instant::now());
    let beside_nodes_per_s = load::sets(cluster, &workflow, SETS).await?;
    let beside = per_second(counted, data.removed().await?, since);
    let beside_bytes = data.bytes().await?;
    let (counted, since) = (data.removed().await?, Instant::now());
    sleep(ALONE).await;
    let alone = per_second(counted, data.removed().await?, since);
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
        file_bytes: [filled_bytes, before_bytes, beside_bytes, data.bytes().await?],
    };
    report.line(line, Counters::default())
}

const FILL: &str = "cannot fill the database";

/// Where the finished runs are.
enum Data {
    File(PathBuf),
    Server(PostgresJournal),
}

impl Data {
    /// Copies the run that there is; gives how many rows of histories each copy has.
    async fn fill(&self) -> Result<u64> {
        let ago = Duration::from_secs(ENDED_DAYS * 24 * 60 * 60);
        match self {
            Data::File(file) => {
                let file = file.clone();
                let filling = tokio::task::spawn_blocking(move || sqlite::copy_finished(&file, RUNS, ago));
                filling.await.context(Exit::Failed, FILL)?.context(Exit::Failed, FILL)
            }
            Data::Server(journal) => journal.copy_finished(RUNS, ago).await.context(Exit::Failed, FILL),
        }
    }

    /// How many runs, and rows of histories, have been removed.
    async fn removed(&self) -> Result<(u64, u64)> {
        let removed = match self {
            Data::File(file) => sqlite::removed(file),
            Data::Server(journal) => journal.removed().await,
        };
        removed.context(Exit::Failed, "cannot count what was removed")
    }

    /// How large the database is.
    async fn bytes(&self) -> Result<u64> {
        match self {
            Data::File(file) => Ok(std::fs::metadata(file).map_or(0, |metadata| metadata.len())),
            Data::Server(journal) => journal.bytes_on_disk().await.context(Exit::Failed, "cannot measure the database"),
        }
    }
}

/// Runs and rows a second.
fn per_second(before: (u64, u64), after: (u64, u64), since: Instant) -> (u64, u64) {
    let seconds = since.elapsed().as_secs_f64();
    let rate = |before: u64, after: u64| (after.saturating_sub(before) as f64 / seconds).round() as u64;
    (rate(before.0, after.0), rate(before.1, after.1))
}
