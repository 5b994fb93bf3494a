//! One run: a graph, its history folded into a state, and what may happen next.

pub mod event;

use serde::{Deserialize, Serialize};

/// How a run stands, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunStatus {
    /// Accepted, at work or waiting.
    Running,
    /// Everything asked for is done.
    Completed,
    /// A node failed, or the deadline passed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// The fold of a run's events.
#[derive(Debug, Clone)]
pub struct Run {}
