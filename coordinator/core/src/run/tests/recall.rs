//! Results that runs share: what is taken, what is not, and what is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::course::{Course, bare, failure, success};
use super::reuse::gives;
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{Instance, PortIx, RunId};
use crate::run::checkpoint::Gatherer;
use crate::run::event::{Decision, ErrorClass, Fact};
use crate::run::lineage::{Forced, Lineage, Source};
use crate::run::plan::{Planned, Planning, Why};
use crate::run::recall::CachedResult;
use crate::run::resume::{self, Parent, Resume};
use crate::run::{Body, Command, NodePhase, Outcome, Run, RunStatus};
use crate::value::Digest;

type Cache = BTreeMap<Digest, CachedResult>;

fn cached(config: &Json) -> Json {
    json!({"nodeType": "debug:work", "config": config, "policy": {"cache": {"ttlSeconds": 60}, "retry": {"maxAttempts": 1}}})
}

fn chain(text: &str, config: &Json) -> Arc<Graph> {
    let graph =
        Fixture::default().text("in", text).node("a", cached(config)).node("b", cached(&json!({}))).output("out");
    graph.edge("in", "a.in").edge("a.out", "b.in").edge("b.out", "out").build()
}

fn begin(graph: &Arc<Graph>, id: u128, lineage: Option<Lineage>, target: Option<&str>) -> Course {
    let target = target.map(|id| graph.find(id).unwrap());
    Course::begin_with(graph, 0, RunId(id), (lineage.map(Box::new), target), Vec::new())
}

/// Answers what a run asks for; what was asked, with whether it was there.
fn answer(course: &mut Course, cache: &Cache) -> Vec<(String, bool)> {
    let asked: Vec<Instance> = course.run.recalls().collect();
    let name = |course: &Course, instance: Instance| course.run.graph().node(instance.node).id.to_string();
    let mut told = Vec::new();
    for instance in asked {
        if !course.run.is_recalling(instance) {
            continue;
        }
        let found = cache.get(&course.run.shared_key(instance)).filter(|found| found.expires_at > course.now).cloned();
        told.push((name(course, instance), found.is_some()));
        let mut event = bare(course.run.seq().next(), course.now, Fact::Continued);
        course.run.step_fact(event.seq, event.at, &event.fact).unwrap();
        let mut body = Body::new(event.seq);
        let decision = course.run.recall(instance, found, &mut body);
        course.run.step_decision(&decision).expect("an answer follows");
        event.values = body.into_values();
        event.decisions.push(decision);
        course.events.push(event);
        course.settle();
    }
    told
}

/// Runs it to its end; what ran.
fn through(course: &mut Course, cache: &mut Cache, mut work: impl FnMut(&str, Json) -> Outcome) -> Vec<String> {
    let mut ran = Vec::new();
    loop {
        let told = answer(course, cache);
        let before = ran.len();
        course.run_through(|id, inputs| {
            ran.push(id.to_owned());
            work(id, inputs)
        });
        if told.is_empty() && ran.len() == before {
            break;
        }
        cache.extend(course.shared.drain(..).map(|result| (result.key, result)));
    }
    assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "a replay asks nobody");
    ran
}

fn echo(_: &str, inputs: Json) -> Outcome {
    gives(&json!({ "of": inputs }))
}

#[test]
fn another_run_takes_what_one_has_given_and_names_it() {
    let (graph, mut cache) = (chain("given", &json!({})), Cache::new());
    let mut first = begin(&graph, 1, None, None);
    assert_eq!(first.run.phase_of(first.instance("a").node), NodePhase::Due);
    assert!(!first.run.is_parked(), "it waits for an answer, and not for a person or an instant");
    assert_eq!(through(&mut first, &mut cache, echo), ["a", "b"]);
    assert_eq!(cache.len(), 2);

    let mut second = begin(&graph, 2, None, None);
    assert_eq!(through(&mut second, &mut cache, |id, _| panic!("{id} ran")), [""; 0]);
    assert_eq!(second.run.status(), RunStatus::Completed);
    assert_eq!(second.gave("out.value"), first.gave("out.value"));
    for id in ["a", "b"] {
        assert_eq!(second.run.phase_of(second.instance(id).node), NodePhase::Cached);
    }
    let sources = second.events.iter().flat_map(|event| &event.decisions).filter_map(|decision| match decision {
        Decision::Reused { offer: None, source, .. } => Some(*source),
        _ => None,
    });
    assert_eq!(sources.collect::<Vec<_>>(), [Source::Run(RunId(1)); 2]);
    assert_eq!(second.shared, [], "who takes a result does not give it again");
}

#[test]
fn another_config_another_input_and_the_sandbox_have_keys_of_their_own() {
    let mut cache = Cache::new();
    let ran = |graph: &Arc<Graph>, cache: &mut Cache| through(&mut begin(graph, 1, None, None), cache, echo);
    assert_eq!(ran(&chain("given", &json!({"x": 1, "y": 2})), &mut cache), ["a", "b"]);
    assert_eq!(
        ran(&chain("given", &json!({"y": 2, "x": 1})), &mut cache),
        [""; 0],
        "the order of keys does not matter"
    );
    // What comes into `b` is what it was.
    assert_eq!(ran(&chain("given", &json!({"x": 1, "y": 3})), &mut cache), ["a"]);
    assert_eq!(ran(&chain("other", &json!({"x": 1, "y": 2})), &mut cache), ["a", "b"]);

    let graph = chain("given", &json!({}));
    let plain = begin(&graph, 1, None, None);
    let mut events = plain.events.clone();
    let Fact::Submitted(submitted) = &mut events[0].fact else { panic!("a beginning") };
    submitted.sandbox = true;
    let sandboxed = Run::begin(RunId(1), Arc::clone(&graph), &events[0]).unwrap();
    let a = plain.instance("a");
    assert_ne!(sandboxed.shared_key(a), plain.run.shared_key(a));
}

#[test]
fn nothing_is_taken_after_its_time() {
    let (graph, mut cache) = (chain("given", &json!({})), Cache::new());
    through(&mut begin(&graph, 1, None, None), &mut cache, echo);
    for (after, expected) in [(59_999, vec![]), (60_000, vec!["a", "b"])] {
        let mut later = begin(&graph, 2, None, None);
        later.pass(after);
        assert_eq!(through(&mut later, &mut cache.clone(), echo), expected, "after {after} ms");
    }
}

#[test]
fn who_wants_it_afresh_asks_nobody_and_gives_all_the_same() {
    let graph = chain("given", &json!({}));
    let (a, b) = (graph.find("a").unwrap(), graph.find("b").unwrap());
    let mut old = Cache::new();
    through(&mut begin(&graph, 1, None, None), &mut old, echo);
    let forced = |node| Lineage { forced: vec![Forced { node, index: Vec::new() }], ..Lineage::default() };
    let parent = Some(RunId(1));
    let cases = [
        ("force", Lineage { fresh: true, ..Lineage::default() }, None, vec!["a", "b"]),
        ("rerun", Lineage { rerun: true, parent, ..Lineage::default() }, None, vec!["a", "b"]),
        ("a start node", Lineage { parent, ..forced(a) }, None, vec!["a"]),
        ("a target", Lineage::default(), Some("b"), vec!["b"]),
        ("the end of a resume", Lineage { parent, ..Lineage::default() }, Some("b"), vec![]),
        (
            "all that is forced",
            Lineage { forced: [forced(a).forced, forced(b).forced].concat(), ..forced(a) },
            None,
            vec!["a", "b"],
        ),
    ];
    for (name, lineage, target, expected) in cases {
        let mut cache = old.clone();
        let mut course = begin(&graph, 9, Some(lineage), target);
        assert_eq!(through(&mut course, &mut cache, echo), expected, "{name}");
        let by = |id| cache.values().filter(|result: &&CachedResult| result.run == RunId(id)).count();
        assert_eq!((by(9), by(1)), (expected.len(), 2 - expected.len()), "{name}: the youngest counts");
    }
}

#[test]
fn what_failed_or_came_from_elsewhere_is_not_given() {
    let other = json!([{"nodeType": "debug:other", "config": {}}]);
    let policies = [
        json!({"cache": "on", "retry": {"maxAttempts": 1}}),
        json!({"cache": "on", "retry": {"maxAttempts": 1}, "onError": "continue"}),
        json!({"cache": "on", "retry": {"maxAttempts": 1}, "onError": "fallback", "fallback": other}),
    ];
    for policy in policies {
        let graph = Fixture::default().text("in", "given").work("a", "pure", &policy).output("out");
        let graph = graph.edge("in", "a.in").edge("a.out", "out").build();
        let (mut course, mut cache, mut tries) = (begin(&graph, 1, None, None), Cache::new(), 0);
        let ran = through(&mut course, &mut cache, |_, _| {
            tries += 1;
            if tries == 1 { failure(ErrorClass::ContentPolicy) } else { success("by another") }
        });
        assert!(course.is_over() && !ran.is_empty(), "{policy}");
        assert_eq!(cache, Cache::new(), "{policy}");
    }
}

#[test]
fn items_and_turns_take_what_others_gave() {
    let graph = |items: Json| {
        Fixture::default()
            .list("list", items)
            .logic("m", "map", json!({}))
            .node("w", cached(&json!({})))
            .inside("m")
            .output("end")
            .edge("list", "m.items")
            .edge("m.item", "w.in")
            .edge("w.out", "m.result")
            .edge("m.results", "end")
            .build()
    };
    let mut cache = Cache::new();
    assert_eq!(through(&mut begin(&graph(json!([1, 2, 3])), 1, None, None), &mut cache, echo).len(), 3);
    let mut other = begin(&graph(json!([3, 4, 1])), 2, None, None);
    assert_eq!(through(&mut other, &mut cache, echo), ["w"], "only the item that is new");
    assert_eq!(other.gave("end.value").unwrap().as_array().unwrap().len(), 3);
}

#[test]
fn what_is_given_up_while_it_asks_stays_given_up() {
    let graph = chain("given", &json!({}));
    let mut course = begin(&graph, 1, None, None);
    course.command(Command::Cancel { by: "somebody".into(), reason: None }).unwrap();
    assert_eq!(course.run.recalls().count(), 0);
    assert_eq!(course.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_plan_says_that_another_run_may_have_given_it() {
    let (graph, mut cache) = (chain("given", &json!({})), Cache::new());
    let mut parent = begin(&graph, 1, None, None);
    through(&mut parent, &mut cache, |id, inputs| match id {
        "a" => failure(ErrorClass::ContentPolicy),
        _ => echo(id, inputs),
    });
    let results = super::reuse::results(&parent);
    let why = |asked: Resume| {
        let root = RunId(1);
        let taken = asked.taken(&graph, Parent { run: &parent.run, results: &results, root }).unwrap();
        let part = resume::part(&graph, &taken.lineage, taken.target);
        let trusted = BTreeMap::new();
        let defaults = graph.nodes().filter_map(|(ix, _)| Some((ix, graph.input_default(ix)?)));
        let inputs = defaults.map(|(ix, value)| (ix, graph.content_of(ix, PortIx(0), value.digest(), None))).collect();
        let planning = Planning {
            graph: &graph,
            part: &part,
            lineage: &taken.lineage,
            reasons: &taken.reasons,
            results: &results,
            trusted: &trusted,
            inputs: &inputs,
        };
        let plan = planning.plan();
        let of = |list: &[Planned]| -> Vec<(String, Why)> {
            let named = list.iter().filter(|it| graph.shared_for(it.node).is_some());
            named.map(|it| (graph.node(it.node).id.to_string(), it.why)).collect()
        };
        (of(&plan.will_run), of(&plan.may_run))
    };
    let shared = |id: &str| (id.to_owned(), Why::CacheMayAnswer);
    assert_eq!(why(Resume::default()), (vec![], vec![shared("a"), shared("b")]));
    let (will, may) = why(Resume { from: graph.find("a"), ..Resume::default() });
    assert_eq!((will, may), (vec![("a".to_owned(), Why::Start)], vec![shared("b")]));
    let (will, may) = why(Resume { rerun: true, ..Resume::default() });
    assert_eq!((will.len(), may), (2, vec![]), "who reuses nothing takes nothing");
}

#[test]
fn a_resume_finds_what_its_parent_took() {
    let (graph, mut cache) = (chain("given", &json!({})), Cache::new());
    through(&mut begin(&graph, 1, None, None), &mut cache, echo);
    let mut second = begin(&graph, 2, None, None);
    through(&mut second, &mut cache, echo);
    let mut gatherer = Gatherer::begin(RunId(2), Arc::clone(&graph), &second.events[0], false).unwrap();
    second.events[1..].iter().for_each(|event| gatherer.step(event).unwrap());
    let (_, results) = gatherer.finish();
    let of_a = results.results.iter().find(|result| result.node == graph.find("a").unwrap()).unwrap();
    assert_eq!(of_a.source, Source::Run(RunId(1)), "it names who made it");
}
