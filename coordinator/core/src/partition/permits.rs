//! Who may be given work: permits that agents grant, and the queue of those who could not get one (E1, E9, E14).
//!
//! One value per coordinator, shared by its partitions behind a short lock. A partition takes a permit directly as long
//! as nobody queues for it; else it says what it wants for whom, and permits are dealt out as they come in: to the tenant
//! that has got the fewest, then need by need, then partition by partition ([`mod@line`]). Every attempt counts the same.

mod access;
mod line;
mod places;
mod standing;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::access::Access;
use self::line::Lines;
pub use self::places::PlaceHeld;
use self::places::Places;
pub use self::standing::{Misfit, PlaceStanding, Standing};
use crate::concurrency::{ConcurrencyKey, ConcurrencyLimits};
use crate::condition::question::{EVALUATOR_TYPE, EVALUATOR_VERSION};
use crate::fault::{Fault, is_planted};
use crate::id::{AgentBoot, AgentId, BootId, Instance, NodeIx, PartitionId, ProviderIx, SessionNumber, TenantId};
use crate::node_type::Runner;
use crate::run::Run;
use crate::run::event::PermitClass;

/// What an attempt needs of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The node type.
    pub type_id: Arc<str>,
    /// The oldest version of it that will do: the one that the graph was checked against.
    pub version: u32,
    /// Whether it may be sent ahead of a free slot.
    pub prefetch: bool,
    /// Whether the agent must have nothing else to do (E13).
    pub alone: bool,
    /// Labels that the agent must carry.
    pub labels: Vec<(String, String)>,
    /// With what it shares a limit.
    pub key: Option<ConcurrencyKey>,
}

impl Need {
    /// What the next attempt of an instance needs.
    pub fn of(run: &Run, instance: Instance) -> Self {
        let node = run.graph().node(instance.node);
        let provided = node.provided(run.provider_of(instance));
        let alone = run.is_suspect(instance);
        if let Runner::Control(_) = node.runner {
            // An agent looks at values for it (E17). It does nothing that a key counts.
            let (type_id, labels) = (EVALUATOR_TYPE.into(), provided.policy.labels.clone());
            return Self { type_id, version: EVALUATOR_VERSION, prefetch: false, alone, labels, key: None };
        }
        Self {
            type_id: provided.type_id.clone(),
            version: provided.node_type.map_or(0, |node_type| node_type.version),
            prefetch: !alone && provided.node_type.is_some_and(|node_type| node_type.prefetch),
            alone,
            labels: provided.policy.labels.clone(),
            key: node.policy.concurrency_key.as_ref().map(|template| template.of(run.tenant(), run.workflow())),
        }
    }
}

impl Need {
    /// What cancelling a job of a node needs, which the provider of this number has.
    pub(super) fn of_job(run: &Run, node: NodeIx, provider: ProviderIx) -> Self {
        let provided = run.graph().node(node).provided(provider);
        Self {
            type_id: provided.type_id.clone(),
            version: provided.node_type.map_or(0, |node_type| node_type.version),
            prefetch: false,
            alone: false,
            labels: provided.policy.labels.clone(),
            key: None,
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
    /// The place that goes with it, if what it is for has a concurrency key.
    pub place: Option<PlaceHeld>,
}

/// A permit for somebody who waited for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// For whose work.
    pub tenant: TenantId,
    /// For what kind of work.
    pub need: Need,
    /// The permit.
    pub reservation: Reservation,
}

/// What an agent says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The stream it joins on; a later one of the same agent has a higher number.
    pub session: SessionNumber,
    /// Its present start.
    pub boot: BootId,
    /// Types it can run with their versions, sorted.
    pub types: Vec<(Arc<str>, u32)>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Attempts it holds already, of this coordinator.
    pub held: u32,
    /// Free slots it grants.
    pub slots: u32,
    /// Places in its queue it grants.
    pub prefetch: u32,
}

/// In how many shares an agent is counted: enough to tell the largest agents apart.
const SHARES: u64 = 1_000_000;

/// Permits of all agents, and who waits for one.
#[derive(Debug, Default)]
pub struct Permits {
    agents: BTreeMap<AgentId, Pool>,
    lines: Lines,
    places: Places,
    /// Types that get no permits.
    paused: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Pool {
    offer: Offer,
    /// Permits taken, and attempts held: what the agent has of ours.
    out: u32,
    /// What it had granted and held when it joined.
    size: u32,
    /// What it was given so far for its size: who joins begins where the least burdened stands.
    burden: u64,
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

impl Permits {
    /// No permits yet. Concurrency keys are counted when these partitions have all been loaded once.
    pub fn new(limits: ConcurrencyLimits, partitions: impl IntoIterator<Item = PartitionId>) -> Self {
        Self { places: Places::new(limits, partitions), ..Self::default() }
    }

    /// A new load of a partition begins.
    pub(super) fn begin(&mut self, partition: PartitionId) {
        self.places.begin(partition);
    }

    /// A partition is read, and these are the keys of its attempts, each as often as it occurs.
    pub(super) fn read<'a>(&mut self, partition: PartitionId, keys: impl Iterator<Item = &'a ConcurrencyKey>) {
        self.places.read(partition, keys);
    }

    /// An attempt of a partition is out that was not known before.
    pub(super) fn hold(&mut self, partition: PartitionId, key: &ConcurrencyKey) {
        self.places.hold(partition, key, 1);
    }

    /// An attempt was decided with this reservation.
    pub(super) fn used(&mut self, place: &PlaceHeld) {
        self.places.used(place);
    }

    /// The end of an attempt with this key is durable.
    pub(super) fn free_place(&mut self, partition: PartitionId, key: &ConcurrencyKey) {
        self.places.free(partition, key);
    }

    /// Whether the place of a reservation, if it has one, is still its own.
    pub(super) fn has_place(&self, reservation: &Reservation) -> bool {
        reservation.place.as_ref().is_none_or(|place| self.places.is_valid(place))
    }

    /// Whether something could be at work now but for its agents: it has no concurrency key, or a place is free.
    pub fn has_room(&self, need: &Need) -> bool {
        self.places.have_room(need)
    }

    /// An agent has joined, or joined again: what it grants now is all there is.
    pub fn join(&mut self, agent: AgentId, offer: Offer) {
        let (out, size) = (offer.held, (offer.slots + offer.held).max(1));
        let burden = self.agents.values().map(|pool| pool.burden).min().unwrap_or_default();
        self.agents.insert(agent, Pool { offer, out, size, burden, closed: false, alone: Alone::No });
    }

    /// An agent's stream has ended, or it says hello on a new one: what it granted on that one or before is void. The end
    /// of an earlier stream takes nothing from a later one.
    pub fn leave(&mut self, agent: &AgentId, session: SessionNumber) {
        if self.agents.get(agent).is_some_and(|pool| pool.offer.session <= session) {
            self.agents.remove(agent);
        }
    }

    /// An agent takes nothing new.
    pub fn close(&mut self, agent: &AgentBoot) {
        self.of(agent).into_iter().for_each(|pool| pool.closed = true);
    }

    /// An agent takes new work again.
    pub fn open(&mut self, agent: &AgentBoot) {
        self.of(agent).into_iter().for_each(|pool| pool.closed = false);
    }

    /// No permits for nodes of a type from here on, whoever offers it.
    pub fn pause(&mut self, node_type: Arc<str>) {
        self.paused.insert(node_type);
    }

    /// Permits for nodes of a type again; the caller deals.
    pub fn unpause(&mut self, node_type: &str) {
        self.paused.remove(node_type);
    }

    /// Whether nodes of this type get no permits, whoever offers it.
    pub fn is_paused(&self, need: &Need) -> bool {
        self.paused.contains(&need.type_id) && !is_planted(Fault::PausedTypeBegins)
    }

    /// An agent grants permits again, after `finished` attempts have left it. What it said on an earlier stream is void.
    pub fn grant(&mut self, agent: &AgentBoot, session: SessionNumber, class: PermitClass, count: u32) {
        if let Some(pool) = self.of(agent).filter(|pool| pool.offer.session == session) {
            match class {
                PermitClass::Slot => pool.offer.slots += count,
                PermitClass::Prefetch => pool.offer.prefetch += count,
            }
        }
    }

    /// Takes back the places in an agent's queue that nobody has taken: what it runs has turned out to be long, and it grants
    /// new ones by what it runs then. Says how many there were; the agent is to be told.
    pub fn withdraw_prefetch(&mut self, agent: &AgentBoot, session: SessionNumber) -> u32 {
        let pool = self.of(agent).filter(|pool| pool.offer.session == session);
        pool.map_or(0, |pool| std::mem::take(&mut pool.offer.prefetch))
    }

    /// Attempts have left an agent, as it said on this stream.
    pub fn finished(&mut self, agent: &AgentBoot, session: SessionNumber, count: u32) {
        if let Some(pool) = self.of(agent).filter(|pool| pool.offer.session == session) {
            pool.out = pool.out.saturating_sub(count);
            if pool.out == 0 {
                pool.alone = Alone::No;
            }
        }
    }

    /// A reservation was not used.
    pub fn give_back(&mut self, reservation: &Reservation) {
        reservation.place.iter().for_each(|place| self.places.returned(place));
        self.finished(&reservation.agent, reservation.session, 1);
        self.grant(&reservation.agent, reservation.session, reservation.class, 1);
    }

    /// What an agent grants and nobody has taken: slots and places in its queue.
    pub fn free(&self, agent: &AgentId) -> (u32, u32) {
        self.agents.get(agent).map_or((0, 0), |pool| (pool.offer.slots, pool.offer.prefetch))
    }

    /// Takes a permit, unless others queue for one that the same agent could give. The agent in `near` is taken before
    /// others if it has a free slot.
    pub fn reserve(&mut self, partition: PartitionId, need: &Need, near: Option<&AgentId>) -> Option<Reservation> {
        // Whoever waits for a place of this key goes first, at whatever agent.
        let is_waited_for = |key: &ConcurrencyKey| {
            self.lines.keys(|need| !self.is_paused(need)).any(|waited_for| self.places.are_same(waited_for, key))
        };
        if self.is_paused(need) || !self.places.have_room(need) || need.key.as_ref().is_some_and(is_waited_for) {
            return None;
        }
        let has_slot = |agent: &&AgentId| {
            self.agents
                .get(*agent)
                .is_some_and(|pool| pool.can_run(need) && pool.has_free(need) && pool.offer.slots > 0)
        };
        let agent = near.filter(has_slot).cloned().or_else(|| self.best(need))?;
        let pool = self.agents.get(&agent)?;
        // Suspects hold back the agent that they wait for, and no other.
        let may_have = |queued: &Need| !queued.alone && !self.is_paused(queued) && self.places.have_room(queued);
        let can_have = |queued: &Need| may_have(queued) && pool.can_run(queued);
        if self.lines.needs().any(can_have) {
            return None;
        }
        self.take(partition, &agent, need)
    }

    /// Sets how many permits a partition waits for, for the work of one tenant.
    pub fn want(&mut self, partition: PartitionId, tenant: &TenantId, need: &Need, count: u32) {
        self.lines.want(partition, tenant, need, count);
    }

    /// A partition has stopped: it waits for nothing any more.
    pub fn forget(&mut self, partition: PartitionId) {
        self.lines.forget(partition);
    }

    /// Deals free permits out to those who wait, in turn. The caller delivers them.
    pub fn deal(&mut self) -> Vec<(PartitionId, Grant)> {
        let mut dealt = Vec::new();
        if self.lines.is_empty() && self.agents.values().all(|pool| pool.alone != Alone::Awaited) {
            return dealt;
        }
        let Self { lines, places, agents, paused } = self;
        let is_on = |need: &Need| !paused.contains(&need.type_id);
        let is_offered = |need: &Need| is_on(need) && agents.values().any(|pool| !pool.closed && pool.can_run(need));
        places.drop_claims(|need| !lines.has(need) || !is_offered(need));
        let (suspects, mut others): (Vec<Need>, Vec<Need>) =
            lines.needs().filter(|need| is_on(need) && places.have_room(need)).cloned().partition(|need| need.alone);
        if suspects.is_empty() {
            let awaited = self.agents.values_mut().filter(|pool| pool.alone == Alone::Awaited);
            awaited.for_each(|pool| pool.alone = Alone::No);
        }
        for need in &suspects {
            while self.lines.has(need) {
                if !self.deal_one(need, &mut dealt) {
                    if self.places.have_room(need) {
                        self.await_idle(need);
                    }
                    break;
                }
            }
        }
        while let Some(place) = self.lines.least_served(&others) {
            if !self.deal_one(&others[place], &mut dealt) || !self.lines.has(&others[place]) {
                others.swap_remove(place);
            }
        }
        dealt
    }

    /// Whether there was a permit for who is next in this line.
    fn deal_one(&mut self, need: &Need, dealt: &mut Vec<(PartitionId, Grant)>) -> bool {
        if !self.places.have_room(need) {
            return false;
        }
        let Some(agent) = self.best(need) else {
            if self.is_offered(need) {
                self.places.claim(need);
            }
            return false;
        };
        let Some((partition, tenant)) = self.lines.next(need) else { return false };
        let Some(reservation) = self.take(partition, &agent, need) else { return false };
        dealt.push((partition, Grant { tenant, need: need.clone(), reservation }));
        true
    }

    /// Keeps the least busy agent free for a suspect; suspects run one at a time, so one agent is enough.
    fn await_idle(&mut self, need: &Need) {
        if self.agents.values().any(|pool| pool.alone != Alone::No) {
            return;
        }
        let fit = self.agents.values_mut().filter(|pool| !pool.closed && pool.can_run(need));
        fit.min_by_key(|pool| pool.out).into_iter().for_each(|pool| pool.alone = Alone::Awaited);
    }

    /// Whether any agent that is here and takes work could ever run this.
    pub fn is_offered(&self, need: &Need) -> bool {
        self.agents.values().any(|pool| !pool.closed && pool.can_run(need))
    }

    /// The agents that could run this, whether they are free or not; those that take new work first.
    pub(super) fn that_can_run(&self, need: &Need) -> Vec<(AgentBoot, SessionNumber)> {
        let mut fit: Vec<(&AgentId, &Pool)> = self.agents.iter().filter(|(_, pool)| pool.can_run(need)).collect();
        fit.sort_by_key(|(_, pool)| pool.closed);
        let of = |(agent, pool): (&AgentId, &Pool)| {
            (AgentBoot { agent: agent.clone(), boot: pool.offer.boot }, pool.offer.session)
        };
        fit.into_iter().map(of).collect()
    }

    /// How many attempts an agent has of ours.
    pub fn busy(&self, agent: &AgentId) -> u32 {
        self.agents.get(agent).map_or(0, |pool| pool.out)
    }

    fn of(&mut self, agent: &AgentBoot) -> Option<&mut Pool> {
        self.agents.get_mut(&agent.agent).filter(|pool| pool.offer.boot == agent.boot)
    }

    /// The agent with the largest part of its slots free, then with the largest part of its queue, then the one that was
    /// given the least for its size: so agents get work in proportion to their slots.
    fn best(&self, need: &Need) -> Option<AgentId> {
        let free = self.agents.iter().filter(|(_, pool)| pool.can_run(need) && pool.has_free(need));
        let part = |count: u32, pool: &Pool| u64::from(count) * SHARES / u64::from(pool.size);
        let worth = |pool: &Pool| (part(pool.offer.slots, pool), part(pool.offer.prefetch, pool), Reverse(pool.burden));
        free.max_by_key(|(_, pool)| worth(pool)).map(|(agent, _)| agent.clone())
    }

    fn take(&mut self, partition: PartitionId, agent: &AgentId, need: &Need) -> Option<Reservation> {
        let pool = self.agents.get_mut(agent)?;
        let class = if pool.offer.slots > 0 {
            pool.offer.slots -= 1;
            PermitClass::Slot
        } else {
            pool.offer.prefetch = pool.offer.prefetch.checked_sub(1)?;
            PermitClass::Prefetch
        };
        pool.out += 1;
        pool.burden += SHARES / u64::from(pool.size);
        if need.alone {
            pool.alone = Alone::Held;
        }
        let session = pool.offer.session;
        let agent = AgentBoot { agent: agent.clone(), boot: pool.offer.boot };
        let place = self.places.take(partition, need);
        Some(Reservation { agent, class, session, place })
    }
}

impl Pool {
    fn can_run(&self, need: &Need) -> bool {
        let known = self.offer.types.binary_search_by(|(id, _)| id.cmp(&need.type_id));
        known.is_ok_and(|at| self.offer.types[at].1 >= need.version)
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
