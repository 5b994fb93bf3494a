//! Results: JSON lines on stdout, a table on stderr, and files when they are to be kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::{Value, json};

use super::cluster::Counters;
use super::machine::{Machine, fdatasync_ms};
use super::makespan_table;
use crate::error::{Context, Exit, Result};
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print};

const RESULTS: &str = "results.jsonl";
const MAKESPAN_TABLE: &str = "makespan.md";

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
        wall_ms: f64,
        items_per_s: u64,
        #[serde(flatten)]
        costs: Costs,
        /// Of the run beside the small ones.
        wall_beside_ms: f64,
        /// Small runs beside it.
        busy_runs: usize,
        quiet_p50_ms: f64,
        quiet_p99_ms: f64,
        busy_p50_ms: f64,
        busy_p99_ms: f64,
        p50_ratio: f64,
        p99_ratio: f64,
    },
    #[serde(rename = "loop")]
    Loop {
        turns: usize,
        wall_ms: f64,
        #[serde(flatten)]
        costs: Costs,
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
    /// What each item added after the first tenth.
    pub(super) bytes_per_item: f64,
}

impl Costs {
    fn words(&self) -> String {
        let mib = |bytes: Option<&u64>| bytes.map_or(0, |bytes| bytes >> 20);
        format!(
            "{} → {} µs each = {} (on the cores {}), {} → {} → {} MiB = {} bytes each",
            self.early_us,
            self.late_us,
            self.ratio,
            self.processor_ratio,
            mib(Some(&self.bytes_start)),
            mib(self.bytes_tenths.first()),
            mib(self.bytes_tenths.last()),
            self.bytes_per_item
        )
    }
}

impl Measured {
    /// Work, case and result in a line.
    pub(super) fn sentence(&self) -> String {
        let (work, case, result) = self.words();
        format!("{work} {case}: {result}")
    }

    /// Work, case and result for the table.
    fn words(&self) -> (&'static str, String, String) {
        match self {
            Measured::W1 { p50_ms, p99_ms, .. } => {
                ("W1", "chain of 10, one at a time".into(), format!("p50 {p50_ms} ms, p99 {p99_ms} ms"))
            }
            Measured::W2 { in_flight, nodes_per_s, .. } => {
                ("W2", format!("{in_flight} in flight"), format!("{nodes_per_s} nodes/s"))
            }
            Measured::W3 { nodes, wall_ms, .. } => ("W3", format!("{nodes} in parallel"), format!("{wall_ms} ms")),
            Measured::W4 { bytes_before, bytes_after, .. } => {
                let before = bytes_before.map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
                ("W4", "one more waiting run".into(), format!("{before} in memory, {bytes_after} bytes after"))
            }
            Measured::W5 { start_ms, parked_runs, .. } => {
                ("W5", format!("{parked_runs} waiting runs"), format!("{start_ms} ms to start"))
            }
            Measured::Map {
                items,
                wall_ms,
                items_per_s,
                costs,
                busy_p50_ms,
                busy_p99_ms,
                p50_ratio,
                p99_ratio,
                ..
            } => {
                let beside = format!("p50 {busy_p50_ms} ms = {p50_ratio}, p99 {busy_p99_ms} ms = {p99_ratio} of quiet");
                let result = format!("{wall_ms} ms, {items_per_s}/s; {}; beside it {beside}", costs.words());
                ("map", format!("{items} items"), result)
            }
            Measured::Loop { turns, wall_ms, costs } => {
                ("loop", format!("{turns} turns"), format!("{wall_ms} ms; {}", costs.words()))
            }
            Measured::Lint { case, nodes, edges, lint_ms, wall_ms, .. } => {
                let case = format!("{case}, {nodes} nodes, {edges} edges");
                ("lint", case, format!("{lint_ms} ms to look at, {wall_ms} ms to run"))
            }
            Measured::Makespan { graph, slots, agents, priorities, wall_ms, list_ms, bound_ms, ratio, .. } => {
                let case = format!("{graph}, slots {slots}, agents {agents}, priorities {priorities}");
                ("makespan", case, format!("{wall_ms} ms = {ratio} × {list_ms} (bound {bound_ms})"))
            }
        }
    }
}

/// One line of the results.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    measured: &'a Measured,
    machine: Value,
    database: &'a str,
    fdatasync_ms: f64,
    event_rows: u64,
    attempts: u64,
    commits: u64,
    profile: &'static str,
    version: &'static str,
}

/// Collects the results of one bench.
#[derive(Debug)]
pub struct Report {
    machine: Machine,
    fdatasync_ms: f64,
    database: String,
    lines: Vec<(Measured, Counters)>,
    kept: Option<(PathBuf, File)>,
}

impl Report {
    /// Measures the disk under `scratch`, and keeps the results in the folder `keep` if there is one.
    pub fn new(scratch: &Path, keep: Option<&Path>) -> Result<Self> {
        let (machine, fdatasync_ms) = (Machine::here(), round(fdatasync_ms(scratch)?));
        let kept = keep.map(|folder| open(folder, &machine, fdatasync_ms)).transpose()?;
        Ok(Report { machine, fdatasync_ms, database: String::new(), lines: Vec::new(), kept })
    }

    /// Names the database of the lines to come.
    pub(super) fn database(&mut self, name: &str) {
        name.clone_into(&mut self.database);
    }

    /// Takes one result, with what the coordinator counted meanwhile.
    pub(super) fn line(&mut self, measured: Measured, cost: Counters) -> Result<()> {
        let row = Row {
            measured: &measured,
            machine: json!({ "cpu": self.machine.cpu, "cores": self.machine.cores }),
            database: &self.database,
            fdatasync_ms: self.fdatasync_ms,
            event_rows: cost.event_rows,
            attempts: cost.attempts,
            commits: cost.commits,
            profile: profile(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let text = serde_json::to_string(&row).context(Exit::Failed, "cannot write a result as JSON")?;
        print(&text)?;
        if let Some((path, file)) = &mut self.kept {
            writeln!(file, "{text}").context(Exit::Failed, format_args!("cannot write {}", path.display()))?;
        }
        self.lines.push((measured, cost));
        Ok(())
    }

    /// The table for eyes, on stderr. That of the makespan is kept with the results, too.
    pub fn finish(self) -> Result<()> {
        let machine = &self.machine;
        note(&format!(
            "\n{}, {} cores, {}, fdatasync {} ms{}\n",
            machine.cpu,
            machine.cores,
            self.database,
            self.fdatasync_ms,
            if cfg!(debug_assertions) { "; a debug build: the figures say little" } else { "" }
        ));
        note(&table(&self.lines).render(Style::stderr()));
        let measured = || self.lines.iter().map(|(measured, _)| measured);
        if let Some(table) = makespan_table::plain(measured()) {
            note(&format!("\n{}\n\n{}", table.render(Style::stderr()), makespan_table::LEGEND));
        }
        let Some((path, _)) = &self.kept else { return Ok(()) };
        if let Some(table) = makespan_table::markdown(measured()) {
            let path = path.with_file_name(MAKESPAN_TABLE);
            fs::write(&path, table).context(Exit::Failed, format_args!("cannot write {}", path.display()))?;
        }
        note(&format!("\nkept in {}", path.display()));
        Ok(())
    }
}

/// Three digits after the point are enough.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

fn table(lines: &[(Measured, Counters)]) -> Table {
    let mut table = Table::new(&["WORK", "CASE", "RESULT", "ROWS", "ATTEMPTS", "COMMITS"]);
    for (measured, cost) in lines {
        let (work, case, result) = measured.words();
        let counted = [cost.event_rows, cost.attempts, cost.commits].map(|count| count.to_string());
        table.row([work.to_owned(), case, result].into_iter().chain(counted).collect());
    }
    table
}

/// Opens the results file of a folder and writes down beside it how the results came about.
fn open(folder: &Path, machine: &Machine, fdatasync_ms: f64) -> Result<(PathBuf, File)> {
    let failed = format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).context(Exit::Usage, &failed)?;
    let about = json!({
        "command": command(std::env::args().skip(1)),
        "at": clock::rfc3339(clock::now_ms()),
        "commit": commit(),
        "version": env!("CARGO_PKG_VERSION"),
        "profile": profile(),
        "machine": machine,
        "fdatasync_ms": fdatasync_ms,
        "settings": "default: one coordinator (SQLite: WAL, synchronous=FULL; PostgreSQL: as its server is set), one gateway, one agent (for the makespan as many as its lines say), one load generator, all on this machine",
    });
    let text = serde_json::to_vec_pretty(&about).context(Exit::Failed, &failed)?;
    fs::write(folder.join("about.json"), text).context(Exit::Usage, &failed)?;
    let path = folder.join(RESULTS);
    let file = File::create(&path).context(Exit::Usage, &failed)?;
    Ok((path, file))
}

/// The arguments, without the address of a database: it may hold a password.
fn command(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let scheme =
        |text: String| text.split_once("://").map_or_else(|| text.clone(), |(scheme, _)| format!("{scheme}://…"));
    arguments.map(scheme).collect()
}

/// The commit of the checkout, with `-dirty` when files differ from it; `None` outside of one.
fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_it_in_words() {
        let none = Counters::default();
        let lines = [
            (Measured::W1 { p50_ms: 3.5, p99_ms: 5.0, runs: 1 }, none),
            (Measured::W4 { bytes_before: None, bytes_after: 90, parked_runs: 1, resident_bytes: 1 }, none),
        ];
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
        let costs = Costs {
            early_us: 40.0,
            late_us: 44.0,
            ratio: 1.1,
            processor_ratio: 1.0,
            tenths_us: vec![40.0; 10],
            tenths_processor_us: vec![20.0; 10],
            bytes_start: 50 << 20,
            bytes_tenths: vec![60 << 20, 70 << 20],
            bytes_max: 80 << 20,
            bytes_per_item: 104.5,
        };
        let turns = Measured::Loop { turns: 10_000, wall_ms: 400.0, costs };
        let words =
            "loop 10000 turns: 400 ms; 40 → 44 µs each = 1.1 (on the cores 1), 50 → 60 → 70 MiB = 104.5 bytes each";
        assert_eq!(turns.sentence(), words);
        let text = table(&lines).render(Style::PLAIN);
        assert!(text.contains("p50 3.5 ms, p99 5 ms"), "{text}");
        assert!(text.contains("unknown in memory, 90 bytes after"), "{text}");
    }

    #[test]
    fn kept_arguments_hold_no_password() {
        let given = ["bench", "--database=postgres://a:secret@h/d"].map(str::to_owned);
        assert_eq!(command(given.into_iter()), ["bench", "--database=postgres://…"]);
    }

    #[test]
    fn results_are_kept_with_their_circumstances() {
        let temp = tempfile::tempdir().unwrap();
        let keep = temp.path().join("runs/2026-01-01");
        let mut report = Report::new(temp.path(), Some(&keep)).unwrap();
        report.database("sqlite");
        let measured = Measured::W1 { p50_ms: 1.0, p99_ms: 2.0, runs: 1 };
        report.line(measured, Counters { commits: 3, ..Counters::default() }).unwrap();
        report.finish().unwrap();
        let text = fs::read_to_string(keep.join(RESULTS)).unwrap();
        assert!(text.starts_with(r#"{"work":"W1","p50_ms":1.0,"#), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["commits"], &line["database"]), (&json!(3), &json!("sqlite")));
        assert!(line["machine"]["cores"].as_u64().unwrap() > 0);
        let about: Value = serde_json::from_slice(&fs::read(keep.join("about.json")).unwrap()).unwrap();
        assert!(about["fdatasync_ms"].as_f64().unwrap() > 0.0);
    }
}
