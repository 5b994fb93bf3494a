//! The simulator: a whole cluster in one thread and virtual time, from one seed.
//!
//! A world has the real engine, a model of its shell that does what the real shell does in the same order, a database that
//! can be slow, lose its answer or refuse, model agents that crash, pause, redial and come back as zombies, and clients
//! that race and retry. A checker sees everything that becomes durable and everything that leaves. The same seed gives
//! the same world, step by step.

#![allow(clippy::expect_used, clippy::panic, reason = "a world that cannot be made ends its test")]

mod agents;
mod batches;
mod check;
mod check_cache;
mod check_children;
mod check_deadlines;
mod check_failures;
mod check_history;
mod check_jobs;
mod check_release;
mod check_resumes;
mod check_reviews;
mod check_signals;
mod children;
mod clients;
mod coverage;
mod deadlines;
mod drawing;
mod event;
mod fault;
mod graphs;
mod knobs;
#[cfg(test)]
mod known;
mod large;
mod nemesis;
mod operator;
mod outsiders;
mod people;
mod policies;
mod progress;
mod queue;
mod random;
mod reference;
mod resumes;
mod search;
mod sessions;
mod shell;
mod store;
mod stored;
mod watch;
mod work;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use heddle_core::time::{Span, Timestamp};

pub use coverage::Coverage;
pub use fault::{Planted, ShellFault};
pub use search::{Caught, Found, SEEDS_TO_COVER, catch, different, search, worlds};

/// What came of one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A number for everything that happened, in order.
    pub hash: u64,
    /// How much happened.
    pub steps: u64,
    /// How much virtual time went by.
    pub simulated: Span,
    /// Runs that became durable.
    pub runs: u64,
    /// What was ended on purpose.
    pub kills: Kills,
    /// Moves that were seen.
    pub coverage: Coverage,
    /// What was wrong, if anything was.
    pub violation: Option<Violation>,
}

/// Processes and actors that were ended on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kills {
    /// Coordinators.
    pub coordinators: u64,
    /// Partitions, each an actor in a coordinator.
    pub partitions: u64,
    /// Agents.
    pub agents: u64,
}

impl Kills {
    fn add(&mut self, other: &Kills) {
        self.coordinators += other.coordinators;
        self.partitions += other.partitions;
        self.agents += other.agents;
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its number.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// When, in virtual time.
    pub at: Timestamp,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Runs the world of a seed, with one fault planted or none.
pub fn run(seed: u64, planted: Option<Planted>) -> Report {
    run_traced(seed, planted, None)
}

/// The same, with a line for each thing that happens.
pub fn run_traced(seed: u64, planted: Option<Planted>, trace: Option<fn(&str)>) -> Report {
    heddle_core::fault::plant(Planted::core(planted));
    let shell = match planted {
        Some(Planted::Shell(fault)) => Some(fault),
        _ => None,
    };
    let report = catch_unwind(AssertUnwindSafe(|| world::World::new(seed, shell, trace).run()));
    heddle_core::fault::plant(None);
    report.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "it gave no reason".to_owned());
        let violation = Violation { invariant: "panic", what, at: Timestamp::from_millis(0) };
        Report {
            hash: 0,
            steps: 0,
            simulated: Span::ZERO,
            runs: 0,
            kills: Kills::default(),
            coverage: Coverage::default(),
            violation: Some(violation),
        }
    })
}
