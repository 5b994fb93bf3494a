//! Branching nodes: which way a run goes (graph.md, part 4). What they decide is part of an event and never found out anew.

use bytes::Bytes;
use serde_json::Value as Json;

use super::control::{Deciding, PORT};
use super::delegate::{Reach, taken};
use super::list::{self, ChunkItem};
use super::scope::Given;
use super::{Body, ListNeed, Lists, Run, SourcedValue, Values};
use crate::condition::evaluate::{self, Name, Unanswered};
use crate::condition::{Condition, Need, Seen};
use crate::fault::{Fault, is_planted};
use crate::graph::Logic;
use crate::id::{Instance, NodeIx, PortIx};
use crate::limits;
use crate::run::event::{Decision, ErrorClass, NodeError, OutputValue, Piece, PortOutput};
use crate::value::{Value, ValueRef};

/// The second port of a branching node.
pub(super) const SECOND: PortIx = PortIx(1);
/// What a filter divides.
pub(super) const ITEMS: Need = Need::Input(PORT.0);
/// What says whether a gate is open.
pub(super) const OPEN: Need = Need::Input(SECOND.0);

impl Run {
    /// What a node looks at when it is decided, beside the graph's own values, as far as that can be told from what is at
    /// hand: asked again until nothing is missing.
    pub(crate) fn needs_to_decide(&self, instance: Instance, values: &Values, lists: &Lists) -> Needs {
        if self.reuse(instance).is_some() {
            return Needs::default();
        }
        let Some(logic) = &self.graph.node(instance.node).logic else {
            return Needs { values: self.to_be_text(instance).into_iter().collect(), lists: Vec::new() };
        };
        if let Logic::Scope(scope) = &**logic {
            return self.needs_of_scope(instance, scope, values, lists);
        }
        let whole = match **logic {
            Logic::Gate => Some(SECOND),
            Logic::Filter(_) => Some(PORT),
            _ => None,
        };
        let mut wanted = self.needs_of_conditions(instance, logic.conditions(), values);
        let whole = whole.and_then(|port| self.input_value(instance, port));
        whole.iter().for_each(|value| references(value, values, &mut wanted));
        wanted.sort_unstable();
        wanted.dedup();
        Needs { values: wanted, lists: Vec::new() }
    }

    /// The values that conditions look at, seen from an instance.
    pub(super) fn needs_of_conditions<'a>(
        &self,
        at: Instance,
        conditions: impl IntoIterator<Item = &'a Condition>,
        values: &Values,
    ) -> Vec<ValueRef> {
        let mut wanted = Vec::new();
        for need in conditions.into_iter().flat_map(Condition::needs) {
            let value = self.needed(at, *need);
            value.iter().for_each(|value| references(value, values, &mut wanted));
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Decides a branching node.
    pub(super) fn decide_branch(
        &self,
        instance: Instance,
        logic: &Logic,
        deciding: &mut Deciding<'_>,
        body: &mut Body,
    ) -> Decision {
        if let Logic::Scope(scope) = logic {
            return self.decide_scope(instance, scope, deciding, body);
        }
        if let Logic::Listen(listen) = logic {
            return self.decide_to_listen(instance, listen, deciding, body);
        }
        match self.reach(instance, deciding.values, deciding.lists) {
            Reach::Here => {}
            Reach::Agent => return Decision::Delegated { instance },
            Reach::Nowhere(error) => return Decision::Failed { instance, error, caught: Vec::new() },
        }
        let mut budget = limits::EXPRESSION_COST_MAX;
        let read: usize = deciding.values.values().map(|value| value.json().len()).sum();
        let done = |outputs| Decision::Completed { instance, outputs };
        let decided = match logic {
            Logic::Pass => Ok(done(self.pass_on(instance, body))),
            Logic::If(_) => self
                .holding(instance, logic.conditions(), deciding.values, false, &mut budget)
                .map(|holding| done(self.open(instance, &taken(logic, holding), body))),
            Logic::Switch { cases, all } => self
                .holding(instance, cases, deciding.values, *all, &mut budget)
                .map(|holding| done(self.open(instance, &taken(logic, holding), body))),
            Logic::Merge { all } => Ok(done(self.merge(instance, *all, body))),
            Logic::Race { .. } => Ok(done(self.decide_race(instance, body))),
            Logic::Gate => self.is_open(instance, deciding.values).map(|is_open| {
                let open: Vec<PortIx> = is_open.then_some(PORT).into_iter().collect();
                done(self.open(instance, &taken(logic, open), body))
            }),
            Logic::Filter(condition) => self.filter(instance, condition, deciding.values, &mut budget, body).map(done),
            Logic::Stop { status, message } => {
                Ok(Decision::Stopped { instance, status: *status, message: message.clone() })
            }
            Logic::Split(share) => {
                // Uniform over [0, 1).
                let drawn = (deciding.draw.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                let taken = if drawn < *share { PORT } else { SECOND };
                Ok(done(self.open(instance, &[taken], body)))
            }
            Logic::Review(_) => Err(refused("bad_config", "it asks people, and has not fallen due to ask".to_owned())),
            Logic::Listen(_) => Err(refused("bad_config", "it listens, and has not fallen due to".to_owned())),
            Logic::Invoke(_) => Err(refused("bad_config", "it runs a workflow, and has not fallen due to".to_owned())),
            Logic::Scope(_) => Err(refused("bad_config", "its body is not run by its conditions".to_owned())),
        };
        *deciding.cost += limits::EXPRESSION_COST_MAX - budget + read as u64;
        decided.unwrap_or_else(|error| Decision::Failed { instance, error, caught: Vec::new() })
    }

    /// Outputs of a node that passes its first input on: to the ports that are taken; the others are closed.
    pub(super) fn open(&self, at: Instance, taken: &[PortIx], body: &mut Body) -> Vec<PortOutput> {
        let passed = self.pass_on(at, body).into_iter().next().map_or(OutputValue::Closed, |output| output.value);
        let count = self.graph.node(at.node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
        let value = |port| if taken.contains(&port) { passed.clone() } else { OutputValue::Closed };
        (0..count).map(|place| PortIx(place as u16)).map(|port| PortOutput { port, value: value(port) }).collect()
    }

    /// The ports of the conditions that hold: of all, or up to the first.
    fn holding(
        &self,
        at: Instance,
        conditions: &[Condition],
        values: &Values,
        all: bool,
        budget: &mut u64,
    ) -> Result<Vec<PortIx>, NodeError> {
        let seen = self.seen(at, conditions, values)?;
        let holding = evaluate::holding(&self.graph.node(at.node).id, conditions, &seen, all, budget);
        Ok(holding.map_err(unanswered)?.into_iter().map(PortIx).collect())
    }

    /// What the conditions of a node see.
    pub(super) fn seen<'a>(
        &self,
        at: Instance,
        conditions: impl IntoIterator<Item = &'a Condition> + Clone,
        values: &Values,
    ) -> Result<Seen, NodeError> {
        let mut seen = Vec::new();
        for need in conditions.clone().into_iter().flat_map(Condition::needs) {
            let value = match self.needed(at, *need) {
                Some(value) => json(&value, values)?,
                None => self.constant(at.node, *need),
            };
            seen.push((self.name_of(at.node, *need), value));
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
            Need::Output(of, port) => {
                let output = self.output_id(NodeIx(of), PortIx(port));
                // What an item or turn is goes by the name of its output.
                match self.graph.is_inner_output(NodeIx(of), PortIx(port)) {
                    true => Name::OfScope(output),
                    false => Name::Output(id(of), output),
                }
            }
        }
    }

    /// What a need refers to; `None` for what is absent, or a value of the graph.
    pub(super) fn needed(&self, at: Instance, need: Need) -> Option<OutputValue> {
        match need {
            Need::Input(port) => self.input_value(at, PortIx(port)),
            Need::Node(of) => match self.outputs_at(at.scope, NodeIx(of))? {
                Given::Node(outputs) => {
                    let mut values = outputs.iter().map(|output| &output.value);
                    values.find(|value| **value != OutputValue::Closed).cloned()
                }
                Given::Item(_) => None,
            },
            Need::Output(of, port) => {
                let value = self.output_at(at.scope, NodeIx(of), PortIx(port));
                value.filter(|value| **value != OutputValue::Closed).cloned()
            }
        }
    }

    /// What the edges into an input brought.
    pub(super) fn input_value(&self, at: Instance, port: PortIx) -> Option<OutputValue> {
        let input = self.wired_inputs(at).into_iter().find(|input| input.port == port)?;
        Some(self.gather(at, &input)).filter(|value| *value != OutputValue::Closed)
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

    fn is_open(&self, at: Instance, values: &Values) -> Result<bool, NodeError> {
        let need = OPEN;
        let value = match self.needed(at, need) {
            Some(value) => json(&value, values)?,
            None => self.constant(at.node, need),
        };
        evaluate::is_open(&value).map_err(unanswered)
    }

    /// What branches gave that were taken: the first in the order of edges, and all of them.
    fn merge(&self, at: Instance, all: bool, body: &mut Body) -> Vec<PortOutput> {
        let wired = self.wired_inputs(at).into_iter().find(|input| input.port == PORT);
        let Some(input) = wired else {
            // All its branches are values in the graph.
            let list = self.pass_on(at, body).into_iter().next().map_or(OutputValue::Closed, |output| output.value);
            return vec![PortOutput { port: PORT, value: list.clone() }, PortOutput { port: SECOND, value: list }];
        };
        let list = self.gather(at, &input);
        let first = if is_planted(Fault::MergeTakesLast) { input.values.last() } else { input.values.first() };
        let first = first.map_or(OutputValue::Closed, |sourced| sourced.value.clone());
        let value = if all { list.clone() } else { first };
        vec![PortOutput { port: PORT, value }, PortOutput { port: SECOND, value: list }]
    }

    /// The value of the one edge that leads to a filter: if that is a list, its items are meant, whatever its port is called.
    pub(super) fn alone(&self, at: Instance) -> Option<ValueRef> {
        let wired = self.wired_inputs(at).into_iter().find(|input| input.port == PORT)?;
        match wired.values.as_slice() {
            [SourcedValue { value: OutputValue::One(reference), .. }] if self.is_only_edge(at.node, PORT) => {
                Some(*reference)
            }
            _ => None,
        }
    }

    /// Whether one edge leads to an input: closed ones count, so that what a run takes changes nothing about what the others bring.
    pub(super) fn is_only_edge(&self, node: NodeIx, port: PortIx) -> bool {
        self.graph.in_edges(node).iter().filter(|edge| edge.target_port == port).count() == 1
    }

    fn filter(
        &self,
        at: Instance,
        condition: &Condition,
        values: &Values,
        budget: &mut u64,
        body: &mut Body,
    ) -> Result<Vec<PortOutput>, NodeError> {
        let seen = self.seen(at, std::slice::from_ref(condition), values)?;
        let alone = self.alone(at);
        let is_list =
            |reference: &ValueRef| values.get(reference).is_some_and(|value| value.json().first() == Some(&b'['));
        let given = match alone.filter(is_list) {
            Some(list) => Some(OutputValue::One(list)),
            None => self.input_value(at, PORT),
        };
        let mut keep = |index: usize, item: &[u8]| {
            evaluate::keeps(&self.graph.node(at.node).id, condition, &seen, (index, item), budget)
        };
        let (kept, dropped) = match given {
            Some(OutputValue::Pieces(pieces)) => {
                let (mut kept, mut dropped) = (Vec::new(), Vec::new());
                for (index, item) in flat(&pieces, values)?.into_iter().enumerate() {
                    let is_kept = keep(index, item.json(values)?.to_string().as_bytes()).map_err(unanswered)?;
                    let item = match item {
                        Flat::Null => None,
                        Flat::Value(value) => Some(value),
                        Flat::Text(value) => Some(OutputValue::One(body.put(value))),
                    };
                    if is_kept { kept.push(item) } else { dropped.push(item) }
                }
                (list::write(Vec::new(), &kept, body), list::write(Vec::new(), &dropped, body))
            }
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
                    Some(given) if given.whole().is_some() => text_of_list(&given, values)?,
                    _ => self.constant(at.node, ITEMS).to_string().into(),
                };
                let (kept, dropped) = evaluate::divide(&list, keep).map_err(unanswered)?;
                let mut list = |list: String| OutputValue::One(body.put(Value::from_json(list.into())));
                (list(kept), list(dropped))
            }
        };
        Ok(vec![PortOutput { port: PORT, value: kept }, PortOutput { port: SECOND, value: dropped }])
    }

    /// What a replay would make of chance, if it did not trust the history.
    pub(super) fn redecided(&self, decision: &Decision) -> Option<Decision> {
        if !is_planted(Fault::DecidedInReplay) {
            return None;
        }
        let Decision::Completed { instance, outputs } = decision else { return None };
        let logic = self.graph.get(instance.node)?.logic.as_deref();
        let mut outputs = outputs.clone();
        match (logic, outputs.as_mut_slice()) {
            (Some(Logic::Split(_)), [a, b]) => std::mem::swap(&mut a.value, &mut b.value),
            _ => return None,
        }
        Some(Decision::Completed { instance: *instance, outputs })
    }
}

/// What a node needs before it can be decided.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Values.
    pub(crate) values: Vec<ValueRef>,
    /// Parts of lists.
    pub(crate) lists: Vec<ListNeed>,
}

/// The values that make up an output, as far as can be told from those that are at hand.
fn references(value: &OutputValue, values: &Values, wanted: &mut Vec<ValueRef>) {
    match value {
        OutputValue::One(reference) | OutputValue::List(reference) => wanted.push(*reference),
        OutputValue::Gather(references) => wanted.extend(references),
        OutputValue::Closed => {}
        OutputValue::Pieces(pieces) => {
            wanted.extend(pieces.iter().map(|piece| *piece.reference()));
            for item in flat(pieces, values).into_iter().flatten() {
                if let Flat::Value(item) = item {
                    references(&item, values, wanted);
                }
            }
        }
    }
}

/// An item of a list in pieces.
enum Flat {
    Null,
    Value(OutputValue),
    /// It stands inside a value that is a list.
    Text(Value),
}

impl Flat {
    fn json(&self, values: &Values) -> Result<Json, NodeError> {
        match self {
            Flat::Null => Ok(Json::Null),
            Flat::Value(value) => json(value, values),
            Flat::Text(value) => Ok(evaluate::parse(value.json())),
        }
    }
}

/// The items of a list in pieces; an error if a piece of it is not at hand.
fn flat(pieces: &[Piece], values: &Values) -> Result<Vec<Flat>, NodeError> {
    let mut items = Vec::new();
    for piece in pieces {
        let chunk = match piece {
            Piece::Item(reference) => {
                items.push(Flat::Value(OutputValue::One(*reference)));
                continue;
            }
            Piece::List(reference) => {
                match list::items(found(reference, values)?.json()) {
                    Some(texts) => items.extend(texts.into_iter().map(Value::from_json).map(Flat::Text)),
                    None => items.push(Flat::Value(OutputValue::One(*reference))),
                }
                continue;
            }
            Piece::Chunk(chunk) => found(&chunk.reference, values)?,
        };
        let damaged = || refused("value_not_there", "a part of a list that it looks at cannot be read".to_owned());
        for item in list::read_chunk(chunk).ok_or_else(damaged)? {
            items.push(match item {
                ChunkItem::Null => Flat::Null,
                ChunkItem::One(reference) => Flat::Value(OutputValue::One(reference)),
                ChunkItem::Array(reference) => Flat::Value(OutputValue::List(reference)),
                // Not at hand yet: what it is made of is asked for next.
                ChunkItem::List(reference) => Flat::Value(match values.get(&reference) {
                    None => OutputValue::One(reference),
                    Some(value) => OutputValue::Pieces(list::read_list(value).ok_or_else(damaged)?),
                }),
            });
        }
    }
    Ok(items)
}

fn json(value: &OutputValue, values: &Values) -> Result<Json, NodeError> {
    let one = |reference: &ValueRef| {
        let value = found(reference, values)?;
        Ok(serde_json::from_slice(value.json()).unwrap_or(Json::Null))
    };
    match value {
        OutputValue::One(reference) | OutputValue::List(reference) => one(reference),
        OutputValue::Gather(references) => references.iter().map(one).collect::<Result<_, _>>().map(Json::Array),
        OutputValue::Closed => Ok(Json::Null),
        OutputValue::Pieces(pieces) => {
            let items = flat(pieces, values)?;
            items.iter().map(|item| item.json(values)).collect::<Result<_, _>>().map(Json::Array)
        }
    }
}

/// The JSON array of a list that is a value; one that is none is its own only item.
fn text_of_list(list: &OutputValue, values: &Values) -> Result<Bytes, NodeError> {
    let Some(reference) = list.whole() else { return Ok(Bytes::from_static(b"[]")) };
    let text = found(reference, values)?.json();
    let is_array = text.first() == Some(&b'[');
    Ok(if is_array { text.clone() } else { [b"[", &text[..], b"]"].concat().into() })
}

/// A value that can be looked at here: [`Run::reach`] has seen to it.
fn found<'a>(reference: &ValueRef, values: &'a Values) -> Result<&'a Value, NodeError> {
    values.get(reference).ok_or_else(|| refused("value_not_there", "a value that it looks at is not there".to_owned()))
}

pub(super) fn unanswered(it: Unanswered) -> NodeError {
    refused(it.code, it.message)
}

pub(super) fn refused(code: &str, message: String) -> NodeError {
    NodeError { class: ErrorClass::InvalidRequest, code: code.into(), message: message.into() }
}
