//! What the nodes of a workflow gave last: read from its youngest runs when somebody asks, so that runs pay nothing for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::NodeIx;
use heddle_core::run::checkpoint::Checkpoint;
use heddle_error_chain::chain;
use heddle_proto::control as wire;
use prost::Message as _;
use tonic::Status;

use super::parent;
use crate::auth::Tenant;
use crate::graphs::GraphError;
use crate::journal::{RunFilter, RunRow};
use crate::limits::{ANSWER_VALUES_BYTES, CACHED_RUNS_READ_MAX};
use crate::read::runs::{self, ReadError};
use crate::read::values::{Kept, Of};
use crate::records::WorkflowRow;
use crate::rpc::failure;
use crate::shared::Shared;

/// For each node of the saved graph outside of maps and loops, its youngest result of the same type and config; as many as one answer
/// may have.
pub(crate) async fn of_workflow(shared: &Arc<Shared>, row: &WorkflowRow) -> Result<Vec<wire::CachedNode>, Status> {
    let tenant = Tenant::of_workflow(row);
    let graph = match shared.graphs.get(&tenant, row.graph).await {
        // Types may be others than when it was saved: who reads it is to see what to mend.
        Err(GraphError::Invalid(_)) => return Ok(Vec::new()),
        graph => graph.map_err(failure::graph)?,
    };
    let wanted = |ix: NodeIx| graph.within(ix).is_none() && graph.is_reusable(ix) && !graph.node(ix).is_anonymous;
    let mut open: Vec<NodeIx> = graph.nodes().map(|(ix, _)| ix).filter(|ix| wanted(*ix)).collect();
    let filter = RunFilter { tenant, workflow: Some(row.id), status: None, parent: None, from: None, to: None };
    let youngest = shared.journal.list_runs(filter, None, CACHED_RUNS_READ_MAX).await;
    let youngest = youngest.map_err(|error| failure::journal(&error))?;
    let (mut cached, mut bytes) = (BTreeMap::new(), 0);
    for run in youngest.iter().filter(|run| run.quarantine_reason.is_none()) {
        if open.is_empty() {
            break;
        }
        for (node, shown) in of_run(shared, run, &graph, &open).await? {
            bytes += shown.encoded_len();
            open.retain(|open| *open != node);
            if bytes <= ANSWER_VALUES_BYTES {
                cached.insert(node, shown);
            }
        }
    }
    Ok(cached.into_values().collect())
}

async fn of_run(
    shared: &Arc<Shared>,
    row: &RunRow,
    graph: &Arc<Graph>,
    open: &[NodeIx],
) -> Result<Vec<(NodeIx, wire::CachedNode)>, Status> {
    let read = match parent::read(shared, row, true).await {
        Ok(read) => read,
        Err(ReadError::Journal(error)) => return Err(failure::journal(&error)),
        Err(error) => {
            // A run that cannot be read, as its graph is none any more, keeps nobody from the workflow.
            tracing::debug!(run = %row.run, error = %chain(&error), "no results are shown of a run");
            return Ok(Vec::new());
        }
    };
    // What a run of the sandbox gave is no result of a real one.
    if read.run.is_sandboxed() != shared.sandbox {
        return Ok(Vec::new());
    }
    let of_run = Arc::clone(read.run.graph());
    let mut found = Vec::new();
    for node in open.iter().copied() {
        let Some(there) = of_run.find(&graph.node(node).id) else { continue };
        if of_run.identity(there) != graph.identity(node) {
            continue;
        }
        let Some(result) = read.results.results.iter().rev().find(|result| result.node == there) else { continue };
        found.push((node, shown(shared, row, (graph, node), result).await?));
    }
    Ok(found)
}

async fn shown(
    shared: &Arc<Shared>,
    row: &RunRow,
    (graph, node): (&Graph, NodeIx),
    result: &Checkpoint,
) -> Result<wire::CachedNode, Status> {
    let (mut room, mut outputs) = (ANSWER_VALUES_BYTES / 2, Vec::new());
    let (tenant, kept) = (Tenant::of_run(&row.created), Kept::default());
    let of = Of { tenant: &tenant, run: row.run, kept: &kept };
    for (ix, port) in graph.outer_outputs(node) {
        let Some(output) = result.outputs.iter().find(|output| output.port == ix) else { continue };
        let shown = runs::port_value(shared, of, (&port.id, &output.value), &mut room).await;
        outputs.extend(shown.map_err(failure::read)?);
    }
    Ok(wire::CachedNode {
        node_id: graph.node(node).id.to_string(),
        execution_id: row.run.to_string(),
        seq: result.seq.0,
        inputs_digest: result.key.to_string(),
        outputs,
    })
}
