//! API keys: minted here, kept as a MAC, shown once (security.md 4.3).

use std::path::Path;
use std::sync::Arc;

use heddle_core::id::{KeyId, Slot};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use heddle_proto::key::{self, KeyKind};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::journal::JournalError;
use crate::records::{ApiKeyRow, Records};

/// Everything that a key may be allowed.
pub(crate) const SCOPES: [&str; 10] = [
    "workflows:read",
    "workflows:write",
    "workflows:execute",
    "executions:read",
    "usage:read",
    "apps:execute",
    "reviews:decide",
    "schedules:write",
    "secrets:write",
    "admin",
];
/// The tenant of the first key.
pub(crate) const FIRST_TENANT: &str = "default";
const PEPPER_FILE: &str = "pepper";
const PEPPER_BYTES: usize = 32;

/// Why keys cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The pepper's file.
    #[error(
        "the file {path} could not be used: it must exist for as long as the keys do, 32 bytes, readable by you only"
    )]
    Pepper {
        /// Which file.
        path: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The database.
    #[error("keys could not be read or written")]
    Journal(#[source] JournalError),
    /// The system gives no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Checks keys, and makes them.
#[derive(Clone)]
pub(crate) struct Keys {
    records: Arc<dyn Records>,
    pepper: [u8; PEPPER_BYTES],
}

impl Keys {
    /// With the pepper of a data folder, made on first use.
    pub(crate) fn open(records: Arc<dyn Records>, data_dir: &Path) -> Result<Self, KeysError> {
        let path = data_dir.join(PEPPER_FILE);
        let failed = |source| KeysError::Pepper { path: path.display().to_string(), source };
        let kept = match std::fs::read(&path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut fresh = [0; PEPPER_BYTES];
                getrandom::fill(&mut fresh).map_err(|_| KeysError::NoRandomness)?;
                write_private(&path, &fresh).map_err(failed)?;
                fresh.to_vec()
            }
            Err(error) => return Err(failed(error)),
        };
        let pepper = kept.try_into().map_err(|_| failed(std::io::ErrorKind::InvalidData.into()))?;
        Ok(Self { records, pepper })
    }

    /// Makes the first key, with every scope, if there is no key at all.
    pub(crate) async fn first(&self, now: Timestamp) -> Result<Option<String>, KeysError> {
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).map_err(|_| KeysError::NoRandomness)?;
        let text = key::mint(KeyKind::Live, &entropy);
        let random = u128::from(getrandom::u64().map_err(|_| KeysError::NoRandomness)?);
        let row = ApiKeyRow {
            id: KeyId::new(now, Slot(0), random),
            tenant: FIRST_TENANT.into(),
            subject: "first-key".into(),
            scopes: SCOPES.iter().map(|scope| (*scope).into()).collect(),
            expires_at: None,
            created_at: now,
        };
        let is_new = self.records.put_api_key(self.mac(&text), row, true).await.map_err(KeysError::Journal)?;
        Ok(is_new.then_some(text))
    }

    /// The row of a key that somebody showed.
    pub(crate) async fn find(&self, text: &str) -> Result<Option<ApiKeyRow>, JournalError> {
        self.records.api_key(self.mac(text)).await
    }

    fn mac(&self, text: &str) -> Digest {
        #[allow(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.pepper).unwrap();
        mac.update(text.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}
