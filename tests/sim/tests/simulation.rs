//! The simulator over some seeds: clean worlds stay clean, and every planted fault is found. `make sim` looks at more.

use heddle_core::fault::Fault;
use heddle_sim::{self as sim, Planted};

/// Seeds within which a planted fault must be found.
const SEEDS_TO_FIND_MAX: u64 = 2_000;
const SEEDS: u64 = 500;

#[test]
fn worlds_without_a_planted_fault_are_clean() {
    let found = sim::search(0..SEEDS);
    println!("{found}");
    assert!(found.is_clean() && found.seeds == SEEDS);
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let seeds = (0..2_000).step_by(97);
    assert_eq!(sim::different(seeds), Vec::<u64>::new(), "these seeds gave two worlds each");
}

#[test]
fn every_planted_fault_is_found() {
    // Some faults are found by a panic of the engine: that is no failure of this test.
    std::panic::set_hook(Box::new(|_| {}));
    let planted = Planted::all();
    let caught = sim::catch(&planted, SEEDS_TO_FIND_MAX);
    drop(std::panic::take_hook());
    caught.iter().for_each(|caught| println!("{caught}"));
    let missed: Vec<Planted> =
        caught.iter().filter(|caught| caught.by.is_none()).map(|caught| caught.planted).collect();
    assert!(planted.len() >= 40 && missed.is_empty(), "not found within {SEEDS_TO_FIND_MAX} seeds: {missed:?}");
}

#[test]
fn runs_that_nothing_would_wake_are_found_by_the_watchdog() {
    for fault in [Fault::TimerNotSet, Fault::AlarmNotSet] {
        let by = (0..SEEDS_TO_FIND_MAX).find_map(|seed| sim::run(seed, Some(Planted::Core(fault))).violation);
        assert_eq!(by.as_ref().map(|violation| violation.invariant), Some("H21"), "{fault:?}: {by:?}");
    }
}
