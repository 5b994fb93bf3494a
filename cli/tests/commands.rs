//! The commands that read and keep things, against a cluster of one process.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A `heddle up`, killed when dropped.
struct Up {
    child: Child,
    address: String,
    /// Kept open: a closed pipe would fail the next line.
    stdout: BufReader<std::process::ChildStdout>,
}

impl Up {
    fn start(data: &Path, listen: &str) -> Self {
        Self::start_with(data, listen, &[])
    }

    fn start_with(data: &Path, listen: &str, more: &[&str]) -> Self {
        let mut command = heddle(&[&["up", "--listen", listen, "--debug-nodes"], more].concat(), data);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut up = Up { child, address: String::new(), stdout };
        while up.address.is_empty() {
            let mut line = String::new();
            assert!(up.stdout.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
            let address = line.split_once(" is ready on ").map(|(_, address)| address.trim().to_owned());
            up.address = address.unwrap_or_default();
        }
        up
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster, and the folder it runs on.
struct Cluster {
    temp: TempDir,
    data: PathBuf,
    up: Up,
}

fn heddle(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")) {
        command.env_remove(name);
    }
    command.env("HEDDLE_DATA", data).args(arguments).stdin(Stdio::null());
    command
}

impl Cluster {
    fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        let up = Up::start(&data, "127.0.0.1:0");
        Cluster { temp, data, up }
    }

    /// Runs a command to its end.
    fn ended(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } =
            heddle(arguments, &self.data).current_dir(self.temp.path()).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// The object that a command prints.
    fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.ended(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    fn file(&self, name: &str, document: &Value) -> String {
        let path = self.temp.path().join(name);
        fs::write(&path, document.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn document() -> Value {
    json!({
        "name": "Story", "tags": ["daily"],
        "nodes": [
            {"id": "a", "position": {"x": 0, "y": 0}, "data": {"label": "Topic", "nodeType": "input:text", "config": {"text": "tides"}}},
            {"id": "b", "position": {"x": 9, "y": 0}, "data": {"nodeType": "output:text", "config": {}}},
        ],
        "edges": [{"id": "e", "source": "a", "target": "b"}],
    })
}

/// A document in WfFormat.
fn bakery() -> String {
    format!("{}/tests/data/bakery.wfformat.json", env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table of members in docs/cli.md: a command line and what its objects hold.
fn documented_members() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/cli.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `heddle ") && line.contains("--json`"));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let line = quoted(cells[1]).remove(0);
        (
            line.trim_start_matches("heddle ").to_owned(),
            if cells[2].contains("as `get`") { Vec::new() } else { quoted(cells[2]) },
        )
    })
    .collect()
}

#[test]
fn objects_hold_what_is_documented() {
    let cluster = Cluster::start();
    let file = cluster.file("story.json", &document());
    let waits = cluster.file(
        "wait.json",
        &json!({
            "nodes": [{"id": "w", "data": {"nodeType": "logic:wait", "config": {"forMs": 3_600_000}}}], "edges": [],
        }),
    );
    let applied = cluster.json(&["workflows", "apply", &file]);
    let workflow = applied["id"].as_str().unwrap().to_owned();
    let run = cluster.json(&["run", &file])["executionId"].as_str().unwrap().to_owned();
    assert_eq!(cluster.ended(&["run", &waits, "--timeout", "1s"]).0, Some(7));
    let waiting = cluster.json(&["executions", "list", "--status", "running"])["executions"][0]["id"].clone();

    let exported = cluster.temp.path().join("run.jsonl").to_str().unwrap().to_owned();
    assert_eq!(cluster.ended(&["executions", "export", &run, "-o", &exported]).0, Some(0));

    let asks = cluster.file(
        "asks.json",
        &json!({
            "nodes": [
                {"id": "v", "data": {"nodeType": "input:text", "config": {"text": "good?"}}},
                {"id": "r", "data": {"nodeType": "logic:review", "config": {}}},
            ],
            "edges": [{"id": "e", "source": "v", "target": "r"}],
        }),
    );
    assert_eq!(cluster.ended(&["run", &asks, "--timeout", "1s"]).0, Some(7));
    let review = cluster.json(&["reviews", "list"])["reviews"][0]["id"].as_str().unwrap().to_owned();

    let mut rows = documented_members();
    assert!(rows.len() > 14, "{rows:?}");
    // What takes things away goes last.
    rows.sort_by_key(|(line, _)| line.contains("delete"));
    for (line, members) in rows {
        let is_run = line.starts_with("executions");
        let arguments: Vec<String> = line
            .split(' ')
            .map(|word| match word {
                "ID" if line.contains("cancel") || line.contains("pause") => waiting.as_str().unwrap().to_owned(),
                "ID" if is_run => run.clone(),
                "ID" => workflow.clone(),
                "FILE" if line.starts_with("import") => bakery(),
                "FILE" if line.starts_with("replay") => exported.clone(),
                "FILE" => file.clone(),
                "OUT" => cluster.temp.path().join("imported.json").to_str().unwrap().to_owned(),
                "REVIEW" => review.clone(),
                "NODE" => "a".to_owned(),
                "V" | "FROM" | "TO" => "1".to_owned(),
                "TYPE" => "input:text".to_owned(),
                word => word.to_owned(),
            })
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, stdout, stderr) = cluster.ended(&arguments);
        assert_eq!(code, Some(0), "{line}: {stderr}");
        assert!(stdout.lines().count() > 0, "{line}");
        for object in stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            for member in &members {
                assert!(object.get(member).is_some(), "{line}: no {member} in {object}");
            }
            assert!(line.contains("events") || object.get("data").is_none(), "{line}: everything is there twice");
        }
    }
}

#[test]
fn an_imported_workflow_runs() {
    let cluster = Cluster::start();
    let out = cluster.temp.path().join("bakery.json").to_str().unwrap().to_owned();
    cluster.json(&["import", "wfformat", &bakery(), "-o", &out, "--total-seconds", "0.2", "--priorities", "rank"]);
    let linted = cluster.json(&["workflows", "lint", &out]);
    assert_eq!((&linted["ok"], &linted["warnings"]), (&json!(true), &json!([])));
    let run = cluster.json(&["run", &out]);
    assert_eq!(run["status"], "COMPLETED");
    let nodes = cluster.json(&["executions", "get", run["executionId"].as_str().unwrap()]);
    assert_eq!(nodes["nodesTotal"], 10);
}

#[test]
fn a_file_is_applied_once_and_its_changes_are_told() {
    let cluster = Cluster::start();
    let mut story = document();
    let file = cluster.file("story.json", &story);
    let count = || cluster.json(&["workflows", "list"])["workflows"].as_array().unwrap().len();

    let (code, stdout, stderr) = cluster.ended(&["workflows", "apply", &file, "--dry-run"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "would create  Story\n"), "{stderr}");
    assert_eq!(count(), 0, "a dry run saves nothing");
    let created = cluster.json(&["workflows", "apply", &file]);
    let id = created["id"].as_str().unwrap();
    assert_eq!((&created["action"], &created["name"]), (&json!("created"), &json!("Story")));
    let again = cluster.json(&["workflows", "apply", &file]);
    assert_eq!((&again["action"], &again["version"]), (&json!("unchanged"), &created["version"]));

    story["nodes"][0]["data"]["config"]["text"] = json!("herons");
    story["nodes"][1]["position"]["x"] = json!(100);
    let file = cluster.file("story.json", &story);
    let expected = "~ node a  \"Topic\"  input:text\n    ~ config.text: \"tides\" -> \"herons\"\n  one node only lies elsewhere or looks otherwise\n";
    let (code, stdout, _) = cluster.ended(&["workflows", "diff", id, &file]);
    assert_eq!((code, stdout.as_str()), (Some(0), expected));
    let (code, stdout, _) = cluster.ended(&["workflows", "apply", &file]);
    assert!(
        code == Some(0) && stdout.starts_with(&format!("updated  {id}  Story")) && stdout.ends_with(expected),
        "{stdout}"
    );
    assert_eq!((count(), cluster.ended(&["workflows", "diff", id, &file]).1.as_str()), (1, ""));

    // A workflow of `run` is left alone, and two of one name have to be told apart.
    cluster.json(&["run", &file]);
    assert_eq!(cluster.json(&["workflows", "apply", &file])["action"], "unchanged");
    story["id"] = json!("wf_01M85B4BDCFM1AR00BC9FY5A4G");
    let other = cluster.file("other.json", &story);
    assert_eq!(cluster.ended(&["workflows", "apply", &other]).0, Some(3), "a file's id is not made up");
    let key = fs::read_to_string(cluster.data.join("key")).unwrap();
    assert!(post(&cluster.up.address, key.trim(), "/api/v1/workflows", &document()));
    let (code, _, stderr) = cluster.ended(&["workflows", "apply", &file]);
    assert!(code == Some(5) && stderr.contains(id) && stderr.contains("--id"), "{stderr}");
    assert_eq!(cluster.json(&["workflows", "apply", &file, "--id", id])["action"], "unchanged");
    // By now its text was changed once.
    let listed = cluster.json(&["workflows", "versions", id])["versions"].clone();
    let of = |name: &str| listed.as_array().unwrap().iter().map(|version| version[name].clone()).collect::<Vec<_>>();
    let count = of("version").len();
    assert!(count >= 2 && of("isCurrent")[0] == true, "{listed}");
    let (code, stdout, _) = cluster.ended(&["workflows", "versions", id, "--limit", "1"]);
    assert!(code == Some(0) && stdout.contains("current") && stdout.lines().count() == 2, "{stdout}");
    let (code, stdout, stderr) = cluster.ended(&["workflows", "diff", id, "1", "2"]);
    assert!(code == Some(0) && stdout.contains("~ node a") && stdout.contains("config.text"), "{stdout}{stderr}");
    assert_eq!(cluster.json(&["workflows", "diff", id, "1", "1"])["identical"], true);
    assert_eq!(cluster.ended(&["workflows", "diff", id, &file, "2"]).0, Some(2), "a file is no version");
    let old = cluster.json(&["workflows", "get", id, "--version", "1"]);
    assert_eq!(old["nodes"][0]["data"]["config"]["text"], "tides");
    let (code, stdout, _) = cluster.ended(&["workflows", "get", id, "--version", "1"]);
    assert!(code == Some(0) && stdout.contains("version 1, saved ") && stdout.contains("input:text"), "{stdout}");
    assert_eq!(cluster.json(&["workflows", "restore", id, "1"])["version"], json!(count + 1));
    assert_eq!(cluster.ended(&["workflows", "restore", id, "99"]).0, Some(3));
    let copy = cluster.json(&["workflows", "duplicate", id, "--name", "Copy"]);
    assert_eq!((&copy["name"], &copy["version"]), (&json!("Copy"), &json!(1)));
    assert_ne!(copy["id"].as_str(), Some(id));
    assert_eq!(cluster.ended(&["workflows", "delete", id]).0, Some(0));
    assert_eq!(cluster.ended(&["workflows", "get", id]).0, Some(3));
}

fn post(address: &str, key: &str, path: &str, body: &Value) -> bool {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.contains(" 201 ")
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_and_without_a_server() {
    let cluster = Cluster::start();
    let mut story = document();
    let good = cluster.file("good.json", &story);
    story["nodes"][1]["data"]["nodeType"] = json!("output:txt");
    let bad = cluster.file("bad.json", &story);
    for data in [cluster.data.clone(), cluster.temp.path().join("other")] {
        let run = |file: &str| heddle(&["workflows", "lint", file], &data).output().unwrap();
        assert_eq!(run(&good).status.code(), Some(0));
        let output = run(&bad);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("output:text"), "{said}");
    }
    let (code, _, stderr) = cluster.ended(&["workflows", "apply", &bad, "--dry-run"]);
    assert!(code == Some(2) && stderr.contains("output:text"), "{stderr}");
    assert_eq!(cluster.json(&["workflows", "list"])["workflows"], json!([]));
}

#[test]
fn a_slip_in_a_config_is_told_by_every_command_that_reads_it() {
    let cluster = Cluster::start();
    let mut story = document();
    story["nodes"][0]["data"]["config"]["maxchars"] = json!(3);
    let file = cluster.file("slip.json", &story);
    let expected = "a: config of node \"a\" has the key \"maxchars\", which input:text does not know: nothing reads it. \
                    (Did you mean \"maxChars\"?)  [unknown-config-key at /nodes/0/data/config/maxchars]";
    let (code, stdout, _) = cluster.ended(&["workflows", "lint", &file]);
    assert!(code == Some(0) && stdout.contains(expected), "{stdout}");
    let (code, _, stderr) = cluster.ended(&["workflows", "apply", &file]);
    assert!(code == Some(0) && stderr.contains(expected), "{stderr}");
    // The first run saves the file, the second finds it.
    for _ in 0..2 {
        let (code, stdout, stderr) = cluster.ended(&["run", &file]);
        assert!(code == Some(0) && stdout == "tides\n" && stderr.contains(expected), "{stderr}");
        assert_eq!(cluster.json(&["run", &file])["warnings"], json!([expected]));
    }
}

#[test]
fn a_run_that_is_over_shows_its_results_and_times() {
    let cluster = Cluster::start();
    let mut story = document();
    story["nodes"][1] = json!({"id": "w", "data": {"nodeType": "logic:wait", "config": {"forMs": 300}}});
    story["nodes"].as_array_mut().unwrap().push(json!({"id": "b", "data": {"nodeType": "output:text", "config": {}}}));
    story["edges"] = json!([{"source": "a", "target": "w"}, {"source": "w", "target": "b"}]);
    let file = cluster.file("slow.json", &story);
    let id = cluster.json(&["run", &file])["executionId"].as_str().unwrap().to_owned();
    let (code, stdout, _) = cluster.ended(&["executions", "get", &id]);
    assert!(code == Some(0) && stdout.ends_with("\nb\ntides\n"), "{stdout}");
    let (code, _, stderr) = cluster.ended(&["executions", "watch", &id]);
    let last = stderr.lines().find(|line| line.ends_with("completed  b")).unwrap_or_default();
    assert!(code == Some(0) && !last.is_empty() && !last.trim_start().starts_with("0.0"), "{stderr}");
}

#[test]
fn a_lost_key_is_made_again_by_who_has_the_folder() {
    let mut cluster = Cluster::start();
    let lost = fs::read_to_string(cluster.data.join("key")).unwrap();
    fs::remove_file(cluster.data.join("key")).unwrap();
    let (code, _, _) = cluster.ended(&["keys", "list"]);
    assert_eq!(code, Some(4));
    let (_, stdout, _) = cluster.ended(&["doctor"]);
    assert!(stdout.contains("--new-key"), "{stdout}");
    cluster.up.child.kill().unwrap();
    cluster.up.child.wait().unwrap();
    cluster.up = Up::start_with(&cluster.data, "127.0.0.1:0", &["--new-key"]);
    let made = fs::read_to_string(cluster.data.join("key")).unwrap();
    assert_ne!(made, lost);
    let (code, stdout, _) = cluster.ended(&["keys", "list"]);
    assert!(code == Some(0) && stdout.contains("recovered-key") && stdout.contains("first-key"), "{stdout}");
}

#[test]
fn node_types_are_listed_and_described() {
    let cluster = Cluster::start();
    let inputs = cluster.json(&["nodes", "list", "--family", "input"]);
    let inputs = inputs["nodes"].as_array().unwrap();
    assert!(!inputs.is_empty() && inputs.iter().all(|item| item["category"] == "input"));
    let (code, stdout, _) = cluster.ended(&["nodes", "get", "utility:prompt_concat"]);
    assert!(code == Some(0) && stdout.contains("default \" \"") && stdout.contains("\"nodeType\""), "{stdout}");
    // The example of each type is a node that the server knows.
    for item in cluster.json(&["nodes", "list"])["nodes"].as_array().unwrap() {
        let id = item["nodeType"].as_str().unwrap();
        let (_, stdout, _) = cluster.ended(&["nodes", "get", id]);
        let example: Value = serde_json::from_str(stdout.split_once("example\n").unwrap().1).unwrap();
        let file = cluster.file("example.json", &json!({"nodes": [example], "edges": []}));
        let (_, stdout, _) = cluster.ended(&["workflows", "lint", &file, "--json"]);
        let said: Value = serde_json::from_str(&stdout).unwrap();
        let rules: Vec<_> =
            said["violations"].as_array().unwrap().iter().map(|found| found["rule"].as_str().unwrap()).collect();
        assert!(!rules.iter().any(|rule| rule.contains("config") || rule.contains("type")), "{id}: {said}");
    }
    let (code, _, stderr) = cluster.ended(&["nodes", "get", "no:such"]);
    assert!(code == Some(3) && stderr.contains("heddle nodes list"), "{stderr}");
    assert_eq!(cluster.ended(&["nodes", "get", "nothing"]).0, Some(2));
}

#[test]
fn a_doctor_finds_a_cluster_well_and_its_absence_bad() {
    let cluster = Cluster::start();
    let report = cluster.json(&["doctor"]);
    let bad: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["state"] == "failed").collect();
    assert!(report["healthy"] == true && bad.is_empty(), "{report}");
    let state = |name: &str| {
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()["state"].clone()
    };
    for name in ["data folder", "key file", "database", "server", "version", "clock", "key", "agents"] {
        assert_eq!(state(name), "ok", "{name}");
    }
    let (code, stdout, _) = cluster.ended(&["doctor", "--key", "sk-wrong"]);
    assert!(code == Some(1) && stdout.contains("FAIL  key"), "{stdout}");
    let empty = cluster.temp.path().join("empty");
    let output = heddle(&["doctor"], &empty).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("heddle up"));
    assert!(!empty.exists(), "a look changes nothing");
}

#[test]
fn inputs_come_from_files_and_the_standard_input() {
    let cluster = Cluster::start();
    let file = cluster.file("story.json", &document());
    fs::write(cluster.temp.path().join("topic.txt"), "herons").unwrap();
    assert_eq!(cluster.ended(&["run", &file, "-i", "Topic=@topic.txt"]).1, "herons\n");
    let mut run = heddle(&["run", &file, "-i", "a=@-"], &cluster.data);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(b"eels").unwrap();
    assert_eq!(run.wait_with_output().unwrap().stdout, b"eels\n");
    assert!(!cluster.temp.path().join("heddle-out").exists(), "there were no files to save");
}

#[test]
fn runs_are_listed_by_time_and_page_by_page() {
    let cluster = Cluster::start();
    let file = cluster.file("story.json", &document());
    for _ in 0..3 {
        cluster.json(&["run", &file]);
    }
    let (code, stdout, _) = cluster.ended(&["executions", "list", "--limit", "2", "--all", "--json"]);
    let pages: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts: Vec<usize> = pages.iter().map(|page| page["executions"].as_array().unwrap().len()).collect();
    assert_eq!((code, counts.iter().sum::<usize>(), counts[0]), (Some(0), 3, 2), "{stdout}");
    let (_, stdout, _) = cluster.ended(&["executions", "list", "--limit", "2", "--all"]);
    assert_eq!(stdout.lines().count(), 4, "one line of headings for all pages:\n{stdout}");
    let (_, stdout, stderr) = cluster.ended(&["executions", "list", "--limit", "2"]);
    assert!(stdout.lines().count() == 3 && stderr.contains("--cursor"), "{stdout}{stderr}");
    let since =
        |time: &str| cluster.json(&["executions", "list", "--since", time])["executions"].as_array().unwrap().len();
    assert_eq!((since("1h"), since("2026-05-02"), since("2199-01-01")), (3, 3, 0));
}

#[test]
fn a_watcher_outlives_the_server() {
    let mut cluster = Cluster::start();
    let waits = cluster.file(
        "wait.json",
        &json!({
            "nodes": [{"id": "w", "data": {"nodeType": "logic:wait", "config": {"forMs": 3_600_000}}}], "edges": [],
        }),
    );
    assert_eq!(cluster.ended(&["run", &waits, "--timeout", "1s"]).0, Some(7));
    let list = cluster.json(&["executions", "list", "--status", "running"]);
    let id = list["executions"][0]["id"].as_str().unwrap().to_owned();

    let mut watch = heddle(&["executions", "watch", &id], &cluster.data).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(watch.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("waiting")), "it watches");
    let address = cluster.up.address.clone();
    cluster.up.child.kill().unwrap();
    cluster.up.child.wait().unwrap();
    assert!(said.any(|line| line.contains("trying again")), "it says that the server is away");
    cluster.up = Up::start(&cluster.data, &address);
    assert_eq!(cluster.ended(&["executions", "cancel", &id]).0, Some(0));
    let rest: Vec<String> = said.collect();
    assert_eq!(watch.wait().unwrap().code(), Some(1));
    assert!(rest.iter().any(|line| line.starts_with(&format!("{id} CANCELLED in "))), "{rest:?}");
}

#[test]
fn completion_knows_commands_types_and_ids() {
    let cluster = Cluster::start();
    let file = cluster.file("story.json", &document());
    let id = cluster.json(&["workflows", "apply", &file])["id"].as_str().unwrap().to_owned();
    let complete = |words: &[&str]| {
        let mut command = heddle(&[&["--", "heddle"], words].concat(), &cluster.data);
        command.env("COMPLETE", "fish");
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(complete(&["work"]).contains("workflows"));
    assert!(complete(&["nodes", "get", "input:te"]).contains("input:text"));
    assert!(complete(&["workflows", "get", ""]).contains(&id));
    let bash = cluster.ended(&["completion", "bash"]).1;
    assert!(bash.contains("COMP_WORDBREAKS//:"), "the colon of a node type is part of it");
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = cluster.ended(&["completion", shell]);
        assert!(code == Some(0) && script.contains("COMPLETE") && script.contains("heddle"), "{shell}: {script}");
    }
}
