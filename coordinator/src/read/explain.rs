//! What a run waits for, or how it ended. Of a run at work its owner is asked, who has it in memory: its history may have a
//! million events. What the journal has is read where it does.

use std::sync::Arc;

use heddle_core::explain::{self, Cause, Explained, Part, Told};
use heddle_core::id::{EventSeq, RunId};
use heddle_core::partition::permits::{Misfit, Need, Standing};
use heddle_core::partition::watch::Lost;
use heddle_core::run::event::Fact;
use heddle_core::run::{Run, RunStatus};
use heddle_core::time::Timestamp;
use heddle_proto::control as wire;

use super::batches;
use super::runs::{self, ReadError};
use crate::actor::load::{self, LoadError};
use crate::auth::Tenant;
use crate::journal::RunRow;
use crate::limits::EVENT_PAGE_ROWS;
use crate::shared::Shared;

/// Explains a run of this tenant.
pub(crate) async fn run(shared: &Arc<Shared>, tenant: &Tenant, id: RunId) -> Result<wire::Explanation, ReadError> {
    let row = match runs::row(shared, tenant, id).await {
        Ok(row) => row,
        Err(ReadError::NotFound) => return not_begun(shared, tenant, id).await,
        Err(error) => return Err(error),
    };
    if let Some(reason) = &row.quarantine_reason {
        return Ok(set_aside(shared, &row, reason));
    }
    // What waits on disk alone, or in a partition that is being loaded, is read below.
    if row.summary.status == RunStatus::Running
        && let Some(explained) = shared.doors.explain(shared.partition_of(id), id).await
    {
        return Ok(at_work(shared, &row, explained).await);
    }
    let run = match load::run(shared, id).await {
        Ok(run) => run.ok_or(ReadError::NotFound)?,
        Err(LoadError::Journal(error)) => return Err(ReadError::Journal(error)),
        // Its row says how it stands.
        Err(error) => {
            tracing::warn!(run = %id, %error, "a run that is to be explained cannot be read back");
            return Ok(set_aside(shared, &row, &error.to_string()));
        }
    };
    match run.status() {
        RunStatus::Running => {
            let explained = Explained::of(&run, Part::All, shared.clock.now());
            Ok(at_work(shared, &row, explained).await)
        }
        _ => ended(shared, &row, &run).await,
    }
}

fn answer(shared: &Shared, row: &RunRow) -> wire::Explanation {
    wire::Explanation {
        execution_id: row.run.to_string(),
        status: runs::status(row.summary.status).into(),
        at_ms: shared.clock.now().as_millis(),
        ..wire::Explanation::default()
    }
}

/// A run of a batch whose turn has not come.
async fn not_begun(shared: &Arc<Shared>, tenant: &Tenant, id: RunId) -> Result<wire::Explanation, ReadError> {
    let run = batches::not_begun(shared, tenant, id).await?;
    let headline = match run.status() {
        wire::RunStatus::Pending => "The run has not begun: its batch starts its runs a few at a time.",
        _ => "The run was cancelled with its batch before it had begun.",
    };
    Ok(wire::Explanation {
        execution_id: run.id.clone(),
        status: run.status,
        headline: headline.into(),
        at_ms: shared.clock.now().as_millis(),
        ..wire::Explanation::default()
    })
}

/// A run whose history cannot be kept or read.
fn set_aside(shared: &Shared, row: &RunRow, reason: &str) -> wire::Explanation {
    let error = row.summary.error.as_ref();
    let ending = wire::Ending {
        code: error.map_or_else(String::new, |error| error.code.to_string()),
        message: reason.to_owned(),
        next: "Its data is kept: please report it with the coordinator's log, and run the workflow again.".into(),
        ..wire::Ending::default()
    };
    let headline = format!("The run was set aside: {reason}.");
    let orphaned = shared.watchdog.finding(row.run).is_some();
    wire::Explanation { headline, orphaned, ending: Some(ending), ..answer(shared, row) }
}

/// Who has cancelled a run that is over, and why. Its end is among its last events: only what was at work is told after it.
async fn cancelled(
    shared: &Arc<Shared>,
    row: &RunRow,
    run: &Run,
) -> Result<Option<(String, Option<Arc<str>>)>, ReadError> {
    if run.status() != RunStatus::Cancelled || run.error().is_some() {
        return Ok(None);
    }
    let after = EventSeq(run.seq().0.saturating_sub(EVENT_PAGE_ROWS as u64));
    let (page, _) = runs::page_of(shared, row, after, EVENT_PAGE_ROWS).await?;
    Ok(page.iter().find_map(|event| match &event.fact {
        Fact::Ended { by: Some(by), reason, .. } => Some((by.to_string(), reason.clone())),
        _ => None,
    }))
}

/// A run that is over.
async fn ended(shared: &Arc<Shared>, row: &RunRow, run: &Run) -> Result<wire::Explanation, ReadError> {
    let cancelled = cancelled(shared, row, run).await?;
    let (by, reason) = cancelled.as_ref().map_or((None, None), |(by, reason)| (Some(&**by), reason.as_deref()));
    let error = run.error();
    let failed = error.and_then(|error| Some(run.graph().node(run.graph().named(error.node?))));
    let node_id = failed.map(|node| &*node.id);
    let is_failed = run.status() == RunStatus::Failed;
    let ending = wire::Ending {
        code: error.map_or_else(String::new, |error| error.code.to_string()),
        message: error.map_or(reason, |error| Some(&error.message)).unwrap_or_default().to_owned(),
        node_id: node_id.unwrap_or_default().to_owned(),
        class: error.and_then(|error| error.class).map_or("", |class| class.name()).into(),
        attempts: error.map_or(0, |error| error.attempts),
        next: error.filter(|_| is_failed).map_or_else(String::new, |error| error.advice().into_owned()),
        by: by.unwrap_or_default().to_owned(),
    };
    let nodes = error.zip(failed).filter(|_| is_failed).map(|(error, node)| wire::ExplainedNode {
        node_id: node.id.to_string(),
        state: wire::NodeState::Failed.into(),
        sentence: format!("\"{}\" failed for good with {}: {}", node.id, error.code, error.message),
        since_ms: row.summary.ended_at.map(|at| at.as_millis()),
        ..wire::ExplainedNode::default()
    });
    let owed = explain::owed_cancels(run).into_iter().map(|(node, since, sentence)| wire::ExplainedNode {
        node_id: run.graph().node(run.graph().named(node)).id.to_string(),
        state: wire::NodeState::Cancelled.into(),
        sentence,
        since_ms: Some(since.as_millis()),
        ..wire::ExplainedNode::default()
    });
    let headline = match by {
        Some(by) => explain::cancelled(by, reason),
        None => explain::ended(run.status(), error, node_id),
    };
    let headline: Vec<String> =
        [Some(headline), explain::finishing(run), explain::owing(run)].into_iter().flatten().collect();
    Ok(wire::Explanation {
        status: runs::status(run.status()).into(),
        headline: headline.join(" "),
        nodes: nodes.into_iter().chain(owed).collect(),
        ending: Some(ending),
        seq: run.seq().0,
        ..answer(shared, row)
    })
}

/// Adds what agents do, and which types of nodes are paused.
pub(super) fn look_outside(shared: &Shared, explained: &mut Explained) {
    explained.look_at(&shared.permits());
    explained.note_pauses(|node_type| shared.node_pause(node_type).map(|row| (row.subject, row.reason)));
}

/// Adds which runs that it has invoked will never end, since nobody can read them.
async fn note_unreadable_children(shared: &Shared, tenant: &Tenant, explained: &mut Explained) {
    for told in &mut explained.nodes {
        let Cause::Child { run, is_unreadable } = &mut told.cause else { continue };
        *is_unreadable = shared.watchdog.finding(*run) == Some(Lost::History)
            || match shared.journal.read_summary(tenant.clone(), *run).await {
                Ok(row) => row.is_some_and(|row| row.quarantine_reason.is_some()),
                Err(error) => {
                    tracing::debug!(%run, %error, "the row of a run that another has invoked was not read");
                    false
                }
            };
    }
}

async fn at_work(shared: &Arc<Shared>, row: &RunRow, mut explained: Explained) -> wire::Explanation {
    look_outside(shared, &mut explained);
    note_unreadable_children(shared, &Tenant::of_run(&row.created), &mut explained).await;
    // Why a try failed is in the youngest events, or too long ago to be looked for.
    let after = EventSeq(explained.seq.0.saturating_sub(EVENT_PAGE_ROWS as u64));
    match runs::page_of(shared, row, after, EVENT_PAGE_ROWS).await {
        Ok((events, _)) => explained.note(events.iter().map(Arc::as_ref)),
        Err(error) => tracing::debug!(run = %row.run, %error, "the youngest events of a run were not read"),
    }
    let now = shared.clock.now();
    let found = shared.watchdog.finding(row.run);
    let headline = match &found {
        Some(lost) => explain::orphaned(&lost.to_string()),
        None => explain::headline(&explained, now),
    };
    let kinds = explained.kinds();
    let is_stuck = kinds.first().is_some_and(|(kind, _)| *kind == "nothing");
    wire::Explanation {
        headline,
        orphaned: found.is_some() || is_stuck,
        nodes: explained.nodes.iter().map(|told| node(told, now)).collect(),
        kinds: kinds.into_iter().map(|(kind, count)| wire::KindCount { kind: kind.into(), count }).collect(),
        seq: explained.seq.0,
        ..answer(shared, row)
    }
}

fn node(told: &Told, now: Timestamp) -> wire::ExplainedNode {
    wire::ExplainedNode {
        node_id: told.node.to_string(),
        index: told.index.clone(),
        state: runs::node_state(told.state).into(),
        waits_for: Some(waits_for(&told.cause)),
        sentence: told.sentence(now),
        since_ms: Some(told.since.as_millis()),
        more: told.more,
    }
}

fn waits_for(cause: &Cause) -> wire::WaitsFor {
    let waits = wire::WaitsFor { kind: cause.kind().into(), ..wire::WaitsFor::default() };
    match cause {
        Cause::Inputs { nodes, more } => {
            let node_ids = nodes.iter().map(ToString::to_string).collect();
            wire::WaitsFor { node_ids, nodes_more: *more, ..waits }
        }
        Cause::Work { need, standing } => wire::WaitsFor { need: Some(agent_need(need, standing.as_deref())), ..waits },
        Cause::Paused { node_type, by, reason } => wire::WaitsFor {
            paused: Some(wire::PausedType {
                node_type: node_type.to_string(),
                by: by.to_string(),
                reason: reason.as_deref().unwrap_or_default().to_owned(),
            }),
            ..waits
        },
        Cause::Attempt { agent, number, away } => wire::WaitsFor {
            agent_id: agent.to_string(),
            attempt: number.0,
            away_since_ms: away.map(|(since, _)| since.as_millis()),
            due_at_ms: away.map(|(_, lost_at)| lost_at.as_millis()),
            ..waits
        },
        Cause::Retry { until, failed, attempts_max, error } => {
            let error = error.as_ref();
            wire::WaitsFor {
                due_at_ms: Some(until.as_millis()),
                failed: *failed,
                attempts_max: *attempts_max,
                error_code: error.map_or_else(String::new, |error| error.code.to_string()),
                error_message: error.map_or_else(String::new, |error| error.message.to_string()),
                ..waits
            }
        }
        Cause::Timer { until } => wire::WaitsFor { due_at_ms: Some(until.as_millis()), ..waits },
        Cause::Review { id, due_at, assignees, .. } => wire::WaitsFor {
            review_id: id.to_string(),
            due_at_ms: due_at.map(|at| at.as_millis()),
            assignees: assignees.iter().map(ToString::to_string).collect(),
            ..waits
        },
        Cause::Signal { name, until } => {
            wire::WaitsFor { signal: name.to_string(), due_at_ms: until.map(|at| at.as_millis()), ..waits }
        }
        Cause::Webhook { until } => wire::WaitsFor { due_at_ms: until.map(|at| at.as_millis()), ..waits },
        Cause::Child { run, is_unreadable } => {
            wire::WaitsFor { child_execution_id: run.to_string(), child_unreadable: *is_unreadable, ..waits }
        }
        Cause::Items { open } => wire::WaitsFor { items_open: *open, ..waits },
        Cause::Turn | Cause::Values | Cause::Room | Cause::Shared | Cause::Nothing => waits,
    }
}

fn agent_need(need: &Need, standing: Option<&Standing>) -> wire::AgentNeed {
    let shown = standing.cloned().unwrap_or_default();
    wire::AgentNeed {
        node_type: need.type_id.to_string(),
        version: need.version,
        labels: need.labels.iter().cloned().collect(),
        agents: shown.agents,
        fit: shown.fit,
        slots: shown.slots,
        busy: shown.busy,
        waiting: shown.waiting,
        unfit: shown.misfits.iter().map(|(agent, misfit)| unfit(agent.to_string(), misfit)).collect(),
        place: shown.place.map(|place| wire::ConcurrencyPlace {
            key: place.key.to_string(),
            limit: place.limit,
            taken: place.taken,
        }),
    }
}

fn unfit(agent_id: String, misfit: &Misfit) -> wire::UnfitAgent {
    let detail = match misfit {
        Misfit::Type | Misfit::Drained => String::new(),
        Misfit::Version { has } => has.to_string(),
        Misfit::Label { name, value } => format!("{name}={value}"),
    };
    wire::UnfitAgent { agent_id, lacks: misfit.name().into(), detail }
}
