//! Opening the database: address, schema, partitions.

use std::time::Duration;

use heddle_core::id::PartitionId;
use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

use super::fault::Trouble;
use crate::journal::{JournalError, Partitions};

/// The schema, step by step; the number of steps done is the format stamp. A step that a release has shipped never
/// changes.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/postgres/0001_first.sql"),
    include_str!("../../../migrations/postgres/0002_batches.sql"),
    include_str!("../../../migrations/postgres/0003_graph_policy.sql"),
    include_str!("../../../migrations/postgres/0004_reviews.sql"),
    include_str!("../../../migrations/postgres/0005_lineage.sql"),
    include_str!("../../../migrations/postgres/0006_cache.sql"),
    include_str!("../../../migrations/postgres/0007_families_and_reviews.sql"),
    include_str!("../../../migrations/postgres/0008_children.sql"),
    include_str!("../../../migrations/postgres/0009_node_pauses.sql"),
    include_str!("../../../migrations/postgres/0010_retention.sql"),
    include_str!("../../../migrations/postgres/0011_stats.sql"),
    include_str!("../../../migrations/postgres/0012_set_aside.sql"),
];

/// Whoever changes the schema has this lock until it is done.
const SCHEMA_LOCK: i64 = 0x6865_6464_6c65_0001;

/// Understands an address. The address stays out of the error: it may hold a password.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.application_name("heddle").disable_statement_logging())
}

/// The format of a database, and the one that this build reads and writes, if the server answers within this time. Changes
/// nothing.
///
/// # Errors
/// When the server does not answer, or not in time. The address stays out of it: it may hold a password.
pub async fn formats(url: &str, time_max: Duration) -> Result<(i64, i64), JournalError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| JournalError::Database { doing: "answer", source };
    let asked = async {
        let mut connection = PgConnection::connect_with(&options(url)?).await?;
        let found = format(&mut connection).await?;
        // It has said what it knows.
        let _closed = connection.close().await;
        Ok::<_, sqlx::Error>((found, MIGRATIONS.len() as i64))
    };
    match timeout(time_max, asked).await {
        Ok(answer) => answer.map_err(|error| failed(error.into())),
        Err(late) => Err(failed(late.into())),
    }
}

/// Brings the schema to this release's format and reads the slot table, or makes it at the first start: all of it in one
/// transaction, and one process at a time.
pub(super) async fn prepare(connection: &mut PgConnection, partitions: u16) -> Result<Partitions, Trouble> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK).execute(&mut *transaction).await?;
    migrate(&mut transaction).await?;
    let found = match kept(&mut transaction).await? {
        Some(kept) => kept,
        None => spread(&mut transaction, partitions).await?,
    };
    transaction.commit().await?;
    Ok(found)
}

async fn migrate(connection: &mut PgConnection) -> Result<(), Trouble> {
    let known = MIGRATIONS.len() as i64;
    let found = format(connection).await?;
    if found > known {
        return Err(JournalError::NewerFormat { found, known }.into());
    }
    for (step, sql) in (1_i64..).zip(MIGRATIONS).skip(found as usize) {
        sqlx::raw_sql(*sql).execute(&mut *connection).await?;
        let stamp = "INSERT INTO meta (name, value) VALUES ('format', $1)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(stamp).bind(step).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn format(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // Only in the schema that the tables would be made in: another program's `meta` elsewhere is none of ours.
    let has_tables = "SELECT to_regclass(quote_ident(current_schema()) || '.meta') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(has_tables).fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let format = "SELECT value FROM meta WHERE name = 'format'";
    Ok(sqlx::query_scalar(format).fetch_optional(connection).await?.unwrap_or(0))
}

async fn kept(connection: &mut PgConnection) -> Result<Option<Partitions>, Trouble> {
    let sql = "SELECT partition FROM partition_slot ORDER BY slot";
    let kept: Vec<i64> = sqlx::query_scalar(sql).fetch_all(connection).await?;
    if kept.is_empty() {
        return Ok(None);
    }
    let ids = kept.into_iter().map(|id| u16::try_from(id).ok().map(PartitionId)).collect::<Option<Vec<_>>>();
    let wrong = JournalError::Row { table: "partition_slot", what: "the number of slots" };
    Ok(Some(ids.and_then(Partitions::from_table).ok_or(wrong)?))
}

async fn spread(connection: &mut PgConnection, count: u16) -> Result<Partitions, Trouble> {
    let partitions = Partitions::spread(count)?;
    let ids: Vec<i64> = partitions.ids().map(|id| id.0.into()).collect();
    let sql = "INSERT INTO partition (id, epoch, last_batch, starts, suspect_deaths)
               SELECT id, 0, 0, 0, 0 FROM unnest($1::bigint[]) AS given (id)";
    sqlx::query(sql).bind(ids).execute(&mut *connection).await?;
    let (slots, ids): (Vec<i64>, Vec<i64>) =
        partitions.slots().map(|(slot, id)| (i64::from(slot.0), i64::from(id.0))).unzip();
    let sql = "INSERT INTO partition_slot (slot, partition) SELECT * FROM unnest($1::bigint[], $2::bigint[])";
    sqlx::query(sql).bind(slots).bind(ids).execute(&mut *connection).await?;
    Ok(partitions)
}
