//! What a container decides (graph.md, part 5): which items begin, whether a loop goes on, and what comes out of it all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::branch::{Needs, refused, unanswered};
use super::control::Deciding;
use super::delegate::Reach;
use super::list::{self, ListItem, ListPart};
use super::scope::{Chunk, Expansion, Leaves, Outcome, ROOT};
use super::{Body, Run, Values};
use crate::condition::evaluate;
use crate::control_types::scope::{looping, reduce};
use crate::fault::{Fault, is_planted};
use crate::graph::{Graph, Scope, ScopeKind, Select};
use crate::id::{Instance, PortIx, ScopeIx};
use crate::limits;
use crate::policy::OnItemError;
use crate::run::event::{Decision, ListChunk, NodeError, Opened, OutputValue, Piece, PortOutput, Verdict};
use crate::value::{Value, ValueRef};

/// Parts of lists that are at hand, by where the list lies and which part; or why a list cannot be gone through.
pub(crate) type Lists = BTreeMap<(ValueRef, u32), Result<Arc<ListPart>, NodeError>>;

/// A part of a list that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListNeed {
    /// Where the list lies.
    pub reference: ValueRef,
    /// Which part of it: the items from this times [`limits::LIST_CHUNK_ITEMS_MAX`] on.
    pub part: u32,
    /// Whether it is a chunk of references, of which there is one part; else the value is the list itself.
    pub is_chunk: bool,
}

/// A stretch of the list that a container goes through.
enum Segment {
    /// One item.
    Item(ValueRef),
    /// Many.
    Chunk(ListChunk),
    /// A value: if it is a list, its items are meant.
    Text(ValueRef),
    /// The graph's own.
    Own(Vec<Bytes>),
}

/// What a container does next.
enum Next {
    Gather(u32),
    Open,
    EndTurn,
    Finish,
}

const CHUNK: u32 = limits::LIST_CHUNK_ITEMS_MAX as u32;

fn number(number: u32) -> Value {
    Value::from_json(number.to_string().into())
}

fn null() -> Value {
    Value::from_json(Bytes::from_static(b"null"))
}

impl Run {
    fn next_of(&self, container: Instance, scope: &Scope) -> Next {
        let Some(expansion) = self.state.expansions.get(&container) else { return Next::Open };
        if expansion.failure.is_some() {
            return Next::Finish;
        }
        if let Some(chunk) = expansion.complete_chunk() {
            return Next::Gather(chunk);
        }
        match scope.kind {
            // What the next turn would go on from is no part of the run: this was the last one.
            ScopeKind::Loop { .. } | ScopeKind::Reduce if !self.unanswered(container.node).is_empty() => Next::Finish,
            ScopeKind::Loop { .. } => Next::EndTurn,
            _ if expansion.next < expansion.count && expansion.open < scope.window() => Next::Open,
            _ => Next::Finish,
        }
    }

    pub(super) fn needs_of_scope(&self, container: Instance, scope: &Scope, values: &Values, lists: &Lists) -> Needs {
        match self.next_of(container, scope) {
            Next::Open => self.needs_of_items(container, scope, values, lists),
            Next::EndTurn if self.verdict(container).is_some() => Needs::default(),
            Next::EndTurn => {
                let turn = self.state.expansions.get(&container).map_or(ROOT, |expansion| expansion.turn);
                let at = Instance { scope: turn, ..container };
                Needs { values: self.needs_of_conditions(at, scope.conditions(), values), lists: Vec::new() }
            }
            Next::Gather(_) | Next::Finish => Needs::default(),
        }
    }

    /// The parts of its lists that the next items lie in, and the values of those that are lists themselves.
    fn needs_of_items(&self, container: Instance, scope: &Scope, values: &Values, lists: &Lists) -> Needs {
        let mut needs = Needs::default();
        if lists.values().any(Result::is_err) {
            return needs;
        }
        let (next, open) =
            self.state.expansions.get(&container).map_or((0, 0), |expansion| (expansion.next, expansion.open));
        let room = self.room(scope, open);
        let batch = scope.batch().unwrap_or(1);
        for (port, _) in &scope.lists {
            let Some(segments) = self.segments(container, *port) else { continue };
            let unknown = segments.iter().filter_map(|segment| match segment {
                Segment::Text(reference) if !lists.contains_key(&(*reference, 0)) => Some(*reference),
                _ => None,
            });
            let before = needs.lists.len();
            needs.lists.extend(unknown.map(|reference| ListNeed { reference, part: 0, is_chunk: false }));
            if needs.lists.len() > before {
                continue;
            }
            let total: u32 = segments.iter().map(|segment| length(segment, lists)).sum();
            let wanted = next * batch..total.min((next + room) * batch);
            for index in wanted {
                let Some((segment, offset)) = find(&segments, index, lists) else { break };
                match segment {
                    Segment::Item(_) | Segment::Own(_) => {}
                    Segment::Chunk(ListChunk { reference, .. }) => {
                        let need = ListNeed { reference: *reference, part: 0, is_chunk: true };
                        match part_of(lists, reference, 0).and_then(|part| part.items.get(offset as usize)) {
                            Some(ListItem::List(list)) if !values.contains_key(list) => needs.values.push(*list),
                            Some(_) => {}
                            None if needs.lists.last() == Some(&need) => {}
                            None => needs.lists.push(need),
                        }
                    }
                    Segment::Text(reference) => {
                        let need = ListNeed { reference: *reference, part: offset / CHUNK, is_chunk: false };
                        if needs.lists.last() != Some(&need) && !lists.contains_key(&(*reference, need.part)) {
                            needs.lists.push(need);
                        }
                    }
                }
            }
        }
        needs
    }

    /// How many items one decision opens at most.
    fn fitting(&self, scope: &Scope) -> u32 {
        match scope.kind {
            ScopeKind::Reduce | ScopeKind::Loop { .. } => 1,
            _ => (limits::SCOPES_OPENED_MAX as u32 / scope.batch().unwrap_or(1)).max(1).min(scope.window()),
        }
    }

    /// How many items begin when so many are open.
    fn room(&self, scope: &Scope, open: u32) -> u32 {
        scope.window().saturating_sub(open).min(self.fitting(scope)).max(1)
    }

    /// What an input of a container goes through; nothing if all that leads there is closed.
    fn segments(&self, container: Instance, port: PortIx) -> Option<Vec<Segment>> {
        let Some(input) = self.wired_inputs(container).into_iter().find(|input| input.port == port) else {
            let constants = &self.graph.node(container.node).constants;
            let own = constants.iter().find(|(known, _)| *known == port);
            return Some(own.map(|(_, value)| Segment::Own(texts(value))).into_iter().collect());
        };
        if input.values.is_empty() {
            return None;
        }
        if let [sourced] = input.values.as_slice()
            && let OutputValue::One(reference) = sourced.value
            && self.is_only_edge(container.node, port)
        {
            return Some(vec![Segment::Text(*reference)]);
        }
        let mut segments = Vec::new();
        for sourced in &input.values {
            segments.extend(sourced.value.pieces().into_iter().map(|piece| match piece {
                Piece::Item(reference) => Segment::Item(reference),
                Piece::Chunk(chunk) => Segment::Chunk(chunk),
                Piece::List(reference) => Segment::Text(reference),
            }));
        }
        Some(segments)
    }

    /// Decides for a container.
    pub(super) fn decide_scope(
        &self,
        container: Instance,
        scope: &Scope,
        deciding: &mut Deciding<'_>,
        body: &mut Body,
    ) -> Decision {
        let failure = self.state.expansions.get(&container).and_then(|expansion| expansion.failure.as_deref());
        if let Some(error) = failure {
            return Decision::Failed { instance: container, error: error.clone(), caught: Vec::new() };
        }
        let decided = match self.next_of(container, scope) {
            Next::Gather(chunk) => Ok(self.gather_chunk(container, scope, chunk, body)),
            Next::Open => self.open_next(container, scope, deciding, body),
            Next::EndTurn => self.end_of_turn(container, scope, deciding, body),
            Next::Finish => Ok(self.finish_scope(container, scope, body)),
        };
        decided.unwrap_or_else(|error| Decision::Failed { instance: container, error, caught: Vec::new() })
    }

    fn open_next(
        &self,
        container: Instance,
        scope: &Scope,
        deciding: &Deciding<'_>,
        body: &mut Body,
    ) -> Result<Decision, NodeError> {
        let expansion = self.state.expansions.get(&container);
        let next = expansion.map_or(0, |expansion| expansion.next);
        if let ScopeKind::Loop { turns_max, .. } = scope.kind {
            let seed = self.input_value(container, looping::SEED);
            let value = seed.unwrap_or_else(|| match self.graph.node(container.node).constants.first() {
                Some((_, value)) => OutputValue::One(body.put(value.clone())),
                None => OutputValue::One(body.put(null())),
            });
            let given = vec![value, self.index(scope, 0, body)];
            return self.opened(container, turns_max, 0, vec![given], None);
        }
        if let Some(error) = deciding.lists.values().find_map(|part| part.as_ref().err()) {
            return Err(error.clone());
        }
        let batch = scope.batch().unwrap_or(1);
        let lists: Vec<Option<Vec<Segment>>> =
            scope.lists.iter().map(|(port, _)| self.segments(container, *port)).collect();
        let total_of = |list: &Vec<Segment>| list.iter().map(|segment| length(segment, deciding.lists)).sum::<u32>();
        let totals: Vec<u32> = lists.iter().flatten().map(total_of).collect();
        let total = totals.first().copied().unwrap_or(0);
        if totals.iter().any(|other| *other != total) {
            let totals: Vec<String> = totals.iter().map(u32::to_string).collect();
            let message =
                format!("its lists have {} items; lists that go together are equally long", totals.join(" and "));
            return Err(refused("unequal_lists", message));
        }
        if total > limits::MAP_ITEMS_MAX {
            let message = format!("its list has {total} items; at most {} are taken", limits::MAP_ITEMS_MAX);
            return Err(refused("fan_out_too_large", message));
        }
        let count = total.div_ceil(batch);
        if count == 0 {
            return Ok(self.finish_scope(container, scope, body));
        }
        let open = expansion.map_or(0, |expansion| expansion.open);
        let room = self.room(scope, open).min(count - next).max(1);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for index in next..next + room {
            let mut given = Vec::with_capacity(lists.len() + 1);
            for list in &lists {
                // A closed list is absent from each item.
                let Some(list) = list else {
                    given.push(OutputValue::Closed);
                    continue;
                };
                let (value, taken) = self.item(scope, list, index, total, deciding, body)?;
                bytes += taken;
                given.push(value);
            }
            match scope.kind {
                ScopeKind::Reduce => {
                    given.insert(usize::from(reduce::ACCUMULATOR.0), self.accumulator(container, body));
                    given.push(self.index(scope, index, body));
                }
                ScopeKind::Map { on_item_error: Some(_), .. } => given.push(self.index(scope, index, body)),
                _ => {}
            }
            items.push(given);
            if bytes >= limits::EVENT_BODY_BYTES_MAX {
                break;
            }
        }
        self.opened(container, count, next, items, None)
    }

    fn opened(
        &self,
        container: Instance,
        count: u32,
        index: u32,
        items: Vec<Vec<OutputValue>>,
        score: Option<f64>,
    ) -> Result<Decision, NodeError> {
        let scope = ScopeIx(self.state.next_scope);
        if scope.0.saturating_add(items.len() as u32) > limits::RUN_SCOPES_MAX {
            let message = format!("the run has more than {} items and turns", limits::RUN_SCOPES_MAX);
            return Err(refused("too_many_items", message));
        }
        Ok(Decision::Opened { instance: container, opened: Opened { count, index, scope, items, score } })
    }

    /// The number of an item, if anything looks at it.
    fn index(&self, scope: &Scope, index: u32, body: &mut Body) -> OutputValue {
        if scope.index.is_some() { OutputValue::One(body.put(number(index))) } else { OutputValue::Closed }
    }

    /// One item of a list, or so many of them as make one; and the bytes that were written for it.
    fn item(
        &self,
        scope: &Scope,
        list: &[Segment],
        index: u32,
        total: u32,
        deciding: &Deciding<'_>,
        body: &mut Body,
    ) -> Result<(OutputValue, usize), NodeError> {
        let mut bytes = 0;
        let mut one = |index: u32| -> Result<OutputValue, NodeError> {
            let lost = || refused("bad_input", "an item of its list cannot be read".to_owned());
            let (segment, offset) = find(list, index, deciding.lists).ok_or_else(lost)?;
            let part = |reference: &ValueRef, part: u32| part_of(deciding.lists, reference, part).ok_or_else(lost);
            let item = match segment {
                Segment::Item(reference) => return Ok(OutputValue::item(*reference)),
                Segment::Own(texts) => ListItem::Value(Value::from_json(texts[offset as usize].clone())),
                Segment::Chunk(chunk) => {
                    part(&chunk.reference, 0)?.items.get(offset as usize).cloned().ok_or_else(lost)?
                }
                Segment::Text(reference) => {
                    let part = part(reference, offset / CHUNK)?;
                    // A value that is no list is its own only item.
                    match part.items.get((offset % CHUNK) as usize) {
                        None if part.total == 1 => return Ok(OutputValue::item(*reference)),
                        item => item.cloned().ok_or_else(lost)?,
                    }
                }
            };
            Ok(match item {
                ListItem::Value(value) => {
                    bytes += value.json().len();
                    OutputValue::item(body.put(value))
                }
                ListItem::One(reference) => OutputValue::item(reference),
                ListItem::Array(reference) => OutputValue::List(reference),
                ListItem::List(reference) => {
                    let pieces = deciding.values.get(&reference).and_then(list::read_list).ok_or_else(lost)?;
                    OutputValue::Pieces(pieces)
                }
            })
        };
        let Some(batch) = scope.batch() else { return one(index).map(|value| (value, bytes)) };
        let items = (index * batch..total.min((index + 1) * batch)).map(one).collect::<Result<Vec<_>, _>>()?;
        let references: Option<Vec<ValueRef>> = items
            .iter()
            .map(|item| match item {
                OutputValue::One(reference) => Some(*reference),
                _ => None,
            })
            .collect();
        let value = match references {
            Some(references) => OutputValue::Gather(references),
            None => list::write(Vec::new(), &items.into_iter().map(Some).collect::<Vec<_>>(), body),
        };
        Ok((value, bytes))
    }

    /// What the items before have come to.
    fn accumulator(&self, container: Instance, body: &mut Body) -> OutputValue {
        match self.state.expansions.get(&container) {
            None => self.initial(container, body),
            Some(expansion) => {
                let result = self.turn_result(container, expansion.turn);
                result.map_or_else(|| OutputValue::One(body.put(null())), carried_on)
            }
        }
    }

    fn initial(&self, container: Instance, body: &mut Body) -> OutputValue {
        let constants = &self.graph.node(container.node).constants;
        let own = constants.iter().find(|(port, _)| *port == reduce::INITIAL).map(|(_, value)| value.clone());
        let given = self.input_value(container, reduce::INITIAL);
        given.unwrap_or_else(|| OutputValue::One(body.put(own.unwrap_or_else(null))))
    }

    fn verdict(&self, container: Instance) -> Option<Verdict> {
        self.state.expansions.get(&container).and_then(|expansion| expansion.verdict)
    }

    /// Whether a loop goes on.
    fn end_of_turn(
        &self,
        container: Instance,
        scope: &Scope,
        deciding: &mut Deciding<'_>,
        body: &mut Body,
    ) -> Result<Decision, NodeError> {
        let (ScopeKind::Loop { until, score, turns_max, select }, Some(expansion)) =
            (&scope.kind, self.state.expansions.get(&container))
        else {
            return Ok(self.finish_scope(container, scope, body));
        };
        let turn = expansion.turn;
        let at = Instance { scope: turn, ..container };
        let verdict = match (expansion.verdict, self.reach(container, deciding.values, deciding.lists)) {
            (Some(verdict), _) => verdict,
            (None, Reach::Here) => {
                let named = |error| self.naming_turn(container, error);
                let seen = self.seen(at, scope.conditions(), deciding.values).map_err(named)?;
                let mut budget = limits::EXPRESSION_COST_MAX;
                let id = &self.graph.node(container.node).id;
                let found = evaluate::turn(id, until.as_deref(), score.as_deref(), &seen, &mut budget);
                *deciding.cost += limits::EXPRESSION_COST_MAX - budget;
                let (ends, score) = found.map_err(|it| named(unanswered(it)))?;
                Verdict { ends, score }
            }
            (None, Reach::Agent) => return Ok(Decision::Delegated { instance: container }),
            (None, Reach::Nowhere(error)) => return Err(error),
        };
        let score = verdict.score;
        if !verdict.ends && expansion.next < *turns_max {
            let has_carry = self.graph.in_edges(container.node).iter().any(|edge| edge.target_port == looping::CARRY);
            let port = if has_carry { looping::CARRY } else { looping::RESULT };
            let carried = self.result_at(container.node, port, turn);
            let carried = carried.map_or_else(|| OutputValue::One(body.put(null())), carried_on);
            let given = vec![carried, self.index(scope, expansion.next, body)];
            return self.opened(container, *turns_max, expansion.next, vec![given], score);
        }
        let last = self.turn_result(container, turn).unwrap_or(OutputValue::Closed);
        let (mut lists, _) = lists_of(expansion, (&*self.graph, scope), &[], body);
        let all = lists.pop().unwrap_or(OutputValue::Closed);
        let result = match (select, &expansion.best, score) {
            (Select::All, ..) => all.clone(),
            (Select::Best, Some((best, value)), Some(score)) if *best >= score => value.clone(),
            (Select::Last | Select::Best, ..) => last,
        };
        let outputs = [
            (looping::VALUE, OutputValue::Closed),
            (looping::ITERATION, OutputValue::Closed),
            (looping::LAST, result),
            (looping::ITERATIONS, OutputValue::One(body.put(number(expansion.next)))),
            (looping::ALL, all),
        ];
        let outputs = outputs.into_iter().map(|(port, value)| PortOutput { port, value }).collect();
        Ok(Decision::Completed { instance: container, outputs })
    }

    fn gather_chunk(&self, container: Instance, scope: &Scope, chunk: u32, body: &mut Body) -> Decision {
        let outcomes = self.state.expansions.get(&container).and_then(|expansion| expansion.closed.get(&chunk));
        let empty = Chunk::default();
        let (results, errors) = written_out(chunk, outcomes.unwrap_or(&empty), (&*self.graph, scope), body);
        let results = results.iter().map(|items| list::write_chunk(items, body)).collect();
        let errors = (!errors.is_empty()).then(|| list::write_chunk(&errors, body));
        Decision::Gathered { instance: container, chunk, results, errors }
    }

    /// All items have closed.
    fn finish_scope(&self, container: Instance, scope: &Scope, body: &mut Body) -> Decision {
        let node_type = self.graph.node(container.node).node_type.as_ref();
        let ports = node_type.map_or(0, |node_type| node_type.outputs.len());
        let mut outputs: Vec<PortOutput> =
            (0..ports as u16).map(|port| PortOutput { port: PortIx(port), value: OutputValue::Closed }).collect();
        let mut set = |port: PortIx, value: OutputValue| {
            outputs.iter_mut().filter(|output| output.port == port).for_each(|output| output.value = value.clone());
        };
        let unanswered = self.unanswered(container.node);
        if unanswered.is_empty() && matches!(scope.kind, ScopeKind::Reduce) {
            set(reduce::LAST, self.accumulator(container, body));
        } else {
            let none = Expansion::empty();
            let expansion = self.state.expansions.get(&container).unwrap_or(&none);
            let (lists, errors) = lists_of(expansion, (&*self.graph, scope), &unanswered, body);
            scope.results.iter().zip(lists).for_each(|((_, port), list)| set(*port, list));
            scope.errors.into_iter().for_each(|port| set(port, errors.clone()));
        }
        Decision::Completed { instance: container, outputs }
    }
}

/// What one turn or item gives the next: a list stays one.
fn carried_on(value: OutputValue) -> OutputValue {
    match value {
        OutputValue::List(reference) if is_planted(Fault::CarriedListIsOne) => OutputValue::One(reference),
        value => value,
    }
}

/// What the items of a chunk leave in each list of results, and which of them failed.
fn written_out(
    chunk: u32,
    outcomes: &Chunk,
    (graph, scope): (&Graph, &Scope),
    body: &mut Body,
) -> (Vec<Vec<Option<OutputValue>>>, Vec<Option<OutputValue>>) {
    let leaves_out = matches!(scope.kind, ScopeKind::Map { on_item_error: Some(OnItemError::Skip), .. });
    let (mut results, mut errors) = (vec![Vec::new(); scope.results.len()], Vec::new());
    for (place, outcome) in &outcomes.outcomes {
        match outcome {
            Outcome::Gave(given) => {
                for (list, value) in results.iter_mut().zip(given) {
                    match value {
                        OutputValue::Closed if leaves_out => {}
                        OutputValue::Closed => list.push(None),
                        value => list.push(Some(value.clone())),
                    }
                }
            }
            Outcome::Failed(failure) => {
                if failure.leaves == Leaves::Null {
                    results.iter_mut().for_each(|list| list.push(None));
                }
                let error = &failure.error;
                let index = chunk * CHUNK + place;
                let node = &graph.node(graph.named(failure.node)).id;
                let (code, message) = (&error.code, &error.message);
                let error = json!({
                    "index": index, "nodeId": node, "code": code, "class": error.class.name(), "message": message,
                });
                errors.push(Some(OutputValue::One(body.put(Value::from_json(error.to_string().into())))));
            }
        }
    }
    (results, errors)
}

/// The lists of all results but of those that the run leaves out, and of the items that failed.
fn lists_of(
    expansion: &Expansion,
    (graph, scope): (&Graph, &Scope),
    unanswered: &[PortIx],
    body: &mut Body,
) -> (Vec<OutputValue>, OutputValue) {
    let (mut results, mut errors) = (vec![Vec::new(); scope.results.len()], Vec::new());
    for (chunk, outcomes) in &expansion.closed {
        let (some, failed) = written_out(*chunk, outcomes, (graph, scope), body);
        results.iter_mut().zip(some).for_each(|(list, items)| list.extend(items));
        errors.extend(failed);
    }
    let lists = results.iter().enumerate().zip(&scope.results).map(|((place, rest), (_, port))| {
        if unanswered.contains(port) {
            return OutputValue::Closed;
        }
        let done = expansion.gathered.values().filter_map(|(results, _)| results.get(place)).copied().collect();
        list::write(done, rest, body)
    });
    let lists: Vec<OutputValue> = lists.collect();
    let done = expansion.gathered.values().filter_map(|(_, errors)| *errors).collect();
    (lists, list::write(done, &errors, body))
}

fn part_of<'a>(lists: &'a Lists, reference: &ValueRef, part: u32) -> Option<&'a Arc<ListPart>> {
    lists.get(&(*reference, part))?.as_ref().ok()
}

fn length(segment: &Segment, lists: &Lists) -> u32 {
    match segment {
        Segment::Item(_) => 1,
        Segment::Chunk(chunk) => chunk.items,
        Segment::Own(texts) => texts.len() as u32,
        Segment::Text(reference) => part_of(lists, reference, 0).map_or(0, |part| part.total),
    }
}

/// The segment that an item lies in, and its place there.
fn find<'a>(segments: &'a [Segment], index: u32, lists: &Lists) -> Option<(&'a Segment, u32)> {
    let mut left = index;
    for segment in segments {
        let length = length(segment, lists);
        if left < length {
            return Some((segment, left));
        }
        left -= length;
    }
    None
}

/// The items of a list in the graph itself; anything else is its own only item.
fn texts(value: &Value) -> Vec<Bytes> {
    list::items(value.json()).unwrap_or_else(|| vec![value.json().clone()])
}
