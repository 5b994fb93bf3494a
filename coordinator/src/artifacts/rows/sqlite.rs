//! Rows about artifacts on SQLite.

use bytes::Bytes;
use heddle_core::id::{TenantId, UploadId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::{ArtifactRow, ArtifactRows, UploadRow};
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, JournalError};

/// What [`upload`] reads, and where it is.
const UPLOAD: &str = "upload.id, upload.tenant, upload.name, upload.digest, artifact.bytes, artifact.media_type,
                          upload.created_at
                      FROM upload JOIN artifact ON artifact.tenant = upload.tenant AND artifact.digest = upload.digest";

impl ArtifactRows for SqliteJournal {
    fn agree(&self, name: &'static str, proposed: Bytes) -> Answer<Bytes> {
        self.write("agree on a value", move |connection| {
            let sql = "INSERT INTO agreed (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            connection.execute(sql, params![name, &proposed[..]])?;
            let sql = "SELECT value FROM agreed WHERE name = ?1";
            connection.query_row(sql, [name], |row| row.get::<_, Vec<u8>>(0)).map(Bytes::from)
        })
    }

    fn artifact(&self, tenant: Tenant, digest: Digest) -> Answer<Option<ArtifactRow>> {
        self.read(move |connection| {
            let sql = "SELECT digest, bytes, media_type, created_at, touched_at FROM artifact
                       WHERE tenant = ?1 AND digest = ?2";
            first(connection, sql, params![tenant.text(), digest.0], artifact)
        })
    }

    fn touch_artifact(&self, tenant: Tenant, digest: Digest, now: Timestamp) -> Answer<Option<ArtifactRow>> {
        self.write("touch an artifact", move |connection| {
            let sql = "UPDATE artifact SET touched_at = max(touched_at, ?3) WHERE tenant = ?1 AND digest = ?2
                       RETURNING digest, bytes, media_type, created_at, touched_at";
            let values = params![tenant.text(), digest.0, now.as_millis()];
            connection.prepare_cached(sql)?.query_row(values, artifact).optional()
        })
    }

    fn artifact_bytes(&self, tenant: Tenant) -> Answer<u64> {
        self.read(move |connection| {
            let sql = "SELECT coalesce(sum(bytes), 0) FROM artifact WHERE tenant = ?1";
            let sum = first(connection, sql, params![tenant.text()], |row| row.get::<_, i64>(0))?;
            Ok(sum.unwrap_or_default() as u64)
        })
    }

    fn put_upload(&self, upload: UploadRow) -> Answer<()> {
        self.write("keep an upload", move |connection| {
            let (tenant, at) = (&*upload.tenant.0, upload.created_at.as_millis());
            let sql = "INSERT INTO artifact (tenant, digest, bytes, media_type, created_at, touched_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?5)
                       ON CONFLICT (tenant, digest) DO UPDATE SET created_at = min(created_at, excluded.created_at),
                           touched_at = max(touched_at, excluded.touched_at)";
            connection.execute(sql, params![tenant, upload.digest.0, upload.bytes as i64, &*upload.media_type, at])?;
            let sql = "INSERT INTO upload (id, tenant, digest, name, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO NOTHING";
            let values = params![upload.id.to_bytes(), tenant, upload.digest.0, &*upload.name, at];
            connection.execute(sql, values).map(drop)
        })
    }

    fn upload(&self, tenant: Tenant, id: UploadId) -> Answer<Option<UploadRow>> {
        self.read(move |connection| {
            let sql = format!("SELECT {UPLOAD} WHERE upload.tenant = ?1 AND upload.id = ?2");
            first(connection, &sql, params![tenant.text(), id.to_bytes()], upload)
        })
    }

    fn uploads(&self, tenant: Tenant, before: Option<UploadId>, limit: usize) -> Answer<Vec<UploadRow>> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {UPLOAD} WHERE upload.tenant = ?1 AND (?2 IS NULL OR upload.id < ?2)
                 ORDER BY upload.id DESC LIMIT ?3"
            );
            let values = params![tenant.text(), before.map(|id| id.to_bytes()), limit.min(PAGE_ROWS_MAX) as i64];
            let found = connection.prepare_cached(&sql);
            found.and_then(|mut statement| statement.query_map(values, upload)?.collect()).map_err(failed)
        })
    }

    fn delete_upload(&self, tenant: Tenant, id: UploadId) -> Answer<bool> {
        self.write("remove an upload", move |connection| {
            let sql = "DELETE FROM upload WHERE tenant = ?1 AND id = ?2";
            Ok(connection.execute(sql, params![tenant.text(), id.to_bytes()])? == 1)
        })
    }

    fn forget_artifacts(&self, before: Timestamp, limit: usize) -> Answer<Vec<(TenantId, Digest)>> {
        self.write("forget artifacts", move |connection| {
            let sql = "SELECT tenant, digest FROM artifact WHERE touched_at < ?1
                       AND NOT EXISTS (SELECT 1 FROM artifact_reference AS needed
                           WHERE needed.tenant = artifact.tenant AND needed.digest = artifact.digest)
                       AND NOT EXISTS (SELECT 1 FROM upload
                           WHERE upload.tenant = artifact.tenant AND upload.digest = artifact.digest)
                       AND NOT EXISTS (SELECT 1 FROM cached_artifact AS shared
                           WHERE shared.tenant = artifact.tenant AND shared.digest = artifact.digest)
                       ORDER BY touched_at, tenant, digest LIMIT ?2";
            let values = params![before.as_millis(), limit.min(PAGE_ROWS_MAX) as i64];
            let address = |row: &Row<'_>| Ok((TenantId(text(row, 0)?), Digest(row.get(1)?)));
            let gone: Vec<_> =
                connection.prepare_cached(sql)?.query_map(values, address)?.collect::<rusqlite::Result<_>>()?;
            let mut remove = connection.prepare_cached("DELETE FROM artifact WHERE tenant = ?1 AND digest = ?2")?;
            for (tenant, digest) in &gone {
                remove.execute(params![&*tenant.0, digest.0])?;
            }
            Ok(gone)
        })
    }
}

fn artifact(row: &Row<'_>) -> rusqlite::Result<ArtifactRow> {
    Ok(ArtifactRow {
        digest: Digest(row.get(0)?),
        bytes: row.get::<_, i64>(1)? as u64,
        media_type: text(row, 2)?,
        created_at: Timestamp::from_millis(row.get(3)?),
        touched_at: Timestamp::from_millis(row.get(4)?),
    })
}

fn upload(row: &Row<'_>) -> rusqlite::Result<UploadRow> {
    Ok(UploadRow {
        id: UploadId(u128::from_be_bytes(row.get(0)?)),
        tenant: TenantId(text(row, 1)?),
        name: text(row, 2)?,
        digest: Digest(row.get(3)?),
        bytes: row.get::<_, i64>(4)? as u64,
        media_type: text(row, 5)?,
        created_at: Timestamp::from_millis(row.get(6)?),
    })
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<std::sync::Arc<str>> {
    row.get::<_, String>(column).map(Into::into)
}

fn first<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, JournalError> {
    let found = connection.prepare_cached(sql).and_then(|mut statement| statement.query_row(values, read).optional());
    found.map_err(failed)
}

fn failed(source: rusqlite::Error) -> JournalError {
    JournalError::Database { doing: "read rows of artifacts", source: Box::new(source) }
}
