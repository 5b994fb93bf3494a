//! Branching nodes: which way a run goes (graph.md, part 4). What they decide is part of an event and never found out anew.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::control::{Deciding, PORT};
use super::{Body, Run, SourcedValue, Values};
use crate::condition::{Condition, Need, NoAnswer, Seen};
use crate::fault::{Fault, is_planted};
use crate::graph::{InEdge, Logic};
use crate::id::{Instance, NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::run::event::{Decision, ErrorClass, NodeError, OutputValue, PortOutput};
use crate::value::{Value, ValueRef};

/// The second port of a branching node.
const SECOND: PortIx = PortIx(1);

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

    /// Whether these values are too much to be looked at.
    pub(crate) fn is_too_much_to_decide(wanted: &[ValueRef]) -> bool {
        // What is longer lies in the artifact store, and only its description is read.
        let inline = wanted.iter().map(|reference| reference.bytes as usize);
        let bytes: usize = inline.filter(|bytes| *bytes <= limits::INLINE_VALUE_BYTES_MAX).sum();
        wanted.len() > limits::EXPRESSION_VALUES_MAX || bytes > limits::EXPRESSION_VALUES_BYTES_MAX
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
            Control::Merge | Control::Filter | Control::Stop | Control::Input | Control::Output => None,
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
        if !logic.conditions().is_empty() && Self::is_too_much_to_decide(&self.values_to_decide(instance)) {
            let error = refused("values_too_large", too_much());
            return Decision::Failed { instance, error, caught: Vec::new() };
        }
        let mut budget = limits::EXPRESSION_COST_MAX;
        let read: usize = deciding.values.values().map(|value| value.json().len()).sum();
        let done = |outputs| Decision::Completed { instance, outputs };
        let decided = match logic {
            Logic::Pass => Ok(done(self.pass_on(instance.node, body))),
            Logic::If(condition) => {
                let condition = std::slice::from_ref(condition);
                self.holding(instance.node, condition, deciding.values, false, &mut budget).map(|holding| {
                    let taken = if holding.is_empty() { SECOND } else { PORT };
                    done(self.open(instance.node, &[taken], body))
                })
            }
            Logic::Switch { cases, all } => {
                self.holding(instance.node, cases, deciding.values, *all, &mut budget).map(|holding| {
                    let default = PortIx(cases.len() as u16);
                    let taken = if holding.is_empty() { vec![default] } else { holding };
                    done(self.open(instance.node, &taken, body))
                })
            }
            Logic::Merge { all } => Ok(done(self.merge(instance.node, *all, body))),
            Logic::Gate => self.is_open(instance.node, deciding.values).map(|is_open| {
                let taken: &[PortIx] = if is_open { &[PORT] } else { &[] };
                done(self.open(instance.node, taken, body))
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
        decided.unwrap_or_else(|error| Decision::Failed { instance, error, caught: Vec::new() })
    }

    /// Outputs of a node that passes its first input on: to the ports that are taken; the others are closed.
    fn open(&self, node: NodeIx, taken: &[PortIx], body: &mut Body) -> Vec<PortOutput> {
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
        let mut holding = Vec::new();
        for (condition, place) in conditions.iter().zip(0..) {
            if self.holds(node, condition, &seen, budget)? {
                holding.push(PortIx(place));
                if !all {
                    break;
                }
            }
        }
        Ok(holding)
    }

    fn holds(&self, node: NodeIx, condition: &Condition, seen: &Seen, budget: &mut u64) -> Result<bool, NodeError> {
        condition.holds(seen, budget).map_err(|no_answer| match no_answer {
            NoAnswer::TooCostly => refused(
                "condition_too_costly",
                "its conditions could take too many steps on these values; give it smaller ones, or loop over less"
                    .to_owned(),
            ),
            NoAnswer::Failed(why) => {
                refused("condition_failed", format!("{condition} of node \"{}\": {why}", self.graph.node(node).id))
            }
        })
    }

    /// What the conditions of a node see.
    fn seen(&self, node: NodeIx, conditions: &[Condition], values: &Values) -> Result<Seen, NodeError> {
        let mut inputs = serde_json::Map::new();
        let mut nodes: BTreeMap<&str, NodeSeen> = BTreeMap::new();
        for need in conditions.iter().flat_map(Condition::needs) {
            let value = match self.needed(node, *need) {
                Some(value) => json(&value, values)?,
                None => self.constant(node, *need),
            };
            match need {
                Need::Input(port) => drop(inputs.insert(self.input_id(node, *port), value)),
                Need::Node(of) => nodes.entry(&self.graph.node(*of).id).or_default().output = value,
                Need::Output(of, port) => {
                    let outputs = &mut nodes.entry(&self.graph.node(*of).id).or_default().outputs;
                    outputs.insert(self.output_id(*of, *port), value);
                }
            }
        }
        let mut seen = Seen::default();
        inputs.iter().for_each(|(id, value)| seen.set_named(id, value));
        if conditions.iter().any(Condition::sees_inputs) {
            seen.set("inputs", &Json::Object(inputs));
        }
        let nodes = nodes
            .into_iter()
            .map(|(id, node)| (id.to_owned(), serde_json::json!({"output": node.output, "outputs": node.outputs})));
        seen.set("nodes", &Json::Object(nodes.collect()));
        seen.set("run", &serde_json::json!({"id": self.id.to_string(), "startedAt": self.started_at().as_millis(), "sandbox": self.is_sandboxed()}));
        Ok(seen)
    }

    /// What a need refers to; `None` for what is absent, or a value of the graph.
    fn needed(&self, node: NodeIx, need: Need) -> Option<OutputValue> {
        match need {
            Need::Input(port) => self.input_value(node, port),
            Need::Node(of) => self
                .outputs(of)
                .iter()
                .map(|output| &output.value)
                .find(|value| **value != OutputValue::Closed)
                .cloned(),
            Need::Output(of, port) => self.output(of, port).filter(|value| **value != OutputValue::Closed).cloned(),
        }
    }

    /// What the edges into an input brought.
    fn input_value(&self, node: NodeIx, port: PortIx) -> Option<OutputValue> {
        let input = self.wired_inputs(node).into_iter().find(|input| input.port == port)?;
        Some(self.gather(node, &input)).filter(|value| *value != OutputValue::Closed)
    }

    /// The graph's own value of an input, else null.
    fn constant(&self, node: NodeIx, need: Need) -> Json {
        let Need::Input(port) = need else { return Json::Null };
        let constant = self.graph.node(node).constants.iter().find(|(known, _)| *known == port);
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
        let need = Need::Input(SECOND);
        let value = match self.needed(node, need) {
            Some(value) => json(&value, values)?,
            None => self.constant(node, need),
        };
        value.as_bool().ok_or_else(|| refused("bad_input", "\"open\" is neither true nor false".to_owned()))
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

    fn filter(
        &self,
        node: NodeIx,
        condition: &Condition,
        values: &Values,
        budget: &mut u64,
        body: &mut Body,
    ) -> Result<Vec<PortOutput>, NodeError> {
        let seen = self.seen(node, std::slice::from_ref(condition), values)?;
        // One edge that brings JSON: if that is a list, its items are meant, whatever its port is called.
        let wired = self.wired_inputs(node).into_iter().find(|input| input.port == PORT);
        let alone = wired.as_ref().and_then(|input| match input.values.as_slice() {
            [SourcedValue { value: OutputValue::One(reference), .. }] => Some(*reference),
            _ => None,
        });
        let is_list =
            |reference: &ValueRef| values.get(reference).is_some_and(|value| value.json().first() == Some(&b'['));
        let given = match alone.filter(is_list) {
            Some(list) => Some(OutputValue::One(list)),
            None => self.input_value(node, PORT),
        };
        let mut keep = |index: usize, item: &str| {
            let item: Json = serde_json::from_str(item).unwrap_or(Json::Null);
            self.holds(node, condition, &seen.with_item(&item, index), budget)
        };
        let (kept, dropped) = match given {
            Some(OutputValue::Gather(references)) => {
                let (mut kept, mut dropped) = (Vec::new(), Vec::new());
                for (index, reference) in references.into_iter().enumerate() {
                    let value = found(&reference, values)?;
                    if keep(index, &text(value))? { kept.push(reference) } else { dropped.push(reference) }
                }
                (OutputValue::Gather(kept), OutputValue::Gather(dropped))
            }
            given => {
                let list = match given {
                    Some(OutputValue::One(reference)) => text(found(&reference, values)?),
                    _ => self.constant(node, Need::Input(PORT)).to_string(),
                };
                let no_list = |_| refused("bad_input", "\"items\" is no list".to_owned());
                let items: Vec<&RawValue> = serde_json::from_str(&list).map_err(no_list)?;
                let (mut kept, mut dropped) = (Vec::new(), Vec::new());
                for (index, item) in items.into_iter().enumerate() {
                    if keep(index, item.get())? { kept.push(item.get()) } else { dropped.push(item.get()) }
                }
                let mut list = |items: Vec<&str>| {
                    let json = format!("[{}]", items.join(","));
                    OutputValue::One(body.put(Value::from_json(json.into())))
                };
                (list(kept), list(dropped))
            }
        };
        Ok(vec![PortOutput { port: PORT, value: kept }, PortOutput { port: SECOND, value: dropped }])
    }
}

/// What conditions see of another node.
#[derive(Default)]
struct NodeSeen {
    output: Json,
    outputs: serde_json::Map<String, Json>,
}

fn references(value: &OutputValue) -> Vec<ValueRef> {
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

/// A value that can be looked at: what lies in the artifact store as JSON text is too large for that.
fn found<'a>(reference: &ValueRef, values: &'a Values) -> Result<&'a Value, NodeError> {
    let Some(value) = values.get(reference) else {
        return Err(refused("value_not_inline", "a value that it looks at is not there".to_owned()));
    };
    if value.artifact().is_some_and(|artifact| artifact.is_json) {
        let most = limits::INLINE_VALUE_BYTES_MAX;
        let message = format!(
            "a value of {} bytes cannot be looked at; at most {most} can: take the part that matters out of it first, as with utility:json_path",
            value.bytes()
        );
        return Err(refused("value_not_inline", message));
    }
    Ok(value)
}

fn too_much() -> String {
    let (count, bytes) = (limits::EXPRESSION_VALUES_MAX, limits::EXPRESSION_VALUES_BYTES_MAX);
    format!("its conditions look at more than {count} values or {bytes} bytes; let them look at less")
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.json()).into_owned()
}

pub(super) fn refused(code: &str, message: String) -> NodeError {
    NodeError { class: ErrorClass::InvalidRequest, code: code.into(), message: message.into() }
}
