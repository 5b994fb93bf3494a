//! The parts of the API's JSON that the command line reads and writes. Unknown fields are passed over.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ui::program;

/// What `/healthz` says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Random per start of the coordinator.
    pub boot_id: String,
    /// `ok`, or `degraded` without a coordinator.
    pub status: String,
    /// The gateway's build.
    pub version: String,
    /// The kind of database.
    pub database: Option<String>,
    /// What it has counted, if its coordinator says.
    pub counters: Option<Counters>,
}

/// What a coordinator has counted, as far as it is shown.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Runs that nothing would wake.
    pub orphaned_runs: u64,
}

/// A workflow as lists show it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// An API key; its text is there only in the answer that made it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKey {
    /// Its public name.
    pub id: String,
    /// The key itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who holds it.
    pub subject: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// When it stops working.
    pub expires_at: Option<String>,
    /// Since when it does not work any more.
    pub revoked_at: Option<String>,
    /// Its beginning and end.
    pub hint: String,
    /// When it was used last, give or take a minute.
    pub last_used_at: Option<String>,
}

/// A tenant.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: String,
    /// Since when its keys do not work.
    pub closed_at: Option<String>,
}

/// A join token, as the server says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinToken {
    /// Its public name.
    pub id: String,
    /// The token itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What can join with it.
    #[serde(rename = "for")]
    pub role: String,
    /// Who has made it.
    pub subject: String,
    /// When it was made.
    pub created_at: String,
    /// Until when it can be used.
    pub expires_at: String,
    /// When it was used.
    pub used_at: Option<String>,
    /// Who has used it.
    pub used_by: Option<String>,
    /// Since when it cannot be used any more.
    pub revoked_at: Option<String>,
}

/// A join token to make.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewJoinToken<'a> {
    /// What will join.
    #[serde(rename = "for")]
    pub role: &'a str,
    /// How long it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// A key to make.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKey<'a> {
    /// Who will hold it; without one, who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// What it may do.
    pub scopes: &'a [String],
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A workflow to save.
#[derive(Debug, Serialize)]
pub struct SaveWorkflow<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// Its tags.
    pub tags: &'a [&'a str],
    /// The nodes as in the file.
    pub nodes: &'a RawValue,
    /// The edges as in the file.
    pub edges: &'a RawValue,
    /// The policy for all nodes, as in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a RawValue>,
}

/// A run to start.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Execute<'a> {
    /// The graph's nodes; with `edges`, or the saved graph is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<&'a RawValue>,
    /// The graph's edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<&'a RawValue>,
    /// The policy for all nodes, as in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a RawValue>,
    /// Values by input node.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub inputs: serde_json::Map<String, Value>,
    /// Up to and with this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_node_id: Option<&'a str>,
    /// Lists of values, for a run with each combination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterator_configs: Option<Value>,
    /// The target alone, on results that are reused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
    /// Reuse what this run made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_execution_id: Option<&'a str>,
}

/// A run that was started.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Its id.
    pub execution_id: String,
    /// The batch that it belongs to.
    #[serde(default)]
    pub batch_id: String,
    /// Nodes whose results are reused though what they were made of has changed since.
    #[serde(default)]
    pub stale_dependencies: Vec<StaleDependency>,
}

/// A node whose result is reused, and what has changed since it was made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StaleDependency {
    /// The node.
    pub node_id: String,
    /// Its ports, `config` or `nodeType`.
    pub changed_keys: Vec<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    /// Of a batch, and not yet started.
    Pending,
    /// Not over.
    #[default]
    Running,
    /// Over, and well.
    Completed,
    /// Over, by an error.
    Failed,
    /// Over, by a cancel.
    Cancelled,
}

impl RunStatus {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled)
    }

    /// The API's word.
    pub fn word(self) -> &'static str {
        match self {
            RunStatus::Pending => "PENDING",
            RunStatus::Running => "RUNNING",
            RunStatus::Completed => "COMPLETED",
            RunStatus::Failed => "FAILED",
            RunStatus::Cancelled => "CANCELLED",
        }
    }
}

/// A run, as polled.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Poll {
    /// Where it stands.
    pub status: RunStatus,
    /// Why it failed: a sentence, or an object with one.
    pub error: Option<Value>,
    /// A page of its nodes' results.
    pub node_results: NodeResults,
    /// Nodes on all pages.
    pub nodes_total: u64,
    /// What it waits for.
    pub waiting_on: Vec<Waiting>,
    /// Nodes on branches that were not taken.
    pub skipped_nodes: Vec<String>,
}

impl Poll {
    /// Whether somebody's review of this node is awaited.
    pub fn waits_for_review(&self, node: &str) -> bool {
        self.waiting_on.iter().any(|waiting| waiting.kind == "review" && waiting.node_id == node)
    }
}

/// The results inside a poll.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeResults {
    /// One per node.
    pub node_runs: Vec<NodeRun>,
}

/// One node of a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRun {
    /// The node.
    pub node_id: String,
    /// Its type.
    pub node_type: Option<String>,
    /// What people call it.
    pub label: Option<String>,
    /// The compatible API's word for where it stands.
    pub status: String,
    /// Heddle's word, which is the more exact one.
    pub state: Option<String>,
    /// Whether the sandbox provider was asked in the place of servers.
    pub sandbox: bool,
    /// What it gave, by port.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<Value>,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// Who ran it.
    pub agent: Option<Value>,
    /// RFC 3339.
    pub start_time: Option<String>,
    /// RFC 3339.
    pub end_time: Option<String>,
    /// Of a map or a loop, and of nodes inside one.
    pub items: Option<ItemCounts>,
}

/// How the items of a map or the turns of a loop stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ItemCounts {
    /// How many there will have been, where that is known.
    pub total: Option<u64>,
    /// Done.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Did not run, or not to their end.
    pub skipped: u64,
    /// At work.
    pub running: u64,
    /// Of those that are done, the ones that another run has made.
    pub cached: u64,
}

impl ItemCounts {
    /// `3/8 done, 1 failed`; `3 done` where nobody knows how many there will be.
    pub fn text(&self) -> String {
        let mut text = match self.total {
            Some(total) => format!("{}/{total} done", self.completed),
            None => format!("{} done", self.completed),
        };
        let parts = [(self.cached, "reused"), (self.failed, "failed"), (self.skipped, "skipped")];
        for (count, word) in parts.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!(", {count} {word}"));
        }
        text
    }

    /// Which part is over, from 0 to 1, where that is known.
    pub fn share(&self) -> Option<f64> {
        let over = self.completed + self.failed + self.skipped;
        self.total.filter(|total| *total > 0).map(|total| (over as f64 / total as f64).min(1.0))
    }
}

impl NodeRun {
    /// What people call it, else its id.
    pub fn name(&self) -> &str {
        self.label.as_deref().filter(|label| !label.is_empty()).unwrap_or(&self.node_id)
    }

    /// The most exact word for where it stands.
    pub fn word(&self) -> &str {
        self.state.as_deref().unwrap_or(&self.status)
    }
}

/// One thing that a run waits for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// timer, agent, slot…
    pub kind: String,
    /// The node that waits.
    pub node_id: String,
    /// The numbers of the items and turns that it lies in.
    pub index: Vec<u64>,
    /// When a timer fires, RFC 3339.
    pub due_at: Option<String>,
    /// What no agent offers.
    pub need: Option<String>,
    /// What people are asked.
    pub review_id: Option<String>,
    /// The name of the signal that it takes.
    pub signal: Option<String>,
    /// The address that is to be called.
    pub url: Option<String>,
    /// So many further items or turns of the node wait for the like.
    pub more: u64,
    /// The run that it waits for.
    pub child_execution_id: Option<String>,
}

impl Waiting {
    /// What ends the wait, if that is for somebody to send: the command, reached with these options, or the call.
    pub fn answer(&self, execution: &str, options: &str) -> Option<String> {
        match (&self.signal, &self.url) {
            (Some(name), _) => Some(format!("{} executions signal {execution} {name}{options}", program())),
            (None, Some(url)) => Some(format!("curl --json '{{}}' {url}")),
            (None, None) => None,
        }
    }
}

/// A run, as lists show it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Execution {
    /// Its id.
    pub id: String,
    /// Whose run it is.
    pub workflow_id: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<Value>,
    /// RFC 3339.
    pub start_time: Option<String>,
    /// RFC 3339.
    pub end_time: Option<String>,
    /// Its nodes, where the server tells them: the first page.
    pub node_runs: Vec<NodeRun>,
    /// Nodes on all pages.
    pub nodes_total: u64,
    /// What it waits for.
    pub waiting_on: Vec<Waiting>,
    /// The run that it goes on from.
    pub parent_execution_id: Option<String>,
    /// The node that has invoked it.
    pub invoked_by: Option<InvokedBy>,
    /// Who has cancelled it.
    pub cancelled: Option<Cancelled>,
}

/// Who has cancelled a run, and why.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cancelled {
    /// Whose key it was.
    pub by: String,
    /// Why, if they have said it.
    pub reason: Option<String>,
}

/// Which node of which run has invoked a run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvokedBy {
    /// The run.
    pub execution_id: String,
    /// Its node; lists do not say it.
    pub node_id: Option<String>,
    /// The numbers of the items and turns that it lies in.
    pub index: Vec<u64>,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionFilter {
    /// Only those that stand here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only those of this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Only those that started at this time or later, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// After this one, as the page before said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of runs.
#[derive(Debug)]
pub struct ExecutionList {
    /// As the server sent them.
    pub items: Vec<Value>,
    /// Where the next page starts.
    pub next_cursor: Option<String>,
}

impl ExecutionList {
    /// Reads a bare array (the cursor came in a header), or an object that holds both.
    pub fn of(body: Value, cursor: Option<String>) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            executions: Vec<Value>,
            next_cursor: Option<String>,
        }
        if body.is_array() {
            return Ok(ExecutionList { items: serde_json::from_value(body)?, next_cursor: cursor });
        }
        let page: Page = serde_json::from_value(body)?;
        Ok(ExecutionList { items: page.executions, next_cursor: page.next_cursor.or(cursor) })
    }
}

/// A node as people write it: `w[3,0]` inside maps and loops.
pub fn with_index(node: &str, index: &[u64]) -> String {
    match index {
        [] => node.to_owned(),
        index => format!("{node}[{}]", index.iter().map(u64::to_string).collect::<Vec<_>>().join(",")),
    }
}

/// The sentence inside an error: itself, its `message`, or its whole JSON.
pub fn error_text(error: &Value) -> String {
    match error {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => error.to_string(),
        },
        other => other.to_string(),
    }
}
