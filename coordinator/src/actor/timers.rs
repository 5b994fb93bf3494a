//! What falls due on disk: parked runs are brought to their partitions (E6), old idempotency keys are removed (E24).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle_core::id::RunId;
use heddle_core::limits::{DUE_SCAN_PERIOD, DUE_SCAN_RUNS_MAX};
use heddle_core::partition::io::Input;
use heddle_core::time::Timestamp;
use heddle_crash_point::crash_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::cache;
use crate::limits::{
    CACHE_TIDY_PERIOD, DUE_SCAN_REPORTED_MAX, KEY_EXPIRY_PERIOD, KEY_EXPIRY_ROWS_MAX, PLAN_WITHOUT_BATCH_KEPT,
};
use crate::shared::Shared;

const PERIOD: Duration = Duration::from_millis(DUE_SCAN_PERIOD.as_millis());

pub(crate) struct TimersActor;

pub(crate) enum Message {
    /// Look for parked runs.
    Scan,
    /// Remove idempotency keys that have expired.
    ExpireKeys,
    /// Remove results that runs share and that are too old or too many.
    TidyCache,
}

impl Actor for TimersActor {
    type Msg = Message;
    type State = Timers;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<Message>, shared: Arc<Shared>) -> Result<Timers, ActorProcessingErr> {
        myself.cast(Message::Scan)?;
        myself.cast(Message::ExpireKeys)?;
        myself.cast(Message::TidyCache)?;
        Ok(Timers { shared, reported: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        timers: &mut Timers,
    ) -> Result<(), ActorProcessingErr> {
        let again = match message {
            Message::Scan => timers.scan().await,
            Message::ExpireKeys => expire_keys(&timers.shared).await,
            Message::TidyCache => tidy_cache(&timers.shared).await,
        };
        let _timer = myself.send_after(again, || message);
        Ok(())
    }
}

/// What the actor knows.
pub(crate) struct Timers {
    shared: Arc<Shared>,
    /// Runs that were brought to their partitions, and when: their rows say that they are due until they have gone on.
    reported: BTreeMap<RunId, Instant>,
}

impl Timers {
    /// Brings parked runs that fall due to their partitions; says when to look again.
    async fn scan(&mut self) -> Duration {
        let shared = &self.shared;
        // Nobody may have written for long, and this machine may have slept.
        match shared.journal.now().await {
            Ok(now) => shared.clock.heard(now),
            Err(error) => tracing::warn!(%error, "the database does not tell its time; trying again"),
        }
        // One period ahead, so that a run is in memory when its instant comes.
        let before = shared.clock.now().plus(DUE_SCAN_PERIOD);
        // After that they are brought again: their partition may have been loaded anew.
        self.reported.retain(|_, at| at.elapsed() < PERIOD);
        let limit = DUE_SCAN_RUNS_MAX + self.reported.len();
        let due = match shared.journal.due(before, limit).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "parked runs could not be looked for; trying again");
                return PERIOD;
            }
        };
        if !due.is_empty() {
            crash_point!("timers.due");
        }
        let is_new = |run: &RunId| !self.reported.contains_key(run);
        let due: Vec<RunId> = due.into_iter().filter(is_new).take(DUE_SCAN_RUNS_MAX).collect();
        let is_full = due.len() == DUE_SCAN_RUNS_MAX && self.reported.len() < DUE_SCAN_REPORTED_MAX;
        let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for run in due {
            self.reported.insert(run, Instant::now());
            parts.entry(shared.partition_of(run)).or_default().push(run);
        }
        for (partition, runs) in parts {
            shared.doors.report(partition, [Input::Due(runs)]);
        }
        if is_full { PERIOD / 20 } else { PERIOD }
    }
}

/// Removes a page of results that runs share; says when to remove the next.
async fn tidy_cache(shared: &Shared) -> Duration {
    match cache::tidy(shared).await {
        Ok(true) => PERIOD,
        Ok(false) => CACHE_TIDY_PERIOD,
        Err(error) => {
            tracing::warn!(%error, "old shared results could not be removed; trying again");
            CACHE_TIDY_PERIOD
        }
    }
}

/// Removes a page of idempotency keys, and of plans whose batches were never begun; says when to remove the next.
async fn expire_keys(shared: &Shared) -> Duration {
    let before = Timestamp::from_millis(shared.clock.now().as_millis() - PLAN_WITHOUT_BATCH_KEPT.as_millis() as i64);
    if let Err(error) = shared.batches.rows.expire_plans(before, KEY_EXPIRY_ROWS_MAX).await {
        tracing::warn!(%error, "plans of batches that were not begun could not be removed; trying again");
    }
    match shared.journal.expire_keys(shared.clock.now(), KEY_EXPIRY_ROWS_MAX).await {
        Ok(KEY_EXPIRY_ROWS_MAX) => PERIOD,
        Ok(_) => KEY_EXPIRY_PERIOD,
        Err(error) => {
            tracing::warn!(%error, "old idempotency keys could not be removed; trying again");
            KEY_EXPIRY_PERIOD
        }
    }
}
