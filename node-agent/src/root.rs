//! The root of the agent's tree: starts link and attempts, repairs the link, and says when and why the agent has ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle_trust::Way;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use tonic::transport::Endpoint;

use crate::agent::{Exit, Status};
use crate::artifacts::desk::Desk;
use crate::attempts::{Attempts, AttemptsArguments, AttemptsMessage, Farewell};
use crate::limits::{LINK_RESTART_WINDOW, LINK_RESTARTS_MAX};
use crate::link::{Identity, Link, LinkArguments, LinkMessage};
use crate::runners::Registry;

pub(crate) struct Root;

pub(crate) struct RootArguments {
    pub(crate) endpoint: Endpoint,
    pub(crate) way: Way,
    pub(crate) identity: Arc<Identity>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) prefetch_patience: Duration,
    pub(crate) status: watch::Sender<Status>,
}

#[derive(Debug)]
pub(crate) enum RootMessage {
    /// The coordinator has welcomed the agent.
    Registered,
    /// End in order, within the grace.
    Drain { grace: Duration },
    /// The attempts owe nothing more, or no time is left; the goodbye is queued.
    Drained { unfinished: usize, unacknowledged: usize },
    /// The link is closed after a drain.
    Left,
    /// The coordinator does not want this agent.
    Refused { code: String, message: String },
}

pub(crate) struct RootState {
    attempts: ActorRef<AttemptsMessage>,
    link: ActorRef<LinkMessage>,
    link_arguments: LinkArguments,
    link_restarts: RestartWindow,
    drained: Exit,
    status: watch::Sender<Status>,
}

impl RootState {
    fn end(&self, myself: &ActorRef<RootMessage>, exit: Exit) {
        self.status.send_if_modified(|status| {
            let is_first = !matches!(status, Status::Ended(_));
            if is_first {
                *status = Status::Ended(exit);
            }
            is_first
        });
        myself.stop(None);
    }

    async fn restart_link(&mut self, myself: &ActorRef<RootMessage>) {
        if !self.link_restarts.allows(Instant::now()) {
            let message = format!("the link failed more than {LINK_RESTARTS_MAX} times in a short while");
            return self.end(myself, Exit::Failed { message });
        }
        match Actor::spawn_linked(None, Link, self.link_arguments.clone(), myself.get_cell()).await {
            Ok((link, _)) => self.link = link,
            Err(error) => self.end(myself, Exit::Failed { message: error.to_string() }),
        }
    }
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = RootState;
    type Arguments = RootArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        arguments: RootArguments,
    ) -> Result<RootState, ActorProcessingErr> {
        let RootArguments { endpoint, way, identity, registry, prefetch_patience, status } = arguments;
        let agent_id = identity.agent_id.as_str().into();
        let (slots, root, desk) = (identity.slots, myself.clone(), Arc::new(Desk::default()));
        let farewell = Farewell::default();
        let for_attempts = AttemptsArguments {
            slots,
            registry,
            prefetch_patience,
            root,
            agent_id,
            desk: Arc::clone(&desk),
            farewell: farewell.clone(),
        };
        let (attempts, _) = Actor::spawn_linked(None, Attempts, for_attempts, myself.get_cell()).await?;
        let (reach, root) = (attempts.clone(), myself.clone());
        let link_arguments = LinkArguments { endpoint, way, identity, attempts: reach, root, desk, farewell };
        let (link, _) = Actor::spawn_linked(None, Link, link_arguments.clone(), myself.get_cell()).await?;
        let drained = Exit::Drained { unfinished: 0, unacknowledged: 0 };
        Ok(RootState { attempts, link, link_arguments, link_restarts: RestartWindow::default(), drained, status })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::Registered => {
                state.status.send_if_modified(|status| {
                    let is_first = matches!(status, Status::Starting);
                    if is_first {
                        *status = Status::Registered;
                    }
                    is_first
                });
            }
            RootMessage::Drain { grace } => {
                let _ = state.attempts.cast(AttemptsMessage::Drain { grace });
            }
            RootMessage::Drained { unfinished, unacknowledged } => {
                state.drained = Exit::Drained { unfinished, unacknowledged };
                let _ = state.link.cast(LinkMessage::Leave);
            }
            RootMessage::Left => state.end(&myself, state.drained.clone()),
            RootMessage::Refused { code, message } => state.end(&myself, Exit::Refused { code, message }),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match event {
            SupervisionEvent::ActorTerminated(who, _, why) => (who, why.unwrap_or_else(|| "it stopped".to_owned())),
            SupervisionEvent::ActorFailed(who, error) => (who, error.to_string()),
            _ => return Ok(()),
        };
        if who.get_id() == state.link.get_id() {
            tracing::error!(why, "the link failed; starting it again");
            state.restart_link(&myself).await;
        } else {
            // What the agent holds is known to nobody else: only a new boot can go on.
            state.end(&myself, Exit::Failed { message: format!("the supervisor of attempts failed: {why}") });
        }
        Ok(())
    }
}

/// Allows [`LINK_RESTARTS_MAX`] restarts within [`LINK_RESTART_WINDOW`].
#[derive(Debug, Default)]
struct RestartWindow(VecDeque<Instant>);

impl RestartWindow {
    fn allows(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|&restart| now.duration_since(restart) >= LINK_RESTART_WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() <= LINK_RESTARTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_counted_within_a_window() {
        let start = Instant::now();
        let mut window = RestartWindow::default();
        assert!((0..LINK_RESTARTS_MAX).all(|_| window.allows(start)));
        assert!(!window.allows(start + LINK_RESTART_WINDOW / 2));
        assert!(window.allows(start + LINK_RESTART_WINDOW));
    }
}
