//! A client as a careful user writes one: it repeats what had no answer, with the same Idempotency-Key.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::wait;

/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(40);
/// How long a request is repeated: a cluster that comes back later than this has failed.
const OUTAGE_MAX: Duration = Duration::from_secs(120);

/// Speaks to one gateway.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    origin: String,
    key: String,
    log: Arc<Log>,
}

/// What a gateway answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Bytes,
}

/// Every request of a client: when it was made, and what became of it.
#[derive(Debug)]
struct Log {
    file: Mutex<File>,
    since: Instant,
    made: AtomicU64,
    unknown: AtomicU64,
}

impl Client {
    /// A client of the gateway at `origin`, which notes its requests in a file of JSON lines.
    ///
    /// # Panics
    /// When the file cannot be made.
    pub fn new(origin: &str, key: &str, log: &Path) -> Self {
        ready();
        let http = reqwest::Client::builder().timeout(REQUEST_TIME_MAX).build();
        let file = File::options().create(true).append(true).open(log);
        let file = file.unwrap_or_else(|error| panic!("no log at {}: {error}", log.display()));
        let log = Log { file: Mutex::new(file), since: Instant::now(), made: 0.into(), unknown: 0.into() };
        Self {
            http: http.unwrap_or_else(|error| panic!("no HTTP client: {error}")),
            origin: origin.to_owned(),
            key: key.to_owned(),
            log: Arc::new(log),
        }
    }

    /// A request with the key, to be sent once.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.key)
    }

    /// A request without a key.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.origin))
    }

    /// Reads, again and again until there is an answer other than 503.
    pub async fn get(&self, path: &str) -> Answer {
        let request = || self.request(Method::GET, path).header("accept", "application/json");
        self.answered(path, request).await
    }

    /// Reads what is there as JSON.
    ///
    /// # Panics
    /// When the answer is no success, or no JSON.
    pub async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert!(answer.is_success(), "GET {path}: {answer}");
        answer.json()
    }

    /// Posts under an Idempotency-Key, again and again until there is an answer other than 503.
    pub async fn post(&self, path: &str, body: &Value, idempotency_key: &str) -> Answer {
        let request = || self.request(Method::POST, path).header("idempotency-key", idempotency_key).json(body);
        self.answered(idempotency_key, request).await
    }

    /// Requests made, and those of them whose outcome nobody knows.
    pub fn totals(&self) -> (u64, u64) {
        (self.log.made.load(Ordering::Relaxed), self.log.unknown.load(Ordering::Relaxed))
    }

    async fn answered(&self, name: &str, request: impl Fn() -> RequestBuilder) -> Answer {
        let request = &request;
        let asked = || async move {
            self.log.note(name, "invoke", 0);
            let answer = send(request()).await;
            match &answer {
                Ok(answer) if !answer.asks_to_repeat() => self.log.note(name, "ok", answer.status),
                Ok(answer) => self.log.note(name, "refused", answer.status),
                Err(_) => self.log.note(name, "unknown", 0),
            }
            let answer = answer?;
            if answer.asks_to_repeat() { Err(answer.to_string()) } else { Ok(answer) }
        };
        wait::until(&format!("an answer to {name}"), OUTAGE_MAX, asked).await
    }
}

/// Lets this process make clients: the HTTP library brings no cryptography of its own.
pub fn ready() {
    // Who installed one before is as welcome.
    let _installed = rustls::crypto::ring::default_provider().install_default();
}

/// Sends a request once and reads the whole answer.
///
/// # Errors
/// When there is no whole answer: what became of the request is unknown.
pub async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let answered = async {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    };
    answered.await.map_err(|error: reqwest::Error| format!("{error:?}"))
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Nothing was done, or the first request with this key is under way.
    fn asks_to_repeat(&self) -> bool {
        self.status == 503 || (self.status == 409 && self.json()["code"] == "idempotency_in_progress")
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = String::from_utf8_lossy(&self.body).chars().take(600).collect();
        write!(f, "{} {text}", self.status)
    }
}

impl Log {
    fn note(&self, name: &str, what: &str, status: u16) {
        match what {
            "invoke" => self.made.fetch_add(1, Ordering::Relaxed),
            "unknown" => self.unknown.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let line = json!({ "ms": self.since.elapsed().as_millis() as u64, "of": name, "what": what, "status": status });
        if let Ok(mut file) = self.file.lock() {
            // Losing a line of the log must not fail what it is a log of.
            let _written = writeln!(file, "{line}");
        }
    }
}
