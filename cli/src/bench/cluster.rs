//! The cluster under measurement: a coordinator, a gateway and agents, each a process of this very program with its
//! default settings.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::follower::{Follower, Log};
use super::http::Connection;
use crate::data_dir::DataDir;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{DRAIN_WAIT_MAX, FOLDER_PAUSE, START_WAIT_MAX};
use crate::service::address_in;

const ANY_PORT: &str = "127.0.0.1:0";

/// The agents of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agents {
    pub(super) count: usize,
    /// Slots of each; `None` = as an agent chooses by itself.
    pub(super) slots: Option<usize>,
}

impl Agents {
    /// One, with default settings.
    pub(super) const ONE: Agents = Agents { count: 1, slots: None };

    /// All slots that are said.
    pub(super) fn total(self) -> usize {
        self.count * self.slots.unwrap_or_default()
    }
}

/// The processes and their data; the processes die with it.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: PathBuf,
    /// The coordinator's database, where it is not the file in its own folder.
    database: Option<String>,
    coordinator: Part,
    gateway: Part,
    agents: Vec<Part>,
    key: String,
    parked_runs: AtomicUsize,
}

/// Totals of the coordinator, as `/healthz` tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Counters {
    /// Transactions committed.
    pub(super) commits: u64,
    /// Event rows written.
    pub(super) event_rows: u64,
    /// Attempts sent to agents.
    pub(super) attempts: u64,
    /// Runs held in memory now: not a total.
    pub(super) runs_in_memory: u64,
}

impl Counters {
    /// What was added after `before`.
    pub(super) fn since(self, before: Counters) -> Counters {
        Counters {
            commits: self.commits.saturating_sub(before.commits),
            event_rows: self.event_rows.saturating_sub(before.event_rows),
            attempts: self.attempts.saturating_sub(before.attempts),
            runs_in_memory: self.runs_in_memory,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    database: Option<String>,
    counters: Option<Counters>,
}

impl Cluster {
    /// Starts the processes with their data in `folder`, and waits until the gateway says that all is ready. The journal is
    /// in `database`, which must be empty, or in a new file of SQLite.
    pub(super) async fn start(folder: PathBuf, database: Option<String>, agents: Agents) -> Result<Self> {
        DataDir::at(&folder).create()?;
        let coordinator = coordinator(&folder, database.as_deref(), ANY_PORT, &[]).await?;
        let key = DataDir::at(folder.join("coordinator")).key();
        let key = key.ok_or_else(|| {
            Failure::failed("the coordinator made no key").with_next("name a database that nobody has used yet")
        })?;
        let address = coordinator.address.to_string();
        let slots = agents.slots.map(|slots| slots.to_string());
        let mut parts = Vec::with_capacity(agents.count);
        for number in 1..=agents.count {
            let data = path_text(&folder.join(format!("agent-{number}")));
            let mut agent = vec!["agent", "--coordinator", &address, "--debug-nodes", "--data-dir", &data];
            agent.extend(slots.iter().flat_map(|slots| ["--slots", slots.as_str()]));
            parts.push(Part::start(&folder, &agent, &[]).await?);
        }
        let gateway = ["gateway", "--listen", ANY_PORT, "--coordinator", &address];
        let gateway = Part::start(&folder, &gateway, &[]).await?;
        let parked_runs = AtomicUsize::new(0);
        let cluster = Cluster { folder, database, coordinator, gateway, agents: parts, key, parked_runs };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// A connection to the gateway.
    pub(super) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.gateway.address, &self.key).await
    }

    /// A connection to the gateway with a key of another tenant, which is made.
    pub(super) async fn connect_as_another_tenant(&self, tenant: &str) -> Result<Connection> {
        let key = self.connect().await?.new_tenant(tenant).await?;
        Connection::open(self.gateway.address, &key).await
    }

    /// The coordinator's totals.
    pub(super) async fn counters(&self) -> Result<Counters> {
        self.counters_on(&mut self.connect().await?).await
    }

    /// The same on a connection that is there.
    pub(super) async fn counters_on(&self, connection: &mut Connection) -> Result<Counters> {
        let health: Health = connection.get("/healthz").await?;
        health.counters.ok_or_else(|| Failure::failed("the gateway's /healthz has no counters"))
    }

    /// What the journal is kept in.
    pub(super) async fn database(&self) -> Result<String> {
        let health: Health = self.connect().await?.get("/healthz").await?;
        Ok(health.database.unwrap_or_else(|| "unknown".to_owned()))
    }

    /// The coordinator's process.
    pub(super) fn coordinator_pid(&self) -> Option<u32> {
        self.coordinator.child.id()
    }

    /// The gateway's process.
    pub(super) fn gateway_pid(&self) -> Option<u32> {
        self.gateway.child.id()
    }

    /// The first agent's process.
    pub(super) fn agent_pid(&self) -> Option<u32> {
        self.agents.first()?.child.id()
    }

    /// Where the gateway is, and a key.
    pub(super) fn gateway(&self) -> (SocketAddr, String) {
        (self.gateway.address, self.key.clone())
    }

    /// A client that follows a run.
    pub(super) async fn follow(&self, run: &str, log: &Log) -> Result<Follower> {
        Follower::open(self.gateway.address, &self.key, run, log).await
    }

    /// Waiting runs made so far.
    pub(super) fn parked_runs(&self) -> usize {
        self.parked_runs.load(Ordering::Relaxed)
    }

    /// Counts waiting runs.
    pub(super) fn add_parked_runs(&self, runs: usize) {
        self.parked_runs.fetch_add(runs, Ordering::Relaxed);
    }

    /// Stops the coordinator and starts it on the same address; returns how long it took from the start of its process
    /// to its word that it is ready.
    pub(super) async fn restart_coordinator(&mut self) -> Result<Duration> {
        self.coordinator.stop().await;
        let since = Instant::now();
        let listen = self.coordinator.address.to_string();
        self.coordinator = coordinator(&self.folder, self.database.as_deref(), &listen, &[]).await?;
        Ok(since.elapsed())
    }

    /// The database that was given instead of that.
    pub(super) fn given_database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The file of the coordinator's own database.
    pub(super) fn database_file(&self) -> PathBuf {
        self.folder.join("coordinator/heddle.db")
    }

    /// Stops the coordinator, until it is started again.
    pub(super) async fn stop_coordinator(&mut self) {
        self.coordinator.stop().await;
    }

    /// Starts the coordinator that was stopped, with these variables in its environment, and waits until all is ready.
    pub(super) async fn start_coordinator(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        let listen = self.coordinator.address.to_string();
        self.coordinator = coordinator(&self.folder, self.database.as_deref(), &listen, variables).await?;
        self.ready().await
    }

    /// Stops all, the agents first.
    pub(super) async fn stop(mut self) {
        for part in self.agents.iter_mut().chain([&mut self.gateway, &mut self.coordinator]) {
            part.stop().await;
        }
    }

    async fn ready(&self) -> Result<()> {
        let until = Instant::now() + START_WAIT_MAX;
        while let Err(failure) = self.connect().await?.get::<serde_json::Value>("/readyz").await {
            if Instant::now() > until {
                return Err(failure.with_next(format!("read the logs in {}", self.folder.display())));
            }
            tokio::time::sleep(FOLDER_PAUSE).await;
        }
        Ok(())
    }
}

async fn coordinator(folder: &Path, database: Option<&str>, listen: &str, variables: &[(&str, &str)]) -> Result<Part> {
    let data = path_text(&folder.join("coordinator"));
    let arguments = ["coordinator", "--listen", listen, "--data-dir", &data, "--debug-nodes"];
    // It may hold a password, which everybody on the machine could read among the arguments.
    let database = database.map(|database| ("HEDDLE_DATABASE", database));
    let variables: Vec<_> = variables.iter().copied().chain(database).collect();
    Part::start(folder, &arguments, &variables).await
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// One process.
#[derive(Debug)]
struct Part {
    child: Child,
    address: SocketAddr,
    /// Read no further, but kept open: a closed pipe would fail the process's next line.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Part {
    /// Starts `heddle ARGUMENTS` with `variables` in its environment and waits for its line that it is ready. Its log
    /// goes to `folder/PART.log`.
    async fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        let name = arguments.first().copied().unwrap_or_default();
        let what = format!("cannot start the {name}");
        let log = folder.join(format!("{name}.log"));
        let stderr = File::options().create(true).append(true).open(&log).context(Exit::Failed, &what)?;
        let program = std::env::current_exe().context(Exit::Failed, &what)?;
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")) {
            command.env_remove(variable);
        }
        command.envs(variables.iter().copied());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        let mut child = command.spawn().context(Exit::Failed, &what)?;
        let stdout = child.stdout.take().ok_or_else(|| Failure::failed(what.as_str()))?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.context(Exit::Failed, &what)? {
                if let Some(address) = address_in(&line) {
                    return Ok(address);
                }
            }
            Err(Failure::failed(format!("the {name} ended: {}", last_line(&log))))
        };
        let waited = timeout(START_WAIT_MAX, ready).await;
        let address = waited.map_err(|_| Failure::new(Exit::Timeout, format!("the {name} did not become ready")))??;
        Ok(Part { child, address, _stdout: lines })
    }

    /// Asks the process to end, and ends it when it does not.
    async fn stop(&mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid
            && kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok()
            && timeout(DRAIN_WAIT_MAX * 2, self.child.wait()).await.is_ok()
        {
            return;
        }
        let _ = self.child.kill().await;
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
