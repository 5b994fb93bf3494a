//! The service of pauses: of runs, and of types of nodes.

use std::sync::Arc;

use heddle_core::control_types::control_of;
use heddle_core::limits::PAUSE_REASON_BYTES_MAX;
use heddle_core::partition::io::{Input, Refusal, Reply};
use heddle_core::run::{PauseChange, RunStatus};
use heddle_proto::control::operate_server::Operate;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::{failure, run_requests};
use crate::auth;
use crate::members::NodePauseRow;
use crate::orders::{self, Order};
use crate::read::runs::{self, Ask};
use crate::shared::Shared;

/// The service of pauses.
pub(crate) struct OperateService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Operate for OperateService {
    async fn pause_run(&self, request: Request<wire::PauseRunRequest>) -> Result<Response<wire::Run>, Status> {
        pause_run(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn pause_node_type(
        &self,
        request: Request<wire::PauseNodeTypeRequest>,
    ) -> Result<Response<wire::NodeTypeStand>, Status> {
        pause_node_type(&self.shared, request.into_inner()).await.map(Response::new)
    }
}

async fn pause_run(shared: &Arc<Shared>, request: wire::PauseRunRequest) -> Result<wire::Run, Status> {
    failure::if_stalled(shared)?;
    let run = failure::run_id(&request.execution_id)?;
    let (tenant, by) = (auth::tenant(&request)?, request.subject.as_str().into());
    let change = match request.unpause {
        true => PauseChange::Unpause,
        false => PauseChange::Pause { reason: reason(&request.reason)? },
    };
    let ask = |caller| Input::Pause { caller, run, tenant: tenant.id().clone(), by, change };
    match shared.doors.request(shared.partition_of(run), ask).await {
        Reply::Paused { status: RunStatus::Running, seq, .. } => {
            // The answer is given when its batch has landed, so a read sees at least this.
            tracing::debug!(%run, %seq, unpause = request.unpause, "paused, or let go on");
            let found = runs::run(shared, &tenant, run, Ask::default()).await.map_err(failure::read)?;
            run_requests::with_version(shared, &tenant, run, found).await
        }
        Reply::Paused { status, .. } => {
            let status = runs::status(status).as_str_name().trim_start_matches("RUN_STATUS_");
            Err(failure::plain(409, "execution_over", format!("the run is over already: it is {status}")))
        }
        Reply::Refused(Refusal::NotFound) => Err(run_requests::not_begun(shared, &tenant, run, "pause it then").await),
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a pause was answered as something else")),
    }
}

async fn pause_node_type(
    shared: &Arc<Shared>,
    request: wire::PauseNodeTypeRequest,
) -> Result<wire::NodeTypeStand, Status> {
    auth::operator(&request)?;
    failure::if_stalled(shared)?;
    let wire::PauseNodeTypeRequest { node_type, subject, unpause, .. } = &request;
    let types = shared.graphs.types();
    if types.get(node_type).is_none() && shared.node_pause(node_type).is_none() {
        return Err(failure::node_type_not_found(&types, node_type));
    }
    if control_of(node_type).is_some() {
        let message = format!("{node_type} is built in, and no agent runs it: pause the runs that it is part of");
        return Err(failure::plain(422, "built_in_type", message));
    }
    if *unpause {
        failure::taken(orders::take(shared, Order::Unpause(node_type.as_str().into())).await)?;
    } else {
        let (since, reason) = (shared.clock.now(), reason(&request.reason)?);
        let row =
            NodePauseRow { node_type: node_type.as_str().into(), since, subject: subject.as_str().into(), reason };
        failure::taken(orders::take(shared, Order::Pause(row)).await)?;
    }
    let pause = shared.node_pause(node_type).map(|row| to_wire(&row));
    Ok(wire::NodeTypeStand { node_type: node_type.clone(), pause })
}

/// A pause of a type as it is shown.
pub(super) fn to_wire(row: &NodePauseRow) -> wire::Pause {
    wire::Pause {
        since_ms: row.since.as_millis(),
        by: row.subject.to_string(),
        reason: row.reason.as_deref().unwrap_or_default().to_owned(),
    }
}

pub(super) fn reason(given: &str) -> Result<Option<Arc<str>>, Status> {
    if given.len() > PAUSE_REASON_BYTES_MAX {
        let message = format!("reason: say it in at most {PAUSE_REASON_BYTES_MAX} bytes");
        return Err(failure::plain(400, "invalid_field", message));
    }
    Ok(Some(given).filter(|reason| !reason.is_empty()).map(Arc::from))
}
