//! Parts of two releases that do not speak the same protocol: the coordinator refuses both kinds, and says both versions.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cluster_tests::cluster::{Cluster, Part};
use heddle_proto::agent::agent_link_client::AgentLinkClient;
use heddle_proto::agent::agent_message::Kind;
use heddle_proto::agent::coordinator_message::Kind as Told;
use heddle_proto::agent::{AgentFrame, AgentMessage, Hello, Refused};
use heddle_proto::control::control_client::ControlClient;
use heddle_proto::control::{AuthenticateRequest, Failure, StatusRequest};
use heddle_proto::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use prost::Message;
use tonic::codegen::tokio_stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

async fn coordinator(cluster: &mut Cluster) -> Channel {
    let said = cluster.process(Part::Coordinator).said();
    let address = said.lines().find_map(|line| line.strip_prefix("heddle coordinator is ready on ")).unwrap();
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn check(status: &Status, protocol: u32) {
    let failure = Failure::decode(status.details()).unwrap();
    assert_eq!(
        (status.code(), failure.code.as_str(), failure.http_status),
        (Code::Unavailable, "protocol_mismatch", 503)
    );
    let expected = format!("speaks protocol {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}, this gateway {protocol}");
    assert!(failure.message.contains(&expected) && failure.message.contains("update the older"), "{}", failure.message);
}

#[tokio::test]
async fn a_gateway_of_another_protocol_is_refused() {
    let mut cluster = Cluster::start(0, 1).await;
    let mut client = ControlClient::new(coordinator(&mut cluster).await);
    for protocol in [PROTOCOL_VERSION_MIN - 1, PROTOCOL_VERSION + 1, u32::MAX] {
        check(&client.status(StatusRequest { protocol }).await.unwrap_err(), protocol);
        let request = AuthenticateRequest { key: "sk-nobody".to_owned(), protocol };
        check(&client.authenticate(request).await.unwrap_err(), protocol);
    }
    let status = client.status(StatusRequest { protocol: PROTOCOL_VERSION }).await.unwrap().into_inner();
    assert_eq!((status.protocol, status.ready), (PROTOCOL_VERSION, true));
    let said = cluster.process(Part::Coordinator).said();
    assert_eq!(said.matches("a gateway is refused").count(), 1, "it is said once: {said}");
}

#[tokio::test]
async fn an_agent_of_another_protocol_is_refused_for_good() {
    let mut cluster = Cluster::start(0, 1).await;
    let mut client = AgentLinkClient::new(coordinator(&mut cluster).await);
    let hello = Hello {
        protocol_min: PROTOCOL_VERSION + 1,
        protocol_max: PROTOCOL_VERSION + 3,
        agent_id: "agt_new".to_owned(),
        boot_id: 1,
        ..Hello::default()
    };
    let frame = AgentFrame { messages: vec![AgentMessage { kind: Some(Kind::Hello(hello)) }] };
    let mut answer = client.attach(tokio_stream::iter([frame])).await.unwrap().into_inner();
    let frame = tokio::time::timeout(ANSWER_TIME_MAX, answer.message()).await.unwrap().unwrap().unwrap();
    let Some(Told::Refused(Refused { code, message, retry })) = frame.messages[0].kind.clone() else {
        panic!("{frame:?}")
    };
    assert_eq!((code.as_str(), retry), ("protocol_mismatch", false));
    let expected = format!("this agent {} to {}", PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 3);
    assert!(message.contains(&expected) && message.contains("update the older"), "{message}");
    assert_eq!(cluster.agents_here().await, Ok(0));
}
