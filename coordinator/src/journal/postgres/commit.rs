//! A batch on its way to the server, until its outcome is known or can no longer be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use heddle_core::id::RunId;
use heddle_core::partition::batch::{Batch, CacheRow, CommitOutcome};
use heddle_core::time::Timestamp;
use heddle_crash_point::crash_point;
use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use super::batch::{Rows, RunRows};
use super::fault::{Trouble, Verdict};
use super::health::Backoff;
use super::{Inner, beside, cached, partition, reviews};
use crate::journal::{Clock, Committed, Landed};

/// Whom to tell, once: if the task is dropped, that nothing is known.
pub(super) struct Landing {
    inner: Arc<Inner>,
    landed: Option<Landed>,
}

/// What was written, and what could not be.
struct Written {
    now: Timestamp,
    quarantined: Vec<RunId>,
}

impl Landing {
    pub(super) fn new(inner: Arc<Inner>, landed: Landed) -> Self {
        Self { inner, landed: Some(landed) }
    }

    /// Brings the batch to the server, however long that takes, and tells.
    pub(super) async fn bring(mut self, batch: Batch) {
        let outcome = match Rows::fold(batch) {
            Some(rows) => self.inner.commit(&Arc::new(rows)).await,
            None => CommitOutcome::Refused,
        };
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: CommitOutcome) {
        if let Some(landed) = self.landed.take() {
            landed(Committed { outcome, now: self.inner.last_now() });
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.tell(CommitOutcome::Unknown);
    }
}

impl Inner {
    async fn commit(&self, rows: &Arc<Rows>) -> CommitOutcome {
        let mut backoff = Backoff::default();
        let mut stuck = None;
        let mut is_apart = false;
        loop {
            crash_point!("journal.before-begin");
            let mut was_asked = false;
            let trouble = match self.write(rows, is_apart, || was_asked = true).await {
                Ok(Written { now, quarantined }) => {
                    crash_point!("journal.committed");
                    self.heard(now);
                    drop(stuck.take());
                    self.health.ready();
                    return CommitOutcome::Applied { quarantined };
                }
                Err(trouble) => trouble,
            };
            // What the server was never asked is certainly not done.
            match if was_asked { trouble.verdict() } else { Verdict::Again } {
                Verdict::Refused => return CommitOutcome::Refused,
                Verdict::Data if !is_apart => {
                    is_apart = true;
                    continue;
                }
                Verdict::Unknown => {
                    tracing::warn!(error = %trouble, "the connection was lost while a batch was on its way");
                    self.health.stalled(&trouble.to_string());
                    return CommitOutcome::Unknown;
                }
                Verdict::Again | Verdict::Data => {}
            }
            self.retries.note(trouble.state().unwrap_or(if was_asked { "none" } else { "unreachable" }));
            // A deadlock is nobody's fault and over at once.
            if !trouble.is_deadlock() {
                stuck = stuck.or_else(|| Some(Stuck::new(&self.health.stuck)));
                self.health.stalled(&trouble.to_string());
            }
            if !self.health.pause(&mut backoff).await {
                return CommitOutcome::Unknown;
            }
        }
    }

    async fn write(&self, rows: &Arc<Rows>, is_apart: bool, began: impl FnOnce()) -> Result<Written, Trouble> {
        let (rows, clock) = (Arc::clone(rows), self.clock.clone());
        let lent = self.commits.lend(began, move |connection| {
            async move {
                if is_apart {
                    return write_apart(connection, &rows, clock).await;
                }
                if rows.is_more_than_runs() {
                    return write_with_beside(connection, &rows).await;
                }
                let now = rows.write(connection, &rows.runs).await?;
                Ok(Written { now, quarantined: Vec::new() })
            }
            .boxed()
        });
        lent.await
    }
}

/// A batch that has more to say than of runs: one transaction instead of one statement.
async fn write_with_beside(connection: &mut PgConnection, rows: &Rows) -> Result<Written, Trouble> {
    connection.execute("BEGIN").await?;
    let now = rows.write(connection, &rows.runs).await?;
    for run in &rows.runs {
        reviews::write(connection, run.run, &run.reviews).await?;
    }
    cached::write(connection, rows.runs.iter().flat_map(shared)).await?;
    beside::write(connection, &rows.beside).await?;
    crash_point!("journal.in-transaction");
    connection.execute("COMMIT").await?;
    Ok(Written { now, quarantined: Vec::new() })
}

/// Run by run, in one transaction: the run whose rows the database cannot hold is set aside alone (E5).
async fn write_apart(connection: &mut PgConnection, rows: &Rows, clock: Option<Clock>) -> Result<Written, Trouble> {
    connection.execute("BEGIN").await?;
    // The partition's row first: from here on nobody else can have it.
    let mut now = rows.write(connection, &[]).await?;
    let mut quarantined = Vec::new();
    for run in &rows.runs {
        connection.execute("SAVEPOINT one_run").await?;
        match write_one(connection, rows, run).await {
            Ok(at) => now = at,
            Err(trouble) if trouble.verdict() == Verdict::Data => {
                connection.execute("ROLLBACK TO one_run").await?;
                let at = clock.as_ref().map_or(now, |clock| clock());
                set_aside(connection, rows, run, &trouble, at).await?;
                quarantined.push(run.run);
            }
            Err(trouble) => return Err(trouble),
        }
        connection.execute("RELEASE one_run").await?;
    }
    beside::write(connection, &rows.beside).await?;
    crash_point!("journal.in-transaction");
    connection.execute("COMMIT").await?;
    Ok(Written { now, quarantined })
}

/// A run's rows and those of its reviews.
async fn write_one(connection: &mut PgConnection, rows: &Rows, run: &RunRows) -> Result<Timestamp, Trouble> {
    let now = rows.write(connection, std::slice::from_ref(run)).await?;
    reviews::write(connection, run.run, &run.reviews).await?;
    cached::write(connection, shared(run)).await?;
    Ok(now)
}

/// What a run gives to others.
fn shared(run: &RunRows) -> impl Iterator<Item = (RunId, &CacheRow)> {
    run.cached.iter().map(|row| (run.run, row))
}

/// Leaves a row that says why this run is not here, if the database holds at least that.
async fn set_aside(
    connection: &mut PgConnection,
    rows: &Rows,
    run: &RunRows,
    trouble: &Trouble,
    now: Timestamp,
) -> Result<(), Trouble> {
    let reason = format!("the database cannot hold its rows: {trouble}");
    tracing::error!(run = %run.run, %reason, "a run was quarantined");
    if partition::quarantine(connection, rows.guard(), run.run, &reason, Some(now)).await? {
        return Ok(());
    }
    let Some(aside) = run.set_aside(&reason, now) else { return Ok(()) };
    match rows.write(connection, &[aside]).await {
        Err(trouble) if matches!(trouble.verdict(), Verdict::Data | Verdict::Refused) => {
            connection.execute("ROLLBACK TO one_run").await?;
            Ok(())
        }
        written => written.map(drop),
    }
}

/// One batch that the database does not take now.
struct Stuck<'a>(&'a AtomicUsize);

impl<'a> Stuck<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
