//! Shared results on PostgreSQL.

use futures::FutureExt as _;
use heddle_core::id::{RunId, TenantId};
use heddle_core::run::recall::CachedResult;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::CacheRows;
use crate::auth::Tenant;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::postgres::{PostgresJournal, Trouble, bytes, id, time};
use crate::journal::{Answer, codec};

/// Removes the results that `gone` names. A row that is being written now is passed over until the next time.
macro_rules! removed {
    () => {
        ", needed AS (
             SELECT held.tenant, held.digest FROM cached_artifact AS held
             JOIN gone ON held.tenant = gone.tenant AND held.key = gone.key),
           touched AS (
             UPDATE artifact SET touched_at = greatest(artifact.touched_at, $1) FROM needed
             WHERE artifact.tenant = needed.tenant AND artifact.digest = needed.digest),
           released AS (
             DELETE FROM cached_artifact USING gone
             WHERE cached_artifact.tenant = gone.tenant AND cached_artifact.key = gone.key),
           removed AS (
             DELETE FROM cached_result USING gone
             WHERE cached_result.tenant = gone.tenant AND cached_result.key = gone.key RETURNING 1)
         SELECT count(*) FROM removed"
    };
}

impl CacheRows for PostgresJournal {
    fn cached(&self, tenant: Tenant, key: Digest, now: Timestamp) -> Answer<Option<CachedResult>> {
        self.ask("look for a shared result", move |connection| {
            async move {
                let sql = "SELECT run, outputs, crc, made_at, expires_at FROM cached_result
                           WHERE tenant = $1 AND key = $2 AND expires_at > $3";
                let query = sqlx::query(sql).bind(tenant.text()).bind(key.0).bind(now.as_millis());
                match query.fetch_optional(connection).await? {
                    Some(row) => result(key, &row),
                    None => Ok(None),
                }
            }
            .boxed()
        })
    }

    fn expire_cached(&self, now: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("remove old shared results", move |connection| {
            async move {
                let sql = concat!(
                    "WITH gone AS (
                         SELECT tenant, key FROM cached_result WHERE expires_at <= $1
                         ORDER BY expires_at, tenant, key LIMIT $2 FOR UPDATE SKIP LOCKED)",
                    removed!()
                );
                let query = sqlx::query(sql).bind(now.as_millis()).bind(limit.min(PAGE_ROWS_MAX) as i64);
                Ok(query.fetch_one(connection).await?.try_get::<i64, _>(0)? as usize)
            }
            .boxed()
        })
    }

    fn crowded_caches(&self, rows_max: usize, limit: usize) -> Answer<Vec<TenantId>> {
        self.ask("look for full caches", move |connection| {
            async move {
                let sql =
                    "SELECT tenant FROM cached_result GROUP BY tenant HAVING count(*) > $1 ORDER BY tenant LIMIT $2";
                let query = sqlx::query(sql).bind(rows_max as i64).bind(limit.min(PAGE_ROWS_MAX) as i64);
                let tenant = |row: &PgRow| Ok(TenantId(row.try_get::<String, _>(0)?.into()));
                query.fetch_all(connection).await?.iter().map(tenant).collect()
            }
            .boxed()
        })
    }

    fn shorten_cache(&self, tenant: TenantId, rows_max: usize, now: Timestamp, limit: usize) -> Answer<usize> {
        self.ask("remove shared results that are too many", move |connection| {
            async move {
                let sql = concat!(
                    "WITH gone AS (
                         SELECT tenant, key FROM cached_result WHERE tenant = $2
                         ORDER BY made_at DESC, key DESC LIMIT $3 OFFSET $4 FOR UPDATE SKIP LOCKED)",
                    removed!()
                );
                let query = sqlx::query(sql).bind(now.as_millis()).bind(&*tenant.0);
                let query = query.bind(limit.min(PAGE_ROWS_MAX) as i64).bind(rows_max as i64);
                Ok(query.fetch_one(connection).await?.try_get::<i64, _>(0)? as usize)
            }
            .boxed()
        })
    }
}

/// A row whose bytes are not those that were written is none.
fn result(key: Digest, row: &PgRow) -> Result<Option<CachedResult>, Trouble> {
    let outputs = bytes(row, 1)?;
    if i64::from(crc32fast::hash(&outputs)) != row.try_get::<i64, _>(2)? {
        return Ok(None);
    }
    let (run, made_at, expires_at) = (RunId(id(row, 0)?), time(row, 3)?, time(row, 4)?);
    Ok(codec::decode_cached(&outputs).map(|outputs| CachedResult { key, run, outputs, made_at, expires_at }))
}
