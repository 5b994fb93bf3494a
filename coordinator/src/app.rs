//! Composition: the only file that knows every part.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle_core::id::BootId;
use heddle_proto::agent::agent_link_server::AgentLinkServer;
use heddle_proto::control::control_server::ControlServer;
use heddle_proto::control::traces_server::TracesServer;
use heddle_proto::limits::{AGENT_MESSAGE_BYTES_MAX, CONTROL_MESSAGE_BYTES_MAX};
use ractor::ActorRef;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::actor::doors::Doors;
use crate::actor::root::{self, Tree};
use crate::clock::DatabaseClock;
use crate::counters::Counters;
use crate::graphs::Graphs;
use crate::journal::postgres::{self, PostgresJournal};
use crate::journal::sqlite::{self, SqliteJournal};
use crate::journal::{Journal, JournalError, Owner};
use crate::keys::{Keys, KeysError};
use crate::limits::{ANSWERS_DRAIN_MAX, CALLS_DRAIN_MAX};
use crate::read::hub::Hub;
use crate::read::live::Live;
use crate::read::recent::RecentRuns;
use crate::read::trace;
use crate::records::Records;
use crate::rpc::agent_link::AgentLinkService;
use crate::rpc::control::ControlService;
use crate::rpc::in_flight::InFlight;
use crate::rpc::traces::TracesService;
use crate::session::Sessions;
use crate::shared::Shared;
use crate::workflows::Workflows;

const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a coordinator is started. It has no `Debug`: the database's address may hold a password.
#[derive(Clone)]
pub struct Options {
    /// Where gateways and agents reach it; port 0 takes any free one.
    pub listen: SocketAddr,
    /// `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub database: String,
    /// Where its own files are: the pepper of the keys, and the first key.
    pub data_dir: PathBuf,
    /// Whether the node types for tests and benches are accepted.
    pub debug_nodes: bool,
}

/// Why a coordinator does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The database's address.
    #[error("{scheme:?} is no kind of database: use sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE")]
    Database {
        /// What it begins with; the rest may hold a password.
        scheme: String,
    },
    /// The journal does not open.
    #[error("the database cannot be opened")]
    Journal(#[source] JournalError),
    /// Keys cannot be used.
    #[error("keys cannot be used")]
    Keys(#[source] KeysError),
    /// The address is not to be had.
    #[error("cannot listen on {listen}: choose another port, or stop the program that has it")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The actors do not start.
    #[error("the coordinator's parts do not start: {0}")]
    Actors(String),
}

/// Why a running coordinator has ended by itself.
#[derive(Debug, Clone, Error)]
#[error("{reason}")]
pub struct Failed {
    reason: String,
}

/// A running coordinator.
pub struct Coordinator {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    first_key: Option<String>,
    root: ActorRef<()>,
    in_flight: InFlight,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
    failed: watch::Receiver<Option<Failed>>,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Starts a coordinator. It answers at once, and says itself when its partitions are loaded.
///
/// # Errors
/// [`StartError`], with what to do.
pub async fn start(options: Options) -> Result<Coordinator, StartError> {
    let Opened { journal, records, name } = open(&options.database).await?;
    let now = journal.now().await.map_err(StartError::Journal)?;
    let keys = Keys::open(Arc::clone(&records), &options.data_dir).map_err(StartError::Keys)?;
    let first_key = keys.first(now).await.map_err(StartError::Keys)?;
    let boot = getrandom::u64().map_err(|error| StartError::Actors(error.to_string()))?;
    let (ended_runs, to_tell) = trace::sink().unzip();
    let shared = Arc::new(Shared {
        ended_runs,
        owner: Owner { coordinator: "coordinator".into(), boot: BootId(boot) },
        database: name,
        workflows: Workflows::new(Arc::clone(&records)),
        graphs: Graphs::open(Arc::clone(&records), options.debug_nodes).await.map_err(StartError::Journal)?,
        doors: Doors::new(journal.partitions().count()),
        journal,
        records,
        sessions: Sessions::default(),
        hub: Hub::default(),
        live: Live::default(),
        recent: RecentRuns::default(),
        clock: DatabaseClock::new(now),
        counters: Counters::default(),
        permits: Mutex::default(),
    });
    if let Some(to_tell) = to_tell {
        // Ends with the runtime: it holds what the coordinator holds.
        tokio::spawn(trace::tell(Arc::clone(&shared), to_tell));
    }
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| StartError::Listen { listen: options.listen, source })?;
    let local_addr = listener.local_addr().map_err(|source| StartError::Listen { listen: options.listen, source })?;
    let tree = root::start(Arc::clone(&shared)).await.map_err(|error| StartError::Actors(error.to_string()))?;
    Ok(serve(shared, keys, listener, local_addr, first_key, tree))
}

/// A database, by its two faces and its name.
struct Opened {
    journal: Arc<dyn Journal>,
    records: Arc<dyn Records>,
    name: &'static str,
}

async fn open(database: &str) -> Result<Opened, StartError> {
    if let Some(file) = database.strip_prefix("sqlite:").map(PathBuf::from) {
        let opened = tokio::task::spawn_blocking(move || SqliteJournal::open(sqlite::Options::new(file))).await;
        let opened = opened.map_err(|error| StartError::Actors(error.to_string()))?;
        return Ok(Opened::new(opened.map_err(StartError::Journal)?, "sqlite"));
    }
    let scheme = database.split(':').next().unwrap_or_default();
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(StartError::Database { scheme: scheme.to_owned() });
    }
    let opened = PostgresJournal::open(postgres::Options::new(database)).await;
    Ok(Opened::new(opened.map_err(StartError::Journal)?, "postgres"))
}

impl Opened {
    fn new<T: Journal + Records>(opened: T, name: &'static str) -> Self {
        let opened = Arc::new(opened);
        Self { records: Arc::clone(&opened) as Arc<dyn Records>, journal: opened, name }
    }
}

fn serve(
    shared: Arc<Shared>,
    keys: Keys,
    listener: TcpListener,
    local_addr: SocketAddr,
    first_key: Option<String>,
    tree: Tree,
) -> Coordinator {
    let Tree { root, agents, ended } = tree;
    let (fail, failed) = watch::channel(None);
    let control = ControlServer::new(ControlService { shared: Arc::clone(&shared), keys })
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let link = AgentLinkServer::new(AgentLinkService { agents })
        .max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(AGENT_MESSAGE_BYTES_MAX);
    let in_flight = InFlight::default();
    let router = Server::builder()
        .layer(in_flight.clone())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(control)
        .add_service(TracesServer::new(TracesService { shared: Arc::clone(&shared) }))
        .add_service(link);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stopping = CancellationToken::new();
    let is_stopping = stopping.clone();
    let serving = tokio::spawn(async move {
        // Whoever is connected is told to make the next call elsewhere, and the listener closes.
        let served = router.serve_with_incoming_shutdown(incoming, is_stopping.cancelled());
        let mut served = std::pin::pin!(served);
        let reason = tokio::select! {
            served = &mut served => format!("the services ended: {}", served.err().map_or_else(String::new, |e| cause(&e))),
            _ = ended => {
                if is_stopping.is_cancelled() {
                    // Who waits for a run is cut off, and waits on after the next start.
                    let _cut = timeout(ANSWERS_DRAIN_MAX, served).await;
                }
                "a part of it gave up; the log says which, and why".to_owned()
            }
        };
        if !is_stopping.is_cancelled() {
            fail.send_replace(Some(Failed { reason }));
        }
    });
    Coordinator { shared, local_addr, first_key, root, in_flight, stopping, serving, failed }
}

fn cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl Coordinator {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The number of this start: drawn anew each time.
    pub fn boot_id(&self) -> u64 {
        self.shared.owner.boot.0
    }

    /// The key that this start has made, if the database had none. Shown once; nobody can read it again.
    pub fn first_key(&self) -> Option<&str> {
        self.first_key.as_deref()
    }

    /// Waits until all partitions are loaded.
    pub async fn ready(&self) {
        self.shared.doors.all_opened().await;
    }

    /// Waits until it has ended by itself, and says why.
    pub async fn failed(&self) -> Failed {
        let mut failed = self.failed.clone();
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| Failed { reason: "it was stopped".into() })
    }

    /// Stops it: calls that are being answered are answered, nothing new comes in, and what is durable stays.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        self.in_flight.drained(CALLS_DRAIN_MAX).await;
        // It may have ended by itself.
        let _ended = self.root.stop_and_wait(None, None).await;
        let _ended = (&mut self.serving).await;
    }
}
