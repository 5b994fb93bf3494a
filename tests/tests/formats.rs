//! What another release wrote or speaks is refused with a sentence that says what to do: data with a newer format, on both
//! databases, and another version of the agents' protocol, from both ends.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Output, Stdio};

use cluster_tests::cluster::process::{Process, command};
use cluster_tests::cluster::{START_TIME_MAX, STOP_TIME_MAX, free_address};
use cluster_tests::wait;
use heddle_proto::agent::agent_link_client::AgentLinkClient;
use heddle_proto::agent::agent_link_server::{AgentLink, AgentLinkServer};
use heddle_proto::agent::coordinator_message::Kind as Told;
use heddle_proto::agent::{
    self as wire, AgentFrame, AgentMessage, CoordinatorFrame, CoordinatorMessage, Hello, Welcome,
};
use heddle_proto::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use heddle_test_postgres::Server;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// The format that the data has.
const FORMAT: &str = "SELECT value FROM meta WHERE name = 'format'";

/// A format that no release has written yet.
const NEWER: &str = "UPDATE meta SET value = 99 WHERE name = 'format'";

/// Starts a coordinator that is not expected to stay; gives how it ended.
fn refused(database: &str, data: &Path) -> Output {
    let listen = free_address();
    let mut command = command();
    command.args(["coordinator", "--listen", &listen, "--database", database, "--data-dir"]).arg(data);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Makes a database as this release does.
async fn made(database: &str, data: &Path) {
    let listen = free_address();
    let arguments = ["coordinator", "--listen", &listen, "--database", database, "--data-dir"];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.push(data.display().to_string());
    let mut coordinator = Process::start(&arguments, &data.with_extension("log"), None);
    wait::until("a coordinator", START_TIME_MAX, || {
        let is_ready = coordinator.said().contains("heddle coordinator is ready on ");
        async move { if is_ready { Ok(()) } else { Err("it is not ready".to_owned()) } }
    })
    .await;
    coordinator.kill();
}

/// Checks how a coordinator refused format 99; `known` is the format that this release itself wrote.
fn check(output: &Output, known: i64) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started");
    let sentence = format!(
        "the data has format 99 and this release knows up to {known}: start the release that wrote it, or a newer one"
    );
    assert!(said.contains(&sentence), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_data_is_refused_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let (file, data) = (folder.path().join("newer.db"), folder.path().join("data"));
    let database = format!("sqlite:{}", file.display());
    made(&database, &data).await;
    let stamp = || -> i64 {
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.query_row(FORMAT, [], |row| row.get(0)).unwrap()
    };
    let known = stamp();
    assert_eq!(rusqlite::Connection::open(&file).unwrap().execute(NEWER, []).unwrap(), 1);
    check(&refused(&database, &data), known);
    assert_eq!(stamp(), 99, "the refusal left the data alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_data_is_refused_on_postgres() {
    let Some(server) = Server::start() else { return };
    let (folder, database) = (TempDir::new().unwrap(), server.database());
    let data = folder.path().join("data");
    made(&database, &data).await;
    let known = server.query(&database, FORMAT).trim().parse().unwrap();
    server.query(&database, NEWER);
    let owners = "SELECT id, epoch FROM partition ORDER BY id";
    let before = server.query(&database, owners);
    check(&refused(&database, &data), known);
    assert_eq!(server.query(&database, owners), before, "the refusal left the data alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_another_protocol_is_refused() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let listen = free_address();
    let database = format!("sqlite:{}", folder.path().join("heddle.db").display());
    let arguments = ["coordinator", "--listen", &listen, "--database", &database, "--data-dir"];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.push(data.display().to_string());
    let _coordinator = Process::start(&arguments, &folder.path().join("log"), None);
    let mut client = wait::until("a coordinator", START_TIME_MAX, || async {
        AgentLinkClient::connect(format!("http://{listen}")).await.map_err(|error| error.to_string())
    })
    .await;
    for version in [PROTOCOL_VERSION + 1, PROTOCOL_VERSION_MIN - 1] {
        let hello = Hello {
            protocol_min: version,
            protocol_max: version,
            agent_id: "agt_other".into(),
            boot_id: 1,
            ..Hello::default()
        };
        let kind = Some(wire::agent_message::Kind::Hello(hello));
        let frame = AgentFrame { messages: vec![AgentMessage { kind }] };
        let mut answers = client.attach(futures::stream::iter([frame])).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().messages.remove(0);
        let Some(Told::Refused(wire::Refused { code, message, retry })) = answer.kind else { panic!("{answer:?}") };
        assert_eq!((&*code, retry), ("protocol_mismatch", false));
        assert!(
            message.contains(&format!("this agent {version} to {version}")) && message.contains("update"),
            "{message}"
        );
    }
}

/// A coordinator of a release that speaks another protocol.
struct Other;

#[tonic::async_trait]
impl AgentLink for Other {
    type AttachStream = Pin<Box<dyn futures::Stream<Item = Result<CoordinatorFrame, Status>> + Send>>;

    async fn attach(&self, _: Request<Streaming<AgentFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let welcome = Welcome { protocol: PROTOCOL_VERSION + 1, ..Welcome::default() };
        let message = CoordinatorMessage { kind: Some(Told::Welcome(welcome)) };
        let frame = CoordinatorFrame { messages: vec![message] };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(frame)]))))
    }
}

async fn other_coordinator() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = AgentLinkServer::new(Other);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_leaves_a_coordinator_of_another_protocol() {
    let (folder, address) = (TempDir::new().unwrap(), other_coordinator().await);
    let arguments = ["agent", "--coordinator", &address.to_string(), "--data-dir"].map(str::to_owned);
    let mut arguments = arguments.to_vec();
    arguments.push(folder.path().join("agent").display().to_string());
    let mut agent = Process::start(&arguments, &folder.path().join("log"), None);
    let status = wait::until("the end of the agent", STOP_TIME_MAX, || {
        let ended = agent.ended();
        async move { ended.ok_or_else(|| "it goes on".to_owned()) }
    })
    .await;
    let said = agent.said();
    assert!(!status.success(), "{said}");
    let sentence = format!(
        "the coordinator speaks protocol {}, this agent {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}",
        PROTOCOL_VERSION + 1
    );
    assert!(said.contains("protocol_mismatch") && said.contains(&sentence), "{said}");
}
