//! The example that goes on from a draft that somebody has changed: what it prints, and what its models are asked.

use std::path::Path;
use std::process::Command;

use cluster_tests::cluster::{Cluster, Part, Setting, Shape, heddle as binary};
use cluster_tests::repository;
use cluster_tests::sandbox::Sandbox;
use serde_json::Value;
use tempfile::TempDir;

use super::sandbox::scripts;
use super::{example, said};

/// The words that the README shows, with a folder on the path in which the binary is called as people call it.
fn shown(folder: &Path) -> Command {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("heddle")).unwrap();
    let text = std::fs::read_to_string(example("resume/README.md")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("sh ")).unwrap().to_owned();
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEDDLE_")) {
        command.env_remove(name);
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.args(line.split_whitespace()).env("PATH", path).current_dir(repository::root());
    command
}

fn expected(name: &str) -> String {
    std::fs::read_to_string(example(&format!("resume/expected/{name}.txt"))).unwrap()
}

#[test]
fn a_changed_draft_is_gone_on_from() {
    let folder = TempDir::new().unwrap();
    let output = shown(folder.path()).env("TMPDIR", folder.path()).output().unwrap();
    assert!(said(&output).ends_with(&expected("edited")), "{}", said(&output));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(expected("first").trim_end()), "{told}");
    for words in
        ["draft     reused   changed by hand", "tags      reused   same type, config and inputs", "draft.text changed"]
    {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&told).contains(&squeezed(words)), "{words}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_before_the_change_is_asked_again() {
    let sandbox = Sandbox::start().await;
    let arguments = sandbox.arguments([Part::Agent(0)]);
    let mut cluster = Cluster::set_up(Shape::new(1, 1, 8), Setting { arguments, ..Setting::default() }).await;
    sandbox.follow(&scripts("resume")).await;
    let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
    let folder = TempDir::new().unwrap();
    let mut command = shown(folder.path());
    command.env("HEDDLE_URL", cluster.origin(0)).env("HEDDLE_KEY", key.trim()).env("HEDDLE_DATA", folder.path());
    let printed = tokio::task::spawn_blocking(move || said(&command.output().unwrap())).await.unwrap();
    assert!(printed.ends_with(&expected("edited")), "{printed}");

    let calls = sandbox.calls().await;
    let mut prompts: Vec<&str> = calls.iter().map(|call| &call.prompt[..]).collect();
    let last = prompts.pop().unwrap();
    prompts.sort_unstable();
    let first = [
        "List three tags for tides.",
        "Write a post about tides.",
        "Write a teaser for: The sea comes and goes, and nobody knows why.",
    ];
    assert_eq!(prompts, first, "once each");
    assert_eq!(last, "Write a teaser for: Twice a day the moon pulls, and the sea comes and goes.");
    let runs = cluster.client().get_json("/api/v1/workflows/executions").await;
    let [child, parent] = &runs.as_array().unwrap()[..] else { panic!("two runs: {runs}") };
    let child = cluster.client().execution(child["id"].as_str().unwrap()).await;
    assert_eq!((&child["parentExecutionId"], &child["status"]), (&parent["id"], &Value::from("COMPLETED")));
}
