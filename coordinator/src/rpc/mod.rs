//! The services: decode, ask the part that knows, encode.

pub(crate) mod admission;
pub(crate) mod agent_link;
pub(crate) mod artifacts;
mod batch_requests;
pub(crate) mod control;
mod edit_requests;
pub(crate) mod enrol;
pub(crate) mod failure;
pub(crate) mod in_flight;
pub(crate) mod incoming;
mod key_requests;
pub(crate) mod members;
mod node_requests;
pub(crate) mod resumes;
mod review_requests;
pub(crate) mod reviews;
pub(crate) mod run_requests;
pub(crate) mod streams;
mod tenant_requests;
pub(crate) mod tenants;
pub(crate) mod traces;
mod version_requests;
mod workflow_requests;
pub(crate) mod workflows;
