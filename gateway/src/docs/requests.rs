//! The schemas of request bodies. Nothing is read into these types: bodies are read field by field, so that graphs keep
//! every byte; the suite sends what these schemas allow and forbid, and compares.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// A workflow to save. Fields that are not named here are ignored; unknown keys of nodes and edges are kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct NewWorkflow {
    /// Of an existing workflow: replaces it.
    id: Option<String>,
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    nodes: Option<Vec<Object>>,
    edges: Option<Vec<Object>>,
}

/// What to change of a workflow; what is left out stays.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct ChangedWorkflow {
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    nodes: Option<Vec<Object>>,
    edges: Option<Vec<Object>>,
    /// Refuses with 409 if somebody has changed the workflow since.
    base_updated_at: Option<String>,
}

/// A graph to check.
#[derive(JsonSchema)]
pub(super) struct GraphToCheck {
    nodes: Vec<Object>,
    edges: Vec<Object>,
}

/// What to run: a graph, or the saved one if there is none.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct Execute {
    nodes: Option<Vec<Object>>,
    edges: Option<Vec<Object>>,
    /// Values by the id, label or key of an input node.
    inputs: Option<Object>,
    /// Runs up to and with this node only.
    target_node_id: Option<String>,
    trigger_data: Option<Object>,
    force: Option<bool>,
}

/// Values for a run of the saved graph.
#[derive(JsonSchema)]
pub(super) struct RunInputs {
    /// By the id, label or key of an input node.
    inputs: Option<Object>,
}

/// Why a run is to stop.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Cancel {
    reason: Option<String>,
}

/// A key to make.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewKey {
    /// Who will hold it; without it the caller.
    subject: Option<String>,
    scopes: Vec<String>,
    /// RFC 3339.
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
    /// `agent`, or `gateway`; an agent if it is left out.
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
    /// What it is; nobody knows if it is left out.
    content_type: Option<String>,
}

/// A file that was put.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileThatWasPut {
    media_id: String,
    filename: Option<String>,
}
