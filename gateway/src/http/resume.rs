//! Runs that go on from others: resume, rerun, what either would do, and the family.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use heddle_proto::control::{GraphJson, LineageRequest, NodeIndex, ResumeGraph, ResumeRequest};
use serde::Deserialize;

use super::auth::{Caller, Execute, ReadExecutions};
use super::error::ApiError;
use super::input::{IdempotencyKey, Parameters, Segment};
use super::operate::deadline;
use super::query::limit;
use super::reply;
use super::runs::{started, traceparent};
use super::workflows::{GraphBody, refuse_empty};
use crate::app::App;
use crate::convert;
use crate::json::Fields;
use crate::limits::{
    INDEX_NUMBERS_MAX, LINEAGE_LIMIT_DEFAULT, LINEAGE_LIMIT_MAX, PLAN_TOKEN_LENGTH_MAX, RESUME_INDICES_MAX,
};

const RESUME_FIELDS: [&str; 12] = [
    "fromNodeId",
    "targetNodeId",
    "toNodeId",
    "outputs",
    "inputs",
    "graph",
    "downstream",
    "indices",
    "failedItems",
    "plan",
    "planToken",
    "deadlineMs",
];
const RERUN_FIELDS: [&str; 5] = ["inputs", "graph", "plan", "planToken", "deadlineMs"];
const GRAPH_FIELDS: [&str; 3] = ["nodes", "edges", "policy"];

#[derive(Deserialize)]
pub(crate) struct LineageParameters {
    limit: Option<String>,
    cursor: Option<String>,
}

/// `POST /workflows/executions/{id}/resume`: a new run that goes on from this one, or what it would do.
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(id): Segment,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: GraphBody,
) -> Result<Response, ApiError> {
    go_on(&app, &caller, Way::Resume, Asked { id, key, headers, body }).await
}

/// `POST /workflows/executions/{id}/rerun`: a new run that reuses nothing of this one.
pub(crate) async fn rerun(
    State(app): State<Arc<App>>,
    caller: Caller<Execute>,
    Segment(id): Segment,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: GraphBody,
) -> Result<Response, ApiError> {
    go_on(&app, &caller, Way::Rerun, Asked { id, key, headers, body }).await
}

/// `GET /workflows/executions/{id}/lineage`: the family of a run.
pub(crate) async fn lineage(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<LineageParameters>,
) -> Result<Response, ApiError> {
    let path = format!("/api/v1/workflows/executions/{}/lineage", reply::encoded(&id));
    let request = LineageRequest {
        execution_id: id,
        limit: limit("limit", parameters.limit.as_deref(), LINEAGE_LIMIT_DEFAULT, LINEAGE_LIMIT_MAX)?,
        cursor: parameters.cursor.unwrap_or_default(),
        ..LineageRequest::default()
    };
    let lineage = app.coordinator.lineage(&caller, request).await?;
    let response = reply::enveloped(StatusCode::OK, &convert::resume::lineage(&lineage)?)?;
    reply::next_page(response, &path, &lineage.next_cursor, &[("limit", parameters.limit.as_deref())])
}

/// How a run goes on from another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Resume,
    Rerun,
}

impl Way {
    /// What the body may have; nothing else is there to be read.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Way::Resume => &RESUME_FIELDS,
            Way::Rerun => &RERUN_FIELDS,
        }
    }

    fn route(self) -> &'static str {
        match self {
            Way::Resume => "POST /api/v1/workflows/executions/{id}/resume",
            Way::Rerun => "POST /api/v1/workflows/executions/{id}/rerun",
        }
    }
}

/// A request as it came.
struct Asked {
    id: String,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: GraphBody,
}

async fn go_on(app: &App, caller: &Caller<Execute>, way: Way, asked: Asked) -> Result<Response, ApiError> {
    let Asked { id, key, headers, body } = asked;
    let fields = body.fields()?;
    fields.refuse_unknown(way.fields())?;
    let is_plan = fields.flag("plan")?.unwrap_or(false);
    let request = ResumeRequest {
        idempotency: key.of_request(way.route(), &[&id], body.text()),
        traceparent: traceparent(&headers),
        execution_id: id,
        ..read(way, &body, &fields)?
    };
    if is_plan {
        let request = ResumeRequest { idempotency: None, plan_token: String::new(), ..request };
        let plan = app.coordinator.plan_resume(caller, request).await?;
        return reply::enveloped(StatusCode::OK, &convert::resume::plan(&plan)?);
    }
    let reply = app.coordinator.resume(caller, request).await?;
    let response = reply::enveloped(StatusCode::CREATED, &convert::resume::resumed(&reply)?)?;
    started(response, &reply.run.unwrap_or_default())
}

fn read(way: Way, body: &GraphBody, fields: &Fields<'_>) -> Result<ResumeRequest, ApiError> {
    let (graph_choice, graph) = graph(body, fields)?;
    let request = ResumeRequest {
        rerun: way == Way::Rerun,
        from_node_id: from_node(fields)?,
        to_node_id: fields.id("toNodeId")?.unwrap_or_default(),
        outputs_json: edits(body, fields)?,
        inputs_json: fields.object("inputs")?.map(|inputs| body.share(inputs)).unwrap_or_default(),
        graph_choice: graph_choice.into(),
        graph,
        downstream_all: downstream_all(fields)?,
        indices: indices(fields)?,
        failed_items: fields.flag("failedItems")?.unwrap_or(false),
        plan_token: fields.id("planToken")?.unwrap_or_default(),
        deadline_ms: deadline(fields)?,
        ..ResumeRequest::default()
    };
    if request.plan_token.len() > PLAN_TOKEN_LENGTH_MAX {
        return Err(ApiError::invalid_field("planToken", "one that a plan gave"));
    }
    if !request.indices.is_empty() && request.from_node_id.is_empty() {
        let message = "indices are of items of a node: name it as fromNodeId";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_indices", message));
    }
    Ok(request)
}

/// The vendor's guide calls the node to go on from the target.
fn from_node(fields: &Fields<'_>) -> Result<String, ApiError> {
    match (fields.id("fromNodeId")?, fields.id("targetNodeId")?) {
        (Some(_), Some(_)) => Err(ApiError::invalid_field(
            "targetNodeId",
            "left out, since it is another name for fromNodeId, which is given",
        )),
        (from, target) => Ok(from.or(target).unwrap_or_default()),
    }
}

/// Values by node, then by output port. What they may be is the graph's to say.
fn edits(body: &GraphBody, fields: &Fields<'_>) -> Result<Bytes, ApiError> {
    let Some(outputs) = fields.object("outputs")? else { return Ok(Bytes::new()) };
    for (node, ports) in Fields::parse(outputs)?.members() {
        if !ports.get().starts_with('{') {
            let expected = "an object for each node: its new values by output port";
            return Err(ApiError::invalid_field("outputs", expected).below(node));
        }
        if Fields::parse(ports.get().as_bytes())?.members().next().is_none() {
            return Err(ApiError::empty_field("outputs").below(node));
        }
    }
    Ok(body.share(outputs))
}

fn downstream_all(fields: &Fields<'_>) -> Result<bool, ApiError> {
    match fields.text("downstream")?.as_deref() {
        None | Some("changed") => Ok(false),
        Some("all") => Ok(true),
        Some(_) => Err(ApiError::invalid_field("downstream", "changed or all")),
    }
}

fn indices(fields: &Fields<'_>) -> Result<Vec<NodeIndex>, ApiError> {
    let Some(text) = fields.array("indices")? else { return Ok(Vec::new()) };
    let refused = || {
        let most = INDEX_NUMBERS_MAX;
        let expected = format!(
            "at most {RESUME_INDICES_MAX} indices, each a list of 1 to {most} item numbers counted from 0, as [[17],[3,0]]"
        );
        ApiError::invalid_field("indices", &expected)
    };
    // 17.0 is a whole number, too.
    let numbers: Vec<Vec<f64>> = serde_json::from_slice(text).map_err(|_| refused())?;
    let whole = |number: f64| {
        let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        is_whole.then_some(number as u32)
    };
    if numbers.is_empty() {
        return Err(ApiError::empty_field("indices"));
    }
    let read = |index: Vec<f64>| index.into_iter().map(whole).collect::<Option<Vec<u32>>>();
    let indices: Vec<Vec<u32>> = numbers.into_iter().map(read).collect::<Option<_>>().ok_or_else(refused)?;
    let is_good = indices.len() <= RESUME_INDICES_MAX
        && indices.iter().all(|index| (1..=INDEX_NUMBERS_MAX).contains(&index.len()));
    if !is_good {
        return Err(refused());
    }
    Ok(indices.into_iter().map(|index| NodeIndex { index }).collect())
}

/// Which graph the child runs.
fn graph(body: &GraphBody, fields: &Fields<'_>) -> Result<(ResumeGraph, Option<GraphJson>), ApiError> {
    let refused = || ApiError::invalid_field("graph", "same, current, or an object with nodes and edges");
    let Some(value) = fields.value("graph") else { return Ok((ResumeGraph::Same, None)) };
    match value.get() {
        r#""same""# => Ok((ResumeGraph::Same, None)),
        r#""current""# => Ok((ResumeGraph::Current, None)),
        text if text.starts_with('{') => {
            let within = |error: ApiError| error.within("graph");
            let given = Fields::parse(text.as_bytes())?;
            given.refuse_unknown(&GRAPH_FIELDS).map_err(within)?;
            let graph = super::workflows::graph(body, &given).map_err(within)?.ok_or_else(refused)?;
            refuse_empty(Some(&graph))?;
            Ok((ResumeGraph::Given, Some(graph)))
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_another_name_for_the_node_to_go_on_from() {
        let from = |body: &str| from_node(&Fields::parse(body.as_bytes()).unwrap());
        assert_eq!(from(r#"{"targetNodeId":"a"}"#).unwrap(), "a");
        assert_eq!(from(r#"{"fromNodeId":"a","targetNodeId":null}"#).unwrap(), "a");
        assert_eq!(from("{}").unwrap(), "");
        assert!(from(r#"{"fromNodeId":"a","targetNodeId":"b"}"#).is_err());
    }

    #[test]
    fn indices_are_lists_of_numbers() {
        let read = |text: &str| {
            let body = format!(r#"{{"indices":{text}}}"#);
            let read = indices(&Fields::parse(body.as_bytes()).unwrap());
            read.map(|all| all.into_iter().map(|one| one.index).collect::<Vec<_>>())
        };
        assert_eq!(read("[[17],[3,0]]").unwrap(), vec![vec![17], vec![3, 0]]);
        assert_eq!(read("null").unwrap(), Vec::<Vec<u32>>::new());
        for wrong in ["[]", "[17]", "[[]]", "[[-1]]", "[[1.5]]", "[[\"1\"]]", "[[0,0,0,0,0,0,0,0,0,0]]", "{}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!("[{}[0]]", "[0],".repeat(RESUME_INDICES_MAX))).is_err());
    }
}
