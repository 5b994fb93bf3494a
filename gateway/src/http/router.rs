//! Which path and method is whose.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodFilter, on};

use super::error::{ApiError, ErrorForm};
use super::{agents, events, health, history, keys, nodes, page, runs, tenants, trace, workflows};
use crate::app::App;
use crate::layer::request_trace::with_routes;

/// One route: what a request must say to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// In capitals.
    pub method: &'static str,
    /// With its variable segments in braces.
    pub path: &'static str,
}

/// All routes that there are, as the router has them.
pub fn routes() -> Vec<Route> {
    [documented(), own(), outside()].into_iter().flat_map(|table| table.routes).collect()
}

/// The router of all routes. A static segment goes before a variable one: `/workflows/executions` is no workflow.
pub(crate) fn router(app: Arc<App>) -> Router {
    let documented = documented().router.layer(map_response(with_text_errors));
    with_routes(documented.merge(own().router).merge(outside().router))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// Routes, and the list of them: nothing is in one and not in the other.
#[derive(Default)]
struct Table {
    router: Router<Arc<App>>,
    routes: Vec<Route>,
}

macro_rules! methods {
    ($($name:ident: $method:ident),*) => {
        $(fn $name<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
            self.on(stringify!($method), MethodFilter::$method, path, handler)
        })*
    };
}

impl Table {
    methods! { get: GET, post: POST, put: PUT, patch: PATCH, delete: DELETE }

    fn on<T: 'static>(
        mut self,
        method: &'static str,
        filter: MethodFilter,
        path: &'static str,
        handler: impl Handler<T, Arc<App>>,
    ) -> Self {
        self.routes.push(Route { method, path });
        Self { router: self.router.route(path, on(filter, handler)), routes: self.routes }
    }
}

/// The oldest layer of the vendor's API, whose clients expect errors as one sentence.
fn documented() -> Table {
    Table::default()
        .get("/api/v1/workflows", workflows::list)
        .post("/api/v1/workflows", workflows::create)
        .get("/api/v1/workflows/{id}", workflows::get)
        .put("/api/v1/workflows/{id}", workflows::replace)
        .delete("/api/v1/workflows/{id}", workflows::delete)
        .post("/api/v1/workflows/{id}/execute", runs::execute)
        .get("/api/v1/workflows/{id}/run", runs::describe)
        .post("/api/v1/workflows/{id}/run", runs::run)
        .get("/api/v1/workflows/{id}/executions", history::of_workflow)
        .get("/api/v1/workflows/executions/{id}", runs::get)
        .get("/api/v1/workflows/executions/{id}/poll", runs::poll)
}

/// The vendor's newer routes, and Heddle's own.
fn own() -> Table {
    Table::default()
        .post("/api/v1/workflows/lint", workflows::lint)
        .get("/api/v1/workflows/executions", history::of_all)
        .get("/api/v1/workflows/executions/{id}/events", events::events)
        .get("/api/v1/workflows/executions/{id}/trace", trace::trace)
        .post("/api/v1/workflows/executions/{id}/cancel", runs::cancel)
        .get("/api/v1/nodes", nodes::list)
        .get("/api/v1/nodes/{type}", nodes::get)
        .get("/api/v1/agents", agents::list)
        .get("/api/v1/keys", keys::list)
        .post("/api/v1/keys", keys::create)
        .delete("/api/v1/keys/{id}", keys::revoke)
        .post("/api/v1/keys/{id}/rotate", keys::rotate)
        .get("/api/v1/tenants", tenants::list)
        .post("/api/v1/tenants", tenants::create)
        .get("/api/v1/tenants/{id}", tenants::get)
        .patch("/api/v1/tenants/{id}", tenants::update)
        .get("/api/v1/tenants/{id}/keys", tenants::keys)
        .post("/api/v1/tenants/{id}/keys", tenants::create_key)
}

/// What needs no key.
fn outside() -> Table {
    Table::default().get("/healthz", health::alive).get("/readyz", health::ready).get("/workflows/{id}", page::workflow)
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
