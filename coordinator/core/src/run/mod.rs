//! One run: a graph, its history folded into a state, and what may happen next.
//!
//! - [`Run::admit`] answers a [`Command`] with facts or a [`Rejection`]: the only place that says no.
//! - [`Run::step`] folds one event into the state: no clock, no draw, no expression.
//! - [`Run::decide`] evaluates one control node that has fallen due; its answer is part of an event, so replay trusts
//!   facts and never a library's version (E2).

mod admit;
mod as_text;
mod body;
mod branch;
pub mod checkpoint;
mod child;
mod child_cause;
mod child_event;
mod control;
mod corrupt;
mod delegate;
mod dropped;
pub mod event;
mod expand;
mod failure;
mod inputs;
pub mod instances;
pub mod items;
mod job;
pub mod lineage;
pub mod list;
mod listen;
mod listen_event;
pub mod offers;
mod outcome;
mod output;
mod pause;
mod phase;
pub mod plan;
pub mod plan_moves;
mod race;
pub mod recall;
pub mod resume;
pub mod reuse;
mod review;
mod review_event;
mod review_fold;
mod row;
mod scope;
mod scope_fold;
mod settle;
mod step;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod view;
pub mod waits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use admit::Admitted;
pub use admit::{Command, Rejection};
pub use body::Body;
pub use child::{ChildEnd, ChildGave, ChildOrder, ChildValue};
pub use child_cause::ChildCause;
pub(crate) use control::Deciding;
pub use corrupt::Corrupt;
pub use expand::ListNeed;
pub(crate) use expand::Lists;
pub use inputs::{SourcedValue, WiredInput};
pub use job::{Job, JobEnd, JobKey, OwedCancel};
pub use listen::{ListenRefusal, Listener};
pub use outcome::Outcome;
pub use pause::{Pause, PauseChange};
pub use phase::{NodePhase, RunStatus};
pub use review::{OpenReview, ReviewAnswer, ReviewChange, ReviewRefusal};
pub use scope::Tally;

use crate::fault::{Fault, is_planted};
use crate::graph::Graph;
use crate::id::{
    AgentBoot, AgentId, AttemptNumber, AttemptToken, EventSeq, Instance, NodeIx, PortIx, ProviderIx, ReviewIx, RunId,
    ScopeIx, Subject, TenantId, WorkflowId,
};
use crate::limits;
use crate::partition::batch::Snapshot;
use crate::run::child::Children;
use crate::run::event::{Attempt, Fact, InvokedBy, OutputValue, PermitClass, PortOutput, RunError, Submitted};
use crate::run::lineage::Lineage;
use crate::run::listen::Listeners;
use crate::run::reuse::Offers;
use crate::run::review::Reviews;
use crate::run::scope::{Expansion, Frame};
use crate::time::{Span, Timestamp};
use crate::value::{Digest, Value, ValueRef};

/// Raised when the fold changes: older snapshots are replayed instead (E19).
pub const FOLD_VERSION: u32 = 13;

/// Values by the references that point to them.
pub(crate) type Values = BTreeMap<ValueRef, Value>;

/// The fold of a run's events.
#[derive(Debug, Clone)]
pub struct Run {
    id: RunId,
    graph: Arc<Graph>,
    state: State,
    /// Instances that were given up, until they are asked for; no part of the state.
    dropped: Vec<Instance>,
    /// Items and turns that left memory with the last event, where somebody looks at them; no part of the state.
    closed: Option<Vec<(ScopeIx, Frame)>>,
    /// What has changed in the rows of reviews, where somebody writes them; no part of the state.
    review_changes: Option<Vec<(ReviewIx, ReviewChange)>>,
    /// What other slots are to be told, until it is asked for; no part of the state.
    child_orders: Vec<ChildOrder>,
}

/// Everything about a run but its graph: what a snapshot holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    seq: EventSeq,
    last_at: Timestamp,
    origin: Origin,
    status: RunStatus,
    error: Option<RunError>,
    ended_at: Option<Timestamp>,
    /// When it fails with `run_timeout`; moves on while the run only waits.
    deadline: Timestamp,
    /// By node index.
    nodes: Vec<Slot>,
    /// Nodes of this run that have no final phase yet.
    open_nodes: u32,
    /// Nodes of this run.
    all_nodes: u32,
    attempts: BTreeMap<Instance, LiveAttempt>,
    /// Only for instances that have had an attempt without success.
    tries: BTreeMap<Instance, Tries>,
    timers: BTreeSet<Timer>,
    ready: BTreeSet<Rank>,
    due: VecDeque<Instance>,
    /// Which of its edges, by place, brought a race its first value.
    winners: BTreeMap<Instance, u32>,
    /// Which agent made the outputs of a node, where they are large (`LOCALITY_OUTPUT_BYTES_MIN`).
    makers: BTreeMap<Instance, AgentId>,
    /// What the first node that failed for good failed with: the run is about to end with it.
    failure: Option<Box<RunError>>,
    /// What a node that ends runs has said: the run is about to end so.
    stop: Option<Box<Stop>>,
    /// Open items and turns.
    frames: BTreeMap<ScopeIx, Frame>,
    /// Containers whose body runs.
    expansions: BTreeMap<Instance, Expansion>,
    /// The number of the next item or turn to be opened, over all containers.
    next_scope: u32,
    /// What nodes in bodies came to, in items that have closed.
    tallies: BTreeMap<NodeIx, Tally>,
    /// Results of earlier runs, if any were offered.
    offers: Option<Box<Offers>>,
    /// What it asks of people; nothing if it never has.
    reviews: Option<Box<Reviews>>,
    /// Instances that are due, and for which a result that runs share is looked for.
    recalls: BTreeSet<Instance>,
    /// What it hears of the world; nothing if it never listened.
    listeners: Option<Box<Listeners>>,
    /// Whether nothing of it may begin.
    pause: Option<Box<Pause>>,
    /// Runs that it has invoked; nothing if it never has.
    children: Option<Box<Children>>,
    /// Jobs at providers that no attempt goes on with, and of which it is not known yet what became.
    owed: BTreeMap<JobKey, OwedCancel>,
}

/// How a node ends its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stop {
    node: NodeIx,
    status: RunStatus,
    message: Arc<str>,
}

/// What never changes after the first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Origin {
    tenant: TenantId,
    subject: Subject,
    workflow: WorkflowId,
    graph: Digest,
    target: Option<NodeIx>,
    inputs: Vec<(NodeIx, ValueRef)>,
    traceparent: Option<Arc<str>>,
    sandbox: bool,
    started_at: Timestamp,
    lineage: Option<Box<Lineage>>,
    /// How long it may be active.
    active_max: Span,
    invoked_by: Option<InvokedBy>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Slot {
    phase: NodePhase,
    /// Since when it stands so; of what has no final phase that is since when it waits.
    since: Timestamp,
    /// Incoming edges whose source is not settled.
    unsettled: u32,
    result: Option<Box<Committed>>,
}

impl Slot {
    fn waiting_for(edges: u32, since: Timestamp) -> Self {
        Self { phase: NodePhase::Pending, since, unsettled: edges, result: None }
    }
}

/// The one output of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Committed {
    outputs: Vec<PortOutput>,
    /// The attempt that gave it; control nodes have none.
    token: Option<AttemptToken>,
}

/// An attempt that an agent holds, or will hold when the commit lands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAttempt {
    /// Which try.
    pub number: AttemptNumber,
    /// Its token.
    pub token: AttemptToken,
    /// Who has it.
    pub agent: AgentBoot,
    /// Against which permit it was given.
    pub permit: PermitClass,
    /// Whether its agent has nothing else (E13).
    pub alone: bool,
    /// When it was given.
    pub assigned_at: Timestamp,
    /// Whether it may have acted on the world (E11).
    pub intent: bool,
    /// Its job, if it has one that any agent can ask for.
    pub job: Option<Job>,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Who does the node's work.
    pub provider: ProviderIx,
}

/// What came of earlier attempts of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Tries {
    last: AttemptNumber,
    /// Failures of the present provider that count against its `maxAttempts`.
    failed: u32,
    /// Agents that went without a word while they had it (E13).
    deaths: u32,
    /// Agents that died while they had nothing else (E13).
    proofs: u32,
    /// The job that a lost attempt began, and that the next one asks for (E10).
    job: Option<Job>,
    /// Jobs that failed attempts have left to be cancelled: the next one is begun under another key.
    jobs_left: u32,
    /// Who does the node's work since the providers before have failed for good.
    provider: ProviderIx,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Timer {
    at: Timestamp,
    instance: Instance,
    kind: TimerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum TimerKind {
    Wait,
    Retry,
    Review,
    Listen,
}

/// Order among ready instances: by priority, then as in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rank {
    urgency: i32,
    instance: Instance,
}

impl Rank {
    /// Whose it is.
    pub(crate) fn instance(self) -> Instance {
        self.instance
    }
}

impl Run {
    /// Which run.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The graph it runs.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The youngest event it reflects.
    pub fn seq(&self) -> EventSeq {
        self.state.seq
    }

    /// When that event happened.
    pub fn last_at(&self) -> Timestamp {
        self.state.last_at
    }

    /// Whose run it is.
    pub fn tenant(&self) -> &TenantId {
        &self.state.origin.tenant
    }

    /// The workflow it belongs to.
    pub fn workflow(&self) -> WorkflowId {
        self.state.origin.workflow
    }

    /// The node it runs up to, if not the whole graph.
    pub fn target(&self) -> Option<NodeIx> {
        self.state.origin.target
    }

    /// Whether its work asks the sandbox provider alone.
    pub fn is_sandboxed(&self) -> bool {
        self.state.origin.sandbox
    }

    /// The caller's trace context.
    pub fn traceparent(&self) -> Option<&Arc<str>> {
        self.state.origin.traceparent.as_ref()
    }

    /// When it was accepted.
    pub fn started_at(&self) -> Timestamp {
        self.state.origin.started_at
    }

    /// How it stands.
    pub fn status(&self) -> RunStatus {
        self.state.status
    }

    /// Why it did not complete.
    pub fn error(&self) -> Option<&RunError> {
        self.state.error.as_ref()
    }

    /// Where a node stands.
    pub fn phase_of(&self, node: NodeIx) -> NodePhase {
        self.state.nodes[node.0 as usize].phase
    }

    /// How many nodes belong to this run, and how many of them have no final phase yet.
    pub fn progress(&self) -> (u32, u32) {
        (self.state.all_nodes, self.state.open_nodes)
    }

    /// The attempts that agents hold.
    pub fn attempts(&self) -> impl Iterator<Item = (Instance, &LiveAttempt)> {
        self.state.attempts.iter().map(|(instance, attempt)| (*instance, attempt))
    }

    /// The attempt of an instance that an agent holds.
    pub fn attempt(&self, instance: Instance) -> Option<&LiveAttempt> {
        self.state.attempts.get(&instance)
    }

    /// Instances that can be given to an agent now, the most urgent first.
    pub fn ready(&self) -> impl Iterator<Item = Instance> {
        self.state.ready.iter().map(|rank| rank.instance)
    }

    /// The same without those that are known already, in their order.
    pub(crate) fn ready_without<'a>(&'a self, known: &'a BTreeSet<Rank>) -> impl Iterator<Item = Rank> + 'a {
        self.state.ready.difference(known).copied()
    }

    /// Instances whose pause between tries is over at `now`.
    pub fn retries_due(&self, now: Timestamp) -> impl Iterator<Item = Instance> {
        let due = self.state.timers.iter().take_while(move |timer| timer.at <= now);
        let is_retry = |timer: &&Timer| timer.kind == TimerKind::Retry && !self.is_paused();
        due.filter(is_retry).map(|timer| timer.instance)
    }

    /// How many instances could be given to agents at `now`.
    pub(crate) fn ready_count(&self, now: Timestamp) -> usize {
        if self.is_paused() { 0 } else { self.state.ready.len() + self.retries_due(now).count() }
    }

    /// Whether a wait is over, or the time of a review, that has not been recorded yet.
    pub(crate) fn has_wait_due(&self, now: Timestamp) -> bool {
        let mut due = self.state.timers.iter().take_while(|timer| timer.at <= now);
        due.any(|timer| timer.kind != TimerKind::Retry)
    }

    /// Whether this attempt gave the committed output of its instance.
    pub(crate) fn is_result_of(&self, attempt: &Attempt) -> bool {
        let slot = self.slot_of(attempt.instance);
        let result = slot.and_then(|slot| slot.result.as_ref());
        result.is_some_and(|result| result.token == Some(attempt.token))
            || self.is_looked_at(attempt.instance, attempt.token)
    }

    /// Whether this instance may be given to an agent at `now`.
    pub fn can_assign(&self, instance: Instance, now: Timestamp) -> bool {
        let Some(slot) = self.slot_of(instance) else { return false };
        match slot.phase {
            NodePhase::Ready => self.state.status == RunStatus::Running && !self.is_paused(),
            NodePhase::Backoff => self.retries_due(now).any(|due| due == instance),
            _ => false,
        }
    }

    /// The number its next attempt gets (E12: it never restarts).
    pub fn next_attempt(&self, instance: Instance) -> AttemptNumber {
        let tries = self.state.tries.get(&instance).filter(|_| !is_planted(Fault::AttemptNumberRestarted));
        tries.map_or(AttemptNumber(1), |tries| tries.last.next())
    }

    /// Whether it must run with nothing beside it (E13).
    pub fn is_suspect(&self, instance: Instance) -> bool {
        self.state.tries.get(&instance).is_some_and(|tries| tries.deaths >= limits::POISON_SUSPECT_DEATHS)
    }

    /// The next control node to evaluate.
    pub fn next_decision(&self) -> Option<Instance> {
        self.state.due.front().copied().filter(|_| !self.is_paused())
    }

    /// Whether nothing will happen before a timer or a person.
    pub fn is_parked(&self) -> bool {
        self.is_waiting() && !self.owes_cancels()
    }

    /// Whether nothing of its nodes goes on before a timer or a person: that does not count as being active.
    fn is_waiting(&self) -> bool {
        let state = &self.state;
        let begins_nothing = state.ready.is_empty() && state.due.is_empty() && state.recalls.is_empty();
        let hears = self.has_open_reviews() || self.listens() || self.has_open_children();
        let waits = begins_nothing && (!state.timers.is_empty() || hears);
        state.status == RunStatus::Running && state.attempts.is_empty() && (waits || self.is_paused())
    }

    /// Whether it is over, no attempt is out, and no job is to be cancelled.
    pub fn is_closed(&self) -> bool {
        self.state.status != RunStatus::Running && self.state.attempts.is_empty() && !self.owes_cancels()
    }

    /// When it fails if it is not over by then. While nothing of it is at work no time counts, so there is no such instant.
    fn deadline(&self) -> Option<Timestamp> {
        let counts = !self.is_waiting() && !is_planted(Fault::DeadlineForgotten);
        counts.then_some(self.state.deadline)
    }

    /// When it must be looked at again without a command: a timer, or its deadline.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.state.status != RunStatus::Running || self.is_paused() {
            return None;
        }
        let timer = self.state.timers.first().map(|timer| timer.at);
        timer.into_iter().chain(self.deadline()).min()
    }

    /// When something happens by itself: at `now` if a wait is over already. Retries that are due are exposed instead.
    pub(crate) fn next_alarm(&self, now: Timestamp) -> Option<Timestamp> {
        if self.state.status != RunStatus::Running || self.is_paused() {
            return None;
        }
        if self.has_wait_due(now) {
            return Some(now);
        }
        let timer = self.state.timers.iter().find(|timer| timer.at > now).map(|timer| timer.at);
        timer.into_iter().chain(self.deadline()).min()
    }

    /// The outputs of a finished node.
    pub fn outputs(&self, node: NodeIx) -> &[PortOutput] {
        self.state.nodes[node.0 as usize].result.as_ref().map_or(&[], |result| &result.outputs)
    }

    /// The slot of an instance, if its item is open.
    fn slot_of(&self, instance: Instance) -> Option<&Slot> {
        match self.graph.get(instance.node)?.within {
            None => self.state.nodes.get(instance.node.0 as usize),
            Some(_) => self.frame(instance.scope)?.slots.get(self.graph.node(instance.node).place as usize),
        }
    }

    /// The value of one output of a finished node outside of maps and loops; `None` if the node gave nothing there.
    pub fn output(&self, node: NodeIx, port: PortIx) -> Option<&OutputValue> {
        self.outputs(node).iter().find(|output| output.port == port).map(|output| &output.value)
    }

    /// Its state as bytes.
    pub fn snapshot(&self) -> Snapshot {
        let bytes = postcard::to_stdvec(&self.state).map(Bytes::from).unwrap_or_default();
        Snapshot { seq: self.state.seq, version: FOLD_VERSION, bytes }
    }

    /// The run a snapshot holds; `None` if another fold made it or its bytes are damaged: replay instead.
    pub fn restore(id: RunId, graph: Arc<Graph>, snapshot: &Snapshot) -> Option<Run> {
        if snapshot.version != FOLD_VERSION {
            return None;
        }
        let state: State = postcard::from_bytes(&snapshot.bytes).ok()?;
        (state.seq == snapshot.seq && state.nodes.len() == graph.len()).then_some(Run {
            id,
            graph,
            state,
            dropped: Vec::new(),
            closed: None,
            review_changes: None,
            child_orders: Vec::new(),
        })
    }

    /// A run from its first event.
    ///
    /// # Errors
    /// If the event is no `Submitted` with seq 1, or does not fit the graph.
    pub fn begin(id: RunId, graph: Arc<Graph>, first: &event::Event) -> Result<Run, Corrupt> {
        Self::begin_with(id, graph, first, None)
    }

    fn begin_with(
        id: RunId,
        graph: Arc<Graph>,
        first: &event::Event,
        closed: Option<Vec<(ScopeIx, Frame)>>,
    ) -> Result<Run, Corrupt> {
        let Fact::Submitted(submitted) = &first.fact else { return Err(Corrupt::NoBeginning) };
        if first.seq != EventSeq(1) {
            return Err(Corrupt::Gap { expected: EventSeq(1), found: first.seq });
        }
        let mut run = Run { closed, ..Run::submitted(id, graph, first.at, submitted)? };
        run.follow(first)?;
        Ok(run)
    }
}

impl Origin {
    fn new(submitted: &Submitted, started_at: Timestamp) -> Self {
        Self {
            tenant: submitted.tenant.clone(),
            subject: submitted.subject.clone(),
            workflow: submitted.workflow,
            graph: submitted.graph,
            target: submitted.target,
            inputs: submitted.inputs.clone(),
            traceparent: submitted.traceparent.clone(),
            sandbox: submitted.sandbox,
            started_at,
            lineage: submitted.lineage.clone(),
            active_max: submitted.deadline.unwrap_or(limits::RUN_DEADLINE),
            invoked_by: submitted.invoked_by.clone(),
        }
    }
}
