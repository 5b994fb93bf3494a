//! Small changes of a saved workflow: one node, where nodes lie, a copy of the whole.
//!
//! A change is made of what is saved now, and written only if that is still so (compare and swap). Whoever names the
//! state that they have seen is told when it is another; for all others the change is made again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::graph::{Draft, EditError, Gaps, NodePatch};
use heddle_core::id::WorkflowId;
use heddle_core::time::Timestamp;
use heddle_proto::control as wire;
use heddle_proto::limits::{REQUEST_BODY_BYTES_MAX, WORKFLOW_NAME_CHARS_MAX};
use tonic::Status;

use super::run_requests::key_row;
use super::{failure, workflow_requests};
use crate::auth::{self, Tenant};
use crate::limits::{EDIT_PAUSE_MAX, EDIT_TRIES_MAX};
use crate::records::{SaveWorkflow, Saved, Usage, WorkflowRow};
use crate::shared::Shared;

/// What a name of a copy ends with.
const COPY: &str = " (copy)";
/// Space between columns, and between the nodes of one, unless the request says otherwise.
const GAPS: Gaps = Gaps { x: 120.0, y: 60.0 };

/// Whose change of which workflow.
struct Edit {
    tenant: Tenant,
    workflow: WorkflowId,
    subject: String,
    /// The state that the caller has seen.
    base: Option<Timestamp>,
    /// Whether it may make something wrong that was not; where nodes lie never does.
    is_checked: bool,
}

pub(super) async fn patch_node(
    shared: &Arc<Shared>,
    request: wire::PatchNodeRequest,
) -> Result<wire::PatchedNode, Status> {
    failure::if_stalled(shared)?;
    let edit = Edit {
        tenant: auth::tenant(&request)?,
        workflow: request.workflow_id.parse().map_err(|_| failure::workflow_not_found())?,
        subject: request.subject.clone(),
        base: workflow_requests::base(&request.base_updated_at)?,
        is_checked: true,
    };
    let given = |json: &'_ Bytes| (!json.is_empty()).then(|| json.clone());
    let (config, params) = (given(&request.config_json), given(&request.params_json));
    let position = given(&request.position_json);
    let patch = NodePatch {
        config: config.as_deref(),
        params: params.as_deref(),
        label: request.label.as_deref(),
        position: position.as_deref(),
    };
    let (row, draft, ()) = edit.make(shared, |draft| Ok((draft.patched(&request.node_id, patch)?, ()))).await?;
    let output = input_output(shared, &edit.tenant, &row, &request.node_id).await;
    let node = match output {
        Some(output) => draft.node_with_output(&request.node_id, &output),
        None => draft.node_text(&request.node_id).map(str::to_owned),
    };
    Ok(wire::PatchedNode {
        node_json: node.unwrap_or_default().into(),
        updated_at_ms: row.updated_at.as_millis(),
        version: row.version,
    })
}

/// What an input node of the saved graph gives by itself: a JSON object with its port. None of other nodes, and of a graph
/// that cannot run as it is.
async fn input_output(shared: &Shared, tenant: &Tenant, row: &WorkflowRow, node_id: &str) -> Option<String> {
    let graph = shared.graphs.get(tenant, row.graph).await.ok()?;
    let ix = graph.find(node_id)?;
    let value = graph.input_default(ix)?;
    let port = graph.node(ix).node_type.as_ref()?.outputs.first()?.id.to_string();
    let value = std::str::from_utf8(value.json()).ok()?;
    Some(format!("{{{}:{value}}}", serde_json::Value::from(port)))
}

pub(super) async fn lay_out(shared: &Arc<Shared>, request: wire::LayOutRequest) -> Result<wire::Layout, Status> {
    failure::if_stalled(shared)?;
    let edit = Edit {
        tenant: auth::tenant(&request)?,
        workflow: request.workflow_id.parse().map_err(|_| failure::workflow_not_found())?,
        subject: request.subject.clone(),
        base: None,
        is_checked: false,
    };
    let gaps = Gaps { x: request.gap_x.unwrap_or(GAPS.x), y: request.gap_y.unwrap_or(GAPS.y) };
    let scope = request.is_scoped.then_some(request.scope.as_slice());
    let laid_out = edit.make(shared, |draft| {
        let layout = draft.lay_out(gaps, scope)?;
        Ok((draft.moved(&layout.positions)?, layout))
    });
    let (row, draft, layout) = laid_out.await?;
    let positions = layout.positions.iter().map(|(place, at)| wire::NodePosition {
        node_id: draft.node_id(*place).to_owned(),
        x: at.x,
        y: at.y,
    });
    let bounds = layout.bounds;
    Ok(wire::Layout {
        positions: positions.collect(),
        moved: layout.moved as u32,
        bounds: Some(wire::Bounds {
            x: bounds.corner.x,
            y: bounds.corner.y,
            width: bounds.width,
            height: bounds.height,
        }),
        updated_at_ms: row.updated_at.as_millis(),
        version: row.version,
    })
}

pub(super) async fn duplicate(
    shared: &Arc<Shared>,
    request: wire::DuplicateWorkflowRequest,
) -> Result<wire::SavedWorkflow, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let id = request.workflow_id.parse().map_err(|_| failure::workflow_not_found())?;
    let row = shared.workflows.get(&tenant, id).await.map_err(|error| failure::journal(&error))?;
    let row = row.ok_or_else(failure::workflow_not_found)?;
    workflow_requests::refuse_secrets(shared, &tenant, row.graph).await?;
    let key = request.idempotency.as_ref().map(|given| key_row(&tenant, given)).transpose()?;
    let name = if request.name.is_empty() { copy_of(&row.name) } else { request.name };
    let save = SaveWorkflow {
        tenant,
        id: workflow_requests::fresh_id(shared),
        must_exist: false,
        name: Some(name.into()),
        description: Some(row.description),
        tags: Some(row.tags),
        is_active: Some(row.is_active),
        graph: Some(row.graph),
        base_updated_at: None,
        now: shared.clock.now(),
        usage: Usage::default(),
        key,
        subject: request.subject.as_str().into(),
    };
    workflow_requests::write(shared, save).await
}

/// What a copy is called. A long name loses its end.
fn copy_of(name: &str) -> String {
    let kept: String = name.chars().take(WORKFLOW_NAME_CHARS_MAX - COPY.len()).collect();
    kept + COPY
}

impl Edit {
    /// Makes the change, and gives the workflow and its graph as they are now with what the change told. A change that
    /// changes nothing is not written.
    async fn make<T>(
        &self,
        shared: &Shared,
        change: impl Fn(&Draft) -> Result<(Draft, T), EditError>,
    ) -> Result<(WorkflowRow, Draft, T), Status> {
        let mut tries = 1;
        loop {
            let row = self.seen(shared).await?;
            let before = shared.graphs.document(&self.tenant, row.graph).await.map_err(failure::graph)?;
            let (draft, told) = change(&before).map_err(refused)?;
            let graph = draft.stored().digest();
            if graph == row.graph {
                return Ok((row, draft, told));
            }
            fits(&draft)?;
            if self.is_checked {
                shared
                    .graphs
                    .check_change(&before, &draft)
                    .map_err(|problems| failure::invalid_graph(problems, Vec::new()))?;
            }
            shared.graphs.keep_unchecked(&self.tenant, &draft).await.map_err(|error| failure::journal(&error))?;
            let saved = shared.records.save_workflow(SaveWorkflow {
                tenant: self.tenant.clone(),
                id: self.workflow,
                must_exist: true,
                name: None,
                description: None,
                tags: None,
                is_active: None,
                graph: Some(graph),
                base_updated_at: Some(row.updated_at),
                now: shared.clock.now(),
                usage: Usage::default(),
                key: None,
                subject: self.subject.as_str().into(),
            });
            let saved = saved.await;
            shared.workflows.changed(&self.tenant, self.workflow);
            match saved.map_err(|error| failure::journal(&error))? {
                Saved::Done { row, .. } => return Ok((row, draft, told)),
                Saved::Stale { .. } if self.base.is_none() && tries < EDIT_TRIES_MAX => {}
                Saved::Stale { updated_at } => return Err(workflow_requests::stale(updated_at, Some(row.updated_at))),
                Saved::NotFound => return Err(failure::workflow_not_found()),
                Saved::Replayed { .. } | Saved::KeyMismatch => {
                    return Err(Status::internal("a write without a key was answered as one with a key"));
                }
            }
            tries += 1;
            // Those who met do not meet again.
            let pause = rand::random_range(Duration::ZERO..EDIT_PAUSE_MAX);
            tokio::time::sleep(pause).await;
        }
    }

    /// The workflow as it is now, if that is what the caller has seen.
    async fn seen(&self, shared: &Shared) -> Result<WorkflowRow, Status> {
        let read = || async {
            let row = shared.workflows.get(&self.tenant, self.workflow).await;
            row.map_err(|error| failure::journal(&error))?.ok_or_else(failure::workflow_not_found)
        };
        let is_other = |row: &WorkflowRow| self.base.is_some_and(|base| base != row.updated_at);
        let mut row = read().await?;
        if is_other(&row) {
            // What is at hand may be older than what the caller has seen.
            shared.workflows.changed(&self.tenant, self.workflow);
            row = read().await?;
        }
        match self.base.filter(|_| is_other(&row)) {
            Some(base) => Err(workflow_requests::stale(row.updated_at, Some(base))),
            None => Ok(row),
        }
    }
}

/// A graph that grew change by change must not outgrow what one message brings.
fn fits(draft: &Draft) -> Result<(), Status> {
    let stored = draft.stored();
    let bytes = stored.nodes.len() + stored.edges.len() + stored.policy.len();
    if bytes <= REQUEST_BODY_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the graph would have {bytes} bytes; it has at most {REQUEST_BODY_BYTES_MAX}");
    Err(failure::plain(413, "graph_too_large", message))
}

fn refused(error: EditError) -> Status {
    match error {
        EditError::NodeNotFound(id) => {
            failure::plain(404, "node_not_found", format!("the workflow has no node {id:?}; read it again"))
        }
        EditError::BadField(name, what) => failure::plain(400, "invalid_field", format!("{name} {what}")),
        EditError::Refused(problems) => failure::invalid_graph(problems, Vec::new()),
    }
}
