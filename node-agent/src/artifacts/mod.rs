//! Large values between runners and the artifact store: fetched before the work begins, kept before its result is told.
//!
//! Runners see JSON: a large JSON value arrives and leaves like a small one, and a file is a short description of itself,
//! which [`Files`](files::Files) opens. The coordinator says at registration where the store is.

pub(crate) mod blobs;
mod cache;
pub(crate) mod desk;
pub(crate) mod files;
pub(crate) mod inputs;
pub(crate) mod outputs;

use heddle_artifacts::StoreError;
use heddle_error_chain::chain;

use crate::runners::{ErrorClass, Failure};

/// The failure of an attempt whose values the store did not give or take.
pub(crate) fn failed(error: &StoreError) -> Failure {
    tracing::warn!(error = chain(error), "the artifact store did not do what an attempt needs");
    let class = match error {
        StoreError::Store { .. } => ErrorClass::Retryable,
        StoreError::Refused { .. } => ErrorClass::Auth,
        StoreError::TooLarge | StoreError::NotFound { .. } | StoreError::Damaged { .. } => ErrorClass::InvalidRequest,
        _ => ErrorClass::Internal,
    };
    Failure::new(class, error.code(), error.to_string())
}
