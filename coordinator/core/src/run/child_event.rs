//! What a run's history says of the runs that it invokes, and of the one that has invoked it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Instance, RunId};
use crate::run::event::{NodeError, PortOutput};

/// Which node of which run has invoked a run. Part of its first event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvokedBy {
    /// The run.
    pub run: RunId,
    /// Its node.
    pub instance: Instance,
    /// The id of that in the document.
    pub node: Arc<str>,
    /// The numbers of the items and turns that it lies in, the outermost first.
    pub index: Vec<u32>,
    /// How deep the invoked run lies, from 1.
    pub depth: u32,
}

/// Another run that is to be started for a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoked {
    /// The run.
    pub child: RunId,
    /// The numbers of the items and turns that the node lies in, the outermost first.
    pub index: Vec<u32>,
    /// What edges have brought for it, by the node's inputs.
    pub inputs: Vec<PortOutput>,
}

/// A run that a node has invoked is over.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildEnded {
    /// Of which node.
    pub instance: Instance,
    /// The run.
    pub child: RunId,
    /// What follows for the node.
    pub outcome: ChildOutcome,
}

/// What the end of a child leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum ChildOutcome {
    /// The node gives what the child has given.
    Gave(Vec<PortOutput>),
    /// The child failed, was cancelled, or could not begin: so the node has failed.
    Failed {
        /// Why.
        error: NodeError,
        /// What it gives all the same; nothing = its failure ends the run.
        caught: Vec<PortOutput>,
    },
}
