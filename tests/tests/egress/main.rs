//! What graphs name reaches nobody inside the operator's network, and what is secret shows nowhere.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod names;
mod rebinding;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::{Process, command};
use cluster_tests::cluster::{START_TIME_MAX, free_address};
use cluster_tests::collector::Collector;
use cluster_tests::wait;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const RUN_TIME_MAX: Duration = Duration::from_secs(30);
/// A port that the guard lets requests to the public internet use: only the address is what keeps the canary safe.
const OPEN_PORT: u16 = 8443;
/// How long nobody may answer.
const ANSWER_TIME_MS: u64 = 5_000;
const SECRET: &str = "canary-4f1d9c2e8b7a6053";

/// Somebody inside the network who must never be asked.
struct Inside {
    address: Ipv4Addr,
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Inside {
    /// On an address of this machine that nobody else listens at, and on every open port of the usual ones.
    fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        static NUMBER: AtomicU8 = AtomicU8::new(2);
        let [first, second, ..] = std::process::id().to_le_bytes().map(|byte| byte.clamp(2, 254));
        let address = Ipv4Addr::new(127, first, second, NUMBER.fetch_add(1, Ordering::Relaxed));
        let own = TcpListener::bind((address, OPEN_PORT)).unwrap();
        let plain = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = plain.local_addr().unwrap().port();
        // Somebody else may listen there; the others are enough to notice a hole.
        let usual = [TcpListener::bind(("127.0.0.1", OPEN_PORT)), TcpListener::bind(("::1", OPEN_PORT))];
        for listener in [own, plain].into_iter().chain(usual.into_iter().flatten()) {
            let asked = Arc::clone(&asked);
            std::thread::spawn(move || {
                for connection in listener.incoming() {
                    asked.fetch_add(1, Ordering::Relaxed);
                    drop(connection);
                }
            });
        }
        Self { address, port, asked }
    }

    /// The canary is not deaf.
    async fn does_count(&self) {
        drop(TcpStream::connect((self.address, OPEN_PORT)).unwrap());
        wait::until("the canary to notice", START_TIME_MAX, || async {
            let asked = self.asked.load(Ordering::Relaxed);
            if asked == 1 { Ok(()) } else { Err(format!("asked {asked} times")) }
        })
        .await;
    }

    /// Every way to write the canary's address.
    fn hosts(&self) -> Vec<String> {
        let [a, b, c, d] = self.address.octets();
        let number = u32::from(self.address);
        let (high, low) = (number >> 16, number & 0xffff);
        let wide: String = self.address.to_string().chars().map(fullwidth).collect();
        let escaped: String = self.address.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        vec![
            format!("{a}.{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.{d}."),
            format!("{number}"),
            format!("{number:#x}"),
            format!("{number:#X}").replace("0X", "0x"),
            format!("0{number:o}"),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("00{a:o}.{b}.{c:#x}.{d}"),
            format!("{a}.{b}.{}", u32::from(c) << 8 | u32::from(d)),
            format!("{a}.{}", number & 0x00ff_ffff),
            format!("{a:#x}.{:#x}", number & 0x00ff_ffff),
            wide,
            escaped,
            format!("{a}。{b}。{c}。{d}"),
            format!("[::ffff:{a}.{b}.{c}.{d}]"),
            format!("[::ffff:{high:x}:{low:x}]"),
            format!("[0:0:0:0:0:FFFF:{high:x}:{low:x}]"),
            format!("[::{a}.{b}.{c}.{d}]"),
            format!("[64:ff9b::{a}.{b}.{c}.{d}]"),
            format!("[64:ff9b:1::{high:x}:{low:x}]"),
            format!("[2002:{high:x}:{low:x}::]"),
            format!("[2002:{high:x}:{low:x}::1]"),
        ]
    }

    /// Addresses that a graph may not ask.
    fn urls(&self) -> Vec<String> {
        let (host, port) = (self.address, self.port);
        let mut urls = Vec::new();
        for written in self.hosts() {
            urls.push(format!("https://{written}:{OPEN_PORT}/"));
            urls.push(format!("http://{written}:{OPEN_PORT}/"));
        }
        urls.extend([
            format!("http://127.0.0.1:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("http://2130706433:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            format!("http://localhost:{port}/"),
            format!("https://localhost:{OPEN_PORT}/"),
            format!("https://LOCALHOST:{OPEN_PORT}/"),
            format!("https://localhost.:{OPEN_PORT}/"),
            format!("https://0:{OPEN_PORT}/"),
            format!("https://0.0.0.0:{OPEN_PORT}/"),
            format!("https://127.1:{OPEN_PORT}/"),
            format!("https://0x7f.1:{OPEN_PORT}/"),
            format!("https://[::]:{OPEN_PORT}/"),
            format!("https://[::1]:{OPEN_PORT}/"),
            format!("https://[0:0:0:0:0:0:0:1]:{OPEN_PORT}/"),
            format!("https://127.0.0.1:{OPEN_PORT}\\@example.com/"),
            format!("https://example.com@{host}:{OPEN_PORT}/"),
            format!("https://example.com:443@{host}:{OPEN_PORT}/"),
            format!("https://{host}:{OPEN_PORT}#@example.com/"),
            format!("https://{host}:{OPEN_PORT}?@example.com/"),
            format!("https://{host}:0{OPEN_PORT}/"),
            format!("ht\ttps://{host}:{OPEN_PORT}/"),
            format!("https:{host}:{OPEN_PORT}/"),
            format!("https:/\\{host}:{OPEN_PORT}/"),
            format!("ftp://{host}:{OPEN_PORT}/"),
            format!("gopher://{host}:{OPEN_PORT}/_GET"),
            format!("ws://{host}:{OPEN_PORT}/"),
            format!("dict://{host}:{OPEN_PORT}/"),
            format!("//{host}:{OPEN_PORT}/"),
        ]);
        let fixed = [
            "file:///etc/passwd",
            "data:text/plain,inside",
            "javascript:alert(1)",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::ffff:169.254.169.254]/latest/meta-data/",
            "https://[fd00:ec2::254]/latest/meta-data/",
            "https://0xa9fea9fe/",
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://192.168.0.1/",
            "https://100.64.0.1/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[fe80::1]/",
            "https://[fc00::1]/",
            "https://[ff02::1]/",
            "https://example.com:25/",
            "http://example.com/",
            "https://user:password@example.com/",
        ];
        urls.extend(fixed.map(str::to_owned));
        urls
    }
}

fn fullwidth(letter: char) -> char {
    letter.to_digit(10).and_then(|digit| char::from_u32('０' as u32 + digit)).unwrap_or(letter)
}

/// A server of the operator's own, which a credential opens: `/to?URL` leads on, `/echo` says what it was sent, `/no` says
/// it with a refusal, `/long` a thousand times.
fn own_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away is not this server's matter.
            let _served = serve(connection);
        }
    });
    port
}

fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let heads: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let secret = heads.iter().find(|line| line.starts_with("authorization")).cloned().unwrap_or_default();
    let said = json!({"error": {"message": format!("you sent {secret}")}, "secret": secret}).to_string();
    let (status, extra) = match path.split_once('?') {
        Some(("/to", target)) => ("302 Found", format!("location: {target}\r\n")),
        _ if path == "/no" => ("400 Bad Request", format!("x-secret: {secret}\r\n")),
        _ => ("200 OK", format!("x-secret: {secret}\r\n")),
    };
    // More than an event holds.
    let said = if path == "/long" { format!("[{}{said}]", format!("{said},").repeat(1_000)) } else { said };
    let length = said.len();
    let head = format!("HTTP/1.1 {status}\r\n{extra}content-type: application/json\r\ncontent-length: {length}\r\n");
    connection.write_all(format!("{head}connection: close\r\n\r\n{said}").as_bytes())?;
    // Until the client has read it all.
    connection.read(&mut [0; 64]).map(|_| ())
}

/// Gives the agents with this folder the credential `own`.
fn set_secret(data: &Path, hosts: &[&str]) {
    let mut set = command();
    set.args(["secrets", "set", "own", "--allow-private", "--data-dir"]).arg(data);
    set.args(hosts.iter().flat_map(|host| ["--host", host]));
    let mut set = set.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(SECRET.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
}

struct Up {
    folder: TempDir,
    process: Process,
    client: Client,
    own: u16,
}

impl Up {
    /// A cluster with the credential `own` for a server of the operator's own.
    async fn start(variables: &[(String, String)]) -> Self {
        let (folder, listen, own) = (TempDir::new().unwrap(), free_address(), own_server());
        let data = folder.path().join("data");
        let host = format!("127.0.0.1:{own}");
        set_secret(&data, &[&host]);
        let arguments = ["up", "--listen", &listen, "--data-dir", data.to_str().unwrap()].map(str::to_owned);
        let process = Process::start_with(&arguments, &folder.path().join("log"), None, variables);
        let key = wait::until("a key", START_TIME_MAX, || async {
            std::fs::read_to_string(data.join("key")).map_err(|error| error.to_string())
        })
        .await;
        let client = Client::new(&format!("http://{listen}"), key.trim(), &folder.path().join("requests.jsonl"));
        wait::until("a server", START_TIME_MAX, || async {
            let ready = send(client.anonymous(Method::GET, "/readyz")).await?;
            if ready.is_success() { Ok(()) } else { Err(ready.to_string()) }
        })
        .await;
        Self { folder, process, client, own }
    }
}

/// Keeps a workflow with one node that asks for what it is given.
async fn workflow(client: &Client, name: &str, node_type: &str, config: Value) -> String {
    let graph = Graph::default().node("url", "input:text", json!({ "text": "" }));
    let policy = json!({ "retry": { "maxAttempts": 1 }, "timeoutMs": ANSWER_TIME_MS });
    let graph = graph.node_with("ask", node_type, config, policy).edge("url.text", "ask.url");
    client.save(name, &graph).await
}

async fn ask(client: &Client, workflow: &str, url: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let body = json!({ "inputs": { "url": url } });
    let answer = client.post(&path, &body, &format!("ask {number}")).await;
    assert_eq!(answer.status, 201, "{url}: {answer}");
    answer.json()["executionId"].as_str().unwrap().to_owned()
}

/// How asking has ended: `COMPLETED`, or why not.
async fn end(client: &Client, execution: &str) -> String {
    let ended = client.ended(execution, RUN_TIME_MAX).await;
    if ended["status"] == "COMPLETED" {
        return "COMPLETED".to_owned();
    }
    let events = client.events(execution).await;
    let failed = events.iter().find(|event| event["type"] == "node.failed").unwrap_or_else(|| panic!("{events:?}"));
    let code = failed.pointer("/error/code").or_else(|| failed.pointer("/data/error/code"));
    code.and_then(Value::as_str).unwrap_or_else(|| panic!("{failed}")).to_owned()
}

#[tokio::test]
async fn nobody_inside_is_asked() {
    let (up, inside) = (Up::start(&[]).await, Inside::start());
    let urls = inside.urls();
    assert!(urls.len() >= 80, "{}", urls.len());
    let plain = workflow(&up.client, "plain", "http:request", json!({})).await;
    let files = workflow(&up.client, "files", "http:download", json!({})).await;
    let mut runs = Vec::new();
    for url in &urls {
        for workflow in [&plain, &files] {
            runs.push((url, ask(&up.client, workflow, url).await));
        }
    }
    for (url, execution) in &runs {
        let code = end(&up.client, execution).await;
        // Not every resolver knows localhost by its whole name.
        let is_unknown = url.contains("localhost.") && code == "server_unreachable";
        assert!(is_unknown || ["address_denied", "url_invalid"].contains(&&*code), "{url}: {code}");
    }
    // A server that may be asked leads there, or the credential for it is sent along.
    let keyed = workflow(&up.client, "keyed", "http:request", json!({ "credential": "own" })).await;
    assert_eq!(
        end(&up.client, &ask(&up.client, &keyed, &format!("http://127.0.0.1:{}/", up.own)).await).await,
        "COMPLETED"
    );
    for url in urls.iter().filter(|url| url.is_ascii() && !url.contains(['\t', '\\', '#'])) {
        let code =
            end(&up.client, &ask(&up.client, &keyed, &format!("http://127.0.0.1:{}/to?{url}", up.own)).await).await;
        let is_unknown = url.contains("localhost.") && code == "server_unreachable";
        assert!(is_unknown || ["address_denied", "url_invalid"].contains(&&*code), "by a redirect to {url}: {code}");
        let code = end(&up.client, &ask(&up.client, &keyed, url).await).await;
        assert!(["credential_not_for_host", "url_invalid"].contains(&&*code), "with a credential, {url}: {code}");
    }
    assert_eq!(inside.asked.load(Ordering::Relaxed), 0, "somebody inside was asked");
    inside.does_count().await;
}

#[tokio::test]
async fn a_secret_shows_nowhere() {
    let (collector, address) = Collector::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{address}")),
        ("HEDDLE_LOG".to_owned(), "trace".to_owned()),
    ];
    let mut up = Up::start(&variables).await;
    let base = format!("http://127.0.0.1:{}", up.own);
    let keyed = workflow(&up.client, "keyed", "http:request", json!({ "credential": "own" })).await;
    let files = workflow(&up.client, "files", "http:download", json!({ "credential": "own" })).await;
    let mut seen = String::new();
    for (workflow, path, expected) in [
        (&keyed, "/echo", "COMPLETED"),
        (&keyed, "/long", "COMPLETED"),
        (&keyed, "/no", "server_refuses"),
        (&files, "/echo", "secret_in_answer"),
        (&files, "/no", "server_refuses"),
    ] {
        let execution = ask(&up.client, workflow, &format!("{base}{path}")).await;
        assert_eq!(end(&up.client, &execution).await, expected, "{path}");
        for part in ["", "/poll", "/events", "/trace", "/trace?format=otlp"] {
            seen += &up.client.get(&format!("/api/v1/workflows/executions/{execution}{part}")).await.to_string();
        }
    }
    assert!(seen.contains("you sent authorization"), "the server did say what it was sent: {seen}");
    assert!(!seen.contains(SECRET), "an answer has the secret");
    let list = command().args(["secrets", "list", "--data-dir"]).arg(up.folder.path().join("data")).output().unwrap();
    assert!(list.status.success() && !String::from_utf8_lossy(&list.stdout).contains(SECRET));
    up.process.signal(Signal::SIGTERM);
    wait::until("the end of the cluster", RUN_TIME_MAX, || {
        let ended = up.process.ended();
        async move { ended.map(|_| ()).ok_or_else(|| "it runs".to_owned()) }
    })
    .await;
    let spans = format!("{:?}", collector.spans());
    assert!(spans.contains("ask") && !spans.contains(SECRET), "spans: {}", spans.len());
    let artifacts = files_in(&up.folder.path().join("data/artifacts"));
    let is_there = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("you sent");
    assert!(artifacts.iter().any(is_there), "no artifact has the long answer: {artifacts:?}");
    let (mut searched, mut holders) = (0, Vec::new());
    for file in files_in(up.folder.path()) {
        searched += 1;
        let bytes = std::fs::read(&file).unwrap();
        if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
            holders.push(file.file_name().unwrap().to_owned());
        }
    }
    assert!(searched > 5, "only {searched} files");
    assert_eq!(holders, ["secrets.json"], "files that hold the secret");
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}
