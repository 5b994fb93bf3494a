//! Ready work in its order: by priority with ageing, then run by run, then as it came (E14).

use std::collections::{BTreeMap, VecDeque};

use crate::id::{Instance, RunId, TenantId};
use crate::limits;
use crate::partition::permits::Need;
use crate::time::Timestamp;

/// Whose work, and what it needs of an agent: one queue each, and tenants take turns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) tenant: TenantId,
    pub(super) need: Need,
}

/// The ready instances of one lane.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    levels: BTreeMap<i32, Level>,
    len: usize,
    /// Whether permits are waited for.
    pub(super) wanting: bool,
    /// Whether the lane is about to be looked at.
    pub(super) listed: bool,
}

/// Instances of one priority: runs take turns.
#[derive(Debug, Default)]
struct Level {
    /// Each run once; those that have left are passed over.
    turns: VecDeque<RunId>,
    runs: BTreeMap<RunId, Waiting>,
}

/// Instances of one run and priority, with the time from which their waiting counts.
#[derive(Debug, Default)]
struct Waiting {
    /// What had its turn already and is here again: it goes first, as in the document, however often it came back.
    again: BTreeMap<Instance, Timestamp>,
    /// As it came.
    fresh: VecDeque<(Timestamp, Instance)>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.again.len() + self.fresh.len()
    }

    fn iter(&self) -> impl Iterator<Item = (Timestamp, Instance)> {
        let again = self.again.iter().map(|(instance, since)| (*since, *instance));
        again.chain(self.fresh.iter().copied())
    }

    /// Takes out the first, and says whether it had its turn already.
    fn pop(&mut self) -> Option<((Timestamp, Instance), bool)> {
        match self.again.pop_first() {
            Some((instance, since)) => Some(((since, instance), true)),
            None => self.fresh.pop_front().map(|first| (first, false)),
        }
    }

    fn remove(&mut self, instance: Instance) -> bool {
        if self.again.remove(&instance).is_some() {
            return true;
        }
        let place = self.fresh.iter().position(|(_, other)| *other == instance);
        place.and_then(|place| self.fresh.remove(place)).is_some()
    }
}

/// An instance that was taken out, with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) run: RunId,
    pub(super) instance: Instance,
    pub(super) since: Timestamp,
    pub(super) priority: i32,
    /// Whether an agent had given it back.
    is_again: bool,
}

impl ReadyQueue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Lets an instance wait behind those of its run and priority.
    pub(super) fn push(&mut self, priority: i32, run: RunId, instance: Instance, now: Timestamp) {
        self.waiting(priority, run).fresh.push_back((now, instance));
        self.len += 1;
    }

    /// Lets an instance that an agent gave back wait before those of its run that have not had their turn.
    pub(super) fn push_again(&mut self, priority: i32, run: RunId, instance: Instance, since: Timestamp) {
        self.waiting(priority, run).again.insert(instance, since);
        self.len += 1;
    }

    fn waiting(&mut self, priority: i32, run: RunId) -> &mut Waiting {
        let level = self.levels.entry(priority).or_default();
        level.runs.entry(run).or_insert_with(|| {
            level.turns.push_back(run);
            Waiting::default()
        })
    }

    /// Takes out the instance whose turn it is; its run's next turn comes after the others'.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Ready> {
        let priority = self.most_urgent(now)?;
        let level = self.levels.get_mut(&priority)?;
        let run = level.turns.pop_front()?;
        let waiting = level.runs.get_mut(&run)?;
        let ((since, instance), is_again) = waiting.pop()?;
        if waiting.len() == 0 {
            level.runs.remove(&run);
        } else {
            level.turns.push_back(run);
        }
        self.tidy(priority);
        self.len -= 1;
        Some(Ready { run, instance, since, priority, is_again })
    }

    /// Puts back what was popped: it is its turn still. Of several, the last is put back first.
    pub(super) fn put_back(&mut self, Ready { run, instance, since, priority, is_again }: Ready) {
        let level = self.levels.entry(priority).or_default();
        // It was moved to the end a moment ago.
        if let Some(place) = level.turns.iter().rposition(|other| *other == run) {
            level.turns.remove(place);
        }
        level.turns.push_front(run);
        let waiting = level.runs.entry(run).or_default();
        match is_again {
            true => drop(waiting.again.insert(instance, since)),
            false => waiting.fresh.push_front((since, instance)),
        }
        self.len += 1;
    }

    /// A run waits for nothing any more.
    pub(super) fn remove(&mut self, run: RunId) {
        for level in self.levels.values_mut() {
            if let Some(waiting) = level.runs.remove(&run) {
                self.len -= waiting.len();
                level.turns.retain(|other| *other != run);
            }
        }
        self.levels.retain(|_, level| !level.runs.is_empty());
    }

    /// An instance waits no more.
    pub(super) fn remove_one(&mut self, priority: i32, run: RunId, instance: Instance) {
        let Some(level) = self.levels.get_mut(&priority) else { return };
        let Some(waiting) = level.runs.get_mut(&run) else { return };
        if !waiting.remove(instance) {
            return;
        }
        self.len -= 1;
        if waiting.len() == 0 {
            level.runs.remove(&run);
            level.turns.retain(|other| *other != run);
        }
        self.tidy(priority);
    }

    /// Since when the first of those waits that still stand here.
    pub(super) fn oldest(&self, stands: impl Fn(RunId, Instance) -> bool) -> Option<Timestamp> {
        let runs = self.levels.values().flat_map(|level| &level.runs);
        let firsts = runs.filter_map(|(run, waiting)| waiting.iter().find(|(_, instance)| stands(*run, *instance)));
        firsts.map(|(since, _)| since).min()
    }

    /// The priority whose next instance is the most urgent: each [`limits::PRIORITY_POINT`] of waiting is worth a point, so
    /// that nothing waits for ever behind what is more important.
    fn most_urgent(&self, now: Timestamp) -> Option<i32> {
        let point = limits::PRIORITY_POINT.as_millis().max(1);
        let urgency = |(priority, level): (&i32, &Level)| {
            let (since, _) = level.runs.get(level.turns.front()?)?.iter().next()?;
            let waited = i64::try_from(now.since(since).as_millis() / point).unwrap_or(i64::MAX);
            Some((i64::from(*priority).saturating_add(waited), *priority))
        };
        self.levels.iter().filter_map(urgency).max().map(|(_, priority)| priority)
    }

    fn tidy(&mut self, priority: i32) {
        if self.levels.get(&priority).is_some_and(|level| level.runs.is_empty()) {
            self.levels.remove(&priority);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::NodeIx;
    use crate::time::Span;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn instance(node: u32) -> Instance {
        Instance::root(NodeIx(node))
    }

    fn drain(queue: &mut ReadyQueue, now: Timestamp) -> Vec<(u128, u32)> {
        std::iter::from_fn(|| queue.pop(now)).map(|ready| (ready.run.0, ready.instance.node.0)).collect()
    }

    #[test]
    fn runs_take_turns_and_higher_priorities_go_first() {
        let mut queue = ReadyQueue::default();
        for node in 0..3 {
            queue.push(0, RunId(1), instance(node), START);
        }
        queue.push(0, RunId(2), instance(0), START);
        queue.push(5, RunId(3), instance(0), START);
        assert_eq!(queue.len(), 5);
        assert_eq!(drain(&mut queue, START), [(3, 0), (1, 0), (2, 0), (1, 1), (1, 2)]);
        assert_eq!((queue.len(), queue.levels.len()), (0, 0));
    }

    #[test]
    fn what_is_put_back_is_next() {
        let mut queue = ReadyQueue::default();
        for (run, node) in [(1, 0), (1, 1), (2, 0)] {
            queue.push(0, RunId(run), instance(node), START);
        }
        for _ in 0..3 {
            let first = queue.pop(START).unwrap();
            queue.put_back(first);
        }
        assert_eq!(drain(&mut queue, START), [(1, 0), (2, 0), (1, 1)]);
    }

    #[test]
    fn what_is_given_back_goes_before_what_had_no_turn() {
        let mut queue = ReadyQueue::default();
        for node in 0..4 {
            queue.push(0, RunId(1), instance(node), START);
        }
        queue.push(0, RunId(2), instance(0), START);
        let first: Vec<Ready> = std::iter::from_fn(|| queue.pop(START)).take(3).collect();
        for ready in first.iter().rev().filter(|ready| ready.run == RunId(1)) {
            queue.push_again(ready.priority, ready.run, ready.instance, ready.since);
        }
        assert_eq!(queue.len(), 4);
        assert_eq!(drain(&mut queue, START), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    }

    #[test]
    fn waiting_makes_up_for_priority() {
        let mut queue = ReadyQueue::default();
        queue.push(-100, RunId(1), instance(0), START);
        let gap = Span::from_millis(200 * limits::PRIORITY_POINT.as_millis());
        let (before, after) = (START.plus(Span::from_millis(gap.as_millis() - 1)), START.plus(gap));
        queue.push(100, RunId(2), instance(0), before);
        assert_eq!(queue.pop(before).unwrap().run, RunId(2));
        queue.push(100, RunId(3), instance(0), after.plus(limits::PRIORITY_POINT));
        assert_eq!(queue.pop(after.plus(limits::PRIORITY_POINT)).unwrap().run, RunId(1), "it has waited long enough");
    }

    proptest! {
        /// However much comes in, whatever waits is overtaken only by what came within the time that its distance is worth.
        #[test]
        fn nothing_starves(priority in -100..=100i32, others in proptest::collection::vec(-100..=100i32, 1..8)) {
            let mut queue = ReadyQueue::default();
            queue.push(priority, RunId(0), instance(0), START);
            let (mut now, mut run) = (START, 0);
            loop {
                // More comes than is served.
                for other in &others {
                    run += 1;
                    queue.push(*other, RunId(run), instance(0), now);
                }
                let served = queue.pop(now).unwrap();
                if served.run == RunId(0) {
                    break;
                }
                let distance = u64::try_from(served.priority - priority).unwrap_or_default();
                let head_start = Span::from_millis((distance + 1) * limits::PRIORITY_POINT.as_millis());
                prop_assert!(served.since <= START.plus(head_start), "{served:?} came too late to go first");
                now = now.plus(limits::PRIORITY_POINT);
            }
        }

        /// Nothing is lost and nothing is given twice, whatever leaves meanwhile.
        #[test]
        fn everything_comes_out_once(items in proptest::collection::vec((0..4u128, -2..3i32), 0..60), gone in 0..4u128) {
            let mut queue = ReadyQueue::default();
            for (node, (run, priority)) in (0..).zip(&items) {
                queue.push(*priority, RunId(*run), instance(node), START);
            }
            queue.remove(RunId(gone));
            let mut expected: Vec<(u128, u32)> =
                (0..).zip(&items).filter(|(_, (run, _))| *run != gone).map(|(node, (run, _))| (*run, node)).collect();
            prop_assert_eq!(queue.len(), expected.len());
            let mut found = drain(&mut queue, START);
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
