//! Composition: the only file that knows every part.

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use heddle_core::id::{BootId, PartitionId};
use heddle_core::partition::permits::Permits;
use heddle_core::time::Timestamp;
use heddle_error_chain::chain;
use heddle_proto::agent::agent_link_server::AgentLinkServer;
use heddle_proto::control::artifacts_server::ArtifactsServer;
use heddle_proto::control::control_server::ControlServer;
use heddle_proto::control::explains_server::ExplainsServer;
use heddle_proto::control::history_server::HistoryServer;
use heddle_proto::control::hooks_server::HooksServer;
use heddle_proto::control::members_server::MembersServer;
use heddle_proto::control::operate_server::OperateServer;
use heddle_proto::control::resumes_server::ResumesServer;
use heddle_proto::control::reviews_server::ReviewsServer;
use heddle_proto::control::signals_server::SignalsServer;
use heddle_proto::control::stats_server::StatsServer;
use heddle_proto::control::streams_server::StreamsServer;
use heddle_proto::control::tenants_server::TenantsServer;
use heddle_proto::control::traces_server::TracesServer;
use heddle_proto::control::workflows_server::WorkflowsServer;
use heddle_proto::enrol::enrol_server::EnrolServer;
use heddle_proto::limits::{AGENT_MESSAGE_BYTES_MAX, CONTROL_MESSAGE_BYTES_MAX, ENROL_MESSAGE_BYTES_MAX};
use heddle_trust::Secret;
use ractor::ActorRef;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::actor::doors::Doors;
use crate::actor::root::{self, Tree};
use crate::alerts::AlertRows;
use crate::artifacts::rows::ArtifactRows;
use crate::artifacts::{Artifacts, ArtifactsError, collect};
use crate::authority::{Authority, AuthorityError, OwnCertificate, TlsOptions, Tokens};
use crate::batches::Batches;
use crate::batches::rows::BatchRows;
use crate::cache::CacheRows;
use crate::clock::DatabaseClock;
use crate::counters::Counters;
use crate::entrance::{self, Entrance};
use crate::graphs::Graphs;
use crate::journal::postgres::{self, PostgresJournal};
use crate::journal::sqlite::{self, SqliteJournal};
use crate::journal::{Journal, JournalError, Owner};
use crate::keys::{Keys, KeysError};
use crate::limits::{ANSWERS_DRAIN_MAX, CALLS_DRAIN_MAX, CONNECTION_AGE_SHARE, NEWCOMERS_MAX};
use crate::members::Members;
use crate::metrics::{self, Metrics};
use crate::new_runs::NewRuns;
use crate::policies::Policies;
use crate::read::hub::Hub;
use crate::read::live::Live;
use crate::read::recent::RecentRuns;
use crate::read::seen::SeenRuns;
use crate::read::trace;
use crate::records::Records;
use crate::retention::RetentionRows;
use crate::reviews::rows::ReviewRows;
use crate::rpc::admission::Admission;
use crate::rpc::agent_link::AgentLinkService;
use crate::rpc::artifacts::ArtifactsService;
use crate::rpc::control::ControlService;
use crate::rpc::enrol::{Desk, EnrolService};
use crate::rpc::explains::ExplainsService;
use crate::rpc::history::HistoryService;
use crate::rpc::in_flight::InFlight;
use crate::rpc::members::MembersService;
use crate::rpc::operate::OperateService;
use crate::rpc::resumes::ResumesService;
use crate::rpc::reviews::ReviewsService;
use crate::rpc::signals::{HooksService, SignalsService};
use crate::rpc::stats::StatsService;
use crate::rpc::streams::StreamsService;
use crate::rpc::tenants::TenantsService;
use crate::rpc::traces::TracesService;
use crate::rpc::workflows::WorkflowsService;
use crate::session::Sessions;
use crate::shared::Shared;
use crate::stats::{RunRows, Stats};
use crate::watchdog::{self, Watchdog};
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
    /// Who may join.
    pub access: Access,
    /// Where large values are: a folder, or `s3://BUCKET/PREFIX`. Agents and gateways learn it from here.
    pub artifacts: String,
    /// Bytes of artifacts that one tenant may have; `None` = as many as fit.
    pub artifact_quota: Option<u64>,
    /// Whether every run asks the sandbox provider alone, whatever key it came with.
    pub sandbox: bool,
    /// Whether a key with every scope is made again if the data folder has none that works.
    pub new_key: bool,
    /// What the settings say of all runs.
    pub policies: Policies,
    /// Where clients reach the API, such as `https://heddle.example.org`: addresses that runs give out begin with it. Empty:
    /// they are paths.
    pub public_url: String,
}

/// Who may join as a gateway or an agent.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever reaches the port, in plaintext. From other machines only if it is said to be `insecure`.
    Plaintext {
        /// Whether others than this machine are trusted.
        insecure: bool,
    },
    /// The parts in the coordinator's own process.
    Secret(Secret),
    /// Members with a certificate of the cluster's authority.
    Tls(TlsOptions),
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
    /// There is no authority.
    #[error("who may join cannot be told")]
    Authority(#[from] AuthorityError),
    /// Large values have no place.
    #[error("the artifact store cannot be used")]
    Artifacts(#[source] ArtifactsError),
    /// The address is not to be had.
    #[error("cannot listen on {listen}: choose another port, or stop the program that has it")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The settings cannot be taken.
    #[error("the settings of all runs cannot be taken: {0}")]
    Policies(String),
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
    gateway_token: Option<PathBuf>,
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
    #[cfg(feature = "crash-points")]
    plant_fault()?;
    let limits = options.policies.limits().map_err(|error| StartError::Policies(error.to_string()))?;
    let Opened { journal, records, members, artifacts, batches, reviews, cache, runs, alerts, retention, name } =
        open(&options.database).await?;
    let artifacts = Artifacts::open(&options.artifacts, options.artifact_quota, artifacts).await;
    let artifacts = Arc::new(artifacts.map_err(StartError::Artifacts)?);
    if let Access::Secret(_) = options.access {
        // All that may write there are parts of this process, and none of them runs yet.
        let swept = artifacts.store.sweep(SystemTime::now()).await;
        let (pieces, bytes) = swept.map_err(|error| StartError::Artifacts(ArtifactsError::Store(error)))?;
        if pieces > 0 {
            tracing::info!(pieces, bytes, "removed what an earlier process was writing when it was killed");
        }
    }
    let hooks = artifacts.hooks(&options.public_url).await.map_err(StartError::Artifacts)?;
    let now = journal.now().await.map_err(StartError::Journal)?;
    let keys = Keys::open(Arc::clone(&records), &options.data_dir).map_err(StartError::Keys)?;
    let mut first_key = keys.first(now).await.map_err(StartError::Keys)?;
    if options.new_key && first_key.is_none() {
        first_key = keys.recover(now).await.map_err(StartError::Keys)?;
    }
    let door = Door::new(&options, Arc::clone(&members), now).await?;
    let drains = members.drains().await.map_err(StartError::Journal)?;
    let node_pauses = members.node_pauses().await.map_err(StartError::Journal)?;
    let mut permits = Permits::new(limits, (0..journal.partitions().count()).map(PartitionId));
    node_pauses.iter().for_each(|row| permits.pause(Arc::clone(&row.node_type)));
    let boot = getrandom::u64().map_err(|error| StartError::Actors(error.to_string()))?;
    let (ended_runs, to_tell) = trace::sink().unzip();
    let shared = Arc::new(Shared {
        ended_runs,
        sandbox: options.sandbox,
        owner: Owner { coordinator: "coordinator".into(), boot: BootId(boot) },
        database: name,
        artifacts,
        batches: Batches::new(batches),
        reviews,
        cache,
        hooks,
        stats: Stats::new(runs),
        alerts,
        retention,
        keep_runs: options.policies.keep_runs,
        workflows: Workflows::new(Arc::clone(&records)),
        graphs: Graphs::open(Arc::clone(&records), options.debug_nodes, &options.policies)
            .await
            .map_err(StartError::Journal)?,
        doors: Doors::new(journal.partitions().count()),
        new_runs: NewRuns::new(journal.partitions().count()),
        metrics: Metrics::new(journal.partitions().count()),
        watchdog: Watchdog::default(),
        permits: Mutex::new(permits),
        journal,
        records,
        members,
        orders: tokio::sync::Mutex::new(()),
        drains: Mutex::new(drains.into_iter().map(|row| row.agent).collect()),
        node_pauses: Mutex::new(node_pauses.into_iter().map(|row| (Arc::clone(&row.node_type), row)).collect()),
        sessions: Sessions::default(),
        hub: Hub::default(),
        live: Live::new(now),
        recent: RecentRuns::default(),
        seen: SeenRuns::default(),
        clock: DatabaseClock::new(now),
        counters: Counters::default(),
    });
    metrics::register(&shared);
    if let Some(to_tell) = to_tell {
        // Ends with the runtime: it holds what the coordinator holds.
        tokio::spawn(trace::tell(Arc::clone(&shared), to_tell));
    }
    tokio::spawn(collect::run(Arc::downgrade(&shared)));
    tokio::spawn(watchdog::run(Arc::downgrade(&shared)));
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| StartError::Listen { listen: options.listen, source })?;
    let local_addr = listener.local_addr().map_err(|source| StartError::Listen { listen: options.listen, source })?;
    let tree = root::start(Arc::clone(&shared)).await.map_err(|error| StartError::Actors(error.to_string()))?;
    Ok(serve(shared, keys, listener, local_addr, first_key, door, tree))
}

/// Makes the engine wrong in the way that a test names: the watchdog has to find it.
#[cfg(feature = "crash-points")]
fn plant_fault() -> Result<(), StartError> {
    match std::env::var("HEDDLE_PLANTED_FAULT") {
        Ok(name) if !heddle_core::fault::plant_everywhere(&name) => {
            Err(StartError::Actors(format!("there is no fault {name:?} to be planted")))
        }
        _ => Ok(()),
    }
}

/// Who comes in, and what certificates are got from.
struct Door {
    entrance: Entrance,
    desk: Option<Desk>,
    own: Option<Arc<OwnCertificate>>,
    /// The file with a token for a gateway, while none has joined.
    gateway_token: Option<PathBuf>,
}

/// What the coordinator is called in its certificate.
const OWN_ID: &str = "coordinator";

impl Door {
    async fn new(options: &Options, members: Arc<dyn Members>, now: Timestamp) -> Result<Self, StartError> {
        let tls = match &options.access {
            Access::Plaintext { insecure } => return Ok(Self::plain(Entrance::Plaintext { insecure: *insecure })),
            Access::Secret(secret) => return Ok(Self::plain(Entrance::Secret(secret.clone()))),
            Access::Tls(tls) => tls,
        };
        let authority = Arc::new(Authority::open(&options.data_dir, tls)?);
        let own = OwnCertificate::new(&authority, OWN_ID)?;
        let config = Arc::new(Arc::clone(&own).server_config(&authority)?);
        let tokens = Tokens::new(members, &authority);
        let gateway_token = tokens.first_gateway(&options.data_dir, tls.new_gateway_token, now).await?;
        let entrance = Entrance::Tls {
            config,
            cluster: authority.cluster().into(),
            newcomers: Arc::new(Semaphore::new(NEWCOMERS_MAX)),
        };
        Ok(Self { entrance, desk: Some(Desk::new(authority, tokens)), own: Some(own), gateway_token })
    }

    fn plain(entrance: Entrance) -> Self {
        Self { entrance, desk: None, own: None, gateway_token: None }
    }
}

/// A database, by its faces and its name.
struct Opened {
    journal: Arc<dyn Journal>,
    records: Arc<dyn Records>,
    members: Arc<dyn Members>,
    artifacts: Arc<dyn ArtifactRows>,
    batches: Arc<dyn BatchRows>,
    reviews: Arc<dyn ReviewRows>,
    cache: Arc<dyn CacheRows>,
    runs: Arc<dyn RunRows>,
    alerts: Arc<dyn AlertRows>,
    retention: Arc<dyn RetentionRows>,
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
    fn new<T>(opened: T, name: &'static str) -> Self
    where
        T: Journal + Records + Members + ArtifactRows + BatchRows + ReviewRows + CacheRows,
        T: RunRows + AlertRows + RetentionRows,
    {
        let opened = Arc::new(opened);
        let (records, members) = (Arc::clone(&opened), Arc::clone(&opened));
        let (artifacts, batches) = (Arc::clone(&opened), Arc::clone(&opened));
        let (reviews, cache) = (Arc::clone(&opened), Arc::clone(&opened));
        let (runs, alerts) = (Arc::clone(&opened), Arc::clone(&opened));
        let retention = Arc::clone(&opened);
        Self { records, members, artifacts, batches, reviews, cache, runs, alerts, retention, journal: opened, name }
    }
}

fn serve(
    shared: Arc<Shared>,
    keys: Keys,
    listener: TcpListener,
    local_addr: SocketAddr,
    first_key: Option<String>,
    door: Door,
    tree: Tree,
) -> Coordinator {
    let Tree { root, agents, ended } = tree;
    let Door { entrance, desk, own, gateway_token } = door;
    let (fail, failed) = watch::channel(None);
    let stopping = CancellationToken::new();
    let control = ControlService {
        shared: Arc::clone(&shared),
        keys: keys.clone(),
        stopping: stopping.clone(),
        mismatch_told: AtomicBool::new(false),
    };
    let control = ControlServer::new(control)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let link = AgentLinkServer::new(AgentLinkService { agents })
        .max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(AGENT_MESSAGE_BYTES_MAX);
    // An edit may be as large as a value.
    let reviews = ReviewsServer::new(ReviewsService { shared: Arc::clone(&shared) })
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let resumes = ResumesServer::new(ResumesService { shared: Arc::clone(&shared) })
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let history = HistoryServer::new(HistoryService { shared: Arc::clone(&shared) })
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let operate = OperateServer::new(OperateService { shared: Arc::clone(&shared) })
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let in_flight = InFlight::default();
    let mut server = Server::builder();
    if let Some(desk) = &desk {
        server = server.max_connection_age(desk.authority.life() / CONNECTION_AGE_SHARE);
    }
    let members = MembersService { shared: Arc::clone(&shared), desk: desk.clone() };
    let enrol = EnrolServer::new(EnrolService { shared: Arc::clone(&shared), desk: desk.clone() })
        .max_decoding_message_size(ENROL_MESSAGE_BYTES_MAX);
    let workflows = WorkflowsServer::new(WorkflowsService { shared: Arc::clone(&shared) })
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let router = server
        .layer(in_flight.clone())
        .layer(Admission(Arc::clone(&shared)))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(control)
        .add_service(ArtifactsServer::new(ArtifactsService { shared: Arc::clone(&shared) }))
        .add_service(ExplainsServer::new(ExplainsService { shared: Arc::clone(&shared) }))
        .add_service(operate)
        .add_service(resumes)
        .add_service(history)
        .add_service(reviews)
        .add_service(SignalsServer::new(SignalsService { shared: Arc::clone(&shared) }))
        .add_service(HooksServer::new(HooksService { shared: Arc::clone(&shared) }))
        .add_service(StatsServer::new(StatsService { shared: Arc::clone(&shared) }))
        .add_service(StreamsServer::new(StreamsService { shared: Arc::clone(&shared) }))
        .add_service(TracesServer::new(TracesService { shared: Arc::clone(&shared) }))
        .add_service(workflows)
        .add_service(TenantsServer::new(TenantsService { shared: Arc::clone(&shared), keys }))
        .add_service(MembersServer::new(members))
        .add_service(enrol)
        .add_service(link);
    let incoming = entrance::open(listener, entrance, Arc::clone(&shared), stopping.clone());
    if let (Some(own), Some(desk)) = (own, desk) {
        let renewing = own.keep_fresh(desk.authority, OWN_ID.to_owned());
        tokio::spawn(stopping.clone().run_until_cancelled_owned(renewing));
    }
    let is_stopping = stopping.clone();
    let serving = tokio::spawn(async move {
        // The listener closes first. Then whoever is connected is told to make the next call elsewhere, and finds nobody
        // here to make it to.
        let served = router.serve_with_incoming_shutdown(incoming, pending::<()>());
        let mut served = std::pin::pin!(served);
        let reason = tokio::select! {
            served = &mut served => format!("the services ended: {}", served.err().map_or_else(String::new, |error| chain(&error))),
            _ = ended => {
                if is_stopping.is_cancelled() {
                    // All calls and streams have ended; what is left of them is on its way.
                    let _cut = timeout(ANSWERS_DRAIN_MAX, served).await;
                }
                "a part of it gave up; the log says which, and why".to_owned()
            }
        };
        if !is_stopping.is_cancelled() {
            fail.send_replace(Some(Failed { reason }));
        }
    });
    Coordinator { shared, local_addr, first_key, gateway_token, root, in_flight, stopping, serving, failed }
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

    /// The key that this start has made: the database had none, or another one was asked for. Shown once; nobody can read it
    /// again.
    pub fn first_key(&self) -> Option<&str> {
        self.first_key.as_deref()
    }

    /// The file with a token for a gateway, as long as none has joined, or since one was asked for.
    pub fn gateway_token(&self) -> Option<&Path> {
        self.gateway_token.as_deref()
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

    /// Stops it: calls that were begun are answered, nothing new is begun, and what is durable stays.
    pub async fn shutdown(mut self) {
        self.in_flight.close();
        self.stopping.cancel();
        self.in_flight.drained(CALLS_DRAIN_MAX).await;
        // It may have ended by itself.
        let _ended = self.root.stop_and_wait(None, None).await;
        self.shared.sessions.close();
        let _ended = (&mut self.serving).await;
    }
}
