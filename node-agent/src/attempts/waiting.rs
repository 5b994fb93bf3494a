//! Work that waits inside the agent for a slot: tenants take turns, and what one of them sent goes as it came. So a tenant
//! that sends much ahead holds up others by one piece of work for each of theirs, as in the coordinator's queue (E14).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use heddle_proto::agent::AttemptKey;

/// Keys of waiting work.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Each tenant once that has something here.
    turns: VecDeque<Arc<str>>,
    tenants: HashMap<Arc<str>, VecDeque<Numbered>>,
    /// The number of what came last.
    last: u64,
}

/// A key with its number, in the order of arrival.
type Numbered = (u64, AttemptKey);

impl Waiting {
    /// Lets an attempt wait behind those of its tenant.
    pub(super) fn push(&mut self, tenant: &str, key: AttemptKey) {
        self.last += 1;
        let numbered = (self.last, key);
        if let Some(keys) = self.tenants.get_mut(tenant) {
            return keys.push_back(numbered);
        }
        let tenant: Arc<str> = tenant.into();
        self.turns.push_back(Arc::clone(&tenant));
        self.tenants.insert(tenant, VecDeque::from([numbered]));
    }

    /// Takes out the attempt whose turn it is; its tenant's next turn comes after the others'.
    pub(super) fn pop(&mut self) -> Option<AttemptKey> {
        let tenant = self.turns.pop_front()?;
        let keys = self.tenants.get_mut(&tenant)?;
        let (_, key) = keys.pop_front()?;
        if keys.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        Some(key)
    }

    /// An attempt waits no more.
    pub(super) fn remove(&mut self, key: &AttemptKey) {
        self.tenants.retain(|_, keys| {
            keys.retain(|(_, waiting)| waiting != key);
            !keys.is_empty()
        });
        self.turns.retain(|tenant| self.tenants.contains_key(tenant));
    }

    /// The number of what came last, if anything waits.
    pub(super) fn last_number(&self) -> Option<u64> {
        (!self.turns.is_empty()).then_some(self.last)
    }

    /// The number of what has waited for longest.
    pub(super) fn first_number(&self) -> Option<u64> {
        self.tenants.values().filter_map(|keys| keys.front()).map(|(number, _)| *number).min()
    }

    /// Takes all out, in turn.
    pub(super) fn take_all(&mut self) -> Vec<AttemptKey> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> AttemptKey {
        AttemptKey { number, ..Default::default() }
    }

    fn waiting(attempts: &[(&str, u32)]) -> Waiting {
        let mut waiting = Waiting::default();
        attempts.iter().for_each(|(tenant, number)| waiting.push(tenant, key(*number)));
        waiting
    }

    fn numbers(waiting: &mut Waiting) -> Vec<u32> {
        waiting.take_all().into_iter().map(|key| key.number).collect()
    }

    #[test]
    fn a_tenant_that_sent_much_does_not_hold_up_others() {
        let mut waiting = waiting(&[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)]);
        assert_eq!(waiting.pop(), Some(key(1)));
        waiting.push("d", key(7));
        assert_eq!(numbers(&mut waiting), [4, 5, 2, 7, 6, 3]);
        assert_eq!((waiting.turns.len(), waiting.tenants.len()), (0, 0));
    }

    #[test]
    fn numbers_say_what_came_when() {
        let mut waiting = waiting(&[("a", 1), ("a", 2), ("b", 3)]);
        assert_eq!((waiting.first_number(), waiting.last_number()), (Some(1), Some(3)));
        waiting.remove(&key(1));
        assert_eq!((waiting.pop(), waiting.first_number()), (Some(key(2)), Some(3)));
        assert_eq!((waiting.pop(), waiting.first_number(), waiting.last_number()), (Some(key(3)), None, None));
    }

    #[test]
    fn what_waits_no_more_takes_no_turn() {
        let mut waiting = waiting(&[("a", 1), ("b", 2), ("b", 3)]);
        waiting.remove(&key(1));
        waiting.remove(&key(2));
        waiting.remove(&key(9));
        assert_eq!(numbers(&mut waiting), [3]);
    }
}
