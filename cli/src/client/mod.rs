//! A client of the public REST API: nothing here knows more than any other client could.

mod agents;
mod batches;
mod catalogue;
mod events;
mod exports;
mod files;
mod operate;
mod refusal;
mod resumes;
mod reviews;
mod signals;
mod stats;
mod types;
mod versions;

use std::time::Duration;

use heddle_error_chain::chain;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use batches::{Batch, BatchCounts, BatchPage, BatchRun, FinalOutput};
pub use catalogue::{
    AgentInfo, Diagnosis, Draft, NodeType, Place, Port, Problem, SaveNote, SaveNotes, Saved, Workflow, bare,
    read as read_value,
};
pub use events::{Asked, Event, EventStream};
pub use resumes::{
    Credits, EditedPort, Lineage, LineageRun, Plan, PlannedNode, Resume, ResumeGraph, Resumed, Way, reason,
};
pub use reviews::{Decided, Decision, Large, Review, ReviewEntry, ReviewFilter, ReviewPort};
pub use signals::SentSignal;
pub use stats::{Alert, Bucket, Durations, ErrorStats, Incident, IncidentFilter, RunCounts, Stats};
pub use types::{
    ApiKey, Counters, Execute, Execution, ExecutionFilter, ExecutionList, Health, InvokedBy, ItemCounts, JoinToken,
    NewJoinToken, NewKey, NodeRun, Poll, RunStatus, SaveWorkflow, Started, Tenant, Waiting, WorkflowSummary,
    error_text, with_index,
};
pub use versions::{KeyDifference, NodeDifference, Version, VersionDifference};

use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{
    CONNECT_WAIT_MAX, HEALTH_WAIT_MAX, NODES_PAGE, POLL_WAIT_SECONDS_MAX, REQUEST_WAIT_MAX, SUBMIT_PAUSE_MAX,
    SUBMIT_TRIES_MAX,
};

/// Speaks to one gateway with one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    origin: String,
    key: Option<String>,
}

impl Client {
    /// A client of the gateway at `url`: an origin, with or without the API's base path.
    pub fn new(url: &str, key: Option<String>) -> Result<Self> {
        let origin = url.trim_end_matches('/').trim_end_matches("/api/v1").trim_end_matches('/').to_owned();
        if !origin.starts_with("http://") {
            return Err(Failure::usage(format!("{url} is not an http:// address"))
                .with_next("this build speaks plain HTTP: use a local address or a proxy that adds TLS"));
        }
        // The HTTP library brings no cryptography of its own. Who installed one before is as welcome.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(CONNECT_WAIT_MAX).tcp_nodelay(true).build();
        Ok(Client { http: http.context(Exit::Failed, "cannot set up HTTP")?, origin, key })
    }

    /// Where the gateway is.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What `/healthz` says: that the gateway is alive, and which boot of the cluster it belongs to.
    pub async fn health(&self) -> Result<Health> {
        let request = self.http.get(format!("{}/healthz", self.origin)).timeout(HEALTH_WAIT_MAX);
        self.json(request).await
    }

    /// Whether `/readyz` says 200.
    pub async fn is_ready(&self) -> bool {
        let request = self.http.get(format!("{}/readyz", self.origin)).timeout(HEALTH_WAIT_MAX);
        request.send().await.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    /// Saves a workflow: a new one, or over the one named by `id`.
    pub async fn save_workflow(&self, id: Option<&str>, workflow: &SaveWorkflow<'_>) -> Result<Saved> {
        let request = match id {
            Some(id) => self.request(Method::PUT, &format!("/workflows/{id}")),
            None => self.request(Method::POST, "/workflows"),
        };
        self.json(request.json(workflow)).await
    }

    /// Starts a run. Tried again, under one idempotency key, while the server is overloaded or cannot be reached.
    pub async fn execute(&self, workflow: &str, execute: &Execute<'_>) -> Result<Started> {
        self.submit(&format!("/workflows/{workflow}/execute"), execute).await
    }

    /// Sends what starts a run, until there is an answer that is more than "not now".
    async fn submit<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T> {
        let sent = self.persist(|| self.request(Method::POST, path).json(body)).await?;
        self.read(sent).await
    }

    /// Sends a request again, under one idempotency key, while the server is overloaded or cannot be reached.
    async fn persist(&self, request: impl Fn() -> RequestBuilder) -> Result<reqwest::Result<Response>> {
        let idempotency_key = random_key()?;
        let mut tries = 1;
        loop {
            let sent = request().header("Idempotency-Key", &idempotency_key).send().await;
            let pause = match &sent {
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => retry_after(response),
                Err(_) => Duration::from_millis(200 << tries),
                Ok(_) => return Ok(sent),
            };
            if tries == SUBMIT_TRIES_MAX {
                return Ok(sent);
            }
            tries += 1;
            tokio::time::sleep(pause.min(SUBMIT_PAUSE_MAX)).await;
        }
    }

    /// How a run stands, at once or when it is over, at most `wait_seconds` later; without its nodes' results.
    pub async fn poll(&self, execution: &str, wait_seconds: u64) -> Result<Poll> {
        let wait = wait_seconds.min(POLL_WAIT_SECONDS_MAX);
        self.page(execution, &[("wait", wait), ("nodesLimit", 1)]).await
    }

    /// The results of those nodes of a run that are named in `wanted`, and the states of all, read page by page.
    pub async fn node_runs(&self, execution: &str, wanted: &[&str]) -> Result<(Vec<NodeRun>, Vec<String>)> {
        let (mut found, mut states, mut offset) = (Vec::new(), Vec::new(), 0);
        loop {
            let poll = self.page(execution, &[("nodesOffset", offset), ("nodesLimit", NODES_PAGE)]).await?;
            let page = poll.node_results.node_runs;
            offset += page.len() as u64;
            let is_last = page.is_empty() || offset >= poll.nodes_total;
            states.extend(page.iter().filter_map(|run| run.state.clone()));
            found.extend(page.into_iter().filter(|run| wanted.contains(&run.node_id.as_str())));
            if is_last {
                return Ok((found, states));
            }
        }
    }

    async fn page(&self, execution: &str, query: &[(&str, u64)]) -> Result<Poll> {
        let request = self.request(Method::GET, &format!("/workflows/executions/{}/poll", segment(execution)?));
        self.json(request.query(query)).await
    }

    /// One run, whole, as the server says it.
    pub async fn execution(&self, execution: &str) -> Result<Value> {
        let value = self.json(self.request(Method::GET, &format!("/workflows/executions/{}", segment(execution)?)));
        value.await.map(bare)
    }

    /// One node of a run, as the server says it.
    pub async fn execution_node(&self, execution: &str, node: &str, query: &[(&str, String)]) -> Result<Value> {
        let path = format!("/workflows/executions/{}/nodes/{}", segment(execution)?, named(node)?);
        self.json(self.request(Method::GET, &path).query(query)).await.map(bare)
    }

    /// What a run waits for, or how it ended, as the server says it.
    pub async fn explanation(&self, execution: &str) -> Result<Value> {
        let path = format!("/workflows/executions/{}/explain", segment(execution)?);
        self.json(self.request(Method::GET, &path)).await.map(bare)
    }

    /// Where a run's time went: one page of its nodes, as the server says it.
    pub async fn trace(&self, execution: &str, nodes_offset: u64) -> Result<Value> {
        let request = self.request(Method::GET, &format!("/workflows/executions/{}/trace", segment(execution)?));
        self.json(request.query(&[("nodesOffset", nodes_offset), ("nodesLimit", NODES_PAGE)])).await.map(bare)
    }

    /// One page of runs across workflows, newest first.
    pub async fn executions(&self, filter: &ExecutionFilter) -> Result<ExecutionList> {
        let response = self.request(Method::GET, "/workflows/executions").query(filter).send().await;
        let response = self.accept(response).await?;
        let next = next_cursor(&response);
        let items: Value = self.decode(response).await?;
        ExecutionList::of(items, next).context(Exit::Failed, "the server's list of executions cannot be read")
    }

    /// A page of the runs that a run has invoked, the newest first.
    pub async fn children(&self, execution: &str, limit: u32, cursor: Option<&str>) -> Result<ExecutionList> {
        let path = format!("/workflows/executions/{}/children", segment(execution)?);
        let request = self.request(Method::GET, &path).query(&[("limit", limit.to_string())]);
        let request = if let Some(cursor) = cursor { request.query(&[("cursor", cursor)]) } else { request };
        let response = self.accept(request.send().await).await?;
        let next = next_cursor(&response);
        let items: Value = self.decode(response).await?;
        ExecutionList::of(items, next).context(Exit::Failed, "the server's list of executions cannot be read")
    }

    /// Saves a workflow under an id of the caller's choice: a new one, or over the one that has it.
    pub async fn put_workflow(&self, id: &str, workflow: &SaveWorkflow<'_>) -> Result<Saved> {
        let named = serde_json::to_value(workflow).map(|mut value| {
            value["id"] = id.into();
            value
        });
        let named = named.context(Exit::Failed, "the workflow cannot be written as JSON")?;
        self.json(self.request(Method::POST, "/workflows").json(&named)).await
    }

    /// Asks for a run's end. The answer is its state, which may still be `RUNNING`.
    pub async fn cancel(&self, execution: &str, reason: Option<&str>) -> Result<Execution> {
        let body = match reason {
            Some(reason) => serde_json::json!({ "reason": reason }),
            None => serde_json::json!({}),
        };
        let request = self.request(Method::POST, &format!("/workflows/executions/{}/cancel", segment(execution)?));
        self.json(request.json(&body)).await
    }

    /// A run's events after the one with the id `after`, up to its end if `follow`, else those there are.
    pub async fn events(&self, execution: &str, after: &str, follow: bool) -> Result<EventStream> {
        let request = self
            .http
            .get(format!("{}/api/v1/workflows/executions/{}/events", self.origin, segment(execution)?))
            .header("Accept", "text/event-stream")
            .query(&[("after", after), ("follow", if follow { "true" } else { "false" }), ("ids", "all")]);
        let sent = self.authorised(request).send().await;
        Ok(EventStream::new(self.accept(sent).await?, after))
    }

    /// All keys of a tenant, or of the key's own, the youngest first, as the server says them.
    pub async fn keys(&self, tenant: Option<&str>) -> Result<Vec<ApiKey>> {
        self.json(self.request(Method::GET, &keys_of(tenant)?)).await
    }

    /// Makes a key of a tenant, or of the key's own. Its text is in this answer and nowhere else.
    pub async fn create_key(&self, tenant: Option<&str>, key: &NewKey<'_>) -> Result<ApiKey> {
        self.json(self.request(Method::POST, &keys_of(tenant)?).json(key)).await
    }

    /// All tenants.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        self.json(self.request(Method::GET, "/tenants")).await
    }

    /// A tenant.
    pub async fn tenant(&self, id: &str) -> Result<Tenant> {
        self.json(self.request(Method::GET, &format!("/tenants/{}", segment(id)?))).await
    }

    /// Makes a tenant.
    pub async fn create_tenant(&self, id: &str, name: Option<&str>) -> Result<Tenant> {
        let body = serde_json::json!({ "id": id, "name": name });
        self.json(self.request(Method::POST, "/tenants").json(&body)).await
    }

    /// Renames, closes or opens a tenant; what is absent stays.
    pub async fn change_tenant(&self, id: &str, name: Option<&str>, closed: Option<bool>) -> Result<Tenant> {
        let body = serde_json::json!({ "name": name, "closed": closed });
        self.json(self.request(Method::PATCH, &format!("/tenants/{}", segment(id)?)).json(&body)).await
    }

    /// Makes a key like this one, which works on for a while.
    pub async fn rotate_key(&self, id: &str, overlap_seconds: Option<u64>) -> Result<ApiKey> {
        let body = match overlap_seconds {
            Some(seconds) => serde_json::json!({ "overlapSeconds": seconds }),
            None => serde_json::json!({}),
        };
        self.json(self.request(Method::POST, &format!("/keys/{}/rotate", segment(id)?)).json(&body)).await
    }

    /// Ends a key, within a second.
    pub async fn revoke_key(&self, id: &str) -> Result<ApiKey> {
        self.json(self.request(Method::DELETE, &format!("/keys/{}", segment(id)?))).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorised(self.http.request(method, format!("{}/api/v1{path}", self.origin)).timeout(REQUEST_WAIT_MAX))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.read(request.send().await).await
    }

    async fn read<T: DeserializeOwned>(&self, sent: reqwest::Result<Response>) -> Result<T> {
        let response = self.accept(sent).await?;
        self.decode(response).await
    }

    async fn decode<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).context(Exit::Failed, format_args!("{} sent what cannot be read", self.origin))
    }

    /// The response, if it is a success.
    async fn accept(&self, sent: reqwest::Result<Response>) -> Result<Response> {
        let response = sent.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal::failure(response, self.key.is_some()).await)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::new(Exit::Timeout, format!("{} did not answer in time", self.origin))
                .with_next("try again, or look at the server's log");
        }
        let message = format!("cannot reach {}: {}", self.origin, chain(error));
        Failure::failed(message)
            .with_next(format!("start a server with `{} up`, or name one with --server URL", crate::ui::program()))
    }
}

fn keys_of(tenant: Option<&str>) -> Result<String> {
    tenant.map_or_else(|| Ok("/keys".to_owned()), |id| Ok(format!("/tenants/{}/keys", segment(id)?)))
}

/// An id as part of a path; what cannot be one is refused here, so that it names no other path.
fn segment(id: &str) -> Result<&str> {
    let fits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits { Ok(id) } else { Err(Failure::usage(format!("{id:?} is not an id"))) }
}

/// A name as part of a path, which may have any characters: what is more than a plain one is written as `%20`.
fn named(name: &str) -> Result<String> {
    if matches!(name, "" | "." | "..") {
        return Err(Failure::usage(format!("{name:?} is not a name")));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let written = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Ok(name.bytes().map(written).collect())
}

fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// The cursor inside `Link: <…?cursor=C…>; rel="next"`.
fn next_cursor(response: &Response) -> Option<String> {
    let link = response.headers().get("Link")?.to_str().ok()?;
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let query = next.split_once('?')?.1.split_once('>')?.0;
    query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).map(str::to_owned)
}

fn random_key() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context(Exit::Failed, "the system gave no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
