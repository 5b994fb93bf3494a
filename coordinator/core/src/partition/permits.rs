//! Who may be given work: permits that agents grant, and the queue of those who could not get one (E1, E9, E14).
//!
//! One value per coordinator, shared by its partitions behind a short lock. A partition takes a permit directly as long
//! as nobody queues for it; else it says what it wants, and permits are dealt out round-robin as they come in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::graph::Node;
use crate::id::{AgentBoot, AgentId, BootId, PartitionId, SessionNumber};
use crate::run::event::PermitClass;

/// What an attempt needs of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The node type.
    pub type_id: Arc<str>,
    /// Whether it may be sent ahead of a free slot.
    pub prefetch: bool,
    /// Whether the agent must have nothing else to do (E13).
    pub alone: bool,
    /// Labels that the agent must carry.
    pub labels: Vec<(String, String)>,
}

impl Need {
    /// What an attempt of this node needs.
    pub fn of(node: &Node, alone: bool) -> Self {
        Self {
            type_id: node.type_id.clone(),
            prefetch: !alone && node.node_type.as_ref().is_some_and(|node_type| node_type.prefetch),
            alone,
            labels: node.policy.labels.clone(),
        }
    }
}

/// A permit that was taken and not used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose.
    pub agent: AgentBoot,
    /// Of which class.
    pub class: PermitClass,
    /// In which of the agent's sessions it was taken: permits of earlier ones are void.
    pub session: SessionNumber,
}

/// What an agent says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The stream it joins on; a later one of the same agent has a higher number.
    pub session: SessionNumber,
    /// Its present start.
    pub boot: BootId,
    /// Types it can run, sorted.
    pub types: Vec<Arc<str>>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Attempts it holds already, of this coordinator.
    pub held: u32,
    /// Free slots it grants.
    pub slots: u32,
    /// Places in its queue it grants.
    pub prefetch: u32,
}

/// Permits of all agents, and who waits for one.
#[derive(Debug, Default)]
pub struct Permits {
    agents: BTreeMap<AgentId, Pool>,
    queues: BTreeMap<Need, Queue>,
}

#[derive(Debug)]
struct Pool {
    offer: Offer,
    /// Permits taken, and attempts held: what the agent has of ours.
    out: u32,
    /// It drains: nothing new.
    closed: bool,
    /// A suspect has it, or waits for it to fall idle.
    alone: Alone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    No,
    /// It gets nothing new, so that it falls idle for a suspect.
    Awaited,
    Held,
}

/// Who waits for one kind of permit, in turn.
#[derive(Debug, Default)]
struct Queue {
    turns: VecDeque<PartitionId>,
    wanted: BTreeMap<PartitionId, u32>,
}

impl Permits {
    /// An agent has joined, or joined again: what it grants now is all there is.
    pub fn join(&mut self, agent: AgentId, offer: Offer) {
        let out = offer.held;
        self.agents.insert(agent, Pool { offer, out, closed: false, alone: Alone::No });
    }

    /// An agent is gone, or says hello again: its permits are void until it joins again.
    pub fn leave(&mut self, agent: &AgentId) {
        self.agents.remove(agent);
    }

    /// An agent takes nothing new.
    pub fn close(&mut self, agent: &AgentBoot) {
        self.of(agent).into_iter().for_each(|pool| pool.closed = true);
    }

    /// An agent takes new work again.
    pub fn open(&mut self, agent: &AgentBoot) {
        self.of(agent).into_iter().for_each(|pool| pool.closed = false);
    }

    /// An agent grants permits again, after `finished` attempts have left it.
    pub fn grant(&mut self, agent: &AgentBoot, class: PermitClass, count: u32) {
        if let Some(pool) = self.of(agent) {
            match class {
                PermitClass::Slot => pool.offer.slots += count,
                PermitClass::Prefetch => pool.offer.prefetch += count,
            }
        }
    }

    /// Attempts have left an agent.
    pub fn finished(&mut self, agent: &AgentBoot, count: u32) {
        if let Some(pool) = self.of(agent) {
            pool.out = pool.out.saturating_sub(count);
            if pool.out == 0 {
                pool.alone = Alone::No;
            }
        }
    }

    /// A reservation was not used.
    pub fn give_back(&mut self, reservation: &Reservation) {
        if self.of(&reservation.agent).is_some_and(|pool| pool.offer.session == reservation.session) {
            self.finished(&reservation.agent, 1);
            self.grant(&reservation.agent, reservation.class, 1);
        }
    }

    /// What an agent grants and nobody has taken: slots and places in its queue.
    pub fn free(&self, agent: &AgentId) -> (u32, u32) {
        self.agents.get(agent).map_or((0, 0), |pool| (pool.offer.slots, pool.offer.prefetch))
    }

    /// Takes a permit, unless others queue for one that the same agent could give.
    pub fn reserve(&mut self, need: &Need) -> Option<Reservation> {
        let agent = self.best(need)?;
        let pool = self.agents.get(&agent)?;
        // Suspects hold back the agent that they wait for, and no other.
        if self.queues.iter().any(|(queued, queue)| !queued.alone && !queue.turns.is_empty() && pool.can_run(queued)) {
            return None;
        }
        self.take(&agent, need)
    }

    /// Sets how many permits a partition waits for.
    pub fn want(&mut self, partition: PartitionId, need: &Need, count: u32) {
        if count == 0 {
            if let Some(queue) = self.queues.get_mut(need) {
                queue.wanted.remove(&partition);
                queue.turns.retain(|other| *other != partition);
            }
            return;
        }
        if !self.queues.contains_key(need) {
            self.queues.insert(need.clone(), Queue::default());
        }
        let Some(queue) = self.queues.get_mut(need) else { return };
        if queue.wanted.insert(partition, count).is_none() {
            queue.turns.push_back(partition);
        }
    }

    /// A partition has stopped: it waits for nothing any more.
    pub fn forget(&mut self, partition: PartitionId) {
        for queue in self.queues.values_mut() {
            queue.wanted.remove(&partition);
            queue.turns.retain(|other| *other != partition);
        }
    }

    /// Deals free permits out to those who wait, one each in turn. The caller delivers them.
    pub fn deal(&mut self) -> Vec<(PartitionId, Need, Reservation)> {
        let mut dealt = Vec::new();
        self.queues.retain(|_, queue| !queue.turns.is_empty());
        if self.queues.is_empty() && self.agents.values().all(|pool| pool.alone != Alone::Awaited) {
            return dealt;
        }
        let (suspects, others): (Vec<Need>, Vec<Need>) = self.queues.keys().cloned().partition(|need| need.alone);
        if suspects.is_empty() {
            let awaited = self.agents.values_mut().filter(|pool| pool.alone == Alone::Awaited);
            awaited.for_each(|pool| pool.alone = Alone::No);
        }
        for need in suspects.into_iter().chain(others) {
            self.deal_need(&need, &mut dealt);
        }
        dealt
    }

    fn deal_need(&mut self, need: &Need, dealt: &mut Vec<(PartitionId, Need, Reservation)>) {
        while let Some(queue) = self.queues.get(need).filter(|queue| !queue.turns.is_empty()) {
            debug_assert!(!queue.wanted.is_empty(), "who has a turn wants something");
            let Some(agent) = self.best(need) else {
                if need.alone {
                    self.await_idle(need);
                }
                return;
            };
            let Some(partition) = self.queues.get_mut(need).and_then(Queue::next) else { return };
            let Some(reservation) = self.take(&agent, need) else { return };
            dealt.push((partition, need.clone(), reservation));
        }
    }

    /// Keeps the least busy agent free for a suspect; suspects run one at a time, so one agent is enough.
    fn await_idle(&mut self, need: &Need) {
        if self.agents.values().any(|pool| pool.alone != Alone::No) {
            return;
        }
        let fit = self.agents.values_mut().filter(|pool| !pool.closed && pool.can_run(need));
        fit.min_by_key(|pool| pool.out).into_iter().for_each(|pool| pool.alone = Alone::Awaited);
    }

    /// Whether any agent that is here could ever run this.
    pub fn is_offered(&self, need: &Need) -> bool {
        self.agents.values().any(|pool| pool.can_run(need))
    }

    /// How many attempts an agent has of ours.
    pub fn busy(&self, agent: &AgentId) -> u32 {
        self.agents.get(agent).map_or(0, |pool| pool.out)
    }

    fn of(&mut self, agent: &AgentBoot) -> Option<&mut Pool> {
        self.agents.get_mut(&agent.agent).filter(|pool| pool.offer.boot == agent.boot)
    }

    /// The agent with the most free slots, then the most places in its queue.
    fn best(&self, need: &Need) -> Option<AgentId> {
        let free = self.agents.iter().filter(|(_, pool)| pool.can_run(need) && pool.has_free(need));
        free.max_by_key(|(_, pool)| (pool.offer.slots, pool.offer.prefetch)).map(|(agent, _)| agent.clone())
    }

    fn take(&mut self, agent: &AgentId, need: &Need) -> Option<Reservation> {
        let pool = self.agents.get_mut(agent)?;
        let class = if pool.offer.slots > 0 {
            pool.offer.slots -= 1;
            PermitClass::Slot
        } else {
            pool.offer.prefetch = pool.offer.prefetch.checked_sub(1)?;
            PermitClass::Prefetch
        };
        pool.out += 1;
        if need.alone {
            pool.alone = Alone::Held;
        }
        let session = pool.offer.session;
        Some(Reservation { agent: AgentBoot { agent: agent.clone(), boot: pool.offer.boot }, class, session })
    }
}

impl Pool {
    fn can_run(&self, need: &Need) -> bool {
        self.offer.types.binary_search(&need.type_id).is_ok()
            && need.labels.iter().all(|(name, value)| self.offer.labels.get(name) == Some(value))
    }

    fn has_free(&self, need: &Need) -> bool {
        match need.alone {
            _ if self.closed => false,
            true => self.alone != Alone::Held && self.out == 0 && self.offer.slots > 0,
            false => self.alone == Alone::No && (self.offer.slots > 0 || (need.prefetch && self.offer.prefetch > 0)),
        }
    }
}

impl Queue {
    /// Whose turn it is; counts one permit off.
    fn next(&mut self) -> Option<PartitionId> {
        let partition = self.turns.pop_front()?;
        let left = self.wanted.get_mut(&partition).map_or(0, |wanted| {
            *wanted = wanted.saturating_sub(1);
            *wanted
        });
        if left == 0 {
            self.wanted.remove(&partition);
        } else {
            self.turns.push_back(partition);
        }
        Some(partition)
    }
}
