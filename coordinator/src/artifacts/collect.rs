//! Collection: what nobody refers to and nobody has touched for a day goes (E18). First its row, in small pages; then its
//! object, when the store is looked through: an object without a row is wanted by nobody who has committed, and who puts it
//! touches it. So a crash between the two leaves nothing behind but work for the next time.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use futures::TryStreamExt as _;
use heddle_artifacts::limits::{COLLECT_AFTER, STAGED_FOR_MAX};
use heddle_artifacts::{Listed, StoreError};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use tokio::time::sleep;

use super::Artifacts;
use crate::auth::Tenant;
use crate::journal::JournalError;
use crate::limits::{COLLECT_PAGE_ROWS, COLLECT_PERIOD, COLLECT_START_AFTER};
use crate::shared::Shared;

/// What one collection removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) rows: u64,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error("the database could not be asked")]
    Journal(#[from] JournalError),
    #[error("the artifact store could not be looked through: {}", heddle_error_chain::chain(.0))]
    Store(#[from] StoreError),
}

/// Collects now and then, as long as the coordinator is there.
pub(crate) async fn run(shared: Weak<Shared>) {
    sleep(COLLECT_START_AFTER).await;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let before = Timestamp::from_millis(shared.clock.now().as_millis() - COLLECT_AFTER.as_millis() as i64);
        let objects_before = SystemTime::now().checked_sub(COLLECT_AFTER).unwrap_or(SystemTime::UNIX_EPOCH);
        match once(&shared.artifacts, before, objects_before).await {
            Ok(Collected { objects: 0, rows: 0, .. }) => {}
            Ok(Collected { rows, objects, bytes }) => tracing::info!(rows, objects, bytes, "artifacts collected"),
            Err(error) => tracing::warn!(%error, "artifacts were not collected; trying again later"),
        }
        drop(shared);
        sleep(COLLECT_PERIOD).await;
    }
}

/// Collects what was touched last before these instants: of the rows by the database's clock, of the objects by the store's.
pub(crate) async fn once(
    artifacts: &Arc<Artifacts>,
    before: Timestamp,
    objects_before: SystemTime,
) -> Result<Collected, CollectError> {
    let mut collected = Collected::default();
    // Another cluster's store is never touched, whatever was configured.
    artifacts.store.check(&artifacts.id).await?;
    loop {
        let gone = artifacts.rows.forget_artifacts(before, COLLECT_PAGE_ROWS).await?.len();
        collected.rows += gone as u64;
        if gone < COLLECT_PAGE_ROWS {
            break;
        }
    }
    let unwritten = SystemTime::now().checked_sub(STAGED_FOR_MAX).unwrap_or(SystemTime::UNIX_EPOCH);
    let (pieces, bytes) = artifacts.store.sweep(unwritten).await?;
    collected.objects += pieces;
    collected.bytes += bytes;
    let mut objects = artifacts.store.list();
    while let Some(listed) = objects.try_next().await? {
        if listed.head.touched_at >= objects_before || is_known(artifacts, &listed).await? {
            continue;
        }
        if artifacts.store.remove(&listed, objects_before).await? {
            collected.objects += 1;
            collected.bytes += listed.head.bytes;
        }
    }
    Ok(collected)
}

async fn is_known(artifacts: &Artifacts, listed: &Listed) -> Result<bool, JournalError> {
    let Some((tenant, digest)) = Tenant::of_object(listed) else { return Ok(false) };
    let row = artifacts.rows.artifact(tenant, Digest(digest.0)).await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use heddle_core::id::UploadId;
    use tempfile::TempDir;

    use super::*;
    use crate::artifacts::rows::{ArtifactRows as _, UploadRow};
    use crate::artifacts::{ArtifactsError, QuotaExceeded};
    use crate::journal::memory::MemoryJournal;
    use crate::journal::system_clock;

    struct Setup {
        _folder: TempDir,
        rows: Arc<MemoryJournal>,
        artifacts: Arc<Artifacts>,
    }

    async fn setup() -> Setup {
        let folder = TempDir::new().unwrap();
        let rows = Arc::new(MemoryJournal::new(1, system_clock()).unwrap());
        let opened = Artifacts::open(folder.path().to_str().unwrap(), Some(100), Arc::clone(&rows) as _).await;
        Setup { _folder: folder, rows, artifacts: Arc::new(opened.unwrap()) }
    }

    impl Setup {
        async fn upload(&self, number: u128, at: i64) -> Digest {
            let bytes = Bytes::from(format!("file {number}"));
            let digest = Digest(self.artifacts.store.put("default", bytes.clone()).await.unwrap().0);
            let upload = UploadRow {
                id: UploadId(number),
                tenant: "default".into(),
                name: "f".into(),
                digest,
                bytes: bytes.len() as u64,
                media_type: "text/plain".into(),
                created_at: Timestamp::from_millis(at),
            };
            self.rows.put_upload(upload).await.unwrap();
            digest
        }

        async fn collect(&self, before: i64, objects_before: SystemTime) -> (u64, u64) {
            let collected = once(&self.artifacts, Timestamp::from_millis(before), objects_before).await.unwrap();
            (collected.rows, collected.objects)
        }

        async fn has(&self, digest: Digest) -> bool {
            self.artifacts.store.head("default", heddle_artifacts::Digest(digest.0)).await.unwrap().is_some()
        }
    }

    #[tokio::test]
    async fn only_what_nobody_needs_and_nobody_touched_goes() {
        let setup = setup().await;
        let later = SystemTime::now() + Duration::from_secs(60);
        let (kept, dropped) = (setup.upload(1, 1_000).await, setup.upload(2, 1_000).await);
        assert_eq!(setup.collect(5_000, later).await, (0, 0), "uploads need their artifacts");
        assert!(setup.rows.delete_upload(Tenant::of_test("default"), UploadId(2)).await.unwrap());
        assert_eq!(setup.collect(1_000, later).await, (0, 0), "it was touched in time");
        // Its row goes, and its object stays while it is young.
        assert_eq!(setup.collect(1_001, SystemTime::UNIX_EPOCH).await, (1, 0));
        assert!(setup.has(dropped).await);
        assert_eq!(setup.collect(1_001, later).await, (0, 1));
        assert!(setup.has(kept).await && !setup.has(dropped).await);
        // Whose result was never committed has no row.
        setup.artifacts.store.put("default", Bytes::from_static(b"lost")).await.unwrap();
        assert_eq!(setup.collect(1_001, later).await, (0, 1));
        let bytes = ["file 2", "lost"].concat().len() as u64;
        assert_eq!(setup.artifacts.store.traffic().removed(), (2, bytes));
    }

    #[tokio::test]
    async fn a_store_has_one_cluster() {
        let setup = setup().await;
        let address = setup.artifacts.store.address().to_string();
        let again = Artifacts::open(&address, None, Arc::clone(&setup.rows) as _).await.unwrap();
        assert_eq!((&again.id, &again.link_key), (&setup.artifacts.id, &setup.artifacts.link_key));
        let other = Arc::new(MemoryJournal::new(1, system_clock()).unwrap());
        assert!(matches!(Artifacts::open(&address, None, other).await, Err(ArtifactsError::Foreign { .. })));
        let wrong = Arc::new(Artifacts { id: "other".into(), ..again });
        assert!(once(&wrong, Timestamp::from_millis(0), SystemTime::now()).await.is_err());
    }

    #[tokio::test]
    async fn a_quota_is_held() {
        let setup = setup().await;
        assert!(matches!(setup.artifacts.room(&Tenant::of_test("default")).await, Ok(Ok(100))));
        let upload = UploadRow {
            id: UploadId(9),
            tenant: "default".into(),
            name: "f".into(),
            digest: Digest([1; 32]),
            bytes: 100,
            media_type: "text/plain".into(),
            created_at: Timestamp::from_millis(1),
        };
        setup.rows.put_upload(upload).await.unwrap();
        assert!(matches!(
            setup.artifacts.room(&Tenant::of_test("default")).await,
            Ok(Err(QuotaExceeded { used: 100, .. }))
        ));
        assert!(matches!(setup.artifacts.room(&Tenant::of_test("other")).await, Ok(Ok(100))));
    }
}
