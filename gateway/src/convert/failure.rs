//! What a failed call of the coordinator is for a REST client.

use std::error::Error;

use axum::http::StatusCode;
use heddle_proto::control::Failure;
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

use super::{diagnosis, run};
use crate::http::error::ApiError;

/// Seconds after which a client should try again when the coordinator cannot be reached.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Whether the call broke off on its way, so that nobody said no.
pub(crate) fn is_connection_lost(status: &Status) -> bool {
    if !status.details().is_empty() {
        return is_not_begun(status);
    }
    // A status that came over the wire has no source; one that this side made of an error has.
    !is_timeout(status) && (status.code() == Code::Unavailable || status.source().is_some())
}

/// Whether the coordinator says that it is stopping, and has not looked at the call.
fn is_not_begun(status: &Status) -> bool {
    Failure::decode(status.details()).is_ok_and(|failure| failure.not_begun)
}

/// Whether the call certainly was not carried out: the coordinator says so, no connection to it came about, the one that the
/// call was queued for closed before its turn came (what `hyper` calls canceled), or the coordinator said farewell without
/// having looked at it (RFC 9113, 6.8: a GOAWAY without an error ends only requests that came after the last it took).
pub(crate) fn is_unsent(status: &Status) -> bool {
    if is_not_begun(status) {
        return true;
    }
    let mut next = status.source();
    while let Some(error) = next {
        let is_canceled = error.downcast_ref().is_some_and(hyper::Error::is_canceled);
        let is_farewell = error.downcast_ref().is_some_and(|error: &h2::Error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        });
        if is_canceled || is_farewell || error.is::<tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The refusal that a REST client gets.
pub(crate) fn refused(status: Status) -> ApiError {
    if let Some(failure) = said(&status) {
        return failure;
    }
    if is_connection_lost(&status) {
        // Whoever watches over the coordinator says it once for all requests.
        tracing::debug!(code = ?status.code(), error = chain(&status), "the coordinator cannot be reached");
        let message = "the coordinator cannot be reached right now; try again in a moment";
        return ApiError::unavailable("coordinator_unavailable", message).retry_after(RETRY_AFTER_SECONDS);
    }
    tracing::warn!(code = ?status.code(), error = chain(&status), "a call of the coordinator failed without a reason");
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => {
            let message = "the coordinator did not answer in time, and it is not known whether this was done; ask again with the \
                           same Idempotency-Key";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "coordinator_timeout", message)
                .retry_after(RETRY_AFTER_SECONDS)
        }
        Code::Unimplemented => {
            let message = "this coordinator is older than its gateway and cannot do this; update it";
            ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message)
        }
        _ => ApiError::internal(),
    }
}

/// What the coordinator itself gave as the reason.
pub(crate) fn said(status: &Status) -> Option<ApiError> {
    let details = status.details();
    if details.is_empty() {
        return None;
    }
    let failure = Failure::decode(details).ok()?;
    let http_status = StatusCode::from_u16(u16::try_from(failure.http_status).ok()?).ok()?;
    if !http_status.is_client_error() && !http_status.is_server_error() {
        return None;
    }
    let mut error = ApiError::new(http_status, failure.code, failure.message);
    if failure.retry_after_seconds > 0 {
        error = error.retry_after(failure.retry_after_seconds);
    }
    if let Some(diagnosis) = failure.diagnosis {
        for (name, value) in diagnosis::details(&diagnosis) {
            error = error.with(name, value);
        }
    }
    if !failure.current_updated_at.is_empty() {
        error = error.with("currentUpdatedAt", json!(failure.current_updated_at));
    }
    if !failure.base_updated_at.is_empty() {
        error = error.with("yourBaseUpdatedAt", json!(failure.base_updated_at));
    }
    if !failure.waiting_on.is_empty() {
        error = error.with("waitingOn", json!(run::waiting_on(&failure.waiting_on)));
    }
    if let Some(decided) = &failure.decided {
        error = error.with("decided", json!(super::review::decided(decided)));
    }
    if let Some(revision) = failure.current_revision {
        error = error.with("currentRevision", json!(revision));
    }
    if let Some(changes) = &failure.plan_changes {
        error = error.with("planChanges", json!(super::resume::changes(changes)));
    }
    if let Some(removed) = failure.removed.as_ref().and_then(run::removed) {
        error = error.with("removed", json!(removed));
    }
    if !failure.path.is_empty() {
        error = error.with("path", json!(failure.path));
    }
    Some(error)
}

fn is_timeout(status: &Status) -> bool {
    status.source().is_some_and(|source| source.is::<tonic::TimeoutExpired>())
        || (status.code() == Code::Cancelled && status.message() == "Timeout expired")
}

/// What went wrong and what caused it, in one line.
pub(crate) fn chain(status: &Status) -> String {
    heddle_error_chain::after(status.message(), status)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    #[test]
    fn the_coordinators_own_words_come_first() {
        let failure = Failure {
            code: "stale_write".to_owned(),
            http_status: 409,
            message: "changed since".to_owned(),
            current_updated_at: "2026-01-01T00:00:00.000Z".to_owned(),
            ..Failure::default()
        };
        let status = Status::with_details(Code::Aborted, "", Bytes::from(failure.encode_to_vec()));
        let error = refused(status);
        assert_eq!((error.status.as_u16(), &*error.code, &*error.message), (409, "stale_write", "changed since"));
        assert_eq!(error.details, [("currentUpdatedAt", json!("2026-01-01T00:00:00.000Z"))]);
    }

    #[test]
    fn what_has_no_reason_gets_one() {
        for (code, expected) in
            [(Code::Unavailable, 503), (Code::DeadlineExceeded, 503), (Code::Unimplemented, 501), (Code::Internal, 500)]
        {
            assert_eq!(refused(Status::new(code, "")).status.as_u16(), expected, "{code:?}");
        }
        let nonsense = Status::with_details(Code::Internal, "", Bytes::from_static(b"\xff\xff"));
        assert_eq!(refused(nonsense).status.as_u16(), 500);
    }
}
