//! Reviews: the inbox, one of them, and what was decided.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{DecideReviewRequest, ListReviewsRequest, Review, ReviewState};
use serde::Deserialize;

use super::artifacts::Origin;
use super::auth::{Caller, DecideReviews, ReadReviews};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonBody, Parameters, Segment};
use super::query::limit;
use super::reply;
use crate::app::App;
use crate::convert::{self, unreadable};
use crate::limits::{DECISION_BODY_BYTES_MAX, REVIEWS_LIMIT_DEFAULT, REVIEWS_LIMIT_MAX};

const DECISIONS: [&str; 3] = ["approve", "reject", "retry"];

/// Which reviews, and which page of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReviewParameters {
    state: Option<String>,
    assignee: Option<String>,
    workflow_id: Option<String>,
    execution_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /reviews`: those that are open, unless it says otherwise, the oldest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<ReadReviews>,
    Parameters(parameters): Parameters<ReviewParameters>,
) -> Result<Response, ApiError> {
    let request = ListReviewsRequest {
        state: state(parameters.state.as_deref().unwrap_or("open"))?.into(),
        assignee: parameters.assignee.clone().unwrap_or_default(),
        workflow_id: parameters.workflow_id.clone().unwrap_or_default(),
        execution_id: parameters.execution_id.clone().unwrap_or_default(),
        limit: limit("limit", parameters.limit.as_deref(), REVIEWS_LIMIT_DEFAULT, REVIEWS_LIMIT_MAX)?,
        cursor: parameters.cursor.clone().unwrap_or_default(),
        ..ListReviewsRequest::default()
    };
    let list = app.coordinator.reviews(&caller, request).await?;
    let reviews = list.reviews.iter().map(convert::review::head).collect::<Result<Vec<_>, _>>()?;
    let response = reply::bare(StatusCode::OK, &reviews)?;
    let kept = [
        ("state", parameters.state.as_deref()),
        ("assignee", parameters.assignee.as_deref()),
        ("workflowId", parameters.workflow_id.as_deref()),
        ("executionId", parameters.execution_id.as_deref()),
        ("limit", parameters.limit.as_deref()),
    ];
    reply::next_page(response, "/api/v1/reviews", &list.next_cursor, &kept)
}

/// `GET /reviews/{id}`.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadReviews>,
    Segment(id): Segment,
    origin: Origin,
) -> Result<Response, ApiError> {
    let mut review = app.coordinator.review(&caller, id).await?;
    link(&app, caller.tenant(), &origin, &mut review).await?;
    reply::enveloped(StatusCode::OK, &convert::review::review(&review)?)
}

/// `POST /reviews/{id}/decision`: approves, with an edit or without, rejects, or has the node run again.
pub(crate) async fn decide(
    State(app): State<Arc<App>>,
    caller: Caller<DecideReviews>,
    Segment(id): Segment,
    key: IdempotencyKey,
    origin: Origin,
    body: JsonBody<DECISION_BODY_BYTES_MAX>,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["decision", "data", "config", "comment", "revision"])?;
    let decision = fields.text("decision")?.ok_or_else(|| ApiError::missing_fields("decision"))?;
    if !DECISIONS.contains(&decision.as_str()) {
        return Err(ApiError::invalid_field("decision", "approve, reject or retry"));
    }
    if fields.says("data") && decision != "approve" {
        return Err(ApiError::invalid_field("data", "left out unless the decision is approve"));
    }
    if fields.says("config") && decision != "retry" {
        return Err(ApiError::invalid_field("config", "left out unless the decision is retry"));
    }
    let share = |part: Option<&[u8]>| part.map(|part| body.share(part)).unwrap_or_default();
    let request = DecideReviewRequest {
        data_json: share(fields.any("data")),
        config_json: share(fields.object("config")?),
        comment: fields.text("comment")?.unwrap_or_default(),
        revision: fields.count("revision")?,
        idempotency: key.of_request("POST /api/v1/reviews/{id}/decision", &[&id], body.text()),
        decision,
        id,
        ..DecideReviewRequest::default()
    };
    let mut decided = app.coordinator.decide_review(&caller, request).await?;
    let review = decided.review.as_mut().ok_or_else(|| unreadable("review that was decided"))?;
    link(&app, caller.tenant(), &origin, review).await?;
    let response = reply::enveloped(StatusCode::OK, &convert::review::review(review)?)?;
    Ok(reply::replayed(response, decided.replayed))
}

fn state(word: &str) -> Result<ReviewState, ApiError> {
    match word.to_ascii_lowercase().as_str() {
        "open" => Ok(ReviewState::Open),
        "decided" => Ok(ReviewState::Decided),
        "withdrawn" => Ok(ReviewState::Withdrawn),
        "all" => Ok(ReviewState::Unspecified),
        _ => Err(ApiError::invalid_parameter("state", "one of open, decided, withdrawn, all")),
    }
}

/// Puts the addresses of artifacts into what is asked about, in all versions.
async fn link(app: &App, tenant: String, origin: &Origin, review: &mut Review) -> Result<(), ApiError> {
    let edits = review.history.iter_mut().flat_map(|entry| &mut entry.data);
    let mut values: Vec<_> =
        review.values.iter_mut().chain(&mut review.originals).chain(edits).filter_map(|of| of.value.as_mut()).collect();
    if values.iter().all(|value| value.artifacts.is_empty()) {
        return Ok(());
    }
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let linker = opened.linker(tenant, &origin.0);
    values.iter_mut().for_each(|value| linker.link_values(std::slice::from_mut(*value)));
    Ok(())
}
