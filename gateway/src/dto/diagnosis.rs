//! What the validator says, in the two forms that clients know.

use schemars::JsonSchema;
use serde::Serialize;

/// The answer of lint.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Diagnosis<'a> {
    pub(crate) ok: bool,
    pub(crate) violations: Vec<Violation<'a>>,
    pub(crate) warnings: Vec<Violation<'a>>,
    pub(crate) migrations: &'a [String],
}

/// One problem of a graph.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Violation<'a> {
    pub(crate) rule: &'a str,
    pub(crate) message: &'a str,
    pub(crate) fix: Option<&'a str>,
    pub(crate) node_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edge_id: Option<&'a str>,
    /// JSON pointer into the graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<&'a str>,
}

/// The `diagnostics` member of newer routes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Diagnostics<'a> {
    pub(crate) version: u32,
    pub(crate) counts: Counts,
    pub(crate) diagnostics: Vec<Diagnostic<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Counts {
    pub(crate) error: usize,
    pub(crate) warning: usize,
    pub(crate) info: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Diagnostic<'a> {
    /// `graph.` and the rule; of the request itself, `request.` and what is odd.
    pub(crate) code: String,
    pub(crate) severity: &'static str,
    pub(crate) message: &'a str,
    pub(crate) target: Target<'a>,
    pub(crate) hint: Option<&'a str>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edge_id: Option<&'a str>,
    /// JSON pointer into the graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<&'a str>,
}

impl Diagnostics<'_> {
    /// Nothing to say.
    pub(crate) fn none() -> Self {
        Self { version: 1, counts: Counts { error: 0, warning: 0, info: 0 }, diagnostics: Vec::new() }
    }
}
