//! What a run's history says of what came from the world.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Instance, Subject};
use crate::run::event::PortOutput;
use crate::value::{Digest, ValueRef};

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
    /// By what the same request is known when it comes again.
    pub key: Option<RequestKey>,
}

/// A call of the address of a `logic:wait_webhook`.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// Whose address.
    pub instance: Instance,
    /// What it gives.
    pub outputs: Vec<PortOutput>,
    /// By what the same request is known when it comes again.
    pub key: Option<RequestKey>,
}

/// The idempotency key that a request came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// The digest of the key, and of what it is for.
    pub key: Digest,
    /// The digest of the request's body.
    pub body: Digest,
}
