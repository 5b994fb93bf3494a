//! The example `review-gate`: the draft is asked for once, and nothing is published but what a person has approved.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::repository;
use cluster_tests::sandbox::Sandbox;
use cluster_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

use super::sandbox::{scripts, without_sandbox};
use super::{example, heddle, said, shown};

const NAME: &str = "review-gate";
const REVIEW_TIME_MAX: Duration = Duration::from_secs(30);
const DRAFT: &str = "Tides come and tides go.";
const SECOND_DRAFT: &str = "Twice a day the sea remembers the moon.";

/// The example under way on a cluster whose one agent asks a sandbox.
struct Gate {
    cluster: Cluster,
    sandbox: Sandbox,
    run: Child,
    data: TempDir,
    /// How a command reaches the cluster.
    server: Vec<String>,
}

impl Gate {
    /// Starts it; `change` changes the workflow.
    async fn start(change: impl FnOnce(&mut Value)) -> Self {
        let sandbox = Sandbox::start().await;
        let arguments = sandbox.arguments([Part::Agent(0)]);
        let mut cluster = Cluster::set_up(Shape::new(1, 1, 8), Setting { arguments, ..Setting::default() }).await;
        sandbox.follow(&scripts(NAME)).await;
        let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
        let data = TempDir::new().unwrap();
        let mut workflow: Value =
            serde_json::from_slice(&std::fs::read(example(&format!("{NAME}/workflow.json"))).unwrap()).unwrap();
        change(&mut workflow);
        let file = data.path().join("workflow.json");
        std::fs::write(&file, workflow.to_string()).unwrap();
        let server = ["--server", &cluster.origin(0), "--key", key.trim()].map(str::to_owned).to_vec();
        let mut words = without_sandbox(shown(NAME));
        words[0] = file.display().to_string();
        let mut run = heddle(data.path());
        run.arg("run").args(words).args(&server).stdout(Stdio::piped()).stderr(Stdio::null());
        let run = run.spawn().unwrap();
        Self { cluster, sandbox, run, data, server }
    }

    /// The prompts of a credential's calls so far.
    async fn asked(&self, credential: &str) -> Vec<String> {
        let calls = self.sandbox.calls().await;
        calls.into_iter().filter(|call| call.credential == credential).map(|call| call.prompt).collect()
    }

    /// The review that is open, once it asks about this draft.
    async fn review(&self, draft: &str) -> String {
        let client = self.cluster.client();
        wait::until("an open review", REVIEW_TIME_MAX, || async {
            let open = client.get_json("/api/v1/reviews").await;
            let id = open[0]["id"].as_str().ok_or_else(|| open.to_string())?.to_owned();
            let review = client.get_json(&format!("/api/v1/reviews/{id}")).await;
            if review["value"] == draft { Ok(id) } else { Err(review.to_string()) }
        })
        .await
    }

    /// Runs `heddle reviews` to its end.
    async fn decide(&self, words: &[&str]) -> Output {
        let mut decide = heddle(self.data.path());
        // The editor that people would use.
        decide.env("VISUAL", "").env("EDITOR", "sed -i s/go/wander/");
        decide.arg("reviews").args(words).args(&self.server);
        tokio::task::spawn_blocking(move || decide.output().unwrap()).await.unwrap()
    }

    /// What the run has printed at its end.
    async fn printed(self) -> (String, Vec<String>) {
        let output = tokio::task::spawn_blocking(move || self.run.wait_with_output().unwrap()).await.unwrap();
        let press = self.sandbox.calls().await.into_iter().filter(|call| call.credential == "press");
        (said(&output), press.map(|call| call.prompt).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_edited_text_is_published_and_not_before_it_is_approved() {
    let gate = Gate::start(|_| {}).await;
    let review = gate.review(DRAFT).await;
    assert_eq!(gate.asked("press").await, [] as [&str; 0], "nothing is published before");
    let edited = gate.decide(&["edit", &review, "--comment", "slower"]).await;
    let (out, told) = (said(&edited), String::from_utf8_lossy(&edited.stderr).into_owned());
    assert!(out.contains("approve") && told.contains("- Tides") && told.contains("+ Tides"), "{out}{told}");
    assert_eq!(gate.asked("writer").await, ["Write one line about tides."], "the draft is asked for once");
    let second = gate.decide(&["reject", &review]).await;
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(5) && told.contains("slower"), "who comes second hears of it: {told}");
    let shown = said(&gate.decide(&["get", &review]).await);
    assert!(shown.contains(DRAFT) && shown.contains("Tides come and tides wander."), "both versions are kept: {shown}");
    let (printed, press) = gate.printed().await;
    assert!(printed.contains("It is in the paper."), "{printed}");
    assert_eq!(press, ["Publish this line: Tides come and tides wander."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_draft_is_written_if_somebody_asks_for_it() {
    let gate = Gate::start(|_| {}).await;
    let first = gate.review(DRAFT).await;
    said(&gate.decide(&["retry", &first, "--comment", "too dull"]).await);
    let second = gate.review(SECOND_DRAFT).await;
    assert_ne!(first, second);
    said(&gate.decide(&["approve", &second]).await);
    assert_eq!(gate.asked("writer").await.len(), 2);
    let (_, press) = gate.printed().await;
    assert_eq!(press, [format!("Publish this line: {SECOND_DRAFT}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_is_not_published() {
    let gate = Gate::start(|_| {}).await;
    let review = gate.review(DRAFT).await;
    said(&gate.decide(&["reject", &review, "--comment", "no"]).await);
    let (printed, press) = gate.printed().await;
    assert!(printed.contains(&format!("Not published: {DRAFT}")), "{printed}");
    assert!(press.is_empty(), "{press:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_in_time_is_not_published() {
    let soon = |workflow: &mut Value| {
        let nodes = workflow["nodes"].as_array_mut().unwrap();
        let check = nodes.iter_mut().find(|node| node["id"] == "check").unwrap();
        check["data"]["config"]["timeoutMs"] = 300.into();
    };
    let (printed, press) = Gate::start(soon).await.printed().await;
    assert!(printed.contains(&format!("Not published: {DRAFT}")), "{printed}");
    assert!(press.is_empty(), "{press:?}");
}

#[test]
fn one_command_says_what_to_call_next() {
    let data = TempDir::new().unwrap();
    let mut run = heddle(data.path());
    run.arg("run").args(shown(NAME)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut told = BufReader::new(run.stderr.take().unwrap()).lines();
    let next = told.find_map(|line| Some(line.unwrap().split_once("next: ")?.1.to_owned())).unwrap();
    // As people would type it.
    let shell = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(repository::root()).env("HEDDLE_DATA", data.path());
        said(&shell.output().unwrap())
    };
    let shown = shell(&next);
    assert!(shown.contains("Is it true? Is it short?") && shown.contains(DRAFT), "{next}: {shown}");
    shell(&format!("{} --data 'Tides wait.'", next.replace("reviews get", "reviews approve")));
    // It is read to its end, so that the run can say everything.
    told.for_each(drop);
    assert!(said(&run.wait_with_output().unwrap()).contains("It is in the paper."));
}
