//! Runs that runs invoke, around the engine: messages between slots name them, and here they are filled with what the engine needs.

mod check;
mod end;
mod set_aside;
mod start;

pub(crate) use check::check;
pub(crate) use end::end;
pub(crate) use set_aside::{cancel_left_behind, tell_of_set_aside};
pub(crate) use start::{Started, start};

use bytes::Bytes;
use heddle_artifacts::StoreError;
use heddle_core::id::RunId;
use heddle_core::limits::INLINE_VALUE_BYTES_MAX;
use heddle_core::run::event::{ErrorClass, NodeError};
use heddle_core::value::{Artifact, Digest, Value};
use thiserror::Error;

use crate::auth::Tenant;
use crate::journal::{JournalError, RunRow};
use crate::read::items::Item;
use crate::read::runs::ReadError;
use crate::shared::Shared;

/// Why nothing can be said of a child now. It is asked again.
#[derive(Debug, Error)]
pub(crate) enum NotNow {
    #[error("the database could not be read")]
    Journal(#[source] JournalError),
    #[error("a run could not be read")]
    Read(#[source] ReadError),
    #[error("the artifact store does not answer")]
    Store(#[source] StoreError),
    #[error("the run {0} is not there, or is not over")]
    NotThere(RunId),
    #[error("{0}")]
    Asked(tonic::Status),
}

impl From<ReadError> for NotNow {
    fn from(error: ReadError) -> Self {
        NotNow::Read(error)
    }
}

fn refused(class: ErrorClass, code: &str, message: impl Into<String>) -> NodeError {
    const BYTES_MAX: usize = heddle_core::limits::ERROR_MESSAGE_BYTES_MAX;
    let mut message: String = message.into();
    message.truncate(message.floor_char_boundary(BYTES_MAX));
    NodeError { class, code: code.into(), message: message.into() }
}

async fn row(shared: &Shared, run: RunId) -> Result<RunRow, NotNow> {
    let row = match shared.recent.row(run) {
        Some(row) => Some(row),
        None => shared.journal.read_row(run).await.map_err(NotNow::Journal)?,
    };
    row.ok_or(NotNow::NotThere(run))
}

/// One value of what was read: a list is written out. What is too long for a row lies in the artifact store.
async fn one_value(shared: &Shared, tenant: &Tenant, item: Item) -> Result<Value, NotNow> {
    match item {
        Item::One(value) => Ok(value),
        item => {
            let mut text = Vec::new();
            item.write(&mut text);
            kept(shared, tenant, text.into()).await
        }
    }
}

/// A JSON text as a value.
async fn kept(shared: &Shared, tenant: &Tenant, json: Bytes) -> Result<Value, NotNow> {
    if json.len() <= INLINE_VALUE_BYTES_MAX {
        return Ok(Value::from_json(json));
    }
    let bytes = json.len() as u64;
    let digest = shared.artifacts.store.put(&tenant.id().0, json).await.map_err(NotNow::Store)?;
    let (digest, media_type) = (Digest(digest.0), crate::artifacts::JSON_TYPE.into());
    Ok(Value::from_artifact(Artifact { digest, bytes, media_type, is_json: true }))
}
