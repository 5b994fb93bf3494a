//! The first minute of a user: one command runs a file, a server survives its death, mistakes are named.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::{Process, command};
use cluster_tests::cluster::{START_TIME_MAX, free_address, history};
use cluster_tests::{repository, wait};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const EXAMPLE: &str = "examples/hello.json";
const EXPECTED: &str = "A postcard about tides, woven by Heddle.\n";
/// The exit code of a wrong command line or set-up, and of what the server does not take.
const USAGE: i32 = 2;

fn heddle(data: &Path) -> Command {
    let mut command = command();
    command.current_dir(repository::root()).env("HEDDLE_DATA", data);
    command
}

fn run_example(data: &Path) -> (Output, Duration) {
    let since = Instant::now();
    let output = heddle(data).args(["run", EXAMPLE, "-i", "topic=tides"]).output().unwrap();
    (output, since.elapsed())
}

fn up(data: &Path, listen: &str) -> Process {
    let arguments = ["up", "--listen", listen, "--debug-nodes", "--data-dir"].map(str::to_owned);
    let data_text = data.display().to_string();
    Process::start(&[&arguments[..], &[data_text]].concat(), &data.with_extension("log"), None)
}

async fn client(data: &Path, listen: &str) -> Client {
    let key = wait::until("a key", START_TIME_MAX, || async {
        std::fs::read_to_string(data.join("key")).map_err(|error| error.to_string())
    });
    let key = key.await;
    let client = Client::new(&format!("http://{listen}"), key.trim(), &data.with_extension("jsonl"));
    wait::until("a server", START_TIME_MAX, || async {
        let ready = send(client.anonymous(Method::GET, "/readyz")).await?;
        if ready.is_success() { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    client
}

fn said(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_file_runs_with_one_command() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    for start in ["first", "second"] {
        let (output, took) = run_example(&data);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), EXPECTED, "{}", said(&output));
        println!("heddle run, {start} time: {:.2} s", took.as_secs_f64());
    }
}

#[tokio::test]
async fn a_server_that_was_killed_starts_again_where_it_was() {
    let folder = TempDir::new().unwrap();
    let (data, listen) = (folder.path().join("data"), free_address());
    let mut server = up(&data, &listen);
    let api = client(&data, &listen).await;
    let graph = Graph::default().node("input", "input:text", json!({ "text": "x" }));
    let graph = graph.node("wait", "logic:wait", json!({ "forMs": 1_500 })).edge("input.text", "wait.value");
    let workflow = api.save("survivor", &graph).await;
    let execution = api.run(&workflow, "survivor").await;
    server.kill();
    let since = Instant::now();
    let mut server = up(&data, &listen);
    let api = client(&data, &listen).await;
    println!("heddle up after kill -9: ready in {:.2} s", since.elapsed().as_secs_f64());
    let ended = api.ended(&execution, START_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    assert_eq!(history::problems(&graph, &ended, &api.events(&execution).await), Vec::<String>::new());
    // A command finds the server through the folder, and leaves it alone.
    let (output, _) = run_example(&data);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), EXPECTED.as_bytes()), "{}", said(&output));
    let agents = api.get_json("/api/v1/agents").await;
    assert_eq!((agents.as_array().map(Vec::len), &agents[0]["state"]), (Some(1), &json!("connected")), "{agents}");
    assert!(server.ended().is_none());
}

#[tokio::test]
async fn a_file_goes_into_a_run_and_comes_out_again() {
    let folder = TempDir::new().unwrap();
    let (data, listen) = (folder.path().join("data"), free_address());
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (file, picture, out, store) = (place("look.json"), place("cat.png"), place("out"), place("store"));
    let arguments = ["up", "--listen", &listen, "--debug-nodes", "--artifacts", &store, "--data-dir", &place("data")];
    let _server = Process::start(&arguments.map(str::to_owned), &data.with_extension("log"), None);
    let api = client(&data, &listen).await;
    let graph = Graph::default()
        .node("picture", "input:json", json!({}))
        .node("size", "debug:measure", json!({}))
        .node("copy", "debug:echo", json!({}))
        .edge("picture.json", "size.item")
        .edge("picture.json", "copy.item");
    std::fs::write(&file, graph.parts().to_string()).unwrap();
    // A picture by its first bytes, and more than a row holds.
    let bytes = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 200_000]].concat();
    std::fs::write(&picture, &bytes).unwrap();
    let given = format!("picture=@{picture}");
    let run = || heddle(&data).args(["run", &file, "-i", &given, "--out", &out, "--json"]).output().unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ended["outputs"]["size"]["out"], json!(bytes.len()), "{ended}");
    let saved = ended["files"].as_array().unwrap();
    assert_eq!((saved.len(), &saved[0]["nodeId"], &saved[0]["mediaType"]), (1, &json!("copy"), &json!("image/png")));
    let path = Path::new(saved[0]["path"].as_str().unwrap());
    assert!(path.starts_with(&out) && std::fs::read(path).unwrap() == bytes, "{ended}");
    let listed = api.get_json("/api/v1/media").await;
    assert_eq!((&listed["data"][0]["name"], &listed["data"][1]), (&json!("cat.png"), &Value::Null), "{listed}");
    assert!(Path::new(&store).join("heddle-store").exists() && !data.join("artifacts").exists());

    std::fs::write(&picture, "<html><script>alert(1)</script>").unwrap();
    let refused = run();
    assert_eq!(refused.status.code(), Some(USAGE), "{}", said(&refused));
    assert!(said(&refused).contains("declared as image/png"), "{}", said(&refused));
}

#[tokio::test]
async fn mistakes_end_with_their_exit_code() {
    let folder = TempDir::new().unwrap();
    let (data, listen) = (folder.path().join("data"), free_address());
    let _server = up(&data, &listen);
    client(&data, &listen).await;
    let locked = heddle(&data).args(["up", "--listen", &free_address()]).output().unwrap();
    assert_eq!(locked.status.code(), Some(USAGE), "{}", said(&locked));
    assert!(said(&locked).contains("in use"), "{}", said(&locked));

    let other = folder.path().join("other");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for part in ["up", "coordinator", "gateway"] {
        let output = heddle(&other).args([part, "--listen", &address]).output().unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{part}: {}", said(&output));
        assert!(said(&output).contains(&address), "{part}: {}", said(&output));
    }
    for arguments in [&["run", "no/such/file.json"][..], &["frobnicate"]] {
        let output = heddle(&other).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {}", said(&output));
    }
    let output = heddle(&data).args(["run", EXAMPLE, "-i", "tpic=tides"]).output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{}", said(&output));
    assert!(said(&output).contains("tpic"), "{}", said(&output));
}

#[tokio::test]
async fn a_stream_of_events_goes_on_after_its_last_id() {
    let folder = TempDir::new().unwrap();
    let (data, listen) = (folder.path().join("data"), free_address());
    let _server = up(&data, &listen);
    let api = client(&data, &listen).await;
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "x" }));
    let mut last = "input.text".to_owned();
    for number in 0..10 {
        let id = format!("wait{number}");
        graph = graph.node(&id, "logic:wait", json!({ "forMs": 40 })).edge(&last, &format!("{id}.value"));
        last = format!("{id}.value");
    }
    let workflow = api.save("events", &graph).await;
    let execution = api.run(&workflow, "events").await;
    let mut seen: Vec<Value> = Vec::new();
    // Each connection is dropped after the first event it brings, and taken up again after that event.
    while seen.last().is_none_or(|event| event["type"] != "run.completed") {
        let after = seen.last().map_or(0, |event| event["seq"].as_u64().unwrap());
        let request = api.request(Method::GET, &format!("/api/v1/workflows/executions/{execution}/events"));
        let request = request.header("accept", "text/event-stream").header("last-event-id", after.to_string());
        seen.push(first_event(request).await);
    }
    let all = api.events(&execution).await;
    assert_eq!(seen, all, "the stream and the list differ");
    let seqs: Vec<u64> = seen.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seen.len() as u64).collect::<Vec<_>>());
}

async fn first_event(request: reqwest::RequestBuilder) -> Value {
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut text = String::new();
    loop {
        let piece = response.chunk().await.unwrap().expect("the stream ended before its event");
        text.push_str(&String::from_utf8_lossy(&piece));
        let whole = text.split("\n\n").filter(|block| block.starts_with("id: "));
        let mut data = whole.filter_map(|block| block.lines().find_map(|line| line.strip_prefix("data: ")));
        if let Some(event) = data.next().and_then(|data| serde_json::from_str(data).ok()) {
            return event;
        }
    }
}

#[tokio::test]
async fn a_stream_at_the_end_of_a_run_ends_at_once_and_past_it_is_refused() {
    let folder = TempDir::new().unwrap();
    let (data, listen) = (folder.path().join("data"), free_address());
    let _server = up(&data, &listen);
    let api = client(&data, &listen).await;
    let graph = Graph::default().node("input", "input:text", json!({ "text": "x" }));
    let graph = graph.node("wait", "logic:wait", json!({ "forMs": 1_000 })).edge("input.text", "wait.value");
    let workflow = api.save("ends", &graph).await;
    let execution = api.run(&workflow, "ends").await;
    let path = format!("/api/v1/workflows/executions/{execution}/events");
    let stream = async |after: u64, by_header: bool| {
        let place = if by_header { path.clone() } else { format!("{path}?after={after}") };
        let request = api.request(Method::GET, &place).header("accept", "text/event-stream");
        let request = if by_header { request.header("last-event-id", after.to_string()) } else { request };
        let whole = async { request.send().await.unwrap().text().await.unwrap() };
        tokio::time::timeout(START_TIME_MAX, whole).await.expect("the stream ends")
    };
    // Whoever named a place that the run has not come to would miss all up to there.
    let refused = |text: &str| text.contains("\"code\":\"invalid_last_event_id\"");
    let text = stream(1_000, false).await;
    assert!(refused(&text), "{text}");
    api.ended(&execution, START_TIME_MAX).await;
    let last = api.events(&execution).await.last().unwrap()["seq"].as_u64().unwrap();
    for (after, by_header) in [(last, true), (last, false)] {
        let since = Instant::now();
        let text = stream(after, by_header).await;
        assert!(text.ends_with("event: stream.end\ndata: {}\n\n"), "{text}");
        assert!(!text.contains("id: "), "{text}");
        assert!(since.elapsed() < Duration::from_secs(4), "without waiting for the next look: {:?}", since.elapsed());
    }
    for (after, by_header) in [(last + 1, true), (u64::MAX, false)] {
        let text = stream(after, by_header).await;
        assert!(refused(&text), "{text}");
    }
    assert!(stream(last - 1, true).await.contains(&format!("id: {last}\n")));
}
