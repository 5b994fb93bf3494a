//! The services: decode, ask the part that knows, encode.

pub(crate) mod agent_link;
pub(crate) mod artifacts;
pub(crate) mod control;
pub(crate) mod failure;
pub(crate) mod in_flight;
mod key_requests;
mod run_requests;
pub(crate) mod traces;
mod workflow_requests;
