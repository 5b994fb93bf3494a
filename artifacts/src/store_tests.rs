use std::fs;

use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    (folder, store)
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|place| (place * 7 + place / 251) as u8).collect()
}

async fn read(store: &Store, digest: Digest, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
    let pieces = store.read("default", digest, range).await?;
    pieces
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

async fn names(store: &Store) -> Vec<Option<(String, Digest)>> {
    let mut names: Vec<_> = store.list().map_ok(|listed| listed.artifact).try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_put_is_read_back() {
    let (_folder, store) = store();
    for length in [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5] {
        let given = bytes(length);
        let mut writer = store.writer("default").unwrap();
        for piece in given.chunks(1_000_003) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let (digest, count) = writer.finish().await.unwrap();
        assert_eq!((digest, count), (Digest::of(&given), length as u64));
        assert_eq!(read(&store, digest, None).await.unwrap(), given, "{length}");
        assert_eq!(store.put("default", given.clone()).await.unwrap(), digest);
        let range = length as u64 / 3..length as u64 / 2 + 1;
        let part = read(&store, digest, Some(range.clone())).await.unwrap();
        assert_eq!(part, &given[range.start as usize..(range.end as usize).min(length)]);
        assert_eq!(store.get("default", digest, length as u64).await.unwrap(), given);
    }
    // Each once, and no upload is left over.
    assert_eq!(names(&store).await.len(), 5);
    assert!(names(&store).await.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_digest_is_an_address_within_its_tenant() {
    let (_folder, store) = store();
    let digest = store.put("default", bytes(10)).await.unwrap();
    assert!(store.head("other", digest).await.unwrap().is_none());
    assert!(matches!(store.read("other", digest, None).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.put("other", bytes(10)).await.unwrap(), digest);
    assert_eq!(names(&store).await, [Some(("default".to_owned(), digest)), Some(("other".to_owned(), digest))]);
}

#[tokio::test]
async fn damage_is_noticed_before_the_last_piece() {
    let (folder, store) = store();
    let given = bytes(3 * READ_BYTES as usize);
    let digest = store.put("default", given.clone()).await.unwrap();
    let path = folder.path().join(name::object("", "default", digest).unwrap().as_ref());
    let mut spoiled = given.to_vec();
    spoiled[5] ^= 1;
    fs::write(&path, &spoiled).unwrap();
    let mut pieces = store.read("default", digest, None).await.unwrap();
    let mut count = 0;
    let error = loop {
        match pieces.try_next().await {
            Ok(Some(piece)) => count += piece.len(),
            Ok(None) => panic!("all {count} bytes were taken for good"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), count), ("artifact_damaged", 2 * READ_BYTES as usize));
}

#[tokio::test]
async fn too_much_is_refused_and_leaves_nothing() {
    let (_folder, store) = store();
    let mut writer = store.writer("default").unwrap().with_limit(PART_BYTES as u64 + 10);
    writer.write(bytes(PART_BYTES + 10)).await.unwrap();
    assert!(matches!(writer.write(bytes(1)).await, Err(StoreError::TooLarge)));
    writer.abort().await;
    assert_eq!(names(&store).await, []);
    let digest = store.put("default", bytes(100)).await.unwrap();
    assert!(matches!(store.get("default", digest, 99).await, Err(StoreError::TooLarge)));
}

#[tokio::test]
async fn only_what_was_not_touched_is_removed() {
    let (folder, store) = store();
    let digest = store.put("default", bytes(10)).await.unwrap();
    let path = folder.path().join(name::object("", "default", digest).unwrap().as_ref());
    let long_ago = SystemTime::now() - 2 * TOUCH_AFTER;
    let age = || fs::File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let listed = || async { store.list().try_next().await.unwrap().unwrap() };
    age();
    let before = SystemTime::now() - Duration::from_secs(60);
    let old = listed().await;
    // Put again between the listing and the removal: it stays.
    store.put("default", bytes(10)).await.unwrap();
    assert!(!store.remove(&old, before).await.unwrap());
    assert!(store.head("default", digest).await.unwrap().unwrap().touched_at >= before);
    age();
    assert!(store.remove(&listed().await, before).await.unwrap());
    assert!(!store.remove(&old, before).await.unwrap());
    assert_eq!(names(&store).await, []);
}

#[tokio::test]
async fn a_folder_of_the_same_name_is_another_store() {
    let ((_one, store), (_two, other)) = (self::store(), self::store());
    assert_eq!(store.mark("first").await.unwrap(), "first");
    assert_eq!(store.mark("second").await.unwrap(), "first");
    store.check("first").await.unwrap();
    assert!(matches!(other.check("first").await, Err(StoreError::NotShared { .. })));
    assert_eq!(names(&store).await, []);
}

#[tokio::test]
async fn what_goes_and_comes_is_counted() {
    let (folder, store) = store();
    let traffic = Arc::new(Traffic::default());
    let store = store.counted(Arc::clone(&traffic));
    let (small, large) = (bytes(11), bytes(2 * PART_BYTES + 5));
    for _ in 0..2 {
        store.put("default", small.clone()).await.unwrap();
        store.put("default", large.clone()).await.unwrap();
    }
    let sent = (small.len() + large.len()) as u64;
    assert_eq!(traffic.artifacts(), [("put", 2), ("present", 2), ("read", 0)]);
    assert_eq!(traffic.bytes(), [("put", sent), ("read", 0)]);
    // Of unknown length: what it is shows only when all has been sent.
    let mut again = store.writer("default").unwrap();
    again.write(large.clone()).await.unwrap();
    again.finish().await.unwrap();
    read(&store, Digest::of(&large), Some(5..9)).await.unwrap();
    assert_eq!(traffic.artifacts(), [("put", 2), ("present", 3), ("read", 1)]);
    assert_eq!(traffic.bytes(), [("put", sent + 2 * PART_BYTES as u64), ("read", 4)]);
    assert!(read(&store, Digest::of(b"nowhere"), None).await.is_err());
    assert_eq!(traffic.errors(), 0, "that there is no such artifact is an answer");
    let object = folder.path().join(name::object("", "default", Digest::of(&small)).unwrap().as_ref());
    let part = object.parent().unwrap();
    fs::remove_dir_all(part).unwrap();
    fs::write(part, b"a file in the way").unwrap();
    assert!(store.put("default", small).await.is_err());
    assert_eq!(traffic.errors(), 1);
}

#[tokio::test]
async fn what_a_dead_writer_left_is_swept_and_what_is_written_is_not() {
    let (folder, store) = store();
    let kept = store.put("default", bytes(10)).await.unwrap();
    // Killed: nothing of it runs any more, and its pieces stay.
    let mut dead = store.writer("default").unwrap();
    dead.write(bytes(4 * PART_BYTES + 1)).await.unwrap();
    std::mem::forget(dead);
    let staged = || {
        let incoming = fs::read_dir(folder.path().join("t-default/incoming")).map(|found| found.count());
        incoming.unwrap_or(0)
    };
    assert_eq!((staged(), names(&store).await.len()), (1, 1), "a listing does not show it");
    assert_eq!(store.sweep(SystemTime::UNIX_EPOCH).await.unwrap(), (0, 0), "somebody may be writing it");
    let (count, bytes) = store.sweep(SystemTime::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!((count, staged()), (1, 0));
    assert!(bytes >= PART_BYTES as u64);
    assert!(store.head("default", kept).await.unwrap().is_some());
}
