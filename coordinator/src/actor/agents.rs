//! Supervisor of the agents' sessions. A session that fails ends its stream; the agent dials again.

use std::sync::Arc;

use heddle_proto::agent::{AgentFrame, CoordinatorMessage};
use heddle_trust::Certified;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::session::stream;
use crate::shared::Shared;

/// A stream that an agent has opened.
pub(crate) struct Opened {
    pub(crate) incoming: Streaming<AgentFrame>,
    pub(crate) outgoing: mpsc::Sender<Vec<CoordinatorMessage>>,
    /// Whose connection it is on, if that was proved.
    pub(crate) certified: Option<Arc<Certified>>,
}

pub(crate) struct AgentsActor;

pub(crate) enum Message {
    /// An agent has dialled.
    Opened(Box<Opened>),
}

impl Actor for AgentsActor {
    type Msg = Message;
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, _: ActorRef<Message>, shared: Arc<Shared>) -> Result<Arc<Shared>, ActorProcessingErr> {
        Ok(shared)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Opened(opened): Message,
        shared: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        let arguments = (Arc::clone(shared), *opened);
        Actor::spawn_linked(None, SessionActor, arguments, myself.get_cell()).await?;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        _: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::error!(%error, "an agent's session failed; the agent dials again");
        }
        Ok(())
    }
}

/// One agent's stream. The reading is a task of its own, so that a stop ends it at once.
struct SessionActor;

enum SessionMessage {
    Ended,
}

impl Actor for SessionActor {
    type Msg = SessionMessage;
    type State = JoinSet<()>;
    type Arguments = (Arc<Shared>, Opened);

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMessage>,
        (shared, Opened { incoming, outgoing, certified }): (Arc<Shared>, Opened),
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            stream::serve(shared, incoming, outgoing, certified).await;
            let _gone = myself.cast(SessionMessage::Ended);
        });
        Ok(reading)
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMessage>,
        SessionMessage::Ended: SessionMessage,
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        myself.stop(None);
        Ok(())
    }
}
