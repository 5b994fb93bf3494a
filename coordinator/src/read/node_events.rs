//! Of a run's events, those of one node: for who follows that node alone.

use std::sync::Arc;

use heddle_core::id::{Instance, NodeIx, RunId};
use heddle_core::run::event::{Event, Fact};
use heddle_proto::control as wire;
use serde_json::{Map, Value};

use super::batches;
use super::event_json::{data, event_of, node_id};
use super::nodes::{self, NodeReadError};
use super::runs::{self, ReadError};
use super::scopes::Scopes;
use crate::auth::Tenant;
use crate::shared::Shared;

/// One node of a run, or what of it lies in the items and turns that an index names.
#[derive(Debug, Clone)]
pub(crate) struct Only {
    node: NodeIx,
    id: String,
    index: Vec<u32>,
    /// Whether that is a single instance, which is over at some time before its run may be.
    pub(super) is_single: bool,
}

/// What an event of the history is to the follower of a node.
pub(super) enum Matter {
    /// It says nothing of the node.
    Nothing,
    /// The node goes on.
    Some(wire::Event),
    /// The last word on the node.
    Last(wire::Event),
}

impl Only {
    /// A node of a run that has begun.
    pub(crate) async fn find(
        shared: &Arc<Shared>,
        tenant: &Tenant,
        run: RunId,
        node: &str,
        index: Vec<u32>,
    ) -> Result<Self, NodeReadError> {
        let row = match runs::row(shared, tenant, run).await {
            Err(ReadError::NotFound) => {
                batches::not_begun(shared, tenant, run).await?;
                return Err(NodeReadError::NotBegun);
            }
            row => row?,
        };
        let graph = runs::graph_of(shared, &row).await?;
        let ix = graph.find(node).ok_or_else(|| NodeReadError::NoNode(node.to_owned()))?;
        if nodes::kind(&graph, ix, node, &index)? == wire::NodeKind::Item {
            let most = graph.depth(ix);
            return Err(NodeReadError::BadIndex { node: node.to_owned(), most, is_container: false });
        }
        Ok(Self { node: ix, id: node_id(&graph, ix), is_single: index.len() == graph.depth(ix), index })
    }

    /// Whether an instance is of it.
    pub(super) fn is(&self, scopes: &Scopes, instance: Instance) -> bool {
        instance.node == self.node && (self.index.is_empty() || scopes.index(instance.scope).starts_with(&self.index))
    }

    /// What an event says of it that `scopes` has read just before.
    pub(super) fn of(&self, scopes: &Scopes, event: &Event) -> Matter {
        let is_end = matches!(event.fact, Fact::Ended { .. });
        if !is_end && !self.may_be_in(scopes, event) {
            return Matter::Nothing;
        }
        let mut data = data(scopes, event);
        let (seq, at_ms, mut name) = (event.seq.0, event.at.as_millis(), event.fact.name());
        for list in ["decided", "assigned", "givenUp", "attempts", "items"] {
            self.keep(&mut data, list);
        }
        let is_about = is_end || self.is_named(&data) || data.contains_key("attempts");
        let decided = data.get("decided").and_then(Value::as_array).and_then(|decided| decided.last()).cloned();
        let is_given_up = data.contains_key("givenUp");
        let is_last = is_end || self.is_single && (is_given_up || is_over(name, &data, decided.as_ref(), is_about));
        if !is_about {
            let mut other = Map::new();
            if let Some(Value::Object(decision)) = decided {
                name = match decision.get("state").and_then(Value::as_str) {
                    Some("COMPLETED") => "node.completed",
                    Some("CACHED") => "node.cached",
                    Some("FAILED") => "node.failed",
                    Some("WAITING") => "node.waiting",
                    _ => "node.started",
                };
                other = decision;
            } else if data.contains_key("assigned") {
                name = "node.assigned";
            } else if is_given_up {
                name = "node.cancelled";
            } else if data.contains_key("items") {
                name = "node.items";
            } else {
                return Matter::Nothing;
            }
            other.entry("nodeId").or_insert_with(|| self.id.as_str().into());
            if self.is_single && !self.index.is_empty() {
                other.entry("index").or_insert_with(|| self.index.as_slice().into());
            }
            other.extend(["assigned", "givenUp", "items"].into_iter().filter_map(|list| data.remove_entry(list)));
            data = other;
        }
        let event = event_of(seq, at_ms, name, &data.into());
        if is_last { Matter::Last(event) } else { Matter::Some(event) }
    }

    /// Whether it has to be looked at more closely.
    fn may_be_in(&self, scopes: &Scopes, event: &Event) -> bool {
        let graph = scopes.graph();
        let is = |instance: Instance| instance.node == self.node || graph.named(instance.node) == self.node;
        let in_fact = match &event.fact {
            Fact::Submitted(_) | Fact::Offered { .. } | Fact::Continued => false,
            Fact::Succeeded { attempt, .. } | Fact::Failed { attempt, .. } => is(attempt.instance),
            _ => true,
        };
        in_fact
            || event.decisions.iter().any(|decision| is(decision.instance()))
            || event.assignments.iter().any(|assignment| is(assignment.attempt.instance))
            || scopes.given_up().iter().any(|instance| is(*instance))
            || scopes.changed().any(|(node, _)| node == self.node)
    }

    fn keep(&self, data: &mut Map<String, Value>, list: &str) {
        if let Some(Value::Array(entries)) = data.get_mut(list) {
            entries.retain(|entry| entry.as_object().is_some_and(|entry| self.is_named(entry)));
            if entries.is_empty() {
                data.remove(list);
            }
        }
    }

    fn is_named(&self, fields: &Map<String, Value>) -> bool {
        let index = fields.get("index").and_then(Value::as_array);
        let mut numbers = index.into_iter().flatten().map(Value::as_u64);
        fields.get("nodeId").and_then(Value::as_str) == Some(&self.id)
            && self.index.iter().all(|number| numbers.next() == Some(Some(u64::from(*number))))
    }
}

/// Whether the instance gives nothing any more behind this event.
fn is_over(name: &str, data: &Map<String, Value>, decided: Option<&Value>, is_about: bool) -> bool {
    let state = decided.and_then(|decision| decision["state"].as_str());
    let has_failed = || match name {
        "node.failed" => true,
        "attempt.lost" => data.get("error").is_some_and(|error| !error.is_null()),
        _ => data.get("state").and_then(Value::as_str) == Some("FAILED"),
    };
    match state {
        Some("COMPLETED" | "CACHED" | "FAILED") => true,
        // It is asked about.
        Some(_) => false,
        None => is_about && (data.contains_key("outputs") || has_failed()),
    }
}
