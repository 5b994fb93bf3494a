//! `heddle up`: a whole cluster in one process.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::Args;
use heddle_coordinator::{ConcurrencyLimit, KeepRuns, NodePolicy};
use heddle_gateway::PublicUrl;
use heddle_sandbox::ScriptsByCredential;
use heddle_telemetry::Component;
use tracing_subscriber::filter::LevelFilter;

use crate::compose::{ArtifactOptions, Cluster, ClusterOptions, DebugOptions, Outside};
use crate::contradiction::needs;
use crate::data_dir::DataDir;
use crate::error::Result;
use crate::limits::{AGENTS_MAX, DRAIN_WAIT_MAX};
use crate::metrics::Metrics;
use crate::service::{Stop, announce, bind, check_debug_nodes};
use crate::session;
use crate::telemetry;
use crate::ui::style::Style;
use crate::ui::{note, print, program};

/// Run a whole cluster in this process: gateway, coordinator and agents
#[derive(Debug, Args)]
pub struct Up {
    /// Where clients connect to
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The data folder [default: $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, env = "HEDDLE_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Agents to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(AGENTS_MAX)))]
    agents: u16,
    /// Nodes that each agent runs at once
    #[arg(long, default_value_t = 16, value_name = "NUMBER")]
    slots: u32,
    /// Let a provider inside this process answer in the place of every server: offline, at no cost, always alike
    #[arg(long)]
    sandbox: bool,
    /// What that provider answers: a JSON object with a script for each credential
    #[arg(long, value_name = "FILE", requires = "sandbox")]
    sandbox_script: Option<PathBuf>,
    /// Make a key again, if the one in the data folder is lost or does not work any more
    #[arg(long)]
    new_key: bool,
    #[command(flatten)]
    artifacts: Artifacts,
    #[command(flatten)]
    policies: Policies,
    #[command(flatten)]
    fetch: Fetch,
    #[command(flatten)]
    debug: Debug,
    #[command(flatten)]
    metrics: Metrics,
}

/// What files may be fetched from, and what the gateway is called.
#[derive(Debug, Clone, Args)]
pub struct Fetch {
    /// Addresses in your own network that files may be fetched from, such as 10.0.0.5:9000; others are refused
    #[arg(long, env = "HEDDLE_ALLOW_FETCH", value_delimiter = ',', value_name = "ADDRESS:PORT")]
    pub allow_fetch: Vec<SocketAddr>,
    /// What clients call this gateway, such as `https://heddle.example.org`: addresses of files begin with it [default: as
    /// each request calls it]
    #[arg(long, env = "HEDDLE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
}

impl From<Fetch> for Outside {
    fn from(fetch: Fetch) -> Self {
        Outside { fetch_allowed: fetch.allow_fetch, public_url: fetch.public_url, stream_stall: None }
    }
}

/// Where large values are.
#[derive(Debug, Clone, Args)]
pub struct Artifacts {
    /// Where large values are kept: a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME [default: `artifacts` in the
    /// data folder]
    #[arg(long, env = "HEDDLE_ARTIFACTS", value_name = "STORE")]
    artifacts: Option<String>,
    /// Bytes of large values that one tenant may have [default: as many as fit]
    #[arg(long, value_name = "BYTES")]
    artifact_quota: Option<u64>,
}

impl From<Artifacts> for ArtifactOptions {
    fn from(options: Artifacts) -> Self {
        ArtifactOptions { store: options.artifacts, quota: options.artifact_quota }
    }
}

/// What counts for all runs where nobody else says it.
#[derive(Debug, Clone, Args)]
pub struct Policies {
    /// How many attempts may be at work at once for the nodes that share a concurrency key; a key may end with * [default: 1]
    #[arg(long, value_delimiter = ',', value_name = "KEY=NUMBER")]
    concurrency_limits: Vec<ConcurrencyLimit>,
    /// The policy of nodes whose own, type and workflow say nothing, as JSON: retry, timeoutMs, onUnknown, onRunFailure
    #[arg(long, value_name = "JSON")]
    node_policy: Option<NodePolicy>,
    /// Days that runs are kept after their end where their workflow says nothing; 0 = for ever
    #[arg(long, env = "HEDDLE_KEEP_RUNS_DAYS", default_value = "30", value_name = "DAYS")]
    keep_runs_days: KeepRuns,
}

impl From<Policies> for heddle_coordinator::Policies {
    fn from(policies: Policies) -> Self {
        Self {
            node: policies.node_policy.unwrap_or_default(),
            concurrency: policies.concurrency_limits,
            keep_runs: policies.keep_runs_days,
        }
    }
}

/// The node types for tests and benches.
#[derive(Debug, Clone, Args)]
pub struct Debug {
    /// Offer the node types for tests and benches (debug:*)
    #[arg(long)]
    pub debug_nodes: bool,
    /// Where debug:effect writes; it takes --debug-nodes
    #[arg(long, value_name = "FOLDER")]
    pub debug_effects: Option<PathBuf>,
}

impl Debug {
    /// Refuses what says nothing.
    pub fn check(&self) -> Result<()> {
        needs(self.debug_effects.is_some(), "--debug-effects", self.debug_nodes, "--debug-nodes")
    }
}

impl From<Debug> for DebugOptions {
    fn from(debug: Debug) -> Self {
        DebugOptions { nodes: debug.debug_nodes, effects: debug.debug_effects }
    }
}

impl Up {
    /// Runs the cluster until a signal comes.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::WARN);
        telemetry::export(&[Component::Coordinator, Component::Agent, Component::Gateway]);
        self.debug.check()?;
        let scripts = self.sandbox_script.as_deref().map(session::scripts).transpose()?;
        let sandbox = self.sandbox.then(|| scripts.unwrap_or_default());
        self.metrics.check("--listen", self.listen)?;
        self.metrics.serve()?;
        check_debug_nodes(self.debug.debug_nodes, self.listen, false)?;
        let mut stop = Stop::listen()?;
        // Bound before anything is written: a taken port must not leave a half-made cluster behind.
        let listener = bind(self.listen)?;
        let data = DataDir::choose(self.data_dir.as_deref())?;
        data.create()?;
        let lock = data.lock()?;
        let cluster = tokio::select! {
            cluster = self.start(listener, &data, lock, sandbox) => cluster?,
            () = stop.asked() => return Ok(()),
        };
        banner(&cluster, &data, self.sandbox)?;
        note_lost_key(&data);
        let ended = tokio::select! {
            () = stop.asked() => Ok(()),
            failure = cluster.broken() => Err(failure),
        };
        stop.drain(cluster.shutdown(DRAIN_WAIT_MAX / 2)).await.and(ended)
    }

    async fn start(
        &self,
        listener: TcpListener,
        data: &DataDir,
        lock: crate::data_dir::FolderLock,
        sandbox: Option<ScriptsByCredential>,
    ) -> Result<Cluster> {
        let options = ClusterOptions {
            published: true,
            listener,
            data: data.clone(),
            agents: self.agents,
            slots: self.slots,
            debug: self.debug.clone().into(),
            sandbox,
            artifacts: self.artifacts.clone().into(),
            fetch_allowed: self.fetch.allow_fetch.clone(),
            public_url: self.fetch.public_url.clone(),
            new_key: self.new_key,
            policies: self.policies.clone().into(),
        };
        Cluster::start(options, lock, |key| say_key(key, data)).await
    }
}

/// Prints the key that a first start has made, and where it is kept.
pub fn say_key(key: &str, data: &DataDir) -> Result<()> {
    print(&format!("key: {key}"))?;
    print(&Style::stdout().dim(&format!("     kept in {}", data.key_path().display())))
}

/// Says what to do where the folder has no key, as after somebody has deleted its file.
pub fn note_lost_key(data: &DataDir) {
    if data.key().is_none() {
        note(&format!("there is no key in {}; a start with --new-key makes one again", data.key_path().display()));
    }
}

fn banner(cluster: &Cluster, data: &DataDir, is_sandbox: bool) -> Result<()> {
    let style = Style::stdout();
    announce("up", cluster.address())?;
    print(&format!("  {}   {}/api/v1", style.dim("API"), style.bold(&cluster.url())))?;
    print(&format!("  {}  {}", style.dim("data"), data.path().display()))?;
    if is_sandbox {
        print(&format!("  {}  answers come from the sandbox, not from providers", style.dim("note")))?;
    }
    print(&format!("  {}  {} run examples/hello.json -i topic=tides", style.dim("next"), program()))
}
