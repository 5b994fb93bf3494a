//! Reading a node's config.

use serde::de::DeserializeOwned;

use super::{ErrorClass, Failure, Work};

/// The fields that a runner knows. Others are left alone: a graph keeps its own notes beside them.
///
/// # Errors
/// `config_invalid`.
pub(super) fn config<T: DeserializeOwned>(work: &Work) -> Result<T, Failure> {
    let json: &[u8] = if work.config.is_empty() { b"{}" } else { &work.config };
    serde_json::from_slice(json).map_err(|error| {
        let message = format!("the config of node {} cannot be used: {error}; correct it and run again", work.node_id);
        Failure::new(ErrorClass::InvalidRequest, "config_invalid", message)
    })
}
