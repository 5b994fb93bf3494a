//! Looks at the rules that watch over workflows, page by page, and removes incidents that closed long ago.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::id::AlertId;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::alerts;
use crate::limits::{ALERT_PAGE_PAUSE, ALERT_PERIOD, INCIDENT_EXPIRY_PERIOD};
use crate::shared::Shared;

pub(crate) struct AlertsActor;

pub(crate) enum Message {
    /// Look at a page of rules, after this one.
    Look(Option<AlertId>),
    /// Remove old incidents.
    Expire,
}

impl Actor for AlertsActor {
    type Msg = Message;
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        shared: Arc<Shared>,
    ) -> Result<Arc<Shared>, ActorProcessingErr> {
        myself.cast(Message::Look(None))?;
        myself.cast(Message::Expire)?;
        Ok(shared)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        shared: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        let (pause, next) = match message {
            Message::Look(after) => look(shared, after).await,
            Message::Expire => (expire(shared).await, Message::Expire),
        };
        let _timer = myself.send_after(pause, || next);
        Ok(())
    }
}

async fn look(shared: &Shared, after: Option<AlertId>) -> (Duration, Message) {
    if shared.stalled().is_some() {
        return (ALERT_PERIOD, Message::Look(None));
    }
    match alerts::look(shared, after).await {
        Ok(Some(last)) => (ALERT_PAGE_PAUSE, Message::Look(Some(last))),
        Ok(None) => (ALERT_PERIOD, Message::Look(None)),
        Err(error) => {
            tracing::warn!(%error, "alert rules could not be looked at; trying again");
            (ALERT_PERIOD, Message::Look(None))
        }
    }
}

/// Says when to remove the next page.
async fn expire(shared: &Shared) -> Duration {
    match alerts::expire(shared).await {
        Ok(true) => ALERT_PAGE_PAUSE,
        Ok(false) => INCIDENT_EXPIRY_PERIOD,
        Err(error) => {
            tracing::warn!(%error, "old incidents could not be removed; trying again");
            INCIDENT_EXPIRY_PERIOD
        }
    }
}
