//! A look at a database from outside, while its coordinator runs or not.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::open::{MIGRATIONS, failed, format};
use crate::journal::JournalError;
use crate::journal::limits::BUSY_WAIT_MAX;

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

#[cfg(test)]
mod tests {
    use super::*;

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
