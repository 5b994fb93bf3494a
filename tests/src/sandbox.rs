//! The sandbox as a process of its own, with a ledger that can be read, for the agents of a cluster.

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::client::{Answer, ready, send};
use crate::cluster::process::Process;
use crate::cluster::{Part, START_TIME_MAX, free_address};
use crate::wait;

/// A provider that answers by scripts and notes who asked what.
#[derive(Debug)]
pub struct Sandbox {
    address: String,
    http: reqwest::Client,
    _process: Process,
    /// Where it says what it says.
    _folder: TempDir,
}

/// A job in the ledger.
#[derive(Debug, Clone)]
pub struct Job {
    /// The key that it was begun with: it names the run.
    pub key: String,
    /// `running`, `finished` or `cancelled`.
    pub state: String,
    /// Whether it costs something.
    pub charged: bool,
}

/// A call in the ledger.
#[derive(Debug, Clone)]
pub struct Call {
    /// With whose key.
    pub credential: String,
    /// Of which model.
    pub model: String,
    /// What it was answered with; none if the caller went away before.
    pub status: Option<u64>,
    /// All its messages.
    pub messages: Value,
    /// The text of the last one.
    pub prompt: String,
}

impl Sandbox {
    /// Starts one without scripts.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        ready();
        let (address, folder) = (free_address(), TempDir::new().expect("a folder for the sandbox"));
        let words = ["sandbox", "--listen", &address].map(str::to_owned);
        let process = Process::start(&words, &folder.path().join("log"), None);
        let sandbox = Self { address, http: reqwest::Client::new(), _process: process, _folder: folder };
        wait::until("a sandbox that answers", START_TIME_MAX, || send(sandbox.http.get(sandbox.at("health")))).await;
        sandbox
    }

    /// What these agents are told, so that they ask it.
    pub fn arguments(&self, agents: impl IntoIterator<Item = Part>) -> Vec<(Part, Vec<String>)> {
        let words = ["--sandbox-address", &self.address].map(str::to_owned).to_vec();
        agents.into_iter().map(|agent| (agent, words.clone())).collect()
    }

    /// Takes up scripts by credential.
    ///
    /// # Panics
    /// When they are refused.
    pub async fn follow(&self, scripts: &Value) {
        for (credential, script) in scripts.as_object().into_iter().flatten() {
            let answer = answered(self.http.put(self.at(&format!("script/{credential}"))).json(script)).await;
            assert!(answer.is_success(), "{credential}: {answer}");
        }
    }

    /// The calls that came, in their order.
    ///
    /// # Panics
    /// When it does not say them.
    pub async fn calls(&self) -> Vec<Call> {
        let ledger = answered(self.http.get(self.at("ledger"))).await;
        let calls = ledger.json()["calls"].as_array().cloned();
        calls.unwrap_or_else(|| panic!("no ledger: {ledger}")).iter().map(Call::read).collect()
    }

    /// All jobs, in the order in which they were begun.
    ///
    /// # Panics
    /// When it does not say them.
    pub async fn jobs(&self) -> Vec<Job> {
        let ledger = answered(self.http.get(self.at("ledger"))).await;
        let jobs = ledger.json()["jobs"].as_array().cloned();
        jobs.unwrap_or_else(|| panic!("no jobs: {ledger}")).iter().map(Job::read).collect()
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Answer {
    send(request).await.unwrap_or_else(|error| panic!("the sandbox does not answer: {error}"))
}

impl Job {
    fn read(entry: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let charged = entry["charged"].as_bool().unwrap_or_default();
        Self { key: text(&entry["idempotencyKey"]), state: text(&entry["state"]), charged }
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
