//! A run's events as clients see them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::time::Time;

/// What each event begins with; the fact's own fields follow in the same object.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventHead<'a> {
    /// Its place in the history; live words have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    pub(crate) at: Time,
    pub(crate) r#type: &'a str,
    pub(crate) execution_id: &'a str,
}

/// The JSON answer of the events route.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Events<'a> {
    pub(crate) execution_id: &'a str,
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub(crate) events: Vec<Box<RawValue>>,
    /// Ask again with `?after=` this.
    pub(crate) last_seq: u64,
    /// Whether there were more when this was read.
    pub(crate) has_more: bool,
}
