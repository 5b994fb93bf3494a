//! Draws the documents of graphs from every construct of the language.

mod branch;
mod child;
mod lists;
mod race;
mod scope;

use serde_json::{Value as Json, json};

pub(super) use child::Child;

use super::children::RESULT;
use super::graphs::Script;
use super::knobs::{Effects, Knobs};
use super::policies::{self, OnError};
use super::random::Random;
use super::work;

/// Maps and loops lie so deep inside each other at most.
const DEPTH_MAX: usize = 3;
/// Nodes of one document, after which no body is begun any more.
const NODES_MAX: usize = 24;

/// How often the nodes of a body run at most.
const REPEATS_MAX: u64 = 80;

/// A document while it is drawn.
pub(super) struct Drawing<'a> {
    pub(super) nodes: Vec<Json>,
    pub(super) edges: Vec<Json>,
    pub(super) scripts: Vec<Script>,
    pub(super) random: &'a mut Random,
    pub(super) knobs: &'a Knobs,
    /// The graphs that nodes may run.
    children: &'a [Child],
    /// Whether it is one that nodes of other graphs run: it has an input, and an output.
    is_child: bool,
    /// How often the body that is drawn may run at most.
    repeats: u64,
    /// Nodes that put lists together.
    joints: usize,
    /// Loops and reductions around what is drawn that may carry lists.
    carrying: usize,
}

/// What comes out of a port, as far as nodes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object with a number `n`.
    Item,
    /// A list of such.
    Items,
    /// A list of whatever.
    List,
    /// JSON that is a list, out of an output that gives no lists.
    Json,
    /// Anything that is one value.
    Any,
    /// A list or one value: only the run knows.
    Mixed,
}

/// An output that may be joined to an input.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) node: usize,
    pub(super) port: &'static str,
    pub(super) shape: Shape,
    /// The list whose items the node goes through, if it is lifted, by its place among sources.
    lifted_by: Option<usize>,
}

/// Where nodes are drawn.
#[derive(Clone, Copy)]
struct Level {
    parent: Option<usize>,
    depth: usize,
}

impl<'a> Drawing<'a> {
    pub(super) fn draw(random: &'a mut Random, knobs: &'a Knobs, children: &'a [Child]) -> Self {
        let count = random.between(knobs.nodes) as usize;
        Self::begin(random, knobs, children, false).draw_nodes(count)
    }

    fn begin(random: &'a mut Random, knobs: &'a Knobs, children: &'a [Child], is_child: bool) -> Self {
        let (nodes, edges, scripts) = (Vec::new(), Vec::new(), Vec::new());
        Self { nodes, edges, scripts, random, knobs, children, is_child, repeats: 1, joints: 0, carrying: 0 }
    }

    fn draw_nodes(self, count: usize) -> Self {
        let mut drawing = self;
        let mut sources = Vec::new();
        let level = Level { parent: None, depth: 0 };
        for place in 0..count {
            if place == 0 && (drawing.is_child || count > 1 && drawing.random.percent(50)) {
                let node = drawing.node(level, "input:json", json!({"value": {"n": 3}}), json!({}));
                sources.push(Source::of(node, "json", Shape::Item));
            } else if place + 1 == count && !sources.is_empty() && (drawing.is_child || drawing.random.percent(70)) {
                drawing.output(level, &sources);
            } else if place > 0 && drawing.random.percent(drawing.knobs.branch_percent / 6) {
                let value = json!([{"n": 4}, {"n": 7}, {"n": drawing.random.below(60)}]);
                if drawing.random.percent(50) {
                    let node = drawing.node(level, "input:list", json!({"items": value}), json!({}));
                    sources.push(Source::of(node, "items", Shape::Items));
                } else {
                    let node = drawing.node(level, "input:json", json!({"value": value}), json!({}));
                    sources.push(Source::of(node, "json", Shape::Json));
                }
            } else {
                drawing.one(level, &mut sources);
            }
        }
        drawing
    }

    /// Draws one node, or a container with its body, and adds what can be joined to it.
    fn one(&mut self, level: Level, sources: &mut Vec<Source>) {
        let knobs = self.knobs;
        let is_first = sources.is_empty();
        let may_listen = knobs.listen_percent > 0 && !is_first && self.repeats <= 8;
        if may_listen && self.random.percent(knobs.listen_percent) {
            return self.listen(level, sources);
        }
        if !is_first && knobs.child_percent > 0 && self.repeats <= 4 && self.random.percent(knobs.child_percent) {
            self.child(level, sources);
        } else if !is_first && self.random.percent(knobs.scope_percent) {
            self.scope(level, sources);
        } else if !is_first && self.random.percent(knobs.branch_percent) {
            self.branch(level, sources);
        } else if !is_first && self.random.percent(knobs.wait_percent) {
            self.wait(level, sources);
        } else {
            self.work(level, sources);
        }
    }

    fn node(&mut self, level: Level, kind: &str, config: Json, policy: Json) -> usize {
        let ix = self.nodes.len();
        let mut node = json!({"id": id(ix), "data": {"nodeType": kind, "config": config, "policy": policy}});
        if let Some(parent) = level.parent {
            node["parentId"] = json!(id(parent));
        }
        self.nodes.push(node);
        let is_in_body = level.parent.is_some();
        // One is enough: each costs every run that comes to it up to five starts of agents.
        let may_be_poison = kind.starts_with("debug:") && !is_in_body && !self.scripts.iter().any(|it| it.is_poison);
        // What is lifted over a long list would be one for each item.
        let is_one = kind != work::ONE || self.knobs.longest_list <= 3;
        let is_poison = may_be_poison && self.random.percent(self.knobs.poison_percent) && is_one;
        // What runs for many items must not take long.
        let work_ms = if is_in_body { self.knobs.work_ms.min((10, 200)) } else { self.knobs.work_ms };
        self.scripts.push(Script { work_ms, fail_percent: self.knobs.fail_percent, is_poison });
        ix
    }

    fn edge(&mut self, source: &Source, target: usize, input: &str) {
        self.edges.push(json!({"id": format!("e{}", self.edges.len()), "source": id(source.node),
            "sourceHandle": source.port, "target": id(target), "targetHandle": input}));
    }

    /// One of the sources of these shapes.
    fn pick(&mut self, sources: &[Source], shapes: &[Shape]) -> Option<Source> {
        let fitting: Vec<&Source> = sources.iter().filter(|source| shapes.contains(&source.shape)).collect();
        // Mostly what is near, so that graphs are deep.
        let near = if self.random.percent(50) { fitting.len().saturating_sub(3) } else { 0 };
        fitting.get(near + self.random.below(fitting.len() - near.min(fitting.len()))).map(|source| (*source).clone())
    }

    fn output(&mut self, level: Level, sources: &[Source]) {
        let config = if self.is_child { json!({"name": RESULT}) } else { json!({}) };
        let node = self.node(level, "output:preview", config, json!({}));
        let source = sources[self.random.below(sources.len())].clone();
        self.edge(&source, node, "value");
    }

    fn wait(&mut self, level: Level, sources: &mut Vec<Source>) {
        if self.repeats <= 8 && self.random.percent(self.knobs.review_percent) {
            return self.review(level, sources);
        }
        let Some(source) = self.pick(sources, &[Shape::Item]) else { return self.work(level, sources) };
        let most = if level.parent.is_some() { (0, 300) } else { self.knobs.wait_ms };
        let config = json!({"forMs": self.random.between(most)});
        let node = self.node(level, "logic:wait", config, json!({}));
        self.edge(&source, node, "value");
        sources.push(Source::of(node, "value", Shape::Item));
    }

    /// A node waits for a signal or a call, for ever or for a while. What hangs on an address runs meanwhile.
    fn listen(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(source) = self.pick(sources, &[Shape::Item]) else { return self.work(level, sources) };
        let mut config = json!({});
        if self.random.percent(60) {
            config["timeoutMs"] = json!(self.random.between((300, 4_000)));
        }
        let is_hook = self.random.percent(40);
        if !is_hook {
            config["name"] = json!(self.random.pick(&["go", "stop"]));
        }
        let node = self.node(level, if is_hook { "logic:wait_webhook" } else { "logic:signal" }, config, json!({}));
        self.edge(&source, node, "value");
        if is_hook && self.random.percent(60) {
            let salt = json!({"salt": self.random.below(1_000)});
            let tell = self.node(level, work::WORK, salt, json!({}));
            self.edge(&Source::of(node, "url", Shape::Any), tell, "in");
        }
        sources.extend([Source::of(node, "body", Shape::Item), Source::of(node, "timed_out", Shape::Any)]);
    }

    /// People look at a value, for ever or for a while.
    fn review(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(source) = self.pick(sources, &[Shape::Item]) else { return self.work(level, sources) };
        let mut config = json!({"required": self.random.between((1, 2))});
        if self.random.percent(50) {
            config["timeoutMs"] = json!(self.random.between((300, 4_000)));
            config["onTimeout"] = json!(self.random.pick(&["approve", "reject", "fail", "escalate"]));
            config["escalateTo"] = json!("person 1");
        }
        let node = self.node(level, "logic:review", config, json!({}));
        self.edge(&source, node, "value");
        sources.extend([Source::of(node, "approved", Shape::Item), Source::of(node, "rejected", Shape::Item)]);
    }

    fn work(&mut self, level: Level, sources: &mut Vec<Source>) {
        let effect = self.effect();
        let policy = json!({
            "retry": {"maxAttempts": self.random.between((1, 4)), "initialMs": self.random.between((1, 400)), "maxMs": 2_000},
            "onUnknown": self.random.pick(&["retry", "fail", "park"]),
            "priority": self.random.between((0, 2)),
        });
        let mut config = json!({"effect": effect, "salt": self.random.below(1_000)});
        if self.random.percent(self.knobs.refuse_percent) {
            config["refuses"] = json!(self.random.between((3, 12)));
        }
        if self.random.percent(self.knobs.large_percent) {
            config["large"] = json!(true);
        }
        let kind = self.kind_of_work(&sources[..]);
        let mut policy = policy;
        if self.repeats <= 8 && self.random.percent(self.knobs.review_percent) {
            policy["review"] = json!(self.random.pick(&["before", "after"]));
        }
        let on_error = if kind == work::LIST { OnError::Ends } else { OnError::draw(self.random, self.knobs) };
        policies::add(&mut policy, (kind, &config), on_error, self.random, self.knobs);
        // What runs many times and one at a time takes too long.
        if self.repeats > 8
            && let Some(policy) = policy.as_object_mut()
        {
            policy.remove("concurrencyKey");
        }
        let is_caught = on_error != OnError::Ends;
        match kind {
            work::ONE => self.lifted(level, sources, config, policy),
            work::LIST => {
                let longest = if self.repeats == 1 { self.knobs.longest_list } else { 3 };
                config["longest"] = json!(longest);
                let node = self.node(level, kind, config, policy);
                self.inputs(node, sources);
                sources.push(Source::of(node, "items", Shape::Items));
            }
            kind => {
                let node = self.node(level, kind, config, policy);
                self.inputs(node, sources);
                sources.extend([Source::of(node, "out", Shape::Item), Source::of(node, "side", Shape::Item)]);
                // What was wrong has no number: conditions do not look at it.
                sources.extend(on_error.output().map(|port| Source::of(node, port, Shape::Any)));
            }
        }
        if is_caught && let Some(script) = self.scripts.last_mut() {
            script.fail_percent = 50;
        }
    }

    fn kind_of_work(&mut self, sources: &[Source]) -> &'static str {
        let has_sources = !sources.is_empty();
        match self.random.below(10) {
            0..6 => self.random.pick(&[work::PREFETCHED, work::WORK]),
            6..8 if has_sources => work::ONE,
            8 => work::LIST,
            _ => work::WORK,
        }
    }

    /// A node that takes a list, whatever is there.
    fn plain(&mut self, level: Level, sources: &mut Vec<Source>) {
        let config = json!({"salt": self.random.below(1_000)});
        let node = self.node(level, work::WORK, config, json!({}));
        self.inputs(node, sources);
        sources.extend([Source::of(node, "out", Shape::Item), Source::of(node, "side", Shape::Item)]);
    }

    /// Up to three edges into an input that takes a list.
    fn inputs(&mut self, node: usize, sources: &[Source]) {
        let all = [Shape::Item, Shape::Items, Shape::List, Shape::Any, Shape::Json, Shape::Mixed];
        for _ in 0..self.random.below(4) {
            let source = self.pick(sources, &all);
            source.into_iter().for_each(|source| self.edge(&source, node, "in"));
        }
    }

    /// A node that takes one value: a list makes it run once per item.
    fn lifted(&mut self, level: Level, sources: &mut Vec<Source>, config: Json, mut policy: Json) {
        let is_full = self.repeats > 1 && self.repeats * self.knobs.longest_list > REPEATS_MAX;
        let shapes: &[Shape] = match !is_full && self.random.percent(70) {
            true => &[Shape::Items, Shape::List],
            false if is_full => &[Shape::Item, Shape::Any, Shape::Mixed],
            false => &[Shape::Item, Shape::Any, Shape::Mixed, Shape::Items],
        };
        let Some(source) = self.pick(sources, shapes) else {
            // What can be said of one type's policy need not fit another.
            let node = self.node(level, work::WORK, config, json!({}));
            self.inputs(node, sources);
            return sources.extend([Source::of(node, "out", Shape::Item), Source::of(node, "side", Shape::Item)]);
        };
        let is_list = matches!(source.shape, Shape::Items | Shape::List);
        let place = sources.iter().position(|known| (known.node, known.port) == (source.node, source.port));
        let origin = source.lifted_by.or(place).filter(|_| is_list);
        // What runs over one list has one policy.
        if let Some(origin) = origin {
            let choices = ["fail", "skip", "collect"];
            policy["onItemError"] = json!(choices[origin % choices.len()]);
        }
        let node = self.node(level, work::ONE, config, policy);
        if is_list && let Some(script) = self.scripts.last_mut() {
            script.work_ms = script.work_ms.min((10, 200));
        }
        self.edge(&source, node, "one");
        // What was there before the list is brought to each item.
        let before = &sources[..origin.unwrap_or(sources.len())].to_vec();
        if self.random.percent(30)
            && let Some(extra) = self.pick(before, &[Shape::Item, Shape::Any, Shape::Mixed])
        {
            self.edge(&extra, node, "extra");
        } else if is_list
            && self.random.percent(4)
            && let Some(extra) = self.pick(before, &[Shape::Items])
        {
            // A second list, which is mostly longer or shorter.
            self.edge(&extra, node, "extra");
        }
        let shape = if is_list { Shape::List } else { Shape::Item };
        let lifted = |port| Source { lifted_by: origin, ..Source::of(node, port, shape) };
        sources.extend([lifted("out"), lifted("side")]);
    }

    fn effect(&mut self) -> &'static str {
        match self.knobs.effects {
            Effects::Pure => "pure",
            Effects::Mixed => self.random.pick(&["pure", "keyed", "pollable", "blind"]),
            Effects::Paid => self.random.pick(&["pollable", "blind"]),
        }
    }
}

impl Source {
    fn of(node: usize, port: &'static str, shape: Shape) -> Self {
        Self { node, port, shape, lifted_by: None }
    }
}

pub(super) fn id(ix: usize) -> String {
    format!("n{ix}")
}
