//! Rules that watch over workflows, and the incidents they open. An actor looks at all of them in small pages; what it writes is
//! guarded by rows, so that nobody who looks at the same moment, or again after a crash, opens an incident twice.

mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use heddle_core::alert::{AlertCondition, AlertRule, Measure, OpenIncident, Step};
use heddle_core::id::{AlertId, IncidentId, Slot, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::KeyRow;
use heddle_core::run::RunStatus;
use heddle_core::stats::EndedRun;
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;
use heddle_crash_point::crash_point;
use serde_json::{Value, json};

use crate::auth::Tenant;
use crate::journal::{Answer, JournalError};
use crate::limits::{ALERT_EXAMPLES_MAX, ALERT_PAGE_RULES, ALERT_RUNS_MAX, INCIDENT_EXPIRY_ROWS, INCIDENTS_KEPT};
use crate::shared::Shared;
use crate::stats::Which;

/// What keeps rules and incidents.
pub(crate) trait AlertRows: Send + Sync + 'static {
    /// Keeps a new rule, once for all requests with a key.
    fn put_alert(&self, row: AlertRow, key: Option<KeyRow>, per_workflow_max: usize) -> Answer<PutAlert>;

    /// The rules of a workflow, the oldest first.
    fn alerts(&self, tenant: Tenant, workflow: WorkflowId) -> Answer<Vec<Watched>>;

    /// Changes a rule; gives it as it is now, if there is one.
    fn change_alert(&self, tenant: Tenant, change: AlertChange) -> Answer<Option<Watched>>;

    /// Removes a rule, and closes its incident. `false` = there was none.
    fn delete_alert(&self, tenant: Tenant, workflow: WorkflowId, id: AlertId, now: Timestamp) -> Answer<bool>;

    /// Removes all rules of a workflow, and closes their incidents.
    fn forget_alerts(&self, tenant: Tenant, workflow: WorkflowId, now: Timestamp) -> Answer<()>;

    /// A page of the rules of all tenants, in the order of their ids, after `after`.
    fn all_alerts(&self, after: Option<AlertId>, limit: usize) -> Answer<Vec<Watched>>;

    /// Opens an incident, unless the rule has an open one or has changed since. Whether it did.
    fn open_incident(&self, row: IncidentRow, revision: u64) -> Answer<bool>;

    /// Notes since when all has been well, or that it is not, in an incident that is open. Whether it did.
    fn note_well(&self, id: IncidentId, well_since: Option<Timestamp>) -> Answer<bool>;

    /// Closes an incident that is open, and of which all has been well since then. Whether it did.
    fn close_incident(&self, id: IncidentId, well_since: Option<Timestamp>, now: Timestamp) -> Answer<bool>;

    /// A page of a tenant's incidents, the youngest first: those before `before`, if it is given.
    fn incidents(&self, filter: IncidentFilter, before: Option<IncidentId>, limit: usize) -> Answer<Vec<IncidentRow>>;

    /// How many incidents of all tenants are open.
    fn count_open_incidents(&self) -> Answer<u64>;

    /// Closes open incidents whose rules have gone, and removes at most `limit` that closed before then; says how many.
    fn expire_incidents(&self, before: Timestamp, now: Timestamp, limit: usize) -> Answer<usize>;
}

/// A rule's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlertRow {
    /// Which rule.
    pub(crate) id: AlertId,
    /// Whose.
    pub(crate) tenant: TenantId,
    /// What it watches over.
    pub(crate) workflow: WorkflowId,
    /// What it asks.
    pub(crate) rule: AlertRule,
    /// Raised by each change, from 1.
    pub(crate) revision: u64,
    /// Who made it, or changed it last.
    pub(crate) subject: Subject,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it was changed last.
    pub(crate) updated_at: Timestamp,
}

/// A rule with what is open of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    /// The rule.
    pub(crate) row: AlertRow,
    /// Its open incident.
    pub(crate) open: Option<(IncidentId, OpenIncident)>,
    /// Whether its workflow has gone.
    pub(crate) is_orphan: bool,
}

/// What becomes of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlertChange {
    /// Of which workflow.
    pub(crate) workflow: WorkflowId,
    /// Which rule.
    pub(crate) id: AlertId,
    /// As it is from now on, of the same kind.
    pub(crate) rule: AlertRule,
    /// Who changes it.
    pub(crate) subject: Subject,
    /// When.
    pub(crate) now: Timestamp,
}

/// What became of a new rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PutAlert {
    /// It is kept.
    Done,
    /// An earlier request with this key has made this one.
    Replayed(Box<AlertRow>),
    /// The key came with another body before.
    KeyMismatch,
    /// The workflow has as many as it may.
    TooMany,
}

/// An incident's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IncidentRow {
    /// Which incident.
    pub(crate) id: IncidentId,
    /// Of which rule.
    pub(crate) rule: AlertId,
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Of which workflow.
    pub(crate) workflow: WorkflowId,
    /// What the rule asked.
    pub(crate) kind: i64,
    /// When it opened.
    pub(crate) opened_at: Timestamp,
    /// Since when all has been well.
    pub(crate) well_since: Option<Timestamp>,
    /// When it closed.
    pub(crate) closed_at: Option<Timestamp>,
    /// What whoever wants to hear of it is told, as JSON. It never changes.
    pub(crate) event: Arc<[u8]>,
}

/// Which incidents are listed.
#[derive(Debug, Clone)]
pub(crate) struct IncidentFilter {
    /// Whose.
    pub(crate) tenant: Tenant,
    /// Only those of this workflow.
    pub(crate) workflow: Option<WorkflowId>,
    /// Only those that are open, or only those that are not.
    pub(crate) is_open: Option<bool>,
}

/// A condition as rows keep it: kind, window, threshold, runs.
pub(crate) fn columns(condition: AlertCondition) -> (i64, i64, i64, i64) {
    let millis = |span: Span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match condition {
        AlertCondition::ErrorRate { window, millionths, runs_min } => {
            (1, millis(window), millionths.into(), runs_min.into())
        }
        AlertCondition::DurationP95 { window, threshold, runs_min } => {
            (2, millis(window), millis(threshold), runs_min.into())
        }
        AlertCondition::NoSuccessFor { span } => (3, millis(span), 0, 0),
    }
}

/// What [`columns`] gave; `None`: they are none that this release knows.
pub(crate) fn condition((kind, window, threshold, runs): (i64, i64, i64, i64)) -> Option<AlertCondition> {
    let span = |millis: i64| u64::try_from(millis).ok().map(Span::from_millis);
    let (window, runs_min) = (span(window)?, u32::try_from(runs).ok()?);
    match kind {
        1 => Some(AlertCondition::ErrorRate { window, millionths: threshold.try_into().ok()?, runs_min }),
        2 => Some(AlertCondition::DurationP95 { window, threshold: span(threshold)?, runs_min }),
        3 => Some(AlertCondition::NoSuccessFor { span: window }),
        _ => None,
    }
}

/// What an idempotency row keeps of a rule as it was answered.
fn reply_of(row: &AlertRow) -> Vec<u8> {
    let reply = json!({
        "id": row.id.to_string(), "workflow": row.workflow.to_string(), "condition": columns(row.rule.condition),
        "closeAfterMs": row.rule.close_after.as_millis(), "subject": &*row.subject.0, "createdAt": row.created_at.as_millis(),
    });
    reply.to_string().into_bytes()
}

/// What is answered to a request whose key stands for one that was answered so.
fn replayed(given: &KeyRow, (body, reply): (Digest, Vec<u8>)) -> PutAlert {
    let read = || {
        let reply: Value = serde_json::from_slice(&reply).ok()?;
        let created_at = Timestamp::from_millis(reply["createdAt"].as_i64()?);
        Some(AlertRow {
            id: reply["id"].as_str()?.parse().ok()?,
            tenant: given.key.tenant.clone(),
            workflow: reply["workflow"].as_str()?.parse().ok()?,
            rule: AlertRule {
                condition: condition(serde_json::from_value(reply["condition"].clone()).ok()?)?,
                close_after: Span::from_millis(reply["closeAfterMs"].as_u64()?),
            },
            revision: 1,
            subject: reply["subject"].as_str()?.into(),
            created_at,
            updated_at: created_at,
        })
    };
    match read().filter(|_| body == given.body) {
        Some(row) => PutAlert::Replayed(Box::new(row)),
        None => PutAlert::KeyMismatch,
    }
}

/// The name of a kind of rules.
pub(crate) fn kind_name(kind: i64) -> &'static str {
    match kind {
        1 => "error_rate",
        2 => "duration_p95",
        _ => "no_success_for",
    }
}

/// Looks at a page of rules; gives the last one if there may be more.
pub(crate) async fn look(shared: &Shared, after: Option<AlertId>) -> Result<Option<AlertId>, JournalError> {
    let page = shared.alerts.all_alerts(after, ALERT_PAGE_RULES).await?;
    for watched in &page {
        let row = &watched.row;
        if watched.is_orphan {
            let tenant = Tenant::of_alert(row);
            shared.alerts.delete_alert(tenant, row.workflow, row.id, shared.clock.now()).await?;
        } else if let Err(error) = look_at(shared, watched).await {
            tracing::warn!(%error, rule = %row.id, workflow = %row.workflow, "a rule could not be looked at; trying again");
        }
    }
    Ok(page.last().filter(|_| page.len() == ALERT_PAGE_RULES).map(|last| last.row.id))
}

/// Removes a page of incidents that closed long ago; whether there may be more.
pub(crate) async fn expire(shared: &Shared) -> Result<bool, JournalError> {
    let now = shared.clock.now();
    let before = Timestamp::from_millis(now.as_millis().saturating_sub(INCIDENTS_KEPT.as_millis() as i64));
    let removed = shared.alerts.expire_incidents(before, now, INCIDENT_EXPIRY_ROWS).await?;
    Ok(removed == INCIDENT_EXPIRY_ROWS)
}

async fn look_at(shared: &Shared, watched: &Watched) -> Result<(), JournalError> {
    let row = &watched.row;
    let now = shared.clock.now();
    let (measure, ended) = measure(shared, watched, now).await?;
    let Watched { open, .. } = watched;
    match (row.rule.step(measure, open.map(|(_, open)| open), now), open) {
        (Step::Open, _) => {
            crash_point!("alerts.measured");
            let id = IncidentId::new(now, Slot::of_hash(0), random_bits(shared));
            let examples = examples(row.rule.condition, &ended);
            let incident = incident(row, id, measure, &examples, now);
            if shared.alerts.open_incident(incident, row.revision).await? {
                crash_point!("alerts.opened");
                let kind = kind_name(columns(row.rule.condition).0);
                tracing::warn!(incident = %id, rule = %row.id, workflow = %row.workflow, kind, ?measure, "an alert is open");
            }
        }
        (Step::Well, Some((id, _))) => drop(shared.alerts.note_well(*id, Some(now)).await?),
        (Step::Unwell, Some((id, _))) => drop(shared.alerts.note_well(*id, None).await?),
        (Step::Close, Some((id, open))) => {
            let is_closed = shared.alerts.close_incident(*id, open.well_since, now).await?;
            if is_closed {
                tracing::info!(incident = %id, rule = %row.id, workflow = %row.workflow, "an alert is closed: all is well again");
            }
        }
        _ => {}
    }
    Ok(())
}

/// What nobody can foretell, for ids.
pub(crate) fn random_bits(shared: &Shared) -> u128 {
    u128::from(shared.seed()) << 64 | u128::from(shared.seed())
}

async fn measure(shared: &Shared, watched: &Watched, now: Timestamp) -> Result<(Measure, Vec<EndedRun>), JournalError> {
    let row = &watched.row;
    let condition = row.rule.condition;
    let from = Timestamp::from_millis(now.as_millis().saturating_sub(condition.window().as_millis() as i64));
    let tenant = Tenant::of_alert(row);
    let (last_success, limit) = match condition {
        AlertCondition::NoSuccessFor { .. } => {
            let last = |from| shared.stats.rows.last_success(tenant.clone(), row.workflow, from);
            let found = match last(from).await? {
                // An incident is about to open, and says when the last one was. Once: it may lie far back.
                None if watched.open.is_none() && row.updated_at < from => last(row.updated_at).await?,
                found => found,
            };
            (found, ALERT_EXAMPLES_MAX)
        }
        AlertCondition::ErrorRate { .. } | AlertCondition::DurationP95 { .. } => (None, ALERT_RUNS_MAX),
    };
    let to = now.plus(Span::from_millis(1));
    let ended = shared.stats.rows.ended(Which { tenant, workflow: Some(row.workflow), from, to }, None, limit).await?;
    Ok((condition.measure(&ended, last_success, row.updated_at, now), ended))
}

/// Runs that show what is bad, of the youngest first: those that failed, or the slowest.
fn examples(condition: AlertCondition, ended: &[EndedRun]) -> Vec<String> {
    let mut runs: Vec<&EndedRun> = ended.iter().filter(|run| run.duration().is_some()).collect();
    match condition {
        AlertCondition::DurationP95 { .. } => runs.sort_by_key(|run| std::cmp::Reverse(run.duration())),
        AlertCondition::ErrorRate { .. } | AlertCondition::NoSuccessFor { .. } => {
            runs.retain(|run| run.status == RunStatus::Failed);
        }
    }
    runs.iter().take(ALERT_EXAMPLES_MAX).map(|run| run.run.to_string()).collect()
}

fn incident(row: &AlertRow, id: IncidentId, measure: Measure, examples: &[String], now: Timestamp) -> IncidentRow {
    let event = event(row, id, measure, examples, now);
    IncidentRow {
        id,
        rule: row.id,
        tenant: row.tenant.clone(),
        workflow: row.workflow,
        kind: columns(row.rule.condition).0,
        opened_at: now,
        well_since: None,
        closed_at: None,
        event: event.to_string().into_bytes().into(),
    }
}

/// What whoever wants to hear of it is told: the id is the incident's, so that it is known again when it comes twice.
fn event(row: &AlertRow, id: IncidentId, measure: Measure, examples: &[String], now: Timestamp) -> Value {
    let condition = match row.rule.condition {
        AlertCondition::ErrorRate { window, millionths, runs_min } => json!({
            "kind": "error_rate", "windowMs": window.as_millis(), "threshold": f64::from(millionths) / 1e6, "minRuns": runs_min,
        }),
        AlertCondition::DurationP95 { window, threshold, runs_min } => json!({
            "kind": "duration_p95", "windowMs": window.as_millis(), "thresholdMs": threshold.as_millis(), "minRuns": runs_min,
        }),
        AlertCondition::NoSuccessFor { span } => json!({"kind": "no_success_for", "ms": span.as_millis()}),
    };
    let measured = match measure {
        Measure::ErrorRate { runs, failed } => {
            json!({"runs": runs, "failed": failed, "errorRate": failed as f64 / runs.max(1) as f64})
        }
        Measure::DurationP95 { runs, p95 } => json!({"runs": runs, "p95Ms": p95.map(Span::as_millis)}),
        Measure::NoSuccessFor { since, span } => json!({"since": text(since), "ms": span.as_millis()}),
    };
    json!({
        "id": format!("evt_{}", id.to_string().trim_start_matches("inc_")),
        "type": "workflow.alert",
        "timestamp": text(now),
        "data": {
            "incidentId": id.to_string(), "alertId": row.id.to_string(), "workflowId": row.workflow.to_string(),
            "condition": condition, "measured": measured, "exampleExecutionIds": examples,
        },
    })
}

fn text(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis()).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
