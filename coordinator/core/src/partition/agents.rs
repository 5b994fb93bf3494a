//! Agents come, report and go (E10, E13): what they hold is kept, what they lost goes elsewhere.

use super::io::{Effect, Leaving, Release, Verdict};
use super::permits::Reservation;
use super::{Partition, Turn};
use crate::fault::{Fault, is_planted};
use crate::id::{AgentBoot, AgentId, AttemptKey, BootId, Instance, NodeIx, RunId, SessionNumber};
use crate::limits;
use crate::node_type::EffectClass;
use crate::run::event::{Attempt, LossCause, Timing};
use crate::run::{Command, LiveAttempt, Outcome, Rejection, Run};
use crate::time::{Span, Timestamp};
use crate::value::Value;

/// What this partition knows of an agent since it was loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presence {
    boot: BootId,
    session: SessionNumber,
    /// Since when it is away, if it is.
    gone: Option<Absence>,
}

/// How long an agent is away, and how long it may be at least.
#[derive(Debug, Clone, Copy)]
struct Absence {
    since: Timestamp,
    grace_min: Span,
}

impl Presence {
    /// Whether it is there as this start, on this stream.
    pub(super) fn is_on(&self, agent: &AgentBoot, session: SessionNumber) -> bool {
        (self.boot, self.session) == (agent.boot, session) && self.gone.is_none()
    }
}

impl Partition {
    pub(super) fn is_here(&self, agent: &AgentBoot) -> bool {
        let presence = self.agents.get(&agent.agent);
        presence.is_some_and(|presence| presence.boot == agent.boot && presence.gone.is_none())
    }

    /// Whether a permit was given in the session in which this partition knows the agent now: earlier ones are void.
    pub(super) fn is_current(&self, reservation: &Reservation) -> bool {
        let presence = self.agents.get(&reservation.agent.agent);
        presence.is_some_and(|presence| presence.session == reservation.session) && self.is_here(&reservation.agent)
    }

    /// An agent reports everything it holds; the answer names each attempt.
    pub(super) fn agent_hello(
        &mut self,
        agent: AgentBoot,
        session: SessionNumber,
        running: &[AttemptKey],
        finished: &[AttemptKey],
        turn: &mut Turn<'_>,
    ) {
        self.agents.insert(agent.agent.clone(), Presence { boot: agent.boot, session, gone: None });
        self.ask_others(&agent.agent, turn);
        for (key, live) in self.attempts_of(&agent.agent) {
            if live.boot != agent.boot {
                if !is_planted(Fault::NewBootIgnored) {
                    self.lose(key, LossCause::NewBoot, turn);
                }
            } else if is_planted(Fault::InventoryIgnored) || !running.contains(&key) && !finished.contains(&key) {
                self.lose(key, LossCause::NotHeld, turn);
            }
        }
        let mut verdicts = Vec::with_capacity(running.len() + finished.len());
        for key in running {
            verdicts.push((*key, self.verdict_of_running(&agent, *key, turn)));
        }
        for key in finished {
            verdicts.push((*key, self.verdict_of_finished(&agent, *key, turn)));
        }
        let keeps = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Keep).map(|(key, _)| *key);
        let stopping: Vec<AttemptKey> = keeps.filter(|key| self.live(key).is_some_and(|live| live.stopping)).collect();
        self.attach(None, Release::Effect(Effect::Verdicts { to: agent.clone(), session, verdicts }), turn);
        for key in stopping.into_iter().filter(|key| running.contains(key)) {
            self.attach(Some(key.run), Release::Effect(Effect::CancelAttempt { to: agent.clone(), key }), turn);
        }
    }

    fn verdict_of_running(&mut self, agent: &AgentBoot, key: AttemptKey, turn: &mut Turn<'_>) -> Verdict {
        if self.is_foreign(agent, key, turn) {
            return Verdict::Stop;
        }
        let Some(live) = self.live(&key) else { return Verdict::Stop };
        // Only its agent knows what it may have begun at a provider: it is told to stop, and says that with its end.
        let may_have_unknown_job = live.intent && live.job.is_none();
        if !live.stopping || may_have_unknown_job && self.can_cancel_job(&key) {
            return Verdict::Keep;
        }
        let command = Command::Finish { attempt: attempt(&key), outcome: Outcome::Stopped, timing: Timing::default() };
        let _gone = self.apply(key.run, command, turn);
        Verdict::Stop
    }

    fn verdict_of_finished(&mut self, agent: &AgentBoot, key: AttemptKey, turn: &mut Turn<'_>) -> Verdict {
        if self.is_foreign(agent, key, turn) {
            return Verdict::Acknowledged;
        }
        if self.live(&key).is_some() {
            return Verdict::Keep;
        }
        if !self.is_committed(&key) {
            self.attach(Some(key.run), Release::Effect(Effect::CountZombie(key)), turn);
        }
        Verdict::Acknowledged
    }

    /// A stream has ended. That of an earlier one says nothing: its end and the next Hello may overtake each other.
    pub(super) fn agent_gone(
        &mut self,
        agent: &AgentBoot,
        session: SessionNumber,
        leaving: Leaving,
        turn: &mut Turn<'_>,
    ) {
        let presence = self.agents.get_mut(&agent.agent).filter(|presence| presence.boot == agent.boot);
        let Some(presence) = presence.filter(|presence| presence.session == session) else { return };
        let grace_min = match leaving {
            Leaving::SentAway => limits::LOSS_GRACE_AFTER_LOAD,
            Leaving::Goodbye | Leaving::Broken => Span::ZERO,
        };
        presence.gone = Some(Absence { since: turn.now, grace_min });
        for (key, _) in self.attempts_of(&agent.agent) {
            // What was never sent need not wait for anybody (E8).
            if leaving == Leaving::Goodbye || self.unsent.contains_key(&key) {
                self.lose(key, LossCause::Goodbye, turn);
            }
        }
        self.ask_others(&agent.agent, turn);
        self.look_for_losses(turn.now);
    }

    pub(super) fn look_for_losses(&mut self, at: Timestamp) {
        self.losses_at = Some(self.losses_at.map_or(at, |known| known.min(at)));
    }

    /// Attempts of absent agents whose grace has passed.
    pub(super) fn lose_absent(&mut self, turn: &mut Turn<'_>) {
        if self.losses_at.is_none_or(|at| at > turn.now) {
            return;
        }
        self.losses_at = None;
        let mut next: Option<Timestamp> = None;
        let mut lost = Vec::new();
        for entry in self.runs.values() {
            for (instance, live) in entry.run.attempts() {
                let Some(absence) = self.absence(&live.agent) else { continue };
                let key = AttemptKey { run: entry.run.id(), instance, number: live.number, token: live.token };
                let until = self.grace_ends(&entry.run, live, instance.node, absence);
                if until <= turn.now {
                    lost.push(key);
                } else {
                    next = Some(next.map_or(until, |known| known.min(until)));
                }
            }
        }
        self.losses_at = next;
        for key in lost {
            if self.open.is_full() {
                return self.look_for_losses(turn.now);
            }
            self.lose(key, LossCause::StreamGone, turn);
        }
    }

    /// Whether and since when an agent is away; a boot never heard of counts from the partition's load.
    fn absence(&self, agent: &AgentBoot) -> Option<Absence> {
        match self.agents.get(&agent.agent) {
            Some(presence) if presence.boot == agent.boot => presence.gone,
            _ => Some(Absence { since: self.loaded_at, grace_min: Span::ZERO }),
        }
    }

    /// Since when the agent that has an instance is away, and when its work counts as lost; nothing if it is here.
    pub(super) fn away(&self, run: &Run, instance: Instance) -> Option<(Timestamp, Timestamp)> {
        let live = run.attempt(instance)?;
        let absence = self.absence(&live.agent)?;
        Some((absence.since, self.grace_ends(run, live, instance.node, absence)))
    }

    /// When an absent agent's attempt is lost. Nobody is given up as away sooner than [`limits::LOSS_GRACE_AFTER_LOAD`]
    /// after the load: what breaks streams at a start says little about agents.
    fn grace_ends(&self, run: &Run, live: &LiveAttempt, node: NodeIx, absence: Absence) -> Timestamp {
        let grace = match run.graph().node(node).provided(live.provider).effect {
            _ if live.alone => limits::POISON_VERDICT_WAIT,
            EffectClass::Pure | EffectClass::Keyed => limits::LOSS_GRACE_PURE,
            EffectClass::Pollable if live.job.is_some() => Span::ZERO,
            EffectClass::Pollable | EffectClass::Blind => limits::LOSS_GRACE_BLIND,
        };
        if is_planted(Fault::GraceSkipped) && absence.since <= self.loaded_at {
            return self.loaded_at;
        }
        let after_load = self.loaded_at.plus(limits::LOSS_GRACE_AFTER_LOAD);
        absence.since.plus(grace.max(absence.grace_min)).max(after_load)
    }

    pub(super) fn finished(
        &mut self,
        from: AgentBoot,
        key: AttemptKey,
        outcome: Outcome,
        timing: Timing,
        turn: &mut Turn<'_>,
    ) {
        if self.is_foreign(&from, key, turn) {
            return self.attach(Some(key.run), Release::Effect(Effect::Acknowledge { to: from, key }), turn);
        }
        let mut attempt = attempt(&key);
        if is_planted(Fault::TokenNotChecked)
            && let Some(live) = self.runs.get(&key.run).and_then(|entry| entry.run.attempt(key.instance))
        {
            (attempt.number, attempt.token) = (live.number, live.token);
        }
        match self.apply(key.run, Command::Finish { attempt, outcome, timing }, turn) {
            Ok(()) | Err(Rejection::AlreadyCommitted) => {}
            Err(_) => self.attach(Some(key.run), Release::Effect(Effect::CountZombie(key)), turn),
        }
        self.attach(Some(key.run), Release::Effect(Effect::Acknowledge { to: from, key }), turn);
    }

    /// The attempt may act once this is durable; a second asking gets the same answer (E11).
    pub(super) fn intent(&mut self, from: AgentBoot, key: AttemptKey, turn: &mut Turn<'_>) {
        let holds = !self.is_foreign(&from, key, turn) && self.live(&key).is_some_and(|live| !live.stopping);
        let go = holds
            && matches!(
                self.apply(key.run, Command::Intend { attempt: attempt(&key) }, turn),
                Ok(()) | Err(Rejection::AlreadyCommitted)
            );
        self.attach(Some(key.run), Release::Effect(Effect::AnswerIntent { to: from, key, go }), turn);
    }

    pub(super) fn handle(&mut self, from: &AgentBoot, key: AttemptKey, handle: Value, turn: &mut Turn<'_>) {
        if !self.is_foreign(from, key, turn) && self.live(&key).is_some() {
            let _stale = self.apply(key.run, Command::Checkpoint { attempt: attempt(&key), handle }, turn);
        }
    }

    pub(super) fn handed_back(&mut self, from: &AgentBoot, key: AttemptKey, turn: &mut Turn<'_>) {
        if self.is_foreign(from, key, turn) {
            return;
        }
        if let Some(given_at) = self.live(&key).map(|live| live.assigned_at) {
            // It keeps its place before what was not given to anybody.
            if let Some(entry) = self.runs.get_mut(&key.run) {
                entry.returned.insert(key.instance, given_at);
            }
            let _stale = self.apply(key.run, Command::HandBack { attempt: attempt(&key) }, turn);
        }
    }

    /// The run was over before the attempt could be sent.
    pub(super) fn stopped_unsent(&mut self, key: AttemptKey, turn: &mut Turn<'_>) {
        self.withdraw(&key, turn);
        let command = Command::Finish { attempt: attempt(&key), outcome: Outcome::Stopped, timing: Timing::default() };
        let _gone = self.apply(key.run, command, turn);
    }

    fn lose(&mut self, key: AttemptKey, cause: LossCause, turn: &mut Turn<'_>) {
        // What was never sent has killed nobody (E13).
        let cause = if self.unsent.contains_key(&key) { LossCause::NotHeld } else { cause };
        self.withdraw(&key, turn);
        let _stale = self.apply(key.run, Command::Lose { attempt: attempt(&key), cause }, turn);
    }

    pub(super) fn live(&self, key: &AttemptKey) -> Option<&LiveAttempt> {
        let live = self.runs.get(&key.run)?.run.attempt(key.instance)?;
        ((live.number, live.token) == (key.number, key.token)).then_some(live)
    }

    /// Whether an attempt is in other hands than those that speak of it. Whoever touches what it does not hold is counted.
    pub(super) fn is_foreign(&mut self, from: &AgentBoot, key: AttemptKey, turn: &mut Turn<'_>) -> bool {
        let is_foreign = self.live(&key).is_some_and(|live| live.agent != *from);
        if is_foreign {
            self.attach(Some(key.run), Release::Effect(Effect::CountForeign(key)), turn);
        }
        is_foreign
    }

    fn can_cancel_job(&self, key: &AttemptKey) -> bool {
        self.runs.get(&key.run).is_some_and(|entry| entry.run.can_cancel(key.instance))
    }

    fn is_committed(&self, key: &AttemptKey) -> bool {
        self.runs.get(&key.run).is_some_and(|entry| entry.run.is_result_of(&attempt(key)))
    }

    fn attempts_of(&self, agent: &AgentId) -> Vec<(AttemptKey, AgentBoot)> {
        let of_run = |(id, run): (RunId, &Run)| -> Vec<(AttemptKey, AgentBoot)> {
            let held = run.attempts().filter(|(_, live)| live.agent.agent == *agent);
            held.map(|(instance, live)| {
                (AttemptKey { run: id, instance, number: live.number, token: live.token }, live.agent.clone())
            })
            .collect()
        };
        self.runs.iter().flat_map(|(id, entry)| of_run((*id, &entry.run))).collect()
    }
}

fn attempt(key: &AttemptKey) -> Attempt {
    Attempt { instance: key.instance, number: key.number, token: key.token }
}
