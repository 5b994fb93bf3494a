//! Another try of a node, with other keys in its config.

use heddle_core::graph::{self, Graph, Provided};
use heddle_core::id::NodeIx;
use heddle_core::limits::INLINE_VALUE_BYTES_MAX;
use heddle_core::node_type::NodeType;
use heddle_core::run::event::ReviewKind;
use heddle_core::value::Value;
use heddle_proto::control as wire;
use serde_json::Value as Json;
use tonic::Status;

use super::{edit, invalid, not_allowed};
use crate::reviews::rows::StoredReview;
use crate::session::changed;
use crate::shared::Shared;

/// Changes to the config of the node that runs again: what its type knows, in its bounds. `null` takes a key out.
pub(crate) fn config(
    shared: &Shared,
    (stored, graph, node): (&StoredReview, &Graph, NodeIx),
    request: &wire::DecideReviewRequest,
) -> Result<Value, Status> {
    let changes: Json =
        serde_json::from_slice(&request.config_json).map_err(|error| invalid("/config", format!("config: {error}")))?;
    let Json::Object(keys) = &changes else { return Err(invalid("/config", "config is an object")) };
    let target = match stored.created.kind {
        ReviewKind::Value => graph.review(node).and_then(|review| review.again),
        _ => Some(node),
    };
    let Some(target) = target else {
        return Err(not_allowed("/config", "there is no node behind this review that could run again"));
    };
    let provided = graph.node(target).provided(Default::default());
    let text = changes.to_string();
    if text.len() > INLINE_VALUE_BYTES_MAX {
        return Err(invalid("/config", format!("config has more than {INLINE_VALUE_BYTES_MAX} bytes")));
    }
    if let Some(problem) = graph::literal_secrets(&text, "/config").into_iter().next() {
        return Err(invalid(problem.path.as_deref().unwrap_or("/config"), problem.message));
    }
    let Some(node_type) = provided.node_type else { return Ok(Value::from_json(text.into())) };
    for (key, value) in keys {
        let path = format!("/config/{}", key.replace('~', "~0").replace('/', "~1"));
        if graph::chooses_access(node_type, key) && !request.writes_workflows {
            let message = format!(
                "\"{key}\" says where the node goes or with which credential: only a key with the scope workflows:write \
                 changes it"
            );
            return Err(not_allowed(&path, &message));
        }
        if let Some(fix) = graph::unknown_key(node_type, key) {
            return Err(invalid(&path, format!("{} does not know the key \"{key}\". {fix}", node_type.id)));
        }
        input(graph, target, node_type, (key, value), &path)?;
    }
    in_bounds(shared, provided, node_type, &text)?;
    Ok(Value::from_json(text.into()))
}

/// Whether a key that is an input's id may have this value.
fn input(
    graph: &Graph,
    target: NodeIx,
    node_type: &NodeType,
    (key, value): (&str, &Json),
    path: &str,
) -> Result<(), Status> {
    let Some((port, input)) = node_type.input(key) else { return Ok(()) };
    if graph.in_edges(target).iter().any(|edge| edge.target_port == port) {
        return Err(invalid(path, "an edge brings this input's value"));
    }
    match value {
        Json::Null if input.required && input.default.is_none() => Err(invalid(path, "the node needs this input")),
        Json::Null => Ok(()),
        value => edit::fits(value, input.port_type, input.list, path),
    }
}

/// Whether the whole config is one by the type's schema. What was wrong with it before is the graph's matter.
fn in_bounds(shared: &Shared, provided: Provided<'_>, node_type: &NodeType, changes: &str) -> Result<(), Status> {
    let whole = changed::lay_over(provided, changes.as_bytes()).config;
    let whole = std::str::from_utf8(&whole).unwrap_or("{}");
    match shared.graphs.check_config(node_type, whole).into_iter().next() {
        Some(fault) => Err(invalid(&format!("/config{}", fault.place), format!("{} {}", fault.message, fault.fix))),
        None => Ok(()),
    }
}
