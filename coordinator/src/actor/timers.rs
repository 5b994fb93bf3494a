//! What falls due on disk: parked runs are brought to their partitions (E6), old idempotency keys are removed (E24).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::limits::{DUE_SCAN_PERIOD, DUE_SCAN_RUNS_MAX};
use heddle_core::partition::io::Input;
use heddle_core::time::Timestamp;
use heddle_crash_point::crash_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::cache;
use crate::limits::{CACHE_TIDY_PERIOD, KEY_EXPIRY_PERIOD, KEY_EXPIRY_ROWS_MAX, PLAN_WITHOUT_BATCH_KEPT};
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
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        shared: Arc<Shared>,
    ) -> Result<Arc<Shared>, ActorProcessingErr> {
        myself.cast(Message::Scan)?;
        myself.cast(Message::ExpireKeys)?;
        myself.cast(Message::TidyCache)?;
        Ok(shared)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shared: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        let again = match message {
            Message::Scan => scan(shared).await,
            Message::ExpireKeys => expire_keys(shared).await,
            Message::TidyCache => tidy_cache(shared).await,
        };
        let _timer = myself.send_after(again, || message);
        Ok(())
    }
}

/// Brings parked runs that fall due to their partitions; says when to look again.
async fn scan(shared: &Shared) -> Duration {
    // Nobody may have written for long, and this machine may have slept.
    match shared.journal.now().await {
        Ok(now) => shared.clock.heard(now),
        Err(error) => tracing::warn!(%error, "the database does not tell its time; trying again"),
    }
    // One period ahead, so that a run is in memory when its instant comes.
    let before = shared.clock.now().plus(DUE_SCAN_PERIOD);
    let mut again = PERIOD;
    match shared.journal.due(before, DUE_SCAN_RUNS_MAX).await {
        Ok(due) => {
            if !due.is_empty() {
                crash_point!("timers.due");
            }
            if due.len() == DUE_SCAN_RUNS_MAX {
                again = PERIOD / 20;
            }
            let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for run in due {
                parts.entry(shared.partition_of(run)).or_default().push(run);
            }
            for (partition, runs) in parts {
                shared.doors.report(partition, [Input::Due(runs)]);
            }
        }
        Err(error) => tracing::warn!(%error, "parked runs could not be looked for; trying again"),
    }
    again
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
