//! Restart windows: how often a child may fail, and how long to wait before it is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{RESTART_PAUSE_MAX, RESTART_PAUSE_MIN, RESTART_WINDOW, RESTARTS_MAX};

/// The failures of one child.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Counts a failure; the pause before the next start, or `None` if it failed too often.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Duration> {
        while self.0.front().is_some_and(|first| now.duration_since(*first) > RESTART_WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        let count = self.0.len();
        let doubled = RESTART_PAUSE_MIN.saturating_mul(1 << (count - 1).min(16) as u32);
        (count <= RESTARTS_MAX).then(|| doubled.min(RESTART_PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_window_is_full_and_old_failures_are_forgiven() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        assert_eq!(restarts.failed(start), Some(RESTART_PAUSE_MIN));
        assert_eq!(restarts.failed(start), Some(RESTART_PAUSE_MIN * 2));
        for _ in 2..RESTARTS_MAX {
            assert!(restarts.failed(start).is_some());
        }
        assert_eq!(restarts.failed(start), None);
        assert_eq!(restarts.failed(start + RESTART_WINDOW * 2), Some(RESTART_PAUSE_MIN));
    }
}
