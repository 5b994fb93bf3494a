//! What a run waits for as clients see it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Time;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) status: &'a str,
    /// One sentence over all nodes.
    pub(crate) headline: &'a str,
    /// Nothing would wake it: a fault of Heddle.
    pub(crate) orphaned: bool,
    /// Its sentences are of this instant.
    pub(crate) at: Time,
    /// The youngest event that it reflects.
    pub(crate) seq: u64,
    /// How many nodes and instances wait for each kind of thing, those that `nodes` leaves out among them.
    pub(crate) kinds: BTreeMap<&'a str, u32>,
    /// Those that are not done, at most 200; of a run that failed the one that it failed with.
    pub(crate) nodes: Vec<ExplainedNode<'a>>,
    /// How it ended, if it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ending: Option<Ending<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedNode<'a> {
    pub(crate) node_id: &'a str,
    /// The numbers of the items and turns that it lies in, the outermost first; absent outside of maps and loops.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
    pub(crate) state: &'a str,
    /// Absent if it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for: Option<WaitsFor<'a>>,
    /// The same as one sentence.
    pub(crate) sentence: &'a str,
    /// Absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Time>,
    /// So many further items or turns of the node wait for the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) more: Option<u32>,
}

/// What a node waits for; each kind has its own fields.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitsFor<'a> {
    pub(crate) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_at: Option<Time>,
    /// Nodes before it that are not done, the first of them.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) node_ids: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes_more: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) away_since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) need: Option<AgentNeed<'a>>,
    /// What to decide: `GET /reviews/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) review_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) assignees: &'a [String],
    /// Tries that failed, of `attemptsMax`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts_max: Option<u32>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Reason<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) items_open: Option<u32>,
    /// The name of the signal that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<&'a str>,
    /// The run that it has invoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) child_execution_id: Option<&'a str>,
    /// That run was set aside because it cannot be read: its end never comes. Present only if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) child_unreadable: Option<bool>,
    /// Its type is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<PausedType<'a>>,
}

/// A type of nodes that somebody has paused.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PausedType<'a> {
    pub(crate) node_type: &'a str,
    pub(crate) by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reason<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}

/// What an attempt needs of an agent, and how that stands.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentNeed<'a> {
    pub(crate) node_type: &'a str,
    /// Or newer.
    pub(crate) version: u32,
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    /// Agents that are connected.
    pub(crate) agents: u32,
    /// Those of them that could run it.
    pub(crate) fit: u32,
    /// What those run at once.
    pub(crate) slots: u32,
    pub(crate) busy: u32,
    /// Nodes that wait for the same agents, this one among them.
    pub(crate) waiting: u32,
    /// Agents that do not fit, those that lack the least first.
    pub(crate) unfit: Vec<UnfitAgent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<ConcurrencyPlace<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnfitAgent<'a> {
    pub(crate) agent_id: &'a str,
    /// `type`, `version`, `label` or `drained`.
    pub(crate) lacks: &'a str,
    /// The version that it has, or the label that it does not carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConcurrencyPlace<'a> {
    pub(crate) key: &'a str,
    pub(crate) limit: u32,
    pub(crate) taken: u32,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ending<'a> {
    pub(crate) code: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
    pub(crate) node_id: Option<&'a str>,
    pub(crate) class: Option<&'a str>,
    pub(crate) attempts: u32,
    /// What to do about it.
    pub(crate) next: Option<&'a str>,
    /// Who has cancelled the run, if somebody has; the message is why.
    pub(crate) by: Option<&'a str>,
}
