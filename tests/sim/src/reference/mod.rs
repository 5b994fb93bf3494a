//! The reference interpreter: what a run must have given, found from the document of its graph, as graph.md says it in
//! sentences. It shares no code with the engine, knows no order of events and keeps nothing.
//!
//! Agents make always the same of the same inputs ([`super::work`]), so it needs the history for nothing but chance: which
//! way a draw went, who won a race, and which attempts failed for good for reasons outside the graph.

mod branch;
mod compare;
mod document;
mod expression;
mod history;
mod interpreter;
mod part;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

pub(super) use compare::compare;
pub(super) use document::Document;

/// The numbers of the items and turns that an instance lies in, the outermost first.
type Path = Vec<u32>;

/// A node's id, and where it ran.
type At = (String, Path);

/// What came out of a port that is open.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    One(Json),
    List(Vec<Json>),
}

/// Open ports by name; what is not here is closed.
type Outputs = BTreeMap<String, Given>;

/// How a node must stand.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    /// It has these outputs.
    Done(Outputs),
    /// A branch that was not taken leads to it.
    Skipped,
    /// It has failed for good, with one of these codes.
    Failed(Vec<String>),
    /// It does not come to its end.
    Never,
}

/// What only the history knows.
#[derive(Debug, Default)]
struct Outside {
    /// Nodes that failed for good because of what happened to their agents, with the code.
    failed: BTreeMap<At, String>,
    /// Which way a draw went.
    split: BTreeMap<At, String>,
    /// Who came first in a race, and what it brought.
    winner: BTreeMap<At, String>,
    brought: BTreeMap<At, Json>,
    /// Which of the other providers answered.
    fallbacks: BTreeMap<At, usize>,
    /// Loops of which no agent could look at this turn.
    unseen: BTreeMap<At, usize>,
    /// What was given to nodes as their outputs.
    edited: BTreeMap<At, Outputs>,
    /// What people have decided of the value that a node asks about: whether it is good.
    reviewed: BTreeMap<At, bool>,
    /// What they have changed, by output.
    changed: BTreeMap<At, BTreeMap<String, Json>>,
    /// What they have put in the place of what came into a node, by input.
    put_in: BTreeMap<At, BTreeMap<String, Json>>,
    /// What they say that a node gave of which nobody knew.
    told: BTreeMap<At, BTreeMap<String, Json>>,
    /// What nodes gave that listened to the world: what was said, or that nobody has said anything in time.
    heard: BTreeMap<At, BTreeMap<String, Json>>,
    /// What they gave when they began to listen.
    early: BTreeMap<At, BTreeMap<String, Json>>,
    /// Nodes that have ended the run.
    stopped: BTreeSet<At>,
}

impl Outside {
    /// Of what the winner of a race may have brought, what it has brought.
    fn chosen(&self, at: &At, candidates: Vec<Given>) -> Option<Given> {
        let is_it = |given: &&Given| {
            let brought = self.brought.get(at);
            brought.is_some_and(|brought| compare::fits(&(*given).clone().into_json(), brought))
        };
        candidates.iter().find(is_it).or_else(|| candidates.first()).cloned()
    }
}

impl Given {
    fn into_json(self) -> Json {
        match self {
            Given::One(value) => value,
            Given::List(items) => Json::Array(items),
        }
    }

    /// What a list takes of it.
    fn items(&self) -> Vec<Json> {
        match self {
            Given::One(value) => vec![value.clone()],
            Given::List(items) => items.clone(),
        }
    }
}
