//! The one source of chance in a simulated world: the same seed gives the same world.

use heddle_core::draw::Draw;

/// Draws of one kind of decision.
#[derive(Debug)]
pub(super) struct Random(Draw);

impl Random {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(Draw::from_seed(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to but not including `end`; 0 if `end` is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A seed for another stream.
    pub(super) fn fork(&mut self) -> Draw {
        Draw::from_seed(self.next())
    }
}
