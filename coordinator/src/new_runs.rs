//! Which slot a new run gets: one whose partition is not busy with a large run already.
//!
//! A partition works off what its runs report in turns, each with a commit of its own. Whoever shares it with a run of a
//! hundred thousand items waits for that run's turns, so a new run goes elsewhere if it may: of a few slots drawn by chance
//! the first counts, unless the partition of another is much less busy. (One of several random choices by its load: M.
//! Mitzenmacher, "The power of two choices in randomized load balancing", 2001.) Runs that have to be where their
//! idempotency key is (E24) have no choice.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use heddle_core::id::{PartitionId, Slot};

use crate::journal::Partitions;
use crate::limits::{BUSY_EVENTS_MIN, BUSY_HALF_LIFE, BUSY_TIMES_MIN, SLOT_DRAWS};

/// How busy each partition is.
pub(crate) struct NewRuns {
    busy: Vec<Mutex<Busy>>,
}

/// Events that were committed, those long ago counting less.
struct Busy {
    events: f64,
    at: Instant,
}

impl Busy {
    fn events(&self, now: Instant) -> f64 {
        let half_lives = now.duration_since(self.at).as_secs_f64() / BUSY_HALF_LIFE.as_secs_f64();
        self.events * (-half_lives).exp2()
    }
}

impl NewRuns {
    /// Nothing has been committed yet.
    pub(crate) fn new(partitions: u16) -> Self {
        let at = Instant::now();
        Self { busy: (0..partitions).map(|_| Mutex::new(Busy { events: 0.0, at })).collect() }
    }

    /// A partition commits so many events.
    pub(crate) fn committed(&self, partition: PartitionId, events: u64, now: Instant) {
        let mut busy = self.busy[usize::from(partition.0)].lock().unwrap_or_else(PoisonError::into_inner);
        *busy = Busy { events: busy.events(now) + events as f64, at: now };
    }

    /// The slot of a run that may be anywhere, from numbers that nobody can foretell.
    pub(crate) fn slot(&self, partitions: &Partitions, now: Instant, mut draw: impl FnMut() -> u64) -> Slot {
        let mut drawn = || {
            let slot = Slot::of_hash(draw());
            (slot, self.events(partitions.of(slot), now))
        };
        let mut chosen = drawn();
        for _ in 1..SLOT_DRAWS {
            let other = drawn();
            if chosen.1 >= other.1 * BUSY_TIMES_MIN + BUSY_EVENTS_MIN {
                chosen = other;
            }
        }
        chosen.0
    }

    fn events(&self, partition: PartitionId, now: Instant) -> f64 {
        self.busy[usize::from(partition.0)].lock().unwrap_or_else(PoisonError::into_inner).events(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 4_000;

    /// How many of many new runs each of four partitions gets, when they have committed so much.
    fn spread(events: [u64; 4], later: u32) -> [usize; 4] {
        let partitions = Partitions::spread(4).unwrap();
        let (runs, now) = (NewRuns::new(4), Instant::now());
        for (id, events) in (0..).zip(events) {
            runs.committed(PartitionId(id), events, now);
        }
        let mut state = 7_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut counts = [0; 4];
        for _ in 0..DRAWS {
            let slot = runs.slot(&partitions, now + BUSY_HALF_LIFE * later, &mut draw);
            counts[usize::from(partitions.of(slot).0)] += 1;
        }
        counts
    }

    #[test]
    fn partitions_that_are_about_as_busy_as_others_get_as_many_runs() {
        for events in [[0; 4], [3_000, 2_000, 2_500, 3_500], [90, 0, 0, 0]] {
            let counts = spread(events, 0);
            assert!(counts.iter().all(|count| count.abs_diff(DRAWS / 4) < DRAWS / 20), "{events:?}: {counts:?}");
        }
    }

    #[test]
    fn a_partition_that_is_busy_with_one_run_gets_hardly_any_other() {
        let [_, busy, ..] = spread([100, 5_000, 100, 0], 0);
        assert!(busy < DRAWS / 100, "{busy}");
    }

    #[test]
    fn that_is_over_soon_after_the_run_is() {
        let counts = spread([0, 5_000, 0, 0], 10);
        assert!(counts.iter().all(|count| count.abs_diff(DRAWS / 4) < DRAWS / 20), "{counts:?}");
    }
}
