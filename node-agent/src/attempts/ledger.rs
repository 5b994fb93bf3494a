//! What the agent has accepted and still owes: a plain value.
//!
//! For each class, `capacity = held + granted + free`: an attempt holds one place from its arrival to its end, and a permit
//! that was granted stands for a place the coordinator may fill. So no more than the capacity is ever inside; when it
//! shrinks, places that were given out already are not given out again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use bytes::Bytes;
use heddle_proto::agent as wire;
use wire::AttemptKey;

use super::permits::{Class, Permits};
use super::prefetch::Prefetch;
use super::waiting::Waiting;
use crate::limits::{OUTGOING_PER_ATTEMPT, OUTGOING_SPARE, RESULTS_KEPT_BYTES_MAX, RESULTS_KEPT_MAX};

/// `W` is work that waits; `R` reaches work that runs.
pub(crate) struct Ledger<W, R> {
    slots: usize,
    prefetch: Prefetch,
    held: Permits,
    granted: Permits,
    open: HashMap<AttemptKey, Open<W, R>>,
    running: usize,
    waiting: Waiting,
    kept: HashMap<AttemptKey, Kept>,
    kept_bytes: usize,
    finished: u64,
    is_draining: bool,
}

struct Open<W, R> {
    class: Class,
    state: State<W, R>,
}

enum State<W, R> {
    Waiting(W),
    /// Given out to be started; [`Ledger::started`] follows.
    Starting,
    Running(Running<R>),
}

struct Running<R> {
    reach: R,
    awaits_intent: bool,
    handle: Option<Bytes>,
}

struct Kept {
    order: u64,
    result: wire::Finished,
    bytes: usize,
}

/// What becomes of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission<W> {
    /// There is a free slot: start it.
    Start(W),
    /// It waits for a slot.
    Queued,
    /// The agent drains, or no permit stood for it: give it back.
    Refused,
    /// The agent holds this attempt already.
    Known,
}

/// What a cancel or a verdict does to an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop<W, R> {
    /// It had not started.
    Withdrawn(W),
    /// It runs: reach it.
    Reach(R),
    /// It is not here any more.
    Unknown,
}

/// The changing part of Hello.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) inventory: wire::Inventory,
    pub(crate) permits: Permits,
    /// Room that this session's queue needs.
    pub(crate) queue_capacity: usize,
}

/// What a new session has to be told beside the results.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Restated {
    pub(crate) intents: Vec<AttemptKey>,
    pub(crate) handles: Vec<(AttemptKey, Bytes)>,
}

impl<W, R: Clone> Ledger<W, R> {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            slots: slots as usize,
            prefetch: Prefetch::new(slots),
            held: Permits::NONE,
            granted: Permits::NONE,
            open: HashMap::new(),
            running: 0,
            waiting: Waiting::default(),
            kept: HashMap::new(),
            kept_bytes: 0,
            finished: 0,
            is_draining: false,
        }
    }

    /// Takes a tenant's assignment in, if a permit stands for it.
    pub(crate) fn accept(&mut self, key: &AttemptKey, class: Class, tenant: &str, work: W) -> Admission<W> {
        let permit = Permits::of(class, 1);
        let is_permitted = self.granted - permit != self.granted;
        self.granted = self.granted - permit;
        if self.is_draining || !is_permitted {
            return Admission::Refused;
        }
        let Entry::Vacant(place) = self.open.entry(key.clone()) else { return Admission::Known };
        if self.kept.contains_key(key) {
            return Admission::Known;
        }
        self.held += permit;
        if self.running < self.slots {
            self.running += 1;
            place.insert(Open { class, state: State::Starting });
            Admission::Start(work)
        } else {
            place.insert(Open { class, state: State::Waiting(work) });
            self.waiting.push(tenant, key.clone());
            Admission::Queued
        }
    }

    /// Notes how to reach work that was given out to be started.
    pub(crate) fn started(&mut self, key: &AttemptKey, reach: R) {
        if let Some(Open { state: state @ State::Starting, .. }) = self.open.get_mut(key) {
            *state = State::Running(Running { reach, awaits_intent: false, handle: None });
        }
    }

    /// The work whose turn it is, if a slot is free for it.
    pub(crate) fn next(&mut self) -> Option<W> {
        if self.running >= self.slots {
            return None;
        }
        let key = self.waiting.pop()?;
        let open = self.open.get_mut(&key)?;
        match std::mem::replace(&mut open.state, State::Starting) {
            State::Waiting(work) => {
                self.running += 1;
                Some(work)
            }
            other => {
                open.state = other;
                None
            }
        }
    }

    /// Notes how long an attempt has run: it tells how many may wait.
    pub(crate) fn ran(&mut self, ran: Duration) {
        self.prefetch.ran(ran);
    }

    /// Notes the end of an attempt and keeps its result until it is acknowledged. False if the attempt is not open: it was
    /// stopped by a verdict, and nothing is sent.
    pub(crate) fn finish(&mut self, key: &AttemptKey, result: &wire::Finished, bytes: usize) -> bool {
        if self.close(key).is_none() {
            return false;
        }
        self.finished += 1;
        self.kept_bytes += bytes;
        self.kept.insert(key.clone(), Kept { order: self.finished, result: result.clone(), bytes });
        true
    }

    /// Finds what a cancel names. Work that waits is withdrawn from the queue; its end is still to be noted.
    pub(crate) fn cancel(&mut self, key: &AttemptKey) -> Stop<W, R> {
        let Some(open) = self.open.get_mut(key) else { return Stop::Unknown };
        match std::mem::replace(&mut open.state, State::Starting) {
            State::Waiting(work) => {
                self.waiting.remove(key);
                self.running += 1;
                Stop::Withdrawn(work)
            }
            State::Running(running) => {
                let reach = running.reach.clone();
                open.state = State::Running(running);
                Stop::Reach(reach)
            }
            State::Starting => Stop::Unknown,
        }
    }

    /// Forgets an attempt that the coordinator has given away: nothing about it is sent any more.
    pub(crate) fn disown(&mut self, key: &AttemptKey) -> Stop<W, R> {
        self.acknowledge(key);
        let stop = self.cancel(key);
        self.close(key);
        stop
    }

    /// Forgets a result that is durable.
    pub(crate) fn acknowledge(&mut self, key: &AttemptKey) {
        if let Some(kept) = self.kept.remove(key) {
            self.kept_bytes -= kept.bytes;
        }
    }

    /// Notes that running work waits for its intent to become durable, or no longer does. Gives the way to reach it.
    pub(crate) fn set_awaits_intent(&mut self, key: &AttemptKey, awaits_intent: bool) -> Option<R> {
        let running = self.running_mut(key)?;
        running.awaits_intent = awaits_intent;
        Some(running.reach.clone())
    }

    /// Notes the handle of a running attempt's job. False if the attempt is not running.
    pub(crate) fn set_handle(&mut self, key: &AttemptKey, handle: Bytes) -> bool {
        self.running_mut(key).map(|running| running.handle = Some(handle)).is_some()
    }

    /// Permits to grant now: all that are free, unless the agent drains or keeps too many results.
    pub(crate) fn grant(&mut self) -> Permits {
        if self.is_draining || self.kept_bytes >= RESULTS_KEPT_BYTES_MAX || self.kept.len() >= RESULTS_KEPT_MAX {
            return Permits::NONE;
        }
        let capacity = Permits { slot: self.slots as u32, prefetch: self.prefetch.places() };
        let free = capacity - self.held - self.granted;
        self.granted += free;
        free
    }

    /// Takes unused permits back. They are free again, and granted with the next ones.
    pub(crate) fn give_back(&mut self, class: Class, count: u32) {
        self.granted = self.granted - Permits::of(class, count);
    }

    /// What a new session begins with. Permits of the last one are void.
    pub(crate) fn greet(&mut self) -> Greeting {
        self.granted = Permits::NONE;
        let permits = self.grant();
        // Whatever ends between here and Welcome is among what is open now.
        let attempts = self.slots + self.prefetch.places_max() as usize + self.open.len();
        let queue_capacity = self.kept.len() + OUTGOING_PER_ATTEMPT * attempts + OUTGOING_SPARE;
        Greeting { inventory: self.inventory(0), permits, queue_capacity }
    }

    /// Everything the agent still owes.
    pub(crate) fn inventory(&self, request: u64) -> wire::Inventory {
        let running = self.open.keys().cloned().collect();
        let finished = self.kept.keys().cloned().collect();
        wire::Inventory { running, finished, request }
    }

    /// Kept results and what they weigh, in the order in which they arose.
    pub(crate) fn results(&self) -> Vec<(wire::Finished, usize)> {
        let mut kept: Vec<&Kept> = self.kept.values().collect();
        kept.sort_by_key(|kept| kept.order);
        kept.into_iter().map(|kept| (kept.result.clone(), kept.bytes)).collect()
    }

    /// What running work has told the last session and the new one may not know.
    pub(crate) fn restate(&self) -> Restated {
        let mut restated = Restated::default();
        for (key, open) in &self.open {
            let State::Running(running) = &open.state else { continue };
            if running.awaits_intent {
                restated.intents.push(key.clone());
            }
            restated.handles.extend(running.handle.clone().map(|handle| (key.clone(), handle)));
        }
        restated
    }

    /// Takes nothing in from now on, and forgets what has not started: its keys are to be handed back.
    pub(crate) fn drain(&mut self) -> Vec<AttemptKey> {
        self.is_draining = true;
        self.withdraw()
    }

    /// Forgets what has not started: its keys are to be handed back.
    pub(crate) fn withdraw(&mut self) -> Vec<AttemptKey> {
        let unstarted = self.waiting.take_all();
        for key in &unstarted {
            if let Some(open) = self.open.remove(key) {
                self.held = self.held - Permits::of(open.class, 1);
            }
        }
        unstarted
    }

    /// The number of what was queued last, if anything waits: whoever asks [`Self::overdue`] later tells by it what came since.
    pub(crate) fn last_queued(&self) -> Option<u64> {
        self.waiting.last_number()
    }

    /// If something waits still that was queued up to this number, work is longer than it was when places were granted for it:
    /// all that waits is forgotten, and its keys are to be handed back.
    pub(crate) fn overdue(&mut self, queued: u64) -> Vec<AttemptKey> {
        if self.waiting.first_number().is_none_or(|number| number > queued) {
            return Vec::new();
        }
        self.prefetch.turned_long();
        let unstarted = self.withdraw();
        self.seat();
        unstarted
    }

    /// How much is owed: attempts that are open, and results that are not acknowledged.
    pub(crate) fn owed(&self) -> (usize, usize) {
        (self.open.len(), self.kept.len())
    }

    /// The running attempt that `is_it` recognises.
    pub(crate) fn find_running(&self, is_it: impl Fn(&R) -> bool) -> Option<AttemptKey> {
        self.open.iter().find_map(|(key, open)| match &open.state {
            State::Running(running) if is_it(&running.reach) => Some(key.clone()),
            _ => None,
        })
    }

    fn running_mut(&mut self, key: &AttemptKey) -> Option<&mut Running<R>> {
        match self.open.get_mut(key) {
            Some(Open { state: State::Running(running), .. }) => Some(running),
            _ => None,
        }
    }

    /// Frees the place of an attempt that has been given out.
    fn close(&mut self, key: &AttemptKey) -> Option<()> {
        let open = self.open.remove(key)?;
        self.held = self.held - Permits::of(open.class, 1);
        self.running -= 1;
        Some(())
    }

    /// Lets all that runs hold slots, also what came ahead of one: so no slot is granted that is not idle.
    fn seat(&mut self) {
        let running = self.open.values_mut().filter(|open| !matches!(open.state, State::Waiting(_)));
        for open in running {
            self.held = self.held - Permits::of(open.class, 1);
            open.class = Class::Slot;
            self.held += Permits::of(Class::Slot, 1);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
