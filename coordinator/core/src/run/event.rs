//! Facts. A run's history is a list of [`Event`]s without a gap; its state is the fold of them.
//!
//! One event is one row of the journal. What follows from a fact at once, in the same commit, is packed into the row:
//! the decisions of control nodes and the attempts that were given to agents. So a finished node costs one row (E6),
//! and there is nothing between "result durable" and "successor assigned" (I3).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{
    AgentBoot, AttemptNumber, AttemptToken, EventSeq, Instance, NodeIx, ProviderIx, ScopeIx, Subject, TenantId,
    WorkflowId,
};
pub use crate::run::child_event::{ChildEnded, ChildOutcome, Invoked, InvokedBy};
use crate::run::lineage::{Lineage, Offer, Source};
pub use crate::run::listen_event::{Called, RequestKey, Signalled};
pub use crate::run::output::{ListChunk, OutputValue, Piece, PortOutput};
pub use crate::run::review_event::{Asked, ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed};
use crate::run::{JobEnd, JobKey, RunStatus};
use crate::time::{Span, Timestamp};
use crate::value::{Digest, Value, ValueRef};

/// One row of a run's history.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place: 1, 2, 3… without a gap.
    pub seq: EventSeq,
    /// When, by the partition's clock; never earlier than the event before.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
    /// What control nodes decided because of it, in order.
    pub decisions: Vec<Decision>,
    /// Attempts given to agents in the same commit, after all decisions.
    pub assignments: Vec<Assignment>,
    /// The row's body: values that references with this `seq` point to. `step` never looks at it.
    pub values: Vec<Value>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The run was accepted. Always the first event, and only the first.
    Submitted(Box<Submitted>),
    /// Results of earlier runs that may be reused, copied into this event's body. They come right after the first event, in the
    /// same commit, before anything is decided.
    Offered {
        /// Which.
        offers: Vec<Offer>,
    },
    /// Nothing new from outside: decisions and assignments that had to wait for their turn or for a permit.
    Continued,
    /// An attempt gave its result: the one output of its instance and generation (I6).
    Succeeded {
        /// Which attempt.
        attempt: Attempt,
        /// What it gave.
        outputs: Vec<PortOutput>,
        /// How the time went, as the agent measured it.
        timing: Timing,
    },
    /// An attempt failed.
    Failed {
        /// Which attempt.
        attempt: Attempt,
        /// Why.
        error: NodeError,
        /// When it may run again; `None` = this provider of the node has failed for good.
        retry_at: Option<Timestamp>,
        /// Who does the node's work from now on; `None` with no `retry_at` = the node has failed.
        fallback: Option<ProviderIx>,
        /// What the node gives though it has failed; nothing = its failure ends the run.
        caught: Vec<PortOutput>,
        /// Whether people decide what came of it: nobody knows whether it took effect.
        asks: bool,
        /// How the time went.
        timing: Timing,
    },
    /// An attempt will never be heard of again, or not be believed if it is.
    Lost {
        /// Which attempt.
        attempt: Attempt,
        /// How that is known.
        cause: LossCause,
        /// Why the node has failed with it; `None` = it runs again.
        failure: Option<NodeError>,
        /// What the node gives though it has failed; nothing = its failure ends the run.
        caught: Vec<PortOutput>,
        /// Whether people decide what came of it: nobody knows whether it took effect.
        asks: bool,
    },
    /// An agent has looked at a turn of a loop, whose values are not inline (E17): the loop decides by that.
    Answered {
        /// Which attempt.
        attempt: Attempt,
        /// What it has found.
        verdict: Verdict,
        /// How the time went.
        timing: Timing,
    },
    /// Agents gave back work they had not begun; it goes elsewhere, without blame.
    HandedBack {
        /// Which attempts.
        attempts: Vec<Attempt>,
    },
    /// The attempt is about to act on the world and may do so once this is durable (E11).
    IntentRecorded {
        /// Which attempt.
        attempt: Attempt,
    },
    /// The attempt's job can be asked for by this handle, by any agent.
    HandleRecorded {
        /// Which attempt.
        attempt: Attempt,
        /// Where the handle lies in the body.
        handle: ValueRef,
        /// Whether the node's type can cancel the job; nothing: a release wrote it that owed no cancels.
        cancels: Option<bool>,
    },
    /// What became of a job at a provider that no attempt went on with. It may come after the end.
    ProviderCancelled {
        /// Which job.
        job: JobKey,
        /// What became of it.
        end: JobEnd,
    },
    /// A `logic:wait` is over, or the time of a node that has listened in vain.
    TimerFired {
        /// Which node.
        instance: Instance,
        /// What it gives.
        outputs: Vec<PortOutput>,
    },
    /// Somebody has decided at a review, or its time was over.
    Reviewed(Box<Reviewed>),
    /// A signal was sent to the run.
    Signalled(Box<Signalled>),
    /// Somebody has called the address of a `logic:wait_webhook`.
    Called(Box<Called>),
    /// Somebody has paused the run: nothing of it begins from here on.
    Paused {
        /// Who.
        by: Subject,
        /// Why, for people.
        reason: Option<Arc<str>>,
    },
    /// It goes on.
    Unpaused {
        /// Who said so.
        by: Subject,
    },
    /// A run that a node has invoked is over.
    ChildEnded(Box<ChildEnded>),
    /// The terminal event: status and outputs never change after it (I7).
    Ended {
        /// How it ended.
        status: RunStatus,
        /// Why, unless it completed.
        error: Option<RunError>,
        /// Who cancelled it.
        by: Option<Subject>,
        /// Why they did, if they say.
        reason: Option<Arc<str>>,
    },
    /// Bookkeeping: attempts that were told to stop, because the run is over or their node was given up, are gone.
    Stopped {
        /// Which attempts.
        attempts: Vec<Attempt>,
    },
    /// Bookkeeping: a result came after its run's end, or after its node was given up, and was thrown away.
    Discarded {
        /// Which attempt.
        attempt: Attempt,
    },
    /// Bookkeeping after the end: a paid attempt was let finish, and its result is kept for a resume (E21).
    Settled {
        /// Which attempt.
        attempt: Attempt,
        /// What it gave.
        outputs: Vec<PortOutput>,
    },
}

/// How a run began: all that its state starts from, next to its graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// Whose run it is.
    pub tenant: TenantId,
    /// Who asked for it.
    pub subject: Subject,
    /// The workflow it belongs to.
    pub workflow: WorkflowId,
    /// The document its graph was compiled from.
    pub graph: Digest,
    /// Run up to and with this node only.
    pub target: Option<NodeIx>,
    /// Values given for input nodes; they lie in this event's body.
    pub inputs: Vec<(NodeIx, ValueRef)>,
    /// The caller's W3C trace context.
    pub traceparent: Option<Arc<str>>,
    /// Whether its work asks the sandbox provider alone.
    pub sandbox: bool,
    /// What it takes over from earlier runs, and why.
    pub lineage: Option<Box<Lineage>>,
    /// How long it may be active; nothing: [`crate::limits::RUN_DEADLINE`].
    pub deadline: Option<Span>,
    /// Which node of which run has invoked it.
    pub invoked_by: Option<InvokedBy>,
}

/// Names one try of one instance inside a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Of which instance.
    pub instance: Instance,
    /// Which try.
    pub number: AttemptNumber,
    /// Its token.
    pub token: AttemptToken,
}

/// An attempt given to an agent (E8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: Attempt,
    /// To which start of which agent.
    pub to: AgentBoot,
    /// Against which kind of permit.
    pub permit: PermitClass,
    /// Whether the agent has nothing else to do meanwhile: the node is suspected of taking agents down (E13).
    pub alone: bool,
    /// Who does the node's work: the node's own type, or one of its fallbacks.
    pub provider: ProviderIx,
}

/// What a permit stands for (E9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PermitClass {
    /// A free slot: work begins on arrival.
    Slot,
    /// A place in the agent's queue, for types that ask for it.
    Prefetch,
}

/// What a control node decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is done.
    Completed {
        /// Which node.
        instance: Instance,
        /// What it gives.
        outputs: Vec<PortOutput>,
    },
    /// It waits for an instant.
    Waiting {
        /// Which node.
        instance: Instance,
        /// Until when.
        until: Timestamp,
    },
    /// It cannot be evaluated.
    Failed {
        /// Which node.
        instance: Instance,
        /// Why.
        error: NodeError,
        /// What it gives all the same; nothing = its failure ends the run.
        caught: Vec<PortOutput>,
    },
    /// An agent evaluates it, because it looks at values that are not inline (E17).
    Delegated {
        /// Which node.
        instance: Instance,
    },
    /// An earlier result of it is taken over (E22).
    Reused {
        /// Which node.
        instance: Instance,
        /// Which of the offers, by its number in this run; nothing: a result that runs share (`policy.cache`).
        offer: Option<u32>,
        /// Where that came from.
        source: Source,
        /// What it gives.
        outputs: Vec<PortOutput>,
    },
    /// None of the results that were offered fits: an agent runs it.
    Afresh {
        /// Which node.
        instance: Instance,
    },
    /// It ends the run.
    Stopped {
        /// Which node.
        instance: Instance,
        /// How the run ends.
        status: RunStatus,
        /// Why, for people.
        message: Arc<str>,
    },
    /// It asks people: of built-in nodes only a `logic:review`, of those that agents run each that its policy says.
    Asked {
        /// Which node.
        instance: Instance,
        /// What it asks.
        asked: Box<Asked>,
    },
    /// It waits for a word from outside.
    Listening {
        /// Which node.
        instance: Instance,
        /// Until when, if not for ever.
        until: Option<Timestamp>,
        /// What it gives at once: what hangs on these ports need not wait.
        outputs: Vec<PortOutput>,
    },
    /// It takes a signal that had come before it.
    Took {
        /// Which node.
        instance: Instance,
        /// The event of the signal.
        signal: EventSeq,
        /// What it gives.
        outputs: Vec<PortOutput>,
    },
    /// It runs another workflow.
    Invoked {
        /// Which node.
        instance: Instance,
        /// As which run.
        invoked: Box<Invoked>,
    },
    /// It runs its body for further items, or for a further turn.
    Opened {
        /// Which container.
        instance: Instance,
        /// What it opens.
        opened: Opened,
    },
    /// What a stretch of its items gave is put together, so that it need not be kept in memory (E20).
    Gathered {
        /// Which container.
        instance: Instance,
        /// Which stretch: the items from `chunk` times [`crate::limits::LIST_CHUNK_ITEMS_MAX`] on.
        chunk: u32,
        /// For each output that lists results, the stretch of its list.
        results: Vec<ListChunk>,
        /// The items of it that failed, if any did.
        errors: Option<ListChunk>,
    },
}

impl Decision {
    /// Who decided.
    pub fn instance(&self) -> Instance {
        let (Decision::Completed { instance, .. }
        | Decision::Waiting { instance, .. }
        | Decision::Failed { instance, .. }
        | Decision::Delegated { instance }
        | Decision::Reused { instance, .. }
        | Decision::Afresh { instance }
        | Decision::Stopped { instance, .. }
        | Decision::Asked { instance, .. }
        | Decision::Listening { instance, .. }
        | Decision::Took { instance, .. }
        | Decision::Invoked { instance, .. }
        | Decision::Opened { instance, .. }
        | Decision::Gathered { instance, .. }) = self;
        *instance
    }
}

/// Items of a map, or a turn of a loop, that begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// How many there are in all; of a loop, how many there may be.
    pub count: u32,
    /// The number of the first one, from 0.
    pub index: u32,
    /// Its scope; the others follow.
    pub scope: ScopeIx,
    /// For each, what the container's outputs into its body give, by their places.
    pub items: Vec<Vec<OutputValue>>,
    /// What the turn before was worth.
    pub score: Option<f64>,
}

/// What the conditions of a loop say of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the loop ends with it, whatever number of turns is left.
    pub ends: bool,
    /// What it is worth, if the loop asks for that.
    pub score: Option<f64>,
}

/// How an attempt's time went, by the agent's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// From its arrival at the agent to its start.
    pub queued: Span,
    /// From its start to its end.
    pub ran: Span,
}

/// How the loss of an attempt is known (E10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossCause {
    /// Its agent came back as another process without having said goodbye.
    NewBoot,
    /// Its agent's stream ended and the grace has passed.
    StreamGone,
    /// Its agent left on purpose.
    Goodbye,
    /// Its agent is there and does not have it.
    NotHeld,
}

/// The kind of a failure, as retries and people need it (graph.md, part 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorClass {
    /// May go better next time.
    Retryable,
    /// Too many calls; does not use up a try.
    RateLimited,
    /// The request itself is wrong.
    InvalidRequest,
    /// Not allowed.
    Auth,
    /// Refused for what it contains.
    ContentPolicy,
    /// Took too long.
    Timeout,
    /// Stopped on request.
    Cancelled,
    /// The node's own code failed.
    Internal,
    /// Nobody can tell whether it happened.
    UnknownOutcome,
    /// The node took down every agent that ran it alone (E13).
    Poison,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [ErrorClass; 10] = [
        ErrorClass::Retryable,
        ErrorClass::RateLimited,
        ErrorClass::InvalidRequest,
        ErrorClass::Auth,
        ErrorClass::ContentPolicy,
        ErrorClass::Timeout,
        ErrorClass::Cancelled,
        ErrorClass::Internal,
        ErrorClass::UnknownOutcome,
        ErrorClass::Poison,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            ErrorClass::Retryable => "retryable",
            ErrorClass::RateLimited => "rate_limited",
            ErrorClass::InvalidRequest => "invalid_request",
            ErrorClass::Auth => "auth",
            ErrorClass::ContentPolicy => "content_policy",
            ErrorClass::Timeout => "timeout",
            ErrorClass::Cancelled => "cancelled",
            ErrorClass::Internal => "internal",
            ErrorClass::UnknownOutcome => "unknown_outcome",
            ErrorClass::Poison => "poison",
        }
    }

    /// Whether another try is made by default.
    pub fn retries(self) -> bool {
        matches!(self, ErrorClass::Retryable | ErrorClass::RateLimited | ErrorClass::Timeout | ErrorClass::Internal)
    }
}

/// Why a node failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeError {
    /// Its kind.
    pub class: ErrorClass,
    /// Stable, snake_case.
    pub code: Arc<str>,
    /// One sentence for people; at most [`crate::limits::ERROR_MESSAGE_BYTES_MAX`] bytes.
    pub message: Arc<str>,
}

/// Why a run did not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// Stable, snake_case.
    pub code: Arc<str>,
    /// One sentence for people.
    pub message: Arc<str>,
    /// The node it comes from.
    pub node: Option<NodeIx>,
    /// The kind of that node's failure.
    pub class: Option<ErrorClass>,
    /// Tries made at that node.
    pub attempts: u32,
}

impl Fact {
    /// The attempts that are over with it.
    pub fn ended_attempts(&self) -> &[Attempt] {
        match self {
            Fact::Succeeded { attempt, .. }
            | Fact::Answered { attempt, .. }
            | Fact::Failed { attempt, .. }
            | Fact::Lost { attempt, .. }
            | Fact::Discarded { attempt }
            | Fact::Settled { attempt, .. } => std::slice::from_ref(attempt),
            Fact::HandedBack { attempts } | Fact::Stopped { attempts } => attempts,
            Fact::Submitted(_)
            | Fact::Offered { .. }
            | Fact::Continued
            | Fact::IntentRecorded { .. }
            | Fact::HandleRecorded { .. }
            | Fact::ProviderCancelled { .. }
            | Fact::TimerFired { .. }
            | Fact::Reviewed(_)
            | Fact::Signalled(_)
            | Fact::Called(_)
            | Fact::Paused { .. }
            | Fact::Unpaused { .. }
            | Fact::ChildEnded(_)
            | Fact::Ended { .. } => &[],
        }
    }

    /// Its name in the public event log.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::Submitted(_) => "run.started",
            Fact::Offered { .. } => "run.offered",
            Fact::Continued => "run.continued",
            Fact::Succeeded { .. } => "node.completed",
            Fact::Failed { retry_at: Some(_), .. } => "node.retrying",
            Fact::Failed { fallback: Some(_), .. } => "node.fallback",
            Fact::Failed { asks: true, .. } => "attempt.unknown",
            Fact::Failed { .. } => "node.failed",
            Fact::Lost { .. } => "attempt.lost",
            Fact::Answered { .. } => "attempt.answered",
            Fact::HandedBack { .. } => "attempt.handed_back",
            Fact::IntentRecorded { .. } => "attempt.intent",
            Fact::HandleRecorded { .. } => "attempt.handle",
            Fact::ProviderCancelled { end: JobEnd::Cancelled, .. } => "attempt.provider_cancelled",
            Fact::ProviderCancelled { end: JobEnd::Over, .. } => "attempt.provider_over",
            Fact::ProviderCancelled { .. } => "attempt.provider_not_cancelled",
            Fact::TimerFired { .. } => "timer.fired",
            Fact::Reviewed(it) if it.by.is_none() => "review.timed_out",
            Fact::Reviewed(_) => "review.decided",
            Fact::Signalled(_) => "signal.received",
            Fact::Called(_) => "webhook.called",
            Fact::Paused { .. } => "run.paused",
            Fact::Unpaused { .. } => "run.unpaused",
            Fact::ChildEnded(it) if matches!(it.outcome, ChildOutcome::Failed { .. }) => "child.failed",
            Fact::ChildEnded(_) => "child.completed",
            Fact::Ended { status: RunStatus::Completed, .. } => "run.completed",
            Fact::Ended { status: RunStatus::Cancelled, .. } => "run.cancelled",
            Fact::Ended { .. } => "run.failed",
            Fact::Stopped { .. } => "attempt.stopped",
            Fact::Discarded { .. } => "attempt.discarded",
            Fact::Settled { .. } => "attempt.settled",
        }
    }
}
