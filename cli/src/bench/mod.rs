//! What Heddle costs, measured through its public API on clusters of processes: the works W1 to W5, long maps
//! and loops, large graphs, and the makespan of recorded workflows.

mod cluster;
mod follower;
mod graphs;
mod http;
mod latency;
mod lint;
mod list_schedule;
mod load;
mod machine;
mod makespan;
mod makespan_table;
mod measured;
mod parked;
mod progress;
mod readers;
mod report;
mod retention;
mod reviews;
mod scopes;
mod share;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;

pub use makespan::Makespan;
pub use report::Report;

use crate::error::Result;
use crate::ui::{clock, note};
use cluster::{Agents, Cluster};

/// One work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Work {
    /// A chain of 10 no-op nodes, one run at a time: how long a run takes.
    W1,
    /// 1,000 such runs, 64 and 256 in flight: how many nodes a second.
    W2,
    /// 1,000 and 10,000 parallel no-op nodes and a join: how long it takes.
    W3,
    /// Runs that wait for an hour: how much memory each costs the coordinator, before and after it left memory.
    W4,
    /// 100,000 waiting runs in the database: how long the coordinator takes to start.
    W5,
    /// One run of 100,000 items: what an item costs early and late, how much memory, and what small runs beside it notice.
    #[value(name = "map")]
    Map,
    /// One run of 10,000 turns: what a turn costs early and late, and how much memory.
    #[value(name = "loop")]
    Loop,
    /// Graphs of 10,000 nodes: how long it takes to look at one, and to run it.
    #[value(name = "lint")]
    Lint,
    /// Runs that wait for people: how long it takes from an answer to the start of the next node.
    #[value(name = "review")]
    Review,
    /// A million finished runs that are removed: what W2 notices of it, how fast they go, and what the file of the database does.
    #[value(name = "retention")]
    Retention,
    /// 1,000 readers that take 10 kB/s or nothing, and 2,000 that wait: what is left of W2, and how much memory each takes.
    #[value(name = "readers")]
    Readers,
    /// Recorded workflows: how long a run takes, beside a list schedule that costs nothing.
    #[value(name = "makespan")]
    Makespan,
}

impl Work {
    /// Those that need nothing, in order.
    pub const ALL: [Work; 11] = [
        Work::W1,
        Work::W2,
        Work::W3,
        Work::W4,
        Work::W5,
        Work::Map,
        Work::Loop,
        Work::Lint,
        Work::Review,
        Work::Retention,
        Work::Readers,
    ];

    /// W4 and all after it look at the coordinator's memory or database, so they get a fresh cluster on SQLite; the
    /// makespan is measured on several.
    pub fn needs_fresh_cluster(self) -> bool {
        self >= Work::W4
    }
}

/// Measures the works, in order, with `items` in the map and all data under `scratch`, or the journal in an empty
/// `database`, and then the makespan; every result goes to the report as it comes.
pub async fn measure(
    works: &[Work],
    items: usize,
    makespan: Option<&Makespan>,
    scratch: &Path,
    database: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    let chosen = |cluster: &[Work]| works.iter().copied().filter(|work| cluster.contains(work)).collect::<Vec<_>>();
    let clusters: [(&str, &[Work]); 8] = [
        ("load", &[Work::W1, Work::W2, Work::W3]),
        ("parked", &[Work::W4, Work::W5]),
        ("map", &[Work::Map]),
        ("loop", &[Work::Loop]),
        ("lint", &[Work::Lint]),
        ("review", &[Work::Review]),
        ("retention", &[Work::Retention]),
        ("readers", &[Work::Readers]),
    ];
    for (name, works) in clusters.map(|(name, works)| (name, chosen(works))) {
        if works.is_empty() {
            continue;
        }
        let mut cluster = Cluster::start(scratch.join(name), database.map(str::to_owned), Agents::ONE).await?;
        report.database(&cluster.database().await?);
        for work in works {
            let since = Instant::now();
            match work {
                Work::W1 => latency::chain(&cluster, report).await?,
                Work::W2 => load::chains(&cluster, report).await?,
                Work::W3 => latency::fan_out(&cluster, report).await?,
                Work::W4 => parked::memory(&cluster, report).await?,
                Work::W5 => parked::start(&mut cluster, report).await?,
                Work::Map => scopes::map(&cluster, items, report).await?,
                Work::Loop => scopes::turns(&cluster, report).await?,
                Work::Lint => lint::measure(&cluster, report).await?,
                Work::Review => reviews::measure(&mut cluster, report).await?,
                Work::Retention => retention::measure(&mut cluster, report).await?,
                Work::Readers => readers::measure(&cluster, report).await?,
                Work::Makespan => {}
            }
            note(&format!("{work:?} took {}", clock::span(since.elapsed())));
        }
        cluster.stop().await;
    }
    match makespan {
        Some(makespan) => makespan.measure(scratch, report).await,
        None => Ok(()),
    }
}

/// Where kept results go: `tests/benches/runs` of the checkout around `from`, if there is one.
pub fn runs_folder(from: &Path) -> Option<PathBuf> {
    let checkout = from.ancestors().find(|folder| folder.join("tests/benches/README.md").is_file())?;
    Some(checkout.join("tests/benches/runs"))
}

/// The value at quantile `q` (0 to 1) by the nearest rank; the values need no order. NaN for none.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// The median of the slopes between all pairs (Theil and Sen): single looks that stray do not move it.
fn slope(looks: &[(u64, u64)]) -> f64 {
    let pairs = looks.iter().enumerate().flat_map(|(place, from)| looks[place + 1..].iter().map(move |to| (from, to)));
    let slopes: Vec<f64> = pairs
        .filter(|(from, to)| to.0 > from.0)
        .map(|(from, to)| (to.1 as f64 - from.1 as f64) / (to.0 - from.0) as f64)
        .collect();
    quantile(&slopes, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 50.0);
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values, 1.0), 100.0);
        assert_eq!(quantile(&[3.0], 0.5), 3.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
