//! Where a run's time went.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::GetTraceRequest;
use serde::Deserialize;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::input::{Parameters, Segment};
use super::reply;
use crate::app::App;
use crate::convert;
use crate::limits::NODES_PER_ANSWER_MAX;

/// Which nodes are wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceParameters {
    nodes_offset: Option<u32>,
    nodes_limit: Option<u32>,
}

/// `GET /workflows/executions/{id}/trace`: every attempt of every node, with its agent and its times, from the journal.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<TraceParameters>,
) -> Result<Response, ApiError> {
    let request = GetTraceRequest {
        execution_id: id,
        nodes_offset: parameters.nodes_offset.unwrap_or(0),
        nodes_limit: parameters.nodes_limit.unwrap_or(NODES_PER_ANSWER_MAX).clamp(1, NODES_PER_ANSWER_MAX),
        ..GetTraceRequest::default()
    };
    let trace = app.coordinator.trace(&caller, request).await?;
    reply::enveloped(StatusCode::OK, &convert::trace::trace(&trace)?)
}
