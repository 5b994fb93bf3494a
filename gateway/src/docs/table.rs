//! The operations of all routes, by resource. The router names them; see `http/router.rs`.

use axum::http::StatusCode;
use serde_json::json;

use super::operation::{FileBody, Operation, Shape};
use super::requests;
use crate::dto::agent::{Agent, DrainedAgent, JoinToken};
use crate::dto::batch::Batch;
use crate::dto::diagnosis::Diagnosis;
use crate::dto::edit::{Copied, Layout, PatchedNode};
use crate::dto::explain::Explanation;
use crate::dto::key::ApiKey;
use crate::dto::media::{Address, Media, MediaPage};
use crate::dto::node::NodeDetail;
use crate::dto::node_type::{Catalogue, NodeType};
use crate::dto::review::{Review, ReviewHead};
use crate::dto::run::{Poll, Run};
use crate::dto::submit::{Accepted, Executed, Inputs};
use crate::dto::tenant::Tenant;
use crate::dto::trace::{OtlpTrace, Trace};
use crate::dto::version::{Version, VersionDifference, VersionWithGraph};
use crate::dto::workflow::{Deleted, Workflow, WorkflowWithGraph};
use crate::http::auth::{
    Administer, DecideReviews, DescribeInputs, Execute, Operate, ReadArtifacts, ReadExecutions, ReadReviews,
    ReadWorkflows, WriteWorkflows,
};
use crate::http::health::{Alive, Ready};

const WORKFLOWS: &str = "Workflows";
pub(super) const RUNS: &str = "Runs";
const REVIEWS: &str = "Reviews";
const FILES: &str = "Files";
const NODES: &str = "Node types";
pub(super) const CLUSTER: &str = "Cluster";
const KEYS: &str = "Keys and tenants";
const ABOUT: &str = "About";

pub(super) const OK: StatusCode = StatusCode::OK;
const CREATED: StatusCode = StatusCode::CREATED;

/// Operations on a workflow that is there.
const OF_WORKFLOWS: &[&str] = &[
    "getWorkflowsById",
    "putWorkflowsById",
    "deleteWorkflowsById",
    "postWorkflowsByIdExecute",
    "postWorkflowsByIdRun",
    "getWorkflowsByIdExecutions",
    "getWorkflowsByIdVersions",
    "postWorkflowsByIdDuplicate",
    "postWorkflowsByIdLayout",
    "getWorkflowsByIdStats",
    "getWorkflowsByIdAlerts",
    "postWorkflowsByIdAlerts",
];
/// Operations on a run that is there.
pub(super) const OF_RUNS: &[&str] = &[
    "getWorkflowsExecutionsById",
    "getWorkflowsExecutionsByIdPoll",
    "getWorkflowsExecutionsByIdEvents",
    "getWorkflowsExecutionsByIdNodesByNodeId",
    "getWorkflowsExecutionsByIdTrace",
    "getWorkflowsExecutionsByIdExplain",
    "getWorkflowsExecutionsByIdLineage",
    "postWorkflowsExecutionsByIdCancel",
    "postWorkflowsExecutionsByIdSignalsByName",
    "postWorkflowsExecutionsByIdPause",
    "postWorkflowsExecutionsByIdUnpause",
];

/// A graph that runs anywhere.
fn graph() -> serde_json::Value {
    json!({
        "nodes": [
            {"id": "topic", "data": {"nodeType": "input:text", "config": {"text": "tides"}}},
            {"id": "shown", "data": {"nodeType": "output:preview"}},
        ],
        "edges": [{"id": "e1", "source": "topic", "target": "shown"}],
    })
}

fn with_name(mut graph: serde_json::Value) -> serde_json::Value {
    graph["name"] = json!("Postcard");
    graph
}

fn strict(operation: Operation) -> Operation {
    let says = "false: saves a graph in spite of what is wrong with it.";
    operation.query("strict", json!({"type": "boolean", "default": true}), says)
}

pub(crate) fn list_workflows() -> Operation {
    let list = Operation::of::<ReadWorkflows>(WORKFLOWS, "List workflows, the newest change first").query(
        "isActive",
        json!({"type": "boolean"}),
        "Only those that may run, or only those that may not.",
    );
    limited(list, 1_000, "Workflows in a page, of which 1000 come at most.")
        .query("cursor", json!({"type": "string"}), "The next page: what the Link header names.")
        .answers::<Workflow<'_>>(OK, Shape::List)
}

pub(crate) fn create_workflow() -> Operation {
    strict(Operation::of::<WriteWorkflows>(WORKFLOWS, "Save a new workflow, or replace the one that `id` names"))
        .idempotent()
        .body::<requests::NewWorkflow>(with_name(graph()))
        .answers::<Workflow<'_>>(CREATED, Shape::Enveloped)
        .answers::<Workflow<'_>>(OK, Shape::Enveloped)
        .leads_to("id", "id", OF_WORKFLOWS)
        .refuses(StatusCode::NOT_FOUND)
}

pub(crate) fn get_workflow() -> Operation {
    Operation::of::<ReadWorkflows>(
        WORKFLOWS,
        "Get a workflow with its graph as it was saved, the size of each node, and what its nodes gave last",
    )
    .answers::<WorkflowWithGraph<'_>>(OK, Shape::Bare)
}

pub(crate) fn replace_workflow() -> Operation {
    strict(Operation::of::<WriteWorkflows>(WORKFLOWS, "Change a workflow; what the body leaves out stays"))
        .body::<requests::ChangedWorkflow>(with_name(graph()))
        .answers::<Workflow<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn delete_workflow() -> Operation {
    Operation::of::<WriteWorkflows>(WORKFLOWS, "Delete a workflow; its runs stay")
        .answers::<Deleted<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn lint() -> Operation {
    Operation::of::<ReadWorkflows>(WORKFLOWS, "Check a graph and list everything that is wrong with it")
        .body::<requests::GraphToCheck>(graph())
        .answers::<Diagnosis<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn list_versions() -> Operation {
    let list = Operation::of::<ReadWorkflows>(WORKFLOWS, "List the versions of a workflow, the newest first");
    limited(list, 50, "Versions in a page, of which 200 come at most.")
        .query("cursor", json!({"type": "string"}), "The next page: what the Link header names.")
        .answers::<Version<'_>>(OK, Shape::List)
}

pub(crate) fn get_version() -> Operation {
    Operation::of::<ReadWorkflows>(WORKFLOWS, "Get a version with its graph, byte for byte as it was saved")
        .answers::<VersionWithGraph<'_>>(OK, Shape::Bare)
}

pub(crate) fn restore_version() -> Operation {
    let says = "Make the graph of a version the newest one again; it becomes a version of its own";
    Operation::of::<WriteWorkflows>(WORKFLOWS, says)
        .idempotent()
        .body::<requests::Restore>(json!({}))
        .answers::<Workflow<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn compare_versions() -> Operation {
    let number = json!({"type": "integer", "minimum": 1, "maximum": u64::MAX});
    Operation::of::<ReadWorkflows>(WORKFLOWS, "Say what differs between two versions, node by node")
        .query("from", number.clone(), "The older version; the one before `to` if it is left out.")
        .query("to", number, "The newer version; the newest of all if it is left out.")
        .answers::<VersionDifference<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn patch_node() -> Operation {
    let says = "Change config, params, label or position of one node; the graph may be half finished";
    Operation::of::<WriteWorkflows>(WORKFLOWS, says)
        .body::<requests::NodePatch>(json!({"label": "Topic", "config": {"text": "herons", "placeholder": null}}))
        .answers::<PatchedNode<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn duplicate_workflow() -> Operation {
    Operation::of::<WriteWorkflows>(WORKFLOWS, "Make a workflow of its own with the same graph")
        .idempotent()
        .body::<requests::Duplicate>(json!({"name": "Postcard, shorter"}))
        .answers::<Copied<'_>>(CREATED, Shape::Enveloped)
        .leads_to("id", "id", OF_WORKFLOWS)
}

pub(crate) fn lay_out() -> Operation {
    Operation::of::<WriteWorkflows>(WORKFLOWS, "Put nodes in columns, from left to right; only positions change")
        .body::<requests::LayOut>(json!({"gapX": 120, "scope": "all"}))
        .answers::<Layout<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn execute() -> Operation {
    Operation::of::<Execute>(RUNS, "Run the graph in the body, or the saved one, or a part of it")
        .idempotent()
        .body::<requests::Execute>(json!({"inputs": {"topic": "herons"}}))
        .answers::<Executed<'_>>(CREATED, Shape::Enveloped)
        .leads_to("executionId", "id", OF_RUNS)
        .leads_to("batchId", "id", &["getBatchesById", "postBatchesByIdCancel"])
        .refuses(StatusCode::PAYMENT_REQUIRED)
}

pub(crate) fn get_batch() -> Operation {
    let says = "Runs in a page, of which 200 come at most; fewer if they gave much.";
    let batch =
        Operation::of::<ReadExecutions>(RUNS, "Get a batch of runs, and a page of its runs with what they gave");
    limited(batch, 50, says)
        .query("offset", count(u32::MAX), "The index of the first run to show.")
        .query("outputs", json!({"type": "boolean", "default": true}), "false: without what the runs gave.")
        .answers::<Batch<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::NOT_FOUND)
}

pub(crate) fn cancel_batch() -> Operation {
    Operation::of::<Execute>(RUNS, "Stop a batch: no more of its runs start, and those that go on are stopped")
        .body::<requests::Cancel>(json!({"reason": "not needed any more"}))
        .answers::<Batch<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::NOT_FOUND)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn run() -> Operation {
    Operation::of::<Execute>(RUNS, "Run the saved graph with these inputs")
        .idempotent()
        .body::<requests::RunInputs>(json!({"inputs": {"topic": "herons"}}))
        .answers::<Accepted<'_>>(StatusCode::ACCEPTED, Shape::Enveloped)
        .leads_to("executionId", "id", OF_RUNS)
        .refuses(StatusCode::PAYMENT_REQUIRED)
}

pub(crate) fn describe() -> Operation {
    Operation::of::<DescribeInputs>(WORKFLOWS, "Say what a workflow takes, with a body that would run it")
        .answers::<Inputs<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

fn count(most: impl Into<u64>) -> serde_json::Value {
    json!({"type": "integer", "minimum": 0, "maximum": most.into()})
}

/// A number that says how many come at once.
fn page_size() -> serde_json::Value {
    json!({"type": "integer", "minimum": 1, "maximum": u32::MAX})
}

/// How many of a list come at once.
pub(super) fn limited(operation: Operation, usual: u32, says: &'static str) -> Operation {
    let mut schema = page_size();
    schema["default"] = json!(usual);
    operation.query("limit", schema, says)
}

fn page_of_nodes(operation: Operation) -> Operation {
    operation.query("nodesOffset", count(u32::MAX), "Nodes to leave out at the front.").query(
        "nodesLimit",
        page_size(),
        "Nodes to show, of which 1000 come at most.",
    )
}

fn reading(operation: Operation) -> Operation {
    page_of_nodes(operation)
        .query("wait", json!({"type": "number", "minimum": 0}), "Seconds to wait for the run's end, at most 30.")
        .query("minSeq", count(u64::MAX), "Never answers with an older state than this.")
}

pub(crate) fn get_run() -> Operation {
    reading(Operation::of::<ReadExecutions>(RUNS, "Get a run with its nodes and their outputs"))
        .answers::<Run<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn get_run_node() -> Operation {
    let says = "Get a node of a run: one instance with its inputs, attempts and outputs, and a page of its items";
    let states = json!({
        "enum": ["PENDING", "READY", "RUNNING", "WAITING", "COMPLETED", "FAILED", "SKIPPED", "CANCELLED", "CACHED"],
    });
    let index = json!({"type": "string", "pattern": "^([0-9]{1,9}(,[0-9]{1,9}){0,8})?$"});
    limited(Operation::of::<ReadExecutions>(RUNS, says), 50, "Instances in a page, of which 200 come at most.")
        .query("index", index, "Which item of the maps and loops around it, the outermost first, such as 17 or 3,0.")
        .query("status", states, "Only instances whose state is this.")
        .query("cursor", json!({"type": "string"}), "The next page: `nextCursor` of the one before.")
        .answers::<NodeDetail<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn poll() -> Operation {
    reading(Operation::of::<ReadExecutions>(RUNS, "Ask how a run stands, now or when it is over"))
        .answers::<Poll<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn cancel() -> Operation {
    Operation::of::<Execute>(RUNS, "Stop a run; a second time changes nothing")
        .body::<requests::Cancel>(json!({"reason": "not needed any more"}))
        .answers::<Run<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn trace() -> Operation {
    page_of_nodes(Operation::of::<ReadExecutions>(RUNS, "Show where a run's time went, on which agent"))
        .query("format", json!({"enum": ["json", "otlp"]}), "otlp: OTLP/JSON, for other tools.")
        .answers::<Trace<'_>>(OK, Shape::Enveloped)
        .answers::<OtlpTrace>(OK, Shape::Bare)
}

pub(crate) fn explain() -> Operation {
    Operation::of::<ReadExecutions>(RUNS, "Explain what a run waits for, or how it ended and why")
        .answers::<Explanation<'_>>(OK, Shape::Enveloped)
}

fn history(operation: Operation) -> Operation {
    let status = json!({"enum": ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]});
    let time = json!({"type": "string", "format": "date-time"});
    limited(operation, 50, "Runs in a page, of which 200 come at most.")
        .query("status", status, "Only runs that stand so.")
        .query("from", time.clone(), "Only runs that began at this instant or later.")
        .query("to", time, "Only runs that began before this instant.")
        .query("cursor", json!({"type": "string"}), "The next page: what the Link header names.")
        .answers::<Run<'_>>(OK, Shape::List)
}

pub(crate) fn runs_of_workflow() -> Operation {
    history(Operation::of::<ReadExecutions>(RUNS, "List the runs of a workflow, the newest first"))
}

pub(crate) fn runs_of_all() -> Operation {
    history(Operation::of::<ReadExecutions>(RUNS, "List the runs of all workflows, the newest first"))
        .query("workflowId", json!({"type": "string"}), "Only runs of this workflow.")
        .query("nodes", json!({"type": "boolean", "default": false}), "true: with their nodes.")
        .refuses(StatusCode::NOT_FOUND)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn children() -> Operation {
    history(Operation::of::<ReadExecutions>(RUNS, "List the runs that a run has invoked, the newest first"))
        .query("workflowId", json!({"type": "string"}), "Only runs of this workflow.")
        .query("nodes", json!({"type": "boolean", "default": false}), "true: with their nodes.")
        .refuses(StatusCode::NOT_FOUND)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn list_reviews() -> Operation {
    let state = json!({"enum": ["open", "decided", "withdrawn", "all"], "default": "open"});
    let list = Operation::of::<ReadReviews>(REVIEWS, "List what runs ask of people, the oldest first");
    limited(list, 50, "Reviews in a page, of which 200 come at most.")
        .query("state", state, "Only reviews that stand so.")
        .query("assignee", json!({"type": "string"}), "Only those that this subject may decide.")
        .query("workflowId", json!({"type": "string"}), "Only of runs of this workflow.")
        .query("executionId", json!({"type": "string"}), "Only of this run.")
        .query("cursor", json!({"type": "string"}), "The next page: what the Link header names.")
        .answers::<ReviewHead<'_>>(OK, Shape::List)
}

pub(crate) fn get_review() -> Operation {
    Operation::of::<ReadReviews>(REVIEWS, "Get a review with the value that it is about, and what was decided")
        .answers::<Review<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn decide_review() -> Operation {
    let says = "Decide a review: approve, with an edit or without, reject, or have the node run again";
    Operation::of::<DecideReviews>(REVIEWS, says)
        .idempotent()
        .body::<requests::Decision>(json!({"decision": "approve", "data": "As edited.", "comment": "shorter"}))
        .answers::<Review<'_>>(OK, Shape::Enveloped)
}

/// Bytes, or a part of them.
fn bytes(operation: Operation) -> Operation {
    operation
        .header("Range", json!({"type": "string"}), "A part, such as bytes=0-99.")
        .header("If-Range", json!({"type": "string"}), "The part only if the file is this one.")
        .header("If-None-Match", json!({"type": "string"}), "Nothing if the file is this one.")
        .gives(OK, "*/*")
        .gives(StatusCode::PARTIAL_CONTENT, "*/*")
        .gives_nothing(StatusCode::NOT_MODIFIED)
        .refuses(StatusCode::NOT_FOUND)
        .refuses(StatusCode::RANGE_NOT_SATISFIABLE)
        .refuses(StatusCode::SERVICE_UNAVAILABLE)
}

pub(crate) fn get_artifact() -> Operation {
    bytes(Operation::of::<ReadArtifacts>(FILES, "Get a file by its digest, with a key or under a signed address"))
        .or_signed()
}

pub(crate) fn download() -> Operation {
    let says = "An address that this server has signed.";
    bytes(Operation::open(FILES, "Get what a signed address leads to, to be saved"))
        .needs("url", json!({"type": "string"}), says)
        .refuses(StatusCode::FORBIDDEN)
}

pub(crate) fn list_media() -> Operation {
    let list = Operation::of::<ReadWorkflows>(FILES, "List the files that were brought, the youngest first");
    limited(list, 50, "Files in a page, of which 200 come at most.")
        .query("cursor", json!({"type": "string"}), "The next page: `nextCursor` of the one before.")
        .answers::<MediaPage<'_>>(OK, Shape::Bare)
}

pub(crate) fn delete_media() -> Operation {
    Operation::of::<WriteWorkflows>(FILES, "Take a file off the list; runs that use it keep it")
        .gives_nothing(StatusCode::NO_CONTENT)
}

pub(crate) fn upload() -> Operation {
    Operation::of::<WriteWorkflows>(FILES, "Bring a file of at most 25 MiB in a form, or say where to fetch it")
        .file(FileBody::Form("file"))
        .body::<requests::FileToFetch>(json!({"url": "https://example.com/cat.png"}))
        .answers::<Media<'_>>(CREATED, Shape::Enveloped)
        .leads_to("digest", "id", &["getArtifactsById"])
        .leads_to("id", "id", &["deleteMediaById"])
        .refuses(StatusCode::PAYMENT_REQUIRED)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn upload_url() -> Operation {
    Operation::of::<WriteWorkflows>(FILES, "Make an address under which one file of at most 2 GiB can be put")
        .body::<requests::FileToPut>(json!({"bytes": 73_400_320, "filename": "film.mp4", "contentType": "video/mp4"}))
        .answers::<Address<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::PAYMENT_REQUIRED)
}

pub(crate) fn receive_upload() -> Operation {
    Operation::open(FILES, "Put a file under the address that was made for it; no key is needed")
        .signed(true)
        .needs("bytes", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}), "How long the file is.")
        .needs("name", json!({"type": "string"}), "What it is called.")
        .file(FileBody::Raw)
        .gives_nothing(OK)
        .refuses(StatusCode::SERVICE_UNAVAILABLE)
}

pub(crate) fn complete_upload() -> Operation {
    Operation::of::<WriteWorkflows>(FILES, "Get the file that was put, as runs take it")
        .body::<requests::FileThatWasPut>(json!({"mediaId": "media_01KB3J8V5T9QH2M4N6P8R0S2T4"}))
        .answers::<Media<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::NOT_FOUND)
}

pub(crate) fn list_nodes() -> Operation {
    Operation::of::<ReadWorkflows>(NODES, "List all node types, with their ports")
        .answers::<Catalogue<'_>>(OK, Shape::Bare)
        .leads_to("nodes/0/nodeType", "type", &["getNodesByType"])
}

pub(crate) fn get_node() -> Operation {
    Operation::of::<ReadWorkflows>(NODES, "Describe a node type").answers::<NodeType<'_>>(OK, Shape::Enveloped)
}

pub(crate) fn list_agents() -> Operation {
    Operation::of::<Operate>(CLUSTER, "List the agents that are connected").answers::<Agent<'_>>(OK, Shape::List)
}

pub(crate) fn drain_agent() -> Operation {
    Operation::of::<Operate>(CLUSTER, "Give an agent nothing new; it hands back what it has not begun")
        .answers::<DrainedAgent<'_>>(OK, Shape::Bare)
}

pub(crate) fn resume_agent() -> Operation {
    Operation::of::<Operate>(CLUSTER, "Give a drained agent work again").answers::<DrainedAgent<'_>>(OK, Shape::Bare)
}

pub(crate) fn list_join_tokens() -> Operation {
    Operation::of::<Operate>(CLUSTER, "List join tokens, without their texts").answers::<JoinToken<'_>>(OK, Shape::List)
}

pub(crate) fn create_join_token() -> Operation {
    Operation::of::<Operate>(CLUSTER, "Make a token with which one agent or gateway joins")
        .body::<requests::NewJoinToken>(json!({"for": "agent", "ttlSeconds": 3_600}))
        .answers::<JoinToken<'_>>(CREATED, Shape::Bare)
        .leads_to("id", "id", &["deleteAgentsTokensById"])
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn revoke_join_token() -> Operation {
    Operation::of::<Operate>(CLUSTER, "Revoke a join token that nobody has used")
        .answers::<JoinToken<'_>>(OK, Shape::Bare)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn list_keys() -> Operation {
    Operation::of::<Administer>(KEYS, "List the keys of your tenant, without their texts")
        .answers::<ApiKey<'_>>(OK, Shape::List)
}

fn new_key(operation: Operation) -> Operation {
    operation
        .body::<requests::NewKey>(json!({"subject": "ci", "scopes": ["workflows:execute", "executions:read"]}))
        .answers::<ApiKey<'_>>(CREATED, Shape::Bare)
        .leads_to("id", "id", &["deleteKeysById", "postKeysByIdRotate"])
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn create_key() -> Operation {
    new_key(Operation::of::<Administer>(KEYS, "Make a key; its text is in this answer only"))
}

pub(crate) fn rotate_key() -> Operation {
    Operation::of::<Administer>(KEYS, "Replace a key by a new one like it")
        .body::<requests::RotateKey>(json!({"overlapSeconds": 3_600}))
        .answers::<ApiKey<'_>>(CREATED, Shape::Bare)
        .leads_to("id", "id", &["deleteKeysById", "postKeysByIdRotate"])
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn revoke_key() -> Operation {
    Operation::of::<Administer>(KEYS, "Revoke a key: it stops working within a second")
        .answers::<ApiKey<'_>>(OK, Shape::Bare)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn list_tenants() -> Operation {
    Operation::of::<Operate>(KEYS, "List all tenants").answers::<Tenant<'_>>(OK, Shape::List)
}

pub(crate) fn create_tenant() -> Operation {
    Operation::of::<Operate>(KEYS, "Make a tenant")
        .body::<requests::NewTenant>(json!({"id": "acme", "name": "Acme Inc."}))
        .answers::<Tenant<'_>>(CREATED, Shape::Bare)
        .leads_to("id", "id", &["getTenantsById", "patchTenantsById", "getTenantsByIdKeys", "postTenantsByIdKeys"])
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn get_tenant() -> Operation {
    Operation::of::<Operate>(KEYS, "Get a tenant").answers::<Tenant<'_>>(OK, Shape::Bare)
}

pub(crate) fn update_tenant() -> Operation {
    Operation::of::<Operate>(KEYS, "Rename a tenant, close or open it")
        .body::<requests::ChangedTenant>(json!({"name": "Acme Ltd."}))
        .answers::<Tenant<'_>>(OK, Shape::Bare)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn list_tenant_keys() -> Operation {
    Operation::of::<Operate>(KEYS, "List the keys of a tenant").answers::<ApiKey<'_>>(OK, Shape::List)
}

pub(crate) fn create_tenant_key() -> Operation {
    new_key(Operation::of::<Operate>(KEYS, "Make a key of a tenant, such as its first"))
}

pub(crate) fn alive() -> Operation {
    Operation::open(ABOUT, "Whether this gateway's process is there").answers::<Alive>(OK, Shape::Bare)
}

pub(crate) fn ready() -> Operation {
    Operation::open(ABOUT, "Whether requests are served: 503 with the reason if not")
        .answers::<Ready>(OK, Shape::Bare)
        .answers::<Ready>(StatusCode::SERVICE_UNAVAILABLE, Shape::Bare)
}

pub(crate) fn workflow_page() -> Operation {
    Operation::open(ABOUT, "A page that says how to call a workflow").gives(OK, "text/html")
}

pub(crate) fn openapi() -> Operation {
    Operation::open(ABOUT, "This document").gives(OK, "application/json")
}

pub(crate) fn docs() -> Operation {
    Operation::open(ABOUT, "This document as a page").gives(OK, "text/html")
}

pub(crate) fn errors() -> Operation {
    Operation::open(ABOUT, "All error codes, and what to do about each").gives(OK, "text/html")
}

pub(crate) fn llms() -> Operation {
    Operation::open(ABOUT, "What a language model needs to know to use this server").gives(OK, "text/plain")
}
