//! Rules that watch over workflows, and the incidents they open.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{AlertCondition, CreateAlertRequest, ListIncidentsRequest, ReplaceAlertRequest};
use serde::Deserialize;

use super::auth::{Caller, ReadWorkflows, WriteWorkflows};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonBody, Parameters, Segment, TwoSegments};
use super::query::limit;
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::workflow::Deleted;
use crate::json::Fields;
use crate::limits::{CONTROL_BODY_BYTES_MAX, INCIDENTS_LIMIT_DEFAULT, INCIDENTS_LIMIT_MAX};

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// `GET /workflows/{id}/alerts`: a bare array, the oldest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let list = app.coordinator.alerts(&caller, id).await?;
    let alerts = list.alerts.iter().map(convert::stats::alert).collect::<Result<Vec<_>, _>>()?;
    reply::bare(StatusCode::OK, &alerts)
}

/// `GET /workflows/{id}/alerts/{alertId}`.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    TwoSegments(workflow, id): TwoSegments,
) -> Result<Response, ApiError> {
    let alert = app.coordinator.alert(&caller, workflow, id).await?;
    reply::enveloped(StatusCode::OK, &convert::stats::alert(&alert)?)
}

/// `POST /workflows/{id}/alerts`.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Segment(id): Segment,
    key: IdempotencyKey,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let (condition, close_after_ms) = rule(&body.fields()?)?;
    let idempotency = key.of_request("POST /api/v1/workflows/{id}/alerts", &[&id], body.text());
    let path = format!("/api/v1/workflows/{}/alerts/", reply::encoded(&id));
    let request = CreateAlertRequest {
        workflow_id: id,
        condition: Some(condition),
        close_after_ms,
        idempotency,
        ..CreateAlertRequest::default()
    };
    let alert = app.coordinator.create_alert(&caller, request).await?;
    let response = reply::enveloped(StatusCode::CREATED, &convert::stats::alert(&alert)?)?;
    let response = reply::located(response, &format!("{path}{}", alert.id))?;
    Ok(reply::replayed(response, alert.replayed))
}

/// `PUT /workflows/{id}/alerts/{alertId}`: the whole rule anew; its kind stays.
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    TwoSegments(workflow_id, id): TwoSegments,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let (condition, close_after_ms) = rule(&body.fields()?)?;
    let condition = Some(condition);
    let request = ReplaceAlertRequest { workflow_id, id, condition, close_after_ms, ..ReplaceAlertRequest::default() };
    let alert = app.coordinator.replace_alert(&caller, request).await?;
    reply::enveloped(StatusCode::OK, &convert::stats::alert(&alert)?)
}

/// `DELETE /workflows/{id}/alerts/{alertId}`: closes its incident, too.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    TwoSegments(workflow_id, id): TwoSegments,
) -> Result<Response, ApiError> {
    let deleted = app.coordinator.delete_alert(&caller, workflow_id, id).await?;
    reply::enveloped(StatusCode::OK, &Deleted { success: true, id: &deleted.id })
}

/// Which incidents, and which page of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IncidentParameters {
    state: Option<String>,
    workflow_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /alerts/incidents`: a bare array, the youngest first; the next page in `Link`.
pub(crate) async fn incidents(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Parameters(parameters): Parameters<IncidentParameters>,
) -> Result<Response, ApiError> {
    let state = parameters.state.as_deref().unwrap_or("all").to_ascii_lowercase();
    if !["open", "closed", "all"].contains(&state.as_str()) {
        return Err(ApiError::invalid_parameter("state", "one of open, closed, all"));
    }
    let request = ListIncidentsRequest {
        workflow_id: parameters.workflow_id.clone().unwrap_or_default(),
        state,
        limit: limit("limit", parameters.limit.as_deref(), INCIDENTS_LIMIT_DEFAULT, INCIDENTS_LIMIT_MAX)?,
        cursor: parameters.cursor.clone().unwrap_or_default(),
        ..ListIncidentsRequest::default()
    };
    let list = app.coordinator.incidents(&caller, request).await?;
    let incidents = list.incidents.iter().map(convert::stats::incident).collect::<Result<Vec<_>, _>>()?;
    let kept = [
        ("state", parameters.state.as_deref()),
        ("workflowId", parameters.workflow_id.as_deref()),
        ("limit", parameters.limit.as_deref()),
    ];
    let response = reply::bare(StatusCode::OK, &incidents)?;
    reply::next_page(response, "/api/v1/alerts/incidents", &list.next_cursor, &kept)
}

/// A rule: each kind has fields of its own, and all of them are needed.
fn rule(fields: &Fields<'_>) -> Result<(AlertCondition, Option<u64>), ApiError> {
    let kind = fields.text("kind")?.ok_or_else(|| ApiError::missing_fields("kind"))?;
    let own: &[&'static str] = match kind.as_str() {
        "error_rate" => &["windowMs", "threshold", "minRuns"],
        "duration_p95" => &["windowMs", "thresholdMs", "minRuns"],
        "no_success_for" => &["ms"],
        // The coordinator says which kinds there are.
        _ => return Ok((AlertCondition { kind, ..AlertCondition::default() }, None)),
    };
    let known: Vec<&str> = ["kind", "closeAfterMs"].iter().chain(own).copied().collect();
    fields.refuse_unknown(&known)?;
    let missing: Vec<&str> = own.iter().copied().filter(|name| !fields.says(name)).collect();
    if !missing.is_empty() {
        return Err(ApiError::missing_fields(&missing.join(", ")));
    }
    let condition = AlertCondition {
        window_ms: fields.count("windowMs")?.unwrap_or_default(),
        threshold: fields.number("threshold")?.unwrap_or_default(),
        threshold_ms: fields.count("thresholdMs")?.unwrap_or_default(),
        min_runs: fields.count("minRuns")?.unwrap_or_default(),
        ms: fields.count("ms")?.unwrap_or_default(),
        kind,
    };
    Ok((condition, fields.count("closeAfterMs")?))
}
