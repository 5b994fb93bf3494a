//! What small changes of a workflow answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::time::Time;
use super::workflow::Workflow;

/// A node as it is saved now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PatchedNode<'a> {
    /// Of an input, `data.output` says what it gives by itself.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub(crate) node: &'a RawValue,
    pub(crate) workflow_id: &'a str,
    pub(crate) updated_at: Time,
    pub(crate) version: u64,
}

/// A copy of a workflow.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Copied<'a> {
    #[serde(flatten)]
    pub(crate) workflow: Workflow<'a>,
    /// A page for people.
    pub(crate) url: String,
}

/// Where nodes lie now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout<'a> {
    /// Of all that were laid out, by their ids. Inside another node it is counted from that.
    pub(crate) positions: BTreeMap<&'a str, Position>,
    /// How many of them have lain elsewhere.
    pub(crate) moved: u32,
    /// Around those that lie in no other node.
    pub(crate) bounds: Bounds,
    pub(crate) workflow_id: &'a str,
    pub(crate) updated_at: Time,
    pub(crate) version: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Position {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Bounds {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}
