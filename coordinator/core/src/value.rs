//! Values and the references that stand for them. A run holds references only (E15).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::EventSeq;

/// The SHA-256 of a value's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value in full: compact JSON text, at most [`crate::limits::INLINE_VALUE_BYTES_MAX`] long.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    json: Bytes,
    digest: Digest,
}

impl Value {
    /// Takes JSON text as it is. The caller has checked that it is JSON.
    pub fn from_json(json: Bytes) -> Self {
        let digest = Digest::of(&json);
        Self { json, digest }
    }

    /// Takes text whose digest is known already, as rows of the journal do.
    pub fn from_parts(json: Bytes, digest: Digest) -> Self {
        Self { json, digest }
    }

    /// Its JSON text.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Value {
    // Payloads are data of a tenant: they show in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes, {})", self.json.len(), self.digest)
    }
}

/// Where a value lies: in the body of which event, at which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValueRef {
    /// The event whose body holds it.
    pub seq: EventSeq,
    /// Its place in that body, from 0.
    pub place: u32,
    /// Length of its JSON text in bytes.
    pub bytes: u32,
    /// Digest of its JSON text.
    pub digest: Digest,
}
