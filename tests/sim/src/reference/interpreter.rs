//! The interpreter: what each node of a document gives, found by asking for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::super::children::INVOKE;
use super::super::work;
use super::document::{Document, Edge, Place, is_container, required_inputs, takes_list};
use super::{Expected, Given, Outputs, Outside, Path};

/// Runs invoke each other so deep.
const DEPTH_MAX: u32 = 16;

/// One run of the nodes in one place: all of them outside of scopes, or one item's, or one turn's.
pub(super) struct Frame<'f> {
    pub(super) outer: Option<&'f Frame<'f>>,
    pub(super) place: Place,
    pub(super) path: Path,
    /// What the container gives to its body, by its outputs.
    pub(super) own: BTreeMap<&'static str, Given>,
    /// The items of the lists that a region goes through, by the outputs that they come from.
    pub(super) items: BTreeMap<(usize, String), Given>,
    known: RefCell<BTreeMap<usize, Expected>>,
}

/// What came of one run of the nodes in one place.
pub(super) enum Passed {
    Whole,
    /// These nodes of it failed, with what they may have failed with.
    Failed(Vec<usize>, Vec<String>),
    /// It never came to its end.
    Never,
}

pub(super) struct Interpreter<'a> {
    pub(super) document: &'a Document,
    pub(super) outside: &'a Outside,
    /// Everything that was found out, by node and path.
    pub(super) found: RefCell<BTreeMap<(usize, Path), Expected>>,
    /// Nodes that are no part of the run: nothing waits for them.
    pub(super) left_out: BTreeSet<usize>,
    /// Items that have failed.
    pub(super) broken: RefCell<BTreeSet<(Place, Path)>>,
    /// Nodes that lead only to races that are won.
    pub(super) lost: RefCell<BTreeSet<(usize, Path)>>,
}

impl<'f> Frame<'f> {
    pub(super) fn root() -> Self {
        Self::inside(None, Place::Root, Path::new())
    }

    /// Item or turn `index` in a place inside `outer`.
    pub(super) fn of(outer: &'f Frame<'f>, place: Place, index: usize) -> Self {
        let mut path = outer.path.clone();
        path.push(index as u32);
        Self::inside(Some(outer), place, path)
    }

    fn inside(outer: Option<&'f Frame<'f>>, place: Place, path: Path) -> Self {
        Self { outer, place, path, own: BTreeMap::new(), items: BTreeMap::new(), known: RefCell::default() }
    }
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(document: &'a Document, outside: &'a Outside, left_out: BTreeSet<usize>) -> Self {
        let (found, broken, lost) = Default::default();
        Self { document, outside, left_out, found, broken, lost }
    }

    /// Runs all nodes in the place of a frame.
    pub(super) fn pass(&self, frame: &Frame<'_>) -> Passed {
        let (mut failed, mut codes, mut is_whole) = (Vec::new(), Vec::new(), true);
        let has_races = self.document.nodes.iter().any(|node| node.kind == "logic:race" && node.place == frame.place);
        for (node, _) in self.document.nodes.iter().enumerate().filter(|(_, node)| self.is_in(node.place, frame.place))
        {
            if self.left_out.contains(&node) {
                continue;
            }
            let expected = self.expected(node, frame);
            let has_lost = has_races && self.has_lost(node, frame);
            if has_lost {
                self.lost.borrow_mut().insert((node, frame.path.clone()));
            }
            match expected {
                Expected::Failed(why) if !has_lost || self.has_failed(node, frame) => {
                    failed.push(node);
                    codes.extend(why);
                }
                Expected::Never if !has_lost => is_whole = false,
                Expected::Failed(_) | Expected::Never | Expected::Done(_) | Expected::Skipped => {}
            }
        }
        match (failed.is_empty(), is_whole) {
            (false, _) => {
                self.broken.borrow_mut().insert((frame.place, frame.path.clone()));
                Passed::Failed(failed, codes)
            }
            (true, true) => Passed::Whole,
            (true, false) => Passed::Never,
        }
    }

    /// Whether a node lies in a place, maybe among lifted ones.
    fn is_in(&self, mut place: Place, wanted: Place) -> bool {
        while let (Place::Region(_), true) = (place, place != wanted) {
            place = self.document.around(place);
        }
        place == wanted
    }

    /// Whether a node leads only to races that are won: then it need not have run.
    pub(super) fn has_lost(&self, node: usize, frame: &Frame<'_>) -> bool {
        let edges = self.document.edges.iter().filter(|edge| !self.left_out.contains(&edge.target));
        let after = edges.filter(|edge| edge.source == node);
        // What a container gives to its body does not lead on.
        let after = after.map(|edge| self.beside(edge.target, frame.place)).filter(|target| *target != Some(node));
        let mut after = after.peekable();
        after.peek().is_some()
            && after.all(|target| {
                let Some(target) = target else { return false };
                let is_won = || matches!(self.expected(target, frame), Expected::Done(_));
                let next = &self.document.nodes[target];
                let gives_up = next.kind == "logic:race" && next.config["cancelLosers"] != false;
                gives_up && is_won() || self.has_lost(target, frame)
            })
    }

    /// Whether the history says that a node has failed, or something in it, before it was given up.
    fn has_failed(&self, node: usize, frame: &Frame<'_>) -> bool {
        let is_its = |id: &str| {
            let other = self.document.nodes.iter().position(|other| other.id == id);
            other.is_some_and(|other| other == node || self.document.is_within(other, node))
        };
        let failed = self.outside.failed.keys().chain(self.outside.refused.keys());
        failed.filter(|(_, path)| path.starts_with(&frame.path)).any(|(id, _)| is_its(id))
    }

    /// What stands for a node in a place: itself, or the container that it lies in.
    fn beside(&self, node: usize, place: Place) -> Option<usize> {
        match self.document.nodes[node].place {
            here if self.is_in(here, place) => Some(node),
            Place::Root => None,
            Place::Body(container) => self.beside(container, place),
            Place::Region(region) => match self.document.regions[region].outer {
                Place::Body(container) => self.beside(container, place),
                _ => None,
            },
        }
    }

    /// How a node must stand in a frame.
    pub(super) fn expected(&self, node: usize, frame: &Frame<'_>) -> Expected {
        if let Some(known) = frame.known.borrow().get(&node) {
            return known.clone();
        }
        let place = self.document.nodes[node].place;
        let expected = match place {
            // Seen from beside, a lifted node gives lists.
            Place::Region(region) if place != frame.place => {
                self.expected_of_region(region, frame);
                return frame.known.borrow().get(&node).cloned().unwrap_or(Expected::Never);
            }
            _ => self.find(node, frame),
        };
        self.found.borrow_mut().insert((node, frame.path.clone()), expected.clone());
        self.note(frame, node, expected.clone());
        expected
    }

    pub(super) fn note(&self, frame: &Frame<'_>, node: usize, expected: Expected) {
        frame.known.borrow_mut().insert(node, expected);
    }

    pub(super) fn at(&self, node: usize, frame: &Frame<'_>) -> (String, Path) {
        (self.document.nodes[node].id.clone(), frame.path.clone())
    }

    fn find(&self, node: usize, frame: &Frame<'_>) -> Expected {
        let here = &self.document.nodes[node];
        let at = self.at(node, frame);
        if let Some(outputs) = self.outside.edited.get(&at) {
            let outputs = outputs.iter().map(|(port, given)| match given {
                Given::One(value) => (port.clone(), Given::of(here.gives_list(port), value.clone())),
                list => (port.clone(), list.clone()),
            });
            return Expected::Done(outputs.collect());
        }
        let is_race = here.kind == "logic:race";
        let wired: Vec<&Edge> = self
            .document
            .edges_into(node)
            .filter(|edge| self.document.nodes[edge.source].place != Place::Body(node))
            .collect();
        let mut brought: Vec<(&str, Given)> = Vec::new();
        let mut closed: Vec<&str> = Vec::new();
        for edge in &wired {
            match self.brought(edge, frame) {
                Ok(Some(given)) => brought.push((&edge.input, given)),
                Ok(None) => closed.push(&edge.input),
                // Whoever wins a race, the others may never come.
                Err(()) if is_race => {}
                Err(()) => return Expected::Never,
            }
        }
        if is_container(&here.kind) && !self.are_surroundings_settled(node, frame) {
            return Expected::Never;
        }
        let is_closed = |input: &&str| closed.contains(input) && !brought.iter().any(|(port, _)| port == input);
        let is_skipped = !wired.is_empty() && brought.is_empty() && closed.len() == wired.len();
        if is_skipped || required_inputs(&here.kind).iter().any(|input| is_closed(input) && !is_race) {
            return Expected::Skipped;
        }
        if let Some(code) = self.outside.failed.get(&at).filter(|_| !self.outside.unseen.contains_key(&at)) {
            return self.failed(node, vec![code.clone()]);
        }
        if let Some(told) = self.outside.told.get(&at) {
            return Expected::Done(
                told.iter().map(|(port, value)| (port.clone(), given(port, value.clone()))).collect(),
            );
        }
        if work::TYPES.contains(&&*here.kind) {
            return self.work(node, frame, &brought);
        }
        match here.kind.as_str() {
            INVOKE if self.outside.depth >= DEPTH_MAX => self.failed(node, vec!["too_deep".to_owned()]),
            INVOKE => {
                let gives = self.outside.children.get(&at).and_then(|child| child.gives(&brought));
                gives.map_or(Expected::Never, |outputs| Expected::Done(self.joined(node, outputs)))
            }
            "logic:map" => self.map(node, frame, &self.through(node, &brought)),
            "logic:loop" => self.looping(node, frame, first(&brought, "seed")),
            "logic:reduce" => self.reduce(node, frame, &self.through(node, &brought), first(&brought, "initial")),
            _ => self.branch(node, frame, &brought),
        }
    }

    /// Of what a child gives by name, what edges begin at; of the rest, what is always there.
    fn joined(&self, node: usize, mut outputs: Outputs) -> Outputs {
        let is_joined = |name: &str| self.document.edges.iter().any(|it| it.source == node && it.output == *name);
        outputs.retain(|name, _| name == "outputs" || name == "executionId" || is_joined(name));
        outputs
    }

    /// The same of what is gone through item by item: there JSON that is a list counts as one if its edge is the only one.
    pub(super) fn through(&self, node: usize, brought: &[(&str, Given)]) -> Vec<Given> {
        let edges = self.document.edges_into(node).filter(|edge| edge.input == "items").count();
        match brought.iter().find(|(input, _)| *input == "items") {
            Some((_, Given::One(value @ Json::Array(_)))) if edges == 1 => Given::of(true, value.clone()).items(),
            _ => appended(brought, "items"),
        }
    }

    /// A failure that the policy lets pass closes all outputs but `error`.
    pub(super) fn failed(&self, node: usize, codes: Vec<String>) -> Expected {
        let here = &self.document.nodes[node];
        if here.policy["onError"] == "continue" && (work::TYPES.contains(&&*here.kind) || here.kind == INVOKE) {
            let error = Given::One(serde_json::json!({"codes": codes}));
            return Expected::Done(Outputs::from([("error".to_owned(), error)]));
        }
        Expected::Failed(codes)
    }

    fn work(&self, node: usize, frame: &Frame<'_>, brought: &[(&str, Given)]) -> Expected {
        let here = &self.document.nodes[node];
        let ports: &[&str] = if here.kind == work::ONE { &["one", "extra"] } else { &["in"] };
        let at = self.at(node, frame);
        let put_in = self.outside.put_in.get(&at);
        let inputs: Vec<Json> = ports
            .iter()
            .filter(|port| brought.iter().any(|(input, _)| input == *port))
            .map(|port| match put_in.and_then(|put_in| put_in.get(*port)) {
                Some(value) => value.clone(),
                None if takes_list(&here.kind, port) => Given::List(appended(brought, port)).into_json(),
                None => first(brought, port).map_or(Json::Null, Given::into_json),
            })
            .collect();
        // Which of its providers has answered, only agents know; what it answers, everybody.
        let (kind, config) = match self.outside.fallbacks.get(&at) {
            Some(place) => {
                let provider = &here.policy["fallback"][*place];
                (provider["nodeType"].as_str().unwrap_or(&here.kind), &provider["config"])
            }
            None => (&*here.kind, &here.config),
        };
        match work::make(kind, config, &inputs) {
            Some(made) => {
                let made = made.into_iter().map(|(port, value)| (port.to_owned(), given(port, value)));
                let edits = self.outside.changed.get(&at).into_iter().flatten();
                let edits = edits.map(|(port, value)| (port.clone(), given(port, value.clone())));
                Expected::Done(made.chain(edits).collect())
            }
            None if self.has_another(node, self.outside.fallbacks.get(&at).copied()) => Expected::Never,
            None => self.failed(node, vec![work::REFUSED.to_owned()]),
        }
    }

    /// Whether another provider is tried after this one.
    fn has_another(&self, node: usize, provider: Option<usize>) -> bool {
        let others = self.document.nodes[node].policy["fallback"].as_array().map_or(0, Vec::len);
        provider.map_or(0, |provider| provider + 1) < others
    }

    /// What an edge brings into a frame; nothing if it is closed.
    pub(super) fn brought(&self, edge: &Edge, frame: &Frame<'_>) -> Result<Option<Given>, ()> {
        if let Some(item) = frame.items.get(&(edge.source, edge.output.clone()))
            && !takes_list(&self.document.nodes[edge.target].kind, &edge.input)
        {
            return Ok(Some(item.clone()));
        }
        if frame.place == Place::Body(edge.source) {
            return Ok(frame.own.get(&*edge.output).cloned());
        }
        let place = self.document.nodes[edge.source].place;
        let is_here = place == frame.place || self.is_in(place, frame.place);
        match (is_here, frame.outer) {
            (false, Some(outer)) => self.brought(edge, outer),
            _ => match self.expected(edge.source, frame) {
                Expected::Done(mut outputs) => Ok(outputs.remove(&edge.output)),
                Expected::Skipped => Ok(None),
                Expected::Failed(_) | Expected::Never => self.early(edge, frame).map(Some).ok_or(()),
            },
        }
    }

    /// Whether what an edge brings is there before the body opens that a frame is of.
    pub(super) fn enters(&self, edge: &Edge, frame: &Frame<'_>) -> bool {
        frame.place == Place::Body(edge.source) || !self.is_in(self.document.nodes[edge.source].place, frame.place)
    }

    /// What a node that waits has given all the same.
    fn early(&self, edge: &Edge, frame: &Frame<'_>) -> Option<Given> {
        let early = self.outside.early.get(&self.at(edge.source, frame))?;
        early.get(&edge.output).cloned().map(Given::One)
    }

    /// Edges from outside into a body are waited for before the first item opens, but for those to what the run leaves out of it.
    fn are_surroundings_settled(&self, container: usize, frame: &Frame<'_>) -> bool {
        let body = Place::Body(container);
        let mut entering = self.document.edges.iter().filter(|edge| {
            let (source, target) = (self.document.nodes[edge.source].place, self.document.nodes[edge.target].place);
            edge.source != container
                && !self.left_out.contains(&edge.target)
                && self.document.lies_in(target, body)
                && !self.document.lies_in(source, body)
                // What an outer scope gives its items is there.
                && !(self.document.lies_in(self.document.nodes[container].place, Place::Body(edge.source)))
        });
        entering.all(|edge| self.brought(edge, frame).is_ok())
    }

    /// What conditions see under a name, and how much of the name was used up.
    pub(super) fn look(&self, names: &[(&str, Json)], frame: &Frame<'_>, path: &[String]) -> Option<(Json, usize)> {
        let name = path.first()?;
        if let Some((_, value)) = names.iter().find(|(known, _)| known == name) {
            return Some((value.clone(), 1));
        }
        if name == "nodes" {
            return self.look_at_node(frame, path);
        }
        let own = frame.own.get(&**name).filter(|_| matches!(&**name, "item" | "index" | "iteration"));
        match (own, frame.outer) {
            (Some(own), _) => Some((own.clone().into_json(), 1)),
            (None, Some(outer)) => self.look(&[], outer, path),
            (None, None) => None,
        }
    }

    /// `nodes.ID.output` and `nodes.ID.outputs.PORT`.
    fn look_at_node(&self, frame: &Frame<'_>, path: &[String]) -> Option<(Json, usize)> {
        let id = path.get(1)?;
        let node = self.document.nodes.iter().position(|node| node.id == *id)?;
        let mut frame = frame;
        while !self.is_in(self.document.nodes[node].place, frame.place) {
            frame = frame.outer?;
        }
        let Expected::Done(outputs) = self.expected(node, frame) else { return Some((Json::Null, 3)) };
        match path.get(2)?.as_str() {
            "output" => {
                let ports = outputs_in_order(&self.document.nodes[node].kind);
                let value = match ports {
                    [] => outputs.values().next().cloned(),
                    ports => ports.iter().find_map(|port| outputs.get(*port).cloned()),
                };
                Some((value.map_or(Json::Null, Given::into_json), 3))
            }
            "outputs" => Some((outputs.get(path.get(3)?).cloned().map_or(Json::Null, Given::into_json), 4)),
            _ => None,
        }
    }
}

/// The outputs of a type in its order, where the alphabet has another one.
fn outputs_in_order(kind: &str) -> &'static [&'static str] {
    match kind {
        "logic:if" => &["true", "false"],
        "logic:review" => &["approved", "rejected", "comment"],
        "logic:filter" => &["kept", "dropped"],
        "logic:map" => &["results", "errors"],
        "logic:loop" => &["result", "iterations", "all"],
        _ => &[],
    }
}

pub(super) fn given(port: &str, value: Json) -> Given {
    Given::of(port == "items", value)
}

/// What the first edge into a port brings.
pub(super) fn first(brought: &[(&str, Given)], port: &str) -> Option<Given> {
    brought.iter().find(|(input, _)| *input == port).map(|(_, given)| given.clone())
}

/// What a port that takes a list is given: the items of lists and other values as one item each, in the order of edges. JSON
/// that is a list is one value, as others are: it came out of an output that gives no lists.
pub(super) fn appended(brought: &[(&str, Given)], port: &str) -> Vec<Given> {
    brought.iter().filter(|(input, _)| *input == port).flat_map(|(_, given)| given.items()).collect()
}
