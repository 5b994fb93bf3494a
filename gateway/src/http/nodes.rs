//! The node catalogue.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::{Caller, ReadWorkflows};
use super::error::ApiError;
use super::input::Segment;
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::node_type::Catalogue;

/// `GET /nodes`: every type, under `nodes` at top level only, where clients look for it.
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller<ReadWorkflows>) -> Result<Response, ApiError> {
    let list = app.coordinator.node_types(&caller, None).await?;
    let nodes = list.types.iter().map(convert::node_type::node_type).collect::<Result<Vec<_>, _>>()?;
    reply::bare(StatusCode::OK, &Catalogue { nodes })
}

/// `GET /nodes/{type}`: one type.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let list = app.coordinator.node_types(&caller, Some(id.clone())).await?;
    // An older coordinator gives all types, whichever is asked for.
    for entry in &list.types {
        let node_type = convert::node_type::node_type(entry)?;
        if node_type.node_type == id {
            return reply::enveloped(StatusCode::OK, &node_type);
        }
    }
    let message = "there is no node type of this name; GET /api/v1/nodes lists them all";
    Err(ApiError::new(StatusCode::NOT_FOUND, "node_type_not_found", message))
}
