//! Nodes that decide which way a run goes.

use serde_json::{Value as Json, json};

use super::{Drawing, Level, Shape, Source, id};

/// What a number divided leaves: most conditions of simulated graphs ask for no more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    of: u64,
    is: u64,
}

impl Rest {
    pub(super) fn condition(self, value: &str) -> String {
        format!("{value}.n % {} == {}", self.of, self.is)
    }

    /// The same of a number.
    pub(super) fn number(self, value: &str) -> String {
        format!("{value} % {} == {}", self.of, self.is)
    }

    /// The same of what may be null, or no object.
    pub(super) fn or_null(self, value: &str) -> String {
        format!("{value} == null || {}", self.condition(value))
    }
}

impl Drawing<'_> {
    pub(super) fn rest(&mut self) -> Rest {
        let of = self.random.between((2, 3));
        Rest { of, is: self.random.between((0, of - 1)) }
    }

    pub(super) fn branch(&mut self, level: Level, sources: &mut Vec<Source>) {
        if self.knobs.has_races && self.random.percent(40) {
            return self.race(level, sources);
        }
        if Self::has_list(sources) && self.random.percent(25) {
            return self.list(level, sources);
        }
        match self.random.below(17) {
            0..4 => self.passing(level, sources, "logic:if"),
            4..7 => self.passing(level, sources, "logic:switch"),
            7 => self.passing(level, sources, "logic:router"),
            8 => self.passing(level, sources, "logic:gate"),
            9 | 10 => self.passing(level, sources, "logic:split_test"),
            11..15 => self.merge(level, sources),
            15 => self.filter(level, sources),
            16 if level.parent.is_none() => self.stop(level, sources),
            _ => self.merge(level, sources),
        }
    }

    /// A node that passes its value on.
    fn passing(&mut self, level: Level, sources: &mut Vec<Source>, kind: &str) {
        let Some(source) = self.pick(sources, &[Shape::Item]) else { return self.work(level, sources) };
        let looks_back = self.random.percent(40) && self.can_look_back_at(&source);
        let rest = self.rest();
        let (input, config, outputs): (&str, Json, &[&'static str]) = match kind {
            "logic:if" => {
                let of = if looks_back { format!("nodes.{}.output", id(source.node)) } else { "value".to_owned() };
                let condition = self.of_body(level, sources, rest).unwrap_or_else(|| rest.condition(&of));
                ("value", json!({"condition": condition}), &["true", "false"])
            }
            "logic:switch" => {
                let first = self.of_body(level, sources, rest).unwrap_or_else(|| rest.condition("value"));
                let cases = json!([{"id": "c0", "when": first},
                    {"id": "c1", "when": self.rest().condition("value")}]);
                let mode = self.random.pick(&["first", "all"]);
                ("value", json!({"cases": cases, "mode": mode}), &["c0", "c1", "default"])
            }
            "logic:router" => ("input", json!({}), &["output"]),
            "logic:gate" => ("value", json!({"open": self.random.percent(60)}), &["value"]),
            _ => ("value", json!({"weights": {"a": 1, "b": 1}}), &["a", "b"]),
        };
        let node = self.node(level, kind, config, json!({}));
        self.edge(&source, node, input);
        sources.extend(outputs.iter().map(|port| Source::of(node, port, Shape::Item)));
    }

    /// In a body, now and then a condition looks at its item, or at the number of its item or turn.
    pub(super) fn of_body(&mut self, level: Level, sources: &[Source], rest: Rest) -> Option<String> {
        let container = level.parent.filter(|_| self.random.percent(40))?;
        let is_item = |source: &Source| (source.node, source.port, source.shape) == (container, "item", Shape::Item);
        let has_item = sources.iter().any(is_item);
        match self.nodes[container]["data"]["nodeType"].as_str() {
            Some("logic:loop") => Some(rest.number("iteration")),
            _ if has_item && self.random.percent(50) => Some(rest.condition("item")),
            _ => Some(rest.number("index")),
        }
    }

    /// Whether the first open output of its node is certainly an object with a number.
    fn can_look_back_at(&self, source: &Source) -> bool {
        let kind = self.nodes[source.node]["data"]["nodeType"].as_str().unwrap_or_default();
        let is_own_container = matches!(kind, "logic:map" | "logic:loop" | "logic:reduce");
        !is_own_container && !matches!(kind, "logic:merge" | "logic:race") && source.lifted_by.is_none()
    }

    fn merge(&mut self, level: Level, sources: &mut Vec<Source>) {
        let all = self.random.percent(30);
        let mode = if all { "all" } else { self.random.pick(&["first", "any"]) };
        let has_json = self.random.percent(20) && sources.iter().any(|source| source.shape == Shape::Json);
        let shapes: &[Shape] = if has_json { &[Shape::Item, Shape::Json] } else { &[Shape::Item] };
        let Some(first) = self.pick(sources, shapes) else { return self.work(level, sources) };
        let node = self.node(level, "logic:merge", json!({"mode": mode}), json!({}));
        self.edge(&first, node, "branches");
        self.more(node, sources, "branches", shapes);
        let (one, list) = if has_json { (Shape::Any, Shape::List) } else { (Shape::Item, Shape::Items) };
        if !all {
            sources.push(Source::of(node, "value", one));
        }
        sources.push(Source::of(node, "values", list));
    }

    fn filter(&mut self, level: Level, sources: &mut Vec<Source>) {
        let has_json = self.random.percent(20) && sources.iter().any(|source| source.shape == Shape::Json);
        let shapes: &[Shape] = if has_json { &[Shape::Json, Shape::Item] } else { &[Shape::Items, Shape::Item] };
        let Some(first) = self.pick(sources, shapes) else { return self.work(level, sources) };
        let rest = self.rest();
        // What is a list itself has no number.
        let condition = if has_json { rest.number("index") } else { rest.condition("item") };
        let node = self.node(level, "logic:filter", json!({"condition": condition}), json!({}));
        self.edge(&first, node, "items");
        if first.shape != Shape::Items {
            self.more(node, sources, "items", if has_json { shapes } else { &[Shape::Item] });
        }
        let shape = if has_json { Shape::List } else { Shape::Items };
        sources.extend(["kept", "dropped"].map(|port| Source::of(node, port, shape)));
    }

    fn stop(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(source) = self.pick(sources, &[Shape::Item]) else { return self.work(level, sources) };
        let status = self.random.pick(&["completed", "failed", "cancelled"]);
        let node = self.node(level, "logic:stop", json!({"status": status}), json!({}));
        self.edge(&source, node, "value");
    }

    /// Up to two more edges into an input.
    pub(super) fn more(&mut self, node: usize, sources: &[Source], input: &str, shapes: &[Shape]) {
        for _ in 0..self.random.below(3) {
            let source = self.pick(sources, shapes);
            source.into_iter().for_each(|source| self.edge(&source, node, input));
        }
    }
}
