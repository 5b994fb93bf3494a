//! What the coordinator knows of the artifact store: where it is, what is in it and who needs it. The bytes themselves go
//! between agents, gateways and the store.

pub(crate) mod collect;
mod list_scan;
pub(crate) mod lists;
pub mod rows;
pub(crate) mod submitted;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use heddle_artifacts::{Store, StoreError, link};
use heddle_core::hook::{HOOK_KEY_BYTES, Hooks};
use heddle_core::value::Artifact;
use heddle_error_chain::chain;
use lists::Lists;
use rows::ArtifactRows;
use thiserror::Error;

use crate::auth::Tenant;
use crate::journal::JournalError;

/// The media type of values that are too large for a row.
pub(crate) const JSON_TYPE: &str = "application/json";
/// The name under which coordinators agree on the store's mark.
const STORE_ID: &str = "artifact-store";
/// The name under which they agree on the key that signs addresses.
const LINK_KEY: &str = "artifact-link-key";

/// The name under which they agree on the key that signs addresses of hooks.
const HOOK_KEY: &str = "hook-key";

/// The store and the rows about it.
pub(crate) struct Artifacts {
    pub(crate) store: Store,
    /// The store's mark.
    pub(crate) id: String,
    /// Signs addresses of artifacts.
    pub(crate) link_key: Bytes,
    pub(crate) rows: Arc<dyn ArtifactRows>,
    /// Lists that are gone through.
    lists: Lists,
    /// Bytes that one tenant may have; `None` = as many as fit.
    quota: Option<u64>,
}

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum ArtifactsError {
    /// The database does not say which store it is.
    #[error("the database does not say which artifact store is its own")]
    Journal(#[source] JournalError),
    /// The store does not do what it must.
    #[error(transparent)]
    Store(StoreError),
    /// The store is another cluster's, which would remove what this one puts into it.
    #[error(
        "the artifact store {address} belongs to another database; give each cluster a folder or prefix of its own"
    )]
    Foreign {
        /// Its address.
        address: String,
    },
    /// The system gave no random number.
    #[error("the system gives no random numbers; check /dev/urandom")]
    Random,
}

/// A tenant has no room for more.
pub(crate) struct QuotaExceeded {
    pub(crate) quota: u64,
    pub(crate) used: u64,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, used } = self;
        write!(
            f,
            "this tenant's artifacts have {used} bytes, and its quota is {quota}: delete uploads that nobody needs, or ask \
             the operator for a larger --artifact-quota"
        )
    }
}

impl Artifacts {
    /// Opens the store and makes sure that it is this database's.
    pub(crate) async fn open(
        address: &str,
        quota: Option<u64>,
        rows: Arc<dyn ArtifactRows>,
    ) -> Result<Self, ArtifactsError> {
        let store = Store::open(address).map_err(ArtifactsError::Store)?;
        let id = rows.agree(STORE_ID, random_text()?).await.map_err(ArtifactsError::Journal)?;
        let id = String::from_utf8_lossy(&id).into_owned();
        let link_key = agreed_key::<{ link::KEY_BYTES }>(&*rows, LINK_KEY).await?;
        match store.mark(&id).await {
            Ok(found) if found != id => {
                return Err(ArtifactsError::Foreign { address: store.address().to_string() });
            }
            Ok(_) => {}
            // Runs without large values go on, and the others when it is back.
            Err(error) if error.is_transient() && !store.address().is_local() => {
                tracing::error!(error = chain(&error), "the artifact store does not answer");
            }
            Err(error) => return Err(ArtifactsError::Store(error)),
        }
        Ok(Self { store, id, link_key, rows, lists: Lists::default(), quota })
    }

    /// Makes addresses of hooks below this one, which all coordinators of this database know again.
    pub(crate) async fn hooks(&self, public_url: &str) -> Result<Hooks, ArtifactsError> {
        let agreed = agreed_key::<HOOK_KEY_BYTES>(&*self.rows, HOOK_KEY).await?;
        let mut key = [0; HOOK_KEY_BYTES];
        // What is agreed on has this length; were it shorter, the rest would be zeros for all.
        key.iter_mut().zip(&agreed).for_each(|(byte, agreed)| *byte = *agreed);
        Ok(Hooks::new(public_url, &key))
    }

    /// The bytes of an artifact of a tenant.
    pub(crate) async fn whole(&self, tenant: &Tenant, artifact: &Artifact) -> Result<Bytes, StoreError> {
        self.store.get(&tenant.id().0, heddle_artifacts::Digest(artifact.digest.0), artifact.bytes).await
    }

    /// The first of them.
    pub(crate) async fn begin(&self, tenant: &Tenant, artifact: &Artifact) -> Result<Bytes, StoreError> {
        const BYTES: u64 = 1024;
        let range = 0..BYTES.min(artifact.bytes);
        let digest = heddle_artifacts::Digest(artifact.digest.0);
        let pieces = self.store.read(&tenant.id().0, digest, Some(range)).await?;
        let pieces: Vec<Bytes> = pieces.try_collect().await?;
        Ok(pieces.concat().into())
    }

    /// Bytes that a tenant may still bring; `u64::MAX` without a quota.
    pub(crate) async fn room(&self, tenant: &Tenant) -> Result<Result<u64, QuotaExceeded>, JournalError> {
        let Some(quota) = self.quota else { return Ok(Ok(u64::MAX)) };
        let used = self.rows.artifact_bytes(tenant.clone()).await?;
        Ok(if used < quota { Ok(quota - used) } else { Err(QuotaExceeded { quota, used }) })
    }
}

/// The key that all coordinators of a database have: drawn by the first.
async fn agreed_key<const BYTES: usize>(rows: &dyn ArtifactRows, name: &'static str) -> Result<Bytes, ArtifactsError> {
    let mut key = [0; BYTES];
    getrandom::fill(&mut key).map_err(|_| ArtifactsError::Random)?;
    rows.agree(name, Bytes::copy_from_slice(&key)).await.map_err(ArtifactsError::Journal)
}

fn random_text() -> Result<Bytes, ArtifactsError> {
    let (high, low) = (getrandom::u64(), getrandom::u64());
    match (high, low) {
        (Ok(high), Ok(low)) => Ok(format!("{high:016x}{low:016x}").into()),
        _ => Err(ArtifactsError::Random),
    }
}
