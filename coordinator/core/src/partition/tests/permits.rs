//! Who may be given work (E9, E13, E14).

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::id::{AgentBoot, AgentId, BootId, PartitionId, SessionNumber, TenantId};
use crate::partition::permits::{Need, Offer, Permits, Reservation};
use crate::run::event::PermitClass;

const FIRST: PartitionId = PartitionId(1);
const SECOND: PartitionId = PartitionId(2);

fn need(type_id: &str) -> Need {
    Need { type_id: type_id.into(), version: 1, prefetch: false, alone: false, labels: Vec::new(), key: None }
}

fn alone() -> Need {
    Need { alone: true, ..need("x") }
}

fn boot(agent: &str) -> AgentBoot {
    AgentBoot { agent: agent.into(), boot: BootId(1) }
}

fn offer(session: u64, types: &[&str], slots: u32, prefetch: u32) -> Offer {
    let types = types.iter().map(|id| ((*id).into(), 1)).collect();
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
    assert!(permits.reserve(FIRST, &need("z"), None).is_none(), "nobody runs this type");
    let taken = permits.reserve(FIRST, &need("x"), None).unwrap();
    assert_eq!((&taken.agent, taken.class), (&boot("a"), PermitClass::Slot));
    permits.want(SECOND, &"acme".into(), &need("x"), 1);
    assert!(permits.reserve(FIRST, &need("x"), None).is_none(), "it would overtake who waits");
    assert!(permits.reserve(FIRST, &need("y"), None).is_none(), "and so would another type at the same agent");
    let dealt = permits.deal();
    assert_eq!(dealt.len(), 1);
    assert_eq!(dealt[0].0, SECOND);
}

#[test]
fn permits_are_dealt_in_turn() {
    let mut permits = with("a", 0);
    permits.want(FIRST, &"acme".into(), &need("x"), 3);
    permits.want(SECOND, &"acme".into(), &need("x"), 2);
    assert!(permits.deal().is_empty());
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 4);
    let order: Vec<PartitionId> = permits.deal().into_iter().map(|(partition, _)| partition).collect();
    assert_eq!(order, [FIRST, SECOND, FIRST, SECOND]);
    permits.forget(FIRST);
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 1);
    assert!(permits.deal().is_empty(), "who has stopped waits for nothing");
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let mut permits = with("a", 1);
    let taken = permits.reserve(FIRST, &need("x"), None).unwrap();
    assert_eq!((permits.free(&AgentId::from("a")), permits.busy(&AgentId::from("a"))), ((0, 0), 1));
    permits.give_back(&taken);
    assert_eq!((permits.free(&AgentId::from("a")), permits.busy(&AgentId::from("a"))), ((1, 0), 0));
}

#[test]
fn permits_of_an_earlier_session_are_void() {
    let mut permits = with("a", 1);
    let old = permits.reserve(FIRST, &need("x"), None).unwrap();
    permits.leave(&"a".into(), SessionNumber(2));
    permits.join("a".into(), offer(2, &["x"], 2, 0));
    permits.give_back(&old);
    assert_eq!(permits.free(&AgentId::from("a")), (2, 0), "the new session has granted all there is");
}

#[test]
fn what_an_earlier_stream_still_brings_changes_nothing() {
    let mut permits = with("a", 1);
    let again = Offer { held: 1, ..offer(2, &["x"], 2, 0) };
    permits.join("a".into(), again);
    permits.finished(&boot("a"), SessionNumber(1), 1);
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 1);
    permits.leave(&"a".into(), SessionNumber(1));
    let a = AgentId::from("a");
    assert_eq!((permits.free(&a), permits.busy(&a)), ((2, 0), 1));
    permits.leave(&"a".into(), SessionNumber(2));
    assert_eq!((permits.free(&a), permits.busy(&a)), ((0, 0), 0));
}

#[test]
fn places_of_an_agent_whose_work_has_turned_long_are_taken_back() {
    let mut permits = Permits::default();
    permits.join("a".into(), offer(2, &["x"], 1, 5));
    assert_eq!(permits.withdraw_prefetch(&boot("a"), SessionNumber(1)), 0, "an earlier stream says nothing");
    assert_eq!(permits.withdraw_prefetch(&boot("a"), SessionNumber(2)), 5);
    assert_eq!(permits.free(&"a".into()), (1, 0));
    permits.grant(&boot("a"), SessionNumber(2), PermitClass::Prefetch, 2);
    assert_eq!(permits.free(&"a".into()), (1, 2));
}

#[test]
fn only_types_that_ask_for_it_are_sent_ahead() {
    let mut permits = Permits::default();
    permits.join("a".into(), offer(1, &["x"], 0, 1));
    assert!(permits.reserve(FIRST, &need("x"), None).is_none());
    let ahead = permits.reserve(FIRST, &Need { prefetch: true, ..need("x") }, None).unwrap();
    assert_eq!(ahead.class, PermitClass::Prefetch);
}

#[test]
fn labels_must_fit() {
    let mut permits = with("a", 1);
    let gpu = Need { labels: vec![("gpu".to_owned(), "true".to_owned())], ..need("x") };
    assert!(permits.reserve(FIRST, &gpu, None).is_none());
    let labels = [("gpu".to_owned(), "true".to_owned())].into();
    permits.join("b".into(), Offer { labels, ..offer(2, &["x"], 1, 0) });
    assert_eq!(permits.reserve(FIRST, &gpu, None).unwrap().agent, boot("b"));
}

#[test]
fn a_suspect_gets_an_agent_that_has_nothing_else_to_do() {
    let mut permits = with("a", 2);
    let other = permits.reserve(FIRST, &need("x"), None).unwrap();
    permits.want(FIRST, &"acme".into(), &alone(), 1);
    assert!(permits.deal().is_empty(), "the agent is busy");
    assert!(permits.reserve(FIRST, &need("x"), None).is_none(), "it is kept free for the suspect");
    permits.finished(&other.agent, other.session, 1);
    permits.grant(&other.agent, other.session, PermitClass::Slot, 1);
    let [(partition, grant)] = &permits.deal()[..] else { panic!("the suspect runs") };
    let suspect = &grant.reservation;
    assert_eq!(*partition, FIRST);
    assert!(permits.reserve(FIRST, &need("x"), None).is_none(), "nothing runs beside it");
    permits.finished(&suspect.agent, suspect.session, 1);
    permits.grant(&suspect.agent, suspect.session, PermitClass::Slot, 1);
    assert!(permits.reserve(FIRST, &need("x"), None).is_some());
}

#[test]
fn an_agent_is_free_again_when_its_suspect_is_no_more() {
    let mut permits = with("a", 2);
    permits.reserve(FIRST, &need("x"), None).unwrap();
    permits.want(FIRST, &"acme".into(), &alone(), 1);
    permits.deal();
    permits.want(FIRST, &"acme".into(), &alone(), 0);
    permits.deal();
    assert!(permits.reserve(FIRST, &need("x"), None).is_some());
}

#[test]
fn an_agent_that_drains_gets_nothing_new() {
    let mut permits = with("a", 2);
    permits.close(&boot("a"));
    assert!(permits.reserve(FIRST, &need("x"), None).is_none());
    permits.want(FIRST, &"acme".into(), &need("x"), 1);
    assert!(permits.deal().is_empty());
}

#[test]
fn an_agent_that_is_closed_gets_nothing_until_it_is_opened() {
    let mut permits = with("a", 2);
    permits.close(&boot("a"));
    assert!(permits.reserve(FIRST, &need("x"), None).is_none());
    permits.want(FIRST, &"acme".into(), &need("x"), 1);
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 1);
    assert!(permits.deal().is_empty());
    permits.open(&boot("a"));
    assert_eq!(permits.deal().len(), 1);
}

#[test]
fn tenants_are_served_evenly_however_many_partitions_and_needs_they_have() {
    let mut permits = with("a", 0);
    let (large, small): (TenantId, TenantId) = ("large".into(), "small".into());
    for partition in 0..8 {
        permits.want(PartitionId(partition), &large, &need("x"), 100);
        permits.want(PartitionId(partition), &large, &need("y"), 100);
    }
    permits.want(SECOND, &small, &need("y"), 100);
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 40);
    let dealt = permits.deal();
    let of = |tenant: &TenantId, type_id: &str| {
        dealt.iter().filter(|(_, grant)| grant.tenant == *tenant && &*grant.need.type_id == type_id).count()
    };
    assert_eq!((of(&large, "x") + of(&large, "y"), of(&small, "y")), (20, 20));
    assert!(
        of(&large, "x") >= 9 && of(&large, "y") >= 5,
        "both of its needs get on: {} {}",
        of(&large, "x"),
        of(&large, "y")
    );
}

#[test]
fn who_comes_late_saves_nothing_up_and_is_not_in_debt() {
    let mut permits = with("a", 0);
    let (early, late): (TenantId, TenantId) = ("early".into(), "late".into());
    permits.want(FIRST, &early, &need("x"), 100);
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 50);
    assert_eq!(permits.deal().len(), 50);
    permits.want(FIRST, &late, &need("x"), 100);
    permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, 10);
    let dealt = permits.deal();
    assert_eq!(dealt.iter().filter(|(_, grant)| grant.tenant == late).count(), 5);
}

#[test]
fn an_agent_must_have_the_version_or_a_newer_one() {
    let mut permits = with("a", 1);
    let newer = Need { version: 2, ..need("x") };
    assert!(!permits.is_offered(&newer) && permits.reserve(FIRST, &newer, None).is_none());
    let types = vec![("x".into(), 3)];
    permits.join("b".into(), Offer { types, ..offer(2, &[], 1, 0) });
    assert_eq!(permits.reserve(FIRST, &newer, None).unwrap().agent, boot("b"));
}

#[test]
fn work_goes_to_the_agent_that_holds_its_inputs_if_that_is_free() {
    let mut permits = with("a", 1);
    permits.join("b".into(), offer(2, &["x"], 8, 0));
    let near: AgentId = "a".into();
    assert_eq!(permits.reserve(FIRST, &need("x"), Some(&near)).unwrap().agent, boot("a"));
    assert_eq!(permits.reserve(FIRST, &need("x"), Some(&near)).unwrap().agent, boot("b"), "it has no slot left");
    permits.leave(&near, SessionNumber(1));
    assert_eq!(permits.reserve(FIRST, &need("x"), Some(&near)).unwrap().agent, boot("b"), "it is gone");
}

proptest! {
    /// Equal work spreads over agents in proportion to their slots.
    #[test]
    fn shares_follow_slots(slots in proptest::collection::vec(1..9u32, 2..6), load in prop_oneof![Just(1u32), Just(u32::MAX)], order in any::<u64>()) {
        const WORK: u32 = 1_000;
        let mut permits = Permits::default();
        let agent = |number: usize| boot(&format!("agent {number}"));
        for (number, slots) in slots.iter().enumerate() {
            permits.join(agent(number).agent, offer(number as u64, &["x"], *slots, 0));
        }
        let (mut given, mut busy, mut draw) = (vec![0u32; slots.len()], Vec::new(), crate::draw::Draw::from_seed(order));
        for _ in 0..WORK {
            if busy.len() as u32 == load.min(slots.iter().sum()) {
                // Whichever it is, the work that ends is as likely to be any of those that run.
                let ended: Reservation = busy.swap_remove(draw.next_u64() as usize % busy.len());
                permits.finished(&ended.agent, ended.session, 1);
                permits.grant(&ended.agent, ended.session, PermitClass::Slot, 1);
            }
            let taken = permits.reserve(FIRST, &need("x"), None).unwrap();
            given[(0..slots.len()).find(|number| agent(*number) == taken.agent).unwrap()] += 1;
            busy.push(taken);
        }
        let all = f64::from(slots.iter().sum::<u32>());
        for (given, slots) in given.iter().zip(&slots) {
            let (share, fair) = (f64::from(*given) / f64::from(WORK), f64::from(*slots) / all);
            prop_assert!((share - fair).abs() < 0.1, "{share} where {fair} would be fair");
        }
    }

    /// Who waits all the time is never more than one permit behind another, whatever the numbers are.
    #[test]
    fn nobody_is_overtaken(wants in proptest::collection::vec((0..4usize, 0..4u16, 0..3usize), 2..20), grants in 1..30u32) {
        let mut permits = Permits::default();
        permits.join("a".into(), offer(1, &["x", "y", "z"], 0, 0));
        let tenants: Vec<TenantId> = (0..4).map(|number| format!("tenant {number}").as_str().into()).collect();
        for (tenant, partition, kind) in &wants {
            permits.want(PartitionId(*partition), &tenants[*tenant], &need(["x", "y", "z"][*kind]), 1_000);
        }
        let mut given = std::collections::BTreeMap::new();
        given.extend(wants.iter().map(|(tenant, ..)| (&tenants[*tenant], 0)));
        permits.grant(&boot("a"), SessionNumber(1), PermitClass::Slot, grants);
        let dealt = permits.deal();
        prop_assert_eq!(dealt.len(), grants as usize);
        for (_, grant) in &dealt {
            *given.get_mut(&grant.tenant).unwrap() += 1;
            let (least, most) = (given.values().min().unwrap(), given.values().max().unwrap());
            prop_assert!(most - least <= 1, "{given:?}");
        }
    }
}
