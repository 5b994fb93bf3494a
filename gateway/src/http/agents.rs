//! Node-agents.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::{Caller, Operate};
use super::error::ApiError;
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::agent::Agent;

/// `GET /agents`: a bare array of all agents that the coordinator knows.
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller<Operate>) -> Result<Response, ApiError> {
    let list = app.coordinator.agents(&caller).await?;
    let agents: Vec<Agent<'_>> = list.agents.iter().map(convert::agent::agent).collect();
    reply::bare(StatusCode::OK, &agents)
}
