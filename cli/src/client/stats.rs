//! Figures of runs, and rules that watch over workflows.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::bare;
use super::{Client, next_cursor, segment};
use crate::error::Result;

/// Figures of the runs that ended in a span of time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// RFC 3339; later than was asked for if they are not complete.
    pub from: String,
    /// RFC 3339.
    pub to: String,
    /// Whether all runs of the span are counted.
    pub complete: bool,
    /// By how they ended.
    pub runs: RunCounts,
    /// Those that are not over now.
    pub running: u64,
    /// The share that completed.
    pub success_rate: Option<f64>,
    /// How long they took.
    pub duration_ms: Option<Durations>,
    /// How long a bucket is.
    pub bucket_ms: u64,
    /// By time, the oldest first.
    pub buckets: Vec<Bucket>,
    /// What runs failed with, the most frequent first.
    pub errors: Vec<ErrorStats>,
    /// Failed runs whose error is not among these.
    pub other_errors: u64,
}

/// Runs by how they ended.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct RunCounts {
    /// All of them.
    pub total: u64,
    /// Those that did what they were to do.
    pub completed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those that somebody stopped.
    pub cancelled: u64,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// Half of the runs took no longer.
    pub p50: u64,
    /// Nor did ninety-five of a hundred.
    pub p95: u64,
    /// Nor did any.
    pub max: u64,
}

/// What ended in one stretch of time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// RFC 3339.
    pub from: String,
    /// By how they ended.
    #[serde(flatten)]
    pub runs: RunCounts,
}

/// Runs that failed alike.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorStats {
    /// The code of their error.
    pub code: Option<String>,
    /// The kind of the failure.
    pub class: Option<String>,
    /// How many.
    pub count: u64,
    /// The one that ended last.
    pub example_execution_id: String,
    /// RFC 3339.
    pub last_at: String,
}

/// A rule that watches over a workflow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Alert {
    /// Its id.
    pub id: String,
    /// What it watches over.
    pub workflow_id: String,
    /// `error_rate`, `duration_p95` or `no_success_for`.
    pub kind: String,
    /// How far it looks back.
    pub window_ms: Option<u64>,
    /// The share of failed runs that is too much.
    pub threshold: Option<f64>,
    /// The duration that is too long.
    pub threshold_ms: Option<u64>,
    /// With fewer runs it says nothing.
    pub min_runs: Option<u64>,
    /// For how long no run may fail to complete.
    pub ms: Option<u64>,
    /// For how long all must be well before its incident closes.
    pub close_after_ms: u64,
    /// The incident that is open.
    pub incident_id: Option<String>,
}

/// What a rule found.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// Of which rule.
    pub alert_id: String,
    /// Of which workflow.
    pub workflow_id: String,
    /// `open` or `closed`.
    pub state: String,
    /// RFC 3339.
    pub opened_at: String,
    /// RFC 3339.
    pub closed_at: Option<String>,
    /// What was measured.
    pub event: Value,
}

/// Which incidents are listed.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentFilter {
    /// Only those that stand so.
    pub state: Option<String>,
    /// Only those of this workflow.
    pub workflow_id: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// After the page that named it.
    pub cursor: Option<String>,
}

impl Client {
    /// Figures of a workflow's runs, or of all runs, as the server says them. Times are RFC 3339.
    pub async fn stats(&self, workflow: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Value> {
        let path = match workflow {
            Some(id) => format!("/workflows/{}/stats", segment(id)?),
            None => "/stats".to_owned(),
        };
        self.json(self.request(Method::GET, &path).query(&[("from", from), ("to", to)])).await.map(bare)
    }

    /// The rules that watch over a workflow, as the server says them.
    pub async fn alerts(&self, workflow: &str) -> Result<Vec<Value>> {
        self.json(self.request(Method::GET, &format!("/workflows/{}/alerts", segment(workflow)?))).await
    }

    /// One of them.
    pub async fn alert(&self, workflow: &str, id: &str) -> Result<Value> {
        self.json(self.request(Method::GET, &alert_path(workflow, id)?)).await.map(bare)
    }

    /// Makes a rule.
    pub async fn create_alert(&self, workflow: &str, rule: &Value) -> Result<Value> {
        let path = format!("/workflows/{}/alerts", segment(workflow)?);
        let sent = self.persist(|| self.request(Method::POST, &path).json(rule)).await?;
        self.read(sent).await.map(bare)
    }

    /// Deletes a rule.
    pub async fn delete_alert(&self, workflow: &str, id: &str) -> Result<Value> {
        self.json(self.request(Method::DELETE, &alert_path(workflow, id)?)).await.map(bare)
    }

    /// A page of incidents, the youngest first, and the cursor of the next.
    pub async fn incidents(&self, filter: &IncidentFilter) -> Result<(Vec<Value>, Option<String>)> {
        let response = self.accept(self.request(Method::GET, "/alerts/incidents").query(filter).send().await).await?;
        let next = next_cursor(&response);
        Ok((self.decode(response).await?, next))
    }
}

fn alert_path(workflow: &str, id: &str) -> Result<String> {
    Ok(format!("/workflows/{}/alerts/{}", segment(workflow)?, segment(id)?))
}
