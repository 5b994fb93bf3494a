//! Figures of runs.

use std::sync::Arc;

use heddle_core::id::WorkflowId;
use heddle_core::stats::{Counts, Figures};
use heddle_core::time::{Span, Timestamp};
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use crate::auth::{self, Tenant};
use crate::limits::{STATS_ERRORS_MAX, STATS_RUNS_MAX, STATS_SPAN_DEFAULT, STATS_SPAN_MAX};
use crate::shared::Shared;
use crate::stats::{StatsError, Which};

pub(super) async fn get(shared: &Arc<Shared>, request: &wire::StatsRequest) -> Result<wire::RunStats, Status> {
    let tenant = auth::tenant(request)?;
    let workflow = match request.workflow_id.as_str() {
        "" => None,
        id => Some(known_workflow(shared, &tenant, id).await?),
    };
    let (from, to) = span(request, shared.clock.now())?;
    let counted = shared.stats.count(Which { tenant, workflow, from, to }).await;
    let (figures, running) = counted.map_err(|error| match error {
        StatsError::Journal(error) => failure::journal(&error),
        StatsError::Busy => failure::failure(wire::Failure {
            code: "too_many_stats".into(),
            http_status: 429,
            message: "other figures are being counted; try again in a moment".into(),
            retry_after_seconds: 1,
            ..Default::default()
        }),
        StatsError::TooMany => {
            let message = format!(
                "more than {STATS_RUNS_MAX} runs ended in the last stretch of this span; ask for a shorter one with from and to"
            );
            failure::plain(422, "too_many_runs", message)
        }
    })?;
    Ok(to_wire(&request.workflow_id, figures, running))
}

/// The workflow of this id, if the tenant has it.
pub(super) async fn known_workflow(shared: &Shared, tenant: &Tenant, id: &str) -> Result<WorkflowId, Status> {
    let id = id.parse().map_err(|_| failure::workflow_not_found())?;
    let row = shared.workflows.get(tenant, id).await.map_err(|error| failure::journal(&error))?;
    row.map(|row| row.id).ok_or_else(failure::workflow_not_found)
}

fn span(request: &wire::StatsRequest, now: Timestamp) -> Result<(Timestamp, Timestamp), Status> {
    // A run that ends now has ended up to now.
    let to = request.to_ms.map_or_else(|| now.plus(Span::from_millis(1)), Timestamp::from_millis);
    let usual = to.as_millis().saturating_sub(STATS_SPAN_DEFAULT.as_millis() as i64);
    let from = Timestamp::from_millis(request.from_ms.unwrap_or(usual));
    if from >= to {
        return Err(failure::plain(
            400,
            "invalid_span",
            "from must be before to; without it, it is seven days before to",
        ));
    }
    if to.since(from) > STATS_SPAN_MAX {
        let days = STATS_SPAN_MAX.as_millis() / 86_400_000;
        let message = format!("figures are told of at most {days} days; choose a shorter span with from and to");
        return Err(failure::plain(400, "invalid_span", message));
    }
    Ok((from, to))
}

fn to_wire(workflow_id: &str, figures: Figures, running: u64) -> wire::RunStats {
    let shown = STATS_ERRORS_MAX.min(figures.errors.len());
    let other_errors = figures.errors[shown..].iter().map(|error| error.count).sum();
    let errors = figures.errors[..shown].iter().map(|error| wire::ErrorStats {
        code: error.code.as_ref().map_or_else(String::new, ToString::to_string),
        error_class: error.class.unwrap_or_default().to_owned(),
        count: error.count,
        execution_id: error.example.to_string(),
        last_at_ms: error.last_at.as_millis(),
    });
    let buckets = figures.buckets.iter().map(|bucket| wire::StatsBucket {
        from_ms: bucket.from.as_millis(),
        to_ms: bucket.to.as_millis(),
        counts: Some(counts(bucket.counts)),
    });
    wire::RunStats {
        workflow_id: workflow_id.to_owned(),
        from_ms: figures.from.as_millis(),
        to_ms: figures.to.as_millis(),
        complete: figures.is_complete,
        counts: Some(counts(figures.counts)),
        running,
        durations: figures.durations.map(|durations| wire::RunDurations {
            p50_ms: durations.p50.as_millis(),
            p95_ms: durations.p95.as_millis(),
            max_ms: durations.max.as_millis(),
        }),
        bucket_ms: figures.width.as_millis(),
        buckets: buckets.collect(),
        errors: errors.collect(),
        other_errors,
    }
}

fn counts(counts: Counts) -> wire::RunCounts {
    let Counts { completed, failed, cancelled } = counts;
    wire::RunCounts { completed, failed, cancelled }
}
