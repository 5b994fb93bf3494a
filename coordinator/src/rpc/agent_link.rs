//! Where agents dial in.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use heddle_proto::agent::agent_link_server::AgentLink;
use heddle_proto::agent::{AgentFrame, CoordinatorFrame};
use ractor::ActorRef;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::actor::agents::{Message, Opened};
use crate::entrance::Peer;
use crate::limits::SESSION_QUEUE_MAX;
use crate::session::frames;

/// The service of the agents' stream.
pub(crate) struct AgentLinkService {
    pub(crate) agents: ActorRef<Message>,
}

#[tonic::async_trait]
impl AgentLink for AgentLinkService {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<CoordinatorFrame, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let (outgoing, bundles) = mpsc::channel(SESSION_QUEUE_MAX);
        let certified = match request.extensions().get::<Peer>() {
            Some(Peer::Member(certified)) => Some(Arc::clone(certified)),
            Some(Peer::Trusted) => None,
            Some(Peer::Newcomer) | None => {
                return Err(Status::unauthenticated("an agent's stream needs a certificate"));
            }
        };
        let opened = Opened { incoming: request.into_inner(), outgoing, certified };
        self.agents
            .cast(Message::Opened(Box::new(opened)))
            .map_err(|_| Status::unavailable("the coordinator is stopping"))?;
        Ok(Response::new(Box::pin(frames(bundles))))
    }
}
