//! How long the head of a request may take from its first byte on. The wait for that byte is no part of it: a connection
//! that is kept for later may be quiet for long (see [`crate::limits::IDLE_MAX`]). And how long a client may take nothing of
//! an answer.

use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use crate::limits::HEAD_READ_MAX;

/// How many requests of one connection have begun to be answered, and how many are answered. Shared by the connection and
/// the service behind it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    answered: AtomicU64,
}

impl Progress {
    /// The head of a request is read. What is read from here on until the answer has left is not the head of another.
    pub(crate) fn begin(&self) -> Answering {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// How many heads were read before the one that is waited for now; nothing while a request is answered.
    fn awaited(&self) -> Option<u64> {
        let begun = self.0.begun.load(Ordering::Relaxed);
        (self.0.answered.load(Ordering::Relaxed) == begun).then_some(begun)
    }
}

/// A request is answered as long as this is held.
#[derive(Debug)]
pub(crate) struct Answering(Progress);

impl Answering {
    /// Holds on until the answer's body has left.
    pub(crate) fn until_sent(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(Sent { body, _answering: self }))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

struct Sent {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that breaks when a head is begun and not finished in time, and when an answer is not taken.
pub(crate) struct Clocked<C> {
    connection: C,
    progress: Progress,
    /// Of the head that has begun, by how many came before it.
    clock: Option<(u64, Pin<Box<Sleep>>)>,
    write_stall_max: Duration,
    /// Since the connection takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<C> Clocked<C> {
    pub(crate) fn new(connection: C, progress: Progress, write_stall_max: Duration) -> Self {
        Self { connection, progress, clock: None, write_stall_max, blocked: None }
    }

    /// What came of a write, unless the client has taken nothing for too long.
    fn taken<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T, Error>>) -> Poll<Result<T, Error>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let time_max = self.write_stall_max;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(time_max)));
        let late = || Err(Error::new(ErrorKind::TimedOut, "an answer was not taken"));
        blocked.as_mut().poll(cx).map(|()| late())
    }
}

impl<C: Read + Unpin> Read for Clocked<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<Result<(), Error>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.connection).poll_read(cx, buffer);
        let Some(awaited) = this.progress.awaited() else { return read };
        if this.clock.as_ref().is_some_and(|(head, _)| *head != awaited) {
            this.clock = None;
        }
        match (&mut this.clock, &read) {
            (clock @ None, Poll::Ready(Ok(()))) => *clock = Some((awaited, Box::pin(sleep(HEAD_READ_MAX)))),
            (Some((_, clock)), Poll::Pending) => {
                let late = || Err(Error::new(ErrorKind::TimedOut, "the head of a request did not come in time"));
                return clock.as_mut().poll(cx).map(|()| late());
            }
            _ => {}
        }
        read
    }
}

impl<C: Write + Unpin> Write for Clocked<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.connection).poll_write(cx, bytes);
        this.taken(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.connection).poll_write_vectored(cx, parts);
        this.taken(cx, written)
    }
}
