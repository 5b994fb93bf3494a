//! `heddle executions export`: a run with its whole history as one file.

use std::path::PathBuf;

use clap::Args;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::client::Client;
use crate::completion;
use crate::error::{Context, Exit, Result};
use crate::ui::{note, program};

/// Which run, and where it goes.
#[derive(Debug, Args)]
pub struct ExportOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ExportOf {
    /// Writes the file.
    pub async fn run(self, client: &Client) -> Result<()> {
        let response = client.export(&self.id).await?;
        let Some(path) = self.output else {
            return copy(response, tokio::io::stdout(), "cannot write to stdout").await.map(drop);
        };
        let failed = format!("cannot write {}", path.display());
        let is_there = tokio::fs::try_exists(&path).await.unwrap_or(false);
        // Beside it first: what is cut off does not take the place of what was whole.
        let beside = path.with_added_extension("part");
        let file = File::create(&beside).await.context(Exit::Usage, &failed)?;
        let bytes = copy(response, file, &failed).await?;
        tokio::fs::rename(&beside, &path).await.context(Exit::Failed, &failed)?;
        let replaced = if is_there { ", in place of what was there" } else { "" };
        note(&format!("{bytes} bytes{replaced}; look at them with `{} replay {}`", program(), path.display()));
        Ok(())
    }
}

async fn copy(mut response: reqwest::Response, mut to: impl AsyncWrite + Unpin, failed: &str) -> Result<u64> {
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await.context(Exit::Failed, "the export broke off; ask for it again")? {
        to.write_all(&piece).await.context(Exit::Failed, failed)?;
        bytes += piece.len() as u64;
    }
    to.flush().await.context(Exit::Failed, failed)?;
    Ok(bytes)
}
