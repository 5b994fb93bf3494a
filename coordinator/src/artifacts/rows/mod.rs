//! Rows about artifacts: what there is, who needs it, what people brought. References of runs are written with the events
//! that make them; everything else here is a guarded write of its own.

pub(crate) mod memory;
mod postgres;
mod sqlite;

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{TenantId, UploadId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use crate::auth::Tenant;
use crate::journal::Answer;

/// What keeps rows about artifacts.
pub trait ArtifactRows: Send + Sync + 'static {
    /// What all coordinators agree on under this name: the value kept first, which is this one if there is none.
    fn agree(&self, name: &'static str, proposed: Bytes) -> Answer<Bytes>;

    /// A tenant's artifact.
    fn artifact(&self, tenant: Tenant, digest: Digest) -> Answer<Option<ArtifactRow>>;

    /// Says that a tenant's artifact is wanted, so that it is kept for another day; gives the row as it is now.
    fn touch_artifact(&self, tenant: Tenant, digest: Digest, now: Timestamp) -> Answer<Option<ArtifactRow>>;

    /// Bytes of all artifacts of a tenant.
    fn artifact_bytes(&self, tenant: Tenant) -> Answer<u64>;

    /// Keeps a file that somebody brought, and its artifact's row. The same id again changes nothing.
    fn put_upload(&self, upload: UploadRow) -> Answer<()>;

    /// A file that somebody of this tenant brought.
    fn upload(&self, tenant: Tenant, id: UploadId) -> Answer<Option<UploadRow>>;

    /// A tenant's files, the youngest first, before `before` if there is one.
    fn uploads(&self, tenant: Tenant, before: Option<UploadId>, limit: usize) -> Answer<Vec<UploadRow>>;

    /// Removes a file from the list; its artifact goes when nobody needs it. `false` = there was none.
    fn delete_upload(&self, tenant: Tenant, id: UploadId) -> Answer<bool>;

    /// Removes at most `limit` rows of artifacts that nobody refers to and that were touched last before `before`; gives
    /// their addresses, those touched first coming first (E18). Their objects go when the store is looked through.
    fn forget_artifacts(&self, before: Timestamp, limit: usize) -> Answer<Vec<(TenantId, Digest)>>;
}

/// What is known of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Its name.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub media_type: Arc<str>,
    /// When it was put first.
    pub created_at: Timestamp,
    /// When it was put or wanted last.
    pub touched_at: Timestamp,
}

/// A file that somebody brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Which.
    pub id: UploadId,
    /// Whose.
    pub tenant: TenantId,
    /// For people.
    pub name: Arc<str>,
    /// Its artifact.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub media_type: Arc<str>,
    /// When it was brought.
    pub created_at: Timestamp,
}
