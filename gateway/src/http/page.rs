//! The page behind the links that clients print for a workflow.

use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};

use super::error::ApiError;
use super::input::Segment;

/// `GET /workflows/{id}`, outside the API: there is no console, so it says what to call. It tells nothing about the
/// workflow, not even whether there is one: it needs no key.
pub(crate) async fn workflow(Segment(id): Segment) -> Result<Response<Body>, ApiError> {
    let id = escaped(&id);
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Workflow {id}</title>\
         <h1>Workflow {id}</h1>\
         <p>This server has no web console. With an API key, call:</p>\
         <pre>GET  /api/v1/workflows/{id}\nPOST /api/v1/workflows/{id}/run\nGET  /api/v1/workflows/{id}/executions</pre>"
    );
    let mut response = Response::new(Body::from(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    Ok(response)
}

/// A text as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}
