//! What a run's history says of reviews.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Instance, ReviewIx, Subject};
use crate::run::event::{NodeError, PortOutput};
use crate::time::Timestamp;
use crate::value::ValueRef;

/// A review that is opened (graph.md, part 7).
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its number within the run, from 0.
    pub review: ReviewIx,
    /// What of the node is looked at.
    pub kind: ReviewKind,
    /// That, by port: inputs of a `logic:review` or of a node that has not begun, else outputs.
    pub values: Vec<PortOutput>,
    /// When its time is over.
    pub due_at: Option<Timestamp>,
    /// What is known of an attempt with an unknown outcome.
    pub error: Option<NodeError>,
}

/// What people look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReviewKind {
    /// The value that a `logic:review` got.
    Value,
    /// The inputs of a node that has not begun.
    Before,
    /// The outputs of a node that has worked.
    After,
    /// An attempt of which nobody knows whether it took effect.
    Outcome,
}

/// What was decided at a review.
#[derive(Debug, Clone, PartialEq)]
pub struct Reviewed {
    /// Which review.
    pub review: ReviewIx,
    /// Of which instance.
    pub instance: Instance,
    /// Who decided; nobody: its time was over.
    pub by: Option<Subject>,
    /// What.
    pub verdict: ReviewVerdict,
    /// In their own words.
    pub comment: Option<Arc<str>>,
    /// What was changed, by the ports of what was looked at; the original stays where it is.
    pub edit: Vec<PortOutput>,
    /// With a retry: keys of the node's config that are changed, a JSON object in this event's body.
    pub config: Option<ValueRef>,
    /// What follows from it.
    pub outcome: ReviewOutcome,
}

/// What people decide, or a review's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReviewVerdict {
    /// It is good.
    Approve,
    /// It is not.
    Reject,
    /// It is to be made again.
    Retry,
    /// Nobody has decided in time, and the node fails.
    Fail,
    /// Nobody has decided in time, and others may decide.
    Escalate,
}

/// What follows from a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum ReviewOutcome {
    /// The review stays open: further people have to approve, or others may decide, for a while.
    Open {
        /// When its time is over.
        due_at: Option<Timestamp>,
    },
    /// The node begins.
    Begins,
    /// The node has its output.
    Gave(Vec<PortOutput>),
    /// The node has failed.
    Failed {
        /// Why.
        error: NodeError,
        /// What it gives all the same; nothing = its failure ends the run.
        caught: Vec<PortOutput>,
    },
    /// A node runs again, in its next generation (E12): the reviewed one, or the one before a `logic:review`.
    Again {
        /// The generation that is over.
        instance: Instance,
    },
}

impl ReviewKind {
    /// Its word in the API.
    pub fn name(self) -> &'static str {
        match self {
            ReviewKind::Value => "review",
            ReviewKind::Before => "before",
            ReviewKind::After => "after",
            ReviewKind::Outcome => "outcome",
        }
    }
}

impl ReviewVerdict {
    /// Its word in the API.
    pub fn name(self) -> &'static str {
        match self {
            ReviewVerdict::Approve => "approve",
            ReviewVerdict::Reject => "reject",
            ReviewVerdict::Retry => "retry",
            ReviewVerdict::Fail => "fail",
            ReviewVerdict::Escalate => "escalate",
        }
    }
}
