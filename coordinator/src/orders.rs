//! What operators have said of agents and of node types: taken down first, and then heeded.

use std::sync::Arc;

use heddle_core::id::AgentId;
use tokio::task::JoinError;

use crate::journal::JournalError;
use crate::members::{DrainRow, NodePauseRow};
use crate::shared::Shared;

/// Something that stands until it is taken back, also over restarts.
#[derive(Debug)]
pub(crate) enum Order {
    /// An agent gets no more work.
    Drain(DrainRow),
    /// It gets work again.
    Resume(AgentId),
    /// No attempt at nodes of a type begins.
    Pause(NodePauseRow),
    /// They begin again.
    Unpause(Arc<str>),
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("it was given up: {0}")]
    GivenUp(#[from] JoinError),
}

/// Takes an order. Orders are taken one at a time, and each to its end, whoever has given up on it: what is in memory is what the
/// database has.
pub(crate) async fn take(shared: &Arc<Shared>, order: Order) -> Result<(), NotTaken> {
    let shared = Arc::clone(shared);
    let taken = tokio::spawn(async move {
        let _turn = shared.orders.lock().await;
        match order {
            Order::Drain(row) => {
                let agent = row.agent.clone();
                shared.members.put_drain(row).await?;
                shared.drain(&agent);
            }
            Order::Resume(agent) => {
                shared.members.remove_drain(agent.clone()).await?;
                shared.resume(&agent);
            }
            Order::Pause(row) => shared.pause_node_type(shared.members.put_node_pause(row).await?),
            Order::Unpause(node_type) => {
                shared.members.remove_node_pause(Arc::clone(&node_type)).await?;
                shared.unpause_node_type(&node_type);
            }
        }
        Ok(())
    });
    taken.await?
}
