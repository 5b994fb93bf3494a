//! Rows of reviews, beside the events of their run.

use heddle_core::id::RunId;
use heddle_core::partition::batch::{ReviewCreated, ReviewRow, ReviewState};
use heddle_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::journal::columns::{
    assignees_text, place_text, review_kind_number, review_state_number, told_text, verdict_number,
};

/// Writes them in order; false if they do not follow what is there.
pub(super) fn write(connection: &Connection, run: RunId, rows: &[ReviewRow]) -> rusqlite::Result<bool> {
    for row in rows {
        if let Some(created) = &row.created
            && !insert(connection, run, row, created)?
        {
            return Ok(false);
        }
        if !update(connection, run, row)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn insert(connection: &Connection, run: RunId, row: &ReviewRow, created: &ReviewCreated) -> rusqlite::Result<bool> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO review (id, slot, tenant, run, workflow, ordinal, node, place, kind, state, assignees, opened_at,
                 told)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, '', ?11, '') ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            row.review.to_bytes(),
            row.review.slot().0,
            &*created.tenant.0,
            run.to_bytes(),
            created.workflow.to_bytes(),
            created.ordinal.0,
            &*created.node,
            place_text(&created.index),
            review_kind_number(created.kind),
            review_state_number(row.state),
            created.opened_at.as_millis(),
        ])?;
    Ok(inserted == 1)
}

fn update(connection: &Connection, run: RunId, row: &ReviewRow) -> rusqlite::Result<bool> {
    let updated = connection
        .prepare_cached(
            "UPDATE review SET state = ?3, assignees = coalesce(?4, assignees),
                 due_at = CASE WHEN ?4 IS NULL THEN due_at ELSE ?5 END, closed_at = ?6, decided_by = ?7, verdict = ?8,
                 told = told || ?9
             WHERE id = ?1 AND run = ?2",
        )?
        .execute(params![
            row.review.to_bytes(),
            run.to_bytes(),
            review_state_number(row.state),
            row.assignees.as_deref().map(assignees_text),
            row.due_at.map(Timestamp::as_millis),
            row.closed_at.map(Timestamp::as_millis),
            row.decided_by.as_ref().map(|by| &*by.0),
            row.verdict.map(verdict_number),
            told_text(row.seq),
        ])?;
    Ok(updated == 1)
}

/// A run is set aside: nobody need answer.
pub(super) fn withdraw(connection: &Connection, run: RunId, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE review SET state = ?2, closed_at = ?3 WHERE run = ?1 AND state = ?4")?
        .execute(params![
            run.to_bytes(),
            review_state_number(ReviewState::Withdrawn),
            now.as_millis(),
            review_state_number(ReviewState::Open),
        ])
        .map(drop)
}
