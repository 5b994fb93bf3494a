//! Waiting for the world: one test for each sentence of graph.md, part 9, that is about a run.
//!
//! | sentence | test |
//! |---|---|
//! | a signal ends the wait of a node of its name | `a_signal_ends_a_wait` |
//! | who waits longest gets it, in maps too | `who_has_waited_longest_gets_a_signal`, `items_of_a_map_get_signals_in_order` |
//! | early signals are kept in order | `signals_that_come_early_are_kept_in_order` |
//! | not too many of them | `only_so_many_signals_are_kept`, `a_signal_that_is_taken_makes_room_for_one` |
//! | `body` and `timed_out` | `a_wait_ends_with_its_time`, `what_has_come_takes_the_timer_with_it` |
//! | a one-time URL, given at once | `an_address_is_given_at_once_and_called_once` |
//! | after that it is used, or expired | `an_address_expires` |
//! | what is given up hears nothing | `who_has_lost_a_race_hears_nothing`, `what_an_item_waited_for_goes_with_it` |
//! | the end of a run | `nothing_is_heard_after_the_end` |
//! | parked, with and without a time | `a_run_that_listens_is_parked` |
//! | a request with a key counts once | `the_same_request_counts_once` |
//! | nobody is asked twice | `a_resumed_run_takes_over_what_has_come` |
//! | histories that do not follow | `who_does_not_listen_hears_nothing` |

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::course::{Course, ID, START, bare, hooks, success};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::hook::HOOK_PATH;
use crate::id::{EventSeq, Generation, Instance, NodeIx, RunId, ScopeIx, Subject};
use crate::limits;
use crate::run::checkpoint::Gatherer;
use crate::run::event::{Called, Decision, Fact, RequestKey, Signalled};
use crate::run::lineage::{Lineage, Offer, Source};
use crate::run::{Command, Corrupt, ListenRefusal, NodePhase, Rejection, Run, RunStatus};
use crate::time::Span;
use crate::value::{Digest, Value};

fn value(json: &Json) -> Value {
    Value::from_json(Bytes::from(json.to_string()))
}

fn send(course: &mut Course, name: &str, body: Json) -> Result<(), Rejection> {
    let sent =
        course.command(Command::Signal { name: name.into(), by: Subject::from("ann"), body: value(&body), key: None });
    same(course);
    sent
}

fn call(course: &mut Course, instance: Instance, body: Json) -> Result<(), Rejection> {
    let called = course.command(Command::Call { instance, body: value(&body), key: None });
    same(course);
    called
}

/// A restart changes nothing: neither a replay of the history nor a snapshot.
fn same(course: &Course) {
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    let restored = Run::restore(course.run.id(), Arc::clone(course.run.graph()), &course.run.snapshot()).unwrap();
    assert_eq!(restored.snapshot(), course.run.snapshot());
    course.view();
}

fn refused(why: ListenRefusal) -> Result<(), Rejection> {
    Err(Rejection::Listen(why))
}

/// The one instance of a node that waits.
fn waits(course: &Course, node: &str) -> Instance {
    let node = course.run.graph().find(node).unwrap();
    let found: Vec<Instance> =
        course.run.listeners().map(|(instance, _)| instance).filter(|it| it.node == node).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// `in → s → out`, with what else its config says.
fn signal(config: Json) -> Arc<Graph> {
    let mut config = config;
    config["name"] = "go".into();
    Fixture::default()
        .input("in")
        .logic("s", "signal", config)
        .output("out")
        .edge("in", "s")
        .edge("s.body", "out")
        .build()
}

/// `in → h`, and behind its address `tell`, behind its body `out`.
fn hook(config: Json) -> Arc<Graph> {
    Fixture::default()
        .input("in")
        .logic("h", "wait_webhook", config)
        .work("tell", "pure", &json!({}))
        .output("out")
        .edge("in", "h")
        .edge("h.url", "tell")
        .edge("h.body", "out")
        .build()
}

#[test]
fn a_signal_ends_a_wait() {
    let mut course = Course::begin(&signal(json!({})));
    assert_eq!(course.run.phase_of(course.instance("s").node), NodePhase::Waiting);
    send(&mut course, "go", json!({"amount": 7})).unwrap();
    assert_eq!(
        (course.gave("out.value"), course.gave("s.timed_out")),
        (Some(json!({"amount": 7})), Some(json!(false)))
    );
    assert_eq!(course.facts(), ["run.started", "signal.received", "run.completed"]);
    let Fact::Signalled(it) = &course.events[1].fact else { panic!("no signal") };
    assert_eq!((&*it.name, &it.by, it.to), ("go", &Subject::from("ann"), Some(course.instance("s"))));
}

#[test]
fn a_signal_that_no_node_waits_for_is_refused() {
    let mut course = Course::begin(&signal(json!({})));
    assert_eq!(send(&mut course, "come", json!(null)), refused(ListenRefusal::UnknownSignal));
    let large = "x".repeat(limits::INLINE_VALUE_BYTES_MAX);
    assert_eq!(send(&mut course, "go", json!(large)), refused(ListenRefusal::TooLarge));
    assert_eq!(course.events.len(), 1);
}

#[test]
fn signals_that_come_early_are_kept_in_order() {
    let graph = Fixture::default()
        .work("first", "pure", &json!({}))
        .logic("a", "signal", json!({"name": "go"}))
        .logic("b", "signal", json!({"name": "go"}))
        .output("end")
        .edge("first", "a")
        .edge("a.body", "b")
        .edge("b.body", "end")
        .build();
    let mut course = Course::begin(&graph);
    let attempt = course.assign(course.instance("first"), 1, false);
    for number in 0..3 {
        send(&mut course, "go", json!(number)).unwrap();
    }
    assert_eq!(course.run.kept_signals(), 3);
    course.finish(attempt, success("x")).unwrap();
    same(&course);
    assert_eq!((course.gave("a.body"), course.gave("b.body")), (Some(json!(0)), Some(json!(1))));
    let took = |decision: &Decision| match decision {
        Decision::Took { signal, .. } => Some(signal.0),
        _ => None,
    };
    let taken: Vec<u64> = course.events.iter().flat_map(|event| &event.decisions).filter_map(took).collect();
    assert_eq!((taken, course.run.status()), (vec![3, 4], RunStatus::Completed));
}

#[test]
fn who_has_waited_longest_gets_a_signal() {
    let graph = Fixture::default()
        .logic("late", "signal", json!({"name": "go"}))
        .input("in")
        .wait("pause", 10)
        .edge("in", "pause")
        .logic("early", "signal", json!({"name": "go"}))
        .edge("pause", "late")
        .build();
    let mut course = Course::begin(&graph);
    course.pass(10);
    course.command(Command::Wake).unwrap();
    assert_eq!(course.run.listeners().count(), 2);
    send(&mut course, "go", json!("a")).unwrap();
    send(&mut course, "go", json!("b")).unwrap();
    assert_eq!((course.gave("early.body"), course.gave("late.body")), (Some(json!("a")), Some(json!("b"))));
    assert_eq!(course.run.status(), RunStatus::Completed);
}

fn mapped(node: &str, config: Json) -> Arc<Graph> {
    Fixture::default()
        .list("list", json!(["x", "y", "z"]))
        .logic("m", "map", json!({"onItemError": "skip"}))
        .logic("s", node, config)
        .inside("m")
        .output("end")
        .edge("list", "m.items")
        .edge("m.item", "s")
        .edge("s.body", "m.result")
        .edge("m.results", "end")
        .build()
}

#[test]
fn items_of_a_map_get_signals_in_order() {
    let mut course = Course::begin(&mapped("signal", json!({"name": "go"})));
    assert!(course.run.is_parked());
    for number in 0..3 {
        send(&mut course, "go", json!(number)).unwrap();
    }
    assert_eq!(course.gave("end.value"), Some(json!([0, 1, 2])));
    assert_eq!(send(&mut course, "go", json!(3)), refused(ListenRefusal::RunOver));
}

#[test]
fn each_item_of_a_map_has_an_address_of_its_own() {
    let mut course = Course::begin(&mapped("wait_webhook", json!({})));
    let open: Vec<Instance> = course.run.listeners().map(|(instance, _)| instance).collect();
    assert_eq!(open.len(), 3);
    for (number, instance) in open.iter().enumerate().rev() {
        let address = course.json(&course.run.early_outputs(*instance)[0].value);
        let (_, token) = address.as_str().unwrap().rsplit_once('/').unwrap();
        assert_eq!(hooks().read(token), Some((ID, *instance)));
        call(&mut course, *instance, json!(number)).unwrap();
    }
    assert_eq!(course.gave("end.value"), Some(json!([0, 1, 2])));
    // Of items that have closed nobody knows any more that they were called.
    assert_eq!(call(&mut course, open[0], json!(9)), refused(ListenRefusal::HookExpired));
}

#[test]
fn only_so_many_signals_are_kept() {
    let graph = Fixture::default()
        .work("first", "pure", &json!({}))
        .logic("s", "signal", json!({"name": "go"}))
        .edge("first", "s")
        .build();
    let mut course = Course::begin(&graph);
    let go = || Command::Signal { name: "go".into(), by: Subject::from("ann"), body: value(&json!(1)), key: None };
    for _ in 0..limits::SIGNALS_KEPT_PER_RUN_MAX {
        course.command(go()).unwrap();
    }
    assert_eq!(course.command(go()), refused(ListenRefusal::TooManySignals));
    same(&course);
    course.run_through(|_, _| success("x"));
    same(&course);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_signal_that_is_taken_makes_room_for_one() {
    let graph = Fixture::default()
        .work("first", "pure", &json!({}))
        .work("second", "pure", &json!({}))
        .logic("s", "signal", json!({"name": "go"}))
        .logic("o", "signal", json!({"name": "other"}))
        .logic("stays", "signal", json!({"name": "never"}))
        .edge("first", "s")
        .edge("second", "o")
        .build();
    let mut course = Course::begin(&graph);
    let sent = |course: &mut Course, name: &str| {
        let (name, by) = (name.into(), Subject::from("ann"));
        course.command(Command::Signal { name, by, body: value(&json!(1)), key: None })
    };
    for number in 0..limits::SIGNALS_KEPT_PER_RUN_MAX {
        sent(&mut course, if number % 2 == 0 { "go" } else { "other" }).unwrap();
    }
    for (node, name) in [("first", "other"), ("second", "go")] {
        for name in ["go", "other"] {
            assert_eq!(sent(&mut course, name), refused(ListenRefusal::TooManySignals));
        }
        let attempt = course.assign(course.instance(node), 1, false);
        course.finish(attempt, success("x")).unwrap();
        sent(&mut course, name).unwrap();
        assert_eq!(course.run.kept_signals(), limits::SIGNALS_KEPT_PER_RUN_MAX);
        same(&course);
    }
}

#[test]
fn a_wait_ends_with_its_time() {
    let graph = Fixture::default()
        .logic("s", "signal", json!({"name": "go", "timeoutMs": 50}))
        .output("yes")
        .output("late")
        .edge("s.body", "yes")
        .edge("s.timed_out", "late")
        .build();
    let mut course = Course::begin(&graph);
    assert_eq!(course.run.next_due(), Some(START.plus(Span::from_millis(50))));
    course.pass(49);
    assert_eq!(course.command(Command::Wake), Err(Rejection::Idle));
    course.pass(1);
    course.command(Command::Wake).unwrap();
    same(&course);
    assert_eq!((course.gave("late.value"), course.gave("s.body")), (Some(json!(true)), None));
    assert_eq!(course.run.phase_of(course.instance("yes").node), NodePhase::Skipped);
    assert_eq!(course.facts(), ["run.started", "timer.fired", "run.completed"]);
}

#[test]
fn what_has_come_takes_the_timer_with_it() {
    for graph in [signal(json!({"timeoutMs": 50})), hook(json!({"timeoutMs": 50}))] {
        let mut course = Course::begin(&graph);
        match graph.find("h") {
            None => send(&mut course, "go", json!(1)).unwrap(),
            Some(node) => call(&mut course, Instance::root(node), json!(1)).unwrap(),
        }
        course.pass(50);
        assert!(matches!(course.command(Command::Wake), Err(Rejection::Idle | Rejection::Over(_))));
        assert_eq!(course.gave("out.value"), Some(json!(1)));
    }
}

#[test]
fn an_address_is_given_at_once_and_called_once() {
    let mut course = Course::begin(&hook(json!({})));
    let instance = course.instance("h");
    let address = course.gave("h.url").unwrap();
    let (base, token) = address.as_str().unwrap().split_once(HOOK_PATH).unwrap();
    assert_eq!((base, hooks().read(token)), ("https://example.org", Some((ID, instance))));
    assert_eq!((course.gave("h.body"), course.gave("h.timed_out")), (None, None));
    // What hangs on it runs while the node waits.
    let tell = course.instance("tell");
    assert_eq!(course.run.phase_of(tell.node), NodePhase::Ready);
    assert_eq!(course.inputs(tell), json!({"in": [address]}));
    call(&mut course, instance, json!({"paid": true})).unwrap();
    assert_eq!(course.gave("out.value"), Some(json!({"paid": true})));
    assert_eq!((course.gave("h.timed_out"), course.gave("h.url")), (Some(json!(false)), Some(address)));
    assert_eq!(call(&mut course, instance, json!(2)), refused(ListenRefusal::HookUsed));
    assert!(!course.is_over(), "the other node has yet to run");
    course.run_through(|_, _| success("told"));
    assert_eq!((course.run.status(), course.gave("out.value")), (RunStatus::Completed, Some(json!({"paid": true}))));
    assert_eq!(call(&mut course, instance, json!(2)), refused(ListenRefusal::HookUsed));
}

#[test]
fn an_address_expires() {
    let mut course = Course::begin(&hook(json!({"timeoutMs": 50})));
    course.run_through(|_, _| success("told"));
    course.pass(50);
    course.command(Command::Wake).unwrap();
    assert_eq!((course.run.status(), course.gave("h.timed_out")), (RunStatus::Completed, Some(json!(true))));
    let instance = course.instance("h");
    assert_eq!(call(&mut course, instance, json!(1)), refused(ListenRefusal::HookExpired));
    let mut course = Course::begin(&hook(json!({})));
    for other in [
        Instance { generation: Generation(1), ..instance },
        Instance { scope: ScopeIx(4), ..instance },
        Instance { node: NodeIx(99), ..instance },
        course.instance("tell"),
        course.instance("out"),
    ] {
        assert_eq!(call(&mut course, other, json!(1)), refused(ListenRefusal::HookExpired), "{other:?}");
    }
    course.command(Command::Cancel { by: Subject::from("ann"), reason: None }).unwrap();
    assert_eq!(call(&mut course, instance, json!(1)), refused(ListenRefusal::HookExpired));
}

#[test]
fn who_has_lost_a_race_hears_nothing() {
    let graph = Fixture::default()
        .logic("a", "signal", json!({"name": "go", "timeoutMs": 50}))
        .logic("b", "wait_webhook", json!({}))
        .logic("race", "race", json!({}))
        .logic("last", "signal", json!({"name": "go"}))
        .output("end")
        .edge("a.body", "race")
        .edge("b.body", "race")
        .edge("race", "last")
        .edge("last.body", "end")
        .build();
    let mut course = Course::begin(&graph);
    let hook = course.instance("b");
    call(&mut course, hook, json!("b")).unwrap();
    assert_eq!(course.run.phase_of(course.instance("a").node), NodePhase::Dropped);
    assert_eq!(waits(&course, "last"), course.instance("last"));
    assert_eq!(course.run.next_due(), None, "the timer went with the node");
    send(&mut course, "go", json!(1)).unwrap();
    assert_eq!((course.gave("a.body"), course.gave("end.value")), (None, Some(json!(1))));
    // The other way round.
    let mut course = Course::begin(&graph);
    send(&mut course, "go", json!("a")).unwrap();
    assert_eq!(call(&mut course, hook, json!("b")), refused(ListenRefusal::HookExpired));
}

#[test]
fn an_address_may_win_a_race() {
    let graph = Fixture::default()
        .logic("h", "wait_webhook", json!({}))
        .logic("race", "race", json!({"cancelLosers": false}))
        .output("end")
        .edge("h.body", "race")
        .edge("h.url", "race")
        .edge("race", "end")
        .build();
    let mut course = Course::begin(&graph);
    assert!(course.gave("end.value").unwrap().as_str().unwrap().starts_with("https://example.org"));
    let instance = course.instance("h");
    call(&mut course, instance, json!(1)).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn what_an_item_waited_for_goes_with_it() {
    let graph = Fixture::default()
        .list("list", json!(["x", "y"]))
        .logic("m", "map", json!({"onItemError": "skip"}))
        .logic("s", "signal", json!({"name": "go"}))
        .inside("m")
        .work("w", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("m")
        .output("end")
        .edge("list", "m.items")
        .edge("m.item", "s")
        .edge("m.item", "w.extra")
        .edge("s.body", "m.result")
        .edge("m.results", "end")
        .build();
    let mut course = Course::begin(&graph);
    let first = course.next_ready().unwrap();
    let attempt = course.assign(first, 1, false);
    course.finish(attempt, super::course::failure(crate::run::event::ErrorClass::InvalidRequest)).unwrap();
    assert_eq!(course.run.listeners().count(), 1, "the failed item hears nothing any more");
    send(&mut course, "go", json!("only")).unwrap();
    course.run_through(|_, _| success("x"));
    same(&course);
    assert_eq!(course.gave("end.value"), Some(json!(["only"])));
}

#[test]
fn nothing_is_heard_after_the_end() {
    let mut course = Course::begin(&signal(json!({})));
    course.command(Command::Cancel { by: Subject::from("ann"), reason: None }).unwrap();
    assert_eq!(course.run.listeners().count(), 0);
    assert_eq!(send(&mut course, "go", json!(1)), refused(ListenRefusal::RunOver));
    assert!(course.run.is_closed());
}

#[test]
fn a_run_that_listens_is_parked() {
    let course = Course::begin(&signal(json!({})));
    assert_eq!((course.run.is_parked(), course.run.next_due()), (true, None));
    let course = Course::begin(&signal(json!({"timeoutMs": 86_400_000u64 * 3})));
    assert_eq!(
        (course.run.is_parked(), course.run.next_due()),
        (true, Some(START.plus(Span::from_seconds(3 * 86_400))))
    );
    // Waiting does not count as active time.
    let mut course = course;
    course.pass(3 * 86_400_000);
    course.command(Command::Wake).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_resumed_run_takes_over_what_has_come() {
    for graph in [signal(json!({})), hook(json!({}))] {
        let mut course = Course::begin(&graph);
        let name = if graph.find("h").is_some() { "h" } else { "s" };
        let instance = course.instance(name);
        match name {
            "s" => send(&mut course, "go", json!("said")).unwrap(),
            _ => call(&mut course, instance, json!("said")).unwrap(),
        }
        let mut gatherer = Gatherer::begin(ID, Arc::clone(&graph), &course.events[0], false).unwrap();
        course.events[1..].iter().for_each(|event| gatherer.step(event).unwrap());
        let found = gatherer.finish().1.results.into_iter().find(|it| it.node == instance.node).unwrap();
        // Its values are copied into the event that offers it.
        let mut values = Vec::new();
        let outputs = found.outputs.into_iter().map(|mut output| {
            if let crate::run::event::OutputValue::One(reference) = &mut output.value {
                values.push(course.value(reference));
                (reference.seq, reference.place) = (EventSeq(2), values.len() as u32 - 1);
            }
            output
        });
        let outputs = outputs.collect();
        let offer = Offer { node: found.node, index: found.index, key: found.key, source: Source::Run(ID), outputs };
        let lineage = Lineage { parent: Some(ID), root: Some(ID), offered: 1, ..Lineage::default() };
        let offers = vec![(vec![offer], values)];
        let resumed = Course::begin_with(&graph, 0, RunId(8), (Some(Box::new(lineage)), None), offers);
        assert_eq!(resumed.run.phase_of(instance.node), NodePhase::Cached, "{name}");
        assert_eq!(resumed.gave("out.value"), Some(json!("said")));
        same(&resumed);
    }
}

#[test]
fn the_same_request_counts_once() {
    let graph = Fixture::default()
        .logic("s", "signal", json!({"name": "go"}))
        .logic("h", "wait_webhook", json!({}))
        .edge("s.body", "h")
        .build();
    let mut course = Course::begin(&graph);
    let instance = course.instance("h");
    let key = |key: u8, body: u8| Some(RequestKey { key: Digest([key; 32]), body: Digest([body; 32]) });
    let go = |key| Command::Signal { name: "go".into(), by: Subject::from("ann"), body: value(&json!(1)), key };
    let ring = |key| Command::Call { instance, body: value(&json!(2)), key };
    course.command(go(key(1, 1))).unwrap();
    course.command(go(key(2, 1))).unwrap();
    course.command(ring(key(3, 1))).unwrap();
    same(&course);
    assert!(course.is_over());
    // What was answered is known after the end, too.
    let again = |seq, delivered| refused(ListenRefusal::Again { seq: EventSeq(seq), delivered });
    assert_eq!(course.command(go(key(1, 1))), again(2, true));
    assert_eq!(course.command(go(key(2, 1))), again(3, false));
    assert_eq!(course.command(ring(key(3, 1))), again(4, true));
    assert_eq!(course.command(ring(key(3, 2))), refused(ListenRefusal::KeyMismatch));
    assert_eq!(course.command(ring(key(4, 1))), refused(ListenRefusal::HookUsed));
    assert_eq!(course.command(go(key(4, 1))), refused(ListenRefusal::RunOver));
}

#[test]
fn who_does_not_listen_hears_nothing() {
    let mut course = Course::begin(&signal(json!({})));
    let instance = course.instance("s");
    let reference = *match course.run.output(course.instance("in").node, crate::id::PortIx(0)).unwrap() {
        crate::run::event::OutputValue::One(reference) => reference,
        other => panic!("{other:?}"),
    };
    let signalled = |name: &str, to| {
        let outputs = Vec::new();
        Fact::Signalled(Box::new(Signalled {
            name: name.into(),
            by: Subject::from("ann"),
            body: reference,
            to,
            outputs,
            key: None,
        }))
    };
    let called = |instance| Fact::Called(Box::new(Called { instance, outputs: Vec::new(), key: None }));
    let other = course.instance("out");
    for fact in [
        signalled("go", None),
        signalled("go", Some(other)),
        signalled("stop", Some(instance)),
        called(instance),
        called(other),
    ] {
        let event = bare(course.run.seq().next(), course.now, fact);
        let found = course.run.clone().step(&event);
        assert!(matches!(found, Err(Corrupt::NotListening { .. })), "{event:?}: {found:?}");
    }
    let took = Decision::Took { instance, signal: EventSeq(1), outputs: Vec::new() };
    let mut event = bare(course.run.seq().next(), course.now, Fact::Continued);
    event.decisions.push(took);
    assert!(course.run.step(&event).is_err(), "it waits already");
}

/// What happens to a run with three nodes that wait for one name, of which two wait for others first.
#[derive(Debug, Clone)]
enum Step {
    Send(&'static str),
    Call,
    Pass(u64),
}

proptest! {
    /// Whatever comes when, each signal is got once or kept, in order, and each node hears one thing.
    #[test]
    fn each_signal_is_got_once_and_in_order(steps in prop::collection::vec(prop_oneof![
        3 => prop::sample::select(vec!["go", "other"]).prop_map(Step::Send),
        1 => Just(Step::Call),
        1 => (1..40u64).prop_map(Step::Pass),
    ], 0..16)) {
        let graph = Fixture::default()
            .logic("a", "signal", json!({"name": "go", "timeoutMs": 60}))
            .logic("h", "wait_webhook", json!({"timeoutMs": 100}))
            .logic("b", "signal", json!({"name": "go"}))
            .logic("o", "signal", json!({"name": "other", "timeoutMs": 30}))
            .logic("c", "signal", json!({"name": "go"}))
            .edge("h.timed_out", "b")
            .edge("o.timed_out", "c")
            .build();
        let mut course = Course::begin(&graph);
        let (mut sent, mut number) = (Vec::new(), 0);
        for step in steps {
            number += 1;
            match step {
                Step::Send(name) => {
                    if send(&mut course, name, json!(number)).is_ok() && name == "go" {
                        sent.push(number);
                    }
                }
                Step::Call => {
                    let instance = course.instance("h");
                    let _refused = call(&mut course, instance, json!(number));
                }
                Step::Pass(millis) => {
                    course.pass(millis);
                    while course.command(Command::Wake).is_ok() {}
                    same(&course);
                }
            }
        }
        let got = ["a", "b", "c"].map(|node| course.gave(&format!("{node}.body")).and_then(|it| it.as_u64()));
        let mut got: Vec<u64> = got.into_iter().flatten().collect();
        got.sort_unstable();
        prop_assert_eq!(&got[..], &sent[..got.len()], "in order, each once");
        let has_ended = course.is_over();
        prop_assert!(has_ended || course.run.kept_signals() >= sent.len() - got.len());
        let open = course.run.listeners().count();
        prop_assert!(has_ended || course.run.kept_signals() == 0 || open < 5);
    }
}
