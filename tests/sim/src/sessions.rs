//! The coordinator's end of agents' streams.

use std::collections::BTreeMap;

use heddle_core::condition::question::EVALUATOR_TYPE;
use heddle_core::id::{AgentBoot, AgentId, AttemptKey, PartitionId, SessionNumber};
use heddle_core::partition::io::{Effect, Input, Leaving, Verdict};
use heddle_core::partition::permits::Offer;
use heddle_core::run::event::Timing;

use super::event::{AgentMessage, CoordinatorMessage, Event, Inventory};
use super::fault::ShellFault;
use super::shell::Mail;
use super::work::TYPES;
use super::world::World;

/// One stream, from Hello on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) agent: usize,
    pub(super) boot: AgentBoot,
    /// Until every partition has answered the inventory.
    welcoming: Option<Welcoming>,
}

#[derive(Debug)]
struct Welcoming {
    left: usize,
    verdicts: Vec<(AttemptKey, Verdict)>,
    slots: u32,
    prefetch: u32,
    /// What partitions sent since they gave their part; it leaves after the answer.
    held_back: Vec<(PartitionId, CoordinatorMessage)>,
}

/// The agent of this place among the model agents.
pub(super) fn agent_id(agent: usize) -> AgentId {
    AgentId(format!("agt_{agent}").into())
}

impl World {
    /// An agent's message has arrived.
    pub(super) fn heard(&mut self, id: SessionNumber, message: AgentMessage) {
        if let AgentMessage::Hello { boot, inventory, slots, prefetch } = message {
            return self.hello(id, boot, &inventory, slots, prefetch);
        }
        let Some(boot) = self.shell.sessions.get(&id).map(|session| session.boot.clone()) else { return };
        match message {
            AgentMessage::Hello { .. } => {}
            AgentMessage::Permit { class, count } => self.shell.permits.grant(&boot, id, class, count),
            AgentMessage::JobCancelled { key, end } => self.report(key, Input::JobCancelled { from: boot, key, end }),
            AgentMessage::Finished { key, outcome, job } => {
                if let Some(end) = job {
                    self.report(key, Input::JobCancelled { from: boot.clone(), key, end: Ok(end) });
                }
                self.shell.permits.finished(&boot, id, 1);
                if self.is_planted(ShellFault::ResultAcknowledgedEarly) {
                    self.tell(id, self.partition_of(key.run), CoordinatorMessage::Acknowledge(key));
                }
                let timing = Timing::default();
                self.report(key, Input::Finished { from: boot, key, outcome, timing });
            }
            AgentMessage::Intent { key } => self.report(key, Input::Intent { from: boot, key }),
            AgentMessage::Handle { key, handle } => self.report(key, Input::Handle { from: boot, key, handle }),
            AgentMessage::HandedBack { key } => {
                self.shell.permits.finished(&boot, id, 1);
                self.report(key, Input::HandedBack { from: boot, key });
            }
            AgentMessage::Goodbye => self.session_ends(id, Leaving::Goodbye),
        }
        self.deal();
    }

    fn report(&mut self, key: AttemptKey, input: Input) {
        self.deliver(self.partition_of(key.run), Mail::new(input));
    }

    fn hello(&mut self, id: SessionNumber, boot: AgentBoot, inventory: &Inventory, slots: u32, prefetch: u32) {
        if !self.shell.is_up {
            return;
        }
        let Some(agent) = self.links.get(&id).filter(|link| link.is_up).map(|link| link.agent) else { return };
        if let Some(old) = self.shell.current.insert(agent, id) {
            self.shell.sessions.remove(&old);
            self.cut(old);
        }
        self.shell.permits.leave(&boot.agent, id);
        let left = usize::from(self.knobs.partitions);
        let welcoming = Welcoming { left, verdicts: Vec::new(), slots, prefetch, held_back: Vec::new() };
        self.shell.sessions.insert(id, Session { agent, boot: boot.clone(), welcoming: Some(welcoming) });
        for partition in (0..self.knobs.partitions).map(PartitionId) {
            let part = |keys: &[AttemptKey]| -> Vec<AttemptKey> {
                keys.iter().filter(|key| self.partition_of(key.run) == partition).copied().collect()
            };
            let (running, finished) = (part(&inventory.running), part(&inventory.finished));
            let input = Input::AgentHello { agent: boot.clone(), session: id, running, finished };
            self.deliver(partition, Mail::new(input));
        }
    }

    /// A partition's part of the answer to an inventory.
    pub(super) fn verdicts(&mut self, from: PartitionId, number: SessionNumber, verdicts: Vec<(AttemptKey, Verdict)>) {
        let Some(session) = self.shell.sessions.get_mut(&number) else { return };
        let Some(welcoming) = &mut session.welcoming else { return };
        // What it sent before it saw the inventory, its verdicts have taken into account.
        welcoming.held_back.retain(|(partition, _)| *partition != from);
        welcoming.verdicts.extend(verdicts);
        welcoming.left -= 1;
        if welcoming.left > 0 {
            return;
        }
        let Some(Welcoming { verdicts, slots, prefetch, held_back, .. }) = session.welcoming.take() else { return };
        let boot = session.boot.clone();
        let held = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Keep).count() as u32;
        self.send(number, CoordinatorMessage::Welcome(verdicts));
        held_back.into_iter().for_each(|(_, message)| self.send(number, message));
        let types = TYPES.into_iter().chain([EVALUATOR_TYPE]).map(|id| (id.into(), u32::MAX)).collect();
        let labels = BTreeMap::new();
        let offer = Offer { session: number, boot: boot.boot, types, labels, held, slots, prefetch };
        self.shell.permits.join(boot.agent, offer);
        self.deal();
    }

    /// Sends what an agent is to be told; if it is not connected, its next inventory settles it.
    pub(super) fn effect_to_agent(&mut self, from: PartitionId, effect: Effect) {
        let (to, message) = match effect {
            Effect::Dispatch(dispatch) => (dispatch.to.clone(), CoordinatorMessage::Assign(dispatch)),
            Effect::CancelJob(job) => (job.to.clone(), CoordinatorMessage::CancelJob(job)),
            Effect::CancelAttempt { to, key } => (to, CoordinatorMessage::Cancel(key)),
            Effect::Acknowledge { to, key } => (to, CoordinatorMessage::Acknowledge(key)),
            Effect::AnswerIntent { to, key, go } => (to, CoordinatorMessage::IntentAnswer { key, go }),
            Effect::Verdicts { .. }
            | Effect::Notify { .. }
            | Effect::Deliver(_)
            | Effect::Arrived { .. }
            | Effect::CountZombie(_)
            | Effect::CountForeign(_) => return,
        };
        let known = self.shell.sessions.iter().find(|(_, session)| session.boot == to).map(|(id, _)| *id);
        if let Some(id) = known {
            self.tell(id, from, message);
        }
    }

    /// Sends a message, or keeps it until the agent is welcome.
    fn tell(&mut self, id: SessionNumber, from: PartitionId, message: CoordinatorMessage) {
        match self.shell.sessions.get_mut(&id).and_then(|session| session.welcoming.as_mut()) {
            Some(welcoming) => welcoming.held_back.push((from, message)),
            None => self.send(id, message),
        }
    }

    fn send(&mut self, id: SessionNumber, message: CoordinatorMessage) {
        let at = self.link_delay(id, false);
        self.at(at, Event::ToAgent { session: id, message });
    }

    /// A partition is loaded anew, and nobody knows what its last load had sent: every agent says again what it holds.
    pub(super) fn end_all_sessions(&mut self) {
        if !self.is_planted(ShellFault::SessionsKept) {
            let all: Vec<SessionNumber> = self.shell.sessions.keys().copied().collect();
            all.into_iter().for_each(|id| self.session_ends(id, Leaving::SentAway));
        }
    }

    /// The stream is closed, or has been silent for too long.
    pub(super) fn session_ends(&mut self, id: SessionNumber, leaving: Leaving) {
        let Some(session) = self.shell.sessions.remove(&id) else { return };
        self.cut(id);
        if self.shell.current.get(&session.agent) != Some(&id) {
            return;
        }
        self.shell.current.remove(&session.agent);
        self.shell.permits.leave(&session.boot.agent, id);
        for partition in (0..self.knobs.partitions).map(PartitionId) {
            let input = Input::AgentGone { agent: session.boot.clone(), session: id, leaving };
            self.deliver(partition, Mail::new(input));
        }
        self.deal();
    }
}
