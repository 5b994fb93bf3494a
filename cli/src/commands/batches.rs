//! `heddle batches`: many runs that one request has started.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{Batch, BatchCounts, BatchPage, BatchRun, Client, error_text};
use crate::connection::Connection;
use crate::error::{Context, Exit, Result};
use crate::outputs::bare;
use crate::ui::next::server_options;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print, print_json, program};

/// Get and cancel batches of runs
#[derive(Debug, Args)]
pub struct Batches {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Get one batch, and a page of its runs with what they gave
    Get {
        /// The batch's id
        id: String,
        /// The index of the first run to show
        #[arg(long, default_value_t = 0)]
        offset: u64,
        /// At most so many runs
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=200))]
        limit: u64,
    },
    /// Cancel a batch: no more of its runs start, and those that go on are stopped
    Cancel {
        /// The batch's id
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Batches {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::Get { id, offset, limit } => get(&client, &id, (offset, limit), self.json).await,
            Verb::Cancel { id, reason } => {
                let value = client.cancel_batch(&id, reason.as_deref()).await?;
                if self.json { print_json(&value) } else { print(&head(&read(value)?, Style::stdout())) }
            }
        }
    }
}

async fn get(client: &Client, id: &str, (offset, limit): (u64, u64), as_json: bool) -> Result<()> {
    let value = client.batch(id, BatchPage { offset, limit, outputs: true }).await?;
    if as_json {
        return print_json(&value);
    }
    let batch = read(value)?;
    print(&head(&batch, Style::stdout()))?;
    if !batch.execution_runs.is_empty() {
        print("")?;
        print(&table(&batch.execution_runs).render(Style::stdout()))?;
    }
    if let Some(next) = batch.next_offset {
        note(&format!("more: {} batches get {id}{} --offset {next}", program(), server_options()));
    }
    Ok(())
}

fn head(batch: &Batch, style: Style) -> String {
    let mut lines = vec![format!("{}  {}", style.bold(&batch.id), style.status(batch.status.word()))];
    lines.push(format!("workflow  {}", batch.workflow_id));
    if let Some(start) = &batch.start_time {
        let took = clock::elapsed(Some(start), batch.end_time.as_deref());
        lines.push(format!("started   {start}, took {took}"));
    }
    lines.push(format!("runs      {}: {}", batch.runs_total, counts(batch.counts)));
    lines.join("\n")
}

/// How many runs stand how, without those that none does.
pub fn counts(counts: BatchCounts) -> String {
    let BatchCounts { pending, running, completed, failed, cancelled } = counts;
    let named = [
        (completed, "completed"),
        (failed, "failed"),
        (cancelled, "cancelled"),
        (running, "running"),
        (pending, "pending"),
    ];
    let shown = named.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    shown.collect::<Vec<_>>().join(", ")
}

/// Runs by index, each with what it gave on one line.
pub fn table(runs: &[BatchRun]) -> Table {
    let mut table = Table::new(&["INDEX", "STATUS", "ID", "RESULT"]);
    for run in runs {
        table.row(vec![run.run_index_in_batch.to_string(), run.status.word().into(), run.id.clone(), result(run)]);
    }
    table
}

fn result(run: &BatchRun) -> String {
    const CHARS_MAX: usize = 60;
    let error = run.error.as_ref().filter(|error| !error.is_null()).map(error_text);
    let given = || run.final_output.as_ref().map(|given| bare(&given.output));
    let text = error.or_else(given).unwrap_or_default();
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect();
    if text.chars().nth(CHARS_MAX).is_some() { format!("{line}…") } else { line }
}

/// A batch from the server's answer.
pub fn read(value: Value) -> Result<Batch> {
    serde_json::from_value(value).context(Exit::Failed, "the server's batch cannot be read")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_reads_well_in_plain_text() {
        let value = json!({
            "id": "b1", "workflowId": "wf_1", "status": "RUNNING", "startTime": "2026-05-02T09:00:00.000Z",
            "endTime": "2026-05-02T09:00:01.500Z", "runsTotal": 4,
            "counts": {"pending": 1, "running": 1, "completed": 1, "failed": 1, "cancelled": 0},
            "executionRuns": [
                {"id": "exec_1", "runIndexInBatch": 0, "status": "COMPLETED", "finalOutput": {"output": {"text": "two\nlines"}}},
                {"id": "exec_2", "runIndexInBatch": 1, "status": "FAILED", "error": {"message": "no luck"}},
                {"id": "exec_3", "runIndexInBatch": 2, "status": "PENDING", "unknownField": {}},
            ],
        });
        let batch = read(value).unwrap();
        assert_eq!(
            head(&batch, Style::PLAIN),
            "b1  RUNNING\nworkflow  wf_1\nstarted   2026-05-02T09:00:00.000Z, took 1.5 s\n\
             runs      4: 1 completed, 1 failed, 1 running, 1 pending"
        );
        let table = table(&batch.execution_runs).render(Style::PLAIN);
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert!(
            lines[1].ends_with("two lines") && lines[2].ends_with("no luck") && lines[3].ends_with("exec_3"),
            "{table}"
        );
    }
}
