//! What retention does, on each database and in the model.

use std::sync::Arc;

use heddle_core::batch::{BatchCreated, BatchId, BatchState, OfBatch};
use heddle_core::id::{EventSeq, RunId, Slot, WorkflowId};
use heddle_core::partition::batch::{BatchRow, Beside, Phase, RunBatch, RunCreated, RunSummary};
use heddle_core::run::RunStatus;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use tempfile::TempDir;

use super::*;
use crate::artifacts::rows::ArtifactRows;
use crate::batches::rows::BatchRows;
use crate::journal::memory::MemoryJournal;
use crate::journal::postgres::{self, PostgresJournal};
use crate::journal::sqlite::{self, Durability, SqliteJournal};
use crate::journal::testing::{TestClock, acquire, batch, commit, first, is_applied, run_in};
use crate::journal::{Acquired, Journal, RunFilter, codec};
use crate::records::{Records, Relative};

trait Database: Journal + Records + BatchRows + ArtifactRows + RetentionRows {}
impl<T: Journal + Records + BatchRows + ArtifactRows + RetentionRows> Database for T {}

const ALL: PageSize = PageSize { rows: 10_000, bytes: usize::MAX };

struct Setup {
    _folder: TempDir,
    journal: Box<dyn Database>,
    acquired: Acquired,
    number: u64,
}

/// One of each kind that can be had here.
async fn setups() -> Vec<Setup> {
    let clock = TestClock::at(1_000_000).clock();
    let mut found: Vec<(TempDir, Box<dyn Database>)> = Vec::new();
    let folder = TempDir::new().unwrap();
    found.push((folder, Box::new(MemoryJournal::new(4, clock.clone()).unwrap())));
    let folder = TempDir::new().unwrap();
    let usual = sqlite::Options::new(folder.path().join("heddle.db"));
    let options = sqlite::Options { partitions: 4, clock: clock.clone(), durability: Durability::Normal, ..usual };
    found.push((folder, Box::new(SqliteJournal::open(options).unwrap())));
    if let Some(server) = heddle_test_postgres::shared() {
        let options = postgres::Options { url: server.database(), partitions: 4, clock: Some(clock) };
        found.push((TempDir::new().unwrap(), Box::new(PostgresJournal::open(options).await.unwrap())));
    }
    let mut setups = Vec::new();
    for (folder, journal) in found {
        let acquired = acquire(&*journal, 1).await;
        setups.push(Setup { _folder: folder, journal, acquired, number: 0 });
    }
    setups
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A run that ended, with so many events.
fn ended(run: RunId, ended_at: i64, events: usize) -> RunBatch {
    let summary = RunSummary {
        status: RunStatus::Failed,
        phase: Phase::Closed,
        next_due: None,
        ended_at: Some(at(ended_at)),
        error: None,
    };
    RunBatch { summary: Some(summary), ..first(run, &vec!["1"; events]) }
}

fn with(run: RunBatch, change: impl FnOnce(&mut RunCreated)) -> RunBatch {
    let mut created = run.created.clone().unwrap();
    change(&mut created);
    RunBatch { created: Some(created), ..run }
}

impl Setup {
    async fn write(&mut self, runs: Vec<RunBatch>, beside: Beside) {
        self.number += 1;
        let rows = heddle_core::partition::batch::Batch { beside, ..batch(1, &self.acquired, self.number, runs) };
        assert!(is_applied(&commit(&*self.journal, rows).await));
    }

    async fn due(&self, keep_days: Option<u16>, until: i64) -> Vec<(RunId, bool)> {
        let found = self.journal.old_runs(keep_days, at(until), None, 100).await.unwrap();
        found.iter().map(|run| (run.place.run, run.is_needed)).collect()
    }

    async fn remove(&self, runs: &[RunId], page: PageSize) -> Removed {
        self.journal.remove(runs.to_vec(), at(9_000), page).await.unwrap()
    }

    async fn events(&self, run: RunId) -> usize {
        self.journal.read_events(run, EventSeq(0), 1_000, usize::MAX).await.unwrap().len()
    }

    async fn stone(&self, run: RunId) -> Option<Tombstone> {
        self.journal.tombstone(Tenant::of_test("default"), run).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_due_comes_in_the_order_of_ends_by_how_long_it_is_kept() {
    for mut setup in setups().await {
        let [a, b, c, d, open] = [1, 2, 3, 4, 5].map(|number| run_in(1, number));
        let kept = |run, days| with(run, |created| created.keep_days = Some(days));
        let runs = vec![ended(b, 200, 1), ended(a, 300, 1), kept(ended(c, 100, 1), 7), kept(ended(d, 100, 1), 90)];
        setup.write(runs, Beside::default()).await;
        setup.write(vec![first(open, &["1"])], Beside::default()).await;
        assert_eq!(setup.journal.kept_days().await.unwrap(), [7, 90]);
        assert_eq!(setup.due(None, 300).await, [(b, false), (a, false)]);
        assert_eq!(setup.due(None, 299).await, [(b, false)]);
        assert_eq!(setup.due(Some(7), 100).await, [(c, false)]);
        assert_eq!(setup.due(Some(90), 99).await, []);
        let place = Place { ended_at: at(200), run: b };
        let rest = setup.journal.old_runs(None, at(300), Some(place), 100).await.unwrap();
        assert_eq!(rest.iter().map(|run| run.place.run).collect::<Vec<_>>(), [a]);
        assert_eq!(setup.journal.read_row(c).await.unwrap().unwrap().created.keep_days, Some(7));
    }
}

#[tokio::test]
async fn a_removed_run_leaves_a_tombstone_and_nothing_else() {
    for mut setup in setups().await {
        let (gone, stays) = (run_in(1, 1), run_in(1, 2));
        setup.write(vec![ended(gone, 500, 3), ended(stays, 500, 2)], Beside::default()).await;
        let tenant = Tenant::of_test("default");
        let relative = Relative { root: stays, run: gone, parent: None };
        setup.journal.put_relative(tenant.clone(), relative).await.unwrap();
        let history = setup.journal.read_events(gone, EventSeq(0), 9, usize::MAX).await.unwrap();
        let last = codec::encode(gone, history.last().unwrap());
        let removed = setup.remove(&[gone], ALL).await;
        assert_eq!(removed, Removed { taken: 1, runs: 1, rows: 3, has_rest: false });
        let stone = setup.stone(gone).await.unwrap();
        assert_eq!((stone.events, stone.head_hash), (3, codec::head_hash(Some(&last))));
        assert_eq!((stone.status, stone.workflow), (RunStatus::Failed, WorkflowId(1)));
        assert_eq!((stone.created_at, stone.ended_at, stone.removed_at), (at(1_000), at(500), at(9_000)));
        assert_eq!(setup.journal.tombstone(Tenant::of_test("other"), gone).await.unwrap(), None);
        assert_eq!(setup.journal.read_row(gone).await.unwrap(), None);
        assert_eq!(setup.events(gone).await, 0);
        assert_eq!(setup.journal.relatives(tenant.clone(), stays, RunId(0), 9).await.unwrap(), []);
        let filter = RunFilter { tenant, workflow: None, status: None, from: None, to: None, parent: None };
        let listed = setup.journal.list_runs(filter, None, 9).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.run).collect::<Vec<_>>(), [stays]);
        assert_eq!(setup.events(stays).await, 2);
        // Once more there is nothing to do.
        assert_eq!(setup.remove(&[gone], ALL).await, Removed { taken: 1, ..Removed::default() });
        assert_eq!(setup.journal.forget_tombstones(at(8_999), 9).await.unwrap(), 0);
        assert_eq!(setup.journal.forget_tombstones(at(9_000), 9).await.unwrap(), 1);
        assert_eq!(setup.stone(gone).await, None);
    }
}

#[tokio::test]
async fn a_run_that_is_not_closed_stays() {
    for mut setup in setups().await {
        let run = run_in(1, 1);
        setup.write(vec![first(run, &["1"])], Beside::default()).await;
        assert_eq!(setup.remove(&[run], ALL).await, Removed { taken: 1, ..Removed::default() });
        assert_eq!(setup.events(run).await, 1);
        assert_eq!(setup.stone(run).await, None);
    }
}

#[tokio::test]
async fn a_long_run_is_gone_at_once_and_its_rows_go_page_by_page() {
    for mut setup in setups().await {
        let (long, short) = (run_in(1, 1), run_in(1, 2));
        setup.write(vec![ended(long, 500, 25), ended(short, 500, 1)], Beside::default()).await;
        let page = PageSize { rows: 10, bytes: usize::MAX };
        let removed = setup.remove(&[long, short], page).await;
        assert_eq!(removed, Removed { taken: 1, runs: 1, rows: 10, has_rest: true });
        assert!(setup.stone(long).await.is_some());
        assert_eq!(setup.journal.read_row(long).await.unwrap(), None);
        assert_eq!(setup.events(long).await, 15);
        assert_eq!(setup.journal.forget_tombstones(at(9_000), 9).await.unwrap(), 0, "it says what is left");
        // What is left goes first, as after a crash.
        let mut left = 15;
        while left > 0 {
            let removed = setup.remove(&[], page).await;
            left -= removed.rows;
            assert_eq!((removed.runs, setup.events(long).await), (0, left));
            assert!(removed.has_rest || left == 0);
        }
        let removed = setup.remove(&[short], page).await;
        assert_eq!((removed.taken, removed.runs, removed.has_rest), (1, 1, false));
        assert_eq!(setup.journal.forget_tombstones(at(9_000), 9).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_batch_keeps_its_runs_until_it_has_ended_and_goes_with_the_last() {
    for mut setup in setups().await {
        let of = BatchId::new(at(1_000), Slot(1), 7);
        let created_batch = BatchCreated {
            tenant: "default".into(),
            subject: "somebody".into(),
            workflow: WorkflowId(1),
            graph: Digest([7; 32]),
            created_at: at(1_000),
            total: 2,
            stride: 1,
            artifacts: Vec::new(),
        };
        let place = |index| Some(OfBatch { batch: of, index, input_index: index });
        let runs = [0, 1].map(|index| with(ended(of.run(index), 500, 1), |created| created.batch = place(index)));
        let going_on = BatchState { started: 2, ..BatchState::default() };
        let row = BatchRow { batch: of, created: Some((created_batch, None)), state: going_on.clone() };
        setup.write(runs.to_vec(), Beside { batches: vec![row], ..Beside::default() }).await;
        let [a, b] = [of.run(0), of.run(1)];
        let due = |needed| {
            let mut both = vec![(a, needed), (b, needed)];
            both.sort_unstable();
            both
        };
        assert_eq!(setup.due(None, 10_000).await, due(true));
        let over = BatchState { ended_at: Some(at(700)), ..going_on };
        let row = BatchRow { batch: of, created: None, state: over };
        setup.write(Vec::new(), Beside { batches: vec![row], ..Beside::default() }).await;
        assert_eq!(setup.due(None, 699).await, due(true), "they count from the end of their batch");
        assert_eq!(setup.due(None, 700).await, due(false));
        let tenant = Tenant::of_test("default");
        setup.remove(&[a], ALL).await;
        assert!(setup.journal.batch(tenant.clone(), of).await.unwrap().is_some());
        assert_eq!(setup.journal.forget_batches(at(10_000), 9).await.unwrap(), 0, "one of its runs is there");
        setup.remove(&[b], ALL).await;
        assert_eq!(setup.journal.batch(tenant, of).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_child_stays_as_long_as_the_run_that_has_invoked_it() {
    for mut setup in setups().await {
        let [parent, child, grandchild] = [1, 2, 3].map(|number| run_in(1, number));
        let of = |run, by| with(ended(run, 500, 1), |created| created.parent = Some(by));
        // A child may be kept for longer or shorter than its parent; only whether that is there counts.
        let quick = with(of(child, parent), |created| created.keep_days = Some(1));
        let runs = vec![ended(parent, 700, 1), quick, of(grandchild, child)];
        setup.write(runs, Beside::default()).await;
        assert_eq!(setup.due(Some(1), 10_000).await, [(child, true)]);
        assert_eq!(setup.due(None, 10_000).await, [(grandchild, true), (parent, false)]);
        setup.remove(&[parent], ALL).await;
        assert_eq!(setup.due(Some(1), 10_000).await, [(child, false)]);
        assert_eq!(setup.due(None, 10_000).await, [(grandchild, true)]);
        setup.remove(&[child], ALL).await;
        assert_eq!(setup.due(None, 10_000).await, [(grandchild, false)]);
    }
}

#[tokio::test]
async fn artifacts_of_a_removed_run_are_free_after_another_day() {
    use heddle_core::run::event::Event;
    use heddle_core::value::{Artifact, Value};
    for mut setup in setups().await {
        let run = run_in(1, 1);
        let digest = Digest([3; 32]);
        let mut rows = ended(run, 500, 1);
        let artifact = Artifact { digest, bytes: 9, media_type: "text/plain".into(), is_json: false };
        let event = Event::clone(&rows.events[0]);
        let value = Value::from_artifact(artifact);
        rows.events = vec![Arc::new(Event { values: vec![value], ..event })];
        setup.write(vec![rows], Beside::default()).await;
        assert_eq!(setup.journal.forget_artifacts(at(8_000), 9).await.unwrap(), []);
        setup.remove(&[run], ALL).await;
        assert_eq!(setup.journal.forget_artifacts(at(8_000), 9).await.unwrap(), [], "it was touched");
        let free = setup.journal.forget_artifacts(at(9_001), 9).await.unwrap();
        assert_eq!(free, [("default".into(), digest)]);
    }
}

#[test]
fn days_are_a_number_within_bounds() {
    let days = |text: &str| text.parse::<KeepRuns>().map(KeepRuns::days);
    assert_eq!(days("30"), Ok(Some(30)));
    assert_eq!(days("0"), Ok(None));
    for wrong in ["", "-1", "3651", "1.5", "month"] {
        assert_eq!(days(wrong), Err(BadKeepRuns), "{wrong}");
    }
    assert_eq!(KeepRuns::default().days(), Some(30));
}
