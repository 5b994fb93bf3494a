//! What only this database does: locks, lost connections, a server that goes away. What every journal does is in the
//! differential test.

use std::time::{Duration, Instant};

use heddle_core::id::{EventSeq, PartitionId, RunId};
use heddle_core::partition::batch::{CommitOutcome, Phase, RunBatch, RunSummary};
use heddle_core::run::RunStatus;
use heddle_test_postgres::{Server, shared};
use sqlx::{Connection as _, Executor as _};

use super::*;
use crate::journal::testing::*;
use crate::journal::{Committed, QUARANTINED};
use crate::retention::RetentionRows as _;

/// Longest wait for what must happen.
const SOON: Duration = Duration::from_secs(30);

async fn open(url: &str) -> PostgresJournal {
    PostgresJournal::open(Options { partitions: 16, ..Options::new(url) }).await.unwrap()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it happens soon")
}

async fn history(journal: &PostgresJournal, run: RunId) -> usize {
    journal.read_events(run, EventSeq(0), 1_000, usize::MAX).await.unwrap().len()
}

async fn state(journal: &PostgresJournal, is_stalled: bool) {
    let mut state = journal.state();
    let is_it = |state: &JournalState| matches!(state, JournalState::Stalled { .. }) == is_stalled;
    soon(state.wait_for(is_it)).await.unwrap();
}

/// Waits until somebody waits for a row that another transaction has.
async fn blocked(url: &str) {
    let mut connection = connect(url).await;
    let deadline = Instant::now() + SOON;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "nobody waits for a lock");
    }
}

/// A commit that waits for its partition's row, which another connection has until the transaction ends.
async fn held_commit(url: &str, journal: &PostgresJournal, sql: &str) -> (PgConnection, BoxFuture<'static, Committed>) {
    let acquired = acquire(journal, 0).await;
    let mut holder = connect(url).await;
    holder.execute("BEGIN").await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut holder).await.unwrap();
    let committed = commit(journal, batch(0, &acquired, 1, vec![first(run_in(0, 1), &["1"])]));
    blocked(url).await;
    (holder, committed.boxed())
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_crash_of_the_server() {
    let Some(server) = Server::start() else { return };
    let url = server.database();
    let journal = open(&url).await;
    let acquired = acquire(&journal, 3).await;
    assert!(acquired.now.as_millis() > 1_700_000_000_000, "{:?} is the server's time", acquired.now);
    let run = run_in(3, 1);
    assert!(is_applied(&commit(&journal, batch(3, &acquired, 1, vec![first(run, &["1", "[2]"])])).await));
    server.crash();

    // Nothing is lost while it is away: the batch waits.
    let waiting = commit(&journal, batch(3, &acquired, 2, vec![next(run, 3, &["3"])]));
    state(&journal, true).await;
    assert_eq!(journal.read_row(run).await.unwrap_err().code(), "database_failed");
    server.revive();
    let committed = soon(waiting).await;
    state(&journal, false).await;
    // Its connection may have been found dead only when it was used.
    let acquired = acquire(&journal, 3).await;
    match committed.outcome {
        CommitOutcome::Applied { .. } => assert_eq!((acquired.last_batch.0, history(&journal, run).await), (2, 3)),
        CommitOutcome::Unknown => assert_eq!(acquired.last_batch.0 as usize + 1, history(&journal, run).await),
        CommitOutcome::Refused => panic!("nobody else had the partition"),
    }
}

#[tokio::test]
async fn a_batch_waits_for_a_server_that_is_away() {
    let Some(server) = Server::start() else { return };
    let url = server.database();
    let journal = open(&url).await;
    let acquired = acquire(&journal, 0).await;
    server.crash();
    // The first that finds the server gone; commits have no connection yet, so theirs is certainly not done.
    assert!(journal.loaded(PartitionId(0), acquired.epoch).await.is_err());
    let waiting = commit(&journal, batch(0, &acquired, 1, vec![first(run_in(0, 1), &["1"])]));
    state(&journal, true).await;
    server.revive();
    assert!(is_applied(&soon(waiting).await));
    state(&journal, false).await;

    server.crash();
    assert!(journal.loaded(PartitionId(0), acquired.epoch).await.is_err());
    state(&journal, true).await;
    server.revive();
    // Nobody commits: the journal itself finds out.
    state(&journal, false).await;

    server.crash();
    let lost = commit(&journal, batch(0, &acquired, 2, vec![next(run_in(0, 1), 2, &["2"])]));
    drop(journal);
    assert_eq!(soon(lost).await.outcome, CommitOutcome::Unknown);
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_the_outcome_open() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let journal = open(&url).await;
    let (mut holder, committed) =
        held_commit(&url, &journal, "UPDATE partition SET starts = starts WHERE id = 0").await;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND datname = current_database()";
    connect(&url).await.execute(terminate).await.unwrap();
    assert_eq!(soon(committed).await.outcome, CommitOutcome::Unknown);
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(soon(acquire(&journal, 0)).await.last_batch.0, 0);
    state(&journal, false).await;
    assert_eq!(history(&journal, run_in(0, 1)).await, 0);
}

#[tokio::test]
async fn a_commit_of_an_older_epoch_is_refused_however_late_it_is() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let journal = open(&url).await;
    // It has begun before the epoch is raised, and goes on afterwards.
    let (mut holder, late) = held_commit(&url, &journal, "UPDATE partition SET epoch = epoch + 1 WHERE id = 0").await;
    holder.execute("COMMIT").await.unwrap();
    assert_eq!(soon(late).await.outcome, CommitOutcome::Refused);
    assert_eq!(journal.read_row(run_in(0, 1)).await.unwrap(), None);
    let acquired = acquire(&journal, 0).await;
    assert_eq!((acquired.epoch.0, acquired.last_batch.0), (3, 0));

    // So it is with a run that is to be set aside.
    let mut holder = connect(&url).await;
    holder.execute("BEGIN; UPDATE partition SET epoch = epoch + 1 WHERE id = 0").await.unwrap();
    let late = journal.quarantine(PartitionId(0), acquired.epoch, run_in(0, 1), "late".into());
    blocked(&url).await;
    holder.execute("COMMIT").await.unwrap();
    assert!(!soon(late).await.unwrap());
}

#[tokio::test]
async fn acquiring_waits_for_a_commit_under_way() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let journal = open(&url).await;
    let (mut holder, committed) =
        held_commit(&url, &journal, "UPDATE partition SET starts = starts WHERE id = 0").await;
    let acquired = journal.acquire(PartitionId(0), owner(2), Claim::Take);
    holder.execute("COMMIT").await.unwrap();
    let (committed, acquired) = (soon(committed).await, soon(acquired).await.unwrap());
    // Whoever was first: both know the same.
    assert_eq!(acquired.last_batch.0, u64::from(is_applied(&committed)));
    assert_eq!(history(&journal, run_in(0, 1)).await, usize::from(is_applied(&committed)));
}

#[tokio::test]
async fn a_run_that_the_database_cannot_hold_is_set_aside_alone() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let journal = open(&url).await;
    let poison = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
                      $$ BEGIN IF position('poison'::bytea IN NEW.body) > 0 THEN RAISE 'no poison'; END IF; RETURN NEW; END $$;
                  CREATE TRIGGER poison BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION poison()";
    sqlx::raw_sql(poison).execute(&mut connect(&url).await).await.unwrap();
    let acquired = acquire(&journal, 0).await;
    let (good, bad, old, nameless) = (run_in(0, 1), run_in(0, 2), run_in(0, 3), run_in(0, 4));
    assert!(is_applied(&commit(&journal, batch(0, &acquired, 1, vec![first(old, &["1"])])).await));

    // No text of this database has a zero in it.
    let mut zero = first(nameless, &["1"]);
    zero.created = Some(created("a\0b", Timestamp::from_millis(1)));
    let runs = vec![first(bad, &["1", "\"poison\""]), next(old, 2, &["2", "\"poison\""]), zero, first(good, &["1"])];
    let committed = commit(&journal, batch(0, &acquired, 2, runs)).await;
    assert_eq!(committed.outcome, CommitOutcome::Applied { quarantined: vec![bad, old, nameless] });
    for (run, kept) in [(bad, 0), (old, 1)] {
        let row = journal.read_row(run).await.unwrap().unwrap();
        assert_eq!((row.summary.status, row.summary.phase), (RunStatus::Failed, Phase::Closed));
        assert_eq!(&*row.summary.error.unwrap().code, QUARANTINED);
        assert!(row.quarantine_reason.unwrap().contains("no poison"));
        assert_eq!(history(&journal, run).await, kept);
    }
    assert_eq!(journal.read_row(nameless).await.unwrap(), None);
    assert_eq!(history(&journal, good).await, 1);
    assert_eq!(journal.list_loadable(PartitionId(0), None, 10).await.unwrap(), [good]);
    assert_eq!(*journal.state().borrow(), JournalState::Ready);
}

#[tokio::test]
async fn two_processes_may_start_at_once() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let options = |partitions| Options { partitions, ..Options::new(&url) };
    let opened = futures::future::join_all((2..6).map(|count| PostgresJournal::open(options(count)))).await;
    let partitions: Vec<_> = opened.into_iter().map(|journal| journal.unwrap().partitions().clone()).collect();
    assert!(partitions.windows(2).all(|pair| pair[0] == pair[1]), "{partitions:?}");
    assert_eq!(PostgresJournal::open(options(0)).await.err().map(|error| error.code()), None, "it has its own number");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let Some(server) = shared() else { return };
    let url = server.database();
    drop(open(&url).await);
    connect(&url).await.execute("UPDATE meta SET value = 99 WHERE name = 'format'").await.unwrap();
    let error = PostgresJournal::open(Options::new(&url)).await.err().unwrap();
    assert_eq!(error.code(), "data_format_newer");
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test]
async fn a_finished_run_is_copied_with_its_history() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let journal = open(&url).await;
    assert!(journal.copy_finished(1, Duration::ZERO).await.is_err(), "there is none");
    let acquired = acquire(&journal, 0).await;
    let summary = RunSummary {
        status: RunStatus::Completed,
        phase: Phase::Closed,
        next_due: None,
        ended_at: Some(Timestamp::from_millis(5)),
        error: None,
    };
    let run = RunBatch { summary: Some(summary), ..first(run_in(0, 1), &["1", "2"]) };
    let committed = commit(&journal, batch(0, &acquired, 1, vec![run])).await;
    assert_eq!(committed.outcome, CommitOutcome::Applied { quarantined: Vec::new() });
    assert_eq!(journal.copy_finished(7, Duration::from_secs(60)).await.unwrap(), 2);
    let old = journal.old_runs(None, Timestamp::from_millis(i64::MAX), None, 100).await.unwrap();
    assert_eq!(old.len(), 8);
    for run in old {
        let events = journal.read_events(run.place.run, EventSeq(0), 9, usize::MAX).await.unwrap();
        assert_eq!(events.len(), 2, "each row has the checksum of its own run");
    }
    assert_eq!(journal.removed().await.unwrap(), (0, 0));
    assert!(journal.bytes_on_disk().await.unwrap() > 0);
}

#[tokio::test]
async fn an_address_that_cannot_work_says_so_without_its_password() {
    for url in ["postgres://u:secret@h:port/d", "postgres://u:secret@127.0.0.1:1/d"] {
        let error = PostgresJournal::open(Options::new(url)).await.err().unwrap();
        let text = format!("{error} {:?}", std::error::Error::source(&error));
        assert_eq!(error.code(), "database_failed");
        assert!(!text.contains("secret"), "{text}");
    }
}

/// Plans are made while the tables are empty and kept when they are long.
#[tokio::test]
async fn a_commit_walks_along_indexes() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let journal = open(&url).await;
    let plan = journal.ask("explain", |connection| {
        async move {
            let prepare = format!("PREPARE batch AS {}", batch::COMMIT);
            sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut *connection).await?;
            let explain = format!("EXPLAIN EXECUTE batch ({})", ["NULL"; batch::PARAMETERS].join(", "));
            let lines = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(connection).await?;
            lines.iter().map(|line| Ok(sqlx::Row::try_get::<String, _>(line, 0)?)).collect::<Result<Vec<_>, Trouble>>()
        }
        .boxed()
    });
    let plan = plan.await.unwrap().join("\n");
    assert!(plan.contains("event_pkey") && plan.contains("run_pkey"), "{plan}");
    for table in ["event", "run", "idempotency", "snapshot", "partition"] {
        assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
    }
}
