//! Shared results on SQLite.

use bytes::Bytes;
use heddle_core::id::{RunId, TenantId};
use heddle_core::run::recall::CachedResult;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use rusqlite::{Connection, Params, Row, params};

use super::CacheRows;
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{Answer, codec};
use crate::records::sqlite::{array, many, one, text};

impl CacheRows for SqliteJournal {
    fn cached(&self, tenant: Tenant, key: Digest, now: Timestamp) -> Answer<Option<CachedResult>> {
        self.read(move |connection| {
            let sql = "SELECT run, outputs, crc, made_at, expires_at FROM cached_result
                       WHERE tenant = ?1 AND key = ?2 AND expires_at > ?3";
            let found = one(connection, sql, params![tenant.text(), key.0, now.as_millis()], |row| result(key, row))?;
            Ok(found.flatten())
        })
    }

    fn expire_cached(&self, now: Timestamp, limit: usize) -> Answer<usize> {
        self.write("remove old shared results", move |connection| {
            let sql = "SELECT tenant, key FROM cached_result WHERE expires_at <= ?1
                       ORDER BY expires_at, tenant, key LIMIT ?2";
            remove(connection, now, sql, params![now.as_millis(), limit.min(PAGE_ROWS_MAX) as i64])
        })
    }

    fn crowded_caches(&self, rows_max: usize, limit: usize) -> Answer<Vec<TenantId>> {
        self.read(move |connection| {
            let sql = "SELECT tenant FROM cached_result GROUP BY tenant HAVING count(*) > ?1 ORDER BY tenant LIMIT ?2";
            let given = params![rows_max as i64, limit.min(PAGE_ROWS_MAX) as i64];
            many(connection, sql, given, |row| text(row, 0).map(TenantId))
        })
    }

    fn shorten_cache(&self, tenant: TenantId, rows_max: usize, now: Timestamp, limit: usize) -> Answer<usize> {
        self.write("remove shared results that are too many", move |connection| {
            let sql = "SELECT tenant, key FROM cached_result WHERE tenant = ?1
                       ORDER BY made_at DESC, key DESC LIMIT ?2 OFFSET ?3";
            remove(connection, now, sql, params![&*tenant.0, limit.min(PAGE_ROWS_MAX) as i64, rows_max as i64])
        })
    }
}

/// A row whose bytes are not those that were written is none.
fn result(key: Digest, row: &Row<'_>) -> rusqlite::Result<Option<CachedResult>> {
    let outputs = Bytes::from(row.get::<_, Vec<u8>>(1)?);
    if i64::from(crc32fast::hash(&outputs)) != row.get::<_, i64>(2)? {
        return Ok(None);
    }
    let run = RunId(u128::from_be_bytes(array(row, 0)?));
    let time = |column| row.get(column).map(Timestamp::from_millis);
    let (made_at, expires_at) = (time(3)?, time(4)?);
    Ok(codec::decode_cached(&outputs).map(|outputs| CachedResult { key, run, outputs, made_at, expires_at }))
}

/// Removes what a statement finds.
fn remove(connection: &Connection, now: Timestamp, found: &str, given: impl Params) -> rusqlite::Result<usize> {
    let address = |row: &Row<'_>| Ok((text(row, 0)?, array::<32>(row, 1)?));
    let gone: Vec<_> = connection.prepare_cached(found)?.query_map(given, address)?.collect::<rusqlite::Result<_>>()?;
    let mut touch = connection.prepare_cached(
        "UPDATE artifact SET touched_at = max(touched_at, ?3) WHERE tenant = ?1
         AND digest IN (SELECT digest FROM cached_artifact WHERE tenant = ?1 AND key = ?2)",
    )?;
    let mut release = connection.prepare_cached("DELETE FROM cached_artifact WHERE tenant = ?1 AND key = ?2")?;
    let mut remove = connection.prepare_cached("DELETE FROM cached_result WHERE tenant = ?1 AND key = ?2")?;
    for (tenant, key) in &gone {
        touch.execute(params![&**tenant, key, now.as_millis()])?;
        release.execute(params![&**tenant, key])?;
        remove.execute(params![&**tenant, key])?;
    }
    Ok(gone.len())
}
