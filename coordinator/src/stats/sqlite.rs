//! Runs to be counted, on SQLite.

use heddle_core::id::{RunId, WorkflowId};
use heddle_core::run::RunStatus;
use heddle_core::stats::EndedRun;
use heddle_core::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, ToSql, named_params};

use super::{EndedCursor, RunRows, Which};
use crate::auth::Tenant;
use crate::journal::Answer;
use crate::journal::columns::{class, status_number};
use crate::journal::sqlite::SqliteJournal;
use crate::journal::status_of;
use crate::records::sqlite::{array, failed, many};

impl RunRows for SqliteJournal {
    fn ended(&self, which: Which, after: Option<EndedCursor>, limit: usize) -> Answer<Vec<EndedRun>> {
        self.read(move |connection| {
            let (tenant, limit) = (which.tenant.text(), limit as i64);
            let (from, to) = (which.from.as_millis(), which.to.as_millis());
            let workflow = which.workflow.map(WorkflowId::to_bytes);
            let place = after.map(|at| (at.workflow.to_bytes(), at.ended_at.as_millis(), at.run.to_bytes()));
            let mut given: Vec<(&str, &dyn ToSql)> =
                vec![(":tenant", &tenant), (":from", &from), (":to", &to), (":limit", &limit)];
            let mut wheres = String::new();
            if let Some(workflow) = &workflow {
                wheres.push_str(" AND workflow = :workflow");
                given.push((":workflow", workflow));
            }
            if let Some((after_workflow, ended_at, id)) = &place {
                // Of one workflow the shorter comparison bounds the walk along the index.
                if workflow.is_some() {
                    wheres.push_str(" AND ended_at <= :ended_at AND (ended_at, id) < (:ended_at, :id)");
                } else {
                    wheres.push_str(" AND (workflow, ended_at, id) < (:after, :ended_at, :id)");
                    given.push((":after", after_workflow));
                }
                given.extend([(":ended_at", ended_at as &dyn ToSql), (":id", id)]);
            }
            let sql = format!(
                "SELECT id, workflow, status, created_at, ended_at, error_class, error_code FROM run
                 WHERE tenant = :tenant AND ended_at >= :from AND ended_at < :to{wheres}
                 ORDER BY workflow DESC, ended_at DESC, id DESC LIMIT :limit"
            );
            let rows = many(connection, &sql, given.as_slice(), |row| Ok((row.get(2)?, ended(row)?)))?;
            rows.into_iter().map(|(status, run)| Ok(EndedRun { status: status_of(status)?, ..run })).collect()
        })
    }

    fn count_open(&self, tenant: Tenant, workflow: Option<WorkflowId>) -> Answer<u64> {
        self.read(move |connection| {
            // Two indexes of runs that are not closed have all that is asked for.
            let sql = "SELECT (SELECT count(*) FROM run WHERE phase IN (1, 3) AND ended_at IS NULL AND tenant = :tenant
                           AND (:workflow IS NULL OR workflow = :workflow))
                       + (SELECT count(*) FROM run WHERE phase = 2 AND tenant = :tenant
                           AND (:workflow IS NULL OR workflow = :workflow))";
            let given = named_params! {":tenant": tenant.text(), ":workflow": workflow.map(WorkflowId::to_bytes)};
            let count =
                connection.prepare_cached(sql).and_then(|mut it| it.query_row(given, |row| row.get::<_, i64>(0)));
            Ok(count.map_err(failed)? as u64)
        })
    }

    fn last_success(&self, tenant: Tenant, workflow: WorkflowId, from: Timestamp) -> Answer<Option<Timestamp>> {
        self.read(move |connection| {
            let sql = "SELECT ended_at FROM run WHERE tenant = :tenant AND workflow = :workflow AND ended_at >= :from
                       AND status = :status ORDER BY ended_at DESC, id DESC LIMIT 1";
            let given = named_params! {":tenant": tenant.text(), ":workflow": workflow.to_bytes(),
            ":from": from.as_millis(), ":status": status_number(RunStatus::Completed)};
            let at = |row: &Row<'_>| row.get(0).map(Timestamp::from_millis);
            let found = connection.prepare_cached(sql).and_then(|mut it| it.query_row(given, at).optional());
            found.map_err(failed)
        })
    }
}

/// All but its status.
fn ended(row: &Row<'_>) -> rusqlite::Result<EndedRun> {
    Ok(EndedRun {
        run: RunId(u128::from_be_bytes(array(row, 0)?)),
        workflow: WorkflowId(u128::from_be_bytes(array(row, 1)?)),
        status: RunStatus::Running,
        created_at: Timestamp::from_millis(row.get(3)?),
        ended_at: Timestamp::from_millis(row.get(4)?),
        class: row.get::<_, Option<i64>>(5)?.and_then(class),
        code: row.get::<_, Option<String>>(6)?.map(Into::into),
    })
}
