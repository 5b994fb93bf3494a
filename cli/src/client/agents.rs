//! Agents, and the tokens with which they join.

use reqwest::Method;
use serde_json::Value;

use super::types::{JoinToken, NewJoinToken};
use super::{Client, segment};
use crate::error::Result;

impl Client {
    /// The agents that are connected, as the server says them.
    pub async fn agents(&self) -> Result<Vec<Value>> {
        self.json(self.request(Method::GET, "/agents")).await
    }

    /// Gives an agent no more work, or work again.
    pub async fn drain_agent(&self, id: &str, resume: bool) -> Result<Value> {
        let verb = if resume { "resume" } else { "drain" };
        self.json(self.request(Method::POST, &format!("/agents/{}/{verb}", segment(id)?))).await
    }

    /// Makes a join token. Its text is in this answer and nowhere else.
    pub async fn create_join_token(&self, token: &NewJoinToken<'_>) -> Result<JoinToken> {
        self.json(self.request(Method::POST, "/agents/tokens").json(token)).await
    }

    /// The join tokens, the youngest first.
    pub async fn join_tokens(&self) -> Result<Vec<JoinToken>> {
        self.json(self.request(Method::GET, "/agents/tokens")).await
    }

    /// Ends a token that nobody has used.
    pub async fn revoke_join_token(&self, id: &str) -> Result<JoinToken> {
        self.json(self.request(Method::DELETE, &format!("/agents/tokens/{}", segment(id)?))).await
    }
}
