//! Single nodes of runs.

use std::sync::Arc;

use heddle_core::id::ScopeIx;
use heddle_core::run::view::NodeState;
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use crate::auth;
use crate::read::nodes::{self, Ask, NodeReadError};
use crate::shared::Shared;

pub(super) async fn get(shared: &Arc<Shared>, request: wire::GetNodeRequest) -> Result<wire::NodeDetail, Status> {
    let run = failure::run_id(&request.execution_id)?;
    let after = match request.cursor.as_str() {
        "" => ScopeIx::default(),
        text => text.parse().map(ScopeIx).map_err(|_| failure::bad_cursor())?,
    };
    let state = state(request.state());
    let ask = Ask { node: &request.node_id, index: request.index.clone(), state, limit: request.limit, after };
    nodes::detail(shared, &auth::tenant(&request)?, run, ask).await.map_err(refused)
}

pub(super) fn refused(error: NodeReadError) -> Status {
    let (status, code) = match error {
        NodeReadError::Read(error) => return failure::read(error),
        NodeReadError::SetAside => (409, "execution_set_aside"),
        NodeReadError::NotBegun => (409, "execution_not_begun"),
        NodeReadError::NoNode(_) => (404, "node_not_found"),
        NodeReadError::BadIndex { .. } => (400, "invalid_index"),
        NodeReadError::NoInstance { .. } => (404, "instance_not_found"),
    };
    failure::plain(status, code, error.to_string())
}

/// The engine's word; nothing is `CACHED` yet.
fn state(state: wire::NodeState) -> Option<NodeState> {
    Some(match state {
        wire::NodeState::Unspecified | wire::NodeState::Cached => return None,
        wire::NodeState::Pending => NodeState::Pending,
        wire::NodeState::Ready => NodeState::Ready,
        wire::NodeState::Running => NodeState::Running,
        wire::NodeState::Waiting => NodeState::Waiting,
        wire::NodeState::Completed => NodeState::Completed,
        wire::NodeState::Failed => NodeState::Failed,
        wire::NodeState::Skipped => NodeState::Skipped,
        wire::NodeState::Cancelled => NodeState::Cancelled,
    })
}
