use std::sync::Arc;

use serde_json::json;

use super::course::{Course, failure, success};
use crate::graph::fixture::Fixture;
use crate::run::Command;
use crate::run::event::{ErrorClass, Timing};
use crate::run::timeline::{AttemptEnd, Timeline};
use crate::time::Span;

fn timeline(course: &Course) -> Timeline {
    let mut timeline = Timeline::begin(course.run.id(), Arc::clone(course.run.graph()), &course.events[0]).unwrap();
    course.events[1..].iter().for_each(|event| timeline.step(event).unwrap());
    timeline
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
    let open = timeline(&course);
    assert_eq!(open.attempts(a.node)[1].end, AttemptEnd::Running);
    assert_eq!(open.ready_at(course.instance("out").node), None, "its input is open");
    course.pass(20);
    // A clock that ran faster on the agent's machine does not put the start before the assignment.
    let timing = Timing { queued: Span::ZERO, ran: Span::from_millis(25) };
    course.command(Command::Finish { attempt: second, outcome: success("done"), timing }).unwrap();
    let timeline = timeline(&course);
    let ms = |millis| begun.plus(Span::from_millis(millis));
    let times = timeline.attempts(a.node);
    let shown: Vec<_> = times.iter().map(|times| (times.assigned_at, times.started_at, times.ended_at)).collect();
    assert_eq!(shown, [(ms(5), Some(ms(15)), Some(ms(45))), (ms(145), Some(ms(145)), Some(ms(165)))]);
    assert_eq!(times[0].end, AttemptEnd::Failed("because".into()));
    assert_eq!(times[1].end, AttemptEnd::Succeeded);
    assert_eq!(timeline.ready_at(a.node), Some(begun));
    assert_eq!(timeline.ready_at(course.instance("out").node), Some(ms(165)));
}
