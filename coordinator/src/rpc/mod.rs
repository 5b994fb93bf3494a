//! The services: decode, ask the part that knows, encode.

pub(crate) mod admission;
pub(crate) mod agent_link;
pub(crate) mod control;
pub(crate) mod enrol;
mod failure;
pub(crate) mod in_flight;
mod key_requests;
pub(crate) mod members;
mod run_requests;
pub(crate) mod traces;
mod workflow_requests;
