//! The checker: what must hold of everything that becomes durable and of everything that leaves.
//!
//! It sees each batch as it lands and each release as it leaves, and keeps its own account of both. H and I name the
//! invariants of the reliability design and of ARCHITECTURE.md.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use heddle_core::batch::BatchId;
use heddle_core::id::{
    AgentBoot, AttemptKey, AttemptNumber, AttemptToken, EventSeq, Instance, PartitionId, ProviderIx, ReviewIx, RunId,
    ScopeIx,
};
use heddle_core::partition::batch::{Batch, IdempotencyKey};
use heddle_core::run::event::{Attempt, ErrorClass, OutputValue, PortOutput};
use heddle_core::run::{Run, RunStatus};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::Violation;
use super::check_cache::Given;
use super::check_deadlines::Activity;
use super::check_jobs::Jobs;
use super::check_reviews::ReviewAccount;
use super::check_signals::Heard;
use super::coverage::{Coverage, Stand};
use super::event::SeatId;
use super::policies::Places;

/// How many agents a poison node may end: two make it a suspect, three prove it (E13).
const POISON_DEATHS_MAX: usize = 5;

/// The checker's account of one world.
#[derive(Debug, Default)]
pub(super) struct Checker {
    violation: RefCell<Option<Violation>>,
    pub(super) now: Timestamp,
    hash: u64,
    pub(super) runs: BTreeMap<RunId, RunAccount>,
    pub(super) tokens: BTreeMap<AttemptToken, TokenAccount>,
    pub(super) keys: BTreeMap<IdempotencyKey, RunId>,
    pub(super) instances: BTreeMap<(RunId, Instance), InstanceAccount>,
    invoked: BTreeSet<RunId>,
    /// The children that nodes have decided to run.
    pub(super) children: BTreeMap<(RunId, Instance), RunId>,
    answered_keys: BTreeMap<usize, RunId>,
    acknowledged: BTreeSet<RunId>,
    answered_batch_keys: BTreeMap<usize, BatchId>,
    batches: BTreeSet<BatchId>,
    owners: BTreeMap<PartitionId, SeatId>,
    pub(super) places: Places,
    /// Whose batch lands.
    pub(super) landing: SeatId,
    pub(super) coverage: Coverage,
    /// What each instance was given at first, by who does its work.
    pub(super) inputs: BTreeMap<(RunId, Instance, ProviderIx), Digest>,
    /// What became durable that cannot happen without end.
    pub(super) done: u64,
    pub(super) reviews: BTreeMap<(RunId, ReviewIx), ReviewAccount>,
    pub(super) given: Given,
    pub(super) heard: BTreeMap<RunId, Heard>,
    pub(super) jobs: Jobs,
    /// Until when timers may have been late.
    pub(super) calm_at: Timestamp,
    /// Which container's items and turns have these numbers.
    pub(super) scopes: BTreeMap<(RunId, ScopeIx), Instance>,
}

/// What is durable of a run.
#[derive(Debug, Default)]
pub(super) struct RunAccount {
    pub(super) fold: Option<Run>,
    pub(super) events: u64,
    pub(super) last_at: Timestamp,
    pub(super) ended: Option<(RunStatus, u64)>,
    pub(super) is_quarantined: bool,
    pub(super) stand: Stand,
    /// The load and the event at which it was last compared with what is in memory.
    pub(super) compared: (SeatId, EventSeq),
    /// The load of its partition under which its end became durable, until that is told.
    pub(super) end_is_owed: Option<SeatId>,
    /// A node of it has ended it.
    pub(super) is_stopped: bool,
    /// Nothing of it may begin.
    pub(super) is_paused: bool,
    /// How long it has been active, and how long it may be.
    pub(super) activity: Activity,
}

/// What is durable of an attempt.
#[derive(Debug)]
pub(super) struct TokenAccount {
    pub(super) run: RunId,
    pub(super) attempt: Attempt,
    pub(super) boot: AgentBoot,
    pub(super) is_live: bool,
    pub(super) has_intent: bool,
    pub(super) has_started: bool,
    /// How its agent says that it failed.
    pub(super) failed_with: Option<ErrorClass>,
    /// Its agent is told to stop it.
    pub(super) is_told: bool,
    /// What the agent made under it.
    pub(super) made: Vec<Digest>,
}

/// What is known of an instance over all its attempts.
#[derive(Debug, Default)]
pub(super) struct InstanceAccount {
    pub(super) number: AttemptNumber,
    pub(super) is_committed: bool,
    /// Its job has a durable handle: nobody may start another.
    pub(super) has_handle: bool,
    /// It may have acted, nobody knows, and nobody asked for another try.
    pub(super) is_unknown: bool,
    /// Failures that count.
    pub(super) failed: u32,
    pub(super) killed: BTreeSet<AgentBoot>,
}

impl Checker {
    pub(super) fn fail(&self, invariant: &'static str, what: String) {
        self.violation.borrow_mut().get_or_insert(Violation { invariant, what, at: self.now });
    }

    pub(super) fn expect(&self, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(invariant, what());
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.violation.borrow().is_some()
    }

    pub(super) fn into_result(self) -> (u64, Coverage, Option<Violation>) {
        (self.hash, self.coverage, self.violation.into_inner())
    }

    /// Folds a number into the trace's hash.
    pub(super) fn note(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
    }

    pub(super) fn invoked(&mut self, run: RunId) {
        self.invoked.insert(run);
    }

    pub(super) fn was_invoked(&self, run: RunId) -> bool {
        self.invoked.contains(&run)
    }

    pub(super) fn acknowledged(&mut self, run: RunId, key: Option<usize>) {
        self.acknowledged.insert(run);
        if let Some(key) = key {
            let first = *self.answered_keys.entry(key).or_insert(run);
            self.expect(first == run, "H3", || format!("key {key} was answered with {first} and with {run}"));
        }
    }

    pub(super) fn acknowledged_batch(&mut self, batch: BatchId, key: Option<usize>) {
        self.batches.insert(batch);
        if let Some(key) = key {
            let first = *self.answered_batch_keys.entry(key).or_insert(batch);
            self.expect(first == batch, "H3", || format!("key {key} was answered with {first} and with {batch}"));
        }
    }

    pub(super) fn acknowledged_batches(&self) -> Vec<BatchId> {
        self.batches.iter().copied().collect()
    }

    pub(super) fn acknowledged_runs(&self) -> impl Iterator<Item = RunId> {
        self.acknowledged.iter().copied()
    }

    /// A new load of a partition has begun: from here on it is the only owner.
    pub(super) fn loaded(&mut self, seat: SeatId) {
        self.owners.insert(seat.partition, seat);
        self.calm(self.now);
    }

    pub(super) fn expect_owner(&self, seat: SeatId, batch: &Batch) {
        let owner = self.owners.get(&seat.partition);
        self.expect(owner == Some(&seat), "H19", || {
            format!("batch {} of a load that was superseded landed in partition {}", batch.number, seat.partition)
        });
    }

    pub(super) fn worked(&mut self, releases: usize) {
        self.note(releases as u64);
    }

    pub(super) fn refused(&mut self) {
        self.note(u64::MAX);
    }

    /// The agent has been sent an attempt.
    pub(super) fn assigned(&mut self, boot: &AgentBoot, key: &AttemptKey) {
        let Some(token) = self.tokens.get_mut(&key.token) else {
            return self.fail("I3", format!("{key:?} reached its agent before it was durable"));
        };
        let was_started = std::mem::replace(&mut token.has_started, true);
        let is_its = token.boot == *boot;
        self.expect(is_its, "I6", || format!("{key:?} reached {boot:?}, to which it was not given"));
        self.expect(!was_started, "I6", || format!("{key:?} reached its agent twice"));
    }

    /// An attempt acts on the world after it has asked.
    pub(super) fn acted(&mut self, key: &AttemptKey) {
        let has_intent = self.tokens.get(&key.token).is_some_and(|token| token.has_intent);
        self.expect(has_intent, "E11", || format!("{key:?} acts before its intent is durable"));
        let instance = self.instances.entry((key.run, key.instance)).or_default();
        let has_handle = instance.has_handle;
        self.expect(!has_handle, "H7", || format!("{key:?} starts a second job though the first has a handle"));
    }

    pub(super) fn produced(&mut self, key: &AttemptKey, digest: Digest) {
        self.tokens.get_mut(&key.token).into_iter().for_each(|token| token.made.push(digest));
    }

    /// An attempt has taken its agent down.
    pub(super) fn killed(&mut self, boot: &AgentBoot, key: &AttemptKey) {
        let instance = self.instances.entry((key.run, key.instance)).or_default();
        instance.killed.insert(boot.clone());
        let deaths = instance.killed.len();
        self.expect(deaths <= POISON_DEATHS_MAX, "H25", || {
            format!("node {} of {} ended {deaths} agents", key.instance.node, key.run)
        });
    }

    pub(super) fn is_quarantined(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|account| account.is_quarantined)
    }

    /// Whether durable history says that an attempt is out.
    pub(super) fn is_live(&self, key: &AttemptKey) -> bool {
        let token = self.tokens.get(&key.token);
        token.is_some_and(|token| token.is_live && token.run == key.run) && !self.is_quarantined(key.run)
    }

    pub(super) fn events_of(&self, run: RunId) -> EventSeq {
        EventSeq(self.runs.get(&run).map_or(0, |account| account.events))
    }
}

/// A number for what a run gave: its nodes' outputs.
pub(super) fn fingerprint(run: &Run) -> u64 {
    let outputs = run.graph().nodes().flat_map(|(ix, _)| run.outputs(ix).iter().map(move |output| (ix, output)));
    outputs.fold(0, |sum, (ix, output)| {
        let part = digests(output).fold(u64::from(ix.0) + 1, |part, digest| {
            digest.0.iter().take(8).fold(part, |part, byte| part.wrapping_mul(257).wrapping_add(u64::from(*byte)))
        });
        sum.wrapping_mul(31).wrapping_add(part)
    })
}

/// The digests of what came out of a port.
pub(super) fn digests(output: &PortOutput) -> impl Iterator<Item = Digest> {
    let references = match &output.value {
        OutputValue::One(reference) | OutputValue::List(reference) => std::slice::from_ref(reference),
        OutputValue::Gather(references) => references.as_slice(),
        OutputValue::Closed => &[],
        OutputValue::Pieces(pieces) => {
            return pieces.iter().map(|piece| piece.reference().digest).collect::<Vec<_>>().into_iter();
        }
    };
    references.iter().map(|reference| reference.digest).collect::<Vec<_>>().into_iter()
}
