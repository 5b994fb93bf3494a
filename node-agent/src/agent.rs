//! The agent as its host sees it: options, start, drain, exit.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heddle_address_guard::{NameServer, Policy};
use heddle_trust::{Role, Secret, Way, WayError, WayOptions};
use ractor::{Actor, ActorRef, SpawnErr};
use thiserror::Error;
use tokio::sync::watch;
use tonic::transport::Endpoint;

use crate::artifacts::blobs::StoreBlobs;
use crate::identity::{self, IdError, KeptId};
use crate::limits::SLOTS_MAX;
use crate::link::{Identity, configured};
use crate::metrics;
use crate::root::{Root, RootArguments, RootMessage};
use crate::runners::{Blobs, Egress, Guarded, Net, Networks, Registry, RegistryError};
use crate::secrets::SecretsFile;

/// How to start an agent.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the coordinator listens: `http://127.0.0.1:7420` for plaintext, `https://host:7420` for TLS, or without a scheme
    /// for whichever fits.
    pub coordinator: String,
    /// A join token, or `@` and the file that holds it: needed for TLS until there is a certificate in `data_dir`.
    pub join: Option<String>,
    /// Whether plaintext may leave this machine.
    pub insecure: bool,
    /// What a coordinator in the same process expects.
    pub secret: Option<Secret>,
    /// The agent's id. Without one it is kept in `data_dir`, made at the first start.
    pub agent_id: Option<String>,
    /// The folder of what outlives a restart.
    pub data_dir: PathBuf,
    /// What placement may ask for, for example `gpu=a100`.
    pub labels: BTreeMap<String, String>,
    /// This machine's name; without one, what the system says.
    pub hostname: Option<String>,
    /// Attempts that run at once, from 1 to [`SLOTS_MAX`].
    pub slots: u32,
    /// What waits inside the agent for longer goes back, since another may be idle; usually
    /// [`PREFETCH_PATIENCE`](crate::limits::PREFETCH_PATIENCE).
    pub prefetch_patience: Duration,
    /// Whether to offer the `debug:*` types.
    pub debug_nodes: bool,
    /// The folder that `debug:effect` writes to; without one it fails.
    pub debug_effects: Option<PathBuf>,
    /// Which servers the work may ask; without it there are no node types that ask any.
    pub network: Option<Network>,
}

/// Which servers an agent's work may ask. One of both must be there.
#[derive(Debug, Clone)]
pub struct Network {
    /// The way to the servers that graphs name; without it the sandbox stands for all of them.
    pub real: Option<RealNetwork>,
    /// Where the sandbox provider listens: runs of test keys ask it alone.
    pub sandbox: Option<SocketAddr>,
}

/// The servers that a guard lets through, with the credentials of a file.
#[derive(Debug, Clone)]
pub struct RealNetwork {
    /// The guard.
    pub egress: Arc<dyn Egress>,
    /// The file, as [`crate::secrets::SecretsFile`] keeps it.
    pub secrets: PathBuf,
}

impl RealNetwork {
    /// The public internet, and private servers for credentials of this file that allow them. Names are asked for at this
    /// DNS server, or at the resolver of this machine.
    pub fn guarded(secrets: PathBuf, name_server: Option<SocketAddr>) -> Self {
        let over = |address| Guarded::with_names(Policy::default(), Arc::new(NameServer::at(address)));
        Self { egress: Arc::new(name_server.map_or_else(Guarded::default, over)), secrets }
    }
}

impl Network {
    fn open(&self) -> Result<Networks, StartError> {
        let real =
            |real: &RealNetwork| Net::new(Arc::clone(&real.egress), Arc::new(SecretsFile::at(real.secrets.clone())));
        let opened = |net: Result<Net, _>| net.map_err(|source| StartError::Network { source: Box::new(source) });
        Ok(Networks {
            real: self.real.as_ref().map(real).map(opened).transpose()?,
            sandbox: self.sandbox.map(Net::to_sandbox).map(opened).transpose()?,
        })
    }
}

/// Why an agent did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no way to the coordinator: its address, the token or the certificate.
    #[error(transparent)]
    Way(#[from] WayError),
    /// The number of slots is out of bounds.
    #[error("an agent cannot have {slots} slots; choose a number from 1 to {SLOTS_MAX}")]
    Slots {
        /// The number.
        slots: u32,
    },
    /// Another agent uses the data folder.
    #[error("another agent runs on {}; stop it, or give this one a folder of its own", data_dir.display())]
    AgentIdInUse {
        /// The folder.
        data_dir: PathBuf,
    },
    /// The id could not be read or written.
    #[error("the agent's id in {} cannot be read or written; check the folder's permissions and space", data_dir.display())]
    DataDir {
        /// The folder.
        data_dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gave no random number.
    #[error("the system gives no random numbers; check /dev/urandom")]
    Random {
        /// What the system says.
        source: io::Error,
    },
    /// The node types contradict each other.
    #[error("the node types cannot be offered")]
    Registry {
        /// Which.
        #[from]
        source: RegistryError,
    },
    /// Servers cannot be asked from here.
    #[error("requests cannot be made on this machine; check its TLS and its resolver")]
    Network {
        /// What the client says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The supervision tree did not come up.
    #[error("the agent's actors did not start; report this as a defect")]
    Actors {
        /// What went wrong.
        source: SpawnErr,
    },
}

impl StartError {
    /// A stable name, `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Way(_) => "no_way_to_coordinator",
            StartError::Slots { .. } => "slots_out_of_range",
            StartError::AgentIdInUse { .. } => "agent_id_in_use",
            StartError::DataDir { .. } => "data_dir_unusable",
            StartError::Random { .. } => "no_randomness",
            StartError::Registry { .. } => "node_types_invalid",
            StartError::Network { .. } => "network_unusable",
            StartError::Actors { .. } => "actors_not_started",
        }
    }
}

/// Why an agent has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, and has said goodbye.
    Drained {
        /// Attempts that were still running when the grace was over.
        unfinished: usize,
        /// Results that no coordinator has acknowledged.
        unacknowledged: usize,
    },
    /// The coordinator does not want it, and trying again would not help.
    Refused {
        /// Stable, `snake_case`.
        code: String,
        /// What to do about it.
        message: String,
    },
    /// A part of it failed for good: start it again.
    Failed {
        /// What failed.
        message: String,
    },
}

/// A running agent. Dropping it ends it at once, as a crash would: nothing is handed back.
#[derive(Debug)]
pub struct Agent {
    id: String,
    root: ActorRef<RootMessage>,
    status: watch::Receiver<Status>,
    /// Keeps the lock on the id.
    _kept_id: Option<KeptId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Starting,
    Registered,
    Ended(Exit),
}

/// Starts an agent with the built-in node types. It dials until it is welcomed; see [`Agent::registered`].
///
/// # Errors
/// See [`StartError`]. That no coordinator answers is not one.
pub async fn start(options: Options) -> Result<Agent, StartError> {
    let mut registry = Registry::built_in()?;
    if options.debug_nodes {
        registry.add_debug(options.debug_effects.as_deref())?;
    }
    let blobs: Arc<dyn Blobs> = Arc::new(StoreBlobs);
    registry.add_images(&blobs)?;
    if let Some(network) = &options.network {
        let networks = network.open()?;
        if options.debug_nodes {
            registry.add_debug_job(&networks)?;
        }
        registry.add_network(&networks)?;
        registry.add_downloads(&networks, &blobs)?;
    }
    start_with(options, registry).await
}

/// Starts an agent that offers exactly these node types; `debug_nodes` and `network` have no meaning here.
///
/// # Errors
/// See [`StartError`].
pub async fn start_with(options: Options, registry: Registry) -> Result<Agent, StartError> {
    if !(1..=SLOTS_MAX).contains(&options.slots) {
        return Err(StartError::Slots { slots: options.slots });
    }
    let kept_id = match &options.agent_id {
        Some(_) => None,
        None => Some(kept_id(&options)?),
    };
    let id = options.agent_id.or_else(|| kept_id.as_ref().map(|kept| kept.id.clone())).unwrap_or_default();
    let way = Way::find(WayOptions {
        coordinator: options.coordinator,
        join: options.join,
        insecure: options.insecure,
        secret: options.secret,
        data_dir: Some(options.data_dir),
        role: Role::Agent,
        id: Some(id.clone()),
    })?;
    // The way knows whom to dial.
    let endpoint = configured(Endpoint::from_static("http://coordinator"));
    let identity = Arc::new(Identity {
        agent_id: id.clone(),
        boot_id: identity::new_boot_id().map_err(|source| StartError::Random { source })?,
        hostname: options.hostname.unwrap_or_else(identity::hostname),
        labels: options.labels.into_iter().collect(),
        slots: options.slots,
        types: registry.offers(),
    });
    metrics::register();
    let (sender, status) = watch::channel(Status::Starting);
    let arguments = RootArguments {
        endpoint,
        way,
        identity,
        registry: Arc::new(registry),
        prefetch_patience: options.prefetch_patience,
        status: sender,
    };
    let (root, _) = Actor::spawn(None, Root, arguments).await.map_err(|source| StartError::Actors { source })?;
    Ok(Agent { id, root, status, _kept_id: kept_id })
}

fn kept_id(options: &Options) -> Result<KeptId, StartError> {
    let data_dir = options.data_dir.clone();
    identity::kept_id(&options.data_dir).map_err(|error| match error {
        IdError::InUse => StartError::AgentIdInUse { data_dir },
        IdError::Unreadable(source) => StartError::DataDir { data_dir, source },
    })
}

impl Agent {
    /// The id that outlives restarts.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until a coordinator has welcomed the agent for the first time. Without a limit: the host sets one.
    ///
    /// # Errors
    /// The agent has ended before, or since.
    pub async fn registered(&self) -> Result<(), Exit> {
        match self.reached(|status| *status != Status::Starting).await {
            Some(Status::Starting | Status::Registered) => Ok(()),
            Some(Status::Ended(exit)) => Err(exit),
            None => Err(root_failed()),
        }
    }

    /// Ends in order: takes no more work, hands back what has not started, and waits up to `grace` for what runs and for
    /// its results to be acknowledged. Then it says goodbye.
    pub async fn drain(self, grace: Duration) -> Exit {
        // Gone = it has ended already, and wait says why.
        let _ = self.root.cast(RootMessage::Drain { grace });
        self.wait().await
    }

    /// Waits until the agent has ended, and says why.
    pub async fn wait(&self) -> Exit {
        match self.reached(|status| matches!(status, Status::Ended(_))).await {
            Some(Status::Ended(exit)) => exit,
            Some(Status::Starting | Status::Registered) | None => root_failed(),
        }
    }

    /// The first status that fits; none if the root is gone before.
    async fn reached(&self, fits: impl FnMut(&Status) -> bool) -> Option<Status> {
        let mut status = self.status.clone();
        status.wait_for(fits).await.ok().map(|status| status.clone())
    }
}

fn root_failed() -> Exit {
    Exit::Failed { message: "the agent's root failed; report this as a defect".to_owned() }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.root.kill();
    }
}
