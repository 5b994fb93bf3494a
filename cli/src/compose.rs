//! Starting and stopping the parts of a cluster, alone or together in one process.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use futures::future::select_all;
use heddle_agent::{Agent, Network, RealNetwork};
use heddle_coordinator::{Access, Coordinator, Policies};
use heddle_error_chain::chain;
use heddle_gateway::{Gateway, Listen, PublicUrl};
use heddle_sandbox::ScriptsByCredential;
use heddle_trust::Secret;
use nix::sys::stat::{Mode, umask};
use tokio::time::timeout;

use crate::data_dir::{DataDir, FolderLock, ServerFile};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::START_WAIT_MAX;

/// What an agent runs with.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The way to the coordinator.
    pub link: LinkOptions,
    /// The folder of what outlives a restart.
    pub data_dir: PathBuf,
    /// What placement may ask for.
    pub labels: BTreeMap<String, String>,
    /// Attempts that run at once.
    pub slots: u32,
    /// Whether to offer the `debug:*` types.
    pub debug: DebugOptions,
    /// Which servers its work may ask.
    pub network: Network,
}

/// How an agent or a gateway reaches its coordinator.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// `http://host:port`, `https://host:port`, or `host:port`.
    pub coordinator: String,
    /// A join token, or `@` and its file.
    pub join: Option<String>,
    /// Whether plaintext may leave this machine.
    pub insecure: bool,
    /// What a coordinator in this process expects.
    pub secret: Option<Secret>,
}

/// The node types for tests and benches.
#[derive(Debug, Clone, Default)]
pub struct DebugOptions {
    /// Whether to offer them.
    pub nodes: bool,
    /// Where `debug:effect` writes.
    pub effects: Option<PathBuf>,
}

/// What a cluster in one process runs with.
#[derive(Debug)]
pub struct ClusterOptions {
    /// Whether other commands are told where it is, before it says that it is ready.
    pub published: bool,
    /// Where the gateway listens.
    pub listener: TcpListener,
    /// The cluster's folder.
    pub data: DataDir,
    /// Agents.
    pub agents: u16,
    /// Attempts that run at once on each.
    pub slots: u32,
    /// The debug node types.
    pub debug: DebugOptions,
    /// Lets a sandbox provider of the cluster's own stand for every server, with these scripts.
    pub sandbox: Option<ScriptsByCredential>,
    /// Where large values are.
    pub artifacts: ArtifactOptions,
    /// Addresses inside the operator's network that files may be fetched from.
    pub fetch_allowed: Vec<SocketAddr>,
    /// What clients call the gateway.
    pub public_url: Option<PublicUrl>,
    /// Whether a lost key is made again.
    pub new_key: bool,
    /// What the settings say of all runs.
    pub policies: Policies,
}

/// What a coordinator runs with, beside its folder. It has no `Debug`: the database's address may hold a password.
pub struct CoordinatorOptions {
    /// Where gateways and agents reach it.
    pub listen: SocketAddr,
    /// The database's address.
    pub database: String,
    /// Whether the node types for tests and benches are accepted.
    pub debug_nodes: bool,
    /// Who may join.
    pub access: Access,
    /// Where large values are.
    pub artifacts: ArtifactOptions,
    /// Whether every run asks the sandbox alone.
    pub sandbox: bool,
    /// Whether a lost key is made again.
    pub new_key: bool,
    /// What the settings say of all runs.
    pub policies: Policies,
    /// Where clients reach the API: addresses that runs give out begin with it.
    pub public_url: String,
}

/// Where large values are, and how much of them there may be.
#[derive(Debug, Clone, Default)]
pub struct ArtifactOptions {
    /// A folder, or `s3://BUCKET/PREFIX`; without one, the folder `artifacts` in the data folder.
    pub store: Option<String>,
    /// Bytes that one tenant may have.
    pub quota: Option<u64>,
}

/// What a gateway knows of the world outside the cluster.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Addresses inside the operator's network that files may be fetched from.
    pub fetch_allowed: Vec<SocketAddr>,
    /// What clients call it.
    pub public_url: Option<PublicUrl>,
    /// How long a client of an event stream may take nothing, unless it is the usual time.
    pub stream_stall: Option<Duration>,
}

/// Coordinator, agents and gateway in this process, joined by gRPC over the loopback interface. Other users of the machine
/// reach the coordinator's port, too: its connections begin with a secret that only this process knows. Nothing more would
/// be won by TLS between threads of one process.
#[derive(Debug)]
pub struct Cluster {
    gateway: Gateway,
    agents: Vec<Agent>,
    coordinator: Coordinator,
    data: DataDir,
    address: SocketAddr,
    _lock: FolderLock,
}

impl Cluster {
    /// Starts a cluster on a folder that this process holds. The gateway comes last: once it answers, runs are loaded,
    /// agents are there, and the key is kept. `on_first_key` hears the key when this start has made it.
    pub async fn start(
        options: ClusterOptions,
        lock: FolderLock,
        on_first_key: impl Fn(&str) -> Result<()>,
    ) -> Result<Self> {
        let (data, debug) = (options.data, options.debug);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let secret = Secret::draw().context(Exit::Failed, "the system gives no randomness")?;
        let access = Access::Secret(secret.clone());
        let bound = options.listener.local_addr().context(Exit::Failed, "the gateway's port has no address")?;
        let public_url = options.public_url.as_ref().map_or_else(|| url(bound), |public| public.origin().to_owned());
        let coordinator = CoordinatorOptions {
            listen: any_port,
            database: data.database(),
            debug_nodes: debug.nodes,
            access,
            artifacts: options.artifacts,
            sandbox: options.sandbox.is_some(),
            new_key: options.new_key,
            policies: options.policies,
            public_url,
        };
        let coordinator = start_coordinator(&data, coordinator).await?;
        let coordinator_url = url(coordinator.local_addr());
        let link = LinkOptions { coordinator: coordinator_url, join: None, insecure: false, secret: Some(secret) };
        coordinator.first_key().map_or(Ok(()), on_first_key)?;
        let network = match options.sandbox {
            Some(scripts) => sandbox_only(start_sandbox(scripts).await?),
            None => real_network(&data, None),
        };
        let mut agents = Vec::with_capacity(usize::from(options.agents));
        for number in 1..=options.agents {
            let agent = AgentOptions {
                link: link.clone(),
                data_dir: data.path().join("agents").join(number.to_string()),
                labels: BTreeMap::new(),
                slots: options.slots,
                debug: debug.clone(),
                network: network.clone(),
            };
            agents.push(start_agent(agent).await?);
        }
        for agent in &agents {
            registered(agent).await?;
        }
        ready(&coordinator).await?;
        let outside =
            Outside { fetch_allowed: options.fetch_allowed, public_url: options.public_url, stream_stall: None };
        if options.published {
            let boot_id = format!("{:016x}", coordinator.boot_id());
            data.write_server(&ServerFile { url: url(bound), pid: std::process::id(), boot_id })?;
        }
        let gateway = start_gateway(Listen::Bound(options.listener), link, None, outside).await?;
        let address = gateway.local_addr();
        Ok(Cluster { gateway, agents, coordinator, data, address, _lock: lock })
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The gateway's origin.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Waits until a part has ended by itself, and says which.
    pub async fn broken(&self) -> Failure {
        let agents = self.agents.iter().map(|agent| Box::pin(agent.wait()));
        tokio::select! {
            why = self.coordinator.failed() => coordinator_failed(&why),
            (exit, _, _) = select_all(agents) => agent_failed(&exit),
        }
    }

    /// Stops in order: no more requests, then no more work, then the coordinator. `grace` bounds each of the first two.
    pub async fn shutdown(self, grace: Duration) {
        self.data.remove_server();
        self.gateway.shutdown(grace).await;
        let agents = self.agents.into_iter().map(|agent| agent.drain(grace));
        futures::future::join_all(agents).await;
        self.coordinator.shutdown().await;
    }
}

/// What a part writes, such as large values of tenants, belongs to its owner alone.
fn keep_private() {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// Starts a coordinator; it may still be loading.
pub async fn start_coordinator(data: &DataDir, options: CoordinatorOptions) -> Result<Coordinator> {
    keep_private();
    let CoordinatorOptions { listen, database, debug_nodes, access, artifacts, sandbox, new_key, policies, public_url } =
        options;
    let ArtifactOptions { store, quota: artifact_quota } = artifacts;
    let artifacts = store.unwrap_or_else(|| data.inside("artifacts").path().display().to_string());
    let data_dir = data.path().to_owned();
    let options = heddle_coordinator::Options {
        listen,
        database,
        data_dir,
        debug_nodes,
        access,
        artifacts,
        artifact_quota,
        sandbox,
        new_key,
        policies,
        public_url,
    };
    heddle_coordinator::start(options).await.context(Exit::Usage, "cannot start the coordinator")
}

/// Starts an agent; it may still be dialling.
pub async fn start_agent(options: AgentOptions) -> Result<Agent> {
    keep_private();
    let LinkOptions { coordinator, join, insecure, secret } = options.link;
    let options = heddle_agent::Options {
        coordinator,
        join,
        insecure,
        secret,
        agent_id: None,
        data_dir: options.data_dir,
        labels: options.labels,
        hostname: None,
        slots: options.slots,
        prefetch_patience: heddle_agent::limits::PREFETCH_PATIENCE,
        debug_nodes: options.debug.nodes,
        debug_effects: options.debug.effects,
        network: Some(options.network),
    };
    heddle_agent::start(options).await.context(Exit::Usage, "cannot start the agent")
}

/// The way to real servers, with the secrets of a folder, and names from this DNS server or else from this machine.
pub fn real_network(data: &DataDir, name_server: Option<SocketAddr>) -> Network {
    Network { real: Some(RealNetwork::guarded(data.secrets_path(), name_server)), sandbox: None }
}

/// A sandbox provider in the place of every server.
pub fn sandbox_only(address: SocketAddr) -> Network {
    Network { real: None, sandbox: Some(address) }
}

/// Starts a sandbox provider in this process; it ends with it.
async fn start_sandbox(scripts: ScriptsByCredential) -> Result<SocketAddr> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let failed = "cannot start the sandbox";
    let listener = tokio::net::TcpListener::bind(any_port).await.context(Exit::Failed, failed)?;
    let address = listener.local_addr().context(Exit::Failed, failed)?;
    tokio::spawn(heddle_sandbox::serve(listener, heddle_sandbox::scripted_router(scripts)));
    Ok(address)
}

/// Starts a gateway; the coordinator need not be there yet, unless the gateway has no certificate and needs one.
pub async fn start_gateway(
    listen: Listen,
    link: LinkOptions,
    data_dir: Option<PathBuf>,
    outside: Outside,
) -> Result<Gateway> {
    keep_private();
    let Outside { fetch_allowed, public_url, stream_stall } = outside;
    let LinkOptions { coordinator, join, insecure, secret } = link;
    let options = heddle_gateway::Options {
        listen,
        coordinator,
        join,
        insecure,
        secret,
        data_dir,
        fetch_allowed,
        public_url,
        stream_stall,
    };
    heddle_gateway::start(options).await.context(Exit::Usage, "cannot start the gateway")
}

/// Waits until the coordinator has loaded what it must.
pub async fn ready(coordinator: &Coordinator) -> Result<()> {
    in_time("the coordinator did not become ready", async {
        tokio::select! {
            () = coordinator.ready() => Ok(()),
            why = coordinator.failed() => Err(coordinator_failed(&why)),
        }
    })
    .await
}

/// Waits until the coordinator has welcomed the agent.
pub async fn registered(agent: &Agent) -> Result<()> {
    in_time("the agent was not welcomed by the coordinator", async {
        agent.registered().await.map_err(|exit| agent_failed(&exit))
    })
    .await
}

async fn in_time(what: &str, part: impl Future<Output = Result<()>>) -> Result<()> {
    let late = |_| Failure::new(Exit::Timeout, what).with_next("look at the log; HEDDLE_LOG=debug says more");
    timeout(START_WAIT_MAX, part).await.map_err(late)?
}

/// What an agent's end says, when nobody asked for it.
pub fn agent_failed(exit: &heddle_agent::Exit) -> Failure {
    match exit {
        heddle_agent::Exit::Drained { .. } => Failure::failed("the agent ended"),
        heddle_agent::Exit::Refused { code, message } => {
            Failure::failed(format!("the coordinator refused the agent ({code}): {message}"))
        }
        heddle_agent::Exit::Failed { message } => Failure::failed(message.clone()),
    }
}

/// What the coordinator's end says, when nobody asked for it.
pub fn coordinator_failed(why: &dyn std::error::Error) -> Failure {
    Failure::failed(format!("the coordinator failed: {}", chain(why)))
        .with_next("start it again; nothing that was answered is lost")
}

/// An address as gRPC and HTTP clients want it.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
