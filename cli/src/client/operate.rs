//! Standing still on purpose: runs, and types of nodes.

use reqwest::Method;
use serde_json::{Value, json};

use super::catalogue::bare;
use super::{Client, named, segment};
use crate::error::Result;

impl Client {
    /// Pauses a run; gives it as it is now.
    pub async fn pause(&self, execution: &str, reason: Option<&str>) -> Result<Value> {
        self.change(&format!("/workflows/executions/{}/pause", segment(execution)?), reason).await
    }

    /// Lets a run go on; gives it as it is now.
    pub async fn unpause(&self, execution: &str) -> Result<Value> {
        self.change(&format!("/workflows/executions/{}/unpause", segment(execution)?), None).await
    }

    /// No node of this type begins; gives how it stands.
    pub async fn pause_node_type(&self, node_type: &str, reason: Option<&str>) -> Result<Value> {
        self.change(&format!("/nodes/{}/pause", named(node_type)?), reason).await
    }

    /// Nodes of this type begin again; gives how it stands.
    pub async fn unpause_node_type(&self, node_type: &str) -> Result<Value> {
        self.change(&format!("/nodes/{}/unpause", named(node_type)?), None).await
    }

    async fn change(&self, path: &str, reason: Option<&str>) -> Result<Value> {
        let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
        Ok(bare(self.json(self.request(Method::POST, path).json(&body)).await?))
    }
}
