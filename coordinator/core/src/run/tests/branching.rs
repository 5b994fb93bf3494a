//! Order and branching: one test for each sentence of graph.md, parts 3 and 4.
//!
//! | sentence | test |
//! |---|---|
//! | A node is ready when each connected input is settled: it has a value or is closed | `a_node_waits_until_each_of_its_inputs_has_a_value_or_is_closed` |
//! | Ready instances are dispatched at once, in priority order; there are no levels or barriers | `what_is_ready_goes_at_once_and_the_most_urgent_first` |
//! | `logic:if`: in `value`; config `condition`; out `true`, `false` | `an_if_takes_one_of_its_two_outputs` |
//! | `logic:switch`: `cases`, `mode: first`; one output per case and `default` | `a_switch_takes_the_first_case_that_holds_or_its_default` |
//! | `mode: all` | `a_switch_over_all_takes_each_case_that_holds` |
//! | `logic:router`: `rules`, one output per rule and `default` | `a_router_takes_the_first_rule_that_holds` |
//! | without rules in → `output`; any vendor handle is accepted | `a_router_without_rules_passes_on_whatever_its_ports_are_called` |
//! | `logic:merge`: `first` in edge order among those that have a value, once all are settled | `a_merge_takes_the_first_branch_in_the_order_of_edges` |
//! | `all`; out `value`, `values` | `a_merge_of_all_gives_the_list` |
//! | `logic:race` is the one where arrival order counts | `a_race_takes_what_comes_first_and_names_who_gave_it`, `a_race_passes_over_closed_branches_and_is_skipped_if_all_are` |
//! | `cancelLosers` | `what_leads_only_to_a_race_is_given_up_when_it_is_won`, `losers_run_to_their_end_if_they_are_not_to_be_stopped` |
//! | `logic:gate` | `a_gate_passes_its_value_on_only_when_it_is_open` |
//! | `logic:filter` | `a_filter_divides_a_list_whoever_made_it` |
//! | `logic:stop` | `a_stop_ends_the_run_with_its_status`, `a_stop_on_a_branch_that_is_not_taken_stops_nothing` |
//! | `logic:split_test`: recorded, by weight | `a_split_test_takes_what_was_drawn_and_records_it` |
//! | Conditions are total and bounded | `a_condition_without_an_answer_fails_its_node_with_a_code` |
//! | Variables: inputs by id, `inputs["in"]`, `nodes.<id>.output`, `run` | `conditions_see_inputs_earlier_nodes_and_the_run` |
//! | A port that was not taken is closed; a node with a closed required input is skipped and closes its own outputs | `what_hangs_on_a_closed_port_is_skipped_to_the_end` |
//! | A closed optional input is simply absent | `a_closed_optional_input_is_absent` |
//! | A node none of whose edges brings anything hangs on branches that were not taken | `what_is_reached_by_closed_edges_only_is_skipped` |
//! | A list input is closed only when all its edges are; closed ones add nothing (part 1) | `a_list_input_is_closed_only_when_all_its_edges_are` |
//! | `logic:merge` takes closed inputs | `a_merge_takes_the_first_branch_in_the_order_of_edges` |
//! | A run whose outputs were all skipped is completed, with the skipped nodes named | `a_run_whose_outputs_were_all_skipped_is_completed` |
//! | A decision is an event and never made again (E2) | `a_replay_trusts_what_was_decided` |

use serde_json::{Value, json};

use super::course::{Course, failure, success};
use crate::graph::fixture::Fixture;
use crate::id::PortIx;
use crate::limits;
use crate::run::event::{Decision, ErrorClass, OutputValue};
use crate::run::view::NodeState;
use crate::run::{NodePhase, RunStatus};

/// A run of `before → logic → one output node for each port`, where `before` gives a value.
fn decided(name: &str, config: Value, value: Value, ports: &[&str]) -> Course {
    let fixture = Fixture::default().json("before", value).logic("it", name, config);
    let fixture = ports.iter().fold(fixture, |fixture, port| fixture.output(&format!("out-{port}")));
    let fixture = fixture.edge("before", "it");
    let edge = |fixture: Fixture, port: &&str| fixture.edge(&format!("it.{port}"), &format!("out-{port}"));
    Course::begin(&ports.iter().fold(fixture, edge).build())
}

/// The ports of `it` that were taken, by whether what hangs on them ran.
fn taken<'a>(course: &Course, ports: &[&'a str]) -> Vec<&'a str> {
    let phase = |port: &&str| course.run.phase_of(course.instance(&format!("out-{port}")).node);
    let ran = ports.iter().filter(|port| phase(port) == NodePhase::Completed).copied().collect();
    let skipped = ports.iter().filter(|port| phase(port) == NodePhase::Skipped).count();
    assert_eq!(skipped + Vec::<&str>::len(&ran), ports.len(), "each is one or the other");
    ran
}

fn phase(course: &Course, id: &str) -> NodePhase {
    course.run.phase_of(course.instance(id).node)
}

fn code(course: &Course) -> &str {
    &course.run.error().unwrap().code
}

/// Ends the one attempt that an agent could get for a node.
fn complete(course: &mut Course, id: &str, text: &str) {
    let attempt = course.assign(course.instance(id), 1, false);
    course.finish(attempt, success(text)).unwrap();
}

#[test]
fn a_node_waits_until_each_of_its_inputs_has_a_value_or_is_closed() {
    let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({}));
    let graph = graph.work("c", "pure", &json!({})).edge("a.out", "c").edge("b.side", "c");
    let mut course = Course::begin(&graph.build());
    complete(&mut course, "a", "given");
    assert_eq!(phase(&course, "c"), NodePhase::Pending, "b is not settled");
    complete(&mut course, "b", "its other output is closed");
    assert_eq!(phase(&course, "c"), NodePhase::Ready);
}

#[test]
fn what_is_ready_goes_at_once_and_the_most_urgent_first() {
    let graph = Fixture::default().work("slow", "pure", &json!({})).work("quick", "pure", &json!({}));
    let graph = graph.work("after", "pure", &json!({"priority": 5})).work("late", "pure", &json!({"priority": -5}));
    let mut course = Course::begin(&graph.edge("quick.out", "after").build());
    let ids = |course: &Course| -> Vec<String> {
        course.run.ready().map(|instance| course.run.graph().node(instance.node).id.to_string()).collect()
    };
    assert_eq!(ids(&course), ["slow", "quick", "late"]);
    complete(&mut course, "quick", "done");
    assert_eq!(ids(&course), ["after", "slow", "late"], "it does not wait for what stands beside the node before it");
}

#[test]
fn an_if_takes_one_of_its_two_outputs() {
    for (value, port, other) in [(json!(4), "true", "false"), (json!(3), "false", "true")] {
        let course = decided("if", json!({"condition": "value > 3"}), value.clone(), &["true", "false"]);
        assert_eq!(taken(&course, &["true", "false"]), [port]);
        assert_eq!(course.gave(&format!("it.{port}")), Some(value), "the value is passed on");
        assert_eq!(course.gave(&format!("it.{other}")), None);
    }
}

#[test]
fn a_switch_takes_the_first_case_that_holds_or_its_default() {
    let cases = json!([{"id": "small", "when": "value < 10"}, {"id": "even", "when": "value % 2 == 0"}]);
    let ports = ["small", "even", "default"];
    for (value, port) in [(4, "small"), (14, "even"), (15, "default")] {
        let course = decided("switch", json!({"cases": cases, "mode": "first"}), json!(value), &ports);
        assert_eq!(taken(&course, &ports), [port], "{value}");
    }
}

#[test]
fn a_switch_over_all_takes_each_case_that_holds() {
    let cases = json!([{"id": "small", "when": "value < 10"}, {"id": "even", "when": "value % 2 == 0"}]);
    let ports = ["small", "even", "default"];
    for (value, expected) in [(4, vec!["small", "even"]), (14, vec!["even"]), (15, vec!["default"])] {
        let course = decided("switch", json!({"cases": cases, "mode": "all"}), json!(value), &ports);
        assert_eq!(taken(&course, &ports), expected, "{value}");
    }
}

#[test]
fn a_router_takes_the_first_rule_that_holds() {
    let rules = json!([{"id": "long", "when": "size(input) > 3"}, {"id": "any", "when": "true"}]);
    let ports = ["long", "any", "default"];
    for (value, port) in [("longer", "long"), ("abc", "any")] {
        let course = decided("router", json!({"rules": rules}), json!(value), &ports);
        assert_eq!(taken(&course, &ports), [port], "{value}");
    }
}

#[test]
fn a_router_without_rules_passes_on_whatever_its_ports_are_called() {
    let graph = Fixture::default().text("before", "x").logic("it", "router", json!({})).output("out");
    let course = Course::begin(&graph.edge("before", "it.in-anything").edge("it.out-whatever", "out").build());
    assert_eq!(course.gave("out.value"), Some(json!("x")));
}

#[test]
fn a_merge_takes_the_first_branch_in_the_order_of_edges() {
    for mode in ["first", "any"] {
        let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({}));
        let graph = graph.work("c", "pure", &json!({})).logic("it", "merge", json!({"mode": mode})).output("out");
        let graph = graph.edge("a.side", "it").edge("b.out", "it").edge("c.out", "it").edge("it.value", "out");
        let mut course = Course::begin(&graph.build());
        complete(&mut course, "c", "third");
        complete(&mut course, "a", "its other output is closed");
        assert_eq!(phase(&course, "it"), NodePhase::Pending, "all its branches must be settled");
        complete(&mut course, "b", "second");
        assert_eq!(course.gave("out.value"), Some(json!("second")), "whoever came first");
        assert_eq!(course.gave("it.values"), Some(json!(["second", "third"])));
    }
}

#[test]
fn a_merge_of_all_gives_the_list() {
    let graph = Fixture::default().text("a", "one").text("b", "two").json("c", json!(3));
    let graph =
        graph.logic("if", "if", json!({"condition": "value == 'x'"})).logic("it", "merge", json!({"mode": "all"}));
    let graph = graph.edge("a", "it").edge("b", "if").edge("if.true", "it").edge("c", "it");
    let course = Course::begin(&graph.build());
    assert_eq!(course.gave("it.values"), Some(json!(["one", 3])), "what is closed adds nothing");
    assert_eq!(course.gave("it.value"), Some(json!(["one", 3])));
}

#[test]
fn a_gate_passes_its_value_on_only_when_it_is_open() {
    for (open, expected) in [(true, vec!["value"]), (false, vec![])] {
        let graph = Fixture::default().text("before", "x").logic("open", "router", json!({"input": open}));
        let graph = graph.logic("it", "gate", json!({})).output("out-value").edge("before", "it.value");
        let graph = graph.edge("open", "it.open").edge("it.value", "out-value");
        let course = Course::begin(&graph.build());
        assert_eq!(taken(&course, &["value"]), expected);
        let course = decided("gate", json!({"open": open}), json!("x"), &["value"]);
        assert_eq!(taken(&course, &["value"]), expected, "the graph says so");
    }
    let graph = Fixture::default().text("before", "x").logic("open", "router", json!({"input": "yes"}));
    let graph = graph.logic("it", "gate", json!({})).edge("before", "it.value").edge("open", "it.open");
    let course = Course::begin(&graph.build());
    assert_eq!(code(&course), "bad_input");
}

#[test]
fn a_filter_divides_a_list_whoever_made_it() {
    let config = json!({"condition": "item.score > 1 && index < 3"});
    let items = json!([{"score": 1.50}, {"score": 1}, {"score": 2}, {"score": 9}]);
    let course = decided("filter", config.clone(), items, &["kept", "dropped"]);
    assert_eq!(course.gave("it.kept"), Some(json!([{"score": 1.5}, {"score": 2}])));
    assert_eq!(course.gave("it.dropped"), Some(json!([{"score": 1}, {"score": 9}])));
    let graph = Fixture::default().json("a", json!({"score": 2})).json("b", json!({"score": 0}));
    let course = Course::begin(&graph.logic("it", "filter", config).edge("a", "it").edge("b", "it").build());
    assert_eq!(course.gave("it.kept"), Some(json!([{"score": 2}])));
    assert_eq!(course.gave("it.dropped"), Some(json!([{"score": 0}])));
    let kept = course.run.output(course.instance("it").node, PortIx(0));
    assert!(matches!(kept, Some(OutputValue::Gather(_))), "nothing is copied: {kept:?}");
}

#[test]
fn a_stop_ends_the_run_with_its_status() {
    let statuses =
        [("completed", RunStatus::Completed), ("failed", RunStatus::Failed), ("cancelled", RunStatus::Cancelled)];
    for (status, expected) in statuses {
        let graph = Fixture::default().work("other", "blind", &json!({})).work("a", "pure", &json!({}));
        let graph =
            graph.logic("it", "stop", json!({"status": status, "message": "enough"})).work("next", "pure", &json!({}));
        let mut course = Course::begin(&graph.edge("a.out", "it").edge("other.out", "next").build());
        let other = course.assign(course.instance("other"), 1, false);
        complete(&mut course, "a", "done");
        assert_eq!(course.run.status(), expected, "{status}");
        let error = course.run.error().map(|error| (&*error.code, &*error.message));
        assert_eq!(error, (status != "completed").then_some(("stopped", "enough")), "{status}");
        let finishes = status == "failed";
        assert_eq!(
            course.run.attempt(other.instance).unwrap().stopping,
            !finishes,
            "paid work of a failed run goes on"
        );
        assert_eq!(course.replayed().snapshot(), course.run.snapshot());
        let view = course.view();
        assert_eq!(view.node_state(course.instance("it").node), Some(NodeState::Completed));
        let next = view.node_state(course.instance("next").node);
        assert_eq!(next, Some(if finishes { NodeState::Pending } else { NodeState::Cancelled }), "{status}");
    }
}

#[test]
fn a_stop_on_a_branch_that_is_not_taken_stops_nothing() {
    let graph = Fixture::default().text("before", "x").logic("if", "if", json!({"condition": "value == 'x'"}));
    let graph = graph.logic("it", "stop", json!({"status": "failed"})).output("out");
    let course = Course::begin(&graph.edge("before", "if").edge("if.false", "it").edge("if.true", "out").build());
    assert_eq!((phase(&course, "it"), course.run.status()), (NodePhase::Skipped, RunStatus::Completed));
}

#[test]
fn a_split_test_takes_what_was_drawn_and_records_it() {
    let count = |weights: &Value| {
        let graph = Fixture::default().text("before", "x").logic("it", "split_test", json!({"weights": weights}));
        let graph = graph.edge("before", "it").build();
        let is_a = |seed: &u64| {
            let course = Course::begin_drawing(&graph, *seed);
            assert_eq!(course.replayed().snapshot(), course.run.snapshot());
            assert!(course.gave("it.a").is_some() != course.gave("it.b").is_some(), "one of the two");
            course.gave("it.a").is_some()
        };
        (0..1_000).filter(is_a).count()
    };
    assert_eq!(
        (count(&json!({"a": 1, "b": 0})), count(&json!({"a": 0, "b": 1})), count(&json!({"b": 2}))),
        (1_000, 0, 0)
    );
    assert!((700..800).contains(&count(&json!({"a": 3, "b": 1}))), "{}", count(&json!({"a": 3, "b": 1})));
    assert!((450..550).contains(&count(&Value::Null)));
}

#[test]
fn a_condition_without_an_answer_fails_its_node_with_a_code() {
    let many = json!((0..5_000).collect::<Vec<_>>());
    for (condition, value, expected) in [
        ("value.score > 3", json!({"name": "x"}), "condition_failed"),
        ("value", json!(1), "condition_failed"),
        ("value.exists(a, value.exists(b, a + b == -1))", many, "condition_too_costly"),
    ] {
        let course = decided("if", json!({"condition": condition}), value, &["true"]);
        assert_eq!((course.run.status(), code(&course)), (RunStatus::Failed, expected), "{condition}");
        let error = course.run.error().unwrap();
        assert_eq!((error.node, error.class), (Some(course.instance("it").node), Some(ErrorClass::InvalidRequest)));
    }
    let ten: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
    let fixture = ten.iter().fold(Fixture::default(), |fixture, id| fixture.json(id, json!("x".repeat(60_000))));
    let fixture = fixture.logic("m", "merge", json!({"mode": "all"})).logic(
        "it",
        "if",
        json!({"condition": "size(value) == 10"}),
    );
    let fixture = ten.iter().fold(fixture, |fixture, id| fixture.edge(id, "m")).edge("m.value", "it");
    assert_eq!(phase(&Course::begin(&fixture.build()), "it"), NodePhase::Ready, "an agent looks at so much");
    let many: Vec<String> = (0..=limits::EXPRESSION_VALUES_MAX).map(|number| format!("a{number}")).collect();
    let fixture = many.iter().fold(Fixture::default(), |fixture, id| fixture.json(id, json!(1)));
    let fixture = fixture.logic("it", "filter", json!({"condition": "item == 1"}));
    let fixture = many.iter().fold(fixture, |fixture, id| fixture.edge(id, "it"));
    assert_eq!(phase(&Course::begin(&fixture.build()), "it"), NodePhase::Ready, "or at so many");
}

#[test]
fn conditions_see_inputs_earlier_nodes_and_the_run() {
    for condition in [
        "value == 'x'",
        "inputs[\"value\"] == 'x'",
        "nodes.before.output == 'x' && nodes['before'].outputs.text == 'x'",
        "nodes.skipped.output == null",
        "run.id.startsWith('exec_') && !run.sandbox && run.startedAt == 1000000",
    ] {
        let graph = Fixture::default().text("before", "x").logic("no", "if", json!({"condition": "value != 'x'"}));
        let graph = graph.logic("skipped", "split_test", json!({})).logic("m", "merge", json!({}));
        let graph =
            graph.logic("it", "if", json!({"condition": condition})).edge("before", "no").edge("no.true", "skipped");
        let graph = graph.edge("skipped.a", "m").edge("before", "m").edge("m.value", "it");
        let course = Course::begin(&graph.build());
        assert_eq!(course.run.error(), None, "{condition}");
        assert_eq!(course.gave("it.true"), Some(json!("x")), "{condition}");
    }
}

#[test]
fn what_hangs_on_a_closed_port_is_skipped_to_the_end() {
    let graph = Fixture::default().text("before", "x").logic("if", "if", json!({"condition": "value == 'y'"}));
    let graph = graph.work("a", "pure", &json!({})).logic("b", "if", json!({"condition": "true"})).output("out");
    let graph = graph.edge("before", "if").edge("if.true", "a").edge("a.out", "b").edge("b.false", "out");
    let course = Course::begin(&graph.build());
    for id in ["a", "b", "out"] {
        assert_eq!(phase(&course, id), NodePhase::Skipped, "{id}");
        assert!(course.run.outputs(course.instance(id).node).is_empty(), "{id}");
    }
}

#[test]
fn a_closed_optional_input_is_absent() {
    let graph = Fixture::default().text("before", "x").logic("if", "if", json!({"condition": "value == 'y'"}));
    let graph =
        graph.work("it", "pure", &json!({})).edge("before", "if").edge("if.true", "it.extra").edge("before", "it.in");
    let mut course = Course::begin(&graph.build());
    let it = course.instance("it");
    assert_eq!(phase(&course, "it"), NodePhase::Ready);
    let extra = course.run.wired_inputs(it).into_iter().find(|input| input.port == PortIx(1)).unwrap();
    assert!(extra.values.is_empty());
    complete(&mut course, "it", "done");
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn what_is_reached_by_closed_edges_only_is_skipped() {
    let graph = Fixture::default().text("before", "x").logic("if", "if", json!({"condition": "value == 'y'"}));
    let graph = graph.work("it", "pure", &json!({})).wait("w", 60_000);
    let course = Course::begin(&graph.edge("before", "if").edge("if.true", "it.extra").edge("if.true", "w").build());
    assert_eq!((phase(&course, "it"), phase(&course, "w")), (NodePhase::Skipped, NodePhase::Skipped));
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_list_input_is_closed_only_when_all_its_edges_are() {
    for (condition, expected) in [("value == 'x'", NodePhase::Ready), ("value == 'y'", NodePhase::Skipped)] {
        let graph = Fixture::default().text("before", "x").logic("p", "if", json!({"condition": condition}));
        let graph = graph.logic("q", "if", json!({"condition": "false"})).work("it", "pure", &json!({}));
        let graph = graph.edge("before", "p").edge("before", "q").edge("q.true", "it").edge("p.true", "it");
        assert_eq!(phase(&Course::begin(&graph.build()), "it"), expected, "{condition}");
    }
}

#[test]
fn a_run_whose_outputs_were_all_skipped_is_completed() {
    let course = decided("if", json!({"condition": "false"}), json!(1), &["true"]);
    assert_eq!(course.run.status(), RunStatus::Completed);
    let view = course.view();
    let skipped: Vec<_> =
        course.run.graph().nodes().filter(|(ix, _)| view.node_state(*ix) == Some(NodeState::Skipped)).collect();
    assert_eq!(skipped.iter().map(|(_, node)| &*node.id).collect::<Vec<_>>(), ["out-true"]);
}

#[test]
fn a_list_stays_a_list_on_whatever_branch_it_goes() {
    for name in ["if", "split_test", "router", "gate", "merge"] {
        let graph = Fixture::default().list("before", json!([1, 2, 3]));
        let config = json!({"condition": "size(value) == 3", "open": true, "weights": {"a": 1, "b": 0}});
        let graph = graph.logic("it", name, config).logic("f", "filter", json!({"condition": "item > 1"}));
        let port = ["true", "a", "output", "value"].into_iter();
        let port = port
            .zip(["if", "split_test", "router"])
            .find(|(_, known)| *known == name)
            .map_or("value", |(port, _)| port);
        let target = if name == "gate" { "it.value" } else { "it" };
        let graph =
            graph.edge("before", target).edge(&format!("it.{port}"), "f").logic("m", "merge", json!({"mode": "all"}));
        let course = Course::begin(&graph.edge(&format!("it.{port}"), "m").build());
        assert_eq!(course.gave("f.kept"), Some(json!([2, 3])), "{name}");
        assert_eq!(course.gave("m.values"), Some(json!([1, 2, 3])), "{name}: it is not wrapped into a list of lists");
    }
}

#[test]
fn a_replay_trusts_what_was_decided() {
    let mut course = decided("if", json!({"condition": "value > 3"}), json!(4), &["true", "false"]);
    // As if the expression had meant something else when it was decided.
    let it = course.instance("it");
    for decision in course.events.iter_mut().flat_map(|event| &mut event.decisions) {
        match decision {
            Decision::Completed { instance, outputs } if *instance == it => {
                let (first, second) = (outputs[0].value.clone(), outputs[1].value.clone());
                (outputs[0].value, outputs[1].value) = (second, first);
            }
            _ => {}
        }
    }
    course.events.truncate(1);
    course.events[0].decisions.truncate(2);
    let replayed = course.replayed();
    assert_eq!(replayed.phase_of(course.instance("out-true").node), NodePhase::Skipped);
    assert_eq!(replayed.phase_of(course.instance("out-false").node), NodePhase::Due);
}

#[test]
fn a_failed_branching_node_fails_its_run_as_any_other() {
    let graph = Fixture::default().work("a", "pure", &json!({"retry": {"maxAttempts": 1}}));
    let graph = graph.logic("it", "if", json!({"condition": "value == 'x'"})).edge("a.out", "it");
    let mut course = Course::begin(&graph.build());
    let attempt = course.assign(course.instance("a"), 1, false);
    course.finish(attempt, failure(ErrorClass::Internal)).unwrap();
    assert_eq!((course.run.status(), phase(&course, "it")), (RunStatus::Failed, NodePhase::Pending));
}
