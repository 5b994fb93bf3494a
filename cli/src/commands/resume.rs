//! `heddle executions resume`, `rerun` and `lineage`: runs that go on from others.

use std::collections::HashMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::run::print_outputs;
use crate::client::{
    Client, Execution, Lineage, LineageRun, Plan, PlannedNode, Resume, ResumeGraph, Way, read_value, reason, with_index,
};
use crate::completion;
use crate::error::{Context, Exit, Failure, Result};
use crate::follow::{Until, follow, outcome, stopped};
use crate::inputs::{Content, content_of};
use crate::limits::PLAN_ROWS_SHOWN_MAX;
use crate::ui::progress::Progress;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print, print_json};
use crate::workflow_file::WorkflowFile;

/// `heddle executions resume`.
#[derive(Debug, Args)]
pub struct ResumeOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    /// Run this node afresh, by id or label, and with it what changes by it [default: what failed or never ran]
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// Run up to and with this node, by id or label
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// Give an output another value: NODE.PORT=TEXT, NODE.PORT:=JSON, NODE.PORT=@FILE
    #[arg(long, value_name = "NODE.PORT=VALUE")]
    set: Vec<String>,
    /// Also what lies downstream of what runs: `all`, or only what changes by it
    #[arg(long, value_name = "WHAT", value_parser = ["changed", "all"])]
    downstream: Option<String>,
    /// Only this item of the node to go on from, such as 17, or 3,0 in nested maps
    #[arg(long, value_name = "NUMBERS", value_parser = index, requires = "from")]
    index: Vec<Index>,
    /// What failed in maps that went on without it
    #[arg(long)]
    failed_items: bool,
    #[command(flatten)]
    start: Start,
}

/// `heddle executions rerun`.
#[derive(Debug, Args)]
pub struct RerunOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    #[command(flatten)]
    start: Start,
}

/// What both have in common.
#[derive(Debug, Args)]
struct Start {
    /// Another value for an input node, by id or label: NAME=TEXT, NAME:=JSON, NAME=@FILE
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// The graph to run: that of the run (`same`), the workflow's as it is saved now (`current`), or a file
    #[arg(long, value_name = "GRAPH")]
    graph: Option<String>,
    /// Only show what would run
    #[arg(long)]
    plan: bool,
    /// Carry the plan out without asking
    #[arg(short, long, conflicts_with = "plan")]
    yes: bool,
    /// Stop watching after this time (90s, 5m); the run goes on
    #[arg(long, value_parser = clock::parse_span)]
    timeout: Option<Duration>,
}

/// `heddle executions lineage`.
#[derive(Debug, Args)]
pub struct LineageOf {
    /// The id of any run of the family
    #[arg(add = completion::executions())]
    id: String,
}

/// The numbers of an item.
#[derive(Debug, Clone)]
struct Index(Vec<u32>);

fn index(text: &str) -> std::result::Result<Index, String> {
    let numbers: std::result::Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    numbers.map(Index).map_err(|_| "give the numbers of an item, counted from 0, as 17 or 3,0".to_owned())
}

impl ResumeOf {
    /// Plans, asks, carries out, watches.
    pub async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let parent = Parent::read(client, &self.id).await?;
        let mut outputs = Map::new();
        for given in &self.set {
            let Assigned { name, value } = Assigned::read(given, "--set NODE.PORT=VALUE")?;
            let (node, port) =
                name.rsplit_once('.').filter(|(node, port)| !node.is_empty() && !port.is_empty()).ok_or_else(|| {
                    Failure::usage(format!("{name:?} names no output")).with_next("write --set NODE.PORT=VALUE")
                })?;
            let ports = outputs.entry(parent.resolve(node)?.to_owned()).or_insert_with(|| json!({}));
            let value = value.send(client).await?;
            if ports.as_object_mut().is_some_and(|ports| ports.insert(port.to_owned(), value).is_some()) {
                return Err(Failure::usage(format!("the output {name:?} is given twice")));
            }
        }
        let resolve =
            |name: &Option<String>| name.as_deref().map(|name| parent.resolve(name).map(str::to_owned)).transpose();
        let resume = Resume {
            from_node_id: resolve(&self.from)?,
            to_node_id: resolve(&self.to)?,
            outputs,
            downstream: self.downstream.as_deref().filter(|what| *what == "all").map(|_| "all"),
            indices: self.index.into_iter().map(|Index(numbers)| numbers).collect(),
            failed_items: self.failed_items,
            ..self.start.resume(client, &parent).await?
        };
        self.start.carry_out(client, &parent, Way::Resume, resume, as_json).await
    }
}

impl RerunOf {
    /// Plans, asks, carries out, watches.
    pub async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let parent = Parent::read(client, &self.id).await?;
        let resume = self.start.resume(client, &parent).await?;
        self.start.carry_out(client, &parent, Way::Rerun, resume, as_json).await
    }
}

impl Start {
    async fn resume(&self, client: &Client, parent: &Parent) -> Result<Resume> {
        let mut inputs = Map::new();
        for given in &self.input {
            let Assigned { name, value } = Assigned::read(given, "-i NAME=VALUE")?;
            let key = parent.known(name).unwrap_or(name).to_owned();
            let value = value.send(client).await?;
            if inputs.insert(key, value).is_some() {
                return Err(Failure::usage(format!("the input {name:?} is given twice")));
            }
        }
        let graph = match self.graph.as_deref() {
            None => None,
            Some("same") => Some(ResumeGraph::Word("same")),
            Some("current") => Some(ResumeGraph::Word("current")),
            Some(path) => {
                let WorkflowFile { nodes, edges, policy, .. } = WorkflowFile::read(Path::new(path))?;
                Some(ResumeGraph::Given { nodes, edges, policy })
            }
        };
        Ok(Resume { inputs, graph, ..Resume::default() })
    }

    async fn carry_out(
        &self,
        client: &Client,
        parent: &Parent,
        way: Way,
        mut resume: Resume,
        as_json: bool,
    ) -> Result<()> {
        resume.plan = true;
        let said = client.plan(&parent.id, way, &resume).await?;
        if self.plan && as_json {
            return print_json(&said);
        }
        let plan: Plan = read_value(said, "plan")?;
        if self.plan {
            return print(&shown(&plan, &parent.id, Style::stdout()));
        }
        if !as_json {
            note(&shown(&plan, &parent.id, Style::stderr()));
            if !self.yes && !confirmed()? {
                return Err(Failure::new(Exit::Interrupted, "nothing was started"));
            }
        }
        (resume.plan, resume.plan_token) = (false, Some(plan.plan_token));
        let child = client.resume(&parent.id, way, &resume).await?;
        let mut progress = Progress::new(&parent.lines(), as_json);
        let until = Until { timeout: self.timeout, ..Until::default() };
        let end = follow(client, &child.execution_id, &mut progress, until).await;
        let totals = progress.finish();
        let poll = end.map_err(|end| stopped(&child.execution_id, end, None))?;
        let run = client.execution(&child.execution_id).await?;
        if as_json {
            print_json(&run)?;
        } else {
            let outputs = given(&run);
            let run: Execution = read_value(run, "execution")?;
            let took = clock::elapsed(run.start_time.as_deref(), run.end_time.as_deref());
            let (_, states) = client.node_runs(&child.execution_id, &[]).await?;
            let totals = totals.with_states(states.iter().map(String::as_str));
            note(&totals.line(&child.execution_id, poll.status, &took));
            print_outputs(&outputs)?;
        }
        outcome(&child.execution_id, &poll)
    }
}

impl LineageOf {
    /// Prints the family.
    pub async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let (mut runs, mut cursor, mut lineage_id) = (Vec::new(), None::<String>, String::new());
        loop {
            let said = client.lineage(&self.id, cursor.as_deref()).await?;
            let next = said["nextCursor"].as_str().map(str::to_owned);
            if as_json {
                // A page a line.
                print_json(&said)?;
            } else {
                let page: Lineage = read_value(said, "lineage")?;
                lineage_id = page.lineage_id;
                runs.extend(page.runs);
            }
            if next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        if as_json {
            return Ok(());
        }
        print(&family(&lineage_id, &self.id, &runs).render(Style::stdout()))
    }
}

/// The run to go on from.
struct Parent {
    id: String,
    nodes: Vec<(String, String)>,
}

impl Parent {
    async fn read(client: &Client, id: &str) -> Result<Self> {
        let run: Execution = read_value(client.execution(id).await?, "execution")?;
        let nodes = run.node_runs.iter().map(|node| (node.node_id.clone(), node.name().to_owned())).collect();
        Ok(Parent { id: id.to_owned(), nodes })
    }

    /// The id of the node that a person means. What is not there may be on a later page, or in another graph: the server
    /// knows.
    fn resolve<'a>(&'a self, name: &'a str) -> Result<&'a str> {
        let labelled = || self.nodes.iter().filter(|(_, label)| label == name);
        match self.known(name) {
            Some(id) => Ok(id),
            None if labelled().count() > 1 => {
                Err(Failure::usage(format!("several nodes are labelled {name:?}")).with_next("name the node by its id"))
            }
            None => Ok(name),
        }
    }

    fn known(&self, name: &str) -> Option<&str> {
        if let Some((id, _)) = self.nodes.iter().find(|(id, _)| id == name) {
            return Some(id);
        }
        let mut labelled = self.nodes.iter().filter(|(_, label)| label == name);
        labelled.next().filter(|_| labelled.next().is_none()).map(|(id, _)| id.as_str())
    }

    /// For a view of the child.
    fn lines(&self) -> Vec<(String, String, usize)> {
        self.nodes.iter().map(|(id, label)| (id.clone(), label.clone(), 0)).collect()
    }
}

/// `NAME=VALUE` of the command line.
struct Assigned<'a> {
    name: &'a str,
    value: Given,
}

enum Given {
    Ready(Value),
    File(PathBuf, String),
}

impl<'a> Assigned<'a> {
    fn read(pair: &'a str, form: &str) -> Result<Self> {
        let usage = || Failure::usage(format!("{pair:?} gives no value")).with_next(format!("write {form}"));
        let (name, text) = pair.split_once('=').ok_or_else(usage)?;
        let (name, as_json) = name.strip_suffix(':').map_or((name, false), |name| (name, true));
        let text = match text.strip_prefix('@') {
            None => text.to_owned(),
            Some(text) if text.starts_with('@') => text.to_owned(),
            Some(path) => match content_of(Path::new(path))? {
                Content::Text(text) => text,
                Content::Media(_) if as_json => return Err(Failure::usage(format!("{path} holds no JSON"))),
                Content::Media(media_type) => {
                    return Ok(Assigned { name, value: Given::File(path.into(), media_type) });
                }
            },
        };
        let value = match as_json {
            false => Value::String(text),
            true => {
                serde_json::from_str(&text).context(Exit::Usage, format_args!("the value of {name:?} is not JSON"))?
            }
        };
        Ok(Assigned { name, value: Given::Ready(value) })
    }
}

impl Given {
    async fn send(self, client: &Client) -> Result<Value> {
        match self {
            Given::Ready(value) => Ok(value),
            Given::File(path, media_type) => client.upload(&path, &media_type).await,
        }
    }
}

/// What the result nodes of a run gave, by node id; without any, what the run was for.
fn given(run: &Value) -> Map<String, Value> {
    let is_result = |node: &&Value| node["nodeType"].as_str().is_some_and(|kind| kind.starts_with("output:"));
    let named = |node: &Value| {
        let output = Some(&node["output"]).filter(|output| output.is_object())?;
        Some((node["nodeId"].as_str()?.to_owned(), output.clone()))
    };
    let results: Map<String, Value> =
        run["nodeRuns"].as_array().into_iter().flatten().filter(is_result).filter_map(named).collect();
    if results.is_empty() { named(&run["finalOutput"]).into_iter().collect() } else { results }
}

/// Asks on a terminal. Where nobody can answer, whoever has called meant it.
fn confirmed() -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    let cannot = "cannot ask on this terminal";
    let mut out = std::io::stderr().lock();
    out.write_all(b"carry this out? [y/N] ").and_then(|()| out.flush()).context(Exit::Failed, cannot)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context(Exit::Failed, cannot)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A plan for eyes: what runs, what may, what is reused with why, and what it costs.
fn shown(plan: &Plan, parent: &str, style: Style) -> String {
    let mut table = Table::new(&["NODE", "PLAN", "WHY", "TYPE"]);
    let parts =
        [("runs", &plan.will_run), ("may run", &plan.may_run), ("reused", &plan.reused), ("skipped", &plan.skipped)];
    let (mut rows, mut hidden) = (0, 0);
    for (word, nodes) in parts {
        for node in nodes {
            if rows == PLAN_ROWS_SHOWN_MAX {
                hidden += 1;
                continue;
            }
            rows += 1;
            table.row(vec![named(node), word.to_owned(), why(node, parent), node.node_type.clone()]);
        }
    }
    let count = |nodes: &[PlannedNode]| nodes.iter().map(|node| node.instances.unwrap_or(1)).sum::<u64>();
    let counts = parts.iter().filter(|(_, nodes)| !nodes.is_empty());
    let counts: Vec<_> =
        counts.map(|(word, nodes)| format!("{} {}", count(nodes), word.replace("runs", "to run"))).collect();
    let mut end = counts.join(", ");
    if plan.unknown_count > 0 {
        end.push_str(&format!(", {} with items that nobody can count yet", plan.unknown_count));
    }
    end.push_str(&match (plan.credits.min, plan.credits.max) {
        (0, 0) => "; no credits".to_owned(),
        (min, max) if min == max => format!("; {max} credits"),
        (min, max) => format!("; {min} to {max} credits"),
    });
    let more = if hidden > 0 { format!("\nand {hidden} more rows (all with --plan --json)") } else { String::new() };
    format!("{}{more}\n{}", table.render(style), style.bold(&end))
}

fn named(node: &PlannedNode) -> String {
    match node.instances {
        Some(count) => format!("{} ×{count}", node.node_id),
        None => with_index(&node.node_id, &node.index),
    }
}

/// Why a node stands where it does. Which run has made what is reused is said where it is not the parent.
fn why(node: &PlannedNode, parent: &str) -> String {
    let text = reason(&node.why);
    match node.from.as_deref().filter(|from| *from != parent) {
        Some(from) => format!("{text}, made by {from}"),
        None => text.to_owned(),
    }
}

/// A family as a tree: each run under the one that it goes on from.
fn family(lineage_id: &str, asked: &str, runs: &[LineageRun]) -> Table {
    let mut table = Table::new(&["ID", "STATUS", "STARTED", "TOOK", "GOES ON"]);
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for run in tree(lineage_id, runs) {
        let above = run.parent_execution_id.as_deref().and_then(|parent| depths.get(parent));
        let depth = above.map_or(0, |depth| depth + 1);
        depths.insert(&run.execution_id, depth);
        let branch = if depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(depth - 1)) };
        let mark = if run.execution_id == asked && runs.len() > 1 { " *" } else { "" };
        let took = clock::elapsed(run.start_time.as_deref(), run.end_time.as_deref());
        table.row(vec![
            format!("{branch}{}{mark}", run.execution_id),
            run.status.word().to_owned(),
            run.start_time.clone().unwrap_or_default(),
            took,
            goes_on(run),
        ]);
    }
    table
}

/// Parents before their children, children by their start.
fn tree<'a>(first: &str, runs: &'a [LineageRun]) -> Vec<&'a LineageRun> {
    let mut below: HashMap<&str, Vec<&LineageRun>> = HashMap::new();
    let known = |id: &str| runs.iter().any(|run| run.execution_id == id);
    let mut open: Vec<&LineageRun> = Vec::new();
    for run in runs.iter().rev() {
        match run.parent_execution_id.as_deref().filter(|parent| run.execution_id != first && known(parent)) {
            Some(parent) => below.entry(parent).or_default().push(run),
            None => open.push(run),
        }
    }
    let mut ordered = Vec::with_capacity(runs.len());
    while let Some(run) = open.pop() {
        ordered.push(run);
        open.extend(below.remove(run.execution_id.as_str()).unwrap_or_default());
    }
    ordered
}

fn goes_on(run: &LineageRun) -> String {
    let mut parts = Vec::new();
    if run.rerun {
        parts.push("reuses nothing".to_owned());
    }
    parts.extend(run.from_node_id.as_ref().map(|node| format!("from {node}")));
    parts.extend(run.to_node_id.as_ref().map(|node| format!("to {node}")));
    if !run.edits.is_empty() {
        let edits: Vec<_> = run.edits.iter().map(|edit| format!("{}.{}", edit.node_id, edit.port)).collect();
        let who = run.subject.as_ref().map(|subject| format!(" by {subject}")).unwrap_or_default();
        parts.push(format!("{} changed{who}", edits.join(", ")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::EditedPort;

    #[test]
    fn a_plan_is_a_table_with_its_reasons_and_its_price() {
        let plan = json!({
            "willRun": [{"nodeId": "say", "nodeType": "llm:x", "index": [17], "why": "index"}],
            "mayRun": [{"nodeId": "join", "nodeType": "text:join", "instances": 3, "why": "input_may_change"}],
            "reused": [{"nodeId": "draft", "nodeType": "llm:x", "why": "same", "from": "exec_0"},
                {"nodeId": "title", "nodeType": "llm:x", "why": "edited"}],
            "skipped": [{"nodeId": "end", "nodeType": "output:text", "why": "a_new_word"}],
            "unknownCount": 1, "credits": {"min": 2, "max": 5}, "planToken": "tok",
        });
        let plan: Plan = read_value(plan, "plan").unwrap();
        let expected = "NODE     PLAN     WHY                                           TYPE\n\
                        say[17]  runs     named with --index                            llm:x\n\
                        join ×3  may run  if what runs before it gives something else   text:join\n\
                        draft    reused   same type, config and inputs, made by exec_0  llm:x\n\
                        title    reused   changed by hand                               llm:x\n\
                        end      skipped  a_new_word                                    output:text\n\
                        1 to run, 3 may run, 2 reused, 1 skipped, 1 with items that nobody can count yet; 2 to 5 credits";
        assert_eq!(shown(&plan, "exec_1", Style::PLAIN), expected);
    }

    #[test]
    fn a_family_is_a_tree() {
        let run = |id: &str, parent: Option<&str>| LineageRun {
            execution_id: id.to_owned(),
            parent_execution_id: parent.map(str::to_owned),
            ..LineageRun::default()
        };
        let mut runs = vec![run("a", None), run("b", Some("a")), run("c", Some("a")), run("d", Some("b"))];
        runs[1].from_node_id = Some("draft".to_owned());
        runs[1].edits = vec![EditedPort { node_id: "draft".to_owned(), port: "text".to_owned() }];
        runs[1].subject = Some("ada".to_owned());
        let text = family("a", "d", &runs).render(Style::PLAIN);
        let ids: Vec<_> = text.lines().skip(1).map(|line| line.split("  RUNNING").next().unwrap().trim_end()).collect();
        assert_eq!(ids, ["a", "└ b", "  └ d *", "└ c"]);
        assert!(text.contains("from draft, draft.text changed by ada"), "{text}");
    }

    #[test]
    fn values_are_texts_json_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("draft.txt");
        std::fs::write(&file, "from a file").unwrap();
        let read = |pair: &str| match Assigned::read(pair, "X=Y").map(|given| (given.name.to_owned(), given.value)) {
            Ok((name, Given::Ready(value))) => Some((name, value)),
            _ => None,
        };
        assert_eq!(read("draft.text=a=b"), Some(("draft.text".to_owned(), json!("a=b"))));
        assert_eq!(read("n.value:=[1,2]"), Some(("n.value".to_owned(), json!([1, 2]))));
        assert_eq!(read("d.text=@@home"), Some(("d.text".to_owned(), json!("@home"))));
        assert_eq!(read(&format!("d.text=@{}", file.display())), Some(("d.text".to_owned(), json!("from a file"))));
        for wrong in ["draft.text", "n:=[", "d=@/absent/file"] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn nodes_are_named_by_id_or_label() {
        let node = |id: &str, label: &str| (id.to_owned(), label.to_owned());
        let nodes = vec![node("a", "Draft"), node("b", "Same"), node("c", "Same"), node("Draft2", "x")];
        let parent = Parent { id: "exec_1".to_owned(), nodes };
        assert_eq!(parent.resolve("Draft").unwrap(), "a");
        assert_eq!(parent.resolve("c").unwrap(), "c");
        assert_eq!(parent.resolve("elsewhere").unwrap(), "elsewhere");
        assert_eq!(parent.resolve("Same").unwrap_err().exit, Exit::Usage);
    }
}
