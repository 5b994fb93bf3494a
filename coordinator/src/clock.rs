//! The partition's clock: database time, carried on by the monotonic clock (E7).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use heddle_core::time::Timestamp;

/// Database time as last heard, and how long ago that was. Never goes back.
#[derive(Debug)]
pub(crate) struct DatabaseClock(Mutex<(Timestamp, Instant)>);

impl DatabaseClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Instant::now())))
    }

    /// Takes the database's word, unless it is behind what was said already.
    pub(crate) fn heard(&self, now: Timestamp) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now > carried(*last) {
            *last = (now, Instant::now());
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        carried(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long until an instant of this clock.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        Duration::from_millis(at.since(self.now()).as_millis())
    }
}

fn carried((at, since): (Timestamp, Instant)) -> Timestamp {
    Timestamp::from_millis(at.as_millis() + since.elapsed().as_millis() as i64)
}
