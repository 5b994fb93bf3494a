//! From the wire's messages to the public JSON, and back: by hand, field by field. What this build does not know is an
//! error, never a guess.

pub(crate) mod agent;
pub(crate) mod batch;
pub(crate) mod cached;
pub(crate) mod diagnosis;
pub(crate) mod edit;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod failure;
pub(crate) mod key;
pub(crate) mod node;
pub(crate) mod node_type;
pub(crate) mod resume;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod stats;
pub(crate) mod submit;
pub(crate) mod tenant;
pub(crate) mod trace;
pub(crate) mod value;
pub(crate) mod version;
pub(crate) mod workflow;

use serde_json::value::RawValue;

use crate::http::error::ApiError;

/// The refusal for an answer of the coordinator that this gateway cannot read.
pub(crate) fn unreadable(what: &str) -> ApiError {
    tracing::error!(what, "the coordinator's answer cannot be read; are both of the same version?");
    ApiError::internal()
}

/// JSON that the coordinator sent, as its own text.
pub(crate) fn raw<'a>(json: &'a [u8], what: &str) -> Result<&'a RawValue, ApiError> {
    serde_json::from_slice(json).map_err(|_| unreadable(what))
}

/// Nothing, for an empty text.
pub(crate) fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
