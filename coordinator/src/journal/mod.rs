//! The journal: what is durable, and the only way to make something durable.
//!
//! A partition hands over a [`Batch`] and learns what became of it; at its start it acquires its row, which fences every
//! earlier owner, and reads back what it had committed. Readers get committed state only. There is one implementation
//! per database, and one in memory that tests compare them with.

pub(crate) mod artifacts;
pub mod codec;
pub(crate) mod columns;
#[cfg(test)]
mod differential;
mod error;
pub mod limits;
pub mod memory;
mod numbers;
mod partitions;
pub mod postgres;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod testing;
mod values;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use heddle_core::id::{BatchNumber, BootId, Epoch, EventSeq, PartitionId, RunId, WorkflowId};
use heddle_core::partition::batch::{
    Batch, CommitOutcome, IdempotencyKey, KeyFound, Phase, RunCreated, RunSummary, Snapshot,
};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{Event, RunError};
use heddle_core::time::Timestamp;
use heddle_core::value::{Value, ValueRef};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::auth::Tenant;

pub use error::JournalError;
pub use numbers::Numbers;
pub use partitions::Partitions;

/// An answer of the journal. The work goes on if the future is dropped; only the answer is lost.
pub type Answer<T> = BoxFuture<'static, Result<T, JournalError>>;

/// What a commit's outcome is told to.
pub type Landed = Box<dyn FnOnce(Committed) + Send>;

/// The clock that counts as the database's (E7).
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Code that is `quarantined` runs' `error.code` (E5).
pub const QUARANTINED: &str = "quarantined";

/// What keeps runs. Cheap to share: `Arc<dyn Journal>` is the handle that everybody holds.
pub trait Journal: Send + Sync + 'static {
    /// Which partition each slot belongs to; fixed since the first start.
    fn partitions(&self) -> &Partitions;

    /// Whether commits get through. Closes when the journal has stopped.
    fn state(&self) -> watch::Receiver<JournalState>;

    /// What it has counted, for people.
    fn numbers(&self) -> Numbers<'_> {
        Numbers::default()
    }

    /// Database time.
    fn now(&self) -> Answer<Timestamp>;

    /// Makes `owner` the one owner of a partition. Raises the epoch always, also when the owner is unchanged: a commit of
    /// any earlier load has landed before this answers, or never will (E4).
    fn acquire(&self, partition: PartitionId, owner: Owner, claim: Claim) -> Answer<Acquired>;

    /// Says that the partition was read completely: its dead starts are forgotten (E5). `false` = it has another owner.
    fn loaded(&self, partition: PartitionId, epoch: Epoch) -> Answer<bool>;

    /// Says that `run` is read next, in a start after a dead one: if this start dies too, the run is suspected (E5).
    /// `false` = the partition has another owner.
    fn note(&self, partition: PartitionId, epoch: Epoch, run: RunId) -> Answer<bool>;

    /// Writes a batch, whole, in one transaction, guarded by the partition's epoch and by each run's next seq. The batch
    /// is under way when this returns. `landed` is called once, from any thread, when the transaction is durable or refused;
    /// it must be quick, because others wait behind it.
    fn commit(&self, batch: Batch, landed: Landed);

    /// Sets a run aside: it shows as failed with code [`QUARANTINED`] and is never loaded again; its data is kept (E5).
    /// `false` = the partition has another owner, or there is no such run.
    fn quarantine(&self, partition: PartitionId, epoch: Epoch, run: RunId, reason: Arc<str>) -> Answer<bool>;

    /// Runs of a partition that must be loaded at its start (active or closing), in an order of the journal's choice:
    /// the next page begins after the last run of the one before.
    fn list_loadable(&self, partition: PartitionId, after: Option<RunId>, limit: usize) -> Answer<Vec<RunId>>;

    /// Parked runs whose `next_due` is not after `before`, the earliest first, of all partitions that this process may own.
    fn due(&self, before: Timestamp, limit: usize) -> Answer<Vec<RunId>>;

    /// Parked runs without `next_due` behind `after`, in the order of their ids, of all partitions that this process may own.
    fn asleep(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<Asleep>>;

    /// Runs behind `after`, in the order of their ids, that are not over, though the run that has invoked them was set aside.
    fn left_behind(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<RunRow>>;

    /// What a run's state is made of: its latest snapshot and the events after it, all as of one commit.
    fn load(&self, run: RunId) -> Answer<Option<StoredRun>>;

    /// Events after `after` with their values, in order: as many as fit into both limits, and at least one if there is one.
    /// For the engine; requests ask for [`Journal::read_history`].
    fn read_events(&self, run: RunId, after: EventSeq, rows_max: usize, bytes_max: usize) -> Answer<Vec<Event>>;

    /// The values behind references of one run, in the order of the references.
    fn read_values(&self, run: RunId, references: Vec<ValueRef>) -> Answer<Vec<Value>>;

    /// The same of a run of this tenant; nothing of any other's.
    fn read_history(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<Event>>;

    /// The rows of a history as they are kept, of a run of this tenant, as [`Journal::read_history`] pages them.
    fn read_rows(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<codec::Row>>;

    /// A run's summary row. For the engine; requests ask for [`Journal::read_summary`].
    fn read_row(&self, run: RunId) -> Answer<Option<RunRow>>;

    /// The summary row of a run of this tenant.
    fn read_summary(&self, tenant: Tenant, run: RunId) -> Answer<Option<RunRow>>;

    /// Summary rows, the newest first, before `cursor` if there is one (E27).
    fn list_runs(&self, filter: RunFilter, cursor: Option<RunCursor>, limit: usize) -> Answer<Vec<RunRow>>;

    /// The run that a key started, if that was less than [`heddle_core::limits::IDEMPOTENCY_TTL`] before `now`.
    fn lookup_key(&self, key: IdempotencyKey, now: Timestamp) -> Answer<Option<KeyFound>>;

    /// Removes at most `limit` idempotency keys that have expired at `now`; says how many.
    fn expire_keys(&self, now: Timestamp, limit: usize) -> Answer<usize>;
}

/// Who loads partitions: one start of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Stable over restarts.
    pub coordinator: Arc<str>,
    /// This start.
    pub boot: BootId,
}

/// From whom a partition is acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// From whoever has it: what a new start does.
    Take,
    /// From this start itself, to load it again. Refused if another start has taken it in the meantime (I5).
    Keep,
}

impl Claim {
    /// Why no row of the partition answers to it.
    fn refused(self, partition: PartitionId) -> JournalError {
        match self {
            Claim::Take => JournalError::UnknownPartition { partition },
            Claim::Keep => JournalError::TakenOver { partition },
        }
    }
}

/// What acquiring a partition tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// The epoch that commits must name from now on.
    pub epoch: Epoch,
    /// The last batch that landed in the epoch before; zero if none ever did.
    pub last_batch: BatchNumber,
    /// Database time.
    pub now: Timestamp,
    /// Starts in a row, just before this one, that acquired the partition and never read it completely (E5).
    pub dead_starts: u32,
    /// The run that the last dead start was reading.
    pub suspect: Option<Suspect>,
}

/// A run that a dead start was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Which run.
    pub run: RunId,
    /// In how many dead starts in a row. From [`heddle_core::limits::RECOVERY_DEATHS_MAX`] on it is quarantined unread.
    pub deaths: u32,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What is known.
    pub outcome: CommitOutcome,
    /// Database time just after.
    pub now: Timestamp,
}

/// Whether commits get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalState {
    /// They do.
    Ready,
    /// The database cannot take them now; it is tried again until it can. Nothing is lost meanwhile.
    Stalled {
        /// What the database says.
        reason: Arc<str>,
    },
}

/// What a run's state is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// Its summary row.
    pub row: RunRow,
    /// Its latest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The events after the snapshot, or all, without their values.
    pub tail: Vec<Event>,
}

/// A parked run that no instant brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asleep {
    /// Which.
    pub run: RunId,
    /// Whether a review of it is open.
    pub is_awaited: bool,
}

/// A run's summary row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Which run.
    pub run: RunId,
    /// What never changes. `key` is `None`: the key has a row of its own.
    pub created: RunCreated,
    /// What does.
    pub summary: RunSummary,
    /// Why it was set aside, if it was (E5).
    pub quarantine_reason: Option<Arc<str>>,
}

/// Which runs a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Whose.
    pub tenant: Tenant,
    /// Of this workflow only.
    pub workflow: Option<WorkflowId>,
    /// With this status only.
    pub status: Option<RunStatus>,
    /// That this run has invoked only.
    pub parent: Option<RunId>,
    /// Created at or after.
    pub from: Option<Timestamp>,
    /// Created before.
    pub to: Option<Timestamp>,
}

/// Where a list of runs goes on: after this row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    /// When the row's run was created.
    pub created_at: Timestamp,
    /// The row's run.
    pub run: RunId,
}

/// How a run stands, by the number that databases keep.
pub(crate) fn status_of(number: i64) -> Result<RunStatus, JournalError> {
    columns::status(number).ok_or(JournalError::Row { table: "run", what: "its status" })
}

/// What a run shows that has just begun.
const NEW: RunSummary =
    RunSummary { status: RunStatus::Running, phase: Phase::Active, next_due: None, ended_at: None, error: None };

/// What a quarantined run shows as the reason of its end.
fn quarantine_error() -> RunError {
    RunError {
        code: QUARANTINED.into(),
        message: "the run was set aside because its history could not be kept or read; its data is kept".into(),
        node: None,
        class: None,
        attempts: 0,
    }
}

/// As much of a reason as a quarantined run's row keeps.
fn clip(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(limits::QUARANTINE_REASON_BYTES_MAX)]
}

/// The machine's clock as it is now, carried on by one that nobody sets: whoever corrects the machine's clock moves no timer. The
/// time that the machine sleeps counts.
pub fn system_clock() -> Clock {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = running();
    Arc::new(move || {
        let now = since_1970 + running().saturating_sub(began);
        Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Which start of the machine this is, as a number; `None` if it does not tell.
fn machine_start() -> Option<i64> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    i64::from_str_radix(&digits, 16).ok()
}

/// How long the machine has been running; nobody sets this.
fn running() -> Duration {
    let running = clock_gettime(ClockId::CLOCK_BOOTTIME);
    running.map_or(Duration::ZERO, Duration::from)
}
