//! Files as runners use them: piece by piece, never in memory as a whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use heddle_artifacts::{Digest, Reading, Writer, media};
use heddle_proto::agent as wire;
use serde::Deserialize;
use serde_json::json;

use super::desk::Desk;
use super::failed;
use crate::runners::{ErrorClass, Failure};

/// The files of one attempt: those that arrived with its inputs, and those that it makes.
#[derive(Debug, Clone)]
pub struct Files {
    desk: Arc<Desk>,
    tenant: Arc<str>,
    /// By their descriptions, so that an output which is one of them is known as a file.
    known: Arc<Mutex<HashMap<Bytes, wire::Artifact>>>,
}

impl Files {
    pub(crate) fn new(desk: Arc<Desk>, tenant: &str) -> Self {
        Self { desk, tenant: tenant.into(), known: Arc::default() }
    }

    /// Begins a new file.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn create(&self) -> Result<NewFile, Failure> {
        let writer = self.desk.store()?.writer(&self.tenant).map_err(|error| failed(&error))?;
        Ok(NewFile { files: self.clone(), writer, first: Vec::new() })
    }

    /// Reads a file whose description is this value. The last piece comes only if all are as they were put.
    ///
    /// # Errors
    /// `not_a_file` if the value is none that this attempt may read.
    pub async fn open(&self, value: &Bytes) -> Result<Reading, Failure> {
        #[derive(Deserialize)]
        struct Description {
            digest: String,
        }
        let not_a_file = || {
            let message = "a file was expected, and this value describes none; wire a file to this input";
            Failure::new(ErrorClass::InvalidRequest, "not_a_file", message)
        };
        let description: Description = serde_json::from_slice(value).map_err(|_| not_a_file())?;
        let digest: Digest = description.digest.parse().map_err(|_| not_a_file())?;
        self.desk.store()?.read(&self.tenant, digest, None).await.map_err(|error| failed(&error))
    }

    /// Takes note of a file that this attempt may pass on.
    pub(super) fn note(&self, description: Bytes, artifact: wire::Artifact) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(description, artifact);
    }

    /// The file that a value describes, if this attempt was given or has made it.
    pub(super) fn find(&self, value: &Bytes) -> Option<wire::Artifact> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() { None } else { known.get(value).cloned() }
    }

    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }
}

/// A file that is being made.
pub struct NewFile {
    files: Files,
    writer: Writer,
    /// The first bytes, which tell what it is.
    first: Vec<u8>,
}

impl NewFile {
    /// Takes the next piece.
    ///
    /// # Errors
    /// When it becomes too large, or the store does not take it.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), Failure> {
        let room = media::SNIFF_BYTES.saturating_sub(self.first.len());
        self.first.extend_from_slice(&piece[..room.min(piece.len())]);
        self.writer.write(piece).await.map_err(|error| failed(&error))
    }

    /// Makes the file whole; gives the value that describes it. What its bytes say goes before what was declared.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn finish(self, declared: Option<&str>) -> Result<Bytes, Failure> {
        let media_type = match media::settle(declared, &self.first) {
            Ok(media_type) => media_type,
            Err(media::Mismatch { found, .. }) => found,
        };
        let (digest, bytes) = self.writer.finish().await.map_err(|error| failed(&error))?;
        let artifact = wire::Artifact { digest: Bytes::copy_from_slice(&digest.0), bytes, media_type, json: false };
        let description = describe(&artifact);
        self.files.note(description.clone(), artifact);
        Ok(description)
    }
}

/// A file's description, as runners and people see it.
pub(super) fn describe(artifact: &wire::Artifact) -> Bytes {
    let digest = digest_of(artifact).map_or_else(String::new, |digest| digest.to_string());
    json!({ "bytes": artifact.bytes, "digest": digest, "mediaType": artifact.media_type }).to_string().into()
}

pub(super) fn digest_of(artifact: &wire::Artifact) -> Option<Digest> {
    artifact.digest.as_ref().try_into().ok().map(Digest)
}
