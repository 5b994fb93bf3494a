//! `heddle bench`, as a process of its own with clusters of its own.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

#[test]
fn the_makespan_of_a_folder_is_measured_on_every_cluster_and_kept() {
    let temp = tempfile::tempdir().unwrap();
    let (graphs, out) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), temp.path().join("kept"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")) {
        command.env_remove(name);
    }
    command.args(["bench", "--work", "makespan", "--repeats", "2", "--seconds-per-slot", "0.1", "--graphs"]);
    command.arg(&graphs).arg("--out").arg(&out).arg("--scratch").arg(temp.path());
    let ended = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{stderr}");

    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let case = |line: &Value| (line["slots"].clone(), line["agents"].clone(), line["priorities"].clone());
    let expected = [(1, 1), (4, 2), (16, 4)]
        .map(|(slots, agents)| ["none", "rank"].map(|priorities| (json!(slots), json!(agents), json!(priorities))));
    assert_eq!(lines.iter().map(case).collect::<Vec<_>>(), expected.concat());
    for line in &lines {
        assert_eq!((&line["graph"], &line["nodes"]), (&json!("bakery.wfformat"), &json!(10)), "{line}");
        assert_eq!((line["walls_ms"].as_array().unwrap().len(), &line["attempts"]), (2, &json!(20)), "{line}");
    }
    // With 0.4 s in all, what leads to the first oven takes 40 + 30 + 60 + 80 ms, and four slots hold up nothing.
    for line in &lines[2..4] {
        assert_eq!((&line["list_ms"], &line["bound_ms"]), (&json!(210), &json!(210)), "{line}");
    }
    assert_eq!(lines[0]["list_ms"], lines[0]["bound_ms"], "one slot has no choice");

    assert_eq!(fs::read_to_string(out.join("results.jsonl")).unwrap(), stdout);
    let table = fs::read_to_string(out.join("makespan.md")).unwrap();
    assert_eq!(table.lines().count(), 2 + lines.len(), "{table}");
    assert!(table.contains("| bakery.wfformat | 10 | 4 | 2 | rank | 0.21 | 0.21 | "), "{table}");
    assert!(stderr.contains("LIST SCHEDULE S") && stderr.contains("kept in "), "{stderr}");
}
