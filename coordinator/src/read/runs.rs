//! A run as people see it: its history folded, with its values.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, Instance, NodeIx, PortIx, ProviderIx, RunId};
use heddle_core::run::event::{Event, NodeError, OutputValue};
use heddle_core::run::items::ItemCounts;
use heddle_core::run::lineage::Source;
use heddle_core::run::view::{NodeState, NodeView, RunView};
use heddle_core::run::{Corrupt, Run, RunStatus};
use heddle_proto::control as wire;
use prost::Message as _;
use thiserror::Error;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::seen::Seen;
use super::values::{self, Kept, Of};
use super::{batches, waiting};
use crate::auth::Tenant;
use crate::graphs::GraphError;
use crate::journal::{JournalError, RunRow};
use crate::limits::{ANSWER_VALUES_BYTES, EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, READ_AGAIN, SKIPPED_NODES_MAX};
use crate::retention::Tombstone;
use crate::shared::Shared;

/// Nodes in one answer, unless the caller asks for fewer.
const NODES_PAGE: usize = 1_000;

/// Why a run cannot be shown.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error("there is no such run")]
    NotFound,
    #[error("the run was removed")]
    Expired(Box<Tombstone>),
    #[error("the database could not be read")]
    Journal(#[source] JournalError),
    #[error("the run's graph could not be read")]
    Graph(#[source] GraphError),
    #[error("the run's history does not follow: {0}")]
    Corrupt(#[source] Corrupt),
    #[error("the run's history has no event {0} yet")]
    NoEvent(EventSeq),
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
    match row.filter(|row| row.created.tenant == *tenant.id()) {
        Some(row) => Ok(row),
        None => Err(missing(shared, tenant, id).await),
    }
}

/// Whether a history was read to its end, and is shorter than it was when its row was read.
pub(crate) fn is_cut(row: &RunRow, run: &Run) -> bool {
    row.summary.status != RunStatus::Running && run.status() == RunStatus::Running && row.quarantine_reason.is_none()
}

/// Why a history is not whole: its run was removed while it was read, or it is damaged.
pub(crate) async fn removed_meanwhile(shared: &Arc<Shared>, row: &RunRow) -> ReadError {
    match missing(shared, &Tenant::of_run(&row.created), row.run).await {
        ReadError::NotFound => ReadError::Corrupt(Corrupt::NoBeginning),
        error => error,
    }
}

/// Why there is no row of a run: there never was one, or its time is over.
async fn missing(shared: &Arc<Shared>, tenant: &Tenant, id: RunId) -> ReadError {
    match shared.retention.tombstone(tenant.clone(), id).await {
        Ok(Some(stone)) => ReadError::Expired(Box::new(stone)),
        Ok(None) => ReadError::NotFound,
        Err(error) => ReadError::Journal(error),
    }
}

/// A run's summary with its nodes. A run that was set aside shows without them.
pub(crate) async fn with_nodes(shared: &Arc<Shared>, row: &RunRow, ask: Ask) -> Result<wire::Run, ReadError> {
    if row.quarantine_reason.is_some() {
        return Ok(summary(row));
    }
    let seen = seen(shared, row, graph_of(shared, row).await?).await?;
    show(shared, row, &seen.view, &seen.values, ask).await
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
        invoked_by: row
            .created
            .parent
            .map(|parent| wire::InvokedBy { execution_id: parent.to_string(), ..wire::InvokedBy::default() }),
        ..Default::default()
    }
}

/// A run that was started alone is the only one of its batch: a UUID made of the run's own bits.
pub(crate) fn batch_id(run: RunId) -> String {
    batches::alone(run).to_string()
}

/// The graph that a run was started with.
pub(crate) async fn graph_of(shared: &Arc<Shared>, row: &RunRow) -> Result<Arc<Graph>, ReadError> {
    shared.graphs.get(&Tenant::of_run(&row.created), row.created.graph).await.map_err(ReadError::Graph)
}

/// A run as it stands: of a long one that somebody has looked at before only the events since then are read.
pub(crate) async fn seen(shared: &Arc<Shared>, row: &RunRow, graph: Arc<Graph>) -> Result<Arc<Seen>, ReadError> {
    let known = shared.seen.take(row.run);
    let (view, values) = read_on(shared, row, graph, known, |_, _| {}).await?;
    let seen = Arc::new(Seen { view, values });
    shared.seen.keep(&seen);
    Ok(seen)
}

/// A run's history, read from its beginning to its end; `looks` sees each event, and the state after it.
pub(crate) async fn history(
    shared: &Arc<Shared>,
    row: &RunRow,
    graph: Arc<Graph>,
    looks: impl FnMut(&RunView, &Event) + Send,
) -> Result<(RunView, Kept), ReadError> {
    read_on(shared, row, graph, None, looks).await
}

async fn read_on(
    shared: &Arc<Shared>,
    row: &RunRow,
    graph: Arc<Graph>,
    known: Option<Seen>,
    mut looks: impl FnMut(&RunView, &Event) + Send,
) -> Result<(RunView, Kept), ReadError> {
    let (mut view, mut values) = known.map_or_else(Default::default, |seen| (Some(seen.view), seen.values));
    loop {
        let after = view.as_ref().map_or(EventSeq(0), RunView::seq);
        let (page, is_young) = next_page(shared, row, after, view.as_ref().map(RunView::run)).await?;
        let is_short = page.len() < EVENT_PAGE_ROWS;
        let is_empty = page.is_empty();
        for event in page {
            let view = match &mut view {
                None => view.insert(RunView::begin(row.run, Arc::clone(&graph), &event).map_err(ReadError::Corrupt)?),
                Some(view) => {
                    view.step(&event).map_err(ReadError::Corrupt)?;
                    view
                }
            };
            looks(view, &event);
            values.keep(&event);
        }
        // A page of the journal may also be cut short by its bytes.
        let is_over = || view.as_ref().is_some_and(|view| view.run().status() != RunStatus::Running);
        let is_behind = || view.as_ref().is_some_and(|view| is_cut(row, view.run()));
        if is_empty || is_short && (is_young && !is_behind() || is_over()) {
            let Some(view) = view.filter(|view| !is_cut(row, view.run())) else {
                return Err(removed_meanwhile(shared, row).await);
            };
            return Ok((view, values));
        }
        // To fold a long history takes a while, and others want the thread.
        yield_now().await;
    }
}

/// An event of a run that somebody knows of.
pub(crate) async fn event(shared: &Arc<Shared>, row: &RunRow, seq: EventSeq) -> Result<Arc<Event>, ReadError> {
    let gap = || ReadError::Corrupt(Corrupt::Gap { expected: seq, found: EventSeq(0) });
    find_event(shared, row, seq).await?.ok_or_else(gap)
}

/// An event of a run, if there is one. Who knows of it from the journal may be ahead of memory.
pub(super) async fn find_event(
    shared: &Arc<Shared>,
    row: &RunRow,
    seq: EventSeq,
) -> Result<Option<Arc<Event>>, ReadError> {
    let before = EventSeq(seq.0.saturating_sub(1));
    let (mut page, is_young) = page_of(shared, row, before, 1).await?;
    if is_young && page.is_empty() {
        page = stored_page(shared, row, before, 1).await?;
    }
    Ok(page.into_iter().next().filter(|event| event.seq == seq))
}

/// The events that follow one, for a reader that has come to `run`, and whether they were still in memory. A row that was read
/// from the journal may be ahead of memory: what is committed is at hand a moment later.
pub(crate) async fn next_page(
    shared: &Arc<Shared>,
    row: &RunRow,
    after: EventSeq,
    run: Option<&Run>,
) -> Result<(Vec<Arc<Event>>, bool), ReadError> {
    let (page, is_young) = page_of(shared, row, after, EVENT_PAGE_ROWS).await?;
    if is_young && page.is_empty() && run.is_some_and(|run| is_cut(row, run)) {
        return Ok((stored_page(shared, row, after, EVENT_PAGE_ROWS).await?, false));
    }
    Ok((page, is_young))
}

pub(super) async fn page_of(
    shared: &Arc<Shared>,
    row: &RunRow,
    after: EventSeq,
    rows: usize,
) -> Result<(Vec<Arc<Event>>, bool), ReadError> {
    if let Some(page) = shared.recent.events(row.run, after, rows) {
        return Ok((page, true));
    }
    Ok((stored_page(shared, row, after, rows).await?, false))
}

async fn stored_page(
    shared: &Arc<Shared>,
    row: &RunRow,
    after: EventSeq,
    rows: usize,
) -> Result<Vec<Arc<Event>>, ReadError> {
    let tenant = Tenant::of_run(&row.created);
    let page = shared.journal.read_history(tenant, row.run, after, rows, EVENT_PAGE_BYTES);
    Ok(page.await.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect())
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
    let tenant = Tenant::of_run(&row.created);
    let of = Of { tenant: &tenant, run: run.id(), kept: values };
    let nodes = page(shared, view, of, part.iter().skip(ask.nodes_offset).take(limit)).await?;
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
        waiting_on: if run.status() == RunStatus::Running { waiting::waiting_on(shared, run) } else { Vec::new() },
        jobs_to_cancel: run.owed_cancels().count() as u32,
        progress: f64::from(all - open) / f64::from(all.max(1)),
        target_node_id: run.target().map_or_else(String::new, |target| graph.node(target).id.to_string()),
        sandbox: run.is_sandboxed(),
        pause: run.pause().map(|pause| wire::Pause {
            since_ms: pause.at.as_millis(),
            by: pause.by.to_string(),
            reason: pause.reason.as_deref().unwrap_or_default().to_owned(),
        }),
        cancellation: view.cancelled().map(|(by, reason)| wire::Cancellation {
            by: by.to_string(),
            reason: reason.unwrap_or_default().to_owned(),
        }),
        parent_execution_id: parent_of(run).map_or_else(String::new, |parent| parent.to_string()),
        lineage_id: root_of(run).to_string(),
        skipped_nodes: skipped(view, &part),
        invoked_by: run.invoked_by().map(|by| wire::InvokedBy {
            execution_id: by.run.to_string(),
            node_id: by.node.to_string(),
            index: by.index.clone(),
        }),
        ..summary(row)
    })
}

/// Nodes up to the bytes that an answer may have, but never none: as if the caller had asked for fewer.
async fn page(
    shared: &Arc<Shared>,
    view: &RunView,
    of: Of<'_>,
    nodes: impl Iterator<Item = &NodeIx>,
) -> Result<Vec<wire::Node>, ReadError> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for ix in nodes {
        let Some(node) = node(shared, view, *ix, of).await? else { continue };
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

/// A node with what it gave, over all its instances.
pub(super) async fn node(
    shared: &Arc<Shared>,
    view: &RunView,
    ix: NodeIx,
    of: Of<'_>,
) -> Result<Option<wire::Node>, ReadError> {
    let (run, document) = (view.run(), view.run().graph().node(ix));
    let Some(state) = view.node_state(ix) else { return Ok(None) };
    let ports = document.node_type.as_ref().map_or(&[][..], |node_type| &node_type.outputs);
    let (mut room, mut outputs) = (ANSWER_VALUES_BYTES, Vec::new());
    let early = if run.graph().within(ix).is_none() { run.early_outputs(Instance::root(ix)) } else { &[] };
    for (place, port) in ports.iter().enumerate() {
        let port_ix = PortIx(place as u16);
        let early = || early.iter().find(|output| output.port == port_ix).map(|output| &output.value);
        let Some(value) = run.shown_output(ix, port_ix).or_else(early) else { continue };
        outputs.extend(port_value(shared, of, (&port.id, value), &mut room).await?);
    }
    let counts = view.counts(ix);
    let progress = match (state, &counts) {
        (NodeState::Completed | NodeState::Cached, _) => 1.0,
        (NodeState::Running, Some(counts)) => share_done(counts),
        (NodeState::Running, None) => shared.live.progress(run.id(), Instance::root(ix)).unwrap_or(0.0),
        _ => 0.0,
    };
    let items = counts.map(|counts| wire::Items {
        total: counts.total,
        completed: counts.completed,
        failed: counts.failed,
        skipped: counts.skipped,
        running: counts.running,
        cached: counts.cached,
    });
    Ok(Some(wire::Node { outputs, progress, items, ..node_of(run, ix, state, view.node(ix)) }))
}

/// A node, or an instance of it, without what it gave.
pub(super) fn node_of(run: &Run, ix: NodeIx, state: NodeState, seen: &NodeView) -> wire::Node {
    let document = run.graph().node(ix);
    wire::Node {
        node_id: document.id.to_string(),
        node_type: document.type_id.to_string(),
        label: document.label.to_string(),
        state: node_state(state).into(),
        error: seen.error.as_ref().map(|error| node_error(error, &document.id, seen.attempts)),
        attempts: seen.attempts,
        agent_id: seen.agent.as_ref().map_or_else(String::new, ToString::to_string),
        started_at_ms: seen.started_at.map(|at| at.as_millis()),
        ended_at_ms: seen.ended_at.map(|at| at.as_millis()),
        provider: provider(run.graph(), ix, seen.provider),
        terminal: run.graph().is_terminal(ix),
        child_execution_id: seen.child.map_or_else(String::new, |child| child.to_string()),
        cached_from: seen.source.filter(|_| state == NodeState::Cached).map(|source| cached_from(run, source)),
        ..wire::Node::default()
    }
}

/// Where outputs come from that a run did not make.
pub(super) fn cached_from(run: &Run, source: Source) -> wire::CachedFrom {
    let text = |id: Option<RunId>| id.map_or_else(String::new, |id| id.to_string());
    match source {
        Source::Run(made) => {
            wire::CachedFrom { source: "run".into(), execution_id: made.to_string(), edited_by: String::new() }
        }
        Source::Edit => wire::CachedFrom {
            source: "edit".into(),
            execution_id: text(parent_of(run)),
            edited_by: run.subject().to_string(),
        },
        Source::Request => wire::CachedFrom { source: "request".into(), ..wire::CachedFrom::default() },
    }
}

/// The run that another goes on from.
pub(crate) fn parent_of(run: &Run) -> Option<RunId> {
    run.lineage().and_then(|lineage| lineage.parent)
}

/// The first run of a run's family: itself, if it goes on from no other.
pub(crate) fn root_of(run: &Run) -> RunId {
    run.lineage().and_then(|lineage| lineage.root).unwrap_or_else(|| run.id())
}

/// The type of the fallback that does a node's work; nothing if it is the node's own type.
pub(super) fn provider(graph: &Graph, ix: NodeIx, provider: ProviderIx) -> String {
    match provider == ProviderIx::default() {
        true => String::new(),
        false => graph.node(ix).provided(provider).type_id.to_string(),
    }
}

/// What a port gave or got, as far as there is room.
pub(crate) async fn port_value(
    shared: &Arc<Shared>,
    of: Of<'_>,
    (port, value): (&str, &OutputValue),
    room: &mut usize,
) -> Result<Option<wire::PortValue>, ReadError> {
    let Some(shown) = values::output(shared, of, value, *room).await? else { return Ok(None) };
    *room = room.saturating_sub(shown.json.len());
    Ok(Some(wire::PortValue { port: port.into(), value_json: shown.json, artifacts: shown.artifacts }))
}

/// Which part of what will be done is done.
fn share_done(counts: &ItemCounts) -> f64 {
    let done = counts.completed + counts.failed + counts.skipped;
    counts.total.map_or(0.0, |total| f64::from(done) / f64::from(total.max(1)))
}

pub(crate) fn node_error(error: &NodeError, node_id: &str, attempts: u32) -> wire::RunError {
    wire::RunError {
        code: error.code.to_string(),
        message: error.message.to_string(),
        node_id: node_id.into(),
        class: error.class.name().into(),
        attempts,
    }
}

pub(crate) fn status(status: RunStatus) -> wire::RunStatus {
    match status {
        RunStatus::Running => wire::RunStatus::Running,
        RunStatus::Completed => wire::RunStatus::Completed,
        RunStatus::Failed => wire::RunStatus::Failed,
        RunStatus::Cancelled => wire::RunStatus::Cancelled,
    }
}

pub(super) fn node_state(state: NodeState) -> wire::NodeState {
    match state {
        NodeState::Pending => wire::NodeState::Pending,
        NodeState::Ready => wire::NodeState::Ready,
        NodeState::Running => wire::NodeState::Running,
        NodeState::Waiting => wire::NodeState::Waiting,
        NodeState::Completed => wire::NodeState::Completed,
        NodeState::Cached => wire::NodeState::Cached,
        NodeState::Failed => wire::NodeState::Failed,
        NodeState::Skipped => wire::NodeState::Skipped,
        NodeState::Cancelled => wire::NodeState::Cancelled,
    }
}
