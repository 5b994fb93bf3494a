//! Each example on three agents, of which one is killed while it has a node of it: the same comes out as from one agent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cluster_tests::cluster::{Cluster, Part, START_TIME_MAX, Setting, Shape};
use cluster_tests::sandbox::Sandbox;
use cluster_tests::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::api::{Api, set_key};
use super::sandbox::without_sandbox;
use super::{heddle, said, shown};

pub(crate) const AGENTS: [Part; 3] = [Part::Agent(0), Part::Agent(1), Part::Agent(2)];
/// Nodes that each runs at once.
pub(crate) const SLOTS: usize = 2;
/// How long a run may take, with what a lost attempt that may have had its effect waits for its agent.
pub(crate) const RUN_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a model says nothing. Where that is too short for the machine, a run is made anew.
const SILENCE_MS: u64 = 6_000;
/// A node may have ended just before its agent does. So often such a run is made anew.
const TRIES_MAX: usize = 10;

/// What came out of a run: what was printed, and the files by name.
#[derive(Debug, PartialEq)]
pub(crate) struct Results {
    pub(crate) printed: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Results {
    /// The list that was printed as this output, among several.
    pub(crate) fn list(&self, output: &str) -> Vec<Value> {
        let before = format!("{output}: ");
        let list = self.printed.lines().find_map(|line| line.strip_prefix(&before)).unwrap();
        serde_json::from_str(list).unwrap()
    }
}

/// Runs the words of an example, on the server that is among them or else alone, with this data folder.
fn results(data: &Path, words: &[String]) -> Results {
    let out = TempDir::new().unwrap();
    let place = out.path().display().to_string();
    let mut run = heddle(data);
    let printed = said(&run.arg("run").args(words).args(["--out", &place]).output().unwrap());
    let files = std::fs::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
    Results { files: files.collect(), printed: printed.replace(&place, "OUT") }
}

/// The words of an example, as its README shows them, without where results go.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = shown(name);
    if let Some(place) = words.iter().position(|word| word == "--out") {
        words.drain(place..place + 2);
    }
    words
}

/// What one agent makes of these words.
pub(crate) fn alone(words: &[String]) -> Results {
    results(TempDir::new().unwrap().path(), words)
}

pub(crate) async fn cluster(setting: Setting) -> Cluster {
    Cluster::set_up(Shape::new(1, AGENTS.len(), SLOTS as u32), setting).await
}

/// Waits until the coordinator has given up every agent.
async fn nobody_here(cluster: &Cluster) {
    wait::until("agents that are given up", RUN_TIME_MAX, || async {
        let here = cluster.agents_here().await?;
        if here == 0 { Ok(()) } else { Err(format!("{here} agents are here")) }
    })
    .await;
}

/// The events of a run that tell of a node.
pub(crate) fn of<'a>(events: &'a [Value], kind: &'a str, node: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == kind && event["nodeId"] == node)
}

/// An example that is run on a cluster of three agents until a death has cost it an attempt.
pub(crate) struct Course<'a> {
    pub(crate) cluster: &'a mut Cluster,
    words: Vec<String>,
    pub(crate) expected: Results,
    /// Of the command, which has no agent of its own.
    data: TempDir,
    runs_before: usize,
}

impl<'a> Course<'a> {
    /// `alone` is what one agent makes of the same.
    pub(crate) fn new(cluster: &'a mut Cluster, words: Vec<String>, alone: Results) -> Self {
        Self { cluster, words, expected: alone, data: TempDir::new().unwrap(), runs_before: 0 }
    }

    /// Starts a run; gives its id, and what will come out.
    pub(crate) async fn begin(&mut self) -> (String, JoinHandle<Results>) {
        let mut words = self.words.clone();
        let key = std::fs::read_to_string(self.cluster.folder().join("coordinator/key")).unwrap();
        words.extend(["--server".to_owned(), self.cluster.origin(0), "--key".to_owned(), key.trim().to_owned()]);
        let data = self.data.path().to_owned();
        let results = tokio::task::spawn_blocking(move || results(&data, &words));
        let known = self.runs_before;
        let run = wait::until("a run", START_TIME_MAX, || async {
            let runs = self.cluster.client().get_json("/api/v1/workflows/executions").await;
            let runs = runs.as_array().filter(|runs| runs.len() > known);
            runs.map(|runs| runs[0]["id"].as_str().unwrap().to_owned()).ok_or_else(|| format!("{known} runs"))
        });
        let run = run.await;
        self.runs_before += 1;
        (run, results)
    }

    /// Makes runs and kills the agent that has a node of each, until a death has cost an attempt. `deadly` gives the run, the
    /// node whose agent is dead, and what will come out.
    async fn until_a_death_counts(&mut self, deadly: impl AsyncFn(&mut Self) -> (String, String, JoinHandle<Results>)) {
        for _ in 0..TRIES_MAX {
            let (run, node, results) = deadly(self).await;
            if self.ended(&run, &node, results).await {
                return;
            }
            self.cluster.heal().await;
        }
        panic!("no death has cost an attempt");
    }

    /// Whether the death of the agent with this node has cost an attempt, once the run is over: what came out is as expected.
    pub(crate) async fn ended(&self, run: &str, node: &str, results: JoinHandle<Results>) -> bool {
        let ended = self.cluster.client().ended(run, RUN_TIME_MAX).await;
        assert_eq!(ended["status"], "COMPLETED", "{ended}");
        let results = results.await.unwrap();
        assert!(results == self.expected, "{:?} instead of {:?}", results.printed, self.expected.printed);
        let events = self.cluster.client().events(run).await;
        of(&events, "attempt.lost", node).count() > 0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_outlives_an_agent() {
    let mut cluster = cluster(Setting::default()).await;
    let words = ["examples/hello.json", "-i", "topic=tides"].map(str::to_owned).to_vec();
    let mut course = Course::new(&mut cluster, words.clone(), alone(&words));
    let deadly = async |course: &mut Course<'_>| {
        // Its node takes no time: whoever gets it must be stopped before, and is not waited for long.
        for agent in AGENTS {
            course.cluster.process(agent).signal(Signal::SIGSTOP);
        }
        let (run, results) = course.begin().await;
        let held = tokio::select! {
            held = course.cluster.holder(&run, RUN_TIME_MAX, |_| true) => Some(held),
            () = nobody_here(course.cluster) => None,
        };
        if let Some((_, agent)) = &held {
            course.cluster.kill(*agent);
        }
        let dead = held.as_ref().map(|(_, agent)| *agent);
        for agent in AGENTS.into_iter().filter(|agent| Some(*agent) != dead) {
            course.cluster.process(agent).signal(Signal::SIGCONT);
        }
        (run, held.map_or_else(String::new, |(node, _)| node), results)
    };
    course.until_a_death_counts(deadly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_sheet_outlives_an_agent() {
    let mut cluster = cluster(Setting::default()).await;
    let mut course = Course::new(&mut cluster, words("contact-sheet"), alone(&words("contact-sheet")));
    let deadly = async |course: &mut Course<'_>| {
        let (run, results) = course.begin().await;
        let (node, agent) = course.cluster.holder(&run, RUN_TIME_MAX, |_| true).await;
        course.cluster.kill(agent);
        (run, node, results)
    };
    course.until_a_death_counts(deadly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_outlives_an_agent() {
    // Two models are asked at once.
    asked_models_outlive_an_agent("summarise", &["summary", "tags"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_outlives_an_agent() {
    asked_models_outlive_an_agent("classify-and-branch", &["classify"]).await;
}

/// Kills an agent while a model is asked: one of `nodes`, which are asked first.
async fn asked_models_outlive_an_agent(example: &str, nodes: &[&str]) {
    let sandbox = Sandbox::start().await;
    let mut cluster = cluster(Setting { arguments: sandbox.arguments(AGENTS), ..Setting::default() }).await;
    let words = words(example);
    let mut course = Course::new(&mut cluster, without_sandbox(words.clone()), alone(&words));
    let deadly = async |course: &mut Course<'_>| {
        // An agent has the time to die before any model says a word.
        let script = json!({ "steps": vec![json!({ "delayMs": SILENCE_MS }); nodes.len()] });
        sandbox.follow(&json!({ "openai": script })).await;
        let (run, results) = course.begin().await;
        let (node, agent) = course.cluster.holder(&run, RUN_TIME_MAX, |node| nodes.contains(&node)).await;
        // From here on nobody but the model's server knows whether it was asked.
        wait::until("an intent", RUN_TIME_MAX, || async {
            let events = course.cluster.client().events(&run).await;
            if of(&events, "attempt.intent", &node).count() == 1 { Ok(()) } else { Err(format!("{events:?}")) }
        })
        .await;
        course.cluster.kill(agent);
        (run, node, results)
    };
    course.until_a_death_counts(deadly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enriched_rows_outlive_an_agent() {
    let mut cluster = cluster(Setting::default()).await;
    let (quick, held) = (Api::start(true), Api::start(false));
    let with =
        |api: &Api| [words("http-enrich"), vec!["-i".to_owned(), format!("api=http://{}", api.address)]].concat();
    let data = TempDir::new().unwrap();
    set_key(data.path(), &quick.address);
    for number in 0..AGENTS.len() {
        set_key(&cluster.folder().join(format!("agent-{number}")), &held.address);
    }
    let mut course = Course::new(&mut cluster, with(&held), results(data.path(), &with(&quick)));
    let (run, results) = course.begin().await;
    let (node, agent) = course.cluster.holder(&run, RUN_TIME_MAX, |node| node.starts_with("fact-")).await;
    course.cluster.kill(agent);
    held.open();
    assert!(course.ended(&run, &node, results).await, "no answer came before the agent's death");
}
