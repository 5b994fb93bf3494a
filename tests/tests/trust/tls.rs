//! A cluster whose parts speak TLS, and members written by hand.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::clocks::Clocks;
use cluster_tests::cluster::process::{Process, command};
use cluster_tests::cluster::{START_TIME_MAX, free_address};
use cluster_tests::wait;
use heddle_trust::{Role, Trouble, Way, WayOptions};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// How long the suite waits for what should be there at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const TOKENS: &str = "/api/v1/agents/tokens";

/// A coordinator with TLS and a gateway that has joined; agents as they are wanted.
pub(crate) struct Tls {
    pub(crate) folder: TempDir,
    pub(crate) coordinator: String,
    pub(crate) gateway: String,
    /// The options of the coordinator beside its address and folder.
    options: Vec<String>,
    processes: Vec<(String, Process)>,
    /// Of every process that is started from now on.
    clocks: Option<Clocks>,
    client: Client,
}

impl Tls {
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::start_by(None, options).await
    }

    /// The same; each process goes by a clock of its own, with the process's name.
    pub(crate) async fn start_by(clocks: Option<Clocks>, options: &[&str]) -> Self {
        let folder = TempDir::with_prefix("heddle-trust-").unwrap();
        let log = folder.path().join("client.jsonl");
        let (coordinator, gateway) = (free_address(), free_address());
        let mut cluster = Self {
            client: Client::new(&format!("http://{gateway}"), "", &log),
            folder,
            coordinator,
            gateway,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            processes: Vec::new(),
            clocks,
        };
        cluster.start_coordinator();
        let key = cluster.written("coordinator/key").await;
        cluster.written("coordinator/gateway-token").await;
        let token = format!("@{}", cluster.path("coordinator/gateway-token").display());
        cluster.start_gateway(&["--join", &token]);
        cluster.client = Client::new(&format!("http://{}", cluster.gateway), &key, &log);
        cluster.is_ready().await;
        cluster
    }

    pub(crate) fn start_coordinator(&mut self) {
        let (listen, data) = (self.coordinator.clone(), self.data("coordinator"));
        let mut arguments = vec!["coordinator", "--tls", "--debug-nodes", "--listen", &listen, "--data-dir", &data];
        let options = self.options.clone();
        arguments.extend(options.iter().map(String::as_str));
        self.start_process("coordinator", &arguments);
    }

    pub(crate) fn start_gateway(&mut self, more: &[&str]) {
        let (listen, data, coordinator) = (self.gateway.clone(), self.data("gateway"), self.coordinator.clone());
        let mut arguments = vec!["gateway", "--listen", &listen, "--data-dir", &data, "--coordinator", &coordinator];
        arguments.extend(more);
        self.start_process("gateway", &arguments);
    }

    /// Starts an agent that joins with this token, if one is given.
    pub(crate) fn start_agent(&mut self, name: &str, slots: u32, token: Option<&str>) {
        let (slots, data, coordinator) = (slots.to_string(), self.data(name), format!("https://{}", self.coordinator));
        let mut arguments = vec!["agent", "--coordinator", &coordinator, "--slots", &slots, "--data-dir", &data];
        arguments.push("--debug-nodes");
        arguments.extend(token.into_iter().flat_map(|token| ["--join", token]));
        self.start_process(name, &arguments);
    }

    pub(crate) fn start_process(&mut self, name: &str, arguments: &[&str]) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let variables = self.clocks.as_ref().map(|clocks| clocks.variables(name)).unwrap_or_default();
        let process = Process::start_with(&arguments, &self.path(&format!("{name}.log")), None, &variables);
        self.processes.push((name.to_owned(), process));
    }

    /// Sets a process's clock.
    pub(crate) fn set_clock(&self, name: &str, offset: &str) {
        self.clocks.as_ref().unwrap().set(name, offset);
    }

    /// Kills a process.
    pub(crate) fn kill(&mut self, name: &str) {
        self.processes.retain(|(other, _)| other != name);
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        &mut self.processes.iter_mut().find(|(other, _)| other == name).unwrap().1
    }

    /// Waits until a process has ended by itself, and gives what it said.
    pub(crate) async fn ended(&mut self, name: &str) -> String {
        let process = self.process(name);
        wait::until(&format!("the end of {name}"), SOON, || {
            let ended = process.ended();
            async move { ended.ok_or_else(|| "it still runs".to_owned()) }
        })
        .await;
        let said = self.process(name).said();
        self.kill(name);
        said
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A file's text, once it is there.
    pub(crate) async fn written(&self, name: &str) -> String {
        let path = self.path(name);
        wait::until(&format!("the file {name}"), START_TIME_MAX, || async {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty()).ok_or_else(|| "it is empty".to_owned())
        })
        .await
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn is_ready(&self) {
        wait::until("a gateway that is ready", START_TIME_MAX, || async {
            let ready = send(self.client.anonymous(Method::GET, "/readyz")).await?;
            if ready.is_success() { Ok(()) } else { Err(ready.to_string()) }
        })
        .await;
    }

    /// Waits until exactly these agents are connected, by their states.
    pub(crate) async fn agents(&self, states: &[&str]) -> Vec<Value> {
        wait::until(&format!("agents that are {states:?}"), SOON, || async {
            let answer = send(self.client.request(Method::GET, "/api/v1/agents")).await?;
            let Value::Array(agents) = answer.json() else { return Err(answer.to_string()) };
            let mut found: Vec<&str> = agents.iter().map(|agent| agent["state"].as_str().unwrap()).collect();
            found.sort_unstable();
            if found == states { Ok(agents) } else { Err(format!("{agents:?}")) }
        })
        .await
    }

    pub(crate) async fn asked(&self, method: Method, path: &str, body: Value) -> Answer {
        send(self.client.request(method, path).json(&body)).await.unwrap()
    }

    /// A new token, whole.
    pub(crate) async fn minted(&self, role: &str, ttl_seconds: u64) -> Value {
        let made = self.asked(Method::POST, TOKENS, json!({"for": role, "ttlSeconds": ttl_seconds})).await;
        assert_eq!(made.status, 201, "{made}");
        made.json()
    }

    /// A new token's text.
    pub(crate) async fn token(&self, role: &str) -> String {
        self.minted(role, 60).await["token"].as_str().unwrap().to_owned()
    }

    /// How often somebody was refused for this reason.
    pub(crate) async fn refused(&self, reason: &str) -> u64 {
        let health = self.client.get_json("/healthz").await;
        health["counters"]["refusedJoins"][reason].as_u64().unwrap_or_default()
    }

    /// Waits until somebody was refused for this reason so many times.
    pub(crate) async fn counts(&self, reason: &str, times: u64) {
        wait::until(&format!("{times} refusals because of {reason}"), SOON, || async {
            let counted = self.refused(reason).await;
            if counted >= times { Ok(()) } else { Err(self.client.get_json("/healthz").await.to_string()) }
        })
        .await;
    }

    pub(crate) async fn foreign_messages(&self) -> u64 {
        self.client.get_json("/healthz").await["counters"]["foreignMessages"].as_u64().unwrap()
    }

    /// `heddle` with this cluster's address and key.
    pub(crate) async fn heddle(&self, arguments: &[&str]) -> Output {
        let mut command = command();
        let key = self.written("coordinator/key").await;
        command.args(arguments).args(["--server", &format!("http://{}", self.gateway), "--key", &key]);
        command.output().unwrap()
    }

    /// A member written by hand, with a folder of its own.
    pub(crate) fn member(&self, role: Role, folder: &Path, id: &str, token: Option<String>) -> Way {
        Way::find(WayOptions {
            coordinator: format!("https://{}", self.coordinator),
            join: token,
            insecure: false,
            secret: None,
            data_dir: Some(folder.to_owned()),
            role,
            id: Some(id.to_owned()),
        })
        .unwrap()
    }

    /// One that has joined.
    pub(crate) async fn joined(&self, role: Role, id: &str) -> (Way, Channel) {
        let way = self.member(role, &self.path(id), id, Some(self.token(role.as_str()).await));
        let channel = way.connect(&endpoint()).await.unwrap();
        (way, channel)
    }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://coordinator")
}

/// A connection that shows what the folder has, whatever this side thinks of it.
pub(crate) async fn connected(way: &Way) -> Result<Channel, Trouble> {
    endpoint().connect_with_connector(way.connector()).await.map_err(|error| Trouble::of_error(&error))
}

/// The code of a trouble that only a person can end.
pub(crate) fn code(trouble: &Trouble) -> &str {
    let Trouble::Final { code, .. } = trouble else { panic!("{trouble:?} is not final") };
    code
}
