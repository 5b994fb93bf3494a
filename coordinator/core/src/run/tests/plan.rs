//! The plan of a resume: what runs was planned to, or lies within what may run (E23). [`Child::through`] holds it in every test of
//! resuming; here are those plans that are easily wrong.

use std::sync::Arc;

use serde_json::{Value, json};

use super::course::{Course, failure, success};
use super::reuse::{Child, child, from, gives};
use super::reviews::{answer, approve, say};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{RunId, Subject};
use crate::run::event::{ErrorClass, LossCause, ReviewVerdict};
use crate::run::plan::{Planned, Why};
use crate::run::resume::Resume;
use crate::run::{Command, Outcome, ReviewAnswer, RunStatus};
use crate::value::Value as Kept;

/// Where a node is planned to run, and why.
fn places(child: &Child, planned: &[Planned], id: &str) -> Vec<(Vec<u32>, Why)> {
    let node = child.course.instance(id).node;
    planned.iter().filter(|it| it.node == node).map(|it| (it.index.clone(), it.why)).collect()
}

/// m over lists, in it n over the items of each, in it w.
fn nested(lists: Value) -> Fixture {
    Fixture::default()
        .list("lists", lists)
        .logic("m", "map", json!({}))
        .logic("n", "map", json!({}))
        .inside("m")
        .work("w", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("n")
        .output("end")
        .edge("lists", "m.items")
        .edge("m.item", "n.items")
        .edge("n.item", "w.extra")
        .edge("w.out", "n.result")
        .edge("n.results", "m.result")
        .edge("m.results", "end")
}

fn negated(_: &str, inputs: Value) -> Outcome {
    gives(&json!(-inputs["extra"].as_i64().unwrap()))
}

/// A run that failed with one call, all others of which were done.
fn failed(fixture: Fixture, call: usize) -> Course {
    let mut parent = Course::begin(&fixture.build());
    let (mut open, mut calls) = (Vec::new(), 0);
    while let Some(instance) = parent.next_ready() {
        open.push((parent.inputs(instance), parent.assign(instance, 1, false)));
    }
    let bad = open.remove(call);
    for (inputs, attempt) in open {
        calls += 1;
        parent.finish(attempt, negated("w", inputs)).unwrap();
    }
    assert!(calls > 0 && parent.run.status() == RunStatus::Running);
    parent.finish(bad.1, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(parent.run.status(), RunStatus::Failed);
    parent
}

#[test]
fn what_a_condition_looks_at_is_one_of_its_inputs() {
    let condition = json!({"condition": "nodes.a.output == 'new'"});
    let fixture = Fixture::default().text("in", "x").work("a", "pure", &json!({})).logic("i", "if", condition);
    let fixture = fixture.work("yes", "pure", &json!({})).output("end").edge("in", "a").edge("a.side", "i");
    let mut parent = Course::begin(&fixture.edge("i.true", "yes").edge("yes", "end").build());
    let ports = ["out", "side"].map(|port| (port.into(), Kept::from_json(json!(port).to_string().into())));
    parent.run_through(|_, _| Outcome::Succeeded(ports.to_vec()));
    assert_eq!((parent.run.status(), parent.gave("yes.out")), (RunStatus::Completed, None));
    let graph = parent.run.graph();
    // What comes into the branch by its edge is what it was.
    let mut child = child(&parent, graph, Resume::default(), &[("a", "out", json!("new"))]).unwrap();
    assert_eq!(child.through(|_, _| success("done")), ["yes"]);
}

#[test]
fn what_lies_in_a_container_that_is_reused_is_there_for_nobody_else() {
    // Both inner maps go through the same list: their results are known by the same keys.
    let parent = failed(nested(json!([[1, 2], [1, 2]])), 3);
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, Resume::default(), &[]).unwrap();
    assert_eq!(child.through(negated), ["w(2)"]);
    assert_eq!(places(&child, &child.plan.will_run, "w"), [(vec![1, 1], Why::Failed)]);
}

#[test]
fn what_lies_in_an_item_is_found_where_the_parent_had_it() {
    let parent = failed(nested(json!([[1], [2, 3]])), 2);
    let other = nested(json!([[2, 3], [1]])).build();
    let mut child = child(&parent, &other, Resume { differs: true, ..Resume::default() }, &[]).unwrap();
    assert_eq!(child.through(negated), ["w(3)"]);
    assert_eq!(child.course.gave("end.value"), Some(json!([[-2, -3], [-1]])));
}

#[test]
fn a_result_that_was_planned_for_another_item_stays_when_the_container_around_it_is_reused() {
    let parent = failed(nested(json!([[5], [5, 6]])), 0);
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, Resume::default(), &[]).unwrap();
    assert_eq!(child.through(negated), Vec::<String>::new(), "what it needs was made for the other item");
    assert_eq!(child.course.gave("end.value"), Some(json!([[-5], [-5, -6]])));
}

#[test]
fn a_part_that_ends_inside_maps_does_not_wait_for_what_it_leaves_out() {
    // Beside w, in the inner map, is a node that takes what lies outside of both, and one that takes what lies beside its map.
    let fixture = nested(json!([[1], [2]])).text("in", "x").work("out", "pure", &json!({})).edge("in", "out.extra");
    let fixture = fixture.work("beside", "pure", &json!({})).inside("m").edge("m.index", "beside.extra");
    let fixture = fixture.work("u", "pure", &json!({})).inside("n").edge("out", "u.extra");
    let fixture = fixture.work("v", "pure", &json!({})).inside("n").edge("beside", "v.extra");
    let mut parent = Course::begin(&fixture.build());
    parent.run_through(|_, _| success("done"));
    let graph = parent.run.graph();
    let asked = Resume { to: graph.find("w"), ..from(graph, "w") };
    let mut child = child(&parent, graph, asked, &[]).unwrap();
    assert_eq!(child.through(negated), ["w(1)", "w(2)"]);
    assert_eq!(child.course.run.status(), RunStatus::Completed);
}

#[test]
fn what_a_container_gave_of_which_a_part_ran_is_no_result_of_all_of_it() {
    let fixture = nested(json!([[1], [2]])).work("after", "pure", &json!({})).inside("n").edge("w.out", "after.extra");
    let graph = fixture.build();
    let mut parent = Course::begin(&graph);
    parent.run_through(negated);
    let asked = Resume { to: graph.find("w"), ..from(&graph, "w") };
    let mut part = child(&parent, &graph, asked, &[]).unwrap();
    assert_eq!(part.through(negated), ["w(1)", "w(2)"]);
    let mut whole = child(&part.course, &graph, from(&graph, "end"), &[]).unwrap();
    assert_eq!(whole.through(negated), ["after(-1)", "after(-2)"]);
}

#[test]
fn turns_that_the_parent_never_began_may_run() {
    let looped = |until: &str| {
        Fixture::default()
            .logic("l", "loop", json!({"maxIterations": 3, "until": until}))
            .work("w", "pure", &json!({}))
            .inside("l")
            .output("end")
            .edge("l.iteration", "w.extra")
            .edge("w.out", "l.result")
            .edge("l.result", "end")
            .build()
    };
    // After its first turn nobody can say whether the loop goes on.
    let mut parent = Course::begin(&looped("result.missing > 1"));
    parent.run_through(negated);
    assert_eq!(parent.run.status(), RunStatus::Failed);
    let other = looped("result < -1");
    let mut child = child(&parent, &other, Resume { differs: true, ..Resume::default() }, &[]).unwrap();
    assert_eq!(child.through(negated), ["w(1)", "w(2)"]);
    assert_eq!(places(&child, &child.plan.reused, "w"), [(vec![0], Why::Same)]);
    assert_eq!(places(&child, &child.plan.may_run, "w"), [(vec![], Why::InputMayChange)]);
    assert_eq!(child.plan.unknown_count, 1);
}

/// l goes on with what its second node makes of what w has made of the turn before.
fn carried(turns: u32, second: impl FnOnce(Fixture) -> Fixture) -> Arc<Graph> {
    let fixture = Fixture::default().json("in", json!(1)).logic("l", "loop", json!({"maxIterations": turns}));
    let fixture = second(fixture.edge("in", "l.seed").work("w", "pure", &json!({})).inside("l"));
    fixture.edge("l.value", "w.extra").output("end").edge("l.result", "end").build()
}

fn next(_: &str, inputs: Value) -> Outcome {
    gives(&json!(inputs["extra"].as_i64().unwrap_or(0) + 1))
}

#[test]
fn a_turn_that_leaves_out_what_gives_its_result_is_the_only_one() {
    let second = |it: Fixture| it.work("r", "pure", &json!({})).inside("l").edge("w", "r.extra").edge("r", "l.result");
    let mut parent = Course::begin(&carried(4, second));
    parent.run_through(next);
    assert_eq!(parent.gave("end.value"), Some(json!(9)));
    // With other turns it is another loop.
    let graph = carried(3, second);
    let asked = Resume { to: graph.find("w"), differs: true, ..Resume::default() };
    let mut part = child(&parent, &graph, asked, &[]).unwrap();
    assert_eq!(part.through(next), [""; 0], "the parent's first turn is all of it");
    assert_eq!(places(&part, &part.plan.reused, "w"), [(vec![0], Why::Same)]);
    assert_eq!(part.plan.may_run, []);
}

#[test]
fn a_turn_of_which_a_part_ran_says_nothing_of_the_next_one_when_all_of_it_runs() {
    // What gives the result costs nothing: it is evaluated, and not taken over.
    let second = |it: Fixture| it.logic("r", "merge", json!({})).inside("l").edge("w", "r").edge("r", "l.result");
    let graph = carried(3, second);
    let mut parent = Course::begin_with(&graph, 0, RunId(7), (None, graph.find("w")), Vec::new());
    parent.run_through(next);
    let mut whole = child(&parent, &graph, from(&graph, "in"), &[]).unwrap();
    assert_eq!(whole.through(next), ["w(2)", "w(3)"]);
    assert_eq!(places(&whole, &whole.plan.reused, "w"), [(vec![0], Why::Same)]);
    assert_eq!(places(&whole, &whole.plan.may_run, "w"), [(vec![], Why::InputMayChange)]);
}

/// Why a runs if all goes on from what is left.
fn why(parent: &Course) -> Vec<(Vec<u32>, Why)> {
    let child = child(parent, parent.run.graph(), Resume::default(), &[]).unwrap();
    places(&child, &child.plan.will_run, "a")
}

#[test]
fn of_what_began_to_act_nobody_says_that_it_never_ran() {
    let begun = |intends: bool, policy: &str| {
        let fixture = Fixture::default().input("in").work("a", "blind", &json!({"onUnknown": policy})).output("out");
        let mut course = Course::begin(&fixture.edge("in", "a").edge("a.out", "out").build());
        let attempt = course.assign(course.instance("a"), 1, false);
        if intends {
            course.command(Command::Intend { attempt }).unwrap();
        }
        (course, attempt)
    };
    let cancelled = |mut course: Course| {
        course.command(Command::Cancel { by: Subject::from("somebody"), reason: None }).unwrap();
        why(&course)
    };
    let lost = |policy: &str| {
        let (mut course, attempt) = begun(true, policy);
        course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
        course
    };
    let unknown = [(vec![], Why::OutcomeUnknown)];
    assert_eq!(cancelled(begun(false, "park").0), [(vec![], Why::NeverRan)]);
    assert_eq!(cancelled(begun(true, "park").0), unknown, "the run ended while it acted");
    assert_eq!(cancelled(lost("park")), unknown, "nobody had decided what became of it");
    assert_eq!(cancelled(lost("retry")), unknown, "nor had the next attempt");
    assert_eq!(why(&lost("fail")), unknown);
    let (mut course, attempt) = begun(true, "park");
    course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(why(&course), [(vec![], Why::Failed)], "an answer is an answer");
    let mut course = lost("park");
    say(&mut course, answer(0, "ann", ReviewVerdict::Reject)).unwrap();
    assert_eq!(why(&course), [(vec![], Why::Failed)], "ann knows");
    let mut course = lost("park");
    say(&mut course, answer(0, "ann", ReviewVerdict::Retry)).unwrap();
    assert_eq!(cancelled(course), [(vec![], Why::NeverRan)], "ann knows, too");
}

#[test]
fn what_a_person_had_made_with_another_config_says_so() {
    let fixture = Fixture::default().text("in", "x").work("a", "keyed", &json!({"review": "after"}));
    let fixture = fixture.work("c", "pure", &json!({})).output("end").edge("in", "a").edge("a.out", "c");
    let mut parent = Course::begin(&fixture.edge("c", "end").build());
    parent.run_through(|_, _| success("first"));
    let config = Some(Kept::from_json(json!({"tone": "friendly"}).to_string().into()));
    say(&mut parent, ReviewAnswer { config, ..answer(0, "ann", ReviewVerdict::Retry) }).unwrap();
    parent.run_through(|_, _| success("again"));
    approve(&mut parent, 1);
    parent.run_through(|_, _| success("end"));
    let asked = from(parent.run.graph(), "c");
    let child = child(&parent, parent.run.graph(), asked, &[]).unwrap();
    assert_eq!(places(&child, &child.plan.will_run, "a"), [(vec![], Why::ConfigChanged)]);
}

#[test]
fn what_may_lose_a_race_may_run() {
    // pre ─▶ a ─▶ slow ─▶ it; pre ─▶ b ─▶ it; pre ─▶ kept ─▶ it and aside.
    let work = |fixture: Fixture, id: &&str| fixture.work(id, "pure", &json!({}));
    let fixture = ["pre", "a", "slow", "b", "kept"].iter().fold(Fixture::default().text("in", "x"), work);
    let fixture = fixture.logic("it", "race", json!({})).output("out").output("aside").edge("in", "pre");
    let fixture = fixture.edge("pre", "a").edge("a", "slow").edge("slow", "it").edge("pre", "b").edge("b", "it");
    let fixture = fixture.edge("pre", "kept").edge("kept", "it").edge("kept", "aside").edge("it.value", "out");
    let mut parent = Course::begin(&fixture.build());
    parent.run_through(|_, _| success("done"));
    let graph = parent.run.graph();
    let asked = Resume { downstream_all: true, ..from(graph, "pre") };
    let mut child = child(&parent, graph, asked, &[]).unwrap();
    for (id, why) in [("pre", Why::Start), ("kept", Why::Downstream), ("it", Why::Evaluated)] {
        assert_eq!(places(&child, &child.plan.will_run, id), [(vec![], why)], "{id}");
    }
    for id in ["a", "slow", "b"] {
        assert_eq!(places(&child, &child.plan.may_run, id), [(vec![], Why::RaceMayBeWon)], "{id}");
        assert_eq!(places(&child, &child.plan.will_run, id), [], "{id}");
    }
    let ran = child.through(|_, _| success("done"));
    assert_eq!(ran, ["pre", "a", "slow", "kept"], "who is last has lost");
}

#[test]
fn what_may_lose_a_race_in_each_item_may_run_and_one_branch_alone_loses_to_nobody() {
    for (losers, doubted) in [(json!({}), true), (json!({"cancelLosers": false}), false)] {
        let fixture = Fixture::default().list("in", json!([1, 2])).logic("m", "map", json!({})).output("end");
        let fixture =
            ["a", "b", "lone", "aside"].iter().fold(fixture, |it, id| it.work(id, "pure", &json!({})).inside("m"));
        let fixture = fixture.logic("it", "race", losers).inside("m").logic("one", "race", json!({})).inside("m");
        let fixture = fixture.edge("in", "m.items").edge("m.item", "a.extra").edge("m.item", "b.extra");
        let fixture = fixture.edge("a", "it").edge("b", "it").edge("m.item", "lone.extra").edge("lone", "one");
        let fixture = fixture.edge("it.value", "m.result").edge("one.value", "aside").edge("m.results", "end");
        let mut parent = Course::begin(&fixture.build());
        parent.run_through(|_, _| success("done"));
        let graph = parent.run.graph();
        let asked = Resume { downstream_all: true, ..from(graph, "in") };
        let child = child(&parent, graph, asked, &[]).unwrap();
        let both = |why| vec![(vec![0], why), (vec![1], why)];
        assert_eq!(places(&child, &child.plan.will_run, "lone"), both(Why::Downstream));
        let expected = if doubted { both(Why::RaceMayBeWon) } else { Vec::new() };
        assert_eq!(places(&child, &child.plan.may_run, "a"), expected);
    }
}
