//! Virtual time: what happens next, and when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use heddle_core::time::{Span, Timestamp};

use super::event::Event;

/// Events by time; those of one instant in the order in which they were put in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Item>,
    serial: u64,
}

#[derive(Debug)]
struct Item {
    at: Timestamp,
    serial: u64,
    event: Event,
}

impl Queue {
    pub(super) fn put(&mut self, at: Timestamp, event: Event) {
        self.serial += 1;
        self.heap.push(Item { at, serial: self.serial, event });
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, Event)> {
        self.heap.pop().map(|item| (item.at, item.event))
    }
}

/// A length of virtual time.
pub(super) fn millis(millis: u64) -> Span {
    Span::from_millis(millis)
}

// The heap gives the greatest item first, so the earliest is the greatest.
impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Item {}
