//! A look at a database from outside, while its coordinator runs or not.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::open::{MIGRATIONS, failed, format};
use crate::journal::JournalError;
use crate::journal::limits::{BUSY_WAIT_MAX, FAULTS_TOLD_MAX};

/// The format of a database file, and the one that this build reads and writes. Changes nothing.
///
/// # Errors
/// When the file is no database, or cannot be read.
pub fn formats(file: &Path) -> Result<(i64, i64), JournalError> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed("open its file"))?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(failed("set itself up"))?;
    let found = format(&connection).map_err(failed("read its format"))?;
    Ok((found, MIGRATIONS.len() as i64))
}

/// What a look at every page of a database found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing is wrong.
    Sound,
    /// What is wrong, the first few.
    Damaged(Vec<String>),
    /// The time was over before the end; nothing was wrong so far.
    Unfinished,
}

/// Looks at the pages of a database file for at most this time (SQLite's `quick_check`). Changes nothing, and holds nobody
/// up but checkpoints.
///
/// # Errors
/// When the file is no database, or cannot be read.
pub fn look(file: &Path, time_max: Duration) -> Result<Look, JournalError> {
    let doing = "look at its pages";
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed("open its file"))?;
    connection.busy_timeout(BUSY_WAIT_MAX).map_err(failed("set itself up"))?;
    let (handle, (done, is_done)) = (connection.get_interrupt_handle(), sync_channel::<()>(1));
    let clock = std::thread::spawn(move || {
        if is_done.recv_timeout(time_max) == Err(RecvTimeoutError::Timeout) {
            handle.interrupt();
        }
    });
    let faults = connection.prepare(&format!("PRAGMA quick_check({FAULTS_TOLD_MAX})")).and_then(|mut statement| {
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    });
    drop(done);
    // It has nothing to say.
    let _ended = clock.join();
    match faults {
        Ok(faults) if faults == ["ok"] => Ok(Look::Sound),
        Ok(faults) => Ok(Look::Damaged(faults)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok(Look::Unfinished),
            Some(ErrorCode::DatabaseCorrupt) => Ok(Look::Damaged(vec![error.to_string()])),
            _ => Err(failed(doing)(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_page_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heddle.db");
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)").unwrap();
        for _ in 0..200 {
            connection.execute("INSERT INTO t (b) VALUES (?1)", [&"x".repeat(500)]).unwrap();
        }
        drop(connection);
        assert_eq!(look(&file, Duration::from_secs(60)).unwrap(), Look::Sound);
        assert!(look(&file, Duration::ZERO).is_ok(), "whatever it came to see in no time");
        let mut bytes = std::fs::read(&file).unwrap();
        assert!(bytes.len() > 10 * 4096);
        bytes[5 * 4096..6 * 4096].fill(0xff);
        std::fs::write(&file, bytes).unwrap();
        let found = look(&file, Duration::from_secs(60)).unwrap();
        assert!(matches!(&found, Look::Damaged(faults) if !faults.is_empty()), "{found:?}");
        assert!(formats(&file).is_ok(), "its first pages are sound");
    }

    #[test]
    fn a_database_tells_its_format_and_other_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heddle.db");
        assert!(formats(&file).is_err(), "nothing is there");
        assert!(!file.exists(), "and nothing was made");
        let known = MIGRATIONS.len() as i64;
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        assert_eq!(formats(&file).unwrap(), (0, known));
        connection.execute("INSERT INTO meta (name, value) VALUES ('format', 9)", []).unwrap();
        assert_eq!(formats(&file).unwrap(), (9, known));
        std::fs::write(&file, "no database at all, but a text of some length").unwrap();
        assert!(formats(&file).is_err());
    }
}
