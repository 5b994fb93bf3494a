//! Workflows and node types: saved, read, checked, listed.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::graph::{Compiled, Draft, Graph, Problem, Stored};
use heddle_core::id::{Slot, WorkflowId};
use heddle_core::partition::permits::Need;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use heddle_proto::control as wire;
use prost::Message as _;
use tonic::Status;

use super::run_requests::key_row;
use super::{failure, operate};
use crate::auth::{self, Tenant};
use crate::children;
use crate::graphs;
use crate::limits::{WORKFLOWS_PAGE_BYTES, WORKFLOWS_PAGE_MAX};
use crate::records::{SaveWorkflow, Saved, Usage, WorkflowPage, WorkflowRow};
use crate::resume::cached;
use crate::shared::Shared;

pub(super) async fn save(
    shared: &Arc<Shared>,
    request: wire::SaveWorkflowRequest,
) -> Result<wire::SavedWorkflow, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let id = workflow_id(shared, &request)?;
    let key = request.idempotency.as_ref().map(|given| key_row(&tenant, given)).transpose()?;
    let (graph, diagnosis) = match &request.graph {
        None => (None, failure::diagnosis(Vec::new(), Vec::new(), &[])),
        Some(json) => {
            let (digest, diagnosis) = keep_graph(shared, &tenant, json, request.strict).await?;
            (Some(digest), diagnosis)
        }
    };
    let description = request.description.map(|text| Some(text).filter(|text| !text.is_empty()).map(Arc::from));
    let save = SaveWorkflow {
        tenant,
        id,
        must_exist: request.must_exist,
        name: request.name.map(Arc::from),
        description,
        tags: request.tags_given.then(|| request.tags.iter().map(|tag| tag.as_str().into()).collect()),
        is_active: request.is_active,
        graph,
        base_updated_at: base(&request.base_updated_at)?,
        now: shared.clock.now(),
        usage: Usage::default(),
        key,
        subject: request.subject.as_str().into(),
    };
    let saved = write(shared, save).await?;
    Ok(wire::SavedWorkflow { diagnosis: Some(diagnosis), ..saved })
}

/// Writes a workflow, whose graph is kept already. Its runs are counted before: the writer has others waiting, and a
/// repeated request is answered what the first was.
pub(super) async fn write(shared: &Shared, save: SaveWorkflow) -> Result<wire::SavedWorkflow, Status> {
    let (owner, id) = (save.tenant.clone(), save.id);
    let known = shared.records.workflow(owner.clone(), id).await.map_err(|error| failure::journal(&error))?;
    let usage = known.map_or_else(Usage::default, |row| Usage {
        execution_count: row.execution_count,
        last_executed_at: row.last_executed_at,
    });
    let saved = shared.records.save_workflow(SaveWorkflow { usage, ..save }).await;
    shared.workflows.changed(&owner, id);
    let (row, created, replayed) = match saved.map_err(|error| failure::journal(&error))? {
        Saved::Done { row, created } => (row, created, false),
        Saved::Replayed { row, created } => (row, created, true),
        Saved::KeyMismatch => return Err(failure::key_mismatch()),
        Saved::NotFound => return Err(failure::workflow_not_found()),
        Saved::Stale { updated_at } => return Err(stale(updated_at, None)),
    };
    let diagnosis = Some(failure::diagnosis(Vec::new(), Vec::new(), &[]));
    Ok(wire::SavedWorkflow { workflow: Some(to_wire(&row)), diagnosis, created, replayed })
}

/// The id in the request, which may be new, or a fresh one.
fn workflow_id(shared: &Shared, request: &wire::SaveWorkflowRequest) -> Result<WorkflowId, Status> {
    if request.id.is_empty() {
        return Ok(fresh_id(shared));
    }
    request.id.parse().map_err(|_| failure::workflow_not_found())
}

/// An id that no workflow has.
pub(super) fn fresh_id(shared: &Shared) -> WorkflowId {
    let random = u128::from(shared.seed()) << 64 | u128::from(shared.seed());
    WorkflowId::new(shared.clock.now(), Slot(0), random)
}

async fn keep_graph(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    json: &wire::GraphJson,
    strict: bool,
) -> Result<(Digest, wire::Diagnosis), Status> {
    let draft = parse(json)?;
    let compiled = shared.graphs.compile(&draft, strict, false);
    let Compiled { graph, mut warnings, migrations } =
        compiled.map_err(|problems| failure::invalid_graph(problems, Vec::new()))?;
    warnings.extend(of_children(shared, tenant, &graph).await?);
    warnings.extend(graph.far_waits(shared.clock.now()));
    shared.graphs.put(tenant, &draft).await.map_err(failure::graph)?;
    Ok((draft.stored().digest(), failure::diagnosis(Vec::new(), warnings, &migrations)))
}

/// What is odd between a graph and the workflows that it runs: what is not saved here may come later.
async fn of_children(shared: &Arc<Shared>, tenant: &Tenant, graph: &Graph) -> Result<Vec<Problem>, Status> {
    let checked = children::check(shared, tenant, graph).await;
    Ok(checked.map_err(|error| failure::journal(&error))?.all())
}

/// Refuses to keep a graph anew that has secrets in it.
pub(super) async fn refuse_secrets(shared: &Shared, tenant: &Tenant, graph: Digest) -> Result<(), Status> {
    let draft = shared.graphs.document(tenant, graph).await.map_err(failure::graph)?;
    shared.graphs.check_secrets(&draft).map_err(|problems| failure::invalid_graph(problems, Vec::new()))
}

fn parse(json: &wire::GraphJson) -> Result<Draft, Status> {
    let draft = graphs::draft(&json.nodes, &json.edges, &json.policy);
    draft.map_err(|problems| failure::invalid_graph(problems, Vec::new()))
}

/// The instant of a conditional write, as the gateway read it from `updatedAt`.
pub(super) fn base(text: &str) -> Result<Option<Timestamp>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong =
        || failure::plain(400, "invalid_field", "baseUpdatedAt is the updatedAt of an earlier answer, as it came");
    let parsed = text.parse::<jiff::Timestamp>().map_err(|_| wrong())?;
    Ok(Some(Timestamp::from_millis(parsed.as_millisecond())))
}

/// `base`: what the write was compared with, if its caller has not named it.
pub(super) fn stale(updated_at: Timestamp, base: Option<Timestamp>) -> Status {
    failure::failure(wire::Failure {
        code: "stale_write".into(),
        http_status: 409,
        message: "somebody else changed this workflow since; read it again, then write".into(),
        current_updated_at: shown(updated_at),
        base_updated_at: base.map_or_else(String::new, shown),
        ..Default::default()
    })
}

fn shown(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis()).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

pub(super) async fn get(shared: &Arc<Shared>, request: wire::WorkflowRequest) -> Result<wire::Workflow, Status> {
    let row = find(shared, &request).await?;
    let draft = shared.graphs.document(&Tenant::of_workflow(&row), row.graph).await.map_err(failure::graph)?;
    let Stored { edges, policy, .. } = draft.stored().clone();
    let graph = wire::GraphJson { nodes: draft.nodes_with_dims(), edges, policy };
    let cached = if request.with_cached { cached::of_workflow(shared, &row).await? } else { Vec::new() };
    Ok(wire::Workflow { graph: Some(graph), cached, ..to_wire(&row) })
}

async fn find(shared: &Arc<Shared>, request: &wire::WorkflowRequest) -> Result<WorkflowRow, Status> {
    let id = request.id.parse().map_err(|_| failure::workflow_not_found())?;
    let row = shared.records.workflow(auth::tenant(request)?, id).await;
    row.map_err(|error| failure::journal(&error))?.ok_or_else(failure::workflow_not_found)
}

pub(super) async fn list(
    shared: &Arc<Shared>,
    request: wire::ListWorkflowsRequest,
) -> Result<wire::WorkflowList, Status> {
    let limit = match request.limit as usize {
        0 => WORKFLOWS_PAGE_MAX,
        limit => limit.min(WORKFLOWS_PAGE_MAX),
    };
    let page = WorkflowPage { is_active: request.is_active, after: cursor_from(&request.cursor)?, limit: limit + 1 };
    let rows = shared.records.workflows(auth::tenant(&request)?, page).await;
    let mut rows = rows.map_err(|error| failure::journal(&error))?;
    let all = rows.len();
    rows.truncate(limit);
    let (mut workflows, mut bytes) = (Vec::with_capacity(rows.len()), 0);
    for row in &rows {
        let workflow = to_wire(row);
        bytes += workflow.encoded_len();
        // Names and descriptions may be long: a page is cut where it would become too large, but never to nothing.
        if bytes > WORKFLOWS_PAGE_BYTES && !workflows.is_empty() {
            break;
        }
        workflows.push(workflow);
    }
    let next_cursor = match rows.get(workflows.len().saturating_sub(1)) {
        Some(last) if workflows.len() < all => format!("{}-{}", last.updated_at.as_millis(), last.id),
        _ => String::new(),
    };
    Ok(wire::WorkflowList { workflows, next_cursor })
}

fn cursor_from(text: &str) -> Result<Option<(Timestamp, WorkflowId)>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed =
        text.split_once('-').and_then(|(at, id)| Some((Timestamp::from_millis(at.parse().ok()?), id.parse().ok()?)));
    parsed.map(Some).ok_or_else(failure::bad_cursor)
}

pub(super) async fn delete(
    shared: &Arc<Shared>,
    request: wire::WorkflowRequest,
) -> Result<wire::DeletedWorkflow, Status> {
    failure::if_stalled(shared)?;
    let id = request.id.parse().map_err(|_| failure::workflow_not_found())?;
    let tenant = auth::tenant(&request)?;
    let deleted = shared.records.delete_workflow(tenant.clone(), id).await;
    shared.workflows.changed(&tenant, id);
    match deleted.map_err(|error| failure::journal(&error))? {
        true => {
            // Should that not come about, the next look at the rules makes up for it.
            if let Err(error) = shared.alerts.forget_alerts(tenant, id, shared.clock.now()).await {
                tracing::warn!(%error, workflow = %id, "the alert rules of a deleted workflow are still there");
            }
            Ok(wire::DeletedWorkflow {})
        }
        false => Err(failure::workflow_not_found()),
    }
}

pub(super) async fn lint(shared: &Arc<Shared>, request: wire::LintRequest) -> Result<wire::Diagnosis, Status> {
    let tenant = auth::tenant(&request)?;
    let graph = request.graph.unwrap_or_default();
    let draft = graphs::draft(&graph.nodes, &graph.edges, &graph.policy);
    let compiled = draft.and_then(|draft| shared.graphs.compile(&draft, true, true));
    Ok(match compiled {
        Ok(Compiled { graph, mut warnings, migrations }) => {
            warnings.extend(of_children(shared, &tenant, &graph).await?);
            warnings.extend(graph.far_waits(shared.clock.now()));
            failure::diagnosis(Vec::new(), warnings, &migrations)
        }
        Err(problems) => failure::diagnosis(problems, Vec::new(), &[]),
    })
}

pub(super) async fn describe_inputs(
    shared: &Arc<Shared>,
    request: wire::WorkflowRequest,
) -> Result<wire::InputList, Status> {
    let row = find(shared, &request).await?;
    let graph = shared.graphs.get(&Tenant::of_workflow(&row), row.graph).await.map_err(failure::graph)?;
    let inputs = graph.describe_inputs().into_iter().map(|input| wire::InputDescription {
        node_id: input.node_id.to_string(),
        label: input.label.to_string(),
        r#type: input.kind.into(),
        required: input.required,
        default_json: input.default.map_or_else(Bytes::new, |value| value.json().clone()),
        description: input.description.unwrap_or_default(),
    });
    Ok(wire::InputList {
        workflow_id: row.id.to_string(),
        workflow_name: row.name.to_string(),
        inputs: inputs.collect(),
    })
}

/// All node types, or the one of this id.
pub(super) fn node_types(shared: &Arc<Shared>, only: &str) -> Result<wire::NodeTypeList, Status> {
    let types = shared.graphs.types();
    if !only.is_empty() && types.get(only).is_none() {
        return Err(failure::node_type_not_found(&types, only));
    }
    let permits = shared.permits();
    let asked = types.iter().filter(|node_type| only.is_empty() || *node_type.id == *only);
    let entries = asked.map(|node_type| {
        let (type_id, labels) = (node_type.id.clone(), Vec::new());
        let need = Need { type_id, version: node_type.version, prefetch: false, alone: false, labels, key: None };
        let pause = shared.node_pause(&node_type.id).map(|row| operate::to_wire(&row));
        let is_run = heddle_core::control_types::control_of(&node_type.id).is_some() || permits.is_offered(&need);
        let available = is_run && pause.is_none();
        let json = serde_json::to_vec(&**node_type).map_err(|error| Status::internal(error.to_string()))?;
        Ok(wire::NodeTypeEntry { manifest_json: json.into(), available, pause })
    });
    Ok(wire::NodeTypeList { types: entries.collect::<Result<_, Status>>()? })
}

fn to_wire(row: &WorkflowRow) -> wire::Workflow {
    wire::Workflow {
        id: row.id.to_string(),
        name: row.name.to_string(),
        description: row.description.as_ref().map(ToString::to_string),
        tags: row.tags.iter().map(ToString::to_string).collect(),
        is_active: row.is_active,
        version: row.version,
        created_at_ms: row.created_at.as_millis(),
        updated_at_ms: row.updated_at.as_millis(),
        execution_count: row.execution_count,
        last_executed_at_ms: row.last_executed_at.map(|at| at.as_millis()),
        graph: None,
        cached: Vec::new(),
    }
}
