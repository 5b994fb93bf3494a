//! Clients that go on from runs that are over: from and to random nodes, of random items, with random edits of outputs and of
//! configs. What such a run gives is held against the reference interpreter as any other; what must hold of what it takes over, and of
//! its plan, is in `check_resumes.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{NodeIx, PortIx, RunId};
use heddle_core::partition::batch::Phase;
use heddle_core::partition::io::{Inherited, Submission};
use heddle_core::run::Run;
use heddle_core::run::checkpoint::{Begun, Checkpoints, Gatherer};
use heddle_core::run::event::{Decision, OutputValue, PortOutput};
use heddle_core::run::lineage::{Edited, Offer, Source};
use heddle_core::run::offers::Packing;
use heddle_core::run::plan::{Plan, Planning, Trusted};
use heddle_core::run::resume::{self, Parent, Resume, ResumeRefusal, Taken};
use heddle_core::value::{Digest, Value};
use serde_json::{Value as Json, json};

use super::check_resumes::Resumed;
use super::random::Random;
use super::store::RunRow;
use super::work;
use super::world::World;

impl World {
    /// A run that goes on from one that is over, if the client knows one.
    pub(super) fn resumption(&mut self, client: usize) -> Option<Submission> {
        // Who names items takes a run that has some, and mostly changes nothing besides.
        let names_items = self.random.percent(40);
        let known = self.known_runs(client).iter().copied().filter(|run| !names_items || self.has_items(*run));
        let known: Vec<RunId> = known.collect();
        let parent = *known.get(self.random.below(known.len()))?;
        let row = self.store.runs.get(&parent).filter(|row| !row.is_quarantined)?.clone();
        row.summary.as_ref().filter(|summary| summary.phase == Phase::Closed)?;
        let of_parent = Arc::clone(self.store.graphs.get(&row.created.graph)?);
        let (run, results) = gather(parent, &of_parent, &row)?;
        let was = self.graphs.iter().position(|scripted| scripted.graph.digest() == of_parent.digest())?;
        let changes = self.random.percent(if names_items { 15 } else { 40 });
        let place = if changes { self.changed(was) } else { was };
        let graph = Arc::clone(&self.graphs[place].graph);
        let results = results.in_graph(&of_parent, &graph);
        let edits = self.edits(&graph);
        let mut asked = self.asked(&graph, &results, &edits, place != was);
        if names_items {
            self.name_items(&graph, &results, &mut asked);
        }
        let edits = if asked.edits.is_empty() { Vec::new() } else { edits };
        let root = run.lineage().and_then(|lineage| lineage.root).unwrap_or(parent);
        let taken = asked.taken(&graph, Parent { run: &run, results: &results, root });
        let is_something = asked.failed_items && !asked.rerun && !results.failed.is_empty();
        if is_something && matches!(taken, Err(ResumeRefusal::Nothing)) {
            self.check.fail("H32", format!("nothing of {parent} is to run again, but something failed: {asked:?}"));
        }
        let taken = taken.ok()?;
        let (inherited, plan) = self.inherited(parent, (&graph, &results), &taken, &edits)?;
        let submission = self.submission(place, None);
        let at = |node: NodeIx, index: &[u32]| (node.0 as usize, index.to_vec());
        let failed = results.failed.iter().filter(|(node, _)| !graph.node(*node).is_anonymous);
        let failed = failed.map(|(node, index)| at(*node, index)).collect();
        let is_changed = !results.changed.is_empty();
        let results = results.results.iter().map(|result| at(result.node, &result.index)).collect();
        self.resumed.insert(submission.run, Resumed { parent, asked, plan, failed, results, is_changed });
        let tenant = row.created.tenant;
        Some(Submission { tenant, target: taken.target, lineage: Some(Box::new(inherited)), ..submission })
    }

    /// From where to where, and what of that runs again.
    fn asked(&mut self, graph: &Graph, results: &Checkpoints, edits: &[(Edited, Value)], differs: bool) -> Resume {
        // What no document names nobody can ask for.
        let named = graph.nodes().filter(|(_, node)| !node.is_anonymous).count();
        let node = |random: &mut Random| Some(NodeIx(random.below(named) as u32));
        let mut asked = Resume {
            rerun: self.random.percent(5),
            from: self.random.percent(60).then(|| node(&mut self.random)).flatten(),
            edits: edits.iter().map(|(edit, _)| *edit).collect(),
            failed_items: self.random.percent(30),
            downstream_all: self.random.percent(20),
            differs,
            ..Resume::default()
        };
        if self.random.percent(25) {
            asked.to = node(&mut self.random);
        }
        // A container that has completed although something in it failed: mostly that alone is made again.
        let is_inside = |(node, _): &(NodeIx, Vec<u32>)| graph.within(*node).is_some();
        if results.failed.iter().any(is_inside) && self.random.percent(50) {
            (asked.rerun, asked.failed_items) = (false, true);
            (asked.from, asked.to) = (asked.from.filter(|_| self.random.percent(50)), None);
            return asked;
        }
        asked
    }

    /// Whether a run is over in which more than one item or turn may have run.
    fn has_items(&self, run: RunId) -> bool {
        let row = self.store.runs.get(&run).filter(|row| !row.is_quarantined);
        let is_over = row.and_then(|row| row.summary.as_ref()).is_some_and(|summary| summary.phase == Phase::Closed);
        let opened = row.into_iter().flat_map(|row| &row.events).flat_map(|event| &event.decisions);
        let count = opened.filter_map(|decision| match decision {
            Decision::Opened { opened, .. } => Some(opened.items.len()),
            _ => None,
        });
        is_over && count.sum::<usize>() > 1
    }

    /// One or two items that the parent has begun, by the container or by a node in it.
    fn name_items(&mut self, graph: &Graph, results: &Checkpoints, asked: &mut Resume) {
        let begun = |least: usize| results.begun.iter().filter(move |(_, begun)| begun.items.len() >= least);
        let several: Vec<(&(NodeIx, Vec<u32>), &Begun)> = begun(2).collect();
        let begun = if several.is_empty() { begun(1).collect() } else { several };
        let Some(((container, around), begun)) = begun.get(self.random.below(begun.len())) else { return };
        let body: Vec<NodeIx> = graph.nodes().map(|(ix, _)| ix).filter(|ix| graph.is_inside(*ix, *container)).collect();
        let of = body.into_iter().chain([*container]).filter(|ix| !graph.node(*ix).is_anonymous);
        let of: Vec<NodeIx> = of.collect();
        let items: Vec<u32> = begun.items.keys().copied().collect();
        let Some(from) = of.get(self.random.below(of.len())) else { return };
        (asked.rerun, asked.from) = (false, Some(*from));
        let index = |random: &mut Random| [&around[..], &[items[random.below(items.len())]]].concat();
        asked.indices = (0..self.random.between((1, 2))).map(|_| index(&mut self.random)).collect();
        // Mostly nothing else, so that what is not named has to stay.
        if self.random.percent(80) {
            (asked.failed_items, asked.downstream_all, asked.to) = (false, false, None);
            asked.edits.clear();
        }
    }

    /// The same graph with other configs, as a client has edited it.
    pub(super) fn changed(&mut self, place: usize) -> usize {
        let mut nodes = self.graphs[place].nodes.clone();
        for node in &mut nodes {
            if self.random.percent(30) {
                change(node, &mut self.random);
            }
        }
        let changed = self.graphs[place].with(nodes);
        let digest = changed.graph.digest();
        if let Some(known) = self.graphs.iter().position(|scripted| scripted.graph.digest() == digest) {
            return known;
        }
        self.tell_trace(|| format!("a client changes configs: {changed}"));
        self.store.graphs.insert(digest, Arc::clone(&changed.graph));
        self.graphs.push(changed);
        self.graphs.len() - 1
    }

    /// Now and then another result for a node outside of maps and loops.
    fn edits(&mut self, graph: &Graph) -> Vec<(Edited, Value)> {
        let nodes: Vec<NodeIx> = graph
            .nodes()
            .filter(|(ix, node)| graph.within(*ix).is_none() && work::TYPES.contains(&&*node.type_id))
            .map(|(ix, _)| ix)
            .collect();
        if nodes.is_empty() || !self.random.percent(40) {
            return Vec::new();
        }
        let node = nodes[self.random.below(nodes.len())];
        let number = |random: &mut Random| json!({"n": random.below(60), "by": "an edit"});
        let value = match &*graph.node(node).type_id == work::LIST {
            true => (0..self.random.below(4)).map(|_| number(&mut self.random)).collect(),
            false => number(&mut self.random),
        };
        vec![(Edited { node, port: PortIx(0) }, Value::from_json(value.to_string().into()))]
    }

    fn inherited(
        &self,
        parent: RunId,
        (graph, results): (&Arc<Graph>, &Checkpoints),
        taken: &Taken,
        edits: &[(Edited, Value)],
    ) -> Option<(Inherited, Plan)> {
        let stored = self.store.stored(parent);
        let read = |reference: &_| stored.value(reference).cloned();
        let (mut packing, mut trusted) = (Packing::default(), Trusted::new());
        for node in taken.lineage.trusted.iter().copied() {
            let mut outputs = Vec::new();
            for (port, kept) in resume::edited_outputs(graph, node, results) {
                let edit = edits.iter().find(|(edit, _)| (edit.node, edit.port) == (node, port));
                let value = match (edit, kept) {
                    (Some((_, value)), kept) => OutputValue::in_place_of(packing.put(value.clone()), kept.as_ref()),
                    (None, Some(kept)) => packing.copy(&kept, &read)?,
                    (None, None) => OutputValue::Closed,
                };
                outputs.push(PortOutput { port, value });
            }
            let known = |it: &PortOutput| (it.port, graph.content(node, it.port, &it.value));
            trusted.insert(node, (Source::Edit, outputs.iter().map(known).collect()));
            packing.add_own(Offer { node, index: Vec::new(), key: Digest([0; 32]), source: Source::Edit, outputs });
        }
        let part = resume::part(graph, &taken.lineage, taken.target);
        let defaults = graph.nodes().filter_map(|(ix, _)| Some((ix, graph.input_default(ix)?)));
        let inputs: BTreeMap<NodeIx, Digest> =
            defaults.map(|(ix, value)| (ix, graph.content_of(ix, PortIx(0), value.digest(), None))).collect();
        let (lineage, reasons) = (&taken.lineage, &taken.reasons);
        let plan =
            Planning { graph, part: &part, lineage, reasons, results, trusted: &trusted, inputs: &inputs }.plan();
        for offer in resume::offers(graph, &taken.lineage, &part, results, &plan.covered) {
            packing.add(offer, &read)?;
        }
        Some((Inherited { lineage: taken.lineage.clone(), offers: packing.finish() }, plan))
    }
}

fn gather(id: RunId, graph: &Arc<Graph>, row: &RunRow) -> Option<(Run, Checkpoints)> {
    let (first, others) = row.events.split_first()?;
    let mut gatherer = Gatherer::begin(id, Arc::clone(graph), first, false).ok()?;
    others.iter().try_for_each(|event| gatherer.step(event)).ok()?;
    Some(gatherer.finish())
}

/// Another config of the same node, with which the graph is still valid; now and then people look at it, or do not any more.
fn change(node: &mut Json, random: &mut Random) {
    let is_outside = node["parentId"].is_null();
    let data = &mut node["data"];
    let kind = data["nodeType"].as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        work::WORK | work::PREFETCHED if is_outside && random.percent(30) => {
            data["policy"]["review"] = random.pick(&[json!("before"), json!("after"), Json::Null].each_ref()).clone();
            // Runs share nothing that people look at.
            if !data["policy"]["review"].is_null() {
                data["policy"]["cache"] = json!("off");
            }
        }
        kind if work::TYPES.contains(&kind) => data["config"]["salt"] = json!(random.below(1_000)),
        "logic:wait" => data["config"]["forMs"] = json!(random.between((0, 300))),
        "logic:review" => data["config"]["required"] = json!(random.between((1, 2))),
        "logic:loop" => {
            let turns = data["config"]["maxIterations"].as_u64().unwrap_or(1);
            data["config"]["maxIterations"] = json!(random.between((1, turns)));
        }
        "logic:map" => data["config"]["onItemError"] = json!(random.pick(&["fail", "skip", "collect"])),
        "logic:if" => {
            let condition = data["config"]["condition"].as_str().unwrap_or_default();
            data["config"]["condition"] = json!(condition.replace("== 1", "== 0").replace("== 2", "== 1"));
        }
        _ => {}
    }
}
