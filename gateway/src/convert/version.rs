//! Versions of a workflow, and what differs between two of them.

use std::fmt::Write as _;

use heddle_proto::control::{self, NodeChange};
use serde_json::value::RawValue;

use super::{non_empty, raw, unreadable};
use crate::dto::time::Time;
use crate::dto::version::{
    Edge, EdgeDifferences, Input, KeyDifference, NodeDifference, NodeDifferences, Version, VersionDifference,
    VersionWithGraph,
};
use crate::http::error::ApiError;

pub(crate) fn version(version: &control::Version) -> Version<'_> {
    let hex = version.content_hash.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Version {
        workflow_id: &version.workflow_id,
        version: version.version,
        content_hash: hex,
        created_at: Time(version.created_at_ms),
        created_by: &version.subject,
        is_current: version.is_current,
    }
}

pub(crate) fn with_graph(stored: &control::Version) -> Result<VersionWithGraph<'_>, ApiError> {
    let graph = stored.graph.as_ref().ok_or_else(|| unreadable("graph of a version"))?;
    Ok(VersionWithGraph {
        version: version(stored),
        nodes: raw(&graph.nodes, "nodes of a graph")?,
        edges: raw(&graph.edges, "edges of a graph")?,
        policy: value(&graph.policy)?,
    })
}

pub(crate) fn difference(found: &control::VersionDifference) -> Result<VersionDifference<'_>, ApiError> {
    let control::VersionDifference { from, to, nodes, edges, reordered, policy, is_cut } = found;
    let (from, to) = (from.as_ref().map(version), to.as_ref().map(version));
    let (Some(from), Some(to)) = (from, to) else { return Err(unreadable("versions that were compared")) };
    let reordered: Vec<Input<'_>> = reordered
        .iter()
        .map(|input| Input { target: &input.target, target_handle: non_empty(&input.target_handle) })
        .collect();
    let joined = |is_added: bool| edges.iter().filter(move |edge| edge.is_added == is_added).map(edge).collect();
    Ok(VersionDifference {
        workflow_id: to.workflow_id,
        identical: nodes.is_empty() && edges.is_empty() && reordered.is_empty() && policy.is_none() && !is_cut,
        nodes: NodeDifferences {
            added: of_change(nodes, NodeChange::Added)?,
            removed: of_change(nodes, NodeChange::Removed)?,
            changed: of_change(nodes, NodeChange::Changed)?,
            moved: of_change(nodes, NodeChange::Looks)?,
        },
        edges: EdgeDifferences { added: joined(true), removed: joined(false), reordered },
        policy: policy.as_ref().map(key).transpose()?,
        truncated: *is_cut,
        from,
        to,
    })
}

fn of_change(nodes: &[control::NodeDifference], change: NodeChange) -> Result<Vec<NodeDifference<'_>>, ApiError> {
    nodes.iter().filter(|node| node.change() == change).map(node).collect()
}

fn node(found: &control::NodeDifference) -> Result<NodeDifference<'_>, ApiError> {
    Ok(NodeDifference {
        node_id: &found.node_id,
        label: non_empty(&found.label),
        node_type: non_empty(&found.node_type),
        changed_keys: found.keys.iter().map(|key| key.key.as_str()).collect(),
        changes: found.keys.iter().map(key).collect::<Result<_, _>>()?,
        looks: &found.looks,
    })
}

fn key(found: &control::KeyDifference) -> Result<KeyDifference<'_>, ApiError> {
    let (before, after) = (value(&found.before_json)?, value(&found.after_json)?);
    Ok(KeyDifference { key: &found.key, before, after, left_out: found.is_left_out })
}

fn edge(found: &control::EdgeDifference) -> Edge<'_> {
    Edge {
        id: non_empty(&found.id),
        source: &found.source,
        source_handle: non_empty(&found.source_handle),
        target: &found.target,
        target_handle: non_empty(&found.target_handle),
    }
}

/// JSON that may be absent.
fn value(json: &[u8]) -> Result<Option<&RawValue>, ApiError> {
    if json.is_empty() { Ok(None) } else { raw(json, "value of a graph").map(Some) }
}
