//! The actor of one partition: it moves messages between the core's `Partition` and the world, and decides nothing.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use heddle_core::batch::BatchId;
use heddle_core::draw::Draw;
use heddle_core::explain::Explained;
use heddle_core::id::{BatchNumber, CallerId, Epoch, PartitionId, RunId};
use heddle_core::limits::WATCHDOG_PAGE_RUNS;
use heddle_core::partition::alarm::Alarm;
use heddle_core::partition::batch::{Batch, CommitOutcome, IdempotencyKey};
use heddle_core::partition::io::{Input, Outputs, Question, Release, Reply};
use heddle_core::partition::watch::Orphan;
use heddle_core::partition::{Backlog, Partition};
use heddle_core::run::ListNeed;
use heddle_core::time::Timestamp;
use heddle_core::value::ValueRef;
use heddle_crash_point::crash_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::inbox::{Inbox, ReplyTo};
use super::inputs;
use super::load::{self, LoadedPartition};
use super::release::Releaser;
use crate::cache;
use crate::journal::Committed;
use crate::limits::WATCHDOG_MEMORY_PAUSE;
use crate::metrics::Tally;
use crate::read::recent::Landing;
use crate::shared::Shared;
use crate::watchdog::Looker;

/// The actor; one per partition and load.
pub(crate) struct PartitionActor;

/// What it is told.
pub(crate) enum Message {
    /// Something waits in the inbox.
    Wake,
    /// The partition's runs are read.
    Loaded(Box<Result<LoadedPartition, ActorProcessingErr>>),
    /// A timer rings that was set for this instant.
    Tick(Timestamp),
    /// Somebody wants to know what stands, runs and waits.
    Measure,
    /// Somebody wants to know what a run in memory waits for.
    Explain(RunId, oneshot::Sender<Option<Explained>>),
    /// Which of these runs are not in memory.
    Absent(Vec<RunId>, oneshot::Sender<Vec<RunId>>),
    /// Look whether something would wake each run.
    Watch,
    /// Look at the next page of them.
    WatchOn,
}

/// What it is started with.
pub(crate) struct Arguments {
    pub(crate) id: PartitionId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Arc<Inbox>,
    /// Whether an earlier load of this start has acquired the partition.
    pub(crate) held: Arc<AtomicBool>,
}

pub(crate) struct State {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    id: PartitionId,
    loaded: Option<(Epoch, Partition)>,
    callers: HashMap<CallerId, oneshot::Sender<Reply>>,
    releaser: Releaser,
    /// What the batch on its way adds to histories.
    landing: Option<(BatchNumber, Landing, Tally)>,
    alarm: Alarm,
    /// The watchdog's look through the runs, as far as it has come: the last one, and what was found.
    look: Option<(Option<RunId>, Vec<Orphan>)>,
    runs_counted: usize,
    /// Reads under way; they end with this actor.
    work: JoinSet<()>,
}

impl Actor for PartitionActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, arguments: Arguments) -> Result<State, ActorProcessingErr> {
        let Arguments { id, shared, inbox, held } = arguments;
        let mut work = JoinSet::new();
        let loading = load::partition(Arc::clone(&shared), id, held);
        work.spawn(async move {
            let loaded = loading.await.map_err(ActorProcessingErr::from);
            let _gone = myself.cast(Message::Loaded(Box::new(loaded)));
        });
        Ok(State {
            releaser: Releaser::new(Arc::clone(&shared), id),
            shared,
            inbox,
            id,
            loaded: None,
            callers: HashMap::new(),
            landing: None,
            alarm: Alarm::default(),
            look: None,
            runs_counted: 0,
            work,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while state.work.try_join_next().is_some() {}
        let first = match message {
            Message::Loaded(loaded) => {
                let LoadedPartition { epoch, partition, runs } = (*loaded)?;
                state.loaded = Some((epoch, partition));
                state.shared.metrics.loaded(state.id, epoch);
                state.shared.doors.opened(state.id);
                runs
            }
            Message::Tick(at) if state.alarm.rings(at) => vec![Input::Tick],
            Message::Tick(_) => return Ok(()),
            Message::Wake => Vec::new(),
            Message::Measure => {
                state.measure();
                return Ok(());
            }
            Message::Explain(run, reply_to) => {
                // Whoever has asked may have gone; whoever is not answered reads the journal.
                let now = state.shared.clock.now();
                let _gone = state.loaded.as_ref().map(|(_, it)| reply_to.send(it.explain(run, now)));
                return Ok(());
            }
            Message::Absent(mut runs, reply_to) => {
                if let Some((_, partition)) = &state.loaded {
                    runs.retain(|run| !partition.has(*run));
                    let _gone = reply_to.send(runs);
                }
                return Ok(());
            }
            Message::Watch | Message::WatchOn => {
                state.watch(matches!(message, Message::WatchOn), &myself);
                return Ok(());
            }
        };
        state.work_off(first, &myself).await
    }

    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.work.abort_all();
        Ok(())
    }
}

impl State {
    async fn work_off(&mut self, first: Vec<Input>, myself: &ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        let Some((_, partition)) = &self.loaded else { return Ok(()) };
        let (taken, more) = self.inbox.take(!partition.is_full());
        let mut inputs = first;
        for (input, reply_to) in taken {
            remember(&mut self.callers, &input, reply_to);
            self.show(&input);
            inputs.push(input);
        }
        let Some((epoch, partition)) = &mut self.loaded else { return Ok(()) };
        let now = self.shared.clock.now();
        let draw = Draw::from_seed(self.shared.seed());
        let decided = catch_unwind(AssertUnwindSafe(|| partition.on(inputs, now, draw, &self.shared.permits)));
        let (epoch, current) = (*epoch, partition.current());
        let runs = partition.len();
        self.shared.counters.runs_changed(runs as i64 - self.runs_counted as i64);
        self.runs_counted = runs;
        match decided {
            Ok(outputs) => {
                // It may have given permits back that others wait for.
                let dealt = self.shared.permits().deal();
                self.shared.deliver(dealt);
                self.perform(outputs, myself)?;
            }
            Err(_) => return Err(self.set_aside(epoch, current).await),
        }
        if more {
            let _gone = myself.cast(Message::Wake);
        }
        Ok(())
    }

    /// Releases first: they belong to a batch that has landed. Then what the partition asks for.
    fn perform(&mut self, outputs: Outputs, myself: &ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        if !outputs.releases.is_empty() {
            crash_point!("partition.committed");
        }
        let mut effects = Vec::with_capacity(outputs.releases.len());
        for release in outputs.releases {
            match release {
                Release::Reply(caller, reply) => {
                    // A caller that has gone away needs no answer.
                    self.callers.remove(&caller).map(|reply_to| reply_to.send(reply));
                }
                Release::Effect(effect) => effects.push(effect),
            }
        }
        self.releaser.release(effects, &mut self.work);
        self.shared.deliver(outputs.dealt);
        if let Some(reason) = outputs.stop {
            return Err(format!("partition {} has to be loaded again: {reason:?}", self.id).into());
        }
        if let Some(batch) = outputs.commit {
            self.commit(batch);
        }
        outputs.loads.into_iter().for_each(|run| self.load(run));
        outputs.looks.into_iter().for_each(|batch| self.look_at(batch));
        outputs.sightings.into_iter().for_each(|run| self.look_for(run));
        outputs.values.into_iter().for_each(|(run, references)| self.read_values(run, references));
        outputs.lists.into_iter().for_each(|(run, need)| self.read_list(run, need));
        outputs.questions.into_iter().for_each(|question| self.look_for_shared(question));
        outputs.lookups.into_iter().for_each(|key| self.look_up(key));
        self.arm(outputs.wake_at, myself);
        Ok(())
    }

    fn commit(&mut self, batch: Batch) {
        let counters = &self.shared.counters;
        counters.commits.add(1);
        let (id, number, since) = (self.id, batch.number, Instant::now());
        let events = batch.runs.iter().map(|run| run.events.len() as u64).sum();
        counters.event_rows.add(events);
        self.shared.new_runs.committed(id, events, since);
        let (shared, inbox) = (Arc::clone(&self.shared), Arc::clone(&self.inbox));
        self.landing = Some((number, Landing::of(&batch), Tally::of(&batch)));
        let landed = Box::new(move |committed: Committed| {
            shared.metrics.committed(&committed.outcome, since.elapsed());
            shared.clock.heard(committed.now);
            shared.doors.outcome(id, &inbox, Input::Committed(number, committed.outcome));
        });
        self.shared.journal.commit(batch, landed);
    }

    /// What has landed can be read from now on: before anybody is told of it.
    fn show(&mut self, input: &Input) {
        if let Input::Committed(number, CommitOutcome::Applied { quarantined }) = input
            && let Some((_, landing, tally)) = self.landing.take_if(|(landing, ..)| landing == number)
        {
            self.shared.metrics.landed(&tally);
            self.shared.recent.landed(landing, quarantined);
            quarantined.iter().for_each(|run| self.shared.tell_set_aside(*run));
        }
    }

    fn measure(&self) {
        if let Some((_, partition)) = &self.loaded {
            self.shared.metrics.measured(self.id, partition.backlog(self.shared.clock.now()));
        }
    }

    /// Looks at a page of the runs in memory, and at the next after a pause; a second look begins when the first is over.
    fn watch(&mut self, goes_on: bool, myself: &ActorRef<Message>) {
        let Some((_, partition)) = &mut self.loaded else { return };
        if self.look.is_some() != goes_on {
            return;
        }
        let (after, mut orphans) = self.look.take().unwrap_or_default();
        let watched = partition.watch(after, WATCHDOG_PAGE_RUNS);
        orphans.extend(watched.orphans);
        if !watched.has_more {
            return self.shared.watchdog.found(Looker::Partition(self.id), orphans);
        }
        self.look = Some((watched.runs.last().copied(), orphans));
        let _timer = myself.send_after(WATCHDOG_MEMORY_PAUSE, || Message::WatchOn);
    }

    fn load(&mut self, run: RunId) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let loaded = load::run_or_set_aside(&shared, id, run).await;
            shared.doors.outcome(id, &inbox, Input::Loaded(run, loaded.map(Box::new)));
        });
    }

    /// Values that a decision looks at: mostly young ones, else from the journal.
    fn read_values(&mut self, run: RunId, references: Vec<ValueRef>) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let values = inputs::values(&shared, run, &references).await;
            let found = references.into_iter().zip(values).collect();
            shared.doors.outcome(id, &inbox, Input::Values(run, found));
        });
    }

    /// Which runs of a batch go on.
    fn look_at(&mut self, batch: BatchId) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let going_on = load::until_answered(|| shared.batches.rows.going_on(batch)).await;
            shared.doors.outcome(id, &inbox, Input::BatchSeen(batch, going_on));
        });
    }

    /// A result that runs share. Nobody waits long for it: it is asked for once.
    fn look_for_shared(&mut self, question: Question) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let found = cache::answer(&shared, &question).await.map(Box::new);
            let Question { run, instance, key, .. } = question;
            shared.doors.outcome(id, &inbox, Input::SharedFound { run, instance, key, found });
        });
    }

    /// Whether a run is there, whatever became of it.
    fn look_for(&mut self, run: RunId) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let row = load::until_answered(|| shared.journal.read_row(run)).await;
            shared.doors.outcome(id, &inbox, Input::Sighted(run, row.is_some()));
        });
    }

    /// A part of a list that lies in the artifact store.
    fn read_list(&mut self, run: RunId, need: ListNeed) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let part = inputs::list_part(&shared, run, &need).await;
            shared.doors.outcome(id, &inbox, Input::ListPart(run, need, part));
        });
    }

    fn look_up(&mut self, key: IdempotencyKey) {
        let (shared, id, inbox) = (Arc::clone(&self.shared), self.id, Arc::clone(&self.inbox));
        self.work.spawn(async move {
            let found = load::until_answered(|| shared.journal.lookup_key(key.clone(), shared.clock.now())).await;
            shared.doors.outcome(id, &inbox, Input::KeyLookedUp(key, found));
        });
    }

    fn arm(&mut self, wake_at: Option<Timestamp>, myself: &ActorRef<Message>) {
        let Some(at) = self.alarm.set(wake_at, self.shared.clock.now()) else { return };
        let _timer = myself.send_after(self.shared.clock.until(at), move || Message::Tick(at));
    }

    /// The core failed on one run: it is set aside unread, and the partition is loaded again (E5).
    async fn set_aside(&self, epoch: Epoch, run: Option<RunId>) -> ActorProcessingErr {
        let Some(run) = run else { return "the engine failed outside of any run".into() };
        tracing::error!(%run, "the engine failed on this run; it is set aside");
        let reason = "the engine failed on this run; its history is kept, please report it".into();
        match self.shared.journal.quarantine(self.id, epoch, run, reason).await {
            Ok(_) => {
                self.shared.metrics.quarantined.add(1);
                self.shared.tell_set_aside(run);
                format!("run {run} was set aside").into()
            }
            Err(error) => error.into(),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.shared.counters.runs_changed(-(self.runs_counted as i64));
        self.shared.metrics.measured(self.id, Backlog::default());
    }
}

fn remember(callers: &mut HashMap<CallerId, oneshot::Sender<Reply>>, input: &Input, reply_to: ReplyTo) {
    let caller = match input {
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
    reply_to.map(|reply_to| callers.insert(caller, reply_to));
}
