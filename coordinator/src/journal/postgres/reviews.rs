//! Rows of reviews, beside the events of their run and in the same transaction.

use heddle_core::id::RunId;
use heddle_core::partition::batch::{ReviewCreated, ReviewRow};
use heddle_core::time::Timestamp;
use sqlx::postgres::PgConnection;

use super::fault::Trouble;
use crate::journal::columns::{
    assignees_text, place_text, review_kind_number, review_state_number, told_text, verdict_number,
};

type Result<T> = std::result::Result<T, Trouble>;

/// Writes them in order; nothing of the transaction may stay if they do not follow what is there.
pub(super) async fn write(connection: &mut PgConnection, run: RunId, rows: &[ReviewRow]) -> Result<()> {
    for row in rows {
        if let Some(created) = &row.created {
            insert(connection, run, row, created).await?;
        }
        update(connection, run, row).await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, run: RunId, row: &ReviewRow, created: &ReviewCreated) -> Result<()> {
    let sql =
        "INSERT INTO review (id, slot, tenant, run, workflow, ordinal, node, place, kind, state, assignees, opened_at, told)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11, '') ON CONFLICT DO NOTHING";
    let query = sqlx::query(sql)
        .bind(row.review.to_bytes())
        .bind(i64::from(row.review.slot().0))
        .bind(&*created.tenant.0)
        .bind(run.to_bytes())
        .bind(created.workflow.to_bytes())
        .bind(i64::from(created.ordinal.0))
        .bind(&*created.node)
        .bind(place_text(&created.index))
        .bind(review_kind_number(created.kind))
        .bind(review_state_number(row.state))
        .bind(created.opened_at.as_millis());
    one(query.execute(connection).await?.rows_affected())
}

async fn update(connection: &mut PgConnection, run: RunId, row: &ReviewRow) -> Result<()> {
    let sql = "UPDATE review SET state = $3, assignees = coalesce($4, assignees),
                   due_at = CASE WHEN $4 IS NULL THEN due_at ELSE $5 END, closed_at = $6, decided_by = $7, verdict = $8,
                   told = told || $9
               WHERE id = $1 AND run = $2";
    let query = sqlx::query(sql)
        .bind(row.review.to_bytes())
        .bind(run.to_bytes())
        .bind(review_state_number(row.state))
        .bind(row.assignees.as_deref().map(assignees_text))
        .bind(row.due_at.map(Timestamp::as_millis))
        .bind(row.closed_at.map(Timestamp::as_millis))
        .bind(row.decided_by.as_ref().map(|by| &*by.0))
        .bind(row.verdict.map(verdict_number))
        .bind(told_text(row.seq));
    one(query.execute(connection).await?.rows_affected())
}

fn one(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Trouble::NotNext) }
}
