//! An artifact on its way in: hashed as it comes, in parts of a fixed size.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, UploadPart};
use sha2::Digest as _;

use crate::digest::Digest;
use crate::error::StoreError;
use crate::limits::{ARTIFACT_BYTES_MAX, PART_BYTES, PARTS_IN_FLIGHT};
use crate::name;
use crate::store::Store;

/// Takes one artifact. Dropped before [`Writer::finish`], nothing of it stays but parts that the store or collection
/// removes.
pub struct Writer {
    store: Store,
    tenant: String,
    hasher: sha2::Sha256,
    bytes: u64,
    bytes_max: u64,
    /// What does not fill a part yet.
    part: BytesMut,
    upload: Option<Upload>,
}

struct Upload {
    path: Path,
    parts: Box<dyn MultipartUpload>,
    in_flight: FuturesUnordered<UploadPart>,
}

impl Writer {
    pub(crate) fn new(store: Store, tenant: String) -> Self {
        let (hasher, part) = (sha2::Sha256::new(), BytesMut::new());
        Self { store, tenant, hasher, bytes: 0, bytes_max: ARTIFACT_BYTES_MAX, part, upload: None }
    }

    /// Takes no more than this.
    #[must_use]
    pub fn with_limit(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max.min(ARTIFACT_BYTES_MAX);
        self
    }

    /// Takes the next piece; waits while the store has enough to do.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], or what the store says.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(StoreError::TooLarge);
        }
        self.hasher.update(&piece);
        while !piece.is_empty() {
            // A full part leaves only when more follows: what fits into one part needs no parts.
            if self.part.len() == PART_BYTES {
                // One allocation for each part, of its size: growing ones would leave as much again behind.
                let next = BytesMut::with_capacity(PART_BYTES);
                let part = std::mem::replace(&mut self.part, next).freeze();
                self.send(part).await?;
            }
            let room = PART_BYTES - self.part.len();
            self.part.extend_from_slice(&piece.split_to(room.min(piece.len())));
        }
        Ok(())
    }

    /// Makes the artifact whole; gives its name and length.
    ///
    /// # Errors
    /// What the store says. Then it is not there.
    pub async fn finish(mut self) -> Result<(Digest, u64), StoreError> {
        let digest = Digest(std::mem::take(&mut self.hasher).finalize().into());
        let last = self.part.split().freeze();
        let is_there = self.store.touch(&self.tenant, digest).await?;
        match self.upload.take() {
            None if is_there => {}
            None => self.store.put_object(&self.tenant, digest, last).await?,
            Some(mut upload) if is_there => upload.abort().await,
            Some(upload) => {
                self.upload = Some(upload);
                self.send(last).await?;
                if let Some(upload) = self.upload.take() {
                    upload.complete(&self.store, &self.tenant, digest).await?;
                }
            }
        }
        if is_there {
            self.store.traffic.present()
        } else {
            self.store.traffic.put()
        }
        Ok((digest, self.bytes))
    }

    /// Gives up, and says so to the store.
    pub async fn abort(mut self) {
        if let Some(mut upload) = self.upload.take() {
            upload.abort().await;
        }
    }

    async fn send(&mut self, part: Bytes) -> Result<(), StoreError> {
        let store = self.store.clone();
        let taken = |result: object_store::Result<()>| result.map_err(|e| store.failed("take a part", e));
        if self.upload.is_none() {
            let random = getrandom::u64().unwrap_or(0);
            let random = u128::from(random) << 64 | u128::from(getrandom::u64().unwrap_or(0));
            let path = name::incoming(&self.store.inner.prefix, &self.tenant, random)?;
            let parts = self.store.inner.objects.put_multipart(&path).await;
            let parts = parts.map_err(|e| self.store.failed("begin an upload", e))?;
            self.upload = Some(Upload { path, parts, in_flight: FuturesUnordered::new() });
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        while upload.in_flight.len() >= PARTS_IN_FLIGHT
            && let Some(result) = upload.in_flight.next().await
        {
            taken(result)?;
        }
        store.traffic.put_bytes(part.len());
        upload.in_flight.push(upload.parts.put_part(PutPayload::from_bytes(part)));
        Ok(())
    }
}

impl Upload {
    async fn complete(mut self, store: &Store, tenant: &str, digest: Digest) -> Result<(), StoreError> {
        while let Some(result) = self.in_flight.next().await {
            result.map_err(|e| store.failed("take a part", e))?;
        }
        self.parts.complete().await.map_err(|e| store.failed("finish an upload", e))?;
        let path = name::object(&store.inner.prefix, tenant, digest)?;
        // Within the store: the bytes do not travel again.
        let renamed = store.inner.objects.rename(&self.path, &path).await;
        renamed.map_err(|e| store.failed("name an artifact", e))?;
        store.sync_name(&path).await
    }

    async fn abort(&mut self) {
        while self.in_flight.next().await.is_some() {}
        if let Err(error) = self.parts.abort().await {
            tracing::debug!(%error, "an upload that is not wanted stays until it is collected");
        }
    }
}
