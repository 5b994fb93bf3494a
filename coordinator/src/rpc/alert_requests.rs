//! Rules that watch over workflows, and what they found.

use std::sync::Arc;

use heddle_core::alert::{AlertCondition, AlertRule};
use heddle_core::id::{AlertId, IncidentId, Slot, WorkflowId};
use heddle_core::time::{Span, Timestamp};
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use super::run_requests::key_row;
use super::stats_requests::known_workflow;
use crate::alerts::{self, AlertChange, AlertRow, IncidentFilter, IncidentRow, PutAlert, Watched};
use crate::auth::{self, Tenant};
use crate::limits::{
    ALERT_CLOSE_AFTER_DEFAULT, ALERT_CLOSE_AFTER_MAX, ALERT_RUNS_MAX, ALERT_WINDOW_MAX, ALERT_WINDOW_MIN,
    ALERTS_PER_WORKFLOW_MAX,
};
use crate::shared::Shared;

/// Rows in one page of a list of incidents.
const LIST_MAX: u32 = 200;
const LIST_DEFAULT: u32 = 50;

pub(super) async fn list(shared: &Arc<Shared>, request: &wire::ListAlertsRequest) -> Result<wire::AlertList, Status> {
    let tenant = auth::tenant(request)?;
    let workflow = known_workflow(shared, &tenant, &request.workflow_id).await?;
    let rows = rules(shared, &tenant, workflow).await?;
    Ok(wire::AlertList { alerts: rows.iter().map(to_wire).collect() })
}

pub(super) async fn get(shared: &Arc<Shared>, request: &wire::AlertRequest) -> Result<wire::Alert, Status> {
    let tenant = auth::tenant(request)?;
    let workflow = known_workflow(shared, &tenant, &request.workflow_id).await?;
    find(shared, &tenant, workflow, &request.id).await.map(|found| to_wire(&found))
}

pub(super) async fn create(shared: &Arc<Shared>, request: &wire::CreateAlertRequest) -> Result<wire::Alert, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(request)?;
    let workflow = known_workflow(shared, &tenant, &request.workflow_id).await?;
    let now = shared.clock.now();
    let row = AlertRow {
        id: AlertId::new(now, Slot::of_hash(0), alerts::random_bits(shared)),
        tenant: tenant.id().clone(),
        workflow,
        rule: rule(request.condition.as_ref(), request.close_after_ms)?,
        revision: 1,
        subject: request.subject.as_str().into(),
        created_at: now,
        updated_at: now,
    };
    let key = request.idempotency.as_ref().map(|given| key_row(&tenant, given)).transpose()?;
    let put = shared.alerts.put_alert(row.clone(), key, ALERTS_PER_WORKFLOW_MAX).await;
    match put.map_err(|error| failure::journal(&error))? {
        PutAlert::Done => Ok(to_wire(&Watched { row, open: None, is_orphan: false })),
        PutAlert::Replayed(row) => {
            let found = Watched { row: *row, open: None, is_orphan: false };
            Ok(wire::Alert { replayed: true, ..to_wire(&found) })
        }
        PutAlert::KeyMismatch => Err(failure::key_mismatch()),
        PutAlert::TooMany => {
            let message =
                format!("a workflow has at most {ALERTS_PER_WORKFLOW_MAX} alert rules; delete one that nobody needs");
            Err(failure::plain(409, "too_many_alerts", message))
        }
    }
}

pub(super) async fn replace(shared: &Arc<Shared>, request: &wire::ReplaceAlertRequest) -> Result<wire::Alert, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(request)?;
    let workflow = known_workflow(shared, &tenant, &request.workflow_id).await?;
    let known = find(shared, &tenant, workflow, &request.id).await?;
    let rule = rule(request.condition.as_ref(), request.close_after_ms)?;
    if kind(rule.condition) != kind(known.row.rule.condition) {
        let message = format!(
            "a rule stays of its kind, which is {}; delete it and create another one",
            kind(known.row.rule.condition)
        );
        return Err(invalid("/kind", message));
    }
    let (id, now) = (known.row.id, shared.clock.now());
    let change = AlertChange { workflow, id, rule, subject: request.subject.as_str().into(), now };
    let changed = shared.alerts.change_alert(tenant, change).await.map_err(|error| failure::journal(&error))?;
    changed.map(|found| to_wire(&found)).ok_or_else(not_found)
}

pub(super) async fn delete(shared: &Arc<Shared>, request: &wire::AlertRequest) -> Result<wire::DeletedAlert, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(request)?;
    let workflow = known_workflow(shared, &tenant, &request.workflow_id).await?;
    let id: AlertId = request.id.parse().map_err(|_| not_found())?;
    let deleted = shared.alerts.delete_alert(tenant, workflow, id, shared.clock.now()).await;
    match deleted.map_err(|error| failure::journal(&error))? {
        true => Ok(wire::DeletedAlert { id: id.to_string() }),
        false => Err(not_found()),
    }
}

pub(super) async fn incidents(
    shared: &Arc<Shared>,
    request: &wire::ListIncidentsRequest,
) -> Result<wire::IncidentList, Status> {
    let tenant = auth::tenant(request)?;
    // What cannot be an id has no incidents.
    let workflow = match request.workflow_id.as_str() {
        "" => None,
        text => match text.parse::<WorkflowId>() {
            Ok(id) => Some(id),
            Err(_) => return Ok(wire::IncidentList::default()),
        },
    };
    let before = match request.cursor.as_str() {
        "" => None,
        text => Some(text.parse::<IncidentId>().map_err(|_| failure::bad_cursor())?),
    };
    let is_open = match request.state.as_str() {
        "open" => Some(true),
        "closed" => Some(false),
        _ => None,
    };
    let limit = if request.limit == 0 { LIST_DEFAULT } else { request.limit.min(LIST_MAX) } as usize;
    let filter = IncidentFilter { tenant, workflow, is_open };
    let found = shared.alerts.incidents(filter, before, limit + 1).await.map_err(|error| failure::journal(&error))?;
    let page = &found[..limit.min(found.len())];
    let next_cursor = match page.last().filter(|_| found.len() > limit) {
        Some(last) => last.id.to_string(),
        None => String::new(),
    };
    Ok(wire::IncidentList { incidents: page.iter().map(incident).collect(), next_cursor })
}

async fn rules(shared: &Shared, tenant: &Tenant, workflow: WorkflowId) -> Result<Vec<Watched>, Status> {
    shared.alerts.alerts(tenant.clone(), workflow).await.map_err(|error| failure::journal(&error))
}

async fn find(shared: &Shared, tenant: &Tenant, workflow: WorkflowId, id: &str) -> Result<Watched, Status> {
    let id: AlertId = id.parse().map_err(|_| not_found())?;
    let rows = rules(shared, tenant, workflow).await?;
    rows.into_iter().find(|found| found.row.id == id).ok_or_else(not_found)
}

fn not_found() -> Status {
    failure::plain(
        404,
        "alert_not_found",
        "this workflow has no alert rule with this id; list them to see which it has",
    )
}

/// What a rule cannot be.
fn invalid(path: &str, message: String) -> Status {
    let (code, path) = ("invalid_alert".to_owned(), path.to_owned());
    failure::failure(wire::Failure { code, http_status: 422, message, path, ..Default::default() })
}

/// A rule within its bounds.
fn rule(condition: Option<&wire::AlertCondition>, close_after_ms: Option<u64>) -> Result<AlertRule, Status> {
    let given = condition.cloned().unwrap_or_default();
    let runs_min = || -> Result<u32, Status> {
        let runs = u32::try_from(given.min_runs).ok().filter(|runs| *runs >= 1 && *runs as usize <= ALERT_RUNS_MAX);
        runs.ok_or_else(|| invalid("/minRuns", format!("minRuns must be a whole number from 1 to {ALERT_RUNS_MAX}")))
    };
    let condition = match given.kind.as_str() {
        "error_rate" => {
            let millionths = (given.threshold * 1e6).round();
            if !(1.0..=1e6).contains(&millionths) {
                let message = "threshold must be a share of the runs, above 0 and up to 1, such as 0.2";
                return Err(invalid("/threshold", message.to_owned()));
            }
            let window = window("windowMs", given.window_ms)?;
            AlertCondition::ErrorRate { window, millionths: millionths as u32, runs_min: runs_min()? }
        }
        "duration_p95" => AlertCondition::DurationP95 {
            window: window("windowMs", given.window_ms)?,
            threshold: duration("thresholdMs", given.threshold_ms, 1, ALERT_WINDOW_MAX)?,
            runs_min: runs_min()?,
        },
        "no_success_for" => AlertCondition::NoSuccessFor { span: window("ms", given.ms)? },
        "budget" => {
            let message = "rules of the kind budget come with credits, which this server does not have yet; use error_rate, \
                           duration_p95 or no_success_for";
            let (code, path) = ("not_supported_yet".to_owned(), "/kind".to_owned());
            let message = message.to_owned();
            return Err(failure::failure(wire::Failure {
                code,
                http_status: 422,
                message,
                path,
                ..Default::default()
            }));
        }
        _ => {
            let message = "kind must be error_rate, duration_p95 or no_success_for";
            return Err(invalid("/kind", message.to_owned()));
        }
    };
    let close_after = match close_after_ms {
        None => ALERT_CLOSE_AFTER_DEFAULT,
        Some(millis) => duration("closeAfterMs", millis, 0, ALERT_CLOSE_AFTER_MAX)?,
    };
    Ok(AlertRule { condition, close_after })
}

fn window(name: &str, millis: u64) -> Result<Span, Status> {
    duration(name, millis, ALERT_WINDOW_MIN.as_millis(), ALERT_WINDOW_MAX)
}

fn duration(name: &str, millis: u64, least: u64, most: Span) -> Result<Span, Status> {
    if millis < least || millis > most.as_millis() {
        let message = format!("{name} must be a whole number of milliseconds from {least} to {}", most.as_millis());
        return Err(invalid(&format!("/{name}"), message));
    }
    Ok(Span::from_millis(millis))
}

fn kind(condition: AlertCondition) -> &'static str {
    alerts::kind_name(alerts::columns(condition).0)
}

fn to_wire(found: &Watched) -> wire::Alert {
    let AlertRow { id, workflow, rule, subject, created_at, updated_at, .. } = &found.row;
    let mut condition = wire::AlertCondition { kind: kind(rule.condition).to_owned(), ..Default::default() };
    match rule.condition {
        AlertCondition::ErrorRate { window, millionths, runs_min } => {
            condition.window_ms = window.as_millis();
            condition.threshold = f64::from(millionths) / 1e6;
            condition.min_runs = runs_min.into();
        }
        AlertCondition::DurationP95 { window, threshold, runs_min } => {
            condition.window_ms = window.as_millis();
            condition.threshold_ms = threshold.as_millis();
            condition.min_runs = runs_min.into();
        }
        AlertCondition::NoSuccessFor { span } => condition.ms = span.as_millis(),
    }
    wire::Alert {
        id: id.to_string(),
        workflow_id: workflow.to_string(),
        condition: Some(condition),
        close_after_ms: rule.close_after.as_millis(),
        subject: subject.to_string(),
        created_at_ms: created_at.as_millis(),
        updated_at_ms: updated_at.as_millis(),
        incident_id: found.open.map_or_else(String::new, |(id, _)| id.to_string()),
        replayed: false,
    }
}

fn incident(row: &IncidentRow) -> wire::Incident {
    wire::Incident {
        id: row.id.to_string(),
        alert_id: row.rule.to_string(),
        workflow_id: row.workflow.to_string(),
        opened_at_ms: row.opened_at.as_millis(),
        well_since_ms: row.well_since.filter(|_| row.closed_at.is_none()).map(Timestamp::as_millis),
        closed_at_ms: row.closed_at.map(Timestamp::as_millis),
        event_json: row.event.to_vec().into(),
    }
}
