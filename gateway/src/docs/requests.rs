//! The schemas of request bodies. Nothing is read into these types: bodies are read field by field, so that graphs keep
//! every byte; the suite sends what these schemas allow and forbid, and compares.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::limits::{DEADLINE_MS_MAX, WORKFLOW_NAME_CHARS_MAX};

type Object = Map<String, Value>;

/// A workflow to save. Fields that are not named here are ignored; unknown keys of nodes and edges are kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("anyOf" = new_or_replaced()))]
pub(super) struct NewWorkflow {
    /// Of an existing workflow: replaces it.
    id: Option<String>,
    #[schemars(length(max = WORKFLOW_NAME_CHARS_MAX))]
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    nodes: Option<Vec<Object>>,
    edges: Option<Vec<Object>>,
    /// A policy for all nodes; it comes with nodes and edges.
    policy: Option<Object>,
}

/// A new workflow has a name and a graph.
fn new_or_replaced() -> Value {
    let is = |kind: &str| json!({"type": kind});
    let whole = json!({"name": is("string"), "nodes": is("array"), "edges": is("array")});
    let replaced = json!({"id": {"type": "string", "minLength": 1}});
    json!([
        {"required": ["name", "nodes", "edges"], "properties": whole},
        {"required": ["id"], "properties": replaced, "anyOf": whole_graph_or_none()},
    ])
}

/// What to change of a workflow; what is left out stays.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("anyOf" = whole_graph_or_none()))]
pub(super) struct ChangedWorkflow {
    #[schemars(length(max = WORKFLOW_NAME_CHARS_MAX))]
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    nodes: Option<Vec<Object>>,
    edges: Option<Vec<Object>>,
    /// A policy for all nodes; it comes with nodes and edges.
    policy: Option<Object>,
    /// Refuses with 409 if somebody has changed the workflow since.
    #[schemars(length(min = 20), extend("format" = "date-time"))]
    base_updated_at: Option<String>,
}

/// Changes of one node. Everything else of it changes with the whole workflow only.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, extend("anyOf" = some_change()))]
pub(super) struct NodePatch {
    /// Keys to set, and with null to remove.
    config: Option<Object>,
    /// Keys to set, and with null to remove; what `config` says is set here, too.
    params: Option<Object>,
    label: Option<String>,
    position: Option<Position>,
    /// Refuses with 409 if somebody has changed the workflow since.
    #[schemars(length(min = 20), extend("format" = "date-time"))]
    base_updated_at: Option<String>,
}

/// Where a node lies.
#[derive(JsonSchema)]
pub(super) struct Position {
    x: f64,
    y: f64,
}

/// A patch says something.
fn some_change() -> Value {
    let said = |name: &str, kind: &str| json!({"required": [name], "properties": {name: {"type": kind}}});
    json!([said("config", "object"), said("params", "object"), said("label", "string"), said("position", "object")])
}

/// How a version is restored.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Restore {
    /// Refuses with 409 if somebody has changed the workflow since.
    #[schemars(length(min = 20), extend("format" = "date-time"))]
    base_updated_at: Option<String>,
}

/// How a workflow is copied.
#[derive(JsonSchema)]
pub(super) struct Duplicate {
    /// That of the original with ` (copy)` if it is left out.
    #[schemars(length(max = WORKFLOW_NAME_CHARS_MAX))]
    name: Option<String>,
}

/// How nodes are laid out.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct LayOut {
    /// Pixels between two columns.
    #[schemars(range(min = 0, max = 10_000))]
    gap_x: Option<f64>,
    /// Pixels between two nodes of a column.
    #[schemars(range(min = 0, max = 10_000))]
    gap_y: Option<f64>,
    /// `all`, or the ids of the nodes that may move.
    scope: Option<Scope>,
}

/// Which nodes may move.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Scope {
    Word(AllNodes),
    Nodes(Vec<String>),
}

/// All of them.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) enum AllNodes {
    All,
}

/// A graph to check, whatever it is made of.
#[derive(JsonSchema)]
pub(super) struct GraphToCheck {
    nodes: Vec<Value>,
    edges: Vec<Value>,
    /// A policy for all nodes.
    policy: Option<Object>,
}

/// Nodes and edges come together.
fn whole_graph_or_none() -> Value {
    let both = |kind: &str| json!({"properties": {"nodes": {"type": kind}, "edges": {"type": kind}}});
    let (mut whole, mut none) = (both("array"), both("null"));
    whole["required"] = json!(["nodes", "edges"]);
    none["properties"]["policy"] = json!({"type": "null"});
    json!([whole, none])
}

/// What to run: a graph, or the saved one if there is none.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("anyOf" = whole_graph_or_none()))]
pub(super) struct Execute {
    nodes: Option<Vec<Object>>,
    edges: Option<Vec<Object>>,
    /// A policy for all nodes; it comes with nodes and edges.
    policy: Option<Object>,
    /// Values by the id, label or key of an input node.
    inputs: Option<Object>,
    /// Runs up to and with this node only.
    #[schemars(length(min = 1))]
    target_node_id: Option<String>,
    trigger_data: Option<Object>,
    /// One run for each combination of these values.
    iterator_configs: Option<Vec<IteratorConfig>>,
    /// Runs `targetNodeId` alone, on results that are reused.
    only: Option<bool>,
    /// Reuses what this run of the workflow made, where nothing has changed.
    #[schemars(length(min = 1))]
    from_execution_id: Option<String>,
    /// Reuses nothing, whatever the nodes carry.
    force: Option<bool>,
    /// Milliseconds for which the run may be active; the workflow's policy may say less.
    #[schemars(range(min = 1, max = DEADLINE_MS_MAX))]
    deadline_ms: Option<u64>,
}

/// Values of one input node, one for each run.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct IteratorConfig {
    /// The id of an input node that runs.
    node_id: String,
    /// `items`, `inputs` and `data` are other names for it.
    values: Vec<Value>,
    /// `zip` goes along with the other lists that are zipped; `product` combines with all others. `zip` if it is left out.
    #[schemars(extend("enum" = ["zip", "product", null]))]
    mode: Option<String>,
}

/// Values for a run of the saved graph.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct RunInputs {
    /// By the id, label or key of an input node.
    inputs: Option<Object>,
    /// Milliseconds for which the run may be active; the workflow's policy may say less.
    #[schemars(range(min = 1, max = DEADLINE_MS_MAX))]
    deadline_ms: Option<u64>,
}

/// Why a run is to stop.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Cancel {
    reason: Option<String>,
}

/// Why something is to stand still.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Pause {
    #[schemars(length(max = 1_024))]
    reason: Option<String>,
}

/// Nothing is said with it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Unpause {}

/// What is decided at a review.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = each_with_its_own()))]
pub(super) struct Decision {
    #[schemars(extend("enum" = ["approve", "reject", "retry"]))]
    decision: String,
    /// With approve: the value as edited, or an object of the ports that were.
    data: Option<Value>,
    /// With retry: keys of the node's config to change.
    config: Option<Object>,
    comment: Option<String>,
    /// Refuses with 409 if the review has another one by now.
    #[schemars(range(min = 0))]
    revision: Option<u64>,
}

/// Edits come with approvals, and another config with another try.
fn each_with_its_own() -> Value {
    let without = |decision: &str, fields: &[&str]| {
        let mut properties = json!({"decision": {"const": decision}});
        fields.iter().for_each(|field| properties[*field] = json!({"type": "null"}));
        json!({"properties": properties})
    };
    json!([without("approve", &["config"]), without("reject", &["data", "config"]), without("retry", &["data"])])
}

/// A key to make.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewKey {
    /// Who will hold it; without it the caller.
    subject: Option<String>,
    scopes: Vec<String>,
    /// RFC 3339.
    #[schemars(length(min = 20), extend("format" = "date-time"))]
    expires_at: Option<String>,
}

/// How a key is replaced.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RotateKey {
    /// How long the old key works on; a day if it is left out.
    #[schemars(range(min = 0, max = 2_592_000))]
    overlap_seconds: Option<u64>,
}

/// A join token to make.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewJoinToken {
    /// An agent if it is left out.
    #[schemars(extend("enum" = ["agent", "gateway", null]))]
    r#for: Option<String>,
    /// How long it can be used; an hour if it is left out.
    #[schemars(range(min = 1, max = 2_592_000))]
    ttl_seconds: Option<u64>,
}

/// A tenant to make.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct NewTenant {
    /// Lower-case letters, digits and hyphens.
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,62}$"))]
    id: String,
    name: Option<String>,
}

/// What to change of a tenant.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ChangedTenant {
    name: Option<String>,
    /// True: its keys do not work any more, until it is opened again.
    closed: Option<bool>,
}

/// A file to fetch from where it is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct FileToFetch {
    /// `https`, on the public internet.
    url: String,
    /// Its last segment if this is left out.
    filename: Option<String>,
}

/// A file that will be put under an address of its own.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileToPut {
    #[schemars(range(min = 0, max = 2_147_483_648_u64))]
    bytes: u64,
    filename: String,
    /// What it is, such as `video/mp4`; nobody knows if it is left out.
    #[schemars(regex(pattern = "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;.*)?$"))]
    content_type: Option<String>,
}

/// A file that was put.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileThatWasPut {
    media_id: String,
    filename: Option<String>,
}
