use serde_json::json;

use super::course::{Course, failure, mapped, success};
use crate::graph::fixture::Fixture;
use crate::run::event::{ErrorClass, Timing};
use crate::run::trace::{AttemptOutcome, SpanState, Trace};
use crate::run::{Command, RunStatus};
use crate::time::Span;

fn trace(course: &Course) -> Trace {
    let graph = course.run.graph();
    let mut trace = Trace::begin(graph, &course.events[0]).unwrap();
    course.events[1..].iter().for_each(|event| trace.step(graph, event));
    trace
}

#[test]
fn every_attempt_has_its_times_on_the_partitions_clock() {
    let retry = json!({ "retry": { "maxAttempts": 2, "initialMs": 100 } });
    let graph = Fixture::default().input("in").work("a", "pure", &retry).output("out");
    let mut course = Course::begin(&graph.edge("in", "a").edge("a", "out").build());
    let (begun, a) = (course.now, course.instance("a"));
    course.pass(5);
    let first = course.assign(a, 1, false);
    course.pass(40);
    let timing = Timing { queued: Span::from_millis(3), ran: Span::from_millis(30) };
    course.command(Command::Finish { attempt: first, outcome: failure(ErrorClass::Retryable), timing }).unwrap();
    course.pass(100);
    let second = course.assign(a, 1, false);
    let open = trace(&course);
    assert_eq!((open.status, open.ended_at), (RunStatus::Running, None));
    assert_eq!(open.nodes()[1].attempts[1].outcome, AttemptOutcome::Running);
    assert!(open.nodes().iter().all(|node| node.instance.node != course.instance("out").node), "it was never ready");
    course.pass(20);
    // A clock that ran faster on the agent's machine does not put the beginning before the assignment.
    let timing = Timing { queued: Span::ZERO, ran: Span::from_millis(25) };
    course.command(Command::Finish { attempt: second, outcome: success("done"), timing }).unwrap();
    let trace = trace(&course);
    let ms = |millis| begun.plus(Span::from_millis(millis));
    let nodes = trace.nodes();
    let [_, work, out] = nodes[..] else { panic!("three spans of nodes: {nodes:?}") };
    let times = work.attempts.iter().map(|attempt| (attempt.assigned_at, attempt.started_at, attempt.ended_at));
    assert!(times.eq([(ms(5), Some(ms(15)), Some(ms(45))), (ms(145), Some(ms(145)), Some(ms(165)))]), "{work:?}");
    let outcomes = work.attempts.iter().map(|attempt| (attempt.outcome, attempt.error_code.as_deref()));
    assert!(outcomes.eq([(AttemptOutcome::Failed, Some("because")), (AttemptOutcome::Succeeded, None)]), "{work:?}");
    assert_eq!((work.ready_at, work.ended_at, work.state), (begun, Some(ms(165)), SpanState::Completed));
    assert_eq!((out.ready_at, out.ended_at), (ms(165), Some(ms(165))));
    assert_eq!((trace.status, trace.ended_at), (RunStatus::Completed, Some(ms(165))));
    assert!(nodes.iter().all(|node| node.waiting_since.is_none()), "nobody waited for an instant: {nodes:?}");
}

#[test]
fn what_a_cancelled_run_leaves_is_cancelled_with_it() {
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &json!({})).build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.pass(10);
    course.command(Command::Cancel { by: "somebody".into(), reason: None }).unwrap();
    let trace = trace(&course);
    let node = trace.nodes()[0];
    assert_eq!((node.state, node.ended_at), (SpanState::Cancelled, trace.ended_at));
    assert_eq!(node.attempts[0].number, attempt.number);
}

#[test]
fn a_node_that_waits_is_told_from_one_that_is_decided_at_once() {
    let graph = Fixture::default().input("in").wait("w", 500).output("out").edge("in", "w").edge("w", "out").build();
    let mut course = Course::begin(&graph);
    let begun = course.now;
    course.pass(500);
    course.command(Command::Wake).unwrap();
    let trace = trace(&course);
    let waits: Vec<_> = trace.nodes().iter().map(|node| node.waiting_since).collect();
    assert_eq!(waits, [None, Some(begun), None]);
    assert_eq!(trace.nodes()[1].ended_at, Some(begun.plus(Span::from_millis(500))));
    assert_eq!(trace.nodes()[2].ready_at, trace.nodes()[2].ended_at.unwrap());
}

#[test]
fn the_span_of_a_map_lasts_from_its_first_items_to_its_end() {
    let fixture = mapped(json!({"concurrency": 1}), json!([1, 2])).work("before", "pure", &json!({}));
    let mut course = Course::begin(&fixture.edge("before.out", "w.in").build());
    let begun = course.now;
    course.pass(10);
    let before = course.assign(course.instance("before"), 1, false);
    course.finish(before, success("x")).unwrap();
    while let Some(item) = course.next_ready() {
        let attempt = course.assign(item, 1, false);
        course.pass(20);
        course.finish(attempt, success("x")).unwrap();
    }
    let (trace, m) = (trace(&course), course.instance("m"));
    let nodes = trace.nodes();
    let span = nodes.iter().find(|node| node.instance == m).unwrap();
    let ms = |millis| Some(begun.plus(Span::from_millis(millis)));
    assert_eq!((span.opened_at, span.ended_at), (ms(10), ms(50)));
    assert_eq!(nodes.iter().filter(|node| node.opened_at.is_some()).count(), 1);
}
