//! The simulator over many seeds: clean worlds stay clean, and every planted fault is found.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use heddle_sim::{self as sim, Planted};

/// Seeds within which a planted fault must be found.
const SEEDS_TO_FIND_MAX: u64 = 2_000;
/// Threads that share the seeds.
const THREADS: usize = 2;

#[test]
fn worlds_without_a_planted_fault_are_clean() {
    let seeds = seeds();
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let report = sim::run(seed, None);
                    if let Some(violation) = report.violation {
                        panic!("seed {seed} after {} steps: {violation}\n{}", report.steps, rerun(seed));
                    }
                }
            });
        }
    });
    let per_minute = seeds as f64 / begun.elapsed().as_secs_f64() * 60.0;
    println!("{seeds} seeds clean, {per_minute:.0} seeds per minute");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in (0..2_000).step_by(97) {
        assert_eq!(sim::run(seed, None), sim::run(seed, None), "seed {seed} is not deterministic\n{}", rerun(seed));
    }
}

/// Does nothing unless `SIM_SEED` names a world to look at.
#[test]
fn one_world() {
    let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok()) else { return };
    let report = sim::run_traced(seed, None, Some(|line| println!("{line}")));
    assert_eq!(report.violation, None);
}

#[test]
fn every_planted_fault_is_found() {
    // Some faults are found by a panic of the engine: that is no failure of this test.
    std::panic::set_hook(Box::new(|_| {}));
    let planted = Planted::all();
    let next = AtomicUsize::new(0);
    let missed = std::thread::scope(|scope| {
        let search = || {
            let mut missed = Vec::new();
            while let Some(planted) = planted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = (0..SEEDS_TO_FIND_MAX)
                    .find_map(|seed| Some((seed + 1, sim::run(seed, Some(*planted)).violation?.invariant)));
                match found {
                    Some((seeds, invariant)) => println!("{planted:?}: found by {invariant} after {seeds} seeds"),
                    None => missed.push(*planted),
                }
            }
            missed
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(search)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<Planted>>()
    });
    drop(std::panic::take_hook());
    assert!(planted.len() >= 12 && missed.is_empty(), "not found within {SEEDS_TO_FIND_MAX} seeds: {missed:?}");
}

/// `SIM_SEED` reruns one world; `SIM_SEEDS` says how many there are.
fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(if cfg!(debug_assertions) {
        500
    } else {
        20_000
    })
}

fn rerun(seed: u64) -> String {
    format!("rerun it: SIM_SEED={seed} cargo test -p heddle-sim --test simulation one_world -- --nocapture")
}
