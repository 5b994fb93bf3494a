//! What must hold of a run that goes on from another one (H32): it covers what was asked for, what is forced runs, what nothing was
//! asked of stays, nothing is taken over that was made with another config, and what runs was planned. What was asked for is read
//! here anew, from the document and in the words of graph.md, part 8.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::id::{Instance, NodeIx, RunId, ScopeIx};
use heddle_core::run::event::{Decision, Event};
use heddle_core::run::lineage::Source;
use heddle_core::run::plan::{Plan, Planned};
use heddle_core::run::resume::Resume;
use heddle_core::run::{NodePhase, Run, RunStatus};
use serde_json::Value as Json;

use super::graphs::Scripted;
use super::work;

/// Where an instance is: its node, and the numbers of the items and turns it lies in.
type Place = (usize, Vec<u32>);

/// What a client asked for when it went on from a run, and what it went on from.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) parent: RunId,
    pub(super) asked: Resume,
    pub(super) plan: Plan,
    /// Instances of the parent that failed for good.
    pub(super) failed: Vec<Place>,
    /// Instances that have a result.
    pub(super) results: BTreeSet<Place>,
    /// Whether people changed what something was made of: it is no result then, and is made again.
    pub(super) is_changed: bool,
}

/// A run that goes on from another one.
pub(super) struct Looked<'a> {
    resumed: &'a Resumed,
    fold: &'a Run,
    scripted: &'a Scripted,
    parent: (&'a Run, &'a Scripted),
    /// What agents were given.
    ran: BTreeSet<Place>,
    /// What was taken over, but for edits.
    reused: BTreeSet<Place>,
    /// Of that, what runs share, which need not be of the parent.
    shared: BTreeSet<Place>,
}

impl<'a> Looked<'a> {
    pub(super) fn read(
        resumed: &'a Resumed,
        (fold, events): (&'a Run, &[Event]),
        scripted: &'a Scripted,
        parent: (&'a Run, &'a Scripted),
    ) -> Self {
        let mut looked = Self {
            resumed,
            fold,
            scripted,
            parent,
            ran: BTreeSet::new(),
            reused: BTreeSet::new(),
            shared: BTreeSet::new(),
        };
        let mut scopes: BTreeMap<ScopeIx, (Instance, u32)> = BTreeMap::new();
        for event in events {
            for decision in &event.decisions {
                match decision {
                    Decision::Opened { instance, opened } => {
                        let items = (opened.scope.0..).zip(opened.index..).take(opened.items.len());
                        scopes.extend(items.map(|(scope, index)| (ScopeIx(scope), (*instance, index))));
                    }
                    Decision::Reused { instance, source, offer, .. } if *source != Source::Edit => {
                        let at = place(&scopes, *instance);
                        looked.shared.extend(offer.is_none().then(|| at.clone()));
                        looked.reused.insert(at);
                    }
                    _ => {}
                }
            }
            let given = event.assignments.iter().map(|given| place(&scopes, given.attempt.instance));
            looked.ran.extend(given);
        }
        looked
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.part()?;
        self.forced()?;
        self.unnamed()?;
        self.configs()?;
        self.planned()
    }

    fn id(&self, node: usize) -> &str {
        self.scripted.nodes.get(node).and_then(|node| node["id"].as_str()).unwrap_or("of no document")
    }

    /// Whether agents do the work of a node.
    fn is_work(&self, node: usize) -> bool {
        let kind = self.scripted.nodes.get(node).and_then(|node| node["data"]["nodeType"].as_str());
        kind.is_some_and(|kind| work::TYPES.contains(&kind))
    }

    fn is_edited(&self, node: usize) -> bool {
        self.resumed.asked.edits.iter().any(|edit| edit.node.0 as usize == node)
    }

    /// It covers what was asked for and nothing else.
    fn part(&self) -> Result<(), String> {
        let (asked, document) = (&self.resumed.asked, &self.scripted.document);
        let covers = |run: &Run, node: usize| run.phase_of(NodeIx(node as u32)) != NodePhase::Excluded;
        let all = 0..self.scripted.nodes.len();
        let covered: BTreeSet<usize> = all.clone().filter(|node| covers(self.fold, *node)).collect();
        let must: BTreeSet<usize> = match (asked.rerun, asked.from, asked.to) {
            (false, _, Some(to)) => document.part_up_to(to.0 as usize),
            (false, Some(from), None) => document.part_after(from.0 as usize),
            _ => all.filter(|node| covers(self.parent.0, *node)).collect(),
        };
        // What takes an edited output may belong to it besides.
        let may_be_more = !asked.edits.is_empty() && asked.to.is_none();
        let is_right = if may_be_more { must.is_subset(&covered) } else { must == covered };
        if is_right { Ok(()) } else { Err(format!("it covers {covered:?}, and should cover {must:?}: {asked:?}")) }
    }

    /// What is forced to run has not taken over anything.
    fn forced(&self) -> Result<(), String> {
        let (asked, document) = (&self.resumed.asked, &self.scripted.document);
        let followed = asked.from.filter(|_| asked.downstream_all && asked.indices.is_empty());
        let followed = followed.map(|from| document.following(from.0 as usize)).unwrap_or_default();
        let named = |node: usize, path: &[u32]| {
            asked.from.map(|from| from.0 as usize).is_some_and(|from| {
                let is_of_start = node == from || document.is_within(node, from);
                match asked.indices.is_empty() {
                    true => is_of_start || document.is_within(from, node),
                    false => asked.indices.iter().any(|index| {
                        let is_around = node == from || document.is_within(from, node);
                        is_of_start && path.starts_with(index) || is_around && index.starts_with(path)
                    }),
                }
            })
        };
        let has_failed = |node: usize, path: &[u32]| {
            self.resumed.failed.iter().any(|(failed, at)| {
                *failed == node && at == path || document.is_within(*failed, node) && at.starts_with(path)
            })
        };
        let documented = self.reused.iter().filter(|(node, _)| *node < self.scripted.nodes.len());
        for (node, path) in documented.filter(|(node, _)| !self.is_edited(*node)) {
            let why = if asked.rerun {
                "it is a rerun"
            } else if named(*node, path) {
                "it is where the run starts from"
            } else if asked.failed_items && has_failed(*node, path) {
                "it failed"
            } else if document.is_outside(*node) && followed.contains(node) {
                "it lies downstream"
            } else {
                continue;
            };
            return Err(format!("node {} at {path:?} took over a result, but {why}: {asked:?}", self.id(*node)));
        }
        Ok(())
    }

    /// Where some items alone are to run again, the others stay: nothing before them can give anything else.
    fn unnamed(&self) -> Result<(), String> {
        let (asked, document) = (&self.resumed.asked, &self.scripted.document);
        let Some(from) = asked.from.map(|from| from.0 as usize).filter(|_| !asked.indices.is_empty()) else {
            return Ok(());
        };
        let asks_more =
            asked.rerun || asked.failed_items || asked.downstream_all || !asked.edits.is_empty() || asked.differs;
        let is_whole = self.parent.0.status() == RunStatus::Completed
            && self.resumed.failed.is_empty()
            && !self.resumed.is_changed;
        if asks_more || !is_whole || document.has("logic:race") || !document.is_in_maps_only(from) {
            return Ok(());
        }
        let is_of_start = |node: usize| node == from || document.container_of(node) == Some(from);
        let is_in_maps = |node: usize| document.is_in_maps_only(node);
        // What an agent only looks at for the engine is decided anew in each run.
        for (node, path) in self.ran.iter().filter(|(node, _)| self.is_work(*node)) {
            let is_named = asked.indices.iter().any(|index| path.starts_with(index));
            let was_there = self.resumed.results.contains(&(*node, path.clone()));
            // A container that opens again may be looked at by an agent, though its other items stay.
            let is_around = *node == from && path.len() < asked.indices.iter().map(Vec::len).min().unwrap_or_default();
            if is_of_start(*node) && !is_around && is_in_maps(*node) && !is_named && was_there {
                return Err(format!("node {} at {path:?} ran, and was not named: {asked:?}", self.id(*node)));
            }
        }
        Ok(())
    }

    /// What is taken over was made with the same config, and people look at it in the same way.
    fn configs(&self) -> Result<(), String> {
        let of = |nodes: &[Json], node: usize| {
            let data = nodes.get(node).map_or(&Json::Null, |node| &node["data"]);
            (data["config"].clone(), data["policy"]["review"].clone())
        };
        let is_same = |node: usize| of(&self.scripted.nodes, node) == of(&self.parent.1.nodes, node);
        // What is shared is looked up by the config itself (H33).
        let of_parent = self.reused.difference(&self.shared).filter(|(node, _)| *node < self.scripted.nodes.len());
        for (node, path) in of_parent {
            let inside = (0..self.scripted.nodes.len()).filter(|it| self.scripted.document.is_within(*it, *node));
            if let Some(changed) = inside.chain([*node]).find(|node| !is_same(*node)) {
                let (id, changed) = (self.id(*node), self.id(changed));
                return Err(format!("node {id} at {path:?} took over what another config of {changed} made"));
            }
        }
        Ok(())
    }

    /// What ran was planned, and as often; what was planned to run did not take over anything.
    fn planned(&self) -> Result<(), String> {
        let plan = &self.resumed.plan;
        let node_of = |planned: &Planned| planned.node.0 as usize;
        let may: BTreeSet<usize> = plan.may_run.iter().map(node_of).collect();
        let mut will: BTreeMap<usize, usize> = BTreeMap::new();
        for planned in &plan.will_run {
            *will.entry(node_of(planned)).or_default() += planned.instances.max(1) as usize;
        }
        let mut ran: BTreeMap<usize, usize> = BTreeMap::new();
        self.ran.iter().for_each(|(node, _)| *ran.entry(*node).or_default() += 1);
        for (node, times) in ran.into_iter().filter(|(node, _)| !may.contains(node)) {
            let (planned, id) = (will.get(&node).copied().unwrap_or_default(), self.id(node));
            if planned == 0 {
                return Err(format!("node {id} ran, and was not planned to"));
            }
            if times > planned {
                return Err(format!("node {id} ran in {times} places, and was planned to in {planned}"));
            }
        }
        let is_whole = self.fold.status() == RunStatus::Completed && self.fold.progress().1 == 0;
        let is_work = |node: usize| self.scripted.document.is_outside(node) && self.is_work(node);
        let outside = will.keys().filter(|node| is_work(**node));
        for node in outside.filter(|_| is_whole) {
            // What came before it may have left the output closed that it hangs on.
            if self.fold.phase_of(NodeIx(*node as u32)) == NodePhase::Cached {
                return Err(format!("node {} was planned to run, and did not", self.id(*node)));
            }
        }
        Ok(())
    }
}

/// Where an instance is.
fn place(scopes: &BTreeMap<ScopeIx, (Instance, u32)>, instance: Instance) -> Place {
    fn path(scopes: &BTreeMap<ScopeIx, (Instance, u32)>, scope: ScopeIx) -> Vec<u32> {
        let Some((container, index)) = scopes.get(&scope) else { return Vec::new() };
        let mut path = path(scopes, container.scope);
        path.push(*index);
        path
    }
    (instance.node.0 as usize, path(scopes, instance.scope))
}
