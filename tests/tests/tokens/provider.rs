//! A model server whose every word says which one it is and when it was written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_tests::wait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How many words an answer has, and how far apart they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) words: u64,
    pub(crate) apart: Duration,
}

/// A running server. It ends with the runtime.
pub(crate) struct Provider {
    pub(crate) host: String,
    since: Instant,
    speak: watch::Sender<bool>,
    asked: watch::Receiver<u64>,
}

impl Provider {
    /// A server that says nothing until it is told to, to however many ask it.
    pub(crate) async fn start(pace: Pace) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let since = Instant::now();
        let (speak, may_speak) = watch::channel(false);
        let (asks, asked) = watch::channel(0);
        let asks = Arc::new(asks);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((connection, _)) = listener.accept().await {
                let (may_speak, asks) = (may_speak.clone(), Arc::clone(&asks));
                number += 1;
                // A client that goes away is not this server's matter: the test sees what it lacks.
                tokio::spawn(async move { answer(connection, number, pace, since, (may_speak, asks)).await });
            }
        });
        Self { host, since, speak, asked }
    }

    /// Waits until so many have asked.
    pub(crate) async fn asked(&mut self, count: u64, deadline: Duration) {
        let asked = tokio::time::timeout(deadline, self.asked.wait_for(|asked| *asked >= count)).await.is_ok();
        assert!(asked, "only {} of {count} have asked within {deadline:?}", *self.asked.borrow());
    }

    /// Begins.
    pub(crate) fn speak(&self) {
        self.speak.send_replace(true);
    }

    /// How long ago a word was written; panics if this is none of this server's. Words count from 0.
    pub(crate) fn heard(&self, word: &str) -> (u64, Duration) {
        let (number, at) = word.split_once(':').unwrap_or_else(|| panic!("{word:?} is no word of the server's"));
        let at = Duration::from_nanos(at.parse().unwrap());
        (number.parse().unwrap(), self.since.elapsed().saturating_sub(at))
    }
}

async fn answer(
    connection: TcpStream,
    number: u32,
    pace: Pace,
    since: Instant,
    (mut may_speak, asks): (watch::Receiver<bool>, Arc<watch::Sender<u64>>),
) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    connection.read_exact(&mut vec![0; length]).await?;
    asks.send_modify(|asked| *asked += 1);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).await?;
    // The test ends when there is nobody to wait for.
    let _told = may_speak.wait_for(|may| *may).await.is_ok();
    // Each at another moment, as those do who were asked at other moments.
    wait::pace(pace.apart.mul_f64(f64::from(number * 97 % 100) / 100.0)).await;
    let begun = Instant::now();
    for word in 0..pace.words {
        let at = since.elapsed().as_nanos();
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{word}:{at} \"}}}}]}}\n\n");
        connection.write_all(event.as_bytes()).await?;
        let next = pace.apart.mul_f64((word + 1) as f64);
        wait::pace(next.saturating_sub(begun.elapsed())).await;
    }
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    connection.write_all(end.as_bytes()).await?;
    connection.shutdown().await
}
