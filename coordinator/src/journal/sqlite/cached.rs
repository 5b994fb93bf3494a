//! Rows of results that runs share, beside the events that make them.

use heddle_core::id::RunId;
use heddle_core::partition::batch::CacheRow;
use rusqlite::{Connection, params};

use crate::journal::codec;

/// Writes them; the youngest of a key replaces what was there.
pub(super) fn write(connection: &Connection, run: RunId, rows: &[CacheRow]) -> rusqlite::Result<()> {
    for row in rows {
        let (tenant, key, result) = (&*row.tenant.0, row.result.key.0, &row.result);
        let outputs = codec::encode_cached(&result.outputs);
        connection
            .prepare_cached(
                "INSERT INTO cached_result (tenant, key, run, node, seq, outputs, crc, made_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (tenant, key) DO UPDATE SET run = excluded.run, node = excluded.node, seq = excluded.seq,
                     outputs = excluded.outputs, crc = excluded.crc, made_at = excluded.made_at,
                     expires_at = excluded.expires_at",
            )?
            .execute(params![
                tenant,
                key,
                run.to_bytes(),
                &*row.node,
                row.seq.0 as i64,
                outputs,
                i64::from(crc32fast::hash(&outputs)),
                result.made_at.as_millis(),
                result.expires_at.as_millis(),
            ])?;
        connection
            .prepare_cached("DELETE FROM cached_artifact WHERE tenant = ?1 AND key = ?2")?
            .execute(params![tenant, key])?;
        let mut need = connection.prepare_cached(
            "INSERT INTO cached_artifact (tenant, digest, key) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        for artifact in result.outputs.iter().filter_map(|(_, value)| value.artifact()) {
            need.execute(params![tenant, artifact.digest.0, key])?;
        }
    }
    Ok(())
}
