//! Node-agents as administrators see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Time;

/// One agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent<'a> {
    pub(crate) id: &'a str,
    pub(crate) state: &'a str,
    pub(crate) version: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    pub(crate) slots: u32,
    pub(crate) busy: u32,
    pub(crate) connected_at: Time,
    pub(crate) node_types: &'a [String],
}

/// How an agent stands after it was drained or resumed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DrainedAgent<'a> {
    pub(crate) id: &'a str,
    pub(crate) state: &'a str,
    pub(crate) busy: u32,
}

/// A join token.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinToken<'a> {
    pub(crate) id: &'a str,
    /// In the answer that makes it only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'a str>,
    pub(crate) r#for: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) created_at: Time,
    pub(crate) expires_at: Time,
    pub(crate) used_at: Option<Time>,
    pub(crate) used_by: Option<&'a str>,
    pub(crate) revoked_at: Option<Time>,
}
