//! What goes between a part of the cluster and the store, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has gone to stores and come from them since this value was made. Whoever opens stores one after the other may give
/// all of them the same.
#[derive(Debug, Default)]
pub struct Traffic {
    put: AtomicU64,
    present: AtomicU64,
    read: AtomicU64,
    bytes_put: AtomicU64,
    bytes_read: AtomicU64,
    removed: AtomicU64,
    bytes_removed: AtomicU64,
    errors: AtomicU64,
}

impl Traffic {
    /// Artifacts by what became of them: sent to the store, not sent since they were there already, and read, in part or
    /// in full.
    pub fn artifacts(&self) -> [(&'static str, u64); 3] {
        [("put", load(&self.put)), ("present", load(&self.present)), ("read", load(&self.read))]
    }

    /// Bytes that were sent to the store and read from it.
    pub fn bytes(&self) -> [(&'static str, u64); 2] {
        [("put", load(&self.bytes_put)), ("read", load(&self.bytes_read))]
    }

    /// Artifacts and parts of unfinished ones that were removed, and their bytes.
    pub fn removed(&self) -> (u64, u64) {
        (load(&self.removed), load(&self.bytes_removed))
    }

    /// Requests that the store did not answer as it should, after they were tried again.
    pub fn errors(&self) -> u64 {
        load(&self.errors)
    }

    pub(crate) fn put(&self) {
        add(&self.put, 1);
    }

    pub(crate) fn present(&self) {
        add(&self.present, 1);
    }

    pub(crate) fn read(&self) {
        add(&self.read, 1);
    }

    pub(crate) fn put_bytes(&self, bytes: usize) {
        add(&self.bytes_put, bytes as u64);
    }

    pub(crate) fn read_bytes(&self, bytes: usize) {
        add(&self.bytes_read, bytes as u64);
    }

    pub(crate) fn remove(&self, bytes: u64) {
        add(&self.removed, 1);
        add(&self.bytes_removed, bytes);
    }

    pub(crate) fn error(&self) {
        add(&self.errors, 1);
    }
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
