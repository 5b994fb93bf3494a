//! Results that runs share: the shell is asked for them, and hears of new ones with the events that make them. Nothing of a
//! question is durable: whoever loads a run asks again, and what has no answer in time counts as if there were none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::batch::CacheRow;
use super::io::Question;
use super::{Entry, Partition, Turn};
use crate::fault::{Fault, is_planted};
use crate::id::{EventSeq, Instance, RunId, TenantId};
use crate::limits;
use crate::run::Run;
use crate::run::recall::CachedResult;
use crate::time::Timestamp;
use crate::value::Digest;

/// Questions that are under way, and runs that have more.
#[derive(Debug, Default)]
pub(super) struct Questions {
    under_way: BTreeMap<(RunId, Instance), Asked>,
    /// When each counts as answered.
    deadlines: BTreeSet<(Timestamp, RunId, Instance)>,
    /// Runs that have instances for which nobody has asked, in turns.
    waiting: VecDeque<RunId>,
    queued: BTreeSet<RunId>,
}

#[derive(Debug)]
struct Asked {
    key: Digest,
    deadline: Timestamp,
}

impl Questions {
    /// When the first of them counts as answered.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// Whether somebody asks for an instance, or will.
    pub(super) fn is_under_way(&self, run: RunId, instance: Instance) -> bool {
        self.is_asked(run, instance) || self.queued.contains(&run)
    }

    fn is_asked(&self, run: RunId, instance: Instance) -> bool {
        self.under_way.contains_key(&(run, instance))
    }

    fn forget(&mut self, run: RunId, instance: Instance) {
        if let Some(asked) = self.under_way.remove(&(run, instance)) {
            self.deadlines.remove(&(asked.deadline, run, instance));
        }
    }
}

impl Partition {
    /// A run whose instances look for shared results gets its turn to ask.
    pub(super) fn want_shared(&mut self, id: RunId) {
        let Some(entry) = self.runs.get(&id).filter(|entry| !entry.run.is_paused()) else { return };
        let mut recalls = entry.run.recalls();
        if recalls.any(|instance| !self.questions.is_asked(id, instance)) && self.questions.queued.insert(id) {
            self.questions.waiting.push_back(id);
        }
    }

    /// Asks for as many as may be under way, in turns of runs.
    pub(super) fn ask_shared(&mut self, turn: &mut Turn<'_>) {
        while self.questions.under_way.len() < limits::CACHE_QUESTIONS_MAX
            && let Some(id) = self.questions.waiting.pop_front()
        {
            self.questions.queued.remove(&id);
            let Some(entry) = self.runs.get(&id).filter(|entry| !entry.run.is_paused()) else { continue };
            let room = limits::CACHE_QUESTIONS_MAX - self.questions.under_way.len();
            let open = entry.run.recalls().filter(|instance| !self.questions.is_asked(id, *instance));
            let next: Vec<Instance> = open.take(room.min(limits::CACHE_QUESTIONS_AT_ONCE)).collect();
            let deadline = turn.now.plus(limits::CACHE_ANSWER_WAIT);
            for instance in next {
                let key = entry.run.shared_key(instance);
                self.questions.under_way.insert((id, instance), Asked { key, deadline });
                self.questions.deadlines.insert((deadline, id, instance));
                let tenant = shared_tenant(&entry.run);
                let at = if is_planted(Fault::SharedTooLong) { Timestamp::from_millis(0) } else { turn.now };
                turn.outputs.questions.push(Question { run: id, instance, tenant, key, at });
            }
            self.want_shared(id);
        }
    }

    /// What was asked for too long counts as if there were none.
    pub(super) fn give_up_questions(&mut self, turn: &mut Turn<'_>) {
        while !self.open.is_full()
            && let Some(&(_, id, instance)) = self.questions.deadlines.first().filter(|(at, ..)| *at <= turn.now)
        {
            self.questions.forget(id, instance);
            self.conclude_question(id, instance, None, turn);
        }
    }

    /// The answer to a question.
    pub(super) fn shared_found(
        &mut self,
        (id, instance): (RunId, Instance),
        key: Digest,
        found: Option<CachedResult>,
        turn: &mut Turn<'_>,
    ) {
        if self.questions.under_way.get(&(id, instance)).is_none_or(|asked| asked.key != key) {
            // It came too late, or an earlier load had asked.
            return;
        }
        self.questions.forget(id, instance);
        // Both say for how long: who made it, and who would take it.
        let ttl = self.runs.get(&id).and_then(|entry| entry.run.graph().shared_for(instance.node)).unwrap_or_default();
        let is_young = |found: &CachedResult| found.expires_at > turn.now && found.made_at.plus(ttl) > turn.now;
        let is_alive = |found: &CachedResult| is_young(found) || is_planted(Fault::SharedTooLong);
        let found = found.filter(|found| found.key == key && is_alive(found));
        self.conclude_question(id, instance, found, turn);
    }

    fn conclude_question(&mut self, id: RunId, instance: Instance, found: Option<CachedResult>, turn: &mut Turn<'_>) {
        self.current = Some(id);
        // It may have been given up meanwhile. A paused run decides nothing, and asks again when it goes on.
        let decides = |entry: &Entry| entry.run.is_recalling(instance) && !entry.run.is_paused();
        if self.runs.get(&id).is_some_and(decides) {
            self.record(id, turn, |run, body, _| run.recall(instance, found, body));
            self.settle(id, turn);
        }
    }

    /// Writes a result that others may take, beside the event that makes it durable.
    pub(super) fn share(&mut self, id: RunId, seq: EventSeq, (instance, result): (Instance, CachedResult)) {
        let Some(entry) = self.runs.get(&id) else { return };
        let node = Arc::clone(&entry.run.graph().node(instance.node).id);
        let row = CacheRow { tenant: shared_tenant(&entry.run), node, seq, result };
        self.open.of(id).cached.push(row);
    }
}

/// Whose results count for a run.
fn shared_tenant(run: &Run) -> TenantId {
    if is_planted(Fault::SharedAcrossTenants) { TenantId("".into()) } else { run.tenant().clone() }
}
