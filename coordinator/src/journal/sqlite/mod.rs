//! The journal on SQLite: one machine, no other program to install.
//!
//! One thread writes ([`writer`]), a few read ([`readers`]), one moves committed pages into the database file
//! ([`checkpoint`]). A lock file keeps every other process out of the data folder.

mod batch;
mod beside;
mod cached;
mod checkpoint;
mod copies;
mod inspect;
mod open;
mod partition;
mod query;
mod readers;
mod reviews;
mod rows;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::FutureExt as _;
use heddle_core::id::{Epoch, EventSeq, PartitionId, RunId};
use heddle_core::partition::batch::{Batch, IdempotencyKey, KeyFound};
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use heddle_core::value::{Value, ValueRef};
use rusqlite::Connection;
use tokio::sync::watch;

use self::batch::BatchWrite;
use self::checkpoint::Checkpointer;
pub use self::copies::{copy_finished, removed};
pub use self::inspect::{Look, formats, look};
#[cfg(test)]
pub(crate) use self::open::MIGRATIONS;
pub(crate) use self::readers::Reader;
use self::readers::Readers;
pub(crate) use self::rows::append_events;
use self::writer::{PutError, Queue, Writer, WriterParts};
use super::codec::Row;
use super::limits::READERS;
use super::numbers::{Numbers, Retries};
use super::{
    Acquired, Answer, Asleep, Claim, Clock, Journal, JournalError, JournalState, Landed, Owner, Partitions, RunCursor,
    RunFilter, RunRow, StoredRun, machine_start, system_clock,
};
use crate::auth::Tenant;

/// Called when only a new start can tell what is on the disk; by default it ends the process.
pub type FatalHook = Arc<dyn Fn(&str) + Send + Sync>;

/// How a journal on SQLite is opened.
#[derive(Clone)]
pub struct Options {
    /// The database's file, made if it is not there; other files are beside it.
    pub file: PathBuf,
    /// How many partitions a new journal gets; an existing one keeps its own.
    pub partitions: u16,
    /// What a commit survives.
    pub durability: Durability,
    /// What counts as database time.
    pub clock: Clock,
    /// Which start of the machine this is, if it tells: as long as it is the same, how long the machine has been running
    /// tells how much time has passed since the last process.
    pub machine_start: Option<i64>,
    /// What ends the process.
    pub on_fatal: FatalHook,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A loss of power: the disk has confirmed every commit.
    #[default]
    Full,
    /// A crash of the process only. The last commits before a loss of power may be gone although they were confirmed, and
    /// work that they recorded is done again.
    Normal,
}

impl Options {
    /// What is usual, for this file.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            partitions: Partitions::usual_count(),
            durability: Durability::default(),
            clock: system_clock(),
            machine_start: machine_start(),
            on_fatal: Arc::new(|reason| {
                tracing::error!(%reason, "the journal ends the process");
                std::process::abort();
            }),
        }
    }
}

/// The journal on SQLite. Dropping it writes what is queued and gives the data folder free.
pub struct SqliteJournal {
    partitions: Partitions,
    state: watch::Receiver<JournalState>,
    clock: Clock,
    retries: Arc<Retries>,
    /// `None` only while it is dropped.
    threads: Option<Threads>,
}

struct Threads {
    queue: Queue,
    readers: Readers,
    writer: Writer,
    checkpoints: JoinHandle<()>,
    lock: File,
}

impl SqliteJournal {
    /// Opens the files, or makes them; blocks meanwhile.
    ///
    /// # Errors
    /// [`JournalError::Locked`] when another process has them, [`JournalError::NewerFormat`] when a newer release wrote
    /// them, otherwise what the system or the database says.
    pub fn open(options: Options) -> Result<Self, JournalError> {
        let lock = open::lock(&options.file)?;
        let connection = open::writer(&options)?;
        let partitions = open::partitions(&connection, options.partitions)?;
        let went_on = time::go_on(&connection, options.clock, options.machine_start);
        let clock = went_on.map_err(open::failed("go on from its time"))?;
        if matches!(options.durability, Durability::Full) {
            open::lengthen_log(&options.file);
        }
        let for_reading = (0..READERS).map(|_| open::reader(&options.file)).collect::<Result<Vec<_>, _>>()?;
        let for_checkpoints = open::checkpointer(&options.file)?;

        let spawn_failed = |source| JournalError::File { path: options.file.clone(), source };
        let readers = Readers::start(for_reading).map_err(spawn_failed)?;
        let (checkpointer, checkpoints) = Checkpointer::start(for_checkpoints, &options.file).map_err(spawn_failed)?;
        let (state, watched) = watch::channel(JournalState::Ready);
        let (on_fatal, retries) = (options.on_fatal, Arc::<Retries>::default());
        let (for_writing, retried) = (clock.clone(), Arc::clone(&retries));
        let parts = WriterParts { connection, checkpointer, clock: for_writing, state, on_fatal, retries: retried };
        let (writer, queue) = Writer::start(parts).map_err(spawn_failed)?;
        let threads = Threads { queue, readers, writer, checkpoints, lock };
        Ok(Self { partitions, state: watched, clock, retries, threads: Some(threads) })
    }

    #[expect(clippy::expect_used, reason = "only drop takes the threads")]
    fn threads(&self) -> &Threads {
        self.threads.as_ref().expect("threads are taken only by drop")
    }

    /// Runs statements that write a few small rows in the writer's transaction.
    pub(crate) fn write<T, F>(&self, doing: &'static str, statements: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_bytes(doing, 0, statements)
    }

    /// Runs statements that write about so many bytes in the writer's transaction.
    pub(crate) fn write_bytes<T, F>(&self, doing: &'static str, bytes: usize, statements: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let queue = self.threads().queue.clone();
        async move { queue.run(doing, bytes, statements).await }.boxed()
    }

    /// Runs a read in one transaction of a read connection.
    pub(crate) fn read<T, F>(&self, read: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JournalError> + Send + 'static,
    {
        self.reader().run(read)
    }

    /// The readers, for a read that follows a write.
    pub(crate) fn reader(&self) -> Reader {
        self.threads().readers.handle()
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        let Some(Threads { queue, readers, writer, checkpoints, lock }) = self.threads.take() else { return };
        readers.finish();
        writer.finish(queue);
        // It ends with the writer.
        if checkpoints.join().is_err() {
            tracing::error!("the journal's checkpoint thread has panicked");
        }
        // Closing it is not enough: a process that is being started may share the file for an instant.
        if let Err(error) = lock.unlock() {
            tracing::warn!(%error, "the data folder's lock is held until the process ends");
        }
    }
}

impl Journal for SqliteJournal {
    fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    fn state(&self) -> watch::Receiver<JournalState> {
        self.state.clone()
    }

    fn numbers(&self) -> Numbers<'_> {
        Numbers { retries: self.retries.read(), waits: vec![("rows", self.threads().readers.wait())] }
    }

    fn now(&self) -> Answer<Timestamp> {
        futures::future::ready(Ok((self.clock)())).boxed()
    }

    fn acquire(&self, partition: PartitionId, owner: Owner, claim: Claim) -> Answer<Acquired> {
        let clock = self.clock.clone();
        let acquired = self.write("acquire a partition", move |connection| {
            partition::acquire(connection, partition, &owner, claim, clock())
        });
        async move { acquired.await?.ok_or_else(|| claim.refused(partition)) }.boxed()
    }

    fn loaded(&self, partition: PartitionId, epoch: Epoch) -> Answer<bool> {
        self.write("note a load", move |connection| partition::loaded(connection, partition, epoch))
    }

    fn note(&self, partition: PartitionId, epoch: Epoch, run: RunId) -> Answer<bool> {
        self.write("note a run", move |connection| partition::note(connection, partition, epoch, run))
    }

    fn commit(&self, batch: Batch, landed: Landed) {
        let queue = &self.threads().queue;
        let write = BatchWrite::new(batch, self.clock.clone(), landed);
        // A write that nobody takes tells that nothing is known of it.
        if let Err(PutError::Full(write)) = queue.try_put(Box::new(write)) {
            let queue = queue.clone();
            tokio::spawn(async move { queue.put(write).await });
        }
    }

    fn quarantine(&self, partition: PartitionId, epoch: Epoch, run: RunId, reason: Arc<str>) -> Answer<bool> {
        let clock = self.clock.clone();
        self.write("quarantine a run", move |connection| {
            Ok(partition::is_owned(connection, partition, epoch)?
                && batch::quarantine(connection, run, &reason, clock())?)
        })
    }

    fn list_loadable(&self, partition: PartitionId, after: Option<RunId>, limit: usize) -> Answer<Vec<RunId>> {
        self.read(move |connection| query::list_loadable(connection, partition, after, limit))
    }

    fn due(&self, before: Timestamp, limit: usize) -> Answer<Vec<RunId>> {
        self.read(move |connection| query::due(connection, before, limit))
    }

    fn asleep(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<Asleep>> {
        self.read(move |connection| query::asleep(connection, after, limit))
    }

    fn left_behind(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<RunRow>> {
        self.read(move |connection| query::left_behind(connection, after, limit))
    }

    fn load(&self, run: RunId) -> Answer<Option<StoredRun>> {
        self.read(move |connection| query::load(connection, run))
    }

    fn read_events(&self, run: RunId, after: EventSeq, rows_max: usize, bytes_max: usize) -> Answer<Vec<Event>> {
        self.read(move |connection| query::read_events(connection, None, run, after, rows_max, bytes_max))
    }

    fn read_history(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<Event>> {
        self.read(move |connection| query::read_events(connection, Some(&tenant), run, after, rows_max, bytes_max))
    }

    fn read_rows(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<Row>> {
        self.read(move |connection| query::read_rows(connection, Some(&tenant), run, after, rows_max, bytes_max))
    }

    fn read_values(&self, run: RunId, references: Vec<ValueRef>) -> Answer<Vec<Value>> {
        self.read(move |connection| query::read_values(connection, run, &references))
    }

    fn read_row(&self, run: RunId) -> Answer<Option<RunRow>> {
        self.read(move |connection| query::read_summary(connection, None, run))
    }

    fn read_summary(&self, tenant: Tenant, run: RunId) -> Answer<Option<RunRow>> {
        self.read(move |connection| query::read_summary(connection, Some(&tenant), run))
    }

    fn list_runs(&self, filter: RunFilter, cursor: Option<RunCursor>, limit: usize) -> Answer<Vec<RunRow>> {
        self.read(move |connection| query::list_runs(connection, &filter, cursor, limit))
    }

    fn lookup_key(&self, key: IdempotencyKey, now: Timestamp) -> Answer<Option<KeyFound>> {
        self.read(move |connection| query::lookup_key(connection, &key, now))
    }

    fn expire_keys(&self, now: Timestamp, limit: usize) -> Answer<usize> {
        self.write("expire keys", move |connection| query::expire_keys(connection, now, limit))
    }
}
