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

use super::children::together;

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
    /// Its items know themselves whether they are lists.
    List(Vec<Given>),
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
    /// Nodes that failed because of what they were given, with the code.
    refused: BTreeMap<At, String>,
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
    /// What came in for input nodes, by their ids.
    inputs: BTreeMap<String, Json>,
    /// How many runs lie around the run, each invoked by the one before.
    depth: u32,
    /// What the children of nodes have been given, and what they gave.
    children: BTreeMap<At, Child>,
    /// Nodes that have ended the run.
    stopped: BTreeSet<At>,
}

/// What a child of a node has been given and what it gave, as its own history says.
#[derive(Debug, Clone)]
struct Child {
    id: String,
    /// By the ids of its input nodes.
    inputs: BTreeMap<String, Json>,
    /// By name, and whether it is a list.
    outputs: Vec<(String, Json, bool)>,
}

impl Child {
    /// What a node gives for it, unless it has been given something else than has come into the node.
    fn gives(&self, brought: &[(&str, Given)]) -> Option<Outputs> {
        let came: BTreeMap<&str, Json> =
            brought.iter().rev().map(|(input, given)| (*input, given.clone().into_json())).collect();
        let is_its =
            |(input, value): (&&str, &Json)| self.inputs.get(*input).is_some_and(|given| compare::fits(value, given));
        if came.len() != self.inputs.len() || !came.iter().all(is_its) {
            return None;
        }
        let all = Given::One(together(&self.outputs));
        let named =
            self.outputs.iter().map(|(name, value, is_list)| (name.clone(), Given::of(*is_list, value.clone())));
        let own = [("outputs".to_owned(), all), ("executionId".to_owned(), Given::One(self.id.clone().into()))];
        Some(named.chain(own).collect())
    }
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
    fn of(is_list: bool, value: Json) -> Self {
        match value {
            Json::Array(items) if is_list => Given::List(items.into_iter().map(Given::One).collect()),
            value => Given::One(value),
        }
    }

    fn null() -> Self {
        Given::One(Json::Null)
    }

    fn into_json(self) -> Json {
        match self {
            Given::One(value) => value,
            Given::List(items) => Json::Array(items.into_iter().map(Given::into_json).collect()),
        }
    }

    /// What it is as an item of a list: an array is a list itself.
    fn item(self) -> Self {
        match self {
            Given::One(value) => Given::of(true, value),
            list => list,
        }
    }

    /// What a list takes of it.
    fn items(&self) -> Vec<Given> {
        match self {
            Given::One(_) => vec![self.clone()],
            Given::List(items) => items.clone(),
        }
    }
}
