//! What can go wrong with the store.

use thiserror::Error;

use crate::digest::Digest;
use crate::limits::ARTIFACT_BYTES_MAX;

/// Why the store did not do what it was asked for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The address is of no kind of store.
    #[error("{address:?} is no artifact store: use a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME")]
    Address {
        /// What was given; it holds no secret.
        address: String,
    },
    /// The address names something that its kind of store does not know.
    #[error("the artifact store's address has no option {name:?}: it takes endpoint and region")]
    Option {
        /// What was given.
        name: String,
    },
    /// The folder cannot be made or used.
    #[error("the artifact folder {folder} cannot be used; check its permissions and the disk's space")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// This process sees another store than the coordinator under the same address.
    #[error(
        "the artifact store {address} is not the coordinator's: a folder serves one machine only; a cluster of several \
         machines needs --artifacts s3://BUCKET/PREFIX at its coordinator"
    )]
    NotShared {
        /// The store's address.
        address: String,
    },
    /// A tenant's name that no folder can have.
    #[error("a tenant's name has 1 to 128 bytes")]
    Tenant,
    /// More than one artifact may have.
    #[error("an artifact has at most {ARTIFACT_BYTES_MAX} bytes; split it")]
    TooLarge,
    /// There is no such artifact.
    #[error("there is no artifact {digest}")]
    NotFound {
        /// Its name.
        digest: Digest,
    },
    /// The bytes are not those that were put.
    #[error("the artifact {digest} is damaged: its bytes have another digest; restore it from a backup")]
    Damaged {
        /// Its name.
        digest: Digest,
    },
    /// The store refuses this process.
    #[error(
        "the artifact store refuses the credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to ones it takes"
    )]
    Refused {
        /// What the store says.
        source: object_store::Error,
    },
    /// The store does not answer, or not as it should.
    #[error("the artifact store did not {doing}")]
    Store {
        /// What was asked.
        doing: &'static str,
        /// What it says.
        source: object_store::Error,
    },
}

impl StoreError {
    pub(crate) fn of(doing: &'static str, source: object_store::Error) -> Self {
        use object_store::Error;
        match source {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreError::Refused { source },
            source => StoreError::Store { doing, source },
        }
    }

    /// A stable name, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Address { .. } | StoreError::Option { .. } => "artifact_store_address_invalid",
            StoreError::Folder { .. } => "artifact_folder_unusable",
            StoreError::NotShared { .. } => "artifact_store_not_shared",
            StoreError::Tenant => "tenant_name_invalid",
            StoreError::TooLarge => "artifact_too_large",
            StoreError::NotFound { .. } => "artifact_not_found",
            StoreError::Damaged { .. } => "artifact_damaged",
            StoreError::Refused { .. } => "artifact_store_refused",
            StoreError::Store { .. } => "artifact_store_unavailable",
        }
    }

    /// Whether the same may go better later, without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Store { .. })
    }
}
