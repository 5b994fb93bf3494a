//! `heddle run`: a workflow file, from its inputs to its outputs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::client::{Client, Execute, SaveWorkflow, WorkflowSummary};
use crate::connection::Connection;
use crate::error::{Failure, Result};
use crate::follow::{Until, follow, outcome, stopped};
use crate::inputs::{Inputs, Upload};
use crate::iterate;
use crate::outputs::{self, SavedFile, bare, with_paths};
use crate::session::Session;
use crate::ui::progress::Progress;
use crate::ui::transfer::Transfer;
use crate::ui::{clock, note, print, print_json};
use crate::workflow_file::WorkflowFile;

use super::workflows::{note_warnings, texts};

/// Marks the workflows that this command made.
const TAG: &str = "cli";

/// Run a workflow file: on the local server if one runs, else on a cluster of its own
#[derive(Debug, Args)]
pub struct Run {
    /// The workflow: JSON with `nodes` and `edges`
    file: PathBuf,
    /// A value for an input node, by id or label: NAME=TEXT, NAME:=JSON, NAME=@FILE, NAME=@*.png, NAME=@- (the standard input)
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// A run for each of these values of an input node, by id or label: NAME=@FILE (a JSON array, or a value a line), NAME:=JSON
    #[arg(long, value_name = "NAME=@FILE", conflicts_with = "out")]
    iterate: Vec<String>,
    /// Save this workflow file first, under the `id` that it names: one that the workflow runs with blueprint:invoke
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// With several --iterate: a run for each combination, instead of one for the first values of all, one for the second…
    #[arg(long, requires = "iterate")]
    combine: bool,
    /// Run up to and with this node, by id or label
    #[arg(long, visible_alias = "target", value_name = "NODE")]
    to: Option<String>,
    /// With --to: run that node alone, on what is reused
    #[arg(long, requires_all = ["to", "from_execution"])]
    only: bool,
    /// Reuse what this run of the file made, where nothing has changed
    #[arg(long, value_name = "ID", conflicts_with = "iterate")]
    from_execution: Option<String>,
    /// Where results that are files go [default: heddle-out/ID, only if there are any]
    #[arg(short, long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Let a provider inside this process answer in the place of every server, for this run: offline and at no cost
    #[arg(long)]
    sandbox: bool,
    /// What that provider answers: a JSON object with a script for each credential
    #[arg(long, value_name = "FILE", requires = "sandbox")]
    sandbox_script: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Give up after this time (90s, 5m)
    #[arg(long, value_parser = clock::parse_span)]
    timeout: Option<Duration>,
    #[command(flatten)]
    connection: Connection,
}

impl Run {
    /// Runs the file.
    pub async fn run(self) -> Result<()> {
        let file = WorkflowFile::read(&self.file)?;
        let inputs = Inputs::read(&self.input, &file, &mut std::io::stdin())?;
        let target = self.to.as_deref().map(|name| file.resolve(name)).transpose()?;
        let session = match self.sandbox {
            true => Session::open_sandbox(&self.connection, self.sandbox_script.as_deref()).await?,
            false => Session::open(&self.connection).await?,
        };
        let ended = self.on(&session, &file, inputs, target).await;
        session.close().await.and(ended)
    }

    async fn on(&self, session: &Session, file: &WorkflowFile, inputs: Inputs, target: Option<&str>) -> Result<()> {
        let (client, since) = (session.client(), Instant::now());
        let inputs = self.send(client, inputs).await?;
        for beside in &self.with {
            save_beside(client, beside).await?;
        }
        let (workflow, warnings) = workflow_for(client, file).await?;
        if !self.json {
            note_warnings(&warnings);
        }
        let iterator_configs = match self.iterate.is_empty() {
            true => None,
            false => Some(iterate::configs(&self.iterate, file, self.combine)?),
        };
        let is_batch = iterator_configs.is_some();
        // The graph goes with the request: what runs is what the file says, whoever has edited the workflow since.
        let execute = Execute {
            nodes: Some(&file.nodes),
            edges: Some(&file.edges),
            policy: file.policy.as_deref(),
            inputs,
            target_node_id: target,
            iterator_configs,
            only: self.only,
            from_execution_id: self.from_execution.as_deref(),
        };
        let started = client.execute(&workflow, &execute).await?;
        if is_batch {
            return self.follow_batch(session, &started.batch_id).await;
        }
        let execution = started.execution_id;
        if !self.json {
            for stale in &started.stale_dependencies {
                note(&format!(
                    "{} is reused, though it was made from another {}",
                    stale.node_id,
                    stale.changed_keys.join(", ")
                ));
            }
        }

        let mut progress = Progress::new(&file.tree(), self.json).reached_by(session.options());
        let until = Until { timeout: self.timeout, ..Until::default() };
        let end = follow(client, &execution, &mut progress, until).await;
        let totals = progress.finish();
        let poll = end.map_err(|end| stopped(&execution, end, session.leaves_behind()))?;
        let (mut outputs, states, is_sandbox) = outputs(client, &execution, &file.results(target)).await?;
        let saved = self.save(client, &execution, &outputs).await;
        let files = saved.as_deref().unwrap_or_default();
        if self.json {
            print_json(&json!({
                "executionId": execution, "workflowId": workflow, "status": poll.status, "outputs": outputs,
                "files": files, "sandbox": is_sandbox, "skippedNodes": poll.skipped_nodes, "error": poll.error,
                "elapsedMs": since.elapsed().as_millis() as u64, "warnings": warnings,
            }))?;
        } else {
            if is_sandbox {
                note("answers come from the sandbox, not from providers");
            }
            let totals = totals.with_states(states.iter().map(String::as_str));
            note(&totals.line(&execution, poll.status, &clock::span(since.elapsed())));
            outputs.values_mut().for_each(|output| with_paths(output, files));
            print_outputs(&outputs)?;
        }
        outcome(&execution, &poll)?;
        saved.map(|_| ())
    }

    /// Waits for a run of each combination, and prints what they gave.
    async fn follow_batch(&self, session: &Session, batch: &str) -> Result<()> {
        let client = session.client();
        let ended = iterate::follow(client, batch, (self.timeout, self.json), session.leaves_behind()).await?;
        iterate::show(client, batch, self.json).await?;
        iterate::outcome(client, &ended).await
    }

    /// Brings the files among the inputs to the server.
    async fn send(&self, client: &Client, inputs: Inputs) -> Result<Map<String, Value>> {
        let bar = self.bar(inputs.files_count(), "sending");
        let sent = inputs.upload(client, |path| bar.step(&path.display().to_string())).await;
        bar.finish();
        sent
    }

    /// Saves the results that are files.
    async fn save(&self, client: &Client, execution: &str, outputs: &Map<String, Value>) -> Result<Vec<SavedFile>> {
        let found = outputs::find(outputs);
        let folder = self.out.clone().unwrap_or_else(|| PathBuf::from("heddle-out").join(execution));
        let (bar, mut saved, mut elsewhere) = (self.bar(found.len(), "saving"), Vec::new(), 0);
        for file in &found {
            bar.step(file.name());
            match outputs::save(client, &folder, file).await? {
                Some(file) => saved.push(file),
                None => elsewhere += 1,
            }
        }
        bar.finish();
        if elsewhere > 0 && !self.json {
            note(&format!("{elsewhere} results lie on other servers and were not saved"));
        }
        Ok(saved)
    }

    fn bar(&self, files: usize, verb: &'static str) -> Transfer {
        Transfer::new(if self.json { 0 } else { files }, verb)
    }
}

impl Upload for Client {
    fn upload<'a>(&'a self, path: &'a Path, media_type: &'a str) -> BoxFuture<'a, Result<Value>> {
        Box::pin(Client::upload(self, path, media_type))
    }
}

/// The workflow this file runs under, and what is odd in the file: made once per name, saved again when the file's graph
/// has changed.
async fn workflow_for(client: &Client, file: &WorkflowFile) -> Result<(String, Vec<String>)> {
    let description = format!("made by `heddle run` from a file, sha256 {}", file.digest());
    let known = client.workflows().await?;
    let known = known.into_iter().find(|workflow| workflow.name == file.name && workflow.tags.iter().any(|t| t == TAG));
    if let Some(known) = &known
        && known.description.as_ref() == Some(&description)
    {
        return Ok((known.id.clone(), texts(&client.lint(file).await?.warnings)));
    }
    let (nodes, edges) = (&file.nodes, &file.edges);
    let workflow = SaveWorkflow {
        name: &file.name,
        description: &description,
        tags: &[TAG],
        nodes,
        edges,
        policy: file.policy.as_deref(),
    };
    let saved = client.save_workflow(known.as_ref().map(|known| known.id.as_str()), &workflow).await?;
    Ok((saved.id.clone(), texts(&saved.warnings())))
}

/// Saves a file that the workflow runs as a child, under the id that both name.
async fn save_beside(client: &Client, path: &Path) -> Result<()> {
    let file = WorkflowFile::read(path)?;
    let Some(id) = file.about.id.as_deref() else {
        return Err(Failure::usage(format!("{} names no id; write \"id\": \"wf_…\" beside its nodes", path.display())));
    };
    let description = file.about.description.clone().unwrap_or_default();
    let workflow = SaveWorkflow {
        name: file.title(),
        description: &description,
        tags: &[TAG],
        nodes: &file.nodes,
        edges: &file.edges,
        policy: file.policy.as_deref(),
    };
    client.put_workflow(id, &workflow).await.map(drop)
}

/// Whether this command made the workflow, and saves over it whenever its file changes.
pub(super) fn is_of_run(workflow: &WorkflowSummary) -> bool {
    let made = workflow.description.as_deref().is_some_and(|text| text.starts_with("made by `heddle run`"));
    made && workflow.tags.iter().any(|tag| tag == TAG)
}

/// What the result nodes gave, by node id, those that gave nothing left out; the states of all nodes; and whether the sandbox
/// was asked.
async fn outputs(
    client: &Client,
    execution: &str,
    results: &[&str],
) -> Result<(Map<String, Value>, Vec<String>, bool)> {
    let (runs, states) = client.node_runs(execution, results).await?;
    let is_sandbox = runs.iter().any(|run| run.sandbox);
    let given = runs.into_iter().filter_map(|run| Some((run.node_id, run.output?)));
    Ok((given.filter(|(_, output)| !output.is_null()).collect(), states, is_sandbox))
}

/// One value is printed bare, so that it can be piped; several have their node's id before them.
pub(super) fn print_outputs(outputs: &Map<String, Value>) -> Result<()> {
    let several = outputs.len() > 1;
    for (id, output) in outputs {
        let text = bare(output);
        if several { print(&format!("{id}: {text}"))? } else { print(&text)? }
    }
    Ok(())
}
