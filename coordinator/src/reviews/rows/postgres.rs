//! Reviews on PostgreSQL.

use futures::FutureExt as _;
use heddle_core::id::{ReviewId, ReviewIx, RunId, Subject, TenantId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{IdempotencyKey, KeyRow, ReviewCreated};
use heddle_core::run::event::ReviewKind;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{QueryBuilder, Row as _};

use super::{ReviewCursor, ReviewFilter, ReviewRows, StoredReview};
use crate::auth::Tenant;
use crate::journal::columns::{
    assignees, assignees_text, place, review_kind, review_state, review_state_number, told, verdict,
};
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::postgres::{PostgresJournal, Trouble, id, index, time};
use crate::journal::{Answer, JournalError};

/// What [`stored`] reads.
macro_rules! columns {
    () => {
        "id, run, tenant, workflow, ordinal, node, place, kind, state, assignees, opened_at, due_at, closed_at, decided_by, \
         verdict, told"
    };
}

impl ReviewRows for PostgresJournal {
    fn review(&self, tenant: Tenant, review: ReviewId) -> Answer<Option<StoredReview>> {
        self.ask("read a review", move |connection| {
            async move {
                let sql = concat!("SELECT ", columns!(), " FROM review WHERE id = $1 AND tenant = $2");
                let query = sqlx::query(sql).bind(review.to_bytes()).bind(tenant.text());
                query.fetch_optional(connection).await?.as_ref().map(stored).transpose()
            }
            .boxed()
        })
    }

    fn reviews(&self, filter: ReviewFilter, cursor: Option<ReviewCursor>, limit: usize) -> Answer<Vec<StoredReview>> {
        self.ask("list reviews", move |connection| {
            async move {
                // One statement per set of filters, so that each gets the index that fits.
                let mut query = QueryBuilder::<Postgres>::new(concat!("SELECT ", columns!(), " FROM review"));
                query.push(" WHERE tenant = ").push_bind(filter.tenant.text().to_owned());
                if let Some(state) = filter.state {
                    query.push(" AND state = ").push_bind(review_state_number(state));
                }
                if let Some(assignee) = filter.assignee {
                    query.push(" AND (assignees = '' OR strpos(assignees, ");
                    query.push_bind(assignees_text(&[assignee])).push(") > 0)");
                }
                if let Some(workflow) = filter.workflow {
                    query.push(" AND workflow = ").push_bind(workflow.to_bytes());
                }
                if let Some(run) = filter.run {
                    query.push(" AND run = ").push_bind(run.to_bytes());
                }
                if let Some(ReviewCursor { opened_at, review }) = cursor {
                    query.push(" AND (opened_at, id) > (").push_bind(opened_at.as_millis());
                    query.push(", ").push_bind(review.to_bytes()).push(")");
                }
                query.push(" ORDER BY opened_at, id LIMIT ").push_bind(limit.min(PAGE_ROWS_MAX) as i64);
                query.build().fetch_all(connection).await?.iter().map(stored).collect()
            }
            .boxed()
        })
    }

    fn open_by_kind(&self) -> Answer<Vec<(ReviewKind, u64)>> {
        self.ask("count open reviews", |connection| {
            async move {
                // The condition is the index's own.
                let sql = "SELECT kind, count(*) FROM review WHERE state = 1 GROUP BY kind ORDER BY kind";
                let rows = sqlx::query(sql).fetch_all(connection).await?;
                let count = |row: &PgRow| Ok((review_kind(row.try_get(0)?), row.try_get::<i64, _>(1)? as u64));
                let counts = rows.iter().map(count).collect::<Result<Vec<_>, Trouble>>()?;
                Ok(counts.into_iter().filter_map(|(kind, count)| Some((kind?, count))).collect())
            }
            .boxed()
        })
    }

    fn take_key(&self, row: KeyRow, now: Timestamp) -> Answer<Option<Digest>> {
        self.ask("take a decision's key", move |connection| {
            async move {
                let KeyRow { key, body } = &row;
                let sql = "INSERT INTO idempotency (tenant, route, key, body, created_at) VALUES ($1, $2, $3, $4, $5)
                           ON CONFLICT (tenant, route, key) DO UPDATE
                           SET body = excluded.body, created_at = excluded.created_at, run = NULL, reply = NULL
                           WHERE idempotency.created_at <= excluded.created_at - $6";
                let query = sqlx::query(sql).bind(&*key.tenant.0).bind(&*key.route).bind(&*key.key).bind(body.0);
                let query = query.bind(now.as_millis()).bind(IDEMPOTENCY_TTL.as_millis() as i64);
                if query.execute(&mut *connection).await?.rows_affected() == 1 {
                    return Ok(None);
                }
                let sql = "SELECT body FROM idempotency WHERE tenant = $1 AND route = $2 AND key = $3";
                let query = sqlx::query(sql).bind(&*key.tenant.0).bind(&*key.route).bind(&*key.key);
                // Whoever had it has freed it meanwhile: this request may be its twin.
                let Some(found) = query.fetch_optional(connection).await? else { return Ok(Some(*body)) };
                Ok(Some(Digest(found.try_get(0)?)))
            }
            .boxed()
        })
    }

    fn free_key(&self, key: IdempotencyKey) -> Answer<()> {
        self.ask("free a decision's key", move |connection| {
            async move {
                let sql = "DELETE FROM idempotency
                           WHERE tenant = $1 AND route = $2 AND key = $3 AND run IS NULL AND reply IS NULL";
                let query = sqlx::query(sql).bind(&*key.tenant.0).bind(&*key.route).bind(&*key.key);
                query.execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }
}

fn stored(row: &PgRow) -> Result<StoredReview, Trouble> {
    let wrong = || Trouble::from(JournalError::Row { table: "review", what: "one of its numbers" });
    let maybe = |column| Ok::<_, Trouble>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis));
    let verdict = row.try_get::<Option<i64>, _>(14)?.map(|number| verdict(number).ok_or_else(wrong)).transpose()?;
    Ok(StoredReview {
        review: ReviewId(id(row, 0)?),
        run: RunId(id(row, 1)?),
        created: ReviewCreated {
            tenant: TenantId(row.try_get::<String, _>(2)?.into()),
            workflow: WorkflowId(id(row, 3)?),
            ordinal: ReviewIx(index(row, 4, "review")?),
            node: row.try_get::<String, _>(5)?.into(),
            index: place(row.try_get(6)?).ok_or_else(wrong)?,
            kind: review_kind(row.try_get(7)?).ok_or_else(wrong)?,
            opened_at: time(row, 10)?,
        },
        state: review_state(row.try_get(8)?).ok_or_else(wrong)?,
        assignees: assignees(row.try_get(9)?),
        due_at: maybe(11)?,
        closed_at: maybe(12)?,
        decided_by: row.try_get::<Option<String>, _>(13)?.map(|by| Subject(by.into())),
        verdict,
        told: told(row.try_get(15)?).ok_or_else(wrong)?,
    })
}
