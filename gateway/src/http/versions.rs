//! Versions of a workflow: list, get, compare, restore.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{CompareVersionsRequest, ListVersionsRequest, RestoreVersionRequest};
use serde::Deserialize;
use serde_json::json;

use super::auth::{Caller, ReadWorkflows, WriteWorkflows};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonBody, Parameters, Segment, TwoSegments};
use super::query::{self, limit};
use super::reply;
use super::workflows::{base_updated_at, stale};
use crate::app::App;
use crate::convert;
use crate::dto::version::Version;
use crate::limits::{CONTROL_BODY_BYTES_MAX, VERSIONS_LIMIT_DEFAULT, VERSIONS_LIMIT_MAX};

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

#[derive(Deserialize)]
pub(crate) struct ListParameters {
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct CompareParameters {
    from: Option<String>,
    to: Option<String>,
}

/// `GET /workflows/{id}/versions`: a bare array, the newest first; the next page in `Link`.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Response, ApiError> {
    let path = format!("/api/v1/workflows/{}/versions", reply::encoded(&id));
    let request = ListVersionsRequest {
        workflow_id: id,
        limit: limit("limit", parameters.limit.as_deref(), VERSIONS_LIMIT_DEFAULT, VERSIONS_LIMIT_MAX)?,
        cursor: parameters.cursor.unwrap_or_default(),
        ..ListVersionsRequest::default()
    };
    let list = app.coordinator.versions(&caller, request).await?;
    let items: Vec<Version<'_>> = list.versions.iter().map(convert::version::version).collect();
    let response = reply::bare(StatusCode::OK, &items)?;
    reply::next_page(response, &path, &list.next_cursor, &[("limit", parameters.limit.as_deref())])
}

/// `GET /workflows/{id}/versions/{version}`: everything at top level, the graph as it was saved.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    TwoSegments(id, version): TwoSegments,
) -> Result<Response, ApiError> {
    let version = app.coordinator.version(&caller, id, number(&version)?).await?;
    reply::bare(StatusCode::OK, &convert::version::with_graph(&version)?)
}

/// `GET /workflows/{id}/diff`: what differs between two versions.
pub(crate) async fn compare(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<CompareParameters>,
) -> Result<Response, ApiError> {
    // 0 = left out.
    let from = query::number("from", parameters.from.as_deref(), (1, u64::MAX))?.unwrap_or(0);
    let to = query::number("to", parameters.to.as_deref(), (1, u64::MAX))?.unwrap_or(0);
    let request = CompareVersionsRequest { workflow_id: id, from, to, ..CompareVersionsRequest::default() };
    let found = app.coordinator.compare_versions(&caller, request).await?;
    reply::enveloped(StatusCode::OK, &convert::version::difference(&found)?)
}

/// `POST /workflows/{id}/versions/{version}/restore`: the old graph as a new version.
pub(crate) async fn restore(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    TwoSegments(id, version): TwoSegments,
    key: IdempotencyKey,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["baseUpdatedAt"])?;
    let base_updated_at = base_updated_at(&fields)?.unwrap_or_default();
    let idempotency =
        key.of_request("POST /api/v1/workflows/{id}/versions/{version}/restore", &[&id, &version], body.text());
    let request = RestoreVersionRequest {
        workflow_id: id,
        version: number(&version)?,
        base_updated_at: base_updated_at.clone(),
        idempotency,
        ..RestoreVersionRequest::default()
    };
    let restored =
        app.coordinator.restore_version(&caller, request).await.map_err(|error| stale(error, &base_updated_at))?;
    let workflow = restored.workflow.ok_or_else(|| convert::unreadable("restored workflow"))?;
    let response = reply::enveloped(StatusCode::OK, &convert::workflow::workflow(&workflow))?;
    Ok(reply::replayed(response, restored.replayed))
}

/// The number of a version in a path.
fn number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        let message = "the workflow has no such version; versions are numbered from 1";
        ApiError::new(StatusCode::NOT_FOUND, "version_not_found", message).with("version", json!(text))
    })
}
