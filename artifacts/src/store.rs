//! The store itself.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig};
use sha2::Digest as _;

use crate::address::Address;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::limits::{
    CONNECT_TIME_MAX, PART_BYTES, READ_BYTES, REQUEST_TIME_MAX, RETRIES_MAX, RETRY_TIME_MAX, TOUCH_AFTER,
};
use crate::name::{self, Named};
use crate::staged;
use crate::traffic::Traffic;
use crate::writer::Writer;

/// A way to the store, cheap to share. What is in it outlives every process.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    pub(crate) traffic: Arc<Traffic>,
}

pub(crate) struct Inner {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) prefix: String,
    address: Address,
    /// Where the objects are files.
    folder: Option<PathBuf>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.inner.address.to_string()).finish()
    }
}

/// What is known of an artifact without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its length.
    pub bytes: u64,
    /// When it was put last.
    pub touched_at: SystemTime,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose it is, and its name; none for an upload that was never finished.
    pub artifact: Option<(String, Digest)>,
    /// What is known of it.
    pub head: Head,
    path: Path,
}

/// An artifact, or a part of it, piece by piece.
pub type Reading = BoxStream<'static, Result<Bytes, StoreError>>;

impl Store {
    /// A way to the store at an address. Nothing is asked of S3 yet; a folder is made where it is missing.
    ///
    /// # Errors
    /// [`StoreError`], with what to do.
    pub fn open(address: &str) -> Result<Self, StoreError> {
        let address: Address = address.parse()?;
        let (objects, prefix, folder): (Arc<dyn ObjectStore>, _, _) = match &address {
            Address::Folder(folder) => {
                let unusable = |source| StoreError::Folder { folder: folder.display().to_string(), source };
                std::fs::create_dir_all(folder).map_err(unusable)?;
                let objects = LocalFileSystem::new_with_prefix(folder).map_err(|e| StoreError::of("open", e))?;
                (Arc::new(objects.with_fsync(true)), String::new(), Some(folder.clone()))
            }
            Address::S3 { bucket, prefix, endpoint, region } => {
                (Arc::new(s3(bucket, endpoint.as_deref(), region.as_deref())?), prefix.clone(), None)
            }
        };
        Ok(Self { inner: Arc::new(Inner { objects, prefix, address, folder }), traffic: Arc::default() })
    }

    /// The same way, with what goes there counted here.
    #[must_use]
    pub fn counted(self, traffic: Arc<Traffic>) -> Self {
        Self { traffic, ..self }
    }

    /// What has gone this way.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The store did not do what it was asked for.
    pub(crate) fn failed(&self, doing: &'static str, source: Error) -> StoreError {
        self.traffic.error();
        StoreError::of(doing, source)
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// Marks the store with this id, unless it has one; gives the id that it has now.
    ///
    /// # Errors
    /// [`StoreError`], with what to do.
    pub async fn mark(&self, id: &str) -> Result<String, StoreError> {
        if let Some(id) = self.read_mark().await? {
            return Ok(id);
        }
        let path = name::joined(&self.inner.prefix, &[name::MARK]);
        let put = self.inner.objects.put(&path, Bytes::copy_from_slice(id.as_bytes()).into()).await;
        put.map_err(|e| self.failed("take its mark", e))?;
        Ok(id.to_owned())
    }

    /// Whether this is the store with this mark: a folder of the same name may be another machine's.
    ///
    /// # Errors
    /// [`StoreError::NotShared`] if it is not.
    pub async fn check(&self, id: &str) -> Result<(), StoreError> {
        match self.read_mark().await? {
            Some(found) if found == id => Ok(()),
            _ => Err(StoreError::NotShared { address: self.inner.address.to_string() }),
        }
    }

    async fn read_mark(&self) -> Result<Option<String>, StoreError> {
        const MARK_BYTES_MAX: u64 = 128;
        let path = name::joined(&self.inner.prefix, &[name::MARK]);
        match self.inner.objects.head(&path).await {
            Ok(meta) if (1..=MARK_BYTES_MAX).contains(&meta.size) => {
                let bytes = self.inner.objects.get_range(&path, 0..meta.size).await;
                let bytes = bytes.map_err(|e| self.failed("give its mark", e))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Ok(_) | Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("give its mark", error)),
        }
    }

    /// What is known of an artifact.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not answer.
    pub async fn head(&self, tenant: &str, digest: Digest) -> Result<Option<Head>, StoreError> {
        let path = name::object(&self.inner.prefix, tenant, digest)?;
        match self.inner.objects.head(&path).await {
            Ok(meta) => Ok(Some(head(&meta))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("say what it has", error)),
        }
    }

    /// Puts bytes that are at hand. What is there already is not sent again.
    ///
    /// # Errors
    /// [`StoreError`] if it is not there afterwards.
    pub async fn put(&self, tenant: &str, bytes: Bytes) -> Result<Digest, StoreError> {
        let digest = Digest::of(&bytes);
        if self.touch(tenant, digest).await? {
            self.traffic.present();
            return Ok(digest);
        }
        let mut writer = self.writer(tenant)?;
        if bytes.len() <= PART_BYTES {
            self.put_object(tenant, digest, bytes).await?;
            self.traffic.put();
            return Ok(digest);
        }
        writer.write(bytes).await?;
        writer.finish().await.map(|(digest, _)| digest)
    }

    /// Takes an artifact of unknown length, piece by piece.
    ///
    /// # Errors
    /// [`StoreError::Tenant`].
    pub fn writer(&self, tenant: &str) -> Result<Writer, StoreError> {
        name::tenant(tenant)?;
        Ok(Writer::new(self.clone(), tenant.to_owned()))
    }

    pub(crate) async fn put_object(&self, tenant: &str, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        let path = name::object(&self.inner.prefix, tenant, digest)?;
        let length = bytes.len();
        self.inner.objects.put(&path, bytes.into()).await.map_err(|e| self.failed("take the artifact", e))?;
        self.traffic.put_bytes(length);
        Ok(())
    }

    /// Makes a new name durable, where names are those of a folder.
    pub(crate) async fn sync_name(&self, path: &Path) -> Result<(), StoreError> {
        let Some(folder) = &self.inner.folder else { return Ok(()) };
        let file = folder.join(path.as_ref());
        let parent = file.parent().map_or_else(|| folder.clone(), std::path::Path::to_path_buf);
        let synced = tokio::task::spawn_blocking(move || std::fs::File::open(parent)?.sync_all());
        let unusable = |source| StoreError::Folder { folder: folder.display().to_string(), source };
        synced.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(unusable)
    }

    /// Says that an artifact is wanted, so that collection leaves it alone for another day. `false` = it must be sent (again).
    pub(crate) async fn touch(&self, tenant: &str, digest: Digest) -> Result<bool, StoreError> {
        let Some(head) = self.head(tenant, digest).await? else { return Ok(false) };
        let age = SystemTime::now().duration_since(head.touched_at).unwrap_or(Duration::ZERO);
        if age < TOUCH_AFTER {
            return Ok(true);
        }
        let Some(folder) = &self.inner.folder else { return Ok(false) };
        let path = folder.join(name::object(&self.inner.prefix, tenant, digest)?.as_ref());
        let touched = tokio::task::spawn_blocking(move || {
            std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())
        });
        // Whatever keeps it from being touched, sending it again does the same.
        Ok(matches!(touched.await, Ok(Ok(()))))
    }

    /// Reads an artifact, or these bytes of it. Asked for whole, the last piece comes only if all have the right digest.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; later ones come in the stream.
    pub async fn read(&self, tenant: &str, digest: Digest, range: Option<Range<u64>>) -> Result<Reading, StoreError> {
        let head = self.head(tenant, digest).await?.ok_or(StoreError::NotFound { digest })?;
        let path = name::object(&self.inner.prefix, tenant, digest)?;
        let whole = 0..head.bytes;
        let range = range.map_or_else(|| whole.clone(), |range| range.start..range.end.min(head.bytes));
        let hasher = (range == whole).then(sha2::Sha256::new);
        self.traffic.read();
        let pieces = Pieces { store: self.clone(), path, digest, range, hasher };
        Ok(futures::stream::try_unfold(pieces, Pieces::next).boxed())
    }

    /// An artifact as one piece, if it has at most so many bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if it has more.
    pub async fn get(&self, tenant: &str, digest: Digest, bytes_max: u64) -> Result<Bytes, StoreError> {
        let head = self.head(tenant, digest).await?.ok_or(StoreError::NotFound { digest })?;
        if head.bytes > bytes_max {
            return Err(StoreError::TooLarge);
        }
        let mut whole = bytes::BytesMut::with_capacity(head.bytes as usize);
        let mut pieces = self.read(tenant, digest, None).await?;
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Everything that is there, in no order, a page of the store's own at a time.
    pub fn list(&self) -> BoxStream<'static, Result<Listed, StoreError>> {
        let prefix = name::joined(&self.inner.prefix, &[]);
        let (inner, store) = (Arc::clone(&self.inner), self.clone());
        self.inner
            .objects
            .list(Some(&prefix))
            .map_err(move |error| store.failed("list what it has", error))
            .try_filter_map(move |meta| {
                let listed = match name::read(&inner.prefix, &meta.location) {
                    Named::Artifact(tenant, digest) => Some(Some((tenant, digest))),
                    Named::Incoming => Some(None),
                    Named::Other => None,
                };
                let listed = listed.map(|artifact| Listed { artifact, head: head(&meta), path: meta.location });
                std::future::ready(Ok(listed))
            })
            .boxed()
    }

    /// Removes what writers that have died left behind in a folder: pieces that were never given a name, and were not written
    /// to since `before`. A listing does not show them. Gives their number and bytes.
    ///
    /// # Errors
    /// [`StoreError::Folder`].
    pub async fn sweep(&self, before: SystemTime) -> Result<(u64, u64), StoreError> {
        let Some(folder) = self.inner.folder.clone() else { return Ok((0, 0)) };
        let shown = folder.display().to_string();
        let swept = tokio::task::spawn_blocking(move || staged::sweep(&folder, before)).await;
        let swept = swept.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        swept.map_err(|source| StoreError::Folder { folder: shown, source })
    }

    /// Removes what a listing showed, unless it was touched at or after `before` meanwhile. `false` = it was, or is gone.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not answer.
    pub async fn remove(&self, listed: &Listed, before: SystemTime) -> Result<bool, StoreError> {
        match self.inner.objects.head(&listed.path).await {
            Ok(meta) if head(&meta).touched_at < before => {}
            Ok(_) | Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(self.failed("say what it has", error)),
        }
        match self.inner.objects.delete(&listed.path).await {
            Ok(()) => {
                self.traffic.remove(listed.head.bytes);
                Ok(true)
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("remove an artifact", error)),
        }
    }
}

fn s3(bucket: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<object_store::aws::AmazonS3, StoreError> {
    // Who installed one before is as welcome.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_virtual_hosted_style_request(false);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let allows_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let options = ClientOptions::new()
        .with_timeout(REQUEST_TIME_MAX)
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_allow_http(allows_http);
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES_MAX, retry_timeout: RETRY_TIME_MAX };
    builder.with_client_options(options).with_retry(retry).build().map_err(|e| StoreError::of("open", e))
}

/// What is still to be read of an artifact: each piece is a request of its own, so that a reader who stops holds nothing.
struct Pieces {
    store: Store,
    path: Path,
    digest: Digest,
    range: Range<u64>,
    /// If the whole is read.
    hasher: Option<sha2::Sha256>,
}

impl Pieces {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        if self.range.is_empty() {
            return self.verified().map(|()| None);
        }
        let end = self.range.end.min(self.range.start + READ_BYTES);
        let piece = self.store.inner.objects.get_range(&self.path, self.range.start..end).await;
        let piece = piece.map_err(|error| match error {
            Error::NotFound { .. } => StoreError::NotFound { digest: self.digest },
            error => self.store.failed("give the artifact", error),
        })?;
        self.store.traffic.read_bytes(piece.len());
        if piece.is_empty() {
            return Err(StoreError::Damaged { digest: self.digest });
        }
        self.range.start += piece.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        if self.range.is_empty() {
            // Before the last piece leaves: who has read all has read what was put.
            self.verified()?;
        }
        Ok(Some((piece, self)))
    }

    fn verified(&mut self) -> Result<(), StoreError> {
        let found = self.hasher.take().map(|hasher| Digest(hasher.finalize().into()));
        match found.is_none_or(|found| found == self.digest) {
            true => Ok(()),
            false => Err(StoreError::Damaged { digest: self.digest }),
        }
    }
}

fn head(meta: &ObjectMeta) -> Head {
    let millis = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
    Head { bytes: meta.size, touched_at: SystemTime::UNIX_EPOCH + Duration::from_millis(millis) }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
