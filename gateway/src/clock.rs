//! The cluster's time, as the coordinator tells it: what one gateway signs for a while is good for as long at all of them,
//! whatever the clocks of their machines say.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::http::error::unix_second_now;

/// The time as last heard, in milliseconds since 1970, and when that was by a clock that nobody sets.
#[derive(Debug, Default)]
pub(crate) struct ClusterClock(Mutex<Option<(u64, Instant)>>);

impl ClusterClock {
    /// Takes the coordinator's word. One that is too old to tell says 0.
    pub(crate) fn heard(&self, now_ms: u64) {
        if now_ms > 0 {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, Instant::now()));
        }
    }

    /// Whether the coordinator has told the time.
    pub(crate) fn is_known(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Seconds since 1970; by the machine's clock as long as the coordinator has told nothing.
    pub(crate) fn second(&self) -> u64 {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or_else(unix_second_now, |(now_ms, at)| (now_ms + at.elapsed().as_millis() as u64) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coordinators_word_counts_and_not_the_machines_clock() {
        let clock = ClusterClock::default();
        clock.heard(0);
        assert!(!clock.is_known() && clock.second() >= unix_second_now() - 1);
        clock.heard(5_000);
        assert!(clock.is_known() && (5..60).contains(&clock.second()));
        clock.heard(3_000);
        assert!((3..60).contains(&clock.second()), "the youngest word counts: {}", clock.second());
    }
}
