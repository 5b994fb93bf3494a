//! Supervisor of the partitions: one actor each, loaded again when it fails, until it fails too often.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use heddle_core::id::PartitionId;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::partition::{self, PartitionActor};
use super::supervise::Restarts;
use crate::journal::JournalError;
use crate::shared::Shared;

pub(crate) struct PartitionsActor;

pub(crate) enum Message {
    /// Loads a partition.
    Start(PartitionId),
}

pub(crate) struct State {
    shared: Arc<Shared>,
    children: HashMap<ActorId, PartitionId>,
    restarts: HashMap<PartitionId, Restarts>,
    /// Which partitions were acquired since this start.
    held: HashMap<PartitionId, Arc<AtomicBool>>,
}

impl Actor for PartitionsActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<Message>, shared: Arc<Shared>) -> Result<State, ActorProcessingErr> {
        for id in shared.journal.partitions().ids() {
            myself.cast(Message::Start(id))?;
        }
        Ok(State { shared, children: HashMap::new(), restarts: HashMap::new(), held: HashMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Start(id): Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let inbox = state.shared.doors.inbox(id);
        let held = Arc::clone(state.held.entry(id).or_default());
        let arguments = partition::Arguments { id, shared: Arc::clone(&state.shared), inbox, held };
        let (child, _) = Actor::spawn_linked(None, PartitionActor, arguments, myself.get_cell()).await?;
        state.children.insert(child.get_id(), id);
        state.shared.doors.staffed(id, child);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (child, reason) = match event {
            SupervisionEvent::ActorFailed(_, error) if is_taken_over(&error) => {
                tracing::error!(%error, "this coordinator ends");
                return Err(error);
            }
            SupervisionEvent::ActorFailed(child, error) => (child, error.to_string()),
            SupervisionEvent::ActorTerminated(child, ..) => (child, "it ended".to_owned()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        let Some(id) = state.children.remove(&child.get_id()) else { return Ok(()) };
        tracing::warn!(partition = %id, reason, "a partition is loaded again");
        state.shared.doors.renew(id);
        state.shared.permits().forget(id);
        // Nobody knows what its last load had sent: agents say it all again.
        state.shared.sessions.end_all();
        state.shared.recent.clear();
        let Some(pause) = state.restarts.entry(id).or_default().failed(Instant::now()) else {
            return Err(format!("partition {id} failed too often: {reason}").into());
        };
        let _timer = myself.send_after(pause, move || Message::Start(id));
        Ok(())
    }
}

/// Whether another coordinator has the partition now: there is nothing left to do for this one (I5).
fn is_taken_over(error: &ActorProcessingErr) -> bool {
    matches!(error.downcast_ref(), Some(JournalError::TakenOver { .. }))
}
