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
use super::measured::Measured;
use crate::error::{Context, Exit, Result};
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print};

const RESULTS: &str = "results.jsonl";
const MAKESPAN_TABLE: &str = "makespan.md";

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
    let mut table = Table::new(&["WORK", "CASE", "RESULT", "GOAL", "ROWS", "ATTEMPTS", "COMMITS"]);
    for (measured, cost) in lines {
        let mut counted = vec![cost.event_rows, cost.attempts, cost.commits];
        for line in measured.lines() {
            let counted = std::mem::take(&mut counted).into_iter().map(|count| count.to_string());
            let cells = [line.work.to_owned(), line.case, line.result, line.goal];
            table.row(cells.into_iter().chain(counted).collect());
        }
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

/// The arguments, without the address of a database, which may hold a password, and without where folders lie: what is kept is
/// shown to others, and says nothing of the machine's people.
fn command(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let bare = |text: &str| match text.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://…"),
        None => Path::new(text).file_name().map_or_else(|| text.to_owned(), |name| name.to_string_lossy().into_owned()),
    };
    let whole = |text: String| match text.split_once('=').filter(|(name, _)| name.starts_with("--")) {
        Some((name, value)) => format!("{name}={}", bare(value)),
        None => bare(&text),
    };
    arguments.map(whole).collect()
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
            (super::super::measured::tests::turns(), Counters { commits: 77, ..none }),
        ];
        let text = table(&lines).render(Style::PLAIN);
        assert!(text.contains("p50 3.5 ms, p99 5 ms"), "{text}");
        assert!(text.contains("unknown in memory, 90 bytes after"), "{text}");
        assert_eq!((text.matches("loop").count(), text.matches("77").count()), (6, 1), "{text}");
    }

    #[test]
    fn kept_arguments_hold_no_password() {
        let given = ["bench", "--database=postgres://a:secret@h/d"].map(str::to_owned);
        assert_eq!(command(given.into_iter()), ["bench", "--database=postgres://…"]);
    }

    #[test]
    fn kept_arguments_do_not_say_where_folders_lie() {
        let given = ["bench", "--graphs", "/srv/somebody/wfinstances/", "--save=../there/kept", "--repeats", "0.5"];
        let kept = command(given.map(str::to_owned).into_iter());
        assert_eq!(kept, ["bench", "--graphs", "wfinstances", "--save=kept", "--repeats", "0.5"]);
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
