//! Paused runs in a partition: nothing of them is sent, they need no memory, and a word brings them back.

use serde_json::json;

use super::bench::{Bench, RUN, cancel, finished, replies, submission, submit};
use crate::graph::fixture::Fixture;
use crate::id::{CallerId, EventSeq, RunId, Subject, TenantId};
use crate::limits;
use crate::partition::batch::Phase;
use crate::partition::io::{Input, Refusal, Reply, Submission};
use crate::run::event::Fact;
use crate::run::{PauseChange, RunStatus};
use crate::time::Span;

fn change(caller: u64, run: RunId, change: PauseChange) -> Input {
    Input::Pause { caller: CallerId(caller), run, tenant: TenantId::from("acme"), by: Subject::from("ann"), change }
}

fn pause(caller: u64, run: RunId) -> Input {
    change(caller, run, PauseChange::Pause { reason: None })
}

fn unpause(caller: u64, run: RunId) -> Input {
    change(caller, run, PauseChange::Unpause)
}

fn told(status: RunStatus, applied: bool, seq: u64) -> Reply {
    Reply::Paused { status, applied, seq: EventSeq(seq) }
}

#[test]
fn what_waits_for_an_agent_waits_on() {
    let graph = Fixture::default().work("a", "pure", &json!({})).build();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None)]);
    bench.land_all();
    bench.on([pause(1, RUN), pause(2, RUN)]);
    let phase = bench.flying.as_ref().unwrap().runs[0].summary.clone().map(|summary| (summary.phase, summary.next_due));
    assert_eq!(phase, Some((Phase::Parked, None)), "start-up does not load it, nor any timer");
    let answers = replies(&bench.land_all());
    assert_eq!(answers, [(1, told(RunStatus::Running, true, 2)), (2, told(RunStatus::Running, false, 2))]);
    bench.join("a", 1, &[], &[]);
    assert_eq!(bench.deal(), [], "nothing is ready");
    bench.pass(limits::EVICT_AFTER);
    bench.tick();
    assert!(bench.partition.is_empty());
    assert_eq!(bench.on([unpause(3, RUN)]).loads, [RUN]);
    let run = bench.folded(RUN, &graph);
    bench.on([Input::Loaded(RUN, Some(run))]);
    let releases = bench.land_all();
    assert_eq!(replies(&releases), [(3, told(RunStatus::Running, true, 3))]);
    let sent: Vec<_> = super::bench::dispatches(&releases).into_iter().chain(bench.deal()).collect();
    assert_eq!(sent.len(), 1);
    bench.on([finished(&sent[0], "done")]);
    bench.land_all();
    assert_eq!(bench.folded(RUN, &graph).status(), RunStatus::Completed);
}

#[test]
fn what_is_at_work_is_recorded_and_what_follows_waits() {
    let graph = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({})).edge("a", "b").build();
    let mut bench = Bench::with_agent();
    let [dispatch] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    bench.on([pause(1, RUN)]);
    bench.land_all();
    bench.on([finished(dispatch, "done")]);
    assert_eq!(super::bench::dispatches(&bench.land_all()), []);
    assert_eq!(bench.history[&RUN].last().map(|event| event.fact.name()), Some("node.completed"));
    // Another load of the partition changes nothing about it.
    bench.reload(&graph);
    bench.join("a", 1, &[], &[]);
    assert_eq!(bench.deal(), []);
    bench.on([unpause(2, RUN)]);
    let sent: Vec<_> = super::bench::dispatches(&bench.land_all()).into_iter().chain(bench.deal()).collect();
    assert_eq!(sent.len(), 1, "it goes on");
}

#[test]
fn a_paused_run_can_be_cancelled_and_another_tenant_finds_none() {
    let graph = Fixture::default().work("a", "pure", &json!({})).build();
    let mut bench = Bench::new();
    bench.on([submit(RUN, &graph, None), pause(1, RUN)]);
    let Input::Pause { caller, run, by, change, .. } = unpause(2, RUN) else { unreachable!() };
    bench.on([
        Input::Pause { caller, run, tenant: TenantId::from("other"), by, change },
        cancel(3, RUN),
        unpause(4, RUN),
    ]);
    let answers = replies(&bench.land_all());
    assert_eq!(
        answers[2..],
        [
            (2, Reply::Refused(Refusal::NotFound)),
            (3, Reply::Cancelled { status: RunStatus::Cancelled, applied: true, seq: EventSeq(3) }),
            (4, told(RunStatus::Cancelled, false, 3)),
        ]
    );
}

#[test]
fn of_two_deadlines_the_lesser_counts() {
    for (policy, asked, least) in [(Some(9_000), Some(70), 70), (Some(60), Some(9_000), 60), (Some(50), None, 50)] {
        let graph = Fixture::default().work("a", "pure", &json!({}));
        let graph = policy.map_or(graph, |millis| {
            Fixture::default().work("a", "pure", &json!({})).policy(json!({"deadlineMs": millis}))
        });
        let graph = graph.build();
        let mut bench = Bench::with_agent();
        let submission = Submission { deadline: asked.map(Span::from_millis), ..submission(RUN, &graph, None) };
        bench.on([Input::Submit(CallerId(1), Box::new(submission))]);
        bench.land_all();
        bench.pass(Span::from_millis(least - 1));
        bench.tick();
        assert_eq!(bench.flying.as_ref().map(|batch| batch.number), None);
        bench.pass(Span::from_millis(1));
        bench.tick();
        bench.land_all();
        let ended = bench.history[&RUN].iter().find_map(|event| match &event.fact {
            Fact::Ended { error, .. } => error.as_ref().map(|error| error.message.to_string()),
            _ => None,
        });
        let text = ended.expect("it has failed");
        assert!(text.contains(&Span::from_millis(least).to_string()), "{text}");
    }
}

#[test]
fn a_permit_that_is_on_its_way_when_its_type_is_paused_is_given_back() {
    let graph = Fixture::default().work("a", "pure", &json!({})).build();
    let mut bench = Bench::new();
    assert_eq!(bench.start(RUN, &graph), [], "nobody is there");
    bench.join("a", 1, &[], &[]);
    let dealt = bench.take_dealt();
    assert_eq!(dealt.len(), 1);
    bench.permits.pause("debug:work".into());
    bench.on(dealt.into_iter().map(|(_, grant)| Input::Granted(vec![grant])));
    assert_eq!(super::bench::dispatches(&bench.land_all()), []);
    assert_eq!(bench.deal(), []);
    bench.permits.unpause("debug:work");
    assert_eq!(bench.deal().len(), 1, "it has waited on");
}
