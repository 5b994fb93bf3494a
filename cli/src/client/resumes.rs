//! Runs that go on from others.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::catalogue::bare;
use super::{Client, segment};
use crate::error::Result;

/// Where to go on, and with what.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// Runs afresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_node_id: Option<String>,
    /// Up to and with this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_node_id: Option<String>,
    /// New values, by node id, then by port.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub outputs: Map<String, Value>,
    /// Values by input node.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
    /// `same`, `current`, or nodes and edges; the server's choice if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<ResumeGraph>,
    /// `changed` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downstream: Option<&'static str>,
    /// Of the node to go on from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub indices: Vec<Vec<u32>>,
    /// What failed in maps that went on without it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed_items: bool,
    /// Only say what would run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// Do exactly this plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_token: Option<String>,
}

/// The graph of the new run.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ResumeGraph {
    /// `same` or `current`.
    Word(&'static str),
    /// That of a file.
    Given {
        /// As in the file.
        nodes: Box<RawValue>,
        /// As in the file.
        edges: Box<RawValue>,
        /// As in the file.
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<Box<RawValue>>,
    },
}

/// How a run goes on from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Reusing what did not change.
    Resume,
    /// Reusing nothing.
    Rerun,
}

/// A run that goes on from another.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// The new run.
    pub execution_id: String,
    /// The run it goes on from.
    pub parent_execution_id: String,
    /// The first run of the family.
    pub lineage_id: String,
}

/// What a resume would do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Plan {
    /// Runs.
    pub will_run: Vec<PlannedNode>,
    /// Runs if what runs before it gives something else.
    pub may_run: Vec<PlannedNode>,
    /// Is reused.
    pub reused: Vec<PlannedNode>,
    /// Does not run.
    pub skipped: Vec<PlannedNode>,
    /// Nodes whose instances nobody can count.
    pub unknown_count: u64,
    /// What it costs.
    pub credits: Credits,
    /// With which the server does exactly this.
    pub plan_token: String,
}

/// What a plan costs at least and at most.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Credits {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

/// A node of a plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlannedNode {
    /// The node.
    pub node_id: String,
    /// Its type.
    pub node_type: String,
    /// What people call it.
    pub label: String,
    /// The item that it is of.
    pub index: Vec<u64>,
    /// How many there are like it.
    pub instances: Option<u64>,
    /// Why.
    pub why: String,
    /// The run that made what is reused.
    pub from: Option<String>,
}

/// A page of a family of runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lineage {
    /// The first run.
    pub lineage_id: String,
    /// By their start.
    pub runs: Vec<LineageRun>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// One run of a family.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LineageRun {
    /// Its id.
    pub execution_id: String,
    /// The run it goes on from.
    pub parent_execution_id: Option<String>,
    /// Where it stands.
    pub status: super::RunStatus,
    /// RFC 3339.
    pub start_time: Option<String>,
    /// RFC 3339.
    pub end_time: Option<String>,
    /// Whether it reuses nothing.
    pub rerun: bool,
    /// Where it goes on.
    pub from_node_id: Option<String>,
    /// Where it ends.
    pub to_node_id: Option<String>,
    /// Who started it.
    pub subject: Option<String>,
    /// What was changed by hand.
    pub edits: Vec<EditedPort>,
}

/// An output that was changed by hand.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EditedPort {
    /// Whose.
    pub node_id: String,
    /// Which.
    pub port: String,
}

impl Client {
    /// What a resume or rerun would do, as the server says it.
    pub async fn plan(&self, execution: &str, way: Way, resume: &Resume) -> Result<Value> {
        let request = self.request(Method::POST, &path(execution, way)?).json(resume);
        self.json(request).await.map(bare)
    }

    /// Starts a run that goes on from another. Tried again as [`Client::execute`] is.
    pub async fn resume(&self, execution: &str, way: Way, resume: &Resume) -> Result<Resumed> {
        self.submit(&path(execution, way)?, resume).await
    }

    /// A page of the family of a run, as the server says it.
    pub async fn lineage(&self, execution: &str, cursor: Option<&str>) -> Result<Value> {
        let request = self.request(Method::GET, &format!("/workflows/executions/{}/lineage", segment(execution)?));
        let cursor: Vec<_> = cursor.iter().map(|cursor| ("cursor", *cursor)).collect();
        self.json(request.query(&cursor)).await.map(bare)
    }
}

fn path(execution: &str, way: Way) -> Result<String> {
    let verb = match way {
        Way::Resume => "resume",
        Way::Rerun => "rerun",
    };
    Ok(format!("/workflows/executions/{}/{verb}", segment(execution)?))
}
