//! Connections to the server: lent for one piece of work, and thrown away unless it went well.
//!
//! A pool of the library tests a connection each time it comes back, and its transactions must not be dropped half-way.
//! Here each piece of work runs in a task of its own, which no caller can cancel, and a commit costs one round trip.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::future::BoxFuture;
use heddle_telemetry::metrics::Histogram;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::fault::Trouble;
use crate::journal::limits::{ANSWER_WAIT_MAX, IDLE_TRUSTED};

/// What every connection is told first. Plans are chosen while the tables are empty and must fit when they are not, so
/// they go along indexes. A transaction whose client has vanished must not hold its partition's row for ever. Commits
/// that are confirmed must be durable, whatever the server's usual answer is.
const SETTINGS: &str = "SELECT set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false),
    set_config('idle_in_transaction_session_timeout', '30s', false),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
        false)";

/// Some connections to one database.
pub(super) struct Connections {
    options: PgConnectOptions,
    places: Semaphore,
    /// The one that was used last is on top: its statements are prepared.
    idle: Mutex<Vec<Idle>>,
    /// How long work waited for a place.
    pub(super) wait: Histogram,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Connections {
    /// At most so many; they are opened when they are needed.
    pub(super) fn new(options: PgConnectOptions, count: usize) -> Self {
        Self { options, places: Semaphore::new(count), idle: Mutex::default(), wait: Histogram::new() }
    }

    /// Does a piece of work on a connection, as soon as one is free. `began` is called when the connection is there:
    /// before that, nothing was asked of the server.
    pub(super) async fn lend<T, F>(&self, began: impl FnOnce(), work: F) -> Result<T, Trouble>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Trouble>>,
    {
        let since = Instant::now();
        let _place = self.places.acquire().await.map_err(|_| Trouble::Late)?;
        self.wait.observe(since.elapsed());
        let found = timeout(ANSWER_WAIT_MAX, self.connection()).await.map_err(|_| Trouble::Late);
        let mut connection =
            found.and_then(|found| found.map_err(Trouble::from)).inspect_err(|_| self.lock().clear())?;
        began();
        let done = timeout(ANSWER_WAIT_MAX, work(&mut connection)).await.unwrap_or(Err(Trouble::Late));
        match &done {
            Ok(_) => self.lock().push(Idle { connection, since: Instant::now() }),
            // The others have most likely lost their server, too.
            Err(trouble) if trouble.is_of_connection() => self.lock().clear(),
            Err(_) => {}
        }
        done
    }

    async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        loop {
            let Some(Idle { mut connection, since }) = self.pop() else { break };
            if since.elapsed() < IDLE_TRUSTED || connection.ping().await.is_ok() {
                return Ok(connection);
            }
        }
        let mut connection = PgConnection::connect_with(&self.options).await?;
        connection.execute(SETTINGS).await?;
        Ok(connection)
    }

    fn pop(&self) -> Option<Idle> {
        self.lock().pop()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
