//! Values that decisions look at: at hand, in the journal, or on their way there.

use std::sync::Arc;

use serde_json::json;

use super::bench::{Bench, RUN, dispatches, finished, finished_with, submit};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::RunId;
use crate::limits;
use crate::partition::io::{Dispatch, Input, Outputs};
use crate::run::RunStatus;
use crate::run::event::Fact;
use crate::value::{Value, ValueRef};

/// `a → if → out`, where the condition compares what `a` gives.
fn graph() -> Arc<Graph> {
    let graph =
        Fixture::default().work("a", "pure", &json!({})).logic("if", "if", json!({"condition": "value == 'yes'"}));
    graph.output("out").edge("a.out", "if").edge("if.true", "out").build()
}

/// What the journal has for references.
fn read(bench: &Bench, (run, references): &(RunId, Vec<ValueRef>)) -> Input {
    let value = |reference: &ValueRef| -> Value {
        bench.history[run][reference.seq.0 as usize - 1].values[reference.place as usize].clone()
    };
    Input::Values(*run, references.iter().map(|reference| (*reference, value(reference))).collect())
}

fn decisions(bench: &Bench) -> usize {
    bench.history[&RUN].iter().map(|event| event.decisions.len()).sum()
}

#[test]
fn what_was_just_committed_is_at_hand_and_decided_in_the_same_row() {
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph())[..] else { panic!("one attempt") };
    let outputs = bench.on([finished(attempt, "yes")]);
    assert!(outputs.values.is_empty(), "nothing is asked for");
    bench.land_all();
    let row = &bench.history[&RUN][1];
    assert!(matches!(row.fact, Fact::Succeeded { .. }));
    assert_eq!(row.decisions.len(), 2, "the branch and the output stand in the row of the result");
    assert_eq!(bench.folded(RUN, &graph()).status(), RunStatus::Completed);
}

/// A run whose `if` waits, with the values that it looks at in the journal only.
fn reloaded() -> (Bench, Arc<Graph>, Outputs) {
    // The wait holds the decision back until the partition is another one.
    let graph = Fixture::default().work("a", "pure", &json!({})).wait("w", 100);
    let graph =
        graph.logic("if", "if", json!({"condition": "value == 'yes' && nodes.a.output == 'yes'"})).output("out");
    let graph = graph.edge("a.out", "w").edge("w", "if").edge("if.true", "out").build();
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.on([finished(attempt, "yes")]);
    bench.land_all();
    bench.reload(&graph);
    bench.now = bench.now.plus(crate::time::Span::from_millis(200));
    let outputs = bench.tick();
    (bench, graph, outputs)
}

#[test]
fn what_is_not_at_hand_is_asked_for_once_and_the_run_goes_on() {
    let (mut bench, graph, outputs) = reloaded();
    let [asked] = &outputs.values[..] else { panic!("asked for once: {:?}", outputs.values) };
    assert_eq!((asked.0, asked.1.len()), (RUN, 1), "one value stands behind both names");
    assert!(bench.tick().values.is_empty(), "it is not asked for again");
    bench.land_all();
    let before = decisions(&bench);
    bench.on([read(&bench, asked)]);
    bench.land_all();
    assert_eq!(decisions(&bench), before + 2);
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn a_run_that_waits_for_values_can_be_cancelled_and_loaded_again() {
    let (mut bench, _, outputs) = reloaded();
    let asked = outputs.values[0].clone();
    bench.on([super::bench::cancel(9, RUN)]);
    bench.land_all();
    assert!(bench.partition.is_empty());
    let outputs = bench.on([read(&bench, &asked)]);
    assert!(outputs.commit.is_none() && bench.flying.is_none(), "late values change nothing");
    let (mut bench, graph, _) = reloaded();
    bench.land_all();
    let outputs = bench.reload(&graph);
    assert_eq!(outputs.values.len(), 1, "whoever loads it asks anew");
    bench.on([read(&bench, &outputs.values[0])]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn what_is_on_its_way_to_the_journal_is_asked_for_when_it_has_landed() {
    const TEXT_BYTES: usize = 60_000;
    let others = limits::RECENT_VALUES_BYTES_MAX / TEXT_BYTES + 8;
    let names: Vec<String> = (0..others).map(|number| format!("n{number}")).collect();
    let graph = Fixture::default().work("first", "pure", &json!({}));
    let graph = names.iter().fold(graph, |graph, name| graph.work(name, "pure", &json!({})));
    let condition = json!({"condition": "nodes.first.output == 'yes' && size(value) > 0"});
    let graph = graph
        .work("last", "pure", &json!({"priority": -1}))
        .logic("m", "merge", json!({}))
        .logic("if", "if", condition);
    let graph = graph
        .output("out")
        .edge("last.out", "m")
        .edge("first.out", "m")
        .edge("m.value", "if")
        .edge("if.true", "out")
        .build();
    let mut bench = Bench::new();
    bench.join_with("a", 1, others as u32 + 2);
    bench.on([submit(RUN, &graph, None)]);
    let attempts = dispatches(&bench.land_all());
    assert_eq!(attempts.len(), others + 2);
    let of = |id: &str| -> &Dispatch {
        attempts.iter().find(|attempt| attempt.key.instance.node == graph.find(id).unwrap()).unwrap()
    };
    // The first result flies alone; the next ones push its value out of memory.
    bench.on([finished(of("first"), "yes")]);
    let large = "x".repeat(TEXT_BYTES);
    let inputs: Vec<Input> =
        names.iter().map(|name| finished(of(name), &large)).chain([finished(of("last"), "y")]).collect();
    let outputs = bench.on(inputs);
    assert!(outputs.values.is_empty(), "it may not be there yet");
    let mut asked = bench.land().values;
    while asked.is_empty() {
        asked = bench.land().values;
    }
    let answer = read(&bench, &asked[0]);
    bench.on([answer]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn costly_conditions_give_way_to_others() {
    let mut graph = Fixture::default().work("a", "pure", &json!({}));
    for number in 0..20 {
        let id = format!("if{number}");
        let condition = json!({"condition": "value.all(a, value.all(b, a + b >= 0))"});
        graph = graph.logic(&id, "if", condition).edge("a.out", &id);
    }
    let graph = graph.build();
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    let list = (0..73).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let outputs = bench.on([finished_with(attempt, Value::from_json(format!("[{list}]").into()))]);
    assert_eq!(outputs.wake_at, Some(bench.now), "it goes on at once");
    let mut calls = 0;
    while let Some(batch) = &bench.flying {
        let decided: usize = batch.runs.iter().flat_map(|run| &run.events).map(|event| event.decisions.len()).sum();
        assert!(decided < 5, "one call has decided {decided}");
        bench.land();
        calls += 1;
    }
    assert!(calls >= 5 && decisions(&bench) == 20, "{calls} calls");
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}
