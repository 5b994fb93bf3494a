//! How often those who follow runs are told what is new: at once while they are few. Many are told of more at a time, so that
//! they take no more of the machine than a bounded number of pages a second does. So a coordinator tells gateways, and a
//! gateway its clients.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{FOLLOW_PAGES_PER_SECOND_MAX, FOLLOWERS_AT_ONCE};

/// Counts those who are told something.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    second: u64,
    /// Readers that were told something in this second, and in the one before.
    readers: u32,
    before: u32,
}

/// When a reader was counted last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted(Option<u64>);

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), told: Mutex::default() }
    }
}

impl Pace {
    /// A reader is told something now: how long it waits before it is told more.
    pub fn told(&self, counted: &mut Counted, now: Instant) -> Duration {
        let second = now.saturating_duration_since(self.began).as_secs();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.second != second {
            told.before = if told.second + 1 == second { told.readers } else { 0 };
            (told.second, told.readers) = (second, 0);
        }
        if counted.0 != Some(second) {
            counted.0 = Some(second);
            told.readers += 1;
        }
        let others = told.readers.max(told.before).saturating_sub(FOLLOWERS_AT_ONCE);
        Duration::from_secs(1) * others / FOLLOW_PAGES_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many readers are told something each 10 ms, or when they may be; pages in the third second.
    fn pages(readers: usize) -> usize {
        let pace = Pace::default();
        let mut all = vec![(Counted::default(), pace.began); readers];
        let mut count = 0;
        for step in 0..300 {
            let now = pace.began + Duration::from_millis(10) * step;
            for (counted, at) in all.iter_mut().filter(|(_, at)| *at <= now) {
                *at = now + pace.told(counted, now);
                count += usize::from(step >= 200);
            }
        }
        count
    }

    #[test]
    fn few_are_told_at_once_and_many_take_no_more_than_some_pages_a_second() {
        let pages_max = FOLLOW_PAGES_PER_SECOND_MAX as usize;
        assert_eq!(pages(FOLLOWERS_AT_ONCE as usize), 100 * FOLLOWERS_AT_ONCE as usize);
        for readers in [500, 1_000, 4_000] {
            let pages = pages(readers);
            assert!((readers / 2..=pages_max + pages_max / 2).contains(&pages), "{pages} pages for {readers} readers");
        }
    }
}
