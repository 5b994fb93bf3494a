//! Nodes that run other graphs, and those graphs.

use heddle_core::id::WorkflowId;
use serde_json::{Value as Json, json};

use super::super::children::{INPUT, INVOKE, NOWHERE, RESULT, workflow_of};
use super::super::graphs::Script;
use super::super::knobs::Knobs;
use super::super::random::Random;
use super::super::work;
use super::{Drawing, Level, Shape, Source};

/// A graph that nodes may run.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Child {
    pub(in super::super) workflow: WorkflowId,
    /// It runs itself, as deep as may be.
    pub(in super::super) is_deep: bool,
}

impl<'a> Drawing<'a> {
    /// A graph that nodes of other graphs run. There are few nodes in it: it runs often.
    pub(in super::super) fn draw_child(random: &'a mut Random, knobs: &'a Knobs, children: &'a [Child]) -> Self {
        let count = random.between((2, 5)) as usize;
        Self::begin(random, knobs, children, true).draw_nodes(count)
    }

    /// A graph that runs itself until it may not any more.
    pub(in super::super) fn draw_deep(random: &'a mut Random, knobs: &'a Knobs, graph: usize) -> Self {
        let mut drawing = Self::begin(random, knobs, &[], true);
        let level = Level { parent: None, depth: 0 };
        let first = drawing.node(level, "input:json", json!({"value": {"n": 3}}), json!({}));
        let salt = json!({"salt": drawing.random.below(1_000)});
        let works = drawing.random.percent(50);
        let mut last = Source::of(first, "json", Shape::Item);
        if works {
            let node = drawing.node(level, work::WORK, salt, json!({}));
            drawing.edge(&last, node, "in");
            last = Source::of(node, "out", Shape::Item);
        }
        let policy = drawing.policy_of_child(60);
        let config = json!({"workflowId": workflow_of(graph).to_string()});
        let node = drawing.node(level, INVOKE, config, policy);
        drawing.edge(&last, node, INPUT);
        drawing.output(level, &[Source::of(node, "outputs", Shape::Any)]);
        // Sixteen of them run one in the other.
        drawing.scripts.iter_mut().for_each(|script| *script = Script { work_ms: (0, 20), ..Script::sound() });
        drawing
    }

    fn policy_of_child(&mut self, percent: u64) -> Json {
        if self.random.percent(percent) { json!({"onError": "continue"}) } else { json!({}) }
    }

    /// Another graph runs, or one that there is not.
    pub(super) fn child(&mut self, level: Level, sources: &mut Vec<Source>) {
        let may_be_deep = self.repeats == 1 && self.random.percent(30);
        let children: Vec<Child> = self.children.iter().filter(|it| may_be_deep || !it.is_deep).copied().collect();
        let Some(source) = self.pick(sources, &[Shape::Item]).filter(|_| !children.is_empty()) else {
            return self.work(level, sources);
        };
        let workflow = children[self.random.below(children.len())].workflow;
        let workflow = if self.random.percent(5) { NOWHERE } else { workflow };
        let mut config = json!({"workflowId": workflow.to_string()});
        match self.random.below(10) {
            0..3 => config["version"] = json!(1),
            // Perhaps it is saved by then.
            3 => config["version"] = json!(2),
            4 => config["version"] = json!("latest"),
            _ => {}
        }
        let policy = self.policy_of_child(30);
        let is_caught = !policy["onError"].is_null();
        let node = self.node(level, INVOKE, config, policy);
        // Now and then by a name that it has not.
        let input = if self.random.percent(2) { "nobody" } else { INPUT };
        self.edge(&source, node, input);
        sources.push(Source::of(node, "outputs", Shape::Any));
        if self.random.percent(50) {
            sources.push(Source::of(node, RESULT, Shape::Any));
        }
        sources.extend(is_caught.then(|| Source::of(node, "error", Shape::Any)));
    }
}
