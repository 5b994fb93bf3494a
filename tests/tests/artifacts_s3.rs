//! The artifact store in S3, against a server that speaks its protocol.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::send;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::s3::S3;
use futures::TryStreamExt;
use heddle_artifacts::limits::PART_BYTES;
use heddle_artifacts::{Digest, Listed, Store, StoreError};
use serde_json::json;

const BUCKET: &str = "heddle";
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

fn bytes(length: usize) -> Bytes {
    (0..length).map(|place| (place * 7 + place / 251) as u8).collect()
}

async fn listed(store: &Store) -> Vec<Listed> {
    store.list().try_collect().await.unwrap()
}

/// Runs the test in a process of its own with the keys of S3 in its environment: a test must not change its own.
fn with_keys(name: &str) -> bool {
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads", "1"]).envs(S3::variables());
    assert!(command.status().unwrap().success(), "{name} failed");
    false
}

#[test]
fn objects_are_put_read_listed_and_removed() {
    if with_keys("objects_are_put_read_listed_and_removed") {
        runtime().block_on(objects());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn objects() {
    let Some(s3) = S3::start(BUCKET).await else { return };
    let store = Store::open(&s3.address(BUCKET, "deep/down")).unwrap();
    assert_eq!(store.mark("one").await.unwrap(), "one");
    assert_eq!(store.mark("two").await.unwrap(), "one");
    store.check("one").await.unwrap();
    assert!(matches!(store.check("two").await, Err(StoreError::NotShared { .. })));
    // In one request, and in parts.
    for length in [0, 11, PART_BYTES, 2 * PART_BYTES + 5] {
        let given = bytes(length);
        let mut writer = store.writer("default").unwrap();
        for piece in given.chunks(1_000_003) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let (digest, count) = writer.finish().await.unwrap();
        assert_eq!((digest, count), (Digest::of(&given), length as u64));
        assert_eq!(store.put("default", given.clone()).await.unwrap(), digest);
        assert_eq!(store.get("default", digest, u64::MAX).await.unwrap(), given, "{length}");
        assert_eq!(store.head("default", digest).await.unwrap().unwrap().bytes, length as u64);
        assert!(store.head("other", digest).await.unwrap().is_none());
        let part = store.read("default", digest, Some(3..9)).await.unwrap();
        let part: Vec<Bytes> = part.try_collect().await.unwrap();
        assert_eq!(part.concat(), &given[3.min(length)..9.min(length)], "{length}");
    }
    // Again in parts: nothing of it stays beside what is there.
    let mut again = store.writer("default").unwrap();
    again.write(bytes(2 * PART_BYTES + 5)).await.unwrap();
    again.finish().await.unwrap();
    let all = listed(&store).await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all.iter().all(|listed| listed.artifact.as_ref().is_some_and(|(tenant, _)| tenant == "default")));
    // Another prefix is another store.
    let other = Store::open(&s3.address(BUCKET, "other")).unwrap();
    assert_eq!(listed(&other).await, []);
    let past = SystemTime::now() - Duration::from_secs(3_600);
    let future = SystemTime::now() + Duration::from_secs(3_600);
    for listed in &all {
        assert!(!store.remove(listed, past).await.unwrap(), "it was touched in time");
        assert!(store.remove(listed, future).await.unwrap());
        assert!(!store.remove(listed, future).await.unwrap());
    }
    assert_eq!(listed(&store).await, []);
    let gone = Digest::of(&bytes(11));
    assert!(matches!(store.get("default", gone, 100).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_cluster_keeps_its_values_in_s3() {
    let Some(s3) = S3::start(BUCKET).await else { return };
    let mut variables = S3::variables();
    variables.push(("HEDDLE_ARTIFACTS".to_owned(), s3.address(BUCKET, "cluster")));
    let cluster = Cluster::start_with(2, 2, variables).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("big", "debug:bytes", json!({ "count": 3_000_000 }))
        .node("echo", "debug:echo", json!({}))
        .node("film", "debug:file", json!({ "count": 20_000_000 }))
        .node("measure", "debug:measure", json!({}))
        .edge("big.out", "echo.item")
        .edge("film.out", "measure.item");
    let workflow = client.save("s3", &graph).await;
    let execution = client.run(&workflow, "s3").await;
    let run = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    let output = |node: &str| {
        let shown = run["nodeRuns"].as_array().unwrap().iter().find(|shown| shown["nodeId"] == node).unwrap();
        shown["output"]["out"].clone()
    };
    assert_eq!(
        (output("echo")["digest"].clone(), output("measure")),
        (output("big")["digest"].clone(), json!(20_000_000))
    );
    for (node, length) in [("big", 3_000_002), ("film", 20_000_000)] {
        let url = output(node)["url"].as_str().unwrap().to_owned();
        let whole = send(reqwest::Client::new().get(&url)).await.unwrap();
        assert_eq!((whole.status, whole.body.len()), (200, length), "{node}");
        let part = send(reqwest::Client::new().get(&url).header("range", "bytes=-7")).await.unwrap();
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[length - 7..]), "{node}");
    }
    assert!(!cluster.folder().join("coordinator").join("artifacts").exists(), "nothing lies in a folder");
}
