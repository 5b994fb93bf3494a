//! The examples do what their READMEs say, in one command each: alone, and on three agents of which one dies half-way.

#![allow(clippy::panic, clippy::unwrap_used)]

mod api;
mod callback;
mod ledger;
mod maps_on_three_agents;
mod one_agent;
mod resume;
mod review;
mod sandbox;
mod sub_workflow;
mod three_agents;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cluster_tests::cluster::process::command;
use cluster_tests::repository;

fn heddle(data: &Path) -> Command {
    let mut command = command();
    command.current_dir(repository::root()).env("HEDDLE_DATA", data);
    command
}

fn example(file: &str) -> PathBuf {
    repository::root().join("examples").join(file)
}

/// The command that the README of an example shows, word by word.
fn shown(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(example(&format!("{name}/README.md"))).unwrap();
    let whole = text.replace("\\\n", " ");
    let line = whole.lines().find_map(|line| line.strip_prefix("heddle run ")).unwrap();
    line.split_whitespace().map(|word| word.replace('\'', "")).collect()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
