//! `debug:job`: begins a job at the sandbox provider, and asks for it until it is done. For tests of pollable work.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::Networks;
use super::call::{self, Request};
use super::fault::{self, Repeat};
use super::http_request::message_of;
use crate::limits::{DEBUG_SLEEP_MS_MAX, HTTP_RESPONSE_BYTES_MAX, HTTP_TIMEOUT};
use crate::runners::config::config;
use crate::runners::native::{output, refused};
use crate::runners::{
    Context, EffectClass, ErrorClass, Failure, JobEnd, Manifest, Output, Port, PortType, Runner, Work,
};

/// How often a job is asked for.
const POLL_PERIOD: Duration = Duration::from_millis(100);

/// Runs jobs at the sandbox provider.
pub(in crate::runners) struct Job(pub(in crate::runners) Networks);

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    ms: u64,
    credential: Option<String>,
}

/// A job, as the provider tells it.
#[derive(Deserialize)]
struct Told {
    id: String,
    state: State,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Running,
    Finished,
    Cancelled,
}

impl Runner for Job {
    fn manifest(&self) -> Manifest {
        let properties = json!({
            "ms": {"type": "integer", "minimum": 0, "maximum": DEBUG_SLEEP_MS_MAX, "default": 0, "description": "How long the job takes."},
            "credential": {"type": "string", "description": "Whose script the sandbox follows."},
        });
        let summary = "Begins a job at the sandbox provider and asks for it until it is done; gives its id.";
        Manifest { effect: EffectClass::Pollable, cancels_jobs: true, ..Manifest::pure("debug:job", "Job", summary) }
            .ports([Port::new("in", PortType::Any).list()], [Port::new("out", PortType::Text)])
            .config(&[], properties)
    }

    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        let net = self.0.clone();
        async move {
            let id = match work.handle.is_empty() {
                true => {
                    let begun = ask(&net, &work, Method::POST, "").await?;
                    context.handle(json!(begun.id).to_string().into())?;
                    begun.id
                }
                false => handle(&work)?,
            };
            loop {
                match ask(&net, &work, Method::GET, &id).await?.state {
                    State::Running => tokio::time::sleep(POLL_PERIOD).await,
                    State::Finished => return Ok(vec![output("out", id)]),
                    State::Cancelled => {
                        let message = format!("the job {id} was cancelled at its provider; run the node again");
                        return Err(Failure::new(ErrorClass::Cancelled, "job_cancelled", message));
                    }
                }
            }
        }
        .boxed()
    }

    fn cancel_job(&self, work: Work) -> BoxFuture<'static, Result<JobEnd, Failure>> {
        let net = self.0.clone();
        async move {
            match ask(&net, &work, Method::DELETE, &handle(&work)?).await?.state {
                State::Cancelled => Ok(JobEnd::Cancelled),
                State::Finished => Ok(JobEnd::Over),
                State::Running => Err(Failure::new(
                    ErrorClass::Retryable,
                    "job_runs",
                    "the provider lets the job run; cancel it again",
                )),
            }
        }
        .boxed()
    }
}

fn handle(work: &Work) -> Result<String, Failure> {
    serde_json::from_slice(&work.handle)
        .map_err(|_| refused("handle_invalid", "the handle is not a job's id; run it again"))
}

async fn ask(net: &Networks, work: &Work, method: Method, id: &str) -> Result<Told, Failure> {
    let Config { ms, credential } = config(work)?;
    let net = net.sandbox.as_ref().or(net.real.as_ref()).ok_or_else(|| {
        refused("sandbox_unavailable", "debug:job asks the sandbox provider; start this agent with --sandbox-address")
    })?;
    let path = if id.is_empty() { String::new() } else { format!("/{id}") };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(key) = HeaderValue::from_str(&work.idempotency_key) {
        headers.insert("idempotency-key", key);
    }
    let body = (method == Method::POST).then(|| Bytes::from(json!({ "ms": ms }).to_string()));
    // A key makes one job of two requests.
    let repeat = Repeat::Harmless;
    let request = Request {
        url: call::url(&format!("{}/jobs{path}", net.base_url("http://sandbox.invalid/v1")))?,
        method,
        headers,
        body,
        timeout: HTTP_TIMEOUT,
        repeat,
        credential: net.credential(credential.as_deref())?,
    };
    let response = net.send(request).await?;
    let (status, headers, host) = (response.status(), response.headers().clone(), call::host(response.url()));
    let body = call::body(response, HTTP_RESPONSE_BYTES_MAX, repeat).await?;
    if !status.is_success() {
        let said = message_of(&String::from_utf8_lossy(&body));
        return Err(fault::refused(status, &headers, said, &host, repeat, None));
    }
    serde_json::from_slice(&body).map_err(|error| {
        let message = format!(
            "{host} answers with what is no job ({error}) at status {}; try again",
            StatusCode::as_u16(&status)
        );
        Failure::new(ErrorClass::Retryable, "answer_invalid", message)
    })
}
