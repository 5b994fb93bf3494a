//! The watchdog over runs in memory (H21): whether something would wake each of them. What a run's own state says is in
//! [`crate::run::waits`]; here it is looked whether the partition has set what that needs: turns, queues, timers, questions.
//! It looks and changes nothing, so a finding never makes a run go another way.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use super::values::Lack;
use super::{Entry, Partition, assign};
use crate::explain::quoted;
use crate::id::{Instance, RunId};
use crate::run::{Run, RunStatus};

/// A run that nothing would wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Which.
    pub run: RunId,
    /// What is missing.
    pub lost: Lost,
}

/// What is missing that would wake a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Anything that would wake this node.
    Node {
        /// Its id in the document.
        node: Arc<str>,
        /// The numbers of the items and turns that it lies in, the outermost first.
        index: Vec<u32>,
    },
    /// The turn in which its next node is decided, or its end.
    Turn,
    /// The queue in which it waits for an agent.
    Queue,
    /// The look at an agent that is away with its work.
    Agent,
    /// The timer of its next instant.
    Timer,
    /// The question for a result that runs share.
    Question,
    /// The look at a job at a provider that is to be cancelled.
    Job,
    /// The instant or the people in its row: it waits on disk alone, where only a signal or a call of its hook would reach it.
    Row,
    /// Its history: it waits on disk, and cannot be read back.
    History,
    /// The end of a run that it has invoked and that was set aside.
    Child {
        /// Which.
        run: RunId,
    },
    /// Its owner: its row says that it is at work, and it is in nobody's memory.
    Owner,
}

impl Lost {
    /// The node that nothing would wake, from the instance.
    pub fn node(run: &Run, instance: Instance) -> Self {
        let node = run.graph().named(instance.node);
        Lost::Node { node: Arc::clone(&run.graph().node(node).id), index: run.path(instance.scope) }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Node { node, index } => write!(f, "nothing would wake the node {}", quoted(node, index)),
            Lost::Turn => f.write_str("it has something to decide and no turn to do so"),
            Lost::Queue => f.write_str("it has work for an agent that stands in no queue"),
            Lost::Agent => f.write_str("an agent that is away has its work, and nobody looks whether it comes back"),
            Lost::Timer => f.write_str("no timer is set for its next instant"),
            Lost::Question => f.write_str("it waits for a shared result that nobody looks for"),
            Lost::Job => f.write_str("a job at a provider is to be cancelled, and nobody does so"),
            Lost::Row => f.write_str(
                "it waits on disk, and its row lacks the time or the review that it waits for: at most a signal or a call of \
                 its address would reach it",
            ),
            Lost::History => f.write_str("it waits on disk, and its history cannot be read back"),
            Lost::Child { run } => {
                write!(f, "it waits for {run}, which it has invoked and which was set aside because it cannot be read")
            }
            Lost::Owner => f.write_str("its row says that it is at work, and it is in nobody's memory"),
        }
    }
}

/// What a look at some runs has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// The runs that were looked at.
    pub runs: Vec<RunId>,
    /// Those of them that nothing would wake.
    pub orphans: Vec<Orphan>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

impl Partition {
    /// Looks at up to `limit` runs in memory behind `after`. Between two inputs there is no orphan, unless the engine is at fault.
    pub fn watch(&mut self, after: Option<RunId>, limit: usize) -> Watched {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let runs: Vec<RunId> = self.runs.range((from, Bound::Unbounded)).map(|(id, _)| *id).take(limit).collect();
        let orphans = runs.iter().filter_map(|id| self.watch_one(*id).map(|lost| Orphan { run: *id, lost })).collect();
        Watched { has_more: runs.len() == limit, orphans, runs }
    }

    /// Whether nothing would wake a run in memory.
    pub(super) fn is_orphan(&mut self, run: RunId) -> bool {
        self.watch_one(run).is_some()
    }

    /// Whether a run is in memory, or on its way there.
    pub fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run) || self.loading.contains_key(&run)
    }

    /// What is missing that would wake a run, if anything is.
    fn watch_one(&mut self, id: RunId) -> Option<Lost> {
        if self.has_forgotten_job(id) {
            return Some(Lost::Job);
        }
        let entry = self.runs.get_mut(&id).filter(|entry| entry.run.status() == RunStatus::Running)?;
        let seq = entry.run.seq();
        if entry.watched != Some(seq) {
            // An event that is not on its way yet may still get more decisions; a parked run gets no more without another event.
            if let Some(lost) = entry.run.unwakeable().first() {
                return Some(Lost::node(&entry.run, *lost));
            }
            entry.watched = entry.run.is_parked().then_some(seq);
        }
        self.unset(id, self.runs.get(&id)?)
    }

    fn unset(&self, id: RunId, entry: &Entry) -> Option<Lost> {
        let run = &entry.run;
        // Who has paused it wakes it.
        if run.is_paused() {
            return None;
        }
        let has_turn = match entry.lack {
            Lack::Nothing => entry.in_turn,
            // When what is on its way has landed, it is asked for.
            Lack::Landing => self.flying.is_some() || !self.open.is_empty(),
            Lack::Asked => true,
        };
        if (run.next_decision().is_some() || run.can_conclude()) && !has_turn {
            return Some(Lost::Turn);
        }
        // Where the batch is full, what its alarm has rung for is done when there is room again.
        let is_rung = entry.alarm.is_some_and(|at| at <= self.clock);
        if run.ready_count(self.clock) > 0 && !is_rung && !self.is_queued(entry) {
            return Some(Lost::Queue);
        }
        let is_looked_for = |live: &crate::run::LiveAttempt| self.losses_at.is_some() || self.is_here(&live.agent);
        if run.attempts().any(|(_, live)| !is_looked_for(live)) {
            return Some(Lost::Agent);
        }
        let is_set = entry.alarm.is_some_and(|at| self.alarms.contains(&(at, id)));
        if run.next_alarm(self.clock).is_some() && !is_set {
            return Some(Lost::Timer);
        }
        if run.recalls().any(|instance| !self.questions.is_under_way(id, instance)) {
            return Some(Lost::Question);
        }
        None
    }

    /// Whether something of a run stands in a queue for which permits are waited for, or are about to be.
    fn is_queued(&self, entry: &Entry) -> bool {
        let Some(rank) = entry.exposed.first() else { return false };
        let (lane, _) = assign::place_of(&entry.run, rank.instance());
        self.queues.get(&lane).is_some_and(|queue| queue.wanting || queue.listed)
    }
}
