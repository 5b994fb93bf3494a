//! Idempotency: thousands of requests share a few keys while the gateway and the coordinator are killed.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const REQUESTS: usize = 10_000;
const KEYS: usize = 100;
/// Requests on the wire at once.
const AT_ONCE: usize = 500;
/// Kills on the way; after them the cluster is left in peace to answer the rest.
const KILLS: usize = 12;
/// How long a run may take once all is healed.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_a_key_start_one_run() {
    let mut random = Random::from_seed(seed("idempotency"));
    let mut cluster = Cluster::start(1, 8).await;
    let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    let graph = graph.node("echo", "debug:echo", json!({})).edge("input.text", "echo.in");
    let workflow = Arc::new(cluster.client().save("idempotency", &graph).await);

    let wire = Arc::new(Semaphore::new(AT_ONCE));
    let mut requests = JoinSet::new();
    let since = Instant::now();
    for number in 0..REQUESTS {
        let (client, workflow, wire) = (cluster.client().clone(), Arc::clone(&workflow), Arc::clone(&wire));
        let key = random.below(KEYS);
        requests.spawn(async move {
            let _permit = wire.acquire().await;
            // The first hundred name every key; the rest meet them in any order.
            let key = if number < KEYS { number } else { key };
            (key, client.execute(&workflow, &format!("key {key}")).await)
        });
    }
    let mut kills = 0;
    let mut bodies: BTreeMap<usize, BTreeSet<Bytes>> = BTreeMap::new();
    let mut replayed = 0;
    loop {
        let gap = random.gap(Duration::from_millis(1_200)).max(Duration::from_millis(400));
        let answered = async {
            while let Some(request) = requests.join_next().await {
                let (key, answer) = request.unwrap();
                assert_eq!(answer.status, 201, "key {key}: {answer}");
                replayed += usize::from(answer.headers.contains_key("idempotent-replayed"));
                bodies.entry(key).or_default().insert(answer.body);
            }
        };
        tokio::select! {
            () = answered => break,
            () = wait::pace(gap), if kills < KILLS => {}
        }
        cluster.restart(if random.percent(50) { Part::Gateway(0) } else { Part::Coordinator });
        kills += 1;
    }
    let seconds = since.elapsed().as_secs_f64();
    cluster.heal().await;

    let answers: Vec<_> = bodies.iter().filter(|(_, bodies)| bodies.len() != 1).collect();
    assert!(answers.is_empty(), "one key, several answers: {answers:?}");
    assert_eq!(bodies.len(), KEYS);
    let runs: BTreeSet<String> = cluster.client().runs_of(&workflow).await.into_iter().collect();
    let told = bodies.values().flatten().map(|body| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["executionId"].as_str().unwrap().to_owned()
    });
    assert_eq!(runs, told.collect(), "the runs are not those that were answered");
    for run in &runs {
        assert_eq!(cluster.client().ended(run, RUN_TIME_MAX).await["status"], "COMPLETED");
    }
    let (made, unknown) = cluster.client().totals();
    println!(
        "idempotency: {REQUESTS} requests with {KEYS} keys in {seconds:.0} s, {kills} kills, {made} tries, {unknown} of \
         unknown outcome, {replayed} answers replayed: {} runs",
        runs.len()
    );
}
