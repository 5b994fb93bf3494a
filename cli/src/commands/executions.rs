//! `heddle executions`: what ran and what runs.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::execution_children::{self, ChildrenOf};
use super::execution_node::NodeOf;
use super::execution_signal::SignalOf;
use super::explain::explain;
use super::export::ExportOf;
use super::pages::{Listed, Pages};
use super::pause::{PauseOf, UnpauseOf};
use super::resume::{LineageOf, RerunOf, ResumeOf};
use crate::client::{Client, Event, EventStream, Execution, ExecutionFilter, NodeRun, Waiting, error_text, with_index};
use crate::completion;
use crate::connection::Connection;
use crate::error::{Context, Exit, Result};
use crate::follow::{Until, follow, outcome, stopped};
use crate::limits::{EVENT_STREAM_FAILURES_MAX, EVENT_STREAM_PAUSE, RESULT_SHOWN_CHARS_MAX};
use crate::outputs::bare;
use crate::ui::next::with_server;
use crate::ui::progress::Progress;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::waterfall::{self, Waterfall};
use crate::ui::{clock, note, one_line, plain, print, print_json, program};

/// List, get, watch, trace, signal, cancel, pause and resume runs
#[derive(Debug, Args)]
pub struct Executions {
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
    /// List runs, newest first
    List(List),
    /// Get one run and its nodes
    Get {
        /// The run's id
        #[arg(add = completion::executions())]
        id: String,
    },
    /// Get one node of a run, or one item of a map or loop
    Node(NodeOf),
    /// Watch a run until it is over; exits like the run
    Watch {
        /// The run's id
        #[arg(add = completion::executions())]
        id: String,
        /// Stop watching after this time (90s, 5m); the run goes on
        #[arg(long, value_parser = clock::parse_span)]
        timeout: Option<Duration>,
        /// Stop watching, with exit code 6, when the run waits for a review
        #[arg(long)]
        exit_on_review: bool,
    },
    /// Show where a run's time went: nodes and attempts over time, with the agent that had them
    Trace {
        /// The run's id
        #[arg(add = completion::executions())]
        id: String,
    },
    /// Say what each unfinished node of a run waits for, or how the run ended and what to do
    Explain {
        /// The run's id
        #[arg(add = completion::executions())]
        id: String,
    },
    /// Print a run's events, a line each
    Events {
        /// The run's id
        #[arg(add = completion::executions())]
        id: String,
        /// Only those after this number, or this id of a stream
        #[arg(long, default_value = "0")]
        after: String,
        /// Wait for new ones until the run is over
        #[arg(short, long)]
        follow: bool,
    },
    /// Cancel a run
    Cancel {
        /// The run's id
        #[arg(add = completion::executions())]
        id: String,
        /// Why, for the run's history
        #[arg(long)]
        reason: Option<String>,
    },
    /// Send a run a signal: a node that waits for its name takes it, or it is kept until one does
    Signal(SignalOf),
    /// Pause a run: what is at work finishes, and nothing begins until `unpause`
    Pause(PauseOf),
    /// Let a paused run go on
    Unpause(UnpauseOf),
    /// Go on from a run that is over, in a new run that reuses what did not change; shows the plan first
    Resume(Box<ResumeOf>),
    /// Run again what a run has run, in a new run that reuses nothing
    Rerun(RerunOf),
    /// Write a run with its whole history into one file, which `heddle replay` reads
    Export(ExportOf),
    /// List the runs that a run has invoked, newest first
    Children(ChildrenOf),
    /// Show the family of a run: what it goes on from, and what goes on from it
    Lineage(LineageOf),
}

#[derive(Debug, Args)]
struct List {
    /// Only runs that stand here
    #[arg(long, ignore_case = true)]
    status: Option<Status>,
    /// Only runs of this workflow
    #[arg(long, value_name = "ID", add = completion::workflows())]
    workflow: Option<String>,
    /// Only runs that started since then: a span that is over (2h, 7d), a date, or a time
    #[arg(long, value_name = "TIME", value_parser = clock::parse_since)]
    since: Option<i64>,
    #[command(flatten)]
    pages: Pages,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl Executions {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::List(list) => list.run(&client, self.json).await,
            Verb::Get { id } => get(&client, &id, self.json).await,
            Verb::Node(node) => node.run(&client, self.json).await,
            Verb::Watch { id, timeout, exit_on_review } => {
                watch(&client, &id, Until { timeout, review: exit_on_review }, self.json).await
            }
            Verb::Trace { id } => trace(&client, &id, self.json).await,
            Verb::Explain { id } => explain(&client, &id, self.json).await,
            Verb::Events { id, after, follow } => events(&client, &id, &after, follow, self.json).await,
            Verb::Cancel { id, reason } => cancel(&client, &id, reason.as_deref(), self.json).await,
            Verb::Signal(signal) => signal.run(&client, self.json).await,
            Verb::Pause(pause) => pause.run(&client, self.json).await,
            Verb::Unpause(unpause) => unpause.run(&client, self.json).await,
            Verb::Resume(resume) => resume.run(&client, self.json).await,
            Verb::Rerun(rerun) => rerun.run(&client, self.json).await,
            Verb::Export(export) => export.run(&client).await,
            Verb::Children(children) => children.run(&client, self.json).await,
            Verb::Lineage(lineage) => lineage.run(&client, self.json).await,
        }
    }
}

impl List {
    async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let status = self.status.and_then(|status| status.to_possible_value());
        let filter = ExecutionFilter {
            status: status.map(|status| status.get_name().to_ascii_uppercase()),
            workflow_id: self.workflow,
            from: self.since.map(clock::rfc3339),
            limit: self.pages.limit,
            cursor: None,
        };
        let listed = Listed { name: "executions", word: "runs", command: "executions list".into(), table };
        let page = async |cursor| {
            let page = client.executions(&ExecutionFilter { cursor, ..filter.clone() }).await?;
            Ok((page.items, page.next_cursor))
        };
        self.pages.show(listed, as_json, page).await
    }
}

pub(super) fn table(items: Vec<Value>) -> Result<Table> {
    let mut table = Table::new(&["ID", "STATUS", "STARTED", "TOOK", "WORKFLOW", "ERROR"]);
    for item in items {
        let run: Execution = read(item)?;
        let took = clock::elapsed(run.start_time.as_deref(), run.end_time.as_deref());
        let started = run.start_time.unwrap_or_default();
        table.row(vec![run.id, run.status.word().into(), started, took, run.workflow_id, text_of(run.error)]);
    }
    Ok(table)
}

pub(super) async fn get(client: &Client, id: &str, as_json: bool) -> Result<()> {
    let value = client.execution(id).await?;
    if as_json {
        return print_json(&value);
    }
    let run: Execution = read(value)?;
    let style = Style::stdout();
    print(&head(&run, style))?;
    if !run.node_runs.is_empty() {
        print("")?;
        print(&nodes(&run.node_runs).render(style))?;
        let hidden = run.nodes_total.saturating_sub(run.node_runs.len() as u64);
        if hidden > 0 {
            note(&format!("and {hidden} more nodes"));
        }
    }
    execution_children::shown(client, &run).await?;
    results(&run.node_runs).iter().try_for_each(|result| print(result))?;
    if let Some(next) = run.waiting_on.iter().find_map(|waiting| waiting.answer(&run.id, "")) {
        note(&format!("next: {next}"));
    }
    Ok(())
}

/// What the run gave: each result node and its value, cut where it grows long. Nodes between are in `--json`.
fn results(nodes: &[NodeRun]) -> Vec<String> {
    let is_result = |node: &&NodeRun| node.node_type.as_deref().is_some_and(|kind| kind.starts_with("output:"));
    let given = nodes.iter().filter(is_result).filter_map(|node| {
        let value = bare(node.output.as_ref().filter(|output| !output.is_null())?);
        let text = match value.char_indices().nth(RESULT_SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}… (whole with --json)", &value[..end]),
            None => value,
        };
        let shown = plain(&text);
        Some(format!("\n{}\n{shown}", one_line(node.name())))
    });
    given.collect()
}

fn head(run: &Execution, style: Style) -> String {
    let mut lines = vec![format!("{}  {}", style.bold(&run.id), style.status(run.status.word()))];
    lines.push(format!("workflow  {}", run.workflow_id));
    if let Some(start) = &run.start_time {
        let took = clock::elapsed(Some(start), run.end_time.as_deref());
        lines.push(format!("started   {start}, took {took}"));
    }
    lines.extend(run.invoked_by.iter().map(execution_children::invoked_by));
    lines.extend(run.parent_execution_id.iter().map(|parent| format!("goes on   from {parent}")));
    if run.node_runs.iter().any(|node| node.sandbox) {
        lines.push("sandbox   answers come from it, not from providers".to_owned());
    }
    lines.extend(run.waiting_on.iter().map(|waiting| format!("waits     {}", one_line(&waiting_line(waiting)))));
    lines.extend(run.cancelled.iter().map(|it| {
        let why = it.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        one_line(&format!("cancelled by {}{why}", it.by))
    }));
    if let Some(error) = run.error.as_ref().filter(|error| !error.is_null()) {
        lines.push(style.red(&format!("error     {}", one_line(&error_text(error)))));
    }
    lines.join("\n")
}

fn waiting_line(waiting: &Waiting) -> String {
    let due = || waiting.due_at.as_ref().map(|due| format!("until {due}"));
    let child = &waiting.child_execution_id;
    let named = [&waiting.review_id, child, &waiting.need, &waiting.signal, &waiting.url].into_iter().flatten();
    let mut details: Vec<String> = named.filter(|detail| !detail.is_empty()).cloned().collect();
    if details.is_empty() || waiting.signal.is_some() || waiting.url.is_some() {
        details.extend(due());
    }
    if waiting.more > 0 {
        details.push(format!("and {} more", waiting.more));
    }
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    let node = with_index(&waiting.node_id, &waiting.index);
    // What the whole run waits for is at none of its nodes.
    let place = if node.is_empty() { String::new() } else { format!(" at {node}") };
    format!("{}{place}{details}", waiting.kind)
}

fn nodes(runs: &[NodeRun]) -> Table {
    // Only runs with maps and loops have items.
    let with_items = runs.iter().any(|node| node.items.is_some());
    let columns = ["NODE", "STATUS", "TOOK", "ATTEMPTS", "ITEMS", "TYPE", "ERROR"];
    let shown: Vec<_> = columns.into_iter().filter(|column| with_items || *column != "ITEMS").collect();
    let mut table = Table::new(&shown);
    for node in runs {
        let mut row = vec![
            node.node_id.clone(),
            node.word().to_owned(),
            clock::elapsed(node.start_time.as_deref(), node.end_time.as_deref()),
            node.attempts.map(|attempts| attempts.to_string()).unwrap_or_default(),
        ];
        row.extend(node.items.map(|items| items.text()).or_else(|| with_items.then(String::new)));
        row.extend([node.node_type.clone().unwrap_or_default(), text_of(node.error.clone())]);
        table.row(row);
    }
    table
}

async fn watch(client: &Client, id: &str, until: Until, as_json: bool) -> Result<()> {
    let run: Execution = read(client.execution(id).await?)?;
    let lines: Vec<_> = run.node_runs.iter().map(|node| (node.node_id.clone(), node.name().to_owned(), 0)).collect();
    let mut progress = Progress::new(&lines, as_json);
    let end = follow(client, id, &mut progress, until).await;
    let totals = progress.finish();
    let poll = end.map_err(|end| stopped(id, end, None))?;
    let run = client.execution(id).await?;
    if as_json {
        print_json(&run)?;
    } else {
        let run: Execution = read(run)?;
        let took = clock::elapsed(run.start_time.as_deref(), run.end_time.as_deref());
        let (_, states) = client.node_runs(id, &[]).await?;
        note(&totals.with_states(states.iter().map(String::as_str)).line(id, poll.status, &took));
    }
    outcome(id, &poll)
}

pub(super) async fn trace(client: &Client, id: &str, as_json: bool) -> Result<()> {
    let mut trace = client.trace(id, 0).await?;
    loop {
        let total = trace["nodesTotal"].as_u64().unwrap_or(0);
        let Some(nodes) = trace["nodes"].as_array_mut().filter(|nodes| (nodes.len() as u64) < total) else { break };
        let mut page = client.trace(id, nodes.len() as u64).await?;
        let Some(more) = page["nodes"].as_array_mut().filter(|more| !more.is_empty()) else { break };
        nodes.append(more);
    }
    if as_json {
        return print_json(&trace);
    }
    print(&read::<Waterfall>(trace)?.render(waterfall::width(), Style::stdout()))
}

pub(super) async fn events(client: &Client, id: &str, after: &str, follow: bool, as_json: bool) -> Result<()> {
    let (mut after, mut failures) = (after.to_owned(), 0);
    let mut opened = Some(client.events(id, &after, follow).await?);
    loop {
        let before = after.clone();
        let ended = match opened.take() {
            Some(stream) => show_events(stream, &mut after, as_json).await,
            None => match client.events(id, &after, follow).await {
                Ok(stream) => show_events(stream, &mut after, as_json).await,
                Err(failure) => Err(failure),
            },
        };
        failures = if after == before { failures + 1 } else { 0 };
        match ended {
            Ok(true) => return Ok(()),
            ended if !follow || failures > EVENT_STREAM_FAILURES_MAX => return ended.map(drop),
            Err(failure) if matches!(failure.exit, Exit::Auth | Exit::NotFound | Exit::Usage) => return Err(failure),
            // A stream lasts only so long, and so does its server; it is taken up where it ended.
            _ => tokio::time::sleep(EVENT_STREAM_PAUSE).await,
        }
    }
}

/// Shows a stream to its end, while `after` moves along; whether that was all there is.
async fn show_events(mut stream: EventStream, after: &mut String, as_json: bool) -> Result<bool> {
    while let Some(event) = stream.next().await? {
        show_event(&event, as_json)?;
        stream.after().clone_into(after);
    }
    Ok(stream.is_over())
}

fn show_event(event: &Event, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&json!({ "seq": event.seq, "type": event.kind, "data": event.data }));
    }
    let seq = event.seq.map(|seq| seq.to_string()).unwrap_or_default();
    print(&format!("{seq:>6}  {:<16}  {}", event.kind, event.data))
}

async fn cancel(client: &Client, id: &str, reason: Option<&str>, as_json: bool) -> Result<()> {
    let run = client.cancel(id, reason).await?;
    if as_json {
        return print_json(&json!({ "id": id, "status": run.status }));
    }
    print(&format!("{id}  {}", Style::stdout().status(run.status.word())))?;
    if !run.status.is_over() {
        let next = format!("the cancel is recorded; see it end with `{} executions watch {id}`", program());
        note(&with_server(&next));
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context(Exit::Failed, "the server's execution cannot be read")
}

fn text_of(error: Option<Value>) -> String {
    error.filter(|error| !error.is_null()).map(|error| error_text(&error)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_shown_and_cut() {
        let long = "x".repeat(RESULT_SHOWN_CHARS_MAX + 9);
        let value = json!([
            {"nodeId": "a", "nodeType": "input:text", "output": {"text": "in"}},
            {"nodeId": "b", "nodeType": "output:text", "label": "Story", "output": {"text": "two\nlines\u{1b}[2J"}},
            {"nodeId": "c", "nodeType": "output:json", "output": {"json": {"n": 1, "m": 2}}},
            {"nodeId": "d", "nodeType": "output:text", "output": null},
            {"nodeId": "e", "nodeType": "output:text", "output": {"text": long}},
        ]);
        let shown = results(&read::<Vec<NodeRun>>(value).unwrap());
        assert_eq!(&shown[..2], ["\nStory\ntwo\nlines [2J", "\nc\n{\"m\":2,\"n\":1}"]);
        assert!(shown.len() == 3 && shown[2].ends_with("x… (whole with --json)") && shown[2].len() < long.len() + 30);
    }

    #[test]
    fn a_run_reads_well_in_plain_text() {
        let value = json!({
            "id": "exec_1", "workflowId": "wf_1", "status": "RUNNING", "error": null,
            "startTime": "2026-05-02T09:00:00.000Z", "endTime": "2026-05-02T09:00:01.500Z",
            "waitingOn": [{"kind": "agent", "nodeId": "n2", "since": "2026-05-02T09:00:00.000Z", "need": "gpu=a100"}],
            "nodeRuns": [{"nodeId": "n1", "status": "COMPLETED", "state": "CACHED", "attempts": 1, "unknownField": {}}],
        });
        let run: Execution = read(value).unwrap();
        let told = |waiting: Value| waiting_line(&read(waiting).unwrap());
        let signal = json!({"kind": "signal", "nodeId": "paid", "index": [3], "signal": "order.paid",
            "dueAt": "2026-05-02T10:00:00.000Z", "more": 7});
        assert_eq!(told(signal), "signal at paid[3] (order.paid, until 2026-05-02T10:00:00.000Z, and 7 more)");
        let hook = json!({"kind": "webhook", "nodeId": "call", "url": "https://heddle.test/api/v1/hooks/x"});
        assert_eq!(told(hook), "webhook at call (https://heddle.test/api/v1/hooks/x)");
        assert_eq!(told(json!({"kind": "webhook", "nodeId": "call"})), "webhook at call", "not for everybody");
        assert_eq!(
            head(&run, Style::PLAIN),
            "exec_1  RUNNING\nworkflow  wf_1\nstarted   2026-05-02T09:00:00.000Z, took 1.5 s\nwaits     agent at n2 (gpu=a100)"
        );
        assert_eq!(results(&run.node_runs), Vec::<String>::new());
        let table = nodes(&run.node_runs).render(Style::PLAIN);
        assert_eq!(table.lines().nth(1).map(str::trim_end), Some("n1    CACHED        1"));
    }
}
