//! A run's trace as clients see it.

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Time;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) parent_span_id: Option<String>,
    pub(crate) sampled: bool,
    pub(crate) status: &'a str,
    pub(crate) error_code: Option<&'a str>,
    pub(crate) start_time: Time,
    pub(crate) end_time: Option<Time>,
    pub(crate) nodes_total: u32,
    pub(crate) nodes: Vec<NodeSpan<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeSpan<'a> {
    pub(crate) node_id: &'a str,
    /// The numbers of the items and turns that it lies in, the outermost first; absent outside of maps and loops.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
    pub(crate) node_type: &'a str,
    pub(crate) span_id: String,
    pub(crate) state: &'a str,
    pub(crate) error_code: Option<&'a str>,
    /// When the last of its inputs came.
    pub(crate) ready_time: Time,
    /// When it began to wait for an instant. Without it, without `openedTime` and without attempts it was decided at once.
    pub(crate) wait_start_time: Option<Time>,
    /// Of a map, a loop and their like: when its first items began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opened_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
    /// The run that it has invoked: that one's span lies in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) child_execution_id: Option<&'a str>,
    pub(crate) attempts: Vec<AttemptSpan<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptSpan<'a> {
    pub(crate) number: u32,
    pub(crate) span_id: String,
    pub(crate) agent_id: &'a str,
    /// The type of the fallback that was asked; absent: the node's own type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<&'a str>,
    pub(crate) outcome: &'a str,
    pub(crate) error_code: Option<&'a str>,
    /// When it was given to its agent.
    pub(crate) assigned_time: Time,
    /// When its work began; known once it has ended.
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
}

/// The same spans as OTLP/JSON, which the coordinator writes.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) struct OtlpTrace {
    resource_spans: Vec<serde_json::Map<String, serde_json::Value>>,
}
