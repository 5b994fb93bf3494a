//! Node-agents, and the tokens with which they and gateways join.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::CreateJoinTokenRequest;

use super::auth::{Caller, Operate};
use super::error::ApiError;
use super::input::{JsonBody, Segment};
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::agent::{Agent, JoinToken};
use crate::limits::CONTROL_BODY_BYTES_MAX;

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// `GET /agents`: a bare array of all agents that the coordinator knows.
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller<Operate>) -> Result<Response, ApiError> {
    let list = app.coordinator.agents(&caller).await?;
    let agents: Vec<Agent<'_>> = list.agents.iter().map(convert::agent::agent).collect();
    reply::bare(StatusCode::OK, &agents)
}

/// `POST /agents/{id}/drain`: the agent gets nothing new, gives back what it has not started, and finishes the rest. It holds
/// until somebody resumes the agent, over restarts of both ends.
pub(crate) async fn drain(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let drained = app.coordinator.drain_agent(&caller, id, false).await?;
    reply::bare(StatusCode::OK, &convert::agent::drained(&drained))
}

/// `POST /agents/{id}/resume`: takes a drain back.
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let resumed = app.coordinator.drain_agent(&caller, id, true).await?;
    reply::bare(StatusCode::OK, &convert::agent::drained(&resumed))
}

/// `POST /agents/tokens`: a new join token, for an agent or a gateway; its text is in this answer only.
pub(crate) async fn create_token(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["for", "ttlSeconds"])?;
    let ttl_seconds = fields.count("ttlSeconds")?;
    if ttl_seconds == Some(0) {
        return Err(ApiError::invalid_field("ttlSeconds", "a number of seconds, 1 or more"));
    }
    let request = CreateJoinTokenRequest {
        role: fields.text("for")?.unwrap_or_else(|| "agent".to_owned()),
        ttl_ms: ttl_seconds.map_or(0, |seconds| seconds.saturating_mul(1_000)),
        ..CreateJoinTokenRequest::default()
    };
    let minted = app.coordinator.create_join_token(&caller, request).await?;
    let token = minted.token.as_ref().ok_or_else(|| convert::unreadable("row of a new join token"))?;
    let response = reply::bare(StatusCode::CREATED, &convert::agent::token(token, Some(&minted.text)))?;
    Ok(reply::never_stored(response))
}

/// `GET /agents/tokens`: a bare array of the tokens, the youngest first, without their texts.
pub(crate) async fn list_tokens(State(app): State<Arc<App>>, caller: Caller<Operate>) -> Result<Response, ApiError> {
    let list = app.coordinator.join_tokens(&caller).await?;
    let tokens: Vec<JoinToken<'_>> = list.tokens.iter().map(|token| convert::agent::token(token, None)).collect();
    reply::bare(StatusCode::OK, &tokens)
}

/// `DELETE /agents/tokens/{id}`: nobody can join with it any more.
pub(crate) async fn revoke_token(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let token = app.coordinator.revoke_join_token(&caller, id).await?;
    reply::bare(StatusCode::OK, &convert::agent::token(&token, None))
}
