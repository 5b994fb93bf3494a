//! Many runs with one owner: batching, speculation, assignment and re-attachment (E1 to E15).
//!
//! A [`Partition`] is a value. Its shell moves messages: it passes [`Input`]s to [`Partition::on`] and carries out the
//! [`Outputs`], releases first. One batch is on its way to the journal and one is open; every answer is attached to the
//! youngest batch it could have observed and leaves when that batch has landed (E3).

mod agents;
pub mod alarm;
mod assign;
pub mod batch;
mod batches;
mod children;
mod decide;
mod dispatch;
mod dropped;
mod evict;
mod explain;
pub mod io;
mod jobs;
mod listen;
mod lists;
mod mail;
mod open;
mod pause;
pub mod permits;
mod places;
mod ready;
mod recall;
mod reviews;
mod submit;
#[cfg(test)]
mod tests;
mod values;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use crate::partition::assign::Backlog;

use crate::concurrency::ConcurrencyKey;
use crate::draw::Draw;
use crate::fault::{Fault, is_planted};
use crate::hook::Hooks;
use crate::id::{AgentId, AttemptKey, BatchNumber, Epoch, EventSeq, Instance, PartitionId, RunId};
use crate::limits;
use crate::partition::agents::Presence;
use crate::partition::batch::{Batch, CommitOutcome, IdempotencyKey, Phase, RunSummary};
use crate::partition::batches::Batches;
use crate::partition::io::{Effect, Input, Outputs, Release, StopReason};
use crate::partition::jobs::{Cancels, Looks};
use crate::partition::lists::RecentLists;
use crate::partition::mail::Mail;
use crate::partition::open::{Flying, Open};
use crate::partition::permits::{Access, Reservation};
use crate::partition::ready::{Lane, ReadyQueue};
use crate::partition::recall::Questions;
use crate::partition::submit::{Asked, KeyState, Waiting, Wish, turn_away};
use crate::partition::values::{Lack, RecentValues};
use crate::run::event::{Event, Fact};
use crate::run::{Admitted, Command, Rank, Rejection, Run, Values};
use crate::time::Timestamp;

/// The runs of one partition that are in memory, and everything owed for them.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    epoch: Epoch,
    loaded_at: Timestamp,
    /// Never behind an event (E7).
    clock: Timestamp,
    runs: BTreeMap<RunId, Entry>,
    loading: BTreeMap<RunId, Vec<Waiting>>,
    outdated: BTreeSet<RunId>,
    keys: BTreeMap<IdempotencyKey, KeyState>,
    batches: Batches,
    mail: Mail,
    open: Open,
    flying: Option<Flying>,
    last_batch: BatchNumber,
    queues: BTreeMap<Lane, ReadyQueue>,
    /// Lanes to look at: what waits in them is not what their permits were asked for.
    changed: VecDeque<Lane>,
    agents: BTreeMap<AgentId, Presence>,
    /// Attempts that their agent cannot know of yet, each with the permit that it will use up.
    unsent: BTreeMap<AttemptKey, Reservation>,
    /// Attempts that hold a place of a concurrency key.
    keyed: BTreeMap<AttemptKey, ConcurrencyKey>,
    /// Whether the places of what was loaded at first are known to all.
    is_counted: bool,
    /// When attempts of absent agents are looked at.
    losses_at: Option<Timestamp>,
    /// Runs whose turn was used up before they were quiet (E2).
    turns: VecDeque<RunId>,
    alarms: BTreeSet<(Timestamp, RunId)>,
    /// Runs with jobs that are to be cancelled, by when they are looked at.
    cancel_looks: Looks,
    /// Parked runs, by when they may leave memory.
    idle: BTreeSet<(Timestamp, RunId)>,
    /// For decisions that look at values.
    recent: RecentValues,
    /// For results that runs share.
    questions: Questions,
    /// Makes the addresses of hooks.
    hooks: Hooks,
    /// The run that is being worked on: if the core fails, it is the one to set aside (E5).
    current: Option<RunId>,
}

#[derive(Debug)]
struct Entry {
    run: Run,
    /// The summary row as it will be when the youngest batch lands; `None` if nothing was written since the load.
    written: Option<RunSummary>,
    /// Instances that stand in a queue.
    exposed: BTreeSet<Rank>,
    /// Instances that an agent gave back and that do not stand in a queue yet, with the time at which they were given to it.
    returned: BTreeMap<Instance, Timestamp>,
    alarm: Option<Timestamp>,
    idle_at: Option<Timestamp>,
    /// Bytes of events since the last snapshot, and that snapshot's size.
    tail_bytes: usize,
    snapshot_bytes: usize,
    in_turn: bool,
    /// Why its next decision waits, if it does.
    lack: Lack,
    /// Values that were asked for, until its next decision.
    fetched: Values,
    /// Parts of lists that it goes through.
    lists: RecentLists,
    /// Jobs at providers that are to be cancelled.
    cancels: Cancels,
    /// The event up to which its state was looked through and something would wake all of it.
    watched: Option<EventSeq>,
}

/// What one call of [`Partition::on`] works with.
struct Turn<'a> {
    now: Timestamp,
    draw: Draw,
    permits: Access<'a>,
    /// Whether a permit went back.
    has_returned: bool,
    /// What decisions have cost so far.
    cost: u64,
    outputs: Outputs,
}

impl Partition {
    /// A partition that has just been loaded under `epoch`, with nothing in memory yet. Its runs give addresses of `hooks`.
    pub fn new(id: PartitionId, epoch: Epoch, hooks: Hooks, now: Timestamp) -> Self {
        Self {
            id,
            epoch,
            loaded_at: now,
            clock: now,
            runs: BTreeMap::new(),
            loading: BTreeMap::new(),
            outdated: BTreeSet::new(),
            keys: BTreeMap::new(),
            batches: Batches::default(),
            mail: Mail::default(),
            open: Open::default(),
            flying: None,
            last_batch: BatchNumber(0),
            queues: BTreeMap::new(),
            changed: VecDeque::new(),
            agents: BTreeMap::new(),
            unsent: BTreeMap::new(),
            keyed: BTreeMap::new(),
            is_counted: false,
            losses_at: Some(now.plus(limits::LOSS_GRACE_AFTER_LOAD)),
            turns: VecDeque::new(),
            alarms: BTreeSet::new(),
            cancel_looks: Looks::new(),
            idle: BTreeSet::new(),
            recent: RecentValues::default(),
            questions: Questions::default(),
            hooks,
            current: None,
        }
    }

    /// Which partition.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// How many runs are in memory.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether no run is in memory.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs in memory.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|entry| &entry.run)
    }

    /// The run that was being worked on when the core failed: the one to set aside (E5).
    pub fn current(&self) -> Option<RunId> {
        self.current
    }

    /// Whether commands should wait until a commit has landed (E14).
    pub fn is_full(&self) -> bool {
        self.open.is_full()
    }

    /// Takes what happened, decides, and says what to do. `now` is the partition's clock; `draw` a fresh seed.
    pub fn on<'a>(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
        now: Timestamp,
        draw: Draw,
        permits: impl Into<Access<'a>>,
    ) -> Outputs {
        self.clock = self.clock.max(now);
        let mut turn = Turn {
            now: self.clock,
            draw,
            permits: permits.into(),
            has_returned: false,
            cost: 0,
            outputs: Outputs::default(),
        };
        if !self.is_counted {
            turn.permits.take().begin(self.id);
        }
        for input in inputs {
            match turn.outputs.stop {
                None => self.take(input, &mut turn),
                Some(_) => turn_away(input, &mut turn),
            }
        }
        if turn.outputs.stop.is_some() {
            turn.deal();
            return turn.outputs;
        }
        self.count_places(&mut turn);
        self.tend_batches(&mut turn);
        self.wake(&mut turn);
        self.give_up_questions(&mut turn);
        self.lose_absent(&mut turn);
        self.tend_cancels(&mut turn);
        self.take_turns(&mut turn);
        self.ask_shared(&mut turn);
        self.assign(&mut turn);
        self.evict(&turn);
        self.seal(&mut turn);
        turn.deal();
        self.current = None;
        turn.outputs.wake_at = self.wake_at(turn.now);
        turn.outputs
    }

    fn take(&mut self, input: Input, turn: &mut Turn<'_>) {
        match input {
            Input::Submit(caller, submission) => self.ask(caller, Asked::Run(submission), turn),
            Input::KeyLookedUp(key, found) => self.key_looked_up(&key, found, turn),
            Input::Cancel { caller, run, tenant, by, reason } => {
                self.grant(Waiting { caller, tenant, wish: Wish::Cancel(by, reason) }, run, turn);
            }
            Input::Pause { caller, run, tenant, by, change } => {
                self.grant(Waiting { caller, tenant, wish: Wish::Pause(change, by) }, run, turn);
            }
            Input::Answer { caller, run, tenant, answer } => {
                self.grant(Waiting { caller, tenant, wish: Wish::Answer(answer) }, run, turn);
            }
            Input::AgentHello { agent, session, running, finished } => {
                self.agent_hello(agent, session, &running, &finished, turn);
            }
            Input::AgentGone { agent, session, leaving } => self.agent_gone(&agent, session, leaving, turn),
            Input::Finished { from, key, outcome, timing } => self.finished(from, key, outcome, timing, turn),
            Input::Intent { from, key } => self.intent(from, key, turn),
            Input::Handle { from, key, handle } => self.handle(&from, key, handle, turn),
            Input::HandedBack { from, key } => self.handed_back(&from, key, turn),
            Input::JobCancelled { from, key, end } => self.job_cancelled(&from, key, end, turn),
            Input::Granted(grants) => self.granted(grants, turn),
            Input::Committed(number, outcome) => self.committed(number, outcome, turn),
            Input::Values(run, values) => self.values_read(run, values, turn),
            Input::ListPart(run, need, part) => self.list_read(run, &need, part, turn),
            Input::Loaded(id, run) => self.loaded(id, run.map(|run| *run), turn),
            Input::Due(runs) => runs.into_iter().for_each(|run| self.load(run, turn)),
            Input::Tick => {}
            beside => self.take_beside(beside, turn),
        }
    }

    /// A command on a run in memory: admitted and folded, or rejected.
    fn apply(&mut self, id: RunId, command: Command, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        self.current = Some(id);
        let entry = self.runs.get(&id).ok_or(Rejection::Zombie)?;
        let admitted = entry.run.admit(command, turn.now, turn.draw.next_u64())?;
        self.append(id, admitted, turn);
        self.settle(id, turn);
        Ok(())
    }

    /// Folds a fact and puts it into the open batch.
    #[expect(clippy::panic, reason = "the shell catches it and sets the run aside (E5): the engine contradicts itself")]
    fn append(&mut self, id: RunId, Admitted { fact, values }: Admitted, turn: &mut Turn<'_>) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let (seq, at) = (entry.run.seq().next(), turn.now);
        let shared = entry.run.shares(&fact, &values, at);
        if let Err(corrupt) = entry.run.step_fact(seq, at, &fact) {
            // The shell catches this, and sets aside the run in `current` without folding it again (E5).
            panic!("an admitted fact does not follow: {corrupt}");
        }
        let (ended, paused) = (matches!(fact, Fact::Ended { .. }), matches!(fact, Fact::Paused { .. }));
        let is_keyed = !self.keyed.is_empty();
        let ended_attempts = if is_keyed { fact.ended_attempts().to_vec() } else { Vec::new() };
        let event = Event { seq, at, fact, decisions: Vec::new(), assignments: Vec::new(), values };
        entry.tail_bytes += open::weight(&event);
        if entry.run.graph().decides_on_values {
            self.recent.keep(id, seq, &event.values, 0);
        }
        self.open.push(id, event);
        if let Some(shared) = shared {
            self.share(id, seq, shared);
        }
        self.stop_dropped(id);
        self.write_reviews(id);
        self.post_children(id);
        self.end_places(id, &ended_attempts, turn);
        if ended || paused {
            self.unexpose(id);
        }
        if ended {
            self.cancel_attempts(id);
            self.tell_parent(id);
        }
    }

    /// Evaluates what has fallen due until the run is quiet or has used its turn, or all runs have used theirs, and ends it if
    /// it is done (E2).
    fn settle(&mut self, id: RunId, turn: &mut Turn<'_>) {
        self.current = Some(id);
        for _ in 0..limits::TURN_DECISIONS_MAX {
            let Some(entry) = self.runs.get(&id) else { return };
            if entry.run.can_conclude() {
                if let Ok(admitted) = entry.run.admit(Command::Conclude, turn.now, 0) {
                    self.append(id, admitted, turn);
                }
                return self.track(id, turn);
            }
            if entry.run.next_decision().is_none() || entry.lack != Lack::Nothing {
                return self.track(id, turn);
            }
            if turn.cost >= limits::TURN_EXPRESSION_COST_MAX {
                break;
            }
            if !self.decide_one(id, turn) {
                return self.track(id, turn);
            }
        }
        if let Some(entry) = self.runs.get_mut(&id).filter(|entry| !entry.in_turn) {
            entry.in_turn = true;
            self.turns.push_back(id);
        }
        self.track(id, turn);
    }

    /// Brings the queues, the alarm and the idle mark of a run up to date with its state.
    fn track(&mut self, id: RunId, turn: &Turn<'_>) {
        self.expose(id, turn.now);
        self.want_shared(id);
        self.track_cancels(id, turn.now);
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let alarm = entry.run.next_alarm(turn.now);
        if alarm != entry.alarm {
            entry.alarm.map(|at| self.alarms.remove(&(at, id)));
            alarm.filter(|_| !is_planted(Fault::AlarmNotSet)).map(|at| self.alarms.insert((at, id)));
            entry.alarm = alarm;
        }
        // A retry that is due waits for an agent, not for an instant: it stays, and its row must be found at start.
        let waits_for_agent = entry.run.is_parked() && entry.run.retries_due(turn.now).next().is_some();
        if waits_for_agent && entry.written.as_ref().is_none_or(|written| written.phase != Phase::Active) {
            self.open.of(id);
        }
        let far = alarm.is_none_or(|at| at.since(turn.now) > limits::EVICT_DUE_MIN);
        let can_leave = entry.run.is_parked() && !waits_for_agent && far;
        let idle_at = can_leave.then(|| turn.now.plus(limits::EVICT_AFTER));
        entry.idle_at.map(|at| self.idle.remove(&(at, id)));
        idle_at.map(|at| self.idle.insert((at, id)));
        entry.idle_at = idle_at;
    }

    /// Timers and deadlines that have come.
    fn wake(&mut self, turn: &mut Turn<'_>) {
        while let Some(&(at, id)) = self.alarms.first().filter(|(at, _)| *at <= turn.now) {
            if self.open.is_full() {
                return;
            }
            self.alarms.remove(&(at, id));
            if let Some(entry) = self.runs.get_mut(&id) {
                entry.alarm = None;
            }
            while !self.open.is_full() && self.apply(id, Command::Wake, turn).is_ok() {}
            if self.open.is_full() && self.runs.get(&id).is_some_and(|entry| entry.run.has_wait_due(turn.now)) {
                self.ring_again(id, turn.now);
                return;
            }
            self.track(id, turn);
        }
    }

    /// The batch is full: the rest of this run's timers are for the next one.
    fn ring_again(&mut self, id: RunId, now: Timestamp) {
        if let Some(entry) = self.runs.get_mut(&id) {
            entry.alarm.map(|at| self.alarms.remove(&(at, id)));
            entry.alarm = Some(now);
            self.alarms.insert((now, id));
        }
    }

    /// Runs that were not quiet when their turn was over go on, one turn each (E2).
    fn take_turns(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..self.turns.len() {
            if self.open.is_full() || turn.cost >= limits::TURN_EXPRESSION_COST_MAX {
                return;
            }
            let Some(id) = self.turns.pop_front() else { return };
            if let Some(entry) = self.runs.get_mut(&id) {
                entry.in_turn = false;
                self.settle(id, turn);
            }
        }
    }

    /// Sends the open batch off if nothing is on its way, and lets go what waits for nothing.
    fn seal(&mut self, turn: &mut Turn<'_>) {
        if is_planted(Fault::EffectBeforeCommit) {
            let held = std::mem::take(&mut self.open.held.releases);
            turn.outputs.releases.extend(held.into_iter().map(|(_, release)| release));
        }
        if self.flying.is_some() {
            return;
        }
        if self.open.is_empty() {
            let held = std::mem::take(&mut self.open.held);
            self.free_places(&held.places, turn);
            held.releases.into_iter().for_each(|(_, release)| self.let_go(release, turn));
            return;
        }
        let mut open = self.open.take();
        for written in &mut open.runs {
            self.summarise(written);
            if let Some(last) = written.events.last() {
                let phase = self.runs.get(&written.run).map_or(Phase::Closed, |entry| entry.run.summary().phase);
                let effect = Effect::Notify { run: written.run, seq: last.seq, phase };
                open.held.releases.push((Some(written.run), Release::Effect(effect)));
            }
        }
        self.last_batch = self.last_batch.next();
        let touched = open.runs.iter().map(|written| written.run).collect();
        self.flying = Some(Flying { number: self.last_batch, touched, held: open.held });
        let (partition, epoch, number) = (self.id, self.epoch, self.last_batch);
        turn.outputs.commit = Some(Batch { partition, epoch, number, runs: open.runs, beside: open.beside });
    }

    /// The rows beside the events: only what has changed (E6), and a snapshot when the tail is worth it (E19).
    fn summarise(&mut self, written: &mut batch::RunBatch) {
        let Some(entry) = self.runs.get_mut(&written.run) else { return };
        let mut summary = entry.run.summary();
        if summary.phase == Phase::Parked && entry.run.retries_due(self.clock).next().is_some() {
            // It waits for an agent, not for an instant: it must be found at start, and not by its timer again.
            (summary.phase, summary.next_due) = (Phase::Active, None);
        }
        if entry.written.as_ref() != Some(&summary) {
            entry.written = Some(summary.clone());
            written.summary = Some(summary);
        }
        let parked = entry.run.is_parked();
        let worth = match parked {
            true => limits::SNAPSHOT_PARKED_BYTES_MIN,
            false => limits::SNAPSHOT_TAIL_BYTES_MIN,
        };
        if entry.tail_bytes > worth.max(entry.snapshot_bytes) {
            let snapshot = entry.run.snapshot();
            (entry.tail_bytes, entry.snapshot_bytes) = (0, snapshot.bytes.len());
            written.snapshot = Some(snapshot);
        }
    }

    fn committed(&mut self, number: BatchNumber, outcome: CommitOutcome, turn: &mut Turn<'_>) {
        if self.flying.as_ref().is_none_or(|flying| flying.number != number) {
            return;
        }
        match outcome {
            CommitOutcome::Applied { quarantined } => self.landed(&quarantined, turn),
            CommitOutcome::Refused => self.stop(StopReason::Fenced, turn),
            CommitOutcome::Unknown => self.stop(StopReason::Unknown, turn),
        }
    }

    fn landed(&mut self, quarantined: &[RunId], turn: &mut Turn<'_>) {
        let Some(flying) = self.flying.take() else { return };
        flying.held.keys.iter().for_each(|key| drop(self.keys.remove(key)));
        self.free_places(&flying.held.places, turn);
        for (run, release) in flying.held.releases {
            let release = match run.is_some_and(|run| quarantined.contains(&run)) {
                true => open::of_quarantined(release),
                false => Some(release),
            };
            release.into_iter().for_each(|release| self.let_go(release, turn));
        }
        quarantined.iter().for_each(|run| self.set_aside(*run, turn));
        for run in flying.touched {
            let closed = self.runs.get(&run).is_some_and(|entry| entry.run.is_closed());
            if closed && !self.open.touches(run) {
                self.drop_run(run);
            }
            self.values_landed(run, turn);
        }
    }

    /// What a release waited for has landed.
    fn let_go(&mut self, release: Release, turn: &mut Turn<'_>) {
        match release {
            Release::Effect(Effect::Dispatch(dispatch)) => self.send(dispatch, turn),
            Release::Effect(Effect::Deliver(message)) => self.message_landed(&message, turn),
            release => turn.outputs.releases.push(release),
        }
    }

    /// The flying batch did not land for certain: what was built on it falls with it (E3, I8).
    fn stop(&mut self, reason: StopReason, turn: &mut Turn<'_>) {
        if is_planted(Fault::SpeculationKept) {
            return self.landed(&[], turn);
        }
        let flying = self.flying.take().map(|flying| flying.held).unwrap_or_default();
        let open = std::mem::take(&mut self.open).held;
        for held in [flying, open] {
            turn.outputs.releases.extend(held.retries());
        }
        self.refuse_waiting(turn);
        turn.permits.take().forget(self.id);
        self.unsent.values().for_each(|reservation| turn.give_back(reservation));
        turn.outputs.stop = Some(reason);
    }

    /// Attaches something to the youngest batch it could have observed (E3).
    fn attach(&mut self, run: Option<RunId>, release: Release, turn: &mut Turn<'_>) {
        let early = match release {
            Release::Reply(..) => is_planted(Fault::RejectionAnsweredEarly),
            Release::Effect(Effect::AnswerIntent { .. }) => is_planted(Fault::IntentAnsweredEarly),
            Release::Effect(_) => false,
        };
        match &mut self.flying {
            _ if early => turn.outputs.releases.push(release),
            Some(flying) if self.open.is_empty() => flying.held.releases.push((run, release)),
            _ => self.open.held.releases.push((run, release)),
        }
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.idle.first().map(|(at, _)| *at);
        if self.open.is_full() {
            // The rest goes on when a commit has landed.
            return idle;
        }
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let turns = (!self.turns.is_empty()).then_some(now);
        let cancels = self.cancel_looks.first().map(|(at, _)| *at);
        let beside = [self.mail.wake_at(), self.batches.wake_at(), self.questions.wake_at(), cancels];
        [alarm, idle, self.losses_at, turns].into_iter().chain(beside).flatten().min()
    }
}

impl Entry {
    fn new(mut run: Run) -> Self {
        run.note_reviews();
        // What the event that was read last has asked for was sent with it.
        run.take_child_orders();
        Self {
            run,
            written: None,
            exposed: BTreeSet::new(),
            returned: BTreeMap::new(),
            alarm: None,
            idle_at: None,
            tail_bytes: 0,
            snapshot_bytes: 0,
            in_turn: false,
            lack: Lack::Nothing,
            fetched: Values::new(),
            lists: RecentLists::default(),
            cancels: Cancels::default(),
            watched: None,
        }
    }
}
