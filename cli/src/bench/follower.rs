//! A client that follows a run, at its own pace, and checks what it is told: every event of the history once and in order,
//! and every piece once, but for those that are said to be missing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{BENCH_ANSWER_WAIT_MAX, EVENT_BYTES_MAX};

/// What its kernel takes for it before it reads, in bytes.
const RECEIVE_BYTES: u32 = 16 * 1024;
/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Where a client has got to, and what it was told.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The id of the last event.
    id: String,
    /// The history that it was told.
    pub(super) history: History,
    /// The next piece of each attempt of each node.
    next: HashMap<String, u64>,
    /// Gaps that it was told of.
    pub(super) gaps: u64,
    /// Events, pieces among them.
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) is_over: bool,
}

/// A history as far as it was told: those of two readers are the same if these are.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// Its last event.
    pub(super) seq: u64,
    digest: DefaultHasher,
}

impl History {
    /// The next event, as its JSON came.
    pub(super) fn add(&mut self, json: &str) {
        self.seq += 1;
        json.hash(&mut self.digest);
    }
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        (self.seq, self.digest.finish()) == (other.seq, other.digest.finish())
    }
}

/// One connection that follows a run.
pub(super) struct Follower {
    stream: TcpStream,
    /// What is read and not understood yet.
    held: Vec<u8>,
    piece: Vec<u8>,
}

impl Follower {
    /// Asks for a run's events behind those of a log.
    pub(super) async fn open(gateway: SocketAddr, key: &str, run: &str, log: &Log) -> Result<Self> {
        let what = "cannot follow a run";
        let socket = TcpSocket::new_v4().context(Exit::Failed, what)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES).context(Exit::Failed, what)?;
        let mut stream = socket.connect(gateway).await.context(Exit::Failed, what)?;
        let after = if log.id.is_empty() { String::new() } else { format!("Last-Event-ID: {}\r\n", log.id) };
        let head = format!(
            "GET /api/v1/workflows/executions/{run}/events?ids=all HTTP/1.1\r\nHost: {gateway}\r\n\
             Authorization: Bearer {key}\r\nAccept: text/event-stream\r\n{after}\r\n"
        );
        stream.write_all(head.as_bytes()).await.context(Exit::Failed, what)?;
        Ok(Follower { stream, held: Vec::new(), piece: vec![0; READ_BYTES] })
    }

    /// Reads for so long, or to the stream's end, at most so many bytes a second.
    pub(super) async fn read(&mut self, log: &mut Log, until: Instant, bytes_per_s: Option<u64>) -> Result<()> {
        let mut next = Instant::now();
        while !log.is_over {
            sleep_until(next.min(until)).await;
            if next >= until {
                return Ok(());
            }
            let read = timeout(until.saturating_duration_since(Instant::now()), self.stream.read(&mut self.piece));
            let Ok(read) = read.await else { return Ok(()) };
            let count = read.context(Exit::Failed, "a stream of events broke")?;
            if count == 0 {
                return Err(Failure::failed("a stream of events ended before its run"));
            }
            log.bytes += count as u64;
            self.held.extend_from_slice(&self.piece[..count]);
            self.understand(log)?;
            if let Some(bytes_per_s) = bytes_per_s {
                next = Instant::now() + Duration::from_millis(count as u64 * 1_000 / bytes_per_s.max(1));
            }
        }
        Ok(())
    }

    /// Reads to the stream's end.
    pub(super) async fn finish(&mut self, log: &mut Log) -> Result<()> {
        while !log.is_over {
            let before = log.bytes;
            self.read(log, Instant::now() + BENCH_ANSWER_WAIT_MAX, None).await?;
            if !log.is_over && log.bytes == before {
                return Err(Failure::new(Exit::Timeout, "a stream of events said nothing for too long"));
            }
        }
        Ok(())
    }

    fn understand(&mut self, log: &mut Log) -> Result<()> {
        let mut begin = 0;
        while let Some(length) = self.held[begin..].windows(2).position(|pair| pair == b"\n\n") {
            let block = String::from_utf8_lossy(&self.held[begin..begin + length]);
            log.take(&block)?;
            begin += length + 2;
        }
        self.held.drain(..begin);
        if self.held.len() > EVENT_BYTES_MAX {
            return Err(Failure::failed("an event is too large"));
        }
        Ok(())
    }
}

impl Log {
    /// Takes in what stands between two empty lines. Pieces of chunked coding between them do no harm: events are lines.
    fn take(&mut self, block: &str) -> Result<()> {
        let field = |name: &str| block.lines().rev().find_map(|line| line.strip_prefix(name));
        let (Some(kind), Some(data)) = (field("event: "), field("data: ")) else { return Ok(()) };
        let number = |name: &str| {
            let (_, rest) = data.split_once(&format!("\"{name}\":"))?;
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let wrong = |expected: u64| Err(Failure::failed(format!("a gap or a double, {expected} was next: {data}")));
        match kind {
            "stream.end" => self.is_over = true,
            "stream.closed" => return Err(Failure::failed(format!("a stream was closed: {data}"))),
            "node.delta" | "node.gap" => {
                let (Some(attempt), Some(from), Some(to)) = (number("attempt"), number("from"), number("to")) else {
                    return Err(Failure::failed(format!("a piece without its numbers: {data}")));
                };
                let node = data.split_once("\"nodeId\":\"").and_then(|(_, rest)| rest.split('"').next());
                let next = self.next.entry(format!("{}/{attempt}", node.unwrap_or_default())).or_default();
                let is_gap = kind == "node.gap";
                if !is_gap && from != *next || is_gap && (from > *next || to < *next) {
                    return wrong(*next);
                }
                self.gaps += u64::from(is_gap);
                *next = to + 1;
            }
            _ => {
                if let Some(seq) = number("seq") {
                    if seq != self.history.seq + 1 {
                        return wrong(self.history.seq + 1);
                    }
                    self.history.add(data);
                }
            }
        }
        self.events += 1;
        if let Some(id) = field("id: ") {
            id.clone_into(&mut self.id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: u64, to: u64) -> String {
        format!("id: 3.{to}\nevent: node.delta\ndata: {{\"nodeId\":\"a\",\"attempt\":1,\"from\":{from},\"to\":{to}}}")
    }

    #[test]
    fn a_gap_or_a_double_is_found() {
        let mut log = Log::default();
        log.take("id: 1\nevent: run.started\ndata: {\"seq\":1}").unwrap();
        log.take(&piece(0, 3)).unwrap();
        assert_eq!((log.id.as_str(), log.history.seq), ("3.3", 1));
        for wrong in
            [piece(3, 4), piece(5, 6), "event: x\ndata: {\"seq\":3}".into(), "event: x\ndata: {\"seq\":1}".into()]
        {
            assert!(log.take(&wrong).is_err(), "{wrong}");
        }
        log.take("event: node.gap\ndata: {\"nodeId\":\"a\",\"attempt\":1,\"from\":2,\"to\":8}").unwrap();
        log.take(&piece(9, 9)).unwrap();
        assert_eq!(log.gaps, 1);
    }
}
