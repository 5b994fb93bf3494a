//! Random operations on the model and on the database, and every answer compared, until each kind of operation has
//! succeeded. A failure prints the seed; `JOURNAL_SEED` runs it again.

mod artifacts;
mod batches;
mod cached;
mod draw;
mod members;
mod plain;
mod retention;
mod reviews;
mod stats;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::id::{BatchNumber, Epoch, EventSeq, PartitionId, RunId};
use heddle_core::partition::batch::{Batch, Beside, CommitOutcome, Snapshot};
use heddle_core::value::{Digest, ValueRef};
use tempfile::TempDir;

use self::draw::Draw;
use super::memory::MemoryJournal;
use super::postgres::{self, PostgresJournal};
use super::sqlite::{self, Durability, SqliteJournal};
use super::testing::{TestClock, commit, key, owner};
use super::{Claim, Journal, RunCursor, RunFilter};
use crate::artifacts::rows::ArtifactRows;
use crate::batches::rows::BatchRows;
use crate::cache::CacheRows;
use crate::members::Members;
use crate::records::Records;
use crate::retention::RetentionRows;
use crate::reviews::rows::ReviewRows;
use crate::stats::RunRows;

const PARTITIONS: u16 = 3;
const OPERATIONS_MIN: usize = 1_500;
const OPERATIONS_MAX: usize = 60_000;

/// Asks both the same, asserts that they answer the same, and gives the answer.
macro_rules! same {
    ($pair:expr, $operation:ident ( $($given:expr),* )) => {{
        let model = $pair.model.$operation($($given.clone()),*).await.map_err(|error| error.code());
        let database = $pair.database().$operation($($given.clone()),*).await.map_err(|error| error.code());
        assert_eq!(database, model, "{} {:?}", stringify!($operation), ($(&$given,)*));
        model
    }};
}
use same;

/// What keeps runs and plain rows.
trait Database:
    Journal + Records + Members + ArtifactRows + BatchRows + ReviewRows + CacheRows + RunRows + RetentionRows
{
}
impl<T> Database for T where
    T: Journal + Records + Members + ArtifactRows + BatchRows + ReviewRows + CacheRows + RunRows + RetentionRows
{
}

/// Where the rows stay while the database is started again.
enum Place {
    Sqlite(TempDir),
    Postgres(String),
}

/// The model, the database, and what the test knows of both.
struct Pair {
    model: MemoryJournal,
    database: Option<Box<dyn Database>>,
    place: Place,
    clock: TestClock,
    draw: Draw,
    epochs: BTreeMap<PartitionId, Epoch>,
    /// The last event of each run.
    runs: BTreeMap<RunId, EventSeq>,
    /// Runs that were removed, in order.
    removed: Vec<RunId>,
    succeeded: BTreeSet<&'static str>,
}

#[tokio::test]
async fn sqlite_answers_as_the_model_does() {
    compare(Place::Sqlite(TempDir::new().unwrap())).await;
}

#[tokio::test]
async fn postgres_answers_as_the_model_does() {
    let Some(server) = heddle_test_postgres::shared() else { return };
    compare(Place::Postgres(server.database())).await;
}

async fn compare(place: Place) {
    let seed = std::env::var("JOURNAL_SEED").map_or(20_261_128, |seed| seed.parse().unwrap());
    println!("JOURNAL_SEED={seed}");
    let mut pair = Pair::new(seed, place).await;
    let beside = [artifacts::OPERATIONS, batches::OPERATIONS, reviews::OPERATIONS, cached::OPERATIONS].concat();
    let late = [stats::OPERATIONS, retention::OPERATIONS].concat();
    let operations = [OPERATIONS, members::OPERATIONS, plain::OPERATIONS, &beside, &late].concat();
    for count in 0.. {
        assert!(count < OPERATIONS_MAX, "only these succeeded: {:?}", pair.succeeded);
        if count >= OPERATIONS_MIN && pair.succeeded.len() == operations.len() {
            break;
        }
        let operation = pair.draw.one_of(&operations);
        if pair.perform(operation).await {
            pair.succeeded.insert(operation);
        }
        let step = pair.draw.below(40) as i64;
        pair.clock.advance(step);
    }
}

/// Operations on partitions and runs. Those on other rows stand in the modules beside.
const OPERATIONS: &[&str] = &[
    "acquire",
    "acquire with a suspect",
    "acquire what another start has taken",
    "loaded",
    "note",
    "commit",
    "commit with a live key",
    "commit of a stale epoch",
    "commit with a gap",
    "quarantine",
    "list_loadable",
    "due",
    "asleep",
    "left_behind",
    "load",
    "read_events",
    "read_values",
    "read_values of nothing",
    "read_row",
    "read_history",
    "read_history of another tenant",
    "list_runs",
    "lookup_key",
    "expire_keys",
    "start again",
];

impl Pair {
    async fn new(seed: u64, place: Place) -> Self {
        let clock = TestClock::at(1_000_000);
        let model = MemoryJournal::new(PARTITIONS, clock.clock()).unwrap();
        let (draw, succeeded) = (Draw::new(seed), BTreeSet::new());
        let (epochs, runs) = (BTreeMap::new(), BTreeMap::new());
        let removed = Vec::new();
        let mut pair = Self { model, database: None, place, clock, draw, epochs, runs, removed, succeeded };
        pair.open().await;
        assert_eq!(pair.database().partitions(), pair.model.partitions());
        pair
    }

    async fn open(&mut self) {
        self.database = None;
        let (clock, partitions) = (self.clock.clock(), PARTITIONS);
        self.database = Some(match &self.place {
            Place::Sqlite(folder) => {
                let usual = sqlite::Options::new(folder.path().join("heddle.db"));
                // This clock goes its own way, and not as the machine runs.
                let machine_start = None;
                let options =
                    sqlite::Options { partitions, clock, machine_start, durability: Durability::Normal, ..usual };
                Box::new(SqliteJournal::open(options).unwrap())
            }
            Place::Postgres(url) => {
                let options = postgres::Options { url: url.clone(), partitions, clock: Some(clock) };
                Box::new(PostgresJournal::open(options).await.unwrap())
            }
        });
    }

    fn database(&self) -> &dyn Database {
        self.database.as_deref().unwrap()
    }

    /// Performs an operation; says whether it did what its name promises.
    async fn perform(&mut self, operation: &'static str) -> bool {
        match operation {
            "acquire" => self.acquire().await,
            "acquire with a suspect" => self.acquire_with_a_suspect().await,
            "acquire what another start has taken" => self.acquire_what_was_taken().await,
            "loaded" => {
                let (partition, epoch) = self.partition();
                same!(self, loaded(partition, epoch)).unwrap()
            }
            "note" => {
                let ((partition, epoch), run) = (self.partition(), self.run());
                same!(self, note(partition, epoch, run)).unwrap()
            }
            "commit" | "commit with a live key" | "commit of a stale epoch" | "commit with a gap" => {
                self.commit(operation).await
            }
            "quarantine" => {
                let ((partition, epoch), run) = (self.partition(), self.run());
                let reason: Arc<str> = self.draw.text().repeat(300).into();
                same!(self, quarantine(partition, epoch, run, reason)).unwrap()
            }
            "start again" => {
                self.open().await;
                true
            }
            _ if members::OPERATIONS.contains(&operation) => self.perform_members(operation).await,
            _ if plain::OPERATIONS.contains(&operation) => self.perform_plain(operation).await,
            _ if artifacts::OPERATIONS.contains(&operation) => self.perform_on_artifacts(operation).await,
            _ if reviews::OPERATIONS.contains(&operation) => self.perform_on_reviews(operation).await,
            _ if cached::OPERATIONS.contains(&operation) => self.perform_on_cache(operation).await,
            _ if stats::OPERATIONS.contains(&operation) => self.perform_on_stats(operation).await,
            _ if retention::OPERATIONS.contains(&operation) => self.perform_on_old_runs(operation).await,
            _ if batches::OPERATIONS.contains(&operation) => self.perform_on_batches(operation).await,
            _ => self.read(operation).await,
        }
    }

    async fn read(&mut self, operation: &str) -> bool {
        let run = self.run();
        let limit = self.draw.below(6) as usize;
        let bytes_max = self.draw.below(2_000) as usize;
        let after = EventSeq(self.draw.below(4));
        match operation {
            "list_loadable" => {
                let partition = self.partition().0;
                let after = self.draw.maybe(run);
                !same!(self, list_loadable(partition, after, limit)).unwrap().is_empty()
            }
            "due" => {
                let before = self.draw.time_near(self.clock.now());
                !same!(self, due(before, limit)).unwrap().is_empty()
            }
            "asleep" => {
                let after = self.draw.maybe(run);
                !same!(self, asleep(after, limit)).unwrap().is_empty()
            }
            "left_behind" => {
                let after = self.draw.maybe(run);
                !same!(self, left_behind(after, limit)).unwrap().is_empty()
            }
            "load" => {
                let stored = same!(self, load(run)).unwrap();
                stored.is_some_and(|stored| stored.snapshot.is_some() && !stored.tail.is_empty())
            }
            "read_events" => same!(self, read_events(run, after, limit, bytes_max)).unwrap().len() > 1,
            "read_values" | "read_values of nothing" => {
                let references = self.references(run, operation == "read_values").await;
                let is_found = same!(self, read_values(run, references)).is_ok_and(|values| !values.is_empty());
                is_found == (operation == "read_values")
            }
            "read_row" => same!(self, read_row(run)).unwrap().is_some(),
            "read_history" | "read_history of another tenant" => {
                let owner = self.model.read_row(run).await.unwrap().map(|row| row.created.tenant);
                let tenant = self.draw.tenant();
                let is_its = owner.as_ref().is_some_and(|owner| owner == tenant.id());
                let summary = same!(self, read_summary(tenant, run)).unwrap();
                let events = same!(self, read_history(tenant, run, after, limit, bytes_max)).unwrap();
                assert!(is_its || (summary.is_none() && events.is_empty()), "{tenant:?} sees a run of {owner:?}");
                match operation {
                    "read_history" => summary.is_some() && events.len() > 1,
                    _ => owner.is_some() && !is_its,
                }
            }
            "list_runs" => {
                let (filter, cursor) = (self.filter(), self.cursor(run).await);
                !same!(self, list_runs(filter, cursor, limit)).unwrap().is_empty()
            }
            "lookup_key" => {
                let (key, now) = (self.key().key, self.clock.now());
                same!(self, lookup_key(key, now)).unwrap().is_some()
            }
            "expire_keys" => {
                self.clock.advance(20 * 60 * 60 * 1_000);
                let now = self.clock.now();
                same!(self, expire_keys(now, limit)).unwrap() > 0
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    async fn acquire(&mut self) -> bool {
        // One more than there are: that one must be refused alike.
        let partition = PartitionId(self.draw.below(u64::from(PARTITIONS) + 1) as u16);
        let owner = owner(self.draw.below(3));
        let acquired = same!(self, acquire(partition, owner, Claim::Take));
        self.epochs.extend(acquired.iter().map(|acquired| (partition, acquired.epoch)));
        acquired.is_ok_and(|acquired| acquired.last_batch > BatchNumber(0))
    }

    /// A start that has the partition may have it again; one that lost it may not, and changes nothing.
    async fn acquire_what_was_taken(&mut self) -> bool {
        let partition = PartitionId(self.draw.below(u64::from(PARTITIONS) + 1) as u16);
        let owner = owner(self.draw.below(3));
        let acquired = same!(self, acquire(partition, owner, Claim::Keep));
        self.epochs.extend(acquired.iter().map(|acquired| (partition, acquired.epoch)));
        acquired.is_err_and(|code| code == "partition_taken")
    }

    /// Starts that die while they read the same run, or not quite the same.
    async fn acquire_with_a_suspect(&mut self) -> bool {
        let ((partition, _), mut run) = (self.partition(), self.run());
        let mut deaths = 0;
        for _ in 0..4 {
            let acquired = same!(self, acquire(partition, owner(1), Claim::Take)).unwrap();
            deaths = acquired.suspect.map_or(0, |suspect| suspect.deaths).max(deaths);
            self.epochs.insert(partition, acquired.epoch);
            run = if self.draw.below(4) == 0 { self.run() } else { run };
            if self.draw.below(8) > 0 {
                assert_eq!(same!(self, note(partition, acquired.epoch, run)), Ok(true));
            }
        }
        deaths > 2
    }

    async fn commit(&mut self, operation: &str) -> bool {
        let (partition, epoch) = self.partition();
        let epoch = if operation == "commit of a stale epoch" { Epoch(epoch.0.saturating_sub(1)) } else { epoch };
        let number = BatchNumber(self.draw.below(100));
        let mut lasts = self.runs.clone();
        let runs = (0..=self.draw.below(4)).map(|_| self.run_batch(&mut lasts, operation)).collect();
        let batch = Batch { partition, epoch, number, runs, beside: Beside::default() };

        let model = commit(&self.model, batch.clone()).await;
        let database = commit(self.database(), batch.clone()).await;
        assert_eq!(database, model, "{batch:?}");
        let is_applied = model.outcome != CommitOutcome::Refused;
        if is_applied {
            self.runs = lasts;
        }
        is_applied == (operation == "commit")
    }

    /// A partition with the epoch of its last load, or sometimes an older one.
    fn partition(&mut self) -> (PartitionId, Epoch) {
        let partition = PartitionId(self.draw.below(u64::from(PARTITIONS)) as u16);
        let epoch = self.epochs.get(&partition).copied().unwrap_or_default();
        (partition, if self.draw.below(10) == 0 { Epoch(epoch.0.saturating_sub(1)) } else { epoch })
    }

    /// A run that is there, or sometimes one that is not.
    fn run(&mut self) -> RunId {
        let index = self.draw.below(self.runs.len() as u64 + 1) as usize;
        self.runs.keys().nth(index).copied().unwrap_or(RunId(index as u128))
    }

    /// References to values of one run; `real` ones, or one more that is not.
    async fn references(&mut self, run: RunId, real: bool) -> Vec<ValueRef> {
        let events = self.model.read_events(run, EventSeq(0), 10, usize::MAX).await.unwrap();
        let mut references = Vec::new();
        for event in &events {
            for (place, value) in (0..).zip(&event.values).filter(|_| self.draw.below(2) == 0) {
                let bytes = value.bytes() as u32;
                references.push(ValueRef { seq: event.seq, place, bytes, digest: value.digest(), is_array: false });
            }
        }
        if !real {
            let seq = EventSeq(self.draw.below(12));
            references.push(ValueRef { seq, place: 9, bytes: 0, digest: Digest([0; 32]), is_array: false });
        }
        references
    }

    fn filter(&mut self) -> RunFilter {
        let now = self.clock.now();
        let (from, to) = (self.draw.time_near(now), self.draw.time_near(now));
        let (workflow, status) = (self.draw.workflow(), self.draw.status());
        let parent = self.draw.parent();
        RunFilter {
            tenant: self.draw.tenant(),
            workflow: self.draw.maybe(workflow),
            status: self.draw.maybe(status),
            parent: self.draw.rarely(parent),
            from: self.draw.rarely(from),
            to: self.draw.rarely(to),
        }
    }

    async fn cursor(&mut self, run: RunId) -> Option<RunCursor> {
        let row = self.model.read_row(run).await.unwrap()?;
        self.draw.maybe(RunCursor { created_at: row.created.created_at, run })
    }

    fn key(&mut self) -> heddle_core::partition::batch::KeyRow {
        let key = key(&format!("key {}", self.draw.below(6)));
        heddle_core::partition::batch::KeyRow { body: Digest([self.draw.below(2) as u8; 32]), ..key }
    }

    fn snapshot(&mut self, seq: EventSeq) -> Option<Snapshot> {
        let snapshot = Snapshot { seq, version: self.draw.below(3) as u32, bytes: self.draw.bytes() };
        self.draw.rarely(snapshot)
    }
}
