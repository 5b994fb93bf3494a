//! `heddle import`, as a process of its own.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bakery.wfformat.json")
}

/// Exit code, standard output and standard error of `heddle import wfformat`.
fn import(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    let ended = command.args(["import", "wfformat"]).args(arguments).output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_document_becomes_a_workflow_file() {
    let file = fixture();
    let (code, stdout, stderr) = import(&[file.to_str().unwrap(), "--total-seconds", "1"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let workflow: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(workflow["name"], "bakery");
    let nodes = workflow["nodes"].as_array().unwrap();
    let sum: u64 = nodes.iter().map(|node| node["data"]["config"]["ms"].as_u64().unwrap()).sum();
    assert_eq!((nodes.len(), workflow["edges"].as_array().unwrap().len(), sum), (10, 11, 1_000));
    assert_eq!(nodes[6]["id"], "heat_ovens");
    assert!(nodes.iter().all(|node| node["data"].get("policy").is_none()));
}

#[test]
fn what_was_written_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("bakery.json");
    let (file, out) = (fixture(), out.to_str().unwrap());
    let arguments = [file.to_str().unwrap(), "-o", out, "--scale", "2", "--priorities", "rank"];
    let (code, stdout, _) = import(&arguments);
    assert_eq!(code, Some(0));
    assert_eq!(stdout, format!("{out}  10 nodes, 11 edges, 8 s in all, 4.2 s on the critical path\n"));
    let (code, stdout, stderr) = import(&[&arguments[..], &["--json"]].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&told["file"], &told["totalMs"], &told["criticalPathMs"]), (&json!(out), &json!(8_000), &json!(4_200)));
    let workflow: Value = serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
    assert_eq!(workflow["nodes"][1]["data"]["policy"]["priority"], 100, "the longest way begins there");
}

#[test]
fn faults_end_it_with_the_code_of_a_wrong_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("broken.json");
    let broken = path.to_str().unwrap();
    let mut document: Value = serde_json::from_str(&fs::read_to_string(fixture()).unwrap()).unwrap();
    document["workflow"]["execution"]["tasks"][4]["runtimeInSeconds"] = json!(-3);
    fs::write(&path, document.to_string()).unwrap();
    let (code, stdout, stderr) = import(&[broken]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("/workflow/execution/tasks/4/runtimeInSeconds is -3"), "{stderr}");
    assert!(stderr.contains("next: "), "{stderr}");

    assert_eq!(import(&[temp.path().join("absent.json").to_str().unwrap()]).0, Some(2));
    let copy = temp.path().join("copy.json");
    fs::copy(fixture(), &copy).unwrap();
    let copy = copy.to_str().unwrap();
    let (code, _, stderr) = import(&[copy, "-o", copy]);
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(fs::read(copy).unwrap(), fs::read(fixture()).unwrap(), "the document is as it was");
}
