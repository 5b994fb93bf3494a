//! What goes into a partition and what comes out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::batch::{BatchId, BatchSubmission, OfBatch};
use crate::condition::question::Question as Condition;
use crate::graph::Graph;
use crate::id::{
    AgentBoot, AttemptKey, BatchNumber, CallerId, EventSeq, Instance, NodeIx, PartitionId, PortIx, ProviderIx, RunId,
    SessionNumber, Slot, Subject, TenantId, WorkflowId,
};
use crate::outbox::{Message, MessageId};
use crate::partition::batch::{Batch, BatchRow, CommitOutcome, IdempotencyKey, KeyFound, KeyRow, Phase};
use crate::partition::permits::Grant;
use crate::run::event::{InvokedBy, NodeError, PermitClass, RequestKey, Timing};
use crate::run::lineage::{Lineage, Offer};
use crate::run::list::ListPart;
use crate::run::recall::CachedResult;
use crate::run::{
    ChildEnd, JobEnd, ListNeed, ListenRefusal, Outcome, PauseChange, ReviewAnswer, ReviewRefusal, Run, RunStatus,
};
use crate::time::{Span, Timestamp};
use crate::value::{Digest, Value, ValueRef};

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A new run.
    Submit(CallerId, Box<Submission>),
    /// A new batch of runs.
    SubmitBatch(CallerId, Box<BatchSubmission>),
    /// Somebody stops a batch of runs.
    CancelBatch {
        /// Who waits for the answer.
        caller: CallerId,
        /// Which batch.
        batch: BatchId,
        /// Whose it must be.
        tenant: TenantId,
        /// Who stops it.
        by: Subject,
    },
    /// Messages of an earlier load that have not arrived, in the order of their numbers; they come before all batches.
    Owed(Vec<Message>),
    /// A batch that is not over, with its first row.
    BatchLoaded(Box<BatchRow>),
    /// A run of a batch may be over.
    BatchHint(BatchId),
    /// The answer to [`Outputs::looks`]: which runs of a batch go on.
    BatchSeen(BatchId, BTreeSet<u32>),
    /// Another slot's message.
    Delivered(Box<Delivery>),
    /// A message of this partition has arrived, and what it asked for is durable.
    Received(MessageId),
    /// The answer to [`Outputs::sightings`]: whether there is such a run.
    Sighted(RunId, bool),
    /// The answer to [`Outputs::lookups`].
    KeyLookedUp(IdempotencyKey, Option<KeyFound>),
    /// Somebody stops a run.
    Cancel {
        /// Who waits for the answer.
        caller: CallerId,
        /// Which run.
        run: RunId,
        /// Whose it must be.
        tenant: TenantId,
        /// Who stops it.
        by: Subject,
        /// Why, if they say.
        reason: Option<Arc<str>>,
    },
    /// Somebody pauses a run, or lets it go on.
    Pause {
        /// Who waits for the answer.
        caller: CallerId,
        /// Which run.
        run: RunId,
        /// Whose it must be.
        tenant: TenantId,
        /// Who wants it.
        by: Subject,
        /// Which of both.
        change: PauseChange,
    },
    /// Somebody answers a review of a run.
    Answer {
        /// Who waits for what comes of it.
        caller: CallerId,
        /// Which run.
        run: RunId,
        /// Whose it must be.
        tenant: TenantId,
        /// What they say.
        answer: Box<ReviewAnswer>,
    },
    /// Somebody sends a signal to a run.
    Signal {
        /// Who waits for what comes of it.
        caller: CallerId,
        /// Which run.
        run: RunId,
        /// Whose it must be.
        tenant: TenantId,
        /// By what name.
        name: Arc<str>,
        /// Who sends it.
        by: Subject,
        /// What it says.
        body: Value,
        /// By what it is known if it comes again.
        key: Option<RequestKey>,
    },
    /// Somebody calls the address of a node.
    Call {
        /// Who waits for what comes of it.
        caller: CallerId,
        /// Which run.
        run: RunId,
        /// Whose it is.
        tenant: TenantId,
        /// Whose address it is.
        instance: Instance,
        /// What they say.
        body: Value,
        /// By what the call is known if it comes again.
        key: Option<RequestKey>,
    },
    /// An agent is there, with everything it holds of this partition's.
    AgentHello {
        /// Which start of which agent.
        agent: AgentBoot,
        /// On which stream.
        session: SessionNumber,
        /// Accepted and not finished.
        running: Vec<AttemptKey>,
        /// Finished and not acknowledged; the results follow.
        finished: Vec<AttemptKey>,
    },
    /// An agent's stream has ended.
    AgentGone {
        /// Which start of which agent.
        agent: AgentBoot,
        /// Which of its streams.
        session: SessionNumber,
        /// How.
        leaving: Leaving,
    },
    /// An agent reports the end of an attempt.
    Finished {
        /// Who says so.
        from: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
        /// What came of it.
        outcome: Outcome,
        /// How the time went.
        timing: Timing,
    },
    /// An attempt asks to act on the world (E11).
    Intent {
        /// Who asks.
        from: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
    },
    /// An attempt's job has a handle.
    Handle {
        /// Who says so.
        from: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
        /// The handle.
        handle: Value,
    },
    /// An agent gives back work that it has not begun.
    HandedBack {
        /// Who.
        from: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
    },
    /// An agent says what became of a job that it was asked to cancel, or whose attempt ends; or why it could not.
    JobCancelled {
        /// Who.
        from: AgentBoot,
        /// Which attempt had the job: the key of the order, or of the attempt.
        key: AttemptKey,
        /// What became of it.
        end: Result<JobEnd, NodeError>,
    },
    /// Permits that this partition waited for.
    Granted(Vec<Grant>),
    /// A commit has an outcome.
    Committed(BatchNumber, CommitOutcome),
    /// The answer to [`Outputs::loads`]: the run as the journal has it, or nothing.
    Loaded(RunId, Option<Box<Run>>),
    /// The answer to [`Outputs::values`].
    Values(RunId, Vec<(ValueRef, Value)>),
    /// The answer to [`Outputs::lists`]; a list that cannot be gone through fails whoever goes through it.
    ListPart(RunId, ListNeed, Result<ListPart, NodeError>),
    /// The answer to [`Outputs::questions`]: the result, or nothing if there is none or nobody knows.
    SharedFound {
        /// Which run asks.
        run: RunId,
        /// For which instance.
        instance: Instance,
        /// By which key.
        key: Digest,
        /// What was found.
        found: Option<Box<CachedResult>>,
    },
    /// Parked runs that fall due soon.
    Due(Vec<RunId>),
    /// Time has passed.
    Tick,
}

/// A run to be started. The graph is valid and the inputs are bound and within their limits.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id; the slot in it leads to this partition.
    pub run: RunId,
    /// Whose run it is.
    pub tenant: TenantId,
    /// Who asks for it.
    pub subject: Subject,
    /// The workflow it belongs to.
    pub workflow: WorkflowId,
    /// Its graph.
    pub graph: Arc<Graph>,
    /// Run up to and with this node only.
    pub target: Option<NodeIx>,
    /// Values for input nodes.
    pub inputs: Vec<(NodeIx, Value)>,
    /// The idempotency key it came with.
    pub key: Option<KeyRow>,
    /// The caller's trace context.
    pub traceparent: Option<Arc<str>>,
    /// Whether it came with a test key: its work asks the sandbox provider alone.
    pub sandbox: bool,
    /// The batch that starts it.
    pub batch: Option<OfBatch>,
    /// What it takes over from earlier runs.
    pub lineage: Option<Box<Inherited>>,
    /// How long whoever starts it lets it be active; the document may say less.
    pub deadline: Option<Span>,
    /// Which node of which run invokes it.
    pub invoked_by: Option<InvokedBy>,
}

/// What a run takes over: why, and the results that it may reuse.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inherited {
    /// Part of its first event, but for the number of those that follow.
    pub lineage: Lineage,
    /// For each event that follows the first, what it offers and the values in its body ([`crate::run::offers::Packing`]).
    pub offers: Vec<(Vec<Offer>, Vec<Value>)>,
}

/// A message with all that is needed to do what it says.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its name.
    pub message: MessageId,
    /// Who sent it.
    pub source: Slot,
    /// What to do.
    pub order: Order,
}

/// What a message asks for.
#[derive(Debug, Clone)]
pub enum Order {
    /// Start a run, unless it is there.
    Start(Box<Submission>),
    /// Stop a run, unless it is over.
    Cancel {
        /// Which run.
        run: RunId,
        /// Who stops it.
        by: Subject,
    },
    /// Tell a run what one has come to that it has invoked.
    EndChild {
        /// The run that has invoked it.
        parent: RunId,
        /// What came of it.
        end: Box<ChildEnd>,
    },
}

/// What the shell has to do, in this order: release, then start what is asked for.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Answers and instructions whose cause is durable (I3).
    pub releases: Vec<Release>,
    /// One transaction, to be written; its outcome comes back as [`Input::Committed`].
    pub commit: Option<Batch>,
    /// Runs to be read from the journal; each comes back as [`Input::Loaded`].
    pub loads: Vec<RunId>,
    /// Values of runs to be read from the journal, where they certainly are; each list comes back as [`Input::Values`].
    pub values: Vec<(RunId, Vec<ValueRef>)>,
    /// Parts of lists that are too long for a row: each is read from the artifact store, where it certainly is, and comes
    /// back as [`Input::ListPart`].
    pub lists: Vec<(RunId, ListNeed)>,
    /// Keys to be looked up; each comes back as [`Input::KeyLookedUp`].
    pub lookups: Vec<IdempotencyKey>,
    /// Results that runs share, to be looked for; each comes back as [`Input::SharedFound`], and an answer that never comes
    /// counts as none.
    pub questions: Vec<Question>,
    /// Batches of runs to be looked at in the journal; each comes back as [`Input::BatchSeen`].
    pub looks: Vec<BatchId>,
    /// Runs to be looked for in the journal; each comes back as [`Input::Sighted`].
    pub sightings: Vec<RunId>,
    /// Permits that went back and on to partitions that wait for them; each is owed an [`Input::Granted`].
    pub dealt: Vec<(PartitionId, Grant)>,
    /// When to send the next [`Input::Tick`] at the latest.
    pub wake_at: Option<Timestamp>,
    /// The value must be thrown away: another load of the partition goes on.
    pub stop: Option<StopReason>,
}

/// A result that runs share, to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which run asks.
    pub run: RunId,
    /// For which instance.
    pub instance: Instance,
    /// Whose results count.
    pub tenant: TenantId,
    /// By which key.
    pub key: Digest,
    /// What has expired by then does not count.
    pub at: Timestamp,
}

/// Something that leaves the process.
#[derive(Debug, Clone, PartialEq)]
pub enum Release {
    /// An answer to a waiting caller.
    Reply(CallerId, Reply),
    /// An instruction.
    Effect(Effect),
}

/// An answer to a waiting caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The run exists.
    Submitted {
        /// Which run.
        run: RunId,
        /// The workflow it belongs to.
        workflow: WorkflowId,
        /// When it was accepted.
        created_at: Timestamp,
        /// Whether an earlier request with the same key had started it.
        replayed: bool,
    },
    /// The run is cancelled, or was over before.
    Cancelled {
        /// How it stands now.
        status: RunStatus,
        /// Whether this call did it.
        applied: bool,
        /// The event that the answer reflects.
        seq: EventSeq,
    },
    /// The run stands as it was asked to, or is over.
    Paused {
        /// How it stands now.
        status: RunStatus,
        /// Whether this call did it.
        applied: bool,
        /// The event that the answer reflects.
        seq: EventSeq,
    },
    /// What was said to a review counts.
    Answered {
        /// The event that the answer reflects.
        seq: EventSeq,
    },
    /// The signal or the call counts.
    Heard {
        /// The event that the answer reflects.
        seq: EventSeq,
        /// Whether a node has got it; else it is kept.
        delivered: bool,
        /// Whether the same request came before.
        replayed: bool,
    },
    /// The batch exists, and its runs will be started.
    BatchSubmitted {
        /// Which batch.
        batch: BatchId,
        /// The workflow it belongs to.
        workflow: WorkflowId,
        /// When it was accepted.
        created_at: Timestamp,
        /// Whether an earlier request with the same key had started it.
        replayed: bool,
    },
    /// The batch starts no more runs, and those that go on are told to stop.
    BatchCancelled,
    /// No.
    Refused(Refusal),
}

/// Why a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such run for this tenant.
    NotFound,
    /// Too much is under way; nothing was written.
    Overloaded,
    /// The same key came with another body.
    KeyMismatch,
    /// The review does not take it.
    Review(ReviewRefusal),
    /// Nobody takes the signal or the call.
    Listen(ListenRefusal),
    /// The run's rows could not be written or read; it is set aside.
    Quarantined,
    /// The commit did not land for certain, or nobody knows: ask again.
    Retry,
}

/// An instruction to the shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send an attempt to its agent.
    Dispatch(Box<Dispatch>),
    /// Tell an agent to stop an attempt.
    CancelAttempt {
        /// Who has it.
        to: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
    },
    /// Ask an agent to cancel a job at its provider. It uses up no permit.
    CancelJob(Box<Dispatch>),
    /// Tell an agent that it may forget a result.
    Acknowledge {
        /// Who reported it.
        to: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
    },
    /// Tell an attempt that it may act, or must not.
    AnswerIntent {
        /// Who asks.
        to: AgentBoot,
        /// Which attempt.
        key: AttemptKey,
        /// Whether it may.
        go: bool,
    },
    /// The answer to an agent's inventory: one verdict for each attempt it named. An attempt that was
    /// dispatched to the agent between its inventory and this must not be sent: it is lost.
    Verdicts {
        /// Who asked.
        to: AgentBoot,
        /// On which stream: it is no answer to any other.
        session: SessionNumber,
        /// What becomes of each.
        verdicts: Vec<(AttemptKey, Verdict)>,
    },
    /// Readers may look: the run's history goes up to here.
    Notify {
        /// Which run.
        run: RunId,
        /// Its youngest event.
        seq: EventSeq,
        /// What it is doing: readers of active runs can wait for the next word.
        phase: Phase,
    },
    /// Bring a message to the partition of its slot.
    Deliver(Message),
    /// Tell the sender of a message that it has arrived.
    Arrived {
        /// Who sent it.
        source: Slot,
        /// Its name.
        message: MessageId,
    },
    /// A result whose token is not the current one was refused: counted, for people.
    CountZombie(AttemptKey),
    /// An agent spoke of an attempt that another agent, or another start of it, holds: refused and counted.
    CountForeign(AttemptKey),
}

/// What becomes of an attempt that an agent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Keep,
    /// It was given away, or its run is over: stop it.
    Stop,
    /// Its result is durable, or refused for ever: forget it.
    Acknowledged,
}

/// An attempt to be sent.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// To whom.
    pub to: AgentBoot,
    /// Which attempt.
    pub key: AttemptKey,
    /// The numbers of the items and turns that it lies in, the outermost first.
    pub index: Vec<u32>,
    /// The permit it uses up.
    pub permit: PermitClass,
    /// The stream that the permit was granted on: it is sent there or not at all.
    pub session: SessionNumber,
    /// The graph its node is in.
    pub graph: Arc<Graph>,
    /// Who does its node's work.
    pub provider: ProviderIx,
    /// What its wired inputs hold, by reference; ports are those of the provider's type.
    pub inputs: Vec<InputBinding>,
    /// Keys of its node's config that people have changed, a JSON object.
    pub config: Option<ValueRef>,
    /// What it has to answer, if it looks at values for the engine: its inputs are at the ports that the question names.
    pub question: Option<Arc<Condition>>,
    /// A pollable job to go on with.
    pub handle: Option<ValueRef>,
    /// How many jobs earlier attempts have left to be cancelled.
    pub jobs_left: u32,
    /// The caller's trace context.
    pub traceparent: Option<Arc<str>>,
    /// Whose run it is.
    pub tenant: TenantId,
    /// Whether its work asks the sandbox provider alone.
    pub sandbox: bool,
}

impl PartialEq for Dispatch {
    fn eq(&self, other: &Self) -> bool {
        (&self.to, &self.key, &self.inputs) == (&other.to, &other.key, &other.inputs)
    }
}

/// How an agent's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// The agent said goodbye: nothing it held was killed by its work.
    Goodbye,
    /// It broke, or fell silent: nobody knows how the agent is.
    Broken,
    /// This coordinator ended it. That says nothing about the agent, which gets time to come back.
    SentAway,
}

/// The port that stands for the items of a question.
pub const QUESTION_ITEMS: PortIx = PortIx(u16::MAX);

/// What one wired input holds.
#[derive(Debug, Clone, PartialEq)]
pub struct InputBinding {
    /// Which input; of a question, the number of the value, [`QUESTION_ITEMS`] for the items.
    pub port: PortIx,
    /// Whether it takes a list.
    pub list: bool,
    /// Whether it takes one value and gets a list: the values are that list's items.
    pub joined: bool,
    /// The values, in edge order.
    pub values: Vec<BoundValue>,
}

/// A value of an input, by reference.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundValue {
    /// Where it lies.
    pub reference: ValueRef,
    /// What lies there.
    pub holds: Holds,
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// The value of the input, or one of them.
    Value,
    /// A list whose items are values of the input, one by one.
    List,
    /// References to values of the input, in order ([`crate::run::list::read_chunk`]).
    Chunk,
}

/// Why a partition's value must be thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Another owner has the partition, or the rows did not follow.
    Fenced,
    /// Nobody knows whether a commit landed (I8).
    Unknown,
}
