//! `logic:race`; the sentences are in the table of `branching.rs`.

use serde_json::{Value, json};

use super::course::{Course, failure, success};
use crate::graph::fixture::Fixture;
use crate::id::{AttemptToken, RunId};
use crate::run::event::{Attempt, ErrorClass, LossCause, Timing};
use crate::run::view::NodeState;
use crate::run::{Command, NodePhase, Outcome, Rejection, RunStatus};

/// `a`, `b` and `c` race; what wins goes to `out`.
fn race(config: Value) -> Fixture {
    let fixture = ["a", "b", "c"].iter().fold(Fixture::default(), |fixture, id| fixture.work(id, "blind", &json!({})));
    let fixture = fixture.logic("it", "race", config).output("out");
    fixture.edge("a.out", "it").edge("b.out", "it").edge("c.out", "it").edge("it.value", "out")
}

fn phase(course: &Course, id: &str) -> NodePhase {
    course.run.phase_of(course.instance(id).node)
}

fn complete(course: &mut Course, id: &str, text: &str) {
    let attempt = course.assign(course.instance(id), 1, false);
    course.finish(attempt, success(text)).unwrap();
}

#[test]
fn a_race_takes_what_comes_first_and_names_who_gave_it() {
    let mut course = Course::begin(&race(json!({"cancelLosers": false})).build());
    complete(&mut course, "c", "third in the document");
    assert_eq!(course.gave("it.value"), Some(json!("third in the document")), "it waits for nobody else");
    assert_eq!(course.gave("it.winner"), Some(json!("c")));
    assert_eq!(phase(&course, "out"), NodePhase::Completed);
    complete(&mut course, "a", "too late");
    assert_eq!(course.gave("it.value"), Some(json!("third in the document")));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn a_race_passes_over_closed_branches_and_is_skipped_if_all_are() {
    for (open, expected) in [(Some("b"), NodePhase::Completed), (None, NodePhase::Skipped)] {
        let graph = ["a", "b"].iter().fold(Fixture::default(), |graph, id| graph.work(id, "pure", &json!({})));
        let graph = graph.logic("it", "race", json!({})).edge("a.side", "it");
        let graph = graph.edge(if open == Some("b") { "b.out" } else { "b.side" }, "it").build();
        let mut course = Course::begin(&graph);
        complete(&mut course, "a", "its other output is closed");
        assert_eq!(phase(&course, "it"), NodePhase::Pending, "nothing has come");
        complete(&mut course, "b", "given");
        assert_eq!(phase(&course, "it"), expected);
        assert_eq!(course.gave("it.value"), open.map(|_| json!("given")));
    }
}

#[test]
fn what_leads_only_to_a_race_is_given_up_when_it_is_won() {
    // before ─▶ wait ─▶ slow ─▶ it; before ─▶ loser ─▶ it; kept ─▶ it and aside.
    let graph = Fixture::default().work("quick", "pure", &json!({})).work("loser", "blind", &json!({}));
    let graph = graph.work("retried", "pure", &json!({})).wait("wait", 10_000).work("slow", "pure", &json!({}));
    let graph = graph.work("kept", "pure", &json!({})).output("aside").logic("it", "race", json!({})).output("out");
    let graph = graph.edge("wait", "slow").edge("slow.out", "it").edge("loser.out", "it").edge("retried.out", "it");
    let graph = graph.edge("kept.out", "it").edge("kept.out", "aside").edge("quick.out", "it").edge("it.value", "out");
    let mut course = Course::begin(&graph.build());
    let loser = course.assign(course.instance("loser"), 1, false);
    let retried = course.assign(course.instance("retried"), 1, false);
    course.finish(retried, failure(ErrorClass::Retryable)).unwrap();
    let phases = |course: &Course, ids: &[&str]| ids.iter().map(|id| phase(course, id)).collect::<Vec<_>>();
    assert_eq!(
        phases(&course, &["wait", "slow", "loser", "retried", "kept"]),
        [NodePhase::Waiting, NodePhase::Pending, NodePhase::Running, NodePhase::Backoff, NodePhase::Ready]
    );
    complete(&mut course, "quick", "won");
    assert_eq!(
        phases(&course, &["wait", "slow", "loser", "retried", "kept"]),
        [NodePhase::Dropped, NodePhase::Dropped, NodePhase::Dropped, NodePhase::Dropped, NodePhase::Ready],
        "what leads elsewhere, too, goes on"
    );
    assert!(course.run.attempt(loser.instance).unwrap().stopping, "its agent is told");
    let seen = course.view();
    for id in ["wait", "slow", "loser", "retried"] {
        let node = course.instance(id).node;
        assert_eq!(seen.node_state(node), Some(NodeState::Cancelled), "{id}");
        assert!(seen.node(node).ended_at.is_some(), "{id}");
    }
    course.pass(100_000);
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle), "no timer is left");
    assert_eq!(course.run.ready().collect::<Vec<_>>(), [course.instance("kept")], "no retry either");
    complete(&mut course, "kept", "done");
    assert_eq!((course.run.status(), course.run.is_closed()), (RunStatus::Completed, false));
    course.finish(loser, success("late")).unwrap();
    assert!(course.run.is_closed());
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

/// What an agent says of an attempt, or what is found out about it.
type Said = fn(Attempt) -> Command;

#[test]
fn whatever_comes_of_a_loser_is_thrown_away() {
    let outcomes: [(&str, Said); 6] = [
        ("attempt.discarded", |attempt| finish(attempt, success("late"))),
        ("attempt.stopped", |attempt| finish(attempt, failure(ErrorClass::InvalidRequest))),
        ("attempt.stopped", |attempt| finish(attempt, Outcome::Stopped)),
        ("attempt.stopped", |attempt| Command::HandBack { attempt }),
        ("attempt.stopped", |attempt| Command::Lose { attempt, cause: LossCause::NewBoot }),
        ("attempt.stopped", |attempt| Command::Lose { attempt, cause: LossCause::StreamGone }),
    ];
    for (expected, command) in outcomes {
        // Another node keeps the run going.
        let graph = race(json!({})).work("other", "pure", &json!({})).build();
        let mut course = Course::begin(&graph);
        let loser = course.assign(course.instance("b"), 1, false);
        complete(&mut course, "a", "won");
        assert_eq!(course.command(Command::Intend { attempt: loser }), Err(Rejection::Idle), "it may not act any more");
        let wrong = Attempt { token: AttemptToken(999), ..loser };
        assert_eq!(course.command(command(wrong)), Err(Rejection::Zombie));
        course.command(command(loser)).unwrap();
        assert_eq!(course.facts().last(), Some(&expected));
        assert_eq!((course.run.status(), phase(&course, "b")), (RunStatus::Running, NodePhase::Dropped));
        assert_eq!(course.gave("b.out"), None);
        complete(&mut course, "other", "done");
        assert_eq!(course.run.status(), RunStatus::Completed);
        assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    }
}

fn finish(attempt: Attempt, outcome: Outcome) -> Command {
    Command::Finish { attempt, outcome, timing: Timing::default() }
}

#[test]
fn losers_run_to_their_end_if_they_are_not_to_be_stopped() {
    let mut course = Course::begin(&race(json!({"cancelLosers": false})).build());
    complete(&mut course, "b", "won");
    assert_eq!(course.run.status(), RunStatus::Running);
    complete(&mut course, "a", "second");
    complete(&mut course, "c", "third");
    assert_eq!((course.run.status(), course.gave("c.out")), (RunStatus::Completed, Some(json!("third"))));
}

#[test]
fn a_branch_that_fails_for_good_before_anything_has_won_fails_the_run() {
    let mut course = Course::begin(&race(json!({})).build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Failed);
}

#[test]
fn a_race_inside_a_branch_of_another_is_given_up_with_it() {
    let graph = race(json!({})).work("quick", "pure", &json!({})).logic("last", "race", json!({})).output("end");
    let graph = graph.edge("out.value", "last").edge("quick.out", "last").edge("last.value", "end");
    let mut course = Course::begin(&graph.build());
    complete(&mut course, "quick", "won");
    for id in ["a", "b", "c", "it", "out"] {
        assert_eq!(phase(&course, id), NodePhase::Dropped, "{id}");
    }
    assert_eq!((course.run.status(), course.gave("end.value")), (RunStatus::Completed, Some(json!("won"))));
}

#[test]
fn what_a_container_waits_for_is_no_loser_though_the_node_in_it_is_left_out() {
    let graph = Fixture::default().json("in", json!(1)).work("a", "pure", &json!({})).logic("it", "race", json!({}));
    let graph = graph.edge("in", "it").edge("a.out", "it").list("list", json!([1])).logic("m", "map", json!({}));
    let graph = graph.work("w", "pure", &json!({})).inside("m").edge("m.item", "w.extra").edge("it.value", "w.other");
    let graph = graph.work("left", "pure", &json!({})).inside("m").edge("a.out", "left.extra");
    let graph = graph.edge("list", "m.items").edge("w.out", "m.result").build();
    let mut course = Course::begin_with(&graph, 0, RunId(7), (None, graph.find("w")), Vec::new());
    assert_eq!(course.run.unwakeable(), []);
    let mut ran = Vec::new();
    course.run_through(|id, _| {
        ran.push(id.to_owned());
        success("done")
    });
    assert_eq!(ran, ["a", "w"]);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

/// A run of a race in the body of a container over `[1, 2, 3]`, or of three turns; one edge leads to the race.
fn in_a_body(kind: &str, brings: &str, config: Value) -> Course {
    let fixture = Fixture::default().list("list", json!([1, 2, 3])).json("other", json!("outside"));
    let fixture = fixture.logic("c", kind, config).logic("race", "race", json!({})).inside("c");
    let fixture = match kind {
        "loop" => fixture.edge("other", "c.seed"),
        _ => fixture.edge("list", "c.items"),
    };
    let mut course = Course::begin(&fixture.edge(brings, "race").edge("race.value", "c.result").build());
    course.run_through(|id, _| super::course::success(id));
    assert_eq!(course.run.status(), RunStatus::Completed, "{kind} {brings}: {:?}", course.run.error());
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    course
}

#[test]
fn a_race_that_is_the_last_of_its_turn_ends_the_turn_once() {
    assert_eq!(in_a_body("loop", "c.iteration", json!({"maxIterations": 3})).gave("c.result"), Some(json!(2)));
    assert_eq!(in_a_body("loop", "c.value", json!({"maxIterations": 3})).gave("c.result"), Some(json!("outside")));
    assert_eq!(in_a_body("reduce", "c.item", json!({})).gave("c.result"), Some(json!(3)));
}

#[test]
fn a_race_in_a_body_gives_the_value_that_comes_from_outside_and_names_who_gave_it() {
    assert_eq!(in_a_body("map", "c.item", json!({})).gave("c.results"), Some(json!([1, 2, 3])));
    assert_eq!(in_a_body("map", "c.index", json!({})).gave("c.results"), Some(json!([0, 1, 2])));
    assert_eq!(in_a_body("map", "other", json!({})).gave("c.results"), Some(json!(["outside", "outside", "outside"])));
    let fixture = Fixture::default().list("list", json!([1, 2])).logic("c", "map", json!({}));
    let fixture = fixture.logic("race", "race", json!({})).inside("c").json("other", json!("outside"));
    let fixture = fixture.edge("list", "c.items").edge("other", "race").edge("c.item", "race");
    let mut course = Course::begin(&fixture.edge("race.winner", "c.result").build());
    course.run_through(|id, _| super::course::success(id));
    assert_eq!(course.gave("c.results"), Some(json!(["other", "other"])));
}

#[test]
fn a_race_is_won_from_outside_though_what_it_waits_for_is_skipped_as_the_body_opens() {
    let fixture = Fixture::default().list("list", json!([1, 2])).work("a", "pure", &json!({}));
    let fixture = fixture.logic("c", "map", json!({})).edge("list", "c.items");
    let fixture = fixture.work("skipped", "pure", &json!({})).inside("c").edge("a.side", "skipped");
    let fixture = fixture.logic("race", "race", json!({})).inside("c").edge("skipped.out", "race");
    let fixture = fixture.edge("c.item", "race").edge("c.index", "race").edge("race.value", "c.result");
    let mut course = Course::begin(&fixture.build());
    course.run_through(|id, _| success(id));
    assert_eq!(course.run.status(), RunStatus::Completed, "{:?}", course.run.error());
    assert_eq!(course.gave("c.results"), Some(json!([1, 2])));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn what_a_turn_carries_on_or_gives_leads_elsewhere_than_to_a_race_in_it() {
    for wanted in ["c.carry", "c.result"] {
        let fixture = Fixture::default().json("other", json!("outside"));
        let fixture = fixture.logic("c", "loop", json!({"maxIterations": 2})).edge("other", "c.seed");
        let fixture = fixture.work("slow", "pure", &json!({})).inside("c").edge("c.iteration", "slow");
        let fixture = fixture.logic("race", "race", json!({})).inside("c").edge("slow.out", "race");
        let fixture = fixture.edge("other", "race").edge("slow.out", wanted);
        let fixture =
            if wanted == "c.carry" { fixture.edge("c.value", "race").edge("race.value", "c.result") } else { fixture };
        let mut course = Course::begin(&fixture.build());
        course.run_through(|id, _| success(id));
        assert_eq!(course.run.status(), RunStatus::Completed, "{wanted}: {:?}", course.run.error());
        let ran = course.events.iter().filter(|event| matches!(event.fact, crate::run::event::Fact::Succeeded { .. }));
        assert_eq!(ran.count(), 2, "{wanted}");
    }
}

#[test]
fn a_race_that_ends_a_turn_gives_up_open_containers_once() {
    for (around, inner) in
        [("loop", "map"), ("loop", "loop"), ("loop", "reduce"), ("reduce", "map"), ("reduce", "loop"), ("map", "map")]
    {
        let fixture = Fixture::default().list("list", json!([1, 2])).logic("c", around, json!({}));
        let fixture = if around == "loop" { fixture.edge("list", "c.seed") } else { fixture.edge("list", "c.items") };
        let fixture = fixture.logic("slow", inner, json!({})).inside("c");
        let (item, into) = if inner == "loop" { ("slow.value", "slow.seed") } else { ("slow.item", "slow.items") };
        let (value, given) = if inner == "map" { ("slow.results", "race") } else { ("slow.result", "race") };
        let fixture = fixture.wait("held", 5_000).inside("slow").edge("list", into).edge(item, "held");
        let fixture = fixture.edge("held", "slow.result").wait("quick", 100).inside("c").edge("list", "quick");
        let fixture = fixture.logic("race", "race", json!({})).inside("c").edge(value, given).edge("quick", "race");
        let mut course = Course::begin(&fixture.edge("race.value", "c.result").build());
        for _ in 0..40 {
            course.pass(100);
            if course.run.status() != RunStatus::Running {
                break;
            }
            course.command(crate::run::Command::Wake).ok();
        }
        assert_eq!(course.run.status(), RunStatus::Completed, "{inner} in {around}: {:?}", course.run.error());
        assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "{inner} in {around}");
    }
}
