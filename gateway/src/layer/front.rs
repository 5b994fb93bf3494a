//! The front door: every request comes in here, and every answer leaves here with its id and its headers.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use futures::FutureExt;
use heddle_telemetry::metrics;
use hyper::body::Incoming;
use tower::Service;

use super::discard::discarding;
use super::rate_headers;
use super::request_id::{self, RequestId};
use super::request_trace::{RequestTrace, route_of};
use crate::hosts::Hosts;
use crate::http::error::{ApiError, ErrorForm};
use crate::limits::HEADER_LIST_BYTES_MAX;
use crate::metrics::Numbers;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

const NO_SNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Answers one request. Whatever happens inside, an answer comes out, in our form.
pub(crate) async fn answer(
    mut router: Router,
    hosts: &Hosts,
    numbers: &Numbers,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let (mut head, incoming) = request.into_parts();
    let trace = RequestTrace::begin(&mut head.headers);
    let traceparent = head.headers.get(TRACEPARENT).filter(|value| is_traceparent(value.as_bytes())).cloned();
    let (method, path) = (head.method.clone(), head.uri.clone());
    let body = discarding(&head.headers, incoming);
    let refusal = if header_list_bytes(&head.headers) > HEADER_LIST_BYTES_MAX {
        Some(headers_too_large())
    } else {
        faulty_host(&head).or_else(|| hosts.judge(&head).err())
    };
    let inside = if let Some(refusal) = refusal {
        refusal.into_response()
    } else {
        let call = router.call(Request::from_parts(head, body));
        match AssertUnwindSafe(call).catch_unwind().await {
            Ok(response) => response.unwrap_or_else(|never| match never {}),
            Err(_) => {
                tracing::error!(request_id = id.as_str(), %method, path = path.path(), "a handler panicked");
                ApiError::internal().into_response()
            }
        }
    };
    let mut response = written(inside, &id);
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id.header());
    if let Some(traceparent) = traceparent {
        headers.insert(TRACEPARENT, traceparent);
    }
    headers.insert(NO_SNIFF.0, NO_SNIFF.1);
    rate_headers::add(headers);
    if let Some(trace) = trace {
        trace.tell(&method, &response);
    }
    if metrics::is_wanted() {
        numbers.answered(route_of(&response), response.status().as_u16(), started.elapsed());
    }
    tracing::debug!(
        request_id = id.as_str(),
        %method,
        path = path.path(),
        status = response.status().as_u16(),
        elapsed_us = started.elapsed().as_micros() as u64,
        "answered"
    );
    response
}

/// Whether a text is a W3C trace context of version 00.
pub(crate) fn is_traceparent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    text.len() == 55
        && text.starts_with(b"00-")
        && text[35] == b'-'
        && text[52] == b'-'
        && [&text[3..35], &text[36..52], &text[53..]].into_iter().all(is_hex)
        && !is_zero(&text[3..35])
        && !is_zero(&text[36..52])
}

/// Gives a refusal its body and headers. Any other answer passes.
fn written(mut response: Response<Body>, id: &RequestId) -> Response<Body> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    // An answer that already has a body wrote it on purpose (a health check, a page).
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if response.headers().contains_key(CONTENT_TYPE) => return response,
        None => ApiError::of_status(status),
    };
    let form = response.extensions().get().copied().unwrap_or(ErrorForm::Object);
    if status.is_server_error() {
        tracing::warn!(request_id = id.as_str(), status = status.as_u16(), code = &*error.code, "{}", error.message);
    }
    *response.body_mut() = Body::from(error.body(form, id));
    let headers = response.headers_mut();
    // The router measured the empty body that the error travelled in.
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(seconds) = error.retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

fn headers_too_large() -> ApiError {
    let message = format!("the headers of this request may have at most {HEADER_LIST_BYTES_MAX} bytes together");
    ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)
}

/// RFC 9112, 3.2: a request of HTTP/1.1 has one Host, and with several nobody knows which one others have gone by.
fn faulty_host(head: &Parts) -> Option<ApiError> {
    match head.headers.get_all(HOST).iter().count() {
        1 => None,
        0 if head.version < Version::HTTP_11 => None,
        0 => Some(ApiError::bad_request("missing_host", "a request of HTTP/1.1 names its Host; send that header")),
        _ => Some(ApiError::bad_request("ambiguous_host", "this request has several Host headers; send one")),
    }
}

fn header_list_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::routing::get;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let router = Router::new().route("/", get(|| async { panic!("on purpose") as &str }));
        let (mut client, server) = tokio::io::duplex(4_096);
        let service = service_fn(move |request| {
            let router = router.clone();
            async move { Ok::<_, Infallible>(answer(router, &Hosts::default(), &Numbers::default(), request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        assert!(text.contains("x-request-id: req_") && text.contains(r#""code":"internal""#), "{text}");
    }

    #[test]
    fn trace_contexts_are_checked() {
        assert!(is_traceparent(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }
}
