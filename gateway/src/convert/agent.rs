//! Agents.

use heddle_proto::control;

use crate::dto;
use crate::dto::time::Time;

pub(crate) fn agent(agent: &control::Agent) -> dto::agent::Agent<'_> {
    dto::agent::Agent {
        id: &agent.id,
        state: &agent.state,
        version: &agent.version,
        hostname: &agent.hostname,
        labels: agent.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        slots: agent.slots,
        busy: agent.busy,
        connected_at: Time(agent.connected_at_ms),
        node_types: &agent.node_types,
    }
}

pub(crate) fn drained(agent: &control::DrainedAgent) -> dto::agent::DrainedAgent<'_> {
    let control::DrainedAgent { id, state, busy } = agent;
    dto::agent::DrainedAgent { id, state, busy: *busy }
}

/// A join token, with its text if it was just made.
pub(crate) fn token<'a>(token: &'a control::JoinToken, text: Option<&'a str>) -> dto::agent::JoinToken<'a> {
    dto::agent::JoinToken {
        id: &token.id,
        token: text,
        r#for: &token.role,
        subject: &token.subject,
        created_at: Time(token.created_at_ms),
        expires_at: Time(token.expires_at_ms),
        used_at: token.used_at_ms.map(Time),
        used_by: Some(token.used_by.as_str()).filter(|member| !member.is_empty()),
        revoked_at: token.revoked_at_ms.map(Time),
    }
}
