//! Files that people brought, as clients see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Time;

/// One file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Media<'a> {
    pub(crate) id: &'a str,
    /// The same again, as the documented API names it.
    pub(crate) media_id: &'a str,
    pub(crate) name: &'a str,
    /// Good for a day, without a key.
    pub(crate) url: String,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: u64,
    pub(crate) digest: &'a str,
    pub(crate) created_at: Time,
}

/// Where one file can be put.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address<'a> {
    pub(crate) upload_url: String,
    pub(crate) method: &'static str,
    pub(crate) media_id: &'a str,
    /// What the client sends with it.
    pub(crate) headers: BTreeMap<&'static str, &'a str>,
}

/// A page of files.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MediaPage<'a> {
    pub(crate) data: Vec<Media<'a>>,
    /// `null`: it is the last one.
    pub(crate) next_cursor: Option<&'a str>,
}
