//! Runs: start, read, cancel.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use heddle_crash_point::crash_point;
use heddle_proto::control::{GetRunRequest, Run, SubmitReply, SubmitRequest};
use heddle_telemetry::{RunTrace, TraceParent};
use serde::{Deserialize, Serialize};

use super::artifacts::Origin;
use super::auth::{Caller, DescribeInputs, Execute, ReadExecutions, Scope};
use super::error::ApiError;
use super::input::{IdempotencyKey, JsonBody, Parameters, Segment};
use super::operate::deadline;
use super::query::{limit, number};
use super::reply;
use super::workflows::{GraphBody, graph, refuse_empty};
use crate::app::App;
use crate::artifacts::has_artifacts;
use crate::convert;
use crate::convert::cached::carried;
use crate::json::Slip;
use crate::layer::front::{TRACEPARENT, is_traceparent};
use crate::limits::{CONTROL_BODY_BYTES_MAX, NODES_PER_ANSWER_MAX, POLL_WAIT_MAX};

/// What `execute` takes.
const EXECUTE_FIELDS: &[&str] = &[
    "nodes",
    "edges",
    "policy",
    "inputs",
    "iteratorConfigs",
    "triggerData",
    "targetNodeId",
    "force",
    "only",
    "fromExecutionId",
    "deadlineMs",
];

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// What can be said about reading one run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadParameters {
    /// Seconds to wait for the run's end.
    wait: Option<String>,
    /// Never answer with an older state.
    min_seq: Option<String>,
    nodes_offset: Option<String>,
    nodes_limit: Option<String>,
}

/// `POST /workflows/{id}/execute`: runs the graph in the body, or the saved one; with `iteratorConfigs` once for each
/// combination of values.
pub(crate) async fn execute(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(id): Segment,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: GraphBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    let force = fields.flag("force")?.unwrap_or(false);
    let only = fields.flag("only")?.unwrap_or(false);
    let target_node_id = fields.id("targetNodeId")?.unwrap_or_default();
    let from_execution_id = fields.id("fromExecutionId")?.filter(|_| !force).unwrap_or_default();
    let graph = graph(&body, &fields)?;
    refuse_empty(graph.as_ref())?;
    // An empty list says that there is nothing to iterate over: one run.
    let iterators = fields.array("iteratorConfigs")?.filter(|_| fields.asks_for("iteratorConfigs"));
    let share = |part: Option<&[u8]>| part.map(|part| body.share(part)).unwrap_or_default();
    let request = SubmitRequest {
        inputs_json: share(fields.object("inputs")?),
        iterator_configs_json: share(iterators),
        trigger_data_json: share(fields.object("triggerData")?),
        deadline_ms: deadline(&fields)?,
        target_node_id,
        only,
        from_execution_id,
        carried: graph.as_ref().filter(|_| !force).map(|graph| carried(&graph.nodes)).unwrap_or_default(),
        force,
        graph,
        idempotency: key.of_request("POST /api/v1/workflows/{id}/execute", &[&id], body.text()),
        traceparent: traceparent(&headers),
        workflow_id: id,
        ..SubmitRequest::default()
    };
    let reply = submit(&app, &caller, request).await?;
    let slips = fields.slips(EXECUTE_FIELDS, ("", &[]));
    let response = noted(StatusCode::CREATED, &convert::submit::executed(&reply), &slips)?;
    started(response, &reply)
}

/// `POST /workflows/{id}/run`: runs the saved graph with these inputs.
pub(crate) async fn run(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(id): Segment,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    let request = SubmitRequest {
        inputs_json: fields.object("inputs")?.map(|inputs| body.share(inputs)).unwrap_or_default(),
        deadline_ms: deadline(&fields)?,
        idempotency: key.of_request("POST /api/v1/workflows/{id}/run", &[&id], body.text()),
        traceparent: traceparent(&headers),
        workflow_id: id,
        ..SubmitRequest::default()
    };
    let reply = submit(&app, &caller, request).await?;
    // It is always as fresh as `force` asks for.
    let slips = fields.slips(&["inputs", "force", "deadlineMs"], ("POST /workflows/{id}/execute", EXECUTE_FIELDS));
    let response = noted(StatusCode::ACCEPTED, &convert::submit::accepted(&reply), &slips)?;
    started(response, &reply)
}

/// `GET /workflows/{id}/run`: what the saved graph takes.
pub(crate) async fn describe(
    State(app): State<Arc<App>>,
    caller: Caller<DescribeInputs>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let inputs = app.coordinator.inputs(&caller, id).await?;
    reply::enveloped(StatusCode::OK, &convert::submit::inputs(&inputs)?)
}

/// `GET /workflows/executions/{id}/poll`: how a run stands, at once or when it is over.
pub(crate) async fn poll(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<ReadParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    let mut run = read(&app, &caller, asked(id, &parameters)?).await?;
    link(&app, &caller, &origin, std::slice::from_mut(&mut run)).await?;
    reply::enveloped(StatusCode::OK, &convert::run::poll(&run)?)
}

/// `GET /workflows/executions/{id}`: a run.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<ReadParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    // Whoever polls does not pay for it.
    let request = GetRunRequest { with_version: true, ..asked(id, &parameters)? };
    let mut run = read(&app, &caller, request).await?;
    link(&app, &caller, &origin, std::slice::from_mut(&mut run)).await?;
    reply::enveloped(StatusCode::OK, &convert::run::run(&run)?)
}

/// `POST /workflows/executions/{id}/cancel`: asks a run to stop, and answers how it stands.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(id): Segment,
    origin: Origin,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["reason"])?;
    let reason = fields.text("reason")?.unwrap_or_default();
    let mut run = app.coordinator.cancel(&caller, id, reason).await?;
    link(&app, &caller, &origin, std::slice::from_mut(&mut run)).await?;
    reply::enveloped(StatusCode::OK, &convert::run::run(&run)?)
}

/// Puts the addresses of artifacts and hooks into what runs show. Runs without any cost nothing.
pub(super) async fn link<S: Scope>(
    app: &App,
    caller: &Caller<S>,
    origin: &Origin,
    runs: &mut [Run],
) -> Result<(), ApiError> {
    for waiting in runs.iter_mut().flat_map(|run| &mut run.waiting_on) {
        // A coordinator that nobody told how clients reach it knows the path alone.
        if waiting.url.starts_with('/') {
            waiting.url.insert_str(0, &origin.0);
        }
    }
    if !runs.iter().any(has_artifacts) {
        return Ok(());
    }
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let linker = opened.linker(caller.tenant(), &origin.0);
    runs.iter_mut().for_each(|run| linker.link(run));
    Ok(())
}

async fn submit(app: &App, caller: &Caller<Execute>, request: SubmitRequest) -> Result<SubmitReply, ApiError> {
    crash_point!("gateway.authenticated");
    let reply = app.coordinator.submit(caller, request).await?;
    crash_point!("gateway.submitted");
    Ok(reply)
}

/// A resource, and beside it what may have been meant otherwise; what existing clients send is answered as ever.
fn noted(status: StatusCode, resource: &impl Serialize, slips: &[Slip]) -> Result<Response, ApiError> {
    match slips.is_empty() {
        true => reply::enveloped(status, resource),
        false => reply::enveloped_beside(status, resource, &convert::diagnosis::slips(slips)),
    }
}

pub(super) fn started(response: Response, reply: &SubmitReply) -> Result<Response, ApiError> {
    let response = reply::located(response, &format!("/api/v1/workflows/executions/{}", reply.execution_id))?;
    Ok(traced(reply::replayed(response, reply.replayed), reply))
}

/// Names the new run's own trace; a caller who sent one gets that back instead, at the front door.
fn traced(mut response: Response, reply: &SubmitReply) -> Response {
    let trace = RunTrace::new(&reply.execution_id, None);
    let own = TraceParent { trace: trace.id(), span: trace.run(), is_sampled: true };
    // Of an earlier request's run only its history knows the trace.
    if let Some(value) = HeaderValue::from_str(&own.to_string()).ok().filter(|_| !reply.replayed) {
        response.headers_mut().insert(TRACEPARENT, value);
    }
    response
}

/// What is asked of the coordinator.
fn asked(execution_id: String, parameters: &ReadParameters) -> Result<GetRunRequest, ApiError> {
    let wait = match parameters.wait.as_deref() {
        None => Some(0.0),
        Some(text) => text.parse::<f64>().ok().filter(|wait| !wait.is_nan()),
    };
    let wait = wait.and_then(|wait| Duration::try_from_secs_f64(wait.min(POLL_WAIT_MAX.as_secs_f64())).ok());
    let wait = wait.ok_or_else(|| ApiError::invalid_parameter("wait", "a number of seconds, 0 or more"))?;
    let most = NODES_PER_ANSWER_MAX;
    Ok(GetRunRequest {
        execution_id,
        wait_ms: wait.as_millis() as u32,
        min_seq: number("minSeq", parameters.min_seq.as_deref(), (0, u64::MAX))?.unwrap_or(0),
        nodes_offset: number("nodesOffset", parameters.nodes_offset.as_deref(), (0, u32::MAX))?.unwrap_or(0),
        nodes_limit: limit("nodesLimit", parameters.nodes_limit.as_deref(), most, most)?,
        ..GetRunRequest::default()
    })
}

async fn read(app: &App, caller: &Caller<ReadExecutions>, request: GetRunRequest) -> Result<Run, ApiError> {
    if request.wait_ms == 0 {
        return app.coordinator.run(caller, request).await;
    }
    let at_once = GetRunRequest { wait_ms: 0, ..request.clone() };
    tokio::select! {
        run = app.coordinator.run(caller, request) => run,
        // Nobody is kept waiting by a gateway that is about to go.
        () = app.stopping.cancelled() => app.coordinator.run(caller, at_once).await,
    }
}

/// The caller's trace, if it is one.
pub(super) fn traceparent(headers: &HeaderMap) -> String {
    let value = headers.get("traceparent").filter(|value| is_traceparent(value.as_bytes()));
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
