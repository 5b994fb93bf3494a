//! Resuming runs that have asked people: what somebody has decided stands, and nobody is asked twice about the same.

use std::sync::Arc;

use serde_json::{Value, json};

use super::course::{Course, success, value};
use super::reuse::{child, from, gives, joined, results};
use super::reviews::{answer, approve, open, say};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::PortIx;
use crate::run::event::ReviewVerdict;
use crate::run::lineage::Source;
use crate::run::resume::{Resume, ResumeRefusal};
use crate::run::{NodePhase, ReviewAnswer, RunStatus};

/// a → r → c → end, where r asks people.
fn reviewed() -> Arc<Graph> {
    let fixture = Fixture::default().text("in", "x").work("a", "pure", &json!({})).logic("r", "review", json!({}));
    let fixture = fixture.work("c", "pure", &json!({})).output("end").edge("in", "a").edge("a.out", "r");
    fixture.edge("r.approved", "c").edge("c", "end").build()
}

/// in → a → c → end, where people look at a, with what is in its policy.
fn looked_at(when: &str, text: &str) -> Arc<Graph> {
    let fixture = Fixture::default().text("in", text).work("a", "keyed", &json!({"review": when}));
    fixture.work("c", "pure", &json!({})).output("end").edge("in", "a").edge("a.out", "c").edge("c", "end").build()
}

fn edited(review: u32, text: &str) -> ReviewAnswer {
    ReviewAnswer { edit: vec![(PortIx(0), value(text))], ..answer(review, "ann", ReviewVerdict::Approve) }
}

/// A run that somebody has let go on, with a change.
fn parent(graph: &Arc<Graph>) -> Course {
    let mut parent = Course::begin(graph);
    parent.run_through(joined);
    say(&mut parent, edited(0, "as ann wants it")).unwrap();
    parent.run_through(joined);
    assert_eq!(parent.run.status(), RunStatus::Completed);
    parent
}

fn phases(course: &Course, ids: [&str; 3]) -> [NodePhase; 3] {
    ids.map(|id| course.run.phase_of(course.instance(id).node))
}

#[test]
fn what_somebody_has_decided_is_not_asked_again() {
    let graph = reviewed();
    let parent = parent(&graph);
    let mut child = child(&parent, &graph, from(&graph, "c"), &[]).unwrap();
    assert!(open(&child.course).is_empty(), "nobody is asked");
    let mut seen = Vec::new();
    let ran = child.through(|id, inputs| {
        seen.push(inputs);
        gives(&json!(id))
    });
    assert_eq!((ran, seen), (vec!["c".to_owned()], vec![json!({"in": ["as ann wants it"]})]));
    assert_eq!(phases(&child.course, ["a", "r", "c"]), [NodePhase::Cached, NodePhase::Cached, NodePhase::Completed]);
    let reused = child.plan.reused.iter().find(|it| it.node == child.course.instance("r").node).unwrap();
    assert_eq!(reused.source, Some(Source::Run(parent.run.id())));
}

#[test]
fn a_resume_from_a_review_asks_again() {
    let graph = reviewed();
    let parent = parent(&graph);
    let mut child = child(&parent, &graph, from(&graph, "r"), &[]).unwrap();
    assert_eq!((open(&child.course), child.course.next_ready()), (vec![0], None));
    say(&mut child.course, edited(0, "as ann wants it now")).unwrap();
    child.course.run_through(joined);
    assert_eq!(child.course.gave("c.out"), Some(json!("c[\"as ann wants it now\"]")));
    assert_eq!(phases(&child.course, ["a", "r", "c"]), [NodePhase::Cached, NodePhase::Completed, NodePhase::Completed]);
    // She says what she said before: what follows has no reason to run.
    let mut same = super::reuse::child(&parent, &graph, from(&graph, "r"), &[]).unwrap();
    say(&mut same.course, edited(0, "as ann wants it")).unwrap();
    assert_eq!((same.course.run.status(), same.phase("c")), (RunStatus::Completed, NodePhase::Cached));
}

#[test]
fn another_value_is_asked_about() {
    let graph = reviewed();
    let parent = parent(&graph);
    let mut child = child(&parent, &graph, from(&graph, "a"), &[]).unwrap();
    child.course.run_through(|_, _| success("new"));
    assert_eq!(open(&child.course), [0]);
    approve(&mut child.course, 0);
    child.course.run_through(joined);
    assert_eq!(child.course.gave("c.out"), Some(json!("c[\"new\"]")));
}

#[test]
fn what_was_rejected_stays_so() {
    let fixture = Fixture::default().text("in", "x").logic("r", "review", json!({})).work("c", "pure", &json!({}));
    let graph = fixture.output("no").edge("in", "r").edge("r.rejected", "c").edge("c", "no").build();
    let mut parent = Course::begin(&graph);
    say(&mut parent, answer(0, "ann", ReviewVerdict::Reject)).unwrap();
    parent.run_through(joined);
    let mut child = child(&parent, &graph, from(&graph, "c"), &[]).unwrap();
    assert_eq!((child.through(joined), child.phase("r")), (vec!["c".to_owned()], NodePhase::Cached));
}

#[test]
fn a_node_that_people_let_begin_is_reused_as_others() {
    let graph = looked_at("before", "x");
    let mut parent = Course::begin(&graph);
    approve(&mut parent, 0);
    parent.run_through(joined);
    let mut same = child(&parent, &graph, from(&graph, "c"), &[]).unwrap();
    assert_eq!((open(&same.course), same.through(joined)), (vec![], vec!["c".to_owned()]));
    let other = looked_at("before", "y");
    let differs = Resume { differs: true, ..Resume::default() };
    let mut child = child(&parent, &other, differs, &[]).unwrap();
    assert_eq!((open(&child.course), child.course.next_ready()), (vec![0], None), "it asks before it begins");
    approve(&mut child.course, 0);
    child.course.run_through(joined);
    assert_eq!(child.course.gave("a.out"), Some(json!("a[\"y\"]")));
}

#[test]
fn of_a_reviewed_node_counts_what_was_approved() {
    let graph = looked_at("after", "x");
    let parent = parent(&graph);
    let found = results(&parent);
    let of_a: Vec<_> = found.results.iter().filter(|it| it.node == parent.instance("a").node).collect();
    assert_eq!(of_a.len(), 1, "what nobody has approved is no result");
    let mut child = child(&parent, &graph, from(&graph, "c"), &[]).unwrap();
    assert_eq!((open(&child.course), child.through(joined)), (vec![], vec!["c".to_owned()]));
    assert_eq!(child.course.gave("a.out"), Some(json!("as ann wants it")));
}

#[test]
fn what_was_made_with_another_config_is_made_again() {
    let graph = looked_at("after", "x");
    let of_a = |config: Option<Value>| {
        let mut parent = Course::begin(&graph);
        parent.run_through(joined);
        let config = config.map(|config| crate::value::Value::from_json(config.to_string().into()));
        say(&mut parent, ReviewAnswer { config, ..answer(0, "ann", ReviewVerdict::Retry) }).unwrap();
        parent.run_through(|_, _| success("again"));
        approve(&mut parent, 1);
        parent.run_through(joined);
        let found = results(&parent);
        let of_a = found.results.iter().filter(|it| it.node == parent.instance("a").node);
        of_a.map(|it| parent.json(&it.outputs[0].value)).collect::<Vec<_>>()
    };
    assert_eq!(of_a(None), [json!("again")]);
    assert_eq!(of_a(Some(json!({"tone": "friendly"}))), Vec::<Value>::new());
}

#[test]
fn people_are_asked_about_a_node_that_nobody_looked_at_before() {
    let plain = |review: Option<&str>| {
        let policy = review.map_or_else(|| json!({}), |when| json!({ "review": when }));
        let fixture = Fixture::default().text("in", "x").work("a", "keyed", &policy).work("c", "pure", &json!({}));
        fixture.output("end").edge("in", "a").edge("a.out", "c").edge("c", "end").build()
    };
    let mut parent = Course::begin(&plain(None));
    parent.run_through(joined);
    let differs = || Resume { differs: true, ..Resume::default() };
    let mut before = child(&parent, &plain(Some("before")), differs(), &[]).unwrap();
    assert_eq!((open(&before.course), before.course.next_ready()), (vec![0], None));
    approve(&mut before.course, 0);
    assert_eq!(before.through(joined), ["a"], "it gives the same, so what follows stays");
    let mut after = child(&parent, &plain(Some("after")), differs(), &[]).unwrap();
    after.course.run_through(joined);
    assert_eq!((open(&after.course), after.phase("a")), (vec![0], NodePhase::Waiting));
    // Which is no reason to ask about what was looked at.
    let mut same = child(&parent, &plain(None), from(parent.run.graph(), "c"), &[]).unwrap();
    assert_eq!(same.through(joined), ["c"]);
}

#[test]
fn no_edit_stands_in_for_what_people_decide() {
    let graph = reviewed();
    let parent = parent(&graph);
    let of = |id: &str| Err(ResumeRefusal::EditReviewed(graph.find(id).unwrap()));
    assert_eq!(child(&parent, &graph, Resume::default(), &[("r", "approved", json!("mine"))]).map(drop), of("r"));
    let graph = looked_at("after", "x");
    let parent = super::reuse_reviews::parent(&graph);
    let refused = child(&parent, &graph, from(&graph, "c"), &[("a", "out", json!("mine"))]).map(drop);
    assert_eq!(refused, Err(ResumeRefusal::EditReviewed(graph.find("a").unwrap())));
    // What is around a review gives what people have decided, too.
    let fixture = Fixture::default().list("list", json!([1])).logic("m", "map", json!({}));
    let fixture = fixture.logic("r", "review", json!({})).inside("m").edge("list", "m.items").edge("m.item", "r");
    let graph = fixture.output("end").edge("r.approved", "m.result").edge("m.results", "end").build();
    let mut parent = Course::begin(&graph);
    approve(&mut parent, 0);
    assert_eq!(parent.run.status(), RunStatus::Completed);
    let refused = child(&parent, &graph, Resume::default(), &[("m", "results", json!([2]))]).map(drop);
    assert_eq!(refused, Err(ResumeRefusal::EditReviewed(graph.find("m").unwrap())));
}

#[test]
fn what_a_person_had_made_again_is_no_result() {
    let graph = reviewed();
    let mut parent = Course::begin(&graph);
    parent.run_through(joined);
    say(&mut parent, answer(0, "ann", ReviewVerdict::Retry)).unwrap();
    parent.run_through(|_, _| success("again"));
    approve(&mut parent, 1);
    parent.run_through(joined);
    let found = results(&parent);
    let of_a = found.results.iter().filter(|it| it.node == parent.instance("a").node);
    assert_eq!(of_a.map(|it| parent.json(&it.outputs[0].value)).collect::<Vec<_>>(), [json!("again")]);
}

/// list → m { w → v } → end, where people look at w.
fn mapped(when: &str) -> Arc<Graph> {
    let fixture = Fixture::default().list("list", json!(["a", "b"])).logic("m", "map", json!({}));
    let fixture =
        fixture.work("w", "keyed", &json!({"review": when})).inside("m").work("v", "pure", &json!({})).inside("m");
    let fixture = fixture.output("end").edge("list", "m.items").edge("m.item", "w").edge("w.out", "v");
    fixture.edge("v.out", "m.result").edge("m.results", "end").build()
}

/// Which items of w are results, and whether the map is one.
fn of_items(parent: &Course) -> (Vec<u32>, bool) {
    assert_eq!(parent.run.status(), RunStatus::Completed);
    let found = results(parent);
    let of = |id: &str| found.results.iter().filter(|it| it.node == parent.instance(id).node).collect::<Vec<_>>();
    (of("w").iter().flat_map(|it| it.index.clone()).collect(), !of("m").is_empty())
}

#[test]
fn an_item_that_people_have_changed_is_no_result_and_nor_is_what_is_around_it() {
    let mut parent = Course::begin(&mapped("before"));
    say(&mut parent, edited(0, "as ann wants it")).unwrap();
    approve(&mut parent, 1);
    parent.run_through(joined);
    assert_eq!(of_items(&parent), (vec![1], false));

    let mut parent = Course::begin(&mapped("after"));
    parent.run_through(joined);
    let config = Some(crate::value::Value::from_json(r#"{"tone":"friendly"}"#.into()));
    say(&mut parent, ReviewAnswer { config, ..answer(0, "ann", ReviewVerdict::Retry) }).unwrap();
    approve(&mut parent, 1);
    parent.run_through(joined);
    approve(&mut parent, 2);
    parent.run_through(joined);
    assert_eq!(of_items(&parent), (vec![1], false));

    // What they have let go on as it is counts.
    let mut parent = Course::begin(&mapped("before"));
    approve(&mut parent, 0);
    approve(&mut parent, 1);
    parent.run_through(joined);
    assert_eq!(of_items(&parent), (vec![0, 1], true));
}

#[test]
fn another_title_of_a_review_is_no_reason_to_ask_again() {
    let titled = |config: Value| {
        let fixture = Fixture::default().text("in", "x").work("a", "pure", &json!({})).logic("r", "review", config);
        let fixture = fixture.work("c", "pure", &json!({})).output("end").edge("in", "a").edge("a.out", "r");
        fixture.edge("r.approved", "c").edge("c", "end").build()
    };
    let parent = parent(&titled(json!({"title": "Check"})));
    let asked = |config: Value| {
        let differs = Resume { differs: true, ..Resume::default() };
        open(&child(&parent, &titled(config), differs, &[]).unwrap().course)
    };
    assert_eq!(asked(json!({"title": "Look at it"})), Vec::<u32>::new());
    assert_eq!(asked(json!({"title": "Check", "instructions": "Count the words."})), [0], "another question");
}
