//! Results that runs share, in a partition: what is asked, what answers and what does not, and the rows beside the events.

use std::sync::Arc;

use serde_json::json;

use super::bench::{Bench, RUN, dispatches, finished, submit, submit_of};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{PortIx, RunId, TenantId};
use crate::limits;
use crate::partition::io::{Input, Outputs, Question};
use crate::run::RunStatus;
use crate::run::recall::CachedResult;
use crate::time::Span;
use crate::value::{Digest, Value};

fn graph() -> Arc<Graph> {
    let graph = Fixture::default().input("in").work("a", "pure", &json!({"cache": {"ttlSeconds": 60}})).output("out");
    graph.edge("in", "a.in").edge("a.out", "out").build()
}

fn result(bench: &Bench, key: Digest) -> CachedResult {
    let value = Value::from_json(r#""by another""#.into());
    let (made_at, expires_at) = (bench.now, bench.now.plus(Span::from_seconds(60)));
    CachedResult { key, run: RunId(99), outputs: vec![(PortIx(0), value)], made_at, expires_at }
}

fn found(question: &Question, found: Option<CachedResult>) -> Input {
    let Question { run, instance, key, .. } = question.clone();
    Input::SharedFound { run, instance, key, found: found.map(Box::new) }
}

fn asked(outputs: &Outputs) -> Question {
    let [question] = &outputs.questions[..] else { panic!("one question, and not {:?}", outputs.questions) };
    question.clone()
}

#[test]
fn a_hit_ends_the_node_and_a_miss_gives_it_to_an_agent() {
    let graph = graph();
    let mut bench = Bench::with_agent();
    let question = asked(&bench.on([submit(RUN, &graph, None)]));
    assert_eq!((question.run, question.tenant.clone(), question.at), (RUN, TenantId::from("acme"), bench.now));
    assert_eq!(dispatches(&bench.land_all()).len(), 0, "it waits for the answer");
    let result = result(&bench, question.key);
    bench.on([found(&question, Some(result))]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
    assert_eq!(bench.history[&RUN].len(), 3, "the beginning, what was found, and the end");

    let question = asked(&bench.on([submit(RunId(2), &graph, None)]));
    bench.land_all();
    bench.on([found(&question, None)]);
    let [attempt] = &dispatches(&bench.land_all())[..] else { panic!("an agent gets it") };
    bench.on([finished(attempt, "made")]);
    let rows: Vec<_> = bench.flying.iter().flat_map(|batch| &batch.runs).flat_map(|run| run.cached.clone()).collect();
    let [row] = &rows[..] else { panic!("one row, beside the event") };
    assert_eq!((&row.tenant, &*row.node, row.result.key), (&TenantId::from("acme"), "a", question.key));
    assert_eq!(row.result.outputs, [(PortIx(0), Value::from_json(r#""made""#.into()))]);
    assert_eq!(row.result.expires_at, bench.now.plus(Span::from_seconds(60)));
    assert_eq!(row.seq, bench.flying.as_ref().unwrap().runs[0].events[0].seq);
}

#[test]
fn what_does_not_fit_is_no_answer() {
    let graph = graph();
    for (name, change) in [
        ("another key", (|result: &mut CachedResult| result.key = Digest([9; 32])) as fn(&mut CachedResult)),
        ("too old", |result| result.expires_at = result.made_at),
    ] {
        let mut bench = Bench::with_agent();
        let question = asked(&bench.on([submit(RUN, &graph, None)]));
        bench.land_all();
        let mut wrong = result(&bench, question.key);
        change(&mut wrong);
        bench.on([found(&question, Some(wrong))]);
        assert_eq!(dispatches(&bench.land_all()).len(), 1, "{name}: the node runs");
        // A second answer changes nothing.
        let late = result(&bench, question.key);
        bench.on([found(&question, Some(late))]);
        assert!(bench.flying.is_none(), "{name}");
    }
}

#[test]
fn an_answer_that_never_comes_holds_up_nobody() {
    let graph = graph();
    let mut bench = Bench::with_agent();
    let outputs = bench.on([submit(RUN, &graph, None)]);
    let question = asked(&outputs);
    bench.land_all();
    bench.pass(limits::CACHE_ANSWER_WAIT);
    let outputs = bench.tick();
    assert_eq!(outputs.questions, [], "nobody asks again");
    assert_eq!(dispatches(&bench.land_all()).len(), 1);
    let late = result(&bench, question.key);
    bench.on([found(&question, Some(late))]);
    assert!(bench.flying.is_none(), "it came too late");
}

#[test]
fn another_load_asks_again() {
    let graph = graph();
    let mut bench = Bench::with_agent();
    let first = asked(&bench.on([submit(RUN, &graph, None)]));
    bench.land_all();
    let again = asked(&bench.reload(&graph));
    assert_eq!((again.instance, again.key), (first.instance, first.key));
    let result = result(&bench, again.key);
    bench.on([found(&again, Some(result))]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn so_many_ask_at_a_time_and_each_tenant_for_itself() {
    let mut wide = Fixture::default().input("in");
    let count = limits::CACHE_QUESTIONS_MAX + 10;
    for place in 0..count {
        let id = format!("n{place}");
        wide = wide.work(&id, "pure", &json!({"cache": "on"})).edge("in", &format!("{id}.in"));
    }
    let wide = wide.build();
    let mut bench = Bench::new();
    let mut outputs = bench.on([submit(RUN, &wide, None)]);
    let other = bench.on([submit_of("other", RunId(2), &graph())]);
    outputs.questions.extend(other.questions);
    bench.land_all();
    let mut answered = 0;
    let mut tenants = Vec::new();
    while let Some(question) = outputs.questions.pop() {
        tenants.push(question.tenant.clone());
        assert!(outputs.questions.len() < limits::CACHE_QUESTIONS_MAX);
        answered += 1;
        outputs.questions.extend(bench.on([found(&question, None)]).questions);
        bench.land_all();
    }
    assert_eq!(answered, count + 1, "each is asked for once");
    assert_eq!(tenants.iter().filter(|tenant| &*tenant.0 == "other").count(), 1);
}
