//! A second coordinator takes the partitions of one that sleeps, on the same PostgreSQL: when that one wakes, in the middle
//! of a commit, it commits nothing any more (I5) and ends; what it had acknowledged is there, a map in the middle of its items, too.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::items::{attempts, lost};
use cluster_tests::cluster::process::Process;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, START_TIME_MAX, STOP_TIME_MAX, Shape, free_address, history};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};

/// A batch is ready when the first coordinator falls asleep: this one since its start.
const SLEEP: &str = "journal.before-begin:100:stop";
const ASLEEP: &str = "crash point journal.before-begin hit 100: SIGSTOP";
/// How long one request waits for a coordinator that may be asleep.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// Runs that are begun once the second coordinator has taken over.
const RUNS_AFTER: usize = 10;
/// The file that the nodes write to, a line for each attempt.
const EFFECTS: &str = "takeover";
/// The same for the items of the map that is under way, and how many it has: at least one batch for each, so more than there
/// are before the first coordinator falls asleep.
const MAP_EFFECTS: &str = "takeover map";
const ITEMS: usize = 300;

/// The coordinator that comes later, with a gateway and an agent of its own.
struct Second {
    client: Client,
    _parts: Vec<Process>,
}

impl Second {
    async fn start(cluster: &Cluster, database: &str) -> Self {
        let folder = cluster.folder();
        let own = folder.join("second");
        std::fs::create_dir(&own).unwrap();
        // Keys are checked with it: whoever shares the database shares it, too.
        std::fs::copy(folder.join("coordinator/pepper"), own.join("pepper")).unwrap();
        let (coordinator, gateway) = (free_address(), free_address());
        let (own, agent) = (own.display().to_string(), folder.join("second-agent").display().to_string());
        let effects = folder.join("effects").display().to_string();
        let start = |name: &str, arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            Process::start(&arguments, &folder.join(format!("{name}.log")), None)
        };
        let parts = vec![
            start(
                "second-coordinator",
                &["coordinator", "--listen", &coordinator, "--database", database, "--debug-nodes", "--data-dir", &own],
            ),
            start("second-gateway", &["gateway", "--listen", &gateway, "--coordinator", &coordinator]),
            start(
                "second-agent",
                &[
                    "agent",
                    "--coordinator",
                    &coordinator,
                    "--slots",
                    "8",
                    "--data-dir",
                    &agent,
                    "--debug-nodes",
                    "--debug-effects",
                    &effects,
                ],
            ),
        ];
        let key = std::fs::read_to_string(folder.join("coordinator/key")).unwrap();
        let client = Client::new(&format!("http://{gateway}"), key.trim(), &folder.join("second-client.jsonl"));
        wait::until("the second coordinator", START_TIME_MAX, || async {
            let ready = send(client.anonymous(Method::GET, "/readyz")).await?;
            if ready.is_success() { Ok(()) } else { Err(ready.to_string()) }
        })
        .await;
        Self { client, _parts: parts }
    }
}

fn graph() -> Graph {
    let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    let effect = |ms: u64| json!({ "file": EFFECTS, "ms": ms });
    let graph = graph.node("a", "debug:effect", effect(30)).node("b", "debug:effect", effect(400));
    graph.edge("input.text", "a.in").edge("a.out", "b.in")
}

fn map() -> Graph {
    Graph::effects_map(ITEMS, 4, json!({ "file": MAP_EFFECTS, "ms": 50 }))
}

/// The map that the first coordinator had begun is brought to its end by the second: each item once, but for what was lost
/// with the agents that the first one held.
async fn map_ended(cluster: &Cluster, client: &Client, run: &str) -> (Value, Vec<Value>) {
    let ended = client.ended(run, RUN_TIME_MAX).await;
    let wanted: Value = (0..ITEMS).map(|item| json!([null, item])).collect();
    let given = (&ended["status"], &ended["finalOutput"]["output"]["value"]);
    assert_eq!(given, (&json!("COMPLETED"), &wanted), "{}", ended["error"]);
    let events = client.events(run).await;
    assert_eq!(history::problems_of_items(&ended, &events), Vec::<String>::new());
    let lost = lost(&events);
    let done = attempts(&cluster.witnessed(MAP_EFFECTS));
    assert_eq!(done.len(), ITEMS);
    for (place, attempts) in done.iter().filter(|(_, attempts)| attempts.len() > 1) {
        let unheard = attempts.iter().filter(|attempt| lost.contains_key(&(place.clone(), **attempt))).count();
        assert_eq!(
            unheard,
            attempts.len() - 1,
            "{place:?} worked in attempts {attempts:?}, of which were lost {lost:?}"
        );
    }
    (ended, events)
}

/// Starts runs one after the other until the coordinator sleeps: those that were acknowledged, and the keys of all.
async fn submit_until_asleep(cluster: &mut Cluster, workflow: &str) -> (Vec<String>, Vec<String>) {
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let (mut acknowledged, mut keys) = (Vec::new(), Vec::new());
    let since = Instant::now();
    while !cluster.process(Part::Coordinator).said().contains(ASLEEP) {
        assert!(since.elapsed() < RUN_TIME_MAX, "the coordinator stays awake");
        let key = format!("run {}", keys.len());
        let request = cluster.client().request(Method::POST, &path).header("idempotency-key", &key);
        keys.push(key);
        if let Ok(answer) = send(request.json(&json!({})).timeout(PATIENCE)).await
            && answer.status == 201
        {
            acknowledged.push(text(&answer.json()["executionId"]));
        }
    }
    (acknowledged, keys)
}

/// The whole of the runs, as the second coordinator shows them once they are over.
async fn ended(client: &Client, runs: &[String]) -> Vec<(Value, Vec<Value>)> {
    let mut all = Vec::new();
    for run in runs {
        let ended = client.ended(run, RUN_TIME_MAX).await;
        assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
        let events = client.events(run).await;
        assert_eq!(history::problems(&graph(), &ended, &events), Vec::<String>::new());
        all.push((ended, events));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_wakes_after_another_has_taken_over_commits_nothing() {
    let Some(server) = Server::start() else { return };
    let database = server.database();
    let mut cluster = Cluster::on(Shape::new(1, 2, 4), &database).await;
    let workflow = cluster.client().save("takeover", &graph()).await;
    cluster.kill(Part::Coordinator);
    cluster.start_part(Part::Coordinator, Some(SLEEP));
    cluster.serves().await;
    let map_workflow = cluster.client().save("takeover map", &map()).await;
    let map_run = cluster.client().run(&map_workflow, "map").await;
    wait::until("work on the map", RUN_TIME_MAX, || async {
        let done = cluster.effects(MAP_EFFECTS).len();
        if done > 0 { Ok(()) } else { Err("no item has worked".to_owned()) }
    })
    .await;
    let (acknowledged, keys) = submit_until_asleep(&mut cluster, &workflow).await;
    let done = attempts(&cluster.witnessed(MAP_EFFECTS)).len();
    assert!(done < ITEMS, "the map is over before the first coordinator sleeps");

    let since = Instant::now();
    let second = Second::start(&cluster, &database).await;
    let taken_over = since.elapsed();
    // Whoever had no answer asks again, with the same key: each key is one run.
    let mut runs = BTreeSet::new();
    for key in &keys {
        runs.insert(second.client.run(&workflow, key).await);
    }
    assert_eq!(runs.len(), keys.len(), "two keys gave the same run");
    assert!(acknowledged.iter().all(|run| runs.contains(run)), "a run that was acknowledged is not its key's");
    let runs: Vec<String> = runs.into_iter().collect();
    let before = ended(&second.client, &runs).await;
    let map_before = map_ended(&cluster, &second.client, &map_run).await;

    let owners = "SELECT id, epoch, boot FROM partition ORDER BY id";
    let rows = "SELECT count(*), md5(string_agg(md5(e::text), '' ORDER BY run, seq)) FROM event e";
    let (owners_before, rows_before) = (server.query(&database, owners), server.query(&database, rows));
    cluster.process(Part::Coordinator).signal(Signal::SIGCONT);
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let late = send(cluster.client().request(Method::POST, &path).json(&json!({}))).await.unwrap();
    assert!(late.status == 503 && late.headers.contains_key("retry-after"), "the first one took in a run: {late}");
    let first = cluster.process(Part::Coordinator);
    let status = wait::until("the end of the first coordinator", STOP_TIME_MAX, || {
        let ended = first.ended();
        async move { ended.ok_or_else(|| "it goes on".to_owned()) }
    })
    .await;
    assert!(!status.success(), "it ended with {status}");
    assert!(first.said().contains("another coordinator has taken partition"), "{}", first.said());

    assert_eq!(server.query(&database, owners), owners_before, "it took a partition back");
    assert_eq!(server.query(&database, rows), rows_before, "it has committed an event");
    assert_eq!(ended(&second.client, &runs).await, before, "runs have changed after their end");
    assert_eq!(map_ended(&cluster, &second.client, &map_run).await, map_before, "the map has changed after its end");
    let mut after = Vec::new();
    for number in 0..RUNS_AFTER {
        after.push(second.client.run(&workflow, &format!("after {number}")).await);
    }
    ended(&second.client, &after).await;
    let lines = cluster.effects(EFFECTS);
    let mut seen = BTreeSet::new();
    assert!(lines.iter().all(|line| seen.insert(line)), "an attempt had its effect twice: {lines:?}");
    println!(
        "takeover: {} of {} runs were acknowledged by the first coordinator, which had done {done} of {ITEMS} items of a map; the \
         second served after {:.1} s, all {} runs and the map ended",
        acknowledged.len(),
        keys.len(),
        taken_over.as_secs_f64(),
        runs.len() + after.len(),
    );
}
