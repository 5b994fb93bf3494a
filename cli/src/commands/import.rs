//! `heddle import`: documents of others become workflow files.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::error::{Context, Exit, Failure, Result};
use crate::ui::{note, print, print_json, program};
use crate::wfformat::{Import as Make, Priorities, Scale, SleepGraph, Workflow};

/// Make workflow files of documents in other formats
#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Format {
    /// A recorded workflow of WfCommons (WfFormat 1.5): each task becomes a node that waits as long as the task ran
    Wfformat(Wfformat),
}

#[derive(Debug, Args)]
struct Wfformat {
    /// The document
    file: PathBuf,
    /// Where the workflow goes [default: the standard output]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Wait so many times as long
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = positive)]
    scale: f64,
    /// Scale so that all nodes together wait for so many seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "scale", value_parser = positive)]
    total_seconds: Option<f64>,
    /// Which nodes go first
    #[arg(long, value_enum, default_value = "none")]
    priorities: Priorities,
    /// Print JSON that says what was written
    #[arg(long, requires = "out")]
    json: bool,
}

impl Import {
    /// Reads, converts and writes.
    pub fn run(self) -> Result<()> {
        match self.format {
            Format::Wfformat(wfformat) => wfformat.run(),
        }
    }
}

impl Wfformat {
    fn run(self) -> Result<()> {
        let workflow = Workflow::read(&self.file)?;
        let scale = self.total_seconds.map_or(Scale::Factor(self.scale), Scale::TotalSeconds);
        let graph = Make { scale, priorities: self.priorities }.graph(&workflow)?;
        let text = serde_json::to_string_pretty(&graph.to_json()).context(Exit::Failed, "cannot write the workflow")?;
        let Some(out) = &self.out else { return print(&text) };
        write(&text, out, &self.file)?;
        if self.json {
            return print_json(&json!({
                "file": out, "name": graph.name, "nodes": graph.nodes.len(), "edges": graph.edge_count(),
                "totalMs": graph.total_ms(), "criticalPathMs": graph.critical_path_ms(),
            }));
        }
        print(&sentence(out, &graph))?;
        note(&format!("its nodes need agents with --debug-nodes: {} up --debug-nodes", program()));
        Ok(())
    }
}

fn sentence(out: &Path, graph: &SleepGraph) -> String {
    let seconds = |ms: u64| ms as f64 / 1e3;
    format!(
        "{}  {} nodes, {} edges, {} s in all, {} s on the critical path",
        out.display(),
        graph.nodes.len(),
        graph.edge_count(),
        seconds(graph.total_ms()),
        seconds(graph.critical_path_ms()),
    )
}

/// Writes the file, and never over the document that it is made of.
fn write(text: &str, out: &Path, source: &Path) -> Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if real(out).is_some_and(|out| real(source) == Some(out)) {
        return Err(Failure::usage(format!("{} is the document itself", out.display())).with_next("name another file"));
    }
    std::fs::write(out, format!("{text}\n")).context(Exit::Usage, format_args!("cannot write {}", out.display()))
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("give a number above 0".to_owned()),
    }
}
