//! Rules and incidents on PostgreSQL.

use futures::FutureExt as _;
use heddle_core::alert::{AlertRule, OpenIncident};
use heddle_core::id::{AlertId, IncidentId, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::KeyRow;
use heddle_core::time::{Span, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::{
    AlertChange, AlertRow, AlertRows, IncidentFilter, IncidentRow, PutAlert, Watched, columns, condition, replayed,
    reply_of,
};
use crate::auth::Tenant;
use crate::journal::postgres::{PostgresJournal, Trouble, id, time};
use crate::journal::{Answer, JournalError};
use crate::records::postgres::{begin, keep_reply, kept_reply};

/// What [`watched`] reads: a rule, what is open of it, and whether its workflow is there.
macro_rules! watched {
    ($which:literal) => {
        concat!(
            "SELECT alert_rule.id, alert_rule.tenant, alert_rule.workflow, alert_rule.kind, window_ms, threshold, runs_min,
                 close_after_ms, revision, subject, created_at, updated_at, alert_incident.id, well_since,
                 EXISTS (SELECT 1 FROM workflow WHERE workflow.tenant = alert_rule.tenant AND workflow.id = alert_rule.workflow)
             FROM alert_rule LEFT JOIN alert_incident ON alert_incident.rule = alert_rule.id AND closed_at IS NULL ",
            $which
        )
    };
}

impl AlertRows for PostgresJournal {
    fn put_alert(&self, row: AlertRow, key: Option<KeyRow>, per_workflow_max: usize) -> Answer<PutAlert> {
        self.ask("keep an alert rule", move |connection| {
            async move {
                let mut transaction = begin(connection).await?;
                if let Some(key) = &key
                    && let Some(kept) = kept_reply(&mut transaction, key, row.created_at).await?
                {
                    transaction.rollback().await?;
                    return Ok(replayed(key, kept));
                }
                let (kind, window, threshold, runs) = columns(row.rule.condition);
                let sql = "INSERT INTO alert_rule (id, tenant, workflow, kind, window_ms, threshold, runs_min, close_after_ms,
                               revision, subject, created_at, updated_at)
                           SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
                           WHERE (SELECT count(*) FROM alert_rule WHERE tenant = $2 AND workflow = $3) < $13";
                let query = sqlx::query(sql).bind(row.id.to_bytes()).bind(&*row.tenant.0).bind(row.workflow.to_bytes());
                let query = query.bind(kind).bind(window).bind(threshold).bind(runs);
                let query = query.bind(row.rule.close_after.as_millis() as i64).bind(row.revision as i64);
                let query = query.bind(&*row.subject.0).bind(row.created_at.as_millis()).bind(row.updated_at.as_millis());
                let written = query.bind(per_workflow_max as i64).execute(&mut *transaction).await?.rows_affected();
                if written == 0 {
                    transaction.rollback().await?;
                    return Ok(PutAlert::TooMany);
                }
                if let Some(key) = &key {
                    keep_reply(&mut transaction, key, row.created_at, reply_of(&row)).await?;
                }
                transaction.commit().await?;
                Ok(PutAlert::Done)
            }
            .boxed()
        })
    }

    fn alerts(&self, tenant: Tenant, workflow: WorkflowId) -> Answer<Vec<Watched>> {
        self.ask("list alert rules", move |connection| {
            async move {
                let sql = watched!("WHERE alert_rule.tenant = $1 AND alert_rule.workflow = $2 ORDER BY alert_rule.id");
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes());
                query.fetch_all(connection).await?.iter().map(watched).collect()
            }
            .boxed()
        })
    }

    fn change_alert(&self, tenant: Tenant, change: AlertChange) -> Answer<Option<Watched>> {
        let AlertChange { workflow, id, rule, subject, now } = change;
        self.ask("change an alert rule", move |connection| {
            async move {
                let (kind, window, threshold, runs) = columns(rule.condition);
                let sql = "UPDATE alert_rule SET window_ms = $5, threshold = $6, runs_min = $7, close_after_ms = $8,
                               revision = revision + 1, subject = $9, updated_at = $10
                           WHERE id = $1 AND tenant = $2 AND workflow = $3 AND kind = $4";
                let query = sqlx::query(sql).bind(id.to_bytes()).bind(tenant.text()).bind(workflow.to_bytes());
                let query = query.bind(kind).bind(window).bind(threshold).bind(runs);
                let query = query.bind(rule.close_after.as_millis() as i64).bind(&*subject.0).bind(now.as_millis());
                if query.execute(&mut *connection).await?.rows_affected() == 0 {
                    return Ok(None);
                }
                let query = sqlx::query(watched!("WHERE alert_rule.id = $1 AND alert_rule.tenant = $2"));
                let found = query.bind(id.to_bytes()).bind(tenant.text()).fetch_optional(connection).await?;
                found.as_ref().map(watched).transpose()
            }
            .boxed()
        })
    }

    fn delete_alert(&self, tenant: Tenant, workflow: WorkflowId, id: AlertId, now: Timestamp) -> Answer<bool> {
        self.ask("delete an alert rule", move |connection| {
            async move {
                let sql = "DELETE FROM alert_rule WHERE id = $1 AND tenant = $2 AND workflow = $3";
                let query = sqlx::query(sql).bind(id.to_bytes()).bind(tenant.text()).bind(workflow.to_bytes());
                let is_gone = query.execute(&mut *connection).await?.rows_affected() == 1;
                if is_gone {
                    close_without_rule(connection, &tenant, workflow, now).await?;
                }
                Ok(is_gone)
            }
            .boxed()
        })
    }

    fn forget_alerts(&self, tenant: Tenant, workflow: WorkflowId, now: Timestamp) -> Answer<()> {
        self.ask("delete alert rules", move |connection| {
            async move {
                let sql = "DELETE FROM alert_rule WHERE tenant = $1 AND workflow = $2";
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes());
                if query.execute(&mut *connection).await?.rows_affected() > 0 {
                    close_without_rule(connection, &tenant, workflow, now).await?;
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn all_alerts(&self, after: Option<AlertId>, limit: usize) -> Answer<Vec<Watched>> {
        self.ask("look at alert rules", move |connection| {
            async move {
                let query = sqlx::query(watched!("WHERE alert_rule.id > $1 ORDER BY alert_rule.id LIMIT $2"));
                let query = query.bind(after.map_or([0; 16], AlertId::to_bytes)).bind(limit as i64);
                query.fetch_all(connection).await?.iter().map(watched).collect()
            }
            .boxed()
        })
    }

    fn open_incident(&self, row: IncidentRow, revision: u64) -> Answer<bool> {
        self.ask("open an incident", move |connection| {
            async move {
                // The rule's row is locked: it cannot go meanwhile and leave an incident that nobody closes.
                let sql = "INSERT INTO alert_incident (id, rule, tenant, workflow, kind, opened_at, event)
                           SELECT $1, id, tenant, workflow, $3, $4, $5 FROM alert_rule WHERE id = $2 AND revision = $6 FOR UPDATE
                           ON CONFLICT DO NOTHING";
                let query = sqlx::query(sql).bind(row.id.to_bytes()).bind(row.rule.to_bytes()).bind(row.kind);
                let query = query.bind(row.opened_at.as_millis()).bind(&row.event[..]).bind(revision as i64);
                Ok(query.execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn note_well(&self, id: IncidentId, well_since: Option<Timestamp>) -> Answer<bool> {
        self.ask("note how an incident stands", move |connection| {
            async move {
                // Whoever was first counts: the time begins anew only after it was not well.
                let sql = "UPDATE alert_incident SET well_since = $2
                           WHERE id = $1 AND closed_at IS NULL AND ($2::bigint IS NULL OR well_since IS NULL)";
                let query = sqlx::query(sql).bind(id.to_bytes()).bind(well_since.map(Timestamp::as_millis));
                Ok(query.execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn close_incident(&self, id: IncidentId, well_since: Option<Timestamp>, now: Timestamp) -> Answer<bool> {
        self.ask("close an incident", move |connection| {
            async move {
                let sql = "UPDATE alert_incident SET closed_at = $3, well_since = coalesce(well_since, $3)
                           WHERE id = $1 AND closed_at IS NULL AND coalesce(well_since, -1) = coalesce($2::bigint, -1)";
                let query = sqlx::query(sql).bind(id.to_bytes()).bind(well_since.map(Timestamp::as_millis));
                Ok(query.bind(now.as_millis()).execute(connection).await?.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn incidents(&self, filter: IncidentFilter, before: Option<IncidentId>, limit: usize) -> Answer<Vec<IncidentRow>> {
        self.ask("list incidents", move |connection| {
            async move {
                let sql = "SELECT id, rule, tenant, workflow, kind, opened_at, well_since, closed_at, event FROM alert_incident
                           WHERE tenant = $1 AND id < $2 AND ($3::bytea IS NULL OR workflow = $3)
                           AND ($4::boolean IS NULL OR (closed_at IS NULL) = $4) ORDER BY id DESC LIMIT $5";
                let query = sqlx::query(sql).bind(filter.tenant.text());
                let query = query.bind(before.map_or([0xff; 16], IncidentId::to_bytes));
                let query = query.bind(filter.workflow.map(WorkflowId::to_bytes)).bind(filter.is_open);
                query.bind(limit as i64).fetch_all(connection).await?.iter().map(incident).collect()
            }
            .boxed()
        })
    }

    fn count_open_incidents(&self) -> Answer<u64> {
        self.ask("count open incidents", |connection| {
            async move {
                let sql = "SELECT count(*) FROM alert_incident WHERE closed_at IS NULL";
                Ok(sqlx::query(sql).fetch_one(connection).await?.try_get::<i64, _>(0)? as u64)
            }
            .boxed()
        })
    }

    fn expire_incidents(&self, before: Timestamp, now: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("remove old incidents", move |connection| {
            async move {
                let sql = "UPDATE alert_incident SET closed_at = $1 WHERE closed_at IS NULL
                           AND NOT EXISTS (SELECT 1 FROM alert_rule WHERE alert_rule.id = alert_incident.rule)";
                sqlx::query(sql).bind(now.as_millis()).execute(&mut *connection).await?;
                let sql = "DELETE FROM alert_incident WHERE id IN
                               (SELECT id FROM alert_incident WHERE closed_at < $1 ORDER BY closed_at LIMIT $2)";
                let query = sqlx::query(sql).bind(before.as_millis()).bind(limit as i64);
                Ok(query.execute(connection).await?.rows_affected() as usize)
            }
            .boxed()
        })
    }
}

/// What a rule found is over when the rule has gone. A statement of its own: it sees an incident that was opened while the rule's
/// row was waited for. Should nobody come to make it, it is made up for when old incidents are removed.
async fn close_without_rule(
    connection: &mut PgConnection,
    tenant: &Tenant,
    workflow: WorkflowId,
    now: Timestamp,
) -> Result<(), Trouble> {
    let sql = "UPDATE alert_incident SET closed_at = $3 WHERE closed_at IS NULL AND tenant = $1 AND workflow = $2
               AND NOT EXISTS (SELECT 1 FROM alert_rule WHERE alert_rule.id = alert_incident.rule)";
    let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes()).bind(now.as_millis());
    query.execute(connection).await?;
    Ok(())
}

fn watched(row: &PgRow) -> Result<Watched, Trouble> {
    let wrong = || Trouble::from(JournalError::Row { table: "alert_rule", what: "one of its numbers" });
    let numbers = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
    let open = row.try_get::<Option<[u8; 16]>, _>(12)?.map(|id| IncidentId(u128::from_be_bytes(id)));
    let well_since = row.try_get::<Option<i64>, _>(13)?.map(Timestamp::from_millis);
    Ok(Watched {
        row: AlertRow {
            id: AlertId(id(row, 0)?),
            tenant: TenantId(row.try_get::<String, _>(1)?.into()),
            workflow: WorkflowId(id(row, 2)?),
            rule: AlertRule {
                condition: condition(numbers).ok_or_else(wrong)?,
                close_after: Span::from_millis(row.try_get::<i64, _>(7)? as u64),
            },
            revision: row.try_get::<i64, _>(8)? as u64,
            subject: Subject(row.try_get::<String, _>(9)?.into()),
            created_at: time(row, 10)?,
            updated_at: time(row, 11)?,
        },
        open: open.map(|id| (id, OpenIncident { well_since })),
        is_orphan: !row.try_get::<bool, _>(14)?,
    })
}

fn incident(row: &PgRow) -> Result<IncidentRow, Trouble> {
    let maybe = |column| Ok::<_, Trouble>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis));
    Ok(IncidentRow {
        id: IncidentId(id(row, 0)?),
        rule: AlertId(id(row, 1)?),
        tenant: TenantId(row.try_get::<String, _>(2)?.into()),
        workflow: WorkflowId(id(row, 3)?),
        kind: row.try_get(4)?,
        opened_at: time(row, 5)?,
        well_since: maybe(6)?,
        closed_at: maybe(7)?,
        event: row.try_get::<Vec<u8>, _>(8)?.into(),
    })
}
