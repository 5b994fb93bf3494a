//! What a run waits for, or how it ended and why.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::input::Segment;
use super::reply;
use crate::app::App;
use crate::convert;

/// `GET /workflows/executions/{id}/explain`.
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let explanation = app.coordinator.explain(&caller, id).await?;
    reply::enveloped(StatusCode::OK, &convert::explain::explanation(&explanation)?)
}
