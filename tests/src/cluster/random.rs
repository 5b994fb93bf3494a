//! Chance of a suite: the seed is printed, and gives the same choices again.

use std::time::Duration;

use heddle_core::draw::Draw;

/// Draws from one seed.
#[derive(Debug)]
pub struct Random(Draw);

impl Random {
    /// The draws of a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Draw::from_seed(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to but not including `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// Whether something of this chance in a hundred happens.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// A gap between two events that come independently of each other, `mean` apart on average, at most six times that.
    pub fn gap(&mut self, mean: Duration) -> Duration {
        let uniform = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64((-(1.0 - uniform).ln()).min(6.0))
    }

    /// A seed for draws of another kind.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.number())
    }
}

/// The seed of this run of a suite: `FAULT_SEED`, else from the clock. Printed, so that it can be given again.
pub fn seed(suite: &str) -> u64 {
    let chosen = number("FAULT_SEED");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = chosen.unwrap_or_else(|| now.map_or(0, |now| now.as_nanos() as u64 % 1_000_000_007));
    println!("{suite}: FAULT_SEED={seed}");
    seed
}

/// A number from the environment.
///
/// # Panics
/// When the variable is set to something else.
pub fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is {value:?}; set it to a number")))
}
