//! Runs: started, read, listed, followed, cancelled.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use heddle_core::graph::Graph;
use heddle_core::id::{RunId, Slot, WorkflowId};
use heddle_core::limits::RUN_DEADLINE_MAX;
use heddle_core::partition::batch::{IdempotencyKey, KeyRow};
use heddle_core::partition::io::{Input, Refusal, Reply, Submission};
use heddle_core::run::lineage::Lineage;
use heddle_core::run::{RunStatus, resume};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;
use heddle_proto::control as wire;
use heddle_proto::limits::READ_WAIT_SECONDS_MAX;
use heddle_proto::stream_place::StreamPlace;
use prost::Message as _;
use tonic::Status;

use super::{batch_requests, failure, operate};
use crate::artifacts::submitted;
use crate::auth::{self, Tenant};
use crate::children;
use crate::graphs;
use crate::journal::{RunCursor, RunFilter};
use crate::limits::ANSWER_VALUES_BYTES;
use crate::read::batches;
use crate::read::events::{self as history, Wanted};
use crate::read::runs::{self, Ask, ReadError};
use crate::read::versions::Versions;
use crate::resume::{carried, family};
use crate::shared::Shared;

/// Rows in one page of a list of runs.
const LIST_MAX: u32 = 200;
const LIST_DEFAULT: u32 = 50;

pub(super) async fn submit(shared: &Arc<Shared>, request: wire::SubmitRequest) -> Result<wire::SubmitReply, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let workflow: WorkflowId = request.workflow_id.parse().map_err(|_| failure::workflow_not_found())?;
    let key = request.idempotency.as_ref().map(|given| key_row(&tenant, given)).transpose()?;
    let graph = graph_of(shared, &tenant, workflow, request.graph.as_ref()).await?;
    let target = Some(request.target_node_id.as_str()).filter(|target| !target.is_empty());
    let target = target.map(|id| graph.find(id).ok_or_else(|| graph.unknown_target(id))).transpose();
    let target = target.map_err(|problem| failure::invalid_graph(vec![problem], Vec::new()))?;
    if request.only && target.is_none() {
        return Err(failure::plain(422, "only_needs_target", "\"only\" runs one node: name it as targetNodeId"));
    }
    let carried = carried::resolve(shared, &tenant, (workflow, &graph, target), &request).await?;
    let part = match &carried {
        Some(carried) => carried.part(&graph, target),
        None => resume::part(&graph, &Lineage::default(), target),
    };
    let known = carried.as_ref().map_or(&[][..], |carried| carried.known());
    graph.can_execute(&part, known).map_err(|problems| failure::invalid_graph(problems, Vec::new()))?;
    let fits = children::check(shared, &tenant, &graph).await.map_err(|error| failure::journal(&error))?;
    if !fits.unfit.is_empty() {
        return Err(failure::invalid_graph(fits.unfit, fits.unknown));
    }
    let given = match request.inputs_json.is_empty() {
        true => Vec::new(),
        false => graph.bind_inputs(&request.inputs_json).map_err(failure::bad_inputs)?,
    };
    room(shared, &tenant).await?;
    let slot = match &key {
        Some(row) => Slot::of_hash(hash_of(&row.key)),
        None => shared.new_slot(),
    };
    if !request.iterator_configs_json.is_empty() {
        let tenant = &tenant;
        let inputs = given;
        let checked = batch_requests::Checked { tenant, workflow, graph, part, target, inputs, carried, key, slot };
        return batch_requests::submit(shared, &request, checked).await;
    }
    let given = submitted::resolve(shared, &tenant, &graph, given).await?;
    graph.complete_inputs(&part, &given).map_err(failure::bad_inputs)?;
    let (lineage, stale_dependencies) = match carried {
        None => (None, Vec::new()),
        Some(carried) => {
            let (inherited, stale) = carried.inherited(shared, (&graph, &part, target), &given).await?;
            (Some(Box::new(inherited)), stale)
        }
    };
    let random = u128::from(shared.seed()) << 64 | u128::from(shared.seed());
    let submission = Submission {
        run: RunId::new(shared.clock.now(), slot, random),
        tenant: tenant.id().clone(),
        subject: request.subject.as_str().into(),
        workflow,
        target,
        graph,
        inputs: given.into_iter().filter(|(ix, _)| part.binary_search(ix).is_ok()).collect(),
        key,
        traceparent: Some(request.traceparent.as_str()).filter(|text| !text.is_empty()).map(Arc::from),
        sandbox: request.sandbox || shared.sandbox,
        batch: None,
        lineage,
        deadline: deadline(request.deadline_ms),
        invoked_by: None,
    };
    let partition = shared.partition_of(submission.run);
    match shared.doors.request(partition, |caller| Input::Submit(caller, Box::new(submission))).await {
        Reply::Submitted { run, workflow, created_at, replayed } => Ok(wire::SubmitReply {
            execution_id: run.to_string(),
            workflow_id: workflow.to_string(),
            batch_id: runs::batch_id(run),
            started_at_ms: created_at.as_millis(),
            replayed,
            stale_dependencies,
            ..Default::default()
        }),
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a submission was answered as something else")),
    }
}

/// How long whoever asks lets a run be active; 0 = as its document says, or the server.
pub(crate) fn deadline(millis: u64) -> Option<Span> {
    (millis > 0).then(|| Span::from_millis(millis).min(RUN_DEADLINE_MAX))
}

/// Nothing more is begun for a tenant whose artifacts have used up its quota; what runs goes on.
pub(crate) async fn room(shared: &Shared, tenant: &Tenant) -> Result<(), Status> {
    let room = shared.artifacts.room(tenant).await.map_err(|error| failure::journal(&error))?;
    room.map(drop).map_err(|exceeded| failure::quota(&exceeded))
}

/// The graph in the request, else the one that is saved. The workflow must exist and be active either way.
async fn graph_of(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    workflow: WorkflowId,
    given: Option<&wire::GraphJson>,
) -> Result<Arc<Graph>, Status> {
    let row = shared.workflows.get(tenant, workflow).await.map_err(|error| failure::journal(&error))?;
    let row = row.ok_or_else(failure::workflow_not_found)?;
    if !row.is_active {
        return Err(failure::plain(400, "workflow_inactive", "Workflow is not active"));
    }
    match given {
        None => shared.graphs.get(tenant, row.graph).await.map_err(failure::graph),
        Some(json) => {
            let draft = graphs::draft(&json.nodes, &json.edges, &json.policy);
            let draft = draft.map_err(|problems| failure::invalid_graph(problems, Vec::new()))?;
            shared.graphs.put(tenant, &draft).await.map_err(failure::graph)
        }
    }
}

pub(crate) fn key_row(tenant: &Tenant, given: &wire::Idempotency) -> Result<KeyRow, Status> {
    let body = <[u8; 32]>::try_from(given.body_hash.as_ref())
        .map_err(|_| failure::plain(400, "bad_request", "the body's hash has 32 bytes"))?;
    let key = IdempotencyKey {
        tenant: tenant.id().clone(),
        route: given.route.as_str().into(),
        key: given.key.as_str().into(),
    };
    Ok(KeyRow { key, body: Digest(body) })
}

/// The same key always leads to the same slot, so that a request lands where its twin is (E24).
pub(crate) fn hash_of(key: &IdempotencyKey) -> u64 {
    let text = [&*key.tenant.0, &*key.route, &*key.key].join("\n");
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(text.as_bytes()).0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

pub(super) async fn get(shared: &Arc<Shared>, request: wire::GetRunRequest) -> Result<wire::Run, Status> {
    let run = failure::run_id(&request.execution_id)?;
    let wait_max = Duration::from_secs(READ_WAIT_SECONDS_MAX);
    let ask = Ask {
        wait: Duration::from_millis(request.wait_ms.into()).min(wait_max),
        nodes_offset: request.nodes_offset as usize,
        nodes_limit: request.nodes_limit as usize,
    };
    let tenant = auth::tenant(&request)?;
    let found = runs::run(shared, &tenant, run, ask).await.map_err(failure::read)?;
    if request.with_version { with_version(shared, &tenant, run, found).await } else { Ok(found) }
}

/// A run with the version of its workflow; a run of a batch that has not begun it has none yet.
pub(super) async fn with_version(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    run: RunId,
    found: wire::Run,
) -> Result<wire::Run, Status> {
    let row = match runs::row(shared, tenant, run).await {
        Err(ReadError::NotFound) => return Ok(found),
        row => row.map_err(failure::read)?,
    };
    let workflow_version = Versions::default().of(shared, &row).await.map_err(|error| failure::journal(&error))?;
    Ok(wire::Run { workflow_version, ..found })
}

pub(super) async fn list(shared: &Arc<Shared>, request: wire::ListRunsRequest) -> Result<wire::RunList, Status> {
    let status = match request.status() {
        wire::RunStatus::Unspecified => None,
        wire::RunStatus::Running => Some(RunStatus::Running),
        wire::RunStatus::Completed => Some(RunStatus::Completed),
        wire::RunStatus::Failed => Some(RunStatus::Failed),
        wire::RunStatus::Cancelled => Some(RunStatus::Cancelled),
        // Runs of batches that have not begun have no rows: they are seen through their batch.
        wire::RunStatus::Pending => return Ok(wire::RunList::default()),
    };
    let workflow = match request.workflow_id.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| failure::workflow_not_found())?),
    };
    let tenant = auth::tenant(&request)?;
    if let Some(id) = workflow {
        let known = shared.records.workflow(tenant.clone(), id).await.map_err(|error| failure::journal(&error))?;
        known.ok_or_else(failure::workflow_not_found)?;
    }
    let parent = match request.parent_execution_id.as_str() {
        "" => None,
        text => Some(failure::run_id(text)?),
    };
    if let Some(parent) = parent {
        runs::row(shared, &tenant, parent).await.map_err(failure::read)?;
    }
    let filter = RunFilter {
        tenant: tenant.clone(),
        workflow,
        status,
        parent,
        from: request.from_ms.map(Timestamp::from_millis),
        to: request.to_ms.map(Timestamp::from_millis),
    };
    let limit = if request.limit == 0 { LIST_DEFAULT } else { request.limit.min(LIST_MAX) } as usize;
    let rows = shared.journal.list_runs(filter, cursor_from(&request.cursor)?, limit + 1).await;
    let mut rows = rows.map_err(|error| failure::journal(&error))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let (mut found, mut bytes) = (Vec::with_capacity(rows.len()), 0);
    let mut versions = Versions::default();
    let families = family::families(shared, &tenant, &rows).await?;
    for row in &rows {
        let run = match request.with_nodes {
            true => runs::with_nodes(shared, row, Ask::default()).await.map_err(failure::read)?,
            false => family::shown(runs::summary(row), families.get(&row.run)),
        };
        let workflow_version = versions.of(shared, row).await.map_err(|error| failure::journal(&error))?;
        let run = wire::Run { workflow_version, ..run };
        bytes += run.encoded_len();
        // What runs gave may be much: a page is cut where it would become too large, but never to nothing.
        if bytes > ANSWER_VALUES_BYTES && !found.is_empty() {
            break;
        }
        found.push(run);
    }
    let next_cursor = match rows.get(found.len().saturating_sub(1)) {
        Some(last) if more || found.len() < rows.len() => {
            format!("{}-{}", last.created.created_at.as_millis(), last.run)
        }
        _ => String::new(),
    };
    Ok(wire::RunList { runs: found, next_cursor })
}

fn cursor_from(text: &str) -> Result<Option<RunCursor>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.split_once('-').and_then(|(at, run)| {
        Some(RunCursor { created_at: Timestamp::from_millis(at.parse().ok()?), run: run.parse().ok()? })
    });
    parsed.map(Some).ok_or_else(failure::bad_cursor)
}

pub(super) async fn events(
    shared: &Arc<Shared>,
    request: wire::ReadEventsRequest,
) -> Result<Pin<Box<dyn Stream<Item = Result<wire::EventPage, Status>> + Send>>, Status> {
    let run = failure::run_id(&request.execution_id)?;
    let tenant = auth::tenant(&request)?;
    let from_seq = StreamPlace { seq: request.after_seq, ..StreamPlace::default() };
    let after = failure::place(&request.after_place)?.unwrap_or(from_seq);
    let until = failure::place(&request.until_place)?;
    let wanted = Wanted { after, until, follow: request.follow, only: None };
    let pages = history::pages(Arc::clone(shared), tenant, run, wanted).await.map_err(failure::read)?;
    Ok(Box::pin(pages.map(|page| page.map_err(failure::read))))
}

pub(super) async fn cancel(shared: &Arc<Shared>, request: wire::CancelRunRequest) -> Result<wire::Run, Status> {
    failure::if_stalled(shared)?;
    let run = failure::run_id(&request.execution_id)?;
    let (tenant, by) = (auth::tenant(&request)?, request.subject.as_str().into());
    let reason = operate::reason(&request.reason)?;
    let ask = |caller| Input::Cancel { caller, run, tenant: tenant.id().clone(), by, reason };
    match shared.doors.request(shared.partition_of(run), ask).await {
        Reply::Cancelled { status, applied, seq } => {
            if !applied && status != RunStatus::Cancelled {
                let status = runs::status(status).as_str_name().trim_start_matches("RUN_STATUS_");
                return Err(failure::plain(409, "execution_over", format!("the run is over already: it is {status}")));
            }
            // The answer is given when its batch has landed, so a read sees at least this.
            tracing::debug!(%run, %seq, "cancelled");
            let found = runs::run(shared, &tenant, run, Ask::default()).await.map_err(failure::read)?;
            with_version(shared, &tenant, run, found).await
        }
        Reply::Refused(Refusal::NotFound) => Err(not_begun(shared, &tenant, run, "or cancel its batch").await),
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a cancel was answered as something else")),
    }
}

/// Why a run that cannot be had cannot be cancelled or paused: there is none, its batch has not begun it, or it was set aside.
pub(super) async fn not_begun(shared: &Arc<Shared>, tenant: &Tenant, run: RunId, instead: &str) -> Status {
    match runs::row(shared, tenant, run).await {
        Err(expired @ ReadError::Expired(_)) => return failure::read(expired),
        Ok(row) => {
            if let Err(set_aside) = failure::if_set_aside(&row) {
                return set_aside;
            }
        }
        Err(_) => {}
    }
    match batches::not_begun(shared, tenant, run).await {
        Ok(run) if run.status() == wire::RunStatus::Running => failure::refused(Refusal::Retry),
        Ok(run) => {
            let message = format!("the run has not begun: wait until it has, {instead} ({})", run.batch_id);
            failure::plain(409, "execution_not_begun", message)
        }
        Err(error) => failure::read(error),
    }
}
