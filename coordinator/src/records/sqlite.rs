//! Plain rows on SQLite: through the journal's one writing connection, and its readers.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{KeyId, RunId, TenantId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::KeyRow;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    ApiKeyRow, GraphText, KeyEnd, ManifestRow, Records, Relative, SaveWorkflow, Saved, TenantChange, TenantRow,
    VersionRow, WorkflowPage, WorkflowRow, save,
};
use crate::auth::Tenant;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, JournalError};
use crate::limits::VERSIONS_OF_GRAPH_MAX;

const WORKFLOW_COLUMNS: &str = "id, tenant, name, description, tags, is_active, version, graph, created_at, updated_at";

impl Records for SqliteJournal {
    fn put_graph(&self, tenant: Tenant, digest: Digest, graph: GraphText) -> Answer<()> {
        let bytes = graph.nodes.len() + graph.edges.len() + graph.policy.len();
        self.write_bytes("keep a graph", bytes, move |connection| {
            let sql = "INSERT INTO graph (tenant, digest, nodes, edges, policy) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            let policy = (!graph.policy.is_empty()).then_some(&graph.policy[..]);
            let row = params![tenant.text(), digest.0, &graph.nodes[..], &graph.edges[..], policy];
            connection.prepare_cached(sql)?.execute(row).map(drop)
        })
    }

    fn graph(&self, tenant: Tenant, digest: Digest) -> Answer<Option<GraphText>> {
        self.read(move |connection| {
            let sql = "SELECT nodes, edges, policy FROM graph WHERE tenant = ?1 AND digest = ?2";
            let text = |row: &Row<'_>| {
                let policy: Option<Vec<u8>> = row.get(2)?;
                Ok(GraphText {
                    nodes: bytes(row, 0)?,
                    edges: bytes(row, 1)?,
                    policy: policy.unwrap_or_default().into(),
                })
            };
            one(connection, sql, params![tenant.text(), digest.0], text)
        })
    }

    fn save_workflow(&self, save: SaveWorkflow) -> Answer<Saved> {
        self.write("save a workflow", move |connection| save_workflow(connection, &save))
    }

    fn workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<Option<WorkflowRow>> {
        self.read(move |connection| {
            let sql = format!("SELECT {WORKFLOW_COLUMNS} FROM workflow WHERE tenant = ?1 AND id = ?2");
            let row = one(connection, &sql, params![tenant.text(), id.to_bytes()], workflow)?;
            row.map(|row| with_usage(connection, row)).transpose()
        })
    }

    fn workflows(&self, tenant: Tenant, page: WorkflowPage) -> Answer<Vec<WorkflowRow>> {
        self.read(move |connection| {
            let after = if page.after.is_some() { "AND (updated_at, id) < (?4, ?5)" } else { "" };
            let sql = format!(
                "SELECT {WORKFLOW_COLUMNS} FROM workflow WHERE tenant = ?1 AND (?2 IS NULL OR is_active = ?2) {after}
                 ORDER BY updated_at DESC, id DESC LIMIT ?3"
            );
            let limit = page.limit as i64;
            let rows = match page.after {
                None => many(connection, &sql, params![tenant.text(), page.is_active, limit], workflow)?,
                Some((at, id)) => {
                    let values = params![tenant.text(), page.is_active, limit, at.as_millis(), id.to_bytes()];
                    many(connection, &sql, values, workflow)?
                }
            };
            rows.into_iter().map(|row| with_usage(connection, row)).collect()
        })
    }

    fn delete_workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<bool> {
        self.write("delete a workflow", move |connection| {
            let place = params![tenant.text(), id.to_bytes()];
            connection.execute("DELETE FROM workflow_version WHERE tenant = ?1 AND workflow = ?2", place)?;
            Ok(connection.execute("DELETE FROM workflow WHERE tenant = ?1 AND id = ?2", place)? == 1)
        })
    }

    fn versions(
        &self,
        tenant: Tenant,
        workflow: WorkflowId,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<VersionRow>> {
        self.read(move |connection| {
            let sql = "SELECT version, graph, subject, created_at FROM workflow_version
                       WHERE tenant = ?1 AND workflow = ?2 AND version < ?3 ORDER BY version DESC LIMIT ?4";
            let before = before.and_then(|version| i64::try_from(version).ok()).unwrap_or(i64::MAX);
            many(connection, sql, params![tenant.text(), workflow.to_bytes(), before, limit as i64], version)
        })
    }

    fn version(&self, tenant: Tenant, workflow: WorkflowId, number: u64) -> Answer<Option<VersionRow>> {
        self.read(move |connection| {
            let sql = "SELECT version, graph, subject, created_at FROM workflow_version
                       WHERE tenant = ?1 AND workflow = ?2 AND version = ?3";
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            one(connection, sql, params![tenant.text(), workflow.to_bytes(), number], version)
        })
    }

    fn versions_of_graph(&self, tenant: Tenant, workflow: WorkflowId, graph: Digest) -> Answer<Vec<(u64, Timestamp)>> {
        self.read(move |connection| {
            let sql = "SELECT version, created_at FROM workflow_version
                       WHERE tenant = ?1 AND workflow = ?2 AND graph = ?3 ORDER BY version DESC LIMIT ?4";
            let values = params![tenant.text(), workflow.to_bytes(), graph.0, VERSIONS_OF_GRAPH_MAX as i64];
            many(connection, sql, values, |row| Ok((row.get::<_, i64>(0)? as u64, Timestamp::from_millis(row.get(1)?))))
        })
    }

    fn api_key(&self, mac: Digest) -> Answer<Option<ApiKeyRow>> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {API_KEY_COLUMNS} FROM api_key WHERE mac = ?1 AND revoked_at IS NULL
                 AND EXISTS (SELECT 1 FROM tenant WHERE tenant.id = api_key.tenant AND closed_at IS NULL)"
            );
            one(connection, &sql, params![mac.0], api_key)
        })
    }

    fn api_keys(&self, tenant: Tenant) -> Answer<Vec<ApiKeyRow>> {
        self.read(move |connection| {
            let sql = format!("SELECT {API_KEY_COLUMNS} FROM api_key WHERE tenant = ?1 ORDER BY id DESC");
            many(connection, &sql, params![tenant.text()], api_key)
        })
    }

    fn end_api_key(&self, tenant: Tenant, id: KeyId, end: KeyEnd) -> Answer<Option<ApiKeyRow>> {
        self.write("end a key", move |connection| {
            let (set, at) = match end {
                KeyEnd::Revoked(at) => ("revoked_at = coalesce(revoked_at, ?3)", at),
                KeyEnd::Expires(at) => ("expires_at = min(coalesce(expires_at, ?3), ?3)", at),
            };
            let sql = format!("UPDATE api_key SET {set} WHERE tenant = ?1 AND id = ?2 RETURNING {API_KEY_COLUMNS}");
            let values = params![tenant.text(), id.to_bytes(), at.as_millis()];
            connection.prepare_cached(&sql)?.query_row(values, api_key).optional()
        })
    }

    fn put_api_key(&self, mac: Digest, row: ApiKeyRow, only_first: bool) -> Answer<bool> {
        self.write("keep a key", move |connection| put_api_key(connection, mac, &row, only_first))
    }

    fn note_key_use(&self, tenant: Tenant, id: KeyId, at: Timestamp) -> Answer<()> {
        self.write("note a key's use", move |connection| {
            let sql = "UPDATE api_key SET last_used_at = max(coalesce(last_used_at, ?3), ?3)
                       WHERE tenant = ?1 AND id = ?2";
            let values = params![tenant.text(), id.to_bytes(), at.as_millis()];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        })
    }

    fn put_tenant(&self, row: TenantRow) -> Answer<bool> {
        self.write("keep a tenant", move |connection| {
            let sql = "INSERT INTO tenant (id, name, created_at, closed_at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO NOTHING";
            let (created_at, closed_at) = (row.created_at.as_millis(), row.closed_at.map(Timestamp::as_millis));
            Ok(connection.execute(sql, params![&*row.id.0, &*row.name, created_at, closed_at])? == 1)
        })
    }

    fn tenants(&self) -> Answer<Vec<TenantRow>> {
        self.read(|connection| {
            many(connection, "SELECT id, name, created_at, closed_at FROM tenant ORDER BY id", params![], tenant)
        })
    }

    fn tenant(&self, of: Tenant) -> Answer<Option<TenantRow>> {
        self.read(move |connection| {
            let sql = "SELECT id, name, created_at, closed_at FROM tenant WHERE id = ?1";
            one(connection, sql, params![of.text()], tenant)
        })
    }

    fn change_tenant(&self, of: Tenant, change: TenantChange) -> Answer<Option<TenantRow>> {
        self.write("change a tenant", move |connection| {
            let sql = "UPDATE tenant SET name = coalesce(?2, name),
                           closed_at = CASE WHEN ?3 THEN iif(?4 IS NULL, NULL, coalesce(closed_at, ?4)) ELSE closed_at END
                       WHERE id = ?1 RETURNING id, name, created_at, closed_at";
            let closed_at = change.closed_at.flatten().map(Timestamp::as_millis);
            let values = params![of.text(), change.name.as_deref(), change.closed_at.is_some(), closed_at];
            connection.prepare_cached(sql)?.query_row(values, tenant).optional()
        })
    }

    fn put_relative(&self, tenant: Tenant, relative: Relative) -> Answer<()> {
        self.write("note a run's family", move |connection| {
            let sql = "INSERT INTO lineage (tenant, root, run, parent) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            let Relative { root, run, parent } = relative;
            let parent = parent.map(|parent| parent.to_bytes());
            connection.execute(sql, params![tenant.text(), root.to_bytes(), run.to_bytes(), parent]).map(drop)
        })
    }

    fn relatives(&self, tenant: Tenant, root: RunId, after: RunId, limit: usize) -> Answer<Vec<RunId>> {
        self.read(move |connection| {
            let sql = "SELECT run FROM lineage WHERE tenant = ?1 AND root = ?2 AND run > ?3 ORDER BY run LIMIT ?4";
            let values = params![tenant.text(), root.to_bytes(), after.to_bytes(), limit as i64];
            many(connection, sql, values, |row| Ok(RunId(u128::from_be_bytes(row.get(0)?))))
        })
    }

    fn kin(&self, tenant: Tenant, mut runs: Vec<RunId>) -> Answer<Vec<Relative>> {
        self.read(move |connection| {
            let sql = "SELECT root, parent FROM lineage WHERE tenant = ?1 AND run = ?2 ORDER BY root LIMIT 1";
            let id = |bytes| RunId(u128::from_be_bytes(bytes));
            runs.sort_unstable();
            runs.dedup();
            let found = runs.into_iter().map(|run| {
                one(connection, sql, params![tenant.text(), run.to_bytes()], |row| {
                    let parent: Option<[u8; 16]> = row.get(1)?;
                    Ok(Relative { root: id(row.get(0)?), run, parent: parent.map(id) })
                })
            });
            found.filter_map(Result::transpose).collect()
        })
    }

    fn put_node_types(&self, manifests: Vec<ManifestRow>) -> Answer<()> {
        self.write("keep node types", move |connection| {
            let sql = "INSERT INTO node_type (digest, id, version, seen_at, manifest)
                       VALUES (?1, ?2, ?3, (SELECT coalesce(max(seen_at), 0) + 1 FROM node_type), ?4)
                       ON CONFLICT DO NOTHING";
            let mut statement = connection.prepare_cached(sql)?;
            manifests.iter().try_for_each(|row| {
                statement.execute(params![row.digest.0, &*row.id, row.version, &row.json[..]]).map(drop)
            })
        })
    }

    fn node_types(&self) -> Answer<Vec<ManifestRow>> {
        self.read(|connection| {
            let sql = "SELECT id, version, digest, manifest FROM node_type AS newest
                       WHERE NOT EXISTS (SELECT 1 FROM node_type AS other WHERE other.id = newest.id
                         AND (other.version, other.seen_at) > (newest.version, newest.seen_at)) ORDER BY id";
            many(connection, sql, params![], |row| {
                Ok(ManifestRow {
                    id: text(row, 0)?,
                    version: row.get(1)?,
                    digest: Digest(array(row, 2)?),
                    json: bytes(row, 3)?,
                })
            })
        })
    }
}

fn put_api_key(connection: &Connection, mac: Digest, row: &ApiKeyRow, only_first: bool) -> rusqlite::Result<bool> {
    let (tenant, created_at) = (&*row.tenant.0, row.created_at.as_millis());
    let sql = "INSERT INTO api_key (id, mac, tenant, subject, scopes, created_at, expires_at, revoked_at, hint)
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE iif(?10, NOT EXISTS (SELECT 1 FROM api_key),
                   EXISTS (SELECT 1 FROM tenant WHERE id = ?3))";
    let (expires_at, revoked_at) = (row.expires_at.map(Timestamp::as_millis), row.revoked_at.map(Timestamp::as_millis));
    let (id, scopes) = (row.id.to_bytes(), row.scopes.join(" "));
    let values =
        params![id, mac.0, tenant, &*row.subject.0, scopes, created_at, expires_at, revoked_at, &*row.hint, only_first];
    let is_new = connection.execute(sql, values)? == 1;
    if is_new && only_first {
        let sql = "INSERT INTO tenant (id, name, created_at) VALUES (?1, ?1, ?2) ON CONFLICT DO NOTHING";
        connection.execute(sql, params![tenant, created_at])?;
    }
    Ok(is_new)
}

/// Counts the workflow's runs, along an index.
fn with_usage(connection: &Connection, row: WorkflowRow) -> Result<WorkflowRow, JournalError> {
    let sql = "SELECT count(*), max(created_at) FROM run WHERE tenant = ?1 AND workflow = ?2";
    let usage = |found: &Row<'_>| Ok((found.get::<_, i64>(0)? as u64, found.get::<_, Option<i64>>(1)?));
    let (execution_count, last) =
        one(connection, sql, params![&*row.tenant.0, row.id.to_bytes()], usage)?.unwrap_or_default();
    Ok(WorkflowRow { execution_count, last_executed_at: last.map(Timestamp::from_millis), ..row })
}

fn save_workflow(connection: &Connection, save: &SaveWorkflow) -> rusqlite::Result<Saved> {
    if let Some(key) = &save.key
        && let Some(answer) = replayed(connection, key, save.now)?
    {
        return Ok(answer);
    }
    let sql = format!("SELECT {WORKFLOW_COLUMNS} FROM workflow WHERE tenant = ?1 AND id = ?2");
    let place = params![save.tenant.text(), save.id.to_bytes()];
    let known = connection.prepare_cached(&sql)?.query_row(place, workflow).optional()?;
    let (row, created) = match save::decide(save, known) {
        Ok(decided) => decided,
        Err(refusal) => return Ok(refusal.into()),
    };
    write_workflow(connection, &row, created, save)?;
    Ok(Saved::Done { row, created })
}

fn write_workflow(
    connection: &Connection,
    row: &WorkflowRow,
    created: bool,
    save: &SaveWorkflow,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO workflow ({WORKFLOW_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    );
    let tags = save::tags_to_text(&row.tags);
    let (tenant, description) = (&*row.tenant.0, row.description.as_deref());
    let (created_at, updated_at) = (row.created_at.as_millis(), row.updated_at.as_millis());
    let (id, version) = (row.id.to_bytes(), row.version as i64);
    connection.prepare_cached(&sql)?.execute(params![
        id,
        tenant,
        &*row.name,
        description,
        tags,
        row.is_active,
        version,
        row.graph.0,
        created_at,
        updated_at
    ])?;
    let sql = "INSERT INTO workflow_version (tenant, workflow, version, graph, subject, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    connection.execute(sql, params![tenant, id, version, row.graph.0, &*save.subject.0, updated_at])?;
    match &save.key {
        Some(key) => keep_reply(connection, key, save.now, &save::reply_of(row, created)),
        None => Ok(()),
    }
}

/// The answer of an earlier request with this key, if it is young enough.
fn replayed(connection: &Connection, given: &KeyRow, now: Timestamp) -> rusqlite::Result<Option<Saved>> {
    let found = kept_reply(connection, given, now)?;
    Ok(found.map(|(body, reply)| match save::row_of(&reply, given.key.tenant.clone()) {
        Some((row, created)) if body == given.body => Saved::Replayed { row, created },
        _ => Saved::KeyMismatch,
    }))
}

/// Keeps what a request with a key is answered.
pub(crate) fn keep_reply(
    connection: &Connection,
    KeyRow { key, body }: &KeyRow,
    now: Timestamp,
    reply: &[u8],
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO idempotency (tenant, route, key, body, created_at, reply)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let at = now.as_millis();
    connection.execute(sql, params![&*key.tenant.0, &*key.route, &*key.key, body.0, at, reply]).map(drop)
}

/// The body of an earlier request with this key, and what it was answered, if it is young enough.
pub(crate) fn kept_reply(
    connection: &Connection,
    given: &KeyRow,
    now: Timestamp,
) -> rusqlite::Result<Option<(Digest, Vec<u8>)>> {
    let sql = "SELECT body, reply FROM idempotency
               WHERE tenant = ?1 AND route = ?2 AND key = ?3 AND created_at > ?4 AND reply IS NOT NULL";
    let key = &given.key;
    let oldest = now.as_millis() - IDEMPOTENCY_TTL.as_millis() as i64;
    let values = params![&*key.tenant.0, &*key.route, &*key.key, oldest];
    connection.query_row(sql, values, |row| Ok((Digest(array(row, 0)?), row.get(1)?))).optional()
}

fn workflow(row: &Row<'_>) -> rusqlite::Result<WorkflowRow> {
    let tags: Arc<str> = text(row, 4)?;
    Ok(WorkflowRow {
        id: WorkflowId(u128::from_be_bytes(array(row, 0)?)),
        tenant: TenantId(text(row, 1)?),
        name: text(row, 2)?,
        description: row.get::<_, Option<String>>(3)?.map(Arc::from),
        tags: serde_json::from_str(&tags).map_err(|error| broken(4, error))?,
        is_active: row.get(5)?,
        version: row.get::<_, i64>(6)? as u64,
        graph: Digest(array(row, 7)?),
        created_at: Timestamp::from_millis(row.get(8)?),
        updated_at: Timestamp::from_millis(row.get(9)?),
        execution_count: 0,
        last_executed_at: None,
    })
}

fn version(row: &Row<'_>) -> rusqlite::Result<VersionRow> {
    Ok(VersionRow {
        version: row.get::<_, i64>(0)? as u64,
        graph: Digest(array(row, 1)?),
        subject: text(row, 2)?.as_ref().into(),
        created_at: Timestamp::from_millis(row.get(3)?),
    })
}

/// The columns that [`api_key`] reads, in its order.
const API_KEY_COLUMNS: &str = "id, tenant, subject, scopes, expires_at, created_at, revoked_at, hint, last_used_at";

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        id: KeyId(u128::from_be_bytes(array(row, 0)?)),
        tenant: TenantId(text(row, 1)?),
        subject: text(row, 2)?.as_ref().into(),
        scopes: text(row, 3)?.split_ascii_whitespace().map(Arc::from).collect(),
        expires_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(row.get(5)?),
        revoked_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
        hint: text(row, 7)?,
        last_used_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
    })
}

fn tenant(row: &Row<'_>) -> rusqlite::Result<TenantRow> {
    Ok(TenantRow {
        id: TenantId(text(row, 0)?),
        name: text(row, 1)?,
        created_at: Timestamp::from_millis(row.get(2)?),
        closed_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
    })
}

pub(crate) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    row.get::<_, String>(column).map(Arc::from)
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

pub(crate) fn array<const N: usize>(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    row.get(column)
}

fn broken(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(crate) fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, JournalError> {
    let found = connection.prepare_cached(sql).and_then(|mut statement| statement.query_row(values, read).optional());
    found.map_err(failed)
}

pub(crate) fn many<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, JournalError> {
    let found = connection.prepare_cached(sql).and_then(|mut statement| statement.query_map(values, read)?.collect());
    found.map_err(failed)
}

pub(crate) fn failed(source: rusqlite::Error) -> JournalError {
    JournalError::Database { doing: "read its rows", source: Box::new(source) }
}
