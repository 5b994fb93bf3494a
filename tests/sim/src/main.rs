//! Looks at the worlds of many seeds, or tells the story of one.
//!
//! `heddle-sim [--seeds N] [--first N] [--json] [--no-faults]`, or `heddle-sim --seed N` for one world with all that happens in
//! it, or `heddle-sim --fault NAME [--seeds N]` for the worlds in which one planted fault is found.

use std::process::ExitCode;

use heddle_sim::{Planted, catch, run_traced, search, worlds};

/// Seeds within which a planted fault must be found.
const SEEDS_TO_FIND_MAX: u64 = 4_000;
const SEEDS: u64 = 20_000;
const USAGE: &str = "usage: heddle-sim [--seeds N] [--first N] [--json] [--no-faults] | heddle-sim --seed N | heddle-sim --fault NAME [--seeds N]";

struct Options {
    seeds: u64,
    /// The first of them.
    first: u64,
    one: Option<u64>,
    json: bool,
    faults: bool,
    fault: Option<Planted>,
}

fn options() -> Option<Options> {
    let mut options = Options { seeds: SEEDS, first: 0, one: None, json: false, faults: true, fault: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => options.seeds = arguments.next()?.parse().ok()?,
            "--first" => options.first = arguments.next()?.parse().ok()?,
            "--seed" => options.one = Some(arguments.next()?.parse().ok()?),
            "--fault" => {
                let name = arguments.next()?;
                let is_it = |planted: &Planted| planted.to_string().split(' ').next_back() == Some(&*name);
                options.fault = Some(Planted::all().into_iter().find(is_it)?);
            }
            "--json" => options.json = true,
            "--no-faults" => options.faults = false,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(seed) = options.one {
        let report = run_traced(seed, None, Some(|line| println!("{line}")));
        return match report.violation {
            Some(violation) => {
                println!("{violation}");
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        };
    }
    // Some faults are found by a panic of the engine; what it says is told with the seed.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(planted) = options.fault {
        let found = worlds(planted, options.seeds);
        println!("{planted}: found in {} of {} worlds: {found:?}", found.len(), options.seeds);
        return if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let found = search(options.first..options.first.saturating_add(options.seeds));
    let caught = if options.faults { catch(&Planted::all(), SEEDS_TO_FIND_MAX) } else { Vec::new() };
    if options.json {
        println!("{}", found.to_json(&caught));
    } else {
        println!("{found}");
        caught.iter().for_each(|caught| println!("{caught}"));
        if let Some(seed) = found.findings.keys().next() {
            println!("see it happen: cargo run --release --package heddle-sim -- --seed {seed}");
        }
    }
    let is_clean = found.is_clean() && caught.iter().all(|caught| caught.by.is_some());
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
