//! Maps, loops, reductions and lifted nodes: what a body gives over all its items or turns (graph.md, part 5).

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::document::{Edge, Place, required_inputs, takes_list};
use super::expression::Expression;
use super::interpreter::{Frame, Interpreter, Passed};
use super::{Expected, Given, Outputs};

/// Turns of a loop whose config says nothing.
const TURNS: u64 = 10;
/// What the one type gives that lists lift.
const LIFTED_OUTPUTS: [&str; 2] = ["out", "side"];

impl Interpreter<'_> {
    /// Once for each item, or for so many of them at a time.
    pub(super) fn map(&self, node: usize, frame: &Frame<'_>, items: &[Given]) -> Expected {
        let config = &self.document.nodes[node].config;
        let on_item_error = config["onItemError"].as_str().unwrap_or("fail");
        let items: Vec<Given> = match config["batchSize"].as_u64() {
            Some(size) => items.chunks(size as usize).map(|items| Given::List(items.to_vec())).collect(),
            None => items.to_vec(),
        };
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        let (mut why_failed, mut is_whole) = (Vec::new(), true);
        for (index, item) in items.into_iter().enumerate() {
            let mut inner = Frame::of(frame, Place::Body(node), index);
            inner.own = BTreeMap::from([("item", item.item()), ("index", Given::One(index.into()))]);
            match self.pass(&inner) {
                Passed::Whole => match self.gave(node, "result", &inner) {
                    Some(result) => results.push(result),
                    None if on_item_error == "skip" => {}
                    None => results.push(Given::null()),
                },
                Passed::Failed(_, codes) => {
                    errors.push(Given::One(json!({"index": index, "codes": codes.clone()})));
                    why_failed.extend(codes);
                    if on_item_error == "collect" {
                        results.push(Given::null());
                    }
                }
                Passed::Never => is_whole = false,
            }
        }
        if on_item_error == "fail" && !errors.is_empty() {
            return Expected::Failed(why_failed);
        }
        if !is_whole {
            return Expected::Never;
        }
        let results = Some(("results".to_owned(), Given::List(results))).filter(|_| !self.takes_unknown(node));
        let errors = [("errors".to_owned(), Given::List(errors))];
        Expected::Done(results.into_iter().chain(errors).collect())
    }

    /// Again and again; at least once.
    pub(super) fn looping(&self, node: usize, frame: &Frame<'_>, seed: Option<Given>) -> Expected {
        let config = &self.document.nodes[node].config;
        let condition = |key: &str| config[key].as_str().map(Expression::read);
        let (until, score) = (condition("until"), condition("score"));
        let turns_max = config["maxIterations"].as_u64().unwrap_or(TURNS);
        let mut value = seed.unwrap_or(Given::One(Json::Null));
        let mut all = Vec::new();
        let mut best: Option<(i64, Option<Given>)> = None;
        for turn in 0..turns_max {
            let mut inner = Frame::of(frame, Place::Body(node), turn as usize);
            inner.own = BTreeMap::from([("value", value), ("iteration", Given::One(turn.into()))]);
            match self.pass(&inner) {
                Passed::Whole => {}
                Passed::Failed(_, codes) => return Expected::Failed(codes),
                Passed::Never => return Expected::Never,
            }
            if self.is_cut_short(node) {
                return Expected::Done(Outputs::new());
            }
            let result = self.gave(node, "result", &inner);
            let has_carry = self.results_into(node, "carry").next().is_some();
            let carry = if has_carry { self.gave(node, "carry", &inner) } else { result.clone() };
            let json = |given: &Option<Given>| given.clone().map_or(Json::Null, Given::into_json);
            all.push(result.clone().unwrap_or_else(Given::null));
            let names = [("result", json(&result)), ("carry", if has_carry { json(&carry) } else { Json::Null })];
            let look = |path: &[String]| self.look(&names, &inner, path);
            let at = self.at(node, frame);
            if self.outside.unseen.get(&at) == Some(&(turn as usize)) {
                return self.failed(node, self.outside.failed.get(&at).cloned().into_iter().collect());
            }
            let is_done = until.as_ref().map_or(Ok(false), |until| until.holds(&look));
            let worth = score.as_ref().map(|score| score.value(&look)).transpose();
            let (Ok(is_done), Ok(worth)) = (is_done, worth) else {
                return Expected::Failed(vec!["condition_failed".to_owned()]);
            };
            let worth = worth.and_then(|worth| worth.as_i64()).unwrap_or_default();
            if best.as_ref().is_none_or(|(highest, _)| worth > *highest) {
                best = Some((worth, result.clone()));
            }
            value = carry.unwrap_or(Given::One(Json::Null));
            if is_done || turn + 1 == turns_max {
                let result = match config["select"].as_str() {
                    Some("best") => best.and_then(|(_, result)| result),
                    Some("all") => Some(Given::List(all.clone())),
                    _ => result,
                };
                let iterations = Given::One((turn + 1).into());
                let result = result.map(|result| ("result".to_owned(), result));
                let others = [("iterations".to_owned(), iterations), ("all".to_owned(), Given::List(all))];
                return Expected::Done(result.into_iter().chain(others).collect());
            }
        }
        Expected::Never
    }

    /// Once for each item, one after the other, with what was there before.
    pub(super) fn reduce(&self, node: usize, frame: &Frame<'_>, items: &[Given], initial: Option<Given>) -> Expected {
        let own = self.document.nodes[node].config.get("initial").cloned().unwrap_or(Json::Null);
        let mut accumulator = initial.unwrap_or(Given::One(own));
        let is_cut_short = self.is_cut_short(node);
        for (index, item) in items.iter().enumerate().filter(|(index, _)| *index == 0 || !is_cut_short) {
            let mut inner = Frame::of(frame, Place::Body(node), index);
            let item = item.clone().item();
            inner.own =
                BTreeMap::from([("accumulator", accumulator), ("item", item), ("index", Given::One(index.into()))]);
            match self.pass(&inner) {
                Passed::Whole => {}
                Passed::Failed(_, codes) => return Expected::Failed(codes),
                Passed::Never => return Expected::Never,
            }
            accumulator = self.gave(node, "result", &inner).unwrap_or(Given::One(Json::Null));
        }
        let result = Some(("result".to_owned(), accumulator)).filter(|_| !is_cut_short);
        Expected::Done(result.into_iter().collect())
    }

    /// Lifted nodes: each gives, for each of its outputs, the list of what it gave for each item.
    pub(super) fn expected_of_region(&self, region: usize, frame: &Frame<'_>) {
        let place = Place::Region(region);
        let here = &self.document.regions[region];
        let is_here = |ix: &usize| self.document.nodes[*ix].place == place && !self.left_out.contains(ix);
        let nodes: Vec<usize> = (0..self.document.nodes.len()).filter(is_here).collect();
        let all = |expected: Expected| nodes.iter().for_each(|node| self.note(frame, *node, expected.clone()));
        let mut lists = Vec::new();
        for (source, output) in &here.origins {
            let edge = Edge { source: *source, output: output.clone(), target: *source, input: String::new() };
            match self.brought(&edge, frame) {
                Ok(Some(given)) => lists.push((edge, given.items())),
                Ok(None) if self.is_needed(region, &edge) => return all(Expected::Skipped),
                Ok(None) => {}
                Err(()) => return all(Expected::Never),
            }
        }
        if lists.is_empty() {
            return all(Expected::Skipped);
        }
        if !self.are_region_surroundings_settled(region, frame) {
            return all(Expected::Never);
        }
        let count = lists.first().map_or(0, |(_, items)| items.len());
        if lists.iter().any(|(_, items)| items.len() != count) {
            return self.unequal(region, frame, &nodes);
        }
        let mut gave: BTreeMap<(usize, String), Vec<Given>> = BTreeMap::new();
        let (mut why_failed, mut is_whole) = (Vec::new(), true);
        gave.extend(
            nodes.iter().flat_map(|node| LIFTED_OUTPUTS.map(|output| ((*node, output.to_owned()), Vec::new()))),
        );
        for index in 0..count {
            let mut inner = Frame::of(frame, place, index);
            inner.items = lists
                .iter()
                .map(|(edge, items)| ((edge.source, edge.output.clone()), items[index].clone().item()))
                .collect();
            match self.pass(&inner) {
                Passed::Whole => {
                    for ((node, output), list) in &mut gave {
                        let value = match self.expected(*node, &inner) {
                            Expected::Done(mut outputs) => outputs.remove(output),
                            _ => None,
                        };
                        list.push(value.unwrap_or_else(Given::null));
                    }
                }
                Passed::Failed(failed, codes) => match self.document.nodes[failed[0]].policy["onItemError"].as_str() {
                    Some("skip") => {}
                    Some("collect") => gave.values_mut().for_each(|list| list.push(Given::null())),
                    _ => why_failed.extend(codes),
                },
                Passed::Never => is_whole = false,
            }
        }
        if !why_failed.is_empty() {
            return all(Expected::Failed(why_failed));
        }
        if !is_whole {
            return all(Expected::Never);
        }
        for node in &nodes {
            let of_node = gave.iter().filter(|((source, _), _)| source == node);
            let outputs = of_node.map(|((_, output), list)| (output.clone(), Given::List(list.clone()))).collect();
            self.note(frame, *node, Expected::Done(outputs));
        }
    }

    /// Lists of different lengths fail the nodes that take them, or are caught if all of these want that: then what
    /// runs with them is skipped.
    fn unequal(&self, region: usize, frame: &Frame<'_>, nodes: &[usize]) {
        let origins = &self.document.regions[region].origins;
        let takes_lists = |node: &usize| {
            self.document.edges_into(*node).any(|edge| {
                origins.contains(&(edge.source, edge.output.clone()))
                    && !takes_list(&self.document.nodes[*node].kind, &edge.input)
            })
        };
        let code = || vec!["unequal_lists".to_owned()];
        let is_caught = |node: &usize| matches!(self.failed(*node, code()), Expected::Done(_));
        let is_told = nodes.iter().filter(|node| takes_lists(node)).all(is_caught);
        for node in nodes {
            let expected = match (is_told, takes_lists(node)) {
                (true, true) => self.failed(*node, code()),
                (true, false) => Expected::Skipped,
                (false, _) => Expected::Failed(code()),
            };
            self.note(frame, *node, expected);
        }
    }

    /// Whether some lifted node has an input that must be there and takes its items from this list.
    fn is_needed(&self, region: usize, list: &Edge) -> bool {
        self.document.edges.iter().filter(|edge| (edge.source, &edge.output) == (list.source, &list.output)).any(
            |edge| {
                let target = &self.document.nodes[edge.target];
                target.place == Place::Region(region)
                    && !takes_list(&target.kind, &edge.input)
                    && required_inputs(&target.kind).contains(&&*edge.input)
            },
        )
    }

    fn are_region_surroundings_settled(&self, region: usize, frame: &Frame<'_>) -> bool {
        let place = Place::Region(region);
        let mut entering = self.document.edges.iter().filter(|edge| {
            let (source, target) = (&self.document.nodes[edge.source], &self.document.nodes[edge.target]);
            !self.left_out.contains(&edge.target) && target.place == place && source.place != place
        });
        entering.all(|edge| self.brought(edge, frame).is_ok())
    }

    pub(super) fn results_into<'d>(&'d self, container: usize, input: &'d str) -> impl Iterator<Item = &'d Edge> {
        let body = Place::Body(container);
        self.document.edges_into(container).filter(move |edge| {
            edge.input == input && self.document.lies_in(self.document.nodes[edge.source].place, body)
        })
    }

    /// What an item or turn gave to an input of its container; nothing if that was closed.
    fn gave(&self, container: usize, input: &str, inner: &Frame<'_>) -> Option<Given> {
        let edge = self.results_into(container, input).next()?;
        match self.expected(edge.source, inner) {
            Expected::Done(mut outputs) => outputs.remove(&edge.output),
            _ => None,
        }
    }
}
