//! Many worlds, on all threads: what was found, how much was simulated, and what was seen on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::coverage::Coverage;
use super::{Kills, Planted, Violation, run};

/// Threads that share the worlds.
const THREADS: usize = 2;
/// Stack of each thread.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Findings after which a search ends.
const FINDINGS_MAX: usize = 20;
/// Seeds from which on every legal move must have been seen.
pub const SEEDS_TO_COVER: u64 = 100_000;

/// What came of many worlds without a planted fault.
#[derive(Debug, Default)]
pub struct Found {
    /// Worlds that were looked at.
    pub seeds: u64,
    /// What was wrong, by seed.
    pub findings: BTreeMap<u64, Violation>,
    /// Runs that were begun.
    pub runs: u64,
    /// What was ended on purpose.
    pub kills: Kills,
    /// Moves of nodes and runs that were seen.
    pub coverage: Coverage,
    simulated_minutes: f64,
    took: Duration,
}

/// How a planted fault was found.
#[derive(Debug)]
pub struct Caught {
    /// Which.
    pub planted: Planted,
    /// After how many seeds, and by the checker of which invariant; nothing if not at all.
    pub by: Option<(u64, &'static str)>,
}

/// Looks at the worlds of these seeds.
pub fn search(seeds: Range<u64>) -> Found {
    let begun = Instant::now();
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(Found::default()));
    let work = || {
        let mut mine = Found::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || mine.findings.len() >= FINDINGS_MAX {
                break;
            }
            let report = run(seed, None);
            mine.seeds += 1;
            mine.runs += report.runs;
            mine.kills.add(&report.kills);
            mine.coverage.add(&report.coverage);
            mine.simulated_minutes += report.simulated.as_millis() as f64 / 60_000.0;
            mine.findings.extend(report.violation.map(|violation| (seed, violation)));
        }
        found.lock().expect("no thread has died").add(mine);
    };
    on_all_threads(&work);
    let mut found = found.into_inner().expect("no thread has died");
    found.took = begun.elapsed();
    found
}

/// Those of these seeds that do not give the same world twice.
pub fn different(seeds: impl Iterator<Item = u64>) -> Vec<u64> {
    let (seeds, found) = (Mutex::new(seeds.collect::<Vec<u64>>()), Mutex::new(Vec::new()));
    let next = || seeds.lock().expect("no thread has died").pop();
    let work = || {
        while let Some(seed) = next() {
            if run(seed, None) != run(seed, None) {
                found.lock().expect("no thread has died").push(seed);
            }
        }
    };
    on_all_threads(&work);
    found.into_inner().expect("no thread has died")
}

/// Looks for each of these planted faults in the worlds of at most so many seeds.
pub fn catch(planted: &[Planted], seeds_max: u64) -> Vec<Caught> {
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((place, planted)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            planted.get(place).map(|planted| (place, *planted))
        } {
            let by = (0..seeds_max).find_map(|seed| Some((seed + 1, run(seed, Some(planted)).violation?.invariant)));
            caught.lock().expect("no thread has died").push((place, Caught { planted, by }));
        }
    };
    on_all_threads(&work);
    let mut caught = caught.into_inner().expect("no thread has died");
    caught.sort_by_key(|(place, _)| *place);
    caught.into_iter().map(|(_, caught)| caught).collect()
}

/// Those of so many worlds in which a planted fault is found, by their seeds.
pub fn worlds(planted: Planted, seeds: u64) -> Vec<u64> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds) {
            if run(seed, Some(planted)).violation.is_some() {
                found.lock().expect("no thread has died").push(seed);
            }
        }
    };
    on_all_threads(&work);
    let mut found = found.into_inner().expect("no thread has died");
    found.sort_unstable();
    found
}

/// The reference interpreter asks node by node, each on the stack of the one that asks.
fn on_all_threads(work: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, work).expect("a thread can be started");
        }
    });
}

impl Found {
    /// Whether nothing was wrong, and enough was seen.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && (self.seeds < SEEDS_TO_COVER || self.coverage.missing().is_empty())
    }

    fn add(&mut self, other: Found) {
        self.seeds += other.seeds;
        self.runs += other.runs;
        self.kills.add(&other.kills);
        self.coverage.add(&other.coverage);
        self.simulated_minutes += other.simulated_minutes;
        self.findings.extend(other.findings);
    }

    fn per_minute(&self, count: f64) -> f64 {
        count / self.took.as_secs_f64().max(0.001) * 60.0
    }

    /// The same for programs.
    pub fn to_json(&self, caught: &[Caught]) -> Json {
        let findings = self
            .findings
            .iter()
            .map(|(seed, violation)| json!({"seed": seed, "invariant": violation.invariant, "what": violation.what}));
        let planted = caught.iter().map(|caught| match caught.by {
            Some((seeds, invariant)) => {
                json!({"fault": caught.planted.to_string(), "seeds": seeds, "invariant": invariant})
            }
            None => json!({"fault": caught.planted.to_string(), "seeds": null, "invariant": null}),
        });
        json!({
            "seeds": self.seeds,
            "seconds": self.took.as_secs_f64(),
            "seedsPerMinute": self.per_minute(self.seeds as f64),
            "simulatedMinutesPerMinute": self.per_minute(self.simulated_minutes),
            "runs": self.runs,
            "kills": {"coordinators": self.kills.coordinators, "partitions": self.kills.partitions, "agents": self.kills.agents},
            "findings": findings.collect::<Vec<_>>(),
            "planted": planted.collect::<Vec<_>>(),
            "moves": self.coverage.to_json(),
            "movesMissing": self.coverage.missing(),
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} findings", self.seeds, self.findings.len())?;
        for (seed, violation) in &self.findings {
            writeln!(f, "  seed {seed}: {violation}")?;
        }
        writeln!(
            f,
            "{:.0} seeds per minute, {:.0} simulated minutes of clusters per minute",
            self.per_minute(self.seeds as f64),
            self.per_minute(self.simulated_minutes)
        )?;
        let Kills { coordinators, partitions, agents } = self.kills;
        let all = coordinators + partitions + agents;
        let share = all as f64 / self.runs.max(1) as f64;
        writeln!(
            f,
            "{} runs; killed: {coordinators} coordinators, {partitions} partitions, {agents} agents: {share:.2} for each run",
            self.runs
        )?;
        write!(f, "{}", self.coverage)
    }
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Some((seeds, invariant)) => write!(f, "{}: found by {invariant} after {seeds} seeds", self.planted),
            None => write!(f, "{}: NOT FOUND", self.planted),
        }
    }
}
