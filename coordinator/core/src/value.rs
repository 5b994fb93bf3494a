//! Values and the references that stand for them. A run holds references only (E15).

use std::fmt::{self, Write as _};
use std::sync::Arc;

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
        const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        // Digit by digit: lists of many references are written down with it.
        self.0.iter().try_for_each(|byte| {
            f.write_char(DIGITS[usize::from(byte >> 4)])?;
            f.write_char(DIGITS[usize::from(byte & 15)])
        })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value: compact JSON text of at most [`crate::limits::INLINE_VALUE_BYTES_MAX`] bytes, or the description of an artifact,
/// whose bytes lie in the artifact store and are never here.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    json: Bytes,
    digest: Digest,
    artifact: Option<Arc<Artifact>>,
}

/// What lies in the artifact store, under its tenant and digest (E18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Their number.
    pub bytes: u64,
    /// What they are.
    pub media_type: Arc<str>,
    /// Whether they are the JSON text of the value itself, which was too large for a row; else the value is the file.
    pub is_json: bool,
}

impl Value {
    /// Takes JSON text as it is. The caller has checked that it is JSON.
    pub fn from_json(json: Bytes) -> Self {
        let digest = Digest::of(&json);
        Self { json, digest, artifact: None }
    }

    /// Takes text whose digest is known already, as rows of the journal do.
    pub fn from_parts(json: Bytes, digest: Digest) -> Self {
        Self { json, digest, artifact: None }
    }

    /// The value that lies in the store.
    pub fn from_artifact(artifact: Artifact) -> Self {
        let json = artifact.json();
        Self { json, digest: artifact.digest, artifact: Some(Arc::new(artifact)) }
    }

    /// Its JSON text; of an artifact, its description.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The artifact, if the value is one.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.artifact.as_deref()
    }

    /// Its length in bytes, wherever they lie.
    pub fn bytes(&self) -> u64 {
        self.artifact.as_ref().map_or(self.json.len() as u64, |artifact| artifact.bytes)
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Artifact {
    /// Its description: what people and runners see in place of its bytes.
    fn json(&self) -> Bytes {
        let media_type = serde_json::to_string(&self.media_type).unwrap_or_else(|_| "null".to_owned());
        let (bytes, digest) = (self.bytes, self.digest);
        format!(r#"{{"bytes":{bytes},"digest":"{digest}","mediaType":{media_type}}}"#).into()
    }
}

impl fmt::Debug for Value {
    // Payloads are data of a tenant: they show in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes, {})", self.bytes(), self.digest)
    }
}

/// Where a value lies: in the body of which event, at which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValueRef {
    /// The event whose body holds it.
    pub seq: EventSeq,
    /// Its place in that body, from 0.
    pub place: u32,
    /// Its length in bytes.
    pub bytes: u32,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Whether it is a JSON array, as far as that can be told: of what lies in the artifact store it is not known.
    pub is_array: bool,
}
