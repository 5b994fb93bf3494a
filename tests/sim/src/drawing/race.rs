//! Races: of branches beside them, and in bodies of what comes from outside, by which they may be won as soon as the body begins, or of
//! containers, which may be open when they are won.

use serde_json::json;

use super::lists::one_of;
use super::{Drawing, Level, Shape, Source, id};

impl Drawing<'_> {
    pub(super) fn race(&mut self, level: Level, sources: &mut Vec<Source>) {
        if level.parent.is_some() && self.random.percent(60) {
            return self.race_in_body(level, sources);
        }
        let Some(first) = self.pick(sources, &[Shape::Item]) else { return self.work(level, sources) };
        if self.random.percent(40) {
            // It falls due before the race, which has to wait as long as this one waits for its values.
            let condition = self.rest().condition("value");
            let before = self.node(level, "logic:if", json!({"condition": condition}), json!({}));
            self.edge(&first, before, "value");
            sources.extend(["true", "false"].map(|port| Source::of(before, port, Shape::Item)));
        }
        let node = self.race_node(level);
        self.edge(&first, node, "branches");
        if self.random.percent(20) {
            // It falls due after the race, and is given up if nobody wants it any more by then.
            let late = self.node(level, "logic:router", json!({}), json!({}));
            self.edge(&first, late, "input");
            self.edge(&Source::of(late, "output", Shape::Item), node, "branches");
        }
        self.more(node, sources, "branches", &[Shape::Item]);
        sources.push(Source::of(node, "value", Shape::Item));
    }

    /// In a body: all its branches come from outside, or from what the item or turn is; or some do.
    pub(super) fn race_in_body(&mut self, level: Level, sources: &mut Vec<Source>) {
        let shapes: &[Shape] = if self.random.percent(50) { &[Shape::Item] } else { &[Shape::Item, Shape::Any] };
        let parent = level.parent.map(id);
        let is_entering = |source: &&Source| self.nodes[source.node]["parentId"].as_str() != parent.as_deref();
        let (entering, own): (Vec<&Source>, Vec<&Source>) = sources.iter().partition(is_entering);
        let (entering, own) =
            (entering.into_iter().cloned().collect::<Vec<_>>(), own.into_iter().cloned().collect::<Vec<_>>());
        let (outside, inside) = (1 + self.random.below(2), self.random.below(3));
        let mut branches: Vec<Source> = (0..outside).filter_map(|_| self.pick(&entering, shapes)).collect();
        branches.extend((0..inside).filter_map(|_| self.pick(&own, shapes)));
        if branches.is_empty() {
            return self.work(level, sources);
        }
        if self.random.percent(50) {
            branches.reverse();
        }
        let node = self.race_node(level);
        branches.iter().for_each(|branch| self.edge(branch, node, "branches"));
        sources.push(Source::of(node, "value", one_of(&branches)));
    }

    /// In a body: what has a body of its own, or is lifted, against what may come while it is open.
    pub(super) fn race_with_container(&mut self, level: Level, sources: &mut Vec<Source>) {
        let before = sources.len();
        match self.random.below(4) {
            _ if self.is_full(level) => self.over_a_list(level, sources),
            0 => self.map(level, sources),
            1 => self.looping(level, sources),
            2 => self.reduce(level, sources),
            _ => self.over_a_list(level, sources),
        }
        let all = [Shape::Item, Shape::Items, Shape::List, Shape::Any, Shape::Mixed];
        let Some(slow) = self.pick(&sources[before..], &all) else { return };
        let mut branches = vec![slow.clone()];
        if self.random.percent(30) {
            // What would follow from it has not begun when it is given up.
            let next = self.node(level, "logic:router", json!({}), json!({}));
            self.edge(&slow, next, "input");
            branches = vec![Source::of(next, "output", slow.shape)];
        }
        for _ in 0..self.random.between((1, 2)) {
            let Some(source) = self.pick(sources, &[Shape::Item, Shape::Any]) else { continue };
            let config = json!({"forMs": self.random.between((0, 150))});
            let quick = self.node(level, "logic:wait", config, json!({}));
            self.edge(&source, quick, "value");
            branches.push(Source::of(quick, "value", source.shape));
        }
        if self.random.percent(50) {
            branches.reverse();
        }
        let config = json!({"cancelLosers": self.random.percent(85)});
        let node = self.node(level, "logic:race", config, json!({}));
        branches.iter().for_each(|branch| self.edge(branch, node, "branches"));
        sources.push(Source::of(node, "value", one_of(&branches)));
    }

    /// A lifted node, or another where there is no list.
    fn over_a_list(&mut self, level: Level, sources: &mut Vec<Source>) {
        let config = json!({"salt": self.random.below(1_000)});
        self.lifted(level, sources, config, json!({}));
    }

    pub(super) fn race_node(&mut self, level: Level) -> usize {
        let config = json!({"cancelLosers": self.random.percent(60)});
        self.node(level, "logic:race", config, json!({}))
    }
}
