//! Reviews around the engine: rows that serve inboxes and find the runs that people decide in, and what a decision says.

pub(crate) mod edit;
pub(crate) mod form;
mod reference;
pub(crate) mod retry;
pub(crate) mod rows;

use heddle_proto::control as wire;
use tonic::Status;

use crate::rpc::failure;

/// What the review does not take.
pub(crate) fn not_allowed(path: &str, message: &str) -> Status {
    at_path("decision_not_allowed", path, message.to_owned())
}

/// What is wrong with a decision.
pub(crate) fn invalid(path: &str, message: impl Into<String>) -> Status {
    at_path("invalid_decision", path, message.into())
}

fn at_path(code: &str, path: &str, message: String) -> Status {
    let (code, path) = (code.to_owned(), path.to_owned());
    failure::failure(wire::Failure { code, http_status: 422, message, path, ..Default::default() })
}
