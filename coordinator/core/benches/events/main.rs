//! What the event of one finished node costs the engine, from 10 to 20,000 nodes, items of a map and turns of a loop (of
//! which there are 10,000 at most). It must not grow with the graph or the history. A run's first and last event are part of
//! the cost and not of the count.
//!
//! Without an argument it prints times. With `--instructions` it runs itself under valgrind's callgrind and counts the
//! instructions inside [`measured`], which a busy machine does not disturb; it fails when an event of a large graph costs
//! more than [`GROWTH_MAX`] times one of a smaller graph.

#![allow(clippy::expect_used, reason = "what a bench cannot do ends it")]

mod cluster;
mod measured;
mod shape;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use cluster::Cluster;
use shape::Shape;

/// How much more an event of a large graph may cost than one of any smaller graph of the same shape.
const GROWTH_MAX: f64 = 1.3;

const SIZES: [usize; 4] = [10, 100, 1_000, 20_000];

/// Small graphs are run again and again, until about this many nodes have run.
const NODES_MIN: usize = 4_000;

/// The two things that are measured.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Runs go through a partition: submission, assignment, result, commit.
    Drive,
    /// Their histories are folded again, as a restart does.
    Fold,
}

impl Work {
    const ALL: [Work; 2] = [Work::Drive, Work::Fold];

    fn name(self) -> &'static str {
        match self {
            Work::Drive => "drive",
            Work::Fold => "fold",
        }
    }
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            print_table("nanoseconds", |work, shape, size| {
                let (nodes, spent) = measure(work, shape, size);
                spent.as_nanos() as f64 / nodes as f64
            });
            ExitCode::SUCCESS
        }
        ["--instructions"] => match print_table("instructions", count_instructions) {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        ["--once", work, shape, size] => {
            let work = Work::ALL.into_iter().find(|known| known.name() == work).expect("a work that exists");
            let shape = Shape::ALL.into_iter().find(|known| known.name() == shape).expect("a shape that exists");
            let (nodes, _) = measure(work, shape, size.parse().expect("a size is a number"));
            println!("{nodes}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("cannot read {arguments:?}: give nothing, or --instructions");
            ExitCode::from(2)
        }
    }
}

/// Prints the cost of each work on each shape at each size; answers how many of them grew too much.
fn print_table(unit: &str, cost: impl Fn(Work, Shape, usize) -> f64) -> usize {
    println!("{:<20}{}", unit, SIZES.map(|size| format!("{size:>12}")).concat());
    let mut grown = 0;
    for work in Work::ALL {
        for shape in Shape::ALL {
            let costs = SIZES.map(|size| cost(work, shape, size));
            let growth = growth(&costs);
            let verdict = if growth > GROWTH_MAX { "GROWS" } else { "" };
            let cells = costs.map(|cost| format!("{cost:>12.0}")).concat();
            println!("{:<20}{cells}   x{growth:.2} {verdict}", format!("{} {}", work.name(), shape.name()));
            grown += usize::from(growth > GROWTH_MAX);
        }
    }
    grown
}

/// The worst ratio between a cost and the least cost before it.
fn growth(costs: &[f64]) -> f64 {
    let mut least = f64::INFINITY;
    let mut worst: f64 = 0.0;
    for cost in costs {
        worst = worst.max(cost / least);
        least = least.min(*cost);
    }
    worst
}

/// How many nodes were finished, and how long the measured part took.
fn measure(work: Work, shape: Shape, size: usize) -> (u64, Duration) {
    let size = shape.size(size);
    let graph = shape.graph(size);
    let mut cluster = Cluster::new();
    let mut nodes = 0;
    let mut spent = Duration::ZERO;
    for _ in 0..(NODES_MIN / size).max(1) {
        let (run, history) = cluster.drive(&graph, size);
        nodes += size as u64;
        if matches!(work, Work::Fold) {
            let begun = now();
            let folded = measured::fold(run, &graph, &history);
            spent += begun.elapsed();
            assert_eq!(folded.progress().1, 0, "the fold ends where the run ended");
        }
    }
    match work {
        Work::Drive => (nodes, cluster.spent()),
        Work::Fold => (nodes, spent),
    }
}

/// Runs one measurement in a process of its own, of which callgrind sees only the measured function.
fn count_instructions(work: Work, shape: Shape, size: usize) -> f64 {
    let measured = match work {
        Work::Drive => "--toggle-collect=*measured*drive*",
        Work::Fold => "--toggle-collect=*measured*fold*",
    };
    let program = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", measured])
        .arg(program)
        .args(["--once", work.name(), shape.name(), &size.to_string()])
        .output()
        .expect("valgrind starts (get it: apt-get install valgrind)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind sums up").1;
    let instructions: f64 = collected.trim().parse().expect("a sum is a number");
    let nodes: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("the child counts its nodes");
    assert!(instructions > nodes, "nothing was collected: {measured} matches no function");
    instructions / nodes
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock; the engine does not")]
fn now() -> Instant {
    Instant::now()
}
