//! What the works come to, as results and in words, beside what is aimed at.

use std::fmt;

use serde::Serialize;

/// What one case of a work came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "work")]
pub(super) enum Measured {
    W1 {
        p50_ms: f64,
        p99_ms: f64,
        runs: usize,
    },
    W2 {
        in_flight: usize,
        nodes_per_s: u64,
        medians: Vec<u64>,
        runs: usize,
        refusals: u64,
    },
    W3 {
        nodes: usize,
        wall_ms: f64,
        runs: usize,
    },
    W4 {
        bytes_before: Option<i64>,
        bytes_after: i64,
        parked_runs: usize,
        resident_bytes: u64,
    },
    W5 {
        start_ms: f64,
        parked_runs: usize,
        starts: usize,
    },
    #[serde(rename = "map")]
    Map {
        items: usize,
        concurrency: usize,
        #[serde(flatten)]
        long: Long,
    },
    #[serde(rename = "loop")]
    Loop {
        turns: usize,
        #[serde(flatten)]
        long: Long,
    },
    #[serde(rename = "lint")]
    Lint {
        case: &'static str,
        nodes: usize,
        edges: usize,
        body_bytes: usize,
        /// The median.
        lint_ms: f64,
        lint_max_ms: f64,
        /// Of one run.
        wall_ms: f64,
    },
    #[serde(rename = "review")]
    Review {
        /// Runs that wait for people.
        parked_runs: usize,
        /// What one more of them adds to the coordinator's memory when it has left it.
        bytes_after: i64,
        /// What the coordinator takes to start on them.
        coordinator_start_ms: f64,
        /// Those of them that were answered, one after the other.
        reviews: usize,
        /// From the request that decides to the start of the next node.
        start_p50_ms: f64,
        start_p99_ms: f64,
        /// From the same to its answer.
        answer_p50_ms: f64,
        answer_p99_ms: f64,
    },
    #[serde(rename = "long-review")]
    LongReview {
        /// Events of the one run that waits for people again and again.
        events: u64,
        /// How often.
        reviews: usize,
        /// From the request that decides to the start of the next node: the run is on disk only by then.
        start_p50_ms: f64,
        start_max_ms: f64,
        /// From the same to its answer.
        answer_p50_ms: f64,
        answer_max_ms: f64,
    },
    #[serde(rename = "retention")]
    Retention {
        /// Finished runs in the database whose time is over, and rows of each one's history.
        runs: u32,
        rows_per_run: u64,
        /// W2 with 64 in flight, before, while and after old runs are removed: sets of three rounds.
        before_nodes_per_s: Vec<u64>,
        beside_nodes_per_s: Vec<u64>,
        after_nodes_per_s: Vec<u64>,
        /// By how much the median beside is below that of the sets around it, in percent.
        slower_percent: f64,
        /// What was removed in a second beside W2, and while nothing else was there.
        runs_per_s_beside: u64,
        rows_per_s_beside: u64,
        runs_per_s_alone: u64,
        rows_per_s_alone: u64,
        /// The file of the database: when it was filled, before the first page was removed, after W2 beside, and at the end.
        file_bytes: [u64; 4],
    },
    #[serde(rename = "readers")]
    Readers {
        /// Clients that follow a run that waits, that take 10 kB a second, and that take nothing.
        idle: usize,
        paced: usize,
        stopped: usize,
        /// Nodes a second of W2's load without them, before and after, and with them: medians.
        quiet_per_s: u64,
        busy_per_s: u64,
        loss_percent: f64,
        /// What each process took of the cores meanwhile.
        quiet_cores: Cores,
        busy_cores: Cores,
        /// What all readers of runs that speak read meanwhile: events, pieces among them, and bytes.
        events_per_s: u64,
        bytes_per_s: u64,
        /// What one of them adds to the memory of a process.
        coordinator_bytes_idle: u64,
        gateway_bytes_idle: u64,
        coordinator_bytes_slow: u64,
        gateway_bytes_slow: u64,
        /// Events of the histories that were checked, over all readers.
        events: u64,
        /// Times that a reader was cut off and came back.
        returns: u64,
        /// Gaps that readers were told of.
        gaps: u64,
        /// All that they read.
        bytes: u64,
    },
    #[serde(rename = "makespan")]
    Makespan {
        graph: String,
        nodes: usize,
        slots: usize,
        agents: usize,
        /// `none` or `rank`.
        priorities: &'static str,
        /// The median of all.
        wall_ms: f64,
        /// What the list schedule takes.
        list_ms: u64,
        /// No schedule takes less.
        bound_ms: u64,
        /// Of the two.
        ratio: f64,
        walls_ms: Vec<f64>,
    },
}

/// What each process took of the cores: seconds in a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Cores {
    pub(super) coordinator: f64,
    pub(super) gateway: f64,
    pub(super) agent: f64,
    /// The load generator, and all clients.
    pub(super) bench: f64,
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cores { coordinator, gateway, agent, bench } = self;
        write!(f, "cores: coordinator {coordinator}, gateway {gateway}, agent {agent}, bench {bench}")
    }
}

/// One long run: by itself, and beside another tenant's small runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Long {
    /// Runs by themselves, which come last: what is kept at hand within bounds is full by then.
    pub(super) runs: usize,
    /// The median of them.
    pub(super) wall_ms: f64,
    pub(super) per_s: u64,
    #[serde(flatten)]
    pub(super) costs: Costs,
    /// The coordinator's resident memory before the first long run.
    pub(super) bytes_idle: u64,
    #[serde(flatten)]
    pub(super) beside: Beside,
}

/// What one item of a long run costs, early and late, and the coordinator's memory on the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Costs {
    /// Microseconds by the clock for each item around item 1,000.
    pub(super) early_us: f64,
    /// The same before the last one.
    pub(super) late_us: f64,
    /// Of the two.
    pub(super) ratio: f64,
    /// The same of the time that the coordinator took of the cores.
    pub(super) early_processor_us: f64,
    pub(super) late_processor_us: f64,
    pub(super) processor_ratio: f64,
    /// By the clock in each tenth of the run.
    pub(super) tenths_us: Vec<f64>,
    /// The coordinator's time on the cores in each tenth.
    pub(super) tenths_processor_us: Vec<f64>,
    /// Resident before the run.
    pub(super) bytes_start: u64,
    /// When each tenth of the items had been sent, up to all of them.
    pub(super) bytes_tenths: Vec<u64>,
    /// The most that was seen, until the answer that the run is over.
    pub(super) bytes_max: u64,
    /// What each item adds after the first tenth: the median of the slopes between any two tenths.
    pub(super) bytes_per_item: f64,
}

/// What small runs of another tenant take while nothing else is there, and beside a long run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Beside {
    /// Long runs, one after the other.
    pub(super) long_runs: usize,
    /// The median of them.
    pub(super) wall_beside_ms: f64,
    /// Small runs while nothing else was there.
    pub(super) quiet_runs: usize,
    /// Small runs beside the long ones.
    pub(super) busy_runs: usize,
    pub(super) quiet_p50_ms: f64,
    pub(super) quiet_p99_ms: f64,
    pub(super) busy_p50_ms: f64,
    pub(super) busy_p99_ms: f64,
    pub(super) p50_ratio: f64,
    pub(super) p99_ratio: f64,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) work: &'static str,
    pub(super) case: String,
    pub(super) result: String,
    /// What is aimed at, and whether it was reached; empty where nothing is.
    pub(super) goal: String,
}

/// What is aimed at: no more than these.
const COST_RATIO_GOAL: f64 = 1.2;
const P99_RATIO_GOAL: f64 = 2.0;
/// MiB that all items of a run add: what a process takes of the system is not told more exactly.
const GROWTH_MIB_GOAL: f64 = 2.0;
const LINT_MS_GOAL: f64 = 100.0;
const REVIEW_P99_MS_GOAL: f64 = 30.0;
const LONG_REVIEW_MS_GOAL: f64 = 100.0;
const RETENTION_PERCENT_GOAL: f64 = 15.0;
const LOSS_PERCENT_GOAL: f64 = 10.0;

fn line(work: &'static str, case: impl Into<String>, result: impl Into<String>) -> Line {
    Line { work, case: case.into(), result: result.into(), goal: String::new() }
}

impl Line {
    fn at_most(self, value: f64, goal: f64) -> Self {
        let verdict = if value <= goal { "reached" } else { "missed" };
        Line { goal: format!("≤ {goal}: {verdict}"), ..self }
    }
}

impl Long {
    /// Of `count` items or turns.
    fn lines(&self, work: &'static str, one: &str, count: usize) -> Vec<Line> {
        let (costs, beside) = (&self.costs, &self.beside);
        let mib = |bytes: Option<&u64>| bytes.map_or(0, |bytes| bytes >> 20);
        let time = format!("{} → {} µs = {}", costs.early_us, costs.late_us, costs.ratio);
        let processor =
            format!("{} → {} µs = {}", costs.early_processor_us, costs.late_processor_us, costs.processor_ratio);
        let memory = [Some(&self.bytes_idle), Some(&costs.bytes_start), costs.bytes_tenths.first()];
        let memory = memory.into_iter().chain([costs.bytes_tenths.last(), Some(&costs.bytes_max)]).map(mib);
        let memory = memory.map(|mib| mib.to_string()).collect::<Vec<_>>().join(", ");
        let grown_mib = costs.bytes_per_item * count as f64 / f64::from(1 << 20);
        let memory = format!("{memory}; {grown_mib:.1} more by all {one}s");
        let small = |quiet: f64, busy: f64, ratio: f64| format!("{quiet} → {busy} ms = {ratio}");
        let p50 = small(beside.quiet_p50_ms, beside.busy_p50_ms, beside.p50_ratio);
        let p99 = small(beside.quiet_p99_ms, beside.busy_p99_ms, beside.p99_ratio);
        vec![
            line(work, format!("{count} {one}s"), format!("{} ms, {}/s", self.wall_ms, self.per_s)),
            line(work, format!("time of one {one}, early → late"), time).at_most(costs.ratio, COST_RATIO_GOAL),
            line(work, "of it on the coordinator's cores", processor).at_most(costs.processor_ratio, COST_RATIO_GOAL),
            line(work, "coordinator's MiB: idle, start, tenth, all, most", memory).at_most(grown_mib, GROWTH_MIB_GOAL),
            line(work, format!("another tenant's p99, {} → {} runs", beside.quiet_runs, beside.busy_runs), p99)
                .at_most(beside.p99_ratio, P99_RATIO_GOAL),
            line(work, "another tenant's p50, quiet → beside", p50),
        ]
    }
}

impl Measured {
    /// Work, case and result in a line.
    pub(super) fn sentence(&self) -> String {
        let lines = self.lines().into_iter().map(|line| format!("{} {}: {}", line.work, line.case, line.result));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn costs_of_readers(&self) -> Vec<Line> {
        let Measured::Readers {
            quiet_cores,
            busy_cores,
            events_per_s,
            bytes_per_s,
            coordinator_bytes_idle,
            gateway_bytes_idle,
            coordinator_bytes_slow,
            gateway_bytes_slow,
            returns,
            gaps,
            ..
        } = self
        else {
            return Vec::new();
        };
        let kib = |coordinator: &u64, gateway: &u64| format!("{} + {} KiB", coordinator / 1024, gateway / 1024);
        let (idle, slow) =
            (kib(coordinator_bytes_idle, gateway_bytes_idle), kib(coordinator_bytes_slow, gateway_bytes_slow));
        let read = format!("{events_per_s} events/s, {} kB/s; {returns} returns, {gaps} gaps", bytes_per_s / 1_000);
        vec![
            line("readers", "one idle, one slow in coordinator + gateway", format!("{idle}, {slow}")),
            line("readers", "read beside W2, and gaps that were told", read),
            line("readers", "without readers", quiet_cores.to_string()),
            line("readers", "with readers", busy_cores.to_string()),
        ]
    }

    /// For the table.
    pub(super) fn lines(&self) -> Vec<Line> {
        let one = match self {
            Measured::W1 { p50_ms, p99_ms, .. } => {
                line("W1", "chain of 10, one at a time", format!("p50 {p50_ms} ms, p99 {p99_ms} ms"))
            }
            Measured::W2 { in_flight, nodes_per_s, .. } => {
                line("W2", format!("{in_flight} in flight"), format!("{nodes_per_s} nodes/s"))
            }
            Measured::W3 { nodes, wall_ms, .. } => line("W3", format!("{nodes} in parallel"), format!("{wall_ms} ms")),
            Measured::W4 { bytes_before, bytes_after, .. } => {
                let before = bytes_before.map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
                line("W4", "one more waiting run", format!("{before} in memory, {bytes_after} bytes after"))
            }
            Measured::W5 { start_ms, parked_runs, .. } => {
                line("W5", format!("{parked_runs} waiting runs"), format!("{start_ms} ms to start"))
            }
            Measured::Map { items, long, .. } => return long.lines("map", "item", *items),
            Measured::Loop { turns, long } => return long.lines("loop", "turn", *turns),
            Measured::Lint { case, nodes, edges, lint_ms, wall_ms, .. } => {
                let case = format!("{case}, {nodes} nodes, {edges} edges");
                line("lint", case, format!("{lint_ms} ms to look at, {wall_ms} ms to run"))
                    .at_most(*lint_ms, LINT_MS_GOAL)
            }
            Measured::Review { parked_runs, bytes_after, coordinator_start_ms, start_p50_ms, start_p99_ms, .. } => {
                let starts = line(
                    "review",
                    format!("answer → next node, {parked_runs} waiting runs"),
                    format!("p50 {start_p50_ms} ms, p99 {start_p99_ms} ms"),
                );
                let rest = format!("{bytes_after} bytes, {coordinator_start_ms} ms");
                let rest = line("review", "one more of them in memory, a start on all", rest);
                return vec![starts.at_most(*start_p99_ms, REVIEW_P99_MS_GOAL), rest];
            }
            Measured::LongReview { events, start_p50_ms, start_max_ms, .. } => line(
                "review",
                format!("answer → next node, a run of {events} events"),
                format!("p50 {start_p50_ms} ms, at most {start_max_ms} ms"),
            )
            .at_most(*start_max_ms, LONG_REVIEW_MS_GOAL),
            Measured::Retention { .. } => return self.retention_lines(),
            Measured::Readers { idle, paced, stopped, quiet_per_s, busy_per_s, loss_percent, .. } => {
                let case = format!("W2 beside {paced} readers at 10 kB/s, {stopped} that stop, {idle} that wait");
                let throughput = line("readers", case, format!("{quiet_per_s} → {busy_per_s} nodes/s"));
                let mut lines = vec![throughput.at_most(*loss_percent, LOSS_PERCENT_GOAL)];
                lines.extend(self.costs_of_readers());
                return lines;
            }
            Measured::Makespan { graph, slots, agents, priorities, wall_ms, list_ms, bound_ms, ratio, .. } => {
                let case = format!("{graph}, slots {slots}, agents {agents}, priorities {priorities}");
                line("makespan", case, format!("{wall_ms} ms = {ratio} × {list_ms} (bound {bound_ms})"))
            }
        };
        vec![one]
    }

    fn retention_lines(&self) -> Vec<Line> {
        let Measured::Retention {
            runs,
            before_nodes_per_s,
            beside_nodes_per_s,
            slower_percent,
            runs_per_s_beside,
            rows_per_s_beside,
            runs_per_s_alone,
            rows_per_s_alone,
            file_bytes,
            ..
        } = self
        else {
            return Vec::new();
        };
        let rate = |runs: &u64, rows: &u64| format!("{runs} runs/s, {rows} rows/s");
        let best = |rates: &[u64]| rates.iter().copied().max().unwrap_or_default();
        let w2 = format!("{} → {} nodes/s", best(before_nodes_per_s), best(beside_nodes_per_s));
        let mib = file_bytes.map(|bytes| (bytes >> 20).to_string()).join(", ");
        vec![
            line(
                "retention",
                format!("W2 beside the removal of {runs} runs, slower by %"),
                format!("{slower_percent}; {w2}"),
            )
            .at_most(*slower_percent, RETENTION_PERCENT_GOAL),
            line("retention", "removed beside W2", rate(runs_per_s_beside, rows_per_s_beside)),
            line("retention", "removed alone", rate(runs_per_s_alone, rows_per_s_alone)),
            line("retention", "file's MiB: filled, before, after W2 beside, end", mib),
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A loop's figures.
    pub(in super::super) fn turns() -> Measured {
        let costs = Costs {
            early_us: 40.0,
            late_us: 44.0,
            ratio: 1.1,
            early_processor_us: 20.0,
            late_processor_us: 25.0,
            processor_ratio: 1.25,
            tenths_us: vec![40.0; 10],
            tenths_processor_us: vec![20.0; 10],
            bytes_start: 50 << 20,
            bytes_tenths: vec![60 << 20, 70 << 20],
            bytes_max: 80 << 20,
            bytes_per_item: 52.4,
        };
        let beside = Beside {
            long_runs: 4,
            wall_beside_ms: 500.0,
            quiet_runs: 1_000,
            busy_runs: 500,
            quiet_p50_ms: 4.0,
            quiet_p99_ms: 6.0,
            busy_p50_ms: 5.0,
            busy_p99_ms: 9.0,
            p50_ratio: 1.25,
            p99_ratio: 1.5,
        };
        Measured::Loop {
            turns: 10_000,
            long: Long { runs: 5, wall_ms: 400.0, per_s: 25_000, costs, bytes_idle: 40 << 20, beside },
        }
    }

    #[test]
    fn a_long_run_says_what_it_aims_at() {
        let lines = turns().lines();
        let goals: Vec<&str> = lines.iter().map(|line| line.goal.as_str()).collect();
        assert_eq!(goals, ["", "≤ 1.2: reached", "≤ 1.2: missed", "≤ 2: reached", "≤ 2: reached", ""]);
        assert_eq!(lines[3].result, "40, 50, 60, 70, 80; 0.5 more by all turns");
        assert_eq!(lines[4].case, "another tenant's p99, 1000 → 500 runs");
    }

    #[test]
    fn a_case_is_a_sentence() {
        let makespan = Measured::Makespan {
            graph: "montage".into(),
            nodes: 3,
            slots: 4,
            agents: 2,
            priorities: "rank",
            wall_ms: 101.0,
            list_ms: 100,
            bound_ms: 98,
            ratio: 1.01,
            walls_ms: vec![101.0],
        };
        assert_eq!(
            makespan.sentence(),
            "makespan montage, slots 4, agents 2, priorities rank: 101 ms = 1.01 × 100 (bound 98)"
        );
    }
}
