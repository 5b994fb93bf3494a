//! The sandbox as a process of its own, with a ledger that can be read, for the agents of a cluster.

use cluster_tests::cluster::client::{ready, send};
use cluster_tests::cluster::process::Process;
use cluster_tests::cluster::{Part, START_TIME_MAX, free_address};
use cluster_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

use super::example;

/// A provider that answers by scripts and notes who asked what.
pub(crate) struct Sandbox {
    address: String,
    http: reqwest::Client,
    _process: Process,
    /// Where it says what it says.
    _folder: TempDir,
}

/// A call in the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) credential: String,
    pub(crate) model: String,
    /// What it was answered with; none if the caller went away before.
    pub(crate) status: Option<u64>,
    /// All its messages, and the text of the last one.
    pub(crate) messages: Value,
    pub(crate) prompt: String,
}

impl Sandbox {
    /// Starts one without scripts.
    pub(crate) async fn start() -> Self {
        ready();
        let (address, folder) = (free_address(), TempDir::new().unwrap());
        let process =
            Process::start(&["sandbox", "--listen", &address].map(str::to_owned), &folder.path().join("log"), None);
        let sandbox = Self { address, http: reqwest::Client::new(), _process: process, _folder: folder };
        wait::until("a sandbox that answers", START_TIME_MAX, || send(sandbox.http.get(sandbox.at("health")))).await;
        sandbox
    }

    /// What these agents are told, so that they ask it.
    pub(crate) fn arguments(&self, agents: impl IntoIterator<Item = Part>) -> Vec<(Part, Vec<String>)> {
        let words = ["--sandbox-address", &self.address].map(str::to_owned).to_vec();
        agents.into_iter().map(|agent| (agent, words.clone())).collect()
    }

    /// Takes up scripts by credential.
    pub(crate) async fn follow(&self, scripts: &Value) {
        for (credential, script) in scripts.as_object().unwrap() {
            let put = self.http.put(self.at(&format!("script/{credential}"))).json(script);
            let answer = send(put).await.unwrap();
            assert!(answer.is_success(), "{credential}: {answer}");
        }
    }

    /// The calls that came, in their order.
    pub(crate) async fn calls(&self) -> Vec<Call> {
        let ledger = send(self.http.get(self.at("ledger"))).await.unwrap().json();
        ledger["calls"].as_array().unwrap().iter().map(Call::read).collect()
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

impl Call {
    fn read(entry: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let messages = entry["request"]["messages"].clone();
        let last = messages.as_array().and_then(|messages| messages.last());
        Self {
            credential: text(&entry["credential"]),
            model: text(&entry["model"]),
            status: entry["status"].as_u64(),
            prompt: last.map(|message| text(&message["content"])).unwrap_or_default(),
            messages,
        }
    }
}

/// The scripts of an example, by credential; none for one that needs none.
pub(crate) fn scripts(name: &str) -> Value {
    let file = example(&format!("{name}/sandbox.json"));
    if !file.exists() {
        return Value::Object(serde_json::Map::new());
    }
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// These words for a server whose agents ask a sandbox.
pub(crate) fn without_sandbox(words: Vec<String>) -> Vec<String> {
    let mut words: Vec<String> = words.into_iter().filter(|word| word != "--sandbox").collect();
    if let Some(place) = words.iter().position(|word| word == "--sandbox-script") {
        words.drain(place..place + 2);
    }
    words
}
