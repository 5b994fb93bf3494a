//! Rows about artifacts on PostgreSQL. An artifact's row is locked before what needs it is looked at, so that nothing is
//! forgotten beside a write that begins to need it.

use bytes::Bytes;
use futures::FutureExt as _;
use heddle_core::id::{TenantId, UploadId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};

use super::{ArtifactRow, ArtifactRows, UploadRow};
use crate::auth::Tenant;
use crate::journal::Answer;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::postgres::{PostgresJournal, Trouble, bytes, id, time};

type Result<T> = std::result::Result<T, Trouble>;

/// A query of what [`upload`] reads.
macro_rules! select_upload {
    () => {
        "SELECT upload.id, upload.tenant, upload.name, upload.digest, artifact.bytes, artifact.media_type, upload.created_at
         FROM upload JOIN artifact ON artifact.tenant = upload.tenant AND artifact.digest = upload.digest"
    };
}

impl ArtifactRows for PostgresJournal {
    fn agree(&self, name: &'static str, proposed: Bytes) -> Answer<Bytes> {
        self.ask("agree on a value", move |connection| {
            async move {
                let sql = "INSERT INTO agreed (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(name).bind(&proposed[..]).execute(&mut *connection).await?;
                let sql = "SELECT value FROM agreed WHERE name = $1";
                Ok(bytes(&sqlx::query(sql).bind(name).fetch_one(connection).await?, 0)?)
            }
            .boxed()
        })
    }

    fn artifact(&self, tenant: Tenant, digest: Digest) -> Answer<Option<ArtifactRow>> {
        self.ask("read an artifact's row", move |connection| {
            async move {
                let sql = "SELECT digest, bytes, media_type, created_at, touched_at FROM artifact
                           WHERE tenant = $1 AND digest = $2";
                let query = sqlx::query(sql).bind(tenant.text()).bind(digest.0);
                query.fetch_optional(connection).await?.as_ref().map(artifact).transpose()
            }
            .boxed()
        })
    }

    fn touch_artifact(&self, tenant: Tenant, digest: Digest, now: Timestamp) -> Answer<Option<ArtifactRow>> {
        self.ask("touch an artifact", move |connection| {
            async move {
                let sql = "UPDATE artifact SET touched_at = greatest(touched_at, $3) WHERE tenant = $1 AND digest = $2
                           RETURNING digest, bytes, media_type, created_at, touched_at";
                let query = sqlx::query(sql).bind(tenant.text()).bind(digest.0).bind(now.as_millis());
                query.fetch_optional(connection).await?.as_ref().map(artifact).transpose()
            }
            .boxed()
        })
    }

    fn artifact_bytes(&self, tenant: Tenant) -> Answer<u64> {
        self.ask("count artifacts", move |connection| {
            async move {
                let sql = "SELECT coalesce(sum(bytes), 0)::bigint FROM artifact WHERE tenant = $1";
                let row = sqlx::query(sql).bind(tenant.text()).fetch_one(connection).await?;
                Ok(row.try_get::<i64, _>(0)? as u64)
            }
            .boxed()
        })
    }

    fn put_upload(&self, upload: UploadRow) -> Answer<()> {
        self.ask("keep an upload", move |connection| {
            async move {
                let mut transaction = connection.begin().await?;
                let (tenant, at) = (&*upload.tenant.0, upload.created_at.as_millis());
                let sql = "INSERT INTO artifact (tenant, digest, bytes, media_type, created_at, touched_at)
                           VALUES ($1, $2, $3, $4, $5, $5)
                           ON CONFLICT (tenant, digest) DO UPDATE
                           SET created_at = least(artifact.created_at, excluded.created_at),
                               touched_at = greatest(artifact.touched_at, excluded.touched_at)";
                let query = sqlx::query(sql).bind(tenant).bind(upload.digest.0).bind(upload.bytes as i64);
                query.bind(&*upload.media_type).bind(at).execute(&mut *transaction).await?;
                let sql = "INSERT INTO upload (id, tenant, digest, name, created_at) VALUES ($1, $2, $3, $4, $5)
                           ON CONFLICT DO NOTHING";
                let query = sqlx::query(sql).bind(upload.id.to_bytes()).bind(tenant).bind(upload.digest.0);
                query.bind(&*upload.name).bind(at).execute(&mut *transaction).await?;
                Ok(transaction.commit().await?)
            }
            .boxed()
        })
    }

    fn upload(&self, tenant: Tenant, id: UploadId) -> Answer<Option<UploadRow>> {
        self.ask("read an upload", move |connection| {
            async move {
                let sql = concat!(select_upload!(), " WHERE upload.tenant = $1 AND upload.id = $2");
                let query = sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes());
                query.fetch_optional(connection).await?.as_ref().map(upload).transpose()
            }
            .boxed()
        })
    }

    fn uploads(&self, tenant: Tenant, before: Option<UploadId>, limit: usize) -> Answer<Vec<UploadRow>> {
        self.ask("list uploads", move |connection| {
            async move {
                let sql = concat!(
                    select_upload!(),
                    " WHERE upload.tenant = $1 AND ($2::bytea IS NULL OR upload.id < $2)
                      ORDER BY upload.id DESC LIMIT $3"
                );
                let query = sqlx::query(sql).bind(tenant.text()).bind(before.map(|id| id.to_bytes()));
                let rows = query.bind(limit.min(PAGE_ROWS_MAX) as i64).fetch_all(connection).await?;
                rows.iter().map(upload).collect()
            }
            .boxed()
        })
    }

    fn delete_upload(&self, tenant: Tenant, id: UploadId) -> Answer<bool> {
        self.ask("remove an upload", move |connection| {
            async move {
                let sql = "DELETE FROM upload WHERE tenant = $1 AND id = $2";
                let done = sqlx::query(sql).bind(tenant.text()).bind(id.to_bytes()).execute(connection).await?;
                Ok(done.rows_affected() == 1)
            }
            .boxed()
        })
    }

    fn forget_artifacts(&self, before: Timestamp, limit: usize) -> Answer<Vec<(TenantId, Digest)>> {
        self.ask("forget artifacts", move |connection| {
            async move {
                // A row that somebody is about to need is touched in the same transaction, and so is left out when it is
                // looked at again under its lock; one that is being written now is passed over until the next time.
                let sql = "WITH gone AS (
                               SELECT tenant, digest FROM artifact WHERE touched_at < $1
                               AND NOT EXISTS (SELECT 1 FROM artifact_reference AS needed
                                   WHERE needed.tenant = artifact.tenant AND needed.digest = artifact.digest)
                               AND NOT EXISTS (SELECT 1 FROM upload
                                   WHERE upload.tenant = artifact.tenant AND upload.digest = artifact.digest)
                               AND NOT EXISTS (SELECT 1 FROM cached_artifact AS shared
                                   WHERE shared.tenant = artifact.tenant AND shared.digest = artifact.digest)
                               ORDER BY touched_at, tenant, digest LIMIT $2 FOR UPDATE SKIP LOCKED),
                           removed AS (
                               DELETE FROM artifact USING gone
                               WHERE artifact.tenant = gone.tenant AND artifact.digest = gone.digest
                               RETURNING artifact.touched_at, artifact.tenant, artifact.digest)
                           SELECT tenant, digest FROM removed ORDER BY touched_at, tenant, digest";
                let query = sqlx::query(sql).bind(before.as_millis()).bind(limit.min(PAGE_ROWS_MAX) as i64);
                let address = |row: &PgRow| Ok((TenantId(text(row, 0)?), Digest(row.try_get(1)?)));
                query.fetch_all(connection).await?.iter().map(address).collect()
            }
            .boxed()
        })
    }
}

fn artifact(row: &PgRow) -> Result<ArtifactRow> {
    Ok(ArtifactRow {
        digest: Digest(row.try_get(0)?),
        bytes: row.try_get::<i64, _>(1)? as u64,
        media_type: text(row, 2)?,
        created_at: time(row, 3)?,
        touched_at: time(row, 4)?,
    })
}

fn upload(row: &PgRow) -> Result<UploadRow> {
    Ok(UploadRow {
        id: UploadId(id(row, 0)?),
        tenant: TenantId(text(row, 1)?),
        name: text(row, 2)?,
        digest: Digest(row.try_get(3)?),
        bytes: row.try_get::<i64, _>(4)? as u64,
        media_type: text(row, 5)?,
        created_at: time(row, 6)?,
    })
}

fn text(row: &PgRow, column: usize) -> std::result::Result<std::sync::Arc<str>, sqlx::Error> {
    row.try_get::<String, _>(column).map(Into::into)
}
