//! What happens in a simulated world, and what its parts say to each other.

use heddle_core::id::BatchNumber;
use heddle_core::id::{AgentBoot, AttemptKey, BootId, CallerId, Instance, PartitionId, ReviewIx, RunId, SessionNumber};
use heddle_core::partition::batch::{CommitOutcome, IdempotencyKey};
use heddle_core::partition::io::{Dispatch, Input, Reply, Verdict};
use heddle_core::run::event::{NodeError, PermitClass};
use heddle_core::run::{JobEnd, ListNeed, Outcome};
use heddle_core::time::Timestamp;
use heddle_core::value::{Value, ValueRef};

use super::nemesis::Trouble;

/// One start of one partition: what was meant for an earlier one is dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeatId {
    pub(super) partition: PartitionId,
    pub(super) start: u64,
}

/// One thing that happens.
#[derive(Debug)]
pub(super) enum Event {
    ClientActs {
        client: usize,
        job: usize,
    },
    /// Somebody looks at a review.
    PersonActs {
        person: usize,
        run: RunId,
        review: ReviewIx,
    },
    /// Somebody sends a signal that nobody may wait for yet.
    OutsiderSends {
        run: RunId,
        name: String,
    },
    /// Somebody knows that an instance waits for a word.
    OutsiderActs {
        run: RunId,
        instance: Instance,
    },
    /// Somebody who runs the cluster pauses a type of nodes, or lets it go on.
    OperatorActs {
        node_type: &'static str,
        pauses: bool,
    },
    /// The client has waited long enough.
    ClientGivesUp {
        client: usize,
        caller: CallerId,
    },
    Request {
        client: usize,
        partition: PartitionId,
        input: Box<Input>,
    },
    /// Something comes before a partition that nobody waits for.
    Mail {
        partition: PartitionId,
        input: Box<Input>,
    },
    Answer {
        client: usize,
        caller: CallerId,
        reply: Reply,
    },

    /// A partition looks into its mailbox.
    Wake(SeatId),
    /// A timer rings that was set for this instant.
    Tick(SeatId, Timestamp),
    /// The journal's database works on a batch.
    Commit {
        seat: SeatId,
        batch: u64,
    },
    CommitOutcome {
        seat: SeatId,
        number: BatchNumber,
        outcome: CommitOutcome,
    },
    ReadRun {
        seat: SeatId,
        run: RunId,
    },
    ReadValues {
        seat: SeatId,
        run: RunId,
        references: Vec<ValueRef>,
    },
    ReadList {
        seat: SeatId,
        run: RunId,
        need: ListNeed,
    },
    LookUpKey {
        seat: SeatId,
        key: IdempotencyKey,
    },
    /// What a partition asked for has come.
    Outcome {
        seat: SeatId,
        input: Box<Input>,
    },
    Fence(SeatId),
    Load(SeatId),
    ScanDue(SeatId),
    CoordinatorStarts(u64),

    ToCoordinator {
        session: SessionNumber,
        message: AgentMessage,
    },
    ToAgent {
        session: SessionNumber,
        message: CoordinatorMessage,
    },
    CoordinatorSeesEnd(SessionNumber),
    AgentSeesEnd(SessionNumber),
    /// One end has heard nothing for too long.
    FallsSilent {
        session: SessionNumber,
        to_coordinator: bool,
    },

    AgentStarts {
        agent: usize,
    },
    AgentDials {
        agent: usize,
        boot: BootId,
    },
    AttemptGoesOn {
        agent: usize,
        boot: BootId,
        key: AttemptKey,
        step: u64,
    },
    /// An agent has asked the provider to end a job.
    JobCancelled {
        agent: usize,
        boot: BootId,
        job: Box<Dispatch>,
    },
    DrainEnds {
        agent: usize,
        boot: BootId,
    },

    Trouble(Trouble),
}

/// What an agent says.
#[derive(Debug, Clone)]
pub(super) enum AgentMessage {
    Hello { boot: AgentBoot, inventory: Inventory, slots: u32, prefetch: u32 },
    Permit { class: PermitClass, count: u32 },
    Finished { key: AttemptKey, outcome: Outcome, job: Option<JobEnd> },
    JobCancelled { key: AttemptKey, end: Result<JobEnd, NodeError> },
    Intent { key: AttemptKey },
    Handle { key: AttemptKey, handle: Value },
    HandedBack { key: AttemptKey },
    Goodbye,
}

/// Everything an agent owes.
#[derive(Debug, Clone, Default)]
pub(super) struct Inventory {
    pub(super) running: Vec<AttemptKey>,
    pub(super) finished: Vec<AttemptKey>,
}

/// What a coordinator says.
#[derive(Debug, Clone)]
pub(super) enum CoordinatorMessage {
    Welcome(Vec<(AttemptKey, Verdict)>),
    Assign(Box<Dispatch>),
    Cancel(AttemptKey),
    CancelJob(Box<Dispatch>),
    Acknowledge(AttemptKey),
    IntentAnswer { key: AttemptKey, go: bool },
}
