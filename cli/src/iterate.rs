//! One run for each of many values: lists on the command line, and the batch that they make.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::{Batch, BatchPage, Client, RunStatus, error_text};
use crate::commands::batches::{counts, read, table};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{BATCH_LOOK_PAUSE, BATCH_RUNS_PAGE, INPUT_TEXT_BYTES_MAX};
use crate::ui::style::Style;
use crate::ui::{note, print, print_json, program};
use crate::workflow_file::WorkflowFile;

/// The `iteratorConfigs` that lists on the command line stand for: `NODE=@FILE`, a JSON array or a value a line, or
/// `NODE:=[…]`. They go along with each other, unless all combinations are asked for.
pub fn configs(given: &[String], file: &WorkflowFile, combine: bool) -> Result<Value> {
    let mode = if combine { "product" } else { "zip" };
    let mut configs = Vec::new();
    for pair in given {
        let (name, values) = match (pair.split_once(":="), pair.split_once("=@")) {
            (Some((name, json)), _) => (name, array(json, || format!("the list of {name}"))?),
            (None, Some((name, path))) => (name, listed(Path::new(path))?),
            (None, None) => {
                return Err(Failure::usage(format!("{pair:?} is no list of values"))
                    .with_next("write NODE=@FILE, with a JSON array or a value a line, or NODE:=[…]"));
            }
        };
        configs.push(json!({ "nodeId": file.resolve(name)?, "values": values, "mode": mode }));
    }
    if !combine {
        of_one_length(&configs)?;
    }
    Ok(Value::Array(configs))
}

/// Lists that go along with each other are equally long. The server says so, too, in the words of its requests.
fn of_one_length(configs: &[Value]) -> Result<()> {
    let length = |config: &Value| config["values"].as_array().map_or(0, Vec::len);
    let Some((first, others)) = configs.split_first() else { return Ok(()) };
    match others.iter().find(|other| length(other) != length(first)) {
        None => Ok(()),
        Some(other) => {
            let name = |config: &Value| config["nodeId"].as_str().unwrap_or_default().to_owned();
            Err(Failure::usage(format!(
                "{} has {} values and {} has {}, and they go along with each other",
                name(first),
                length(first),
                name(other),
                length(other)
            ))
            .with_next("give both as many values, or add --combine for all their combinations"))
        }
    }
}

fn listed(path: &Path) -> Result<Value> {
    let about = || format!("cannot read {}", path.display());
    let bytes = std::fs::metadata(path).context(Exit::Usage, about())?.len();
    if bytes > INPUT_TEXT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{} has {bytes} bytes: {INPUT_TEXT_BYTES_MAX} is the most",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).context(Exit::Usage, about())?;
    match text.trim_start().starts_with('[') {
        true => array(&text, || path.display().to_string()),
        false => Ok(text.lines().filter(|line| !line.trim().is_empty()).map(Value::from).collect()),
    }
}

fn array(json: &str, what: impl Fn() -> String) -> Result<Value> {
    let value: Value = serde_json::from_str(json).context(Exit::Usage, format_args!("{} is no JSON", what()))?;
    if value.is_array() { Ok(value) } else { Err(Failure::usage(format!("{} is no JSON array", what()))) }
}

/// Waits until a batch is over. `left` says how it goes on when its server ends with the watcher.
pub async fn follow(
    client: &Client,
    id: &str,
    (timeout, is_quiet): (Option<Duration>, bool),
    left: Option<String>,
) -> Result<Batch> {
    let (since, mut told) = (Instant::now(), None);
    let page = BatchPage { offset: 0, limit: 1, outputs: false };
    loop {
        let batch = read(client.batch(id, page).await?)?;
        if !is_quiet && told != Some(batch.counts) {
            note(&format!("{} runs: {}", batch.runs_total, counts(batch.counts)));
            told = Some(batch.counts);
        }
        if batch.status.is_over() {
            return Ok(batch);
        }
        let is_late = timeout.is_some_and(|timeout| since.elapsed() >= timeout);
        let stopped = tokio::select! {
            () = sleep(BATCH_LOOK_PAUSE) => is_late.then_some((Exit::Timeout, "the time is over")),
            _ = tokio::signal::ctrl_c() => Some((Exit::Interrupted, "interrupted")),
        };
        if let Some((exit, why)) = stopped {
            let (heddle, state) = (program(), if left.is_some() { "is kept" } else { "goes on" });
            let next = left.unwrap_or_else(|| format!("{heddle} batches get {id}, or {heddle} batches cancel {id}"));
            return Err(Failure::new(exit, format!("{why}; the batch {id} {state}")).with_next(next));
        }
    }
}

/// Prints what the runs of a batch gave, page by page: a table, or a JSON object a line for each run.
pub async fn show(client: &Client, id: &str, as_json: bool) -> Result<()> {
    let mut offset = Some(0);
    let mut is_first = true;
    while let Some(first) = offset {
        let value = client.batch(id, BatchPage { offset: first, limit: BATCH_RUNS_PAGE, outputs: true }).await?;
        if as_json {
            for run in value["executionRuns"].as_array().into_iter().flatten() {
                print_json(run)?;
            }
        }
        let batch = read(value)?;
        if !as_json && !batch.execution_runs.is_empty() {
            let table = table(&batch.execution_runs);
            print(&if is_first { table } else { table.without_headings() }.render(Style::stdout()))?;
        }
        (is_first, offset) = (false, batch.next_offset);
    }
    Ok(())
}

/// The failure that a batch's end is, if not all of its runs completed.
pub async fn outcome(client: &Client, batch: &Batch) -> Result<()> {
    if batch.status == RunStatus::Completed {
        return Ok(());
    }
    let why = match batch.status {
        RunStatus::Cancelled => "the batch was cancelled".to_owned(),
        _ => {
            let page = BatchPage { offset: 0, limit: BATCH_RUNS_PAGE, outputs: false };
            let runs = read(client.batch(&batch.id, page).await?)?.execution_runs;
            let first = runs.into_iter().find(|run| run.status == RunStatus::Failed).and_then(|run| run.error);
            let first = first.map(|error| format!("; the first: {}", error_text(&error))).unwrap_or_default();
            format!("{} of {} runs failed{first}", batch.counts.failed, batch.runs_total)
        }
    };
    Err(Failure::failed(why).with_next(format!("{} batches get {}", program(), batch.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_from_files_and_from_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let graph = r#"{"nodes":[{"id":"n1","data":{"nodeType":"input:text","label":"Topic"}},{"id":"n2","data":{"nodeType":"input:number"}}],"edges":[]}"#;
        std::fs::write(path("graph.json"), graph).unwrap();
        std::fs::write(path("lines.txt"), "herons\n\ntides\n").unwrap();
        std::fs::write(path("array.json"), r#" ["a", null]"#).unwrap();
        let file = WorkflowFile::read(&path("graph.json")).unwrap();
        let lines = format!("Topic=@{}", path("lines.txt").display());
        let found = configs(&[lines, "n2:=[1, 2]".into()], &file, false).unwrap();
        assert_eq!(found[0], json!({"nodeId": "n1", "values": ["herons", "tides"], "mode": "zip"}));
        assert_eq!(found[1], json!({"nodeId": "n2", "values": [1, 2], "mode": "zip"}));
        let array = format!("n1=@{}", path("array.json").display());
        assert_eq!(configs(&[array], &file, true).unwrap()[0]["mode"], "product");
        let uneven = ["Topic:=[\"a\", \"b\"]".to_owned(), "n2:=[1]".to_owned()];
        let refused = configs(&uneven, &file, false).unwrap_err();
        assert_eq!(refused.message, "n1 has 2 values and n2 has 1, and they go along with each other");
        assert!(refused.next.unwrap().contains("--combine"), "the option of the command, not of the request");
        assert!(configs(&uneven, &file, true).is_ok());
        for wrong in ["n1", "n1=x", "n1:=1", "n1:=[", "n1=@/nowhere/at/all", "nobody:=[1]"] {
            assert!(configs(&[wrong.to_owned()], &file, false).is_err(), "{wrong}");
        }
    }
}
