//! Batches of runs: started, read, cancelled.

use std::collections::BTreeSet;
use std::sync::Arc;

use heddle_core::batch::{BatchCreated, BatchId, BatchSubmission, Plan};
use heddle_core::graph::Graph;
use heddle_core::id::{NodeIx, PortIx, Slot, WorkflowId};
use heddle_core::limits::BATCH_RUNS_UNDER_WAY_MAX;
use heddle_core::partition::batch::KeyRow;
use heddle_core::partition::io::{Input, Refusal, Reply};
use heddle_core::value::{Digest, Value};
use heddle_crash_point::crash_point;
use heddle_proto::control as wire;
use tonic::Status;

use super::{failure, run_requests};
use crate::artifacts::submitted;
use crate::auth::{self, Tenant};
use crate::journal::codec;
use crate::limits::{BATCH_RUNS_PER_ANSWER_DEFAULT, BATCH_RUNS_PER_ANSWER_MAX, BATCH_STARTS_PER_ANSWER_MAX};
use crate::read::batches::{self, Page};
use crate::resume::carried::Carried;
use crate::shared::Shared;

/// A submission with values to iterate over, checked as far as one without is.
pub(super) struct Checked<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) workflow: WorkflowId,
    pub(super) graph: Arc<Graph>,
    /// What runs.
    pub(super) part: Vec<NodeIx>,
    pub(super) target: Option<NodeIx>,
    /// Values that are the same for all runs.
    pub(super) inputs: Vec<(NodeIx, Value)>,
    /// What is taken over from earlier runs.
    pub(super) carried: Option<Carried>,
    pub(super) key: Option<KeyRow>,
    pub(super) slot: Slot,
}

/// Starts a batch: one run for each combination of values, or nothing.
pub(super) async fn submit(
    shared: &Arc<Shared>,
    request: &wire::SubmitRequest,
    checked: Checked<'_>,
) -> Result<wire::SubmitReply, Status> {
    let Checked { tenant, workflow, graph, part, target, inputs, carried, key, slot } = checked;
    let axes = graph.read_iterators(&part, &request.iterator_configs_json).map_err(failure::bad_inputs)?;
    let traceparent = Some(request.traceparent.as_str()).filter(|text| !text.is_empty()).map(Arc::from);
    let sandbox = request.sandbox || shared.sandbox;
    let deadline = run_requests::deadline(request.deadline_ms);
    let mut plan = Plan { axes, inputs, target, traceparent, sandbox, inherited: None, deadline };
    let mut artifacts = resolved(shared, tenant, (&graph, &request.iterator_configs_json), &mut plan).await?;
    graph.complete_inputs(&part, &plan.inputs_of_all()).map_err(failure::bad_inputs)?;
    plan.inputs.retain(|(ix, _)| part.binary_search(ix).is_ok());
    let mut stale_dependencies = Vec::new();
    if let Some(carried) = carried {
        let (first, total) = (plan.inputs_of(0), plan.total());
        let (inherited, stale) = carried.inherited_by_all(shared, (&graph, &part, target), &first, total).await?;
        let values = inherited.offers.iter().flat_map(|(_, values)| values);
        artifacts.extend(values.filter_map(Value::artifact).map(|artifact| artifact.digest));
        plan.inherited = Some(Box::new(inherited));
        stale_dependencies = stale;
    }
    let batch = BatchId::new(shared.clock.now(), slot, shared.seed());
    let created = BatchCreated {
        tenant: tenant.id().clone(),
        subject: request.subject.as_str().into(),
        workflow,
        graph: graph.digest(),
        created_at: shared.clock.now(),
        total: plan.total(),
        stride: plan.stride(),
        artifacts: artifacts.into_iter().collect(),
    };
    let (total, stride) = (created.total, created.stride);
    let kept =
        shared.batches.rows.put_plan(tenant.clone(), batch, codec::encode_plan(&plan).into(), created.created_at);
    kept.await.map_err(|error| failure::journal(&error))?;
    crash_point!("batches.planned");
    let submission = Box::new(BatchSubmission { batch, created, key });
    let partition = shared.journal.partitions().of(slot);
    let reply = shared.doors.request(partition, |caller| Input::SubmitBatch(caller, submission)).await;
    let is_begun_or_unknown = match reply {
        Reply::BatchSubmitted { batch: started, .. } => started == batch,
        Reply::Refused(refusal) => refusal == Refusal::Retry,
        _ => false,
    };
    if !is_begun_or_unknown {
        let forgotten = shared.batches.rows.forget_plan(tenant.clone(), batch).await;
        forgotten.unwrap_or_else(|error| tracing::warn!(%batch, %error, "a plan that nobody needs is left behind"));
    }
    match reply {
        Reply::BatchSubmitted { batch, workflow, created_at, replayed } => Ok(wire::SubmitReply {
            execution_id: batch.run(0).to_string(),
            workflow_id: workflow.to_string(),
            batch_id: batch.to_string(),
            started_at_ms: created_at.as_millis(),
            replayed,
            runs: started(batch, total, stride),
            runs_total: total,
            stale_dependencies,
        }),
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a batch was answered as something else")),
    }
}

/// The first runs of a batch, as they stand when it has just been accepted.
fn started(batch: BatchId, total: u32, stride: u32) -> Vec<wire::StartedRun> {
    let run = |index: u32| wire::StartedRun {
        id: batch.run(index).to_string(),
        run_index_in_batch: index,
        input_index: index / stride.max(1),
        pending: index as usize >= BATCH_RUNS_UNDER_WAY_MAX,
    };
    (0..total.min(BATCH_STARTS_PER_ANSWER_MAX)).map(run).collect()
}

/// Puts artifacts in the place of their descriptions; says which there are, each once.
async fn resolved(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    (graph, iterator_configs): (&Graph, &[u8]),
    plan: &mut Plan,
) -> Result<BTreeSet<Digest>, Status> {
    let mut artifacts = BTreeSet::new();
    for (node, place, value) in plan.values_mut() {
        if value.artifact().is_none() {
            let found = submitted::value_of(shared, tenant, value, graph.list_place(node, PortIx(0))).await?;
            *value = found.map_err(|problem| {
                let at = match place {
                    Some(place) => graph.iterator_path(iterator_configs, node, place),
                    None => graph.input_path(node),
                };
                failure::bad_inputs(vec![problem.node(&graph.node(node).id).at(at)])
            })?;
        }
        artifacts.extend(value.artifact().map(|artifact| artifact.digest));
    }
    Ok(artifacts)
}

pub(super) async fn get(shared: &Arc<Shared>, request: wire::BatchRequest) -> Result<wire::Batch, Status> {
    let (tenant, batch) = (auth::tenant(&request)?, batch_id(&request.batch_id)?);
    let page = Page {
        offset: request.offset,
        limit: match request.limit {
            0 => BATCH_RUNS_PER_ANSWER_DEFAULT,
            limit => limit.min(BATCH_RUNS_PER_ANSWER_MAX),
        },
        with_nodes: request.with_nodes,
    };
    batches::batch(shared, &tenant, batch, page).await.map_err(read)
}

/// Asks a batch to stop; once more changes nothing.
pub(super) async fn cancel(shared: &Arc<Shared>, request: wire::CancelBatchRequest) -> Result<wire::Batch, Status> {
    failure::if_stalled(shared)?;
    let (tenant, batch) = (auth::tenant(&request)?, batch_id(&request.batch_id)?);
    let by = request.subject.as_str().into();
    // A batch that is over has no owner any more; so its row is looked at first.
    if batches::row(shared, &tenant, batch).await.map_err(read)?.is_none() {
        return cancel_alone(shared, &tenant, batch, request).await;
    }
    let partition = shared.journal.partitions().of(batch.slot());
    let ask = |caller| Input::CancelBatch { caller, batch, tenant: tenant.id().clone(), by };
    match shared.doors.request(partition, ask).await {
        Reply::BatchCancelled => {}
        Reply::Refused(Refusal::NotFound) => {
            let row = batches::row(shared, &tenant, batch).await.map_err(read)?.ok_or_else(batch_not_found)?;
            if row.state.ended_at.is_none() {
                return Err(failure::refused(Refusal::Retry));
            }
            if row.state.cancelled.is_none() {
                let message = "the batch is over already: all its runs are";
                return Err(failure::plain(409, "batch_over", message));
            }
        }
        Reply::Refused(refusal) => return Err(failure::refused(refusal)),
        _ => return Err(Status::internal("a cancel was answered as something else")),
    }
    let page = Page { offset: 0, limit: BATCH_RUNS_PER_ANSWER_DEFAULT, with_nodes: false };
    batches::batch(shared, &tenant, batch, page).await.map_err(read)
}

/// Stops a run that was started alone, as the batch that it is.
async fn cancel_alone(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    batch: BatchId,
    request: wire::CancelBatchRequest,
) -> Result<wire::Batch, Status> {
    let run = batches::run_alone(shared, tenant, batch).await.map_err(read)?.ok_or_else(batch_not_found)?;
    let wire::CancelBatchRequest { tenant: named, subject, reason, .. } = request;
    let request = wire::CancelRunRequest { tenant: named, execution_id: run.to_string(), subject, reason };
    run_requests::cancel(shared, request).await?;
    let page = Page { offset: 0, limit: 1, with_nodes: false };
    batches::batch(shared, tenant, batch, page).await.map_err(read)
}

fn batch_id(text: &str) -> Result<BatchId, Status> {
    text.parse().map_err(|_| batch_not_found())
}

fn batch_not_found() -> Status {
    failure::plain(404, "batch_not_found", "Batch not found")
}

fn read(error: crate::read::runs::ReadError) -> Status {
    match error {
        crate::read::runs::ReadError::NotFound => batch_not_found(),
        error => failure::read(error),
    }
}
