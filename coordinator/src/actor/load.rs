//! Reading runs back from the journal: one by one, and a whole partition at its start (E5, E19).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::graph::Graph;
use heddle_core::id::{Epoch, EventSeq, PartitionId, RunId};
use heddle_core::limits::RECOVERY_DEATHS_MAX;
use heddle_core::partition::Partition;
use heddle_core::partition::batch::{BatchRow, Phase};
use heddle_core::partition::io::Input;
use heddle_core::run::event::Event;
use heddle_core::run::{Corrupt, Run, RunStatus};
use thiserror::Error;

use crate::auth::Tenant;
use crate::batches::rows::StoredBatch;
use crate::graphs::GraphError;
use crate::journal::{Acquired, Claim, JournalError};
use crate::limits::{
    AWAY_PAUSE_MAX, EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, LOAD_PAGE_ROWS, LOAD_PAGE_RUNS, RESTART_PAUSE_MIN,
};
use crate::read::hub::Hint;
use crate::shared::Shared;

/// A partition that has been read, and its runs, to be its first inputs.
pub(crate) struct LoadedPartition {
    pub(crate) epoch: Epoch,
    pub(crate) partition: Partition,
    pub(crate) runs: Vec<Input>,
}

/// Why a run cannot be read back.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    #[error("the journal could not be read")]
    Journal(#[source] JournalError),
    #[error("the run's graph is missing or not valid any more: {0}")]
    Graph(String),
    #[error("the run's history does not follow: {0}")]
    History(String),
}

/// Acquires a partition, which fences every load before, and reads its active and closing runs. What this start has held
/// (`held`) it takes from nobody else: whoever has it now came later (I5).
pub(crate) async fn partition(
    shared: Arc<Shared>,
    id: PartitionId,
    held: Arc<AtomicBool>,
) -> Result<LoadedPartition, JournalError> {
    let claim = if held.load(Ordering::Relaxed) { Claim::Keep } else { Claim::Take };
    let acquired = while_away(|| shared.journal.acquire(id, shared.owner.clone(), claim)).await?;
    held.store(true, Ordering::Relaxed);
    shared.clock.heard(acquired.now);
    let mut runs = Vec::new();
    let mut after = None;
    loop {
        let page = shared.journal.list_loadable(id, after, LOAD_PAGE_RUNS).await?;
        for run in &page {
            if let Some(run) = recover(&shared, id, &acquired, *run).await? {
                // What attempts that go on say stands behind this event.
                if run.status() == RunStatus::Running {
                    shared.hub.publish(run.id(), Hint { seq: run.seq(), phase: Phase::Active });
                }
                runs.push(Input::Loaded(run.id(), Some(Box::new(run))));
            }
        }
        after = page.last().copied();
        if page.len() < LOAD_PAGE_RUNS {
            break;
        }
    }
    // Messages first: a batch asks which of its starts are among them.
    runs.extend(messages(&shared, id).await?);
    runs.extend(batches(&shared, id).await?);
    shared.journal.loaded(id, acquired.epoch).await?;
    let partition = Partition::new(id, acquired.epoch, shared.hooks.clone(), shared.clock.now());
    Ok(LoadedPartition { epoch: acquired.epoch, partition, runs })
}

/// What earlier loads have sent and nobody has heard of.
async fn messages(shared: &Arc<Shared>, id: PartitionId) -> Result<Vec<Input>, JournalError> {
    let (mut owed, mut after) = (Vec::new(), None);
    loop {
        let page = shared.batches.rows.outbox(id, after, LOAD_PAGE_ROWS).await?;
        after = page.last().map(|message| (message.id, message.source));
        let is_last = page.len() < LOAD_PAGE_ROWS;
        owed.extend(page);
        if is_last {
            return Ok(vec![Input::Owed(owed)]);
        }
    }
}

/// Batches of runs that are not over.
async fn batches(shared: &Arc<Shared>, id: PartitionId) -> Result<Vec<Input>, JournalError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = shared.batches.rows.loadable_batches(id, after, LOAD_PAGE_ROWS).await?;
        after = page.last().map(|row| row.batch);
        let is_last = page.len() < LOAD_PAGE_ROWS;
        found.extend(page.into_iter().map(|StoredBatch { batch, created, state }| {
            Input::BatchLoaded(Box::new(BatchRow { batch, created: Some((created, None)), state }))
        }));
        if is_last {
            return Ok(found);
        }
    }
}

/// Reads one run at start. After a dead start each run is noted first; the one that kills three starts in a row is set
/// aside unread.
async fn recover(
    shared: &Arc<Shared>,
    id: PartitionId,
    acquired: &Acquired,
    run: RunId,
) -> Result<Option<Run>, JournalError> {
    if acquired.dead_starts > 0 {
        let deaths = acquired.suspect.filter(|suspect| suspect.run == run).map_or(0, |suspect| suspect.deaths);
        if deaths >= RECOVERY_DEATHS_MAX {
            let reason = format!("{deaths} starts in a row died while they read this run");
            shared.journal.quarantine(id, acquired.epoch, run, reason.into()).await?;
            shared.metrics.quarantined.add(1);
            shared.tell_set_aside(run);
            return Ok(None);
        }
        shared.journal.note(id, acquired.epoch, run).await?;
    }
    match self::run(shared, run).await {
        Ok(found) => Ok(found),
        Err(LoadError::Journal(error)) if !is_about_one_run(&error) => Err(error),
        Err(error) => {
            tracing::error!(%run, %error, "a run cannot be read back; it is set aside");
            shared.journal.quarantine(id, acquired.epoch, run, error.to_string().into()).await?;
            shared.metrics.quarantined.add(1);
            shared.tell_set_aside(run);
            Ok(None)
        }
    }
}

/// Reads one run; `None` if there is none or it was set aside.
pub(crate) async fn run(shared: &Arc<Shared>, id: RunId) -> Result<Option<Run>, LoadError> {
    let Some(stored) = shared.journal.load(id).await.map_err(LoadError::Journal)? else { return Ok(None) };
    if stored.row.quarantine_reason.is_some() {
        return Ok(None);
    }
    let created = &stored.row.created;
    let graph = shared.graphs.get(&Tenant::of_run(created), created.graph).await?;
    let restored = stored.snapshot.as_ref().and_then(|snapshot| Run::restore(id, Arc::clone(&graph), snapshot));
    let tail = match (&restored, &stored.snapshot) {
        // Another fold made the snapshot: the whole history is read instead (E19).
        (None, Some(_)) => whole_history(shared, id).await.map_err(LoadError::Journal)?,
        _ => stored.tail,
    };
    catch_unwind(AssertUnwindSafe(|| fold(id, graph, restored, &tail)))
        .unwrap_or_else(|_| Err(LoadError::History("the engine failed while it read it".into())))
        .map(Some)
}

fn fold(id: RunId, graph: Arc<Graph>, restored: Option<Run>, tail: &[Event]) -> Result<Run, LoadError> {
    let history = |corrupt: Corrupt| LoadError::History(corrupt.to_string());
    let (mut run, tail) = match (restored, tail.split_first()) {
        (Some(run), _) => (run, tail),
        (None, Some((first, rest))) => (Run::begin(id, graph, first).map_err(history)?, rest),
        (None, None) => return Err(LoadError::History("it has no events".into())),
    };
    tail.iter().try_for_each(|event| run.step(event)).map_err(history)?;
    Ok(run)
}

async fn whole_history(shared: &Arc<Shared>, id: RunId) -> Result<Vec<Event>, JournalError> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(EventSeq(0), |event| event.seq);
        let page = shared.journal.read_events(id, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}

/// Reads one run for a partition at work. A run that cannot be read is reported as absent and logged; the database's
/// absence is waited out.
pub(crate) async fn run_or_set_aside(shared: &Arc<Shared>, partition: PartitionId, id: RunId) -> Option<Run> {
    let mut pause = Duration::from_millis(20);
    loop {
        match run(shared, id).await {
            Ok(found) => return found,
            Err(LoadError::Journal(error)) if !is_about_one_run(&error) => {
                tracing::warn!(%error, "the journal does not answer; trying again");
            }
            Err(error) => {
                tracing::error!(run = %id, %partition, %error, "a run cannot be read back");
                return None;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Asks the journal while its database is away: that is a state and no failure of who asks, who would only be started again
/// and cut all agents off each time (E4).
async fn while_away<T, F>(mut ask: impl FnMut() -> F) -> Result<T, JournalError>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        match ask().await {
            Err(error @ JournalError::Database { .. }) => {
                tracing::warn!(%error, "the journal does not answer; trying again");
            }
            answered => return answered,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AWAY_PAUSE_MAX);
    }
}

/// Asks the journal until it answers.
pub(crate) async fn until_answered<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, JournalError>>,
{
    let mut pause = Duration::from_millis(20);
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "the journal does not answer; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

impl From<GraphError> for LoadError {
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::Journal(error) => Self::Journal(error),
            GraphError::Missing | GraphError::Invalid(_) => Self::Graph(error.to_string()),
        }
    }
}

impl LoadError {
    /// Whether it will be so whenever the run is read, as far as anybody knows.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self, LoadError::Journal(error) if !is_about_one_run(error))
    }
}

fn is_about_one_run(error: &JournalError) -> bool {
    matches!(error, JournalError::Event { .. } | JournalError::Row { .. } | JournalError::NoValue { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_sets_no_run_aside_whatever_was_read_of_it() {
        let lasts = |error: GraphError| LoadError::from(error).is_lasting();
        assert!(!lasts(GraphError::Journal(JournalError::Stopped)));
        assert!(lasts(GraphError::Missing));
        assert!(lasts(GraphError::Invalid(Vec::new())));
    }
}
