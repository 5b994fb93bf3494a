//! Removes closed runs whose time is over, a page at a time (E18).

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::limits::RETENTION_AGAIN;
use crate::retention::Sweep;
use crate::shared::Shared;

pub(crate) struct RetentionActor;

/// Take the next step.
pub(crate) struct Step;

impl Actor for RetentionActor {
    type Msg = Step;
    type State = (Arc<Shared>, Sweep);
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<Step>,
        shared: Arc<Shared>,
    ) -> Result<(Arc<Shared>, Sweep), ActorProcessingErr> {
        myself.cast(Step)?;
        Ok((shared, Sweep::new()))
    }

    async fn handle(
        &self,
        myself: ActorRef<Step>,
        _: Step,
        (shared, sweep): &mut (Arc<Shared>, Sweep),
    ) -> Result<(), ActorProcessingErr> {
        let again = step(shared, sweep).await;
        let _timer = myself.send_after(again, || Step);
        Ok(())
    }
}

async fn step(shared: &Shared, sweep: &mut Sweep) -> Duration {
    // Whoever commits goes first while the database has enough to do with that.
    if shared.stalled().is_some() {
        return RETENTION_AGAIN;
    }
    match sweep.step(shared).await {
        Ok(again) => again,
        Err(error) => {
            tracing::warn!(%error, "old runs could not be removed; trying again");
            RETENTION_AGAIN
        }
    }
}
