//! Values that decisions look at (E15): a run holds references only. What was committed a moment ago is at hand; what is
//! not is asked for, and the run's decisions wait for it. Nothing of that is durable: whoever loads the run asks again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Partition, Turn};
use crate::fault::{Fault, is_planted};
use crate::id::{EventSeq, Instance, RunId};
use crate::limits;
use crate::run::event::Event;
use crate::run::{Lists, Run, Values};
use crate::value::{Value, ValueRef};

/// The youngest values of runs that decide by values, within a budget of bytes.
#[derive(Debug)]
pub(super) struct RecentValues {
    bytes_max: usize,
    values: BTreeMap<(RunId, EventSeq, u32), Value>,
    order: VecDeque<(RunId, EventSeq, u32)>,
    bytes: usize,
}

/// What a run's next decision lacks.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Lack {
    /// Nothing, as far as is known.
    #[default]
    Nothing,
    /// Values that are on their way to the journal, and not at hand any more: they are asked for when they are there.
    Landing,
    /// Values that were asked for.
    Asked,
}

impl Default for RecentValues {
    fn default() -> Self {
        let bytes_max = limits::RECENT_VALUES_BYTES_MAX;
        Self { bytes_max, values: BTreeMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl RecentValues {
    /// Keeps the values of an event from a place on.
    pub(super) fn keep(&mut self, run: RunId, seq: EventSeq, values: &[Value], from: usize) {
        for (value, place) in values.iter().zip(0..).skip(from) {
            let key = (run, seq, place);
            self.bytes += weight(value);
            if let Some(old) = self.values.insert(key, value.clone()) {
                self.bytes -= weight(&old);
            } else {
                self.order.push_back(key);
            }
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.values.remove(&oldest).map_or(0, |value| weight(&value));
        }
    }

    fn get(&self, run: RunId, reference: &ValueRef) -> Option<&Value> {
        self.values.get(&(run, reference.seq, reference.place))
    }

    /// The run has left memory.
    pub(super) fn forget(&mut self, run: RunId) {
        let of_run = (run, EventSeq(0), 0)..=(run, EventSeq(u64::MAX), u32::MAX);
        let keys: Vec<_> = self.values.range(of_run).map(|(key, _)| *key).collect();
        for key in keys {
            self.bytes -= self.values.remove(&key).map_or(0, |value| weight(&value));
        }
        // Values leave their places behind.
        if self.order.len() > 2 * self.values.len() + 1_024 {
            let values = &self.values;
            self.order.retain(|key| values.contains_key(key));
        }
    }
}

impl Partition {
    /// Keeps at most this many bytes of values at hand for decisions; at most [`limits::RECENT_VALUES_BYTES_MAX`].
    pub fn keep_values(&mut self, bytes_max: usize) {
        self.recent.bytes_max = bytes_max.min(limits::RECENT_VALUES_BYTES_MAX);
    }

    /// What a decision looks at; `None` if it has to wait for some of it.
    pub(super) fn at_hand(&mut self, id: RunId, instance: Instance, turn: &mut Turn<'_>) -> Option<(Values, Lists)> {
        let (mut values, mut lists) = (Values::new(), Lists::new());
        loop {
            let needs = self.runs.get(&id)?.run.needs_to_decide(instance, &values, &lists);
            let missing: Vec<_> = needs.values.into_iter().filter(|it| !values.contains_key(it)).collect();
            // What is too much is left to an agent, or refused by the decision itself.
            let is_done = missing.is_empty() || Run::is_too_much_at_once(&missing);
            if is_done && needs.lists.is_empty() {
                return Some((values, lists));
            }
            if !is_done {
                values.extend(self.values_at_hand(id, &missing, turn)?);
            }
            for need in needs.lists {
                let part = self.list_at_hand(id, &need, turn)?;
                lists.insert((need.reference, need.part), part);
            }
        }
    }

    /// The values that a decision looks at; `None` if it has to wait for some of them.
    pub(super) fn values_at_hand(&mut self, id: RunId, wanted: &[ValueRef], turn: &mut Turn<'_>) -> Option<Values> {
        let entry = self.runs.get(&id)?;
        let (mut found, mut missing) = (Values::new(), Vec::new());
        for reference in wanted {
            let kept = entry.fetched.get(reference).or_else(|| self.recent.get(id, reference));
            match kept.or_else(|| self.open.value(id, reference)) {
                Some(value) => drop(found.insert(*reference, value.clone())),
                None => missing.push(*reference),
            }
        }
        if missing.is_empty() {
            return Some(found);
        }
        if self.may_ask(id) {
            turn.outputs.values.push((id, missing));
        }
        None
    }

    /// Whether what a run lacks is in the journal already; else it is asked for when it has landed.
    pub(super) fn may_ask(&mut self, id: RunId) -> bool {
        let is_flying = self.flying.as_ref().is_some_and(|flying| flying.touched.contains(&id));
        let waits = is_flying && !is_planted(Fault::ValuesAskedEarly);
        if let Some(entry) = self.runs.get_mut(&id) {
            entry.lack = if waits { Lack::Landing } else { Lack::Asked };
        }
        !waits
    }

    /// What was asked for has come.
    pub(super) fn values_read(&mut self, id: RunId, values: Vec<(ValueRef, Value)>, turn: &mut Turn<'_>) {
        let Some(entry) = self.runs.get_mut(&id).filter(|entry| entry.lack == Lack::Asked) else { return };
        entry.fetched.extend(values);
        entry.lack = Lack::Nothing;
        self.settle(id, turn);
    }

    /// What was on its way has landed, and can be asked for.
    pub(super) fn values_landed(&mut self, id: RunId, turn: &mut Turn<'_>) {
        let Some(entry) = self.runs.get_mut(&id).filter(|entry| entry.lack == Lack::Landing) else { return };
        entry.lack = Lack::Nothing;
        self.settle(id, turn);
    }
}

/// The value that an event of the open batch holds.
pub(super) fn in_events<'a>(events: &'a [Arc<Event>], reference: &ValueRef) -> Option<&'a Value> {
    let place = events.binary_search_by_key(&reference.seq, |event| event.seq).ok()?;
    events[place].values.get(reference.place as usize)
}

fn weight(value: &Value) -> usize {
    const EACH: usize = 128;
    EACH + value.json().len()
}
