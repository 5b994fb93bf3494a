//! Times that a suite prints.

use std::fmt;
use std::time::Duration;

/// Times of one kind.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that `percent` of a hundred stay within; zero of no times.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        write!(f, "n {} p50 {:.0} ms p99 {:.0} ms max {:.0} ms", self.0.len(), ms(50), ms(99), ms(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_seen() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50), Duration::ZERO);
        for ms in (1..=200).rev() {
            times.add(Duration::from_millis(ms));
        }
        let ms = |percent| times.percentile(percent).as_millis();
        assert_eq!((ms(50), ms(99), ms(100)), (100, 198, 200));
    }
}
