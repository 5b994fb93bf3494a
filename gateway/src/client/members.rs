//! Calls about who may join, and which agents get no more work.

use heddle_proto::control::{
    CreateJoinTokenRequest, DrainAgentRequest, DrainedAgent, JoinToken, JoinTokenList, ListJoinTokensRequest,
    MintedJoinToken, RevokeJoinTokenRequest,
};
use tonic::{Request, Response};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, Operate};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its subject and operator, which only the caller's key knows.
    pub(crate) async fn create_join_token(
        &self,
        caller: &Caller<Operate>,
        request: CreateJoinTokenRequest,
    ) -> Result<MintedJoinToken, ApiError> {
        let (subject, operator) = (caller.subject(), caller.tenant());
        let request = CreateJoinTokenRequest { subject, operator, ..request };
        let attempt = || {
            let (mut client, request) = (self.members.clone(), timed(request.clone()));
            async move { client.create_join_token(request).await }
        };
        // Twice would leave a token that nobody has.
        persist(Repeat::IfUnsent, attempt).await.map(Response::into_inner)
    }

    pub(crate) async fn join_tokens(&self, caller: &Caller<Operate>) -> Result<JoinTokenList, ApiError> {
        let attempt = || {
            let mut client = self.members.clone();
            let request = timed(ListJoinTokensRequest { operator: caller.tenant() });
            async move { client.list_join_tokens(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    pub(crate) async fn revoke_join_token(&self, caller: &Caller<Operate>, id: String) -> Result<JoinToken, ApiError> {
        let attempt = || {
            let request = RevokeJoinTokenRequest { id: id.clone(), operator: caller.tenant() };
            let (mut client, request) = (self.members.clone(), timed(request));
            async move { client.revoke_join_token(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    /// Drains an agent, or takes that back.
    pub(crate) async fn drain_agent(
        &self,
        caller: &Caller<Operate>,
        agent_id: String,
        resume: bool,
    ) -> Result<DrainedAgent, ApiError> {
        let (subject, operator) = (caller.subject(), caller.tenant());
        let request = DrainAgentRequest { agent_id, subject, resume, operator };
        let attempt = || {
            let (mut client, request) = (self.members.clone(), timed(request.clone()));
            async move { client.drain_agent(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIME_MAX);
    request
}
