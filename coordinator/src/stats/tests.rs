//! Counting over many pages, on both databases. `STATS_RUNS` says how many runs there are; how long it takes is printed.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use heddle_core::id::WorkflowId;
use heddle_core::stats::Figures;
use heddle_core::time::{Span, Timestamp};
use sqlx::Executor as _;
use tempfile::TempDir;

use super::{RunRows, Stats, Which};
use crate::auth::Tenant;
use crate::journal::postgres::{self, PostgresJournal};
use crate::journal::sqlite::{self, SqliteJournal};
use crate::limits::{STATS_PAGE_ROWS, STATS_RUNS_MAX};

/// Of the first run's end.
const FROM: i64 = 1_760_000_000_000;
/// Between the ends of two runs.
const STEP: i64 = 2_000;

/// More than two pages of one workflow, unless somebody wants to see how long more take.
fn count() -> i64 {
    let wanted = std::env::var("STATS_RUNS").ok().map(|text| text.parse().unwrap());
    wanted.unwrap_or(5 * STATS_PAGE_ROWS as i64 / 2)
}

/// Every fifth run failed, and every tenth is of another workflow; the last one is not over. A run takes as many milliseconds
/// as the last two digits of its number.
fn rows(number: &str, id: &str, digest: &str) -> String {
    format!(
        "INSERT INTO run (id, slot, tenant, subject, workflow, graph, created_at, status, phase, ended_at, error_code, error_class)
         SELECT {id}, 0, 'default', 'me', CASE WHEN {number} % 10 = 0 THEN {other} ELSE {one} END, {digest},
             {FROM} + {number} * {STEP} - {number} % 100,
             CASE WHEN {number} = {last} THEN 1 WHEN {number} % 5 = 1 THEN 3 ELSE 2 END,
             CASE WHEN {number} = {last} THEN 2 ELSE 4 END,
             CASE WHEN {number} = {last} THEN NULL ELSE {FROM} + {number} * {STEP} END,
             CASE WHEN {number} % 5 = 1 THEN 'server_failed' END, CASE WHEN {number} % 5 = 1 THEN 1 END",
        one = sixteen(digest, '1'),
        other = sixteen(digest, '2'),
        last = count(),
    )
}

/// The literal of sixteen bytes, in the form of another one.
fn sixteen(form: &str, digit: char) -> String {
    let digits = format!("{}{digit}", "0".repeat(31));
    form.replace(&"33".repeat(32), &digits)
}

async fn check(database: Arc<dyn RunRows>) {
    let tenant = Tenant::of_test("default");
    let span = |from: i64, to: i64| (Timestamp::from_millis(from), Timestamp::from_millis(to));
    let all = span(FROM, FROM + (count() + 1) * STEP);
    let stats = Stats::new(database);
    let counted = async |workflow: Option<u128>, (from, to)| -> (Figures, u64) {
        let since = Instant::now();
        let which = Which { tenant: tenant.clone(), workflow: workflow.map(WorkflowId), from, to };
        let counted = stats.count(which).await.unwrap();
        println!("{} runs of {workflow:?} in {:?}", counted.0.counts.total(), since.elapsed());
        counted
    };
    // The last one is not over.
    let ended = (count() - 1) as u64;
    let others = (count() as u64 - 1) / 10;
    if ended <= STATS_RUNS_MAX as u64 {
        for (workflow, total, open) in [(Some(1), ended - others, 0), (Some(2), others, 1), (None, ended, 1)] {
            let (figures, running) = counted(workflow, all).await;
            assert!(figures.is_complete);
            assert_eq!((figures.counts.total(), running), (total, open), "{workflow:?}");
            let durations = figures.durations.unwrap();
            let longest = if workflow == Some(2) { 90 } else { 99 };
            assert_eq!(durations.max, Span::from_millis(longest));
            let failed = figures.errors.iter().map(|error| error.count).sum::<u64>();
            assert_eq!(failed, figures.counts.failed);
        }
    }
    // A few of them: both ends and the middle of pages.
    let (figures, _) = counted(None, span(FROM + 10 * STEP, FROM + 30 * STEP)).await;
    assert_eq!((figures.counts.completed, figures.counts.failed), (16, 4));
}

#[tokio::test]
async fn pages_add_up_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let journal = SqliteJournal::open(sqlite::Options::new(folder.path().join("heddle.db"))).unwrap();
    let numbers = format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {}) ", count());
    let digest = format!("x'{}'", "33".repeat(32));
    let sql = rows("n", "CAST(printf('%016d', n) AS BLOB)", &digest);
    let sql = format!("{} FROM n", sql.replacen("SELECT", &format!("{numbers} SELECT"), 1));
    journal.write("fill", move |connection| connection.execute_batch(&sql)).await.unwrap();
    check(Arc::new(journal)).await;
}

#[tokio::test]
async fn pages_add_up_on_postgres() {
    let Some(server) = heddle_test_postgres::shared() else { return };
    let journal = PostgresJournal::open(postgres::Options::new(server.database())).await.unwrap();
    let digest = format!("'\\x{}'::bytea", "33".repeat(32));
    let sql = rows("n", "convert_to(lpad(n::text, 16, '0'), 'UTF8')", &digest);
    let sql = format!("{sql} FROM generate_series(1, {}::bigint) AS n", count());
    let fill = journal.ask("fill", move |connection| {
        async move {
            connection.execute(sqlx::AssertSqlSafe(sql)).await?;
            Ok(())
        }
        .boxed()
    });
    fill.await.unwrap();
    check(Arc::new(journal)).await;
}
