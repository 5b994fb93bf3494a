//! Hello, Welcome, loss, return and goodbye.

use std::time::Duration;

use heddle_agent::{Exit, StartError, start};
use heddle_proto::agent::{AttemptKey, EffectClass, HeldVerdict, PermitClass, Ping, Refused, Verdict, Welcome};
use heddle_proto::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::fake::*;

const LONG: &str = r#"{"ms":3600000}"#;
const GRACE: Duration = Duration::from_secs(60);

fn verdict(key: &AttemptKey, verdict: Verdict) -> HeldVerdict {
    HeldVerdict { key: Some(key.clone()), verdict: verdict.into() }
}

#[tokio::test]
async fn hello_says_who_the_agent_is_and_what_it_can_do() {
    let Pair { mut coordinator, mut connection, agent, folder } = pair(2).await;
    let first = connection.hello.clone();
    assert_eq!(first.agent_id, agent.id());
    assert_eq!((first.hostname.as_str(), first.slots), ("host", 2));
    assert_eq!(first.labels.get("region").map(String::as_str), Some("eu"));
    let noop = first.types.iter().find(|offer| offer.id == "debug:noop").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&noop.manifest_json).unwrap();
    assert_eq!((manifest["id"].as_str(), noop.version, noop.prefetch), (Some("debug:noop"), 1, true));
    assert_eq!(numbers(first.inventory.as_ref().unwrap()), (vec![], vec![]));
    assert_eq!(connection.permits(), (2, 6));

    drop(agent);
    while connection.next_of_any_kind().await.is_some() {}
    let again = start(options(coordinator.address, folder.path(), 2)).await.unwrap();
    let second = coordinator.welcome().await.hello;
    assert_eq!(again.id(), first.agent_id, "the id outlives a restart");
    assert_ne!(second.boot_id, first.boot_id, "each start has a boot id of its own");
}

#[tokio::test]
async fn a_data_folder_serves_one_agent() {
    let pair = pair(1).await;
    let second = start(options(pair.coordinator.address, pair.folder.path(), 1)).await;
    assert!(matches!(second, Err(StartError::AgentIdInUse { .. })), "{second:?}");
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = options("127.0.0.1:1".parse().unwrap(), folder.path(), 1);
    for slots in [0, heddle_agent::limits::SLOTS_MAX + 1] {
        let started = start(heddle_agent::Options { slots, ..good.clone() }).await;
        assert_eq!(started.unwrap_err().code(), "slots_out_of_range");
    }
    let started = start(heddle_agent::Options { coordinator: "not an address".into(), ..good }).await;
    assert_eq!(started.unwrap_err().code(), "no_way_to_coordinator");
}

#[tokio::test]
async fn a_final_refusal_ends_the_agent_with_its_message() {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = start(options(coordinator.address, folder.path(), 1)).await.unwrap();
    let refused = |code: &str, retry| Refused { code: code.into(), message: "another runs".into(), retry };
    let connection = coordinator.accept().await;
    connection.tell([Tell::Refused(refused("loading", true))]).await;
    let connection = coordinator.accept().await;
    connection.tell([Tell::Refused(refused("duplicate_agent", false))]).await;
    let exit = timeout(DEADLINE, agent.wait()).await.unwrap();
    assert_eq!(exit, Exit::Refused { code: "duplicate_agent".into(), message: "another runs".into() });
    assert_eq!(agent.registered().await, Err(exit));
}

#[tokio::test]
async fn an_unacknowledged_result_is_sent_again_and_an_acknowledged_one_is_not() {
    let Pair { mut coordinator, mut connection, agent: _agent, .. } = pair(2).await;
    let mut keys = Vec::new();
    for number in 0..2 {
        let (key, echo) = assign("debug:echo", &format!(r#"{{"value":{number}}}"#));
        connection.assign(echo).await;
        assert_eq!(connection.finished().await.0, key.number);
        keys.push(key);
    }
    connection.acknowledge(&keys[0]).await;
    assert_eq!(connection.inventory().await, (vec![], vec![keys[1].number]));

    drop(connection);
    let mut connection = coordinator.welcome().await;
    assert_eq!(numbers(connection.hello.inventory.as_ref().unwrap()), (vec![], vec![keys[1].number]));
    assert_eq!(connection.permits(), (2, 6), "a finished attempt holds no place");
    let (number, outcome) = connection.finished().await;
    assert_eq!((number, value(outcome).as_str()), (keys[1].number, "1"));
    connection.acknowledge(&keys[1]).await;
    assert_eq!(connection.inventory().await, (vec![], vec![]));
}

#[tokio::test]
async fn hello_is_a_complete_inventory_and_the_verdicts_are_obeyed() {
    let Pair { mut coordinator, mut connection, agent: _agent, .. } = pair(2).await;
    let (kept, sleep) = assign("debug:sleep", LONG);
    let (stopped, another) = assign("debug:sleep", LONG);
    let (withdrawn, waiting) = assign("debug:noop", "{}");
    connection.assign(sleep).await;
    connection.assign(another).await;
    connection.assign(prefetched(waiting)).await;
    assert_eq!(connection.inventory().await.0.len(), 3);

    drop(connection);
    let mut connection = coordinator.accept().await;
    let held = vec![kept.number, stopped.number, withdrawn.number];
    assert_eq!(numbers(connection.hello.inventory.as_ref().unwrap()), (held, vec![]));
    assert_eq!(connection.permits(), (0, 5), "permits are stated afresh");
    let verdicts = [(&kept, Verdict::Keep), (&stopped, Verdict::Stop), (&withdrawn, Verdict::Stop)];
    connection.welcome(verdicts.map(|(key, said)| verdict(key, said)).to_vec()).await;
    connection.wait_for_permits(1, 6).await;
    assert_eq!(connection.inventory().await, (vec![kept.number], vec![]), "nothing is sent about the others");
}

#[tokio::test]
async fn a_result_that_is_durable_already_is_not_sent_again() {
    let Pair { mut coordinator, mut connection, agent: _agent, .. } = pair(1).await;
    let (key, noop) = assign("debug:noop", "{}");
    connection.assign(noop).await;
    connection.finished().await;
    drop(connection);
    let mut connection = coordinator.accept().await;
    connection.welcome(vec![verdict(&key, Verdict::Acknowledged)]).await;
    assert_eq!(connection.inventory().await, (vec![], vec![]));
}

#[tokio::test]
async fn a_pending_intent_is_told_to_the_next_session() {
    let Pair { mut coordinator, mut connection, agent: _agent, folder } = pair(1).await;
    let (key, effect) = assign("debug:effect", r#"{"file":"calls"}"#);
    connection.assign(with_effect(effect, EffectClass::Blind)).await;
    assert!(matches!(connection.next().await, Kind::Intent(_)));
    drop(connection);
    let mut connection = coordinator.welcome().await;
    assert!(matches!(connection.next().await, Kind::Intent(_)));
    connection.answer_intent(&key, true).await;
    assert_eq!(connection.finished().await.0, key.number);
    assert_eq!(std::fs::read_to_string(folder.path().join("calls")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn work_goes_on_while_the_coordinator_is_away() {
    let Pair { coordinator, mut connection, agent: _agent, .. } = pair(1).await;
    let (key, sleep) = assign("debug:sleep", r#"{"ms":1}"#);
    connection.assign(sleep).await;
    let address = coordinator.address;
    drop((connection, coordinator));
    let listener = loop {
        // The port is free once the last of the old connections is closed.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut coordinator = Coordinator::start_at(listener).await;
    let mut connection = coordinator.welcome().await;
    assert_eq!(connection.finished().await.0, key.number);
}

#[tokio::test]
async fn a_ping_is_answered_and_silence_is_filled() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    connection.tell([Tell::Ping(Ping { nonce: 42 })]).await;
    let (mut is_answered, mut heartbeats) = (false, 0);
    while !is_answered || heartbeats < 2 {
        match connection.next_of_any_kind().await.unwrap() {
            Kind::Heartbeat(heartbeat) if heartbeat.nonce == 42 => is_answered = true,
            Kind::Heartbeat(_) => heartbeats += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_drain_hands_back_finishes_and_says_goodbye() {
    let Pair { mut connection, agent, coordinator: _coordinator, .. } = pair(1).await;
    let (running, effect) = assign("debug:noop", "{}");
    let (waiting, noop) = assign("debug:noop", "{}");
    let (late, another) = assign("debug:noop", "{}");
    connection.assign(with_effect(effect, EffectClass::Blind)).await;
    connection.assign(prefetched(noop)).await;
    assert!(matches!(connection.next().await, Kind::Intent(_)));
    assert_eq!(connection.inventory().await.0, [running.number, waiting.number]);

    let drained = tokio::spawn(agent.drain(GRACE));
    let Kind::HandedBack(handed_back) = connection.next().await else { panic!("nothing was handed back") };
    assert_eq!(handed_back.keys, [waiting]);
    connection.assign(prefetched(another)).await;
    let Kind::HandedBack(handed_back) = connection.next().await else { panic!("the agent took more work") };
    assert_eq!(handed_back.keys, [late]);
    connection.answer_intent(&running, true).await;
    assert_eq!(connection.finished().await.0, running.number);
    assert_eq!(connection.permits().0, 0, "no permit is granted any more");
    connection.acknowledge(&running).await;
    assert!(matches!(connection.next().await, Kind::Goodbye(_)));
    assert_eq!(connection.next_of_any_kind().await, None);
    drop(connection);
    let exit = timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Drained { unfinished: 0, unacknowledged: 0 });
}

#[tokio::test]
async fn a_drain_ends_with_its_grace() {
    let Pair { mut connection, agent, coordinator: _coordinator, .. } = pair(2).await;
    connection.assign(assign("debug:sleep", LONG).1).await;
    connection.assign(assign("debug:noop", "{}").1).await;
    connection.finished().await;
    let drained = tokio::spawn(agent.drain(Duration::from_millis(10)));
    assert!(matches!(connection.next().await, Kind::Goodbye(_)));
    drop(connection);
    let exit = timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Drained { unfinished: 1, unacknowledged: 1 });
}

#[tokio::test]
async fn an_agent_that_owes_nothing_leaves_without_a_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let agent = start(options(address, folder.path(), 1)).await.unwrap();
    let exit = timeout(DEADLINE, agent.drain(GRACE)).await.unwrap();
    assert_eq!(exit, Exit::Drained { unfinished: 0, unacknowledged: 0 });
}

#[tokio::test]
async fn permits_are_held_back_by_class() {
    let mut pair = pair(1).await;
    let connection = &mut pair.connection;
    connection.return_permits(PermitClass::Slot, 1).await;
    connection.assign(prefetched(assign("debug:noop", "{}").1)).await;
    connection.finished().await;
    connection.wait_for_permits(1, 3).await;
}

#[tokio::test]
async fn a_coordinator_of_another_protocol_ends_the_agent_with_both_versions() {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = start(options(coordinator.address, folder.path(), 1)).await.unwrap();
    let connection = coordinator.accept().await;
    assert_eq!(
        (connection.hello.protocol_min, connection.hello.protocol_max),
        (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION)
    );
    let welcome = Welcome { protocol: 99, coordinator_id: "new".into(), coordinator_boot_id: 1, ..Welcome::default() };
    connection.tell([Tell::Welcome(welcome)]).await;
    let exit = timeout(DEADLINE, agent.wait()).await.unwrap();
    let Exit::Refused { code, message } = exit else { panic!("{exit:?}") };
    assert_eq!(code, "protocol_mismatch");
    let ours = format!("{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}");
    assert!(message.contains("protocol 99") && message.contains(&ours), "{message}");
}
