//! What is wrong with a graph, said so that its author can put it right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::limits::GRAPH_PROBLEMS_MAX;

/// Codes of the rules. They are stable: programs match on them.
pub mod rule {
    /// The text is no JSON, or of the wrong shape.
    pub const BAD_JSON: &str = "bad-json";
    /// A node has no id.
    pub const MISSING_ID: &str = "missing-id";
    /// Two nodes or two edges share an id.
    pub const DUPLICATE_ID: &str = "duplicate-id";
    /// A bound of [`crate::limits`] is passed.
    pub const LIMITS: &str = "limits";
    /// More problems were found than are listed.
    pub const MORE_PROBLEMS: &str = "more-problems";
    /// No node type has this id.
    pub const UNKNOWN_NODE_TYPE: &str = "unknown-node-type";
    /// A model that nobody offers here; the graph may be kept, the node cannot run.
    pub const UNSUPPORTED_NODE: &str = "unsupported-node";
    /// A run needs a node whose type nobody offers here.
    pub const NODE_TYPE_UNAVAILABLE: &str = "node_type_unavailable";
    /// A part of the language that the engine does not run yet.
    pub const NOT_SUPPORTED_YET: &str = "not_supported_yet";
    /// An edge begins or ends at no node that runs.
    pub const DANGLING_EDGE: &str = "dangling-edge";
    /// An edge begins at an output that is not there.
    pub const BAD_SOURCE_HANDLE: &str = "bad-source-handle";
    /// An edge ends at an input that is not there.
    pub const BAD_TARGET_HANDLE: &str = "bad-target-handle";
    /// An output's type does not fit the input's.
    pub const TYPE_MISMATCH: &str = "type-mismatch";
    /// Several edges end at an input that takes one value.
    pub const TOO_MANY_EDGES: &str = "too-many-edges";
    /// An edge leads out of a map or loop past its container.
    pub const EDGE_ACROSS_SCOPES: &str = "edge-across-scopes";
    /// Edges run in a circle.
    pub const CYCLE: &str = "cycle";
    /// An input that must have a value has none.
    pub const MISSING_REQUIRED_INPUT: &str = "missing-required-input";
    /// A config value is not what the node type takes.
    pub const BAD_CONFIG: &str = "bad-config";
    /// A config key that the node's type does not know, so that nothing reads it.
    pub const UNKNOWN_CONFIG_KEY: &str = "unknown-config-key";
    /// A node says that it lies inside one that is not there, or that runs nothing.
    pub const UNKNOWN_PARENT: &str = "unknown-parent";
    /// Nothing leads to where a map or loop takes what its body gives.
    pub const NO_RESULT: &str = "no-result";
    /// What is rejected leads nowhere, so that a rejection fails the run.
    pub const REJECTION_FAILS: &str = "rejection-fails";
    /// A condition cannot be read, or names what is not there.
    pub const BAD_EXPRESSION: &str = "bad_expression";
    /// A config value is a secret; a graph names a credential instead.
    pub const LITERAL_SECRET: &str = "literal_secret";
    /// A policy field is unknown or out of bounds.
    pub const BAD_POLICY: &str = "bad-policy";
    /// A value is longer than a row may hold.
    pub const VALUE_TOO_LARGE: &str = "value_too_large";
    /// The node that a run should lead up to is not there.
    pub const UNKNOWN_TARGET: &str = "unknown-target";
    /// A value was given for an input that is not there.
    pub const UNKNOWN_INPUT: &str = "unknown-input";
    /// A node runs a workflow, or a version of one, that is not saved.
    pub const UNKNOWN_WORKFLOW: &str = "unknown-workflow";
    /// A node waits for an instant that is further off than one may be.
    pub const WAIT_TOO_LONG: &str = "wait-too-long";
    /// A node takes an output of a workflow that has none of this name.
    pub const UNKNOWN_OUTPUT: &str = "unknown-output";
    /// A value was given under a name that several inputs share, or twice for one input.
    pub const AMBIGUOUS_INPUT: &str = "ambiguous-input";
    /// A value was given that its input does not take.
    pub const BAD_INPUT: &str = "bad-input";
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which rule is broken: one of [`rule`].
    pub rule: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it, in one sentence.
    pub fix: String,
    /// The node it is about.
    pub node_id: Option<Arc<str>>,
    /// The edge it is about.
    pub edge_id: Option<Arc<str>>,
    /// The place in the document, as a JSON pointer (`/nodes/3/data/config/width`).
    pub path: Option<String>,
}

impl Problem {
    pub(crate) fn new(rule: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { rule, message: message.into(), fix: fix.into(), node_id: None, edge_id: None, path: None }
    }

    /// The node that it is about.
    pub fn node(mut self, id: &Arc<str>) -> Self {
        self.node_id = Some(id.clone());
        self
    }

    pub(crate) fn edge(mut self, id: Option<&Arc<str>>) -> Self {
        self.edge_id = id.cloned();
        self
    }

    /// The place in the document that it is about.
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
}

/// All problems of one validation, at most [`GRAPH_PROBLEMS_MAX`]; the rest are counted.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    /// Of those that schemas of node types have found, by place in the list: where the value would stand in the config.
    of_schemas: BTreeMap<usize, String>,
    more: usize,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() < GRAPH_PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// As [`Self::push`], for what the schema of a node type says of a config. `canonical` is the place if the value stood in the
    /// config, where readers of configs take it to be.
    pub(crate) fn push_of_schema(&mut self, problem: Problem, canonical: String) {
        let place = self.list.len();
        self.push(problem);
        if self.list.len() > place {
            self.of_schemas.insert(place, canonical);
        }
    }

    /// As [`Self::push`], for problems whose text costs something: those that are only counted are not made.
    pub(crate) fn push_with(&mut self, problem: impl FnOnce() -> Problem) {
        if self.list.len() < GRAPH_PROBLEMS_MAX {
            self.list.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// A fault of a config that both its type's schema and its reader have found is told once, in the reader's words.
    pub(crate) fn tell_configs_once(&mut self) {
        let of_schemas = std::mem::take(&mut self.of_schemas);
        let mut told_twice = BTreeSet::new();
        for (&place, canonical) in &of_schemas {
            let problem = self.list[place].clone();
            let of_node = of_schemas.keys().filter(|other| self.list[**other].node_id == problem.node_id);
            let is_alone = of_node.count() == 1;
            // Some readers name the config as a whole.
            let is_whole = |other: &Problem| {
                let path = other.path.as_deref();
                other.rule == rule::BAD_CONFIG
                    && other.node_id == problem.node_id
                    && path.is_some_and(|whole| whole.ends_with("/data/config") && canonical.starts_with(whole))
            };
            let others = self.list.iter_mut().enumerate().filter(|(other, _)| !of_schemas.contains_key(other));
            let said = others
                .map(|(_, other)| other)
                .find(|other| is_said_by(&problem, canonical, other) || (is_alone && is_whole(other)));
            if let Some(said) = said {
                // A reader takes the value to be where configs are; here is known where it is written.
                if is_whole(said) || said.path.as_ref() == Some(canonical) {
                    said.path.clone_from(&problem.path);
                }
                told_twice.insert(place);
            }
        }
        let mut places = 0..;
        self.list.retain(|_| places.next().is_none_or(|place| !told_twice.contains(&place)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.is_empty() { Ok(value) } else { Err(self.into_list()) }
    }

    pub(crate) fn into_list(mut self) -> Vec<Problem> {
        if self.more > 0 {
            let message = format!("There are {} more problems.", self.more);
            self.list.push(Problem::new(rule::MORE_PROBLEMS, message, "Put these right first."));
        }
        self.list
    }
}

/// Whether what a schema says of a config is what its reader says: of the same value, or of a key that is missing.
fn is_said_by(of_schema: &Problem, path: &str, other: &Problem) -> bool {
    let Some(said) = &other.path else { return false };
    let names_key = |key: &str| of_schema.message.contains(&format!("\"{key}\""));
    let is_there = path == said || said.rsplit_once('/').is_some_and(|(around, key)| around == path && names_key(key));
    is_there && of_schema.node_id == other.node_id
}

/// Adds one step to a JSON pointer.
pub(crate) fn join(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A text from a document as a message shows it: cut where it grows long.
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let mut problems = Problems::default();
        for _ in 0..GRAPH_PROBLEMS_MAX + 3 {
            problems.push(Problem::new(rule::CYCLE, "", ""));
        }
        let list = problems.into_list();
        assert_eq!(list.len(), GRAPH_PROBLEMS_MAX + 1);
        assert_eq!(list[GRAPH_PROBLEMS_MAX].message, "There are 3 more problems.");
    }

    #[test]
    fn pointers_escape_their_steps() {
        assert_eq!(join("/a", "b/c~d"), "/a/b~1c~0d");
    }
}
