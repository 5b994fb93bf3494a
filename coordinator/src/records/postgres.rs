//! Plain rows on PostgreSQL. What decides by what it has read runs in a transaction under one lock, as if one thread
//! wrote: such writes are few.

use std::sync::Arc;

use futures::FutureExt as _;
use heddle_core::id::{KeyId, RunId, TenantId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::KeyRow;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::{Connection as _, QueryBuilder, Row as _, Transaction};

use super::{
    ApiKeyRow, GraphText, KeyEnd, ManifestRow, Records, Relative, SaveWorkflow, Saved, TenantChange, TenantRow,
    VersionRow, WorkflowPage, WorkflowRow, save,
};
use crate::auth::Tenant;
use crate::journal::limits::DEADLOCK_TRIES_MAX;
use crate::journal::postgres::{PostgresJournal, Trouble, bytes, id, time};
use crate::journal::{Answer, JournalError};
use crate::limits::VERSIONS_OF_GRAPH_MAX;

/// A query of what [`api_key`] reads.
macro_rules! select_api_key {
    () => {
        "SELECT id, tenant, subject, scopes, expires_at, created_at, revoked_at, hint, last_used_at FROM api_key"
    };
}

/// The columns that [`workflow`] reads, in its order.
macro_rules! workflow_columns {
    () => {
        "id, tenant, name, description, tags, is_active, version, graph, created_at, updated_at"
    };
}

/// A workflow's row with the number of its runs and the start of the youngest, counted along an index.
macro_rules! workflows_with_usage {
    () => {
        concat!(
            "SELECT ",
            workflow_columns!(),
            ", usage.count, usage.last FROM workflow, LATERAL (
                 SELECT count(*) AS count, max(run.created_at) AS last FROM run
                 WHERE run.tenant = workflow.tenant AND run.workflow = workflow.id) AS usage
             WHERE workflow.tenant = "
        )
    };
}

/// Whoever decides by what it has read has this lock until its transaction ends.
const ROWS_LOCK: i64 = 0x6865_6464_6c65_0002;

type Result<T> = std::result::Result<T, Trouble>;

impl Records for PostgresJournal {
    fn put_graph(&self, tenant: Tenant, digest: Digest, graph: GraphText) -> Answer<()> {
        self.ask("keep a graph", move |connection| {
            async move {
                let sql =
                    "INSERT INTO graph (tenant, digest, nodes, edges, policy) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
                let query = sqlx::query(sql).bind(tenant.text()).bind(digest.0).bind(&graph.nodes[..]);
                let policy = (!graph.policy.is_empty()).then_some(&graph.policy[..]);
                query.bind(&graph.edges[..]).bind(policy).execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn graph(&self, tenant: Tenant, digest: Digest) -> Answer<Option<GraphText>> {
        self.ask("read a graph", move |connection| {
            async move {
                let sql = "SELECT nodes, edges, policy FROM graph WHERE tenant = $1 AND digest = $2";
                let found = sqlx::query(sql).bind(tenant.text()).bind(digest.0).fetch_optional(connection).await?;
                let text = |row: PgRow| {
                    let policy: Option<Vec<u8>> = row.try_get(2)?;
                    let policy = policy.unwrap_or_default().into();
                    Ok(GraphText { nodes: bytes(&row, 0)?, edges: bytes(&row, 1)?, policy })
                };
                found.map(text).transpose()
            }
            .boxed()
        })
    }

    fn save_workflow(&self, save: SaveWorkflow) -> Answer<Saved> {
        self.ask("save a workflow", move |connection| {
            async move {
                let mut tries = 1;
                loop {
                    match save_workflow(connection, &save).await {
                        Err(trouble) if trouble.is_deadlock() && tries < DEADLOCK_TRIES_MAX => tries += 1,
                        saved => return saved,
                    }
                }
            }
            .boxed()
        })
    }

    fn workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<Option<WorkflowRow>> {
        self.ask("read a workflow", move |connection| async move { with_usage(connection, &tenant, id).await }.boxed())
    }

    fn workflows(&self, tenant: Tenant, page: WorkflowPage) -> Answer<Vec<WorkflowRow>> {
        self.ask("list workflows", move |connection| {
            async move {
                let mut query = QueryBuilder::<Postgres>::new(workflows_with_usage!());
                query.push_bind(tenant.text().to_owned());
                if let Some(is_active) = page.is_active {
                    query.push(" AND is_active = ").push_bind(i64::from(is_active));
                }
                if let Some((at, id)) = page.after {
                    query.push(" AND (workflow.updated_at, workflow.id) < (").push_bind(at.as_millis());
                    query.push(", ").push_bind(id.to_bytes().to_vec()).push(")");
                }
                query.push(" ORDER BY updated_at DESC, id DESC LIMIT ").push_bind(page.limit as i64);
                query.build().fetch_all(connection).await?.iter().map(used_workflow).collect()
            }
            .boxed()
        })
    }

    fn delete_workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<bool> {
        self.ask("delete a workflow", move |connection| {
            async move { delete_workflow(connection, &tenant, id).await }.boxed()
        })
    }

    fn versions(
        &self,
        tenant: Tenant,
        workflow: WorkflowId,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<VersionRow>> {
        self.ask("read versions", move |connection| {
            async move {
                let sql = "SELECT version, graph, subject, created_at FROM workflow_version
                           WHERE tenant = $1 AND workflow = $2 AND version < $3 ORDER BY version DESC LIMIT $4";
                let before = before.and_then(|version| i64::try_from(version).ok()).unwrap_or(i64::MAX);
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes()).bind(before);
                query.bind(limit as i64).fetch_all(connection).await?.iter().map(version).collect()
            }
            .boxed()
        })
    }

    fn version(&self, tenant: Tenant, workflow: WorkflowId, number: u64) -> Answer<Option<VersionRow>> {
        self.ask("read a version", move |connection| {
            async move {
                let sql = "SELECT version, graph, subject, created_at FROM workflow_version
                           WHERE tenant = $1 AND workflow = $2 AND version = $3";
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes()).bind(number);
                query.fetch_optional(connection).await?.as_ref().map(version).transpose()
            }
            .boxed()
        })
    }

    fn versions_of_graph(&self, tenant: Tenant, workflow: WorkflowId, graph: Digest) -> Answer<Vec<(u64, Timestamp)>> {
        self.ask("read versions", move |connection| {
            async move {
                let sql = "SELECT version, created_at FROM workflow_version
                           WHERE tenant = $1 AND workflow = $2 AND graph = $3 ORDER BY version DESC LIMIT $4";
                let query = sqlx::query(sql).bind(tenant.text()).bind(workflow.to_bytes()).bind(graph.0);
                let found = query.bind(VERSIONS_OF_GRAPH_MAX as i64).fetch_all(connection).await?;
                found.iter().map(|row| Ok((row.try_get::<i64, _>(0)? as u64, time(row, 1)?))).collect()
            }
            .boxed()
        })
    }

    fn api_key(&self, mac: Digest) -> Answer<Option<ApiKeyRow>> {
        self.ask("read a key", move |connection| {
            async move {
                let sql = concat!(
                    select_api_key!(),
                    " WHERE mac = $1 AND revoked_at IS NULL
                      AND EXISTS (SELECT 1 FROM tenant WHERE tenant.id = api_key.tenant AND closed_at IS NULL)"
                );
                sqlx::query(sql).bind(mac.0).fetch_optional(connection).await?.as_ref().map(api_key).transpose()
            }
            .boxed()
        })
    }

    fn put_api_key(&self, mac: Digest, row: ApiKeyRow, only_first: bool) -> Answer<bool> {
        self.ask("keep a key", move |connection| {
            async move { put_api_key(connection, mac, &row, only_first).await }.boxed()
        })
    }

    fn api_keys(&self, tenant: Tenant) -> Answer<Vec<ApiKeyRow>> {
        self.ask("read keys", move |connection| {
            async move {
                let sql = concat!(select_api_key!(), " WHERE tenant = $1 ORDER BY id DESC");
                sqlx::query(sql).bind(tenant.text()).fetch_all(connection).await?.iter().map(api_key).collect()
            }
            .boxed()
        })
    }

    fn end_api_key(&self, tenant: Tenant, id: KeyId, end: KeyEnd) -> Answer<Option<ApiKeyRow>> {
        self.ask("end a key", move |connection| {
            async move {
                let (revoked_at, expires_at) = match end {
                    KeyEnd::Revoked(at) => (Some(at.as_millis()), None),
                    KeyEnd::Expires(at) => (None, Some(at.as_millis())),
                };
                // LEAST passes over what is null.
                let sql = "UPDATE api_key SET revoked_at = coalesce(revoked_at, $3), expires_at = least(expires_at, $4)
                           WHERE tenant = $1 AND id = $2
                           RETURNING id, tenant, subject, scopes, expires_at, created_at, revoked_at, hint, last_used_at";
                let query = sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes()).bind(revoked_at).bind(expires_at);
                query.fetch_optional(connection).await?.as_ref().map(api_key).transpose()
            }
            .boxed()
        })
    }

    fn note_key_use(&self, tenant: Tenant, id: KeyId, at: Timestamp) -> Answer<()> {
        self.ask("note a key's use", move |connection| {
            async move {
                // GREATEST passes over what is null.
                let sql = "UPDATE api_key SET last_used_at = greatest(last_used_at, $3) WHERE tenant = $1 AND id = $2";
                let query = sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes()).bind(at.as_millis());
                query.execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn put_tenant(&self, row: TenantRow) -> Answer<bool> {
        self.ask("keep a tenant", move |connection| {
            async move {
                let sql = "INSERT INTO tenant (id, name, created_at, closed_at) VALUES ($1, $2, $3, $4)
                           ON CONFLICT DO NOTHING";
                let query = sqlx::query(sql).bind(&*row.id.0).bind(&*row.name).bind(row.created_at.as_millis());
                let done = query.bind(row.closed_at.map(Timestamp::as_millis)).execute(connection).await?;
                Ok(done.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn tenants(&self) -> Answer<Vec<TenantRow>> {
        self.ask("read tenants", |connection| {
            async move {
                let sql = "SELECT id, name, created_at, closed_at FROM tenant ORDER BY id";
                sqlx::query(sql).fetch_all(connection).await?.iter().map(tenant).collect()
            }
            .boxed()
        })
    }

    fn tenant(&self, of: Tenant) -> Answer<Option<TenantRow>> {
        self.ask("read a tenant", move |connection| {
            async move {
                let sql = "SELECT id, name, created_at, closed_at FROM tenant WHERE id = $1";
                sqlx::query(sql).bind(of.text()).fetch_optional(connection).await?.as_ref().map(tenant).transpose()
            }
            .boxed()
        })
    }

    fn change_tenant(&self, of: Tenant, change: TenantChange) -> Answer<Option<TenantRow>> {
        self.ask("change a tenant", move |connection| {
            async move {
                let sql = "UPDATE tenant SET name = coalesce($2, name), closed_at = CASE WHEN NOT $3 THEN closed_at
                               WHEN $4::bigint IS NULL THEN NULL ELSE coalesce(closed_at, $4) END
                           WHERE id = $1 RETURNING id, name, created_at, closed_at";
                let closed_at = change.closed_at.flatten().map(Timestamp::as_millis);
                let query = sqlx::query(sql).bind(of.text()).bind(change.name.as_deref());
                let query = query.bind(change.closed_at.is_some()).bind(closed_at);
                query.fetch_optional(connection).await?.as_ref().map(tenant).transpose()
            }
            .boxed()
        })
    }

    fn put_relative(&self, tenant: Tenant, relative: Relative) -> Answer<()> {
        self.ask("note a run's family", move |connection| {
            async move {
                let sql =
                    "INSERT INTO lineage (tenant, root, run, parent) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
                let Relative { root, run, parent } = relative;
                let query = sqlx::query(sql).bind(tenant.text()).bind(root.to_bytes()).bind(run.to_bytes());
                query.bind(parent.map(|parent| parent.to_bytes())).execute(connection).await?;
                Ok(())
            }
            .boxed()
        })
    }

    fn relatives(&self, tenant: Tenant, root: RunId, after: RunId, limit: usize) -> Answer<Vec<RunId>> {
        self.ask("read a run's family", move |connection| {
            async move {
                let sql = "SELECT run FROM lineage WHERE tenant = $1 AND root = $2 AND run > $3 ORDER BY run LIMIT $4";
                let query = sqlx::query(sql).bind(tenant.text()).bind(root.to_bytes()).bind(after.to_bytes());
                let rows = query.bind(limit as i64).fetch_all(connection).await?;
                rows.iter().map(|row| Ok(RunId(id(row, 0)?))).collect()
            }
            .boxed()
        })
    }

    fn kin(&self, tenant: Tenant, runs: Vec<RunId>) -> Answer<Vec<Relative>> {
        self.ask("read families of runs", move |connection| {
            async move {
                let sql = "SELECT DISTINCT ON (run) root, run, parent FROM lineage WHERE tenant = $1 AND run = ANY($2)
                           ORDER BY run, root";
                let runs: Vec<[u8; 16]> = runs.iter().map(|run| run.to_bytes()).collect();
                let rows = sqlx::query(sql).bind(tenant.text()).bind(runs).fetch_all(connection).await?;
                let kin = rows.iter().map(|row| {
                    let parent: Option<[u8; 16]> = row.try_get(2)?;
                    let parent = parent.map(|bytes| RunId(u128::from_be_bytes(bytes)));
                    Ok(Relative { root: RunId(id(row, 0)?), run: RunId(id(row, 1)?), parent })
                });
                kin.collect()
            }
            .boxed()
        })
    }

    fn put_node_types(&self, manifests: Vec<ManifestRow>) -> Answer<()> {
        self.ask("keep node types", move |connection| {
            async move { put_node_types(connection, &manifests).await }.boxed()
        })
    }

    fn node_types(&self) -> Answer<Vec<ManifestRow>> {
        self.ask("read node types", |connection| node_types(connection).boxed())
    }
}

/// A transaction that nobody else's runs beside.
pub(crate) async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ROWS_LOCK).execute(&mut *transaction).await?;
    Ok(transaction)
}

async fn put_api_key(connection: &mut PgConnection, mac: Digest, row: &ApiKeyRow, only_first: bool) -> Result<bool> {
    let mut transaction = begin(connection).await?;
    let sql = "INSERT INTO api_key (id, mac, tenant, subject, scopes, created_at, expires_at, revoked_at, hint)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE CASE WHEN $10 THEN NOT EXISTS (SELECT 1 FROM api_key)
                   ELSE EXISTS (SELECT 1 FROM tenant WHERE id = $3) END";
    let (tenant, created_at) = (&*row.tenant.0, row.created_at.as_millis());
    let query = sqlx::query(sql)
        .bind(row.id.to_bytes())
        .bind(mac.0)
        .bind(tenant)
        .bind(&*row.subject.0)
        .bind(row.scopes.join(" "))
        .bind(created_at)
        .bind(row.expires_at.map(Timestamp::as_millis))
        .bind(row.revoked_at.map(Timestamp::as_millis))
        .bind(&*row.hint)
        .bind(only_first);
    let is_new = query.execute(&mut *transaction).await?.rows_affected() == 1;
    if is_new && only_first {
        let sql = "INSERT INTO tenant (id, name, created_at) VALUES ($1, $1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(tenant).bind(created_at).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(is_new)
}

async fn put_node_types(connection: &mut PgConnection, manifests: &[ManifestRow]) -> Result<()> {
    let mut transaction = begin(connection).await?;
    let sql = "INSERT INTO node_type (digest, id, version, seen_at, manifest)
               VALUES ($1, $2, $3, (SELECT coalesce(max(seen_at), 0) + 1 FROM node_type), $4)
               ON CONFLICT DO NOTHING";
    for row in manifests {
        let query = sqlx::query(sql).bind(row.digest.0).bind(&*row.id).bind(i64::from(row.version));
        query.bind(&row.json[..]).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

async fn node_types(connection: &mut PgConnection) -> Result<Vec<ManifestRow>> {
    let sql = "SELECT DISTINCT ON (id) id, version, digest, manifest FROM node_type
               ORDER BY id, version DESC, seen_at DESC";
    let manifest = |row: &PgRow| {
        let wrong = JournalError::Row { table: "node_type", what: "its version" };
        Ok(ManifestRow {
            id: text(row, 0)?,
            version: u32::try_from(row.try_get::<i64, _>(1)?).map_err(|_| wrong)?,
            digest: Digest(row.try_get(2)?),
            json: bytes(row, 3)?,
        })
    };
    sqlx::query(sql).fetch_all(connection).await?.iter().map(manifest).collect()
}

/// Under the lock, so that nobody saves a version meanwhile that would be left over.
async fn delete_workflow(connection: &mut PgConnection, tenant: &Tenant, id: WorkflowId) -> Result<bool> {
    let mut transaction = begin(connection).await?;
    let sql = "DELETE FROM workflow_version WHERE tenant = $1 AND workflow = $2";
    sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes()).execute(&mut *transaction).await?;
    let sql = "DELETE FROM workflow WHERE tenant = $1 AND id = $2";
    let done = sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.rows_affected() == 1)
}

async fn save_workflow(connection: &mut PgConnection, save: &SaveWorkflow) -> Result<Saved> {
    let mut transaction = begin(connection).await?;
    if let Some(key) = &save.key
        && let Some(answer) = replayed(&mut transaction, key, save.now).await?
    {
        transaction.rollback().await?;
        return Ok(answer);
    }
    let sql = concat!("SELECT ", workflow_columns!(), " FROM workflow WHERE tenant = $1 AND id = $2 FOR UPDATE");
    let query = sqlx::query(sql).bind(save.tenant.text()).bind(save.id.to_bytes());
    let known = query.fetch_optional(&mut *transaction).await?;
    let known = known.as_ref().map(workflow).transpose()?;
    let (row, created) = match save::decide(save, known) {
        Ok(decided) => decided,
        Err(refusal) => {
            transaction.rollback().await?;
            return Ok(refusal.into());
        }
    };
    write_workflow(&mut transaction, &row, created, save).await?;
    transaction.commit().await?;
    Ok(Saved::Done { row, created })
}

async fn write_workflow(
    connection: &mut PgConnection,
    row: &WorkflowRow,
    created: bool,
    save: &SaveWorkflow,
) -> Result<()> {
    let sql = concat!(
        "INSERT INTO workflow (",
        workflow_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (tenant, id) DO UPDATE SET name = excluded.name, description = excluded.description, tags = excluded.tags,
             is_active = excluded.is_active, version = excluded.version, graph = excluded.graph,
             updated_at = excluded.updated_at"
    );
    let (id, version, updated_at) = (row.id.to_bytes(), row.version as i64, row.updated_at.as_millis());
    let query = sqlx::query(sql)
        .bind(id)
        .bind(&*row.tenant.0)
        .bind(storable(&row.name))
        .bind(row.description.as_deref().map(storable))
        .bind(save::tags_to_text(&row.tags))
        .bind(i64::from(row.is_active))
        .bind(version)
        .bind(row.graph.0)
        .bind(row.created_at.as_millis())
        .bind(updated_at);
    query.execute(&mut *connection).await?;
    let sql = "INSERT INTO workflow_version (tenant, workflow, version, graph, subject, created_at)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let query = sqlx::query(sql)
        .bind(&*row.tenant.0)
        .bind(id)
        .bind(version)
        .bind(row.graph.0)
        .bind(&*save.subject.0)
        .bind(updated_at);
    query.execute(&mut *connection).await?;
    match &save.key {
        Some(key) => keep_reply(connection, key, save.now, save::reply_of(row, created)).await,
        None => Ok(()),
    }
}

/// Keeps what a request with a key is answered.
pub(crate) async fn keep_reply(
    connection: &mut PgConnection,
    KeyRow { key, body }: &KeyRow,
    now: Timestamp,
    reply: Vec<u8>,
) -> Result<()> {
    let sql = "INSERT INTO idempotency (tenant, route, key, body, created_at, reply) VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (tenant, route, key) DO UPDATE
               SET body = excluded.body, created_at = excluded.created_at, reply = excluded.reply, run = NULL";
    let query = sqlx::query(sql).bind(&*key.tenant.0).bind(&*key.route).bind(&*key.key).bind(body.0);
    query.bind(now.as_millis()).bind(reply).execute(connection).await?;
    Ok(())
}

/// The answer of an earlier request with this key, if it is young enough.
async fn replayed(connection: &mut PgConnection, given: &KeyRow, now: Timestamp) -> Result<Option<Saved>> {
    let found = kept_reply(connection, given, now).await?;
    Ok(found.map(|(body, reply)| match save::row_of(&reply, given.key.tenant.clone()) {
        Some((row, created)) if body == given.body => Saved::Replayed { row, created },
        _ => Saved::KeyMismatch,
    }))
}

/// The body of an earlier request with this key, and what it was answered, if it is young enough.
pub(crate) async fn kept_reply(
    connection: &mut PgConnection,
    given: &KeyRow,
    now: Timestamp,
) -> Result<Option<(Digest, Vec<u8>)>> {
    let sql = "SELECT body, reply FROM idempotency
               WHERE tenant = $1 AND route = $2 AND key = $3 AND created_at > $4 AND reply IS NOT NULL";
    let key = &given.key;
    let oldest = now.as_millis() - IDEMPOTENCY_TTL.as_millis() as i64;
    let query = sqlx::query(sql).bind(&*key.tenant.0).bind(&*key.route).bind(&*key.key).bind(oldest);
    let Some(found) = query.fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some((Digest(found.try_get(0)?), found.try_get(1)?)))
}

async fn with_usage(connection: &mut PgConnection, tenant: &Tenant, id: WorkflowId) -> Result<Option<WorkflowRow>> {
    let sql = concat!(workflows_with_usage!(), "$1 AND workflow.id = $2");
    let found = sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes()).fetch_optional(connection).await?;
    found.as_ref().map(used_workflow).transpose()
}

fn used_workflow(row: &PgRow) -> Result<WorkflowRow> {
    let (count, last) = (row.try_get::<i64, _>(10)?, row.try_get::<Option<i64>, _>(11)?);
    let last_executed_at = last.map(Timestamp::from_millis);
    Ok(WorkflowRow { execution_count: count as u64, last_executed_at, ..workflow(row)? })
}

fn workflow(row: &PgRow) -> Result<WorkflowRow> {
    let tags = serde_json::from_str(row.try_get(4)?);
    Ok(WorkflowRow {
        id: WorkflowId(id(row, 0)?),
        tenant: TenantId(text(row, 1)?),
        name: text(row, 2)?,
        description: row.try_get::<Option<String>, _>(3)?.map(Arc::from),
        tags: tags.map_err(|_| JournalError::Row { table: "workflow", what: "its tags" })?,
        is_active: row.try_get::<i64, _>(5)? != 0,
        version: row.try_get::<i64, _>(6)? as u64,
        graph: Digest(row.try_get(7)?),
        created_at: time(row, 8)?,
        updated_at: time(row, 9)?,
        execution_count: 0,
        last_executed_at: None,
    })
}

fn version(row: &PgRow) -> Result<VersionRow> {
    Ok(VersionRow {
        version: row.try_get::<i64, _>(0)? as u64,
        graph: Digest(row.try_get(1)?),
        subject: text(row, 2)?.as_ref().into(),
        created_at: time(row, 3)?,
    })
}

fn api_key(row: &PgRow) -> Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        id: KeyId(id(row, 0)?),
        tenant: TenantId(text(row, 1)?),
        subject: text(row, 2)?.as_ref().into(),
        scopes: row.try_get::<&str, _>(3)?.split_ascii_whitespace().map(Arc::from).collect(),
        expires_at: row.try_get::<Option<i64>, _>(4)?.map(Timestamp::from_millis),
        created_at: time(row, 5)?,
        revoked_at: row.try_get::<Option<i64>, _>(6)?.map(Timestamp::from_millis),
        hint: text(row, 7)?,
        last_used_at: row.try_get::<Option<i64>, _>(8)?.map(Timestamp::from_millis),
    })
}

fn tenant(row: &PgRow) -> Result<TenantRow> {
    Ok(TenantRow {
        id: TenantId(text(row, 0)?),
        name: text(row, 1)?,
        created_at: time(row, 2)?,
        closed_at: row.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_millis),
    })
}

fn text(row: &PgRow, column: usize) -> std::result::Result<Arc<str>, sqlx::Error> {
    row.try_get::<String, _>(column).map(Arc::from)
}

/// The one character that PostgreSQL has no place for in a text.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
