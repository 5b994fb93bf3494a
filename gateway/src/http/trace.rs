//! A run's trace: where its time went, from its history alone.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::TraceRequest;
use serde::Deserialize;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::input::{Parameters, Segment};
use super::query::{limit, number};
use super::reply;
use crate::app::App;
use crate::convert;
use crate::limits::TRACE_NODES_PER_ANSWER_MAX;

/// In which form, and which page of the nodes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceParameters {
    /// `otlp` gives OTLP/JSON; nothing, or `json`, gives Heddle's own form.
    format: Option<String>,
    nodes_offset: Option<String>,
    nodes_limit: Option<String>,
}

/// `GET /workflows/executions/{id}/trace`.
pub(crate) async fn trace(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<TraceParameters>,
) -> Result<Response, ApiError> {
    let is_otlp = match parameters.format.as_deref() {
        None | Some("json") => false,
        Some("otlp") => true,
        Some(_) => return Err(ApiError::invalid_parameter("format", "json or otlp")),
    };
    let most = TRACE_NODES_PER_ANSWER_MAX;
    let request = TraceRequest {
        execution_id: id,
        nodes_offset: number("nodesOffset", parameters.nodes_offset.as_deref(), (0, u32::MAX))?.unwrap_or(0),
        nodes_limit: limit("nodesLimit", parameters.nodes_limit.as_deref(), most, most)?,
        ..TraceRequest::default()
    };
    let trace = app.coordinator.trace(&caller, request).await?;
    match is_otlp {
        true => reply::bare(StatusCode::OK, &convert::trace::otlp(&trace)),
        false => reply::enveloped(StatusCode::OK, &convert::trace::trace(&trace)),
    }
}
