//! Which path and method is whose.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodFilter, on};

use super::error::{ApiError, ErrorForm};
use super::{
    agents, alerts, artifacts, batches, docs, edits, events, explain, export, health, history, keys, media, nodes,
    operate, page, resume, reviews, run_nodes, runs, signals, stats, tenants, trace, versions, workflows,
};
use crate::app::App;
use crate::docs::openapi::Documented;
use crate::docs::operation::Operation;
use crate::docs::{
    operate as operating, resume as resumes, signal as told, stats as figures, stream as streaming, table,
};
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
    documented_routes().into_iter().map(|documented| documented.route).collect()
}

/// All routes with what is said of them.
pub(crate) fn documented_routes() -> Vec<Documented> {
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

/// Routes, and what is said of them: nothing is in one and not in the other.
struct Table {
    router: Router<Arc<App>>,
    routes: Vec<Documented>,
    /// How these routes say no.
    form: ErrorForm,
}

macro_rules! methods {
    ($($name:ident: $method:ident),*) => {
        $(fn $name<T: 'static>(
            self,
            path: &'static str,
            handler: impl Handler<T, Arc<App>>,
            operation: Operation,
        ) -> Self {
            let route = Route { method: stringify!($method), path };
            self.on(route, MethodFilter::$method, handler, operation)
        })*
    };
}

impl Table {
    fn of(form: ErrorForm) -> Self {
        Self { router: Router::new(), routes: Vec::new(), form }
    }

    methods! { get: GET, post: POST, put: PUT, patch: PATCH, delete: DELETE }

    fn on<T: 'static>(
        mut self,
        route: Route,
        filter: MethodFilter,
        handler: impl Handler<T, Arc<App>>,
        operation: Operation,
    ) -> Self {
        self.routes.push(Documented { route, operation, form: self.form });
        Self { router: self.router.route(route.path, on(filter, handler)), ..self }
    }
}

/// The oldest layer of the vendor's API, whose clients expect errors as one sentence.
fn documented() -> Table {
    Table::of(ErrorForm::Text)
        .get("/api/v1/workflows", workflows::list, table::list_workflows())
        .post("/api/v1/workflows", workflows::create, table::create_workflow())
        .get("/api/v1/workflows/{id}", workflows::get, table::get_workflow())
        .put("/api/v1/workflows/{id}", workflows::replace, table::replace_workflow())
        .delete("/api/v1/workflows/{id}", workflows::delete, table::delete_workflow())
        .post("/api/v1/workflows/{id}/execute", runs::execute, table::execute())
        .get("/api/v1/workflows/{id}/run", runs::describe, table::describe())
        .post("/api/v1/workflows/{id}/run", runs::run, table::run())
        .get("/api/v1/workflows/{id}/executions", history::of_workflow, table::runs_of_workflow())
        .get("/api/v1/workflows/executions/{id}", runs::get, table::get_run())
        .get("/api/v1/workflows/executions/{id}/poll", runs::poll, table::poll())
}

/// The vendor's newer routes, and Heddle's own.
fn own() -> Table {
    Table::of(ErrorForm::Object)
        .post("/api/v1/workflows/lint", workflows::lint, table::lint())
        .get("/api/v1/workflows/{id}/versions", versions::list, table::list_versions())
        .get("/api/v1/workflows/{id}/versions/{version}", versions::get, table::get_version())
        .post("/api/v1/workflows/{id}/versions/{version}/restore", versions::restore, table::restore_version())
        .get("/api/v1/workflows/{id}/diff", versions::compare, table::compare_versions())
        .patch("/api/v1/workflows/{id}/nodes/{nodeId}", edits::patch_node, table::patch_node())
        .post("/api/v1/workflows/{id}/duplicate", edits::duplicate, table::duplicate_workflow())
        .post("/api/v1/workflows/{id}/layout", edits::lay_out, table::lay_out())
        .get("/api/v1/workflows/executions", history::of_all, table::runs_of_all())
        .get("/api/v1/workflows/executions/{id}/events", events::events, streaming::events())
        .get("/api/v1/workflows/executions/{id}/trace", trace::trace, table::trace())
        .get("/api/v1/workflows/executions/{id}/nodes/{nodeId}", run_nodes::get, table::get_run_node())
        .post("/api/v1/workflows/executions/{id}/cancel", runs::cancel, table::cancel())
        .post("/api/v1/workflows/executions/{id}/resume", resume::resume, resumes::resume())
        .post("/api/v1/workflows/executions/{id}/rerun", resume::rerun, resumes::rerun())
        .get("/api/v1/workflows/executions/{id}/lineage", resume::lineage, resumes::lineage())
        .get("/api/v1/batches/{id}", batches::get, table::get_batch())
        .post("/api/v1/batches/{id}/cancel", batches::cancel, table::cancel_batch())
        .get("/api/v1/reviews", reviews::list, table::list_reviews())
        .get("/api/v1/reviews/{id}", reviews::get, table::get_review())
        .post("/api/v1/reviews/{id}/decision", reviews::decide, table::decide_review())
        .get("/api/v1/artifacts/{id}", artifacts::get, table::get_artifact())
        .get("/api/v1/media", media::list, table::list_media())
        .delete("/api/v1/media/{id}", media::delete, table::delete_media())
        .post("/api/v1/media/upload", media::upload, table::upload())
        .post("/api/v1/media/upload-url", media::upload_url, table::upload_url())
        .post("/api/v1/media/upload-url/complete", media::complete, table::complete_upload())
        .put("/api/v1/media/uploads/{id}", media::receive, table::receive_upload())
        .get("/api/v1/nodes", nodes::list, table::list_nodes())
        .get("/api/v1/nodes/{type}", nodes::get, table::get_node())
        .get("/api/v1/agents", agents::list, table::list_agents())
        .get("/api/v1/agents/tokens", agents::list_tokens, table::list_join_tokens())
        .post("/api/v1/agents/tokens", agents::create_token, table::create_join_token())
        .delete("/api/v1/agents/tokens/{id}", agents::revoke_token, table::revoke_join_token())
        .post("/api/v1/agents/{id}/drain", agents::drain, table::drain_agent())
        .post("/api/v1/agents/{id}/resume", agents::resume, table::resume_agent())
        .get("/api/v1/keys", keys::list, table::list_keys())
        .post("/api/v1/keys", keys::create, table::create_key())
        .delete("/api/v1/keys/{id}", keys::revoke, table::revoke_key())
        .post("/api/v1/keys/{id}/rotate", keys::rotate, table::rotate_key())
        .get("/api/v1/tenants", tenants::list, table::list_tenants())
        .post("/api/v1/tenants", tenants::create, table::create_tenant())
        .get("/api/v1/tenants/{id}", tenants::get, table::get_tenant())
        .patch("/api/v1/tenants/{id}", tenants::update, table::update_tenant())
        .get("/api/v1/tenants/{id}/keys", tenants::keys, table::list_tenant_keys())
        .post("/api/v1/tenants/{id}/keys", tenants::create_key, table::create_tenant_key())
        .post("/api/v1/workflows/executions/{id}/signals/{name}", signals::send, told::send_signal())
        .get("/api/v1/stats", stats::of_all, figures::of_all())
        .get("/api/v1/workflows/{id}/stats", stats::of_workflow, figures::of_workflow())
        .get("/api/v1/workflows/{id}/alerts", alerts::list, figures::list_alerts())
        .post("/api/v1/workflows/{id}/alerts", alerts::create, figures::create_alert())
        .get("/api/v1/workflows/{id}/alerts/{alertId}", alerts::get, figures::get_alert())
        .put("/api/v1/workflows/{id}/alerts/{alertId}", alerts::replace, figures::replace_alert())
        .delete("/api/v1/workflows/{id}/alerts/{alertId}", alerts::delete, figures::delete_alert())
        .get("/api/v1/alerts/incidents", alerts::incidents, figures::list_incidents())
        .get("/api/v1/workflows/executions/{id}/export", export::export, streaming::export())
        .get("/api/v1/workflows/executions/{id}/explain", explain::explain, table::explain())
        .post("/api/v1/workflows/executions/{id}/pause", operate::pause, operating::pause_run())
        .post("/api/v1/workflows/executions/{id}/unpause", operate::unpause, operating::unpause_run())
        .post("/api/v1/nodes/{type}/pause", operate::pause_type, operating::pause_type())
        .post("/api/v1/nodes/{type}/unpause", operate::unpause_type, operating::unpause_type())
        // Children.
        .get("/api/v1/workflows/executions/{id}/children", history::of_parent, table::children())
        .get("/api/v1/workflows/executions/{id}/nodes/{nodeId}/stream", events::of_node, streaming::node_stream())
}

/// What needs no key.
fn outside() -> Table {
    Table::of(ErrorForm::Object)
        .get("/healthz", health::alive, table::alive())
        .get("/readyz", health::ready, table::ready())
        .post("/api/v1/hooks/{token}", signals::call, told::call_hook())
        .put("/api/v1/hooks/{token}", signals::call, told::put_hook())
        .get("/api/download", artifacts::download, table::download())
        .get("/workflows/{id}", page::workflow, table::workflow_page())
        .get("/api/v1/openapi.json", docs::openapi, table::openapi())
        .get("/docs", docs::routes, table::docs())
        .get("/docs/errors", docs::errors, table::errors())
        .get("/llms.txt", docs::models, table::llms())
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
