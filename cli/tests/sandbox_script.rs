//! `heddle run --sandbox-script`: a file that is no script is refused with its name and the place in it, before anything starts.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A workflow that asks a model, a folder for data that is not there yet, and room for scripts.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let workflow = r#"{"name": "ask", "nodes": [
            {"id": "ask", "data": {"nodeType": "llm:openai_compatible",
                "config": {"model": "m", "credential": "openai", "prompt": "tides"}}},
            {"id": "out", "data": {"nodeType": "output:text"}}],
            "edges": [{"source": "ask", "sourceHandle": "out-text", "target": "out", "targetHandle": "in-text"}]}"#;
        std::fs::write(folder.path().join("ask.json"), workflow).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `heddle` on the folder for data, with nothing of this process's environment.
    fn heddle(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")) {
            command.env_remove(name);
        }
        command.args(arguments).env("HEDDLE_DATA", self.path("data")).stdin(Stdio::null());
        command
    }

    fn run(&self, script: &Path) -> Output {
        let mut run = self.heddle(&["run", "--sandbox", "--sandbox-script"]);
        run.arg(script).arg(self.path("ask.json")).output().unwrap()
    }

    /// What is said of a script that is refused. Nothing has come to be then.
    fn refused(&self, script: &Path) -> String {
        let output = self.run(script);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(output.stdout.is_empty() && !self.path("data").exists(), "something has started: {said}");
        said
    }
}

/// A server that ends with the test.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_script_that_is_none_is_refused_with_its_file_and_place() {
    let (place, file) = (Place::new(), "script.json");
    for (text, why) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{\"openai\": {}", "EOF while parsing an object at line 1 column 13"),
        ("[]", "invalid type: sequence, expected a map"),
        (
            r#"{"openai": {"rule": []}}"#,
            "/openai/rule: unknown field `rule`, expected one of `answers`, `steps`, `rules`",
        ),
        (r#"{"openai": {"answers": [7]}}"#, "/openai/answers/0: invalid type: integer `7`, expected a string"),
        (
            r#"{"openai": {"rules": [{"contains": "a", "step": []}]}}"#,
            "/openai/rules/0/step: unknown field `step`, expected one of `contains`, `steps`, `repeat`",
        ),
        (
            r#"{"openai": {"rules": [{"contains": "a", "steps": [{"status": "503"}]}]}}"#,
            "/openai/rules/0/steps/0/status: invalid type: string \"503\", expected u16",
        ),
        (r#"{"openai": {"steps": [{"status": 99}]}}"#, "/openai/steps/0/status: a status is from 200 to 599"),
        (r#"{"openai": {"steps": [{"delayMs": 600001}]}}"#, "/openai/steps/0/delayMs: a delay is at most 600000 ms"),
    ] {
        std::fs::write(place.path(file), text).unwrap();
        let said = place.refused(&place.path(file));
        let expected = format!("error: {} is no script of the sandbox: {why}", place.path(file).display());
        assert!(said.starts_with(&expected), "{text}: {said}");
        assert!(said.contains("\n  next: give a JSON object with a script for each credential"), "{said}");
    }
}

#[test]
fn a_script_that_cannot_be_read_is_refused_with_its_file() {
    let place = Place::new();
    let missing = place.path("missing.json");
    assert!(place.refused(&missing).starts_with(&format!("error: cannot open {}: ", missing.display())));
    let folder = place.folder.path();
    assert!(place.refused(folder).starts_with(&format!("error: cannot read {}: ", folder.display())));
    let (bytes, large) = (place.path("bytes.json"), place.path("large.json"));
    std::fs::write(&bytes, b"{\"openai\": {\"answers\": [\"\xff\"]}}").unwrap();
    assert!(place.refused(&bytes).starts_with(&format!("error: cannot read {}: ", bytes.display())));
    std::fs::write(&large, " ".repeat(4 * 1024 * 1024 + 1)).unwrap();
    let refused = place.refused(&large);
    assert!(refused.starts_with(&format!("error: {} is larger than 4194304 bytes\n", large.display())), "{refused}");
}

#[test]
fn a_script_needs_a_sandbox_of_the_runs_own() {
    let place = Place::new();
    let script = place.path("script.json");
    std::fs::write(&script, r#"{"openai": {"answers": ["They come."]}}"#).unwrap();
    let words = ["--sandbox-script", script.to_str().unwrap()];
    let without = place.heddle(&["run", "ask.json"]).args(words).output().unwrap();
    let said = String::from_utf8(without.stderr).unwrap();
    assert!(without.status.code() == Some(2) && said.contains("--sandbox"), "{said}");
    let elsewhere = ["--sandbox", "--server", "http://127.0.0.1:1", "--key", "k"];
    let named = place.heddle(&["run"]).arg(place.path("ask.json")).args(words).args(elsewhere).output().unwrap();
    assert_eq!(named.status.code(), Some(2), "{}", String::from_utf8_lossy(&named.stderr));
    assert!(!place.path("data").exists(), "something has started");
    // A server that has the folder already has no script.
    let data = place.path("data/sandbox");
    let mut up = place.heddle(&["up", "--sandbox", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]);
    let mut up = Up(up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(up.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(" is ready on ")));
    let there = place.run(&script);
    drop(up);
    let said = String::from_utf8(there.stderr).unwrap();
    assert!(there.status.code() == Some(2) && there.stdout.is_empty(), "{said}");
    assert!(said.contains("a server runs on the folder of the sandbox, and its provider has no such script"), "{said}");
    // Alone it answers by it.
    let alone = place.run(&script);
    assert_eq!(String::from_utf8(alone.stdout).unwrap(), "They come.\n");
}
