//! Clients that go on from runs that are over: from random nodes, with random edits. What such a run gives is held against the
//! reference interpreter as any other; here is what must hold of what it takes over, and of its plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{NodeIx, PortIx, RunId};
use heddle_core::partition::batch::Phase;
use heddle_core::partition::io::{Inherited, Submission};
use heddle_core::run::checkpoint::{Checkpoints, Gatherer};
use heddle_core::run::event::{Decision, Event, OutputValue, PortOutput};
use heddle_core::run::lineage::{Edited, Offer, Source};
use heddle_core::run::offers::Packing;
use heddle_core::run::plan::{Plan, Planning, Trusted, content_of};
use heddle_core::run::resume::{self, Parent, Resume, Taken};
use heddle_core::run::reuse::content;
use heddle_core::run::{Run, RunStatus};
use heddle_core::value::{Digest, Value};
use serde_json::json;

use super::store::RunRow;
use super::work;
use super::world::World;

impl World {
    /// A run that goes on from one that is over, if the client knows one.
    pub(super) fn resumption(&mut self, client: usize) -> Option<Submission> {
        let known = self.known_runs(client).to_vec();
        let parent = *known.get(self.random.below(known.len()))?;
        let row = self.store.runs.get(&parent).filter(|row| !row.is_quarantined)?.clone();
        row.summary.as_ref().filter(|summary| summary.phase == Phase::Closed)?;
        let graph = Arc::clone(self.store.graphs.get(&row.created.graph)?);
        let (run, results) = gather(parent, &graph, &row)?;
        let edits = self.edits(&graph);
        let asked = Resume {
            rerun: self.random.percent(5),
            from: self.random.percent(60).then(|| NodeIx(self.random.below(graph.len()) as u32)),
            edits: edits.iter().map(|(edit, _)| *edit).collect(),
            failed_items: self.random.percent(30),
            downstream_all: self.random.percent(20),
            ..Resume::default()
        };
        let root = run.lineage().and_then(|lineage| lineage.root).unwrap_or(parent);
        let taken = asked.taken(&graph, Parent { run: &run, results: &results, root }).ok()?;
        let (inherited, plan) = self.inherited(parent, (&graph, &results), &taken, &edits)?;
        let place = self.graphs.iter().position(|scripted| scripted.graph.digest() == graph.digest())?;
        let submission = self.submission(place, None);
        self.plans.insert(submission.run, plan);
        Some(Submission { target: taken.target, lineage: Some(Box::new(inherited)), ..submission })
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
        let number = |random: &mut super::random::Random| json!({"n": random.below(60), "by": "an edit"});
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
                    (Some((_, value)), _) => OutputValue::One(packing.put(value.clone())),
                    (None, Some(kept)) => packing.copy(&kept, &read)?,
                    (None, None) => OutputValue::Closed,
                };
                outputs.push(PortOutput { port, value });
            }
            trusted.insert(node, (Source::Edit, outputs.iter().map(|it| (it.port, content(&it.value))).collect()));
            packing.add_own(Offer { node, index: Vec::new(), key: Digest([0; 32]), source: Source::Edit, outputs });
        }
        let part = resume::part(graph, &taken.lineage, taken.target);
        let defaults = graph.nodes().filter_map(|(ix, _)| Some((ix, graph.input_default(ix)?)));
        let inputs: BTreeMap<NodeIx, Digest> =
            defaults.map(|(ix, value)| (ix, content_of(value.digest(), value.bytes() as u32))).collect();
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

/// What was forced has run, and what ran was planned.
pub(super) fn check(fold: &Run, events: &[Event], plan: Option<&Plan>) -> Result<(), String> {
    let Some(lineage) = fold.lineage() else { return Ok(()) };
    let graph = fold.graph();
    for decision in events.iter().flat_map(|event| &event.decisions) {
        let Decision::Reused { instance, .. } = decision else { continue };
        let is_named = lineage.forced.iter().any(|forced| forced.node == instance.node && forced.index.is_empty());
        if is_named && lineage.trusted.binary_search(&instance.node).is_err() {
            return Err(format!("node {} was forced to run, and took over a result", graph.node(instance.node).id));
        }
    }
    let Some(plan) = plan else { return Ok(()) };
    let is_planned = |node| plan.will_run.iter().chain(&plan.may_run).any(|planned| planned.node == node);
    let mut given = events.iter().flat_map(|event| &event.assignments).map(|it| it.attempt.instance.node);
    if let Some(node) = given.find(|node| !is_planned(*node)) {
        return Err(format!("node {} ran, and was not planned to", graph.node(node).id));
    }
    let ran = |node| {
        let mut given = events.iter().flat_map(|event| &event.assignments);
        given.any(|assignment| assignment.attempt.instance.node == node)
    };
    let must = |planned: &&heddle_core::run::plan::Planned| {
        graph.within(planned.node).is_none() && work::TYPES.contains(&&*graph.node(planned.node).type_id)
    };
    let is_whole = fold.status() == RunStatus::Completed && fold.progress().1 == 0;
    let missing = plan.will_run.iter().filter(must).find(|planned| {
        // What came before it may have left the output closed that it hangs on.
        is_whole && !ran(planned.node) && fold.phase_of(planned.node) == heddle_core::run::NodePhase::Cached
    });
    match missing {
        Some(planned) => Err(format!("node {} was planned to run, and did not", graph.node(planned.node).id)),
        None => Ok(()),
    }
}
