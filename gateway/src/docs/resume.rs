//! The operations of runs that go on from others. Bodies are read field by field, as in `requests.rs`.

#![allow(dead_code, reason = "of the types of bodies only their schemas are used")]

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::operation::{Operation, Shape};
use super::table::{OF_RUNS, RUNS, limited};
use crate::dto::resume::{Lineage, Plan, Resumed};
use crate::http::auth::{Execute, ReadExecutions};
use crate::limits::{DEADLINE_MS_MAX, PLAN_TOKEN_LENGTH_MAX};

type Object = Map<String, Value>;

/// Where to go on, and with what.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, extend("not" = two_starts()))]
struct Resume {
    /// Runs afresh, and with it what changes by it. Without it: what failed or never ran.
    #[schemars(length(min = 1))]
    from_node_id: Option<String>,
    /// Another name for `fromNodeId`.
    #[schemars(length(min = 1))]
    target_node_id: Option<String>,
    /// Runs up to and with this node only.
    #[schemars(length(min = 1))]
    to_node_id: Option<String>,
    /// New values, by node id, then by output port. Ports that are not named keep the parent's values.
    #[schemars(extend("additionalProperties" = values_by_port()))]
    outputs: Option<std::collections::BTreeMap<String, Object>>,
    /// Values by the id, label or key of an input node; the others keep the parent's.
    inputs: Option<Object>,
    graph: Option<GraphChoice>,
    /// `all`: also what lies downstream runs, whether its inputs changed or not. `changed` if it is left out.
    #[schemars(extend("enum" = ["changed", "all", null]))]
    downstream: Option<String>,
    /// Of `fromNodeId`: these items alone run, such as `[[17],[3,0]]`.
    #[schemars(length(min = 1), inner(length(min = 1, max = 9), inner(range(min = 0, max = u32::MAX))))]
    indices: Option<Vec<Vec<u32>>>,
    /// What failed in maps that went on without it.
    failed_items: Option<bool>,
    /// Starts nothing, and says what would run.
    plan: Option<bool>,
    /// Does exactly what this plan said, or nothing.
    #[schemars(length(min = 1, max = PLAN_TOKEN_LENGTH_MAX))]
    plan_token: Option<String>,
    /// Milliseconds for which the new run may be active; the workflow's policy may say less.
    #[schemars(range(min = 1, max = DEADLINE_MS_MAX))]
    deadline_ms: Option<u64>,
}

/// New values of a node; of one that is named at least one.
fn values_by_port() -> Value {
    json!({"type": "object", "minProperties": 1, "additionalProperties": true})
}

/// The node to go on from is named once.
fn two_starts() -> Value {
    let text = || json!({"type": "string"});
    json!({"required": ["fromNodeId", "targetNodeId"], "properties": {"fromNodeId": text(), "targetNodeId": text()}})
}

/// How to run it again.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Rerun {
    /// Values by the id, label or key of an input node; the others keep the parent's.
    inputs: Option<Object>,
    graph: Option<GraphChoice>,
    /// Starts nothing, and says what would run.
    plan: Option<bool>,
    /// Does exactly what this plan said, or nothing.
    #[schemars(length(min = 1, max = PLAN_TOKEN_LENGTH_MAX))]
    plan_token: Option<String>,
    /// Milliseconds for which the new run may be active; the workflow's policy may say less.
    #[schemars(range(min = 1, max = DEADLINE_MS_MAX))]
    deadline_ms: Option<u64>,
}

/// The graph of the new run: the parent's, the saved one, or this.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum GraphChoice {
    Word(GraphWord),
    Given(GivenGraph),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum GraphWord {
    Same,
    Current,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GivenGraph {
    #[schemars(length(min = 1))]
    nodes: Vec<Object>,
    edges: Vec<Object>,
    policy: Option<Object>,
}

pub(crate) fn resume() -> Operation {
    let example = json!({"fromNodeId": "publish", "outputs": {"draft": {"text": "a better text"}}, "plan": true});
    starts(Operation::of::<Execute>(
        RUNS,
        "Go on from a run that is over, in a new run that reuses what did not change",
    ))
    .body::<Resume>(example)
    .answers::<Resumed<'_>>(StatusCode::CREATED, Shape::Enveloped)
    .answers::<Plan<'_>>(StatusCode::OK, Shape::Enveloped)
    .leads_to("executionId", "id", OF_RUNS)
}

pub(crate) fn rerun() -> Operation {
    starts(Operation::of::<Execute>(RUNS, "Run again what a run has run, in a new run that reuses nothing"))
        .body::<Rerun>(json!({}))
        .answers::<Resumed<'_>>(StatusCode::CREATED, Shape::Enveloped)
        .answers::<Plan<'_>>(StatusCode::OK, Shape::Enveloped)
        .leads_to("executionId", "id", OF_RUNS)
}

pub(crate) fn lineage() -> Operation {
    let operation =
        Operation::of::<ReadExecutions>(RUNS, "List the family of a run: what it goes on from, and what from it");
    limited(operation, 50, "Runs in a page, of which 200 come at most.")
        .query("cursor", json!({"type": "string"}), "The next page: `nextCursor` of the one before.")
        .answers::<Lineage<'_>>(StatusCode::OK, Shape::Enveloped)
}

fn starts(operation: Operation) -> Operation {
    operation.idempotent().refuses(StatusCode::PAYMENT_REQUIRED)
}
