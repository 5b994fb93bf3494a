//! Workflows.

use heddle_proto::control;

use super::{non_empty, raw, unreadable};
use crate::dto::time::Time;
use crate::dto::workflow::{Workflow, WorkflowWithGraph};
use crate::http::error::ApiError;

pub(crate) fn workflow(workflow: &control::Workflow) -> Workflow<'_> {
    Workflow {
        id: &workflow.id,
        name: &workflow.name,
        description: workflow.description.as_deref().and_then(non_empty),
        webhook_id: None,
        webhook_url: None,
        is_active: workflow.is_active,
        is_published: false,
        execution_count: workflow.execution_count,
        last_executed_at: workflow.last_executed_at_ms.map(Time),
        tags: &workflow.tags,
        version: workflow.version,
        created_at: Time(workflow.created_at_ms),
        updated_at: Time(workflow.updated_at_ms),
    }
}

pub(crate) fn with_graph(stored: &control::Workflow) -> Result<WorkflowWithGraph<'_>, ApiError> {
    let graph = stored.graph.as_ref().ok_or_else(|| unreadable("graph of a workflow"))?;
    Ok(WorkflowWithGraph {
        workflow: workflow(stored),
        link_permission: "PRIVATE",
        user_id: None,
        media_id: None,
        nodes: raw(&graph.nodes, "nodes of a graph")?,
        edges: raw(&graph.edges, "edges of a graph")?,
        policy: match &*graph.policy {
            b"" => None,
            policy => Some(raw(policy, "policy of a graph")?),
        },
    })
}
