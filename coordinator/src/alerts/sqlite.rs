//! Rules and incidents on SQLite.

use heddle_core::alert::{AlertRule, OpenIncident};
use heddle_core::id::{AlertId, IncidentId, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::KeyRow;
use heddle_core::time::{Span, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    AlertChange, AlertRow, AlertRows, IncidentFilter, IncidentRow, PutAlert, Watched, columns, condition, replayed,
    reply_of,
};
use crate::auth::Tenant;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, JournalError};
use crate::records::sqlite::{array, failed, keep_reply, kept_reply, many, text};

/// What [`watched`] reads: a rule, what is open of it, and whether its workflow is there.
const WATCHED: &str = "SELECT alert_rule.id, alert_rule.tenant, alert_rule.workflow, alert_rule.kind, window_ms, threshold, runs_min,
                           close_after_ms, revision, subject, created_at, updated_at, alert_incident.id, well_since,
                           EXISTS (SELECT 1 FROM workflow WHERE workflow.tenant = alert_rule.tenant AND workflow.id = alert_rule.workflow)
                       FROM alert_rule LEFT JOIN alert_incident ON alert_incident.rule = alert_rule.id AND closed_at IS NULL";

/// A row whose numbers may be none that this release knows.
type Read = Option<Watched>;

impl AlertRows for SqliteJournal {
    fn put_alert(&self, row: AlertRow, key: Option<KeyRow>, per_workflow_max: usize) -> Answer<PutAlert> {
        self.write("keep an alert rule", move |connection| {
            if let Some(key) = &key
                && let Some(kept) = kept_reply(connection, key, row.created_at)?
            {
                return Ok(replayed(key, kept));
            }
            let (kind, window, threshold, runs) = columns(row.rule.condition);
            let sql =
                "INSERT INTO alert_rule (id, tenant, workflow, kind, window_ms, threshold, runs_min, close_after_ms,
                           revision, subject, created_at, updated_at)
                       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
                       WHERE (SELECT count(*) FROM alert_rule WHERE tenant = ?2 AND workflow = ?3) < ?13";
            let written = connection.prepare_cached(sql)?.execute(params![
                row.id.to_bytes(),
                &*row.tenant.0,
                row.workflow.to_bytes(),
                kind,
                window,
                threshold,
                runs,
                row.rule.close_after.as_millis() as i64,
                row.revision as i64,
                &*row.subject.0,
                row.created_at.as_millis(),
                row.updated_at.as_millis(),
                per_workflow_max as i64,
            ])?;
            if written == 0 {
                return Ok(PutAlert::TooMany);
            }
            if let Some(key) = &key {
                keep_reply(connection, key, row.created_at, &reply_of(&row))?;
            }
            Ok(PutAlert::Done)
        })
    }

    fn alerts(&self, tenant: Tenant, workflow: WorkflowId) -> Answer<Vec<Watched>> {
        self.read(move |connection| {
            let sql =
                format!("{WATCHED} WHERE alert_rule.tenant = ?1 AND alert_rule.workflow = ?2 ORDER BY alert_rule.id");
            many(connection, &sql, params![tenant.text(), workflow.to_bytes()], watched)?
                .into_iter()
                .map(known)
                .collect()
        })
    }

    fn change_alert(&self, tenant: Tenant, change: AlertChange) -> Answer<Option<Watched>> {
        let AlertChange { workflow, id, rule, subject, now } = change;
        let reading = tenant.clone();
        let written = self.write("change an alert rule", move |connection| {
            let (kind, window, threshold, runs) = columns(rule.condition);
            let sql = "UPDATE alert_rule SET window_ms = ?5, threshold = ?6, runs_min = ?7, close_after_ms = ?8,
                           revision = revision + 1, subject = ?9, updated_at = ?10
                       WHERE id = ?1 AND tenant = ?2 AND workflow = ?3 AND kind = ?4";
            let place = params![
                id.to_bytes(),
                tenant.text(),
                workflow.to_bytes(),
                kind,
                window,
                threshold,
                runs,
                rule.close_after.as_millis() as i64,
                &*subject.0,
                now.as_millis(),
            ];
            Ok(connection.prepare_cached(sql)?.execute(place)? == 1)
        });
        let reader = self.reader();
        Box::pin(async move {
            if !written.await? {
                return Ok(None);
            }
            reader
                .run(move |connection| {
                    let sql = format!("{WATCHED} WHERE alert_rule.id = ?1 AND alert_rule.tenant = ?2");
                    let found = many(connection, &sql, params![id.to_bytes(), reading.text()], watched)?;
                    found.into_iter().next().map(known).transpose()
                })
                .await
        })
    }

    fn delete_alert(&self, tenant: Tenant, workflow: WorkflowId, id: AlertId, now: Timestamp) -> Answer<bool> {
        self.write("delete an alert rule", move |connection| {
            let sql = "DELETE FROM alert_rule WHERE id = ?1 AND tenant = ?2 AND workflow = ?3";
            let place = params![id.to_bytes(), tenant.text(), workflow.to_bytes()];
            let is_gone = connection.prepare_cached(sql)?.execute(place)? == 1;
            if is_gone {
                close_without_rule(connection, &tenant, workflow, now)?;
            }
            Ok(is_gone)
        })
    }

    fn forget_alerts(&self, tenant: Tenant, workflow: WorkflowId, now: Timestamp) -> Answer<()> {
        self.write("delete alert rules", move |connection| {
            let sql = "DELETE FROM alert_rule WHERE tenant = ?1 AND workflow = ?2";
            if connection.prepare_cached(sql)?.execute(params![tenant.text(), workflow.to_bytes()])? > 0 {
                close_without_rule(connection, &tenant, workflow, now)?;
            }
            Ok(())
        })
    }

    fn all_alerts(&self, after: Option<AlertId>, limit: usize) -> Answer<Vec<Watched>> {
        self.read(move |connection| {
            let sql = format!("{WATCHED} WHERE alert_rule.id > ?1 ORDER BY alert_rule.id LIMIT ?2");
            let after = after.map_or([0; 16], AlertId::to_bytes);
            many(connection, &sql, params![after, limit as i64], watched)?.into_iter().map(known).collect()
        })
    }

    fn open_incident(&self, row: IncidentRow, revision: u64) -> Answer<bool> {
        self.write("open an incident", move |connection| {
            let sql = "INSERT INTO alert_incident (id, rule, tenant, workflow, kind, opened_at, event)
                       SELECT ?1, id, tenant, workflow, ?3, ?4, ?5 FROM alert_rule WHERE id = ?2 AND revision = ?6
                       ON CONFLICT DO NOTHING";
            let place = params![
                row.id.to_bytes(),
                row.rule.to_bytes(),
                row.kind,
                row.opened_at.as_millis(),
                &row.event[..],
                revision as i64
            ];
            Ok(connection.prepare_cached(sql)?.execute(place)? == 1)
        })
    }

    fn note_well(&self, id: IncidentId, well_since: Option<Timestamp>) -> Answer<bool> {
        self.write("note how an incident stands", move |connection| {
            // Whoever was first counts: the time begins anew only after it was not well.
            let sql = "UPDATE alert_incident SET well_since = ?2
                       WHERE id = ?1 AND closed_at IS NULL AND (?2 IS NULL OR well_since IS NULL)";
            let place = params![id.to_bytes(), well_since.map(Timestamp::as_millis)];
            Ok(connection.prepare_cached(sql)?.execute(place)? == 1)
        })
    }

    fn close_incident(&self, id: IncidentId, well_since: Option<Timestamp>, now: Timestamp) -> Answer<bool> {
        self.write("close an incident", move |connection| {
            let sql = "UPDATE alert_incident SET closed_at = ?3, well_since = coalesce(well_since, ?3)
                       WHERE id = ?1 AND closed_at IS NULL AND coalesce(well_since, -1) = coalesce(?2, -1)";
            let place = params![id.to_bytes(), well_since.map(Timestamp::as_millis), now.as_millis()];
            Ok(connection.prepare_cached(sql)?.execute(place)? == 1)
        })
    }

    fn incidents(&self, filter: IncidentFilter, before: Option<IncidentId>, limit: usize) -> Answer<Vec<IncidentRow>> {
        self.read(move |connection| {
            let sql = "SELECT id, rule, tenant, workflow, kind, opened_at, well_since, closed_at, event FROM alert_incident
                       WHERE tenant = ?1 AND id < ?2 AND (?3 IS NULL OR workflow = ?3) AND (?4 IS NULL OR (closed_at IS NULL) = ?4)
                       ORDER BY id DESC LIMIT ?5";
            let before = before.map_or([0xff; 16], IncidentId::to_bytes);
            let workflow = filter.workflow.map(WorkflowId::to_bytes);
            many(connection, sql, params![filter.tenant.text(), before, workflow, filter.is_open, limit as i64], incident)
        })
    }

    fn count_open_incidents(&self) -> Answer<u64> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM alert_incident WHERE closed_at IS NULL";
            let count = connection.prepare_cached(sql).and_then(|mut it| it.query_row([], |row| row.get::<_, i64>(0)));
            Ok(count.map_err(failed)? as u64)
        })
    }

    fn expire_incidents(&self, before: Timestamp, now: Timestamp, limit: usize) -> Answer<usize> {
        self.write("remove old incidents", move |connection| {
            let sql = "UPDATE alert_incident SET closed_at = ?1 WHERE closed_at IS NULL
                       AND NOT EXISTS (SELECT 1 FROM alert_rule WHERE alert_rule.id = alert_incident.rule)";
            connection.prepare_cached(sql)?.execute(params![now.as_millis()])?;
            let sql = "DELETE FROM alert_incident WHERE id IN
                           (SELECT id FROM alert_incident WHERE closed_at < ?1 ORDER BY closed_at LIMIT ?2)";
            connection.prepare_cached(sql)?.execute(params![before.as_millis(), limit as i64])
        })
    }
}

/// What a rule found is over when the rule has gone.
fn close_without_rule(
    connection: &Connection,
    tenant: &Tenant,
    workflow: WorkflowId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "UPDATE alert_incident SET closed_at = ?3 WHERE closed_at IS NULL AND tenant = ?1 AND workflow = ?2
               AND NOT EXISTS (SELECT 1 FROM alert_rule WHERE alert_rule.id = alert_incident.rule)";
    connection.prepare_cached(sql)?.execute(params![tenant.text(), workflow.to_bytes(), now.as_millis()]).map(drop)
}

fn known(read: Read) -> Result<Watched, JournalError> {
    read.ok_or(JournalError::Row { table: "alert_rule", what: "one of its numbers" })
}

fn watched(row: &Row<'_>) -> rusqlite::Result<Read> {
    let Some(condition) = condition((row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)) else { return Ok(None) };
    let open = row.get::<_, Option<[u8; 16]>>(12)?.map(|id| IncidentId(u128::from_be_bytes(id)));
    let well_since = row.get::<_, Option<i64>>(13)?.map(Timestamp::from_millis);
    Ok(Some(Watched {
        row: AlertRow {
            id: AlertId(u128::from_be_bytes(array(row, 0)?)),
            tenant: TenantId(text(row, 1)?),
            workflow: WorkflowId(u128::from_be_bytes(array(row, 2)?)),
            rule: AlertRule { condition, close_after: Span::from_millis(row.get::<_, i64>(7)? as u64) },
            revision: row.get::<_, i64>(8)? as u64,
            subject: Subject(text(row, 9)?),
            created_at: Timestamp::from_millis(row.get(10)?),
            updated_at: Timestamp::from_millis(row.get(11)?),
        },
        open: open.map(|id| (id, OpenIncident { well_since })),
        is_orphan: !row.get::<_, bool>(14)?,
    }))
}

fn incident(row: &Row<'_>) -> rusqlite::Result<IncidentRow> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    Ok(IncidentRow {
        id: IncidentId(u128::from_be_bytes(array(row, 0)?)),
        rule: AlertId(u128::from_be_bytes(array(row, 1)?)),
        tenant: TenantId(text(row, 2)?),
        workflow: WorkflowId(u128::from_be_bytes(array(row, 3)?)),
        kind: row.get(4)?,
        opened_at: Timestamp::from_millis(row.get(5)?),
        well_since: time(6)?,
        closed_at: time(7)?,
        event: row.get::<_, Vec<u8>>(8)?.into(),
    })
}
