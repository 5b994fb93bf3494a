//! What the parts say of themselves: numbers for Prometheus, and logs. Every number is documented, every documented number
//! is there, and neither they nor the logs show what runs carry, whose they are, or a key.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::Process;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, START_TIME_MAX, free_address};
use cluster_tests::{repository, wait};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

const DOCUMENT: &str = "docs/observability.md";
const RUN_TIME_MAX: Duration = Duration::from_secs(30);
const NUMBER_TIME_MAX: Duration = Duration::from_secs(30);
/// What no number and no log may show.
const CANARY: &str = "canary-4bf92f3577b34da6";

/// A scrape: its text, the kind of each number by its documented name, and the samples.
struct Scrape {
    text: String,
    names: BTreeSet<String>,
    samples: BTreeMap<String, f64>,
}

async fn scrape(url: &str) -> Scrape {
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut names = BTreeSet::new();
    for (name, kind) in types {
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let samples = samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect();
    Scrape { text, names, samples }
}

impl Scrape {
    fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.text))
    }
}

/// The numbers that the document lists for a part: those of every process, and those of these prefixes.
fn documented(prefixes: &[&str]) -> BTreeSet<String> {
    let document = std::fs::read_to_string(repository::root().join(DOCUMENT)).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `heddle_")?.split_once('`'));
    let names = rows.map(|(name, _)| format!("heddle_{name}"));
    let parts = ["heddle_coordinator_", "heddle_gateway_", "heddle_agent_"];
    let is_of = |name: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    names.filter(|name| is_of(name, prefixes) || !is_of(name, &parts)).collect()
}

/// Where a part gives its numbers out, by its own word.
fn url(process: &Process) -> Option<String> {
    let said = process.said();
    let at = said.find("numbers for Prometheus are at ")? + "numbers for Prometheus are at ".len();
    Some(said[at..].split_whitespace().next()?.to_owned())
}

fn check_names(scrape: &Scrape, prefixes: &[&str]) {
    let documented = documented(prefixes);
    let missing: Vec<_> = documented.difference(&scrape.names).collect();
    let secret: Vec<_> = scrape.names.difference(&documented).collect();
    assert!(missing.is_empty() && secret.is_empty(), "only documented: {missing:?}; not documented: {secret:?}");
    assert!(documented.iter().any(|name| name.starts_with(prefixes[0])), "the document lists some");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_gives_out_its_documented_numbers_and_nobody_elses_secrets() {
    let variables = [("HEDDLE_METRICS", "127.0.0.1:0"), ("HEDDLE_LOG", "debug")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start_with(1, 2, variables).await;
    let (workflows, runs) = exercise(&cluster).await;
    let parts = [Part::Coordinator, Part::Gateway(0), Part::Agent(0)];
    let urls = parts.map(|part| url(cluster.process(part)).unwrap_or_else(|| panic!("{part:?} says where")));

    let stands = |scrape: &Scrape| scrape.value("heddle_coordinator_nodes_ready") > 0.0;
    let coordinator = wait::until("a node that stands ready", NUMBER_TIME_MAX, || async {
        let scrape = scrape(&urls[0]).await;
        if stands(&scrape) { Ok(scrape) } else { Err("none stands".to_owned()) }
    });
    let [coordinator, gateway, agent] = [coordinator.await, scrape(&urls[1]).await, scrape(&urls[2]).await];
    check_names(&coordinator, &["heddle_coordinator_"]);
    check_names(&gateway, &["heddle_gateway_"]);
    check_names(&agent, &["heddle_agent_"]);

    assert!(coordinator.value("heddle_coordinator_commits_total{outcome=\"applied\"}") >= 3.0);
    assert_eq!(coordinator.value("heddle_coordinator_commits_total{outcome=\"unknown\"}"), 0.0);
    assert_eq!(coordinator.value("heddle_coordinator_runs_started_total"), 3.0);
    assert_eq!(coordinator.value("heddle_coordinator_runs_ended_total{status=\"completed\"}"), 1.0);
    assert_eq!(coordinator.value("heddle_coordinator_runs_ended_total{status=\"failed\"}"), 1.0);
    assert_eq!(coordinator.value("heddle_coordinator_agents"), 1.0);
    assert_eq!(coordinator.value("heddle_coordinator_agent_slots"), 2.0);
    assert_eq!(coordinator.value("heddle_coordinator_database_ready"), 1.0);
    assert!(coordinator.value("heddle_coordinator_partition_epoch{partition=\"0\"}") >= 1.0);
    let execute = "route=\"/api/v1/workflows/{id}/execute\",status=\"201\"";
    assert_eq!(gateway.value(&format!("heddle_gateway_requests_total{{{execute}}}")), 3.0);
    assert_eq!(gateway.value("heddle_gateway_requests_total{route=\"none\",status=\"404\"}"), 1.0);
    assert_eq!(gateway.value("heddle_gateway_followers_closed_total{reason=\"end\"}"), 1.0);
    assert_eq!(gateway.value("heddle_gateway_coordinator_ready"), 1.0);
    assert_eq!(agent.value("heddle_agent_connected"), 1.0);
    assert_eq!(agent.value("heddle_agent_slots"), 2.0);
    assert_eq!(agent.value("heddle_agent_attempts_total{outcome=\"succeeded\"}"), 1.0);
    assert_eq!(agent.value("heddle_agent_attempts_total{outcome=\"auth\"}"), 1.0);
    assert_eq!(agent.value("heddle_agent_attempts_open"), 0.0);

    // Neither numbers nor logs show what was carried, and numbers show nobody's ids either.
    let key = std::fs::read_to_string(cluster.folder().join("coordinator").join("key")).unwrap();
    for (part, scrape) in parts.iter().zip([&coordinator, &gateway, &agent]) {
        for secret in workflows.iter().chain(&runs).map(String::as_str).chain([CANARY, key.trim(), "default", "agt_"]) {
            assert!(!scrape.text.contains(secret), "{part:?}: {secret} in\n{}", scrape.text);
        }
        let said = cluster.process(*part).said();
        assert!(said.contains("DEBUG"), "{part:?} logs all that it has");
        let key_line = format!("key: {}", key.trim());
        let logged: Vec<&str> = said.lines().filter(|line| *line != key_line).collect();
        for secret in [CANARY, key.trim()] {
            let shown: Vec<_> = logged.iter().filter(|line| line.contains(secret)).collect();
            assert!(shown.is_empty(), "{part:?} logs {secret}: {shown:?}");
        }
    }
    // The port gives nothing else out, and clients' port no numbers.
    let other = reqwest::get(urls[1].replace("/metrics", "/healthz")).await.unwrap();
    assert_eq!(other.status(), 404);
    let posted = reqwest::Client::new().post(&urls[1]).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    assert_eq!(cluster.client().get("/metrics").await.status, 404);
}

/// A run that completes, one that fails and one that waits for an agent that nobody has; the first is followed. Gives the
/// ids of workflows and runs.
async fn exercise(cluster: &Cluster) -> (Vec<String>, Vec<String>) {
    let client = cluster.client();
    let input = || Graph::default().node("input", "input:text", json!({ "text": CANARY }));
    let echo = |graph: Graph| graph.node("work", "debug:echo", json!({})).edge("input.text", "work.in");
    let fails = input().node("work", "debug:fail", json!({ "times": 9, "class": "auth", "message": CANARY }));
    let nowhere = json!({ "agent": { "labels": { "gpu": "none" } } });
    let stands = input().node_with("work", "debug:echo", json!({}), nowhere).edge("input.text", "work.in");
    let (mut workflows, mut runs) = (Vec::new(), Vec::new());
    for (name, graph) in [("echo", echo(input())), ("fails", fails), ("stands", stands)] {
        let workflow = client.save(name, &graph).await;
        let path = format!("/api/v1/workflows/{workflow}/execute");
        let inputs = json!({ "inputs": { "input": format!("{CANARY} {name}") } });
        let started: Answer = send(client.request(Method::POST, &path).json(&inputs)).await.unwrap();
        assert_eq!(started.status, 201, "{started}");
        workflows.push(workflow);
        runs.push(text(&started.json()["executionId"]));
    }
    for (run, status) in runs.iter().zip(["COMPLETED", "FAILED"]) {
        assert_eq!(client.ended(run, RUN_TIME_MAX).await["status"], status);
    }
    let events = format!("/api/v1/workflows/executions/{}/events", runs[0]);
    let followed = send(client.request(Method::GET, &events).header("accept", "text/event-stream")).await.unwrap();
    assert!(String::from_utf8_lossy(&followed.body).contains(CANARY), "clients see what runs carry");
    let refused = send(client.request(Method::GET, &format!("/nowhere?token={CANARY}"))).await.unwrap();
    assert_eq!(refused.status, 404);
    // A body that cannot be read, and a key that is none.
    let body = format!("{{\"{CANARY}\":");
    let broken = send(client.request(Method::POST, "/api/v1/workflows").body(body)).await.unwrap();
    assert_eq!(broken.status, 400);
    let stranger = send(client.anonymous(Method::GET, "/api/v1/workflows").bearer_auth(CANARY)).await.unwrap();
    assert_eq!(stranger.status, 401);
    (workflows, runs)
}

/// A large value goes to the store, comes back, is given to a client, and is not sent where it is already.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_the_artifact_store_and_comes_from_it_is_counted() {
    const COUNT: usize = 200_000;
    let variables = [("HEDDLE_METRICS", "127.0.0.1:0"), ("HEDDLE_LOG", "info")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut cluster = Cluster::start_with(1, 2, variables).await;
    let graph = Graph::default().node("large", "debug:bytes", json!({ "count": COUNT }));
    let graph = graph.node("same", "debug:echo", json!({})).edge("large.out", "same.in");
    let workflow = cluster.client().save("large", &graph).await;
    let run = cluster.client().run(&workflow, "large").await;
    let ended = cluster.client().ended(&run, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    let large = ended["nodeRuns"].as_array().unwrap().iter().find(|node| node["nodeId"] == "large").unwrap();
    let shown = send(reqwest::Client::new().get(text(&large["output"]["out"]["url"]))).await.unwrap();
    assert_eq!(shown.status, 200);
    let uploads = "/api/v1/media/upload";
    let form =
        |file: &[u8]| [b"--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n", file, b"\r\n--b--"].concat();
    for file in [&shown.body[..], b"another"] {
        let request = cluster.client().request(Method::POST, uploads);
        let request = request.header("content-type", "multipart/form-data; boundary=b").body(form(file));
        let answer = send(request).await.unwrap();
        assert_eq!(answer.status, 201, "{answer}");
    }
    let bytes = (COUNT + 2) as f64;
    for (part, name, put_bytes) in [(Part::Agent(0), "agent", bytes), (Part::Gateway(0), "gateway", 7.0)] {
        let scrape = scrape(&url(cluster.process(part)).unwrap()).await;
        let value =
            |number: &str, word: &str| scrape.value(&format!("heddle_{name}_{number}_total{{operation=\"{word}\"}}"));
        let artifacts = ["put", "present", "read"].map(|word| value("artifacts", word));
        assert_eq!(artifacts, [1.0, 1.0, 1.0], "{name}");
        assert_eq!(["put", "read"].map(|word| value("artifact_bytes", word)), [put_bytes, bytes], "{name}");
        assert_eq!(scrape.value(&format!("heddle_{name}_artifact_errors_total")), 0.0);
    }
}

#[tokio::test]
async fn a_whole_cluster_gives_all_its_numbers_out_on_one_port() {
    let folder = TempDir::new().unwrap();
    let (data, listen, metrics) = (folder.path().join("data"), free_address(), free_address());
    let data_text = data.display().to_string();
    let arguments = ["up", "--listen", &listen, "--metrics", &metrics, "--agents", "2", "--data-dir", &data_text];
    let up = Process::start(&arguments.map(str::to_owned), &folder.path().join("log"), None);
    let ready = format!("http://{listen}/readyz");
    wait::until("a cluster", START_TIME_MAX, || async {
        let answer = reqwest::get(&ready).await.map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
    let scrape = scrape(&format!("http://{metrics}/metrics")).await;
    check_names(&scrape, &["heddle_coordinator_", "heddle_gateway_", "heddle_agent_"]);
    assert_eq!(scrape.value("heddle_agent_connected"), 2.0, "agents of one process count together");
    assert_eq!(scrape.value("heddle_coordinator_agents"), 2.0);
    drop(up);
}
