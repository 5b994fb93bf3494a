//! Rows of results that runs share, beside the events that make them and in the same transaction.

use heddle_core::id::RunId;
use heddle_core::partition::batch::CacheRow;
use sqlx::postgres::PgConnection;

use super::fault::Trouble;
use crate::journal::codec;

/// Writes them in the order of their keys, so that partitions do not wait for each other in a circle; the youngest of a key replaces
/// what was there.
pub(super) async fn write(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = (RunId, &CacheRow)>,
) -> Result<(), Trouble> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(_, row)| (&row.tenant, row.result.key));
    for (run, row) in rows {
        put(connection, run, row).await?;
    }
    Ok(())
}

async fn put(connection: &mut PgConnection, run: RunId, row: &CacheRow) -> Result<(), Trouble> {
    let (tenant, key, result) = (&*row.tenant.0, row.result.key.0, &row.result);
    let outputs = codec::encode_cached(&result.outputs);
    let crc = i64::from(crc32fast::hash(&outputs));
    let sql = "INSERT INTO cached_result (tenant, key, run, node, seq, outputs, crc, made_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               ON CONFLICT (tenant, key) DO UPDATE SET run = excluded.run, node = excluded.node, seq = excluded.seq,
                   outputs = excluded.outputs, crc = excluded.crc, made_at = excluded.made_at,
                   expires_at = excluded.expires_at";
    let query = sqlx::query(sql).bind(tenant).bind(key).bind(run.to_bytes()).bind(&*row.node).bind(row.seq.0 as i64);
    let query = query.bind(outputs).bind(crc).bind(result.made_at.as_millis()).bind(result.expires_at.as_millis());
    query.execute(&mut *connection).await?;
    let sql = "DELETE FROM cached_artifact WHERE tenant = $1 AND key = $2";
    sqlx::query(sql).bind(tenant).bind(key).execute(&mut *connection).await?;
    for artifact in result.outputs.iter().filter_map(|(_, value)| value.artifact()) {
        let sql = "INSERT INTO cached_artifact (tenant, digest, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(tenant).bind(artifact.digest.0).bind(key).execute(&mut *connection).await?;
    }
    Ok(())
}
