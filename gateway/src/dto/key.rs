//! API keys as administrators see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Time;

/// One key.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKey<'a> {
    pub(crate) id: &'a str,
    /// In the answer that makes it only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a str>,
    /// Its beginning and end.
    pub(crate) hint: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) created_at: Time,
    pub(crate) expires_at: Option<Time>,
    pub(crate) revoked_at: Option<Time>,
    /// Give or take a minute.
    pub(crate) last_used_at: Option<Time>,
}
