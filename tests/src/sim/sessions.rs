//! The coordinator's end of agents' streams.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::id::{AgentBoot, AgentId, AttemptKey, PartitionId};
use heddle_core::partition::io::{Effect, Input, Verdict};
use heddle_core::partition::permits::Offer;
use heddle_core::run::event::Timing;

use super::event::{AgentMessage, CoordinatorMessage, Event, Inventory, SeatId, SessionId};
use super::fault::ShellFault;
use super::graphs::TYPES;
use super::shell::Mail;
use super::world::World;

/// One stream, from Hello on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) agent: usize,
    pub(super) boot: AgentBoot,
    /// Until the inventory is answered.
    greeting: Option<Greeting>,
    /// What the agent holds of ours.
    held: BTreeSet<AttemptKey>,
}

#[derive(Debug)]
struct Greeting {
    awaited: BTreeSet<PartitionId>,
    verdicts: Vec<(AttemptKey, Verdict)>,
    slots: u32,
    prefetch: u32,
    held_back: Vec<CoordinatorMessage>,
}

/// The agent of this place among the model agents.
pub(super) fn agent_id(agent: usize) -> AgentId {
    AgentId(format!("agt_{agent}").into())
}

impl World {
    /// An agent's message has arrived.
    pub(super) fn heard(&mut self, id: SessionId, message: AgentMessage) {
        if let AgentMessage::Hello { boot, inventory, slots, prefetch } = message {
            return self.hello(id, boot, &inventory, slots, prefetch);
        }
        let Some(boot) = self.shell.sessions.get(&id).map(|session| session.boot.clone()) else { return };
        match message {
            AgentMessage::Hello { .. } => {}
            AgentMessage::Inventory { request, inventory } => self.introduce(request, id, &inventory),
            AgentMessage::Permit { class, count } => self.shell.permits.grant(&boot, class, count),
            AgentMessage::Finished { key, outcome } => {
                self.left(id, &key);
                if self.is_planted(ShellFault::ResultAcknowledgedEarly) {
                    self.tell(id, CoordinatorMessage::Acknowledge(key));
                }
                let timing = Timing::default();
                self.report(key, Input::Finished { from: boot, key, outcome, timing });
            }
            AgentMessage::Intent { key } => self.report(key, Input::Intent { from: boot, key }),
            AgentMessage::Handle { key, handle } => self.report(key, Input::Handle { from: boot, key, handle }),
            AgentMessage::HandedBack { key } => {
                self.left(id, &key);
                self.report(key, Input::HandedBack { from: boot, key });
            }
            AgentMessage::Goodbye => self.session_ends(id, true),
        }
        self.deal();
    }

    fn report(&mut self, key: AttemptKey, input: Input) {
        let partition = self.partition_of(key.run);
        let seat = self.shell.seats.get(&partition).filter(|seat| seat.partition.is_some()).map(|seat| seat.id);
        if let Some(seat) = seat {
            self.deliver(seat, Mail::new(input));
        }
    }

    /// The agent no longer has an attempt.
    fn left(&mut self, id: SessionId, key: &AttemptKey) {
        if let Some(session) = self.shell.sessions.get_mut(&id)
            && session.held.remove(key)
        {
            self.shell.permits.finished(&session.boot, 1);
        }
    }

    fn hello(&mut self, id: SessionId, boot: AgentBoot, inventory: &Inventory, slots: u32, prefetch: u32) {
        if !self.shell.is_up {
            return;
        }
        let Some(agent) = self.links.get(&id).filter(|link| link.is_up).map(|link| link.agent) else { return };
        if let Some(old) = self.shell.current.insert(agent, id)
            && let Some(session) = self.shell.sessions.remove(&old)
        {
            self.shell.permits.leave(&session.boot);
            self.cut(old);
        }
        let seats = self.shell.at_work();
        let awaited: BTreeSet<PartitionId> = seats.iter().map(|seat| seat.partition).collect();
        let held = inventory.running.iter().chain(&inventory.finished).copied().collect();
        let greeting = Greeting { awaited, verdicts: Vec::new(), slots, prefetch, held_back: Vec::new() };
        self.shell.sessions.insert(id, Session { agent, boot, greeting: Some(greeting), held });
        seats.into_iter().for_each(|seat| self.introduce(seat, id, inventory));
        self.welcome_if_answered(id);
    }

    /// Gives a partition the part of an inventory that concerns it.
    fn introduce(&mut self, seat: SeatId, id: SessionId, inventory: &Inventory) {
        let Some(session) = self.shell.sessions.get(&id) else { return };
        let (agent, boot) = (session.agent, session.boot.clone());
        let part = |keys: &[AttemptKey]| -> Vec<AttemptKey> {
            keys.iter().filter(|key| self.partition_of(key.run) == seat.partition).copied().collect()
        };
        let input =
            Input::AgentHello { agent: boot, running: part(&inventory.running), finished: part(&inventory.finished) };
        self.deliver(seat, Mail { input, caller: None, session: Some((agent, id)) });
    }

    /// A partition's word on what an agent holds.
    pub(super) fn verdicts(&mut self, seat: SeatId, to: &AgentBoot, verdicts: Vec<(AttemptKey, Verdict)>) {
        let Some(id) = self.introduced(seat, to) else { return };
        for (key, verdict) in &verdicts {
            if *verdict != Verdict::Keep {
                match self.shell.sessions.get_mut(&id).filter(|session| session.greeting.is_some()) {
                    Some(session) => drop(session.held.remove(key)),
                    None => self.left(id, key),
                }
            }
        }
        let Some(session) = self.shell.sessions.get_mut(&id) else { return };
        match &mut session.greeting {
            Some(greeting) => {
                greeting.verdicts.extend(verdicts);
                greeting.awaited.remove(&seat.partition);
                self.welcome_if_answered(id);
            }
            None => self.tell(id, CoordinatorMessage::Verdicts(verdicts)),
        }
    }

    fn welcome_if_answered(&mut self, id: SessionId) {
        let Some(session) = self.shell.sessions.get_mut(&id) else { return };
        if session.greeting.as_ref().is_none_or(|greeting| !greeting.awaited.is_empty()) {
            return;
        }
        let Some(Greeting { verdicts, slots, prefetch, held_back, .. }) = session.greeting.take() else { return };
        let boot = session.boot.clone();
        let held = session.held.len() as u32;
        let types = TYPES.into_iter().map(Into::into).collect();
        let offer = Offer { boot: boot.boot, types, labels: BTreeMap::new(), held, slots, prefetch };
        self.shell.permits.join(boot.agent.clone(), offer);
        let answered: BTreeSet<PartitionId> = self.asked_in_hello.remove(&id).unwrap_or_default();
        self.tell(id, CoordinatorMessage::Welcome(verdicts));
        for message in held_back {
            self.tell(id, message);
        }
        // Partitions that were loaded meanwhile have not been asked.
        for seat in self.shell.at_work().into_iter().filter(|seat| answered.contains(&seat.partition)) {
            self.tell(id, CoordinatorMessage::AskInventory(seat));
        }
        self.deal();
    }

    /// A partition was loaded: it asks all agents what they hold.
    pub(super) fn ask_inventories(&mut self, seat: SeatId) {
        if self.is_planted(ShellFault::InventoryNotAsked) {
            return;
        }
        for id in self.shell.current.values().copied().collect::<Vec<_>>() {
            match self.shell.sessions.get(&id).map(|session| session.greeting.is_some()) {
                Some(true) => drop(self.asked_in_hello.entry(id).or_default().insert(seat.partition)),
                Some(false) => self.tell(id, CoordinatorMessage::AskInventory(seat)),
                None => {}
            }
        }
    }

    /// A partition stopped: nobody waits for its verdicts.
    pub(super) fn partition_left(&mut self, partition: PartitionId) {
        for id in self.shell.sessions.keys().copied().collect::<Vec<_>>() {
            if let Some(greeting) = self.shell.sessions.get_mut(&id).and_then(|session| session.greeting.as_mut()) {
                greeting.awaited.remove(&partition);
                self.welcome_if_answered(id);
            }
        }
    }

    /// Sends what an agent is to be told, through the session that the partition knows it by.
    pub(super) fn effect_to_agent(&mut self, seat: SeatId, effect: Effect) {
        let (to, message) = match effect {
            Effect::Dispatch(dispatch) => (dispatch.to.clone(), CoordinatorMessage::Assign(dispatch)),
            Effect::CancelAttempt { to, key } => (to, CoordinatorMessage::Cancel(key)),
            Effect::Acknowledge { to, key } => (to, CoordinatorMessage::Acknowledge(key)),
            Effect::AnswerIntent { to, key, go } => (to, CoordinatorMessage::IntentAnswer { key, go }),
            Effect::Verdicts { .. } | Effect::Notify { .. } | Effect::CountZombie(_) => return,
        };
        if let Some(id) = self.introduced(seat, &to) {
            self.tell(id, message);
        }
    }

    fn introduced(&self, seat: SeatId, to: &AgentBoot) -> Option<SessionId> {
        let seat = self.shell.seats.get(&seat.partition).filter(|known| known.id == seat)?;
        let mut known = seat.introduced.values().copied();
        known.find(|id| self.shell.sessions.get(id).is_some_and(|session| session.boot == *to))
    }

    /// Sends a message, or keeps it until the agent is welcome.
    fn tell(&mut self, id: SessionId, message: CoordinatorMessage) {
        let Some(session) = self.shell.sessions.get_mut(&id) else { return };
        if let Some(greeting) = &mut session.greeting {
            greeting.held_back.push(message);
            return;
        }
        if let CoordinatorMessage::Assign(dispatch) = &message {
            session.held.insert(dispatch.key);
            self.shell.permits.sent(&dispatch.reservation);
        }
        let at = self.link_delay(id, false);
        self.at(at, Event::ToAgent { session: id, message });
    }

    /// The stream is closed, or has been silent for too long.
    pub(super) fn session_ends(&mut self, id: SessionId, goodbye: bool) {
        let Some(session) = self.shell.sessions.remove(&id) else { return };
        self.cut(id);
        self.asked_in_hello.remove(&id);
        if self.shell.current.get(&session.agent) != Some(&id) {
            return;
        }
        self.shell.current.remove(&session.agent);
        self.shell.permits.leave(&session.boot);
        for seat in self.shell.at_work() {
            let input = Input::AgentGone { agent: session.boot.clone(), goodbye };
            self.deliver(seat, Mail::new(input));
        }
        self.deal();
    }
}
