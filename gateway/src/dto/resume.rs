//! Runs that go on from others, as clients see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::submit::Executed;
use super::time::Time;

/// The answer of resume and rerun: that of execute, about the child.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resumed<'a> {
    #[serde(flatten)]
    pub(crate) run: Executed<'a>,
    pub(crate) parent_execution_id: &'a str,
    /// The first run of the family.
    pub(crate) lineage_id: &'a str,
}

/// What a resume would do, and the token with which it does exactly that.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan<'a> {
    /// The parent.
    pub(crate) execution_id: &'a str,
    pub(crate) will_run: Vec<PlannedNode<'a>>,
    /// Runs if what runs before it gives something else than it did.
    pub(crate) may_run: Vec<PlannedNode<'a>>,
    pub(crate) reused: Vec<PlannedNode<'a>>,
    pub(crate) skipped: Vec<PlannedNode<'a>>,
    /// Nodes whose instances nobody can count before they open.
    pub(crate) unknown_count: u32,
    pub(crate) credits: Credits,
    pub(crate) plan_token: &'a str,
}

/// What a plan costs at least and at most.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Credits {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// One node of a plan, or one of its instances, or many that stand alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlannedNode<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) node_type: &'a str,
    pub(crate) label: &'a str,
    /// The numbers of the items and turns that it lies in, the outermost first; absent outside, and for many.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
    /// How many there are like this; absent for the one that is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instances: Option<u32>,
    /// `start`, `edited_input`, `failed`, `never_ran`, `outcome_unknown`, `index`, `failed_item`, `downstream`, `config_changed`,
    /// `input_changed`, `evaluated`, `rerun` (runs); `input_may_change`, `cache_may_answer`, `race_may_be_won` (may run); `same`, `edited` (reused);
    /// `not_in_part`, `branch_not_taken` (skipped).
    pub(crate) why: &'static str,
    /// The run that made what is reused; absent for an edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<&'a str>,
}

/// In what a plan that was agreed to is not the one of now; beside the error of a 409.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanChanges<'a> {
    /// Whether another run is gone on from, or its history has gone on.
    pub(crate) parent: bool,
    /// Whether the graph is another.
    pub(crate) graph: bool,
    /// Fields of the request that say something else than with the plan.
    pub(crate) options: Vec<&'a str>,
    /// Which edits are others.
    pub(crate) outputs: Vec<EditedPort<'a>>,
    /// Input nodes with other values.
    pub(crate) inputs: Vec<&'a str>,
    /// Nodes that stand elsewhere in the plan, the first 50.
    pub(crate) moved: Vec<PlanMove<'a>>,
    /// All of them.
    pub(crate) moved_total: u32,
}

/// A node, or instances of it, that stand elsewhere in a plan.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanMove<'a> {
    pub(crate) node_id: &'a str,
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
    /// How many; absent for the one that is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instances: Option<u32>,
    /// `willRun`, `mayRun`, `reused` or `skipped`; null if the plan did not have it.
    pub(crate) from: Option<&'a str>,
    /// The same; null if it is not there any more.
    pub(crate) to: Option<&'a str>,
    /// Why it stands there now.
    pub(crate) why: Option<&'static str>,
}

/// A family of runs: the first one, and those that go on from it or from each other.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lineage<'a> {
    /// The first run.
    pub(crate) lineage_id: &'a str,
    /// By their start.
    pub(crate) runs: Vec<LineageRun<'a>>,
    /// Ask for the next page with `?cursor=` this; null if this is the last.
    pub(crate) next_cursor: Option<&'a str>,
}

/// One run of a family.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LineageRun<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) parent_execution_id: Option<&'a str>,
    pub(crate) workflow_id: &'a str,
    pub(crate) status: &'static str,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    /// Whether it reuses nothing of its parent.
    pub(crate) rerun: bool,
    pub(crate) from_node_id: Option<&'a str>,
    pub(crate) to_node_id: Option<&'a str>,
    /// Who started it.
    pub(crate) subject: Option<&'a str>,
    /// Outputs that its author gave another value, at most 100.
    pub(crate) edits: Vec<EditedPort<'a>>,
}

/// One output of a node.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EditedPort<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) port: &'a str,
}
