//! Resuming: one test for each sentence of graph.md, part 8, that the engine can hold.
//!
//! | sentence | test |
//! |---|---|
//! | The child shares the parent's results (state CACHED), and names its parent | `a_failed_run_goes_on_with_what_failed_and_nothing_that_completed_runs_again` |
//! | of a partial run: from the given node and what follows; inputs of that part that never ran are run too | `a_partial_run_goes_on_from_a_node_and_what_never_ran_is_run` |
//! | of a CANCELLED run without a node: what never ran | `a_cancelled_run_goes_on_with_what_never_ran` |
//! | of a COMPLETED run: the given node and what follows; with neither node nor edit it is refused; a run that is not over, too | `a_completed_run_needs_a_node_or_an_edit`, `the_start_node_runs_and_what_follows_only_where_an_input_changed` |
//! | `outputs`: ports not named keep the parent's value; direct consumers are forced | `consumers_of_an_edit_run_and_ports_that_are_not_named_stay` |
//! | What lies downstream runs only where an input really changed; `downstream: all` forces it all | `the_start_node_runs_and_what_follows_only_where_an_input_changed` |
//! | type, version, config and input digests must be the same | `a_changed_config_runs_and_the_order_of_keys_does_not_matter` |
//! | Forced: direct consumers of an edit, wherever they lie | `what_takes_an_edit_runs_wherever_it_lies_and_an_edit_that_nothing_takes_is_refused` |
//! | Maps match by input digest, then index | `items_are_found_again_by_what_they_are` |
//! | `indices`, failed items | `named_items_run_alone`, `failed_items_run_again_where_the_map_went_on` |
//! | an edited loop turn cuts the turns after it | `a_turn_that_is_forced_cuts_the_turns_after_it` |
//! | `toNodeId` | `a_resume_ends_with_the_node_that_it_is_to_end_with` |
//! | what a request carries is reused whatever its inputs are | `what_is_trusted_is_reused_whatever_its_inputs_are` |
//! | a paid result that came after the end is not paid again | `what_came_after_the_end_is_reused` |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::course::{Course, failure, success};
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::id::{NodeIx, PortIx, RunId, Subject};
use crate::run::checkpoint::{Checkpoints, Gatherer};
use crate::run::event::{Decision, ErrorClass, Fact, OutputValue, PortOutput};
use crate::run::lineage::{Edited, Lineage, Offer, Source};
use crate::run::offers::Packing;
use crate::run::plan::{Plan, Planning, Trusted, Why};
use crate::run::resume::{self, Parent, Resume, ResumeRefusal};
use crate::run::{Command, NodePhase, Outcome, RunStatus};
use crate::value::{Digest, Value as Kept};

pub(super) fn gives(value: &Value) -> Outcome {
    Outcome::Succeeded(vec![("out".into(), Kept::from_json(value.to_string().into()))])
}

pub(super) fn results(parent: &Course) -> Checkpoints {
    let graph = Arc::clone(parent.run.graph());
    let mut gatherer = Gatherer::begin(parent.run.id(), graph, &parent.events[0], false).unwrap();
    parent.events[1..].iter().for_each(|event| gatherer.step(event).unwrap());
    gatherer.finish().1
}

/// A child run, with what was planned for it.
pub(super) struct Child {
    pub(super) course: Course,
    pub(super) plan: Plan,
}

pub(super) fn child(
    parent: &Course,
    graph: &Arc<Graph>,
    asked: Resume,
    edits: &[(&str, &str, Value)],
) -> Result<Child, ResumeRefusal> {
    let results = results(parent).in_graph(parent.run.graph(), graph);
    let root = parent.run.lineage().and_then(|lineage| lineage.root).unwrap_or_else(|| parent.run.id());
    let edited: Vec<(Edited, Kept)> = edits
        .iter()
        .map(|(id, port, value)| {
            let node = graph.find(id).unwrap();
            let (port, _) = graph.node(node).node_type.as_ref().unwrap().output(port).unwrap();
            (Edited { node, port }, Kept::from_json(value.to_string().into()))
        })
        .collect();
    let asked = Resume { edits: edited.iter().map(|(edit, _)| *edit).collect(), ..asked };
    let taken = asked.taken(graph, Parent { run: &parent.run, results: &results, root })?;
    let read = |reference: &_| Some(parent.value(reference));
    let mut packing = Packing::default();
    let mut trusted = BTreeMap::new();
    for node in taken.lineage.trusted.iter().copied() {
        let outputs: Vec<PortOutput> = resume::edited_outputs(graph, node, &results)
            .into_iter()
            .map(|(port, kept)| {
                let edit = edited.iter().find(|(edit, _)| (edit.node, edit.port) == (node, port));
                let value = match (edit, kept) {
                    (Some((_, value)), kept) => OutputValue::in_place_of(packing.put(value.clone()), kept.as_ref()),
                    (None, Some(kept)) => packing.copy(&kept, &read).unwrap(),
                    (None, None) => OutputValue::Closed,
                };
                PortOutput { port, value }
            })
            .collect();
        let known = outputs.iter().map(|it| (it.port, graph.content(node, it.port, &it.value))).collect();
        trusted.insert(node, (Source::Edit, known));
        packing.add_own(Offer { node, index: Vec::new(), key: Digest([0; 32]), source: Source::Edit, outputs });
    }
    Ok(begin(parent, graph, (taken.lineage, taken.target, taken.reasons), &results, (packing, trusted)))
}

type Reasons = Vec<(crate::run::lineage::Forced, Why)>;

fn begin(
    parent: &Course,
    graph: &Arc<Graph>,
    (mut lineage, target, reasons): (Lineage, Option<NodeIx>, Reasons),
    results: &Checkpoints,
    (mut packing, trusted): (Packing, Trusted),
) -> Child {
    let part = resume::part(graph, &lineage, target);
    let defaults = graph.nodes().filter_map(|(ix, _)| Some((ix, graph.input_default(ix)?)));
    let inputs = defaults.map(|(ix, value)| (ix, graph.content_of(ix, PortIx(0), value.digest(), None))).collect();
    let planning = Planning {
        graph,
        part: &part,
        lineage: &lineage,
        reasons: &reasons,
        results,
        trusted: &trusted,
        inputs: &inputs,
    };
    let plan = planning.plan();
    for offer in resume::offers(graph, &lineage, &part, results, &plan.covered) {
        packing.add(offer, &|reference| Some(parent.value(reference))).unwrap();
    }
    let offers = packing.finish();
    lineage.offered = offers.len() as u32;
    let id = RunId(parent.run.id().0 + 1);
    Child { course: Course::begin_with(graph, 0, id, (Some(Box::new(lineage)), target), offers), plan }
}

impl Child {
    /// Runs it to its end, and says what ran, each with its item's first input if it has one; that is what was planned.
    pub(super) fn through(&mut self, mut work: impl FnMut(&str, Value) -> Outcome) -> Vec<String> {
        let mut ran = Vec::new();
        self.course.run_through(|id, inputs| {
            let item = inputs.get("extra").map_or(String::new(), |item| format!("({item})"));
            ran.push(format!("{id}{item}"));
            work(id, inputs)
        });
        let graph = self.course.run.graph();
        let name = |node: NodeIx| graph.node(node).id.to_string();
        let planned =
            |list: &[crate::run::plan::Planned]| -> BTreeSet<String> { list.iter().map(|it| name(it.node)).collect() };
        let (will, may) = (planned(&self.plan.will_run), planned(&self.plan.may_run));
        for id in ran.iter().map(|it| it.split('(').next().unwrap()) {
            assert!(will.contains(id) || may.contains(id), "{id} was not planned: {:?}", self.plan);
        }
        if self.course.run.status() == RunStatus::Completed {
            for planned in self.plan.will_run.iter().filter(|it| it.why != Why::Evaluated && it.why != Why::Rerun) {
                let id = name(planned.node);
                assert!(ran.iter().any(|it| it.split('(').next() == Some(&id)), "{id} was planned to run, not {ran:?}");
            }
        }
        assert_eq!(self.course.replayed().snapshot(), self.course.run.snapshot(), "a replay gives the same");
        ran
    }

    pub(super) fn phase(&self, id: &str) -> NodePhase {
        self.course.run.phase_of(self.course.instance(id).node)
    }
}

/// a → b → c → end, each of which gives its name and what it was given.
fn chain() -> Fixture {
    let fixture = Fixture::default().text("in", "x");
    let fixture =
        ["a", "b", "c"].iter().fold(fixture, |it, id| it.work(id, "pure", &json!({"retry": {"maxAttempts": 1}})));
    fixture.output("end").edge("in", "a").edge("a", "b").edge("b", "c").edge("c", "end")
}

pub(super) fn joined(id: &str, inputs: Value) -> Outcome {
    gives(&json!(format!("{id}{}", inputs["in"])))
}

fn complete(fixture: Fixture, work: impl FnMut(&str, Value) -> Outcome) -> Course {
    let mut course = Course::begin(&fixture.build());
    course.run_through(work);
    course
}

pub(super) fn from(graph: &Graph, id: &str) -> Resume {
    Resume { from: graph.find(id), ..Resume::default() }
}

#[test]
fn a_failed_run_goes_on_with_what_failed_and_nothing_that_completed_runs_again() {
    let parent = complete(chain(), |id, inputs| match id {
        "b" => failure(ErrorClass::InvalidRequest),
        id => joined(id, inputs),
    });
    assert_eq!(parent.run.status(), RunStatus::Failed);
    let mut child = child(&parent, parent.run.graph(), Resume::default(), &[]).unwrap();
    assert_eq!(child.plan.reused.iter().map(|it| it.source).collect::<Vec<_>>(), [Some(Source::Run(parent.run.id()))]);
    assert_eq!(child.through(joined), ["b", "c"]);
    assert_eq!(child.phase("a"), NodePhase::Cached);
    assert_eq!(child.course.run.status(), RunStatus::Completed);
    let whole = complete(chain(), joined);
    assert_eq!(child.course.gave("end.value"), whole.gave("end.value"));
    let lineage = child.course.run.lineage().unwrap();
    assert_eq!((lineage.parent, lineage.root), (Some(parent.run.id()), Some(parent.run.id())));
    // What is resumed once more still says who made it.
    let again = super::reuse::child(&child.course, parent.run.graph(), from(parent.run.graph(), "c"), &[]).unwrap();
    let source = again.course.events.iter().flat_map(|event| &event.decisions).find_map(|decision| match decision {
        Decision::Reused { instance, source, .. } if *instance == again.course.instance("a") => Some(*source),
        _ => None,
    });
    assert_eq!(source, Some(Source::Run(parent.run.id())));
}

#[test]
fn a_cancelled_run_goes_on_with_what_never_ran() {
    let mut parent = Course::begin(&chain().build());
    let a = parent.assign(parent.instance("a"), 1, false);
    parent.finish(a, success("a")).unwrap();
    parent.command(Command::Cancel { by: Subject::from("somebody"), reason: None }).unwrap();
    let mut child = child(&parent, parent.run.graph(), Resume::default(), &[]).unwrap();
    assert_eq!(child.through(joined), ["b", "c"]);
}

#[test]
fn a_completed_run_needs_a_node_or_an_edit() {
    let parent = complete(chain(), joined);
    let refused = child(&parent, parent.run.graph(), Resume::default(), &[]).map(drop);
    assert_eq!(refused, Err(ResumeRefusal::Nothing));
    let running = Course::begin(&chain().build());
    let refused = child(&running, running.run.graph(), Resume::default(), &[]).map(drop);
    assert_eq!(refused, Err(ResumeRefusal::NotTerminal));
    let graph = parent.run.graph();
    let off = Resume { to: graph.find("a"), ..from(graph, "b") };
    assert_eq!(child(&parent, graph, off, &[]).map(drop), Err(ResumeRefusal::NotOnTheWay));
    let inside = Resume { indices: vec![vec![0]], ..from(graph, "b") };
    assert_eq!(child(&parent, graph, inside, &[]).map(drop), Err(ResumeRefusal::BadIndex(vec![0])));
}

#[test]
fn the_start_node_runs_and_what_follows_only_where_an_input_changed() {
    let parent = complete(chain(), joined);
    let graph = parent.run.graph();
    // It gives the same again: nothing behind it has a reason to run.
    let mut same = child(&parent, graph, from(graph, "b"), &[]).unwrap();
    assert_eq!(same.through(joined), ["b"]);
    assert_eq!(same.phase("c"), NodePhase::Cached);
    let mut other = child(&parent, graph, from(graph, "b"), &[]).unwrap();
    assert_eq!(other.through(|id, inputs| if id == "b" { success("new") } else { joined(id, inputs) }), ["b", "c"]);
    let all = Resume { downstream_all: true, ..from(graph, "b") };
    let mut all = child(&parent, graph, all, &[]).unwrap();
    assert_eq!(all.through(joined), ["b", "c"]);
    assert_eq!(all.plan.may_run, []);
}

#[test]
fn a_rerun_reuses_nothing() {
    let parent = complete(chain(), joined);
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, Resume { rerun: true, ..Resume::default() }, &[]).unwrap();
    assert!(!child.course.events.iter().any(|event| matches!(event.fact, Fact::Offered { .. })));
    assert_eq!(child.through(joined), ["a", "b", "c"]);
    assert!(child.plan.will_run.iter().all(|it| it.why == Why::Rerun));
}

#[test]
fn consumers_of_an_edit_run_and_ports_that_are_not_named_stay() {
    let fixture = Fixture::default().work("a", "pure", &json!({})).work("b", "pure", &json!({}));
    let fixture = fixture.work("c", "pure", &json!({})).work("d", "pure", &json!({}));
    let graph = fixture.edge("a.out", "b").edge("a.side", "c").edge("b", "d").build();
    let mut parent = Course::begin(&graph);
    parent.run_through(|id, inputs| match id {
        "a" => Outcome::Succeeded(vec![
            ("out".into(), Kept::from_json("1".into())),
            ("side".into(), Kept::from_json("2".into())),
        ]),
        "b" => success("always"),
        _ => joined(id, inputs),
    });
    let mut child = child(&parent, &graph, Resume::default(), &[("a", "out", json!("edited"))]).unwrap();
    let mut seen = Vec::new();
    let ran = child.through(|id, inputs| {
        seen.push(inputs);
        if id == "b" { success("always") } else { joined(id, inputs_of_none()) }
    });
    assert_eq!((ran, seen), (vec!["b".to_owned()], vec![json!({"in": ["edited"]})]));
    assert_eq!(["a", "c", "d"].map(|id| child.phase(id)), [NodePhase::Cached; 3], "d takes what b gave before");
    assert_eq!(child.course.gave("a.side"), Some(json!(2)));
    assert_eq!(parent.gave("a.out"), Some(json!(1)), "the original stays");
    assert!(child.plan.reused.iter().any(|it| it.why == Why::Edited && it.source == Some(Source::Edit)));
}

#[test]
fn what_takes_an_edit_runs_wherever_it_lies_and_an_edit_that_nothing_takes_is_refused() {
    let fixture = ["a", "b", "c", "d"].iter().fold(Fixture::default(), |all, id| all.work(id, "pure", &json!({})));
    let parent = complete(fixture.edge("a.out", "b").edge("a.out", "c").edge("a.side", "d"), |id, _| {
        let text = |text: &str| Kept::from_json(json!(text).to_string().into());
        Outcome::Succeeded(vec![("out".into(), text(id)), ("side".into(), text("side"))])
    });
    let graph = Arc::clone(parent.run.graph());
    let edit = [("a", "out", json!("edited"))];
    let mut beside = child(&parent, &graph, from(&graph, "b"), &edit).unwrap();
    assert_eq!(beside.through(joined), ["b", "c"]);
    assert_eq!(beside.phase("d"), NodePhase::Cached, "it takes another output");

    let to = |id: &str| Resume { to: graph.find(id), ..Resume::default() };
    let mut up_to = child(&parent, &graph, to("b"), &edit).unwrap();
    assert_eq!(up_to.through(joined), ["b"]);
    let refused = |asked: Resume, edit: (&str, &str, Value)| {
        let refusal = child(&parent, &graph, asked, &[edit]).err();
        matches!(refusal, Some(ResumeRefusal::EditOutside(_)))
    };
    assert!(refused(to("d"), ("a", "out", json!("edited"))), "nothing on the way takes this output");
    assert!(refused(to("d"), ("b", "out", json!("edited"))), "the node is not on the way");
    assert!(!refused(to("b"), ("b", "out", json!("edited"))));
}

#[test]
fn an_edit_stands_in_the_runs_after_it() {
    let parent = complete(chain(), joined);
    let graph = parent.run.graph();
    let mut edited = child(&parent, graph, from(graph, "c"), &[("b", "out", json!("edited"))]).unwrap();
    assert_eq!(edited.through(joined), ["c"]);
    let mut again = child(&edited.course, graph, from(graph, "c"), &[]).unwrap();
    assert_eq!(again.through(joined), ["c"]);
    assert_eq!(again.course.gave("c.out"), Some(json!("c[\"edited\"]")));
}

fn inputs_of_none() -> Value {
    json!({})
}

#[test]
fn a_changed_config_runs_and_the_order_of_keys_does_not_matter() {
    let with = |config: Value| {
        let fixture = Fixture::default().text("in", "x").work("a", "pure", &json!({}));
        let fixture =
            fixture.node("b", json!({"nodeType": "debug:work", "config": config})).work("c", "pure", &json!({}));
        fixture.edge("in", "a").edge("a", "b").edge("b", "c").build()
    };
    let mut parent = Course::begin(&with(json!({"effect": "pure", "of": {"x": 1, "y": [2]}})));
    parent.run_through(joined);
    let differs = || Resume { differs: true, ..Resume::default() };
    let reordered: Value = serde_json::from_str(r#"{"of": {"y": [2], "x": 1}, "effect": "pure"}"#).unwrap();
    let mut same = child(&parent, &with(reordered), differs(), &[]).unwrap();
    assert_eq!(same.through(joined), Vec::<String>::new());
    let mut other = child(&parent, &with(json!({"effect": "pure", "of": {"x": 2, "y": [2]}})), differs(), &[]).unwrap();
    assert_eq!(other.through(joined), ["b"]);
    let why: Vec<Why> = other.plan.will_run.iter().map(|it| it.why).filter(|why| *why != Why::Evaluated).collect();
    assert_eq!(why, [Why::ConfigChanged]);
}

#[test]
fn a_partial_run_goes_on_from_a_node_and_what_never_ran_is_run() {
    let fixture =
        chain().work("beside", "pure", &json!({})).work("join", "pure", &json!({})).work("off", "pure", &json!({}));
    let graph =
        fixture.edge("in", "beside").edge("b.out", "join.in").edge("beside.out", "join.in").edge("in", "off").build();
    let target = graph.find("b");
    let mut parent = Course::begin_with(&graph, 0, RunId(7), (None, target), Vec::new());
    parent.run_through(joined);
    let mut child = child(&parent, &graph, from(&graph, "b"), &[]).unwrap();
    let mut ran = child.through(|id, inputs| if id == "b" { success("new") } else { joined(id, inputs) });
    ran.sort();
    assert_eq!(ran, ["b", "beside", "c", "join"]);
    assert_eq!((child.phase("a"), child.phase("off")), (NodePhase::Cached, NodePhase::Excluded));
}

#[test]
fn a_resume_ends_with_the_node_that_it_is_to_end_with() {
    let parent = complete(chain(), joined);
    let graph = parent.run.graph();
    let asked = Resume { to: graph.find("b"), downstream_all: true, ..from(graph, "a") };
    let mut child = child(&parent, graph, asked, &[]).unwrap();
    assert_eq!(child.through(joined), ["a", "b"]);
    assert_eq!(child.phase("c"), NodePhase::Excluded);
}

fn mapped(items: Value) -> Fixture {
    Fixture::default()
        .list("list", items)
        .logic("m", "map", json!({"onItemError": "skip"}))
        .work("w", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("m")
        .work("v", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("m")
        .output("end")
        .edge("list", "m.items")
        .edge("m.item", "w.extra")
        .edge("w.out", "v.extra")
        .edge("v.out", "m.result")
        .edge("m.results", "end")
}

fn doubled(_: &str, inputs: Value) -> Outcome {
    gives(&json!(inputs["extra"].as_i64().unwrap() * 2))
}

#[test]
fn a_container_is_reused_as_a_whole() {
    let parent = complete(mapped(json!([1, 2])), doubled);
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, from(graph, "end"), &[]).unwrap();
    assert_eq!(child.through(doubled), Vec::<String>::new());
    assert_eq!(child.phase("m"), NodePhase::Cached);
    assert_eq!(child.course.gave("end.value"), Some(json!([4, 8])));
    let offered: usize = child
        .course
        .events
        .iter()
        .map(|event| match &event.fact {
            Fact::Offered { offers } => offers.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(offered, 1, "what is in it is not offered");
}

#[test]
fn items_are_found_again_by_what_they_are() {
    let parent = complete(mapped(json!([1, 2, 3])), doubled);
    let other = mapped(json!([3, 7, 1, 1])).build();
    let mut child = child(&parent, &other, Resume { differs: true, ..Resume::default() }, &[]).unwrap();
    let mut ran = child.through(doubled);
    ran.sort();
    assert_eq!(ran, ["v(14)", "v(2)", "w(1)", "w(7)"], "each result is taken over once");
    assert_eq!(child.course.gave("end.value"), Some(json!([12, 28, 4, 4])));
    let tally = child.course.run.tally(child.course.instance("w").node);
    assert_eq!((tally.completed, tally.cached), (4, 2));
}

#[test]
fn an_item_that_failed_its_map_is_the_one_that_runs() {
    let fixture = || mapped(json!([1, 2, 3, 4])).policy(json!({}));
    let failing = |graph: Fixture| graph;
    let mut parent = Course::begin(&failing(fixture()).build());
    let mut left = 5;
    parent.run_through(|id, inputs| {
        left -= 1;
        if left == 0 { failure(ErrorClass::InvalidRequest) } else { doubled(id, inputs) }
    });
    let graph = parent.run.graph();
    let asked = Resume { failed_items: true, ..Resume::default() };
    let mut child = child(&parent, graph, asked, &[]).unwrap();
    let ran = child.through(doubled);
    assert!(!ran.is_empty() && ran.len() <= 2, "{ran:?}");
    assert_eq!(child.course.gave("end.value"), Some(json!([4, 8, 12, 16])));
}

#[test]
fn failed_items_run_again_where_the_map_went_on() {
    let parent = complete(mapped(json!([1, 2, 3])), |id, inputs| match (id, inputs["extra"].as_i64()) {
        ("v", Some(4)) => failure(ErrorClass::InvalidRequest),
        _ => doubled(id, inputs),
    });
    assert_eq!(parent.gave("end.value"), Some(json!([4, 12])));
    let graph = parent.run.graph();
    let mut child = child(&parent, graph, Resume { failed_items: true, ..Resume::default() }, &[]).unwrap();
    assert_eq!(child.through(doubled), ["v(4)"]);
    assert_eq!(child.course.gave("end.value"), Some(json!([4, 8, 12])));
    let planned: Vec<_> = child.plan.will_run.iter().filter(|it| it.why == Why::FailedItem).collect();
    assert_eq!((planned.len(), &planned[0].index[..]), (1, &[1][..]));
}

#[test]
fn named_items_run_alone() {
    let parent = complete(mapped(json!([1, 2, 3])), doubled);
    let graph = parent.run.graph();
    for (node, ran) in [("v", vec!["v(4)"]), ("m", vec!["w(2)", "v(4)"]), ("w", vec!["w(2)"])] {
        let asked = Resume { indices: vec![vec![1]], ..from(graph, node) };
        let mut child = child(&parent, graph, asked, &[]).unwrap();
        assert_eq!(child.through(doubled), ran, "{node}");
        assert_eq!(child.course.gave("end.value"), Some(json!([4, 8, 12])));
    }
    let asked = Resume { indices: vec![vec![3]], ..from(graph, "v") };
    assert_eq!(child(&parent, graph, asked, &[]).map(drop), Err(ResumeRefusal::BadIndex(vec![3])));
}

fn looped() -> Fixture {
    Fixture::default()
        .logic("l", "loop", json!({"maxIterations": 3}))
        .work("w", "pure", &json!({}))
        .inside("l")
        .work("free", "pure", &json!({}))
        .inside("l")
        .output("end")
        .edge("l.value", "w.extra")
        .edge("l.iteration", "free.extra")
        .edge("w.out", "l.result")
        .edge("l.result", "end")
}

#[test]
fn a_turn_that_is_forced_cuts_the_turns_after_it() {
    let work = |id: &str, inputs: Value| match id {
        "w" => gives(&json!(inputs["extra"].as_i64().unwrap_or(0) + 1)),
        _ => success("free"),
    };
    let parent = complete(looped(), work);
    assert_eq!(parent.gave("end.value"), Some(json!(3)));
    let graph = parent.run.graph();
    let asked = Resume { indices: vec![vec![1]], ..from(graph, "w") };
    let mut cut = child(&parent, graph, asked, &[]).unwrap();
    let mut ran = cut.through(work);
    ran.sort();
    assert_eq!(ran, ["free(2)", "w(1)", "w(2)"], "in its own turn the other one stays");
    // A loop that is the start runs all its turns.
    let mut all = child(&parent, graph, from(graph, "l"), &[]).unwrap();
    assert_eq!(all.through(work).len(), 6);
}

#[test]
fn a_long_list_is_the_same_in_another_run() {
    let many: Vec<u32> = (0..520).collect();
    let fixture = Fixture::default().list("list", json!(many)).logic("m", "map", json!({}));
    let fixture = fixture.work("w", "pure", &json!({})).inside("m").work("after", "pure", &json!({})).output("end");
    let fixture = fixture.edge("list", "m.items").edge("m.item", "w.extra").edge("w.out", "m.result");
    let fixture = fixture.edge("m.results", "after.in").edge("m.results", "end");
    let work = |id: &str, inputs: Value| if id == "after" { success("x") } else { doubled(id, inputs) };
    let parent = complete(fixture, work);
    let graph = parent.run.graph();
    // The map opens again, and gives a list of chunks that lie elsewhere.
    let asked = Resume { indices: vec![vec![517]], ..from(graph, "w") };
    let mut child = child(&parent, graph, asked, &[]).unwrap();
    assert_eq!(child.through(work), ["w(517)"]);
    assert_eq!(child.phase("after"), NodePhase::Cached);
    assert_eq!(child.course.gave("end.value"), parent.gave("end.value"));
    // Reused as a whole, the list lies in the child's own rows.
    let whole = super::reuse::child(&child.course, graph, from(graph, "end"), &[]).unwrap();
    assert_eq!(whole.course.gave("end.value"), parent.gave("end.value"));
}

#[test]
fn what_is_trusted_is_reused_whatever_its_inputs_are() {
    let graph = chain().build();
    let parent = complete(chain(), joined);
    let node = graph.find("b").unwrap();
    let mut packing = Packing::default();
    let value = packing.put(Kept::from_json("\"carried\"".into()));
    let outputs = vec![PortOutput { port: PortIx(0), value: OutputValue::One(value) }];
    let known = vec![(PortIx(0), graph.content(node, PortIx(0), &outputs[0].value))];
    packing.add_own(Offer { node, index: Vec::new(), key: Digest([0; 32]), source: Source::Request, outputs });
    let lineage = Lineage { trusted: vec![node], ..Lineage::default() };
    let trusted = BTreeMap::from([(node, (Source::Request, known))]);
    let target = graph.find("c");
    let taken = (lineage, target, Vec::new());
    let mut child = begin(&parent, &graph, taken, &Checkpoints::default(), (packing, trusted));
    assert_eq!(child.through(joined), ["c"], "what leads only to it is not needed");
    assert_eq!(child.phase("a"), NodePhase::Excluded);
    assert_eq!(child.phase("in"), NodePhase::Completed, "what costs nothing is there to compare with");
    assert_eq!(child.course.gave("c.out"), Some(json!("c[\"carried\"]")));
}

#[test]
fn what_came_after_the_end_is_reused() {
    let graph = Fixture::default()
        .work("paid", "blind", &json!({}))
        .work("b", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .build();
    let mut parent = Course::begin(&graph);
    let [paid, fails] = ["paid", "b"].map(|id| parent.assign(parent.instance(id), 1, false));
    parent.finish(fails, failure(ErrorClass::Internal)).unwrap();
    parent.finish(paid, success("kept")).unwrap();
    let mut child = child(&parent, &graph, Resume::default(), &[]).unwrap();
    assert_eq!(child.through(joined), ["b"]);
    assert_eq!(child.course.gave("paid.out"), Some(json!("kept")));
}

#[test]
fn waits_and_what_chance_decided_are_not_done_again() {
    let fixture = Fixture::default().text("in", "x").wait("w", 60_000).logic("s", "split_test", json!({}));
    let fixture = fixture.work("a", "pure", &json!({})).work("b", "pure", &json!({})).output("end");
    let graph = fixture.edge("in", "w").edge("w", "s").edge("s.a", "a.in").edge("s.b", "b.in").edge("a", "end").build();
    for seed in 0..4 {
        let mut parent = Course::begin_drawing(&graph, seed);
        parent.pass(60_000);
        parent.command(Command::Wake).unwrap();
        parent.run_through(joined);
        let taken = if parent.gave("a.out").is_some() { "a" } else { "b" };
        let mut child = child(&parent, &graph, from(&graph, taken), &[]).unwrap();
        assert!(!child.course.run.is_parked());
        assert_eq!(child.through(joined), [taken]);
        assert_eq!([child.phase("w"), child.phase("s")], [NodePhase::Cached; 2]);
    }
}

#[test]
fn runs_without_offers_decide_nothing_for_agents() {
    let course = complete(chain(), joined);
    let decided = course.events.iter().flat_map(|event| &event.decisions);
    assert!(decided.clone().all(|decision| !matches!(decision, Decision::Afresh { .. } | Decision::Reused { .. })));
    assert_eq!(course.run.lineage(), None);
}
