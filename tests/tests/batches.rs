//! Batches of runs on real processes: every combination runs once and no more, whatever is killed on the way; a batch that
//! is stopped stays stopped; and what cannot be started starts nothing.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Shape};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::{Value, json};

/// Where the runs' work shows.
const EFFECTS: &str = "batches";
/// How long a batch may take, kills included.
const BATCH_TIME_MAX: Duration = Duration::from_secs(120);
/// Runs of the batch that is killed in the middle: more than are under way at the same time.
const RUNS: usize = 150;

/// An input, work that shows, and what the run gives.
fn graph(ms: u64) -> Graph {
    Graph::default()
        .node("topic", "input:text", json!({ "text": "none" }))
        .node("work", "debug:effect", json!({ "file": EFFECTS, "ms": ms }))
        .node("echo", "debug:echo", json!({}))
        .node("out", "output:preview", json!({}))
        .edge("topic.text", "work.in")
        .edge("topic.text", "echo.in")
        .edge("echo.out", "out.value")
}

fn numbered(count: usize) -> Value {
    json!([{ "nodeId": "topic", "values": (0..count).map(|number| format!("v{number}")).collect::<Vec<_>>() }])
}

async fn start(client: &Client, workflow: &str, iterators: Value, key: &str) -> Value {
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let answer = client.post(&path, &json!({ "iteratorConfigs": iterators }), key).await;
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()
}

async fn batch(client: &Client, id: &str, query: &str) -> Value {
    client.get_json(&format!("/api/v1/batches/{id}{query}")).await
}

async fn over(client: &Client, id: &str) -> Value {
    wait::until(&format!("the end of batch {id}"), BATCH_TIME_MAX, || async {
        let batch = batch(client, id, "?limit=1&outputs=false").await;
        if batch["status"] == "RUNNING" { Err(batch.to_string()) } else { Ok(batch) }
    })
    .await
}

/// All runs of a batch, page by page.
async fn runs_of(client: &Client, id: &str) -> Vec<Value> {
    let (mut runs, mut offset) = (Vec::new(), 0);
    loop {
        let page = batch(client, id, &format!("?limit=200&offset={offset}")).await;
        runs.extend(page["executionRuns"].as_array().cloned().unwrap());
        match page["nextOffset"].as_u64() {
            Some(next) => offset = next,
            None => return runs,
        }
    }
}

/// How often the work of each run was done.
fn effects(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut done = BTreeMap::new();
    for line in cluster.effects(EFFECTS) {
        *done.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_runs_once_whatever_is_killed() {
    killed_in_the_middle(Cluster::start(2, 8).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_runs_once_whatever_is_killed_on_postgres() {
    let Some(server) = Server::start() else { return };
    let database = server.database();
    killed_in_the_middle(Cluster::on(Shape::new(1, 2, 8), &database).await).await;
}

async fn killed_in_the_middle(mut cluster: Cluster) {
    let workflow = cluster.client().save("batch", &graph(100)).await;
    let started = start(cluster.client(), &workflow, numbered(RUNS), "one batch").await;
    let id = text(&started["batchId"]);
    let named = started["executionRuns"].as_array().unwrap();
    assert_eq!((named.len(), &started["runsTotal"]), (RUNS, &json!(RUNS)));
    assert_eq!((&named[0]["status"], &named[RUNS - 1]["status"]), (&json!("RUNNING"), &json!("PENDING")));
    // A run that has not begun is known by its id all the same.
    let last = cluster.client().execution(&text(&named[RUNS - 1]["id"])).await;
    assert_eq!((&last["batchId"], &last["runIndexInBatch"]), (&json!(id), &json!(RUNS - 1)));

    let mut least = 0;
    for part in [Part::Coordinator, Part::Gateway(0), Part::Coordinator] {
        least += RUNS / 4;
        wait::until("work on the batch", BATCH_TIME_MAX, || async {
            let done = effects(&cluster).len();
            if done >= least { Ok(()) } else { Err(format!("{done} runs have worked")) }
        })
        .await;
        cluster.restart(part);
    }
    cluster.heal().await;
    // The same request again is the same batch.
    let again = start(cluster.client(), &workflow, numbered(RUNS), "one batch").await;
    assert_eq!(again, started);

    let ended = over(cluster.client(), &id).await;
    assert_eq!((&ended["status"], &ended["counts"]["completed"]), (&json!("COMPLETED"), &json!(RUNS)), "{ended}");
    let runs = runs_of(cluster.client(), &id).await;
    assert_eq!(runs.len(), RUNS);
    for (index, run) in runs.iter().enumerate() {
        let place = (&run["runIndexInBatch"], &run["inputIndex"], &run["id"]);
        assert_eq!(place, (&json!(index), &json!(index), &named[index]["id"]));
        let given = (&run["status"], &run["finalOutput"]["text"]);
        assert_eq!(given, (&json!("COMPLETED"), &json!(format!("v{index}"))), "{run}");
    }
    let ids: BTreeSet<String> = runs.iter().map(|run| text(&run["id"])).collect();
    let history: Vec<String> = cluster.client().runs_of(&workflow).await;
    assert_eq!(history.len(), RUNS, "a run was started twice, or none was");
    assert_eq!(history.into_iter().collect::<BTreeSet<_>>(), ids);
    let done = effects(&cluster);
    let mut seen = BTreeSet::new();
    let again: Vec<_> = cluster.effects(EFFECTS).into_iter().filter(|line| !seen.insert(line.clone())).collect();
    assert!(again.is_empty(), "attempts that had their effect twice: {again:?}");
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(done.keys().cloned().collect::<BTreeSet<_>>(), ids, "work that nobody did, or of a run that is none");
    // An agent that was cut off may have done what its successor did again; a run that was started twice would show above.
    println!("batches: {RUNS} runs, {} of which worked twice after a kill", twice.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_stays_cancelled_through_a_kill() {
    let mut cluster = Cluster::start(1, 4).await;
    let workflow = cluster.client().save("stopped", &graph(60_000)).await;
    let started = start(cluster.client(), &workflow, numbered(RUNS), "stopped").await;
    let id = text(&started["batchId"]);
    wait::until("the first runs", BATCH_TIME_MAX, || async {
        let runs = cluster.client().runs_of(&workflow).await.len();
        if runs >= 4 { Ok(()) } else { Err(format!("{runs} runs")) }
    })
    .await;
    // The last one waits for its turn: it has no history, and is cancelled with its batch only.
    let last = text(&started["executionRuns"][RUNS - 1]["id"]);
    assert_eq!(cluster.client().execution(&last).await["status"], "PENDING");
    assert!(cluster.client().events(&last).await.is_empty());
    let alone = format!("/api/v1/workflows/executions/{last}/cancel");
    let alone = cluster.client().post(&alone, &json!({}), "").await;
    assert_eq!((alone.status, &alone.json()["code"]), (409, &json!("execution_not_begun")), "{alone}");
    let path = format!("/api/v1/batches/{id}/cancel");
    let answer = cluster.client().post(&path, &json!({ "reason": "a test" }), "").await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.json()["counts"]["pending"], 0, "{answer}");
    cluster.restart(Part::Coordinator);
    cluster.serves().await;

    let ended = over(cluster.client(), &id).await;
    assert_eq!((&ended["status"], &ended["counts"]["cancelled"]), (&json!("CANCELLED"), &json!(RUNS)), "{ended}");
    // Those that had not begun never do.
    let begun = cluster.client().runs_of(&workflow).await.len();
    assert!(begun < RUNS, "{begun} runs were begun");
    let last = cluster.client().execution(&last).await;
    assert_eq!(last["status"], "CANCELLED", "{last}");
    assert!(effects(&cluster).is_empty(), "work was done to its end");
    // Once more changes nothing.
    let again = cluster.client().post(&path, &json!({}), "").await;
    assert_eq!((again.status, &again.json()["endTime"]), (200, &ended["endTime"]), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_starts_nothing() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = graph(0).node("size", "input:number", json!({ "value": 1, "max": 9 }));
    let workflow = client.save("refused", &graph).await;
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let many: Vec<u32> = (0..200).map(|number| number % 9).collect();
    let product = |node: &str, values: Value| json!({ "nodeId": node, "values": values, "mode": "product" });
    for (name, iterators, place) in [
        ("unknown node", json!([{ "nodeId": "nobody", "values": [1] }]), "/iteratorConfigs/0/nodeId"),
        ("no input", json!([{ "nodeId": "work", "values": [1] }]), "/iteratorConfigs/0/nodeId"),
        ("empty", json!([{ "nodeId": "topic", "values": [] }]), "/iteratorConfigs/0/values"),
        ("wrong value", json!([{ "nodeId": "size", "values": [1, 2, 3, 10] }]), "/iteratorConfigs/0/values/3"),
        (
            "twice",
            json!([{ "nodeId": "topic", "values": ["a"] }, { "nodeId": "topic", "values": ["b"] }]),
            "/iteratorConfigs/1/nodeId",
        ),
        (
            "unequal",
            json!([{ "nodeId": "topic", "values": ["a"] }, { "nodeId": "size", "values": [1, 2] }]),
            "/iteratorConfigs/1",
        ),
        ("mode", json!([{ "nodeId": "topic", "values": ["a"], "mode": "both" }]), "/iteratorConfigs/0/mode"),
        (
            "too many",
            json!([product("size", json!(many)), product("topic", json!(vec!["x"; 200]))]),
            "/iteratorConfigs",
        ),
    ] {
        let answer = client.post(&path, &json!({ "iteratorConfigs": iterators }), name).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["code"]), (422, &json!("invalid_inputs")), "{name}: {answer}");
        assert_eq!(told["violations"][0]["path"], place, "{name}: {answer}");
    }
    let answer = client.post(&path, &json!({ "iteratorConfigs": "all" }), "no list").await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_field")), "{answer}");
    assert!(client.runs_of(&workflow).await.is_empty());
    let unknown = client.get("/api/v1/batches/00000000-0000-4000-8000-000000000000").await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("batch_not_found")), "{unknown}");

    // All combinations of one list with two that go along.
    let iterators = json!([
        { "nodeId": "topic", "values": ["a", "b"] },
        product("size", json!([1, 2, 3])),
    ]);
    let started = start(client, &workflow, iterators, "combinations").await;
    let ended = over(client, &text(&started["batchId"])).await;
    assert_eq!((&ended["status"], &ended["runsTotal"]), (&json!("COMPLETED"), &json!(6)), "{ended}");
    let runs = runs_of(client, &text(&started["batchId"])).await;
    let given: Vec<_> = runs.iter().map(|run| (text(&run["finalOutput"]["text"]), run["inputIndex"].clone())).collect();
    let wanted = ["a", "a", "a", "b", "b", "b"].map(|text| (text.to_owned(), json!(usize::from(text == "b"))));
    assert_eq!(given, wanted);
    // An empty list iterates over nothing: one run.
    let alone = start(client, &workflow, json!([]), "alone").await;
    assert_eq!(alone["executionRuns"].as_array().unwrap().len(), 1);
    assert_eq!(client.ended(&text(&alone["executionId"]), BATCH_TIME_MAX).await["status"], "COMPLETED");
    let of_one = batch(client, &text(&alone["batchId"]), "").await;
    let shown = (&of_one["status"], &of_one["runsTotal"], &of_one["executionRuns"][0]["id"]);
    assert_eq!(shown, (&json!("COMPLETED"), &json!(1), &alone["executionId"]), "{of_one}");
}
