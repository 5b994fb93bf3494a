//! A run as people see it: its history folded, with its values.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::id::{EventSeq, Instance, NodeIx, PortIx, ProviderIx, RunId};
use heddle_core::partition::permits::Need;
use heddle_core::run::event::{Event, NodeError};
use heddle_core::run::view::{NodeState, RunView};
use heddle_core::run::{Corrupt, NodePhase, Run, RunStatus};
use heddle_proto::control as wire;
use prost::Message as _;
use thiserror::Error;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::batches;
use super::values::{self, Kept};
use crate::auth::Tenant;
use crate::graphs::GraphError;
use crate::journal::{JournalError, RunRow};
use crate::limits::{ANSWER_VALUES_BYTES, EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, READ_AGAIN, SKIPPED_NODES_MAX};
use crate::shared::Shared;

/// Nodes in one answer, unless the caller asks for fewer.
const NODES_PAGE: usize = 1_000;

/// Why a run cannot be shown.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error("there is no such run")]
    NotFound,
    #[error("the database could not be read")]
    Journal(#[source] JournalError),
    #[error("the run's graph could not be read")]
    Graph(#[source] GraphError),
    #[error("the run's history does not follow: {0}")]
    Corrupt(#[source] Corrupt),
}

/// What a reader asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask {
    /// Answer when the run is over, or after this long.
    pub(crate) wait: Duration,
    /// Nodes to leave out at the front.
    pub(crate) nodes_offset: usize,
    /// Nodes to show; 0 = the usual number.
    pub(crate) nodes_limit: usize,
}

/// A run with all its nodes, waiting until it is over if the caller wants to.
pub(crate) async fn run(shared: &Arc<Shared>, tenant: &Tenant, id: RunId, ask: Ask) -> Result<wire::Run, ReadError> {
    if ask.wait.is_zero() {
        return current(shared, tenant, id, ask).await;
    }
    let mut end = shared.hub.await_end(id);
    let deadline = tokio::time::Instant::now() + ask.wait;
    let answer = loop {
        // While partitions say that it is active, there is no need to read.
        if shared.hub.active(id).is_none() {
            let found = current(shared, tenant, id, ask).await;
            if !matches!(&found, Ok(run) if is_to_come(run)) {
                break found;
            }
        }
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if timeout(left.min(READ_AGAIN), end.wait_for(|is_over| *is_over)).await.is_ok() || left < READ_AGAIN {
            break current(shared, tenant, id, ask).await;
        }
    };
    drop(end);
    shared.hub.forget(id);
    answer
}

/// Whether there is an end to wait for.
fn is_to_come(run: &wire::Run) -> bool {
    matches!(run.status(), wire::RunStatus::Pending | wire::RunStatus::Running)
}

async fn current(shared: &Arc<Shared>, tenant: &Tenant, id: RunId, ask: Ask) -> Result<wire::Run, ReadError> {
    match row(shared, tenant, id).await {
        Ok(row) => with_nodes(shared, &row, ask).await,
        Err(ReadError::NotFound) => batches::not_begun(shared, tenant, id).await,
        Err(error) => Err(error),
    }
}

/// A run's summary, if it is this tenant's.
pub(crate) async fn row(shared: &Arc<Shared>, tenant: &Tenant, id: RunId) -> Result<RunRow, ReadError> {
    let row = match shared.recent.row(id) {
        Some(row) => Some(row),
        None => shared.journal.read_summary(tenant.clone(), id).await.map_err(ReadError::Journal)?,
    };
    row.filter(|row| row.created.tenant == *tenant.id()).ok_or(ReadError::NotFound)
}

/// A run's summary with its nodes. A run that was set aside shows without them.
pub(crate) async fn with_nodes(shared: &Arc<Shared>, row: &RunRow, ask: Ask) -> Result<wire::Run, ReadError> {
    if row.quarantine_reason.is_some() {
        return Ok(summary(row));
    }
    let (view, values) = history(shared, row).await?;
    show(shared, row, &view, &values, ask).await
}

/// What a list shows of a run.
pub(crate) fn summary(row: &RunRow) -> wire::Run {
    let message = row.quarantine_reason.as_ref().map(|reason| reason.to_string());
    wire::Run {
        id: row.run.to_string(),
        workflow_id: row.created.workflow.to_string(),
        batch_id: row.created.batch.map_or_else(|| batch_id(row.run), |place| place.batch.to_string()),
        run_index_in_batch: row.created.batch.map_or(0, |place| place.index),
        input_index: row.created.batch.map_or(0, |place| place.input_index),
        status: status(row.summary.status).into(),
        error: row.summary.error.as_ref().map(|error| wire::RunError {
            code: error.code.to_string(),
            message: message.unwrap_or_else(|| error.message.to_string()),
            node_id: String::new(),
            class: error.class.map_or("", |class| class.name()).into(),
            attempts: error.attempts,
        }),
        started_at_ms: row.created.created_at.as_millis(),
        ended_at_ms: row.summary.ended_at.map(|at| at.as_millis()),
        progress: if row.summary.status == RunStatus::Completed { 1.0 } else { 0.0 },
        ..Default::default()
    }
}

/// A run that was started alone is the only one of its batch: a UUID made of the run's own bits.
pub(crate) fn batch_id(run: RunId) -> String {
    batches::alone(run).to_string()
}

async fn history(shared: &Arc<Shared>, row: &RunRow) -> Result<(RunView, Kept), ReadError> {
    let tenant = Tenant::of_run(&row.created);
    let graph = shared.graphs.get(&tenant, row.created.graph).await.map_err(ReadError::Graph)?;
    let mut values = Kept::default();
    let mut view: Option<RunView> = None;
    loop {
        let after = view.as_ref().map_or(EventSeq(0), RunView::seq);
        let young = shared.recent.events(row.run, after, EVENT_PAGE_ROWS);
        let is_young = young.is_some();
        let page: Vec<Arc<Event>> = match young {
            Some(page) => page,
            None => {
                let tenant = tenant.clone();
                let page = shared.journal.read_history(tenant, row.run, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES);
                page.await.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect()
            }
        };
        let is_short = page.len() < EVENT_PAGE_ROWS;
        let is_empty = page.is_empty();
        for event in page {
            match &mut view {
                None => view = Some(RunView::begin(row.run, Arc::clone(&graph), &event).map_err(ReadError::Corrupt)?),
                Some(view) => view.step(&event).map_err(ReadError::Corrupt)?,
            }
            values.keep(&event);
        }
        // A page of the journal may also be cut short by its bytes.
        let is_over = || view.as_ref().is_some_and(|view| view.run().status() != RunStatus::Running);
        if is_empty || is_short && (is_young || is_over()) {
            let view = view.ok_or(ReadError::Corrupt(Corrupt::NoBeginning))?;
            return Ok((view, values));
        }
        // To fold a long history takes a while, and others want the thread.
        yield_now().await;
    }
}

async fn show(
    shared: &Arc<Shared>,
    row: &RunRow,
    view: &RunView,
    values: &Kept,
    ask: Ask,
) -> Result<wire::Run, ReadError> {
    let run = view.run();
    let graph = run.graph();
    let limit = if ask.nodes_limit == 0 { NODES_PAGE } else { ask.nodes_limit };
    let shown = graph.nodes().filter(|(_, node)| !node.is_anonymous).map(|(ix, _)| ix);
    let part: Vec<NodeIx> = shown.filter(|ix| view.node_state(*ix).is_some()).collect();
    let (all, open) = run.progress();
    let nodes = page(shared, view, part.iter().skip(ask.nodes_offset).take(limit), values).await?;
    Ok(wire::Run {
        status: status(run.status()).into(),
        error: run.error().map(|error| wire::RunError {
            code: error.code.to_string(),
            message: error.message.to_string(),
            node_id: error.node.map_or_else(String::new, |node| graph.node(node).id.to_string()),
            class: error.class.map_or("", |class| class.name()).into(),
            attempts: error.attempts,
        }),
        ended_at_ms: view.ended_at().map(|at| at.as_millis()),
        seq: view.seq().0,
        nodes,
        nodes_total: part.len() as u32,
        waiting_on: if run.status() == RunStatus::Running { waiting_on(shared, view, &part) } else { Vec::new() },
        progress: f64::from(all - open) / f64::from(all.max(1)),
        target_node_id: run.target().map_or_else(String::new, |target| graph.node(target).id.to_string()),
        sandbox: run.is_sandboxed(),
        skipped_nodes: skipped(view, &part),
        ..summary(row)
    })
}

/// Nodes up to the bytes that an answer may have, but never none: as if the caller had asked for fewer.
async fn page(
    shared: &Arc<Shared>,
    view: &RunView,
    nodes: impl Iterator<Item = &NodeIx>,
    values: &Kept,
) -> Result<Vec<wire::Node>, ReadError> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for ix in nodes {
        let Some(node) = node(shared, view, *ix, values).await? else { continue };
        bytes += node.encoded_len();
        if bytes > ANSWER_VALUES_BYTES && !page.is_empty() {
            break;
        }
        page.push(node);
    }
    Ok(page)
}

/// Nodes on branches that were not taken, in the order of the graph.
fn skipped(view: &RunView, part: &[NodeIx]) -> Vec<String> {
    let skipped = part.iter().filter(|ix| view.node_state(**ix) == Some(NodeState::Skipped));
    skipped.take(SKIPPED_NODES_MAX).map(|ix| view.run().graph().node(*ix).id.to_string()).collect()
}

async fn node(
    shared: &Arc<Shared>,
    view: &RunView,
    ix: NodeIx,
    values: &Kept,
) -> Result<Option<wire::Node>, ReadError> {
    let (graph, seen) = (view.run().graph(), view.node(ix));
    let document = graph.node(ix);
    let Some(state) = view.node_state(ix) else { return Ok(None) };
    let ports = document.node_type.as_ref().map_or(&[][..], |node_type| &node_type.outputs);
    let (mut room, mut outputs) = (ANSWER_VALUES_BYTES, Vec::new());
    for (place, port) in ports.iter().enumerate() {
        let Some(value) = view.run().shown_output(ix, PortIx(place as u16)) else { continue };
        let Some(shown) = values::output(shared, view.run().id(), values, value, room).await? else { continue };
        room = room.saturating_sub(shown.json.len());
        outputs.push(wire::PortValue { port: port.id.to_string(), value_json: shown.json, artifacts: shown.artifacts });
    }
    Ok(Some(wire::Node {
        node_id: document.id.to_string(),
        node_type: document.type_id.to_string(),
        label: document.label.to_string(),
        state: node_state(state).into(),
        outputs,
        error: seen.error.as_ref().map(|error| node_error(error, &document.id, seen.attempts)),
        attempts: seen.attempts,
        agent_id: seen.agent.as_ref().map_or_else(String::new, ToString::to_string),
        queued_at_ms: None,
        started_at_ms: seen.started_at.map(|at| at.as_millis()),
        ended_at_ms: seen.ended_at.map(|at| at.as_millis()),
        progress: match state {
            NodeState::Completed => 1.0,
            NodeState::Running => shared.live.progress(view.run().id(), Instance::root(ix)).unwrap_or(0.0),
            _ => 0.0,
        },
        provider: match seen.provider == ProviderIx::default() {
            true => String::new(),
            false => document.provided(seen.provider).type_id.to_string(),
        },
        terminal: graph.is_terminal(ix),
        items: items(view, ix),
    }))
}

fn node_error(error: &NodeError, node_id: &str, attempts: u32) -> wire::RunError {
    wire::RunError {
        code: error.code.to_string(),
        message: error.message.to_string(),
        node_id: node_id.into(),
        class: error.class.name().into(),
        attempts,
    }
}

/// How far a container is, or the instances of a node in a body.
fn items(view: &RunView, ix: NodeIx) -> Option<wire::Items> {
    let items = view.items(ix)?;
    Some(wire::Items {
        total: items.total,
        completed: items.completed,
        failed: items.failed,
        skipped: items.skipped,
        running: items.running,
    })
}

/// What keeps the run from going on: timers, and nodes that no agent can run.
fn waiting_on(shared: &Arc<Shared>, view: &RunView, part: &[NodeIx]) -> Vec<wire::WaitingOn> {
    let graph = view.run().graph();
    let retries: BTreeSet<NodeIx> = view.run().retries_due(shared.clock.now()).map(|instance| instance.node).collect();
    let since = |ix: NodeIx| view.node(ix).started_at.unwrap_or_else(|| view.run().last_at()).as_millis();
    part.iter()
        .filter_map(|ix| {
            let document = graph.node(*ix);
            let waiting = |kind: &str, due_at_ms, need| wire::WaitingOn {
                kind: kind.into(),
                node_id: document.id.to_string(),
                since_ms: since(*ix),
                due_at_ms,
                need,
            };
            match view.node_state(*ix)? {
                NodeState::Waiting => {
                    let due = view.node(*ix).waits_until.map(|at| at.as_millis());
                    Some(waiting("timer", due, String::new()))
                }
                NodeState::Ready if view.run().phase_of(*ix) == NodePhase::Ready => {
                    Some(waits_for_agent(shared, view.run(), Instance::root(*ix), waiting))
                }
                // The pause before its next try is over.
                NodeState::Running if retries.contains(ix) => {
                    Some(waits_for_agent(shared, view.run(), Instance::root(*ix), waiting))
                }
                _ => None,
            }
        })
        .collect()
}

/// Whether there is an agent that could run this node, and so a slot will do, or a place of its concurrency key; else what
/// no agent offers.
fn waits_for_agent(
    shared: &Shared,
    run: &Run,
    instance: Instance,
    waiting: impl Fn(&str, Option<i64>, String) -> wire::WaitingOn,
) -> wire::WaitingOn {
    let need = Need { alone: false, ..Need::of(run, instance) };
    let permits = shared.permits();
    if permits.is_offered(&need) {
        return match &need.key {
            Some(key) if !permits.has_room(&need) => waiting("concurrency", None, key.text.to_string()),
            _ => waiting("slot", None, String::new()),
        };
    }
    let any_version = Need { version: 0, labels: Vec::new(), ..need.clone() };
    let version =
        match permits.is_offered(&any_version) && !permits.is_offered(&Need { version: need.version, ..any_version }) {
            true => format!(" in version {} or newer", need.version),
            false => String::new(),
        };
    let labels = need.labels.iter().map(|(name, value)| format!(" with {name}={value}"));
    let text = std::iter::once(format!("an agent that runs {}{version}", need.type_id)).chain(labels).collect();
    waiting("agent", None, text)
}

pub(crate) fn status(status: RunStatus) -> wire::RunStatus {
    match status {
        RunStatus::Running => wire::RunStatus::Running,
        RunStatus::Completed => wire::RunStatus::Completed,
        RunStatus::Failed => wire::RunStatus::Failed,
        RunStatus::Cancelled => wire::RunStatus::Cancelled,
    }
}

fn node_state(state: NodeState) -> wire::NodeState {
    match state {
        NodeState::Pending => wire::NodeState::Pending,
        NodeState::Ready => wire::NodeState::Ready,
        NodeState::Running => wire::NodeState::Running,
        NodeState::Waiting => wire::NodeState::Waiting,
        NodeState::Completed => wire::NodeState::Completed,
        NodeState::Failed => wire::NodeState::Failed,
        NodeState::Skipped => wire::NodeState::Skipped,
        NodeState::Cancelled => wire::NodeState::Cancelled,
    }
}
