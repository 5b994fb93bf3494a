//! Versions of a workflow: listed, read, compared, made the newest again.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::graph::{Difference, Draft, EdgeDifference, KeyDifference, NodeChange, NodeDifference, Stored};
use heddle_core::id::WorkflowId;
use heddle_proto::control as wire;
use tokio::task::spawn_blocking;
use tonic::Status;

use super::run_requests::key_row;
use super::{failure, workflow_requests};
use crate::auth::{self, Tenant};
use crate::limits::VERSIONS_PAGE_MAX;
use crate::records::{SaveWorkflow, Usage, VersionRow, WorkflowRow};
use crate::shared::Shared;

pub(super) async fn list(
    shared: &Arc<Shared>,
    request: wire::ListVersionsRequest,
) -> Result<wire::VersionList, Status> {
    let (tenant, workflow) = find(shared, auth::tenant(&request)?, &request.workflow_id).await?;
    let before = match request.cursor.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| failure::bad_cursor())?),
    };
    let limit = match request.limit as usize {
        0 => VERSIONS_PAGE_MAX,
        limit => limit.min(VERSIONS_PAGE_MAX),
    };
    let rows = shared.records.versions(tenant, workflow.id, before, limit + 1).await;
    let mut rows = rows.map_err(|error| failure::journal(&error))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map_or_else(String::new, |last| last.version.to_string());
    Ok(wire::VersionList { versions: rows.iter().map(|row| to_wire(&workflow, row)).collect(), next_cursor })
}

pub(super) async fn get(shared: &Arc<Shared>, request: wire::VersionRequest) -> Result<wire::Version, Status> {
    let (tenant, workflow) = find(shared, auth::tenant(&request)?, &request.workflow_id).await?;
    let row = version(shared, &tenant, workflow.id, request.version).await?;
    let draft = shared.graphs.document(&tenant, row.graph).await.map_err(failure::graph)?;
    let Stored { nodes, edges, policy } = draft.stored().clone();
    Ok(wire::Version { graph: Some(wire::GraphJson { nodes, edges, policy }), ..to_wire(&workflow, &row) })
}

/// Makes the graph of a version the newest one again. It was saved before, so only secrets are looked for.
pub(super) async fn restore(
    shared: &Arc<Shared>,
    request: wire::RestoreVersionRequest,
) -> Result<wire::SavedWorkflow, Status> {
    failure::if_stalled(shared)?;
    let (tenant, workflow) = find(shared, auth::tenant(&request)?, &request.workflow_id).await?;
    let row = version(shared, &tenant, workflow.id, request.version).await?;
    workflow_requests::refuse_secrets(shared, &tenant, row.graph).await?;
    let key = request.idempotency.as_ref().map(|given| key_row(&tenant, given)).transpose()?;
    let save = SaveWorkflow {
        tenant,
        id: workflow.id,
        must_exist: true,
        name: None,
        description: None,
        tags: None,
        is_active: None,
        graph: Some(row.graph),
        base_updated_at: workflow_requests::base(&request.base_updated_at)?,
        now: shared.clock.now(),
        usage: Usage::default(),
        key,
        subject: request.subject.as_str().into(),
    };
    workflow_requests::write(shared, save).await
}

pub(super) async fn compare(
    shared: &Arc<Shared>,
    request: wire::CompareVersionsRequest,
) -> Result<wire::VersionDifference, Status> {
    let (tenant, workflow) = find(shared, auth::tenant(&request)?, &request.workflow_id).await?;
    let newer = if request.to == 0 { workflow.version } else { request.to };
    if request.from == 0 && newer == 1 {
        let message = "version 1 is the first, so nothing is before it: name the version to compare it with as from";
        return Err(failure::plain(404, "version_not_found", message));
    }
    let older = if request.from == 0 { newer.saturating_sub(1) } else { request.from };
    let (from, before) = document(shared, &tenant, &workflow, older).await?;
    let (to, after) = document(shared, &tenant, &workflow, newer).await?;
    // Large graphs take a while, and others want the thread.
    let found = spawn_blocking(move || Difference::between(&before, &after)).await;
    let found = found.map_err(|error| Status::internal(error.to_string()))?;
    Ok(wire::VersionDifference {
        from: Some(from),
        to: Some(to),
        nodes: found.nodes.into_iter().map(node).collect(),
        edges: found.edges.into_iter().map(edge).collect(),
        reordered: found
            .reordered
            .into_iter()
            .map(|(target, target_handle)| wire::InputDifference { target, target_handle })
            .collect(),
        policy: found.policy.map(key),
        is_cut: found.is_cut,
    })
}

async fn document(
    shared: &Shared,
    tenant: &Tenant,
    workflow: &WorkflowRow,
    number: u64,
) -> Result<(wire::Version, Draft), Status> {
    let row = version(shared, tenant, workflow.id, number).await?;
    let draft = shared.graphs.document(tenant, row.graph).await.map_err(failure::graph)?;
    Ok((to_wire(workflow, &row), draft))
}

async fn find(shared: &Shared, tenant: Tenant, id: &str) -> Result<(Tenant, WorkflowRow), Status> {
    let id = id.parse().map_err(|_| failure::workflow_not_found())?;
    let row = shared.workflows.get(&tenant, id).await.map_err(|error| failure::journal(&error))?;
    Ok((tenant, row.ok_or_else(failure::workflow_not_found)?))
}

async fn version(shared: &Shared, tenant: &Tenant, id: WorkflowId, number: u64) -> Result<VersionRow, Status> {
    let row = shared.records.version(tenant.clone(), id, number).await;
    row.map_err(|error| failure::journal(&error))?.ok_or_else(|| {
        failure::plain(404, "version_not_found", format!("the workflow has no version {number}; list its versions"))
    })
}

fn to_wire(workflow: &WorkflowRow, row: &VersionRow) -> wire::Version {
    wire::Version {
        workflow_id: workflow.id.to_string(),
        version: row.version,
        content_hash: Bytes::copy_from_slice(&row.graph.0),
        subject: row.subject.to_string(),
        created_at_ms: row.created_at.as_millis(),
        is_current: row.version == workflow.version,
        graph: None,
    }
}

fn node(found: NodeDifference) -> wire::NodeDifference {
    let NodeDifference { change, id, label, node_type, keys, looks } = found;
    let change = match change {
        NodeChange::Added => wire::NodeChange::Added,
        NodeChange::Removed => wire::NodeChange::Removed,
        NodeChange::Changed => wire::NodeChange::Changed,
        NodeChange::Looks => wire::NodeChange::Looks,
    };
    let keys = keys.into_iter().map(key).collect();
    wire::NodeDifference { change: change.into(), node_id: id, label, node_type, keys, looks }
}

fn key(found: KeyDifference) -> wire::KeyDifference {
    let KeyDifference { key, before, after, is_left_out } = found;
    let json = |text: Option<String>| text.map_or_else(Bytes::new, Bytes::from);
    wire::KeyDifference { key, before_json: json(before), after_json: json(after), is_left_out }
}

fn edge(found: EdgeDifference) -> wire::EdgeDifference {
    let EdgeDifference { is_added, id, source, target } = found;
    let ((source, source_handle), (target, target_handle)) = (source, target);
    wire::EdgeDifference { is_added, id, source, source_handle, target, target_handle }
}
