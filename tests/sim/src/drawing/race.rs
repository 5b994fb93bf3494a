//! Races: of branches beside them, and in bodies of what comes from outside, by which they may be won as soon as the body begins.

use serde_json::json;

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
        let is_item = branches.iter().all(|branch| branch.shape == Shape::Item);
        sources.push(Source::of(node, "value", if is_item { Shape::Item } else { Shape::Any }));
    }

    pub(super) fn race_node(&mut self, level: Level) -> usize {
        let config = json!({"cancelLosers": self.random.percent(60)});
        self.node(level, "logic:race", config, json!({}))
    }
}
