//! Runs that go on from others.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::catalogue::bare;
use super::{Client, segment, with_index};
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

/// In what a plan is not the one that was agreed to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PlanChanges {
    /// Edits that are others.
    pub outputs: Vec<EditedPort>,
    /// Input nodes with other values.
    pub inputs: Vec<String>,
    /// Nodes that stand elsewhere.
    pub moved: Vec<PlanMove>,
    /// All of them.
    pub moved_total: usize,
}

/// A node that stands elsewhere in a plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PlanMove {
    /// The node.
    pub node_id: String,
    /// The item that it is of.
    pub index: Vec<u64>,
    /// How many instances of it.
    pub instances: Option<u64>,
    /// Where it stood.
    pub from: Option<String>,
    /// Where it stands.
    pub to: Option<String>,
    /// Why.
    pub why: Option<String>,
}

impl PlanChanges {
    /// What is different, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.outputs.iter().map(|edit| format!("{}.{} is given another value", edit.node_id, edit.port)).collect();
        lines.extend(self.inputs.iter().map(|input| format!("the input {input} has another value")));
        lines.extend(self.moved.iter().map(PlanMove::line));
        if self.moved_total > self.moved.len() {
            lines.push(format!("and {} more nodes", self.moved_total - self.moved.len()));
        }
        lines
    }
}

impl PlanMove {
    fn line(&self) -> String {
        let node = match self.instances {
            Some(count) => format!("{} ×{count}", self.node_id),
            None => with_index(&self.node_id, &self.index),
        };
        let part = |part: &Option<String>, absent: &str| part.as_deref().map_or(absent, part_word).to_owned();
        let why = self.why.as_deref().map(|word| format!(": {}", reason(word))).unwrap_or_default();
        format!("{node}: {} → {}{why}", part(&self.from, "not there"), part(&self.to, "gone"))
    }
}

/// How a part of a plan is called on a terminal.
fn part_word(part: &str) -> &str {
    match part {
        "willRun" => "runs",
        "mayRun" => "may run",
        word => word,
    }
}

/// The sentence behind a word of the API for why a node stands where it does in a plan; a word that this build does not know
/// stands for itself.
pub fn reason(word: &str) -> &str {
    match word {
        "start" => "start here",
        "edited_input" => "takes what was changed by hand",
        "failed" => "failed",
        "never_ran" => "has no result yet",
        "outcome_unknown" => "began, and nobody knows what became of it: its effect may happen twice",
        "index" => "named with --index",
        "failed_item" => "lies in a failed item",
        "downstream" => "lies downstream",
        "config_changed" => "its type or config is another",
        "input_changed" => "takes another value than it did",
        "evaluated" => "decided anew, at no cost",
        "rerun" => "nothing is reused",
        "input_may_change" => "if what runs before it gives something else",
        "race_may_be_won" => "if no other branch wins the race before",
        "cache_may_answer" => "if no other run has given its result",
        "same" => "same type, config and inputs",
        "edited" => "changed by hand",
        "not_in_part" => "not needed",
        "branch_not_taken" => "on a branch that is not taken",
        word => word,
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_changed_in_a_plan_reads_well() {
        let changes = json!({
            "parent": false, "graph": true, "options": ["outputs"], "outputs": [{"nodeId": "draft", "port": "text"}],
            "inputs": ["topic"], "movedTotal": 4, "moved": [
                {"nodeId": "say", "index": [17], "from": "reused", "to": "willRun", "why": "config_changed"},
                {"nodeId": "join", "instances": 3, "from": "mayRun", "to": null, "why": null},
                {"nodeId": "new", "from": null, "to": "willRun", "why": "never_ran"}],
        });
        let changes: PlanChanges = serde_json::from_value(changes).unwrap();
        let expected = [
            "draft.text is given another value",
            "the input topic has another value",
            "say[17]: reused → runs: its type or config is another",
            "join ×3: may run → gone",
            "new: not there → runs: has no result yet",
            "and 1 more nodes",
        ];
        assert_eq!(changes.lines(), expected);
    }
}
