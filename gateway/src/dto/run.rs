//! Runs (*executions*) as clients see them.

use std::borrow::Cow;
use std::num::NonZeroU32;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::diagnosis::Diagnostics;
use super::time::Time;

/// What every answer says of a run that it shows.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunHead<'a> {
    pub(crate) id: &'a str,
    pub(crate) execution_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) batch_id: &'a str,
    pub(crate) run_index_in_batch: u32,
    pub(crate) input_index: u32,
    pub(crate) status: &'static str,
    pub(crate) error: Option<RunError<'a>>,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    /// The run that it goes on from; absent if there is none, and in lists of a batch's runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_execution_id: Option<&'a str>,
    /// The first run of its family, itself if it goes on from none; absent in lists of a batch's runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lineage_id: Option<&'a str>,
    /// The node that has invoked it; absent if no run has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoked_by: Option<InvokedBy<'a>>,
}

/// Which node of which run has invoked a run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvokedBy<'a> {
    pub(crate) execution_id: &'a str,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_id: Option<&'a str>,
    /// The numbers of the items and turns that it lies in, the outermost first; absent outside of maps and loops.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
}

/// A run: the answer of `GET /workflows/executions/{id}` and an item of histories.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run<'a> {
    #[serde(flatten)]
    pub(crate) head: RunHead<'a>,
    /// The version of the workflow whose graph it runs; null if the graph came with the request.
    pub(crate) workflow_version: Option<u64>,
    pub(crate) node_runs: Vec<NodeRun<'a>>,
    pub(crate) nodes_total: u32,
    pub(crate) target_node_id: Option<&'a str>,
    pub(crate) final_output: Option<FinalOutput<'a>>,
    /// Nodes on branches that were not taken.
    pub(crate) skipped_nodes: Vec<&'a str>,
    pub(crate) waiting_on: Vec<WaitingOn<'a>>,
    pub(crate) progress: f64,
    pub(crate) cancel_requested: bool,
    /// Absent if it is not paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<Paused<'a>>,
    /// Absent if nobody has cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<Cancelled<'a>>,
    /// Jobs that it has begun at providers, and that are still to be cancelled there: until then they may cost something. Absent
    /// if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jobs_to_cancel: Option<u32>,
    /// The youngest event that this answer reflects.
    pub(crate) seq: u64,
}

/// That something stands still on purpose.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Paused<'a> {
    pub(crate) since: Time,
    pub(crate) by: &'a str,
    pub(crate) reason: Option<&'a str>,
}

/// Who has cancelled a run, and why.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cancelled<'a> {
    pub(crate) by: &'a str,
    pub(crate) reason: Option<&'a str>,
}

/// A run in short: the answer of poll.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Poll<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) batch_id: &'a str,
    pub(crate) run_index_in_batch: u32,
    pub(crate) input_index: u32,
    pub(crate) status: &'static str,
    pub(crate) error: Option<RunError<'a>>,
    pub(crate) node_results: NodeResults<'a>,
    pub(crate) node_states: Vec<NodeState<'a>>,
    pub(crate) nodes_total: u32,
    pub(crate) final_output: Option<FinalOutput<'a>>,
    /// Nodes on branches that were not taken.
    pub(crate) skipped_nodes: Vec<&'a str>,
    pub(crate) diagnostics: Diagnostics<'a>,
    pub(crate) waiting_on: Vec<WaitingOn<'a>>,
    pub(crate) progress: f64,
    /// Costs are not recorded yet.
    pub(crate) cost: Option<()>,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    pub(crate) cancel_requested: bool,
    /// Absent if it is not paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<Paused<'a>>,
    /// Absent if nobody has cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<Cancelled<'a>>,
    /// Jobs that it has begun at providers, and that are still to be cancelled there: until then they may cost something. Absent
    /// if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jobs_to_cancel: Option<u32>,
    pub(crate) seq: u64,
    /// The run that it goes on from; absent if there is none, and in lists of a batch's runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_execution_id: Option<&'a str>,
    /// The first run of its family, itself if it goes on from none; absent in lists of a batch's runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lineage_id: Option<&'a str>,
    /// The node that has invoked it; absent if no run has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoked_by: Option<InvokedBy<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeResults<'a> {
    pub(crate) node_runs: Vec<NodeRun<'a>>,
}

/// A node of a run, with its outputs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeRun<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) node_type: &'a str,
    pub(crate) label: &'a str,
    /// In the words of the documented API.
    pub(crate) status: &'static str,
    /// In Heddle's own.
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cached: bool,
    /// Where the output of a cached node comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cached_from: Option<CachedFrom<'a>>,
    /// Whether servers were not asked, but the sandbox provider.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sandbox: bool,
    pub(crate) output: Option<Outputs<'a>>,
    pub(crate) error: Option<RunError<'a>>,
    pub(crate) attempts: u32,
    /// The type of the fallback that does the node's work or gave its result; absent: the node's own type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    pub(crate) queued_at: Option<Time>,
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    /// Of a map or a loop, and of nodes inside one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Items>,
    /// The run that it has invoked; of a node inside a map or a loop that of one of its instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) child_execution_id: Option<&'a str>,
}

/// Where an output comes from that the run itself has not made.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CachedFrom<'a> {
    /// `run`: another run made it. `edit`: somebody changed what the parent gave. `request`: it came with the graph.
    pub(crate) source: &'a str,
    /// The run that made it; of an edit the parent.
    pub(crate) execution_id: Option<&'a str>,
    /// Of an edit: who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edited_by: Option<&'a str>,
}

/// How the items of a map or the turns of a loop stand; of a node inside one, how it stands in them.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Items {
    /// How many there will have been; null where nobody knows: of loops, and inside other maps and loops.
    pub(crate) total: Option<u32>,
    pub(crate) completed: u32,
    /// Failed for good, by themselves.
    pub(crate) failed: u32,
    /// Did not run, or not to their end.
    pub(crate) skipped: u32,
    /// At work now.
    pub(crate) running: u32,
    /// Of the completed ones, those that another run has made; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cached: Option<NonZeroU32>,
}

/// A node of a run, with its outputs in a form that does not depend on the node's type.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeState<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) label: &'a str,
    pub(crate) status: &'static str,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cached: bool,
    pub(crate) error: Option<RunError<'a>>,
    pub(crate) output_url: Option<Cow<'a, str>>,
    pub(crate) output_urls: Vec<Cow<'a, str>>,
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) progress: f64,
    /// The provider's own id of the request; not reported yet.
    pub(crate) request_id: Option<&'a str>,
    /// Of a map or a loop, and of nodes inside one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Items>,
}

/// What the run was for: the output of one node, which `crate::convert::run` picks.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FinalOutput<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) url: Option<Cow<'a, str>>,
    pub(crate) urls: Vec<Cow<'a, str>>,
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) output: Outputs<'a>,
}

/// Values by output port, as the text they were made as.
#[derive(Debug, Clone)]
pub(crate) struct Outputs<'a>(pub(crate) Vec<(&'a str, &'a RawValue)>);

impl Serialize for Outputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl JsonSchema for Outputs<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Outputs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "description": "Values by output port."})
    }
}

/// Why a run or a node failed.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunError<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) node_id: Option<&'a str>,
    pub(crate) class: Option<&'a str>,
    pub(crate) attempts: u32,
}

/// What a run that goes on is waiting for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingOn<'a> {
    pub(crate) kind: &'a str,
    pub(crate) node_id: &'a str,
    /// The numbers of the items and turns that it lies in, the outermost first; absent outside of maps and loops.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
    pub(crate) since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) need: Option<&'a str>,
    /// What to decide: `GET /reviews/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) review_id: Option<&'a str>,
    /// The name of the signal to send: `POST /workflows/executions/{id}/signals/{name}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<&'a str>,
    /// The hook's address, which is good for one call; absent for keys that may not execute workflows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<&'a str>,
    /// The run that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) child_execution_id: Option<&'a str>,
    /// So many further items or turns of the node wait for the like, and are not named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) more: Option<u32>,
}

/// What is known of a run that was removed because its time was over: `removed` of a refusal `run_expired`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemovedRun<'a> {
    pub(crate) id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) status: &'static str,
    pub(crate) started_at: Time,
    pub(crate) ended_at: Time,
    /// How many events its history had.
    pub(crate) events: u64,
    /// A SHA-256 over the last row of its history: an export of it says the same.
    pub(crate) head_hash: &'a str,
    pub(crate) removed_at: Time,
}
