//! The root of the supervision tree: when one of its children gives up, so does the process.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::agents::{self, AgentsActor};
use super::alerts::AlertsActor;
use super::partitions::PartitionsActor;
use super::retention::RetentionActor;
use super::timers::TimersActor;
use crate::shared::Shared;

pub(crate) struct RootActor;

/// What the rest of the coordinator needs of the tree.
pub(crate) struct Tree {
    pub(crate) root: ActorRef<()>,
    pub(crate) agents: ActorRef<agents::Message>,
    pub(crate) ended: tokio::task::JoinHandle<()>,
}

/// Starts the tree.
pub(crate) async fn start(shared: Arc<Shared>) -> Result<Tree, ActorProcessingErr> {
    let (sender, agents) = tokio::sync::oneshot::channel();
    let (root, ended) = Actor::spawn(None, RootActor, (shared, sender)).await?;
    Ok(Tree { root, agents: agents.await?, ended })
}

impl Actor for RootActor {
    type Msg = ();
    type State = ();
    type Arguments = (Arc<Shared>, tokio::sync::oneshot::Sender<ActorRef<agents::Message>>);

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (shared, agents_to): Self::Arguments,
    ) -> Result<(), ActorProcessingErr> {
        let cell = myself.get_cell();
        Actor::spawn_linked(None, PartitionsActor, Arc::clone(&shared), cell.clone()).await?;
        Actor::spawn_linked(None, TimersActor, Arc::clone(&shared), cell.clone()).await?;
        Actor::spawn_linked(None, AlertsActor, Arc::clone(&shared), cell.clone()).await?;
        Actor::spawn_linked(None, RetentionActor, Arc::clone(&shared), cell.clone()).await?;
        let (agents, _) = Actor::spawn_linked(None, AgentsActor, shared, cell).await?;
        let _gone = agents_to.send(agents);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        _: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, error) => Err(format!("a part gave up: {error}").into()),
            SupervisionEvent::ActorTerminated(..) => Err("a part ended unasked".into()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}
