//! Workflows as clients see them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::diagnosis::Diagnostics;
use super::time::Time;

/// A workflow without its graph: an item of the list, and what saving answers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workflow<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) description: Option<&'a str>,
    /// Webhooks are off until somebody enables them, so there is no id to call.
    pub(crate) webhook_id: Option<&'a str>,
    pub(crate) webhook_url: Option<&'a str>,
    pub(crate) is_active: bool,
    pub(crate) is_published: bool,
    pub(crate) execution_count: u64,
    pub(crate) last_executed_at: Option<Time>,
    pub(crate) tags: &'a [String],
    pub(crate) version: u64,
    pub(crate) created_at: Time,
    pub(crate) updated_at: Time,
}

/// A workflow with its graph, as it was sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowWithGraph<'a> {
    #[serde(flatten)]
    pub(crate) workflow: Workflow<'a>,
    pub(crate) link_permission: &'static str,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) media_id: Option<&'a str>,
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) nodes: &'a RawValue,
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) edges: &'a RawValue,
    /// What counts for its nodes where they and their types say nothing; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) policy: Option<&'a RawValue>,
}

/// What stands beside a saved workflow, or another answer that there is something to say about.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Notes<'a> {
    pub(crate) meta: Meta<'a>,
    pub(crate) diagnostics: Diagnostics<'a>,
}

/// What the server changed or noticed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Meta<'a> {
    pub(crate) migrations: &'a [String],
    pub(crate) warnings: Vec<&'a str>,
}

/// What deleting answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Deleted<'a> {
    pub(crate) success: bool,
    pub(crate) id: &'a str,
}
