//! Families of runs: the first one, and all that go on from it or from each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::id::{EventSeq, RunId};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{Fact, Submitted};
use heddle_proto::control as wire;
use tonic::Status;

use crate::auth::{self, Tenant};
use crate::journal::RunRow;
use crate::limits::{EDITS_SHOWN_MAX, LINEAGE_PAGE, LINEAGE_PAGE_MAX};
use crate::read::runs::{self, ReadError};
use crate::records::Relative;
use crate::rpc::failure;
use crate::shared::Shared;

/// How a run began.
pub(super) async fn first(shared: &Arc<Shared>, tenant: &Tenant, run: RunId) -> Result<Submitted, ReadError> {
    let page = match shared.recent.events(run, EventSeq(0), 1) {
        Some(page) => page,
        None => {
            let page = shared.journal.read_history(tenant.clone(), run, EventSeq(0), 1, usize::MAX).await;
            page.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect()
        }
    };
    match page.first().map(|event| &event.fact) {
        Some(Fact::Submitted(submitted)) => Ok(Submitted::clone(submitted)),
        _ => Err(ReadError::NotFound),
    }
}

/// Of runs that are listed those that go on from others.
pub(crate) async fn families(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    rows: &[RunRow],
) -> Result<BTreeMap<RunId, Relative>, Status> {
    let kin = shared.records.kin(tenant.clone(), rows.iter().map(|row| row.run).collect()).await;
    let mut families = BTreeMap::new();
    for relative in kin.map_err(|error| failure::journal(&error))? {
        let parent = match relative.parent {
            Some(parent) => Some(parent),
            // Noted before rows said so.
            None => {
                let begun = first(shared, tenant, relative.run).await.map_err(failure::read)?;
                begun.lineage.and_then(|lineage| lineage.parent)
            }
        };
        families.insert(relative.run, Relative { parent, ..relative });
    }
    Ok(families)
}

/// A run with its place in its family; one that nobody goes on from, and that goes on from nobody, is a family by itself.
pub(crate) fn shown(run: wire::Run, relative: Option<&Relative>) -> wire::Run {
    wire::Run {
        parent_execution_id: relative.and_then(|it| it.parent).map_or_else(String::new, |parent| parent.to_string()),
        lineage_id: relative.map_or_else(|| run.id.clone(), |relative| relative.root.to_string()),
        ..run
    }
}

/// A page of a family.
pub(crate) async fn lineage(shared: &Arc<Shared>, request: wire::LineageRequest) -> Result<wire::Lineage, Status> {
    let tenant = auth::tenant(&request)?;
    let run = failure::run_id(&request.execution_id)?;
    runs::row(shared, &tenant, run).await.map_err(failure::read)?;
    let begun = first(shared, &tenant, run).await.map_err(failure::read)?;
    let root = begun.lineage.and_then(|lineage| lineage.root).unwrap_or(run);
    let limit = if request.limit == 0 { LINEAGE_PAGE } else { request.limit.min(LINEAGE_PAGE_MAX) } as usize;
    let (mut after, mut found) = match request.cursor.as_str() {
        "" => (RunId(0), vec![root]),
        cursor => (cursor.parse().map_err(|_| failure::bad_cursor())?, Vec::new()),
    };
    // Some of those that are noted never began, and are passed over.
    let (mut shown, mut is_more) = (Vec::new(), false);
    loop {
        let relatives = shared.records.relatives(tenant.clone(), root, after, limit + 1).await;
        let relatives = relatives.map_err(|error| failure::journal(&error))?;
        let is_last = relatives.len() <= limit;
        found.extend(relatives.iter().filter(|run| **run != root));
        for run in found.drain(..) {
            if shown.len() == limit {
                is_more = true;
                break;
            }
            if run != root {
                after = run;
            }
            shown.extend(relative(shared, &tenant, run).await?);
        }
        if is_more || is_last {
            break;
        }
    }
    let next_cursor = if is_more { after.to_string() } else { String::new() };
    Ok(wire::Lineage { lineage_id: root.to_string(), runs: shown, next_cursor })
}

async fn relative(shared: &Arc<Shared>, tenant: &Tenant, run: RunId) -> Result<Option<wire::LineageRun>, Status> {
    let row = match runs::row(shared, tenant, run).await {
        Err(ReadError::NotFound | ReadError::Expired(_)) => return Ok(None),
        row => row.map_err(failure::read)?,
    };
    let mut shown = wire::LineageRun {
        execution_id: run.to_string(),
        workflow_id: row.created.workflow.to_string(),
        status: runs::status(row.summary.status).into(),
        started_at_ms: row.created.created_at.as_millis(),
        ended_at_ms: row.summary.ended_at.filter(|_| row.summary.status != RunStatus::Running).map(|at| at.as_millis()),
        subject: row.created.subject.to_string(),
        ..wire::LineageRun::default()
    };
    if row.quarantine_reason.is_some() {
        return Ok(Some(shown));
    }
    let graph = shared.graphs.get(tenant, row.created.graph).await.map_err(failure::graph)?;
    let begun = first(shared, tenant, run).await.map_err(failure::read)?;
    let id = |node| graph.get(node).map_or_else(String::new, |node| node.id.to_string());
    shown.to_node_id = begun.target.map_or_else(String::new, id);
    if let Some(lineage) = begun.lineage {
        shown.parent_execution_id = lineage.parent.map_or_else(String::new, |parent| parent.to_string());
        shown.rerun = lineage.rerun;
        shown.from_node_id = lineage.from.map_or_else(String::new, id);
        let edits = lineage.edits.iter().take(EDITS_SHOWN_MAX).filter_map(|edit| {
            let node = graph.get(edit.node)?;
            let port = node.node_type.as_ref()?.outputs.get(usize::from(edit.port.0))?;
            Some(wire::EditedPort { node_id: node.id.to_string(), port: port.id.to_string() })
        });
        shown.edits = edits.collect();
    }
    Ok(Some(shown))
}
