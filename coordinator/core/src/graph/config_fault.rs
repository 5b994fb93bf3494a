//! What a node type's JSON Schema says against a config.

use super::problem::{Problem, rule};
use crate::node_type::NodeType;

/// Checks one node's config against its type's JSON Schema, and a schema in it against what schemas may be.
pub type CheckConfig<'a> = &'a dyn Fn(&NodeType, &str) -> Vec<ConfigFault>;

/// One fault of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// A JSON pointer inside the config; empty = the config itself.
    pub place: String,
    /// What is wrong, in one sentence: where, what is there, and what may be there.
    pub message: String,
    /// What to do about it, in one sentence.
    pub fix: String,
}

impl ConfigFault {
    /// The problem of the graph; `path` is its place there, which depends on where in the node the value is written.
    pub(super) fn into_problem(self, path: String) -> Problem {
        Problem::new(rule::BAD_CONFIG, self.message, self.fix).at(path)
    }
}
