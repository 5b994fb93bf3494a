//! Figures of runs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::StatsRequest;
use serde::Deserialize;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::history::time;
use super::input::{Parameters, Segment};
use super::reply;
use crate::app::App;
use crate::convert;

/// Of which time.
#[derive(Deserialize)]
pub(crate) struct StatsParameters {
    from: Option<String>,
    to: Option<String>,
}

/// `GET /workflows/{id}/stats`: of one workflow.
pub(crate) async fn of_workflow(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<StatsParameters>,
) -> Result<Response, ApiError> {
    figures(&app, &caller, id, &parameters).await
}

/// `GET /stats`: of all workflows.
pub(crate) async fn of_all(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Parameters(parameters): Parameters<StatsParameters>,
) -> Result<Response, ApiError> {
    figures(&app, &caller, String::new(), &parameters).await
}

async fn figures(
    app: &App,
    caller: &Caller<ReadExecutions>,
    workflow_id: String,
    parameters: &StatsParameters,
) -> Result<Response, ApiError> {
    let request = StatsRequest {
        workflow_id,
        from_ms: time("from", parameters.from.as_deref())?,
        to_ms: time("to", parameters.to.as_deref())?,
        ..StatsRequest::default()
    };
    let stats = app.coordinator.stats(caller, request).await?;
    reply::enveloped(StatusCode::OK, &convert::stats::stats(&stats)?)
}
