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
