//! Versions of a workflow, and what differs between two of them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::time::Time;

/// One saved graph of a workflow. It never changes.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version<'a> {
    pub(crate) workflow_id: &'a str,
    /// From 1.
    pub(crate) version: u64,
    /// SHA-256 of the graph: the same where the graph is the same.
    pub(crate) content_hash: String,
    pub(crate) created_at: Time,
    /// Who saved it.
    pub(crate) created_by: &'a str,
    /// Whether runs of the workflow begin with it now.
    pub(crate) is_current: bool,
}

/// A version with its graph, as it was saved.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionWithGraph<'a> {
    #[serde(flatten)]
    pub(crate) version: Version<'a>,
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) nodes: &'a RawValue,
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) edges: &'a RawValue,
    /// What counts for its nodes where they and their types say nothing; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) policy: Option<&'a RawValue>,
}

/// What differs between two versions, node by node.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionDifference<'a> {
    pub(crate) workflow_id: &'a str,
    pub(crate) from: Version<'a>,
    pub(crate) to: Version<'a>,
    /// Whether nothing differs, looks included.
    pub(crate) identical: bool,
    pub(crate) nodes: NodeDifferences<'a>,
    pub(crate) edges: EdgeDifferences<'a>,
    /// The policy of the whole workflow; null if it is the same.
    pub(crate) policy: Option<KeyDifference<'a>>,
    /// Whether there is more than one answer holds.
    pub(crate) truncated: bool,
}

/// Nodes, by what became of them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeDifferences<'a> {
    pub(crate) added: Vec<NodeDifference<'a>>,
    pub(crate) removed: Vec<NodeDifference<'a>>,
    /// They mean something else.
    pub(crate) changed: Vec<NodeDifference<'a>>,
    /// They only lie elsewhere or are drawn otherwise.
    pub(crate) moved: Vec<NodeDifference<'a>>,
}

/// A node that differs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeDifference<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) label: Option<&'a str>,
    pub(crate) node_type: Option<&'a str>,
    /// The names of what differs: `label`, `config.text`, `policy.timeoutMs`…
    pub(crate) changed_keys: Vec<&'a str>,
    /// The same with their values.
    pub(crate) changes: Vec<KeyDifference<'a>>,
    /// What differs of its looks: `position`…
    pub(crate) looks: &'a [String],
}

/// One value that differs. `before` and `after` are absent where there is none.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyDifference<'a> {
    pub(crate) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) before: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) after: Option<&'a RawValue>,
    /// Whether the values are too long to stand here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left_out: bool,
}

/// Edges, told apart by what they join.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EdgeDifferences<'a> {
    pub(crate) added: Vec<Edge<'a>>,
    pub(crate) removed: Vec<Edge<'a>>,
    /// Inputs whose edges are the same in another order, in which a list is put together.
    pub(crate) reordered: Vec<Input<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Edge<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) source: &'a str,
    pub(crate) source_handle: Option<&'a str>,
    pub(crate) target: &'a str,
    pub(crate) target_handle: Option<&'a str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input<'a> {
    pub(crate) target: &'a str,
    pub(crate) target_handle: Option<&'a str>,
}
