//! What an agent says came of an attempt.

use std::sync::Arc;

use crate::run::event::NodeError;
use crate::time::Span;
use crate::value::Value;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It gave these values, by output port id.
    Succeeded(Vec<(Arc<str>, Value)>),
    /// It failed.
    Failed {
        /// Why.
        error: NodeError,
        /// How long the provider asks to wait.
        retry_after: Option<Span>,
    },
    /// It was stopped before it could finish.
    Stopped,
}
