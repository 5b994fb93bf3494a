//! Calls about who may join, and which agents get no more work.

use heddle_proto::control::{
    CreateJoinTokenRequest, DrainAgentRequest, DrainedAgent, JoinToken, JoinTokenList, ListJoinTokensRequest,
    MintedJoinToken, RevokeJoinTokenRequest,
};
use tonic::{Request, Response};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Administer, Caller};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its subject, which only the caller's key knows.
    pub(crate) async fn create_join_token(
        &self,
        caller: &Caller<Administer>,
        request: CreateJoinTokenRequest,
    ) -> Result<MintedJoinToken, ApiError> {
        let request = CreateJoinTokenRequest { subject: caller.subject(), ..request };
        let attempt = || {
            let (mut client, request) = (self.members.clone(), timed(request.clone()));
            async move { client.create_join_token(request).await }
        };
        // Twice would leave a token that nobody has.
        persist(Repeat::IfUnsent, attempt).await.map(Response::into_inner)
    }

    pub(crate) async fn join_tokens(&self, _: &Caller<Administer>) -> Result<JoinTokenList, ApiError> {
        let attempt = || {
            let mut client = self.members.clone();
            async move { client.list_join_tokens(timed(ListJoinTokensRequest {})).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    pub(crate) async fn revoke_join_token(&self, _: &Caller<Administer>, id: String) -> Result<JoinToken, ApiError> {
        let attempt = || {
            let (mut client, request) = (self.members.clone(), timed(RevokeJoinTokenRequest { id: id.clone() }));
            async move { client.revoke_join_token(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    /// Drains an agent, or takes that back.
    pub(crate) async fn drain_agent(
        &self,
        caller: &Caller<Administer>,
        agent_id: String,
        resume: bool,
    ) -> Result<DrainedAgent, ApiError> {
        let request = DrainAgentRequest { agent_id, subject: caller.subject(), resume };
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
