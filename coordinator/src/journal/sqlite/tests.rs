//! What only this database does: files, merges, faults. What every journal does is in the differential test.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use heddle_core::id::{EventSeq, PartitionId, RunId};
use heddle_core::partition::batch::{CommitOutcome, Phase, Snapshot};
use heddle_core::run::RunStatus;
use heddle_core::value::Value;
use rusqlite::{Error, ffi};
use tempfile::TempDir;

use super::*;
use crate::journal::testing::*;
use crate::journal::{QUARANTINED, limits};

fn open(folder: &TempDir) -> SqliteJournal {
    SqliteJournal::open(Options { partitions: 16, ..Options::new(folder.path().join("heddle.db")) }).unwrap()
}

/// Makes the writer wait until the sender is dropped, so that writes gather behind it.
fn hold(journal: &SqliteJournal) -> (mpsc::SyncSender<()>, Answer<()>) {
    let (release, held) = mpsc::sync_channel(0);
    let held = Mutex::new(held);
    let (started, start) = mpsc::sync_channel(1);
    let mut wait = Box::pin(journal.write("wait", move |_| {
        let _ = started.try_send(());
        let _ = held.lock().unwrap().recv();
        Ok(())
    }));
    // Polled once, it is in the queue.
    assert!(futures::FutureExt::now_or_never(&mut wait).is_none());
    start.recv_timeout(Duration::from_secs(10)).unwrap();
    (release, wait)
}

fn sql(text: &'static str) -> impl FnMut(&Connection) -> rusqlite::Result<()> + Send {
    move |connection| connection.execute_batch(text)
}

async fn values(journal: &SqliteJournal, run: RunId) -> Vec<Value> {
    let events = journal.read_events(run, EventSeq(0), 1_000, usize::MAX).await.unwrap();
    events.into_iter().flat_map(|event| event.values).collect()
}

#[tokio::test]
async fn what_is_written_is_its_owners_alone_in_a_folder_that_is_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let modes = || -> Vec<(String, u32)> {
        let entries = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().unwrap();
        entries.map(|entry| (name(&entry), entry.metadata().unwrap().permissions().mode() & 0o777)).collect()
    };
    set(folder.path(), 0o755);
    let journal = open(&folder);
    acquire(&journal, 3).await;
    let names: BTreeSet<String> = modes().into_iter().map(|(name, _)| name).collect();
    assert!(["heddle.db", "heddle.db-wal", "heddle.db-shm"].iter().all(|name| names.contains(*name)), "{names:?}");
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
    // An earlier build, or a backup, left them open.
    names.iter().for_each(|name| set(&folder.path().join(name), 0o644));
    drop(journal);
    let journal = open(&folder);
    acquire(&journal, 3).await;
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_start() {
    let folder = TempDir::new().unwrap();
    let run = run_in(3, 1);
    let journal = open(&folder);
    let acquired = acquire(&journal, 3).await;
    assert!(is_applied(&commit(&journal, batch(3, &acquired, 1, vec![first(run, &["1", "[2]"])])).await));
    let snapshot = Snapshot { seq: EventSeq(3), version: 1, bytes: b"state".as_slice().into() };
    let mut rows = next(run, 3, &["3"]);
    rows.snapshot = Some(snapshot.clone());
    assert!(is_applied(&commit(&journal, batch(3, &acquired, 2, vec![rows, next(run_in(3, 2), 1, &[])])).await));
    assert!(is_applied(&commit(&journal, batch(3, &acquired, 3, vec![next(run, 4, &["4"])])).await));
    drop(journal);

    let journal = open(&folder);
    let acquired = acquire(&journal, 3).await;
    assert_eq!((acquired.epoch.0, acquired.last_batch.0), (2, 3));
    let stored = journal.load(run).await.unwrap().unwrap();
    assert_eq!(stored.snapshot, Some(snapshot));
    let (mut last, reference) = result(4, "4");
    let value = std::mem::take(&mut last.values);
    assert_eq!(stored.tail, [last]);
    assert_eq!(journal.read_values(run, vec![reference]).await.unwrap(), value);
    let json = values(&journal, run).await.iter().map(|value| value.json().clone()).collect::<Vec<_>>();
    assert_eq!(json, ["1", "[2]", "3", "4"]);
}

#[tokio::test]
async fn a_snapshot_with_a_bad_checksum_is_passed_over() {
    let folder = TempDir::new().unwrap();
    let run = run_in(0, 1);
    let journal = open(&folder);
    let acquired = acquire(&journal, 0).await;
    let mut rows = first(run, &["1", "2"]);
    rows.snapshot = Some(Snapshot { seq: EventSeq(2), version: 1, bytes: b"state".as_slice().into() });
    assert!(is_applied(&commit(&journal, batch(0, &acquired, 1, vec![rows])).await));
    journal.write("spoil", sql("UPDATE snapshot SET state = x'00'")).await.unwrap();
    let stored = journal.load(run).await.unwrap().unwrap();
    assert_eq!((stored.snapshot, stored.tail.len()), (None, 2));
}

#[tokio::test]
async fn a_changed_event_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let run = run_in(0, 1);
    let journal = open(&folder);
    let acquired = acquire(&journal, 0).await;
    assert!(is_applied(&commit(&journal, batch(0, &acquired, 1, vec![first(run, &["1", "2"])])).await));
    journal.write("spoil", sql("UPDATE event SET body = x'00' WHERE seq = 2")).await.unwrap();
    assert_eq!(journal.load(run).await.unwrap().unwrap().tail.len(), 2, "recovery reads no bodies");
    let error = journal.read_events(run, EventSeq(0), 10, 1_000).await.unwrap_err();
    assert_eq!(error.code(), "event_corrupt");
    journal.write("spoil", sql("UPDATE event SET at = at + 1 WHERE seq = 1")).await.unwrap();
    assert_eq!(journal.load(run).await.unwrap_err().code(), "event_corrupt");
}

#[tokio::test]
async fn a_merge_lets_each_partition_stand_alone() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let mut acquired = Vec::new();
    for partition in 0..5 {
        acquired.push(acquire(&journal, partition).await);
    }
    let old = batch(1, &acquired[1], 1, vec![first(run_in(1, 1), &["1"])]);
    acquire(&journal, 1).await;

    let (release, wait) = hold(&journal);
    let good = commit(&journal, batch(0, &acquired[0], 1, vec![first(run_in(0, 1), &["1"])]));
    let fenced = commit(&journal, old);
    let with_gap =
        commit(&journal, batch(2, &acquired[2], 1, vec![first(run_in(2, 1), &["1"]), next(run_in(2, 2), 2, &["2"])]));
    let doubled =
        commit(&journal, batch(3, &acquired[3], 1, vec![first(run_in(3, 1), &["1"]), first(run_in(3, 1), &["1"])]));
    let last = commit(&journal, batch(4, &acquired[4], 1, vec![first(run_in(4, 1), &["1"])]));
    drop(release);
    wait.await.unwrap();

    assert!(is_applied(&good.await) && is_applied(&last.await));
    for refused in [fenced, with_gap, doubled] {
        assert_eq!(refused.await.outcome, CommitOutcome::Refused);
    }
    for (partition, is_there) in [(0, true), (1, false), (2, false), (3, false), (4, true)] {
        let run = run_in(partition, 1);
        assert_eq!(journal.read_row(run).await.unwrap().is_some(), is_there, "partition {partition}");
        assert_eq!(values(&journal, run).await.len(), usize::from(is_there));
        assert_eq!(acquire(&journal, partition).await.last_batch.0, u64::from(is_there));
    }
}

#[tokio::test]
async fn a_run_that_the_database_cannot_hold_is_set_aside_alone() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON event WHEN instr(NEW.body, 'poison') > 0
                  BEGIN SELECT RAISE(ABORT, 'no poison'); END";
    journal.write("poison", sql(poison)).await.unwrap();
    let acquired = (acquire(&journal, 0).await, acquire(&journal, 1).await);
    let (good, bad, old, other) = (run_in(0, 1), run_in(0, 2), run_in(0, 3), run_in(1, 1));
    assert!(is_applied(&commit(&journal, batch(0, &acquired.0, 1, vec![first(old, &["1"])])).await));

    let runs = || vec![first(bad, &["1", "\"poison\""]), next(old, 2, &["2", "\"poison\""]), first(good, &["1"])];
    let (release, wait) = hold(&journal);
    let merged = commit(&journal, batch(0, &acquired.0, 2, runs()));
    let beside = commit(&journal, batch(1, &acquired.1, 1, vec![first(other, &["1"])]));
    drop(release);
    wait.await.unwrap();
    assert_eq!(merged.await.outcome, CommitOutcome::Applied { quarantined: vec![bad, old] });
    assert!(is_applied(&beside.await));

    for (run, kept) in [(bad, 0), (old, 1)] {
        let row = journal.read_row(run).await.unwrap().unwrap();
        assert_eq!((row.summary.status, row.summary.phase), (RunStatus::Failed, Phase::Closed));
        assert_eq!(&*row.summary.error.unwrap().code, QUARANTINED);
        assert!(row.quarantine_reason.unwrap().contains("no poison"));
        assert_eq!(values(&journal, run).await.len(), kept);
    }
    assert_eq!(values(&journal, good).await.len(), 1);
    assert_eq!(journal.list_loadable(PartitionId(0), None, 10).await.unwrap(), [good]);

    let alone = run_in(0, 4);
    let committed = commit(&journal, batch(0, &acquired.0, 3, vec![first(alone, &["\"poison\""])])).await;
    assert_eq!(committed.outcome, CommitOutcome::Applied { quarantined: vec![alone] });
}

#[tokio::test]
async fn a_full_disk_stalls_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let acquired = acquire(&journal, 0).await;
    let mut state = journal.state();
    let (release, wait) = hold(&journal);
    let commit = commit(&journal, batch(0, &acquired, 1, vec![first(run_in(0, 1), &["1"])]));
    // The database's own limit of pages stands for the disk's: too low for three times, then lifted.
    let mut tries = 0;
    let fill = journal.write("fill", move |connection| {
        tries += 1;
        let pages = if tries > 3 { i64::from(u32::MAX) - 1 } else { 1 };
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        connection
            .execute_batch("CREATE TABLE IF NOT EXISTS filler (x); INSERT INTO filler VALUES (zeroblob(20000))")?;
        Ok(tries)
    });
    let fill = tokio::spawn(fill);
    tokio::task::yield_now().await;
    drop(release);
    wait.await.unwrap();
    let is_stalled = |state: &JournalState| matches!(state, JournalState::Stalled { .. });
    tokio::time::timeout(Duration::from_secs(10), state.wait_for(is_stalled)).await.unwrap().unwrap();
    assert_eq!(fill.await.unwrap().unwrap(), 4);
    assert!(is_applied(&commit.await));
    assert_eq!(*state.borrow_and_update(), JournalState::Ready);
    assert_eq!(values(&journal, run_in(0, 1)).await.len(), 1);
}

#[tokio::test]
async fn a_disk_that_stays_full_does_not_hold_the_end() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let mut state = journal.state();
    let refuse = journal.write("refuse", |_| -> rusqlite::Result<()> {
        Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
    });
    let refused = tokio::spawn(refuse);
    let is_stalled = |state: &JournalState| matches!(state, JournalState::Stalled { .. });
    tokio::time::timeout(Duration::from_secs(10), state.wait_for(is_stalled)).await.unwrap().unwrap();
    drop(journal);
    assert_eq!(refused.await.unwrap().unwrap_err().code(), "journal_stopped");
}

#[tokio::test]
async fn a_commit_that_fails_ends_the_process() {
    let folder = TempDir::new().unwrap();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let heard = reasons.clone();
    let mut options = Options::new(folder.path().join("heddle.db"));
    options.on_fatal = Arc::new(move |reason| heard.lock().unwrap().push(reason.to_owned()));
    let journal = SqliteJournal::open(options).unwrap();
    let acquired = acquire(&journal, 0).await;
    // A reference that is checked at COMMIT, and broken by then.
    let trap = "PRAGMA foreign_keys = ON";
    journal.write("trap", sql(trap)).await.unwrap();
    let trap = "CREATE TABLE one (x INTEGER PRIMARY KEY);
                CREATE TABLE two (x INTEGER REFERENCES one (x) DEFERRABLE INITIALLY DEFERRED);
                CREATE TRIGGER trap AFTER INSERT ON event BEGIN INSERT INTO two VALUES (1); END";
    journal.write("trap", sql(trap)).await.unwrap();
    let committed = commit(&journal, batch(0, &acquired, 1, vec![first(run_in(0, 1), &["1"])])).await;
    assert_eq!(committed.outcome, CommitOutcome::Unknown);
    assert_eq!(reasons.lock().unwrap().len(), 1);
    assert_eq!(journal.loaded(PartitionId(0), acquired.epoch).await.unwrap_err().code(), "journal_stopped");
}

#[tokio::test]
async fn the_data_folder_has_one_process() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let error = SqliteJournal::open(Options::new(folder.path().join("heddle.db"))).err().unwrap();
    assert_eq!(error.code(), "data_folder_locked");
    drop(journal);
    open(&folder);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    journal.write("change", sql("UPDATE meta SET value = 99 WHERE name = 'format'")).await.unwrap();
    drop(journal);
    let error = SqliteJournal::open(Options::new(folder.path().join("heddle.db"))).err().unwrap();
    assert_eq!(error.code(), "data_format_newer");
    assert!(error.to_string().contains("99"), "{error}");
}

/// What a process says that starts with this clock, in this start of the machine.
fn opened(folder: &TempDir, clock: &TestClock, machine_start: Option<i64>) -> SqliteJournal {
    let usual = Options::new(folder.path().join("heddle.db"));
    SqliteJournal::open(Options { clock: clock.clock(), machine_start, ..usual }).unwrap()
}

#[tokio::test]
async fn a_clock_that_was_set_back_meanwhile_goes_on_from_the_youngest_transaction() {
    let folder = TempDir::new().unwrap();
    let clock = TestClock::at(10_000_000);
    let journal = opened(&folder, &clock, Some(1));
    for millis in [40_000, 99, 1] {
        clock.advance(millis);
        journal.write("something", |_| Ok(())).await.unwrap();
    }
    let last = journal.now().await.unwrap();
    drop(journal);
    // The machine was started anew, and its clock is an hour behind: twice.
    for start in [2, 3] {
        clock.advance(-3_600_000);
        let journal = opened(&folder, &clock, Some(start));
        let now = journal.now().await.unwrap();
        assert!(now >= last && now.since(last).as_millis() <= 205, "{now:?} after {last:?}");
        clock.advance(5);
        assert_eq!(journal.now().await.unwrap().since(now).as_millis(), 5, "and time goes on");
    }
    // What is ahead counts.
    clock.advance(10_000_000);
    assert_eq!(opened(&folder, &clock, None).now().await.unwrap(), clock.now());
}

#[tokio::test]
async fn in_the_same_start_of_the_machine_the_time_between_two_processes_is_known() {
    let folder = TempDir::new().unwrap();
    let clock = TestClock::at(10_000_000);
    drop(opened(&folder, &clock, Some(1)));
    // As if the machine had been running for a minute since.
    let connection = Connection::open(folder.path().join("heddle.db")).unwrap();
    connection.execute("UPDATE meta SET value = value + 60000 WHERE name = 'machine_start_at'", []).unwrap();
    drop(connection);
    clock.advance(-3_600_000);
    let since = opened(&folder, &clock, Some(1)).now().await.unwrap().as_millis() - 10_000_000;
    assert!((60_000..70_000).contains(&since), "{since}");
    // Of another start nothing is known but what was written.
    let since = opened(&folder, &clock, Some(2)).now().await.unwrap().as_millis() - 10_000_000;
    assert!((60_000..70_000).contains(&since), "{since}");
}

#[tokio::test]
async fn the_number_of_partitions_is_kept() {
    let folder = TempDir::new().unwrap();
    let options = |partitions| Options { partitions, ..Options::new(folder.path().join("heddle.db")) };
    assert_eq!(SqliteJournal::open(options(0)).err().unwrap().code(), "partition_count");
    let journal = SqliteJournal::open(options(5)).unwrap();
    assert_eq!(journal.partitions().count(), 5);
    drop(journal);
    let journal = SqliteJournal::open(options(9)).unwrap();
    assert_eq!(journal.partitions(), &Partitions::spread(5).unwrap());
    let error = journal.acquire(PartitionId(5), owner(1), Claim::Take).await.unwrap_err();
    assert_eq!(error.code(), "partition_unknown");
}

#[tokio::test]
async fn commits_are_in_full_or_normal_mode() {
    for (durability, mode) in [(Durability::Full, 2), (Durability::Normal, 1)] {
        let folder = TempDir::new().unwrap();
        let journal =
            SqliteJournal::open(Options { durability, ..Options::new(folder.path().join("heddle.db")) }).unwrap();
        let pragma = |name: &'static str| {
            journal
                .write("ask", move |connection| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)))
        };
        assert_eq!(pragma("synchronous").await.unwrap(), mode);
        assert_eq!(pragma("wal_autocheckpoint").await.unwrap(), 0);
    }
}

#[tokio::test]
async fn lists_walk_along_their_indexes() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let plan = |query: &str| {
        let query = format!("EXPLAIN QUERY PLAN {query}");
        journal.read(move |connection| {
            let detail = |row: &rusqlite::Row<'_>| rows::column::<String>(row, 3);
            Ok(query::select(connection, &query, [], detail)?.join("; "))
        })
    };
    for (query, index) in [
        (
            "SELECT run.id FROM partition_slot JOIN run ON run.slot = partition_slot.slot
             WHERE partition_slot.partition = 1 AND run.phase IN (1, 3) AND (run.slot, run.id) > (1, x'00')
             ORDER BY run.slot, run.id LIMIT 5",
            "run_loadable",
        ),
        ("SELECT id FROM run WHERE phase = 2 AND next_due <= 1 ORDER BY next_due, id LIMIT 5", "run_due"),
        (
            "SELECT id FROM run WHERE tenant = 'a' AND (created_at, id) < (1, x'00')
             ORDER BY created_at DESC, id DESC LIMIT 5",
            "run_by_tenant",
        ),
        (
            "SELECT id FROM run WHERE tenant = 'a' AND (created_at, id) < (1, x'00') AND workflow = x'00'
             ORDER BY created_at DESC, id DESC LIMIT 5",
            "run_by_workflow",
        ),
    ] {
        let plan = plan(query).await.unwrap();
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{query}\n{plan}");
    }
    // Of these there are few, wherever they lie.
    let left_behind = "SELECT id FROM run WHERE parent IN (SELECT id FROM run WHERE quarantine_reason IS NOT NULL)
                       AND ended_at IS NULL AND +id > x'00' ORDER BY +id LIMIT 5";
    let plan = plan(left_behind).await.unwrap();
    assert!(plan.contains("run_by_parent") && plan.contains("run_set_aside"), "{plan}");
}

#[tokio::test]
async fn the_log_does_not_grow_for_ever() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let log = folder.path().join("heddle.db-wal");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let mut written = 0;
    // A log that never began anew is as long as what was written.
    while written < limits::LOG_BYTES_KEPT + std::fs::metadata(&log).unwrap().len() as i64 {
        assert!(std::time::Instant::now() < deadline, "{written} bytes written, and the log has them all");
        let fill = "CREATE TABLE IF NOT EXISTS filler (x); DELETE FROM filler;
                    INSERT INTO filler VALUES (zeroblob(4194304))";
        journal.write_bytes("fill", 4_194_304, sql(fill)).await.unwrap();
        written += 4_194_304;
    }
}

/// Of the flags that `.cargo/config.toml` gives, SQLite tells this one: with it came the other, that commits need.
#[test]
fn it_is_built_with_the_flags_of_this_repository() {
    let connection = Connection::open_in_memory().unwrap();
    let mut options = connection.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = options.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
}

/// What a killed process had been told is durable, is there, without a gap; and nothing else is half there.
#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_was_told() {
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::sqlite::tests::child_commits_until_it_is_killed", "--ignored", "--nocapture"])
        .env("JOURNAL_FILE", folder.path().join("heddle.db"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = 0;
    while told < 200 {
        let line = lines.next().expect("the child commits until it is killed");
        told = line.strip_prefix("durable ").map_or(told, |number| number.parse().unwrap());
    }
    child.kill().unwrap();
    told = lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last().unwrap_or(told);
    child.wait().unwrap();

    let journal = open(&folder);
    let last = acquire(&journal, 0).await.last_batch.0;
    assert!(last == told || last == told + 1, "told {told}, found {last}");
    let events = journal.read_events(run_in(0, 1), EventSeq(0), 10_000, usize::MAX).await.unwrap();
    let seqs = events.iter().map(|event| event.seq.0).collect::<BTreeSet<_>>();
    assert_eq!(seqs, (1..=last).collect());
}

/// Not a test of its own: the one above runs it in a process that dies.
#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn child_commits_until_it_is_killed() {
    let journal = SqliteJournal::open(Options::new(std::env::var_os("JOURNAL_FILE").unwrap())).unwrap();
    let acquired = acquire(&journal, 0).await;
    for number in 1.. {
        let rows = if number == 1 { first(run_in(0, 1), &["1"]) } else { next(run_in(0, 1), number, &["1"]) };
        assert!(is_applied(&commit(&journal, batch(0, &acquired, number, vec![rows])).await));
        println!("durable {number}");
    }
}

#[tokio::test]
async fn a_database_of_the_first_format_is_brought_to_this_one() {
    use crate::records::{GraphText, Records as _};
    let folder = TempDir::new().unwrap();
    let connection = Connection::open(folder.path().join("heddle.db")).unwrap();
    connection.execute_batch(super::open::MIGRATIONS[0]).unwrap();
    connection.execute("INSERT INTO meta (name, value) VALUES ('format', 1)", []).unwrap();
    let digest = heddle_core::value::Digest([7; 32]);
    let tenant = crate::auth::Tenant::of_test("acme");
    let row = rusqlite::params![tenant.text(), digest.0, b"[1]", b"[2]"];
    connection.execute("INSERT INTO graph (tenant, digest, nodes, edges) VALUES (?1, ?2, ?3, ?4)", row).unwrap();
    drop(connection);
    let journal = open(&folder);
    let found = journal.graph(tenant, digest).await.unwrap();
    let (nodes, edges) = (bytes::Bytes::from_static(b"[1]"), bytes::Bytes::from_static(b"[2]"));
    assert_eq!(found, Some(GraphText { nodes, edges, policy: bytes::Bytes::new() }));
}
