//! The coordinator's end of the stream, by hand.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use heddle_agent::{Agent, Options, start};
use heddle_proto::agent::agent_link_server::{AgentLink, AgentLinkServer};
use heddle_proto::agent::*;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use heddle_proto::agent::agent_message::Kind;
pub(crate) use heddle_proto::agent::coordinator_message::Kind as Tell;

/// Longest wait for anything. Passing tests never reach it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Coordinator {
    pub(crate) address: SocketAddr,
    connections: mpsc::Receiver<Connection>,
    _server: AbortOnDropHandle<()>,
}

impl Coordinator {
    pub(crate) async fn start() -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap()).await
    }

    pub(crate) async fn start_at(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel(16);
        let server = tonic::transport::Server::builder()
            .add_service(AgentLinkServer::new(Service { connections: sender }))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = AbortOnDropHandle::new(tokio::spawn(async move { server.await.unwrap() }));
        Self { address, connections, _server: server }
    }

    /// The next stream that an agent opens, with its Hello read.
    pub(crate) async fn accept(&mut self) -> Connection {
        let mut connection = timeout(DEADLINE, self.connections.recv()).await.expect("no agent came").unwrap();
        let Kind::Hello(hello) = connection.next().await else { panic!("an agent says Hello first") };
        connection.note_permits(&hello.permits);
        connection.hello = hello;
        connection
    }

    /// The next stream, welcomed without verdicts.
    pub(crate) async fn welcome(&mut self) -> Connection {
        let connection = self.accept().await;
        connection.welcome(Vec::new()).await;
        connection
    }
}

struct Service {
    connections: mpsc::Sender<Connection>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<CoordinatorFrame, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let (outbound, frames) = mpsc::channel(1_024);
        let connection = Connection {
            hello: Hello::default(),
            permits: BTreeMap::new(),
            inbound: request.into_inner(),
            read: VecDeque::new(),
            outbound,
        };
        self.connections.send(connection).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }
}

/// One stream. Dropping it breaks it.
pub(crate) struct Connection {
    pub(crate) hello: Hello,
    /// Granted and not used, by class.
    permits: BTreeMap<i32, u32>,
    inbound: Streaming<AgentFrame>,
    read: VecDeque<Kind>,
    outbound: mpsc::Sender<Result<CoordinatorFrame, Status>>,
}

impl Connection {
    pub(crate) async fn tell(&self, kinds: impl IntoIterator<Item = Tell>) {
        let messages = kinds.into_iter().map(|kind| CoordinatorMessage { kind: Some(kind) }).collect();
        self.outbound.send(Ok(CoordinatorFrame { messages })).await.unwrap();
    }

    pub(crate) async fn welcome(&self, verdicts: Vec<HeldVerdict>) {
        let protocol = self.hello.protocol_max;
        let welcome =
            Welcome { protocol, coordinator_id: "fake".into(), coordinator_boot_id: 1, verdicts, artifacts: None };
        self.tell([Tell::Welcome(welcome)]).await;
    }

    /// Sends work against the permit it names.
    pub(crate) async fn assign(&mut self, assign: Assign) {
        let left = self.permits.get_mut(&assign.permit).filter(|left| **left > 0);
        *left.expect("a permit stands for each assignment") -= 1;
        self.tell([Tell::Assign(assign)]).await;
    }

    pub(crate) async fn cancel(&self, key: &AttemptKey) {
        self.tell([Tell::Cancel(Cancel { key: Some(key.clone()), reason: "test".into() })]).await;
    }

    pub(crate) async fn acknowledge(&self, key: &AttemptKey) {
        self.tell([Tell::Acknowledge(Acknowledge { keys: vec![key.clone()] })]).await;
    }

    pub(crate) async fn answer_intent(&self, key: &AttemptKey, go: bool) {
        self.tell([Tell::IntentAcknowledged(IntentAcknowledged { key: Some(key.clone()), go })]).await;
    }

    /// What the agent owes, sorted by number: open, and finished.
    pub(crate) async fn inventory(&mut self) -> (Vec<u32>, Vec<u32>) {
        self.tell([Tell::InventoryRequest(InventoryRequest { request: 9 })]).await;
        match self.next().await {
            Kind::Inventory(inventory) => {
                assert_eq!(inventory.request, 9);
                numbers(&inventory)
            }
            other => panic!("asked for the inventory, got {other:?}"),
        }
    }

    /// The next message that is neither a permit, which is noted, nor a heartbeat.
    pub(crate) async fn next(&mut self) -> Kind {
        loop {
            match self.next_of_any_kind().await.expect("the agent ended the stream") {
                Kind::Heartbeat(_) | Kind::Permit(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) async fn next_of_any_kind(&mut self) -> Option<Kind> {
        while self.read.is_empty() {
            let frame = timeout(DEADLINE, self.inbound.message()).await.expect("the agent is silent");
            let frame = frame.ok().flatten()?;
            // As a coordinator does: the permits of a frame before the rest of it.
            for message in &frame.messages {
                if let Some(Kind::Permit(permit)) = &message.kind {
                    self.note_permits(std::slice::from_ref(permit));
                }
            }
            self.read.extend(frame.messages.into_iter().filter_map(|message| message.kind));
        }
        self.read.pop_front()
    }

    pub(crate) async fn finished(&mut self) -> (u32, finished::Outcome) {
        match self.next().await {
            Kind::Finished(finished) => (finished.key.unwrap().number, finished.outcome.unwrap()),
            other => panic!("expected a result, got {other:?}"),
        }
    }

    /// Unused permits: slot and prefetch.
    pub(crate) fn permits(&self) -> (u32, u32) {
        let of = |class: PermitClass| self.permits.get(&class.into()).copied().unwrap_or(0);
        (of(PermitClass::Slot), of(PermitClass::Prefetch))
    }

    /// Reads until the agent has granted this many.
    pub(crate) async fn wait_for_permits(&mut self, slot: u32, prefetch: u32) {
        while self.permits() != (slot, prefetch) {
            match self.next_of_any_kind().await.expect("the agent ended the stream") {
                Kind::Heartbeat(_) | Kind::Permit(_) => {}
                other => panic!("waited for permits, got {other:?}"),
            }
        }
    }

    /// Uses up permits without sending work, as another coordinator's share would.
    pub(crate) async fn return_permits(&mut self, class: PermitClass, count: u32) {
        *self.permits.get_mut(&class.into()).unwrap() -= count;
        self.tell([Tell::ReturnPermit(ReturnPermit { class: class.into(), count })]).await;
    }

    fn note_permits(&mut self, permits: &[Permit]) {
        for permit in permits {
            *self.permits.entry(permit.class).or_default() += permit.count;
        }
    }
}

pub(crate) fn numbers(inventory: &Inventory) -> (Vec<u32>, Vec<u32>) {
    let sorted = |keys: &[AttemptKey]| {
        let mut numbers: Vec<u32> = keys.iter().map(|key| key.number).collect();
        numbers.sort_unstable();
        numbers
    };
    (sorted(&inventory.running), sorted(&inventory.finished))
}

/// A key that no other call has given.
pub(crate) fn new_key() -> AttemptKey {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let execution = Bytes::from_static(b"0123456789abcdef");
    AttemptKey { execution, node: 3, scope: 0, generation: 1, number, token: u64::from(number) << 32 }
}

/// A pure assignment against a slot.
pub(crate) fn assign(node_type: &str, config: &str) -> (AttemptKey, Assign) {
    let key = new_key();
    let assign = Assign {
        key: Some(key.clone()),
        execution_id: "exec_1".into(),
        node_id: "n1".into(),
        node_type: node_type.into(),
        type_version: 1,
        config_json: Bytes::copy_from_slice(config.as_bytes()),
        effect: EffectClass::Pure.into(),
        lineage_attempt: 1,
        permit: PermitClass::Slot.into(),
        ..Default::default()
    };
    (key, assign)
}

pub(crate) fn prefetched(assign: Assign) -> Assign {
    Assign { permit: PermitClass::Prefetch.into(), ..assign }
}

pub(crate) fn with_effect(assign: Assign, effect: EffectClass) -> Assign {
    Assign { effect: effect.into(), ..assign }
}

pub(crate) fn options(address: SocketAddr, data_dir: &Path, slots: u32) -> Options {
    Options {
        coordinator: format!("http://{address}"),
        join: None,
        insecure: false,
        secret: None,
        agent_id: None,
        data_dir: data_dir.to_owned(),
        labels: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        hostname: Some("host".to_owned()),
        slots,
        // What waits stays, however slow the machine is.
        prefetch_patience: Duration::from_secs(3_600),
        debug_nodes: true,
        debug_effects: Some(data_dir.to_owned()),
        network: None,
    }
}

/// A coordinator, and an agent that it has welcomed.
pub(crate) struct Pair {
    pub(crate) coordinator: Coordinator,
    pub(crate) connection: Connection,
    pub(crate) agent: Agent,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) async fn pair(slots: u32) -> Pair {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = start(options(coordinator.address, folder.path(), slots)).await.unwrap();
    let connection = coordinator.welcome().await;
    timeout(DEADLINE, agent.registered()).await.unwrap().unwrap();
    Pair { coordinator, connection, agent, folder }
}

/// The JSON of the only output.
pub(crate) fn value(outcome: finished::Outcome) -> String {
    match outcome {
        finished::Outcome::Succeeded(succeeded) => {
            assert_eq!(succeeded.outputs.len(), 1);
            String::from_utf8(succeeded.outputs[0].value_json.to_vec()).unwrap()
        }
        other => panic!("expected a value, got {other:?}"),
    }
}

/// The class and code of the failure.
pub(crate) fn failure(outcome: finished::Outcome) -> (ErrorClass, String) {
    match outcome {
        finished::Outcome::Failed(failed) => (failed.class(), failed.code),
        other => panic!("expected a failure, got {other:?}"),
    }
}
