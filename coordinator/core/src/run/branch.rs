//! Branching nodes: which way a run goes (graph.md, part 4). What they decide is part of an event and never found out anew.

use serde_json::Value as Json;

use super::control::{Deciding, PORT};
use super::delegate::{Reach, taken};
use super::{Body, Run, SourcedValue, Values};
use crate::condition::evaluate::{self, Name, Unanswered};
use crate::condition::{Condition, Need, Seen};
use crate::fault::{Fault, is_planted};
use crate::graph::{InEdge, Logic};
use crate::id::{Instance, NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::run::event::{Decision, ErrorClass, NodeError, OutputValue, PortOutput};
use crate::value::{Value, ValueRef};

/// The second port of a branching node.
pub(super) const SECOND: PortIx = PortIx(1);
/// What a filter divides.
pub(super) const ITEMS: Need = Need::Input(PORT.0);
/// What says whether a gate is open.
pub(super) const OPEN: Need = Need::Input(SECOND.0);

impl Run {
    /// The values that a node looks at when it is decided, beside the graph's own.
    pub(crate) fn values_to_decide(&self, instance: Instance) -> Vec<ValueRef> {
        let Some(logic) = &self.graph.node(instance.node).logic else { return Vec::new() };
        let mut wanted = Vec::new();
        for need in logic.conditions().iter().flat_map(Condition::needs) {
            wanted.extend(self.needed(instance.node, *need).iter().flat_map(references));
        }
        let whole = match **logic {
            Logic::Gate => Some(SECOND),
            Logic::Filter(_) => Some(PORT),
            _ => None,
        };
        wanted.extend(whole.and_then(|port| self.input_value(instance.node, port)).iter().flat_map(references));
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// The output that a value began at: what passes values on changes nothing about their being lists.
    pub(crate) fn origin(&self, mut node: NodeIx, mut port: PortIx) -> (NodeIx, PortIx) {
        // A graph has no circles: this ends.
        while let Some(edge) = self.passed_on(node, port) {
            (node, port) = (edge.source, edge.source_port);
        }
        (node, port)
    }

    /// The edge that brought what came out of an output, if the node only passes values on.
    fn passed_on(&self, node: NodeIx, port: PortIx) -> Option<&InEdge> {
        let Runner::Control(control) = self.graph.node(node).runner else { return None };
        let mut edges = self.graph.in_edges(node).iter().filter(|edge| edge.target_port == PORT);
        match control {
            Control::If | Control::Switch | Control::Router | Control::Gate | Control::SplitTest | Control::Wait => {
                edges.next()
            }
            Control::Merge if port == PORT => {
                let is_open = |edge: &&InEdge| {
                    !matches!(self.output(edge.source, edge.source_port), None | Some(OutputValue::Closed))
                };
                edges.find(is_open)
            }
            Control::Race if port == PORT => self.winner(node),
            Control::Merge | Control::Race | Control::Filter | Control::Stop | Control::Input | Control::Output => None,
        }
    }

    /// Decides a branching node.
    pub(super) fn decide_branch(
        &self,
        instance: Instance,
        logic: &Logic,
        deciding: &mut Deciding<'_>,
        body: &mut Body,
    ) -> Decision {
        match self.reach(instance, deciding.values) {
            Reach::Here => {}
            Reach::Agent => return Decision::Delegated { instance },
            Reach::Nowhere(error) => return Decision::Failed { instance, error },
        }
        let mut budget = limits::EXPRESSION_COST_MAX;
        let read: usize = deciding.values.values().map(|value| value.json().len()).sum();
        let done = |outputs| Decision::Completed { instance, outputs };
        let decided = match logic {
            Logic::Pass => Ok(done(self.pass_on(instance.node, body))),
            Logic::If(_) => self
                .holding(instance.node, logic.conditions(), deciding.values, false, &mut budget)
                .map(|holding| done(self.open(instance.node, &taken(logic, holding), body))),
            Logic::Switch { cases, all } => self
                .holding(instance.node, cases, deciding.values, *all, &mut budget)
                .map(|holding| done(self.open(instance.node, &taken(logic, holding), body))),
            Logic::Merge { all } => Ok(done(self.merge(instance.node, *all, body))),
            Logic::Race { .. } => Ok(done(self.decide_race(instance.node, body))),
            Logic::Gate => self.is_open(instance.node, deciding.values).map(|is_open| {
                let open: Vec<PortIx> = is_open.then_some(PORT).into_iter().collect();
                done(self.open(instance.node, &taken(logic, open), body))
            }),
            Logic::Filter(condition) => {
                self.filter(instance.node, condition, deciding.values, &mut budget, body).map(done)
            }
            Logic::Stop { status, message } => {
                Ok(Decision::Stopped { instance, status: *status, message: message.clone() })
            }
            Logic::Split(share) => {
                // Uniform over [0, 1).
                let drawn = (deciding.draw.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                let taken = if drawn < *share { PORT } else { SECOND };
                Ok(done(self.open(instance.node, &[taken], body)))
            }
        };
        *deciding.cost += limits::EXPRESSION_COST_MAX - budget + read as u64;
        decided.unwrap_or_else(|error| Decision::Failed { instance, error })
    }

    /// Outputs of a node that passes its first input on: to the ports that are taken; the others are closed.
    pub(super) fn open(&self, node: NodeIx, taken: &[PortIx], body: &mut Body) -> Vec<PortOutput> {
        let passed = self.pass_on(node, body).into_iter().next().map_or(OutputValue::Closed, |output| output.value);
        let count = self.graph.node(node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
        let value = |port| if taken.contains(&port) { passed.clone() } else { OutputValue::Closed };
        (0..count).map(|place| PortIx(place as u16)).map(|port| PortOutput { port, value: value(port) }).collect()
    }

    /// The ports of the conditions that hold: of all, or up to the first.
    fn holding(
        &self,
        node: NodeIx,
        conditions: &[Condition],
        values: &Values,
        all: bool,
        budget: &mut u64,
    ) -> Result<Vec<PortIx>, NodeError> {
        let seen = self.seen(node, conditions, values)?;
        let holding = evaluate::holding(&self.graph.node(node).id, conditions, &seen, all, budget);
        Ok(holding.map_err(unanswered)?.into_iter().map(PortIx).collect())
    }

    /// What the conditions of a node see.
    fn seen(&self, node: NodeIx, conditions: &[Condition], values: &Values) -> Result<Seen, NodeError> {
        let mut seen = Vec::new();
        for need in conditions.iter().flat_map(Condition::needs) {
            let value = match self.needed(node, *need) {
                Some(value) => json(&value, values)?,
                None => self.constant(node, *need),
            };
            seen.push((self.name_of(node, *need), value));
        }
        Ok(evaluate::seen(seen, conditions, &self.shown_to_conditions()))
    }

    /// What conditions see of the run.
    pub(super) fn shown_to_conditions(&self) -> Json {
        let (id, started_at) = (self.id.to_string(), self.started_at().as_millis());
        serde_json::json!({"id": id, "startedAt": started_at, "sandbox": self.is_sandboxed()})
    }

    /// What a need is called in conditions.
    pub(super) fn name_of(&self, node: NodeIx, need: Need) -> Name {
        let id = |node: u32| self.graph.node(NodeIx(node)).id.to_string();
        match need {
            Need::Input(port) => Name::Input(self.input_id(node, PortIx(port))),
            Need::Node(of) => Name::Node(id(of)),
            Need::Output(of, port) => Name::Output(id(of), self.output_id(NodeIx(of), PortIx(port))),
        }
    }

    /// What a need refers to; `None` for what is absent, or a value of the graph.
    pub(super) fn needed(&self, node: NodeIx, need: Need) -> Option<OutputValue> {
        match need {
            Need::Input(port) => self.input_value(node, PortIx(port)),
            Need::Node(of) => self
                .outputs(NodeIx(of))
                .iter()
                .map(|output| &output.value)
                .find(|value| **value != OutputValue::Closed)
                .cloned(),
            Need::Output(of, port) => {
                self.output(NodeIx(of), PortIx(port)).filter(|value| **value != OutputValue::Closed).cloned()
            }
        }
    }

    /// What the edges into an input brought.
    pub(super) fn input_value(&self, node: NodeIx, port: PortIx) -> Option<OutputValue> {
        let input = self.wired_inputs(node).into_iter().find(|input| input.port == port)?;
        Some(self.gather(node, &input)).filter(|value| *value != OutputValue::Closed)
    }

    /// The graph's own value of an input, else null.
    pub(super) fn constant(&self, node: NodeIx, need: Need) -> Json {
        let Need::Input(port) = need else { return Json::Null };
        let constant = self.graph.node(node).constants.iter().find(|(known, _)| known.0 == port);
        constant.and_then(|(_, value)| serde_json::from_slice(value.json()).ok()).unwrap_or(Json::Null)
    }

    fn input_id(&self, node: NodeIx, port: PortIx) -> String {
        let node_type = self.graph.node(node).node_type.as_ref();
        node_type.and_then(|it| it.inputs.get(usize::from(port.0))).map_or_else(String::new, |port| port.id.to_string())
    }

    fn output_id(&self, node: NodeIx, port: PortIx) -> String {
        let node_type = self.graph.node(node).node_type.as_ref();
        node_type
            .and_then(|it| it.outputs.get(usize::from(port.0)))
            .map_or_else(String::new, |port| port.id.to_string())
    }

    fn is_open(&self, node: NodeIx, values: &Values) -> Result<bool, NodeError> {
        let need = OPEN;
        let value = match self.needed(node, need) {
            Some(value) => json(&value, values)?,
            None => self.constant(node, need),
        };
        evaluate::is_open(&value).map_err(unanswered)
    }

    /// What branches gave that were taken: the first in the order of edges, and all of them.
    fn merge(&self, node: NodeIx, all: bool, body: &mut Body) -> Vec<PortOutput> {
        let wired = self.wired_inputs(node).into_iter().find(|input| input.port == PORT);
        let Some(input) = wired else {
            // All its branches are values in the graph.
            let list = self.pass_on(node, body).into_iter().next().map_or(OutputValue::Closed, |output| output.value);
            return vec![PortOutput { port: PORT, value: list.clone() }, PortOutput { port: SECOND, value: list }];
        };
        let list = self.gather(node, &input);
        let first = if is_planted(Fault::MergeTakesLast) { input.values.last() } else { input.values.first() };
        let first = first.map_or(OutputValue::Closed, |sourced| sourced.value.clone());
        let value = if all { list.clone() } else { first };
        vec![PortOutput { port: PORT, value }, PortOutput { port: SECOND, value: list }]
    }

    /// The value of the one edge that leads to a filter: if that is a list, its items are meant, whatever its port is called.
    pub(super) fn alone(&self, node: NodeIx) -> Option<ValueRef> {
        let wired = self.wired_inputs(node).into_iter().find(|input| input.port == PORT)?;
        match wired.values.as_slice() {
            [SourcedValue { value: OutputValue::One(reference), .. }] => Some(*reference),
            _ => None,
        }
    }

    fn filter(
        &self,
        node: NodeIx,
        condition: &Condition,
        values: &Values,
        budget: &mut u64,
        body: &mut Body,
    ) -> Result<Vec<PortOutput>, NodeError> {
        let seen = self.seen(node, std::slice::from_ref(condition), values)?;
        let alone = self.alone(node);
        let is_list =
            |reference: &ValueRef| values.get(reference).is_some_and(|value| value.json().first() == Some(&b'['));
        let given = match alone.filter(is_list) {
            Some(list) => Some(OutputValue::One(list)),
            None => self.input_value(node, PORT),
        };
        let mut keep = |index: usize, item: &[u8]| {
            evaluate::keeps(&self.graph.node(node).id, condition, &seen, (index, item), budget)
        };
        let (kept, dropped) = match given {
            Some(OutputValue::Gather(references)) => {
                let (mut kept, mut dropped) = (Vec::new(), Vec::new());
                for (index, reference) in references.into_iter().enumerate() {
                    let value = found(&reference, values)?;
                    if keep(index, value.json()).map_err(unanswered)? {
                        kept.push(reference)
                    } else {
                        dropped.push(reference)
                    }
                }
                (OutputValue::Gather(kept), OutputValue::Gather(dropped))
            }
            given => {
                let list = match given {
                    Some(OutputValue::One(reference)) => found(&reference, values)?.json().clone(),
                    _ => self.constant(node, ITEMS).to_string().into(),
                };
                let (kept, dropped) = evaluate::divide(&list, keep).map_err(unanswered)?;
                let mut list = |list: String| OutputValue::One(body.put(Value::from_json(list.into())));
                (list(kept), list(dropped))
            }
        };
        Ok(vec![PortOutput { port: PORT, value: kept }, PortOutput { port: SECOND, value: dropped }])
    }
}

pub(super) fn references(value: &OutputValue) -> Vec<ValueRef> {
    match value {
        OutputValue::One(reference) => vec![*reference],
        OutputValue::Gather(references) => references.clone(),
        OutputValue::Closed => Vec::new(),
    }
}

fn json(value: &OutputValue, values: &Values) -> Result<Json, NodeError> {
    let one = |reference: &ValueRef| {
        let value = found(reference, values)?;
        Ok(serde_json::from_slice(value.json()).unwrap_or(Json::Null))
    };
    match value {
        OutputValue::One(reference) => one(reference),
        OutputValue::Gather(references) => references.iter().map(one).collect::<Result<_, _>>().map(Json::Array),
        OutputValue::Closed => Ok(Json::Null),
    }
}

/// A value that can be looked at here: [`Run::reach`] has seen to it.
fn found<'a>(reference: &ValueRef, values: &'a Values) -> Result<&'a Value, NodeError> {
    values.get(reference).ok_or_else(|| refused("value_not_there", "a value that it looks at is not there".to_owned()))
}

fn unanswered(it: Unanswered) -> NodeError {
    refused(it.code, it.message)
}

pub(super) fn refused(code: &str, message: String) -> NodeError {
    NodeError { class: ErrorClass::InvalidRequest, code: code.into(), message: message.into() }
}
