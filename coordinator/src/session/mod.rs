//! Agents that are connected: who they are, what is sent to them, what they say.

pub(crate) mod changed;
pub(crate) mod convert;
pub(crate) mod inputs;
mod outgoing;
mod registry;
pub(crate) mod stream;

pub(crate) use outgoing::frames;
pub(crate) use registry::Sessions;
