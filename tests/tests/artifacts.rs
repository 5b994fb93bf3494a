//! Large values with real processes: in and out over REST, through agents, and what becomes of them when somebody dies.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::Process;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MIB: u64 = 1024 * 1024;
/// How much a process may grow by an artifact of any size.
const GROWTH_MAX: u64 = 64 * MIB;
const RUN_TIME_MAX: Duration = Duration::from_secs(180);
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and what follows";

/// How much memory each part has taken at its peak since this was made.
struct Peaks(Vec<(Part, u64)>);

impl Peaks {
    fn begin(cluster: &mut Cluster) -> Self {
        let parts = cluster.parts();
        Self(parts.into_iter().map(|part| (part, cluster.process(part).begin_peak())).collect())
    }

    /// Prints and bounds the growth of each part.
    fn check(&self, cluster: &mut Cluster, what: &str, bound: impl Fn(Part) -> u64) {
        for (part, before) in &self.0 {
            let growth = cluster.process(*part).peak().saturating_sub(*before);
            println!("{what}: {part:?} grew by {} KiB", growth / 1024);
            assert!(growth < bound(*part), "{what}: {part:?} grew by {growth} bytes");
        }
    }
}

/// A piece of a file that is nowhere as a whole; every piece is another one.
fn piece(number: u64) -> Bytes {
    let words = (0..MIB / 8).flat_map(|word| (number << 32 ^ word.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes());
    words.collect::<Vec<u8>>().into()
}

async fn upload(client: &Client, content_type: &str, file: &[u8]) -> Answer {
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: {content_type}\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--b--\r\n");
    let request = client.request(Method::POST, "/api/v1/media/upload");
    send(request.header("content-type", "multipart/form-data; boundary=b").body(body)).await.unwrap()
}

/// What is at an absolute address, without a key.
async fn open(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = reqwest::Client::new().get(url);
    send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await.unwrap()
}

fn store(cluster: &Cluster) -> PathBuf {
    cluster.folder().join("coordinator").join("artifacts")
}

/// The artifacts in a store that is a folder.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(objects(&entry.path())),
            false if entry.file_name() != "heddle-store" => found.push(entry.path()),
            false => {}
        }
    }
    found
}

fn output<'a>(run: &'a Value, node: &str, port: &str) -> &'a Value {
    let runs = run["nodeRuns"].as_array().unwrap();
    let found = runs.iter().find(|shown| shown["nodeId"] == node).unwrap_or_else(|| panic!("no {node} in {run}"));
    &found["output"][port]
}

async fn completed(client: &Client, name: &str, graph: &Graph) -> Value {
    let workflow = client.save(name, graph).await;
    let execution = client.run(&workflow, name).await;
    let run = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    run
}

#[tokio::test]
async fn large_files_go_in_and_out_in_little_memory() {
    // A piece is a MiB; the largest artifact has 2,048 of them.
    let pieces_all: u64 = std::env::var("ARTIFACT_MIB").map_or(200, |count| count.parse().unwrap());
    let mut cluster = Cluster::start(1, 2).await;
    let client = cluster.client().clone();
    let peaks = Peaks::begin(&mut cluster);
    let asked = json!({ "bytes": pieces_all * MIB, "filename": "film.bin" });
    let address = send(client.request(Method::POST, "/api/v1/media/upload-url").json(&asked)).await.unwrap();
    assert_eq!(address.status, 200, "{address}");
    let address = address.json()["data"].clone();
    let pieces = futures_pieces(pieces_all);
    let put = reqwest::Client::new().put(address["uploadUrl"].as_str().unwrap());
    let put = put.header("content-type", address["headers"]["Content-Type"].as_str().unwrap());
    let answer = send(put.header("content-length", pieces_all * MIB).body(pieces)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    let done = json!({ "mediaId": address["mediaId"], "filename": "film.bin" });
    let media = send(client.request(Method::POST, "/api/v1/media/upload-url/complete").json(&done)).await.unwrap();
    assert_eq!(media.status, 200, "{media}");
    let url = media.json()["data"]["url"].as_str().unwrap().to_owned();
    same_pieces(&url, pieces_all).await;
    peaks.check(&mut cluster, &format!("{pieces_all} MiB through the gateway"), |_| GROWTH_MAX);

    let peaks = Peaks::begin(&mut cluster);
    let graph = Graph::default()
        .node("make", "debug:file", json!({ "count": pieces_all * MIB }))
        .node("measure", "debug:measure", json!({}))
        .edge("make.out", "measure.item");
    let run = completed(&client, "film", &graph).await;
    assert_eq!(output(&run, "measure", "out"), &json!(pieces_all * MIB));
    let made = output(&run, "make", "out");
    assert_eq!((&made["bytes"], &made["mediaType"]), (&json!(pieces_all * MIB), &json!("application/octet-stream")));
    let part = open(made["url"].as_str().unwrap(), &[("range", "bytes=104857600-104857615")]).await;
    assert_eq!((part.status, part.body.len()), (206, 16), "{part}");
    peaks.check(&mut cluster, &format!("{pieces_all} MiB through an agent"), |_| GROWTH_MAX);
}

fn futures_pieces(count: u64) -> reqwest::Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(2);
    tokio::spawn(async move {
        for number in 0..count {
            if sender.send(Ok(piece(number))).await.is_err() {
                break;
            }
        }
    });
    reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

async fn same_pieces(url: &str, count: u64) {
    let mut response = reqwest::get(url).await.unwrap();
    assert_eq!((response.status().as_u16(), response.content_length()), (200, Some(count * MIB)));
    let (mut number, mut expected) = (0, Bytes::new());
    while let Some(mut got) = response.chunk().await.unwrap() {
        while !got.is_empty() {
            if expected.is_empty() {
                expected = piece(number);
                number += 1;
            }
            let length = got.len().min(expected.len());
            assert!(got.split_to(length) == expected.split_to(length), "piece {number} differs");
        }
    }
    assert_eq!((number, expected.len()), (count, 0));
}

#[tokio::test]
async fn large_values_pass_through_a_run_like_small_ones() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let mut graph = Graph::default()
        .node("big", "debug:bytes", json!({ "count": 300_000 }))
        .node("echo", "debug:echo", json!({}))
        .node("joined", "utility:prompt_concat", json!({ "separator": "" }))
        .node("all", "debug:echo", json!({}))
        .node("show", "output:preview", json!({}))
        .edge("big.out", "echo.item")
        .edge("echo.out", "joined.texts")
        .edge("big.out", "joined.texts")
        .edge("big.out", "show.value");
    // Together far more than one message, each of them small.
    for number in 0..80 {
        let id = format!("part{number}");
        graph =
            graph.node(&id, "debug:bytes", json!({ "count": 60_000 + number })).edge(&format!("{id}.out"), "all.in");
    }
    let run = completed(client, "values", &graph).await;
    let (big, echo) = (output(&run, "big", "out"), output(&run, "echo", "out"));
    assert_eq!((&big["bytes"], &big["mediaType"]), (&json!(300_002), &json!("application/json")));
    assert_eq!(big["digest"], echo["digest"], "a value is stored once per digest");
    let text = |answer: &Answer| answer.json().as_str().map(str::len);
    assert_eq!(text(&open(big["url"].as_str().unwrap(), &[]).await), Some(300_000));
    let joined = open(output(&run, "joined", "text")["url"].as_str().unwrap(), &[]).await;
    assert_eq!(text(&joined), Some(600_000));
    let all = open(output(&run, "all", "out")["url"].as_str().unwrap(), &[]).await.json();
    let lengths: Vec<_> = all.as_array().unwrap().iter().filter_map(|item| item.as_str().map(str::len)).collect();
    assert_eq!(lengths, (60_000..60_080).collect::<Vec<_>>());
    assert_eq!(run["finalOutput"]["url"].as_str().map(|url| url.contains("/api/v1/artifacts/")), Some(true), "{run}");
    assert_eq!(objects(&store(&cluster)).len(), 3);

    // An answer's description is an input of another run, as the value it stands for.
    let graph = Graph::default()
        .node("in", "input:json", json!({}))
        .node("echo", "debug:echo", json!({}))
        .edge("in.json", "echo.item");
    let workflow = client.save("again", &graph).await;
    let start = |value: Value| {
        let path = format!("/api/v1/workflows/{workflow}/run");
        async move { send(client.request(Method::POST, &path).json(&json!({ "inputs": { "in": value } }))).await.unwrap() }
    };
    let started = start(big.clone()).await;
    assert_eq!(started.status, 202, "{started}");
    let again = client.ended(started.json()["executionId"].as_str().unwrap(), RUN_TIME_MAX).await;
    assert_eq!(output(&again, "echo", "out")["digest"], big["digest"], "{again}");
    let unknown = start(json!({ "digest": "0".repeat(64), "mediaType": "image/png" })).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (422, &json!("artifact_not_found")), "{unknown}");
}

#[tokio::test]
async fn addresses_hold_to_what_was_signed() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let answer = upload(client, "image/png", PNG).await;
    assert_eq!(answer.status, 201, "{answer}");
    let media = answer.json()["data"].clone();
    let (url, digest) = (media["url"].as_str().unwrap(), media["digest"].as_str().unwrap());
    let whole = open(url, &[]).await;
    assert_eq!((whole.status, &whole.body[..]), (200, PNG), "{whole}");
    let header = |answer: &Answer, name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let tag = format!("\"{digest}\"");
    assert_eq!(header(&whole, "content-type").as_deref(), Some("image/png"));
    assert_eq!(header(&whole, "etag"), Some(tag.clone()));
    assert_eq!(header(&whole, "x-content-type-options").as_deref(), Some("nosniff"));
    assert!(header(&whole, "content-disposition").unwrap().starts_with("inline;"));
    // Ranges.
    for (sent, status, range, length) in [
        (vec![("range", "bytes=1-3")], 206, Some("bytes 1-3/"), 3),
        (vec![("range", "bytes=-4")], 206, Some("bytes "), 4),
        (vec![("range", "bytes=1-3"), ("if-range", &tag)], 206, Some("bytes 1-3/"), 3),
        (vec![("range", "bytes=1-3"), ("if-range", "\"other\"")], 200, None, PNG.len()),
        (vec![("range", "bytes=1-2,5-6")], 200, None, PNG.len()),
        (vec![("if-none-match", &tag)], 304, None, 0),
    ] {
        let answer = open(url, &sent).await;
        assert_eq!((answer.status, answer.body.len()), (status, length), "{sent:?}: {answer}");
        let found = header(&answer, "content-range");
        assert_eq!(found.is_some(), range.is_some(), "{sent:?}");
        assert!(range.is_none_or(|range| found.unwrap().starts_with(range)), "{sent:?}");
    }
    let beyond = open(url, &[("range", "bytes=9999-")]).await;
    assert_eq!((beyond.status, header(&beyond, "content-range")), (416, Some(format!("bytes */{}", PNG.len()))));
    let head = send(reqwest::Client::new().head(url)).await.unwrap();
    assert_eq!((head.status, header(&head, "content-length"), head.body.len()), (200, Some(PNG.len().to_string()), 0));
    // Every part of the address counts.
    let expires: u64 = url.split("expires=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
    for (from, to) in [
        ("tenant=default", "tenant=other"),
        ("image%2Fpng", "text%2Fhtml"),
        (&*format!("expires={expires}"), &*format!("expires={}", expires + 1)),
        ("signature=", "signature=0"),
        (&*digest[..8].to_owned(), "00000000"),
    ] {
        let tampered = url.replacen(from, to, 1);
        assert_ne!(tampered, url, "{from}");
        let answer = open(&tampered, &[]).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("invalid_signature")), "{from}: {answer}");
    }
    // With a key, or not at all.
    let path = format!("/api/v1/artifacts/{digest}");
    assert_eq!(client.get(&path).await.body, PNG);
    assert_eq!(send(client.anonymous(Method::GET, &path)).await.unwrap().status, 401);
    // Downloads serve these addresses only.
    let download = |url: &str| client.anonymous(Method::GET, "/api/download").query_pair("url", url);
    let saved = send(download(url)).await.unwrap();
    assert_eq!((saved.status, &saved.body[..]), (200, PNG));
    assert!(header(&saved, "content-disposition").unwrap().starts_with("attachment;"));
    for foreign in ["https://example.com/a.png", &url.replacen("signature=", "signature=1", 1), "nonsense", &path] {
        assert_eq!(send(download(foreign)).await.unwrap().status, 403, "{foreign}");
    }
    // Another tenant's bytes under the same digest are nobody else's.
    let theirs = "f".repeat(64);
    let folder = store(&cluster).join("t-other").join("ff");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&theirs), b"secret").unwrap();
    assert_eq!(client.get(&format!("/api/v1/artifacts/{theirs}")).await.status, 404);
}

/// A query without the feature of the client library.
trait QueryPair {
    fn query_pair(self, name: &str, value: &str) -> Self;
}

impl QueryPair for reqwest::RequestBuilder {
    fn query_pair(self, name: &str, value: &str) -> Self {
        let (client, request) = self.build_split();
        let mut request = request.unwrap();
        request.url_mut().query_pairs_mut().append_pair(name, value);
        Self::from_parts(client, request)
    }
}

#[tokio::test]
async fn files_are_what_their_bytes_say() {
    let file = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = file.local_addr().unwrap();
    let serving = tokio::spawn(serve_png(file));
    let allowed = vec![("HEDDLE_ALLOW_FETCH".to_owned(), address.to_string())];
    let cluster = Cluster::start_with(1, 1, allowed).await;
    let client = cluster.client();
    for (declared, bytes, expected) in [
        ("image/jpeg", PNG, 415),
        ("image/png", b"<html><script>alert(1)</script>", 415),
        ("text/html", b"<html><script>alert(1)</script>", 201),
        ("image/svg+xml", b"<svg onload='x'/>", 201),
        ("application/octet-stream", PNG, 201),
    ] {
        let answer = upload(client, declared, bytes).await;
        assert_eq!(answer.status, expected, "{declared}: {answer}");
        if declared.contains("html") || declared.contains("svg") {
            let shown = open(answer.json()["data"]["url"].as_str().unwrap(), &[]).await;
            let disposition = shown.headers["content-disposition"].to_str().unwrap();
            assert!(disposition.starts_with("attachment;"), "{declared}: {disposition}");
        }
    }
    let too_much = upload(client, "text/plain", &vec![b'x'; 25 * MIB as usize + 1]).await;
    assert_eq!((too_much.status, &too_much.json()["code"]), (413, &json!("body_too_large")), "{too_much}");
    let no_file =
        client.request(Method::POST, "/api/v1/media/upload").header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(send(no_file.body("--b--\r\n")).await.unwrap().status, 400);
    let fetch = |url: String| send(client.request(Method::POST, "/api/v1/media/upload").json(&json!({ "url": url })));
    let answer = fetch(format!("http://{address}/picture.png")).await.unwrap();
    assert_eq!((answer.status, &answer.json()["data"]["mediaType"]), (201, &json!("image/png")), "{answer}");
    for (url, code) in [
        ("https://127.0.0.1/", "url_denied"),
        ("https://[::ffff:169.254.169.254]/latest/meta-data", "url_denied"),
        ("https://localhost/", "url_denied"),
        ("file:///etc/passwd", "url_invalid"),
        ("http://example.com/", "url_invalid"),
    ] {
        let answer = fetch(url.to_owned()).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(code)), "{url}: {answer}");
    }
    // The list, page by page, and out of it.
    let page = client.get_json("/api/v1/media?limit=2").await;
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2), "{page}");
    let next = client.get_json(&format!("/api/v1/media?cursor={}", page["nextCursor"].as_str().unwrap())).await;
    assert_eq!((next["data"].as_array().map(Vec::len), &next["nextCursor"]), (Some(2), &Value::Null), "{next}");
    let id = page["data"][0]["id"].as_str().unwrap();
    let remove = || send(client.request(Method::DELETE, &format!("/api/v1/media/{id}")));
    assert_eq!((remove().await.unwrap().status, remove().await.unwrap().status), (204, 404));
    // An address for one file takes that file.
    let asked = json!({ "bytes": 10, "filename": "a.txt", "contentType": "text/plain" });
    let given = send(client.request(Method::POST, "/api/v1/media/upload-url").json(&asked)).await.unwrap().json();
    let put = given["data"]["uploadUrl"].as_str().unwrap();
    for (address, body, status) in [
        (put.to_owned(), "short", 400),
        (put.replacen("bytes=10", "bytes=11", 1), "eleven byte", 403),
        (put.to_owned(), "ten bytes!", 200),
    ] {
        let answer = send(reqwest::Client::new().put(&address).body(body)).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {answer}");
    }
    serving.abort();
}

async fn serve_png(listener: tokio::net::TcpListener) {
    loop {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = [0; 4_096];
        let _read = connection.read(&mut head).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n", PNG.len());
        connection.write_all(answer.as_bytes()).await.unwrap();
        connection.write_all(PNG).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_that_dies_after_its_upload_leaves_one_object() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.kill(Part::Agent(0));
    cluster.start_part(Part::Agent(0), Some("agent.before-result:1"));
    let client = cluster.client().clone();
    let graph = Graph::default().node("big", "debug:bytes", json!({ "count": 5_000_000 }));
    let workflow = client.save("kill", &graph).await;
    let execution = client.run(&workflow, "kill").await;
    wait::until("the agent's death", RUN_TIME_MAX, || {
        let crashed = cluster.process(Part::Agent(0)).crashed();
        async move { if crashed { Ok(()) } else { Err("it lives".to_owned()) } }
    })
    .await;
    assert_eq!(objects(&store(&cluster)).len(), 1, "it died after its upload");
    cluster.kill(Part::Agent(0));
    cluster.start_part(Part::Agent(0), None);
    let run = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    assert_eq!(run["nodeRuns"][0]["attempts"], 2, "{run}");
    assert_eq!(objects(&store(&cluster)).len(), 1, "the second upload is the same object");
}

#[tokio::test]
async fn results_of_many_nodes_cost_the_coordinator_nothing() {
    let figure = |name: &str, usual: usize| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (nodes, bytes) = (figure("ARTIFACT_NODES", 60), figure("ARTIFACT_NODE_BYTES", 5_000_000));
    let mut cluster = Cluster::start(1, 4).await;
    let client = cluster.client().clone();
    let mut graph = Graph::default();
    for number in 0..nodes {
        graph = graph.node(&format!("n{number}"), "debug:bytes", json!({ "count": bytes + number }));
    }
    let workflow = client.save("many", &graph).await;
    let peaks = Peaks::begin(&mut cluster);
    let since = Instant::now();
    let execution = client.run(&workflow, "many").await;
    let run = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    println!("{nodes} artifacts of {bytes} bytes in {:.1} s", since.elapsed().as_secs_f64());
    assert_eq!(objects(&store(&cluster)).len(), nodes);
    // What a run keeps of each of its nodes, and nothing of what they give.
    let state = (nodes as u64 * 4_096).max(32 * MIB);
    let bound = |part| if part == Part::Coordinator { state } else { 2 * GROWTH_MAX };
    peaks.check(&mut cluster, &format!("{nodes} nodes of {bytes} bytes"), bound);
}

#[tokio::test]
async fn a_folder_is_for_one_machine() {
    let mut cluster = Cluster::start(1, 1).await;
    // As on a machine that has another folder of this name, or none.
    let mark = store(&cluster).join("heddle-store");
    std::fs::rename(&mark, mark.with_extension("away")).unwrap();
    cluster.kill(Part::Agent(0));
    cluster.start_part(Part::Agent(0), None);
    let agent: &mut Process = cluster.process(Part::Agent(0));
    let ended = wait::until("the agent's end", RUN_TIME_MAX, || {
        let ended = agent.ended();
        async move { ended.ok_or_else(|| "it still runs".to_owned()) }
    });
    assert!(!ended.await.success());
    let said = agent.said();
    assert!(said.contains("artifact_store_not_shared") && said.contains("s3://BUCKET/PREFIX"), "{said}");
}

#[tokio::test]
async fn a_quota_stops_what_is_new() {
    let room = PNG.len() + 11;
    let quota = vec![("HEDDLE_ARTIFACT_QUOTA".to_owned(), room.to_string())];
    let cluster = Cluster::start_with(1, 1, quota).await;
    let client = cluster.client();
    let workflow = client.save("small", &Graph::default().node("n", "debug:noop", json!({}))).await;
    for (file, status, code) in [
        (PNG, 201, Value::Null),
        (b"more than eleven bytes".as_slice(), 413, json!("body_too_large")),
        (b"just eleven", 201, Value::Null),
        (b"x", 402, json!("artifact_quota_exceeded")),
    ] {
        let answer = upload(client, "application/octet-stream", file).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code), "{answer}");
    }
    let refused = client.execute(&workflow, "refused").await;
    assert_eq!((refused.status, &refused.json()["code"]), (402, &json!("artifact_quota_exceeded")), "{refused}");
    let page = client.get_json("/api/v1/media").await;
    for media in page["data"].as_array().unwrap() {
        let path = format!("/api/v1/media/{}", media["id"].as_str().unwrap());
        assert_eq!(send(client.request(Method::DELETE, &path)).await.unwrap().status, 204);
    }
    // Room comes with the next collection, a day later; until then the bytes are there.
    assert_eq!(upload(client, "text/plain", b"x").await.status, 402);
}
