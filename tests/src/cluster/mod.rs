//! A cluster of real processes on this machine: started, killed by pid, started again, and asked over REST.

mod binary;
pub mod client;
pub mod clocks;
pub mod containers;
pub mod figures;
pub mod graph;
pub mod history;
pub mod items;
pub mod network;
pub mod process;
pub mod random;
pub mod runs;
pub mod workload;

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::client::{Client, send};
use self::network::{Machine, Network};
use self::process::Process;
use self::random::Random;
use crate::wait;

pub use self::binary::heddle;

/// How long a part may take to be of use after it was started.
pub const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a part may take to end once it was asked to.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(15);
/// Ports that the system does not hand out by itself: nobody takes one while its owner is dead, and no dialler meets
/// itself on it.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// The variable that chooses the kind of database: `sqlite`, which is usual, or `postgres`.
const DATABASE: &str = "CLUSTER_DATABASE";

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The coordinator.
    Coordinator,
    /// The gateway with this number, from 0.
    Gateway(usize),
    /// The agent with this number, from 0.
    Agent(usize),
}

/// How many processes a cluster has, beside its coordinator.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Gateways, at least one.
    pub gateways: usize,
    /// The agents.
    pub agents: Vec<AgentShape>,
}

/// What an agent offers.
#[derive(Debug, Clone, Copy)]
pub struct AgentShape {
    /// Nodes that it runs at once.
    pub slots: u32,
    /// Its labels: `name=value,name=value`.
    pub labels: &'static str,
}

impl Part {
    /// What its folder, its log and its clock are called.
    pub fn name(self) -> String {
        match self {
            Part::Coordinator => "coordinator".to_owned(),
            Part::Gateway(number) => format!("gateway-{number}"),
            Part::Agent(number) => format!("agent-{number}"),
        }
    }
}

impl Shape {
    /// This many gateways, and this many agents with as many slots each.
    pub fn new(gateways: usize, agents: usize, slots: u32) -> Self {
        Self { gateways, agents: vec![AgentShape { slots, labels: "" }; agents] }
    }
}

/// Where and how the parts of a cluster are started.
#[derive(Debug, Default)]
pub struct Setting {
    /// A database of the test's own, instead of the usual one.
    pub database: Option<String>,
    /// In the environment of every part.
    pub variables: Vec<(String, String)>,
    /// In the environment of one part: its name and value.
    pub of_parts: Vec<(Part, String, String)>,
    /// A machine for each part, instead of this one for all.
    pub network: Option<Arc<Network>>,
    /// What a part is told beside the usual.
    pub arguments: Vec<(Part, Vec<String>)>,
}

/// A coordinator, gateways and agents, with their data in a folder of their own.
#[derive(Debug)]
pub struct Cluster {
    parts: Vec<Member>,
    client: Client,
    agents: usize,
    folder: Folder,
}

#[derive(Debug)]
struct Member {
    part: Part,
    arguments: Vec<String>,
    /// Of its environment.
    variables: Vec<(String, String)>,
    /// Its network namespace, if it has one of its own.
    namespace: Option<String>,
    process: Option<Process>,
}

/// Taken away at the end, unless the test has failed.
#[derive(Debug)]
struct Folder(TempDir);

impl Cluster {
    /// Starts a coordinator, a gateway and `agents` agents with `slots` slots each, and waits until they serve.
    pub async fn start(agents: usize, slots: u32) -> Self {
        Self::of(Shape::new(1, agents, slots)).await
    }

    /// Starts the same with these variables in the environment of every part.
    pub async fn start_with(agents: usize, slots: u32, variables: Vec<(String, String)>) -> Self {
        Self::set_up(Shape::new(1, agents, slots), Setting { variables, ..Setting::default() }).await
    }

    /// Starts a cluster of this shape, and waits until it serves.
    pub async fn of(shape: Shape) -> Self {
        Self::set_up(shape, Setting::default()).await
    }

    /// Starts a cluster of this shape on a database of the test's own, and waits until it serves.
    pub async fn on(shape: Shape, database: &str) -> Self {
        Self::set_up(shape, Setting { database: Some(database.to_owned()), ..Setting::default() }).await
    }

    /// Starts a cluster of this shape in this setting, and waits until it serves. With a network, the caller is on the
    /// client's machine, and members join with tokens and speak TLS; on this machine alone they speak plaintext.
    pub async fn set_up(shape: Shape, setting: Setting) -> Self {
        let folder = Folder::new();
        let mut parts = members(folder.path(), &shape, &setting);
        start(&mut parts[0], folder.path(), None);
        let key_file = folder.path().join("coordinator").join("key");
        let key = wait::until("the first key", START_TIME_MAX, || async {
            let key = std::fs::read_to_string(&key_file).map_err(|error| error.to_string())?;
            Some(key.trim().to_owned()).filter(|key| !key.is_empty()).ok_or_else(|| "it is empty".to_owned())
        });
        let key = key.await;
        let origin = format!("http://{}", argument(&parts[1], "--listen"));
        let client = Client::new(&origin, &key, &folder.path().join("client.jsonl"));
        let mut cluster = Self { parts, client, agents: shape.agents.len(), folder };
        for part in cluster.parts().into_iter().skip(1) {
            if setting.network.is_some() {
                let token = cluster.token(part).await;
                cluster.member(part).arguments.extend(["--join".to_owned(), token]);
            }
            cluster.start_part(part, None);
        }
        cluster.serves().await;
        cluster
    }

    /// What a part joins with: the first gateway with the token that the coordinator has made for it, the others with
    /// tokens of their own.
    async fn token(&self, part: Part) -> String {
        let role = match part {
            Part::Coordinator => panic!("a coordinator joins nobody"),
            Part::Gateway(0) => {
                let file = self.folder.path().join("coordinator/gateway-token");
                // It is written after the key.
                wait::until("the first gateway's token", START_TIME_MAX, || async {
                    if file.exists() { Ok(()) } else { Err(format!("there is no {}", file.display())) }
                })
                .await;
                return format!("@{}", file.display());
            }
            Part::Gateway(_) => "gateway",
            Part::Agent(_) => "agent",
        };
        wait::until("a join token", START_TIME_MAX, || async {
            let request = self.client.request(Method::POST, "/api/v1/agents/tokens").json(&json!({ "for": role }));
            let made = send(request).await?;
            made.json()["token"].as_str().map(str::to_owned).ok_or_else(|| made.to_string())
        })
        .await
    }

    /// Where a gateway listens: `http://host:port`.
    pub fn origin(&mut self, gateway: usize) -> String {
        format!("http://{}", argument(self.member(Part::Gateway(gateway)), "--listen"))
    }

    /// Its client, which speaks to the first gateway.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where its data, logs and effects are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All its parts.
    pub fn parts(&self) -> Vec<Part> {
        self.parts.iter().map(|member| member.part).collect()
    }

    /// Kills a part with SIGKILL.
    pub fn kill(&mut self, part: Part) {
        if let Some(mut process) = self.member(part).process.take() {
            process.kill();
        }
    }

    /// Starts a part that was killed, on the same port and folder; `armed` is a crash point and its hit.
    pub fn start_part(&mut self, part: Part, armed: Option<&str>) {
        let folder = self.folder.path().to_owned();
        start(self.member(part), &folder, armed);
    }

    /// Asks a part to end (SIGTERM), and waits until it has; gives how it ended.
    pub async fn stop(&mut self, part: Part) -> ExitStatus {
        let process = self.process(part);
        process.signal(Signal::SIGTERM);
        let what = format!("the end of {part:?}");
        let ended = wait::until(&what, STOP_TIME_MAX, || {
            let ended = process.ended();
            async move { ended.ok_or_else(|| "it still runs".to_owned()) }
        });
        let ended = ended.await;
        self.member(part).process = None;
        ended
    }

    /// Stops a part, and starts it again after it was away for so long; gives how it ended.
    pub async fn replace(&mut self, part: Part, away: Duration) -> ExitStatus {
        let ended = self.stop(part).await;
        wait::pace(away).await;
        self.start_part(part, None);
        ended
    }

    /// Kills a part and starts it again at once.
    pub fn restart(&mut self, part: Part) {
        self.kill(part);
        self.start_part(part, None);
    }

    /// The process of a part.
    ///
    /// # Panics
    /// When it was killed and not started again.
    pub fn process(&mut self, part: Part) -> &mut Process {
        let process = self.member(part).process.as_mut();
        process.unwrap_or_else(|| panic!("{part:?} does not run"))
    }

    /// Starts again what has ended, and waits until all serves.
    pub async fn heal(&mut self) {
        for part in self.parts() {
            let member = self.member(part);
            if member.process.as_mut().is_none_or(|process| process.ended().is_some()) {
                self.start_part(part, None);
            }
        }
        self.serves().await;
    }

    /// Waits until the gateway says that the coordinator is ready, and every agent that runs is connected.
    pub async fn serves(&self) {
        wait::until("a cluster that serves", START_TIME_MAX, || async {
            let ready = send(self.client.anonymous(Method::GET, "/readyz")).await?;
            if !ready.is_success() {
                return Err(ready.to_string());
            }
            let here = self.agents_here().await?;
            let running = self.running_agents();
            if here >= running { Ok(()) } else { Err(format!("{here} of {running} agents are connected")) }
        })
        .await;
    }

    /// The number of agents that the coordinator sees.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn agents_here(&self) -> Result<usize, String> {
        let answer = send(self.client.request(Method::GET, "/api/v1/agents")).await?;
        let Value::Array(agents) = answer.json() else { return Err(answer.to_string()) };
        Ok(agents.iter().filter(|agent| agent["state"] == "connected").count())
    }

    /// One of the coordinator's totals since its start.
    pub async fn counter(&self, name: &str) -> u64 {
        let health = self.client.get_json("/healthz").await;
        health["counters"][name].as_u64().unwrap_or_default()
    }

    /// The lines of an effects file: each `execution node attempt`.
    pub fn effects(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(effects(self.folder.path()).join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Gives an agent a credential for a server inside this machine, `127.0.0.1:PORT`.
    ///
    /// # Panics
    /// When it is refused.
    pub fn keep_secret(&self, agent: usize, name: &str, host: &str, secret: &str) {
        let mut set = process::command();
        set.args(["secrets", "set", name, "--host", host, "--allow-private", "--data-dir"]);
        set.arg(self.folder().join(format!("agent-{agent}"))).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut set = set.spawn().unwrap_or_else(|error| panic!("heddle does not start: {error}"));
        // Dropped at once: the secret ends there.
        let given = set.stdin.take().map(|mut stdin| stdin.write_all(secret.as_bytes()));
        let ended = set.wait();
        let is_kept = matches!(given, Some(Ok(()))) && ended.as_ref().is_ok_and(ExitStatus::success);
        assert!(is_kept, "the secret is not kept: {given:?} {ended:?}");
    }

    /// The id that an agent keeps in its folder.
    ///
    /// # Panics
    /// When it has never started.
    pub fn agent_id(&self, part: Part) -> String {
        let Part::Agent(number) = part else { panic!("{part:?} is no agent") };
        let path = self.folder.path().join(format!("agent-{number}")).join("agent-id");
        let id = std::fs::read_to_string(&path);
        id.unwrap_or_else(|error| panic!("no id at {}: {error}", path.display())).trim().to_owned()
    }

    /// A node of a run that an agent of this cluster has now, once there is one of those that are `wanted`; and the agent.
    ///
    /// # Panics
    /// When there is none within `deadline`.
    pub async fn holder(&self, execution: &str, deadline: Duration, wanted: impl Fn(&str) -> bool) -> (String, Part) {
        let wanted = &wanted;
        wait::until("an agent at work", deadline, || async move {
            let run = self.client.execution(execution).await;
            let nodes = run["nodeRuns"].as_array().into_iter().flatten().filter(|node| node["state"] == "RUNNING");
            let mut held = nodes.filter_map(|node| Some((node["nodeId"].as_str()?, node["agent"].as_str()?)));
            let (node, agent) = held.find(|(node, _)| wanted(node)).ok_or_else(|| run.to_string())?;
            let mut agents = self.parts().into_iter().filter(|part| matches!(part, Part::Agent(_)));
            let agent =
                agents.find(|part| self.agent_id(*part) == agent).ok_or_else(|| format!("whose is {agent}?"))?;
            Ok((node.to_owned(), agent))
        })
        .await
    }

    fn running_agents(&self) -> usize {
        let agents = self.parts.iter().filter(|member| matches!(member.part, Part::Agent(_)));
        agents.filter(|member| member.process.is_some()).count().min(self.agents)
    }

    fn member(&mut self, part: Part) -> &mut Member {
        let member = self.parts.iter_mut().find(|member| member.part == part);
        member.unwrap_or_else(|| panic!("the cluster has no {part:?}"))
    }
}

impl Folder {
    fn new() -> Self {
        let folder = TempDir::with_prefix("heddle-test-").unwrap_or_else(|error| panic!("no folder: {error}"));
        let made = std::fs::create_dir(effects(folder.path()));
        made.unwrap_or_else(|error| panic!("no folder for effects: {error}"));
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!("the cluster's folder is kept: {}", self.0.path().display());
        }
    }
}

/// A free port of the loopback address, below those that the system hands out.
pub fn free_address() -> String {
    client::ready();
    let mut random = Random::from_seed(u64::from(std::process::id()) ^ random_start());
    let address = std::iter::repeat_with(|| {
        let port = PORTS.start + random.below(PORTS.len()) as u16;
        format!("127.0.0.1:{port}")
    });
    let mut free = address.take(1_000).filter(|address| TcpListener::bind(address.as_str()).is_ok());
    free.next().unwrap_or_else(|| panic!("no port is free"))
}

fn random_start() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

fn members(folder: &Path, shape: &Shape, setting: &Setting) -> Vec<Member> {
    let network = setting.network.as_ref();
    let listen = |part| network.map_or_else(free_address, |network| network.listen(part));
    let database = &setting.database.clone().unwrap_or_else(|| database(folder));
    let coordinator = listen(Part::Coordinator);
    let data = |name: String| folder.join(name).display().to_string();
    let url = format!("{}://{coordinator}", if network.is_some() { "https" } else { "http" });
    let member = |part, arguments: &[&str]| {
        let more = setting.arguments.iter().filter(|(of, _)| *of == part).flat_map(|(_, more)| more.clone());
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).chain(more).collect();
        let namespace = network.map(|network| network.name(Machine::Of(part)));
        let own = setting.of_parts.iter().filter(|(of, ..)| *of == part);
        let own = own.map(|(_, name, value)| (name.clone(), value.clone()));
        let variables = setting.variables.iter().cloned().chain(own).collect();
        Member { part, arguments, variables, namespace, process: None }
    };
    let at = data("coordinator".into());
    let arguments =
        ["coordinator", "--listen", &coordinator, "--database", database, "--data-dir", &at, "--debug-nodes"];
    let mut members = vec![member(Part::Coordinator, &arguments)];
    for number in 0..shape.gateways {
        let part = Part::Gateway(number);
        let (listen, data) = (listen(part), data(format!("gateway-{number}")));
        members.push(member(part, &["gateway", "--listen", &listen, "--coordinator", &url, "--data-dir", &data]));
    }
    for (number, agent) in shape.agents.iter().enumerate() {
        let (slots, effects) = (agent.slots.to_string(), effects(folder).display().to_string());
        let data = data(format!("agent-{number}"));
        let mut arguments = vec!["agent", "--coordinator", &url, "--slots", &slots, "--data-dir", &data];
        arguments.extend(["--debug-nodes", "--debug-effects", &effects]);
        if !agent.labels.is_empty() {
            arguments.extend(["--labels", agent.labels]);
        }
        members.push(member(Part::Agent(number), &arguments));
    }
    members
}

/// A database of the cluster's own: a file in its folder, or one on this process's PostgreSQL server, if [`DATABASE`] says
/// so.
fn database(folder: &Path) -> String {
    match std::env::var(DATABASE).as_deref() {
        Err(_) | Ok("" | "sqlite") => format!("sqlite:{}", folder.join("heddle.db").display()),
        Ok("postgres") => {
            let server = heddle_test_postgres::shared().expect("PostgreSQL is installed, as it was asked for");
            server.database()
        }
        Ok(other) => panic!("{DATABASE}={other}: use sqlite or postgres"),
    }
}

fn effects(folder: &Path) -> PathBuf {
    folder.join("effects")
}

fn argument<'a>(member: &'a Member, name: &str) -> &'a str {
    let mut arguments = member.arguments.iter().skip_while(|argument| *argument != name);
    arguments.nth(1).unwrap_or_else(|| panic!("{:?} has no {name}", member.part))
}

fn start(member: &mut Member, folder: &Path, armed: Option<&str>) {
    assert!(member.process.is_none() || armed.is_none(), "{:?} runs already", member.part);
    let (namespace, log) = (member.namespace.as_deref(), folder.join(format!("{}.log", member.part.name())));
    member.process = Some(Process::start_in(namespace, &member.arguments, &log, armed, &member.variables));
}
