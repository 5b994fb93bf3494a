//! Whose turn it is when slots are scarce (E14).

use std::sync::Arc;

use serde_json::{Value, json};

use super::bench::{Bench, cancel, dispatches, finished, finished_with, submit, submit_of};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AgentBoot, BootId, NodeIx, RunId};
use crate::limits;
use crate::partition::io::{Dispatch, Input};
use crate::run::event::PermitClass;
use crate::value::{Artifact, Digest};

const FIRST: RunId = RunId(1);
const SECOND: RunId = RunId(2);

fn wide(nodes: usize, policy: &Value) -> Arc<Graph> {
    let work = (0..nodes).fold(Fixture::default(), |fixture, node| fixture.work(&format!("n{node}"), "pure", policy));
    work.build()
}

/// Finishes what was sent, one after the other, until nothing more is; the runs in the order in which they were sent work.
fn served(bench: &mut Bench, mut sent: Vec<Dispatch>) -> Vec<RunId> {
    let mut order = Vec::new();
    while !sent.is_empty() {
        let attempt = sent.remove(0);
        let more = served_one(bench, &attempt);
        order.extend(more.iter().map(|attempt| attempt.key.run));
        sent.extend(more);
    }
    order
}

/// An attempt ends and its slot falls free; what is sent then.
fn served_one(bench: &mut Bench, attempt: &Dispatch) -> Vec<Dispatch> {
    bench.permits.finished(&attempt.to, attempt.session, 1);
    bench.permits.grant(&attempt.to, attempt.session, PermitClass::Slot, 1);
    let granted = bench.permits.deal().into_iter().map(|(_, grant)| Input::Granted(vec![grant]));
    let inputs: Vec<Input> = std::iter::once(finished(attempt, "done")).chain(granted).collect();
    bench.on(inputs);
    dispatches(&bench.land_all())
}

fn last_of(order: &[RunId], run: RunId) -> usize {
    order.iter().rposition(|served| *served == run).unwrap()
}

#[test]
fn tenants_take_turns_at_the_slots() {
    let mut bench = Bench::with_agent();
    bench.on([submit_of("large", FIRST, &wide(60, &json!({"priority": 100})))]);
    let sent = dispatches(&bench.land_all());
    assert_eq!(sent.len(), 2, "it had the agent to itself");
    bench.on([submit_of("small", SECOND, &wide(5, &json!({})))]);
    bench.land_all();
    let order = served(&mut bench, sent);
    assert_eq!(order.len(), 58 + 5);
    assert!(last_of(&order, SECOND) < 12, "the small one waits for the large one: {order:?}");
}

#[test]
fn runs_of_one_tenant_take_turns() {
    let mut bench = Bench::with_agent();
    bench.on([submit(FIRST, &wide(60, &json!({})), None)]);
    let sent = dispatches(&bench.land_all());
    bench.on([submit(SECOND, &wide(5, &json!({})), None)]);
    bench.land_all();
    let order = served(&mut bench, sent);
    assert_eq!(order.len(), 58 + 5);
    assert!(last_of(&order, SECOND) < 12, "the small one waits for the large one: {order:?}");
}

#[test]
fn what_is_more_important_goes_first() {
    let mut bench = Bench::with_agent();
    bench.on([submit(FIRST, &wide(20, &json!({})), None)]);
    let sent = dispatches(&bench.land_all());
    bench.on([submit(SECOND, &wide(5, &json!({"priority": 10})), None)]);
    bench.land_all();
    let order = served(&mut bench, sent);
    assert_eq!(order[..5], [SECOND; 5], "{order:?}");
}

/// An agent that is busy for long gives back what waits there, and somebody else may be free.
#[test]
fn what_an_agent_gives_back_goes_before_what_has_not_been_given_to_any() {
    let mut bench = Bench::with_agent();
    let sent = bench.start(FIRST, &wide(6, &json!({})));
    assert_eq!(sent.len(), 2);
    let next = &sent[1];
    bench.permits.grant(&next.to, next.session, PermitClass::Slot, 1);
    bench.on([Input::HandedBack { from: next.to.clone(), key: next.key }]);
    let granted: Vec<Input> = bench.permits.deal().into_iter().map(|(_, grant)| Input::Granted(vec![grant])).collect();
    bench.on(granted);
    let again = dispatches(&bench.land_all());
    assert_eq!(again.iter().map(|attempt| attempt.key.instance).collect::<Vec<_>>(), [next.key.instance]);
}

/// More comes than is served, and all of it is more important than what waits.
#[test]
fn a_run_is_overtaken_only_by_what_came_in_the_time_that_its_distance_is_worth() {
    let mut bench = Bench::with_agent();
    let mut sent = bench.start(RunId(1_000), &wide(2, &json!({})));
    bench.on([submit(FIRST, &wide(1, &json!({"priority": -3})), None)]);
    bench.land_all();
    let mut before = Vec::new();
    loop {
        bench.pass(limits::PRIORITY_POINT);
        let next = RunId(2_000 + before.len() as u128);
        bench.on([submit(next, &wide(2, &json!({"priority": 4})), None)]);
        bench.land_all();
        let attempt = sent.remove(0);
        sent.extend(served_one(&mut bench, &attempt));
        let served = sent.last().unwrap().key.run;
        if served == FIRST {
            break;
        }
        before.push(served);
    }
    // Seven points apart: what came later than that, and in the same point, waits behind it.
    assert!(before.len() >= 7, "a difference of priority counts for something: {before:?}");
    assert!(before.iter().all(|run| *run <= RunId(2_000 + 7)), "{before:?}");
}

/// What one run has in the queue at a time is bounded: what is urgent must not wait until there is room for it.
#[test]
fn what_becomes_ready_late_goes_before_what_is_less_important_of_a_wide_run() {
    let mut bench = Bench::with_agent();
    let urgent = json!({"priority": 10});
    let chain = ["u0", "u1", "u2", "u3"];
    let graph = chain.iter().fold(Fixture::default(), |fixture, id| fixture.work(id, "pure", &urgent));
    let graph = chain.windows(2).fold(graph, |fixture, pair| fixture.edge(pair[0], pair[1]));
    let wide = (0..2 * limits::RUN_EXPOSED_ATTEMPTS_MAX).map(|node| format!("n{node}"));
    let graph = wide.fold(graph, |fixture, id| fixture.work(&id, "pure", &json!({}))).build();
    let mut sent = bench.start(FIRST, &graph);
    let mut order = Vec::new();
    for _ in 0..chain.len() {
        let attempt = sent.remove(0);
        order.push(attempt.key.instance.node.0);
        sent = served_one(&mut bench, &attempt);
    }
    assert_eq!(order, [0, 1, 2, 3], "the way of what is important goes on at each end of a node");
}

#[test]
fn a_run_that_is_cancelled_holds_no_place() {
    let mut bench = Bench::with_agent();
    bench.on([submit(FIRST, &wide(20, &json!({})), None)]);
    let sent = dispatches(&bench.land_all());
    bench.on([submit(SECOND, &wide(3, &json!({})), None)]);
    bench.land_all();
    bench.on([cancel(9, FIRST)]);
    bench.land_all();
    assert_eq!(served(&mut bench, sent), [SECOND; 3]);
    assert_eq!(bench.permits.free(&"a".into()), (2, 0), "nothing is owed to who has left");
    let (agent, session) = (AgentBoot { agent: "a".into(), boot: BootId(1) }, bench.stream("a"));
    bench.permits.grant(&agent, session, PermitClass::Slot, 1);
    assert!(bench.permits.deal().is_empty());
}

/// Two agents with all slots taken: `first` and `second` wait, and what they need is on the agents of the given names.
struct Near {
    bench: Bench,
    made: [Dispatch; 2],
}

impl Near {
    fn new() -> Self {
        let mut bench = Bench::with_agent();
        bench.join("b", 1, &[], &[]);
        let work = |fixture: Fixture, id: &str| fixture.work(id, "pure", &json!({}));
        let graph = ["m1", "m2", "first", "second"].into_iter().fold(Fixture::default(), work);
        let graph = graph.edge("m1", "first").edge("m2", "second").build();
        let made: [Dispatch; 2] = bench.start(FIRST, &graph).try_into().unwrap();
        assert_ne!(made[0].to, made[1].to);
        assert_eq!(bench.start(SECOND, &wide(2, &json!({}))).len(), 2);
        for attempt in &made {
            bench.permits.finished(&attempt.to, attempt.session, 1);
            bench.on([finished_with(attempt, large())]);
            assert!(dispatches(&bench.land_all()).is_empty(), "there is no slot");
        }
        Self { bench, made }
    }

    /// A slot falls free where one of the makers ran: the node that goes there.
    fn slot_at(&mut self, maker: usize) -> NodeIx {
        let Dispatch { to, session, .. } = &self.made[maker];
        self.bench.permits.grant(to, *session, PermitClass::Slot, 1);
        let sent = self.bench.deal();
        assert_eq!(sent.len(), 1);
        assert_eq!(&sent[0].to, to);
        sent[0].key.instance.node
    }
}

fn large() -> crate::value::Value {
    let bytes = 2 * limits::LOCALITY_INPUT_BYTES_MIN;
    let media_type = "application/octet-stream".into();
    crate::value::Value::from_artifact(Artifact { digest: Digest::of(b"large"), bytes, media_type, is_json: false })
}

#[test]
fn a_free_slot_goes_to_the_node_whose_inputs_are_there() {
    let mut near = Near::new();
    assert_eq!(near.slot_at(1), NodeIx(3), "the second one is near");
    assert_eq!(near.slot_at(0), NodeIx(2));
}

#[test]
fn no_node_waits_long_for_the_agent_that_has_its_inputs() {
    let mut near = Near::new();
    near.bench.pass(limits::LOCALITY_WAIT_MAX);
    assert_eq!(near.slot_at(1), NodeIx(2), "the first one has waited long enough");
}

#[test]
fn a_slot_is_not_kept_free_for_what_may_come() {
    let mut near = Near::new();
    assert_eq!((near.slot_at(1), near.slot_at(1)), (NodeIx(3), NodeIx(2)));
}
