//! What the world told a run, as those who did are answered.

use schemars::JsonSchema;
use serde::Serialize;

/// A signal that a run has.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SentSignal<'a> {
    pub(crate) execution_id: &'a str,
    pub(crate) name: &'a str,
    /// Its number in the run's history.
    pub(crate) seq: u64,
    /// A node has taken it; if not, it is kept until one waits for the name.
    pub(crate) delivered: bool,
}

/// A hook that was called.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CalledHook {
    /// Always: the run goes on with what was sent.
    pub(crate) accepted: bool,
}
