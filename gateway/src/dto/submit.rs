//! What starting a run answers, and what a workflow can be started with.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::time::Time;

/// The answer of execute.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Executed<'a> {
    pub(crate) workflow_id: &'a str,
    pub(crate) batch_id: &'a str,
    /// The run; of a batch its first ones, at most 1,000. `GET /batches/{batchId}` shows all.
    pub(crate) execution_runs: Vec<StartedRun<'a>>,
    /// How many runs a batch has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs_total: Option<u32>,
    pub(crate) execution_id: &'a str,
    pub(crate) status: &'static str,
    /// Nodes whose results are reused though what they were made of has changed since.
    pub(crate) stale_dependencies: Vec<StaleDependency<'a>>,
}

/// A node whose result is reused, and what has changed since it was made.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StaleDependency<'a> {
    pub(crate) node_id: &'a str,
    /// Input ports; `config` and `nodeType` for the node itself.
    pub(crate) changed_keys: &'a [String],
}

/// A run at the moment of its start.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartedRun<'a> {
    pub(crate) id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) batch_id: &'a str,
    pub(crate) run_index_in_batch: u32,
    pub(crate) input_index: u32,
    pub(crate) status: &'static str,
    pub(crate) error: Option<()>,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    pub(crate) node_runs: [(); 0],
}

/// The answer of run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) batch_id: &'a str,
    pub(crate) status: &'static str,
    pub(crate) start_time: Time,
}

/// What a workflow takes, and how to call it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inputs<'a> {
    pub(crate) workflow_id: &'a str,
    pub(crate) workflow_name: &'a str,
    pub(crate) inputs: Vec<Input<'a>>,
    pub(crate) endpoint: String,
    pub(crate) method: &'static str,
    pub(crate) example: Example<'a>,
}

/// One input node.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) label: &'a str,
    pub(crate) r#type: &'a str,
    pub(crate) required: bool,
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) default: Option<&'a RawValue>,
    pub(crate) description: &'a str,
}

/// A body that would work, but for the places in angle brackets.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Example<'a> {
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub(crate) inputs: std::collections::BTreeMap<&'a str, Box<RawValue>>,
}
