//! Standing still on purpose: runs, and types of nodes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{PauseNodeTypeRequest, PauseRunRequest};

use super::artifacts::Origin;
use super::auth::{Caller, Execute, Operate};
use super::error::ApiError;
use super::input::{JsonBody, Segment};
use super::reply;
use super::runs::link;
use crate::app::App;
use crate::convert;
use crate::json::Fields;
use crate::limits::{CONTROL_BODY_BYTES_MAX, DEADLINE_MS_MAX};

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// How long a run may be active, if the body says; 0 = it says nothing.
pub(super) fn deadline(fields: &Fields<'_>) -> Result<u64, ApiError> {
    match fields.count("deadlineMs")? {
        None => Ok(0),
        Some(millis) if (1..=DEADLINE_MS_MAX).contains(&millis) => Ok(millis),
        Some(_) => Err(ApiError::invalid_field("deadlineMs", "a number of milliseconds from 1 to 30 days")),
    }
}

/// `POST /workflows/executions/{id}/pause`: nothing of the run begins any more; what is at work finishes.
pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(execution_id): Segment,
    origin: Origin,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let request = PauseRunRequest { execution_id, reason: reason(&body)?, ..PauseRunRequest::default() };
    change(&app, &caller, &origin, request).await
}

/// `POST /workflows/executions/{id}/unpause`: the run goes on.
pub(crate) async fn unpause(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(execution_id): Segment,
    origin: Origin,
    body: ControlBody,
) -> Result<Response, ApiError> {
    body.fields()?.refuse_unknown(&[])?;
    let request = PauseRunRequest { execution_id, unpause: true, ..PauseRunRequest::default() };
    change(&app, &caller, &origin, request).await
}

async fn change(
    app: &App,
    caller: &Caller<Execute>,
    origin: &Origin,
    request: PauseRunRequest,
) -> Result<Response, ApiError> {
    let mut run = app.coordinator.pause_run(caller, request).await?;
    link(app, caller, origin, std::slice::from_mut(&mut run)).await?;
    reply::enveloped(StatusCode::OK, &convert::run::run(&run)?)
}

/// `POST /nodes/{type}/pause`: no attempt at a node of this type begins, in no run of any tenant.
pub(crate) async fn pause_type(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(node_type): Segment,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let request = PauseNodeTypeRequest { node_type, reason: reason(&body)?, ..PauseNodeTypeRequest::default() };
    let stand = app.coordinator.pause_node_type(&caller, request).await?;
    reply::bare(StatusCode::OK, &convert::node_type::stand(&stand))
}

/// `POST /nodes/{type}/unpause`: nodes of this type begin again.
pub(crate) async fn unpause_type(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(node_type): Segment,
    body: ControlBody,
) -> Result<Response, ApiError> {
    body.fields()?.refuse_unknown(&[])?;
    let request = PauseNodeTypeRequest { node_type, unpause: true, ..PauseNodeTypeRequest::default() };
    let stand = app.coordinator.pause_node_type(&caller, request).await?;
    reply::bare(StatusCode::OK, &convert::node_type::stand(&stand))
}

fn reason(body: &ControlBody) -> Result<String, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["reason"])?;
    Ok(fields.text("reason")?.unwrap_or_default())
}
