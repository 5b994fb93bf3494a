//! The binary as people use it: processes, signals, exit codes, files.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

fn heddle(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")) {
        command.env_remove(name);
    }
    command.env("HEDDLE_DATA", data).args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
fn ended(arguments: &[&str], data: &Path) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = heddle(arguments, data).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A `heddle up` or a part of a cluster, killed when dropped.
struct Up {
    child: Child,
    address: String,
    /// What it said up to its word that it is ready.
    said: Vec<String>,
    /// Kept open: a closed pipe would fail the next line.
    stdout: BufReader<std::process::ChildStdout>,
}

impl Up {
    fn start(listen: &str, data: &Path) -> Self {
        Self::spawn(&["up", "--listen", listen, "--debug-nodes"], data)
    }

    /// Starts any part that says when it is ready.
    fn spawn(arguments: &[&str], data: &Path) -> Self {
        let mut command = heddle(arguments, data);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut up = Up { child, address: String::new(), said: Vec::new(), stdout };
        while up.address.is_empty() {
            let mut line = String::new();
            assert!(up.stdout.read_line(&mut line).unwrap() > 0, "it ended before it was ready; it said {:?}", up.said);
            if let Some((_, address)) =
                line.split_once(" is ready on ").or_else(|| line.split_once(" is connected to "))
            {
                up.address = address.trim().to_owned();
            }
            up.said.push(line.trim().to_owned());
        }
        up
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    (temp, data)
}

/// A file with these nodes (id, type, config), each wired to the next.
fn workflow(folder: &Path, name: &str, nodes: &[(&str, &str, Value)]) -> String {
    let edges: Vec<Value> = nodes
        .windows(2)
        .map(|pair| json!({"id": format!("{}-{}", pair[0].0, pair[1].0), "source": pair[0].0, "target": pair[1].0}))
        .collect();
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|(id, node_type, config)| json!({"id": id, "data": {"nodeType": node_type, "config": config}}))
        .collect();
    let path = folder.join(name);
    fs::write(&path, json!({"nodes": nodes, "edges": edges}).to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_cluster_starts_runs_survives_a_kill_and_stops() {
    let (temp, data) = folder();
    let hello = workflow(
        temp.path(),
        "hello.json",
        &[
            ("topic", "input:text", json!({"text": "weaving"})),
            ("copy", "debug:echo", json!({})),
            ("out", "output:preview", json!({})),
        ],
    );
    let mut up = Up::start("127.0.0.1:0", &data);
    let key = fs::read_to_string(data.join("key")).unwrap();
    assert_eq!(up.said[0], format!("key: {}", key.trim()));
    assert_eq!(fs::metadata(data.join("key")).unwrap().permissions().mode() & 0o777, 0o600);

    let (code, stdout, stderr) = ended(&["run", &hello, "-i", "topic=tides"], &data);
    assert_eq!((code, stdout.as_str()), (Some(0), "tides\n"), "{stderr}");
    let (code, stdout, _) = ended(&["run", &hello, "--json"], &data);
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &result["status"], &result["outputs"]["out"]["value"]),
        (Some(0), &json!("COMPLETED"), &json!("weaving"))
    );

    // A kill leaves the server file; the next start, on the same port and folder, works at once and keeps the key.
    up.signal(Signal::SIGKILL);
    assert!(data.join("server.json").exists());
    let mut up = Up::start(&up.address.clone(), &data);
    assert!(!up.said.iter().any(|line| line.starts_with("key:")), "{:?}", up.said);
    let (code, stdout, stderr) = ended(&["executions", "list", "--json"], &data);
    let list: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, list["executions"].as_array().unwrap().len()), (Some(0), 2), "{stderr}");

    assert_eq!(up.signal(Signal::SIGTERM), Some(0));
    assert!(!data.join("server.json").exists());
}

/// Tries until it is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

#[test]
fn a_cluster_on_postgres_survives_a_kill_of_its_coordinator_and_a_crash_of_its_database() {
    let Some(server) = heddle_test_postgres::Server::start() else { return };
    let (temp, data) = folder();
    let hello = workflow(
        temp.path(),
        "hello.json",
        &[
            ("topic", "input:text", json!({"text": "weaving"})),
            ("copy", "debug:echo", json!({})),
            ("out", "output:preview", json!({})),
        ],
    );
    let database = server.database();
    let start =
        |listen: &str| Up::spawn(&["coordinator", "--listen", listen, "--database", &database, "--debug-nodes"], &data);
    let mut coordinator = start("127.0.0.1:0");
    let address = coordinator.address.clone();
    let gateway = Up::spawn(&["gateway", "--listen", "127.0.0.1:0", "--coordinator", &address], &data);
    let agent_data = temp.path().join("agent").display().to_string();
    let agent = ["agent", "--coordinator", &address, "--debug-nodes", "--data-dir", &agent_data];
    let agent = Up::spawn(&agent, &data);

    let url =
        if gateway.address.contains("://") { gateway.address.clone() } else { format!("http://{}", gateway.address) };
    let key = fs::read_to_string(data.join("key")).unwrap().trim().to_owned();
    let json = |arguments: &[&str]| {
        let (code, stdout, stderr) = ended(&[arguments, &["--server", &url, "--key", &key, "--json"]].concat(), &data);
        if code == Some(0) { serde_json::from_str::<Value>(&stdout).map_err(|_| stderr) } else { Err(stderr) }
    };
    let run = || json(&["run", &hello]).map(|result| result["outputs"]["out"]["value"].clone());
    let runs = || json(&["executions", "list"]).map(|list| list["executions"].as_array().unwrap().len());
    let weaving = Ok(json!("weaving"));

    // The agent's node types are not known before it has said hello.
    eventually("the first run ends", || run() == weaving);
    coordinator.signal(Signal::SIGKILL);
    let coordinator = start(&address);
    eventually("the run is still there", || runs() == Ok(1));
    eventually("work goes on", || run() == weaving);

    let before = runs().unwrap();
    server.crash();
    server.revive();
    // Connections that have died show when they are used, and a request that meets one is told to come back.
    eventually("the runs are still there", || runs().is_ok_and(|runs| runs >= before));
    eventually("work goes on after the crash", || run() == weaving);
    drop((coordinator, gateway, agent));
}

#[test]
fn what_is_taken_is_refused_with_advice() {
    let (temp, data) = folder();
    let up = Up::start("127.0.0.1:0", &data);
    let (code, _, stderr) = ended(&["up", "--listen", "127.0.0.1:0"], &data);
    assert_eq!(code, Some(2));
    assert!(stderr.contains(&format!("in use by process {}", up.child.id())) && stderr.contains("next: "), "{stderr}");

    let other = temp.path().join("other");
    let (code, _, stderr) = ended(&["up", "--listen", &up.address], &other);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--listen") && !other.exists(), "{stderr}");
}

#[test]
fn a_run_without_a_server_brings_its_own() {
    let (temp, data) = folder();
    let file =
        workflow(temp.path(), "w.json", &[("a", "input:text", json!({"text": "x"})), ("b", "output:text", json!({}))]);
    for _ in 0..2 {
        let (code, stdout, stderr) = ended(&["run", &file], &data);
        assert_eq!((code, stdout.as_str()), (Some(0), "x\n"), "{stderr}");
    }
    assert!(!data.join("server.json").exists());
    let (code, _, stderr) = ended(&["executions", "list"], &data);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("heddle up"), "{stderr}");
}

#[test]
fn a_bad_end_has_its_exit_code() {
    let (temp, data) = folder();
    let fails = workflow(temp.path(), "f.json", &[("f", "debug:fail", json!({"times": 9, "class": "auth"}))]);
    let waits = workflow(temp.path(), "s.json", &[("w", "logic:wait", json!({"forMs": 3_600_000}))]);
    let wrong = workflow(temp.path(), "w.json", &[("n", "output:prevew", json!({}))]);
    let up = Up::start("127.0.0.1:0", &data);

    let (code, _, stderr) = ended(&["run", &fails], &data);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("heddle executions get exec_"), "{stderr}");
    let (code, _, stderr) = ended(&["run", &waits, "--timeout", "500ms"], &data);
    assert_eq!(code, Some(7), "{stderr}");
    let (code, _, stderr) = ended(&["run", &wrong], &data);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("output:preview") && stderr.contains("request id: "), "{stderr}");

    let text = workflow(temp.path(), "t.json", &[("a", "input:text", json!({})), ("b", "output:text", json!({}))]);
    let (code, _, stderr) = ended(&["run", &text, "-i", "nobody=x"], &data);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("nobody"), "{stderr}");
    fs::write(temp.path().join("l.json"), "[]").unwrap();
    let (code, _, stderr) = ended(&["run", temp.path().join("l.json").to_str().unwrap()], &data);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("expected an object, found an array") && !stderr.contains("struct"), "{stderr}");
    assert_eq!(ended(&["keys", "create", "--scope", "everything"], &data).0, Some(2));

    assert_eq!(ended(&["run", &waits, "--to", "nobody"], &data).0, Some(2));
    assert_eq!(ended(&["executions", "get", "exec_01M85B4BDCFM1AR00BC9FY5A4G"], &data).0, Some(3));
    assert_eq!(ended(&["executions", "list", "--key", "sk-wrong"], &data).0, Some(4));
    assert_eq!(ended(&["executions", "list", "--server", &format!("http://{}", up.address)], &data).0, Some(0));

    let (_, stdout, _) = ended(&["executions", "list", "--status", "running", "--json"], &data);
    let list: Value = serde_json::from_str(&stdout).unwrap();
    let id = list["executions"][0]["id"].as_str().unwrap();
    assert_eq!(ended(&["executions", "cancel", id], &data).0, Some(0));
    assert_eq!(ended(&["executions", "watch", id, "--timeout", "30s"], &data).0, Some(1));
    let noop = workflow(temp.path(), "n.json", &[("n", "debug:noop", json!({}))]);
    let (_, stdout, _) = ended(&["run", &noop, "--json"], &data);
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(ended(&["executions", "cancel", result["executionId"].as_str().unwrap()], &data).0, Some(5));
}

#[test]
fn an_interrupted_watcher_leaves_the_run_alone() {
    let (temp, data) = folder();
    let waits = workflow(temp.path(), "s.json", &[("w", "logic:wait", json!({"forMs": 3_600_000}))]);
    let _up = Up::start("127.0.0.1:0", &data);
    let mut run = heddle(&["run", &waits], &data).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(stderr.any(|line| line.contains("waiting")), "the wait is told");
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).unwrap();
    let rest: Vec<String> = stderr.collect();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("goes on")), "{rest:?}");
    let (_, stdout, _) = ended(&["executions", "list", "--status", "running", "--json"], &data);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["executions"].as_array().unwrap().len(), 1);
}

#[test]
fn set_ups_that_cannot_work_are_usage_errors() {
    let (_temp, data) = folder();
    let (code, _, stderr) = ended(&["coordinator", "--database", "mysql://u:secret@h/d"], &data);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no kind of database") && !stderr.contains("secret"), "{stderr}");
    let nowhere = ["coordinator", "--listen", "127.0.0.1:0", "--database", "postgres://u:secret@127.0.0.1:1/d"];
    let (code, _, stderr) = ended(&nowhere, &data);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("database cannot be opened") && !stderr.contains("secret"), "{stderr}");
    let (code, _, stderr) = ended(&["up", "--listen", "0.0.0.0:0", "--debug-nodes"], &data);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--debug-nodes"), "{stderr}");
    assert_eq!(ended(&["agent", "--labels", "gpu"], &data).0, Some(2));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    assert_eq!(ended(&["gateway", "--listen", &listen], &data).0, Some(2));
    assert_eq!(ended(&["run", "/nowhere.json"], &data).0, Some(2));
    assert_eq!(ended(&["up", "--agents", "0"], &data).0, Some(2));
}

#[test]
fn a_part_without_a_coordinator_says_where_it_dials_and_why_it_fails() {
    let (temp, data) = folder();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for part in [
        &["agent", "--coordinator", &nobody, "--data-dir", temp.path().join("agent").to_str().unwrap()][..],
        &["gateway", "--coordinator", &nobody, "--listen", "127.0.0.1:0"],
    ] {
        let mut child = heddle(part, &data).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.find(|line| line.contains("cannot reach the coordinator")).unwrap();
        assert!(said.contains(&nobody) && said.contains("refused") && said.contains("trying on"), "{said}");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        let rest: Vec<String> = lines.filter(|line| line.contains("cannot reach")).collect();
        assert!(rest.is_empty(), "it is said once: {rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{part:?}");
    }
}

#[test]
fn what_a_cluster_keeps_is_its_owners_alone_whoever_made_the_folder() {
    let (temp, data) = folder();
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let nodes = [("a", "input:text", json!({"text": "x"})), ("b", "output:text", json!({}))];
    let file = workflow(temp.path(), "w.json", &nodes);
    let _up = Up::start("127.0.0.1:0", &data);
    assert_eq!(ended(&["run", &file], &data).0, Some(0));
    let (mut folders, mut files) = (vec![data], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let is_folder = entry.file_type().unwrap().is_dir();
            assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{}", entry.path().display());
            if is_folder { folders.push(entry.path()) } else { files.push(entry.file_name().into_string().unwrap()) }
        }
    }
    for name in ["heddle.db", "heddle.db-wal", "heddle.db-shm", "key", "pepper", "agent-id", "lock", "server.json"] {
        assert!(files.iter().any(|file| file == name), "{name} is missing: {files:?}");
    }
}

#[test]
fn models_answer_from_the_sandbox() {
    let (temp, data) = folder();
    let _up = Up::spawn(&["up", "--listen", "127.0.0.1:0", "--sandbox"], &data);
    let nodes = |credential: Value| {
        [
            ("topic", "input:text", json!({"text": "tides"})),
            ("ask", "utility:prompt_template", json!({"template": "Explain {{vars[0]}}"})),
            ("model", "llm:openai_compatible", credential),
            ("out", "output:text", json!({})),
        ]
    };
    let file = workflow(temp.path(), "llm.json", &nodes(json!({"model": "m", "credential": "openai"})));
    let (code, stdout, stderr) = ended(&["run", &file], &data);
    assert_eq!((code, stdout.as_str()), (Some(0), "Sandbox answer about: Explain tides\n"), "{stderr}");
    let literal = json!({"model": "m", "apiKey": "sk-canary0123456789abcdef"});
    let (code, stdout, stderr) = ended(&["run", &workflow(temp.path(), "bad.json", &nodes(literal))], &data);
    assert_ne!(code, Some(0));
    assert!(stderr.contains("literal_secret") || stderr.contains("looks like a secret"), "{stderr}");
    assert!(!stdout.contains("canary") && !stderr.contains("canary"), "{stdout}{stderr}");
}

#[test]
fn secrets_come_from_stdin_and_are_not_shown() {
    let (temp, data) = folder();
    let canary = "sk-canary0123456789abcdef";
    let given = temp.path().join("given");
    fs::write(&given, format!("{canary}\n")).unwrap();
    let set = |arguments: &[&str]| {
        let mut command = heddle(&[&["secrets", "set"], arguments].concat(), &data);
        command.stdin(fs::File::open(&given).unwrap()).output().unwrap()
    };
    let Output { status, stdout, stderr } = set(&["openai", "--host", "api.openai.com"]);
    assert!(status.success() && stdout.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    assert!(!String::from_utf8_lossy(&stderr).contains(canary));
    assert_eq!(set(&["bad name", "--host", "h"]).status.code(), Some(2));
    assert_eq!(fs::metadata(data.join("secrets.json")).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, stdout, _) = ended(&["secrets", "list", "--json"], &data);
    let list: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, list),
        (Some(0), json!([{"name": "openai", "hosts": ["api.openai.com"], "allowPrivate": false}]))
    );
    let (code, stdout, stderr) = ended(&["secrets", "delete", "openai"], &data);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(ended(&["secrets", "delete", "openai"], &data).0, Some(2));
}
