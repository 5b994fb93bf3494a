//! Runs to be counted, on PostgreSQL.

use futures::FutureExt as _;
use heddle_core::id::{RunId, WorkflowId};
use heddle_core::run::RunStatus;
use heddle_core::stats::EndedRun;
use heddle_core::time::Timestamp;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{QueryBuilder, Row as _};

use super::{EndedCursor, RunRows, Which};
use crate::auth::Tenant;
use crate::journal::columns::{class, status_number};
use crate::journal::postgres::{PostgresJournal, Trouble, id, time};
use crate::journal::{Answer, status_of};

impl RunRows for PostgresJournal {
    fn ended(&self, which: Which, after: Option<EndedCursor>, limit: usize) -> Answer<Vec<EndedRun>> {
        self.ask("count runs", move |connection| {
            async move {
                let mut query = QueryBuilder::<Postgres>::new(
                    "SELECT id, workflow, status, created_at, ended_at, error_class, error_code FROM run WHERE tenant = ",
                );
                query.push_bind(which.tenant.text().to_owned());
                query.push(" AND ended_at >= ").push_bind(which.from.as_millis());
                query.push(" AND ended_at < ").push_bind(which.to.as_millis());
                if let Some(workflow) = which.workflow {
                    query.push(" AND workflow = ").push_bind(workflow.to_bytes());
                }
                if let Some(EndedCursor { workflow, ended_at, run }) = after {
                    query.push(" AND (workflow, ended_at, id) < (").push_bind(workflow.to_bytes());
                    query.push(", ").push_bind(ended_at.as_millis());
                    query.push(", ").push_bind(run.to_bytes()).push(")");
                    if which.workflow.is_some() {
                        // Bounds the walk along the index.
                        query.push(" AND ended_at <= ").push_bind(ended_at.as_millis());
                    }
                }
                query.push(" ORDER BY workflow DESC, ended_at DESC, id DESC LIMIT ").push_bind(limit as i64);
                query.build().fetch_all(connection).await?.iter().map(ended).collect()
            }
            .boxed()
        })
    }

    fn count_open(&self, tenant: Tenant, workflow: Option<WorkflowId>) -> Answer<u64> {
        self.ask("count runs that are not over", move |connection| {
            async move {
                // Two indexes of runs that are not closed have all that is asked for.
                let sql = "SELECT (SELECT count(*) FROM run WHERE phase IN (1, 3) AND ended_at IS NULL AND tenant = $1
                               AND ($2::bytea IS NULL OR workflow = $2))
                           + (SELECT count(*) FROM run WHERE phase = 2 AND tenant = $1
                               AND ($2::bytea IS NULL OR workflow = $2))";
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.map(WorkflowId::to_bytes));
                Ok(query.fetch_one(connection).await?.try_get::<i64, _>(0)? as u64)
            }
            .boxed()
        })
    }

    fn last_success(&self, tenant: Tenant, workflow: WorkflowId, from: Timestamp) -> Answer<Option<Timestamp>> {
        self.ask("look for a run that completed", move |connection| {
            async move {
                let sql =
                    "SELECT ended_at FROM run WHERE tenant = $1 AND workflow = $2 AND ended_at >= $3 AND status = $4
                           ORDER BY ended_at DESC, id DESC LIMIT 1";
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes()).bind(from.as_millis());
                let found = query.bind(status_number(RunStatus::Completed)).fetch_optional(connection).await?;
                Ok(found.as_ref().map(|row| time(row, 0)).transpose()?)
            }
            .boxed()
        })
    }
}

fn ended(row: &PgRow) -> Result<EndedRun, Trouble> {
    Ok(EndedRun {
        run: RunId(id(row, 0)?),
        workflow: WorkflowId(id(row, 1)?),
        status: status_of(row.try_get(2)?).map_err(Trouble::Found)?,
        created_at: time(row, 3)?,
        ended_at: time(row, 4)?,
        class: row.try_get::<Option<i64>, _>(5)?.and_then(class),
        code: row.try_get::<Option<&str>, _>(6)?.map(Into::into),
    })
}
