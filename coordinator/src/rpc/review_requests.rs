//! Reviews: listed, read, decided.

use std::sync::Arc;

use heddle_core::id::{PortIx, ReviewId, RunId, WorkflowId};
use heddle_core::limits::REVIEW_COMMENT_BYTES_MAX;
use heddle_core::partition::batch::ReviewState;
use heddle_core::partition::io::{Input, Refusal, Reply};
use heddle_core::run::event::{OutputValue, ReviewVerdict};
use heddle_core::run::{ReviewAnswer, ReviewRefusal};
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use crate::auth::{self, Tenant};
use crate::read::reviews::{self, Found};
use crate::read::runs::{self, ReadError};
use crate::reviews::rows::{ReviewCursor, ReviewFilter, StoredReview};
use crate::reviews::{edit, invalid, not_allowed, retry};
use crate::shared::Shared;

/// Rows in one page of a list of reviews.
const LIST_MAX: u32 = 200;
const LIST_DEFAULT: u32 = 50;

pub(super) async fn list(shared: &Arc<Shared>, request: wire::ListReviewsRequest) -> Result<wire::ReviewList, Status> {
    let tenant = auth::tenant(&request)?;
    let cursor = cursor(&request.cursor)?;
    let limit = if request.limit == 0 { LIST_DEFAULT } else { request.limit.min(LIST_MAX) } as usize;
    // What cannot be an id has no reviews.
    let workflow = match request.workflow_id.as_str() {
        "" => None,
        text => match text.parse::<WorkflowId>() {
            Ok(id) => Some(id),
            Err(_) => return Ok(wire::ReviewList::default()),
        },
    };
    let run = match request.execution_id.as_str() {
        "" => None,
        text => match text.parse::<RunId>() {
            Ok(id) => Some(id),
            Err(_) => return Ok(wire::ReviewList::default()),
        },
    };
    let state = match request.state() {
        wire::ReviewState::Unspecified => None,
        wire::ReviewState::Open => Some(ReviewState::Open),
        wire::ReviewState::Decided => Some(ReviewState::Decided),
        wire::ReviewState::Withdrawn => Some(ReviewState::Withdrawn),
    };
    let assignee = Some(request.assignee.as_str()).filter(|text| !text.is_empty()).map(Arc::from);
    let filter = ReviewFilter { tenant, state, assignee, workflow, run };
    let found = shared.reviews.reviews(filter, cursor, limit + 1).await.map_err(|error| failure::journal(&error))?;
    let page = &found[..limit.min(found.len())];
    let next_cursor = match page.last().filter(|_| found.len() > limit) {
        Some(last) => format!("{}.{}", last.created.opened_at.as_millis(), last.review),
        None => String::new(),
    };
    Ok(wire::ReviewList { reviews: page.iter().map(|row| reviews::head(row, None)).collect(), next_cursor })
}

fn cursor(text: &str) -> Result<Option<ReviewCursor>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = || {
        let (at, review) = text.split_once('.')?;
        Some(ReviewCursor { opened_at: Timestamp::from_millis(at.parse().ok()?), review: review.parse().ok()? })
    };
    read().map(Some).ok_or_else(failure::bad_cursor)
}

pub(super) async fn get(shared: &Arc<Shared>, request: wire::ReviewRequest) -> Result<wire::Review, Status> {
    let tenant = auth::tenant(&request)?;
    let row = row(shared, &tenant, &request.id).await?;
    Ok(reviews::review(shared, &tenant, &row).await.map_err(gone)?.0)
}

pub(super) async fn decide(
    shared: &Arc<Shared>,
    request: wire::DecideReviewRequest,
) -> Result<wire::DecidedReview, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let stored = row(shared, &tenant, &request.id).await?;
    let answer = answer(shared, &tenant, &stored, &request).await?;
    if stored.state != ReviewState::Open {
        return closed(shared, &tenant, &request, &answer).await;
    }
    let (run, asked) = (stored.run, Box::new(answer.clone()));
    let ask = |caller| Input::Answer { caller, run, tenant: tenant.id().clone(), answer: asked };
    match shared.doors.request(shared.partition_of(run), ask).await {
        Reply::Answered { seq } => {
            // The answer is given when its batch has landed, so a read sees at least this.
            tracing::debug!(%run, %seq, review = %stored.review, "decided");
            Ok(wire::DecidedReview { review: Some(current(shared, &tenant, &request.id).await?.0), replayed: false })
        }
        Reply::Refused(Refusal::Review(ReviewRefusal::Closed)) => closed(shared, &tenant, &request, &answer).await,
        Reply::Refused(Refusal::Review(why)) => {
            let is_mine = why == ReviewRefusal::AlreadyApproved || matches!(why, ReviewRefusal::Stale { .. });
            match is_mine && request.idempotency.is_some() {
                true => match current(shared, &tenant, &request.id).await? {
                    (review, found) if has_said(&found, &answer) => Ok(replayed(review)),
                    _ => Err(refused(why)),
                },
                false => Err(refused(why)),
            }
        }
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a decision was answered as something else")),
    }
}

/// Somebody was first: who, with what and when; or it was this very request.
async fn closed(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    request: &wire::DecideReviewRequest,
    answer: &ReviewAnswer,
) -> Result<wire::DecidedReview, Status> {
    let (review, found) = current(shared, tenant, &request.id).await?;
    if request.idempotency.is_some() && has_said(&found, answer) {
        return Ok(replayed(review));
    }
    let head = review.head.unwrap_or_default();
    match head.decided {
        Some(decided) => {
            let who = if decided.by.is_empty() { "its time" } else { &decided.by };
            let message = format!("the review was decided before: {} by {who}", decided.decision);
            Err(failure::failure(wire::Failure {
                code: "review_decided".into(),
                http_status: 409,
                message,
                decided: Some(decided),
                ..Default::default()
            }))
        }
        None => Err(failure::plain(
            409,
            "review_withdrawn",
            "nothing waits for the review any more: its run went on, or is over",
        )),
    }
}

/// Whether the same subject has said the same before.
fn has_said(found: &Found, answer: &ReviewAnswer) -> bool {
    found.entries.iter().any(|(reviewed, _)| {
        let edit = |port: PortIx| reviewed.edit.iter().find(|output| output.port == port).map(|output| &output.value);
        let is_edit = |(port, value): &(PortIx, Value)| {
            matches!(edit(*port), Some(OutputValue::One(reference)) if reference.digest == value.digest())
        };
        reviewed.by.as_ref() == Some(&answer.by)
            && reviewed.verdict == answer.verdict
            && reviewed.comment == answer.comment
            && reviewed.edit.len() == answer.edit.len()
            && answer.edit.iter().all(is_edit)
            && reviewed.config.map(|config| config.digest) == answer.config.as_ref().map(Value::digest)
    })
}

/// The answer to a request that came before.
fn replayed(review: wire::Review) -> wire::DecidedReview {
    wire::DecidedReview { review: Some(review), replayed: true }
}

async fn current(shared: &Arc<Shared>, tenant: &Tenant, id: &str) -> Result<(wire::Review, Found), Status> {
    let row = row(shared, tenant, id).await?;
    reviews::review(shared, tenant, &row).await.map_err(gone)
}

async fn row(shared: &Arc<Shared>, tenant: &Tenant, id: &str) -> Result<StoredReview, Status> {
    let id: ReviewId = id.parse().map_err(|_| not_found())?;
    let found = shared.reviews.review(tenant.clone(), id).await.map_err(|error| failure::journal(&error))?;
    found.ok_or_else(not_found)
}

fn not_found() -> Status {
    failure::plain(404, "review_not_found", "Review not found")
}

fn gone(error: ReadError) -> Status {
    match error {
        ReadError::NotFound => not_found(),
        error => failure::read(error),
    }
}

/// What a request says, checked against the port's type, the form and the node's config.
async fn answer(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    stored: &StoredReview,
    request: &wire::DecideReviewRequest,
) -> Result<ReviewAnswer, Status> {
    let verdict = match request.decision.as_str() {
        "approve" => ReviewVerdict::Approve,
        "reject" => ReviewVerdict::Reject,
        "retry" => ReviewVerdict::Retry,
        _ => return Err(not_allowed("/decision", "decision is approve, reject or retry")),
    };
    if request.comment.len() > REVIEW_COMMENT_BYTES_MAX {
        return Err(invalid("/comment", format!("comment has at most {REVIEW_COMMENT_BYTES_MAX} bytes")));
    }
    let run = runs::row(shared, tenant, stored.run).await.map_err(gone)?;
    let graph = runs::graph_of(shared, &run).await.map_err(gone)?;
    let node = graph.find(&stored.created.node).ok_or_else(not_found)?;
    let edit = match request.data_json.is_empty() {
        true => Vec::new(),
        false => edit::edit(shared, tenant, (stored, &graph, node), &request.data_json).await?,
    };
    let config = match request.config_json.is_empty() {
        true => None,
        false => Some(retry::config(shared, (stored, &graph, node), request)?),
    };
    Ok(ReviewAnswer {
        review: stored.created.ordinal,
        by: request.subject.as_str().into(),
        verdict,
        edit,
        config,
        comment: Some(request.comment.as_str()).filter(|text| !text.is_empty()).map(Arc::from),
        revision: request.revision,
        decides_own: request.decides_own,
    })
}

fn refused(why: ReviewRefusal) -> Status {
    match why {
        ReviewRefusal::Unknown => not_found(),
        ReviewRefusal::Closed => failure::plain(409, "review_decided", "the review was decided before"),
        ReviewRefusal::Stale { revision } => failure::failure(wire::Failure {
            code: "stale_review".into(),
            http_status: 409,
            message: format!(
                "something has happened at the review since: it has revision {revision}; look at it again"
            ),
            current_revision: Some(revision),
            ..Default::default()
        }),
        ReviewRefusal::Own => {
            let message = "who has started a run decides its reviews only with the scope reviews:decide:own";
            failure::plain(403, "own_review", message)
        }
        ReviewRefusal::NotAssignee => {
            failure::plain(403, "not_an_assignee", "the review names who may decide, and not this key's subject")
        }
        ReviewRefusal::AlreadyApproved => {
            failure::plain(409, "already_approved", "this subject has approved; further approvals are of others")
        }
        ReviewRefusal::NotAllowed(what) => not_allowed(
            &format!("/{what}"),
            &format!("the review does not take this {what}; `allow` says what it takes"),
        ),
    }
}
