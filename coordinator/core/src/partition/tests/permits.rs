//! Who may be given work (E9, E13, E14).

use std::collections::BTreeMap;

use crate::id::{AgentBoot, AgentId, BootId, PartitionId, SessionNumber};
use crate::partition::permits::{Need, Offer, Permits};
use crate::run::event::PermitClass;

const FIRST: PartitionId = PartitionId(1);
const SECOND: PartitionId = PartitionId(2);

fn need(type_id: &str) -> Need {
    Need { type_id: type_id.into(), prefetch: false, alone: false, labels: Vec::new() }
}

fn alone() -> Need {
    Need { alone: true, ..need("x") }
}

fn boot(agent: &str) -> AgentBoot {
    AgentBoot { agent: agent.into(), boot: BootId(1) }
}

fn offer(session: u64, types: &[&str], slots: u32, prefetch: u32) -> Offer {
    let types = types.iter().map(|id| (*id).into()).collect();
    let (session, labels) = (SessionNumber(session), BTreeMap::new());
    Offer { session, boot: BootId(1), types, labels, held: 0, slots, prefetch }
}

fn with(agent: &str, slots: u32) -> Permits {
    let mut permits = Permits::default();
    permits.join(agent.into(), offer(1, &["x", "y"], slots, 0));
    permits
}

#[test]
fn a_permit_is_taken_directly_while_nobody_queues() {
    let mut permits = with("a", 2);
    assert!(permits.reserve(&need("z")).is_none(), "nobody runs this type");
    let taken = permits.reserve(&need("x")).unwrap();
    assert_eq!((&taken.agent, taken.class), (&boot("a"), PermitClass::Slot));
    permits.want(SECOND, &need("x"), 1);
    assert!(permits.reserve(&need("x")).is_none(), "it would overtake who waits");
    assert!(permits.reserve(&need("y")).is_none(), "and so would another type at the same agent");
    let dealt = permits.deal();
    assert_eq!(dealt.len(), 1);
    assert_eq!(dealt[0].0, SECOND);
}

#[test]
fn permits_are_dealt_in_turn() {
    let mut permits = with("a", 0);
    permits.want(FIRST, &need("x"), 3);
    permits.want(SECOND, &need("x"), 2);
    assert!(permits.deal().is_empty());
    permits.grant(&boot("a"), PermitClass::Slot, 4);
    let order: Vec<PartitionId> = permits.deal().into_iter().map(|(partition, ..)| partition).collect();
    assert_eq!(order, [FIRST, SECOND, FIRST, SECOND]);
    permits.forget(FIRST);
    permits.grant(&boot("a"), PermitClass::Slot, 1);
    assert!(permits.deal().is_empty(), "who has stopped waits for nothing");
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let mut permits = with("a", 1);
    let taken = permits.reserve(&need("x")).unwrap();
    assert_eq!((permits.free(&AgentId::from("a")), permits.busy(&AgentId::from("a"))), ((0, 0), 1));
    permits.give_back(&taken);
    assert_eq!((permits.free(&AgentId::from("a")), permits.busy(&AgentId::from("a"))), ((1, 0), 0));
}

#[test]
fn permits_of_an_earlier_session_are_void() {
    let mut permits = with("a", 1);
    let old = permits.reserve(&need("x")).unwrap();
    permits.leave(&"a".into());
    permits.join("a".into(), offer(2, &["x"], 2, 0));
    permits.give_back(&old);
    assert_eq!(permits.free(&AgentId::from("a")), (2, 0), "the new session has granted all there is");
}

#[test]
fn only_types_that_ask_for_it_are_sent_ahead() {
    let mut permits = Permits::default();
    permits.join("a".into(), offer(1, &["x"], 0, 1));
    assert!(permits.reserve(&need("x")).is_none());
    let ahead = permits.reserve(&Need { prefetch: true, ..need("x") }).unwrap();
    assert_eq!(ahead.class, PermitClass::Prefetch);
}

#[test]
fn labels_must_fit() {
    let mut permits = with("a", 1);
    let gpu = Need { labels: vec![("gpu".to_owned(), "true".to_owned())], ..need("x") };
    assert!(permits.reserve(&gpu).is_none());
    let labels = [("gpu".to_owned(), "true".to_owned())].into();
    permits.join("b".into(), Offer { labels, ..offer(2, &["x"], 1, 0) });
    assert_eq!(permits.reserve(&gpu).unwrap().agent, boot("b"));
}

#[test]
fn a_suspect_gets_an_agent_that_has_nothing_else_to_do() {
    let mut permits = with("a", 2);
    let other = permits.reserve(&need("x")).unwrap();
    permits.want(FIRST, &alone(), 1);
    assert!(permits.deal().is_empty(), "the agent is busy");
    assert!(permits.reserve(&need("x")).is_none(), "it is kept free for the suspect");
    permits.finished(&other.agent, 1);
    permits.grant(&other.agent, PermitClass::Slot, 1);
    let [(partition, _, suspect)] = &permits.deal()[..] else { panic!("the suspect runs") };
    assert_eq!(*partition, FIRST);
    assert!(permits.reserve(&need("x")).is_none(), "nothing runs beside it");
    permits.finished(&suspect.agent, 1);
    permits.grant(&suspect.agent, PermitClass::Slot, 1);
    assert!(permits.reserve(&need("x")).is_some());
}

#[test]
fn an_agent_is_free_again_when_its_suspect_is_no_more() {
    let mut permits = with("a", 2);
    permits.reserve(&need("x")).unwrap();
    permits.want(FIRST, &alone(), 1);
    permits.deal();
    permits.want(FIRST, &alone(), 0);
    permits.deal();
    assert!(permits.reserve(&need("x")).is_some());
}

#[test]
fn an_agent_that_drains_gets_nothing_new() {
    let mut permits = with("a", 2);
    permits.close(&boot("a"));
    assert!(permits.reserve(&need("x")).is_none());
    permits.want(FIRST, &need("x"), 1);
    assert!(permits.deal().is_empty());
}

#[test]
fn an_agent_that_is_closed_gets_nothing_until_it_is_opened() {
    let mut permits = with("a", 2);
    permits.close(&boot("a"));
    assert!(permits.reserve(&need("x")).is_none());
    permits.want(FIRST, &need("x"), 1);
    permits.grant(&boot("a"), PermitClass::Slot, 1);
    assert!(permits.deal().is_empty());
    assert!(permits.is_offered(&need("x")), "it could, later");
    permits.open(&boot("a"));
    assert_eq!(permits.deal().len(), 1);
}
