//! The link to the coordinator: the shell around [`redial::Redial`]. Each session runs on a task that ends with the actor.

mod redial;
mod session;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use heddle_trust::Way;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Endpoint;

use crate::artifacts::desk::Desk;
use crate::attempts::{AttemptsMessage, Farewell};
use crate::limits::GOODBYE_WAIT;
use crate::metrics::NUMBERS;
use crate::root::RootMessage;
use redial::{Next, Outage, Redial, SessionEnd};
use session::Surroundings;

pub(crate) use session::{Identity, configured};

pub(crate) struct Link;

#[derive(Clone)]
pub(crate) struct LinkArguments {
    pub(crate) endpoint: Endpoint,
    pub(crate) way: Way,
    pub(crate) identity: Arc<Identity>,
    pub(crate) attempts: ActorRef<AttemptsMessage>,
    pub(crate) root: ActorRef<RootMessage>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) farewell: Farewell,
}

#[derive(Debug)]
pub(crate) enum LinkMessage {
    Dial,
    /// The coordinator has welcomed the agent.
    Registered,
    SessionEnded(SessionEnd),
    /// The agent has queued its goodbye, or has nobody to say it to.
    Leave,
    /// The coordinator had time enough to end the stream.
    LeaveAnyway,
}

pub(crate) struct LinkState {
    redial: Redial,
    outage: Outage,
    surroundings: Arc<Surroundings>,
    root: ActorRef<RootMessage>,
    session: Option<AbortOnDropHandle<()>>,
    farewell: Farewell,
}

impl LinkState {
    fn dial(&mut self, myself: &ActorRef<LinkMessage>) {
        if self.redial.is_leaving() {
            return;
        }
        let (surroundings, link) = (Arc::clone(&self.surroundings), myself.clone());
        self.session = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let session = AssertUnwindSafe(session::run(&surroundings, &link)).catch_unwind();
            let end = session.await.unwrap_or_else(|_| SessionEnd::Lost {
                was_welcomed: false,
                reason: "the session panicked; report this as a defect".to_owned(),
            });
            let _ = link.cast(LinkMessage::SessionEnded(end));
        })));
    }

    fn session_ended(&mut self, myself: &ActorRef<LinkMessage>, end: SessionEnd) {
        self.session = None;
        if self.farewell.is_said() && !self.redial.is_leaving() {
            // The coordinator was quicker than the word to leave, which comes.
            tracing::debug!("left the coordinator");
            return;
        }
        match &end {
            SessionEnd::Lost { .. } if self.redial.is_leaving() => tracing::debug!("left the coordinator"),
            SessionEnd::Lost { was_welcomed: true, reason } => {
                NUMBERS.lost_sessions.add(1);
                tracing::warn!(reason, "lost the coordinator; dialling it again");
            }
            SessionEnd::Lost { reason, .. } => {
                NUMBERS.failed_dials.add(1);
                let coordinator = &self.surroundings.way;
                if self.outage.is_news("unreachable", Instant::now()) {
                    tracing::warn!(%coordinator, reason, "cannot reach the coordinator; trying on");
                } else {
                    tracing::debug!(%coordinator, reason, "cannot reach the coordinator; trying on");
                }
            }
            SessionEnd::Refused { code, message, retry } => {
                NUMBERS.refused_sessions.add(1);
                if !retry || self.outage.is_news("refused", Instant::now()) {
                    tracing::warn!(code, message, "refused by the coordinator");
                }
            }
        }
        // Without a draw the pauses are the shortest ones.
        match self.redial.ended(end, getrandom::u64().unwrap_or(0)) {
            Next::DialAfter(pause) => {
                myself.send_after(pause, || LinkMessage::Dial);
            }
            Next::GiveUp { code, message } => {
                let _ = self.root.cast(RootMessage::Refused { code, message });
            }
            Next::Leave => self.left(),
        }
    }

    fn leave(&mut self, myself: &ActorRef<LinkMessage>) {
        self.redial.leave();
        if self.session.is_some() {
            myself.send_after(GOODBYE_WAIT, || LinkMessage::LeaveAnyway);
        } else {
            self.left();
        }
    }

    fn left(&mut self) {
        self.session = None;
        let _ = self.root.cast(RootMessage::Left);
    }
}

impl Actor for Link {
    type Msg = LinkMessage;
    type State = LinkState;
    type Arguments = LinkArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<LinkMessage>,
        arguments: LinkArguments,
    ) -> Result<LinkState, ActorProcessingErr> {
        let LinkArguments { endpoint, way, identity, attempts, root, desk, farewell } = arguments;
        let surroundings = Arc::new(Surroundings { endpoint, way, identity, attempts, desk });
        myself.cast(LinkMessage::Dial)?;
        tracing::info!(coordinator = %surroundings.way, "dialling the coordinator");
        Ok(LinkState {
            redial: Redial::default(),
            outage: Outage::default(),
            surroundings,
            root,
            session: None,
            farewell,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<LinkMessage>,
        message: LinkMessage,
        state: &mut LinkState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LinkMessage::Dial => state.dial(&myself),
            LinkMessage::Registered => {
                state.outage.is_over();
                let _ = state.root.cast(RootMessage::Registered);
            }
            LinkMessage::SessionEnded(end) => state.session_ended(&myself, end),
            LinkMessage::Leave => state.leave(&myself),
            LinkMessage::LeaveAnyway => state.left(),
        }
        Ok(())
    }
}
