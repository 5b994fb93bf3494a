//! What the world tells runs: signals, and calls of hooks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{CallHookRequest, SendSignalRequest};

use super::auth::{Caller, Execute};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonValue, Segment, TwoSegments};
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::signal::CalledHook;
use crate::limits::{SIGNAL_BODY_BYTES_MAX, SIGNAL_NAME_CHARS_MAX};

/// What is told.
type Told = JsonValue<SIGNAL_BODY_BYTES_MAX>;

/// `POST /workflows/executions/{id}/signals/{name}`: a node that waits for the name takes it, or the next that does.
pub(crate) async fn send(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    TwoSegments(execution_id, name): TwoSegments,
    key: IdempotencyKey,
    body: Told,
) -> Result<Response, ApiError> {
    if !is_name(&name) {
        let message = format!(
            "the name of a signal has 1 to {SIGNAL_NAME_CHARS_MAX} of A-Z, a-z, 0-9, _, . and -, and is not . or .."
        );
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_signal_name", message));
    }
    let route = "POST /api/v1/workflows/executions/{id}/signals/{name}";
    let request = SendSignalRequest {
        idempotency: key.of_request(route, &[&execution_id, &name], body.text()),
        execution_id,
        name,
        body_json: body.text().clone(),
        ..SendSignalRequest::default()
    };
    let sent = app.coordinator.send_signal(&caller, request).await?;
    let response = reply::enveloped(StatusCode::ACCEPTED, &convert::signal::sent(&sent))?;
    Ok(reply::replayed(response, sent.replayed))
}

fn is_name(text: &str) -> bool {
    let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=SIGNAL_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_taken) && !matches!(text, "." | "..")
}

/// `POST` and `PUT /hooks/{token}`: whoever has the address calls, once.
pub(crate) async fn call(
    State(app): State<Arc<App>>,
    Segment(token): Segment,
    key: IdempotencyKey,
    body: Told,
) -> Result<Response, ApiError> {
    app.watch.refuse_mismatch()?;
    let request = CallHookRequest {
        idempotency: key.of_request("POST /api/v1/hooks/{token}", &[&token], body.text()),
        token,
        body_json: body.text().clone(),
    };
    let called = app.coordinator.call_hook(request).await?;
    let response = reply::bare(StatusCode::ACCEPTED, &CalledHook { accepted: true })?;
    Ok(reply::replayed(response, called.replayed))
}
