//! `heddle run`: a workflow file, from its inputs to its outputs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::{Client, Execute, SaveWorkflow};
use crate::connection::Connection;
use crate::error::Result;
use crate::follow::{follow, outcome, stopped};
use crate::session::Session;
use crate::ui::progress::Progress;
use crate::ui::{clock, note, print, print_json};
use crate::workflow_file::WorkflowFile;

/// Marks the workflows that this command made.
const TAG: &str = "cli";

/// Run a workflow file: on the local server if one runs, else on a cluster of its own
#[derive(Debug, Args)]
pub struct Run {
    /// The workflow: JSON with `nodes` and `edges`
    file: PathBuf,
    /// A value for an input node, by id or label: NAME=TEXT or NAME:=JSON
    #[arg(short, long = "input", value_name = "NAME=TEXT")]
    input: Vec<String>,
    /// Run up to and with this node, by id or label
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
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
        let inputs = file.inputs(&self.input)?;
        let target = self.to.as_deref().map(|name| file.resolve(name)).transpose()?;
        let session = Session::open(&self.connection).await?;
        let ended = self.on(&session, &file, inputs, target).await;
        session.close().await.and(ended)
    }

    async fn on(
        &self,
        session: &Session,
        file: &WorkflowFile,
        inputs: Map<String, Value>,
        target: Option<&str>,
    ) -> Result<()> {
        let (client, since) = (session.client(), Instant::now());
        let workflow = workflow_for(client, file).await?;
        // The graph goes with the request: what runs is what the file says, whoever has edited the workflow since.
        let execute = Execute { nodes: Some(&file.nodes), edges: Some(&file.edges), inputs, target_node_id: target };
        let execution = client.execute(&workflow, &execute).await?.execution_id;

        let mut progress = Progress::new(&file.tree(), self.json);
        let end = follow(client, &execution, &mut progress, self.timeout).await;
        progress.finish();
        let poll = end.map_err(|end| stopped(&execution, end, session.leaves_behind()))?;
        let outputs = outputs(client, &execution, &file.results(target)).await?;
        if self.json {
            print_json(&json!({
                "executionId": execution, "workflowId": workflow, "status": poll.status, "outputs": outputs,
                "error": poll.error, "elapsedMs": since.elapsed().as_millis() as u64,
            }))?;
        } else {
            note(&format!("{execution} {} in {}", poll.status.word(), clock::span(since.elapsed())));
            print_outputs(&outputs)?;
        }
        outcome(&execution, &poll)
    }
}

/// The workflow this file runs under: made once per name, saved again when the file's graph has changed.
async fn workflow_for(client: &Client, file: &WorkflowFile) -> Result<String> {
    let description = format!("made by `heddle run` from a file, sha256 {}", file.digest());
    let known = client.workflows().await?;
    let known = known.into_iter().find(|workflow| workflow.name == file.name && workflow.tags.iter().any(|t| t == TAG));
    if let Some(known) = &known
        && known.description.as_ref() == Some(&description)
    {
        return Ok(known.id.clone());
    }
    let (nodes, edges) = (&file.nodes, &file.edges);
    let workflow = SaveWorkflow { name: &file.name, description: &description, tags: &[TAG], nodes, edges };
    client.save_workflow(known.as_ref().map(|known| known.id.as_str()), &workflow).await
}

/// What the result nodes gave, by node id; those that gave nothing are left out.
async fn outputs(client: &Client, execution: &str, results: &[&str]) -> Result<Map<String, Value>> {
    let runs = client.node_runs(execution, results).await?;
    let given = runs.into_iter().filter_map(|run| Some((run.node_id, run.output?)));
    Ok(given.filter(|(_, output)| !output.is_null()).collect())
}

/// One value is printed bare, so that it can be piped; several have their node's id before them.
fn print_outputs(outputs: &Map<String, Value>) -> Result<()> {
    let several = outputs.len() > 1;
    for (id, output) in outputs {
        let text = bare(output);
        if several { print(&format!("{id}: {text}"))? } else { print(&text)? }
    }
    Ok(())
}

/// A value without the object around it where that has one port; a text without its quotes.
fn bare(output: &Value) -> String {
    match output {
        Value::Object(ports) if ports.len() == 1 => ports.values().next().map(bare).unwrap_or_default(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
