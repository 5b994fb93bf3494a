//! Which path and method is whose.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, post, put};

use super::error::{ApiError, ErrorForm};
use super::{agents, artifacts, events, health, history, keys, media, nodes, page, runs, trace, workflows};
use crate::app::App;
use crate::layer::request_trace::with_routes;

/// All routes. A static segment goes before a variable one: `/workflows/executions` is no workflow.
pub(crate) fn router(app: Arc<App>) -> Router {
    with_routes(documented().merge(own()).merge(outside()))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// The oldest layer of the vendor's API, whose clients expect errors as one sentence.
fn documented() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/workflows", get(workflows::list).post(workflows::create))
        .route("/api/v1/workflows/{id}", get(workflows::get).put(workflows::replace).delete(workflows::delete))
        .route("/api/v1/workflows/{id}/execute", post(runs::execute))
        .route("/api/v1/workflows/{id}/run", get(runs::describe).post(runs::run))
        .route("/api/v1/workflows/{id}/executions", get(history::of_workflow))
        .route("/api/v1/workflows/executions/{id}", get(runs::get))
        .route("/api/v1/workflows/executions/{id}/poll", get(runs::poll))
        .layer(map_response(with_text_errors))
}

/// The vendor's newer routes, and Heddle's own.
fn own() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/workflows/lint", post(workflows::lint))
        .route("/api/v1/workflows/executions", get(history::of_all))
        .route("/api/v1/workflows/executions/{id}/events", get(events::events))
        .route("/api/v1/workflows/executions/{id}/trace", get(trace::trace))
        .route("/api/v1/workflows/executions/{id}/cancel", post(runs::cancel))
        .route("/api/v1/artifacts/{id}", get(artifacts::get))
        .route("/api/v1/media", get(media::list))
        .route("/api/v1/media/{id}", delete(media::delete))
        .route("/api/v1/media/upload", post(media::upload))
        .route("/api/v1/media/upload-url", post(media::upload_url))
        .route("/api/v1/media/upload-url/complete", post(media::complete))
        .route("/api/v1/media/uploads/{id}", put(media::receive))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/nodes/{type}", get(nodes::get))
        .route("/api/v1/agents", get(agents::list))
        .route("/api/v1/keys", get(keys::list).post(keys::create))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .route("/api/v1/keys/{id}/rotate", post(keys::rotate))
}

/// What needs no key.
fn outside() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/download", get(artifacts::download))
        .route("/workflows/{id}", get(page::workflow))
}

async fn with_text_errors(mut response: Response) -> Response {
    if response.status().is_client_error() || response.status().is_server_error() {
        response.extensions_mut().insert(ErrorForm::Text);
    }
    response
}

async fn unknown_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_route", "there is no such route; the API begins at /api/v1/workflows")
}

async fn wrong_method() -> ApiError {
    let message = "this route does not take this method; the Allow header lists those it takes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
