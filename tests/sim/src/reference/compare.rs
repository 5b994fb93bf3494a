//! Compares what a run has given with what it must have given.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::id::NodeIx;
use heddle_core::run::{NodePhase, Run, RunStatus};
use serde_json::Value as Json;

use super::super::stored::Stored;
use super::document::{Document, Place};
use super::history::{History, Others};
use super::interpreter::{Frame, Interpreter};
use super::{Expected, Outputs, Path};

/// The error names the first node that does not stand as it must.
pub(in super::super) fn compare<'a>(
    document: &Document,
    stored: Stored<'a>,
    run: &'a Run,
    others: Others<'a>,
) -> Result<(), String> {
    let history = History::read(run, stored, others);
    let is_left_out = |ix: &usize| run.phase_of(NodeIx(*ix as u32)) == NodePhase::Excluded;
    let left_out: BTreeSet<usize> = (0..document.nodes.len()).filter(is_left_out).collect();
    if let (Some(target), None) = (run.target(), run.lineage()) {
        let part = document.part_up_to(target.0 as usize);
        if (0..document.nodes.len()).any(|node| part.contains(&node) == left_out.contains(&node)) {
            return Err(format!("it leaves out {left_out:?}, and should cover {part:?}"));
        }
    }
    let interpreter = Interpreter::new(document, &history.outside, left_out);
    let root = Frame::root();
    interpreter.pass(&root);
    let is_whole = run.status() == RunStatus::Completed && history.outside.stopped.is_empty();
    check_roots((document, run), &history, (&interpreter, &root), is_whole)?;
    check_losers(document, &history, (&interpreter, &root))?;
    let (found, ids) = (interpreter.found.borrow().clone(), ids(document));
    let expected = |id: &str, path: &Path| ids.get(id).and_then(|node| found.get(&(*node, path.clone())));
    for ((id, path), actual) in history.outputs.iter().filter(|((id, _), _)| !id.is_empty()) {
        let must = expected(id, path);
        let stands = matches!(must, Some(Expected::Done(outputs)) if is_same(outputs, actual));
        if !stands {
            return Err(format!("node {id} at {path:?} gave {actual:?}; it should be {must:?}"));
        }
    }
    for ((id, path), code) in history.outside.refused.iter().filter(|((id, _), _)| !id.is_empty()) {
        let stands = match expected(id, path) {
            Some(Expected::Failed(codes)) => codes.contains(code),
            Some(Expected::Done(outputs)) => {
                outputs.contains_key("error") || history.outside.fallbacks.contains_key(&(id.clone(), path.clone()))
            }
            _ => false,
        };
        if !stands {
            return Err(format!("node {id} at {path:?} failed with {code}; it should be {:?}", expected(id, path)));
        }
    }
    if is_whole {
        let inside = found.iter().filter(|((node, _), _)| document.nodes[*node].place != Place::Root);
        let is_covered = |node: usize| run.phase_of(NodeIx(node as u32)) != NodePhase::Excluded;
        for ((node, path), must) in inside.filter(|((node, _), _)| is_covered(*node)) {
            let id = &document.nodes[*node].id;
            let is_missing =
                matches!(must, Expected::Done(_)) && !history.outputs.contains_key(&(id.clone(), path.clone()));
            if is_missing && !is_in_broken_item(document, &interpreter, *node, path) {
                return Err(format!("node {id} at {path:?} gave nothing; it should be {must:?}"));
            }
        }
    }
    Ok(())
}

fn check_roots(
    (document, run): (&Document, &Run),
    history: &History,
    (interpreter, root): (&Interpreter<'_>, &Frame<'_>),
    is_whole: bool,
) -> Result<(), String> {
    for (ix, node) in document.nodes.iter().enumerate().filter(|(_, node)| node.place == Place::Root) {
        let phase = run.phase_of(NodeIx(ix as u32));
        if phase == NodePhase::Excluded {
            continue;
        }
        let is_final = matches!(phase, NodePhase::Completed | NodePhase::Cached | NodePhase::Skipped);
        let must = interpreter.found.borrow().get(&(ix, Path::new())).cloned().unwrap_or(Expected::Never);
        let actual = history.outputs.get(&(node.id.clone(), Path::new()));
        let stands = match (&must, actual) {
            // What was caught has failed all the same.
            (Expected::Done(outputs), Some(_)) if outputs.contains_key("error") => phase == NodePhase::Failed,
            (Expected::Done(_), Some(_)) => matches!(phase, NodePhase::Completed | NodePhase::Cached),
            (Expected::Skipped, None) => {
                let is_given_up = phase == NodePhase::Dropped && interpreter.has_lost(ix, root);
                phase == NodePhase::Skipped || is_given_up || (!is_whole && !is_final)
            }
            // A run that has ended may not have come to it.
            (_, None) => !is_final && (!is_whole || interpreter.has_lost(ix, root)),
            (_, Some(_)) => false,
        };
        if !stands {
            let kind = &node.kind;
            return Err(format!("node {} ({kind}) is {phase:?} and gave {actual:?}; it should be {must:?}", node.id));
        }
    }
    Ok(())
}

fn ids(document: &Document) -> BTreeMap<&str, usize> {
    document.nodes.iter().zip(0..).map(|(node, ix)| (&*node.id, ix)).collect()
}

/// What leads only to a race that is won is given up, if the race says so.
fn check_losers(
    document: &Document,
    history: &History,
    (interpreter, root): (&Interpreter<'_>, &Frame<'_>),
) -> Result<(), String> {
    let order = |node: usize| history.order.get(&(document.nodes[node].id.clone(), Path::new()));
    let is_race = |node: usize| {
        let node = &document.nodes[node];
        node.kind == "logic:race" && node.config["cancelLosers"] != false && node.place == Place::Root
    };
    for edge in document.edges.iter().filter(|edge| is_race(edge.target)) {
        let leads_elsewhere =
            document.edges.iter().any(|other| other.source == edge.source && other.target != edge.target);
        if let (Some(won), Some(gave)) = (order(edge.target), order(edge.source))
            && gave > won
            && !leads_elsewhere
            && interpreter.has_lost(edge.source, root)
        {
            return Err(format!("node {} went on after its race was won", document.nodes[edge.source].id));
        }
    }
    Ok(())
}

/// Of an item that has failed, some nodes may not have come to their end; nor may what leads only to a race that is won.
fn is_in_broken_item(document: &Document, interpreter: &Interpreter<'_>, node: usize, path: &Path) -> bool {
    let (mut place, mut path) = (document.nodes[node].place, path.clone());
    let lost = interpreter.lost.borrow();
    if lost.contains(&(node, path.clone())) {
        return true;
    }
    while place != Place::Root {
        if interpreter.broken.borrow().contains(&(place, path.clone())) {
            return true;
        }
        path.pop();
        let has_lost = |node: usize| lost.contains(&(node, path.clone()));
        let is_of_loser = match place {
            Place::Body(container) => has_lost(container),
            // Lifted nodes that run together are given up together: when all of them lead only to races that are won.
            Place::Region(_) => {
                let mut nodes = (0..document.nodes.len()).filter(|node| document.nodes[*node].place == place);
                nodes.all(has_lost)
            }
            Place::Root => false,
        };
        if is_of_loser {
            return true;
        }
        place = document.around(place);
    }
    false
}

fn is_same(expected: &Outputs, actual: &BTreeMap<String, Json>) -> bool {
    expected.len() == actual.len()
        && expected
            .iter()
            .all(|(port, value)| actual.get(port).is_some_and(|actual| fits(&value.clone().into_json(), actual)))
}

/// Whether a value is as expected: who made it does not matter, and a failure may have one of several codes.
pub(super) fn fits(expected: &Json, actual: &Json) -> bool {
    match (expected, actual) {
        (Json::Array(expected), Json::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| fits(expected, actual))
        }
        (Json::Object(expected), Json::Object(actual)) => match expected.get("codes").and_then(Json::as_array) {
            Some(codes) => {
                let has_code = actual.get("code").is_some_and(|code| codes.contains(code));
                has_code && expected.get("index").is_none_or(|index| actual.get("index") == Some(index))
            }
            None => {
                let counts = |fields: &serde_json::Map<String, Json>| fields.keys().filter(|key| *key != "by").count();
                let same = |(key, value): (&String, &Json)| actual.get(key).is_some_and(|actual| fits(value, actual));
                counts(expected) == counts(actual) && expected.iter().all(same)
            }
        },
        (expected, actual) => expected == actual,
    }
}
