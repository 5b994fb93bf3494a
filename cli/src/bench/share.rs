//! Work that many connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of things to do, taken one by one by whoever is free.
#[derive(Debug, Clone)]
pub(super) struct Share {
    left: Arc<AtomicUsize>,
}

impl Share {
    /// So many things.
    pub(super) fn of(things: usize) -> Self {
        Share { left: Arc::new(AtomicUsize::new(things)) }
    }

    /// Takes one; false when none is left.
    pub(super) fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_taken_once() {
        let share = Share::of(2);
        let other = share.clone();
        assert_eq!([share.take(), other.take(), share.take()], [true, true, false]);
    }
}
