//! How a run's time went.

use serde::Serialize;

use super::time::Time;

/// A run, its nodes and their attempts, on one clock.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) status: &'static str,
    /// 32 hexadecimal digits: the caller's, if the run was started with a `traceparent`.
    pub(crate) trace_id: String,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    pub(crate) seq: u64,
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) nodes_total: u32,
}

/// A node: from the time its last input was settled.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) node_type: &'a str,
    pub(crate) label: &'a str,
    pub(crate) status: &'static str,
    pub(crate) state: &'static str,
    pub(crate) ready_at: Option<Time>,
    pub(crate) end_time: Option<Time>,
    pub(crate) attempts: Vec<Attempt<'a>>,
}

/// One try: assigned, begun, ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt<'a> {
    pub(crate) number: u32,
    pub(crate) agent: &'a str,
    pub(crate) assigned_at: Time,
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `LOST`, `HANDED_BACK` or `STOPPED`.
    pub(crate) outcome: &'static str,
    pub(crate) error_code: Option<&'a str>,
    /// From the assignment to its beginning on the agent, the way there included.
    pub(crate) queued_ms: Option<i64>,
    /// From its beginning to its end.
    pub(crate) worked_ms: Option<i64>,
}
