//! A load generator's HTTP: one connection, one request at a time, no pool, no redirects, next to no work per request.
//! It shares the machine's cores with what it measures.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::follower::History;
use crate::client::RunStatus;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{BENCH_ANSWER_BYTES_MAX, BENCH_ANSWER_WAIT_MAX, BENCH_REFUSAL_PAUSE, BENCH_REFUSALS_MAX};

/// What the key of a tenant of the bench may do.
const TENANT_SCOPES: [&str; 4] = ["workflows:read", "workflows:write", "workflows:execute", "executions:read"];

/// One keep-alive connection to a gateway.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    head: String,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Submissions that were refused for overload and sent again.
    pub(super) refusals: u64,
}

/// Where things are in an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body_start: usize,
    body_bytes: usize,
}

impl Connection {
    /// Connects; every request carries the key.
    pub(super) async fn open(gateway: SocketAddr, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(gateway).await.context(Exit::Failed, "cannot reach the gateway")?;
        stream.set_nodelay(true).context(Exit::Failed, "cannot set up the connection")?;
        let head = format!("Host: {gateway}\r\nAuthorization: Bearer {key}\r\n");
        Ok(Connection { stream, head, request: Vec::new(), answer: Vec::new(), refusals: 0 })
    }

    /// Saves a workflow; returns its id.
    pub(super) async fn save(&mut self, workflow: &Value) -> Result<String> {
        #[derive(Deserialize)]
        struct Saved {
            id: String,
        }
        let body = workflow.to_string();
        let saved: Saved = self.send_json("POST", "/api/v1/workflows", Some(body.as_bytes())).await?;
        Ok(saved.id)
    }

    /// Makes a tenant; returns its first key.
    pub(super) async fn new_tenant(&mut self, id: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Made {
            key: String,
        }
        let (tenant, key) = (json!({ "id": id }).to_string(), json!({ "scopes": TENANT_SCOPES }).to_string());
        self.send_json::<Value>("POST", "/api/v1/tenants", Some(tenant.as_bytes())).await?;
        let made: Made = self.send_json("POST", &format!("/api/v1/tenants/{id}/keys"), Some(key.as_bytes())).await?;
        Ok(made.key)
    }

    /// Has a graph looked at, which must be a good one.
    pub(super) async fn lint(&mut self, graph: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Diagnosis {
            ok: bool,
        }
        let said: Diagnosis = self.send_json("POST", "/api/v1/workflows/lint", Some(graph.as_bytes())).await?;
        if said.ok { Ok(()) } else { Err(Failure::failed("a graph of the bench is not in order")) }
    }

    /// Starts a run of a saved workflow; returns the run's id. Overload is waited out, and counted.
    pub(super) async fn execute(&mut self, workflow: &str) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Started {
            execution_id: String,
        }
        let path = format!("/api/v1/workflows/{workflow}/execute");
        for _ in 0..BENCH_REFUSALS_MAX {
            let (status, body) = self.send("POST", &path, Some(b"{}")).await?;
            if status != 503 {
                return decode::<Started>("POST", &path, status, body).map(|started| started.execution_id);
            }
            self.refusals += 1;
            sleep(BENCH_REFUSAL_PAUSE).await;
        }
        Err(Failure::failed("the coordinator stayed overloaded"))
    }

    /// Starts a run and waits for its end, which must be a good one.
    pub(super) async fn run(&mut self, workflow: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct State {
            status: RunStatus,
        }
        let execution = self.execute(workflow).await?;
        let path = format!("/api/v1/workflows/executions/{execution}/poll?wait=30&nodesLimit=1");
        loop {
            let state: State = self.send_json("GET", &path, None).await?;
            match state.status {
                RunStatus::Completed => return Ok(()),
                status if status.is_over() => {
                    let why = String::from_utf8_lossy(&self.answer).into_owned();
                    return Err(Failure::failed(format!("{execution} ended {}: {why}", status.word())));
                }
                _ => {}
            }
        }
    }

    /// Reads JSON from a path of the gateway.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        self.send_json("GET", path, None).await
    }

    /// The history of a run, which must fit into one answer.
    pub(super) async fn history(&mut self, execution: &str) -> Result<History> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Events {
            events: Vec<Box<RawValue>>,
            has_more: bool,
        }
        let events: Events = self.get(&format!("/api/v1/workflows/executions/{execution}/events")).await?;
        if events.has_more {
            return Err(Failure::failed("a history of the bench is too long for one answer"));
        }
        let mut history = History::default();
        events.events.iter().for_each(|event| history.add(event.get()));
        Ok(history)
    }

    /// Posts JSON to a path of the gateway.
    pub(super) async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &[u8]) -> Result<T> {
        self.send_json("POST", path, Some(body)).await
    }

    async fn send_json<T: DeserializeOwned>(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<T> {
        let (status, body) = self.send(method, path, body).await?;
        decode(method, path, status, body)
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<(u16, &[u8])> {
        self.request.clear();
        self.request.extend_from_slice(format!("{method} {path} HTTP/1.1\r\n{}", self.head).as_bytes());
        if let Some(body) = body {
            let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            self.request.extend_from_slice(fields.as_bytes());
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(body.unwrap_or_default());
        let exchanged = timeout(BENCH_ANSWER_WAIT_MAX, self.exchange()).await;
        let head = exchanged.map_err(|_| Failure::new(Exit::Timeout, format!("{method} {path} got no answer")))??;
        Ok((head.status, &self.answer[head.body_start..head.body_start + head.body_bytes]))
    }

    async fn exchange(&mut self) -> Result<Head> {
        self.stream.write_all(&self.request).await.context(Exit::Failed, "the connection broke")?;
        self.answer.clear();
        let mut head = None;
        loop {
            head = match head {
                None => parse_head(&self.answer)?,
                known => known,
            };
            if let Some(head) = head.take_if(|head| self.answer.len() >= head.body_start + head.body_bytes) {
                return Ok(head);
            }
            self.answer.reserve(16 * 1024);
            let read = self.stream.read_buf(&mut self.answer).await.context(Exit::Failed, "the connection broke")?;
            if read == 0 || self.answer.len() > BENCH_ANSWER_BYTES_MAX {
                return Err(Failure::failed("the gateway ended the connection, or sent too much"));
            }
        }
    }
}

fn decode<T: DeserializeOwned>(method: &str, path: &str, status: u16, body: &[u8]) -> Result<T> {
    if !(200..300).contains(&status) {
        let why = String::from_utf8_lossy(body);
        return Err(Failure::failed(format!("{method} {path} was answered {status}: {why}")));
    }
    serde_json::from_slice(body).context(Exit::Failed, format_args!("the answer to {method} {path} cannot be read"))
}

/// Reads status and length once the head is complete. The gateway states the length of everything but streams, which
/// the bench does not read.
fn parse_head(answer: &[u8]) -> Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let unreadable = || Failure::failed("the gateway's answer has no status or no length");
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| unreadable())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(unreadable)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    Ok(Some(Head { status, body_start: end + 4, body_bytes: length.ok_or_else(unreadable)? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, routing::get, routing::post};

    #[test]
    fn heads_are_read_when_complete() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
        let answer = b"HTTP/1.1 201 Created\r\nx: y\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse_head(answer).unwrap(), Some(Head { status: 201, body_start: 49, body_bytes: 2 }));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"nonsense\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn a_run_is_started_and_awaited_on_one_connection() {
        let execute = post(|| async { Json(json!({"executionId": "exec_1", "status": "RUNNING"})) });
        let poll = get(|| async { Json(json!({"status": "COMPLETED", "nodeStates": []})) });
        let failed = get(|| async { Json(json!({"status": "FAILED"})) });
        let router = Router::new()
            .route("/api/v1/workflows/wf_1/execute", execute)
            .route("/api/v1/workflows/executions/exec_1/poll", poll)
            .route("/api/v1/workflows/wf_2/execute", post(|| async { Json(json!({"executionId": "exec_2"})) }))
            .route("/api/v1/workflows/executions/exec_2/poll", failed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut connection = Connection::open(address, "sk-1").await.unwrap();
        connection.run("wf_1").await.unwrap();
        connection.run("wf_1").await.unwrap();
        assert!(connection.run("wf_2").await.unwrap_err().message.contains("exec_2 ended FAILED"));
        assert!(connection.execute("wf_3").await.unwrap_err().message.contains("404"));
    }
}
