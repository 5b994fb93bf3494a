//! The shell around the engine, as a coordinator has it: it moves messages, and decides nothing.
//!
//! In this order: finished reads and commits first, then commands; of what comes out, releases first, then the commit and
//! the reads. After a stop the partition is loaded again under a raised epoch.

use std::collections::{BTreeMap, VecDeque};

use heddle_core::hook::{HOOK_KEY_BYTES, Hooks};
use heddle_core::id::{CallerId, PartitionId, RunId, SessionNumber};
use heddle_core::limits;
use heddle_core::partition::Partition;
use heddle_core::partition::alarm::Alarm;
use heddle_core::partition::batch::{Batch, CommitOutcome, KeyFound, Phase};
use heddle_core::partition::io::{Dispatch, Effect, Input, Outputs, Question, Refusal, Release, Reply};
use heddle_core::partition::permits::{Grant, Permits};
use heddle_core::run::Run;
use heddle_core::time::Timestamp;
use heddle_core::value::ValueRef;
use serde_json::Value as Json;

use super::event::{Event, SeatId};
use super::fault::ShellFault;
use super::policies;
use super::queue::millis;
use super::sessions::Session;
use super::world::World;

/// One coordinator process.
#[derive(Debug, Default)]
pub(super) struct Shell {
    pub(super) is_up: bool,
    /// Counts starts of the process.
    pub(super) start: u64,
    pub(super) seats: BTreeMap<PartitionId, Seat>,
    pub(super) permits: Permits,
    pub(super) sessions: BTreeMap<SessionNumber, Session>,
    /// The open session of each agent.
    pub(super) current: BTreeMap<usize, SessionNumber>,
    serial: u64,
}

/// One partition in that process.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: SeatId,
    pub(super) partition: Option<Partition>,
    pub(super) mailbox: VecDeque<Mail>,
    outcomes: VecDeque<Input>,
    is_woken: bool,
    alarm: Alarm,
    ticked_at: Timestamp,
    callers: BTreeMap<CallerId, usize>,
    /// Runs that were read too early.
    read_early: Option<Vec<Input>>,
}

/// A command before a partition.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) input: Input,
    pub(super) caller: Option<(CallerId, usize)>,
}

/// A batch on its way to the database.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) batch: Batch,
    reply: CommitReply,
    /// It was there when the database stalled.
    pub(super) was_held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommitReply {
    Told,
    /// The connection dies in COMMIT.
    Lost,
    /// It was told before.
    None,
}

impl Mail {
    pub(super) fn new(input: Input) -> Self {
        Self { input, caller: None }
    }
}

impl Shell {
    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn seat(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.get_mut(&id.partition).filter(|seat| seat.id == id)
    }
}

impl World {
    pub(super) fn partition_of(&self, run: RunId) -> PartitionId {
        PartitionId(run.slot().0 % self.knobs.partitions)
    }

    /// The process starts: its partitions are loaded one by one.
    pub(super) fn start_coordinator(&mut self, start: u64) {
        if self.shell.start != start || self.shell.is_up {
            return;
        }
        self.shell.is_up = true;
        self.shell.permits = Permits::new(policies::limits(), (0..self.knobs.partitions).map(PartitionId));
        if !self.is_planted(ShellFault::NodePausesForgotten) {
            self.store.paused_types.iter().for_each(|paused| self.shell.permits.pause((*paused).into()));
        }
        for partition in (0..self.knobs.partitions).map(PartitionId) {
            self.seat_anew(partition);
        }
    }

    /// A new load of a partition begins.
    fn seat_anew(&mut self, partition: PartitionId) {
        let id = SeatId { partition, start: self.shell.serial() };
        let seat = Seat {
            id,
            partition: None,
            mailbox: VecDeque::new(),
            outcomes: VecDeque::new(),
            is_woken: false,
            alarm: Alarm::default(),
            ticked_at: Timestamp::default(),
            callers: BTreeMap::new(),
            read_early: None,
        };
        self.shell.seats.insert(partition, seat);
        let pause = millis(self.random.between(self.knobs.reload_ms));
        self.after(pause, Event::Fence(id));
    }

    /// Every load begins by raising the epoch (E4).
    pub(super) fn fence(&mut self, id: SeatId) {
        if self.shell.seat(id).is_none() {
            return;
        }
        if self.is_planted(ShellFault::ReadBeforeFence) {
            let runs = Some(self.read_partition(id));
            if let Some(seat) = self.shell.seat(id) {
                seat.read_early = runs;
            }
        } else if !self.is_planted(ShellFault::EpochNotRaised) {
            self.store.raise(id.partition);
        }
        self.check.loaded(id);
        let pause = millis(self.random.between(self.knobs.read_ms));
        self.after(pause, Event::Load(id));
    }

    /// The partition is read and begins to work.
    pub(super) fn load(&mut self, id: SeatId) {
        let Some(read_early) = self.shell.seat(id).map(|seat| seat.read_early.take()) else { return };
        if read_early.is_some() {
            self.store.raise(id.partition);
        }
        let runs = read_early.unwrap_or_else(|| self.read_partition(id));
        let epoch = self.store.epoch(id.partition);
        let now = self.now;
        let (recent_values, under_way) = (self.knobs.recent_values, self.knobs.batch_under_way);
        let is_mail_lost = self.is_planted(ShellFault::EarlyMailLost);
        let Some(seat) = self.shell.seat(id) else { return };
        if is_mail_lost {
            // Agents are not heard. Requests are kept, so that it is not their callers who notice.
            seat.mailbox.retain(|mail| mail.caller.is_some());
        }
        let hooks = Hooks::new("https://example.org", &[7; HOOK_KEY_BYTES]);
        let mut partition = Partition::new(id.partition, epoch, hooks, now);
        partition.keep_values(recent_values);
        partition.keep_under_way(under_way);
        seat.partition = Some(partition);
        seat.outcomes.extend(runs);
        self.wake_soon(id);
        self.after(limits::DUE_SCAN_PERIOD, Event::ScanDue(id));
    }

    fn read_partition(&mut self, id: SeatId) -> Vec<Input> {
        let phases: &[Phase] = match self.is_planted(ShellFault::ClosingNotLoaded) {
            true => &[Phase::Active],
            false => &[Phase::Active, Phase::Closing],
        };
        let runs = self.store.loadable(|run| self.partition_of(run) == id.partition, phases);
        let read = runs.into_iter().filter_map(|run| self.read_run(run).map(|found| (run, found)));
        let read = read.map(|(id, run)| Input::Loaded(id, Some(Box::new(run))));
        read.chain(self.read_beside(id)).collect::<Vec<_>>()
    }

    fn read_run(&self, run: RunId) -> Option<Run> {
        match self.store.fold(run)? {
            Ok(run) => Some(run),
            Err(corrupt) => {
                self.check.fail("H9", format!("the history of {run} does not follow: {corrupt}"));
                None
            }
        }
    }

    /// A caller's request comes in.
    pub(super) fn request(&mut self, client: usize, partition: PartitionId, input: Input) {
        let caller = match &input {
            Input::Submit(caller, _)
            | Input::SubmitBatch(caller, _)
            | Input::Cancel { caller, .. }
            | Input::Pause { caller, .. }
            | Input::Answer { caller, .. }
            | Input::Signal { caller, .. }
            | Input::Call { caller, .. }
            | Input::CancelBatch { caller, .. } => *caller,
            _ => return,
        };
        match self.shell.is_up {
            true => self.deliver(partition, Mail { input, caller: Some((caller, client)) }),
            false => self.answer(client, caller, Reply::Refused(Refusal::Retry)),
        }
    }

    /// Puts a command before a partition, which may still be loading.
    pub(super) fn deliver(&mut self, partition: PartitionId, mail: Mail) {
        if let Some(seat) = self.shell.seats.get_mut(&partition) {
            seat.mailbox.push_back(mail);
            let id = seat.id;
            self.wake_soon(id);
        }
    }

    /// Whether what was read of a run waits before a partition.
    pub(super) fn reads(&self, id: SeatId, run: RunId) -> bool {
        let is_it = |input: &Input| matches!(input, Input::Loaded(loaded, _) if *loaded == run);
        self.shell.seats.get(&id.partition).is_some_and(|seat| seat.outcomes.iter().any(is_it))
    }

    /// Puts what a partition asked for before it.
    pub(super) fn outcome(&mut self, id: SeatId, input: Input) {
        if let Some(seat) = self.shell.seat(id) {
            seat.outcomes.push_back(input);
            self.wake_soon(id);
        }
    }

    fn wake_soon(&mut self, id: SeatId) {
        let pause = millis(self.random.between(self.knobs.wake_ms));
        if let Some(seat) = self.shell.seat(id).filter(|seat| !seat.is_woken) {
            seat.is_woken = true;
            self.after(pause, Event::Wake(id));
        }
    }

    /// A timer of a partition rings; if there is no reason to, nobody looks.
    pub(super) fn tick(&mut self, id: SeatId, at: Timestamp) {
        let now = self.now;
        let Some(seat) = self.shell.seat(id) else { return };
        if seat.alarm.rings(at) {
            let is_again = std::mem::replace(&mut seat.ticked_at, now) == now;
            self.check.expect(!is_again, "E7", || format!("two timers of {} ring at once", id.partition));
            self.work(id);
        }
    }

    /// One wake-up of a partition: outcomes first, then commands (E1).
    pub(super) fn work(&mut self, id: SeatId) {
        let most = self.knobs.wake_commands;
        let (now, draw) = (self.now, self.random.fork());
        let Some(seat) = self.shell.seats.get_mut(&id.partition).filter(|seat| seat.id == id) else { return };
        seat.is_woken = false;
        let Some(partition) = &mut seat.partition else { return };
        let mut inputs: Vec<Input> = seat.outcomes.drain(..).collect();
        let count = if partition.is_full() { 0 } else { most.min(seat.mailbox.len()) };
        for mail in seat.mailbox.drain(..count) {
            mail.caller.map(|(caller, client)| seat.callers.insert(caller, client));
            inputs.push(mail.input);
        }
        if inputs.is_empty() {
            inputs.push(Input::Tick);
        }
        let more = !seat.mailbox.is_empty() && !partition.is_full();
        let outputs = partition.on(inputs, now, draw, &mut self.shell.permits);
        self.deal();
        self.check.worked(outputs.releases.len());
        self.perform(id, outputs);
        self.check_memory(id);
        self.check_watch(id);
        self.check_type_pauses(id);
        if more {
            self.wake_soon(id);
        }
    }

    fn perform(&mut self, id: SeatId, outputs: Outputs) {
        self.bring(outputs.dealt);
        let is_notice = |release: &Release| match release {
            Release::Effect(Effect::Notify { run, .. }) => Some(*run),
            _ => None,
        };
        let noticed: Vec<RunId> = outputs.releases.iter().filter_map(is_notice).collect();
        for release in outputs.releases {
            self.tell_trace(|| format!("  {:?} releases {release:?}", id.partition));
            self.check.release(&release);
            match release {
                Release::Reply(caller, reply) => {
                    let client = self.shell.seat(id).and_then(|seat| seat.callers.remove(&caller));
                    match client {
                        Some(client) => self.answer(client, caller, reply),
                        None => self.check.fail("E3", format!("caller {caller} is answered twice: {reply:?}")),
                    }
                }
                Release::Effect(effect) => self.carry_out(id, effect),
            }
        }
        noticed.into_iter().for_each(|run| self.check.check_told(id, run));
        if outputs.stop.is_some() {
            return self.reseat(id);
        }
        if let Some(batch) = outputs.commit {
            self.tell_trace(|| format!("  {:?} commits {batch:?}", id.partition));
            self.commit(id, batch);
        }
        for run in outputs.loads {
            let pause = millis(self.random.between(self.knobs.read_ms));
            self.after(pause, Event::ReadRun { seat: id, run });
        }
        for (run, references) in outputs.values {
            let pause = millis(self.random.between(self.knobs.read_ms));
            self.after(pause, Event::ReadValues { seat: id, run, references });
        }
        for (run, need) in outputs.lists {
            let pause = millis(self.random.between(self.knobs.read_ms));
            self.after(pause, Event::ReadList { seat: id, run, need });
        }
        outputs.looks.into_iter().for_each(|batch| self.look_at_batch(id, batch));
        outputs.sightings.into_iter().for_each(|run| self.look_for_run(id, run));
        outputs.questions.into_iter().for_each(|question| self.look_for_shared(id, question));
        for key in outputs.lookups {
            let pause = millis(self.random.between(self.knobs.read_ms));
            self.after(pause, Event::LookUpKey { seat: id, key });
        }
        let now = self.now;
        let rings_at = self.shell.seat(id).and_then(|seat| seat.alarm.set(outputs.wake_at, now));
        rings_at.into_iter().for_each(|at| self.at(at, Event::Tick(id, at)));
    }

    fn carry_out(&mut self, id: SeatId, effect: Effect) {
        match effect {
            Effect::Verdicts { session, verdicts, .. } => self.verdicts(id.partition, session, verdicts),
            Effect::Deliver(message) => self.bring_message(message),
            Effect::Arrived { source, message } => self.bring_receipt(source, message),
            Effect::Notify { run, phase, .. } => self.hint_batch(run, phase),
            effect => self.effect_to_agent(id.partition, effect),
        }
    }

    /// The value is thrown away: whoever waits asks again, and another load goes on.
    pub(super) fn reseat(&mut self, id: SeatId) {
        let Some(mut seat) = self.shell.seats.remove(&id.partition) else { return };
        let waiting = seat.mailbox.drain(..).filter_map(|mail| mail.caller);
        for (caller, client) in seat.callers.into_iter().chain(waiting.collect::<Vec<_>>()) {
            self.answer(client, caller, Reply::Refused(Refusal::Retry));
        }
        self.seat_anew(id.partition);
        self.shell.permits.forget(id.partition);
        self.end_all_sessions();
    }

    /// The actor dies without a word.
    pub(super) fn crash_partition(&mut self, id: SeatId) {
        if self.shell.seat(id).is_some_and(|seat| seat.partition.is_some()) {
            self.kills.partitions += 1;
            self.reseat(id);
            self.deal();
        }
    }

    /// The process dies: only what is in the database stays.
    pub(super) fn crash_coordinator(&mut self) {
        if !self.shell.is_up {
            return;
        }
        if self.is_planted(ShellFault::LostFlush) {
            self.undo_last_commit();
        }
        self.kills.coordinators += 1;
        self.coordinator_paused_until = self.now;
        let start = self.shell.start + 1;
        let serial = self.shell.serial;
        for id in self.links.iter().filter(|(_, link)| link.is_up).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.cut(id);
        }
        self.shell = Shell { start, serial, ..Shell::default() };
        let pause = millis(self.random.between((20, 2_000)));
        self.after(pause, Event::CoordinatorStarts(start));
    }

    /// Free permits go to partitions that wait, round and round.
    pub(super) fn deal(&mut self) {
        let dealt = self.shell.permits.deal();
        self.bring(dealt);
    }

    /// Permits reach those who waited for them.
    fn bring(&mut self, dealt: Vec<(PartitionId, Grant)>) {
        for (partition, grant) in dealt {
            self.deliver(partition, Mail::new(Input::Granted(vec![grant])));
        }
    }

    fn commit(&mut self, id: SeatId, batch: Batch) {
        let number = batch.number;
        let pause = millis(self.random.between(self.knobs.commit_ms));
        let percent = if self.now < self.database_stalled_until { 50 } else { self.commit_fault_percent() };
        let is_faulty = std::mem::take(&mut self.next_commit_fails) || self.random.percent(percent);
        let kind = if is_faulty { self.random.below(5) } else { 0 };
        let serial = self.shell.serial();
        let reply = match kind {
            1 => CommitReply::Lost,
            2 | 3 => CommitReply::None,
            _ => CommitReply::Told,
        };
        if self.is_planted(ShellFault::AppliedReportedEarly) {
            let outcome = CommitOutcome::Applied { quarantined: Vec::new() };
            self.after(millis(0), Event::CommitOutcome { seat: id, number, outcome });
        } else if reply == CommitReply::None {
            let outcome = self.unknown();
            self.after(pause, Event::CommitOutcome { seat: id, number, outcome });
        }
        let landing = match kind {
            // It never arrives.
            2 => {
                if self.is_planted(ShellFault::TornCommit) {
                    self.tear(&batch);
                }
                return;
            }
            // It lands when its owner has given up on it, if nothing fences it.
            3 => pause.as_millis() + self.random.between((0, 1_500)),
            // It is slow.
            4 => pause.as_millis() + self.random.between((200, 4_000)),
            _ => pause.as_millis(),
        };
        self.batches.insert(serial, Sent { batch, reply, was_held: false });
        self.after(millis(landing), Event::Commit { seat: id, batch: serial });
    }

    fn unknown(&self) -> CommitOutcome {
        match self.is_planted(ShellFault::UnknownReportedApplied) {
            true => CommitOutcome::Applied { quarantined: Vec::new() },
            false => CommitOutcome::Unknown,
        }
    }

    /// The database gets a batch; the process that sent it may be gone.
    pub(super) fn land(&mut self, id: SeatId, serial: u64) {
        let Some(Sent { batch, reply, was_held }) = self.batches.remove(&serial) else { return };
        let is_let_in = was_held && self.is_planted(ShellFault::StalledUnfenced);
        let outcome = if self.store.admits(&batch) || is_let_in {
            self.spoil(&batch);
            self.remember_for_undo(&batch);
            let quarantined = self.store.write(&batch);
            if self.is_planted(ShellFault::ValueDamaged) {
                self.store.damage(&batch);
            }
            self.check.written(&self.store, id, &batch, &quarantined);
            self.show_reviews(&batch, &quarantined);
            self.show_listeners(&batch, &quarantined);
            self.check_losses(&batch);
            self.check_tree(&batch);
            if self.is_planted(ShellFault::CommitAppliedTwice) && reply == CommitReply::Lost {
                batch.runs.iter().for_each(|run| self.store.write_run(run));
                self.check.written(&self.store, id, &batch, &[]);
            }
            CommitOutcome::Applied { quarantined }
        } else {
            self.check.refused();
            CommitOutcome::Refused
        };
        let outcome = match reply {
            CommitReply::Told => outcome,
            CommitReply::Lost => self.unknown(),
            CommitReply::None => return,
        };
        let pause = millis(self.random.between(self.knobs.commit_ms));
        self.after(pause, Event::CommitOutcome { seat: id, number: batch.number, outcome });
    }

    pub(super) fn read_for(&mut self, id: SeatId, run: RunId) {
        let found = self.read_run(run).map(Box::new);
        let pause = millis(self.random.between(self.knobs.read_ms));
        self.after(pause, Event::Outcome { seat: id, input: Box::new(Input::Loaded(run, found)) });
    }

    /// What a dispatch carries: the shell fills values in for references.
    pub(super) fn inputs_of(&self, dispatch: &Dispatch) -> Vec<Json> {
        let stored = self.store.stored(dispatch.key.run);
        dispatch.inputs.iter().map(|input| stored.input(input)).collect()
    }

    /// Values that a decision looks at.
    pub(super) fn read_values(&mut self, id: SeatId, run: RunId, references: &[ValueRef]) {
        let stored = self.store.stored(run);
        let find = |reference: &ValueRef| Some((*reference, stored.value(reference)?.clone()));
        let found: Vec<_> = references.iter().filter_map(find).collect();
        // A run that is set aside is asked for by nobody who goes on.
        let is_whole =
            found.len() == references.len() || self.check.is_quarantined(run) || self.shell.seat(id).is_none();
        self.check.expect(is_whole, "E15", || format!("{run}: values are asked for that are not in the journal"));
        let pause = millis(self.random.between(self.knobs.read_ms));
        self.after(pause, Event::Outcome { seat: id, input: Box::new(Input::Values(run, found)) });
    }

    pub(super) fn look_up(&mut self, id: SeatId, key: heddle_core::partition::batch::IdempotencyKey) {
        let lag = if self.is_planted(ShellFault::KeysReadLate) { millis(2_000) } else { millis(0) };
        let is_seen = |found: &&KeyFound| found.created_at.plus(lag) <= self.now;
        let found = self.store.keys.get(&key).filter(is_seen).cloned();
        let pause = millis(self.random.between(self.knobs.read_ms));
        self.after(pause, Event::Outcome { seat: id, input: Box::new(Input::KeyLookedUp(key, found)) });
    }

    /// A result that runs share. The answer may get lost: nobody waits for it for ever.
    fn look_for_shared(&mut self, id: SeatId, question: Question) {
        let Question { run, instance, tenant, key, at } = question;
        let found = self.store.cache.get(&(tenant, key)).filter(|found| found.expires_at > at).cloned();
        if self.random.percent(self.knobs.lost_percent) {
            return;
        }
        let pause = millis(self.random.between(self.knobs.read_ms));
        let input = Input::SharedFound { run, instance, key, found: found.map(Box::new) };
        self.after(pause, Event::Outcome { seat: id, input: Box::new(input) });
    }

    pub(super) fn scan_due(&mut self, id: SeatId) {
        if self.shell.seat(id).is_none() {
            return;
        }
        self.check_rows(id);
        let until = self.now.plus(limits::DUE_SCAN_PERIOD);
        let mut due = self.store.due(|run| self.partition_of(run) == id.partition, until);
        due.truncate(limits::DUE_SCAN_RUNS_MAX);
        if !due.is_empty() && !self.is_planted(ShellFault::DueNotScanned) {
            let pause = millis(self.random.between(self.knobs.read_ms));
            self.after(pause, Event::Outcome { seat: id, input: Box::new(Input::Due(due)) });
        }
        self.after(limits::DUE_SCAN_PERIOD, Event::ScanDue(id));
    }
}
