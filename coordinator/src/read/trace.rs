//! How a run's time went, read from the journal alone: no tracing backend is needed to see it.

use std::sync::Arc;

use heddle_core::id::{EventSeq, NodeIx, RunId, TenantId};
use heddle_core::run::timeline::{AttemptEnd, AttemptTimes, Timeline};
use heddle_core::run::{Corrupt, RunStatus};
use heddle_proto::control as wire;

use super::runs::{self, NODES_PAGE, ReadError};
use crate::limits::{EVENT_PAGE_BYTES, EVENT_PAGE_ROWS};
use crate::shared::Shared;

/// Which of the nodes are wanted.
pub(crate) struct Page {
    /// How many to leave out.
    pub(crate) offset: usize,
    /// How many to give; 0 for as many as a page has.
    pub(crate) limit: usize,
}

/// The trace of a run, as far as it has come.
pub(crate) async fn trace(
    shared: &Arc<Shared>,
    tenant: &TenantId,
    id: RunId,
    page: Page,
) -> Result<wire::Trace, ReadError> {
    let row = runs::row(shared, tenant, id).await?;
    if row.quarantine_reason.is_some() {
        return Ok(wire::Trace { run: Some(runs::summary(&row)), ..Default::default() });
    }
    let graph = shared.graphs.get(tenant, row.created.graph).await.map_err(ReadError::Graph)?;
    let mut timeline: Option<Timeline> = None;
    loop {
        let after = timeline.as_ref().map_or(EventSeq(0), |timeline| timeline.view().seq());
        let events = shared.journal.read_events(id, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES);
        let events = events.await.map_err(ReadError::Journal)?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            match &mut timeline {
                None => timeline = Some(Timeline::begin(id, Arc::clone(&graph), event).map_err(ReadError::Corrupt)?),
                Some(timeline) => timeline.step(event).map_err(ReadError::Corrupt)?,
            }
        }
    }
    let timeline = timeline.ok_or(ReadError::Corrupt(Corrupt::NoBeginning))?;
    Ok(show(&runs::summary(&row), &timeline, page))
}

fn show(summary: &wire::Run, timeline: &Timeline, page: Page) -> wire::Trace {
    let run = timeline.view().run();
    let limit = if page.limit == 0 { NODES_PAGE } else { page.limit };
    let part: Vec<NodeIx> =
        run.graph().nodes().map(|(ix, _)| ix).filter(|ix| timeline.view().node_state(*ix).is_some()).collect();
    let shown = part.iter().skip(page.offset).take(limit);
    let (all, open) = run.progress();
    wire::Trace {
        run: Some(wire::Run {
            status: runs::status(run.status()).into(),
            ended_at_ms: timeline.view().ended_at().map(|at| at.as_millis()),
            seq: timeline.view().seq().0,
            nodes_total: part.len() as u32,
            progress: if run.status() == RunStatus::Completed {
                1.0
            } else {
                f64::from(all - open) / f64::from(all.max(1))
            },
            ..summary.clone()
        }),
        traceparent: run.traceparent().map_or_else(String::new, ToString::to_string),
        nodes: shown.filter_map(|ix| node(timeline, *ix)).collect(),
        nodes_total: part.len() as u32,
    }
}

fn node(timeline: &Timeline, ix: NodeIx) -> Option<wire::TraceNode> {
    let view = timeline.view();
    let document = view.run().graph().node(ix);
    Some(wire::TraceNode {
        node_id: document.id.to_string(),
        node_type: document.type_id.to_string(),
        label: document.label.to_string(),
        state: runs::node_state(view.node_state(ix)?).into(),
        ready_at_ms: timeline.ready_at(ix).map(|at| at.as_millis()),
        ended_at_ms: view.node(ix).ended_at.map(|at| at.as_millis()),
        attempts: timeline.attempts(ix).iter().map(attempt).collect(),
    })
}

fn attempt(times: &AttemptTimes) -> wire::TraceAttempt {
    let (end, error_code) = match &times.end {
        AttemptEnd::Running => (wire::AttemptEnd::Running, String::new()),
        AttemptEnd::Succeeded => (wire::AttemptEnd::Succeeded, String::new()),
        AttemptEnd::Failed(code) => (wire::AttemptEnd::Failed, code.to_string()),
        AttemptEnd::Lost => (wire::AttemptEnd::Lost, String::new()),
        AttemptEnd::HandedBack => (wire::AttemptEnd::HandedBack, String::new()),
        AttemptEnd::Stopped => (wire::AttemptEnd::Stopped, String::new()),
    };
    wire::TraceAttempt {
        number: times.number.0,
        agent_id: times.agent.to_string(),
        assigned_at_ms: times.assigned_at.as_millis(),
        started_at_ms: times.started_at.map(|at| at.as_millis()),
        ended_at_ms: times.ended_at.map(|at| at.as_millis()),
        end: end.into(),
        error_code,
    }
}
