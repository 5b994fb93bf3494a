//! The writer: one thread with the only connection that writes.
//!
//! It takes what waits in its queue, without a timer, and puts all of it into one transaction: so the slower the disk,
//! the more a commit carries. No write falls with another (E4): if one does not hold, the transaction is begun anew, and
//! then each write stands in a SAVEPOINT. What would make all others wait for its rows goes into a transaction of its own,
//! after theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use heddle_core::time::Timestamp;
use heddle_crash_point::crash_point;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::Checkpointer;
use super::{FatalHook, open, time};
use crate::journal::limits::{
    HEAVY_WRITE_BYTES_MIN, HEAVY_WRITE_SHARE, MERGE_BYTES_MAX, MERGE_WRITES_MAX, STALLED_BACKOFF_MAX,
    STALLED_BACKOFF_MIN, TIME_MARK_PERIOD, WRITER_QUEUE_MAX,
};
use crate::journal::numbers::Retries;
use crate::journal::{Clock, JournalError, JournalState};

/// One write: a part of a transaction that stands or falls alone.
pub(super) trait Write: Send {
    /// About how many bytes it writes.
    fn bytes(&self) -> usize {
        0
    }

    /// Puts its rows into the open transaction. Called again if the transaction had to be given up or begun anew.
    ///
    /// # Errors
    /// The database's, as it is.
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<Kept>;

    /// Called after `apply` failed because of its data, and all its rows were taken back: saves what can be saved.
    ///
    /// # Errors
    /// The database's, unless it is the fault of the data.
    fn apply_apart(&mut self, connection: &Connection, error: rusqlite::Error) -> rusqlite::Result<Kept>;

    /// Called once the transaction is durable, at this database time.
    fn done(self: Box<Self>, now: Timestamp);
}

/// What happens to the rows that a write has put into the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// They stay.
    Yes,
    /// They are taken back.
    No,
}

/// The handle that writes are given to.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<Box<dyn Write>>);

impl Queue {
    /// Hands over a write at once if there is room.
    pub(super) fn try_put(&self, write: Box<dyn Write>) -> Result<(), PutError> {
        self.0.try_send(write).map_err(|error| match error {
            mpsc::error::TrySendError::Full(write) => PutError::Full(write),
            mpsc::error::TrySendError::Closed(_) => PutError::Stopped,
        })
    }

    /// Hands over a write as soon as there is room.
    pub(super) async fn put(&self, write: Box<dyn Write>) -> Result<(), JournalError> {
        self.0.send(write).await.map_err(|_| JournalError::Stopped)
    }

    /// Runs `statements`, which write about so many bytes, in the writer's transaction and gives back what they give once
    /// it is durable.
    pub(super) async fn run<T, F>(&self, doing: &'static str, bytes: usize, statements: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.put(Box::new(Statements { doing, bytes, statements, result: Err(JournalError::Stopped), reply })).await?;
        answer.await.map_err(|_| JournalError::Stopped)?
    }
}

/// Why a write was not handed over.
pub(super) enum PutError {
    /// The queue has no room.
    Full(Box<dyn Write>),
    /// The writer has gone.
    Stopped,
}

/// The thread, and the means to end it.
pub(super) struct Writer {
    thread: JoinHandle<()>,
    is_closing: Arc<AtomicBool>,
}

/// What the thread works with.
pub(super) struct WriterParts {
    pub(super) connection: Connection,
    pub(super) checkpointer: Checkpointer,
    pub(super) clock: Clock,
    pub(super) state: watch::Sender<JournalState>,
    pub(super) on_fatal: FatalHook,
    pub(super) retries: Arc<Retries>,
}

impl Writer {
    pub(super) fn start(parts: WriterParts) -> std::io::Result<(Self, Queue)> {
        let (sender, receiver) = mpsc::channel(WRITER_QUEUE_MAX);
        let is_closing = Arc::new(AtomicBool::new(false));
        let mut looped = Loop { parts, is_closing: is_closing.clone(), marked: Timestamp::default() };
        let thread = thread::Builder::new().name("journal-writer".to_owned()).spawn(move || looped.run(receiver))?;
        Ok((Self { thread, is_closing }, Queue(sender)))
    }

    /// Waits until what is queued is written, or given up if the disk does not take it.
    pub(super) fn finish(self, queue: Queue) {
        self.is_closing.store(true, Ordering::Release);
        // Wakes a thread that waits for work; if there is no room it does not wait.
        let _ = queue.try_put(Box::new(Nothing));
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the journal's writer has panicked");
        }
    }
}

struct Loop {
    parts: WriterParts,
    is_closing: Arc<AtomicBool>,
    /// The time that the file tells.
    marked: Timestamp,
}

/// Why a transaction is not durable.
enum Failure {
    /// The disk does not take it now; it has left no trace.
    Stalled(rusqlite::Error),
    /// Only a new start can tell what is on the disk.
    Fatal(rusqlite::Error),
}

impl Loop {
    fn run(&mut self, mut queue: mpsc::Receiver<Box<dyn Write>>) {
        let mut writes = Vec::new();
        let mut heavy = None;
        loop {
            let (may_put_off, first) = match heavy.take() {
                Some(put_off) => (false, put_off),
                None => match queue.blocking_recv() {
                    Some(write) => (true, write),
                    None => return,
                },
            };
            let mut bytes = first.bytes();
            writes.push(first);
            while writes.len() < MERGE_WRITES_MAX && bytes < MERGE_BYTES_MAX {
                let Ok(write) = queue.try_recv() else { break };
                bytes += write.bytes();
                writes.push(write);
            }
            if may_put_off {
                heavy = put_off_heavy(&mut writes, &mut bytes);
            }
            if !self.commit(&mut writes) {
                return;
            }
            let now = (self.parts.clock)();
            writes.drain(..).for_each(|write| write.done(now));
            self.parts.checkpointer.committed(&self.parts.connection, bytes);
            if self.is_closing.load(Ordering::Acquire) && heavy.is_none() && queue.is_empty() {
                return;
            }
        }
    }

    /// Brings one merge to the disk, however long that takes; `false` ends the writer.
    fn commit(&mut self, writes: &mut [Box<dyn Write>]) -> bool {
        let mut backoff = STALLED_BACKOFF_MIN;
        let now = (self.parts.clock)();
        let mark = (now >= self.marked.plus(TIME_MARK_PERIOD)).then_some(now);
        loop {
            crash_point!("journal.before-begin");
            let error = match transact(&self.parts.connection, writes, mark) {
                Ok(()) => {
                    crash_point!("journal.committed");
                    self.marked = mark.unwrap_or(self.marked);
                    self.report(JournalState::Ready);
                    return true;
                }
                Err(Failure::Stalled(error)) => error,
                Err(Failure::Fatal(error)) => {
                    let reason =
                        format!("a transaction failed and only a new start can tell what is on the disk: {error}");
                    (self.parts.on_fatal)(&reason);
                    return false;
                }
            };
            let code = error.sqlite_error().map_or(0, |error| error.extended_code);
            self.parts.retries.note(&format!("sqlite_{code}"));
            self.report(JournalState::Stalled { reason: error.to_string().into() });
            if self.is_closing.load(Ordering::Acquire) {
                return false;
            }
            thread::park_timeout(backoff);
            backoff = (backoff * 2).min(STALLED_BACKOFF_MAX);
        }
    }

    fn report(&self, state: JournalState) {
        self.parts.state.send_if_modified(|current| {
            let has_changed = *current != state;
            if has_changed {
                match &state {
                    JournalState::Ready => tracing::info!("the database takes commits again"),
                    JournalState::Stalled { reason } => {
                        tracing::error!(%reason, "the database takes no commits: free space on its disk; trying on");
                    }
                }
                *current = state;
            }
            has_changed
        });
    }
}

/// Takes out of a merge the one write that is most of it: else whoever writes a row waits for the rows of one who writes
/// many. It goes with the next transaction, whatever is in that, so it waits for one only. Writes that wait beside each
/// other do not depend on each other.
fn put_off_heavy(writes: &mut Vec<Box<dyn Write>>, bytes: &mut usize) -> Option<Box<dyn Write>> {
    let (place, most) = writes.iter().map(|write| write.bytes()).enumerate().max_by_key(|(_, bytes)| *bytes)?;
    let others = *bytes - most;
    if writes.len() == 1 || most < HEAVY_WRITE_BYTES_MIN || most < others * HEAVY_WRITE_SHARE {
        return None;
    }
    *bytes = others;
    Some(writes.swap_remove(place))
}

fn transact(connection: &Connection, writes: &mut [Box<dyn Write>], mark: Option<Timestamp>) -> Result<(), Failure> {
    let applied = apply_all(connection, writes).and_then(|()| mark.map_or(Ok(()), |now| time::mark(connection, now)));
    if applied.is_ok() {
        crash_point!("journal.in-transaction");
    }
    let error = match applied.map(|()| execute(connection, "COMMIT")) {
        Ok(Ok(())) => return Ok(()),
        // A full disk cannot have taken the frame that makes the commit count, so rolling back is the truth. Any other
        // failure of a commit may have left its pages behind, and a second fsync would not tell.
        Ok(Err(error)) if error.sqlite_error_code() != Some(ErrorCode::DiskFull) => return Err(Failure::Fatal(error)),
        Ok(Err(error)) => error,
        Err(error) if is_fatal(&error) => return Err(Failure::Fatal(error)),
        Err(error) => error,
    };
    // The database gives some transactions up by itself.
    if !connection.is_autocommit() {
        execute(connection, "ROLLBACK").map_err(Failure::Fatal)?;
    }
    Err(Failure::Stalled(error))
}

fn apply_all(connection: &Connection, writes: &mut [Box<dyn Write>]) -> rusqlite::Result<()> {
    execute(connection, "BEGIN IMMEDIATE")?;
    if apply_together(connection, writes)? {
        return Ok(());
    }
    begin_anew(connection)?;
    apply_each(connection, writes)
}

/// Without savepoints, for which SQLite copies each page before it changes: nearly always all writes hold. Says whether
/// they do.
fn apply_together(connection: &Connection, writes: &mut [Box<dyn Write>]) -> rusqlite::Result<bool> {
    for write in writes {
        match write.apply(connection) {
            Ok(Kept::Yes) => {}
            Ok(Kept::No) => return Ok(false),
            Err(error) if is_of_data(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Each write in a savepoint: what one of them has done is taken back alone. A write that is alone needs none.
fn apply_each(connection: &Connection, writes: &mut [Box<dyn Write>]) -> rusqlite::Result<()> {
    let is_alone = writes.len() == 1;
    let undo = || if is_alone { begin_anew(connection) } else { execute(connection, "ROLLBACK TO one_write") };
    for write in writes {
        if !is_alone {
            execute(connection, "SAVEPOINT one_write")?;
        }
        let kept = match write.apply(connection) {
            Err(error) if is_of_data(&error) => {
                undo()?;
                write.apply_apart(connection, error)
            }
            applied => applied,
        }?;
        if kept == Kept::No {
            undo()?;
        }
        if !is_alone {
            execute(connection, "RELEASE one_write")?;
        }
    }
    Ok(())
}

fn begin_anew(connection: &Connection) -> rusqlite::Result<()> {
    execute(connection, "ROLLBACK").and_then(|()| execute(connection, "BEGIN IMMEDIATE"))
}

/// Whether other rows would have been taken: the fault lies in these, not in the database or its disk.
pub(super) fn is_of_data(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        // What SQLite did not say comes from the conversion of a parameter or a result.
        None => true,
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TooBig
                | ErrorCode::TypeMismatch
                | ErrorCode::ParameterOutOfRange
        ),
    }
}

fn is_fatal(error: &rusqlite::Error) -> bool {
    let is_fsync = error.sqlite_error().is_some_and(|it| {
        matches!(it.extended_code, rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC)
    });
    let is_broken = matches!(
        error.sqlite_error_code(),
        // The last is what a statement gives that does not fit the schema.
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ApiMisuse
                | ErrorCode::InternalMalfunction
                | ErrorCode::Unknown
        )
    );
    is_fsync || is_broken
}

pub(super) fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// A write that is a closure.
struct Statements<T, F> {
    doing: &'static str,
    bytes: usize,
    statements: F,
    result: Result<T, JournalError>,
    reply: oneshot::Sender<Result<T, JournalError>>,
}

impl<T, F> Write for Statements<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<Kept> {
        self.result = Ok((self.statements)(connection)?);
        Ok(Kept::Yes)
    }

    fn apply_apart(&mut self, _: &Connection, error: rusqlite::Error) -> rusqlite::Result<Kept> {
        self.result = Err(open::failed(self.doing)(error));
        Ok(Kept::No)
    }

    fn done(self: Box<Self>, _: Timestamp) {
        // The caller may have gone; the write stands.
        let _ = self.reply.send(self.result);
    }
}

/// A write that writes nothing.
struct Nothing;

impl Write for Nothing {
    fn apply(&mut self, _: &Connection) -> rusqlite::Result<Kept> {
        Ok(Kept::Yes)
    }

    fn apply_apart(&mut self, _: &Connection, error: rusqlite::Error) -> rusqlite::Result<Kept> {
        Err(error)
    }

    fn done(self: Box<Self>, _: Timestamp) {}
}
