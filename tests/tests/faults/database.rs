//! The database goes away in every way it can, while runs come in: clients are told to wait, streams stay, agents keep what
//! they have done, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::random::{Random, number, seed};
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Shape, history};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use reqwest::Method;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use super::kills::{Acknowledged, Load, check};

/// How often the server is hit in each way that it recovers from by itself.
const HITS: usize = 2;
/// How long the database is away, or keeps silent with all connections open.
const ABSENCE: Duration = Duration::from_secs(20);
/// The same with `FAULT_LONG=1`: longer than any answer is waited for.
const ABSENCE_LONG: Duration = Duration::from_secs(50);
/// Whether the coordinator is connected.
const USED: &str = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'heddle'";
/// How long the server may take until it is in use again.
const SERVER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long an answer may take at most: a call of the coordinator (30 s), held for its absence before (5 s).
const ANSWER_TIME_MAX: Duration = Duration::from_secs(36);
/// Requests that must succeed at the first try once all is well: so many at a time, so often.
const REQUESTS_AFTER: (usize, usize) = (20, 10);
/// Nodes of a run that goes on while the database is away, and how long each works.
const HELD_NODES: usize = 4;
const HELD_MS: u64 = 4_000;
/// How long such a run may take.
const HELD_TIME_MAX: Duration = Duration::from_secs(90);

fn absence() -> Duration {
    if number("FAULT_LONG") == Some(1) { ABSENCE_LONG } else { ABSENCE }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    MainKilled,
    BackendsKilled,
    BackendKilled,
    BackendsTerminated,
    Away,
    Silent,
}

async fn strike(cluster: &Cluster, server: &Server, fault: Fault) {
    match fault {
        Fault::MainKilled => {
            server.kill();
            server.revive();
        }
        Fault::BackendsKilled => assert!(server.kill_backends() > 0, "the coordinator is connected"),
        Fault::BackendKilled => assert!(server.kill_backend(), "the coordinator is connected"),
        Fault::BackendsTerminated => server.terminate_backends(),
        Fault::Away | Fault::Silent => {
            let held = Held::begin(cluster, fault).await;
            match fault {
                Fault::Away => server.crash(),
                _ => server.freeze(),
            }
            wait::pace(absence()).await;
            // Its agents need no database: they have done it all, and hold the results.
            assert_eq!(cluster.effects(&held.file).len(), HELD_NODES, "agents work on");
            match fault {
                Fault::Away => server.revive(),
                _ => server.thaw(),
            }
            held.check(cluster).await;
        }
    }
}

/// A run that is at work when the database goes, and somebody who follows it.
struct Held {
    file: String,
    graph: Graph,
    run: String,
    /// The numbers of the events that came over one connection, to the end of the run.
    followed: JoinHandle<Vec<u64>>,
}

impl Held {
    async fn begin(cluster: &Cluster, fault: Fault) -> Self {
        let file = format!("held {fault:?}");
        let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
        for number in 0..HELD_NODES {
            let config = json!({ "file": file, "begun": format!("{file} begun"), "ms": HELD_MS });
            let id = format!("n{number}");
            graph = graph.node(&id, "debug:effect", config).edge("input.text", &format!("{id}.in"));
        }
        let workflow = cluster.client().save(&file, &graph).await;
        let run = cluster.client().run(&workflow, &file).await;
        let followed = tokio::spawn(follow(cluster.client().clone(), run.clone()));
        wait::until("all nodes at work", HELD_TIME_MAX, || async {
            let begun = cluster.effects(&format!("{file} begun")).len();
            if begun == HELD_NODES { Ok(()) } else { Err(format!("{begun} have begun")) }
        })
        .await;
        Self { file, graph, run, followed }
    }

    /// Nothing was done again, and whoever followed the run has seen all of it.
    async fn check(self, cluster: &Cluster) {
        let ended = cluster.client().ended(&self.run, HELD_TIME_MAX).await;
        assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
        let events = cluster.client().events(&self.run).await;
        assert_eq!(history::problems(&self.graph, &ended, &events), Vec::<String>::new());
        assert_eq!(cluster.effects(&self.file).len(), HELD_NODES, "a node was run again: {events:?}");
        let followed = self.followed.await.unwrap();
        let all: Vec<u64> = (1..=events.len() as u64).collect();
        assert_eq!(followed, all, "the stream has gaps");
    }
}

/// Follows a run over one connection to its end. Who asks just when the database is away is told to ask again; a stream that
/// is open stays so.
async fn follow(client: Client, run: String) -> Vec<u64> {
    let answer = wait::until("a stream", HELD_TIME_MAX, || async {
        let request = client.request(Method::GET, &format!("/api/v1/workflows/executions/{run}/events"));
        let request = request.header("accept", "text/event-stream").timeout(HELD_TIME_MAX);
        let answer = send(request).await.unwrap_or_else(|error| panic!("the stream of {run} has broken: {error}"));
        if answer.status == 503 { Err(answer.to_string()) } else { Ok(answer) }
    })
    .await;
    assert_eq!(answer.status, 200, "{answer}");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect()
}

/// Somebody who asks once and looks closely at the answer, again and again.
struct Watcher {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<(Vec<Acknowledged>, Vec<String>)>,
}

impl Watcher {
    async fn start(client: &Client, mut random: Random) -> Self {
        let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
        let graph = graph.node("n", "debug:echo", json!({})).edge("input.text", "n.in");
        let workflow = client.save("watched", &graph).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (client, is_over) = (client.clone(), Arc::clone(&stop));
        let asking = tokio::spawn(async move {
            let (mut runs, mut problems) = (Vec::new(), Vec::new());
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let request = match random.below(3) {
                    0 => client.request(Method::GET, "/api/v1/workflows/executions?limit=3"),
                    1 => client.request(Method::GET, &format!("/api/v1/workflows/{workflow}")),
                    _ => {
                        let request = client.request(Method::POST, &format!("/api/v1/workflows/{workflow}/execute"));
                        request.header("idempotency-key", format!("watched {number}")).json(&json!({}))
                    }
                };
                let since = Instant::now();
                let answer = send(request).await;
                problems.extend(rudeness(&answer, since.elapsed()));
                if let Ok(answer) = answer
                    && answer.status == 201
                {
                    let execution = text(&answer.json()["executionId"]);
                    runs.push(Acknowledged {
                        graph: graph.clone(),
                        contained: None,
                        // Of a request without an answer nobody knows the run.
                        workflow: None,
                        execution,
                        cancelled: false,
                    });
                }
                wait::pace(random.gap(Duration::from_millis(100))).await;
            }
            (runs, problems)
        });
        Self { stop, asking }
    }

    async fn stop(self) -> (Vec<Acknowledged>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.await.unwrap()
    }
}

/// What a client may not be told, whatever becomes of the database.
fn rudeness(answer: &Result<Answer, String>, time: Duration) -> Option<String> {
    let answer = match answer {
        Err(error) => return Some(format!("no answer: {error}")),
        Ok(_) if time > ANSWER_TIME_MAX => return Some(format!("an answer after {time:?}")),
        Ok(answer) => answer,
    };
    let says_when = answer.headers.contains_key("retry-after") && answer.json()["code"].is_string();
    let is_fine = answer.status < 500 || (answer.status == 503 && says_when);
    (!is_fine).then(|| format!("{answer} {:?}", answer.headers))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_becomes_of_the_database() {
    let Some(server) = Server::start() else { return };
    let mut random = Random::from_seed(seed("database"));
    let database = server.database();
    let mut cluster = Cluster::on(Shape::new(1, 2, 4), &database).await;
    let watcher = Watcher::start(cluster.client(), random.fork()).await;
    let load = Load::start(cluster.client(), "database", &mut random);
    let since = Instant::now();
    let brief = [Fault::MainKilled, Fault::BackendsKilled, Fault::BackendKilled, Fault::BackendsTerminated];
    let faults = brief.into_iter().cycle().take(HITS * brief.len()).chain([Fault::Away, Fault::Silent]);
    for fault in faults {
        wait::pace(random.gap(Duration::from_millis(900))).await;
        // It may be on its way back still, and nobody connected.
        wait::until("a server that is in use", SERVER_TIME_MAX, || {
            let used = server.try_query(&database, USED);
            async move { if used? == "t" { Ok(()) } else { Err("nobody is connected".to_owned()) } }
        })
        .await;
        strike(&cluster, &server, fault).await;
        cluster.serves().await;
    }
    let (watched, problems) = watcher.stop().await;
    let mut runs = load.stop().await;
    runs.extend(watched);
    let (requests, unknown) = cluster.client().totals();
    println!(
        "database: {HITS} times each of {brief:?}, {:?} away and then silent, in {:.0} s; {} runs acknowledged, {requests} \
         requests, {unknown} without an answer",
        absence(),
        since.elapsed().as_secs_f64(),
        runs.len(),
    );
    assert_eq!(problems, Vec::<String>::new(), "every answer is what was asked for, or 503 with when to ask again");
    assert_eq!(unknown, 0, "every request was answered: with what was asked for, or with 503");
    every_connection_is_sound(cluster.client(), &server, &database).await;
    check(&mut cluster, &runs).await;
}

/// No connection that broke is used again: of so many requests at a time all succeed, nobody tries twice, and no
/// transaction stays open.
async fn every_connection_is_sound(client: &Client, server: &Server, database: &str) {
    let (at_a_time, times) = REQUESTS_AFTER;
    for _ in 0..times {
        let mut asking = JoinSet::new();
        for number in 0..at_a_time {
            let request = match number % 3 {
                0 => client.request(Method::POST, "/api/v1/workflows/lint").json(&json!({ "nodes": [], "edges": [] })),
                1 => client.request(Method::GET, "/api/v1/workflows"),
                _ => client.request(Method::GET, "/api/v1/workflows/executions?limit=3"),
            };
            asking.spawn(send(request));
        }
        for answer in asking.join_all().await {
            let answer = answer.unwrap();
            assert!(answer.status < 500, "{answer}");
        }
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'heddle' AND state LIKE 'idle in %'";
    wait::until("an end of all transactions", ANSWER_TIME_MAX, || {
        let open = server.query(database, open);
        async move { if open == "0" { Ok(()) } else { Err(format!("{open} are open and idle")) } }
    })
    .await;
}
