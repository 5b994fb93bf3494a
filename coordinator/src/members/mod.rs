//! Rows about who may join, and which agents get no more work. Whichever coordinator is asked writes them, each in one
//! guarded statement.

pub(crate) mod memory;
mod postgres;
mod sqlite;

use std::sync::Arc;

use heddle_core::id::{AgentId, JoinTokenId, Subject};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;
use heddle_trust::Role;

use crate::journal::{Answer, JournalError};

/// Tokens in one list.
pub const JOIN_TOKENS_LISTED_MAX: usize = 1_000;

/// What keeps rows about members.
pub trait Members: Send + Sync + 'static {
    /// Keeps a new token.
    fn put_join_token(&self, mac: Digest, row: JoinTokenRow) -> Answer<()>;

    /// The youngest [`JOIN_TOKENS_LISTED_MAX`] tokens, the youngest first; used, expired and revoked ones, too.
    fn join_tokens(&self) -> Answer<Vec<JoinTokenRow>>;

    /// The token whose MAC this is.
    fn join_token(&self, mac: Digest) -> Answer<Option<JoinTokenRow>>;

    /// Uses a token up, and gives its row as it is now; nothing if this member may not use it. Of two who try, one gets it;
    /// and whoever got it may ask again with the same key for a while.
    fn redeem_join_token(&self, redeem: Redeem) -> Answer<Option<JoinTokenRow>>;

    /// Ends a token that nobody has used; gives the row as it is now, if there is such a token.
    fn revoke_join_token(&self, id: JoinTokenId, at: Timestamp) -> Answer<Option<JoinTokenRow>>;

    /// Whether any member of this role has ever joined.
    fn has_joined(&self, role: Role) -> Answer<bool>;

    /// From now on an agent gets no more work. A second time changes nothing.
    fn put_drain(&self, drain: DrainRow) -> Answer<()>;

    /// Takes that back. `false` = there was nothing to take back.
    fn remove_drain(&self, agent: AgentId) -> Answer<bool>;

    /// All agents that get no more work, by id.
    fn drains(&self) -> Answer<Vec<DrainRow>>;

    /// From now on no node of a type begins; gives the row as it is now. Of a type that is paused already a newer reason
    /// stands, with who gave it; `since` stays, and without a reason nothing changes.
    fn put_node_pause(&self, pause: NodePauseRow) -> Answer<NodePauseRow>;

    /// Takes that back. `false` = there was nothing to take back.
    fn remove_node_pause(&self, node_type: Arc<str>) -> Answer<bool>;

    /// All types of which no node begins, by id.
    fn node_pauses(&self) -> Answer<Vec<NodePauseRow>>;
}

/// A join token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTokenRow {
    /// Its public name.
    pub id: JoinTokenId,
    /// What its holder becomes: an agent or a gateway.
    pub role: Role,
    /// Who has made it.
    pub subject: Subject,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Who has used it.
    pub used: Option<Use>,
    /// Since when it cannot be used any more.
    pub revoked_at: Option<Timestamp>,
}

/// How a token was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Arc<str>,
    /// The fingerprint of the member's public key.
    pub key: Digest,
}

/// A wish to use a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeem {
    /// Of which token.
    pub mac: Digest,
    /// What the member does; the token must be for that.
    pub role: Role,
    /// Which member. If it has joined before, it must have the same key still.
    pub member: Arc<str>,
    /// The fingerprint of its public key.
    pub key: Digest,
    /// Database time, as the caller knows it.
    pub now: Timestamp,
    /// For how long the same member with the same key may ask again.
    pub again: Span,
}

/// An agent that gets no more work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainRow {
    /// Which agent.
    pub agent: AgentId,
    /// Since when.
    pub since: Timestamp,
    /// Who wanted it.
    pub subject: Subject,
}

/// A type of which no node begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePauseRow {
    /// Which type.
    pub node_type: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Who wanted it.
    pub subject: Subject,
    /// Why, for people.
    pub reason: Option<Arc<str>>,
}

/// As rows say it.
fn role_to_row(role: Role) -> i64 {
    match role {
        Role::Agent => 1,
        Role::Gateway => 2,
        Role::Coordinator => 3,
    }
}

fn role_from_row(role: i64) -> Result<Role, JournalError> {
    match role {
        1 => Ok(Role::Agent),
        2 => Ok(Role::Gateway),
        _ => Err(JournalError::Row { table: "join_token", what: "its role" }),
    }
}

/// A use that is whole.
fn used(at: Option<i64>, by: Option<String>, key: Option<[u8; 32]>) -> Option<Use> {
    Some(Use { at: Timestamp::from_millis(at?), by: by?.into(), key: Digest(key?) })
}
