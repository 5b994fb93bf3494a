//! Small changes of a saved workflow: one node, where nodes lie, a copy of the whole.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use heddle_proto::control::{DuplicateWorkflowRequest, LayOutRequest, PatchNodeRequest};
use serde_json::Value;

use super::artifacts::Origin;
use super::auth::{Caller, WriteWorkflows};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonBody, Segment, TwoSegments};
use super::reply;
use super::workflows::{GraphBody, base_updated_at, name, stale};
use crate::app::App;
use crate::convert;
use crate::dto::edit::Copied;
use crate::json::Fields;
use crate::limits::{CONTROL_BODY_BYTES_MAX, LAYOUT_GAP_PIXELS_MAX, NODE_PATCH_BYTES_MAX};

type NodeBody = JsonBody<NODE_PATCH_BYTES_MAX>;
type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// What of a node can be changed by itself.
const PATCHED: [&str; 4] = ["config", "params", "label", "position"];

/// `PATCH /workflows/{id}/nodes/{nodeId}`: changes values of one node.
pub(crate) async fn patch_node(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    TwoSegments(id, node_id): TwoSegments,
    body: NodeBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    let known = [&PATCHED[..], &["baseUpdatedAt"]].concat();
    if let Some(name) = fields.first_unknown(&known) {
        return Err(ApiError::structural_field(name));
    }
    if !PATCHED.iter().any(|name| fields.says(name)) {
        return Err(ApiError::missing_fields("one of config, params, label, position"));
    }
    let object = |name| Ok(fields.object(name)?.map_or_else(Bytes::new, |text| body.share(text)));
    let base_updated_at = base_updated_at(&fields)?.unwrap_or_default();
    let request = PatchNodeRequest {
        workflow_id: id.clone(),
        node_id,
        config_json: object("config")?,
        params_json: object("params")?,
        label: fields.text("label")?,
        position_json: position(&fields)?.map_or_else(Bytes::new, |text| body.share(text)),
        base_updated_at: base_updated_at.clone(),
        ..PatchNodeRequest::default()
    };
    let patched = app.coordinator.patch_node(&caller, request).await.map_err(|error| stale(error, &base_updated_at))?;
    reply::enveloped(StatusCode::OK, &convert::edit::node(&patched, &id)?)
}

fn position<'a>(fields: &Fields<'a>) -> Result<Option<&'a [u8]>, ApiError> {
    let Some(text) = fields.object("position")? else { return Ok(None) };
    let position: Value = serde_json::from_slice(text).unwrap_or_default();
    match position["x"].is_number() && position["y"].is_number() {
        true => Ok(Some(text)),
        false => Err(ApiError::invalid_field("position", "an object with the numbers x and y")),
    }
}

/// `POST /workflows/{id}/duplicate`: a workflow of its own with the same graph.
pub(crate) async fn duplicate(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Segment(id): Segment,
    Origin(origin): Origin,
    key: IdempotencyKey,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    let request = DuplicateWorkflowRequest {
        idempotency: key.of_request("POST /api/v1/workflows/{id}/duplicate", &[&id], body.text()),
        workflow_id: id,
        name: name(&fields)?.unwrap_or_default(),
        ..DuplicateWorkflowRequest::default()
    };
    let saved = app.coordinator.duplicate_workflow(&caller, request).await?;
    let workflow = saved.workflow.ok_or_else(|| convert::unreadable("copied workflow"))?;
    let url = format!("{origin}/workflows/{}", reply::encoded(&workflow.id));
    let copied = Copied { workflow: convert::workflow::workflow(&workflow), url };
    let response = reply::enveloped(StatusCode::CREATED, &copied)?;
    let response = reply::located(response, &format!("/api/v1/workflows/{}", workflow.id))?;
    Ok(reply::replayed(response, saved.replayed))
}

/// `POST /workflows/{id}/layout`: puts nodes in columns, from left to right.
pub(crate) async fn lay_out(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Segment(id): Segment,
    body: GraphBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    let gap = |name| {
        let gap = fields.number(name)?;
        match gap.filter(|gap| !(0.0..=LAYOUT_GAP_PIXELS_MAX).contains(gap)) {
            None => Ok(gap),
            Some(_) => Err(ApiError::invalid_field(name, &format!("a number from 0 to {LAYOUT_GAP_PIXELS_MAX}"))),
        }
    };
    // All nodes, or those of a list.
    let scope = match fields.text("scope") {
        Ok(word) if word.as_deref().is_none_or(|word| word == "all") => None,
        _ => Some(
            fields
                .texts("scope")
                .map_err(|_| ApiError::invalid_field("scope", "\"all\" or an array of the ids of nodes"))?,
        ),
    };
    let request = LayOutRequest {
        workflow_id: id.clone(),
        gap_x: gap("gapX")?,
        gap_y: gap("gapY")?,
        is_scoped: scope.is_some(),
        scope: scope.flatten().unwrap_or_default(),
        ..LayOutRequest::default()
    };
    let layout = app.coordinator.lay_out(&caller, request).await?;
    reply::enveloped(StatusCode::OK, &convert::edit::layout(&layout, &id)?)
}
