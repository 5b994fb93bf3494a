//! Failure: one test for each sentence of graph.md, part 6, that is about a run.
//!
//! | sentence | test |
//! |---|---|
//! | `retry`: `maxAttempts` | `a_failed_attempt_is_tried_again_after_its_pause_and_then_no_more` (by hand) |
//! | `initialMs`, `factor`, `maxMs`, `jitter` | `pauses_grow_by_their_factor_up_to_their_limit`, `pauses_grow_to_their_limit_and_jitter_shortens_them` |
//! | `rate_limited` honours Retry-After and does not use up an attempt | `what_a_provider_asks_for_goes_before_the_longest_pause`, `being_limited_uses_up_no_try_and_a_wrong_request_is_not_repeated` (by hand) |
//! | Only the first two, timeouts and internal retry by default | `only_what_may_go_better_is_tried_again` |
//! | `onError: continue` closes the outputs and opens the `error` port | `a_caught_failure_opens_its_error_port_and_the_run_goes_on` |
//! | of built-in nodes too, and of nodes that were lost | `a_control_node_is_caught_as_well`, `a_loss_for_good_is_caught` |
//! | `onError: fallback` tries the next provider with the same inputs | `the_next_provider_gets_the_same_inputs_and_further_numbers` |
//! | the last one's failure counts | `when_all_providers_have_failed_the_error_names_them` |
//! | an unknown outcome is no reason to try another | `an_unknown_outcome_is_not_tried_elsewhere` |
//! | `onUnknown: park`, `retry`, `fail` | `an_attempt_that_may_have_acted_is_not_repeated_unasked` (by hand) |
//! | `fail` ends the run: no new attempts | `a_failure_ends_the_run_and_starts_nothing_more` |
//! | `onRunFailure`: pure ones are stopped and paid ones finish, unless the policy says otherwise | `a_failed_run_stops_or_finishes_what_is_under_way_as_its_policy_says` |
//! | The run's error names the node, the class, the provider's message, the attempts made | `the_error_of_a_run_names_node_class_message_and_attempts` |
//! | Completed outputs stay available | `what_was_completed_before_a_failure_stays` |

use std::sync::Arc;

use serde_json::{Value, json};

use super::course::{Course, failure, success};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AttemptNumber, PortIx, ProviderIx};
use crate::limits;
use crate::run::event::{ErrorClass, LossCause, NodeError};
use crate::run::view::{NodeState, RunView};
use crate::run::{Command, NodePhase, Outcome, RunStatus};
use crate::time::Span;

fn phase(course: &Course, id: &str) -> NodePhase {
    course.run.phase_of(course.instance(id).node)
}

/// Fails a node's next attempt.
fn fail(course: &mut Course, id: &str, class: ErrorClass) {
    let attempt = course.assign(course.instance(id), 1, false);
    course.finish(attempt, failure(class)).unwrap();
}

fn complete(course: &mut Course, id: &str, text: &str) {
    let attempt = course.assign(course.instance(id), 1, false);
    course.finish(attempt, success(text)).unwrap();
}

/// A view of the whole history, and the state of a node in it.
fn seen(course: &Course, id: &str) -> (RunView, Option<NodeState>) {
    let graph = Arc::clone(course.run.graph());
    let mut view = RunView::begin(course.run.id(), graph, &course.events[0]).unwrap();
    course.events[1..].iter().for_each(|event| view.step(event).unwrap());
    let state = view.node_state(course.instance(id).node);
    (view, state)
}

/// `a → (b on its output, c on its error) → merge → out`.
fn caught(policy: &Value) -> Arc<Graph> {
    let graph =
        Fixture::default().work("a", "pure", policy).work("b", "pure", &json!({})).work("c", "pure", &json!({}));
    let graph = graph.logic("merge", "merge", json!({"mode": "first"})).output("out");
    let graph = graph.edge("a.out", "b").edge("a.error", "c").edge("b.out", "merge").edge("c.out", "merge");
    graph.edge("merge.value", "out").build()
}

#[test]
fn a_caught_failure_opens_its_error_port_and_the_run_goes_on() {
    let mut course =
        Course::begin(&caught(&json!({"onError": "continue", "retry": {"maxAttempts": 2, "initialMs": 1}})));
    fail(&mut course, "a", ErrorClass::Retryable);
    assert_eq!(phase(&course, "a"), NodePhase::Backoff, "first it is tried as often as its policy says");
    course.pass(1);
    fail(&mut course, "a", ErrorClass::Retryable);
    assert_eq!((phase(&course, "a"), phase(&course, "b")), (NodePhase::Failed, NodePhase::Skipped));
    let expected =
        json!({"code": "because", "class": "retryable", "message": "it did not go well", "nodeId": "a", "attempts": 2});
    assert_eq!((course.gave("a.error"), course.gave("a.out"), course.gave("a.side")), (Some(expected), None, None));
    complete(&mut course, "c", "mended");
    assert_eq!(course.gave("out.value"), Some(json!("mended")));
    assert_eq!((course.run.status(), course.run.error()), (RunStatus::Completed, None));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    let (view, state) = seen(&course, "a");
    assert_eq!(state, Some(NodeState::Failed));
    let node = view.node(course.instance("a").node);
    assert_eq!((node.error.as_ref().map(|error| &*error.code), node.attempts), (Some("because"), 2));
}

#[test]
fn what_succeeds_leaves_its_error_port_closed() {
    let mut course = Course::begin(&caught(&json!({"onError": "continue"})));
    complete(&mut course, "a", "well");
    assert_eq!((phase(&course, "c"), course.gave("a.error")), (NodePhase::Skipped, None));
    complete(&mut course, "b", "on");
    assert_eq!((course.gave("out.value"), course.run.status()), (Some(json!("on")), RunStatus::Completed));
}

#[test]
fn a_caught_failure_that_nobody_waits_for_ends_nothing() {
    let graph = Fixture::default().work("a", "pure", &json!({"onError": "continue"})).work("b", "pure", &json!({}));
    let mut course = Course::begin(&graph.build());
    fail(&mut course, "a", ErrorClass::Auth);
    assert!(!course.is_over());
    complete(&mut course, "b", "done");
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_control_node_is_caught_as_well() {
    let config = json!({"condition": "value.size > 1"});
    let data = json!({"nodeType": "logic:if", "config": config, "policy": {"onError": "continue"}});
    let graph =
        Fixture::default().json("before", json!("a text has no size")).node("it", data).output("yes").output("wrong");
    let graph = graph.edge("before", "it").edge("it.true", "yes").edge("it.error", "wrong");
    let course = Course::begin(&graph.build());
    assert_eq!((course.run.status(), phase(&course, "yes")), (RunStatus::Completed, NodePhase::Skipped));
    let error = course.gave("wrong.value").unwrap();
    assert_eq!((&error["nodeId"], &error["attempts"]), (&json!("it"), &json!(0)));
}

#[test]
fn a_loss_for_good_is_caught() {
    let graph =
        Fixture::default().work("a", "blind", &json!({"onError": "continue", "onUnknown": "fail"})).output("wrong");
    let mut course = Course::begin(&graph.edge("a.error", "wrong").build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    assert_eq!(course.gave("wrong.value").unwrap()["class"], "unknown_outcome");
    assert_eq!(course.run.status(), RunStatus::Completed);
}

/// Three providers: the node's own type once, the other type as often as that says, and the own type again.
fn falling_back(effect: &str, extra: &Value) -> Course {
    let mut policy = json!({"onError": "fallback", "fallback": [
        {"nodeType": "debug:other", "config": {"effect": effect, "name": "second"}},
        {"nodeType": "debug:work", "config": {"effect": effect}}]});
    policy.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let graph = Fixture::default().text("in", "given").work("a", effect, &policy).output("out");
    Course::begin(&graph.edge("in", "a.in").edge("a.out", "out").build())
}

#[test]
fn the_next_provider_gets_the_same_inputs_and_further_numbers() {
    let mut course = falling_back("pure", &json!({}));
    let (a, node) = (course.instance("a"), course.run.graph().node(course.instance("a").node));
    assert_eq!(node.input_at(ProviderIx(1), PortIx(0)), Some(PortIx(1)), "ports go by their ids");
    assert_eq!(&node.provided(ProviderIx(1)).config[..], br#"{"effect":"pure","name":"second"}"#);
    fail(&mut course, "a", ErrorClass::Auth);
    assert_eq!((phase(&course, "a"), course.run.provider_of(a)), (NodePhase::Ready, ProviderIx(1)));
    assert_eq!(course.facts().last(), Some(&"node.fallback"));
    // Its type wants two tries, with a pause of its own between them.
    fail(&mut course, "a", ErrorClass::Internal);
    assert_eq!((phase(&course, "a"), course.run.provider_of(a)), (NodePhase::Backoff, ProviderIx(1)));
    course.pass(6);
    assert!(!course.run.can_assign(a, course.now));
    course.pass(1);
    let attempt = course.assign(a, 1, false);
    assert_eq!(attempt.number, AttemptNumber(3));
    let values = vec![("more".into(), super::course::value("not wired")), ("out".into(), super::course::value("done"))];
    course.finish(attempt, Outcome::Succeeded(values)).unwrap();
    assert_eq!((course.gave("out.value"), course.gave("a.side")), (Some(json!("done")), None));
    let (view, state) = seen(&course, "a");
    assert_eq!(
        (view.node(a.node).provider, view.node(a.node).attempts, state),
        (ProviderIx(1), 3, Some(NodeState::Completed))
    );
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn when_all_providers_have_failed_the_error_names_them() {
    let mut course = falling_back("pure", &json!({"retry": {"maxAttempts": 1}}));
    for _ in 0..3 {
        assert!(!course.is_over());
        fail(&mut course, "a", ErrorClass::Internal);
    }
    let error = course.run.error().unwrap();
    assert_eq!((course.run.status(), error.attempts), (RunStatus::Failed, 3));
    assert_eq!(&*error.message, "it did not go well (tried debug:work, then debug:other, then debug:work)");
    let (view, state) = seen(&course, "a");
    assert_eq!((view.node(course.instance("a").node).provider, state), (ProviderIx(2), Some(NodeState::Failed)));
}

#[test]
fn a_long_message_leaves_room_for_who_was_tried() {
    let mut course = falling_back("pure", &json!({"retry": {"maxAttempts": 1}}));
    for _ in 0..3 {
        let attempt = course.assign(course.instance("a"), 1, false);
        let message = "ä".repeat(limits::ERROR_MESSAGE_BYTES_MAX / 2);
        let error = NodeError { class: ErrorClass::Internal, code: "because".into(), message: message.into() };
        course.finish(attempt, Outcome::Failed { error, retry_after: None }).unwrap();
    }
    let message = course.run.error().unwrap().message.clone();
    assert!(message.len() <= limits::ERROR_MESSAGE_BYTES_MAX && message.ends_with("then debug:work)"), "{message}");
}

#[test]
fn an_unknown_outcome_is_not_tried_elsewhere() {
    for class in [ErrorClass::UnknownOutcome, ErrorClass::Poison, ErrorClass::Cancelled] {
        let mut course = falling_back("pure", &json!({"onUnknown": "fail"}));
        fail(&mut course, "a", class);
        assert_eq!(course.run.status(), RunStatus::Failed, "{class:?}");
    }
    // What the lost attempt of a fallback may have done is judged by what the fallback may do.
    let mut course = falling_back("blind", &json!({"onUnknown": "fail"}));
    fail(&mut course, "a", ErrorClass::Auth);
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(Command::Intend { attempt }).unwrap();
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    let error = course.run.error().unwrap();
    assert_eq!((error.class, &*error.code), (Some(ErrorClass::UnknownOutcome), "unknown_outcome"));
    assert!(error.message.ends_with("(tried debug:work, then debug:other)"), "{}", error.message);
}

#[test]
fn a_lost_attempt_of_a_fallback_is_tried_again_at_the_same_provider() {
    let mut course = falling_back("pure", &json!({}));
    fail(&mut course, "a", ErrorClass::Auth);
    let attempt = course.assign(course.instance("a"), 1, false);
    course.command(Command::Lose { attempt, cause: LossCause::StreamGone }).unwrap();
    assert_eq!(course.run.provider_of(attempt.instance), ProviderIx(1));
    let attempt = course.assign(course.instance("a"), 2, false);
    course.command(Command::HandBack { attempt }).unwrap();
    assert_eq!(course.run.provider_of(attempt.instance), ProviderIx(1));
}

#[test]
fn pauses_grow_by_their_factor_up_to_their_limit() {
    let policy = json!({"retry": {"maxAttempts": 9, "initialMs": 10, "factor": 3, "maxMs": 50, "jitter": 0}});
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &policy).build());
    for pause in [10, 30, 50, 50] {
        fail(&mut course, "a", ErrorClass::Retryable);
        course.pass(pause - 1);
        assert!(!course.run.can_assign(course.instance("a"), course.now), "{pause}");
        course.pass(1);
        assert!(course.run.can_assign(course.instance("a"), course.now), "{pause}");
    }
}

#[test]
fn what_a_provider_asks_for_goes_before_the_longest_pause() {
    let policy = json!({"retry": {"initialMs": 10, "maxMs": 50, "jitter": 0}});
    for (asked, pause) in [(90_000, 90_000), (5, 10)] {
        let mut course = Course::begin(&Fixture::default().work("a", "pure", &policy).build());
        let attempt = course.assign(course.instance("a"), 1, false);
        let error = NodeError { class: ErrorClass::RateLimited, code: "limited".into(), message: "later".into() };
        let outcome = Outcome::Failed { error, retry_after: Some(Span::from_millis(asked)) };
        course.finish(attempt, outcome).unwrap();
        course.pass(pause - 1);
        assert!(!course.run.can_assign(course.instance("a"), course.now), "{asked}");
        course.pass(1);
        assert!(course.run.can_assign(course.instance("a"), course.now), "{asked}");
    }
}

#[test]
fn only_what_may_go_better_is_tried_again() {
    use ErrorClass::{Auth, Cancelled, ContentPolicy, Internal, InvalidRequest, RateLimited, Retryable, Timeout};
    for (class, retries) in [
        (Retryable, true),
        (RateLimited, true),
        (Timeout, true),
        (Internal, true),
        (InvalidRequest, false),
        (Auth, false),
        (ContentPolicy, false),
        (Cancelled, false),
    ] {
        let mut course = Course::begin(&Fixture::default().work("a", "pure", &json!({})).build());
        fail(&mut course, "a", class);
        assert_eq!(course.is_over(), !retries, "{class:?}");
    }
}

#[test]
fn a_failure_ends_the_run_and_starts_nothing_more() {
    let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({}));
    let mut course = Course::begin(&graph.build());
    fail(&mut course, "a", ErrorClass::Auth);
    assert_eq!(course.run.status(), RunStatus::Failed);
    assert_eq!(course.run.ready().count(), 0);
    assert!(!course.run.can_assign(course.instance("b"), course.now));
}

#[test]
fn a_failed_run_stops_or_finishes_what_is_under_way_as_its_policy_says() {
    for (effect, policy, stops) in [
        ("pure", json!({}), true),
        ("keyed", json!({}), false),
        ("pollable", json!({}), false),
        ("blind", json!({}), false),
        ("pure", json!({"onRunFailure": "finish"}), false),
        ("blind", json!({"onRunFailure": "stop"}), true),
    ] {
        let graph = Fixture::default().work("a", "pure", &json!({})).work("b", effect, &policy);
        let mut course = Course::begin(&graph.build());
        let other = course.assign(course.instance("b"), 2, false);
        fail(&mut course, "a", ErrorClass::Auth);
        assert_eq!(course.run.attempt(other.instance).unwrap().stopping, stops, "{effect} {policy}");
        // What may finish is kept; what was stopped, but finished all the same, is not.
        course.finish(other, success("late")).unwrap();
        let expected = if stops { "attempt.discarded" } else { "attempt.settled" };
        assert_eq!(course.facts().last(), Some(&expected), "{effect} {policy}");
    }
}

#[test]
fn the_error_of_a_run_names_node_class_message_and_attempts() {
    let policy = json!({"retry": {"maxAttempts": 3, "initialMs": 0}});
    let mut course = Course::begin(&Fixture::default().work("a", "pure", &policy).build());
    (0..3).for_each(|_| fail(&mut course, "a", ErrorClass::Internal));
    let error = course.run.error().unwrap();
    assert_eq!((error.node, error.class), (Some(course.instance("a").node), Some(ErrorClass::Internal)));
    assert_eq!((&*error.code, &*error.message, error.attempts), ("because", "it did not go well", 3));
}

#[test]
fn what_was_completed_before_a_failure_stays() {
    let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({})).edge("a.out", "b");
    let mut course = Course::begin(&graph.build());
    complete(&mut course, "a", "made");
    fail(&mut course, "b", ErrorClass::Auth);
    assert_eq!((course.run.status(), course.gave("a.out")), (RunStatus::Failed, Some(json!("made"))));
}

#[test]
fn a_workflows_policy_counts_in_bodies_and_for_lifted_nodes_that_say_nothing_else() {
    let fixture = Fixture::default()
        .policy(json!({"retry": {"maxAttempts": 2, "initialMs": 1}, "onItemError": "skip"}))
        .list("list", json!([1]))
        // Lifted over the same list they would be one item together.
        .list("other", json!([1]))
        .logic("m", "map", json!({"onItemError": "collect"}))
        .work("inside", "pure", &json!({}))
        .inside("m")
        .work("lifted", "pure", &json!({}))
        .work("own", "pure", &json!({"retry": {"maxAttempts": 1}, "onItemError": "collect"}))
        .edge("list", "m.items")
        .edge("m.item", "inside.extra")
        .edge("inside.out", "m.result")
        .edge("list", "lifted.extra")
        .edge("other", "own.extra");
    let fixture = ["m.results", "lifted.out", "own.out"].into_iter().fold(fixture, |fixture, source| {
        let end = format!("end_{}", source.split_once('.').unwrap().0);
        fixture.output(&end).edge(source, &end)
    });
    let mut course = Course::begin(&fixture.build());
    let mut tries = std::collections::BTreeMap::<String, u32>::new();
    while !course.is_over() {
        course.pass(1_000);
        let now = course.now;
        let next = course.run.ready().chain(course.run.retries_due(now)).next();
        let instance = next.unwrap();
        *tries.entry(course.run.graph().node(instance.node).id.to_string()).or_default() += 1;
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, failure(ErrorClass::Retryable)).unwrap();
    }
    let tried: Vec<(&str, u32)> = tries.iter().map(|(id, tries)| (id.as_str(), *tries)).collect();
    assert_eq!(tried, [("inside", 2), ("lifted", 2), ("own", 1)]);
    let gave = ["end_m.value", "end_lifted.value", "end_own.value"].map(|output| course.gave(output));
    assert_eq!(gave, [Some(json!([null])), Some(json!([])), Some(json!([null]))]);
}
