use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::course::{Course, ID, bare, failure, success, value};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{AttemptNumber, AttemptToken, EventSeq, Generation, Instance, NodeIx, ScopeIx, Subject};
use crate::run::event::{Attempt, Decision, ErrorClass, Event, Fact, LossCause, Timing};
use crate::run::view::{NodeState, RunView};
use crate::run::{Command, JobEnd, LiveAttempt, NodePhase, Outcome, Run, RunStatus};

/// One random step; its numbers pick among what there is.
#[derive(Debug, Clone)]
struct Move {
    kind: u8,
    which: usize,
    how: u8,
    pause: u64,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..12u8, 0..64usize, 0..16u8, prop_oneof![Just(0), 1..3_000u64, Just(90_000_000)]);
    prop::collection::vec(one.prop_map(|(kind, which, how, pause)| Move { kind, which, how, pause }), 1..60)
}

/// Kinds of nodes, and for each the nodes before it that it hangs on, with the number of an output.
fn graphs() -> impl Strategy<Value = Arc<Graph>> {
    let edge = (0..8usize, 0..4usize);
    prop::collection::vec((0..KINDS, prop::collection::vec(edge, 0..3)), 1..9).prop_map(build)
}

const KINDS: u8 = 15;
/// How nodes stand in a run that completed by itself.
const FINAL: [NodePhase; 3] = [NodePhase::Completed, NodePhase::Skipped, NodePhase::Dropped];
const WORK: [&str; 4] = ["pure", "keyed", "pollable", "blind"];

/// The outputs of a kind of node.
fn outputs_of(kind: u8) -> &'static [&'static str] {
    match kind {
        0..=3 => &["out", "side"],
        5 => &["text"],
        6 => &["true", "false"],
        7 => &["one", "two", "default"],
        8 => &["value", "values"],
        10 => &["kept", "dropped"],
        11 => &["a", "b"],
        13 => &[],
        14 => &["value", "winner"],
        _ => &[""],
    }
}

fn build(shape: Vec<(u8, Vec<(usize, usize)>)>) -> Arc<Graph> {
    let mut fixture = Fixture::default();
    for (ix, (kind, sources)) in shape.iter().enumerate() {
        let id = format!("n{ix}");
        let policy = json!({"retry": {"maxAttempts": 2, "initialMs": 100}, "onUnknown": if ix % 2 == 0 { "retry" } else { "fail" }});
        // Without an edge, a branching node has its value in the graph.
        let with = |mut config: serde_json::Value| {
            config["value"] = json!("0");
            config
        };
        let pick = |words: &[&'static str]| words[ix % words.len()];
        fixture = match kind {
            0..=3 => fixture.work(&id, WORK[usize::from(*kind)], &policy),
            4 => fixture.wait(&id, 500),
            5 => fixture.input(&id),
            6 => fixture.logic(&id, "if", with(json!({"condition": "size(value) % 2 == 0"}))),
            7 => {
                let cases = json!([{"id": "one", "when": "value == '1'"}, {"id": "two", "when": "'2' in value"}]);
                fixture.logic(&id, "switch", with(json!({"cases": cases, "mode": pick(&["first", "all"])})))
            }
            8 => fixture.logic(&id, "merge", json!({"branches": ["x"], "mode": pick(&["first", "any", "all"])})),
            9 => fixture.logic(&id, "gate", with(json!({"open": ix % 2 == 0}))),
            10 => {
                fixture.logic(&id, "filter", json!({"items": ["1", "22"], "condition": "index > 0 || size(item) == 1"}))
            }
            11 => fixture.logic(&id, "split_test", with(json!({"weights": {"a": 1, "b": 2}}))),
            12 => fixture.logic(&id, "router", json!({"input": "0"})),
            14 => fixture.logic(&id, "race", json!({"branches": ["x"], "cancelLosers": ix % 2 == 0})),
            _ => fixture.logic(&id, "stop", json!({"status": pick(&["completed", "failed", "cancelled"])})),
        };
        let (most, input) = match kind {
            5 => (0, ""),
            8 | 14 => (3, ".branches"),
            9 => (1, ".value"),
            10 => (3, ".items"),
            0..=3 => (3, ""),
            _ => (1, ""),
        };
        for (source, output) in sources.iter().filter(|_| ix > 0).take(most) {
            let source = source % ix;
            let outputs = outputs_of(shape[source].0);
            // A whole list only goes into what takes one.
            let can =
                |name: &&&str| !["values", "kept", "dropped"].contains(name) || matches!(kind, 0..=3 | 8 | 10 | 14);
            let Some(output) = outputs.get(output % outputs.len().max(1)).filter(can) else { continue };
            let output = if output.is_empty() { String::new() } else { format!(".{output}") };
            fixture = fixture.edge(&format!("n{source}{output}"), &format!("{id}{input}"));
        }
    }
    fixture.build()
}

/// Gives everything that can be given to an agent that succeeds, until the run is over.
fn finish(course: &mut Course) {
    for _ in 0..1_000 {
        if course.is_over() && course.run.is_closed() {
            return;
        }
        let now = course.now;
        let ready: Vec<Instance> = course.run.ready().chain(course.run.retries_due(now)).collect();
        for instance in ready {
            let alone = course.run.is_suspect(instance);
            course.assign(instance, 1, alone);
        }
        let live =
            |(instance, live): (Instance, &LiveAttempt)| Attempt { instance, number: live.number, token: live.token };
        let first = course.run.attempts().map(live).next();
        if let Some(attempt) = first {
            course.finish(attempt, success("22")).unwrap();
            continue;
        }
        let owed = course.run.owed_cancels().map(|(job, _)| job).next();
        if let Some(job) = owed {
            course.command(Command::EndJob { job, end: JobEnd::Cancelled }).unwrap();
            continue;
        }
        course.pass(100_000);
        let _idle = course.command(Command::Wake);
    }
}

/// Takes one random step. Commands that are rejected change nothing: [`Course::command`] sees to it.
fn take(course: &mut Course, step: &Move) {
    course.pass(step.pause);
    let live: Vec<Attempt> = course
        .run
        .attempts()
        .map(|(instance, live)| Attempt { instance, number: live.number, token: live.token })
        .collect();
    let attempt = live.get(step.which % live.len().max(1)).copied().unwrap_or_else(|| foreign(step));
    let attempt = if step.how == 15 { Attempt { token: AttemptToken(999), ..attempt } } else { attempt };
    let cause = [LossCause::NewBoot, LossCause::StreamGone, LossCause::Goodbye, LossCause::NotHeld][step.which % 4];
    let command = match step.kind {
        0..=3 => {
            let now = course.now;
            let ready: Vec<Instance> = course.run.ready().chain(course.run.retries_due(now)).collect();
            if let Some(instance) = ready.get(step.which % ready.len().max(1)) {
                let alone = course.run.is_suspect(*instance);
                course.assign(*instance, step.pause, alone);
            }
            return;
        }
        4 | 5 => Command::Finish { attempt, outcome: success(&step.which.to_string()), timing: Timing::default() },
        6 => Command::Finish { attempt, outcome: bad(step), timing: Timing::default() },
        7 => Command::Lose { attempt, cause },
        8 => Command::HandBack { attempt },
        9 => Command::Intend { attempt },
        10 => Command::Checkpoint { attempt, handle: value("job") },
        _ if step.how == 0 => Command::Cancel { by: Subject::from("somebody"), reason: None },
        _ => Command::Wake,
    };
    let _rejected = course.command(command);
}

fn bad(step: &Move) -> Outcome {
    use ErrorClass::{InvalidRequest, RateLimited, Retryable, UnknownOutcome};
    match step.how % 6 {
        0 => Outcome::Stopped,
        1 => Outcome::Succeeded(vec![("no such port".into(), value("lost"))]),
        how => failure([Retryable, RateLimited, UnknownOutcome, InvalidRequest][usize::from(how) - 2]),
    }
}

fn foreign(step: &Move) -> Attempt {
    let node = NodeIx(step.which as u32);
    let (scope, generation) = (ScopeIx(u32::from(step.how % 3)), Generation(u32::from(step.how % 2)));
    let instance = Instance { node, scope, generation };
    Attempt { instance, number: AttemptNumber(1), token: AttemptToken(u64::from(step.how)) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_gives_the_same_state(graph in graphs(), moves in moves()) {
        let mut course = Course::begin(&graph);
        moves.iter().for_each(|step| take(&mut course, step));
        let replayed = course.replayed();
        prop_assert_eq!(replayed.snapshot(), course.run.snapshot());
        let restored = Run::restore(ID, Arc::clone(&graph), &course.run.snapshot()).unwrap();
        prop_assert_eq!(restored.snapshot(), course.run.snapshot());
        let gapless = course.events.iter().enumerate().all(|(ix, event)| event.seq == EventSeq(ix as u64 + 1));
        prop_assert!(gapless);
    }

    #[test]
    fn the_end_is_final_and_outputs_are_given_once(graph in graphs(), moves in moves()) {
        let mut course = Course::begin(&graph);
        let mut ended = None;
        let mut given = std::collections::BTreeMap::new();
        for step in &moves {
            take(&mut course, step);
            let outputs: Vec<_> = graph.nodes().map(|(ix, _)| course.run.outputs(ix).to_vec()).collect();
            for (ix, outputs) in outputs.iter().enumerate().filter(|(_, outputs)| !outputs.is_empty()) {
                let first = given.entry(ix).or_insert_with(|| outputs.clone());
                prop_assert_eq!(&*first, outputs);
            }
            if course.is_over() {
                let stands = (course.run.status(), course.run.error().cloned(), outputs);
                prop_assert_eq!(ended.get_or_insert_with(|| stands.clone()), &stands);
            }
        }
        let committed = course.events.iter().filter(|event| matches!(event.fact, Fact::Succeeded { .. })).count();
        prop_assert!(committed <= graph.len());
    }

    #[test]
    fn the_fold_is_total(graph in graphs(), moves in moves(), strange in prop::collection::vec((0..64usize, any::<u8>(), 0..9u32), 1..30)) {
        let mut course = Course::begin(&graph);
        moves.iter().for_each(|step| take(&mut course, step));
        // Any event of the history, or one that nobody wrote, at any place of it: it follows or is corrupt.
        for (which, seq, node) in strange {
            let cut = which % course.events.len();
            let mut run = Run::begin(ID, Arc::clone(&graph), &course.events[0]).unwrap();
            course.events[1..=cut.max(1).min(course.events.len() - 1)].iter().for_each(|event| {
                let _corrupt = run.step(event);
            });
            let mut event = course.events[usize::from(seq) % course.events.len()].clone();
            if seq % 3 != 0 {
                event.seq = run.seq().next();
            }
            if seq % 2 == 0 {
                event = displaced(event, NodeIx(node));
            }
            let _corrupt = run.step(&event);
        }
    }

    #[test]
    fn no_node_is_stuck_and_every_run_ends(graph in graphs(), moves in moves()) {
        let mut course = Course::begin(&graph);
        moves.iter().for_each(|step| take(&mut course, step));
        finish(&mut course);
        prop_assert!(course.is_over() && course.run.is_closed());
        let stops = |event: &Event| event.decisions.iter().any(|decision| matches!(decision, Decision::Stopped { .. }));
        if course.run.status() == RunStatus::Completed && !course.events.iter().any(stops) {
            let phases: Vec<NodePhase> = graph.nodes().map(|(ix, _)| course.run.phase_of(ix)).collect();
            let are_final = phases.iter().all(|phase| FINAL.contains(phase));
            prop_assert!(are_final, "{:?}", phases);
            for (ix, _) in graph.nodes() {
                let is_completed = course.run.phase_of(ix) == NodePhase::Completed;
                prop_assert_eq!(!is_completed, course.run.outputs(ix).is_empty());
            }
        }
        prop_assert_eq!(course.replayed().snapshot(), course.run.snapshot());
    }

    #[test]
    fn a_view_agrees_with_the_run(graph in graphs(), moves in moves()) {
        let mut course = Course::begin(&graph);
        moves.iter().for_each(|step| take(&mut course, step));
        let mut view = RunView::begin(ID, Arc::clone(&graph), &course.events[0]).unwrap();
        course.events[1..].iter().for_each(|event| view.step(event).unwrap());
        prop_assert_eq!(view.run().snapshot(), course.run.snapshot());
        for (ix, _) in graph.nodes() {
            let state = view.node_state(ix).unwrap();
            let is_dropped = course.run.phase_of(ix) == NodePhase::Dropped;
            prop_assert!(!is_dropped || (state == NodeState::Cancelled && view.node(ix).ended_at.is_some()));
            let is_final = [NodeState::Completed, NodeState::Failed, NodeState::Skipped].contains(&state);
            let phases = [NodePhase::Completed, NodePhase::Failed, NodePhase::Skipped];
            prop_assert_eq!(is_final, phases.contains(&course.run.phase_of(ix)));
            prop_assert!(state != NodeState::Running || course.run.status() == RunStatus::Running);
            prop_assert!(!is_final || state == NodeState::Skipped || view.node(ix).ended_at.is_some());
        }
    }
}

/// The same event about another node.
fn displaced(event: Event, node: NodeIx) -> Event {
    let moved = |attempt: Attempt| Attempt { instance: Instance::root(node), ..attempt };
    let fact = match event.fact {
        Fact::Succeeded { attempt, outputs, timing } => Fact::Succeeded { attempt: moved(attempt), outputs, timing },
        Fact::Lost { attempt, cause, failure, caught, asks } => {
            Fact::Lost { attempt: moved(attempt), cause, failure, caught, asks }
        }
        Fact::TimerFired { outputs, .. } => Fact::TimerFired { instance: Instance::root(node), outputs },
        Fact::IntentRecorded { attempt } => Fact::IntentRecorded { attempt: moved(attempt) },
        Fact::Ended { error, by, reason, .. } => Fact::Ended { status: RunStatus::Running, error, by, reason },
        other => other,
    };
    let decisions = event.decisions.into_iter().map(|decision| match decision {
        Decision::Completed { outputs, .. } => Decision::Completed { instance: Instance::root(node), outputs },
        Decision::Waiting { until, .. } => {
            Decision::Waiting { instance: Instance { scope: ScopeIx(1), ..Instance::root(node) }, until }
        }
        Decision::Delegated { .. } => Decision::Delegated { instance: Instance::root(node) },
        Decision::Afresh { .. } => Decision::Afresh { instance: Instance::root(node) },
        Decision::Reused { offer, source, outputs, .. } => {
            Decision::Reused { instance: Instance::root(node), offer, source, outputs }
        }
        Decision::Failed { error, caught, .. } => Decision::Failed { instance: Instance::root(node), error, caught },
        Decision::Stopped { status, message, .. } => {
            Decision::Stopped { instance: Instance::root(node), status, message }
        }
        Decision::Asked { asked, .. } => Decision::Asked { instance: Instance::root(node), asked },
        Decision::Listening { until, outputs, .. } => {
            Decision::Listening { instance: Instance::root(node), until, outputs }
        }
        Decision::Took { signal, outputs, .. } => Decision::Took { instance: Instance::root(node), signal, outputs },
        Decision::Opened { opened, .. } => Decision::Opened { instance: Instance::root(node), opened },
        Decision::Invoked { invoked, .. } => Decision::Invoked { instance: Instance::root(node), invoked },
        Decision::Gathered { chunk, results, errors, .. } => {
            Decision::Gathered { instance: Instance::root(node), chunk, results, errors }
        }
    });
    let assignments = event.assignments.into_iter().map(|mut assignment| {
        assignment.attempt = moved(assignment.attempt);
        assignment
    });
    Event {
        decisions: decisions.collect(),
        assignments: assignments.collect(),
        values: event.values,
        ..bare(event.seq, event.at, fact)
    }
}
