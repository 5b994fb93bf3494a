//! One node of a run as people see it: over all its instances, or one of them, or one item of a container.

use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{Instance, NodeIx, PortIx, RunId, ScopeIx};
use heddle_core::run::event::OutputValue;
use heddle_core::run::instances::{AttemptView, InstanceKind, InstanceView, Search, Wanted};
use heddle_core::run::view::{NodeState, RunView};
use heddle_proto::control as wire;
use thiserror::Error;

use super::batches;
use super::runs::{self, ReadError};
use super::values::{self, Of};
use crate::auth::Tenant;
use crate::limits::{ANSWER_VALUES_BYTES, INSTANCES_PER_ANSWER_DEFAULT, INSTANCES_PER_ANSWER_MAX};
use crate::shared::Shared;

/// What is asked of a node.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// Which node.
    pub(crate) node: &'a str,
    /// Only what lies in these items and turns.
    pub(crate) index: Vec<u32>,
    /// Only instances that stand so.
    pub(crate) state: Option<NodeState>,
    /// How many instances at most; 0 = the usual number.
    pub(crate) limit: u32,
    /// Only those behind this one.
    pub(crate) after: ScopeIx,
}

/// Why there is no answer about a node.
#[derive(Debug, Error)]
pub(crate) enum NodeReadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the run has not begun: none of its nodes has; ask again when it is RUNNING")]
    NotBegun,
    #[error("the run was set aside, since its history cannot be kept or read: its nodes cannot be shown")]
    SetAside,
    #[error("the run has no node \"{0}\"; nodeRuns of the run lists those that it has")]
    NoNode(String),
    #[error("\"{node}\" takes an index of at most {most} numbers, one for each map or loop around it{}; leave out the others",
        if *.is_container { " and one for its own item" } else { "" })]
    BadIndex { node: String, most: usize, is_container: bool },
    #[error("\"{node}\" has nothing at index {index}: no such item or turn has begun")]
    NoInstance { node: String, index: String },
}

/// A node, and a page of its instances.
pub(crate) async fn detail(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    id: RunId,
    ask: Ask<'_>,
) -> Result<wire::NodeDetail, NodeReadError> {
    let row = match runs::row(shared, tenant, id).await {
        Err(ReadError::NotFound) => {
            batches::not_begun(shared, tenant, id).await?;
            return Err(NodeReadError::NotBegun);
        }
        row => row?,
    };
    let no_node = || NodeReadError::NoNode(ask.node.to_owned());
    if row.quarantine_reason.is_some() {
        return Err(NodeReadError::SetAside);
    }
    let graph = runs::graph_of(shared, &row).await?;
    let ix = graph.find(ask.node).ok_or_else(no_node)?;
    let kind = kind(&graph, ix, ask.node, &ask.index)?;
    let mut one = exact(kind, ix, &ask).map(|wanted| Search::new(&graph, wanted));
    let mut page = listed(&graph, kind, ix, &ask).map(|wanted| Search::new(&graph, wanted));
    let mut around = around(&graph, kind, ix, &ask).map(|wanted| Search::new(&graph, wanted));
    let looks = |view: &RunView, event: &_| {
        one.iter_mut().chain(&mut page).chain(&mut around).for_each(|search| search.note(view.items(), event));
    };
    let (view, kept) = runs::history(shared, &row, Arc::clone(&graph), looks).await?;
    view.node_state(ix).ok_or_else(no_node)?;
    let one = one.and_then(|search| search.finish(view.items()).0.pop());
    let is_around = around.is_none_or(|search| !search.finish(view.items()).0.is_empty());
    if (one.is_none() && kind != wire::NodeKind::Node) || !is_around {
        let index = ask.index.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        return Err(NodeReadError::NoInstance { node: ask.node.to_owned(), index });
    }
    let (found, has_more) = page.map_or((Vec::new(), false), |search| search.finish(view.items()));
    let next_cursor = found.last().filter(|_| has_more).map_or_else(String::new, |last| last.scope.0.to_string());
    let mut detail = wire::NodeDetail {
        execution_id: id.to_string(),
        sandbox: view.run().is_sandboxed(),
        kind: kind.into(),
        index: ask.index,
        instances: found.iter().map(|found| instance(&view, ix, found)).collect(),
        next_cursor,
        ..wire::NodeDetail::default()
    };
    let of = Of { tenant, run: view.run().id(), kept: &kept };
    let whole = || runs::node(shared, &view, ix, of);
    match one {
        None => detail.node = whole().await?,
        Some(one) => {
            let mut room = ANSWER_VALUES_BYTES / 2;
            detail.inputs = ports(shared, &view, of, (ix, kind, Side::In), &one.inputs, &mut room).await?;
            if kind == wire::NodeKind::Instance {
                detail.inputs.extend(constants(&graph, ix, &mut room));
            }
            detail.attempt_runs = one.attempts.iter().map(|attempt| attempt_run(&graph, ix, attempt)).collect();
            detail.node = match detail.index.is_empty() {
                // It is the only instance that there is.
                true => whole().await?,
                false => {
                    let mut room = ANSWER_VALUES_BYTES / 2;
                    let given = given(&view, ix, kind, one.scope, &one.outputs);
                    let outputs = ports(shared, &view, of, (ix, kind, Side::Out), &given, &mut room).await?;
                    Some(wire::Node { outputs, ..runs::node_of(view.run(), ix, one.state, &one.view) })
                }
            };
        }
    }
    Ok(detail)
}

/// What an instance has given: while it waits for a call, the address.
fn given(
    view: &RunView,
    ix: NodeIx,
    kind: wire::NodeKind,
    scope: ScopeIx,
    outputs: &[(PortIx, OutputValue)],
) -> Vec<(PortIx, OutputValue)> {
    if !outputs.is_empty() || kind != wire::NodeKind::Instance {
        return outputs.to_vec();
    }
    let early = view.run().early_outputs(Instance { scope, ..Instance::root(ix) });
    early.iter().map(|output| (output.port, output.value.clone())).collect()
}

/// What an index is of.
pub(super) fn kind(graph: &Graph, ix: NodeIx, node: &str, index: &[u32]) -> Result<wire::NodeKind, NodeReadError> {
    let (depth, is_container) = (graph.depth(ix), graph.has_items(ix));
    let most = depth + usize::from(is_container);
    match index.len() {
        given if given > most => Err(NodeReadError::BadIndex { node: node.to_owned(), most, is_container }),
        given if given > depth => Ok(wire::NodeKind::Item),
        given if given == depth => Ok(wire::NodeKind::Instance),
        _ => Ok(wire::NodeKind::Node),
    }
}

/// The search for the one that the index names.
fn exact(kind: wire::NodeKind, node: NodeIx, ask: &Ask<'_>) -> Option<Wanted> {
    let kind = match kind {
        wire::NodeKind::Item => InstanceKind::Item,
        wire::NodeKind::Instance => InstanceKind::Own,
        _ => return None,
    };
    Some(Wanted { node, kind, within: ask.index.clone(), state: None, after: ScopeIx::default(), limit: 1 })
}

/// The search for the item that an index with fewer numbers names: what begins with them lies in it.
fn around(graph: &Graph, kind: wire::NodeKind, node: NodeIx, ask: &Ask<'_>) -> Option<Wanted> {
    let depth = ask.index.len().checked_sub(1).filter(|_| kind == wire::NodeKind::Node)?;
    let mut containers = std::iter::successors(graph.within(node), |ix| graph.within(*ix));
    let node = containers.find(|ix| graph.depth(*ix) == depth)?;
    let (within, after) = (ask.index.clone(), ScopeIx::default());
    Some(Wanted { node, kind: InstanceKind::Item, within, state: None, after, limit: 1 })
}

/// The search for a page: of a container's items, or of a node's instances.
fn listed(graph: &Graph, kind: wire::NodeKind, node: NodeIx, ask: &Ask<'_>) -> Option<Wanted> {
    let kind = match kind {
        wire::NodeKind::Instance if graph.has_items(node) => InstanceKind::Item,
        wire::NodeKind::Node => InstanceKind::Own,
        _ => return None,
    };
    let limit = if ask.limit == 0 { INSTANCES_PER_ANSWER_DEFAULT } else { ask.limit.min(INSTANCES_PER_ANSWER_MAX) };
    let (within, limit) = (ask.index.clone(), limit as usize);
    Some(Wanted { node, kind, within, state: ask.state, after: ask.after, limit })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

/// Values with the names of their ports. What an item is comes out of its container, and what it gives goes in there.
async fn ports(
    shared: &Arc<Shared>,
    view: &RunView,
    of: Of<'_>,
    (ix, kind, side): (NodeIx, wire::NodeKind, Side),
    given: &[(PortIx, OutputValue)],
    room: &mut usize,
) -> Result<Vec<wire::PortValue>, ReadError> {
    let Some(node_type) = &view.run().graph().node(ix).node_type else { return Ok(Vec::new()) };
    let named = match (kind == wire::NodeKind::Item, side) {
        (true, Side::In) | (false, Side::Out) => &node_type.outputs,
        (true, Side::Out) | (false, Side::In) => &node_type.inputs,
    };
    let mut shown = Vec::new();
    for (port, value) in given {
        let Some(port) = named.get(usize::from(port.0)) else { continue };
        shown.extend(runs::port_value(shared, of, (&port.id, value), room).await?);
    }
    Ok(shown)
}

/// Inputs that no edge leads to: what the graph says itself.
fn constants(graph: &Graph, ix: NodeIx, room: &mut usize) -> Vec<wire::PortValue> {
    let node = graph.node(ix);
    let Some(node_type) = &node.node_type else { return Vec::new() };
    let named = node.constants.iter().filter_map(|(port, value)| {
        let shown = values::constant(value, *room);
        *room = room.saturating_sub(shown.json.len());
        let port = node_type.inputs.get(usize::from(port.0))?.id.to_string();
        Some(wire::PortValue { port, value_json: shown.json, artifacts: shown.artifacts })
    });
    named.collect()
}

fn instance(view: &RunView, ix: NodeIx, found: &InstanceView) -> wire::NodeInstance {
    let graph = view.run().graph();
    let seen = &found.view;
    wire::NodeInstance {
        index: found.index.clone(),
        state: runs::node_state(found.state).into(),
        error: seen.error.as_ref().map(|error| runs::node_error(error, &graph.node(ix).id, seen.attempts)),
        attempts: seen.attempts,
        agent_id: seen.agent.as_ref().map_or_else(String::new, ToString::to_string),
        provider: runs::provider(graph, ix, seen.provider),
        started_at_ms: seen.started_at.map(|at| at.as_millis()),
        ended_at_ms: seen.ended_at.map(|at| at.as_millis()),
        cached_from: seen.source.map(|source| runs::cached_from(view.run(), source)),
    }
}

fn attempt_run(graph: &Graph, ix: NodeIx, attempt: &AttemptView) -> wire::AttemptRun {
    let error = attempt.error.as_ref();
    wire::AttemptRun {
        number: attempt.number.0,
        agent_id: attempt.agent.to_string(),
        provider: runs::provider(graph, ix, attempt.provider),
        outcome: attempt.outcome.name().into(),
        error: error.map(|error| runs::node_error(error, &graph.node(ix).id, attempt.number.0)),
        assigned_at_ms: attempt.assigned_at.as_millis(),
        started_at_ms: attempt.started_at.map(|at| at.as_millis()),
        ended_at_ms: attempt.ended_at.map(|at| at.as_millis()),
    }
}
