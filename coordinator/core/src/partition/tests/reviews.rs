//! Reviews in a partition: runs that wait for people are in no memory, answers find them, and rows are written beside events.

use std::sync::Arc;

use serde_json::json;

use super::bench::{Bench, RUN, replies, submit};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{CallerId, EventSeq, ReviewId, ReviewIx, RunId, Subject, TenantId};
use crate::limits;
use crate::partition::batch::{CommitOutcome, Phase, ReviewRow, ReviewState};
use crate::partition::io::{Input, Refusal, Reply};
use crate::run::event::{Decision, Event, Fact, ReviewVerdict};
use crate::run::{ReviewAnswer, ReviewRefusal, RunStatus};
use crate::time::Span;

fn graph() -> Arc<Graph> {
    let graph = Fixture::default().input("in").logic("r", "review", json!({"assignees": ["ann"]})).output("out");
    graph.edge("in", "r").edge("r.approved", "out").build()
}

fn answer(caller: u64, run: RunId, by: &str) -> Input {
    let answer = ReviewAnswer {
        review: ReviewIx(0),
        by: Subject::from(by),
        verdict: ReviewVerdict::Approve,
        edit: Vec::new(),
        config: None,
        comment: None,
        revision: None,
        decides_own: false,
    };
    Input::Answer { caller: CallerId(caller), run, tenant: TenantId::from("acme"), answer: Box::new(answer) }
}

fn rows(bench: &Bench) -> Vec<ReviewRow> {
    bench.flying.iter().flat_map(|batch| &batch.runs).flat_map(|run| run.reviews.clone()).collect()
}

/// A run that waits for people, out of memory.
fn evicted(graph: &Arc<Graph>) -> Bench {
    let mut bench = Bench::new();
    bench.on([submit(RUN, graph, None)]);
    bench.land_all();
    bench.pass(limits::EVICT_AFTER);
    bench.tick();
    bench
}

#[test]
fn a_run_that_waits_for_people_is_on_disk_only() {
    let graph = graph();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None)]);
    let written = &bench.flying.as_ref().unwrap().runs[0];
    let summary = written.summary.clone().unwrap();
    assert_eq!((summary.phase, summary.next_due), (Phase::Parked, None), "start-up does not load it, nor any timer");
    let [row] = &written.reviews[..] else { panic!("one row") };
    assert_eq!((row.review, row.state), (ReviewId::of(RUN, ReviewIx(0)), ReviewState::Open));
    assert_eq!((row.review.slot(), row.assignees.clone()), (RUN.slot(), Some(vec!["ann".into()])));
    let created = row.created.clone().unwrap();
    assert_eq!((&*created.node, created.index, created.opened_at), ("r", vec![], bench.now));
    bench.land();
    bench.pass(limits::EVICT_AFTER);
    let outputs = bench.tick();
    assert!(bench.partition.is_empty() && outputs.wake_at.is_none_or(|at| at > bench.now.plus(Span::from_seconds(1))));
}

#[test]
fn an_answer_loads_its_run_once_and_who_comes_second_is_told_so() {
    let graph = graph();
    let mut bench = evicted(&graph);
    let loads = bench.on([answer(1, RUN, "bea"), answer(2, RUN, "ann"), answer(3, RUN, "ann")]).loads;
    assert_eq!(loads, [RUN]);
    let run = bench.folded(RUN, &graph);
    let early = bench.on([Input::Loaded(RUN, Some(run))]);
    assert_eq!(replies(&early.releases), [], "nobody is told before it is durable");
    let [row] = &rows(&bench)[..] else { panic!("one row") };
    assert_eq!(
        (row.state, row.decided_by.clone(), row.verdict),
        (ReviewState::Decided, Some("ann".into()), Some(ReviewVerdict::Approve))
    );
    let refused = |why| Reply::Refused(Refusal::Review(why));
    let told = [
        (1, refused(ReviewRefusal::NotAssignee)),
        (2, Reply::Answered { seq: EventSeq(3) }),
        (3, refused(ReviewRefusal::Closed)),
    ];
    assert_eq!(replies(&bench.land_all()), told);
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
    assert!(bench.partition.is_empty());
}

#[test]
fn an_answer_that_does_not_land_is_asked_for_again() {
    let graph = graph();
    let mut bench = evicted(&graph);
    bench.on([answer(1, RUN, "ann")]);
    let run = bench.folded(RUN, &graph);
    bench.on([Input::Loaded(RUN, Some(run))]);
    let number = bench.flying.take().unwrap().number;
    let stopped = bench.on([Input::Committed(number, CommitOutcome::Unknown)]);
    assert_eq!(replies(&stopped.releases), [(1, Reply::Refused(Refusal::Retry))]);
    // It did not land: the next load takes it.
    bench.reload(&graph);
    bench.on([answer(2, RUN, "ann")]);
    assert_eq!(replies(&bench.land_all()), [(2, Reply::Answered { seq: EventSeq(3) })]);
}

#[test]
fn another_tenant_finds_no_review() {
    let graph = graph();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None)]);
    bench.land_all();
    let Input::Answer { caller, run, answer, .. } = answer(1, RUN, "ann") else { panic!("an answer") };
    let outputs = bench.on([Input::Answer { caller, run, tenant: TenantId::from("other"), answer }]);
    assert_eq!(replies(&outputs.releases), [(1, Reply::Refused(Refusal::NotFound))]);
}

#[test]
fn rows_name_the_events_that_tell_of_a_review() {
    let config = json!({"required": 2});
    let graph = Fixture::default().input("in").logic("r", "review", config).output("out");
    let graph = graph.edge("in", "r").edge("r.approved", "out").build();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None)]);
    let mut told: Vec<EventSeq> = rows(&bench).iter().map(|row| row.seq).collect();
    bench.land_all();
    for (caller, by) in [(1, "ann"), (2, "bea")] {
        bench.on([answer(caller, RUN, by)]);
        told.extend(rows(&bench).iter().map(|row| row.seq));
        bench.land_all();
    }
    let history = &bench.history[&RUN];
    let tells = |event: &Event| {
        let is_asked = event.decisions.iter().any(|decision| matches!(decision, Decision::Asked { .. }));
        is_asked || matches!(event.fact, Fact::Reviewed(_))
    };
    let expected: Vec<EventSeq> = history.iter().filter(|event| tells(event)).map(|event| event.seq).collect();
    assert_eq!(told, expected);
    assert_eq!(told.len(), 3);
}
