//! How one long run goes on: looks at the coordinator while it is at work, and what they say about the cost of an item.

use std::future::Future;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::machine::{processor_us, resident_bytes};
use crate::error::{Failure, Result};

/// Pause between two looks: a few hundred of them in the shortest run, and next to no load.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The coordinator at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// Since the first look.
    pub(super) us: f64,
    /// Attempts sent to agents since the first look.
    pub(super) attempts: u64,
    /// Resident memory of the coordinator's process.
    pub(super) bytes: u64,
    /// What its process took of the cores since its start.
    pub(super) processor_us: f64,
}

/// All looks at a run, in order; never empty.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    looks: Vec<Look>,
}

impl Progress {
    /// Looks again and again until `run` is over, and once before and after it.
    pub(super) async fn of<T>(cluster: &Cluster, run: impl Future<Output = Result<T>>) -> Result<(T, Self)> {
        let (mut connection, since) = (cluster.connect().await?, Instant::now());
        let sent = cluster.counters_on(&mut connection).await?.attempts;
        let mut looks = vec![look(cluster, since, 0)?];
        let watched = async {
            loop {
                tokio::time::sleep(LOOK_PAUSE).await;
                let attempts = cluster.counters_on(&mut connection).await?.attempts.saturating_sub(sent);
                looks.push(look(cluster, since, attempts)?);
            }
        };
        let done = tokio::select! {
            done = run => done?,
            broken = watched => return broken,
        };
        let attempts = cluster.counters().await?.attempts.saturating_sub(sent);
        looks.push(look(cluster, since, attempts)?);
        Ok((done, Progress { looks }))
    }

    /// Microseconds for each of the attempts `from` to `to`: by the clock, and of the cores on the coordinator's part.
    pub(super) fn cost_us(&self, from: u64, to: u64) -> (f64, f64) {
        let attempts = to.saturating_sub(from).max(1) as f64;
        let (start, end) = (self.at(from), self.at(to));
        ((end.us - start.us) / attempts, (end.processor_us - start.processor_us) / attempts)
    }

    /// Memory when so many attempts had been sent.
    pub(super) fn bytes_at(&self, attempts: u64) -> u64 {
        self.at(attempts).bytes
    }

    /// The most memory of all looks.
    pub(super) fn bytes_max(&self) -> u64 {
        self.looks.iter().map(|look| look.bytes).max().unwrap_or_default()
    }

    /// The moment between two looks when so many attempts had been sent, as if all had gone evenly between the two.
    fn at(&self, attempts: u64) -> Look {
        let next = self.looks.partition_point(|look| look.attempts < attempts).min(self.looks.len() - 1);
        let (before, after) = (self.looks[next.saturating_sub(1)], self.looks[next]);
        let share = match after.attempts.saturating_sub(before.attempts) {
            0 => 1.0,
            all => (attempts.saturating_sub(before.attempts) as f64 / all as f64).min(1.0),
        };
        let between = |from: f64, to: f64| from + (to - from) * share;
        Look {
            us: between(before.us, after.us),
            attempts,
            bytes: between(before.bytes as f64, after.bytes as f64).round() as u64,
            processor_us: between(before.processor_us, after.processor_us),
        }
    }
}

fn look(cluster: &Cluster, since: Instant, attempts: u64) -> Result<Look> {
    let us = since.elapsed().as_secs_f64() * 1e6;
    let of_process = |pid| Some((resident_bytes(pid)?, processor_us(pid)?));
    let (bytes, processor_us) = cluster
        .coordinator_pid()
        .and_then(of_process)
        .ok_or_else(|| Failure::failed("this system does not tell what memory and time a process takes"))?;
    Ok(Look { us, attempts, bytes, processor_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(looks: &[(f64, u64, u64)]) -> Progress {
        let look = |&(us, attempts, bytes)| Look { us, attempts, bytes, processor_us: us / 2.0 };
        Progress { looks: looks.iter().map(look).collect() }
    }

    #[test]
    fn costs_are_taken_between_looks() {
        let progress = progress(&[(0.0, 0, 1_000), (100.0, 10, 2_000), (300.0, 20, 6_000), (900.0, 20, 5_000)]);
        assert_eq!(progress.cost_us(0, 10), (10.0, 5.0));
        assert_eq!(progress.cost_us(5, 15), (15.0, 7.5));
        assert_eq!(progress.cost_us(10, 20), (20.0, 10.0));
        assert_eq!((progress.bytes_at(5), progress.bytes_at(20), progress.bytes_max()), (1_500, 6_000, 6_000));
        assert_eq!(progress.bytes_at(99), 5_000);
    }

    #[test]
    fn a_single_look_says_that_nothing_took_time() {
        assert_eq!(progress(&[(7.0, 0, 9)]).cost_us(0, 10), (0.0, 0.0));
    }
}
