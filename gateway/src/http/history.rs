//! Lists of runs, newest first, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{ListRunsRequest, RunStatus};
use serde::Deserialize;

use super::artifacts::Origin;
use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::input::{Parameters, Segment};
use super::query::limit;
use super::reply::{self, encoded};
use super::runs::link;
use super::workflows::flag;
use crate::app::App;
use crate::convert;
use crate::dto::time::Time;
use crate::limits::{HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX};

/// Which runs, and which page of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryParameters {
    status: Option<String>,
    workflow_id: Option<String>,
    tag: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
    /// Whether each run comes with its nodes, where the route does not say so itself.
    nodes: Option<String>,
}

/// `GET /workflows/{id}/executions`: the runs of one workflow, with their nodes.
pub(crate) async fn of_workflow(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<HistoryParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    let path = format!("/api/v1/workflows/{}/executions", encoded(&id));
    let request = ListRunsRequest { workflow_id: id, with_nodes: true, ..asked(&parameters)? };
    page((&app, &caller, &origin), request, &path, &parameters).await
}

/// `GET /workflows/executions`: the runs of all workflows.
pub(crate) async fn of_all(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Parameters(parameters): Parameters<HistoryParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    let request = ListRunsRequest {
        workflow_id: parameters.workflow_id.clone().unwrap_or_default(),
        with_nodes: flag("nodes", parameters.nodes.as_deref())?.unwrap_or(false),
        ..asked(&parameters)?
    };
    page((&app, &caller, &origin), request, "/api/v1/workflows/executions", &parameters).await
}

/// `GET /workflows/executions/{id}/children`: the runs that a run has invoked.
pub(crate) async fn of_parent(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<HistoryParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    let path = format!("/api/v1/workflows/executions/{}/children", encoded(&id));
    let request = ListRunsRequest {
        parent_execution_id: id,
        workflow_id: parameters.workflow_id.clone().unwrap_or_default(),
        with_nodes: flag("nodes", parameters.nodes.as_deref())?.unwrap_or(false),
        ..asked(&parameters)?
    };
    page((&app, &caller, &origin), request, &path, &parameters).await
}

fn asked(parameters: &HistoryParameters) -> Result<ListRunsRequest, ApiError> {
    if parameters.tag.is_some() {
        return Err(ApiError::not_supported_yet("the query parameter tag"));
    }
    let status = match &parameters.status {
        None => RunStatus::Unspecified,
        Some(word) => status(word)?,
    };
    Ok(ListRunsRequest {
        status: status.into(),
        from_ms: time("from", parameters.from.as_deref())?,
        to_ms: time("to", parameters.to.as_deref())?,
        limit: limit("limit", parameters.limit.as_deref(), HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX)?,
        cursor: parameters.cursor.clone().unwrap_or_default(),
        ..ListRunsRequest::default()
    })
}

fn status(word: &str) -> Result<RunStatus, ApiError> {
    match word.to_ascii_uppercase().as_str() {
        "PENDING" => Ok(RunStatus::Pending),
        "RUNNING" => Ok(RunStatus::Running),
        "COMPLETED" => Ok(RunStatus::Completed),
        "FAILED" => Ok(RunStatus::Failed),
        "CANCELLED" => Ok(RunStatus::Cancelled),
        _ => Err(ApiError::invalid_parameter("status", "one of PENDING, RUNNING, COMPLETED, FAILED, CANCELLED")),
    }
}

pub(super) fn time(name: &'static str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let time = Time::parse(text)
        .ok_or_else(|| ApiError::invalid_parameter(name, "a time in RFC 3339, as 2026-05-02T09:00:00.000Z"))?;
    Ok(Some(time.0))
}

async fn page(
    (app, caller, origin): (&App, &Caller<ReadExecutions>, &Origin),
    request: ListRunsRequest,
    path: &str,
    parameters: &HistoryParameters,
) -> Result<Response, ApiError> {
    let mut list = app.coordinator.runs(caller, request).await?;
    link(app, caller, origin, &mut list.runs).await?;
    let runs = list.runs.iter().map(convert::run::run).collect::<Result<Vec<_>, _>>()?;
    let response = reply::bare(StatusCode::OK, &runs)?;
    let kept = [
        ("status", parameters.status.as_deref()),
        ("workflowId", parameters.workflow_id.as_deref()),
        ("from", parameters.from.as_deref()),
        ("to", parameters.to.as_deref()),
        ("limit", parameters.limit.as_deref()),
        ("nodes", parameters.nodes.as_deref()),
    ];
    reply::next_page(response, path, &list.next_cursor, &kept)
}
