//! Answers.

use std::fmt::Write;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::error::ApiError;
use crate::convert::unreadable;
use crate::dto::envelope::{self, Alone};
use crate::layer::front::JSON;

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer with this JSON text.
pub(crate) fn text(status: StatusCode, json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A value as it is: bare arrays, and what must stand at top level only.
pub(crate) fn bare(status: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    serde_json::to_vec(value).map(|json| text(status, json)).map_err(|_| unreadable("value of an answer"))
}

/// A resource in its envelope.
pub(crate) fn enveloped(status: StatusCode, resource: &impl Serialize) -> Result<Response, ApiError> {
    enveloped_beside(status, resource, &Alone {})
}

/// A resource in its envelope, with further members beside `data`.
pub(crate) fn enveloped_beside(
    status: StatusCode,
    resource: &impl Serialize,
    siblings: &impl Serialize,
) -> Result<Response, ApiError> {
    envelope::enveloped(resource, siblings).map(|json| text(status, json)).map_err(|_| unreadable("value of an answer"))
}

/// Says where the created resource is.
pub(crate) fn located(mut response: Response, path: &str) -> Result<Response, ApiError> {
    let location = HeaderValue::from_str(path).map_err(|_| unreadable("id of a new resource"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Tells caches to keep nothing of it.
pub(crate) fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Says whether this is an earlier request's answer.
pub(crate) fn replayed(mut response: Response, is_replay: bool) -> Response {
    if is_replay {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Names the next page of a list in `Link`: the same question with another cursor. An empty cursor is no further page.
pub(crate) fn next_page(
    mut response: Response,
    path: &str,
    cursor: &str,
    kept: &[(&str, Option<&str>)],
) -> Result<Response, ApiError> {
    if cursor.is_empty() {
        return Ok(response);
    }
    let mut link = format!("<{path}?cursor={}", encoded(cursor));
    for (name, value) in kept {
        if let Some(value) = value {
            let _ = write!(link, "&{name}={}", encoded(value));
        }
    }
    link.push_str(">; rel=\"next\"");
    let link = HeaderValue::from_str(&link).map_err(|_| unreadable("cursor of a list"))?;
    response.headers_mut().insert(LINK, link);
    Ok(response)
}

/// Percent-encodes everything but letters, digits and `-._~` (RFC 3986).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
