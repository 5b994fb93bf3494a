//! The routes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::chat::CREATED;
use crate::jobs::Jobs;
use crate::ledger::{Entry, Ledger};
use crate::limits::{DIMENSIONS, DIMENSIONS_MAX, REQUEST_BYTES_MAX, TEXTS_MAX};
use crate::script::{Script, Scripts, ScriptsByCredential, Step};
use crate::{answer, chat};

/// What stands before a credential's name in the bearer token.
pub const CREDENTIAL_PREFIX: &str = "sandbox:";
/// The name of calls without a credential, and of those with a token that is none of the sandbox's: it may be a secret.
const STRANGER: &str = "anonymous";
/// The one model that is listed; every other name is answered as well.
const MODEL: &str = "sandbox-model";

#[derive(Default)]
struct Sandbox {
    scripts: Scripts,
    ledger: Ledger,
    jobs: Jobs,
}

/// The whole provider. Nothing of it outlives the router.
pub fn router() -> Router {
    routes(Sandbox::default())
}

/// The same with scripts to begin with.
pub fn scripted_router(scripts: ScriptsByCredential) -> Router {
    routes(Sandbox { scripts: Scripts::of(scripts), ..Sandbox::default() })
}

fn routes(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/v1/{*rest}", any(provider))
        .route("/http/{*rest}", any(provider))
        .route("/script/{credential}", put(put_script))
        .route("/ledger", get(read_ledger).delete(forget_ledger))
        .route("/health", get(|| async { Json(json!({"status": "ok", "sandbox": true})) }))
        .with_state(Arc::new(sandbox))
}

/// Serves a provider until the process ends.
pub async fn serve(listener: tokio::net::TcpListener, router: Router) {
    // axum's loop goes on after every error of a connection, and has none of its own.
    let _ended = axum::serve(listener, router).await;
}

async fn put_script(
    State(sandbox): State<Arc<Sandbox>>,
    Path(credential): Path<String>,
    request: Request,
) -> Result<StatusCode, (StatusCode, Json<Value>)> {
    let refused =
        |why: String| (StatusCode::BAD_REQUEST, Json(json!({"error": {"code": "script_invalid", "message": why}})));
    let body =
        to_bytes(request.into_body(), REQUEST_BYTES_MAX).await.map_err(|_| refused("it is too long".to_owned()))?;
    let script = Script::read(&body).map_err(|fault| refused(fault.to_string()))?;
    sandbox.scripts.put(credential, script).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read_ledger(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    Json(json!({"calls": sandbox.ledger.all(), "jobs": sandbox.jobs.all()}))
}

async fn forget_ledger(State(sandbox): State<Arc<Sandbox>>) -> StatusCode {
    sandbox.ledger.forget();
    StatusCode::NO_CONTENT
}

/// Everything that a provider has: the script says how the call ends, the route what is answered.
async fn provider(State(sandbox): State<Arc<Sandbox>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let credential = credential(&parts.headers);
    let body = to_bytes(body, REQUEST_BYTES_MAX).await;
    let json: Option<Value> = body.as_ref().ok().and_then(|body| serde_json::from_slice(body).ok());
    let message = json.as_ref().map(answer::last_message).unwrap_or_default();
    let step = sandbox.scripts.next(&credential, &message);
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let idempotency_key = header("idempotency-key");
    // Before it is answered: whoever asks may go away meanwhile.
    let number = sandbox.ledger.add(Entry {
        number: 0,
        credential,
        call: format!("{} {}", parts.method, parts.uri.path()),
        model: json.as_ref().and_then(|json| json["model"].as_str()).map(ToOwned::to_owned),
        idempotency_key: idempotency_key.clone(),
        status: None,
        request: json.clone(),
    });
    if step.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(step.delay_ms)).await;
    }
    let response = match body {
        Err(_) => fault(413, "request_too_large", "the request is too large"),
        Ok(_) => scripted_fault(&step).unwrap_or_else(|| {
            let (method, path) = (&parts.method, parts.uri.path());
            let of_job = sandbox.jobs.answer(method, path, json.as_ref(), idempotency_key);
            of_job.unwrap_or_else(|| answered(method, path, json.as_ref(), &step))
        }),
    };
    sandbox.ledger.answered(number, response.status().as_u16());
    response
}

fn answered(method: &Method, path: &str, json: Option<&Value>, step: &Step) -> Response {
    match (method.as_str(), path, json) {
        ("GET", "/v1/models", _) => Json(json!({"object": "list", "data": [model()]})).into_response(),
        ("GET", path, _) if path.starts_with("/v1/models/") => match path.trim_start_matches("/v1/models/") {
            MODEL => Json(model()).into_response(),
            _ => fault(404, "model_not_found", &format!("the sandbox lists one model: {MODEL}")),
        },
        ("POST", "/v1/chat/completions", Some(json))
            if json["messages"].as_array().is_some_and(|list| !list.is_empty()) =>
        {
            chat::respond(json, step)
        }
        ("POST", "/v1/embeddings", Some(json)) => embeddings(json),
        ("POST", "/v1/chat/completions" | "/v1/embeddings", _) => {
            fault(400, "invalid_request_error", "the request is no JSON, or has no messages")
        }
        (method, path, json) if path.starts_with("/http/") => {
            let text = step.answer.clone();
            let address = path.trim_start_matches("/http/");
            let echoed = json!({"sandbox": true, "method": method, "address": address, "body": json});
            text.map_or_else(|| Json(echoed).into_response(), IntoResponse::into_response)
        }
        (method, path, _) => fault(404, "unknown_url", &format!("the sandbox does not have {method} {path}")),
    }
}

fn model() -> Value {
    json!({"id": MODEL, "object": "model", "created": CREATED, "owned_by": "sandbox"})
}

fn embeddings(json: &Value) -> Response {
    let texts: Vec<&str> = match &json["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let dimensions = json["dimensions"].as_u64().map_or(DIMENSIONS, |number| number as usize);
    if texts.is_empty() || texts.len() > TEXTS_MAX || !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return fault(400, "invalid_request_error", "input has no texts or too many, or dimensions is out of bounds");
    }
    let tokens: usize = texts.iter().map(|text| answer::tokens(text)).sum();
    let vectors = texts.iter().enumerate().map(|(index, text)| {
        let vector = answer::vector(text, dimensions);
        let vector = if json["encoding_format"] == "base64" { answer::packed(&vector).into() } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    Json(json!({
        "object": "list",
        "data": vectors.collect::<Vec<_>>(),
        "model": json["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
    .into_response()
}

fn scripted_fault(step: &Step) -> Option<Response> {
    let status = step.status.filter(|status| *status >= 300)?;
    let mut response = match &step.body {
        Some(body) => (status_code(status), Json(body.clone())).into_response(),
        None => fault(status, "sandbox_fault", "the script says so"),
    };
    if let Some(pause) = step.retry_after_ms {
        let headers = response.headers_mut();
        headers.insert("retry-after-ms", HeaderValue::from(pause));
        headers.insert("retry-after", HeaderValue::from(pause.div_ceil(1_000)));
    }
    Some(response)
}

pub(crate) fn fault(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": code, "code": code, "param": null}});
    (status_code(status), Json(body)).into_response()
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn credential(headers: &HeaderMap) -> String {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    let name =
        token.and_then(|token| token.strip_prefix("Bearer ")).and_then(|token| token.strip_prefix(CREDENTIAL_PREFIX));
    name.unwrap_or(STRANGER).to_owned()
}
