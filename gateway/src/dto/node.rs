//! One node of a run as clients see it.

use schemars::JsonSchema;
use serde::Serialize;

use super::run::{CachedFrom, NodeRun, Outputs, RunError};
use super::time::Time;

/// A node of a run, one instance of it, or one item of a map or turn of a loop.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeDetail<'a> {
    pub(crate) execution_id: &'a str,
    /// `node`: over all its instances. `instance`: the only one, or the one at `index`. `item`: an item of this map, or a
    /// turn of this loop.
    pub(crate) kind: &'static str,
    /// As it was asked for.
    pub(crate) index: &'a [u32],
    #[serde(flatten)]
    pub(crate) node: NodeRun<'a>,
    /// What came in, by port, of one instance. Of an item what it is.
    pub(crate) inputs: Option<Outputs<'a>>,
    /// The attempts of one instance, in order.
    pub(crate) attempt_runs: Vec<AttemptRun<'a>>,
    /// A page: the items of a map or the turns of a loop; else the instances of a node inside one.
    pub(crate) instances: Vec<NodeInstance<'a>>,
    /// Ask for the next page with `?cursor=` this; null if this is the last.
    pub(crate) next_cursor: Option<&'a str>,
}

/// How one instance or item stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeInstance<'a> {
    /// The numbers of the items and turns that it lies in or is, the outermost first.
    pub(crate) index: &'a [u32],
    pub(crate) status: &'static str,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cached: bool,
    /// Where the output of a cached instance comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cached_from: Option<CachedFrom<'a>>,
    pub(crate) error: Option<RunError<'a>>,
    pub(crate) attempts: u32,
    /// The type of the fallback that does its work or gave its result; absent: the node's own type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
}

/// One try.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptRun<'a> {
    pub(crate) number: u32,
    pub(crate) agent: &'a str,
    /// The type of the fallback that was asked; absent: the node's own type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<&'a str>,
    /// RUNNING, SUCCEEDED, FAILED, LOST, HANDED_BACK or STOPPED.
    pub(crate) outcome: &'a str,
    pub(crate) error: Option<RunError<'a>>,
    /// When it was given to its agent.
    pub(crate) assigned_time: Time,
    /// When its work began; known once it has ended.
    pub(crate) start_time: Option<Time>,
    pub(crate) end_time: Option<Time>,
}
