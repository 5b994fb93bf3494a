//! The API's description, which needs no key: it is the same for everybody.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};

use super::router;
use crate::docs::{openapi, page};

/// Made once, when somebody asks first.
struct Pages {
    openapi: Bytes,
    routes: Bytes,
    errors: Bytes,
    models: Bytes,
}

static PAGES: LazyLock<Pages> = LazyLock::new(|| {
    let document = openapi::document(&router::documented_routes());
    Pages {
        openapi: serde_json::to_vec(&document).unwrap_or_default().into(),
        routes: page::routes(&document).into(),
        errors: page::errors().into(),
        models: page::for_models(&document).into(),
    }
});

/// `GET /api/v1/openapi.json`.
pub(crate) async fn openapi() -> Response<Body> {
    answer("application/json", &PAGES.openapi)
}

/// `GET /docs`.
pub(crate) async fn routes() -> Response<Body> {
    answer("text/html; charset=utf-8", &PAGES.routes)
}

/// `GET /docs/errors`.
pub(crate) async fn errors() -> Response<Body> {
    answer("text/html; charset=utf-8", &PAGES.errors)
}

/// `GET /llms.txt`.
pub(crate) async fn models() -> Response<Body> {
    answer("text/plain; charset=utf-8", &PAGES.models)
}

fn answer(media_type: &'static str, text: &Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(text.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}
