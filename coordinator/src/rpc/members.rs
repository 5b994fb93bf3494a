//! The service of join tokens and drains.

use std::sync::Arc;

use heddle_core::id::{AgentId, JoinTokenId};
use heddle_core::time::{Span, Timestamp};
use heddle_proto::control::members_server::Members;
use heddle_proto::control::{self as wire};
use heddle_trust::Role;
use tonic::{Request, Response, Status};

use super::enrol::Desk;
use super::failure;
use crate::auth;
use crate::limits::{JOIN_TOKEN_TTL, JOIN_TOKEN_TTL_MAX, JOIN_TOKENS_MAX};
use crate::members::{DrainRow, JoinTokenRow};
use crate::orders::{self, Order};
use crate::shared::Shared;

/// The service of join tokens and drains.
pub(crate) struct MembersService {
    pub(crate) shared: Arc<Shared>,
    /// Without one the coordinator speaks plaintext, and nobody needs a token.
    pub(crate) desk: Option<Desk>,
}

#[tonic::async_trait]
impl Members for MembersService {
    async fn create_join_token(
        &self,
        request: Request<wire::CreateJoinTokenRequest>,
    ) -> Result<Response<wire::MintedJoinToken>, Status> {
        let request = request.into_inner();
        auth::operator(&request)?;
        failure::if_stalled(&self.shared)?;
        let message =
            "this coordinator speaks plaintext, and whoever reaches it may join without a token: start it with --tls";
        let desk = self.desk.as_ref().ok_or_else(|| failure::plain(409, "no_certificates", message))?;
        let role = request.role.parse().ok().filter(|role| matches!(role, Role::Agent | Role::Gateway));
        let role = role.ok_or_else(|| invalid("for: expected agent or gateway".to_owned()))?;
        let ttl = if request.ttl_ms == 0 { JOIN_TOKEN_TTL } else { Span::from_millis(request.ttl_ms) };
        if ttl > JOIN_TOKEN_TTL_MAX {
            let days = JOIN_TOKEN_TTL_MAX.as_millis() / 86_400_000;
            return Err(invalid(format!("ttlSeconds: a token lives for at most {days} days")));
        }
        let now = self.shared.clock.now();
        let known = self.all().await?;
        if known.iter().filter(|row| is_usable(row, now)).count() >= JOIN_TOKENS_MAX {
            let message =
                format!("at most {JOIN_TOKENS_MAX} tokens may wait to be used; revoke those that nobody needs");
            return Err(failure::plain(409, "too_many_tokens", message));
        }
        let made = desk.tokens.create(role, request.subject.as_str().into(), ttl, now).await;
        let (text, row) = made.map_err(|error| failure::journal(&error))?;
        Ok(Response::new(wire::MintedJoinToken { text, token: Some(to_wire(&row)) }))
    }

    async fn list_join_tokens(
        &self,
        request: Request<wire::ListJoinTokensRequest>,
    ) -> Result<Response<wire::JoinTokenList>, Status> {
        auth::operator(request.get_ref())?;
        let rows = self.all().await?;
        Ok(Response::new(wire::JoinTokenList { tokens: rows.iter().map(to_wire).collect() }))
    }

    async fn revoke_join_token(
        &self,
        request: Request<wire::RevokeJoinTokenRequest>,
    ) -> Result<Response<wire::JoinToken>, Status> {
        auth::operator(request.get_ref())?;
        failure::if_stalled(&self.shared)?;
        let not_found = || failure::plain(404, "token_not_found", "Join token not found");
        let id: JoinTokenId = request.into_inner().id.parse().map_err(|_| not_found())?;
        let revoked = self.shared.members.revoke_join_token(id, self.shared.clock.now()).await;
        let row = revoked.map_err(|error| failure::journal(&error))?.ok_or_else(not_found)?;
        if let Some(used) = &row.used {
            let message = format!("{} has joined with this token already; its certificate ends by itself", used.by);
            return Err(failure::plain(409, "token_used", message));
        }
        Ok(Response::new(to_wire(&row)))
    }

    async fn drain_agent(
        &self,
        request: Request<wire::DrainAgentRequest>,
    ) -> Result<Response<wire::DrainedAgent>, Status> {
        auth::operator(request.get_ref())?;
        failure::if_stalled(&self.shared)?;
        let wire::DrainAgentRequest { agent_id, subject, resume, .. } = request.into_inner();
        let agent = AgentId::from(agent_id.as_str());
        let is_here = self.shared.sessions.is_here(&agent);
        if !is_here && !self.shared.is_draining(&agent) {
            let message = "no such agent is connected; GET /api/v1/agents lists those that are";
            return Err(failure::plain(404, "agent_not_found", message));
        }
        if resume {
            failure::taken(orders::take(&self.shared, Order::Resume(agent.clone())).await)?;
        } else {
            let row =
                DrainRow { agent: agent.clone(), since: self.shared.clock.now(), subject: subject.as_str().into() };
            failure::taken(orders::take(&self.shared, Order::Drain(row)).await)?;
        }
        let state = if is_here { self.shared.agent_state(&agent) } else { "gone" };
        let busy = self.shared.permits().busy(&agent);
        Ok(Response::new(wire::DrainedAgent { id: agent_id, state: state.into(), busy }))
    }
}

impl MembersService {
    async fn all(&self) -> Result<Vec<JoinTokenRow>, Status> {
        self.shared.members.join_tokens().await.map_err(|error| failure::journal(&error))
    }
}

fn is_usable(row: &JoinTokenRow, now: Timestamp) -> bool {
    row.used.is_none() && row.revoked_at.is_none() && row.expires_at > now
}

fn invalid(message: String) -> Status {
    failure::plain(400, "invalid_token_request", message)
}

fn to_wire(row: &JoinTokenRow) -> wire::JoinToken {
    wire::JoinToken {
        id: row.id.to_string(),
        role: row.role.to_string(),
        subject: row.subject.to_string(),
        created_at_ms: row.created_at.as_millis(),
        expires_at_ms: row.expires_at.as_millis(),
        used_at_ms: row.used.as_ref().map(|used| used.at.as_millis()),
        used_by: row.used.as_ref().map_or_else(String::new, |used| used.by.to_string()),
        revoked_at_ms: row.revoked_at.map(Timestamp::as_millis),
    }
}
