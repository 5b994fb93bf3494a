//! Tenants as operators see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Time;

/// One tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) created_at: Time,
    pub(crate) closed_at: Option<Time>,
}
