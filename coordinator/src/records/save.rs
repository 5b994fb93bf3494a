//! What a write to a workflow makes of it: the same on every database.

use std::sync::Arc;

use heddle_core::id::TenantId;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::{SaveWorkflow, Saved, WorkflowRow};

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    Stale { updated_at: Timestamp },
}

impl From<Refusal> for Saved {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Saved::NotFound,
            Refusal::Stale { updated_at } => Saved::Stale { updated_at },
        }
    }
}

/// The row to write and whether it is new. `known` is the tenant's row with that id.
pub(super) fn decide(save: &SaveWorkflow, known: Option<WorkflowRow>) -> Result<(WorkflowRow, bool), Refusal> {
    match known {
        None if save.must_exist => Err(Refusal::NotFound),
        Some(row) if save.base_updated_at.is_some_and(|base| base != row.updated_at) => {
            Err(Refusal::Stale { updated_at: row.updated_at })
        }
        Some(row) => Ok((replaced(row, save), false)),
        None => fresh(save).map(|row| (row, true)).ok_or(Refusal::NotFound),
    }
}

fn fresh(save: &SaveWorkflow) -> Option<WorkflowRow> {
    Some(WorkflowRow {
        id: save.id,
        tenant: save.tenant.id().clone(),
        name: save.name.clone()?,
        description: save.description.clone().flatten(),
        tags: save.tags.clone().unwrap_or_default(),
        is_active: save.is_active.unwrap_or(true),
        version: 1,
        graph: save.graph?,
        created_at: save.now,
        updated_at: save.now,
        execution_count: save.usage.execution_count,
        last_executed_at: save.usage.last_executed_at,
    })
}

fn replaced(row: WorkflowRow, save: &SaveWorkflow) -> WorkflowRow {
    let graph = save.graph.unwrap_or(row.graph);
    WorkflowRow {
        name: save.name.clone().unwrap_or(row.name),
        description: save.description.clone().unwrap_or(row.description),
        tags: save.tags.clone().unwrap_or(row.tags),
        is_active: save.is_active.unwrap_or(row.is_active),
        version: row.version + u64::from(graph != row.graph),
        graph,
        // A conditional write compares it, so it moves on even within one millisecond.
        updated_at: save.now.max(Timestamp::from_millis(row.updated_at.as_millis() + 1)),
        execution_count: save.usage.execution_count,
        last_executed_at: save.usage.last_executed_at,
        ..row
    }
}

/// What an idempotency row keeps of a workflow as it was answered.
pub(super) fn reply_of(row: &WorkflowRow, created: bool) -> Vec<u8> {
    let reply = serde_json::json!({
        "id": row.id.to_string(), "name": &*row.name, "description": row.description.as_deref(),
        "tags": row.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), "isActive": row.is_active,
        "version": row.version, "createdAt": row.created_at.as_millis(), "updatedAt": row.updated_at.as_millis(),
        "graph": row.graph.0.to_vec(), "created": created, "executionCount": row.execution_count,
        "lastExecutedAt": row.last_executed_at.map(Timestamp::as_millis),
    });
    reply.to_string().into_bytes()
}

/// The row, and whether the request had created it.
pub(super) fn row_of(reply: &[u8], tenant: TenantId) -> Option<(WorkflowRow, bool)> {
    let reply: serde_json::Value = serde_json::from_slice(reply).ok()?;
    let text = |name: &str| reply.get(name)?.as_str().map(Arc::<str>::from);
    let graph: Vec<u8> = serde_json::from_value(reply.get("graph")?.clone()).ok()?;
    let tags: Vec<Arc<str>> = serde_json::from_value(reply.get("tags")?.clone()).ok()?;
    let row = WorkflowRow {
        id: text("id")?.parse().ok()?,
        tenant,
        name: text("name")?,
        description: text("description"),
        tags,
        is_active: reply.get("isActive")?.as_bool()?,
        version: reply.get("version")?.as_u64()?,
        graph: Digest(graph.try_into().ok()?),
        created_at: Timestamp::from_millis(reply.get("createdAt")?.as_i64()?),
        updated_at: Timestamp::from_millis(reply.get("updatedAt")?.as_i64()?),
        // Rows of earlier builds say nothing of it.
        execution_count: reply.get("executionCount").and_then(serde_json::Value::as_u64).unwrap_or(0),
        last_executed_at: reply.get("lastExecutedAt").and_then(serde_json::Value::as_i64).map(Timestamp::from_millis),
    };
    Some((row, reply.get("created")?.as_bool()?))
}

/// Tags as one column keeps them.
pub(super) fn tags_to_text(tags: &[Arc<str>]) -> String {
    serde_json::json!(tags.iter().map(|tag| &**tag).collect::<Vec<_>>()).to_string()
}
