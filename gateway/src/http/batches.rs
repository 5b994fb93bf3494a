//! Batches of runs: read, cancelled. They are started by `execute`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::BatchRequest;
use serde::Deserialize;

use super::artifacts::Origin;
use super::auth::{Caller, Execute, ReadExecutions};
use super::error::ApiError;
use super::input::{JsonBody, Parameters, Segment};
use super::query::{limit, number};
use super::reply;
use super::runs::link;
use super::workflows::flag;
use crate::app::App;
use crate::convert;
use crate::limits::{BATCH_RUNS_LIMIT_DEFAULT, BATCH_RUNS_LIMIT_MAX, CONTROL_BODY_BYTES_MAX};

/// Which of a batch's runs are shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchParameters {
    offset: Option<String>,
    limit: Option<String>,
    /// Whether with what they gave.
    outputs: Option<String>,
}

/// `GET /batches/{batchId}`: how a batch stands, and a page of its runs with what they gave.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(batch_id): Segment,
    Parameters(parameters): Parameters<BatchParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    let request = BatchRequest {
        batch_id,
        offset: number("offset", parameters.offset.as_deref(), (0, u32::MAX))?.unwrap_or(0),
        limit: limit("limit", parameters.limit.as_deref(), BATCH_RUNS_LIMIT_DEFAULT, BATCH_RUNS_LIMIT_MAX)?,
        with_nodes: flag("outputs", parameters.outputs.as_deref())?.unwrap_or(true),
        ..BatchRequest::default()
    };
    let mut batch = app.coordinator.batch(&caller, request).await?;
    link(&app, &caller, &origin, &mut batch.runs).await?;
    reply::enveloped(StatusCode::OK, &convert::batch::batch(&batch)?)
}

/// `POST /batches/{batchId}/cancel`: starts none of its runs any more, and stops those that go on.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(batch_id): Segment,
    body: JsonBody<CONTROL_BODY_BYTES_MAX>,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["reason"])?;
    let reason = fields.text("reason")?.unwrap_or_default();
    let batch = app.coordinator.cancel_batch(&caller, batch_id, reason).await?;
    reply::enveloped(StatusCode::OK, &convert::batch::batch(&batch)?)
}
