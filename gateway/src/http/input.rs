//! Extractors whose refusals have our form: path, query, body and idempotency key.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use heddle_proto::control::Idempotency;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::error::ApiError;
use super::pace::Paced;
use super::parameters;
use crate::json::{self, Fields};
use crate::limits::{BODY_READ_MAX, IDEMPOTENCY_KEY_LENGTH_MAX};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The one variable segment of a path.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(_) => Err(ApiError::bad_request("invalid_path", "the path of this request is not UTF-8")),
        }
    }
}

/// The two variable segments of a path, in order.
pub(crate) struct TwoSegments(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for TwoSegments {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((first, second))) => Ok(Self(first, second)),
            Err(_) => Err(ApiError::bad_request("invalid_path", "the path of this request is not UTF-8")),
        }
    }
}

/// The query, as the route's own type. Unknown parameters are ignored.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parameters::read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// A JSON body of at most `BYTES_MAX` bytes, whose nesting and keys are checked. No body reads as `{}`.
pub(crate) struct JsonBody<const BYTES_MAX: usize>(Bytes);

impl<const BYTES_MAX: usize> JsonBody<BYTES_MAX> {
    /// Its members.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, ApiError> {
        Fields::parse(&self.0)
    }

    /// A part of it, shared and not copied. `part` must come from [`JsonBody::fields`].
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        self.0.slice_ref(part)
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.0
    }
}

impl<const BYTES_MAX: usize, S: Send + Sync> FromRequest<S> for JsonBody<BYTES_MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let bytes = json_text(request, BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self(Bytes::from_static(b"{}")));
        }
        json::check(&bytes).map_err(ApiError::faulty_json)?;
        Ok(Self(bytes))
    }
}

/// Any JSON value of at most `BYTES_MAX` bytes, whose nesting and keys are checked. No body reads as `null`.
pub(crate) struct JsonValue<const BYTES_MAX: usize>(Bytes);

impl<const BYTES_MAX: usize> JsonValue<BYTES_MAX> {
    /// As it was sent.
    pub(crate) fn text(&self) -> &Bytes {
        &self.0
    }
}

impl<const BYTES_MAX: usize, S: Send + Sync> FromRequest<S> for JsonValue<BYTES_MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let bytes = json_text(request, BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self(Bytes::from_static(b"null")));
        }
        json::check(&bytes).map_err(ApiError::faulty_json)?;
        // Looked through whole: texts that are no Unicode and numbers that are none are faults of the JSON, too.
        serde_json::from_slice::<serde_json::Value>(&bytes).map_err(|error| ApiError::invalid_json(&error))?;
        Ok(Self(bytes))
    }
}

/// The body of a request that says it is JSON, whatever it holds.
async fn json_text(request: Request, bytes_max: usize) -> Result<Bytes, ApiError> {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        let message = "send this body as Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(ApiError::too_large(bytes_max));
    }
    let whole = read(body, bytes_max, declared.unwrap_or(0) as usize);
    timeout(BODY_READ_MAX, whole).await.map_err(|_| stalled(BODY_READ_MAX))?
}

/// No content type counts as JSON: a route reads what it declares, whatever the header says.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.is_empty() || essence.eq_ignore_ascii_case(b"application/json") || essence.ends_with(b"+json")
}

async fn read(body: Body, bytes_max: usize, expected: usize) -> Result<Bytes, ApiError> {
    let mut pieces = Paced::new(body);
    let Some(first) = pieces.next().await? else { return Ok(Bytes::new()) };
    if first.len() >= expected && first.len() <= bytes_max && pieces.is_over() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(expected.max(first.len()));
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > bytes_max {
            return Err(ApiError::too_large(bytes_max));
        }
        whole.extend_from_slice(&bytes);
        piece = pieces.next().await?;
    }
    Ok(whole.into())
}

fn stalled(limit: Duration) -> ApiError {
    let message = format!("the body of this request did not arrive within {} s", limit.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

/// The key under which a repeated request gets the first one's answer.
pub(crate) struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&key.len()));
        match key.filter(|key| key.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
            Some(key) => Ok(Self(Some(key.to_owned()))),
            None => {
                let message = format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable characters");
                Err(ApiError::bad_request("invalid_idempotency_key", message))
            }
        }
    }
}

impl IdempotencyKey {
    /// What the coordinator compares. Two requests are the same if route template, path, query and JSON value are.
    pub(crate) fn of_request(self, route: &str, path: &[&str], body: &[u8]) -> Option<Idempotency> {
        let key = self.0?;
        let mut hash = Sha256::new();
        for part in path {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(json::canonical(body));
        let body_hash = Bytes::copy_from_slice(&hash.finalize());
        Some(Idempotency { key, route: route.to_owned(), body_hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(path: &[&str], body: &str) -> Bytes {
        let key = IdempotencyKey(Some("k".to_owned()));
        key.of_request("POST /x", path, body.as_bytes()).unwrap().body_hash
    }

    #[test]
    fn the_hash_is_of_the_value_and_its_address() {
        assert_eq!(hash(&["a"], r#"{"x":1,"y":[2]}"#), hash(&["a"], r#" {"y":[ 2 ],"x":1} "#));
        assert_ne!(hash(&["a"], r#"{"x":1}"#), hash(&["a"], r#"{"x":1.0}"#));
        assert_ne!(hash(&["a"], "{}"), hash(&["b"], "{}"));
        assert_ne!(hash(&["ab", "c"], "{}"), hash(&["a", "bc"], "{}"));
    }

    #[test]
    fn content_types_are_compared_by_their_essence() {
        let check = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(is_json(&HeaderMap::new()));
        assert!(check("application/json"));
        assert!(check("Application/JSON; charset=utf-8"));
        assert!(check("application/merge-patch+json"));
        assert!(!check("text/plain"));
        assert!(!check("multipart/form-data; boundary=application/json"));
    }
}
