//! Places of concurrency keys (E26): never more at work than their limit, in whatever partition, and each in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::bench::{Bench, RUN, dispatches, finished, submit, submit_of};
use crate::concurrency::{ConcurrencyKey, ConcurrencyLimits, KeyTemplate};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::hook::Hooks;
use crate::id::{BootId, PartitionId, RunId, SessionNumber, TenantId, WorkflowId};
use crate::partition::permits::{Need, Offer, Permits, Reservation};
use crate::partition::{Epoch, Partition};

const HERE: PartitionId = PartitionId(0);
const THERE: PartitionId = PartitionId(1);

fn key(template: &str, tenant: &str) -> ConcurrencyKey {
    KeyTemplate::parse(template).unwrap().of(&TenantId::from(tenant), WorkflowId(1))
}

fn need(type_id: &str, key: Option<ConcurrencyKey>) -> Need {
    Need { type_id: type_id.into(), version: 1, prefetch: false, alone: false, labels: Vec::new(), key }
}

fn limits(limits: &[(&str, u32)]) -> ConcurrencyLimits {
    ConcurrencyLimits::new(limits.iter().copied()).unwrap()
}

/// Permits of one agent that runs x and y.
fn permits(limits: ConcurrencyLimits, slots: u32) -> Permits {
    let mut permits = Permits::new(limits, []);
    let types = vec![("x".into(), 1), ("y".into(), 1)];
    let (session, labels) = (SessionNumber(1), BTreeMap::new());
    permits.join("a".into(), Offer { session, boot: BootId(1), types, labels, held: 0, slots, prefetch: 0 });
    permits
}

/// A run with this many nodes that share a key.
fn keyed(count: usize, template: &str) -> Arc<Graph> {
    let policy = json!({"concurrencyKey": template});
    (0..count).fold(Fixture::default(), |graph, ix| graph.work(&format!("n{ix}"), "pure", &policy)).build()
}

#[test]
fn a_key_without_a_limit_is_one_at_a_time_and_one_with_a_limit_is_not() {
    let mut permits = permits(limits(&[("eight*", 2)]), 9);
    let one = need("x", Some(key("one", "acme")));
    let taken = permits.reserve(HERE, &one, None).unwrap();
    assert!(permits.reserve(THERE, &one, None).is_none(), "the place is taken, whoever asks");
    assert!(permits.reserve(HERE, &need("x", None), None).is_some(), "what has no key is free");
    permits.give_back(&taken);
    assert!(permits.reserve(THERE, &one, None).is_some());
    let eight = need("x", Some(key("eight:{{tenant}}", "acme")));
    assert!((0..2).all(|_| permits.reserve(HERE, &eight, None).is_some()));
    assert!(permits.reserve(HERE, &eight, None).is_none());
}

#[test]
fn tenants_share_only_what_the_settings_name() {
    let mut permits = permits(limits(&[("shared", 1)]), 9);
    let mut take =
        |template: &str, tenant: &str| permits.reserve(HERE, &need("x", Some(key(template, tenant))), None).is_some();
    assert!(take("own", "acme") && take("own", "other"), "each has its own places");
    assert!(take("shared", "acme") && !take("shared", "other"), "what the settings name is for all");
    assert!(take("own:{{tenant}}", "acme") && take("own:acme", "other"), "nobody takes another's by writing its name");
}

#[test]
fn who_waits_for_a_place_goes_first_and_in_turn() {
    let mut permits = permits(ConcurrencyLimits::default(), 9);
    let (x, y) = (need("x", Some(key("k", "acme"))), need("y", Some(key("k", "acme"))));
    let mut taken = permits.reserve(HERE, &x, None).unwrap();
    permits.want(HERE, &"acme".into(), &x, 5);
    permits.want(THERE, &"acme".into(), &y, 5);
    assert!(permits.deal().is_empty());
    assert!(
        permits.reserve(HERE, &need("x", None), None).is_some(),
        "who waits for a place keeps no agent from others"
    );
    let mut served = Vec::new();
    for _ in 0..6 {
        permits.give_back(&taken);
        assert!(permits.reserve(HERE, &x, None).is_none(), "it would overtake who waits");
        let dealt = permits.deal();
        assert_eq!(dealt.len(), 1);
        served.push(dealt[0].0);
        taken = dealt[0].1.reservation.clone();
    }
    assert_eq!(served, [HERE, THERE, HERE, THERE, HERE, THERE]);
}

#[test]
fn a_place_is_kept_for_who_only_lacks_an_agent() {
    let mut permits = Permits::new(ConcurrencyLimits::default(), []);
    let join = |permits: &mut Permits, agent: &str, type_id: &str, slots: u32| {
        let (session, labels) = (SessionNumber(1), BTreeMap::new());
        let types = vec![(type_id.into(), 1)];
        permits.join(agent.into(), Offer { session, boot: BootId(1), types, labels, held: 0, slots, prefetch: 0 });
    };
    join(&mut permits, "a", "x", 0);
    join(&mut permits, "b", "y", 9);
    let (x, y) = (need("x", Some(key("k", "acme"))), need("y", Some(key("k", "acme"))));
    permits.want(HERE, &"acme".into(), &x, 1);
    assert!(permits.deal().is_empty(), "its agent is busy");
    permits.want(THERE, &"acme".into(), &y, 1);
    assert!(permits.deal().is_empty(), "it was there first");
    // Nobody is left who could run it: others need not wait.
    permits.leave(&"a".into(), SessionNumber(1));
    assert_eq!(permits.deal().len(), 1);
}

#[test]
fn a_place_is_free_when_the_end_of_its_attempt_is_durable() {
    let graph = keyed(2, "k");
    let mut bench = Bench::with_agent();
    let [first] = bench.start(RUN, &graph).try_into().unwrap();
    bench.on([finished(&first, "done")]);
    assert!(bench.deal_only().is_empty(), "the end is on its way to the journal");
    bench.land_all();
    assert_eq!(bench.deal().len(), 1);
}

#[test]
fn another_partition_gets_a_place_when_it_is_free() {
    let graph = keyed(1, "k");
    let mut bench = Bench::with_agent();
    let [first] = bench.start(RUN, &graph).try_into().unwrap();
    let mut other = Partition::new(THERE, Epoch(1), Hooks::new("https://example.org", &[1; 32]), bench.now);
    let agent_hello = bench.hello("a", 1);
    let _welcome = other.on([agent_hello], bench.now, crate::draw::Draw::from_seed(1), &mut bench.permits);
    let waits =
        other.on([submit(RunId(2), &graph, None)], bench.now, crate::draw::Draw::from_seed(2), &mut bench.permits);
    assert!(waits.commit.is_some_and(|batch| batch.runs[0].events.iter().all(|event| event.assignments.is_empty())));
    bench.on([finished(&first, "done")]);
    bench.land_all();
    let dealt: Vec<_> = bench.take_dealt();
    assert_eq!(dealt.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [THERE]);
}

#[test]
fn places_are_held_across_a_load_and_promises_are_not() {
    let graph = keyed(2, "k");
    let mut bench = Bench::with_agent();
    let sent = bench.start(RUN, &graph);
    assert_eq!(sent.len(), 1);
    // The value is thrown away: the attempt is still out, and known before the partition is read again.
    let mut permits = std::mem::take(&mut bench.permits);
    permits.forget(HERE);
    let waiting = need("debug:work", Some(key("k", "acme")));
    assert!(!permits.has_room(&waiting));
    bench.reload_with(&graph, permits);
    assert!(!bench.permits.has_room(&waiting));
    bench.join("a", 1, &[sent[0].key], &[]);
    bench.on([finished(&sent[0], "done")]);
    bench.land_all();
    assert_eq!(bench.deal().len(), 1, "the second goes when the first is over");
    // A process that has just started knows nothing before its partitions are read.
    let fresh = Permits::new(ConcurrencyLimits::default(), [HERE, THERE]);
    assert!(!fresh.has_room(&waiting) && fresh.has_room(&need("debug:work", None)));
    bench.reload_with(&graph, fresh);
    assert!(!bench.permits.has_room(&waiting), "another partition is not read yet");
    let mut other = Partition::new(THERE, Epoch(1), Hooks::new("https://example.org", &[1; 32]), bench.now);
    other.on([], bench.now, crate::draw::Draw::from_seed(1), &mut bench.permits);
    assert!(!bench.permits.has_room(&waiting), "the second attempt is out");
    let unkeyed = need("debug:work", Some(key("other", "acme")));
    assert!(bench.permits.has_room(&unkeyed));
}

#[test]
fn a_place_that_was_promised_to_an_earlier_load_is_void() {
    let graph = keyed(1, "k");
    let mut bench = Bench::with_agent();
    let waiting = need("debug:work", Some(key("k", "acme")));
    bench.permits.want(HERE, &"acme".into(), &waiting, 1);
    let dealt = bench.permits.deal();
    assert!(!bench.permits.has_room(&waiting));
    let permits = std::mem::take(&mut bench.permits);
    bench.reload_with(&graph, permits);
    assert!(bench.permits.has_room(&waiting), "nobody has it any more");
    bench.join("a", 1, &[], &[]);
    let sent = bench.start(RUN, &graph);
    assert_eq!(sent.len(), 1);
    // The promise comes late: it is no second place, and giving it back frees nobody's.
    bench.on([submit_of("acme", RunId(2), &graph)]);
    bench.on(dealt.into_iter().map(|(_, grant)| super::super::Input::Granted(vec![grant])));
    assert!(dispatches(&bench.land_all()).is_empty());
    assert!(!bench.permits.has_room(&waiting));
}

proptest! {
    /// Whatever is taken, given back and waited for: never more than the limit, and nobody waits for ever.
    #[test]
    fn never_more_than_the_limit_and_everybody_in_the_end(
        limit in 1..4u32,
        slots in 1..5u32,
        wanted in proptest::collection::vec((0..2u16, 0..2usize, 0..2usize, 1..4u32), 1..8),
    ) {
        let mut permits = permits(limits(&[("shared", limit)]), slots);
        let needs = [need("x", Some(key("shared", "acme"))), need("y", Some(key("shared", "other"))), need("x", None)];
        let mut left = 0;
        let mut asked: BTreeMap<(u16, usize), u32> = BTreeMap::new();
        for (partition, which, plain, count) in wanted {
            let which = if plain == 1 { 2 } else { which };
            asked.insert((partition, which), count);
        }
        for ((partition, which), count) in asked {
            let tenant = if which == 1 { "other" } else { "acme" };
            permits.want(PartitionId(partition), &tenant.into(), &needs[which], count);
            left += count;
        }
        let mut out: Vec<(Need, Reservation)> = Vec::new();
        let mut rounds = 0;
        while left > 0 {
            rounds += 1;
            prop_assert!(rounds < 200, "{left} wait for ever");
            for (_, grant) in permits.deal() {
                left -= 1;
                out.push((grant.need, grant.reservation));
            }
            let keyed = out.iter().filter(|(need, _)| need.key.is_some()).count();
            prop_assert!(keyed as u32 <= limit, "{keyed} at once");
            if !out.is_empty() {
                permits.give_back(&out.remove(0).1);
            }
        }
    }
}
