//! `heddle executions signal`: what a run that waits is told.

use clap::Args;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::completion;
use crate::error::{Context, Exit, Result};
use crate::limits::SIGNAL_BYTES_MAX;
use crate::text_file;
use crate::ui::{note, print, print_json};

/// Which signal.
#[derive(Debug, Args)]
pub(super) struct SignalOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    /// The name that a node of the run waits for
    name: String,
    /// What it says: JSON, @FILE, or @- (the standard input) [default: null]
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
}

impl SignalOf {
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let text = match &self.data {
            Some(data) => text_file::given(data, SIGNAL_BYTES_MAX)?,
            None => "null".to_owned(),
        };
        if let Err(failure) = serde_json::from_str::<&RawValue>(&text).context(Exit::Usage, "--data is no JSON") {
            return Err(failure.with_next(r#"a text stands in quotes of its own: --data '"go"'"#));
        }
        let sent = client.signal(&self.id, &self.name, &text).await?;
        if as_json {
            return print_json(&sent);
        }
        let word = if sent.delivered { "delivered" } else { "kept" };
        print(&format!("{}  {}  {word}", sent.execution_id, sent.name))?;
        if !sent.delivered {
            note("no node waits for it yet: the next one that waits for the name takes it");
        }
        Ok(())
    }
}
