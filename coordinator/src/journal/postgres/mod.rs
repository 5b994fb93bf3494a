//! The journal on PostgreSQL: many machines, one server that somebody else looks after.
//!
//! A batch is one statement and one round trip ([`batch`]), guarded by its partition's row. Each piece of work runs in a
//! task of its own ([`connections`]), so that nobody who stops waiting can leave half of it behind. While the server
//! cannot be reached, batches wait ([`commit`]), and the state says so ([`health`]).

mod batch;
mod beside;
mod cached;
mod commit;
mod connections;
mod copies;
#[cfg(test)]
mod dialects;
mod fault;
mod health;
mod open;
mod partition;
mod query;
mod reviews;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use heddle_core::id::{Epoch, EventSeq, PartitionId, RunId};
use heddle_core::partition::batch::{Batch, IdempotencyKey, KeyFound};
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use heddle_core::value::{Value, ValueRef};
use sqlx::postgres::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::commit::Landing;
use self::connections::Connections;
pub(crate) use self::fault::Trouble;
use self::health::Health;
pub use self::open::formats;
pub(crate) use self::rows::{bytes, id, index, time};
use super::codec::Row;
use super::limits::{COMMIT_CONNECTIONS_MAX, ROW_CONNECTIONS_MAX};
use super::numbers::{Numbers, Retries};
use super::{
    Acquired, Answer, Asleep, Claim, Clock, Journal, JournalError, JournalState, Landed, Owner, Partitions, RunCursor,
    RunFilter, RunRow, StoredRun,
};
use crate::auth::Tenant;

/// Database time, in milliseconds since 1970.
macro_rules! now {
    () => {
        "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}
use now;

/// How a journal on PostgreSQL is opened.
#[derive(Clone)]
pub struct Options {
    /// `postgres://USER:PASSWORD@HOST/DATABASE`; the database must exist.
    pub url: String,
    /// How many partitions a new journal gets; an existing one keeps its own.
    pub partitions: u16,
    /// What counts as database time instead of the database's own clock, for tests.
    pub clock: Option<Clock>,
}

impl Options {
    /// What is usual, for this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), partitions: Partitions::usual_count(), clock: None }
    }
}

/// The journal on PostgreSQL. Dropping it gives up what waits for the server; what the server was asked, it finishes.
pub struct PostgresJournal {
    partitions: Partitions,
    inner: Arc<Inner>,
    runtime: Handle,
}

struct Inner {
    /// Apart from the others, so that a commit never waits behind readers.
    commits: Connections,
    rows: Connections,
    health: Health,
    retries: Retries,
    clock: Option<Clock>,
    /// Database time as last heard.
    heard: AtomicI64,
}

impl PostgresJournal {
    /// Opens the database, and makes its tables if they are not there. Its work runs on the runtime that this is called
    /// on.
    ///
    /// # Errors
    /// [`JournalError::NewerFormat`] when a newer release wrote the data, otherwise what the server or the driver says.
    pub async fn open(options: Options) -> Result<Self, JournalError> {
        let parsed =
            open::options(&options.url).map_err(|error| Trouble::from(error).told("understand its address"))?;
        let inner = Arc::new(Inner {
            commits: Connections::new(parsed.clone(), COMMIT_CONNECTIONS_MAX),
            rows: Connections::new(parsed, ROW_CONNECTIONS_MAX),
            health: Health::new(),
            retries: Retries::default(),
            clock: options.clock,
            heard: AtomicI64::new(0),
        });
        let count = options.partitions;
        let prepared = inner.rows.lend(|| (), move |connection| open::prepare(connection, count).boxed());
        let partitions = prepared.await.map_err(|trouble| trouble.told("get ready"))?;
        let runtime = Handle::current();
        runtime.spawn(health::probe_while_stalled(Arc::downgrade(&inner)));
        Ok(Self { partitions, inner, runtime })
    }

    /// Does a piece of work on a connection, in a task of its own.
    pub(crate) fn ask<T, F>(&self, doing: &'static str, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Trouble>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let task = self.runtime.spawn(async move { inner.ask(doing, work).await });
        async move { task.await.unwrap_or(Err(JournalError::Stopped)) }.boxed()
    }
}

impl Inner {
    async fn ask<T, F>(&self, doing: &'static str, work: F) -> Result<T, JournalError>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Trouble>>,
    {
        let done = self.rows.lend(|| (), work).await;
        if let Err(trouble) = &done
            && (trouble.is_of_connection() || trouble.is_of_place())
        {
            self.health.stalled(&trouble.to_string());
        }
        done.map_err(|trouble| trouble.told(doing))
    }

    /// Takes the database's word for the time, and gives it.
    fn heard(&self, now: Timestamp) -> Timestamp {
        self.heard.fetch_max(now.as_millis(), Ordering::AcqRel);
        self.clock.as_ref().map_or(now, |clock| clock())
    }

    /// Database time as last heard.
    fn last_now(&self) -> Timestamp {
        let last = || Timestamp::from_millis(self.heard.load(Ordering::Acquire));
        self.clock.as_ref().map_or_else(last, |clock| clock())
    }
}

impl Drop for PostgresJournal {
    fn drop(&mut self) {
        self.inner.health.close();
    }
}

impl Journal for PostgresJournal {
    fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    fn state(&self) -> watch::Receiver<JournalState> {
        self.inner.health.watch()
    }

    fn numbers(&self) -> Numbers<'_> {
        let waits = vec![("commits", &self.inner.commits.wait), ("rows", &self.inner.rows.wait)];
        Numbers { retries: self.inner.retries.read(), waits }
    }

    fn now(&self) -> Answer<Timestamp> {
        let inner = Arc::clone(&self.inner);
        let now = self.ask("tell the time", |connection| query::now(connection).boxed());
        async move { Ok(inner.heard(now.await?)) }.boxed()
    }

    fn acquire(&self, partition: PartitionId, owner: Owner, claim: Claim) -> Answer<Acquired> {
        let inner = Arc::clone(&self.inner);
        let acquired = self.ask("acquire a partition", move |connection| {
            async move { partition::acquire(connection, partition, &owner, claim).await }.boxed()
        });
        async move {
            let acquired = acquired.await?.ok_or_else(|| claim.refused(partition))?;
            Ok(Acquired { now: inner.heard(acquired.now), ..acquired })
        }
        .boxed()
    }

    fn loaded(&self, partition: PartitionId, epoch: Epoch) -> Answer<bool> {
        self.ask("note a load", move |connection| partition::loaded(connection, partition, epoch).boxed())
    }

    fn note(&self, partition: PartitionId, epoch: Epoch, run: RunId) -> Answer<bool> {
        self.ask("note a run", move |connection| partition::note(connection, partition, epoch, run).boxed())
    }

    fn commit(&self, batch: Batch, landed: Landed) {
        let landing = Landing::new(Arc::clone(&self.inner), landed);
        self.runtime.spawn(landing.bring(batch));
    }

    fn quarantine(&self, partition: PartitionId, epoch: Epoch, run: RunId, reason: Arc<str>) -> Answer<bool> {
        let now = self.inner.clock.as_ref().map(|clock| clock());
        self.ask("quarantine a run", move |connection| {
            async move { partition::quarantine(connection, (partition, epoch), run, &reason, now).await }.boxed()
        })
    }

    fn list_loadable(&self, partition: PartitionId, after: Option<RunId>, limit: usize) -> Answer<Vec<RunId>> {
        self.ask("list runs to load", move |connection| {
            query::list_loadable(connection, partition, after, limit).boxed()
        })
    }

    fn due(&self, before: Timestamp, limit: usize) -> Answer<Vec<RunId>> {
        self.ask("list runs that are due", move |connection| query::due(connection, before, limit).boxed())
    }

    fn asleep(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<Asleep>> {
        self.ask("list runs that wait for people", move |connection| query::asleep(connection, after, limit).boxed())
    }

    fn left_behind(&self, after: Option<RunId>, limit: usize) -> Answer<Vec<RunRow>> {
        self.ask("list children of runs that were set aside", move |connection| {
            query::left_behind(connection, after, limit).boxed()
        })
    }

    fn load(&self, run: RunId) -> Answer<Option<StoredRun>> {
        self.ask("load a run", move |connection| query::load(connection, run).boxed())
    }

    fn read_events(&self, run: RunId, after: EventSeq, rows_max: usize, bytes_max: usize) -> Answer<Vec<Event>> {
        self.ask("read a history", move |connection| {
            query::read_events(connection, None, run, after, rows_max, bytes_max).boxed()
        })
    }

    fn read_history(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<Event>> {
        self.ask("read a history", move |connection| {
            query::read_events(connection, Some(tenant), run, after, rows_max, bytes_max).boxed()
        })
    }

    fn read_rows(
        &self,
        tenant: Tenant,
        run: RunId,
        after: EventSeq,
        rows_max: usize,
        bytes_max: usize,
    ) -> Answer<Vec<Row>> {
        self.ask("read a history", move |connection| {
            query::read_rows(connection, Some(tenant), run, after, rows_max, bytes_max).boxed()
        })
    }

    fn read_values(&self, run: RunId, references: Vec<ValueRef>) -> Answer<Vec<Value>> {
        self.ask("read values", move |connection| {
            async move { query::read_values(connection, run, &references).await }.boxed()
        })
    }

    fn read_row(&self, run: RunId) -> Answer<Option<RunRow>> {
        self.ask("read a run", move |connection| query::read_summary(connection, None, run).boxed())
    }

    fn read_summary(&self, tenant: Tenant, run: RunId) -> Answer<Option<RunRow>> {
        self.ask("read a run", move |connection| query::read_summary(connection, Some(tenant), run).boxed())
    }

    fn list_runs(&self, filter: RunFilter, cursor: Option<RunCursor>, limit: usize) -> Answer<Vec<RunRow>> {
        self.ask("list runs", move |connection| {
            async move { query::list_runs(connection, &filter, cursor, limit).await }.boxed()
        })
    }

    fn lookup_key(&self, key: IdempotencyKey, now: Timestamp) -> Answer<Option<KeyFound>> {
        self.ask("look up a key", move |connection| {
            async move { query::lookup_key(connection, &key, now).await }.boxed()
        })
    }

    fn expire_keys(&self, now: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("expire keys", move |connection| query::expire_keys(connection, now, limit).boxed())
    }
}
