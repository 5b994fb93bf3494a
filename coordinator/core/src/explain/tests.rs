//! The sentences about agents, each kind of misfit and of waiting in its words.

use std::collections::BTreeMap;

use super::{Cause, Explained, Told, headline};
use crate::concurrency::{ConcurrencyLimits, KeyTemplate};
use crate::id::{AgentBoot, BootId, Instance, NodeIx, PartitionId, SessionNumber, WorkflowId};
use crate::partition::permits::{Need, Offer, Permits};
use crate::run::view::NodeState;
use crate::time::{Span, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const HERE: PartitionId = PartitionId(0);

fn need(labels: &[(&str, &str)]) -> Need {
    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Need { type_id: "http:request".into(), version: 2, prefetch: false, alone: false, labels, key: None }
}

/// An agent with one slot that runs a type in a version.
fn join(permits: &mut Permits, agent: &str, type_id: &str, version: u32, labels: &[(&str, &str)]) {
    let labels: BTreeMap<String, String> = labels.iter().map(|(name, it)| ((*name).into(), (*it).into())).collect();
    let types = vec![(type_id.into(), version)];
    let session = SessionNumber(1);
    permits.join(agent.into(), Offer { session, boot: BootId(1), types, labels, held: 0, slots: 1, prefetch: 0 });
}

fn told(cause: Cause) -> Told {
    let (node, index) = ("ask".into(), Vec::new());
    let (instance, state) = (Instance::root(NodeIx(0)), NodeState::Ready);
    Told { instance, node, index, state, cause, since: NOW, more: 0 }
}

fn work(need: &Need, permits: &Permits) -> Told {
    let mut explained =
        Explained { nodes: vec![told(Cause::Work { need: need.clone(), standing: None })], ..Explained::default() };
    explained.look_at(permits);
    explained.nodes.remove(0)
}

fn says(need: &Need, permits: &Permits) -> (&'static str, String) {
    let told = work(need, permits);
    (told.cause.kind(), told.sentence(NOW))
}

#[test]
fn it_is_said_why_no_agent_fits() {
    let mut permits = Permits::default();
    let eu = need(&[("region", "eu")]);
    let begin = "\"ask\" needs an agent that runs http:request";
    let expect = |permits: &Permits, end: &str| assert_eq!(says(&eu, permits), ("agent", format!("{begin}{end}.")));
    expect(&permits, " with region=eu: no agent is connected (start one: heddle agent)");
    join(&mut permits, "a", "llm:chat", 9, &[]);
    let list = "(heddle nodes list shows what is offered)";
    expect(&permits, &format!(" with region=eu: the one agent that is connected does not run it {list}"));
    join(&mut permits, "b", "http:request", 3, &[]);
    expect(&permits, " with region=eu: 1 agent runs http:request, it lacks the label region=eu");
    join(&mut permits, "c", "http:request", 1, &[("region", "eu")]);
    let version = " in version 2 or newer with region=eu";
    expect(&permits, &format!("{version}: 2 agents run http:request, 1 lacks the label region=eu, 1 is older"));
    let standing = permits.standing(&eu);
    assert_eq!((standing.agents, standing.fit, standing.lacking), (3, 0, [1, 1, 1, 0]));
    let lacks: Vec<_> = standing.misfits.iter().map(|(agent, misfit)| (agent.to_string(), misfit.name())).collect();
    let expected = [("b", "label"), ("c", "version"), ("a", "type")].map(|(agent, word)| (agent.to_owned(), word));
    assert_eq!(lacks, expected, "who lacks the least is named first");
}

#[test]
fn two_drained_agents_are_said_to_be() {
    let mut permits = Permits::default();
    for agent in ["a", "b"] {
        join(&mut permits, agent, "http:request", 2, &[]);
        permits.close(&AgentBoot { agent: agent.into(), boot: BootId(1) });
    }
    let sentence = "\"ask\" needs an agent that runs http:request: 2 agents run http:request, both are drained.";
    assert_eq!(says(&need(&[]), &permits), ("agent", sentence.into()));
    permits.open(&AgentBoot { agent: "a".into(), boot: BootId(1) });
    assert_eq!(says(&need(&[]), &permits).0, "slot");
}

#[test]
fn it_is_said_how_many_slots_are_busy_and_who_else_waits() {
    let mut permits = Permits::default();
    join(&mut permits, "a", "http:request", 2, &[]);
    let need = need(&[]);
    assert!(permits.reserve(HERE, &need, None).is_some());
    permits.want(HERE, &"acme".into(), &need, 1);
    let alone =
        "\"ask\" waits for a slot: all 1 on 1 agent that could run it are busy, and nothing else waits for one.";
    assert_eq!(says(&need, &permits), ("slot", alone.into()));
    permits.want(PartitionId(1), &"other".into(), &need, 4);
    assert!(says(&need, &permits).1.ends_with("and up to 4 more wait for one."));
}

#[test]
fn it_is_said_how_many_places_of_a_key_are_taken() {
    let mut permits = Permits::new(ConcurrencyLimits::default(), []);
    join(&mut permits, "a", "http:request", 2, &[]);
    let key = Some(KeyTemplate::parse("one").unwrap().of(&"acme".into(), WorkflowId(1)));
    let keyed = Need { key, ..need(&[]) };
    assert!(permits.reserve(HERE, &keyed, None).is_some());
    let sentence = "\"ask\" waits for a place of the concurrency key \"one\": 1 of 1 are taken.";
    assert_eq!(says(&keyed, &permits), ("concurrency", sentence.into()));
}

#[test]
fn a_headline_names_what_lies_outside_first() {
    let inputs = told(Cause::Inputs { nodes: vec!["ask".into()], more: 0 });
    let timer = Told { more: 2, ..told(Cause::Timer { until: NOW.plus(Span::from_seconds(90)) }) };
    assert_eq!(
        timer.sentence(NOW),
        "\"ask\" waits until its time comes, in 1 min 30 s; 2 more instances of the same node too."
    );
    let mut explained = Explained { nodes: vec![timer, inputs], ..Explained::default() };
    assert_eq!(headline(&explained, NOW), "The run goes on: 3 nodes wait for their time, 1 node waits for others.");
    let (until, name) = (None, "go".into());
    let outside = [Cause::Signal { name, until }, Cause::Webhook { until }, Cause::Webhook { until }].map(told);
    let next = [Cause::Turn, Cause::Values].map(told);
    let also = Explained { nodes: outside.into_iter().chain(next).collect(), ..Explained::default() };
    let said = "2 nodes wait until their addresses are called, 1 node waits for a signal, 2 nodes are about to go on";
    assert_eq!(headline(&also, NOW), format!("The run goes on: {said}."), "each word once");
    explained.nodes.push(told(Cause::Nothing));
    assert!(headline(&explained, NOW).starts_with("The run is stuck: \"ask\" waits for nothing"));
}
