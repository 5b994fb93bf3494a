//! Rows about artifacts in memory, for tests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use heddle_core::id::{RunId, TenantId, UploadId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::{ArtifactRow, ArtifactRows, UploadRow};
use crate::auth::Tenant;
use crate::journal::Answer;
use crate::journal::artifacts::Used;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::memory::{MemoryJournal, answer};

/// The tables.
#[derive(Default)]
pub(crate) struct ArtifactTables {
    artifacts: BTreeMap<(TenantId, Digest), ArtifactRow>,
    references: BTreeSet<(TenantId, Digest, RunId)>,
    uploads: BTreeMap<UploadId, UploadRow>,
    agreed: BTreeMap<&'static str, Bytes>,
}

impl ArtifactTables {
    /// What a batch writes.
    pub(crate) fn refer(&mut self, run: RunId, tenant: &TenantId, used: Used) {
        self.references.insert((tenant.clone(), used.digest, run));
        self.put(tenant, used);
    }

    /// Somebody needs an artifact that is there already.
    pub(crate) fn need(&mut self, run: RunId, tenant: &TenantId, digest: Digest) {
        self.references.insert((tenant.clone(), digest, run));
    }

    /// Somebody needs none any more.
    pub(crate) fn need_no_more(&mut self, run: RunId) {
        self.references.retain(|(_, _, by)| *by != run);
    }

    /// A run is gone: it needs none any more, and they are kept for another day.
    pub(crate) fn release(&mut self, run: RunId, now: Timestamp) {
        let needed: Vec<_> = self.references.iter().filter(|(_, _, by)| *by == run).cloned().collect();
        needed.iter().for_each(|(tenant, digest, _)| self.touch(tenant, *digest, now));
        self.need_no_more(run);
    }

    fn put(&mut self, tenant: &TenantId, used: Used) {
        let Used { digest, bytes, media_type, from, to } = used;
        let row = self.artifacts.entry((tenant.clone(), digest)).or_insert_with(|| ArtifactRow {
            digest,
            bytes,
            media_type,
            created_at: from,
            touched_at: to,
        });
        (row.created_at, row.touched_at) = (row.created_at.min(from), row.touched_at.max(to));
    }

    /// It is kept for another day.
    pub(crate) fn touch(&mut self, tenant: &TenantId, digest: Digest, now: Timestamp) {
        if let Some(row) = self.artifacts.get_mut(&(tenant.clone(), digest)) {
            row.touched_at = row.touched_at.max(now);
        }
    }

    /// What is said of its bytes stands with the artifact, and was said by whoever brought them first.
    fn shown(&self, upload: &UploadRow) -> UploadRow {
        let Some(row) = self.artifacts.get(&(upload.tenant.clone(), upload.digest)) else { return upload.clone() };
        UploadRow { bytes: row.bytes, media_type: row.media_type.clone(), ..upload.clone() }
    }

    fn is_needed(&self, tenant: &TenantId, digest: Digest) -> bool {
        self.references.iter().any(|(whose, which, _)| whose == tenant && *which == digest)
            || self.uploads.values().any(|upload| upload.tenant == *tenant && upload.digest == digest)
    }
}

impl ArtifactRows for MemoryJournal {
    fn agree(&self, name: &'static str, proposed: Bytes) -> Answer<Bytes> {
        answer(self.tables().artifacts.agreed.entry(name).or_insert(proposed).clone())
    }

    fn artifact(&self, tenant: Tenant, digest: Digest) -> Answer<Option<ArtifactRow>> {
        answer(self.tables().artifacts.artifacts.get(&(tenant.id().clone(), digest)).cloned())
    }

    fn touch_artifact(&self, tenant: Tenant, digest: Digest, now: Timestamp) -> Answer<Option<ArtifactRow>> {
        let mut tables = self.tables();
        let row = tables.artifacts.artifacts.get_mut(&(tenant.id().clone(), digest));
        answer(row.map(|row| {
            row.touched_at = row.touched_at.max(now);
            row.clone()
        }))
    }

    fn artifact_bytes(&self, tenant: Tenant) -> Answer<u64> {
        let tables = self.tables();
        let its = tables.artifacts.artifacts.iter().filter(|((whose, _), _)| whose == tenant.id());
        answer(its.map(|(_, row)| row.bytes).sum())
    }

    fn put_upload(&self, upload: UploadRow) -> Answer<()> {
        let tables = &mut self.tables().artifacts;
        let UploadRow { digest, bytes, created_at, .. } = upload;
        let media_type = upload.media_type.clone();
        tables.put(&upload.tenant, Used { digest, bytes, media_type, from: created_at, to: created_at });
        tables.uploads.entry(upload.id).or_insert(upload);
        answer(())
    }

    fn upload(&self, tenant: Tenant, id: UploadId) -> Answer<Option<UploadRow>> {
        let tables = self.tables();
        let its = tables.artifacts.uploads.get(&id).filter(|row| row.tenant == *tenant.id());
        answer(its.map(|row| tables.artifacts.shown(row)))
    }

    fn uploads(&self, tenant: Tenant, before: Option<UploadId>, limit: usize) -> Answer<Vec<UploadRow>> {
        let tables = self.tables();
        let is_listed = |row: &&UploadRow| row.tenant == *tenant.id() && before.is_none_or(|before| row.id < before);
        let its = tables.artifacts.uploads.values().filter(is_listed);
        let mut rows: Vec<_> = its.map(|row| tables.artifacts.shown(row)).collect();
        rows.sort_by_key(|row| Reverse(row.id));
        rows.truncate(limit.min(PAGE_ROWS_MAX));
        answer(rows)
    }

    fn delete_upload(&self, tenant: Tenant, id: UploadId) -> Answer<bool> {
        let uploads = &mut self.tables().artifacts.uploads;
        let is_there = uploads.get(&id).is_some_and(|row| row.tenant == *tenant.id());
        if is_there {
            uploads.remove(&id);
        }
        answer(is_there)
    }

    fn forget_artifacts(&self, before: Timestamp, limit: usize) -> Answer<Vec<(TenantId, Digest)>> {
        let all = &mut *self.tables();
        let (tables, cache) = (&mut all.artifacts, &all.cache);
        let old = tables.artifacts.iter().filter(|(_, row)| row.touched_at < before);
        let mut gone: Vec<_> = old
            .filter(|((tenant, digest), _)| !tables.is_needed(tenant, *digest) && !cache.needs(tenant, *digest))
            .map(|((tenant, digest), row)| (row.touched_at, tenant.clone(), *digest))
            .collect();
        gone.sort();
        gone.truncate(limit.min(PAGE_ROWS_MAX));
        let gone: Vec<_> = gone.into_iter().map(|(_, tenant, digest)| (tenant, digest)).collect();
        gone.iter().for_each(|address| drop(tables.artifacts.remove(address)));
        answer(gone)
    }
}
