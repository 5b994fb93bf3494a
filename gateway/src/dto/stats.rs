//! Figures of runs, and rules that watch over workflows, as clients see them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::time::Time;

/// Figures of the runs that ended from `from` up to `to`, and not with it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stats<'a> {
    /// Null: of all workflows.
    pub(crate) workflow_id: Option<&'a str>,
    /// Later than was asked for if `complete` is false.
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// False: there are more runs than are counted, and these figures are exact from `from` on.
    pub(crate) complete: bool,
    pub(crate) runs: RunCounts,
    /// Runs that are not over now, whenever they began.
    pub(crate) running: u64,
    /// Of the runs that completed or failed, the share that completed; null without any.
    pub(crate) success_rate: Option<f64>,
    /// Of the runs that completed or failed, from their start to their end; null without any.
    pub(crate) duration_ms: Option<Durations>,
    /// What the runs cost: nothing is charged for yet.
    pub(crate) cost: u64,
    /// How long a bucket is: an hour, a day or a week, by the span. The first and the last one may be shorter.
    pub(crate) bucket_ms: u64,
    /// The oldest first, empty ones too; in UTC, weeks begin on Mondays.
    pub(crate) buckets: Vec<Bucket>,
    /// The most frequent first; at most 50.
    pub(crate) errors: Vec<ErrorStats<'a>>,
    /// Failed runs whose error is not among `errors`.
    pub(crate) other_errors: u64,
}

/// Runs by how they ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunCounts {
    pub(crate) total: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

/// Milliseconds. A percentile is the least duration that so many of a hundred runs do not exceed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Durations {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) max: u64,
}

/// What ended in one stretch of time.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Bucket {
    pub(crate) from: Time,
    pub(crate) to: Time,
    #[serde(flatten)]
    pub(crate) runs: RunCounts,
}

/// Runs that failed alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorStats<'a> {
    /// Null: not known, since the runs ended before this server counted codes.
    pub(crate) code: Option<&'a str>,
    /// The kind of the failure; null if it is of no node.
    pub(crate) class: Option<&'a str>,
    pub(crate) count: u64,
    /// The one that ended last.
    pub(crate) example_execution_id: &'a str,
    pub(crate) last_at: Time,
}

/// A rule that watches over a workflow. Fields that its kind does not have are absent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert<'a> {
    pub(crate) id: &'a str,
    pub(crate) workflow_id: &'a str,
    /// `error_rate`, `duration_p95` or `no_success_for`.
    pub(crate) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threshold_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_runs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ms: Option<u64>,
    /// For how long all must be well before its incident closes.
    pub(crate) close_after_ms: u64,
    /// Who made it, or changed it last.
    pub(crate) subject: &'a str,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
    /// The incident that is open now.
    pub(crate) incident_id: Option<&'a str>,
}

/// What a rule found, from its opening to its close.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Incident<'a> {
    pub(crate) id: &'a str,
    pub(crate) alert_id: &'a str,
    pub(crate) workflow_id: &'a str,
    /// `open` or `closed`.
    pub(crate) state: &'static str,
    pub(crate) opened_at: Time,
    /// Of an open one: since when all has been well.
    pub(crate) well_since: Option<Time>,
    pub(crate) closed_at: Option<Time>,
    /// What the rule asked, what was measured when the incident opened, and runs that show it. Its id and text never change.
    #[schemars(with = "serde_json::Value")]
    pub(crate) event: &'a RawValue,
}
