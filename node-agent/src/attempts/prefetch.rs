//! How many attempts may wait inside the agent: a plain value.
//!
//! Prefetched work hides the round trip to the coordinator behind running work. A round trip is about a millisecond, so work
//! of milliseconds needs a place or two a slot, work of microseconds many, and long work none. Places beyond that would keep
//! work from agents that are free. What ran lately may say little of what comes: work that waits for too long goes back.

use std::time::Duration;

use crate::limits::{
    PREFETCH_MAX, PREFETCH_PATIENCE, PREFETCH_PER_SLOT_AT_FIRST, PREFETCH_PER_SLOT_MAX, PREFETCH_WORK,
};

/// Longer work counts as this long, so that short work is noticed soon after it.
const RAN_US_MAX: u64 = 2 * PREFETCH_PATIENCE.as_micros() as u64;

/// The attempts that ended lately.
#[derive(Debug)]
pub(crate) struct Prefetch {
    slots: u32,
    /// How long they ran, in microseconds: each new one counts an eighth.
    ran_us: u64,
}

impl Prefetch {
    /// Nothing is known yet.
    pub(super) fn new(slots: u32) -> Self {
        Self { slots, ran_us: PREFETCH_WORK.as_micros() as u64 / u64::from(PREFETCH_PER_SLOT_AT_FIRST) }
    }

    /// An attempt has run so long.
    pub(super) fn ran(&mut self, ran: Duration) {
        let ran_us = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX).min(RAN_US_MAX);
        self.ran_us = self.ran_us - self.ran_us / 8 + ran_us / 8;
    }

    /// What runs now takes long, as what waits behind it shows.
    pub(super) fn turned_long(&mut self) {
        self.ran_us = RAN_US_MAX;
    }

    /// Places for work that waits.
    pub(super) fn places(&self) -> u32 {
        if self.ran_us > PREFETCH_PATIENCE.as_micros() as u64 {
            return 0;
        }
        let fitting = PREFETCH_WORK.as_micros() as u64 / self.ran_us.max(1);
        let per_slot = fitting.clamp(1, PREFETCH_PER_SLOT_MAX.into()) as u32;
        (self.slots * per_slot).min(self.places_max())
    }

    /// The most that there may ever be.
    pub(super) fn places_max(&self) -> u32 {
        (self.slots * PREFETCH_PER_SLOT_MAX).min(PREFETCH_MAX.max(self.slots * PREFETCH_PER_SLOT_AT_FIRST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(slots: u32, ran: Duration) -> u32 {
        let mut prefetch = Prefetch::new(slots);
        (0..100).for_each(|_| prefetch.ran(ran));
        prefetch.places()
    }

    #[test]
    fn short_work_gets_many_places_and_long_work_none() {
        assert_eq!(Prefetch::new(4).places(), 4 * PREFETCH_PER_SLOT_AT_FIRST);
        assert_eq!(after(4, Duration::ZERO), 4 * PREFETCH_PER_SLOT_MAX);
        assert_eq!(after(4, PREFETCH_WORK / 2), 4 * 2);
        assert_eq!(after(4, PREFETCH_PATIENCE / 2), 4);
        assert_eq!(after(4, Duration::from_secs(30)), 0);
        assert_eq!(after(4, Duration::MAX), 0);
    }

    #[test]
    fn short_work_is_noticed_soon_after_long_work() {
        let mut prefetch = Prefetch::new(4);
        prefetch.turned_long();
        assert_eq!(prefetch.places(), 0);
        let needed = (1..100).find(|_| {
            prefetch.ran(Duration::from_millis(1));
            prefetch.places() > 0
        });
        assert!(needed.is_some_and(|attempts| attempts <= 8), "{needed:?}");
    }

    #[test]
    fn a_large_agent_is_bounded() {
        assert_eq!(after(500, Duration::ZERO), PREFETCH_MAX);
        assert_eq!(after(PREFETCH_MAX, PREFETCH_PATIENCE / 2), PREFETCH_MAX);
    }
}
