//! `heddle executions pause|unpause` and `heddle nodes pause|unpause`.

use clap::Args;
use serde_json::Value;

use crate::client::Client;
use crate::completion;
use crate::error::Result;
use crate::ui::{note, print, print_json, program};

/// A run that is to stand still.
#[derive(Debug, Args)]
pub(super) struct PauseOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    /// Why, for the run's history
    #[arg(long)]
    reason: Option<String>,
}

/// A run that is to go on.
#[derive(Debug, Args)]
pub(super) struct UnpauseOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
}

/// A type of which no node is to begin.
#[derive(Debug, Args)]
pub(super) struct PauseType {
    /// The type, as family:name
    #[arg(value_name = "TYPE", add = completion::node_types())]
    node_type: String,
    /// Why, for whoever waits for it
    #[arg(long)]
    reason: Option<String>,
}

/// A type of which nodes begin again.
#[derive(Debug, Args)]
pub(super) struct UnpauseType {
    /// The type, as family:name
    #[arg(value_name = "TYPE", add = completion::node_types())]
    node_type: String,
}

impl PauseOf {
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let run = client.pause(&self.id, self.reason.as_deref()).await?;
        if as_json {
            return print_json(&run);
        }
        print(&format!("{}  paused", self.id))?;
        note(&format!("what is at work finishes; it goes on with `{} executions unpause {}`", program(), self.id));
        Ok(())
    }
}

impl UnpauseOf {
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let run = client.unpause(&self.id).await?;
        if as_json { print_json(&run) } else { print(&format!("{}  goes on", self.id)) }
    }
}

impl PauseType {
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        show(&client.pause_node_type(&self.node_type, self.reason.as_deref()).await?, as_json)
    }
}

impl UnpauseType {
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        show(&client.unpause_node_type(&self.node_type).await?, as_json)
    }
}

fn show(stand: &Value, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(stand);
    }
    let how = if stand["paused"].is_null() { "goes on" } else { "paused" };
    print(&format!("{}  {how}", stand["nodeType"].as_str().unwrap_or_default()))
}
