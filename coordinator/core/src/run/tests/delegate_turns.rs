//! Loops over values that are not inline: an agent looks at each turn, and the loop goes on by what it has found.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::course::{Course, failure, hooks, success};
use super::delegate::{answer, delegate, large, on_an_agent, phase};
use crate::draw::Draw;
use crate::graph::fixture::Fixture;
use crate::id::{AttemptNumber, Instance};
use crate::limits;
use crate::run::event::{Decision, ErrorClass, Fact};
use crate::run::view::NodeState;
use crate::run::{Body, Corrupt, Deciding, NodePhase, Outcome, Run, RunStatus};
use crate::value::Value;

/// A loop whose one node `w` gives what it is told to.
fn looping(config: Json) -> Fixture {
    Fixture::default()
        .logic("l", "loop", config)
        .work("w", "pure", &json!({}))
        .inside("l")
        .edge("l.value", "w.extra")
        .edge("w.out", "l.result")
        .output("end")
        .edge("l.result", "end")
}

fn gives(value: Value) -> Outcome {
    Outcome::Succeeded(vec![("out".into(), value)])
}

/// Finishes the turn that is open.
fn turn(course: &mut Course, value: Value) {
    let w = course.instance("w").node;
    let instance = course.run.ready().find(|instance| instance.node == w).unwrap();
    let attempt = course.assign(instance, 1, false);
    course.finish(attempt, gives(value)).unwrap();
}

fn verdict(ends: bool, score: Option<f64>) -> Outcome {
    answer(json!({"turn": {"ends": ends, "score": score.map(f64::to_bits)}}))
}

fn answered(course: &Course) -> usize {
    course.events.iter().filter(|event| matches!(event.fact, Fact::Answered { .. })).count()
}

#[test]
fn an_agent_looks_at_large_turns_and_the_loop_goes_on_by_its_word() {
    let config = json!({"until": "size(result) > 3", "select": "best", "score": "size(result)"});
    let mut course = Course::begin(&looping(config).build());
    let l = course.instance("l");
    // The second of three turns is small, and looked at at once.
    turn(&mut course, large(1_000_000));
    assert_eq!((phase(&course, "l"), course.run.ready().collect::<Vec<_>>()), (NodePhase::Ready, vec![l]));
    let attempt = course.assign(l, 1, false);
    assert_eq!(attempt.number, AttemptNumber(1));
    course.finish(attempt, verdict(false, Some(7.0))).unwrap();
    assert_eq!(phase(&course, "l"), NodePhase::Open);
    turn(&mut course, Value::from_json("[1]".into()));
    turn(&mut course, large(2_000_000));
    let attempt = course.assign(l, 1, false);
    assert_eq!(attempt.number, AttemptNumber(2), "the numbers of attempts go on");
    course.finish(attempt, verdict(true, Some(7.0))).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("l.iterations"), Some(json!(3)));
    assert_eq!(course.gave("end.value").unwrap()["bytes"], 1_000_000, "the first among equals");
    assert_eq!((answered(&course), course.replayed().snapshot()), (2, course.run.snapshot()));
    assert!(course.run.state.expansions.is_empty() && course.run.state.frames.is_empty());
}

#[test]
fn a_loop_whose_turn_an_agent_looks_at_is_at_work() {
    let mut course = Course::begin(&looping(json!({"until": "size(result) > 3"})).build());
    turn(&mut course, large(1_000_000));
    let view = course.view();
    let l = course.instance("l").node;
    assert_eq!((course.run.phase_of(l), view.node_state(l)), (NodePhase::Ready, Some(NodeState::Running)));
}

#[test]
fn a_look_at_a_turn_is_tried_again_and_fails_its_loop_for_good() {
    let mut course = Course::begin(&looping(json!({"until": "size(result) > 3"})).build());
    turn(&mut course, large(1_000_000));
    let l = course.instance("l");
    let attempt = course.assign(l, 1, false);
    course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    assert_eq!(phase(&course, "l"), NodePhase::Backoff);
    course.pass(100_000);
    let attempt = course.assign(l, 1, false);
    course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    assert_eq!((course.run.status(), course.run.error().unwrap().node), (RunStatus::Failed, Some(l.node)));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    assert!(course.run.state.expansions.is_empty() && course.run.state.frames.is_empty());
}

#[test]
fn each_look_at_a_turn_has_all_tries_of_the_policy() {
    let data = json!({"nodeType": "logic:loop", "config": {"until": "size(result) > 3", "maxIterations": 3},
        "policy": {"retry": {"maxAttempts": 2}}});
    let fixture = Fixture::default().node("l", data).work("w", "pure", &json!({})).inside("l");
    let mut course = Course::begin(&fixture.edge("l.value", "w.extra").edge("w.out", "l.result").build());
    let l = course.instance("l");
    let fail = |course: &mut Course| {
        let attempt = course.assign(l, 1, false);
        course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
        course.pass(100_000);
        attempt.number
    };
    for first in [1, 3] {
        turn(&mut course, large(1_000_000));
        assert_eq!(fail(&mut course), AttemptNumber(first), "the numbers of attempts go on");
        assert_eq!(phase(&course, "l"), NodePhase::Backoff, "one failure of two leaves one more try");
        let attempt = course.assign(l, 1, false);
        course.finish(attempt, verdict(false, None)).unwrap();
    }
    turn(&mut course, large(1_000_000));
    fail(&mut course);
    fail(&mut course);
    assert_eq!(course.run.status(), RunStatus::Failed, "two failures of one look are all");
}

#[test]
fn a_loop_that_is_caught_gives_its_error_when_an_agent_cannot_look_at_a_turn() {
    let data =
        json!({"nodeType": "logic:loop", "config": {"until": "size(result) > 3"}, "policy": {"onError": "continue"}});
    let fixture = Fixture::default().node("l", data).work("w", "pure", &json!({})).inside("l");
    let fixture = fixture.edge("l.value", "w.extra").edge("w.out", "l.result").output("end").edge("l.error", "end");
    let mut course = Course::begin(&fixture.build());
    turn(&mut course, large(limits::DELEGATED_VALUES_BYTES_MAX + 1));
    assert_eq!(course.gave("end.value").unwrap()["code"], "values_too_large");
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_verdict_that_makes_no_sense_fails_the_loop() {
    let bad: [(Json, Outcome); 6] = [
        (json!({"until": "size(result) > 3"}), answer(json!({"taken": [0]}))),
        (json!({"until": "size(result) > 3"}), answer(json!("turn"))),
        (json!({"until": "size(result) > 3"}), verdict(false, Some(1.0))),
        (json!({"score": "size(result)", "select": "best"}), verdict(true, Some(1.0))),
        (json!({"score": "size(result)", "select": "best"}), verdict(false, None)),
        (json!({"score": "size(result)", "select": "best"}), verdict(false, Some(f64::NAN))),
    ];
    for (config, outcome) in bad {
        let mut course = Course::begin(&looping(config).build());
        turn(&mut course, large(1_000_000));
        let attempt = course.assign(course.instance("l"), 1, false);
        course.finish(attempt, outcome).unwrap();
        assert_eq!(&*course.run.error().unwrap().code, "bad_answer");
    }
}

/// A map of loops, each beside a node `beside`.
fn in_a_map(on_item_error: &str) -> Course {
    let fixture = Fixture::default()
        .list("list", json!([1, 2]))
        .logic("m", "map", json!({"onItemError": on_item_error}))
        .logic("l", "loop", json!({"until": "size(result) > 3 && index >= 0"}))
        .inside("m")
        .work("w", "pure", &json!({}))
        .inside("l")
        .work("beside", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("m")
        .edge("list", "m.items")
        .edge("m.item", "beside.extra")
        .edge("m.item", "l.seed")
        .edge("l.value", "w.extra")
        .edge("w.out", "l.result")
        .edge("l.result", "m.result")
        .output("end")
        .edge("m.results", "end");
    let mut course = Course::begin(&fixture.build());
    for instance in of(&course, "w") {
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, gives(large(1_000_000))).unwrap();
    }
    course
}

fn of(course: &Course, id: &str) -> Vec<Instance> {
    let node = course.instance(id).node;
    course.run.ready().filter(|instance| instance.node == node).collect()
}

#[test]
fn a_look_at_a_turn_is_given_up_with_its_item_or_let_finish() {
    let mut course = in_a_map("skip");
    let (loops, beside) = (of(&course, "l"), of(&course, "beside"));
    assert_eq!((loops.len(), beside.len()), (2, 2));
    // One waits for an agent, the other is at one.
    let looked_at = course.assign(loops[1], 1, false);
    for instance in &beside {
        let attempt = course.assign(*instance, 1, false);
        course.finish(attempt, failure(ErrorClass::InvalidRequest)).unwrap();
    }
    assert_eq!(of(&course, "l"), [], "what had not begun never will");
    assert_eq!(course.run.status(), RunStatus::Running);
    course.finish(looked_at, verdict(false, None)).unwrap();
    assert_eq!((course.run.status(), course.gave("end.value")), (RunStatus::Completed, Some(json!([]))));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    assert!(course.run.state.expansions.is_empty() && course.run.state.frames.is_empty());
    assert_eq!(course.run.tally(course.instance("l").node).dropped, 2);
}

#[test]
fn each_loop_in_a_map_is_looked_at_for_itself() {
    let mut course = in_a_map("fail");
    let loops = of(&course, "l");
    for instance in of(&course, "beside") {
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, success("x")).unwrap();
    }
    // What an agent sees of the artifact is its text.
    for instance in &loops {
        assert!(on_an_agent(&course, *instance).is_ok());
    }
    let first = course.assign(loops[0], 1, false);
    let second = course.assign(loops[1], 1, false);
    course.finish(second, verdict(true, None)).unwrap();
    course.finish(first, verdict(true, None)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value").unwrap().as_array().unwrap().len(), 2);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn a_turn_is_handed_over_by_its_chunks() {
    // The results of a map in the loop are too many for the engine.
    let count = limits::EXPRESSION_VALUES_MAX as u32 + 100;
    let fixture = Fixture::default()
        .list("list", (1..=count).collect())
        .logic("l", "loop", json!({"until": format!("size(result) == {count} && iteration == 1")}))
        .logic("m", "map", json!({}))
        .inside("l")
        .work("w", "pure", &json!({}))
        .inside("m")
        .edge("list", "m.items")
        .edge("l.value", "w.in")
        .edge("m.item", "w.extra")
        .edge("w.out", "m.result")
        .edge("m.results", "l.result");
    let mut course = Course::begin(&fixture.build());
    let l = course.instance("l");
    while let Some(instance) = course.next_ready() {
        if instance == l {
            delegate(&mut course, l);
            continue;
        }
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, gives(Value::from_json("1".into()))).unwrap();
    }
    assert_eq!((course.run.status(), course.gave("l.iterations")), (RunStatus::Completed, Some(json!(2))));
    assert_eq!(answered(&course), 2);
}

#[test]
fn an_answer_for_what_is_no_loop_is_corrupt() {
    let mut course = in_a_map("skip");
    let beside = of(&course, "beside")[0];
    let attempt = course.assign(beside, 1, false);
    course.finish(attempt, success("x")).unwrap();
    let looked_at = course.assign(of(&course, "l")[0], 1, false);
    course.finish(looked_at, verdict(true, None)).unwrap();
    let turned = |fact: &Fact| match fact.clone() {
        Fact::Succeeded { attempt, timing, .. } => {
            let verdict = crate::run::event::Verdict { ends: true, score: None };
            Some(Fact::Answered { attempt, verdict, timing })
        }
        Fact::Answered { attempt, timing, .. } => Some(Fact::Succeeded { attempt, outputs: Vec::new(), timing }),
        _ => None,
    };
    let mut seen = 0;
    for (place, event) in course.events.iter().enumerate().skip(1) {
        let Some(fact) = turned(&event.fact) else { continue };
        let mut run = Run::begin(course.run.id(), course.run.graph().clone(), &course.events[0]).unwrap();
        course.events[1..place].iter().for_each(|event| run.step(event).unwrap());
        let fault = run.step(&crate::run::event::Event { fact, ..event.clone() }).unwrap_err();
        assert!(matches!(fault, Corrupt::WrongItems { .. }), "{fault:?}");
        seen += 1;
    }
    assert!(seen > 2);
}

const UNTIL: [&str; 4] = ["result.n > 3", "nodes.w.output == 1", "iteration == 0 && carry != 2", "size(result) > 1"];
const SCORES: [&str; 5] = ["result.n", "iteration + 0.1", "1.0 / 3.0", "1e308 * 10.0", "size(result)"];

proptest! {
    #[test]
    fn an_agent_finds_of_a_turn_what_the_engine_finds(given in prop_oneof![Just(json!(1)), Just(json!({"n": 4})), Just(json!([1, 2])), Just(json!({"n": 0.1}))], until in 0..5usize, score in 0..6usize) {
        let mut config = json!({"maxIterations": 2});
        UNTIL.get(until).into_iter().for_each(|text| config["until"] = json!(text));
        SCORES.get(score).into_iter().for_each(|text| config["score"] = json!(text));
        let graph = looping(config).build();
        let mut course = Course::begin(&graph);
        // The turn is large, so that its loop waits; then it is decided as if it were not.
        turn(&mut course, large(1_000_000));
        let l = course.instance("l");
        let is_asked = phase(&course, "l") == NodePhase::Ready;
        prop_assume!(is_asked);
        let reference = course.events.iter().find_map(|event| match &event.fact {
            Fact::Succeeded { outputs, .. } => match outputs[0].value {
                crate::run::event::OutputValue::One(reference) => Some(reference),
                _ => None,
            },
            _ => None,
        });
        let small = Value::from_json(given.to_string().into());
        course.put(&reference.unwrap(), small);
        let (values, lists) = course.at_hand(l);
        let mut body = Body::new(course.run.seq().next());
        let mut deciding = Deciding { now: course.now, draw: &mut Draw::from_seed(0), values: &values, lists: &lists, hooks: &hooks(), cost: &mut 0 };
        let here = match course.run.decide(l, &mut deciding, &mut body) {
            Decision::Opened { opened, .. } => Ok((false, opened.score)),
            Decision::Completed { .. } => Ok((true, None)),
            Decision::Failed { error, .. } => Err(error.code.to_string()),
            other => panic!("{other:?}"),
        };
        let there = on_an_agent(&course, l).map(|outcome| {
            let Outcome::Succeeded(values) = outcome else { panic!("it succeeded") };
            let found = course.run.delegated_verdict(l, &values).unwrap().unwrap();
            (found.ends, found.score.filter(|_| !found.ends))
        });
        prop_assert_eq!(here, there);
    }
}
