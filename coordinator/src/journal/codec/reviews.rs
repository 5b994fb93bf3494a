//! Reviews as parts of rows, both ways.

use heddle_core::id::{ReviewIx, Subject};
use heddle_core::run::event::{Asked, ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed};
use heddle_core::time::Timestamp;
use heddle_proto::journal as pb;

use super::decode::{self, Part};
use super::encode;

pub(super) fn asked_to_wire(it: &Asked) -> pb::Asked {
    pb::Asked {
        review: it.review.0,
        kind: kind_to_wire(it.kind).into(),
        values: encode::outputs(&it.values),
        due_at: it.due_at.map(Timestamp::as_millis),
        error: it.error.as_ref().map(encode::node_error),
    }
}

pub(super) fn asked_from_wire(it: pb::Asked) -> Part<Asked> {
    Ok(Asked {
        review: ReviewIx(it.review),
        kind: kind_from_wire(it.kind)?,
        values: decode::outputs(it.values)?,
        due_at: it.due_at.map(Timestamp::from_millis),
        error: it.error.map(decode::node_error).transpose()?,
    })
}

pub(super) fn to_wire(it: &Reviewed) -> pb::Reviewed {
    use pb::reviewed::Outcome;
    let outcome = match &it.outcome {
        ReviewOutcome::Open { due_at } => Outcome::Open(pb::StaysOpen { due_at: due_at.map(Timestamp::as_millis) }),
        ReviewOutcome::Begins => Outcome::Begins(pb::Begins {}),
        ReviewOutcome::Gave(outputs) => Outcome::Gave(pb::Gave { outputs: encode::outputs(outputs) }),
        ReviewOutcome::Failed { error, caught } => Outcome::Failed(pb::ReviewFailed {
            error: Some(encode::node_error(error)),
            caught: encode::outputs(caught),
        }),
        ReviewOutcome::Again { instance } => Outcome::Again(encode::instance(*instance)),
    };
    pb::Reviewed {
        review: it.review.0,
        instance: Some(encode::instance(it.instance)),
        by: it.by.as_ref().map(|by| by.0.as_ref().to_owned()),
        verdict: verdict_to_wire(it.verdict).into(),
        comment: it.comment.as_deref().map(str::to_owned),
        edit: encode::outputs(&it.edit),
        config: it.config.as_ref().map(encode::value_ref),
        outcome: Some(outcome),
    }
}

pub(super) fn from_wire(it: pb::Reviewed) -> Part<Reviewed> {
    use pb::reviewed::Outcome;
    let outcome = match it.outcome.ok_or("a decision at a review without outcome")? {
        Outcome::Open(it) => ReviewOutcome::Open { due_at: it.due_at.map(Timestamp::from_millis) },
        Outcome::Begins(pb::Begins {}) => ReviewOutcome::Begins,
        Outcome::Gave(it) => ReviewOutcome::Gave(decode::outputs(it.outputs)?),
        Outcome::Failed(it) => ReviewOutcome::Failed {
            error: decode::node_error(it.error.ok_or("no error")?)?,
            caught: decode::outputs(it.caught)?,
        },
        Outcome::Again(it) => ReviewOutcome::Again { instance: decode::instance(Some(it))? },
    };
    Ok(Reviewed {
        review: ReviewIx(it.review),
        instance: decode::instance(it.instance)?,
        by: it.by.map(|by| Subject(by.into())),
        verdict: verdict_from_wire(it.verdict)?,
        comment: it.comment.map(Into::into),
        edit: decode::outputs(it.edit)?,
        config: it.config.map(|it| decode::value_ref(Some(it))).transpose()?,
        outcome,
    })
}

fn kind_to_wire(it: ReviewKind) -> pb::ReviewKind {
    match it {
        ReviewKind::Value => pb::ReviewKind::Value,
        ReviewKind::Before => pb::ReviewKind::Before,
        ReviewKind::After => pb::ReviewKind::After,
        ReviewKind::Outcome => pb::ReviewKind::Outcome,
    }
}

fn kind_from_wire(number: i32) -> Part<ReviewKind> {
    match pb::ReviewKind::try_from(number) {
        Ok(pb::ReviewKind::Value) => Ok(ReviewKind::Value),
        Ok(pb::ReviewKind::Before) => Ok(ReviewKind::Before),
        Ok(pb::ReviewKind::After) => Ok(ReviewKind::After),
        Ok(pb::ReviewKind::Outcome) => Ok(ReviewKind::Outcome),
        Ok(pb::ReviewKind::Unspecified) | Err(_) => Err("a review's kind"),
    }
}

fn verdict_to_wire(it: ReviewVerdict) -> pb::ReviewVerdict {
    match it {
        ReviewVerdict::Approve => pb::ReviewVerdict::Approve,
        ReviewVerdict::Reject => pb::ReviewVerdict::Reject,
        ReviewVerdict::Retry => pb::ReviewVerdict::Retry,
        ReviewVerdict::Fail => pb::ReviewVerdict::Fail,
        ReviewVerdict::Escalate => pb::ReviewVerdict::Escalate,
    }
}

fn verdict_from_wire(number: i32) -> Part<ReviewVerdict> {
    match pb::ReviewVerdict::try_from(number) {
        Ok(pb::ReviewVerdict::Approve) => Ok(ReviewVerdict::Approve),
        Ok(pb::ReviewVerdict::Reject) => Ok(ReviewVerdict::Reject),
        Ok(pb::ReviewVerdict::Retry) => Ok(ReviewVerdict::Retry),
        Ok(pb::ReviewVerdict::Fail) => Ok(ReviewVerdict::Fail),
        Ok(pb::ReviewVerdict::Escalate) => Ok(ReviewVerdict::Escalate),
        Ok(pb::ReviewVerdict::Unspecified) | Err(_) => Err("a review's verdict"),
    }
}
