//! Lists on their way: through nodes that pass on what comes, and several of them, with single values among them, into one input;
//! and from turn to turn.

use serde_json::{Value as Json, json};

use super::super::work;
use super::branch::Rest;
use super::{Drawing, Level, Shape, Source};

/// What is certainly a list, as the graph says by itself.
const LISTS: [Shape; 2] = [Shape::Items, Shape::List];
/// What may be one.
pub(super) const PERHAPS: [Shape; 3] = [Shape::Items, Shape::List, Shape::Mixed];
/// What an input that takes a list may be given beside lists.
const BESIDE: [Shape; 6] = [Shape::Items, Shape::List, Shape::Mixed, Shape::Item, Shape::Any, Shape::Json];
/// Lists as long as this are not put together.
const LONG: u64 = 8;
/// Nodes of one document that put lists together: what they give gets longer with each.
const JOINTS_MAX: usize = 3;

impl Drawing<'_> {
    /// Whether there is a list that may be passed on.
    pub(super) fn has_list(sources: &[Source]) -> bool {
        sources.iter().any(|source| PERHAPS.contains(&source.shape))
    }

    /// A node that lists pass.
    pub(super) fn list(&mut self, level: Level, sources: &mut Vec<Source>) {
        match self.random.below(10) {
            0..5 => self.passing_list(level, sources),
            5..8 => self.merge_lists(level, sources),
            8 if self.knobs.has_races => self.race_lists(level, sources),
            _ => self.filter_lists(level, sources),
        }
    }

    fn passing_list(&mut self, level: Level, sources: &mut Vec<Source>) {
        let shapes = [Shape::Items, Shape::List, Shape::Mixed, Shape::Json];
        let Some(source) = self.pick(sources, &shapes) else { return self.work(level, sources) };
        let rest = self.rest();
        let condition = self.of_body(level, sources, rest).unwrap_or_else(|| self.of_list(source.shape, rest));
        let may_ask = self.repeats <= 8 && self.knobs.review_percent > 0;
        let (kind, input, config, outputs): (&str, &str, Json, &[&'static str]) = match self.random.below(8) {
            0 | 1 => ("logic:if", "value", json!({"condition": condition}), &["true", "false"]),
            2 => {
                let cases = json!([{"id": "c0", "when": condition}]);
                let mode = self.random.pick(&["first", "all"]);
                ("logic:switch", "value", json!({"cases": cases, "mode": mode}), &["c0", "default"])
            }
            3 => ("logic:router", "input", json!({}), &["output"]),
            4 => ("logic:gate", "value", json!({"open": self.random.percent(70)}), &["value"]),
            5 => ("logic:split_test", "value", json!({"weights": {"a": 1, "b": 1}}), &["a", "b"]),
            6 if may_ask => ("logic:review", "value", json!({"required": 1}), &["approved", "rejected"]),
            _ => ("logic:wait", "value", json!({"forMs": self.random.between((0, 200))}), &["value"]),
        };
        let node = self.node(level, kind, config, json!({}));
        self.edge(&source, node, input);
        let shape = match (kind, source.shape) {
            // What people look at does not lift, though it may still be a list.
            ("logic:review", Shape::Items | Shape::List) => Shape::Mixed,
            (_, shape) => shape,
        };
        sources.extend(outputs.iter().map(|port| Source::of(node, port, shape)));
    }

    /// What a condition asks of what may be a list.
    fn of_list(&mut self, shape: Shape, rest: Rest) -> String {
        match shape {
            Shape::Mixed => rest.number(&self.random.below(3).to_string()),
            _ => rest.number("size(value)"),
        }
    }

    fn merge_lists(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(branches) = self.lists(sources) else { return self.work(level, sources) };
        let mode = self.random.pick(&["first", "any", "all"]);
        let node = self.node(level, "logic:merge", json!({"mode": mode}), json!({}));
        branches.iter().for_each(|branch| self.edge(branch, node, "branches"));
        let all = if are_items(&branches) { Shape::Items } else { Shape::List };
        let one = if mode == "all" { all } else { one_of(&branches) };
        sources.extend([Source::of(node, "value", one), Source::of(node, "values", all)]);
    }

    fn race_lists(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(branches) = self.lists(sources) else { return self.work(level, sources) };
        let node = self.race_node(level);
        branches.iter().for_each(|branch| self.edge(branch, node, "branches"));
        sources.push(Source::of(node, "value", one_of(&branches)));
    }

    fn filter_lists(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(branches) = self.lists(sources) else { return self.work(level, sources) };
        let (rest, are_items) = (self.rest(), are_items(&branches));
        let condition = if are_items { rest.condition("item") } else { rest.number("index") };
        let node = self.node(level, "logic:filter", json!({"condition": condition}), json!({}));
        branches.iter().for_each(|branch| self.edge(branch, node, "items"));
        let shape = if are_items { Shape::Items } else { Shape::List };
        sources.extend(["kept", "dropped"].map(|port| Source::of(node, port, shape)));
    }

    /// What may come into an input that takes a list: one list or more, and single values before and after them.
    fn lists(&mut self, sources: &[Source]) -> Option<Vec<Source>> {
        let mut branches = vec![self.pick(sources, &PERHAPS)?];
        let may_join = self.knobs.longest_list <= LONG && self.joints < JOINTS_MAX && self.carrying == 0;
        let shapes = if may_join { &BESIDE[..] } else { &BESIDE[3..] };
        for _ in 0..self.random.below(4) {
            branches.extend(self.pick(sources, shapes));
        }
        self.joints += usize::from(branches.iter().filter(|it| PERHAPS.contains(&it.shape)).count() > 1);
        if self.random.percent(50) {
            branches.reverse();
        }
        Some(branches)
    }

    /// Whether what a loop or a reduction gives from turn to turn is to be a list, perhaps.
    pub(super) fn carries_lists(&mut self) -> bool {
        self.knobs.longest_list <= LONG && self.random.percent(50)
    }

    /// What a loop or a reduction begins with: a list now and then where it carries lists.
    pub(super) fn begin_with(&mut self, sources: &[Source], carries_lists: bool, ones: &[Shape]) -> Option<Source> {
        match carries_lists && Self::has_list(sources) && self.random.percent(60) {
            true => self.pick(sources, &PERHAPS),
            false => self.pick(sources, ones),
        }
    }

    /// What a turn goes on with where that may be a list: the one that came, it with more in it, cut or chosen from, or another. It
    /// gets longer by a few items with each turn.
    pub(super) fn carry_on(&mut self, level: Level, carried: &Source, sources: &mut Vec<Source>) -> Source {
        let salt = json!({"salt": self.random.below(1_000)});
        if self.random.percent(50) {
            let look = self.node(level, work::WORK, salt.clone(), json!({}));
            self.edge(carried, look, "in");
            sources.push(Source::of(look, "out", Shape::Item));
        }
        let alone = vec![carried.clone()];
        let mut beside = alone.clone();
        beside.extend(self.pick(sources, &[Shape::Item, Shape::Any, Shape::Json]));
        beside.extend(self.pick(sources, &[Shape::Item]));
        if self.random.percent(50) {
            beside.reverse();
        }
        let (one, first, index) = (one_of(&beside), self.random.percent(50), self.rest().number("index"));
        let or = |yes, no| if first { yes } else { no };
        let race = json!({ "cancelLosers": first });
        let (kind, branches, input, config, output, shape) = match self.random.below(10) {
            0 | 1 => ("logic:merge", beside, "branches", json!({"mode": "all"}), or("value", "values"), Shape::List),
            2 => ("logic:merge", beside, "branches", json!({"mode": or("first", "any")}), "value", one),
            3 => ("logic:filter", beside, "items", json!({ "condition": index }), or("kept", "dropped"), Shape::List),
            4 => ("logic:batch", alone, "items", json!({"size": self.random.between((1, 3))}), "batches", Shape::List),
            5 if self.knobs.has_races => ("logic:race", beside, "branches", race, "value", one),
            6 | 7 => {
                let config = json!({"salt": salt["salt"], "longest": self.random.between((1, 3))});
                (work::LIST, beside, "in", config, "items", Shape::Items)
            }
            _ => ("logic:router", alone, "input", json!({}), "output", carried.shape),
        };
        let node = self.node(level, kind, config, json!({}));
        branches.iter().for_each(|branch| self.edge(branch, node, input));
        let given = Source::of(node, output, shape);
        sources.push(given.clone());
        given
    }

    /// What goes into a map, a reduction or a batch: mostly one list.
    pub(super) fn one_list(&mut self, sources: &[Source]) -> Option<Vec<Source>> {
        match self.random.percent(25) {
            true => self.lists(sources),
            false => self.pick(sources, &LISTS).map(|list| vec![list]),
        }
    }
}

/// Whether all that comes of them, put together, are objects with a number.
pub(super) fn are_items(branches: &[Source]) -> bool {
    branches.iter().all(|branch| matches!(branch.shape, Shape::Items | Shape::Item))
}

/// What one of them is.
pub(super) fn one_of(branches: &[Source]) -> Shape {
    match branches {
        _ if branches.iter().all(|branch| branch.shape == Shape::Item) => Shape::Item,
        _ if !branches.iter().any(|branch| PERHAPS.contains(&branch.shape)) => Shape::Any,
        _ if branches.iter().all(|branch| branch.shape == Shape::Items) => Shape::Items,
        _ if branches.iter().all(|branch| LISTS.contains(&branch.shape)) => Shape::List,
        _ => Shape::Mixed,
    }
}
