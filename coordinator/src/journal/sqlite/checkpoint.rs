//! Moving committed pages from the write-ahead log into the database file, beside the writer.
//!
//! A PASSIVE checkpoint waits for nobody and makes nobody wait, so it runs in a thread of its own. Under steady load it
//! never catches up with the log's end, and the log would grow for ever: once the log is long, the writer itself does the
//! short rest between two transactions, and the log begins anew.
//!
//! SQLite makes the database file durable only when all of the log is in it, which is in that rest: it would wait there for
//! tens of megabytes. So the thread makes durable what it has moved, through a file of its own.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::journal::limits::{CHECKPOINT_BYTES, CHECKPOINT_COMMITS, LOG_PAGES_MAX};

/// The writer's end: counts what it commits and wakes the thread when that is worth its while.
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    is_log_long: Arc<AtomicBool>,
    commits: u32,
    bytes: usize,
}

impl Checkpointer {
    /// Starts the thread with a connection of its own to the database in `file`. It ends when the writer's end is dropped.
    /// Only then may its handle of the file be closed: that gives up the locks which the process's connections have, and
    /// from then on only the data folder's lock keeps others out.
    pub(super) fn start(connection: Connection, file: &Path) -> std::io::Result<(Self, JoinHandle<()>)> {
        let file = File::open(file)?;
        let (wake, woken) = sync_channel(1);
        let is_log_long = Arc::new(AtomicBool::new(false));
        let flag = is_log_long.clone();
        let thread = thread::Builder::new()
            .name("journal-checkpoint".to_owned())
            .spawn(move || checkpoint_when_woken(&connection, &file, &woken, &flag))?;
        Ok((Self { wake, is_log_long, commits: 0, bytes: 0 }, thread))
    }

    /// Called by the writer after each transaction.
    pub(super) fn committed(&mut self, connection: &Connection, bytes: usize) {
        self.commits += 1;
        self.bytes += bytes;
        if self.is_log_long.swap(false, Ordering::AcqRel) {
            checkpoint(connection);
        }
        if self.commits >= CHECKPOINT_COMMITS || self.bytes >= CHECKPOINT_BYTES {
            (self.commits, self.bytes) = (0, 0);
            // Full = it is awake already.
            let _ = self.wake.try_send(());
        }
    }
}

fn checkpoint_when_woken(connection: &Connection, file: &File, woken: &Receiver<()>, is_log_long: &AtomicBool) {
    while woken.recv().is_ok() {
        let pages = checkpoint(connection);
        if let Err(error) = file.sync_data() {
            // The writer's rest does it again, and what fails there keeps the log.
            tracing::warn!(%error, "the database file could not be made durable ahead of time");
        }
        if pages.is_some_and(|pages| pages >= LOG_PAGES_MAX) {
            // What came meanwhile, so that next to nothing is left.
            checkpoint(connection);
            is_log_long.store(true, Ordering::Release);
        }
    }
}

/// Does what can be done now; says how many pages the log has.
fn checkpoint(connection: &Connection) -> Option<i64> {
    match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1)) {
        Ok(pages) => Some(pages),
        Err(error) => {
            // The log keeps everything, so this costs space only; the next one tries again.
            tracing::warn!(%error, "a checkpoint failed: the database's log stays longer");
            None
        }
    }
}
