//! How many attempts may wait inside the agent: a plain value.
//!
//! Prefetched work hides the round trip to the coordinator behind running work. A round trip is a few milliseconds, so work
//! of seconds needs one place a slot, or none; work of microseconds needs many. Places beyond that would keep work from
//! agents that are free.

use std::time::Duration;

use crate::limits::{PREFETCH_MAX, PREFETCH_PER_SLOT_MAX, PREFETCH_PER_SLOT_MIN, PREFETCH_WORK};

/// The attempts that ended lately.
#[derive(Debug)]
pub(crate) struct Prefetch {
    slots: u32,
    /// How long they ran, in microseconds: each new one counts an eighth.
    ran_us: u64,
}

impl Prefetch {
    /// Nothing is known yet: work is taken to be long.
    pub(super) fn new(slots: u32) -> Self {
        Self { slots, ran_us: PREFETCH_WORK.as_micros() as u64 }
    }

    /// An attempt has run so long.
    pub(super) fn ran(&mut self, ran: Duration) {
        let ran_us = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        self.ran_us = self.ran_us - self.ran_us / 8 + ran_us / 8;
    }

    /// Places for work that waits.
    pub(super) fn places(&self) -> u32 {
        let fitting = PREFETCH_WORK.as_micros() as u64 / self.ran_us.max(1);
        let per_slot = fitting.clamp(PREFETCH_PER_SLOT_MIN.into(), PREFETCH_PER_SLOT_MAX.into()) as u32;
        (self.slots * per_slot).min(self.places_max())
    }

    /// The most that there may ever be.
    pub(super) fn places_max(&self) -> u32 {
        (self.slots * PREFETCH_PER_SLOT_MAX).min(PREFETCH_MAX.max(self.slots * PREFETCH_PER_SLOT_MIN))
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
    fn short_work_gets_many_places_and_long_work_few() {
        assert_eq!(Prefetch::new(4).places(), 4 * PREFETCH_PER_SLOT_MIN);
        assert_eq!(after(4, Duration::ZERO), 4 * PREFETCH_PER_SLOT_MAX);
        assert_eq!(after(4, Duration::from_secs(30)), 4 * PREFETCH_PER_SLOT_MIN);
        assert_eq!(after(4, Duration::MAX), 4 * PREFETCH_PER_SLOT_MIN);
        let between = after(4, PREFETCH_WORK / (2 * PREFETCH_PER_SLOT_MIN));
        assert!((4 * PREFETCH_PER_SLOT_MIN..4 * PREFETCH_PER_SLOT_MAX).contains(&between), "{between}");
    }

    #[test]
    fn a_large_agent_is_bounded() {
        assert_eq!(after(500, Duration::ZERO), PREFETCH_MAX);
        assert_eq!(after(PREFETCH_MAX, Duration::ZERO), PREFETCH_MAX * PREFETCH_PER_SLOT_MIN);
    }
}
