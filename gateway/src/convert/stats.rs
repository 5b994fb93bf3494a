//! Figures of runs, and rules that watch over workflows.

use heddle_proto::control;

use super::{non_empty, raw, unreadable};
use crate::dto::stats::{Alert, Bucket, Durations, ErrorStats, Incident, RunCounts, Stats};
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn stats(stats: &control::RunStats) -> Result<Stats<'_>, ApiError> {
    let runs = counts(stats.counts.as_ref())?;
    let ended = runs.completed + runs.failed;
    Ok(Stats {
        workflow_id: non_empty(&stats.workflow_id),
        from: Time(stats.from_ms),
        to: Time(stats.to_ms),
        complete: stats.complete,
        success_rate: (ended > 0).then(|| runs.completed as f64 / ended as f64),
        runs,
        running: stats.running,
        duration_ms: stats.durations.as_ref().map(|it| Durations { p50: it.p50_ms, p95: it.p95_ms, max: it.max_ms }),
        cost: 0,
        bucket_ms: stats.bucket_ms,
        buckets: stats.buckets.iter().map(bucket).collect::<Result<_, _>>()?,
        errors: stats.errors.iter().map(error).collect(),
        other_errors: stats.other_errors,
    })
}

fn counts(counts: Option<&control::RunCounts>) -> Result<RunCounts, ApiError> {
    let control::RunCounts { completed, failed, cancelled } = *counts.ok_or_else(|| unreadable("count of runs"))?;
    Ok(RunCounts { total: completed + failed + cancelled, completed, failed, cancelled })
}

fn bucket(bucket: &control::StatsBucket) -> Result<Bucket, ApiError> {
    Ok(Bucket { from: Time(bucket.from_ms), to: Time(bucket.to_ms), runs: counts(bucket.counts.as_ref())? })
}

fn error(error: &control::ErrorStats) -> ErrorStats<'_> {
    ErrorStats {
        code: non_empty(&error.code),
        class: non_empty(&error.error_class),
        count: error.count,
        example_execution_id: &error.execution_id,
        last_at: Time(error.last_at_ms),
    }
}

pub(crate) fn alert(alert: &control::Alert) -> Result<Alert<'_>, ApiError> {
    let condition = alert.condition.as_ref().ok_or_else(|| unreadable("alert rule"))?;
    let (is_rate, is_duration) = (condition.kind == "error_rate", condition.kind == "duration_p95");
    let has_window = is_rate || is_duration;
    Ok(Alert {
        id: &alert.id,
        workflow_id: &alert.workflow_id,
        kind: &condition.kind,
        window_ms: has_window.then_some(condition.window_ms),
        threshold: is_rate.then_some(condition.threshold),
        threshold_ms: is_duration.then_some(condition.threshold_ms),
        min_runs: has_window.then_some(condition.min_runs),
        ms: (!has_window).then_some(condition.ms),
        close_after_ms: alert.close_after_ms,
        subject: &alert.subject,
        created_at: Time(alert.created_at_ms),
        updated_at: Time(alert.updated_at_ms),
        incident_id: non_empty(&alert.incident_id),
    })
}

pub(crate) fn incident(incident: &control::Incident) -> Result<Incident<'_>, ApiError> {
    Ok(Incident {
        id: &incident.id,
        alert_id: &incident.alert_id,
        workflow_id: &incident.workflow_id,
        state: if incident.closed_at_ms.is_some() { "closed" } else { "open" },
        opened_at: Time(incident.opened_at_ms),
        well_since: incident.well_since_ms.map(Time),
        closed_at: incident.closed_at_ms.map(Time),
        event: raw(&incident.event_json, "event of an incident")?,
    })
}
