//! What a run's history says of what came from the world.

use std::sync::Arc;

use crate::id::{Instance, Subject};
use crate::run::event::PortOutput;
use crate::value::ValueRef;

/// A signal that was sent to the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Signalled {
    /// By what name.
    pub name: Arc<str>,
    /// Who sent it.
    pub by: Subject,
    /// What it says; it lies in this event's body.
    pub body: ValueRef,
    /// Who has waited for it the longest; nobody yet = it is kept.
    pub to: Option<Instance>,
    /// What that instance gives; nothing if it is kept.
    pub outputs: Vec<PortOutput>,
}
