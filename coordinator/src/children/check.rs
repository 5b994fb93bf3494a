//! What is wrong between a graph and the workflows that its nodes run, as they are saved now: others may come later.

use std::sync::Arc;

use heddle_core::graph::{Graph, Invoke, Problem};

use crate::auth::Tenant;
use crate::graphs::GraphError;
use crate::journal::JournalError;
use crate::limits::CHILDREN_CHECKED_MAX;
use crate::shared::Shared;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Workflows and versions that are not saved.
    pub(crate) unknown: Vec<Problem>,
    /// Names that a saved workflow has not.
    pub(crate) unfit: Vec<Problem>,
}

impl Checked {
    /// All of it.
    pub(crate) fn all(self) -> Vec<Problem> {
        self.unknown.into_iter().chain(self.unfit).collect()
    }
}

/// Looks at the first nodes of a graph that run other workflows.
pub(crate) async fn check(shared: &Arc<Shared>, tenant: &Tenant, graph: &Graph) -> Result<Checked, JournalError> {
    let mut checked = Checked::default();
    for (ix, invoke) in graph.invokes().take(CHILDREN_CHECKED_MAX) {
        match child(shared, tenant, *invoke).await? {
            Some(child) => checked.unfit.extend(graph.unfit_child(ix, &child)),
            None => checked.unknown.extend(graph.unknown_child(ix)),
        }
    }
    Ok(checked)
}

/// The graph that a node runs; nothing if it is not saved. One that cannot be read is not looked at.
async fn child(shared: &Arc<Shared>, tenant: &Tenant, invoke: Invoke) -> Result<Option<Arc<Graph>>, JournalError> {
    let Some(row) = shared.workflows.get(tenant, invoke.workflow).await? else { return Ok(None) };
    let digest = match invoke.version {
        None => row.graph,
        Some(version) => match shared.records.version(tenant.clone(), invoke.workflow, version).await? {
            Some(found) => found.graph,
            None => return Ok(None),
        },
    };
    match shared.graphs.get(tenant, digest).await {
        Ok(graph) => Ok(Some(graph)),
        Err(GraphError::Journal(error)) => Err(error),
        Err(GraphError::Missing | GraphError::Invalid(_)) => Ok(None),
    }
}
