//! Reviews on SQLite.

use heddle_core::id::{ReviewId, ReviewIx, RunId, Subject, TenantId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{IdempotencyKey, KeyRow, ReviewCreated};
use heddle_core::run::event::ReviewKind;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::{Row, ToSql, params};

use super::{ReviewCursor, ReviewFilter, ReviewRows, StoredReview};
use crate::auth::Tenant;
use crate::journal::columns::{
    assignees, assignees_text, place, review_kind, review_state, review_state_number, told, verdict,
};
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, JournalError};
use crate::records::sqlite::{array, many, one, text};

/// What [`stored`] reads.
const COLUMNS: &str = "id, run, tenant, workflow, ordinal, node, place, kind, state, assignees, opened_at, due_at, closed_at, \
                       decided_by, verdict, told";

/// A row whose numbers may be none that this release knows.
type Read = Option<StoredReview>;

impl ReviewRows for SqliteJournal {
    fn review(&self, tenant: Tenant, review: ReviewId) -> Answer<Option<StoredReview>> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM review WHERE id = ?1 AND tenant = ?2");
            let found = one(connection, &sql, params![review.to_bytes(), tenant.text()], stored)?;
            found.map(known).transpose()
        })
    }

    fn reviews(&self, filter: ReviewFilter, cursor: Option<ReviewCursor>, limit: usize) -> Answer<Vec<StoredReview>> {
        self.read(move |connection| {
            let (tenant, limit) = (filter.tenant.text(), limit.min(PAGE_ROWS_MAX) as i64);
            let state = filter.state.map(review_state_number);
            let assignee = filter.assignee.map(|assignee| assignees_text(&[assignee]));
            let (workflow, run) = (filter.workflow.map(WorkflowId::to_bytes), filter.run.map(RunId::to_bytes));
            let after = cursor.map(|cursor| (cursor.opened_at.as_millis(), cursor.review.to_bytes()));
            let (opened_at, id) = after.unzip();
            let mut given: Vec<(&str, &dyn ToSql)> = vec![(":tenant", &tenant), (":limit", &limit)];
            // One statement per set of filters, so that each gets the index that fits.
            let mut wheres = String::new();
            let clauses: [(bool, &str, &dyn ToSql, &str); 5] = [
                (state.is_some(), ":state", &state, " AND state = :state"),
                (
                    assignee.is_some(),
                    ":assignee",
                    &assignee,
                    " AND (assignees = '' OR instr(assignees, :assignee) > 0)",
                ),
                (workflow.is_some(), ":workflow", &workflow, " AND workflow = :workflow"),
                (run.is_some(), ":run", &run, " AND run = :run"),
                (id.is_some(), ":id", &id, " AND (opened_at, id) > (:opened_at, :id)"),
            ];
            for (is_given, name, value, clause) in clauses {
                if is_given {
                    wheres.push_str(clause);
                    given.push((name, value));
                }
            }
            if id.is_some() {
                given.push((":opened_at", &opened_at));
            }
            let sql = format!(
                "SELECT {COLUMNS} FROM review WHERE tenant = :tenant{wheres} ORDER BY opened_at, id LIMIT :limit"
            );
            many(connection, &sql, given.as_slice(), stored)?.into_iter().map(known).collect()
        })
    }

    fn open_by_kind(&self) -> Answer<Vec<(ReviewKind, u64)>> {
        self.read(|connection| {
            // The condition is the index's own.
            let sql = "SELECT kind, count(*) FROM review WHERE state = 1 GROUP BY kind ORDER BY kind";
            let count = |row: &Row<'_>| Ok((review_kind(row.get(0)?), row.get::<_, i64>(1)? as u64));
            let counts = many(connection, sql, params![], count)?;
            Ok(counts.into_iter().filter_map(|(kind, count)| Some((kind?, count))).collect())
        })
    }

    fn take_key(&self, row: KeyRow, now: Timestamp) -> Answer<Option<Digest>> {
        self.write("take a decision's key", move |connection| {
            let KeyRow { key, body } = &row;
            let sql = "INSERT INTO idempotency (tenant, route, key, body, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (tenant, route, key) DO UPDATE
                       SET body = excluded.body, created_at = excluded.created_at, run = NULL, reply = NULL
                       WHERE idempotency.created_at <= excluded.created_at - ?6";
            let (at, ttl) = (now.as_millis(), IDEMPOTENCY_TTL.as_millis() as i64);
            let place = params![&*key.tenant.0, &*key.route, &*key.key, body.0, at, ttl];
            if connection.prepare_cached(sql)?.execute(place)? == 1 {
                return Ok(None);
            }
            let sql = "SELECT body FROM idempotency WHERE tenant = ?1 AND route = ?2 AND key = ?3";
            let place = params![&*key.tenant.0, &*key.route, &*key.key];
            connection.prepare_cached(sql)?.query_row(place, |row| Ok(Some(Digest(array(row, 0)?))))
        })
    }

    fn free_key(&self, key: IdempotencyKey) -> Answer<()> {
        self.write("free a decision's key", move |connection| {
            let sql = "DELETE FROM idempotency WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND run IS NULL AND reply IS NULL";
            connection.prepare_cached(sql)?.execute(params![&*key.tenant.0, &*key.route, &*key.key]).map(drop)
        })
    }
}

fn known(read: Read) -> Result<StoredReview, JournalError> {
    read.ok_or(JournalError::Row { table: "review", what: "one of its numbers" })
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Read> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let number = row.get::<_, Option<i64>>(14)?;
    let (kind, state) = (review_kind(row.get(7)?), review_state(row.get(8)?));
    let (index, verdict) = (place(&text(row, 6)?), number.map(verdict));
    let told = told(&text(row, 15)?);
    let (Some(kind), Some(state), Some(index), Some(told)) = (kind, state, index, told) else { return Ok(None) };
    if verdict == Some(None) {
        return Ok(None);
    }
    Ok(Some(StoredReview {
        review: ReviewId(u128::from_be_bytes(array(row, 0)?)),
        run: RunId(u128::from_be_bytes(array(row, 1)?)),
        created: ReviewCreated {
            tenant: TenantId(text(row, 2)?),
            workflow: WorkflowId(u128::from_be_bytes(array(row, 3)?)),
            ordinal: ReviewIx(row.get(4)?),
            node: text(row, 5)?,
            index,
            kind,
            opened_at: Timestamp::from_millis(row.get(10)?),
        },
        state,
        assignees: assignees(&text(row, 9)?),
        due_at: time(11)?,
        closed_at: time(12)?,
        decided_by: row.get::<_, Option<String>>(13)?.map(|by| Subject(by.into())),
        verdict: verdict.flatten(),
        told,
    }))
}
