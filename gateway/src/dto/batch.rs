//! Batches of runs as clients see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::run::{FinalOutput, RunHead};
use super::time::Time;

/// A batch of runs: the answer of `GET /batches/{batchId}`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Batch<'a> {
    pub(crate) id: &'a str,
    pub(crate) batch_id: &'a str,
    pub(crate) workflow_id: &'a str,
    /// RUNNING until all runs are over; then CANCELLED if it was, COMPLETED if all its runs are, and FAILED else.
    pub(crate) status: &'static str,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    /// How many runs it has.
    pub(crate) runs_total: u32,
    pub(crate) counts: BatchCounts,
    pub(crate) cancel_requested: bool,
    /// A page of its runs, by index.
    pub(crate) execution_runs: Vec<BatchRun<'a>>,
    /// The `offset` of the next page; null if this is the last.
    pub(crate) next_offset: Option<u32>,
}

/// How many runs of a batch stand how.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BatchCounts {
    /// Not started: they wait until others are over.
    pub(crate) pending: u32,
    pub(crate) running: u32,
    pub(crate) completed: u32,
    pub(crate) failed: u32,
    pub(crate) cancelled: u32,
}

/// A run of a batch, with what it gave.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchRun<'a> {
    #[serde(flatten)]
    pub(crate) head: RunHead<'a>,
    pub(crate) final_output: Option<FinalOutput<'a>>,
}
