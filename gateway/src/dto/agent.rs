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
