//! Everything the gateway says no with. A handler returns an [`ApiError`]; the front door writes it, because only there
//! the request id and the route's form are known.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::json::{Fault, FaultKind};
use crate::layer::request_id::RequestId;
use crate::limits::JSON_DEPTH_MAX;

/// A refusal: status, stable code, a sentence that says what is wrong and what to do.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
    /// Seconds until it is worth trying again.
    pub(crate) retry_after_seconds: Option<u32>,
    /// Further top-level members of the body.
    pub(crate) details: Vec<(&'static str, Value)>,
}

/// How a route writes its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// `{"error":{"type","code","message"}}`.
    Object,
    /// `{"error":"<sentence>"}` for the statuses that the oldest clients know, the object form for all others.
    Text,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after_seconds: None, details: Vec::new() }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn unauthorized(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// Something that the API documents and this build cannot do.
    pub(crate) fn not_supported_yet(what: &str) -> Self {
        let message = format!("{what} is not supported yet; leave it out");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_supported_yet", message)
    }

    pub(crate) fn invalid_field(name: &'static str, expected: &str) -> Self {
        Self::bad_request("invalid_field", format!("{name} must be {expected}")).at(format!("/{name}"))
    }

    /// A field that is there and says nothing; without it the request asks for something else.
    pub(crate) fn empty_field(name: &'static str) -> Self {
        let message = format!("{name} is empty: say what it names, or leave it out");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", message).at(format!("/{name}"))
    }

    pub(crate) fn invalid_parameter(name: &'static str, expected: &str) -> Self {
        Self::bad_request("invalid_parameter", format!("the query parameter {name} must be {expected}"))
    }

    pub(crate) fn unknown_field(name: &str, known: &[&str]) -> Self {
        let message = match known {
            [] => format!("this body has no field {name:?}, nor any other: send {{}}"),
            _ => format!("this body has no field {name:?}; its fields are: {}", known.join(", ")),
        };
        Self::bad_request("unknown_field", message).at(step(name))
    }

    /// A field of a node that cannot be changed by itself.
    pub(crate) fn structural_field(name: &str) -> Self {
        let message = format!(
            "{name:?} cannot be changed here, only config, params, label and position; save the whole workflow to change \
             what a node is"
        );
        Self::bad_request("invalid_field", message).at(step(name))
    }

    /// `missing` in the words that existing clients know.
    pub(crate) fn missing_fields(missing: &str) -> Self {
        Self::bad_request("missing_fields", format!("Missing required fields: {missing}"))
    }

    /// A body that is JSON, but of another kind.
    pub(crate) fn wrong_kind(expected: &str, found: &str) -> Self {
        Self::bad_request("invalid_json", format!("the body must be {expected}, not {found}")).at(String::new())
    }

    pub(crate) fn invalid_json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::bad_request("invalid_json", format!("the body is not the JSON that this route takes: {error}"))
            .with("line", json!(line))
            .with("column", json!(column))
    }

    pub(crate) fn faulty_json(fault: Fault) -> Self {
        let error = match fault.kind {
            FaultKind::TooDeep => {
                Self::bad_request("json_too_deep", format!("the body nests more than {JSON_DEPTH_MAX} levels deep"))
            }
            FaultKind::DuplicateKey => {
                Self::bad_request("duplicate_key", format!("the body has the key at {} twice", fault.path))
            }
        };
        error.at(fault.path)
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("the body of this request may have at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).with("bytesMax", json!(bytes_max))
    }

    /// This server cannot do its work now.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// A fault of this server that the caller can do nothing about.
    pub(crate) fn internal() -> Self {
        let message = "something went wrong in this server; its log has the details under this requestId";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// What a status says when nobody said more.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("refused");
        Self::new(status, reason.to_ascii_lowercase().replace(' ', "_"), reason)
    }

    pub(crate) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.details.push((name, value));
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Names the place in the body, as a JSON pointer.
    fn at(self, path: String) -> Self {
        self.with("path", Value::String(path))
    }

    /// The place is this member of the one named so far.
    pub(crate) fn below(mut self, member: &str) -> Self {
        if let Some(Value::String(path)) = self.path_mut() {
            path.push_str(&step(member));
        }
        self
    }

    /// What was named so far lies in this member of the body.
    pub(crate) fn within(mut self, member: &str) -> Self {
        if let Some(Value::String(path)) = self.path_mut() {
            path.insert_str(0, &step(member));
        }
        self
    }

    fn path_mut(&mut self) -> Option<&mut Value> {
        self.details.iter_mut().find(|(name, _)| *name == "path").map(|(_, path)| path)
    }

    /// The body, in the form of the route.
    pub(crate) fn body(&self, form: ErrorForm, request_id: &RequestId) -> Vec<u8> {
        let kind = kind(self.status);
        let mut body = Map::new();
        let is_text = form == ErrorForm::Text && has_text_form(self.status);
        if is_text {
            body.insert("error".to_owned(), json!(self.message));
            body.insert("type".to_owned(), json!(kind));
        } else {
            let error = json!({"type": kind, "code": self.code, "message": self.message});
            body.insert("error".to_owned(), error);
        }
        body.insert("code".to_owned(), json!(self.code));
        body.insert("message".to_owned(), json!(self.message));
        body.insert("requestId".to_owned(), json!(request_id.as_str()));
        if let (StatusCode::TOO_MANY_REQUESTS, Some(seconds)) = (self.status, self.retry_after_seconds) {
            // Clients of the documented API expect the second itself here, and the distance in the header.
            body.insert("retryAfter".to_owned(), json!(unix_second_now() + u64::from(seconds)));
        }
        for (name, value) in &self.details {
            body.insert((*name).to_owned(), value.clone());
        }
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// A member as a step of a JSON pointer (RFC 6901).
fn step(member: &str) -> String {
    format!("/{}", member.replace('~', "~0").replace('/', "~1"))
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// So that it can pass through a library's stream and come out again.
impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    /// Hands the error to the front door, which writes it.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Seconds since 1970.
pub(crate) fn unix_second_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether the documented routes answer this status with a sentence instead of an object.
pub(crate) fn has_text_form(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400..=404 | 429 | 500)
}

/// The `type` of an error, of the five that the API documents.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "authentication_error",
        402 => "insufficient_credits_error",
        409 => "conflict_error",
        400..=428 | 431 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(error: &ApiError, form: ErrorForm) -> Value {
        serde_json::from_slice(&error.body(form, &RequestId::mint())).unwrap()
    }

    #[test]
    fn the_form_depends_on_route_and_status() {
        for (status, is_text) in [
            (400, true),
            (401, true),
            (402, true),
            (403, true),
            (404, true),
            (429, true),
            (500, true),
            (405, false),
            (409, false),
            (413, false),
            (415, false),
            (422, false),
            (503, false),
        ] {
            let error = ApiError::new(StatusCode::from_u16(status).unwrap(), "some_code", "A sentence");
            let text = body(&error, ErrorForm::Text);
            assert_eq!(text["error"].is_string(), is_text, "{status}");
            let object = body(&error, ErrorForm::Object);
            assert_eq!(object["error"]["code"], "some_code");
            for body in [text, object] {
                assert_eq!(body["code"], "some_code");
                assert_eq!(body["message"], "A sentence");
                assert!(body["requestId"].is_string());
            }
        }
    }

    #[test]
    fn a_rate_limit_names_the_second() {
        let error = ApiError::of_status(StatusCode::TOO_MANY_REQUESTS).retry_after(60);
        assert!(body(&error, ErrorForm::Text)["retryAfter"].as_u64().unwrap() >= unix_second_now());
    }
}
