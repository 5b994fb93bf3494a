//! The reference interpreter: what a run must have given, found node by node from the plan of its graph. It shares no code
//! with the engine. What agents made and what was left to chance it takes from the history; all else it finds out itself.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::id::{EventSeq, NodeIx};
use heddle_core::run::event::{Decision, Event, Fact, OutputValue, PortOutput};
use heddle_core::run::{NodePhase, Run, RunStatus};
use heddle_core::value::ValueRef;
use serde_json::Value as Json;

use super::graphs::{Kind, Planned, Rest};
use super::policies;

/// What came out of a port.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    One(Json),
    List(Vec<Json>),
}

/// Open ports by name; what is not here is closed.
type Outputs = BTreeMap<&'static str, Given>;

/// How a node must stand.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    /// It has these outputs.
    Done(Outputs),
    /// A branch that was not taken leads to it.
    Skipped,
    /// It has not come to its end.
    Open,
}

/// Where a node ends that is no part of what goes on.
const FINAL: [NodePhase; 4] = [NodePhase::Completed, NodePhase::Skipped, NodePhase::Failed, NodePhase::Dropped];

/// Compares what a run has given with what it must have given.
pub(super) fn compare(plan: &[Planned], events: &[Event], fold: &Run) -> Result<(), String> {
    let history = History::read(plan, events);
    if let Some(node) = history.mistold.first() {
        return Err(format!("node n{node} does not give what was wrong with it: {:?}", history.outputs.get(node)));
    }
    let is_whole = fold.status() == RunStatus::Completed && history.stopped.is_empty();
    let lost = lost(plan, &history);
    let mut expected: Vec<Expected> = Vec::with_capacity(plan.len());
    for (ix, planned) in plan.iter().enumerate() {
        let phase = fold.phase_of(NodeIx(ix as u32));
        let actual = history.outputs.get(&ix);
        let must = interpret(planned, &expected, actual, history.stopped.contains(&ix));
        let stands = match &must {
            // What it would have given nobody knows.
            _ if phase == NodePhase::Dropped => actual.is_none() && lost.contains_key(&ix),
            _ if lost.get(&ix).is_some_and(|won_at| history.last_at.get(&ix) > Some(won_at)) => false,
            _ if lost.contains_key(&ix) && FINAL.into_iter().all(|it| it != phase) => false,
            Expected::Skipped => phase == NodePhase::Skipped && actual.is_none(),
            Expected::Open => {
                phase != NodePhase::Skipped && phase != NodePhase::Completed && actual.is_none() && !is_whole
            }
            // A run that has ended may not have come to it.
            Expected::Done(outputs) => match actual {
                // What was caught has failed all the same.
                Some(actual) if actual.contains_key("error") => actual == outputs && phase == NodePhase::Failed,
                Some(actual) => actual == outputs && phase == NodePhase::Completed,
                None => !is_whole && phase != NodePhase::Skipped && phase != NodePhase::Completed,
            },
        };
        if !stands {
            return Err(format!(
                "node n{ix} ({:?}) is {phase:?} and gave {actual:?}; it should be {must:?}",
                planned.kind
            ));
        }
        let is_done = actual.is_some() || must == Expected::Skipped;
        expected.push(if is_done { must } else { Expected::Open });
    }
    Ok(())
}

/// What a history says that nobody else can know, and what it says that must be as expected.
struct History {
    outputs: BTreeMap<usize, Outputs>,
    stopped: BTreeSet<usize>,
    /// The event in which a node was last given to an agent, or gave something.
    last_at: BTreeMap<usize, EventSeq>,
    /// Nodes that do not give what was wrong with them.
    mistold: BTreeSet<usize>,
}

impl History {
    fn read(plan: &[Planned], events: &[Event]) -> Self {
        let mut history = Self {
            outputs: BTreeMap::new(),
            stopped: BTreeSet::new(),
            last_at: BTreeMap::new(),
            mistold: BTreeSet::new(),
        };
        let value = |reference: &ValueRef| -> Json {
            let event = events.get(reference.seq.0 as usize - 1);
            let value = event.and_then(|event| event.values.get(reference.place as usize));
            value.and_then(|value| serde_json::from_slice(value.json()).ok()).unwrap_or(Json::Null)
        };
        let read = |node: usize, outputs: &[PortOutput]| -> Outputs {
            let names = plan[node].kind.all_outputs();
            let given = outputs.iter().filter_map(|output| {
                let name = *names.get(usize::from(output.port.0))?;
                match &output.value {
                    OutputValue::One(reference) => Some((name, Given::One(value(reference)))),
                    OutputValue::Gather(references) => {
                        Some((name, Given::List(references.iter().map(value).collect())))
                    }
                    // No simulated graph has long lists.
                    OutputValue::Pieces(_) | OutputValue::Closed => None,
                }
            });
            given.collect()
        };
        for event in events {
            match &event.fact {
                Fact::Succeeded { attempt, outputs, .. } => {
                    let node = attempt.instance.node.0 as usize;
                    history.outputs.insert(node, read(node, outputs));
                    history.last_at.insert(node, event.seq);
                }
                Fact::Failed { attempt, error, caught, .. }
                | Fact::Lost { attempt, failure: Some(error), caught, .. } => {
                    let node = attempt.instance.node.0 as usize;
                    let given = read(node, caught);
                    let expected = Outputs::from([("error", Given::One(policies::caught(node, attempt, error)))]);
                    if !given.is_empty() {
                        history.outputs.insert(node, given.clone());
                        history.mistold.extend((given != expected).then_some(node));
                    }
                }
                Fact::TimerFired { instance, outputs } => {
                    let node = instance.node.0 as usize;
                    history.outputs.insert(node, read(node, outputs));
                }
                _ => {}
            }
            for decision in &event.decisions {
                match decision {
                    Decision::Completed { instance, outputs } => {
                        let node = instance.node.0 as usize;
                        history.outputs.insert(node, read(node, outputs));
                        history.last_at.insert(node, event.seq);
                    }
                    Decision::Stopped { instance, .. } => {
                        let node = instance.node.0 as usize;
                        history.stopped.insert(node);
                        history.outputs.insert(node, Outputs::new());
                    }
                    Decision::Waiting { .. }
                    | Decision::Failed { .. }
                    | Decision::Delegated { .. }
                    | Decision::Opened { .. }
                    | Decision::Gathered { .. } => {}
                }
            }
            let given = event.assignments.iter().map(|it| it.attempt.instance.node.0 as usize);
            history.last_at.extend(given.map(|node| (node, event.seq)));
        }
        history
    }
}

/// The nodes from which every path ends in one race that was won, and that is to stop them; with the event
/// in which it was.
fn lost(plan: &[Planned], history: &History) -> BTreeMap<usize, EventSeq> {
    let mut lost: BTreeMap<usize, EventSeq> = BTreeMap::new();
    for (race, planned) in plan.iter().enumerate() {
        let Some(won_at) = history.last_at.get(&race).filter(|_| planned.kind == Kind::Race { cancels: true }) else {
            continue;
        };
        let mut leads_only_there = BTreeSet::from([race]);
        for ix in (0..race).rev() {
            let mut after = plan.iter().enumerate().filter(|(_, other)| other.sources.iter().any(|(it, _)| *it == ix));
            let is_used = after.clone().next().is_some();
            if is_used && after.all(|(other, _)| leads_only_there.contains(&other)) {
                leads_only_there.insert(ix);
            }
        }
        leads_only_there.remove(&race);
        for ix in leads_only_there {
            let first = lost.entry(ix).or_insert(*won_at);
            *first = (*first).min(*won_at);
        }
    }
    lost
}

fn interpret(planned: &Planned, before: &[Expected], actual: Option<&Outputs>, has_stopped: bool) -> Expected {
    let is_race = matches!(planned.kind, Kind::Race { .. });
    if !is_race && planned.sources.iter().any(|(source, _)| before[*source] == Expected::Open) {
        return Expected::Open;
    }
    let brought: Vec<Option<&Given>> = planned
        .sources
        .iter()
        .map(|(source, output)| match &before[*source] {
            Expected::Done(outputs) => outputs.get(output),
            Expected::Skipped | Expected::Open => None,
        })
        .collect();
    if is_race && let Some(actual) = actual {
        return Expected::Done(won(planned, &brought, actual));
    }
    let is_open = is_race && planned.sources.iter().any(|(source, _)| before[*source] == Expected::Open);
    if is_open {
        return Expected::Open;
    }
    if !brought.is_empty() && brought.iter().all(Option::is_none) {
        return Expected::Skipped;
    }
    let came: Vec<&Given> = brought.into_iter().flatten().collect();
    let first = came.first().copied();
    let to = |names: &[&'static str]| {
        Expected::Done(first.into_iter().flat_map(|given| names.iter().map(|name| (*name, given.clone()))).collect())
    };
    match planned.kind {
        // What an agent makes only it knows.
        Kind::Work => actual.map_or(Expected::Open, |outputs| Expected::Done(outputs.clone())),
        Kind::Input => Expected::Done(Outputs::from([("json", Given::One(serde_json::json!({"n": 3})))])),
        Kind::Wait | Kind::Output | Kind::Race { .. } => to(&["value"]),
        Kind::Router => to(&["output"]),
        Kind::If { rest, .. } => to(if first.is_some_and(|given| rest.fits(given)) { &["true"] } else { &["false"] }),
        Kind::Switch { cases, all } => {
            let fitting = |name: &'static str, rest: Rest| first.filter(|given| rest.fits(given)).map(|_| name);
            let mut taken: Vec<_> = [fitting("c0", cases[0]), fitting("c1", cases[1])].into_iter().flatten().collect();
            taken.truncate(if all { 2 } else { 1 });
            to(if taken.is_empty() { &["default"] } else { &taken })
        }
        Kind::Gate { open } => to(if open { &["value"] } else { &[] }),
        // Either will do, but only one, and only with the value that came.
        Kind::Split => to(if actual.is_some_and(|outputs| outputs.contains_key("b")) { &["b"] } else { &["a"] }),
        Kind::Merge { all } => {
            let list = Given::List(items(&came));
            let value = if all { Some(list.clone()) } else { first.cloned() };
            Expected::Done(value.map(|value| ("value", value)).into_iter().chain([("values", list)]).collect())
        }
        Kind::Filter(rest) => {
            let (kept, dropped) = items(&came).into_iter().partition(|item| rest.fits(&Given::One(item.clone())));
            Expected::Done(Outputs::from([("kept", Given::List(kept)), ("dropped", Given::List(dropped))]))
        }
        Kind::Stop(_) if has_stopped => Expected::Done(Outputs::new()),
        Kind::Stop(_) => Expected::Open,
    }
}

/// What a race may have given: any branch may have been the first that brought something.
fn won(planned: &Planned, brought: &[Option<&Given>], actual: &Outputs) -> Outputs {
    let branches = planned.sources.iter().zip(brought).filter_map(|((source, _), given)| Some((source, (*given)?)));
    let mut possible = branches.map(|(source, given)| {
        let winner = Given::One(format!("n{source}").into());
        Outputs::from([("value", given.clone()), ("winner", winner)])
    });
    possible.find(|outputs| outputs == actual).unwrap_or_default()
}

/// A list takes single values and the items of lists, in the order of edges.
fn items(came: &[&Given]) -> Vec<Json> {
    let items = came.iter().flat_map(|given| match given {
        Given::One(value) => std::slice::from_ref(value),
        Given::List(list) => list.as_slice(),
    });
    items.cloned().collect()
}

impl Rest {
    fn fits(self, given: &Given) -> bool {
        let Given::One(value) = given else { return false };
        value["n"].as_u64().is_some_and(|number| number % self.of == self.is)
    }
}

impl Kind {
    /// All its outputs, as its type orders them.
    fn all_outputs(self) -> Vec<&'static str> {
        match self {
            Kind::Merge { .. } => vec!["value", "values"],
            Kind::Race { .. } => vec!["value", "winner"],
            Kind::Output => vec!["value"],
            Kind::Work => vec!["out", "side", "error"],
            other => other.outputs(true),
        }
    }
}
