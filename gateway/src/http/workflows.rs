//! Workflows: list, save, read, delete, lint.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use heddle_proto::control::{CachedNode, GraphJson, ListWorkflowsRequest, SaveWorkflowRequest};
use serde::Deserialize;
use serde_json::json;

use super::artifacts::Origin;
use super::auth::{Caller, ReadWorkflows, WriteWorkflows};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonBody, Parameters, Segment};
use super::query::limit;
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::time::Time;
use crate::dto::workflow::{Deleted, Notes, Workflow};
use crate::json::Fields;
use crate::limits::{GRAPH_BODY_BYTES_MAX, WORKFLOW_NAME_CHARS_MAX, WORKFLOWS_LIMIT_MAX};

/// A body that may hold a graph.
pub(super) type GraphBody = JsonBody<GRAPH_BODY_BYTES_MAX>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListParameters {
    is_active: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct SaveParameters {
    strict: Option<String>,
}

/// `GET /workflows`: a bare array, newest change first; the next page in `Link`.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Response, ApiError> {
    let is_active = flag("isActive", parameters.is_active.as_deref())?;
    let request = ListWorkflowsRequest {
        is_active,
        limit: limit("limit", parameters.limit.as_deref(), WORKFLOWS_LIMIT_MAX, WORKFLOWS_LIMIT_MAX)?,
        cursor: parameters.cursor.unwrap_or_default(),
        ..ListWorkflowsRequest::default()
    };
    let list = app.coordinator.workflows(&caller, request).await?;
    let items: Vec<Workflow<'_>> = list.workflows.iter().map(convert::workflow::workflow).collect();
    let response = reply::bare(StatusCode::OK, &items)?;
    let kept = [("isActive", parameters.is_active.as_deref()), ("limit", parameters.limit.as_deref())];
    reply::next_page(response, "/api/v1/workflows", &list.next_cursor, &kept)
}

/// `POST /workflows`: creates, or replaces when the body has the `id` of a workflow.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Parameters(parameters): Parameters<SaveParameters>,
    key: IdempotencyKey,
    body: GraphBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    let strict = flag("strict", parameters.strict.as_deref())?.unwrap_or(true);
    let id = fields.text("id")?.unwrap_or_default();
    check_link_permission(fields.text("linkPermission")?.as_deref())?;
    let request = draft(&body, &fields)?;
    let is_whole = request.name.is_some() && request.graph.is_some();
    if id.is_empty() && !is_whole {
        return Err(ApiError::missing_fields("name, nodes, edges"));
    }
    let path = [if strict { "strict" } else { "lenient" }];
    let idempotency = key.of_request("POST /api/v1/workflows", &path, body.text());
    save(&app, &caller, SaveWorkflowRequest { id, strict, idempotency, ..request }).await
}

/// `PUT /workflows/{id}`: replaces what the body names and keeps the rest.
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<SaveParameters>,
    body: GraphBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    if fields.says("linkPermission") {
        let message = "linkPermission cannot be set here; who may see a workflow has a route of its own";
        return Err(ApiError::bad_request("invalid_field", message).with("path", json!("/linkPermission")));
    }
    let strict = flag("strict", parameters.strict.as_deref())?.unwrap_or(true);
    let request = SaveWorkflowRequest { id, strict, must_exist: true, ..draft(&body, &fields)? };
    save(&app, &caller, request).await
}

/// `GET /workflows/{id}`: everything at top level, the graph as it was sent, and on its nodes what they gave last.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Segment(id): Segment,
    origin: Origin,
) -> Result<Response, ApiError> {
    let mut workflow = app.coordinator.workflow(&caller, id).await?;
    let has_artifacts = |node: &CachedNode| node.outputs.iter().any(|output| !output.artifacts.is_empty());
    if workflow.cached.iter().any(has_artifacts) {
        let opened = app.artifacts.opened(&app.coordinator).await?;
        let linker = opened.linker(caller.tenant(), &origin.0);
        workflow.cached.iter_mut().for_each(|node| linker.link_values(&mut node.outputs));
    }
    if let Some(graph) = workflow.graph.as_mut().filter(|_| !workflow.cached.is_empty()) {
        graph.nodes = convert::cached::decorated(&graph.nodes, &workflow.cached)?.into();
    }
    reply::bare(StatusCode::OK, &convert::workflow::with_graph(&workflow)?)
}

/// `DELETE /workflows/{id}`.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    app.coordinator.delete_workflow(&caller, id.clone()).await?;
    reply::enveloped(StatusCode::OK, &Deleted { success: true, id: &id })
}

/// `POST /workflows/lint`: what is wrong with a graph, without saving it.
pub(crate) async fn lint(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    body: GraphBody,
) -> Result<Response, ApiError> {
    let graph = graph(&body, &body.fields()?)?.ok_or_else(|| ApiError::missing_fields("nodes, edges"))?;
    let diagnosis = app.coordinator.lint(&caller, graph).await?;
    reply::enveloped(StatusCode::OK, &convert::diagnosis::diagnosis(&diagnosis))
}

/// The graph in a body, as its own text; nothing if it has neither nodes nor edges.
pub(super) fn graph(body: &GraphBody, fields: &Fields<'_>) -> Result<Option<GraphJson>, ApiError> {
    let policy = fields.object("policy")?;
    match (fields.array("nodes")?, fields.array("edges")?) {
        // A policy alone says nothing: it is part of the graph's document.
        (None, None) if policy.is_none() => Ok(None),
        (Some(nodes), Some(edges)) => Ok(Some(GraphJson {
            nodes: body.share(nodes),
            edges: body.share(edges),
            policy: policy.map_or_else(Bytes::new, |policy| body.share(policy)),
        })),
        _ => Err(ApiError::missing_fields("nodes, edges")),
    }
}

/// # Errors
/// 400 `empty_graph` when it has no node.
pub(super) fn refuse_empty(graph: Option<&GraphJson>) -> Result<(), ApiError> {
    match graph {
        Some(graph) if graph.nodes[1..].trim_ascii_start().starts_with(b"]") => {
            Err(ApiError::bad_request("empty_graph", "At least one node must be provided"))
        }
        _ => Ok(()),
    }
}

/// A query parameter that is `true` or `false`.
pub(super) fn flag(name: &'static str, text: Option<&str>) -> Result<Option<bool>, ApiError> {
    match text {
        None | Some("") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(ApiError::invalid_parameter(name, "true or false")),
    }
}

/// Who may see a new workflow by its link. Nobody but its owner can, yet.
fn check_link_permission(asked: Option<&str>) -> Result<(), ApiError> {
    match asked {
        None | Some("PRIVATE") => Ok(()),
        Some("VIEW" | "EDIT") => {
            let message = "linkPermission can only be PRIVATE: to show a workflow to others is not supported yet";
            let error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_supported_yet", message);
            Err(error.with("path", json!("/linkPermission")))
        }
        Some(_) => Err(ApiError::invalid_field("linkPermission", "PRIVATE, VIEW or EDIT")),
    }
}

/// What a body says of a workflow, without whose and which one it is.
fn draft(body: &GraphBody, fields: &Fields<'_>) -> Result<SaveWorkflowRequest, ApiError> {
    let graph = graph(body, fields)?;
    refuse_empty(graph.as_ref())?;
    let tags = fields.texts("tags")?;
    let base_updated_at = base_updated_at(fields)?;
    Ok(SaveWorkflowRequest {
        name: name(fields)?,
        description: fields.nullable_text("description")?.map(Option::unwrap_or_default),
        tags_given: tags.is_some(),
        tags: tags.unwrap_or_default(),
        is_active: fields.flag("isActive")?,
        graph,
        base_updated_at: base_updated_at.unwrap_or_default(),
        ..SaveWorkflowRequest::default()
    })
}

/// The instant of a conditional write.
pub(super) fn base_updated_at(fields: &Fields<'_>) -> Result<Option<String>, ApiError> {
    let base_updated_at = fields.text("baseUpdatedAt")?;
    match base_updated_at.as_ref().is_some_and(|time| Time::parse(time).is_none()) {
        true => Err(ApiError::invalid_field("baseUpdatedAt", "a time as in updatedAt")),
        false => Ok(base_updated_at),
    }
}

/// What a workflow is to be called.
pub(super) fn name(fields: &Fields<'_>) -> Result<Option<String>, ApiError> {
    let name = fields.text("name")?;
    match name.as_ref().is_some_and(|name| name.chars().count() > WORKFLOW_NAME_CHARS_MAX) {
        true => {
            let expected = format!("a text of at most {WORKFLOW_NAME_CHARS_MAX} characters");
            Err(ApiError::invalid_field("name", &expected))
        }
        false => Ok(name),
    }
}

/// A refused conditional write names the instant that it was compared with, as its caller wrote it.
pub(super) fn stale(error: ApiError, base_updated_at: &str) -> ApiError {
    match &*error.code {
        "stale_write" if !base_updated_at.is_empty() => error.with("yourBaseUpdatedAt", json!(base_updated_at)),
        _ => error,
    }
}

async fn save(app: &App, caller: &Caller<WriteWorkflows>, request: SaveWorkflowRequest) -> Result<Response, ApiError> {
    let base_updated_at = request.base_updated_at.clone();
    let saved = app.coordinator.save_workflow(caller, request).await.map_err(|error| stale(error, &base_updated_at))?;
    let workflow = saved.workflow.ok_or_else(|| convert::unreadable("saved workflow"))?;
    let diagnosis = saved.diagnosis.unwrap_or_default();
    let notes =
        Notes { meta: convert::diagnosis::meta(&diagnosis), diagnostics: convert::diagnosis::diagnostics(&diagnosis) };
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = reply::enveloped_beside(status, &convert::workflow::workflow(&workflow), &notes)?;
    if saved.created {
        response = reply::located(response, &format!("/api/v1/workflows/{}", workflow.id))?;
    }
    Ok(reply::replayed(response, saved.replayed))
}
