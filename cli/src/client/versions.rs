//! Versions of a workflow, and copies of it.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, bare, next_cursor, segment};
use crate::error::Result;
use crate::limits::VERSIONS_PAGE;

/// One saved graph of a workflow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    /// From 1.
    pub version: u64,
    /// The same where the graph is the same.
    pub content_hash: String,
    /// When it was saved, RFC 3339.
    pub created_at: String,
    /// Who saved it.
    pub created_by: String,
    /// Whether runs begin with it now.
    pub is_current: bool,
}

/// What differs between two versions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VersionDifference {
    /// Whether nothing does.
    pub identical: bool,
    /// Node by node.
    pub nodes: NodeDifferences,
    /// Edge by edge.
    pub edges: EdgeDifferences,
    /// The policy of the whole workflow.
    pub policy: Option<KeyDifference>,
    /// Whether there is more.
    pub truncated: bool,
}

/// Nodes, by what became of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeDifferences {
    /// They are new.
    pub added: Vec<NodeDifference>,
    /// They are gone.
    pub removed: Vec<NodeDifference>,
    /// They mean something else.
    pub changed: Vec<NodeDifference>,
    /// They only lie elsewhere or look otherwise.
    pub moved: Vec<NodeDifference>,
}

/// A node that differs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeDifference {
    /// Its id.
    pub node_id: String,
    /// What people call it.
    pub label: Option<String>,
    /// Its type.
    pub node_type: Option<String>,
    /// What differs.
    pub changes: Vec<KeyDifference>,
}

/// One value that differs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyDifference {
    /// Its name.
    pub key: String,
    /// As it was; absent if there was none.
    #[serde(deserialize_with = "given")]
    pub before: Option<Value>,
    /// As it is; absent if there is none.
    #[serde(deserialize_with = "given")]
    pub after: Option<Value>,
    /// Whether the values are too long to be said.
    pub left_out: bool,
}

/// Edges, by what became of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EdgeDifferences {
    /// They are new.
    pub added: Vec<Value>,
    /// They are gone.
    pub removed: Vec<Value>,
    /// Inputs whose edges come in another order.
    pub reordered: Vec<Value>,
}

/// A value that is there may be null.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Client {
    /// The newest versions of a workflow, as the server says them, at most `limit`; and whether there are more.
    pub async fn versions(&self, workflow: &str, limit: usize) -> Result<(Vec<Value>, bool)> {
        let path = format!("/workflows/{}/versions", segment(workflow)?);
        let (mut all, mut next): (Vec<Value>, Option<String>) = (Vec::new(), None);
        loop {
            let page = VERSIONS_PAGE.min(limit - all.len()).to_string();
            let query: Vec<_> = [("limit", Some(page.as_str())), ("cursor", next.as_deref())].into_iter().collect();
            let response = self.accept(self.request(Method::GET, &path).query(&query).send().await).await?;
            let after = next_cursor(&response);
            let versions: Vec<Value> = self.decode(response).await?;
            let is_last = after.is_none() || after == next || versions.is_empty();
            all.extend(versions);
            if is_last || all.len() >= limit {
                return Ok((all, !is_last));
            }
            next = after;
        }
    }

    /// One version with its graph, as the server says it.
    pub async fn version(&self, workflow: &str, version: u64) -> Result<Value> {
        self.json(self.request(Method::GET, &format!("/workflows/{}/versions/{version}", segment(workflow)?))).await
    }

    /// What differs between two versions, as the server says it.
    pub async fn version_difference(&self, workflow: &str, from: u64, to: u64) -> Result<Value> {
        let request = self.request(Method::GET, &format!("/workflows/{}/diff", segment(workflow)?));
        self.json(request.query(&[("from", from), ("to", to)])).await.map(bare)
    }

    /// Makes the graph of a version the newest one again.
    pub async fn restore_version(&self, workflow: &str, version: u64) -> Result<Value> {
        let path = format!("/workflows/{}/versions/{version}/restore", segment(workflow)?);
        self.json(self.request(Method::POST, &path).json(&json!({}))).await.map(bare)
    }

    /// Makes a workflow of its own with the same graph.
    pub async fn duplicate_workflow(&self, workflow: &str, name: Option<&str>) -> Result<Value> {
        let path = format!("/workflows/{}/duplicate", segment(workflow)?);
        self.json(self.request(Method::POST, &path).json(&json!({ "name": name }))).await.map(bare)
    }
}
