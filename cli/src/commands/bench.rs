//! `heddle bench`: what it costs, measured here and now.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::{Makespan, Report, Work, measure, runs_folder};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::BENCH_SECONDS_PER_SLOT as SECONDS_PER_SLOT;
use crate::service::Stop;
use crate::ui::clock;

/// Measure this build on this machine: JSON lines on stdout, a table on stderr
#[derive(Debug, Args)]
pub struct Bench {
    /// Only these works, such as W1,W2
    #[arg(long, value_delimiter = ',', value_name = "WORKS", ignore_case = true)]
    work: Vec<Work>,
    /// The documents in WfFormat that makespan runs: all .json files of this folder
    #[arg(long, value_name = "FOLDER")]
    graphs: Option<PathBuf>,
    /// Runs of each case of makespan; the median counts
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=100))]
    repeats: u16,
    /// Work that makespan gives each slot, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds_per_slot)]
    seconds_per_slot: f64,
    /// Items of map
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = clap::value_parser!(u32).range(1_000..=100_000))]
    items: u32,
    /// Keep the results in this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Keep the results in tests/benches/runs of this checkout
    #[arg(long, conflicts_with = "out")]
    save: bool,
    /// An empty PostgreSQL database for W1 to W3, or for retention, postgres://USER:PASSWORD@HOST/DATABASE [default: a new file of SQLite]
    // It may hold a password, and so the help must not show it.
    #[arg(long, env = "HEDDLE_BENCH_DATABASE", hide_env_values = true, value_name = "DATABASE")]
    database: Option<String>,
    /// Where the cluster's data goes while it runs: the disk that is measured [default: the temporary folder]
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
}

impl Bench {
    /// Measures.
    pub async fn run(self) -> Result<()> {
        let scratch = match &self.scratch {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        };
        let scratch = scratch.context(Exit::Usage, "cannot make a folder for the cluster's data")?;
        let keep = if self.save { Some(next_run()?) } else { self.out };
        let works = works(self.work, self.database.is_some())?;
        let makespan = makespan(&works, self.graphs, self.repeats, self.seconds_per_slot)?;
        let items = self.items as usize;
        let mut report = Report::new(scratch.path(), keep.as_deref())?;
        let mut stop = Stop::listen()?;
        // Its processes end with it, however it ends.
        tokio::select! {
            measured = measure(&works, items, makespan.as_ref(), scratch.path(), self.database.as_deref(), &mut report) => measured?,
            () = stop.asked() => return Err(Failure::failed("stopped before the last work was measured")),
        }
        report.finish()
    }
}

/// The works in order, each once. Those that need a fresh cluster would find the database of the others.
fn works(mut chosen: Vec<Work>, given_database: bool) -> Result<Vec<Work>> {
    if chosen.is_empty() {
        chosen = Work::ALL.to_vec();
        chosen.retain(|work| !(given_database && work.needs_fresh_cluster()));
    }
    chosen.sort();
    chosen.dedup();
    let is_alone = chosen == [Work::Retention];
    if given_database && !is_alone && chosen.iter().any(|work| work.needs_fresh_cluster()) {
        let failure =
            Failure::usage("only W1, W2 and W3 can share a database that is given, or retention has it alone");
        return Err(failure.with_next("measure these with --database, and the others without"));
    }
    Ok(chosen)
}

/// What the work of this name takes, if it is among them.
fn makespan(works: &[Work], graphs: Option<PathBuf>, repeats: u16, seconds_per_slot: f64) -> Result<Option<Makespan>> {
    match (works.contains(&Work::Makespan), graphs) {
        (true, Some(graphs)) => Ok(Some(Makespan { graphs, repeats: repeats.into(), seconds_per_slot })),
        (false, None) => Ok(None),
        (true, None) => Err(Failure::usage("makespan needs graphs").with_next("name a folder with --graphs FOLDER")),
        (false, Some(_)) => Err(Failure::usage("only makespan takes --graphs").with_next("add --work makespan")),
    }
}

/// Reads how much work each slot has.
fn seconds_per_slot(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| SECONDS_PER_SLOT.contains(seconds));
    seconds.ok_or_else(|| format!("expected {} to {}", SECONDS_PER_SLOT.start(), SECONDS_PER_SLOT.end()))
}

/// The folder for today's run: its date, and a number from the second of a day on.
fn next_run() -> Result<PathBuf> {
    let here = std::env::current_dir().context(Exit::Failed, "cannot tell the current folder")?;
    let runs = runs_folder(&here).ok_or_else(|| {
        Failure::usage("this is no checkout of the project").with_next("keep the results with --out FOLDER")
    })?;
    Ok(free_name(&runs, &clock::date(clock::now_ms())))
}

fn free_name(runs: &Path, date: &str) -> PathBuf {
    let mut folder = runs.join(date);
    let mut number = 1;
    while folder.exists() {
        number += 1;
        folder = runs.join(format!("{date}-{number}"));
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_database_is_for_the_works_that_can_share_it() {
        assert_eq!(works(Vec::new(), true).unwrap(), [Work::W1, Work::W2, Work::W3]);
        assert_eq!(works(Vec::new(), false).unwrap(), Work::ALL);
        assert_eq!(works(vec![Work::W2, Work::W1, Work::W2], true).unwrap(), [Work::W1, Work::W2]);
        assert!(works(vec![Work::W4], true).is_err());
        assert_eq!(works(vec![Work::Retention], true).unwrap(), [Work::Retention]);
        assert!(works(vec![Work::W1, Work::Retention], true).is_err());
        assert!(works(vec![Work::Makespan], true).is_err());
    }

    #[test]
    fn graphs_are_for_the_makespan() {
        let graphs = || Some(PathBuf::from("graphs"));
        assert_eq!(makespan(&[Work::Makespan], graphs(), 5, 4.0).unwrap().unwrap().repeats, 5);
        assert!(makespan(&[Work::W1], None, 3, 4.0).unwrap().is_none());
        assert!(makespan(&[Work::Makespan], None, 3, 4.0).is_err());
        assert!(makespan(&[Work::W1], graphs(), 3, 4.0).is_err());
    }

    #[test]
    fn the_work_of_a_slot_has_bounds() {
        assert_eq!(seconds_per_slot("0.25"), Ok(0.25));
        for wrong in ["0", "-1", "NaN", "601", "four"] {
            assert_eq!(seconds_per_slot(wrong), Err("expected 0.01 to 600".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn no_run_is_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let first = free_name(temp.path(), "2026-01-01");
        std::fs::create_dir(&first).unwrap();
        let second = free_name(temp.path(), "2026-01-01");
        assert_eq!(second, temp.path().join("2026-01-01-2"));
        std::fs::create_dir(&second).unwrap();
        assert_eq!(free_name(temp.path(), "2026-01-01"), temp.path().join("2026-01-01-3"));
    }
}
