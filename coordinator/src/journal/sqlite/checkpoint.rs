//! Moving committed pages from the write-ahead log into the database file, beside the writer.
//!
//! A PASSIVE checkpoint waits for nobody and makes nobody wait, so it runs in a thread of its own. Under steady load it
//! never catches up with the log's end, and the log would grow for ever: once the log is long, the writer itself does the
//! short rest between two transactions, and the log begins anew.

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
    /// Starts the thread with a connection of its own. It ends when the writer's end is dropped.
    pub(super) fn start(connection: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (wake, woken) = sync_channel(1);
        let is_log_long = Arc::new(AtomicBool::new(false));
        let flag = is_log_long.clone();
        let thread = thread::Builder::new()
            .name("journal-checkpoint".to_owned())
            .spawn(move || checkpoint_when_woken(&connection, &woken, &flag))?;
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

fn checkpoint_when_woken(connection: &Connection, woken: &Receiver<()>, is_log_long: &AtomicBool) {
    while woken.recv().is_ok() {
        if checkpoint(connection).is_some_and(|pages| pages >= LOG_PAGES_MAX) {
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
