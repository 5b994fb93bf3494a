//! The values that a stream has brought lately, kept alike at both its ends, so that none travels twice.
//!
//! Both ends note the same values in the same order and forget by the same rule. So whoever sends knows what the other end
//! still has, without being told.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::limits::VALUE_WINDOW_BYTES;

/// What one end keeps: `T` is the value itself where it arrives, and nothing where it is sent.
#[derive(Debug, Default)]
pub struct ValueWindow<T> {
    values: HashMap<Bytes, T>,
    /// Digests and bytes, the oldest first.
    order: VecDeque<(Bytes, usize)>,
    bytes: usize,
}

impl<T> ValueWindow<T> {
    /// The value with this digest, if it is there still.
    pub fn get(&self, digest: &[u8]) -> Option<&T> {
        self.values.get(digest)
    }

    /// Notes a value of so many bytes that was not there, and forgets the oldest until all are at most
    /// [`VALUE_WINDOW_BYTES`].
    pub fn note(&mut self, digest: &[u8], bytes: usize, value: T) {
        let digest = Bytes::copy_from_slice(digest);
        if self.values.insert(digest.clone(), value).is_some() {
            return;
        }
        self.order.push_back((digest, bytes));
        self.bytes += bytes;
        while self.bytes > VALUE_WINDOW_BYTES
            && let Some((oldest, bytes)) = self.order.pop_front()
        {
            self.values.remove(&oldest);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: usize = VALUE_WINDOW_BYTES / 4;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut window = ValueWindow::default();
        for digest in 0..5_u8 {
            window.note(&[digest], QUARTER, digest);
        }
        assert_eq!(window.get(&[0]), None);
        assert_eq!((1..5).filter_map(|digest| window.get(&[digest]).copied()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_noted_again_counts_once() {
        let mut window = ValueWindow::default();
        for _ in 0..9 {
            window.note(b"same", QUARTER, ());
        }
        assert_eq!((window.bytes, window.order.len()), (QUARTER, 1));
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let mut window = ValueWindow::default();
        window.note(b"small", 1, ());
        window.note(b"large", VALUE_WINDOW_BYTES + 1, ());
        assert!(window.get(b"large").is_none() && window.get(b"small").is_none());
        assert_eq!((window.bytes, window.values.len()), (0, 0));
    }
}
