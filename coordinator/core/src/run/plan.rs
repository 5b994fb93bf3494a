//! What a run will do (E23): the rule of reuse, run on what is known before the run begins. What a node gives that runs afresh is
//! not known; so what depends on it may run or not.

mod races;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::{Begun, Changed, Checkpoint, Checkpoints};
use super::lineage::{Forced, Lineage, Source};
use crate::graph::{Graph, InEdge, Logic, ScopeKind};
use crate::id::{NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::value::Digest;

/// Why a node runs, may run, is reused or is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It is where the run starts from.
    Start,
    /// It takes an edited output.
    EditedInput,
    /// It failed.
    Failed,
    /// There is no result of it.
    NeverRan,
    /// It began to act, and nobody knows what became of it.
    OutcomeUnknown,
    /// It is one of those that were named.
    Index,
    /// It is in an item that failed.
    FailedItem,
    /// It lies downstream of what is forced.
    Downstream,
    /// It is not what it was.
    ConfigChanged,
    /// Something else comes into it.
    InputChanged,
    /// It is decided anew.
    Evaluated,
    /// Nothing is reused.
    Rerun,
    /// What comes into it may be different.
    InputMayChange,
    /// Its results are shared among runs: one may be there already.
    CacheMayAnswer,
    /// It leads to a race alone, which another branch may win before.
    RaceMayBeWon,
    /// It is what it was, and so is what comes into it.
    Same,
    /// Its outputs were edited.
    Edited,
    /// The run does not need it.
    NotInPart,
    /// It lies on a branch that is not taken.
    BranchNotTaken,
}

/// What is planned for a node, or for an instance of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    /// Which node.
    pub node: NodeIx,
    /// Why.
    pub why: Why,
    /// Of what is reused: where it comes from.
    pub source: Option<Source>,
    /// The numbers of the items and turns that it lies in; none, too, where it stands for several.
    pub index: Vec<u32>,
    /// How many it stands for; 0: exactly the one that is named.
    pub instances: u32,
}

/// What a run will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Runs, if what comes before it does not fail.
    pub will_run: Vec<Planned>,
    /// Runs if what comes into it changes, if no other run has given its result already, or if no other branch wins a race before.
    pub may_run: Vec<Planned>,
    /// Takes over an earlier result.
    pub reused: Vec<Planned>,
    /// Does not run.
    pub skipped: Vec<Planned>,
    /// Nodes whose instances nobody can count yet.
    pub unknown_count: u32,
    /// By names of inputs, what will come into nodes whose result counts whatever that is, as far as that is known.
    pub inputs: BTreeMap<NodeIx, Vec<(String, Digest)>>,
    /// Results that nobody needs, by their places: they lie in a container whose own result is taken over.
    pub covered: BTreeSet<usize>,
}

/// What nodes give whatever comes into them, output by output, and where that comes from.
pub type Trusted = BTreeMap<NodeIx, (Source, Vec<(PortIx, Option<Digest>)>)>;

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// The nodes that the run covers, sorted.
    pub part: &'a [NodeIx],
    /// What it takes over.
    pub lineage: &'a Lineage,
    /// Why it is forced to what it is.
    pub reasons: &'a [(Forced, Why)],
    /// Earlier results.
    pub results: &'a Checkpoints,
    /// Of nodes whose result counts whatever comes into them: what they give, and where that comes from.
    pub trusted: &'a Trusted,
    /// What is given for input nodes.
    pub inputs: &'a BTreeMap<NodeIx, Digest>,
}

/// What is known of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// This.
    Value(Digest),
    /// It gives nothing.
    Closed,
    /// It gives something.
    Fresh,
    /// Nothing is known.
    Unknown,
}

/// Whether a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
    Perhaps,
}

impl Planning<'_> {
    /// The plan.
    pub fn plan(&self) -> Plan {
        let mut by_node: BTreeMap<NodeIx, Vec<usize>> = BTreeMap::new();
        let mut by_index: BTreeMap<(NodeIx, &[u32]), Vec<usize>> = BTreeMap::new();
        for (place, result) in self.results.results.iter().enumerate() {
            by_node.entry(result.node).or_default().push(place);
            by_index.entry((result.node, &result.index)).or_default().push(place);
        }
        let mut planner = Planner {
            ask: *self,
            by_node,
            by_index,
            used: BTreeSet::new(),
            frames: vec![BTreeMap::new()],
            plan: Plan::default(),
            may_lose: races::MayLose::new(),
            afresh: 0,
        };
        let outside: Vec<NodeIx> =
            self.graph.nodes().map(|(ix, _)| ix).filter(|ix| self.graph.within(*ix).is_none()).collect();
        planner.scope(&outside, &[]);
        let mut plan = planner.plan;
        plan.doubt(&planner.may_lose);
        for planned in [&mut plan.will_run, &mut plan.may_run, &mut plan.reused, &mut plan.skipped] {
            planned.retain(|it| !self.graph.node(it.node).is_anonymous || self.graph.scope(it.node).is_none());
            together(planned);
        }
        plan
    }
}

/// Many instances that stand alike are told as one.
fn together(planned: &mut Vec<Planned>) {
    planned.sort();
    planned.dedup();
    let mut told: Vec<Planned> = Vec::new();
    for group in planned.chunk_by(|a, b| (a.node, a.why, a.source) == (b.node, b.why, b.source)) {
        if let [first, _, ..] = group
            && group.len() > limits::PLAN_INSTANCES_NAMED_MAX
        {
            told.push(Planned { index: Vec::new(), instances: group.len() as u32, ..first.clone() });
        } else {
            told.extend_from_slice(group);
        }
    }
    *planned = told;
}

struct Planner<'a> {
    ask: Planning<'a>,
    by_node: BTreeMap<NodeIx, Vec<usize>>,
    by_index: BTreeMap<(NodeIx, &'a [u32]), Vec<usize>>,
    /// Results that are taken over already, by themselves or with what is around them.
    used: BTreeSet<usize>,
    /// What outputs give, the innermost item last.
    frames: Vec<BTreeMap<(NodeIx, PortIx), Known>>,
    plan: Plan,
    /// What may be given up since a race is won.
    may_lose: races::MayLose,
    /// How many run that the engine does not decide itself.
    afresh: usize,
}

impl<'a> Planner<'a> {
    fn known(&self, node: NodeIx, port: PortIx) -> Known {
        self.frames.iter().rev().find_map(|frame| frame.get(&(node, port))).copied().unwrap_or(Known::Closed)
    }

    fn set(&mut self, node: NodeIx, port: PortIx, known: Known) {
        if let Some(frame) = self.frames.last_mut() {
            frame.insert((node, port), known);
        }
    }

    fn set_all(&mut self, node: NodeIx, known: Known) {
        let outputs = self.ask.graph.node(node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
        (0..outputs as u16).for_each(|port| self.set(node, PortIx(port), known));
    }

    /// The nodes of one item, or those outside of all, in an order in which each comes after what leads to it.
    fn scope(&mut self, nodes: &[NodeIx], index: &[u32]) {
        let graph = self.ask.graph;
        let mut waits: BTreeMap<NodeIx, u32> = nodes.iter().map(|ix| (*ix, graph.node(*ix).waits_for)).collect();
        let mut open: Vec<NodeIx> = nodes.iter().rev().filter(|ix| waits[*ix] == 0).copied().collect();
        while let Some(ix) = open.pop() {
            self.node(ix, index);
            for target in graph.out_edges(ix).iter().filter_map(|edge| edge.settles) {
                let Some(left) = waits.get_mut(&target) else { continue };
                *left = left.saturating_sub(1);
                if *left == 0 {
                    open.push(target);
                }
            }
        }
        self.races(nodes, index);
    }

    fn note(&self, node: NodeIx, index: &[u32], why: Why, source: Option<Source>) -> Planned {
        Planned { node, index: index.to_vec(), why, source, instances: 0 }
    }

    fn node(&mut self, ix: NodeIx, index: &[u32]) {
        let (graph, ask) = (self.ask.graph, self.ask);
        if ask.part.binary_search(&ix).is_err() {
            if index.is_empty() {
                self.plan.skipped.push(self.note(ix, index, Why::NotInPart, None));
            }
            return self.set_all(ix, Known::Unknown);
        }
        if let Some((source, outputs)) = ask.trusted.get(&ix).filter(|_| index.is_empty()) {
            let (inputs, _) = self.inputs(ix);
            self.plan.inputs.insert(ix, inputs);
            let why = if *source == Source::Edit { Why::Edited } else { Why::Same };
            self.plan.reused.push(self.note(ix, index, why, Some(*source)));
            for (port, digest) in outputs {
                self.set(ix, *port, digest.map_or(Known::Closed, Known::Value));
            }
            return;
        }
        match self.reached(ix) {
            Reached::No => {
                self.plan.skipped.push(self.note(ix, index, Why::BranchNotTaken, None));
                self.set_all(ix, Known::Closed);
            }
            Reached::Perhaps => {
                self.perhaps(ix);
                self.set_all(ix, Known::Unknown);
            }
            Reached::Yes if graph.is_reusable(ix) => self.reusable(ix, index),
            Reached::Yes => self.control(ix, index),
        }
    }

    /// A node that may run, and what is in it.
    fn perhaps(&mut self, ix: NodeIx) {
        for node in self.ask.graph.all_inside(ix).into_iter().chain([ix]) {
            if self.ask.part.binary_search(&node).is_ok() {
                self.plan.may_run.push(self.note(node, &[], Why::InputMayChange, None));
                self.plan.unknown_count += u32::from(self.ask.graph.within(node).is_some());
            }
        }
    }

    fn reached(&self, ix: NodeIx) -> Reached {
        let graph = self.ask.graph;
        let doors = graph.doors(ix);
        let own: Vec<&InEdge> = graph
            .in_edges(ix)
            .iter()
            .filter(|edge| doors.is_none_or(|doors| !doors.is_inner_input(edge.target_port)))
            .collect();
        let of = |edges: &mut dyn Iterator<Item = &&InEdge>| {
            let mut all: Vec<Known> = edges.map(|edge| self.known(edge.source, edge.source_port)).collect();
            all.retain(|known| *known != Known::Closed);
            match all.as_slice() {
                [] => Reached::No,
                some if some.iter().all(|known| *known == Known::Unknown) => Reached::Perhaps,
                _ => Reached::Yes,
            }
        };
        let mut reached = if own.is_empty() { Reached::Yes } else { of(&mut own.iter()) };
        let ports = graph.node(ix).node_type.iter().flat_map(|node_type| node_type.inputs.iter().enumerate());
        for (place, _) in ports.filter(|(_, port)| port.required) {
            let is_here = |edge: &&&InEdge| usize::from(edge.target_port.0) == place;
            if !own.iter().any(|edge| is_here(&edge)) {
                continue;
            }
            match (of(&mut own.iter().filter(is_here)), reached) {
                (Reached::No, _) => return Reached::No,
                (Reached::Perhaps, Reached::Yes) => reached = Reached::Perhaps,
                _ => {}
            }
        }
        reached
    }

    /// What comes into a node, by name, and whether all of it is known. What is not known is left out.
    fn inputs(&self, ix: NodeIx) -> (Vec<(String, Digest)>, bool) {
        let is_known = Cell::new(true);
        // What is not known gives a digest that nothing else has.
        const NOBODY: Digest = Digest([0xff; 32]);
        let seen = |node, port| match self.known(node, port) {
            Known::Value(digest) => Some(digest),
            Known::Closed => None,
            Known::Fresh | Known::Unknown => {
                is_known.set(false);
                Some(NOBODY)
            }
        };
        let inputs = self.ask.graph.inputs_seen(ix, &seen);
        if is_known.get() {
            return (inputs, true);
        }
        // Once more with another digest: what differs depends on what is not known.
        let other = |node, port| match self.known(node, port) {
            Known::Value(digest) => Some(digest),
            Known::Closed => None,
            Known::Fresh | Known::Unknown => Some(Digest([0xfe; 32])),
        };
        let others = self.ask.graph.inputs_seen(ix, &other);
        (inputs.into_iter().filter(|input| others.contains(input)).collect(), false)
    }

    fn key(&self, ix: NodeIx) -> Digest {
        let seen = |node, port| match self.known(node, port) {
            Known::Value(digest) => Some(digest),
            _ => None,
        };
        self.ask.graph.key(ix, &seen)
    }

    /// The result of an instance, as the run itself would look for it.
    fn find(&self, ix: NodeIx, key: Digest, index: &[u32]) -> Option<usize> {
        let turns = self.ask.graph.turns_around(ix);
        let at_home = self.by_index.get(&(ix, index)).into_iter().flatten().copied();
        let mut of_node = self.by_node.get(&ix)?.iter().copied();
        let fits = |place: &usize| self.ask.results.results[*place].key == key && !self.used.contains(place);
        let same_turns = |result: &Checkpoint| {
            let places = result.index.iter().zip(index).zip(&turns);
            result.index.len() == index.len() && places.into_iter().all(|((was, is), is_turn)| !is_turn || was == is)
        };
        let result = |place: &usize| &self.ask.results.results[*place];
        let usable = |place: &usize| fits(place) && !self.ask.lineage.forces(self.ask.graph, ix, &result(place).index);
        at_home.into_iter().find(usable).or_else(|| of_node.find(|place| usable(place) && same_turns(result(place))))
    }

    /// A result is taken over; with that of a container all that is in it.
    fn take(&mut self, place: usize) {
        self.used.insert(place);
        let result = &self.ask.results.results[place];
        for node in self.ask.graph.all_inside(result.node) {
            let within = self.by_index.range((node, &result.index[..])..);
            let within = within.take_while(|((of, index), _)| *of == node && index.starts_with(&result.index));
            for place in within.flat_map(|(_, places)| places) {
                if self.used.insert(*place) {
                    self.plan.covered.insert(*place);
                }
            }
        }
    }

    fn control(&mut self, ix: NodeIx, index: &[u32]) {
        let why = if self.ask.lineage.rerun { Why::Rerun } else { Why::Evaluated };
        self.plan.will_run.push(self.note(ix, index, why, None));
        let node = self.ask.graph.node(ix);
        if node.runner == Runner::Control(Control::Input) {
            let known = self.ask.inputs.get(&ix).map_or(Known::Closed, |digest| Known::Value(*digest));
            return self.set_all(ix, known);
        }
        let (_, is_known) = self.inputs(ix);
        let is_race = matches!(node.logic.as_deref(), Some(Logic::Race { .. }));
        if is_known && !is_race {
            let key = self.key(ix);
            let same = self.by_node.get(&ix).into_iter().flatten().map(|place| &self.ask.results.results[*place]);
            let same = same.into_iter().find(|result| result.key == key);
            if let Some(result) = same {
                let outputs = result.outputs.iter();
                let outputs: Vec<_> =
                    outputs.map(|it| (it.port, self.ask.graph.content(ix, it.port, &it.value))).collect();
                for (port, digest) in outputs {
                    self.set(ix, port, digest.map_or(Known::Closed, Known::Value));
                }
                return;
            }
        }
        let passes = matches!(node.logic.as_deref(), Some(Logic::Pass | Logic::Merge { .. } | Logic::Filter(_)))
            || matches!(node.runner, Runner::Control(Control::Output));
        self.set_all(ix, if passes { Known::Fresh } else { Known::Unknown });
    }

    fn reusable(&mut self, ix: NodeIx, index: &[u32]) {
        let graph = self.ask.graph;
        let is_container = graph.scope(ix).is_some();
        let is_forced = self.ask.lineage.forces(graph, ix, index);
        let (inputs, is_known) = self.inputs(ix);
        if !is_forced && !self.ask.lineage.rerun {
            if is_known && let Some(place) = self.find(ix, self.key(ix), index) {
                self.take(place);
                let result = &self.ask.results.results[place];
                self.plan.reused.push(self.note(ix, index, Why::Same, Some(result.source)));
                for output in &result.outputs {
                    let content = graph.content(ix, output.port, &output.value);
                    self.set(ix, output.port, content.map_or(Known::Closed, Known::Value));
                }
                return;
            }
            let has_offer = self.by_node.get(&ix).is_some_and(|places| {
                places.iter().any(|place| {
                    let result = &self.ask.results.results[*place];
                    !self.used.contains(place) && !self.ask.lineage.forces(graph, ix, &result.index)
                })
            });
            if !is_known && has_offer {
                if is_container {
                    self.perhaps(ix);
                } else {
                    self.plan.may_run.push(self.note(ix, index, Why::InputMayChange, None));
                }
                return self.set_all(ix, Known::Fresh);
            }
        }
        if is_container {
            return self.expand(ix, index, &inputs);
        }
        if !is_forced && graph.shared_for(ix).is_some() && !(self.ask.lineage.rerun || self.ask.lineage.fresh) {
            self.plan.may_run.push(self.note(ix, index, Why::CacheMayAnswer, None));
            return self.set_all(ix, Known::Fresh);
        }
        let why = self.why(ix, index, &inputs);
        self.plan.will_run.push(self.note(ix, index, why, None));
        self.afresh += 1;
        self.set_all(ix, Known::Fresh);
    }

    /// Why an instance runs.
    fn why(&self, ix: NodeIx, index: &[u32], inputs: &[(String, Digest)]) -> Why {
        if self.ask.lineage.rerun {
            return Why::Rerun;
        }
        let agrees = |forced: &Forced| {
            forced.node == ix && index.len() >= forced.index.len() && index.starts_with(&forced.index)
        };
        if let Some((_, why)) = self.ask.reasons.iter().find(|(forced, _)| agrees(forced)) {
            return *why;
        }
        if self.ask.lineage.forces(self.ask.graph, ix, index) {
            return Why::Downstream;
        }
        let place = (ix, index.to_vec());
        if self.ask.results.unknown.contains(&place) {
            return Why::OutcomeUnknown;
        }
        if self.ask.results.failed.contains(&place) {
            return Why::Failed;
        }
        let results = self.by_node.get(&ix).into_iter().flatten().map(|place| &self.ask.results.results[*place]);
        let before = results.into_iter().find(|result| result.index == index);
        match before {
            None => match self.ask.results.changed.get(&place) {
                Some(Changed::Config) => Why::ConfigChanged,
                Some(Changed::Inputs) => Why::InputChanged,
                None => Why::NeverRan,
            },
            Some(before) if before.inputs == inputs => Why::ConfigChanged,
            Some(_) => Why::InputChanged,
        }
    }

    /// A container whose body runs.
    fn expand(&mut self, ix: NodeIx, index: &[u32], inputs: &[(String, Digest)]) {
        let graph = self.ask.graph;
        let why = if self.ask.lineage.rerun { Why::Rerun } else { Why::Evaluated };
        self.plan.will_run.push(self.note(ix, index, why, None));
        let begun = self.ask.results.begun.get(&(ix, index.to_vec()));
        // What leads into its body says nothing of which items it has.
        let own = |inputs: &[(String, Digest)]| -> Vec<(String, Digest)> {
            inputs.iter().filter(|(name, _)| !name.contains('.')).cloned().collect()
        };
        let is_turn = matches!(graph.scope(ix).map(|it| &it.kind), Some(ScopeKind::Loop { .. } | ScopeKind::Reduce));
        match begun.filter(|begun| own(&begun.inputs) == own(inputs)) {
            Some(begun) if is_turn => self.turns(ix, index, begun),
            Some(begun) => {
                for item in 0..begun.count {
                    self.item(ix, index, item, begun.items.get(&item).map(Vec::as_slice));
                }
            }
            None => self.uncounted(ix),
        }
        self.set_all(ix, Known::Fresh);
    }

    /// The body runs, but nobody knows how often.
    fn uncounted(&mut self, container: NodeIx) {
        for node in self.ask.graph.all_inside(container) {
            if self.ask.part.binary_search(&node).is_ok() {
                self.plan.may_run.push(self.note(node, &[], Why::InputMayChange, None));
                self.plan.unknown_count += 1;
            }
        }
    }

    /// Turn by turn, as long as each is what it was. Where what the next one goes on from is no part of the run there is one.
    fn turns(&mut self, ix: NodeIx, index: &[u32], begun: &Begun) {
        let unanswered = self.ask.graph.unanswered(ix, &|node| self.ask.part.binary_search(&node).is_ok());
        let count = if unanswered.is_empty() { begun.count } else { begun.count.min(1) };
        for turn in 0..count {
            // The parent ended before it began this one.
            let Some(given) = begun.items.get(&turn) else { return self.uncounted(ix) };
            let before = (self.afresh, self.plan.may_run.len());
            let is_known = self.item(ix, index, turn, Some(given));
            if !is_known || before != (self.afresh, self.plan.may_run.len()) {
                if turn + 1 < count {
                    self.uncounted(ix);
                }
                return;
            }
        }
    }

    /// An item or a turn, and whether all that it gives is known. Then it is what the parent's gave.
    fn item(&mut self, ix: NodeIx, index: &[u32], item: u32, given: Option<&[Option<Digest>]>) -> bool {
        let graph = self.ask.graph;
        self.frames.push(BTreeMap::new());
        match given {
            Some(given) => {
                for (port, digest) in (0..).map(PortIx).zip(given) {
                    self.set(ix, port, digest.map_or(Known::Closed, Known::Value));
                }
            }
            None => {
                let outputs = graph.node(ix).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
                let inner = (0..outputs as u16).map(PortIx).filter(|port| graph.is_inner_output(ix, *port));
                inner.collect::<Vec<_>>().into_iter().for_each(|port| self.set(ix, port, Known::Fresh));
            }
        }
        let mut path = index.to_vec();
        path.push(item);
        let body = graph.body(ix).to_vec();
        self.scope(&body, &path);
        // What is left out has Unknown for its outputs, so it is not known what comes of what hangs on it.
        let is_known =
            |edge: &InEdge| matches!(self.known(edge.source, edge.source_port), Known::Value(_) | Known::Closed);
        let gives = graph.result_edges(ix).all(is_known);
        self.frames.pop();
        gives
    }
}
