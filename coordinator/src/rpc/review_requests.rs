//! Reviews: listed, read, decided.

use std::sync::Arc;

use heddle_core::id::{PortIx, ReviewId, RunId, WorkflowId};
use heddle_core::limits::REVIEW_COMMENT_BYTES_MAX;
use heddle_core::partition::batch::ReviewState;
use heddle_core::partition::io::{Input, Refusal, Reply};
use heddle_core::run::event::ReviewVerdict;
use heddle_core::run::{ReviewAnswer, ReviewRefusal};
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use heddle_proto::control as wire;
use tonic::{Code, Status};

use super::{failure, run_requests};
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
    let filter = ReviewFilter { tenant: tenant.clone(), state, assignee, workflow, run };
    let found = shared.reviews.reviews(filter, cursor, limit + 1).await.map_err(|error| failure::journal(&error))?;
    let page = &found[..limit.min(found.len())];
    let next_cursor = match page.last().filter(|_| found.len() > limit) {
        Some(last) => format!("{}.{}", last.created.opened_at.as_millis(), last.review),
        None => String::new(),
    };
    Ok(wire::ReviewList { reviews: reviews::heads(shared, &tenant, page).await, next_cursor })
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
    Ok(reviews::review(shared, &tenant, &row, None).await.map_err(gone)?.0)
}

/// Decides a review; a request with a key is carried out once, and answered again as it was then.
pub(super) async fn decide(
    shared: &Arc<Shared>,
    request: wire::DecideReviewRequest,
) -> Result<wire::DecidedReview, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let Some(given) = &request.idempotency else { return decide_once(shared, &tenant, &request, false).await };
    let row = run_requests::key_row(&tenant, given)?;
    let (key, body) = (row.key.clone(), row.body);
    let taken = shared.reviews.take_key(row, shared.clock.now()).await.map_err(|error| failure::journal(&error))?;
    if taken.is_some_and(|taken| taken != body) {
        return Err(failure::key_mismatch());
    }
    let decided = decide_once(shared, &tenant, &request, taken.is_some()).await;
    // Refusals are not kept. Where nobody knows what became of it the same request has to come again.
    let is_refused = |status: &Status| !matches!(status.code(), Code::Unavailable | Code::Internal);
    if decided.as_ref().is_err_and(is_refused) {
        let freed = shared.reviews.free_key(key).await;
        freed.unwrap_or_else(|error| tracing::warn!(%error, "the key of a decision that was refused is kept"));
    }
    decided
}

async fn decide_once(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    request: &wire::DecideReviewRequest,
    is_repeated: bool,
) -> Result<wire::DecidedReview, Status> {
    let stored = row(shared, tenant, &request.id).await?;
    let answer = answer(shared, tenant, &stored, request).await?;
    if is_repeated && let Some(first) = replayed(shared, tenant, &stored, &answer).await? {
        return Ok(first);
    }
    if stored.state != ReviewState::Open {
        return Err(closed(shared, tenant, request).await?);
    }
    let (run, asked) = (stored.run, Box::new(answer.clone()));
    let ask = |caller| Input::Answer { caller, run, tenant: tenant.id().clone(), answer: asked };
    match shared.doors.request(shared.partition_of(run), ask).await {
        Reply::Answered { seq } => {
            // The answer is given when its batch has landed, so a read sees at least this.
            tracing::debug!(%run, %seq, review = %stored.review, "decided");
            Ok(wire::DecidedReview { review: Some(current(shared, tenant, &request.id).await?), replayed: false })
        }
        Reply::Refused(Refusal::Review(why)) => {
            // Its twin may have come first.
            if is_repeated && let Some(first) = replayed(shared, tenant, &stored, &answer).await? {
                return Ok(first);
            }
            match why {
                ReviewRefusal::Closed => Err(closed(shared, tenant, request).await?),
                why => Err(refused(why)),
            }
        }
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a decision was answered as something else")),
    }
}

/// Somebody was first: who, with what and when.
async fn closed(shared: &Arc<Shared>, tenant: &Tenant, request: &wire::DecideReviewRequest) -> Result<Status, Status> {
    let head = current(shared, tenant, &request.id).await?.head.unwrap_or_default();
    Ok(match head.decided {
        Some(decided) => {
            let who = if decided.by.is_empty() { "its time" } else { &decided.by };
            let message = format!("the review was decided before: {} by {who}", decided.decision);
            failure::failure(wire::Failure {
                code: "review_decided".into(),
                http_status: 409,
                message,
                decided: Some(decided),
                ..Default::default()
            })
        }
        None => failure::plain(
            409,
            "review_withdrawn",
            "nothing waits for the review any more: its run went on, or is over",
        ),
    })
}

/// What was answered when this very request came first, if it has had its effect.
async fn replayed(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    stored: &StoredReview,
    answer: &ReviewAnswer,
) -> Result<Option<wire::DecidedReview>, Status> {
    let (_, found) = reviews::review(shared, tenant, stored, None).await.map_err(gone)?;
    let Some(place) = said_at(&found, answer) else { return Ok(None) };
    let stored = row_of(shared, tenant, stored.review).await?;
    let (review, _) = reviews::review(shared, tenant, &stored, Some(place as u64 + 1)).await.map_err(gone)?;
    Ok(Some(wire::DecidedReview { review: Some(review), replayed: true }))
}

/// Where in the history the same subject has said the same. What changed nothing was not taken down as an edit.
fn said_at(found: &Found, answer: &ReviewAnswer) -> Option<usize> {
    found.entries.iter().position(|(reviewed, _)| {
        let edit = |port: PortIx| reviewed.edit.iter().find(|output| output.port == port).map(|output| &output.value);
        let is_edit = |(port, value): &(PortIx, Value)| {
            edit(*port).is_none_or(|it| it.whole().is_some_and(|reference| reference.digest == value.digest()))
        };
        reviewed.by.as_ref() == Some(&answer.by)
            && reviewed.verdict == answer.verdict
            && reviewed.comment == answer.comment
            && reviewed.edit.len() <= answer.edit.len()
            && answer.edit.iter().all(is_edit)
            && reviewed.config.map(|config| config.digest) == answer.config.as_ref().map(Value::digest)
    })
}

async fn current(shared: &Arc<Shared>, tenant: &Tenant, id: &str) -> Result<wire::Review, Status> {
    let row = row(shared, tenant, id).await?;
    Ok(reviews::review(shared, tenant, &row, None).await.map_err(gone)?.0)
}

async fn row(shared: &Arc<Shared>, tenant: &Tenant, id: &str) -> Result<StoredReview, Status> {
    row_of(shared, tenant, id.parse().map_err(|_| not_found())?).await
}

async fn row_of(shared: &Arc<Shared>, tenant: &Tenant, id: ReviewId) -> Result<StoredReview, Status> {
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
    failure::if_set_aside(&run)?;
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
