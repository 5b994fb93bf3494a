//! The database goes away in every way it can, while runs come in: clients are told to wait, and nothing is lost.

use std::time::{Duration, Instant};

use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::{Cluster, Shape};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use reqwest::Method;
use serde_json::json;

use super::kills::{Load, check};

/// How often the server is hit in each way that it recovers from by itself.
const HITS: usize = 3;
/// How long the database is away.
const ABSENCE: Duration = Duration::from_secs(20);
/// How long it keeps silent, with all connections open.
const SILENCE: Duration = Duration::from_secs(8);
/// Requests that must succeed at the first try once all is well.
const REQUESTS_AFTER: usize = 200;

#[derive(Debug, Clone, Copy)]
enum Fault {
    MainKilled,
    BackendsKilled,
    BackendsTerminated,
    Away,
    Silent,
}

async fn strike(server: &Server, fault: Fault) {
    match fault {
        Fault::MainKilled => {
            server.kill();
            server.revive();
        }
        Fault::BackendsKilled => assert!(server.kill_backends() > 0, "the coordinator is connected"),
        Fault::BackendsTerminated => server.terminate_backends(),
        Fault::Away => {
            server.kill();
            wait::pace(ABSENCE).await;
            server.revive();
        }
        Fault::Silent => {
            server.freeze();
            wait::pace(SILENCE).await;
            server.thaw();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_becomes_of_the_database() {
    let Some(server) = Server::start() else { return };
    let mut random = Random::from_seed(seed("database"));
    let mut cluster = Cluster::on(Shape::new(1, 2, 4), &server.database()).await;
    let load = Load::start(cluster.client(), &mut random);
    let since = Instant::now();
    let brief = [Fault::MainKilled, Fault::BackendsKilled, Fault::BackendsTerminated];
    let faults = brief.into_iter().cycle().take(HITS * brief.len()).chain([Fault::Away, Fault::Silent]);
    for fault in faults {
        wait::pace(random.gap(Duration::from_millis(900))).await;
        strike(&server, fault).await;
        cluster.serves().await;
    }
    let runs = load.stop().await;
    let (requests, unknown) = cluster.client().totals();
    println!(
        "database: {HITS} times each of {brief:?}, {ABSENCE:?} away, {SILENCE:?} silent, in {:.0} s; {} runs \
         acknowledged, {requests} requests, {unknown} without an answer",
        since.elapsed().as_secs_f64(),
        runs.len(),
    );
    assert_eq!(unknown, 0, "every request was answered: with what was asked for, or with 503");
    every_connection_is_sound(cluster.client()).await;
    check(&mut cluster, &runs).await;
}

/// No connection that broke is used again: all of these succeed, and nobody tries twice.
async fn every_connection_is_sound(client: &Client) {
    for number in 0..REQUESTS_AFTER {
        let request = match number % 3 {
            0 => client.request(Method::POST, "/api/v1/workflows/lint").json(&json!({ "nodes": [], "edges": [] })),
            1 => client.request(Method::GET, "/api/v1/workflows"),
            _ => client.request(Method::GET, "/api/v1/workflows/executions?limit=3"),
        };
        let answer = send(request).await.unwrap();
        assert!(answer.status < 500, "{answer}");
    }
}
