//! Events as rows, and back: by hand, field by field, so that neither side can change without the other noticing (E28).
//!
//! The row format is fixed in `proto/journal/v1/journal.proto`; the tests of this module hold the bytes of each kind.

mod beside;
mod children;
mod decode;
mod encode;
#[cfg(test)]
mod golden;
mod jobs;
mod lineage;
mod listening;
#[cfg(test)]
pub(crate) mod random;
mod reviews;

use bytes::Bytes;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use thiserror::Error;

pub use beside::{decode_cached, decode_message, decode_plan, encode_cached, encode_message, encode_plan};
pub use decode::{ReadBody, decode, decode_body, decode_run_error};
pub use encode::{encode, encode_run_error};

/// One event as the database keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The run it belongs to.
    pub run: RunId,
    /// Its place in that run's history.
    pub seq: EventSeq,
    /// The number of its fact in `Head.fact`.
    pub kind: u16,
    /// The version of that fact's message.
    pub version: u16,
    /// When it happened.
    pub at: Timestamp,
    /// Both checksums; see the proto file.
    pub crc: u64,
    /// All that the fold needs.
    pub head: Bytes,
    /// The values; `None` if the reader left them out.
    pub body: Option<Bytes>,
}

impl Row {
    /// Its bytes, as pages and merges count them.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// Why a row cannot be understood. Nothing is guessed and nothing skipped: the run is set aside with this reason (E28).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A newer release wrote it.
    #[error(
        "event {seq} of {run} has kind {kind}, which this release does not know: run the release that wrote it, or a newer one"
    )]
    UnknownKind {
        /// The run.
        run: RunId,
        /// The event.
        seq: EventSeq,
        /// Its kind.
        kind: u16,
    },
    /// A newer release wrote it.
    #[error(
        "event {seq} of {run} has version {version} of kind {kind}, which this release does not know: run the release that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// The run.
        run: RunId,
        /// The event.
        seq: EventSeq,
        /// Its kind.
        kind: u16,
        /// Its version.
        version: u16,
    },
    /// The bytes are not those that were written.
    #[error(
        "event {seq} of {run} fails its checksum: its bytes have changed since they were written, restore them from a backup"
    )]
    Checksum {
        /// The run.
        run: RunId,
        /// The event.
        seq: EventSeq,
    },
    /// The bytes are whole, and still make no event.
    #[error("event {seq} of {run} makes no sense ({what}): please report this with the row")]
    Malformed {
        /// The run.
        run: RunId,
        /// The event.
        seq: EventSeq,
        /// Which part.
        what: &'static str,
    },
}

/// The version of each kind that this release writes; readers know all up to it.
const VERSION: u16 = 1;

/// The number of each fact in `Head.fact`.
mod kind {
    pub(super) const SUBMITTED: u16 = 1;
    pub(super) const CONTINUED: u16 = 2;
    pub(super) const SUCCEEDED: u16 = 3;
    pub(super) const FAILED: u16 = 4;
    pub(super) const LOST: u16 = 5;
    pub(super) const HANDED_BACK: u16 = 6;
    pub(super) const INTENT_RECORDED: u16 = 7;
    pub(super) const HANDLE_RECORDED: u16 = 8;
    pub(super) const TIMER_FIRED: u16 = 9;
    pub(super) const ENDED: u16 = 10;
    pub(super) const STOPPED: u16 = 11;
    pub(super) const DISCARDED: u16 = 12;
    pub(super) const SETTLED: u16 = 16;
    pub(super) const ANSWERED: u16 = 17;
    pub(super) const REVIEWED: u16 = 18;
    pub(super) const OFFERED: u16 = 24;
    pub(super) const SIGNALLED: u16 = 25;
    pub(super) const CALLED: u16 = 26;
    pub(super) const CHILD_ENDED: u16 = 27;
    pub(super) const PAUSED: u16 = 29;
    pub(super) const UNPAUSED: u16 = 30;
    pub(super) const PROVIDER_CANCELLED: u16 = 31;

    pub(super) fn is_known(kind: u16) -> bool {
        matches!(kind, SUBMITTED..=DISCARDED | SETTLED..=REVIEWED | OFFERED..=CHILD_ENDED | PAUSED..=PROVIDER_CANCELLED)
    }
}

/// The same row in the history of another run.
pub(crate) fn of_run(row: &Row, run: RunId) -> Row {
    let mut row = Row { run, ..row.clone() };
    let (head, all) = checksums(&row);
    row.crc = u64::from(head) << 32 | u64::from(all);
    row
}

/// A hash over the last row of a run's history, values by their checksum: what a tombstone keeps of it, and what an exported
/// history can be held against.
pub fn head_hash(last: Option<&Row>) -> Digest {
    let Some(row) = last else { return Digest::of(&[]) };
    let mut bytes = Vec::with_capacity(56 + row.head.len());
    bytes.extend_from_slice(&row.run.to_bytes());
    for number in [row.seq.0, row.kind.into(), row.version.into(), row.at.as_millis() as u64, row.crc] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&row.head);
    Digest::of(&bytes)
}

/// Both checksums of a row; the lower one is only meant when there is a body.
fn checksums(row: &Row) -> (u32, u32) {
    let mut hasher = crc32fast::Hasher::new();
    let mut identity = [0; 36];
    identity[..16].copy_from_slice(&row.run.to_bytes());
    identity[16..24].copy_from_slice(&row.seq.0.to_be_bytes());
    identity[24..26].copy_from_slice(&row.kind.to_be_bytes());
    identity[26..28].copy_from_slice(&row.version.to_be_bytes());
    identity[28..].copy_from_slice(&row.at.as_millis().to_be_bytes());
    hasher.update(&identity);
    hasher.update(&row.head);
    let head = hasher.clone().finalize();
    hasher.update(row.body.as_deref().unwrap_or_default());
    (head, hasher.finalize())
}
