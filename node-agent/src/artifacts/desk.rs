//! The agent's way to the store, which the coordinator names at registration.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use heddle_artifacts::{Digest, Store, StoreError};
use heddle_error_chain::chain;
use heddle_proto::agent as wire;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cache::Cache;
use crate::limits::FETCHED_BYTES_MAX;
use crate::metrics::TRAFFIC;
use crate::runners::{ErrorClass, Failure};

/// Bytes that one permit stands for.
const PERMIT_BYTES: u64 = 1024;

/// What all attempts of an agent share of the store.
#[derive(Debug)]
pub(crate) struct Desk {
    store: RwLock<Option<Store>>,
    cache: Mutex<Cache>,
    /// Room for values that attempts hold in memory.
    room: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new((FETCHED_BYTES_MAX / PERMIT_BYTES) as usize));
        Self { store: RwLock::default(), cache: Mutex::default(), room }
    }
}

impl Desk {
    /// Opens the store that a coordinator names. One that does not answer now is used all the same: it may come back.
    ///
    /// # Errors
    /// If this machine does not see that store.
    pub(crate) async fn open(&self, named: Option<wire::ArtifactStore>) -> Result<(), StoreError> {
        let Some(wire::ArtifactStore { address, id }) = named.filter(|named| !named.address.is_empty()) else {
            return Ok(());
        };
        if self.store().is_ok_and(|store| store.address().to_string() == address) {
            return Ok(());
        }
        let not_shared = |_| StoreError::NotShared { address: address.clone() };
        let address_of: heddle_artifacts::Address = address.parse()?;
        // A folder that is not there is another machine's: making one would only hide that.
        if let heddle_artifacts::Address::Folder(folder) = &address_of {
            std::fs::metadata(folder).map_err(not_shared)?;
        }
        let store = Store::open(&address)?.counted(Arc::clone(&TRAFFIC));
        match store.check(&id).await {
            Ok(()) => {}
            Err(error) if error.is_transient() && !address_of.is_local() => {
                tracing::warn!(error = chain(&error), "the artifact store does not answer now");
            }
            Err(error) => return Err(error),
        }
        tracing::info!(address, "artifacts are kept there");
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
        Ok(())
    }

    /// The store.
    ///
    /// # Errors
    /// `artifacts_unavailable` if the coordinator has none.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        store.ok_or_else(|| {
            let message = "the coordinator names no artifact store, so large values have no place; bring it up to date";
            Failure::new(ErrorClass::InvalidRequest, "artifacts_unavailable", message)
        })
    }

    /// Room for so many bytes, once there is some. It is given back with the permit.
    pub(super) async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        if bytes > FETCHED_BYTES_MAX {
            let message = format!(
                "the large inputs of this node have {bytes} bytes, and an attempt holds at most {FETCHED_BYTES_MAX}: pass \
                 on less, or files"
            );
            return Err(Failure::new(ErrorClass::InvalidRequest, "inputs_too_large", message));
        }
        let ended = |_| Failure::new(ErrorClass::Retryable, "agent_ending", "the agent ends; another one can do it");
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(ended)
    }

    /// A value in full.
    pub(super) async fn fetch(&self, tenant: &str, digest: Digest) -> Result<Bytes, Failure> {
        let kept = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(tenant, digest);
        if let Some(value) = kept {
            return Ok(value);
        }
        let fetched = self.store()?.get(tenant, digest, FETCHED_BYTES_MAX).await;
        let value = fetched.map_err(|error| super::failed(&error))?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(tenant, digest, &value);
        Ok(value)
    }
}
