//! The node catalogue as clients see it.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::run::Paused;

/// The answer of `GET /nodes`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Catalogue<'a> {
    pub(crate) nodes: Vec<NodeType<'a>>,
}

/// A node type: what clients of the documented API read, and Heddle's own facts beside it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeType<'a> {
    pub(crate) node_type: Cow<'a, str>,
    pub(crate) label: Cow<'a, str>,
    pub(crate) description: Cow<'a, str>,
    /// The family: what stands before the colon.
    pub(crate) category: String,
    pub(crate) version: u32,
    pub(crate) inputs: Vec<Port<'a>>,
    pub(crate) outputs: Vec<Port<'a>>,
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) config_schema: Option<&'a RawValue>,
    pub(crate) effect: Cow<'a, str>,
    /// Whether a job that it has begun at its provider is cancelled there when nobody goes on with it. Only `pollable` types have
    /// jobs.
    pub(crate) cancels_jobs: bool,
    /// What a node's `policy` is unless it says otherwise: with `"onUnknown": "retry"`, a try of which nobody knows what became
    /// is followed by another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) policy: Option<&'a RawValue>,
    /// What it makes of what: `{title, config, inputs, outputs}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    pub(crate) examples: Option<&'a RawValue>,
    /// Whether a node of this type can begin now: some agent offers it, or the coordinator runs it itself, and it is not paused.
    pub(crate) available: bool,
    /// Since when, by whom and why no node of this type begins. Absent if they begin as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<Paused<'a>>,
}

/// Whether nodes of a type begin.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeTypeStand<'a> {
    pub(crate) node_type: &'a str,
    /// Null if they begin as usual.
    pub(crate) paused: Option<Paused<'a>>,
}

/// An input or output.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) label: Cow<'a, str>,
    pub(crate) r#type: Cow<'a, str>,
    /// True for what an edge can be wired to. Config fields are described by the schema.
    pub(crate) is_port: bool,
    pub(crate) list: bool,
    pub(crate) required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) default: Option<&'a RawValue>,
}
