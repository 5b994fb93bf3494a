//! Batches of runs.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::bare;
use super::types::RunStatus;
use super::{Client, segment};
use crate::error::Result;

/// A batch of runs, and a page of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// Whose runs they are.
    pub workflow_id: String,
    /// Where it stands.
    pub status: RunStatus,
    /// RFC 3339.
    pub start_time: Option<String>,
    /// RFC 3339.
    pub end_time: Option<String>,
    /// How many runs it has.
    pub runs_total: u64,
    /// How many of them stand how.
    pub counts: BatchCounts,
    /// By index.
    pub execution_runs: Vec<BatchRun>,
    /// Where the next page begins.
    pub next_offset: Option<u64>,
}

/// How many runs of a batch stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct BatchCounts {
    /// Not started.
    pub pending: u64,
    /// Not over.
    pub running: u64,
    /// Over, and well.
    pub completed: u64,
    /// Over, by an error.
    pub failed: u64,
    /// Over, by a cancel, or never started because of one.
    pub cancelled: u64,
}

/// A run of a batch.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchRun {
    /// Its id.
    pub id: String,
    /// Its place among the combinations, from 0.
    pub run_index_in_batch: u64,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<Value>,
    /// What it gave.
    pub final_output: Option<FinalOutput>,
}

/// What a run was for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FinalOutput {
    /// Values by output port.
    pub output: Value,
}

/// Which runs of a batch to show.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BatchPage {
    /// The index of the first.
    pub offset: u64,
    /// At most so many.
    pub limit: u64,
    /// Whether with what they gave.
    pub outputs: bool,
}

impl Client {
    /// A batch and a page of its runs, as the server says them.
    pub async fn batch(&self, id: &str, page: BatchPage) -> Result<Value> {
        let request = self.request(Method::GET, &format!("/batches/{}", segment(id)?)).query(&page);
        self.json(request).await.map(bare)
    }

    /// Stops a batch: no more of its runs start, and those that go on are stopped.
    pub async fn cancel_batch(&self, id: &str, reason: Option<&str>) -> Result<Value> {
        let body = match reason {
            Some(reason) => serde_json::json!({ "reason": reason }),
            None => serde_json::json!({}),
        };
        let request = self.request(Method::POST, &format!("/batches/{}/cancel", segment(id)?));
        self.json(request.json(&body)).await.map(bare)
    }
}
