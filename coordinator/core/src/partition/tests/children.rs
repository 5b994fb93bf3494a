//! Children in a partition: what is asked of other slots leaves with what causes it, once, and what they say finds its run.

use std::sync::Arc;

use serde_json::json;

use super::bench::{Bench, RUN, cancel, submission, submit};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{CallerId, EventSeq, Instance, NodeIx, RunId, Slot, WorkflowId};
use crate::limits;
use crate::outbox::{Message, MessageBody, MessageId};
use crate::partition::io::{Delivery, Effect, Input, Order, Release, Submission};
use crate::run::event::InvokedBy;
use crate::run::{ChildEnd, ChildGave, RunStatus};

fn graph() -> Arc<Graph> {
    let config = json!({"workflowId": WorkflowId(9).to_string()});
    Fixture::default().node("c", json!({"nodeType": "blueprint:invoke", "config": config})).build()
}

fn by(instance: Instance) -> InvokedBy {
    InvokedBy { run: RUN, instance, node: "c".into(), index: Vec::new(), depth: 1 }
}

/// Messages that leave.
fn sent(releases: &[Release]) -> Vec<Message> {
    let found = releases.iter().filter_map(|release| match release {
        Release::Effect(Effect::Deliver(message)) => Some(message.clone()),
        _ => None,
    });
    found.collect()
}

fn arrived(releases: &[Release]) -> usize {
    releases.iter().filter(|release| matches!(release, Release::Effect(Effect::Arrived { .. }))).count()
}

fn end_of(child: RunId) -> Input {
    let instance = Instance::root(NodeIx(0));
    let end = Box::new(ChildEnd { instance, child, outcome: Ok(ChildGave::default()) });
    let order = Order::EndChild { parent: RUN, end };
    Input::Delivered(Box::new(Delivery { message: MessageId(5), source: Slot(3), order }))
}

fn begun(bench: &mut Bench, graph: &Arc<Graph>) -> Message {
    bench.on([submit(RUN, graph, None)]);
    let [start] = &sent(&bench.land_all())[..] else { panic!("one child") };
    start.clone()
}

#[test]
fn a_child_is_asked_for_once_and_when_that_is_durable() {
    let graph = graph();
    let mut bench = Bench::new();
    let early = bench.on([submit(RUN, &graph, None)]);
    assert!(sent(&early.releases).is_empty(), "nothing leaves before it is durable");
    assert_eq!(bench.flying.as_ref().unwrap().beside.sent.len(), 1);
    let [message] = &sent(&bench.land_all())[..] else { panic!("one child") };
    let MessageBody::StartChild { child, parent, instance, seq } = message.body else { panic!("a start") };
    assert_eq!((parent, instance, seq), (RUN, Instance::root(NodeIx(0)), EventSeq(1)));
    assert_eq!((message.source, message.destination), (RUN.slot(), child.slot()));
    // Another load finds the message among those that are owed; it makes none of its own.
    bench.reload(&graph);
    assert!(bench.flying.is_none() && sent(&bench.land_all()).is_empty());
}

#[test]
fn the_end_of_a_child_finds_its_parent_on_disk_and_counts_once() {
    let graph = graph();
    let mut bench = Bench::new();
    let start = begun(&mut bench, &graph);
    let MessageBody::StartChild { child, .. } = start.body else { panic!("a start") };
    bench.on([Input::Received(start.id)]);
    bench.land_all();
    bench.pass(limits::EVICT_AFTER);
    bench.tick();
    assert!(bench.partition.is_empty(), "it waits for its child on disk");
    assert_eq!(bench.on([end_of(child), end_of(child)]).loads, [RUN]);
    let run = bench.folded(RUN, &graph);
    let early = bench.on([Input::Loaded(RUN, Some(run))]);
    assert_eq!(arrived(&early.releases), 0, "the child's slot hears of it when it is durable");
    assert_eq!(arrived(&bench.land_all()), 2);
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
    let ends = bench.history[&RUN].iter().filter(|event| event.fact.name() == "child.completed").count();
    assert_eq!(ends, 1);
}

#[test]
fn a_cancelled_run_stops_its_child_after_its_start() {
    let graph = graph();
    let mut bench = Bench::new();
    let start = begun(&mut bench, &graph);
    bench.on([cancel(2, RUN)]);
    assert!(sent(&bench.land_all()).is_empty(), "nothing overtakes the start");
    let [stop] = &sent(&bench.on([Input::Received(start.id)]).releases)[..] else { panic!("one message") };
    let MessageBody::StartChild { child, .. } = start.body else { panic!("a start") };
    assert_eq!(stop.body, MessageBody::CancelRun { run: child, by: "somebody".into() });
}

#[test]
fn a_child_tells_its_parent_that_it_is_over() {
    let graph = Fixture::default().input("in").output("out").edge("in", "out").build();
    let (child, instance) = (RunId(77), Instance::root(NodeIx(4)));
    let invoked_by = Some(by(instance));
    let mut bench = Bench::new();
    let submission = Submission { invoked_by, ..submission(child, &graph, None) };
    bench.on([Input::Submit(CallerId(1), Box::new(submission))]);
    let created = bench.flying.as_ref().unwrap().runs[0].created.clone().unwrap();
    assert_eq!(created.parent, Some(RUN));
    let [message] = &sent(&bench.land_all())[..] else { panic!("one message") };
    assert_eq!(message.body, MessageBody::ChildEnded { child, parent: RUN, instance });
    assert_eq!((message.source, message.destination), (child.slot(), RUN.slot()));
}

#[test]
fn a_child_that_is_set_aside_is_told_of_too() {
    let graph = Fixture::default().wait("w", 60_000).build();
    let child = RunId(77);
    let invoked_by = Some(by(Instance::root(NodeIx(4))));
    let mut bench = Bench::new();
    let submission = Submission { invoked_by, ..submission(child, &graph, None) };
    bench.on([Input::Submit(CallerId(1), Box::new(submission))]);
    bench.land_without(&[child]);
    let told = sent(&bench.land_all());
    assert!(matches!(told[..], [Message { body: MessageBody::ChildEnded { .. }, .. }]), "{told:?}");
}

#[test]
fn what_was_read_before_a_run_came_and_went_is_read_again() {
    let graph = Fixture::default().wait("w", 60_000).build();
    let child = RunId(77);
    let mut bench = Bench::new();
    assert_eq!(bench.on([cancel(1, child)]).loads, [child], "it is not there yet");
    bench.on([Input::Submit(CallerId(2), Box::new(submission(child, &graph, None)))]);
    bench.land_all();
    let early = bench.folded(child, &graph);
    bench.on([cancel(3, child)]);
    bench.land_all();
    assert!(bench.partition.is_empty(), "it is over");
    let read = bench.on([Input::Loaded(child, Some(early))]);
    assert_eq!(read.loads, [child], "what is read is older than what was here");
    assert!(bench.partition.is_empty() && bench.flying.is_none());
    let late = bench.folded(child, &graph);
    bench.on([Input::Loaded(child, Some(late))]);
    bench.land_all();
    assert_eq!(bench.folded(child, &graph).status(), RunStatus::Cancelled);
}

#[test]
fn a_run_that_is_over_stays_until_its_end_has_landed_whatever_is_read_of_it() {
    let graph = Fixture::default().text("a", "x").build();
    let child = RunId(77);
    let mut bench = Bench::new();
    assert_eq!(bench.on([cancel(1, child)]).loads, [child], "it is not there yet");
    bench.on([Input::Submit(CallerId(2), Box::new(submission(child, &graph, None)))]);
    assert!(bench.flying.is_some(), "it begins and ends in one batch, which is on its way");
    bench.on([Input::Loaded(child, None)]);
    assert!(!bench.partition.is_empty(), "nobody else knows of it");
    bench.land_all();
    assert!(bench.partition.is_empty());
}
