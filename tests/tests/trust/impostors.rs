//! Certificates that are not enough: of another cluster, of another role, of another agent, of another time.

use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::wait;
use heddle_proto::agent::agent_link_client::AgentLinkClient;
use heddle_proto::agent::agent_message::Kind;
use heddle_proto::agent::coordinator_message::Kind as Told;
use heddle_proto::agent::{
    AgentFrame, AgentMessage, Assign, AttemptKey, CoordinatorFrame, Finished, HandedBack, Handle, Heartbeat, Hello,
    Intent, Inventory, NodeType, Output, Permit, PermitClass, Succeeded, finished,
};
use heddle_proto::control::StatusRequest;
use heddle_proto::control::control_client::ControlClient;
use heddle_proto::enrol::RenewRequest;
use heddle_proto::enrol::enrol_client::EnrolClient;
use heddle_proto::limits::PROTOCOL_VERSION;
use heddle_trust::{Role, Trouble};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::tls::{SOON, Tls, code, connected};

/// A node type of this suite's own: only its hand-written agents offer it.
const HOLD: &str = "suite:hold";

fn hello(id: &str, boot_id: u64) -> Hello {
    let manifest = json!({
        "id": HOLD, "version": 1, "title": "Hold", "effect": "blind", "inputs": [],
        "outputs": [{"id": "text", "type": "TEXT"}],
    });
    Hello {
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
        agent_id: id.to_owned(),
        boot_id,
        slots: 1,
        types: vec![NodeType {
            id: HOLD.to_owned(),
            version: 1,
            manifest_json: manifest.to_string().into_bytes().into(),
            prefetch: false,
        }],
        permits: vec![Permit { class: PermitClass::Slot.into(), count: 1 }],
        inventory: Some(Inventory::default()),
        ..Hello::default()
    }
}

/// An agent written by hand.
#[derive(Debug)]
struct Forger {
    outgoing: mpsc::Sender<AgentFrame>,
    incoming: Streaming<CoordinatorFrame>,
}

impl Forger {
    async fn attach(channel: Channel, hello: Hello) -> Result<Self, tonic::Status> {
        let (outgoing, frames) = mpsc::channel(64);
        let first = AgentFrame { messages: vec![AgentMessage { kind: Some(Kind::Hello(hello)) }] };
        outgoing.send(first).await.unwrap();
        let incoming = AgentLinkClient::new(channel).attach(ReceiverStream::new(frames)).await?.into_inner();
        let beating = outgoing.clone();
        // Silence would end the stream.
        tokio::spawn(async move {
            let mut beats = tokio::time::interval(Duration::from_millis(400));
            loop {
                beats.tick().await;
                let beat = AgentMessage { kind: Some(Kind::Heartbeat(Heartbeat { nonce: 0 })) };
                if beating.send(AgentFrame { messages: vec![beat] }).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { outgoing, incoming })
    }

    async fn say(&self, kinds: impl IntoIterator<Item = Kind>) {
        let messages = kinds.into_iter().map(|kind| AgentMessage { kind: Some(kind) }).collect();
        self.outgoing.send(AgentFrame { messages }).await.unwrap();
    }

    /// The first thing it is told that fits.
    async fn told<T>(&mut self, mut fits: impl FnMut(Told) -> Option<T>) -> T {
        let heard = async {
            loop {
                let frame =
                    self.incoming.message().await.unwrap().expect("the stream goes on, and says what was asked for");
                if let Some(found) = frame.messages.into_iter().filter_map(|message| message.kind).find_map(&mut fits) {
                    return found;
                }
            }
        };
        timeout(SOON, heard).await.expect("it is told in time")
    }

    async fn welcomed(&mut self) {
        self.told(|told| matches!(told, Told::Welcome(_)).then_some(())).await;
    }
}

fn finished(key: &AttemptKey, text: &str) -> Kind {
    let outputs =
        vec![Output { port: "text".into(), value_json: format!("{text:?}").into_bytes().into(), artifact: None }];
    let outcome = Some(finished::Outcome::Succeeded(Succeeded { outputs }));
    Kind::Finished(Finished { key: Some(key.clone()), outcome, ..Finished::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_touches_only_what_it_holds() {
    let cluster = Tls::start(&[]).await;
    let (_holders, channel) = cluster.joined(Role::Agent, "holder").await;
    let mut holder = Forger::attach(channel, hello("holder", 1)).await.unwrap();
    holder.welcomed().await;
    let graph = Graph::default()
        .node("held", HOLD, json!({}))
        .node("out", "output:text", json!({}))
        .edge("held.text", "out.text");
    let workflow = cluster.client().save("held", &graph).await;
    let run = cluster.client().run(&workflow, "held").await;
    let assigned: Assign = holder.told(|told| if let Told::Assign(assign) = told { Some(assign) } else { None }).await;
    let key = assigned.key.unwrap();

    let (_thiefs, channel) = cluster.joined(Role::Agent, "thief").await;
    // It claims the attempt in its inventory already, and then in every way there is.
    let inventory = Inventory { running: vec![key.clone()], finished: Vec::new(), request: 0 };
    let claims = Hello { inventory: Some(inventory), permits: Vec::new(), ..hello("thief", 2) };
    let mut thief = Forger::attach(channel, claims).await.unwrap();
    let welcome = thief.told(|told| if let Told::Welcome(welcome) = told { Some(welcome) } else { None }).await;
    assert_eq!(welcome.verdicts[0].verdict(), heddle_proto::agent::Verdict::Stop);
    assert_eq!(cluster.foreign_messages().await, 1);
    let handle = Handle { key: Some(key.clone()), handle: b"\"stolen\"".to_vec().into() };
    let stolen = [
        Kind::Intent(Intent { key: Some(key.clone()) }),
        Kind::Handle(handle),
        Kind::HandedBack(HandedBack { keys: vec![key.clone()] }),
        finished(&key, "stolen"),
    ];
    thief.say(stolen).await;
    let go = thief.told(|told| if let Told::IntentAcknowledged(answer) = told { Some(answer.go) } else { None }).await;
    assert!(!go, "it must not act");
    wait::until("all that it said to be counted", SOON, || async {
        let counted = cluster.foreign_messages().await;
        if counted == 5 { Ok(()) } else { Err(format!("{counted} of 5")) }
    })
    .await;
    let meanwhile = cluster.client().execution(&run).await;
    assert_eq!(meanwhile["status"], "RUNNING", "{meanwhile}");

    // A token that nobody holds changes nothing, and is counted as it always was.
    thief.say([finished(&AttemptKey { token: key.token ^ 1, ..key.clone() }, "guessed")]).await;
    wait::until("a late result to be counted", SOON, || async {
        let health = cluster.client().get_json("/healthz").await;
        if health["counters"]["zombieResults"] == 1 { Ok(()) } else { Err(health.to_string()) }
    })
    .await;

    // Who holds it goes on undisturbed.
    holder.say([Kind::Intent(Intent { key: Some(key.clone()) })]).await;
    let go = holder.told(|told| if let Told::IntentAcknowledged(answer) = told { Some(answer.go) } else { None }).await;
    assert!(go);
    holder.say([finished(&key, "own")]).await;
    let ended = cluster.client().ended(&run, SOON).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    assert!(ended.to_string().contains("own") && !ended.to_string().contains("stolen"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_speaks_under_its_own_id() {
    let cluster = Tls::start(&[]).await;
    let (_way, channel) = cluster.joined(Role::Agent, "honest").await;
    let mut forger = Forger::attach(channel.clone(), hello("somebody-else", 1)).await.unwrap();
    let refused = forger.told(|told| if let Told::Refused(refused) = told { Some(refused) } else { None }).await;
    assert_eq!((refused.code.as_str(), refused.retry), ("wrong_agent", false));
    cluster.counts("wrong_agent", 1).await;
    let mut agent = Forger::attach(channel, hello("honest", 1)).await.unwrap();
    agent.welcomed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_no_other_role() {
    let cluster = Tls::start(&[]).await;
    let (_way, gateway) = cluster.joined(Role::Gateway, "gateway-2").await;
    let refused = Forger::attach(gateway.clone(), hello("gateway-2", 1)).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert_eq!(code(&Trouble::of_status(&refused)), "wrong_role");
    ControlClient::new(gateway).status(StatusRequest { protocol: PROTOCOL_VERSION }).await.unwrap();

    let (_way, agent) = cluster.joined(Role::Agent, "agent-2").await;
    let refused = ControlClient::new(agent).status(StatusRequest { protocol: PROTOCOL_VERSION }).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    cluster.counts("wrong_role", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_there_is_nothing_but_joining() {
    let cluster = Tls::start(&[]).await;
    // Whoever knows the authority can connect, and that is all.
    let (_way, _channel) = cluster.joined(Role::Agent, "bait").await;
    let channel = tls_without_certificate(&cluster).await;
    let refused =
        ControlClient::new(channel.clone()).status(StatusRequest { protocol: PROTOCOL_VERSION }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let refused = Forger::attach(channel.clone(), hello("nobody", 1)).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let refused = EnrolClient::new(channel).renew(RenewRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    cluster.counts("no_certificate", 3).await;
}

/// TLS as any library speaks it, with the cluster's authority and no certificate of one's own.
async fn tls_without_certificate(cluster: &Tls) -> Channel {
    let authority = std::fs::read(cluster.path("coordinator/authority/ca.pem")).unwrap();
    let newcomer = heddle_trust::Way::newcomer(&format!("https://{}", cluster.coordinator), &authority).unwrap();
    connected(&newcomer).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_another_authority_are_refused() {
    let (cluster, other) = (Tls::start(&[]).await, Tls::start(&[]).await);
    other.joined(Role::Agent, "stranger").await;
    // It trusts the right coordinator, and shows what the wrong one has signed.
    let file = other.path("stranger/tls/certificate.pem");
    let pem = std::fs::read_to_string(&file).unwrap();
    let (own, _) = pem.split_at(pem.find("-----END").unwrap() + "-----END CERTIFICATE-----\n".len());
    let authority = std::fs::read_to_string(cluster.path("coordinator/authority/ca.pem")).unwrap();
    std::fs::write(&file, format!("{own}{authority}")).unwrap();
    let way = cluster.member(Role::Agent, &other.path("stranger"), "stranger", None);
    let trouble = attached(&way, "stranger").await.unwrap_err();
    assert_eq!(code(&trouble), "authority_mismatch", "{trouble:?}");
    cluster.counts("other_authority", 1).await;
}

/// Connects and attaches: TLS tells a client only with its first answer that its certificate is not taken.
async fn attached(way: &heddle_trust::Way, id: &str) -> Result<Forger, Trouble> {
    let channel = connected(way).await?;
    let mut forger = Forger::attach(channel, hello(id, 1)).await.map_err(|status| Trouble::of_status(&status))?;
    forger.welcomed().await;
    Ok(forger)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_ends() {
    let cluster = Tls::start(&["--certificate-life", "8s"]).await;
    let (_joined, channel) = cluster.joined(Role::Agent, "mortal").await;
    let mut agent = Forger::attach(channel, hello("mortal", 1)).await.unwrap();
    agent.welcomed().await;
    // Nobody renews it: the stream that it began ends with it.
    let ended = timeout(SOON, async { while let Ok(Some(_)) = agent.incoming.message().await {} }).await;
    assert!(ended.is_ok(), "the stream went on");
    cluster.counts("certificate_expired", 1).await;
    // Its holder knows by its own clock, and the coordinator by its own.
    let way = cluster.member(Role::Agent, &cluster.path("mortal"), "mortal", None);
    let trouble = way.prepare().await.unwrap_err();
    assert_eq!(code(&trouble), "certificate_expired", "{trouble:?}");
    let trouble = attached(&way, "mortal").await.err().unwrap();
    assert_eq!(code(&trouble), "certificate_expired", "{trouble:?}");
    cluster.counts("certificate_expired", 2).await;
    // With a new token it is back, under the same id.
    let token = Some(cluster.token("agent").await);
    let way = cluster.member(Role::Agent, &cluster.path("mortal"), "mortal", token);
    way.prepare().await.unwrap();
    attached(&way, "mortal").await.unwrap();
}
