//! Reviews.

use heddle_proto::control::{self, ReviewKind, ReviewState, ReviewedPort, ReviewedValue};
use serde_json::value::RawValue;

use super::run::run_error;
use super::{non_empty, raw, unreadable};
use crate::dto::review::{Decided, Review, ReviewEntry, ReviewHead, ReviewPort, ReviewValue};
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn head(head: &control::ReviewHead) -> Result<ReviewHead<'_>, ApiError> {
    let (kind, stage) = match head.kind() {
        ReviewKind::Review => ("review", None),
        ReviewKind::Before => ("review", Some("before")),
        ReviewKind::After => ("review", Some("after")),
        ReviewKind::Outcome => ("outcome", None),
        ReviewKind::Unspecified => return Err(unreadable("kind of a review")),
    };
    let state = match head.state() {
        ReviewState::Open => "open",
        ReviewState::Decided => "decided",
        ReviewState::Withdrawn => "withdrawn",
        ReviewState::Unspecified => return Err(unreadable("state of a review")),
    };
    Ok(ReviewHead {
        id: &head.id,
        title: non_empty(&head.title).unwrap_or(&head.node_id),
        execution_id: &head.execution_id,
        workflow_id: &head.workflow_id,
        node_id: &head.node_id,
        index: &head.index,
        kind,
        stage,
        state,
        assignees: head.assignees.iter().map(String::as_str).collect(),
        opened_at: Time(head.opened_at_ms),
        due_at: head.due_at_ms.map(Time),
        closed_at: head.closed_at_ms.map(Time),
        decided: head.decided.as_ref().map(decided),
    })
}

pub(crate) fn review(review: &control::Review) -> Result<Review<'_>, ApiError> {
    let of = review.head.as_ref().ok_or_else(|| unreadable("head of a review"))?;
    let is_whole = of.kind() == ReviewKind::Review;
    Ok(Review {
        head: ReviewHead { title: &review.title, ..head(of)? },
        description: &review.description,
        value: value(&review.values, is_whole)?,
        original: match review.originals.is_empty() {
            true => None,
            false => Some(value(&review.originals, is_whole)?),
        },
        ports: review.ports.iter().map(port).collect(),
        schema: optional(&review.schema_json, "form of a review")?,
        allow: review.allow.iter().map(String::as_str).collect(),
        required: review.required,
        approvals: review.approvals,
        on_timeout: non_empty(&review.on_timeout),
        revision: review.revision,
        history: review.history.iter().map(|of| entry(of, is_whole)).collect::<Result<_, _>>()?,
        error: review.error.as_ref().map(run_error),
        sandbox: review.sandbox,
    })
}

pub(crate) fn decided(decision: &control::ReviewDecision) -> Decided<'_> {
    Decided {
        decision: &decision.decision,
        by: non_empty(&decision.by),
        at: Time(decision.at_ms),
        comment: non_empty(&decision.comment),
        edited: decision.edited,
    }
}

fn entry(entry: &control::ReviewEntry, is_whole: bool) -> Result<ReviewEntry<'_>, ApiError> {
    let decision = entry.decision.as_ref().ok_or_else(|| unreadable("decision of a review"))?;
    Ok(ReviewEntry {
        decision: decided(decision),
        last: entry.last,
        data: match entry.data.is_empty() {
            true => None,
            false => Some(value(&entry.data, is_whole)?),
        },
        config: optional(&entry.config_json, "config of a retry")?,
        assignees: entry.assignees.iter().map(String::as_str).collect(),
        due_at: entry.due_at_ms.map(Time),
    })
}

/// Of a review node the value itself, of all others the values by port.
fn value(values: &[ReviewedValue], is_whole: bool) -> Result<ReviewValue<'_>, ApiError> {
    let ports = values.iter().map(|of| {
        let value = of.value.as_ref().ok_or_else(|| unreadable("value of a review"))?;
        Ok((value.port.as_str(), raw(&value.value_json, "value of a review")?))
    });
    let ports = ports.collect::<Result<Vec<_>, ApiError>>()?;
    match ports.as_slice() {
        [(_, value)] if is_whole => Ok(ReviewValue::Whole(value)),
        _ if is_whole => Err(unreadable("value of a review")),
        _ => Ok(ReviewValue::Ports(ports)),
    }
}

fn port(of: &ReviewedPort) -> ReviewPort<'_> {
    ReviewPort { port: &of.port, r#type: &of.r#type, list: of.list }
}

fn optional<'a>(json: &'a [u8], what: &str) -> Result<Option<&'a RawValue>, ApiError> {
    match json {
        b"" => Ok(None),
        json => raw(json, what).map(Some),
    }
}
