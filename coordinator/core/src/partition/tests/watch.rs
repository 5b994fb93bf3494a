//! What runs in memory wait for, and the watchdog over them (H21): nothing of a sound engine is an orphan, whatever it waits for.

use std::sync::Arc;

use serde_json::json;

use super::bench::{Bench, RUN, dispatches, finished, submit};
use crate::explain::{Explained, Part};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::RunId;
use crate::limits;
use crate::partition::io::{Input, Leaving};
use crate::partition::watch::{Orphan, Watched};
use crate::run::Outcome;
use crate::run::event::{ErrorClass, NodeError, Timing};
use crate::time::{Span, Timestamp};

fn watched(bench: &mut Bench) -> Watched {
    bench.partition.watch(None, limits::WATCHDOG_PAGE_RUNS)
}

/// What the run waits for, by node and kind; the watchdog finds nothing.
fn waits(bench: &mut Bench) -> Vec<(String, &'static str)> {
    assert_eq!(watched(bench).orphans, [], "something wakes all of it");
    let explained = explained(bench);
    explained.nodes.iter().map(|told| (told.node.to_string(), told.cause.kind())).collect()
}

fn explained(bench: &Bench) -> Explained {
    let mut explained = bench.partition.explain(RUN, bench.now).unwrap_or_default();
    explained.look_at(&bench.permits);
    explained
}

fn sentence(bench: &Bench, node: &str) -> String {
    let explained = explained(bench);
    explained.nodes.iter().find(|told| &*told.node == node).unwrap().sentence(bench.now)
}

fn kinds<'a>(waits: &'a [(String, &'static str)]) -> Vec<(&'a str, &'static str)> {
    waits.iter().map(|(node, kind)| (&**node, *kind)).collect()
}

/// Two nodes of an agent, one behind the other.
fn chain(policy: &serde_json::Value) -> Arc<Graph> {
    Fixture::default().work("a", "pure", policy).work("b", "pure", &json!({})).edge("a", "b").build()
}

#[test]
fn work_waits_for_an_agent_then_for_its_end_and_what_follows_waits_for_it() {
    let mut bench = Bench::new();
    bench.start(RUN, &chain(&json!({})));
    assert_eq!(kinds(&waits(&mut bench)), [("a", "agent"), ("b", "inputs")]);
    assert_eq!(sentence(&bench, "b"), "\"b\" waits for what \"a\" will give.");
    assert_eq!(explained(&bench).nodes[0].since, bench.now, "since it stands in its queue");
    bench.join("x", 1, &[], &[]);
    let sent = bench.deal();
    assert_eq!(kinds(&waits(&mut bench)), [("a", "attempt"), ("b", "inputs")]);
    assert_eq!(sentence(&bench, "a"), "\"a\" is at work on agent x, attempt 1.");
    bench.gone("x", 1, Leaving::Broken);
    assert!(
        sentence(&bench, "a").contains("which has been away for 0 s: unless it comes back, its work counts as lost in")
    );
    assert_eq!(kinds(&waits(&mut bench)), [("a", "attempt"), ("b", "inputs")]);
    bench.join("x", 1, &[sent[0].key], &[]);
    bench.on([finished(&sent[0], "done")]);
    bench.land_all();
    assert_eq!(kinds(&waits(&mut bench)), [("b", "attempt")]);
}

#[test]
fn a_failed_try_waits_for_the_next_one() {
    let mut bench = Bench::with_agent();
    let retry = json!({"retry": {"maxAttempts": 3, "initialMs": 5_000, "jitter": 0.0}});
    let sent = bench.start(RUN, &chain(&retry));
    let error = NodeError { class: ErrorClass::Retryable, code: "boom".into(), message: "no luck".into() };
    let outcome = Outcome::Failed { error, retry_after: None };
    bench.on([Input::Finished { from: sent[0].to.clone(), key: sent[0].key, outcome, timing: Timing::default() }]);
    bench.land_all();
    assert_eq!(kinds(&waits(&mut bench)), [("a", "retry"), ("b", "inputs")]);
    let mut explained = explained(&bench);
    explained.note(&bench.history[&RUN]);
    let told = &explained.nodes[0];
    assert_eq!(told.sentence(bench.now), "\"a\" is tried again in 5 s: 1 of 3 tries failed (boom: no luck).");
}

/// Since when the instances of nodes of this id wait.
fn since(bench: &Bench, node: &str) -> Vec<Timestamp> {
    explained(bench).nodes.iter().filter(|told| &*told.node == node).map(|told| told.since).collect()
}

#[test]
fn since_when_something_waits_is_known_without_its_history_and_by_who_reads_the_run_later() {
    let retry = json!({"retry": {"maxAttempts": 3, "initialMs": 5_000, "jitter": 0.0}});
    let graph = Fixture::default().work("a", "pure", &retry).work("b", "pure", &json!({})).edge("a", "b");
    let graph = graph.list("list", json!([1, 2])).logic("map", "map", json!({"concurrency": 1}));
    let graph = graph.wait("each", 60_000).inside("map").edge("list", "map.items");
    let graph = graph.edge("map.item", "each").edge("each", "map.result").build();
    let mut bench = Bench::with_agent();
    let sent = bench.start(RUN, &graph);
    let begun = bench.now;
    bench.pass(Span::from_millis(1_000));
    let error = NodeError { class: ErrorClass::Retryable, code: "boom".into(), message: "no luck".into() };
    let outcome = Outcome::Failed { error, retry_after: None };
    bench.on([Input::Finished { from: sent[0].to.clone(), key: sent[0].key, outcome, timing: Timing::default() }]);
    bench.land_all();
    let failed = bench.now;
    bench.pass(Span::from_millis(1_000));
    assert_eq!((since(&bench, "a"), since(&bench, "b")), (vec![failed], vec![begun]));
    assert_eq!((since(&bench, "each"), since(&bench, "map")), (vec![begun], vec![begun]));
    let run = bench.folded(RUN, &graph);
    let of = |part| Explained::of(&run, part, bench.now).nodes;
    let (outside, all) = (of(Part::Outside), of(Part::All));
    assert!(outside.len() == 2 && outside.iter().all(|told| all.contains(told)), "{outside:?} {all:?}");

    // A pause that is over is a wait for an agent; the next item begins when the one before it is done.
    bench.gone("a", 1, Leaving::Goodbye);
    bench.pass(Span::from_millis(60_000));
    bench.tick();
    bench.land_all();
    assert_eq!(
        (since(&bench, "a"), since(&bench, "each")),
        (vec![failed.plus(Span::from_millis(5_000))], vec![bench.now])
    );
}

#[test]
fn people_and_timers_are_waited_for() {
    let graph = Fixture::default().input("in").logic("r", "review", json!({"assignees": ["ann"]})).wait("w", 60_000);
    let graph = graph.output("out").edge("in", "r").edge("in", "w").edge("r.approved", "out").build();
    let mut bench = Bench::new();
    bench.start(RUN, &graph);
    assert_eq!(kinds(&waits(&mut bench)), [("r", "review"), ("w", "timer"), ("out", "inputs")]);
    assert!(sentence(&bench, "r").starts_with("\"r\" waits for ann to review what came to it (review rev_"));
    assert_eq!(sentence(&bench, "w"), "\"w\" waits until its time comes, in 1 min 0 s.");
    bench.pass(limits::EVICT_AFTER);
    bench.tick();
    assert!(bench.partition.is_empty() && bench.partition.explain(RUN, bench.now).is_none(), "its row has it now");
}

#[test]
fn items_are_told_for_each_node_up_to_a_few_and_the_others_are_counted() {
    let items: Vec<u32> = (0..40).collect();
    let graph = Fixture::default().list("list", json!(items)).logic("map", "map", json!({"concurrency": 30}));
    let graph = graph.work("each", "pure", &json!({})).inside("map").edge("list", "map.items");
    let graph = graph.edge("map.item", "each").edge("each", "map.result").build();
    let mut bench = Bench::new();
    bench.start(RUN, &graph);
    waits(&mut bench);
    let explained = explained(&bench);
    let each: Vec<_> = explained.nodes.iter().filter(|told| &*told.node == "each").collect();
    assert_eq!(each.len(), limits::EXPLAINED_INSTANCES_MAX);
    assert_eq!((each[3].index.clone(), each.last().unwrap().more), (vec![3], 20));
    assert_eq!(explained.kinds(), [("agent", 30), ("items", 1)]);
}

#[test]
fn pages_follow_one_another() {
    let graph = chain(&json!({}));
    let mut bench = Bench::new();
    bench.on((1..=5).map(|run| submit(RunId(run), &graph, None)));
    dispatches(&bench.land_all());
    let first = bench.partition.watch(None, 3);
    assert!(first.has_more && first.runs == [RunId(1), RunId(2), RunId(3)], "{first:?}");
    let second = bench.partition.watch(first.runs.last().copied(), 3);
    assert_eq!(second, Watched { runs: vec![RunId(4), RunId(5)], orphans: vec![], has_more: false });
}

#[cfg(feature = "planted-faults")]
#[test]
fn what_nothing_would_wake_is_found() {
    use crate::fault::{Fault, plant};
    use crate::partition::watch::Lost;

    let found = |fault, graph: &Arc<Graph>| {
        plant(Some(fault));
        let mut bench = Bench::new();
        bench.start(RUN, graph);
        let orphans = watched(&mut bench).orphans;
        let explained = bench.partition.explain(RUN, bench.now).unwrap_or_default();
        plant(None);
        (orphans, explained)
    };
    let waiting = Fixture::default().input("in").wait("w", 60_000).edge("in", "w").build();
    let (orphans, explained) = found(Fault::TimerNotSet, &waiting);
    let lost = Lost::Node { node: "w".into(), index: Vec::new() };
    assert_eq!(orphans, [Orphan { run: RUN, lost }]);
    assert_eq!(explained.kinds(), [("nothing", 1)]);
    let (orphans, _) = found(Fault::AlarmNotSet, &waiting);
    assert_eq!(orphans, [Orphan { run: RUN, lost: Lost::Timer }]);
}
