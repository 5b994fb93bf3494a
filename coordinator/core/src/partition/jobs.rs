//! Jobs at providers that nobody goes on with (E10, E21): agents of their node types are asked to cancel them, one after the
//! other, until it is known what became of each. What is owed is in the runs' state; what is under way is only here, so
//! another load begins anew: a job that is cancelled twice is cancelled.

use std::collections::{BTreeMap, BTreeSet};

use super::io::{Dispatch, Effect, Release};
use super::permits::Need;
use super::{Partition, Turn};
use crate::id::{AgentBoot, AgentId, AttemptKey, AttemptToken, RunId, SessionNumber};
use crate::limits;
use crate::run::event::{ErrorClass, NodeError, PermitClass};
use crate::run::{Command, JobEnd, JobKey, Run};
use crate::time::{Span, Timestamp};

/// What one run has under way.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    orders: BTreeMap<JobKey, Order>,
    /// What agents have said of jobs whose attempts they are about to end.
    told: BTreeMap<JobKey, JobEnd>,
    /// When it is looked at again.
    at: Option<Timestamp>,
}

/// A job that is to be cancelled.
#[derive(Debug)]
struct Order {
    /// How often it was asked for in vain.
    tries: u32,
    /// When it is asked for, or when the answer counts as lost.
    at: Timestamp,
    /// Who is asked.
    asked: Option<(AgentBoot, AttemptToken)>,
}

/// Runs that have something under way, by when they are looked at.
pub(super) type Looks = BTreeSet<(Timestamp, RunId)>;

impl Partition {
    /// Brings what is under way for a run up to date with what it owes.
    pub(super) fn track_cancels(&mut self, id: RunId, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let (run, cancels) = (&entry.run, &mut entry.cancels);
        if !run.owes_cancels() && cancels.at.is_none() && cancels.told.is_empty() {
            return;
        }
        let is_out = |job: &JobKey| run.attempt(job.instance).is_some_and(|live| live.number == job.number);
        cancels.told.retain(|job, _| is_out(job) || run.owed_cancel(*job).is_some());
        cancels.orders.retain(|job, _| run.owed_cancel(*job).is_some());
        for (job, _) in run.owed_cancels() {
            cancels.orders.entry(job).or_insert(Order { tries: 0, at: now, asked: None });
        }
        let at = cancels.orders.values().map(|order| order.at).min();
        if at != cancels.at {
            cancels.at.map(|at| self.cancel_looks.remove(&(at, id)));
            at.map(|at| self.cancel_looks.insert((at, id)));
            cancels.at = at;
        }
    }

    /// Asks for what is due, and gives up what was asked for often enough.
    pub(super) fn tend_cancels(&mut self, turn: &mut Turn<'_>) {
        let mut room = None;
        while let Some(&(_, id)) = self.cancel_looks.first().filter(|(at, _)| *at <= turn.now) {
            if self.open.is_full() {
                return;
            }
            self.current = Some(id);
            let Some(entry) = self.runs.get(&id) else { return };
            let orders = entry.cancels.orders.iter();
            let due: Vec<JobKey> = orders.filter(|(_, order)| order.at <= turn.now).map(|(job, _)| *job).collect();
            let mut left = room.unwrap_or_else(|| self.room_to_ask());
            due.into_iter().for_each(|job| self.tend_one(id, job, &mut left, turn));
            room = Some(left);
            self.track_cancels(id, turn.now);
        }
    }

    /// How many more jobs agents may be asked to cancel now.
    fn room_to_ask(&self) -> usize {
        let runs = self.cancel_looks.iter().filter_map(|(_, id)| self.runs.get(id));
        let asked = runs.flat_map(|entry| entry.cancels.orders.values()).filter(|order| order.asked.is_some()).count();
        limits::JOB_CANCELS_ASKED_MAX.saturating_sub(asked)
    }

    fn tend_one(&mut self, id: RunId, job: JobKey, room: &mut usize, turn: &mut Turn<'_>) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let Some(owed) = entry.run.owed_cancel(job).copied() else { return };
        if let Some(end) = entry.cancels.told.remove(&job) {
            return self.end_job(id, job, end, turn);
        }
        if !owed.cancels {
            return self.end_job(id, job, JobEnd::Unsupported, turn);
        }
        let Some(order) = entry.cancels.orders.get(&job) else { return };
        let tries = order.tries;
        if let Some((agent, _)) = &order.asked {
            let message = format!("agent {} gave no answer", agent.agent);
            return self.cancelled_in_vain(id, job, failure("no_answer", message), turn);
        }
        if *room == 0 {
            return self.order(id, job, |order| order.at = turn.now.plus(limits::JOB_CANCEL_AGENT_LOOK));
        }
        let need = Need::of_job(&entry.run, job.instance.node, owed.provider);
        let agents = turn.permits.take().that_can_run(&need);
        let here = agents.into_iter().filter(|(agent, session)| {
            let presence = self.agents.get(&agent.agent);
            presence.is_some_and(|presence| presence.is_on(agent, *session))
        });
        let here: Vec<(AgentBoot, SessionNumber)> = here.collect();
        // Whoever could not do it is asked again after the others.
        let Some((agent, session)) = here.get(tries as usize % here.len().max(1)).cloned() else {
            if self.has_waited_in_vain(owed.since, turn.now) {
                let message =
                    format!("no agent that offers {} was there; cancel the job at its provider", need.type_id);
                return self.end_job(id, job, JobEnd::Failed(failure("no_agent", message)), turn);
            }
            return self.order(id, job, |order| order.at = turn.now.plus(limits::JOB_CANCEL_AGENT_LOOK));
        };
        let token = AttemptToken(turn.draw.next_u64());
        let Some(entry) = self.runs.get(&id) else { return };
        let ask = ask(&entry.run, job, (agent.clone(), session), token);
        self.attach(Some(id), Release::Effect(Effect::CancelJob(Box::new(ask))), turn);
        *room -= 1;
        self.order(id, job, |order| {
            order.asked = Some((agent, token));
            order.at = turn.now.plus(limits::JOB_CANCEL_ANSWER_WAIT);
        });
    }

    /// Whether nobody could be asked for too long, or providers have put everybody off. A load counts anew.
    fn has_waited_in_vain(&self, since: Timestamp, now: Timestamp) -> bool {
        now.since(since.max(self.loaded_at)) >= limits::JOB_CANCEL_AGENT_WAIT_MAX
    }

    fn order(&mut self, id: RunId, job: JobKey, change: impl FnOnce(&mut Order)) {
        let order = self.runs.get_mut(&id).and_then(|entry| entry.cancels.orders.get_mut(&job));
        if let Some(order) = order {
            change(order);
        }
    }

    /// An agent says what became of a job: one that it was asked to cancel, or that of an attempt which it is about to end.
    pub(super) fn job_cancelled(
        &mut self,
        from: &AgentBoot,
        key: AttemptKey,
        end: Result<JobEnd, NodeError>,
        turn: &mut Turn<'_>,
    ) {
        let job = JobKey { instance: key.instance, number: key.number };
        if self.live(&key).is_some() {
            if !self.is_foreign(from, key, turn)
                && let (Ok(end), Some(entry)) = (end, self.runs.get_mut(&key.run))
            {
                entry.cancels.told.insert(job, end);
            }
            return;
        }
        let order = self.runs.get(&key.run).and_then(|entry| entry.cancels.orders.get(&job));
        let asked = order.and_then(|order| order.asked.as_ref());
        // What comes late says nothing: the job is asked for again.
        if asked.is_none_or(|(agent, token)| (agent, *token) != (from, key.token)) {
            return;
        }
        match end {
            Ok(end) => self.end_job(key.run, job, end, turn),
            Err(error) => self.cancelled_in_vain(key.run, job, error, turn),
        }
        self.track_cancels(key.run, turn.now);
    }

    /// An agent is away, or there anew: what it was asked, another one is asked.
    pub(super) fn ask_others(&mut self, agent: &AgentId, turn: &mut Turn<'_>) {
        let runs: BTreeSet<RunId> = self.cancel_looks.iter().map(|(_, id)| *id).collect();
        for id in runs {
            let Some(entry) = self.runs.get(&id) else { continue };
            let is_asked = |order: &Order| order.asked.as_ref().is_some_and(|(asked, _)| asked.agent == *agent);
            let orders = entry.cancels.orders.iter();
            let asked: Vec<JobKey> = orders.filter(|(_, order)| is_asked(order)).map(|(job, _)| *job).collect();
            for job in asked {
                let message = format!("agent {agent} was lost while it cancelled the job");
                self.cancelled_in_vain(id, job, failure("agent_lost", message), turn);
            }
            self.track_cancels(id, turn.now);
        }
    }

    /// It is tried again after a pause, unless that would be in vain, too.
    fn cancelled_in_vain(&mut self, id: RunId, job: JobKey, error: NodeError, turn: &mut Turn<'_>) {
        let owed = self.runs.get(&id).and_then(|entry| entry.run.owed_cancel(job));
        let is_late = owed.is_some_and(|owed| self.has_waited_in_vain(owed.since, turn.now));
        let mut tries = 0;
        self.order(id, job, |order| {
            // Who is to come back later has not tried.
            order.tries += u32::from(error.class != ErrorClass::RateLimited);
            order.asked = None;
            tries = order.tries;
            order.at = turn.now.plus(pause_after(tries));
        });
        if tries >= limits::JOB_CANCEL_TRIES_MAX || is_late || !error.class.retries() {
            self.end_job(id, job, JobEnd::Failed(error), turn);
        }
    }

    fn end_job(&mut self, id: RunId, job: JobKey, end: JobEnd, turn: &mut Turn<'_>) {
        let _known = self.apply(id, Command::EndJob { job, end }, turn);
    }

    /// Whether nobody looks after a job that is to be cancelled.
    pub(super) fn has_forgotten_job(&self, id: RunId) -> bool {
        let Some(entry) = self.runs.get(&id).filter(|entry| entry.run.owes_cancels()) else { return false };
        let is_set = entry.cancels.at.is_some_and(|at| self.cancel_looks.contains(&(at, id)));
        !is_set || entry.run.owed_cancels().any(|(job, _)| !entry.cancels.orders.contains_key(&job))
    }

    /// A run leaves memory.
    pub(super) fn forget_cancels(&mut self, id: RunId, cancels: &Cancels) {
        cancels.at.map(|at| self.cancel_looks.remove(&(at, id)));
    }
}

fn failure(code: &str, message: String) -> NodeError {
    NodeError { class: ErrorClass::Retryable, code: code.into(), message: message.into() }
}

fn pause_after(tries: u32) -> Span {
    let doubled = limits::JOB_CANCEL_PAUSE_MIN.as_millis() << tries.saturating_sub(1).min(16);
    Span::from_millis(doubled).min(limits::JOB_CANCEL_PAUSE_MAX)
}

/// What an agent is asked. Its key has a token of its own, by which the answer is known.
fn ask(run: &Run, job: JobKey, to: (AgentBoot, SessionNumber), token: AttemptToken) -> Dispatch {
    let owed = run.owed_cancel(job);
    let JobKey { instance, number } = job;
    let (to, session) = to;
    Dispatch {
        to,
        key: AttemptKey { run: run.id(), instance, number, token },
        index: run.path(instance.scope),
        permit: PermitClass::Slot,
        session,
        graph: run.graph().clone(),
        provider: owed.map(|owed| owed.provider).unwrap_or_default(),
        inputs: Vec::new(),
        config: owed.and_then(|owed| owed.config),
        question: None,
        handle: owed.map(|owed| owed.handle),
        // A job is named by its handle.
        jobs_left: 0,
        traceparent: run.traceparent().cloned(),
        tenant: run.tenant().clone(),
        sandbox: run.is_sandboxed(),
    }
}
