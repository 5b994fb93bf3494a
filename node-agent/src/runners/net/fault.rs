//! What a server's refusal, or its silence, means for an attempt.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::Denied;
use super::credential::Secret;
use crate::limits::{RETRY_AFTER_MAX, SERVER_MESSAGE_BYTES_MAX};
use crate::runners::{ErrorClass, Failure};

/// Whether it may be asked again, when nobody knows what became of the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same thing again.
    Harmless,
    /// It might happen twice.
    Harmful,
}

/// A request that brought no answer.
pub(super) fn unanswered(error: reqwest::Error, host: &str, repeat: Repeat) -> Failure {
    if let Some(denied) = denied(&error) {
        return denied;
    }
    let did_begin = !error.is_connect() && !error.is_builder();
    let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached, or broke off" };
    let message = format!("{host} {what}; try again later");
    match (did_begin, repeat, error.is_timeout()) {
        (true, Repeat::Harmful, _) => {
            let message = format!("{host} {what} after it was asked; look there whether it happened");
            Failure::new(ErrorClass::UnknownOutcome, "answer_lost", message)
        }
        (_, _, true) => Failure::new(ErrorClass::Timeout, "server_silent", message),
        (_, _, false) => Failure::new(ErrorClass::Retryable, "server_unreachable", message),
    }
}

/// The guard's no, if that is what is behind an error.
fn denied(error: &reqwest::Error) -> Option<Failure> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(denied) = inner.downcast_ref::<Denied>() {
            return Some(refused_address(denied));
        }
        source = inner.source();
    }
    None
}

/// An address that the guard does not let through.
pub(super) fn refused_address(denied: &Denied) -> Failure {
    Failure::new(ErrorClass::InvalidRequest, "address_denied", denied.0.clone())
}

/// An answer that says no. `said` is what the server writes, if anything.
pub(super) fn refused(
    status: StatusCode,
    headers: &HeaderMap,
    said: Option<String>,
    host: &str,
    repeat: Repeat,
    secret: Option<&Secret>,
) -> Failure {
    let said = said.map(|said| secret.map_or_else(|| said.clone(), |secret| secret.redact(said.clone())));
    let said = said.map_or(String::new(), |said| format!(": {}", shortened(said)));
    let number = status.as_u16();
    let pause = retry_after(headers);
    let (class, code, advice) = match number {
        429 => (ErrorClass::RateLimited, "rate_limited", "it is tried again later"),
        503 | 529 if pause.is_some() => (ErrorClass::RateLimited, "server_busy", "it is tried again later"),
        401 | 403 | 407 => (ErrorClass::Auth, "server_refuses_credential", "check the credential"),
        402 => (ErrorClass::Auth, "quota_exhausted", "check the account's credit"),
        408 | 409 | 425 if repeat == Repeat::Harmless => (ErrorClass::Retryable, "server_not_ready", "try again"),
        500 | 502 | 504 if repeat == Repeat::Harmful => {
            (ErrorClass::UnknownOutcome, "answer_unclear", "look there whether it happened")
        }
        500.. => (ErrorClass::Retryable, "server_failed", "try again later"),
        300..=399 => (ErrorClass::InvalidRequest, "redirected", "name the address that it leads to"),
        _ => (ErrorClass::InvalidRequest, "server_refuses", "correct the request"),
    };
    let message = format!("{host} answers with status {number}{said}; {advice}");
    Failure { retry_after: pause, ..Failure::new(class, code, message) }
}

/// When to come back: `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let after = text(RETRY_AFTER.as_str());
    let seconds = after.and_then(|text| text.parse::<f64>().ok()).filter(|seconds| *seconds >= 0.0);
    let date = || {
        let date = jiff::fmt::rfc2822::parse(after?).ok()?;
        // Both by the server's clock: ours may show something else.
        let told = text(DATE.as_str()).and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        let now = told.map_or_else(SystemTime::now, |told| SystemTime::from(told.timestamp()));
        Some(SystemTime::from(date.timestamp()).duration_since(now).unwrap_or_default())
    };
    let pause = milliseconds.or_else(|| Duration::try_from_secs_f64(seconds?).ok()).or_else(date)?;
    Some(pause.min(RETRY_AFTER_MAX))
}

pub(super) fn shortened(mut said: String) -> String {
    said.truncate(said.floor_char_boundary(SERVER_MESSAGE_BYTES_MAX));
    said
}
