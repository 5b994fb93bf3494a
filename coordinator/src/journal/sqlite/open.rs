//! Opening the database: lock, connections, schema.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use heddle_core::id::PartitionId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Durability, Options};
use crate::journal::limits::{
    BUSY_WAIT_MAX, LOG_BYTES_KEPT, LOG_BYTES_PREPARED, READER_CACHE_KIB, STATEMENTS_MAX, WRITER_CACHE_KIB,
};
use crate::journal::{JournalError, Partitions};

/// The schema, step by step; the number of steps done is the format stamp. A step that a release has shipped never
/// changes.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_first.sql"),
    include_str!("../../../migrations/sqlite/0002_batches.sql"),
    include_str!("../../../migrations/sqlite/0003_graph_policy.sql"),
    include_str!("../../../migrations/sqlite/0004_reviews.sql"),
    include_str!("../../../migrations/sqlite/0005_lineage.sql"),
    include_str!("../../../migrations/sqlite/0006_cache.sql"),
    include_str!("../../../migrations/sqlite/0007_families_and_reviews.sql"),
    include_str!("../../../migrations/sqlite/0008_children.sql"),
    include_str!("../../../migrations/sqlite/0009_node_pauses.sql"),
    include_str!("../../../migrations/sqlite/0010_retention.sql"),
    include_str!("../../../migrations/sqlite/0011_stats.sql"),
    include_str!("../../../migrations/sqlite/0012_set_aside.sql"),
];

/// Makes the data folder if it is not there, and keeps every other process out of it until the file is dropped.
pub(super) fn lock(database: &Path) -> Result<File, JournalError> {
    let failed = |path: &Path, source| JournalError::File { path: path.to_owned(), source };
    let folder = database.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| failed(folder, source))?;
    let path = database.with_added_extension("lock");
    let file = private(&path).map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed(&path, source)),
    }
    // SQLite gives its log and its shared memory the mode of the database.
    private(database).map_err(|source| failed(database, source))?;
    for beside in ["-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(beside);
        let path = PathBuf::from(path);
        match std::fs::set_permissions(&path, Permissions::from_mode(PRIVATE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, error)),
            _ => {}
        }
    }
    Ok(file)
}

/// The mode of every file here: what runs carry is nobody else's, whoever may enter the folder.
const PRIVATE: u32 = 0o600;

/// Opens a file, made if it is not there, that only its owner can read.
fn private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
    file.set_permissions(Permissions::from_mode(PRIVATE))?;
    Ok(file)
}

/// Opens the one connection that writes, with the schema in place.
pub(super) fn writer(options: &Options) -> Result<Connection, JournalError> {
    let connection = connect(&options.file, WRITER_CACHE_KIB)?;
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    let set = |name: &str, value: &str| connection.pragma_update(None, name, value).map_err(failed("set itself up"));
    set("journal_mode", "WAL")?;
    set("synchronous", synchronous)?;
    // Checkpoints have a thread of their own.
    set("wal_autocheckpoint", "0")?;
    set("journal_size_limit", &LOG_BYTES_KEPT.to_string())?;
    migrate(&connection)?;
    Ok(connection)
}

/// Makes the write-ahead log long before it is used: a commit that makes a file longer has to have the file's length
/// written, too. Must be called while nobody writes: before the writer's thread has its connection.
///
/// What lies behind the log's end is nothing to SQLite: a frame counts only with the salt and the checksum of the log.
pub(super) fn lengthen_log(database: &Path) {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    let zeros = vec![0; 1024 * 1024];
    let lengthen = || -> std::io::Result<()> {
        // Appends, so that it touches nothing that is there.
        let mut log = OpenOptions::new().append(true).open(&path)?;
        let mut length = log.metadata()?.len();
        while length < LOG_BYTES_PREPARED {
            let missing = usize::try_from(LOG_BYTES_PREPARED - length).unwrap_or(usize::MAX).min(zeros.len());
            log.write_all(&zeros[..missing])?;
            length += missing as u64;
        }
        Ok(())
    };
    if let Err(error) = lengthen() {
        tracing::debug!(%error, "the database's log was not made longer: the first commits take a little longer");
    }
}

/// Opens a connection that only reads, after the writer's is open.
pub(super) fn reader(file: &Path) -> Result<Connection, JournalError> {
    let connection = connect(file, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", "ON").map_err(failed("set itself up"))?;
    Ok(connection)
}

/// Opens the connection of the checkpoints, after the writer's is open.
pub(super) fn checkpointer(file: &Path) -> Result<Connection, JournalError> {
    connect(file, READER_CACHE_KIB)
}

/// Reads the slot table, or makes it at the first start.
pub(super) fn partitions(connection: &Connection, count: u16) -> Result<Partitions, JournalError> {
    let doing = "set up its partitions";
    let read = || {
        let mut statement = connection.prepare("SELECT partition FROM partition_slot ORDER BY slot")?;
        let rows = statement.query_map([], |row| row.get(0).map(PartitionId))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    let kept = read().map_err(failed(doing))?;
    if !kept.is_empty() {
        let wrong = JournalError::Row { table: "partition_slot", what: "the number of slots" };
        return Partitions::from_table(kept).ok_or(wrong);
    }
    let partitions = Partitions::spread(count)?;
    let write = || {
        let transaction = connection.unchecked_transaction()?;
        for id in partitions.ids() {
            transaction.execute(
                "INSERT INTO partition (id, epoch, last_batch, starts, suspect_deaths) VALUES (?1, 0, 0, 0, 0)",
                params![id.0],
            )?;
        }
        for (slot, partition) in partitions.slots() {
            transaction.execute(
                "INSERT INTO partition_slot (slot, partition) VALUES (?1, ?2)",
                params![slot.0, partition.0],
            )?;
        }
        transaction.commit()
    };
    write().map_err(failed(doing))?;
    Ok(partitions)
}

/// Names what the database could not do.
pub(super) fn failed(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    move |source| JournalError::Database { doing, source: Box::new(source) }
}

fn connect(file: &Path, cache_kib: i64) -> Result<Connection, JournalError> {
    let connection = Connection::open(file).map_err(failed("open its file"))?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(failed("set itself up"))?;
    // Negative = a size in KiB.
    connection.pragma_update(None, "cache_size", -cache_kib).map_err(failed("set itself up"))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// Brings the schema to this release's format. Each step is one transaction with its stamp, so a crash leaves no half.
fn migrate(connection: &Connection) -> Result<(), JournalError> {
    let known = MIGRATIONS.len() as i64;
    let found = format(connection).map_err(failed("read its format"))?;
    if found > known {
        return Err(JournalError::NewerFormat { found, known });
    }
    for (step, sql) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let apply = || {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute_batch(sql)?;
            transaction.execute(
                "INSERT INTO meta (name, value) VALUES ('format', ?1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                params![step],
            )?;
            transaction.commit()
        };
        apply().map_err(failed("change its schema"))?;
    }
    Ok(())
}

pub(super) fn format(connection: &Connection) -> rusqlite::Result<i64> {
    let has_tables = connection
        .prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'")
        .and_then(|mut statement| statement.exists([]))?;
    if !has_tables {
        return Ok(0);
    }
    let format =
        connection.query_row("SELECT value FROM meta WHERE name = 'format'", [], |row| row.get(0)).optional()?;
    Ok(format.unwrap_or(0))
}
