//! Reviews: listed, read, decided.

use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{NodeIx, PortIx, ReviewId, RunId, WorkflowId};
use heddle_core::limits::{INLINE_VALUE_BYTES_MAX, REVIEW_COMMENT_BYTES_MAX};
use heddle_core::node_type::{Port, PortType};
use heddle_core::partition::batch::ReviewState;
use heddle_core::partition::io::{Input, Refusal, Reply};
use heddle_core::run::event::{OutputValue, ReviewKind, ReviewVerdict};
use heddle_core::run::{ReviewAnswer, ReviewRefusal};
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use heddle_proto::control as wire;
use serde_json::Value as Json;
use tonic::{Code, Status};

use super::{failure, run_requests};
use crate::artifacts::submitted;
use crate::auth::{self, Tenant};
use crate::read::reviews::{self, Found, looked_at};
use crate::read::runs::{self, ReadError};
use crate::reviews::rows::{ReviewCursor, ReviewFilter, StoredReview};
use crate::session::changed;
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

/// Where in the history the same subject has said the same.
fn said_at(found: &Found, answer: &ReviewAnswer) -> Option<usize> {
    found.entries.iter().position(|(reviewed, _)| {
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
    let graph = runs::graph_of(shared, &run).await.map_err(gone)?;
    let node = graph.find(&stored.created.node).ok_or_else(not_found)?;
    let edit = match request.data_json.is_empty() {
        true => Vec::new(),
        false => edit(shared, tenant, stored, &graph, node, &request.data_json).await?,
    };
    let config = match request.config_json.is_empty() {
        true => None,
        false => Some(config(shared, stored, &graph, node, &request.config_json)?),
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

/// An edit by port: of a `logic:review` the value itself; else an object by the ids of ports.
async fn edit(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    stored: &StoredReview,
    graph: &Graph,
    node: NodeIx,
    json: &[u8],
) -> Result<Vec<(PortIx, Value)>, Status> {
    let kind = stored.created.kind;
    let data: Json = serde_json::from_slice(json).map_err(|error| invalid("/data", format!("data: {error}")))?;
    let given = match kind {
        ReviewKind::Value => vec![(PortIx(0), String::from("/data"), data)],
        _ => by_port(graph, node, kind, data)?,
    };
    let mut checked = Vec::with_capacity(given.len());
    for (port, path, value) in given {
        let looked = looked_at(graph, node, kind, port).ok_or_else(|| invalid(&path, "there is no such port"))?;
        fits(&value, looked.port_type, looked.list, &path)?;
        if kind == ReviewKind::Value
            && let Some(schema) = graph.review(node).and_then(|review| review.schema.as_ref())
        {
            fits_form(&value, schema, &path)?;
        }
        let text = value.to_string();
        if text.len() > INLINE_VALUE_BYTES_MAX {
            let message = format!("data has {} bytes; at most {INLINE_VALUE_BYTES_MAX} are taken", text.len());
            return Err(invalid(&path, message));
        }
        checked.push((port, Value::from_json(text.into())));
    }
    let given: Vec<_> = checked.iter().map(|(_, value)| (node, value.clone())).collect();
    let resolved = submitted::resolve(shared, tenant, given).await?;
    Ok(checked.into_iter().zip(resolved).map(|((port, _), (_, value))| (port, value)).collect())
}

/// What an object says of ports: of a node that has not begun its wired inputs, of others its outputs.
fn by_port(graph: &Graph, node: NodeIx, kind: ReviewKind, data: Json) -> Result<Vec<(PortIx, String, Json)>, Status> {
    let document = graph.node(node);
    let (ports, what): (&[Port], _) = match (kind, &document.node_type) {
        (_, None) => (&[], "output"),
        (ReviewKind::Before, Some(node_type)) => (&node_type.inputs, "input with a value"),
        (_, Some(node_type)) => (&node_type.outputs, "output"),
    };
    let is_looked_at = |ix: PortIx| match kind {
        ReviewKind::Before => graph.in_edges(node).iter().any(|edge| edge.target_port == ix),
        _ => Some(ix) != document.error_port,
    };
    let ports = || (0..).map(PortIx).zip(ports).filter(|(ix, _)| is_looked_at(*ix));
    let Json::Object(data) = data else {
        let ids: Vec<&str> = ports().map(|(_, port)| &*port.id).collect();
        return Err(invalid("/data", format!("data is an object of the ports to change: {}", ids.join(", "))));
    };
    let known = |(id, value): (String, Json)| {
        let path = format!("/data/{}", id.replace('~', "~0").replace('/', "~1"));
        match ports().find(|(_, port)| *port.id == *id) {
            Some((port, _)) => Ok((port, path, value)),
            None => Err(invalid(&path, format!("the node has no {what} that is called \"{id}\""))),
        }
    };
    data.into_iter().map(known).collect()
}

/// Whether a value is of a port's type.
fn fits(value: &Json, port_type: PortType, list: bool, path: &str) -> Result<(), Status> {
    if list {
        let Json::Array(items) = value else { return Err(invalid(path, "the port takes a list")) };
        let each = |(place, item)| fits(item, port_type, false, &format!("{path}/{place}"));
        return items.iter().enumerate().try_for_each(each);
    }
    let is_file = |value: &Json| {
        let names = |key| value.get(key).is_some_and(Json::is_string);
        value.is_string() || names("url") || names("digest")
    };
    let (is_right, what) = match port_type {
        PortType::Text => (value.is_string(), "a text"),
        PortType::Number => (value.is_number(), "a number"),
        PortType::Boolean => (value.is_boolean(), "true or false"),
        PortType::Image | PortType::Video | PortType::Audio | PortType::File => {
            (is_file(value), "a file: its address or description")
        }
        PortType::Json | PortType::Any => (true, ""),
    };
    if is_right { Ok(()) } else { Err(invalid(path, format!("the port takes {what}"))) }
}

fn fits_form(value: &Json, schema: &[u8], path: &str) -> Result<(), Status> {
    let schema: Json = serde_json::from_slice(schema).unwrap_or(Json::Bool(true));
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| invalid("", format!("the review's form is broken; correct its schema: {error}")))?;
    match validator.iter_errors(value).next() {
        Some(error) => Err(invalid(&format!("{path}{}", error.instance_path()), error.to_string())),
        None => Ok(()),
    }
}

/// Changes to the config of the node that runs again.
fn config(shared: &Shared, stored: &StoredReview, graph: &Graph, node: NodeIx, json: &[u8]) -> Result<Value, Status> {
    let changes: Json = serde_json::from_slice(json).map_err(|error| invalid("/config", format!("config: {error}")))?;
    let Json::Object(keys) = &changes else { return Err(invalid("/config", "config is an object")) };
    let target = match stored.created.kind {
        ReviewKind::Value => graph.review(node).and_then(|review| review.again),
        _ => Some(node),
    };
    let Some(target) = target else {
        return Err(not_allowed("/config", "there is no node behind this review that could run again"));
    };
    let provided = graph.node(target).provided(Default::default());
    let text = changes.to_string();
    if text.len() > INLINE_VALUE_BYTES_MAX {
        return Err(invalid("/config", format!("config has more than {INLINE_VALUE_BYTES_MAX} bytes")));
    }
    if let Some(problem) = heddle_core::graph::literal_secrets(&text, "/config").into_iter().next() {
        return Err(invalid(problem.path.as_deref().unwrap_or("/config"), problem.message));
    }
    if let Some(node_type) = provided.node_type {
        for (key, value) in keys {
            let Some((port, input)) = node_type.input(key) else { continue };
            let path = format!("/config/{key}");
            if graph.in_edges(target).iter().any(|edge| edge.target_port == port) {
                return Err(invalid(&path, "an edge brings this input's value"));
            }
            fits(value, input.port_type, input.list, &path)?;
        }
        let whole = changed::lay_over(provided, text.as_bytes()).config;
        let whole = std::str::from_utf8(&whole).unwrap_or("{}");
        if let Some((place, message)) = shared.graphs.check_config(node_type, whole).into_iter().next() {
            return Err(invalid(&format!("/config{place}"), message));
        }
    }
    Ok(Value::from_json(text.into()))
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

fn not_allowed(path: &str, message: &str) -> Status {
    at_path("decision_not_allowed", path, message.to_owned())
}

fn invalid(path: &str, message: impl Into<String>) -> Status {
    at_path("invalid_decision", path, message.into())
}

fn at_path(code: &str, path: &str, message: String) -> Status {
    let (code, path) = (code.to_owned(), path.to_owned());
    failure::failure(wire::Failure { code, http_status: 422, message, path, ..Default::default() })
}
