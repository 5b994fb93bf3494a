//! The readers: a few threads with a connection each, that see committed state only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use futures::FutureExt as _;
use heddle_telemetry::metrics::Histogram;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::journal::limits::READER_QUEUE_MAX;
use crate::journal::{Answer, JournalError};

type Read = Box<dyn FnOnce(&Connection) + Send>;
type Queue = Arc<Mutex<mpsc::Receiver<Read>>>;

/// The threads, and the means to end them.
pub(super) struct Readers {
    handle: Reader,
    is_closing: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The handle that reads are given to.
#[derive(Clone)]
pub(crate) struct Reader {
    queue: mpsc::Sender<Read>,
    wait: Arc<Histogram>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(READER_QUEUE_MAX);
        let is_closing = Arc::new(AtomicBool::new(false));
        let queue = Arc::new(Mutex::new(receiver));
        let spawn = |(index, connection)| {
            let (queue, is_closing): (Queue, _) = (queue.clone(), is_closing.clone());
            let name = format!("journal-reader-{index}");
            thread::Builder::new().name(name).spawn(move || read_all(&connection, &queue, &is_closing))
        };
        let threads = connections.into_iter().enumerate().map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Self { handle: Reader { queue: sender, wait: Arc::default() }, is_closing, threads })
    }

    /// Waits until the reads under way are done.
    pub(super) fn finish(self) {
        self.is_closing.store(true, Ordering::Release);
        for _ in &self.threads {
            // Wakes a thread that waits for work; if there is no room none does.
            let _ = self.handle.queue.try_send(Box::new(|_| ()));
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a reader of the journal has panicked");
            }
        }
    }

    /// How long reads waited for a connection.
    pub(super) fn wait(&self) -> &Histogram {
        &self.handle.wait
    }

    /// What reads are given to.
    pub(super) fn handle(&self) -> Reader {
        self.handle.clone()
    }
}

impl Reader {
    /// Runs a read in one transaction, so that all it sees is of one commit.
    pub(crate) fn run<T, F>(&self, read: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JournalError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (wait, since) = (Arc::clone(&self.wait), Instant::now());
        let read: Read = Box::new(move |connection| {
            wait.observe(since.elapsed());
            // A caller that has gone needs no answer.
            if !reply.is_closed() {
                let _ = reply.send(in_transaction(connection, read));
            }
        });
        let queue = self.queue.clone();
        async move {
            queue.send(read).await.map_err(|_| JournalError::Stopped)?;
            drop(queue);
            answer.await.map_err(|_| JournalError::Stopped)?
        }
        .boxed()
    }
}

fn in_transaction<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    // It is dropped, hence rolled back: nothing was written.
    let transaction = connection.unchecked_transaction().map_err(super::open::failed("begin to read"))?;
    read(&transaction)
}

fn read_all(connection: &Connection, queue: &Queue, is_closing: &AtomicBool) {
    while !is_closing.load(Ordering::Acquire) {
        // One thread waits for work while the others work: the lock is not held meanwhile.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(read) = next else { return };
        read(connection);
    }
}
