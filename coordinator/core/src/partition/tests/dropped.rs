//! What a run has given up: who has it is told, and nobody waits for it.

use serde_json::json;

use super::bench::{Bench, RUN, finished};
use crate::graph::fixture::Fixture;
use crate::partition::io::{Effect, Release};
use crate::run::event::{Fact, PermitClass};
use crate::run::{NodePhase, RunStatus};

#[test]
fn losers_of_a_race_are_told_to_stop_or_leave_their_queue() {
    // Of three branches two are at the agent, which has no slot for the third; another node waits behind it.
    let graph = ["a", "b", "c"].iter().fold(Fixture::default(), |graph, id| graph.work(id, "pure", &json!({})));
    let graph = graph.logic("it", "race", json!({})).work("after", "pure", &json!({"priority": -5}));
    let graph = graph.edge("a.out", "it").edge("b.out", "it").edge("c.out", "it").edge("it.value", "after").build();
    let mut bench = Bench::with_agent();
    let given = bench.start(RUN, &graph);
    let [a, b] = &given[..] else { panic!("two slots: {given:?}") };
    assert_eq!(bench.partition.backlog(bench.now).ready, 1);
    bench.on([finished(a, "won")]);
    let releases = bench.land_all();
    let told: Vec<_> = releases
        .iter()
        .filter_map(|release| match release {
            Release::Effect(Effect::CancelAttempt { key, .. }) => Some(*key),
            _ => None,
        })
        .collect();
    assert_eq!(told, [b.key], "once, and nobody else");
    bench.on([finished(b, "late")]);
    bench.land_all();
    let stream = bench.stream("a");
    bench.permits.finished(&b.to, stream, 2);
    bench.permits.grant(&b.to, stream, PermitClass::Slot, 2);
    bench.deal();
    let history = &bench.history[&RUN];
    assert!(history.iter().any(|event| matches!(event.fact, Fact::Discarded { .. })), "its result is thrown away");
    let run = bench.folded(RUN, &graph);
    assert_eq!((run.status(), run.phase_of(graph.find("c").unwrap())), (RunStatus::Running, NodePhase::Dropped));
    let given: Vec<_> =
        history.iter().flat_map(|event| &event.assignments).map(|it| it.attempt.instance.node).collect();
    let nodes = ["a", "b", "after"].map(|id| graph.find(id).unwrap());
    assert_eq!(given, nodes, "nobody gets what was given up, and its place in the queue goes to what follows");
}
