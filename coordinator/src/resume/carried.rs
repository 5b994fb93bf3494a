//! Parts of a graph on what is there: results that the nodes of a request carried, and those of a run that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::graph::{Graph, Problem};
use heddle_core::id::{NodeIx, PortIx, RunId, WorkflowId};
use heddle_core::partition::io::Inherited;
use heddle_core::run::checkpoint::{Checkpoint, Checkpoints};
use heddle_core::run::event::{OutputValue, PortOutput};
use heddle_core::run::lineage::{Forced, Lineage, Offer, Source};
use heddle_core::run::offers::Packing;
use heddle_core::run::plan::{Plan, Planning, Trusted, Why};
use heddle_core::run::resume;
use heddle_core::value::{Digest, Value};
use heddle_proto::control as wire;
use tonic::Status;

use super::parent::{self, Read};
use super::start::{known_inputs, not_decided, pack, with_problems};
use crate::artifacts::submitted;
use crate::auth::Tenant;
use crate::limits::{BATCH_INHERITED_BYTES_MAX, BATCH_INHERITED_TOTAL_BYTES_MAX};
use crate::read::runs::{self, ReadError};
use crate::rpc::failure;
use crate::shared::Shared;

/// What a submission takes over.
pub(crate) struct Carried {
    lineage: Lineage,
    packing: Packing,
    trusted: Trusted,
    results: Checkpoints,
    /// The run that `results` are of.
    from: Option<RunId>,
    /// What people have decided in the runs that nodes name. It counts for the same inputs alone.
    decided: Vec<Checkpoint>,
    /// What nodes were given when they made what they carry, and what they were.
    made: BTreeMap<NodeIx, Made>,
    only: bool,
    /// What follows from inputs that each run of a batch has another value for, sorted: what nodes of it carry is no run's.
    differs: Vec<NodeIx>,
}

struct Made {
    graph: Arc<Graph>,
    result: Checkpoint,
}

/// What a request asks to be taken over; nothing if that is nothing.
pub(crate) async fn resolve(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    (workflow, graph, target): (WorkflowId, &Arc<Graph>, Option<NodeIx>),
    request: &wire::SubmitRequest,
) -> Result<Option<Carried>, Status> {
    let asks = !request.carried.is_empty() || !request.from_execution_id.is_empty();
    let is_fresh = request.force && graph.shares_results();
    if !(asks && !request.force || request.only || is_fresh) {
        return Ok(None);
    }
    let mut carried = Carried {
        lineage: Lineage { fresh: request.force, ..Lineage::default() },
        packing: Packing::default(),
        trusted: Trusted::new(),
        results: Checkpoints::default(),
        from: None,
        decided: Vec::new(),
        made: BTreeMap::new(),
        only: request.only,
        differs: differs(graph, target, &request.iterator_configs_json)?,
    };
    if let Some(target) = target {
        let whole = resume::forced_whole(graph, Forced { node: target, index: Vec::new() });
        carried.lineage.forced = whole.collect();
    }
    if !request.force {
        carried.take_all(shared, tenant, (workflow, graph, target), &request.carried).await?;
        if !request.from_execution_id.is_empty() {
            let run = failure::run_id(&request.from_execution_id)?;
            let row = runs::row(shared, tenant, run).await.map_err(failure::read)?;
            if row.created.workflow != workflow {
                return Err(failure::run_not_found());
            }
            failure::if_set_aside(&row)?;
            let Read { run: read, results } = parent::read(shared, &row, false).await.map_err(failure::read)?;
            carried.results = results.in_graph(read.graph(), graph);
            carried.from = Some(run);
            carried.lineage.note_starters(&read);
        }
    }
    carried.lineage.tidy();
    Ok(Some(carried))
}

impl Carried {
    /// The nodes that the run covers.
    pub(crate) fn part(&self, graph: &Graph, target: Option<NodeIx>) -> Vec<NodeIx> {
        resume::part(graph, &self.lineage, target)
    }

    /// Nodes that give something already.
    pub(crate) fn known(&self) -> &[NodeIx] {
        &self.lineage.trusted
    }

    /// What the run takes over, and what of that was made of something else than would come into it now.
    pub(crate) async fn inherited(
        self,
        shared: &Arc<Shared>,
        run: (&Arc<Graph>, &[NodeIx], Option<NodeIx>),
        inputs: &[(NodeIx, Value)],
    ) -> Result<(Inherited, Vec<wire::StaleDependency>), Status> {
        let (inherited, stale, _) = self.taken_over(shared, run, inputs).await?;
        Ok((inherited, stale))
    }

    /// The same for each run of a batch; the inputs are those of the first.
    pub(crate) async fn inherited_by_all(
        self,
        shared: &Arc<Shared>,
        run: (&Arc<Graph>, &[NodeIx], Option<NodeIx>),
        inputs: &[(NodeIx, Value)],
        runs: u32,
    ) -> Result<(Inherited, Vec<wire::StaleDependency>), Status> {
        let (inherited, stale, bytes) = self.taken_over(shared, run, inputs).await?;
        if bytes > BATCH_INHERITED_BYTES_MAX || bytes as u64 * u64::from(runs) > BATCH_INHERITED_TOTAL_BYTES_MAX {
            let mib = |bytes: u64| bytes / (1024 * 1024);
            let message = format!(
                "the runs of the batch would take over more than {} MiB of earlier results each, or {} MiB in all; leave out \
                 outputs of nodes and fromExecutionId, or iterate over less",
                mib(BATCH_INHERITED_BYTES_MAX as u64),
                mib(BATCH_INHERITED_TOTAL_BYTES_MAX)
            );
            return Err(failure::plain(422, "results_too_large", message));
        }
        Ok((inherited, stale))
    }

    async fn taken_over(
        mut self,
        shared: &Arc<Shared>,
        (graph, part, target): (&Arc<Graph>, &[NodeIx], Option<NodeIx>),
        inputs: &[(NodeIx, Value)],
    ) -> Result<(Inherited, Vec<wire::StaleDependency>, usize), Status> {
        let known = known_inputs(graph, inputs);
        let reasons: Vec<(Forced, Why)> =
            self.lineage.forced.iter().map(|forced| (forced.clone(), Why::Start)).collect();
        let mut results = self.results.clone();
        results.results.append(&mut self.decided);
        let planning = Planning {
            graph,
            part,
            lineage: &self.lineage,
            reasons: &reasons,
            results: &results,
            trusted: &self.trusted,
            inputs: &known,
        };
        let plan = planning.plan();
        if let Some(target) = target.filter(|_| self.only) {
            let planned = plan.will_run.iter().chain(&plan.may_run).map(|planned| planned.node);
            // What the first run of a batch finds, another may not: each has other inputs.
            let other = self.differs.iter().copied().filter(|node| part.binary_search(node).is_ok());
            self.refuse_missing(graph, target, planned.chain(other))?;
        }
        // What leads to nothing but reused results does not run; whether it still gives what they were made of is looked at all the
        // same.
        let before = resume::part(graph, &Lineage { trusted: Vec::new(), ..self.lineage.clone() }, target);
        let stale = self.stale(graph, &before, &Planning { part: &before, ..planning }.plan());
        if let Some(from) = self.from {
            // What is in a container that one run of a batch reuses as a whole, another may need.
            let covered = if self.differs.is_empty() { &plan.covered } else { &BTreeSet::new() };
            let offers = resume::offers(graph, &self.lineage, part, &self.results, covered);
            pack(shared, from, offers, &mut self.packing).await?;
        }
        let bytes = self.packing.bytes_copied();
        Ok((Inherited { lineage: self.lineage, offers: self.packing.finish() }, stale, bytes))
    }

    async fn take_all(
        &mut self,
        shared: &Arc<Shared>,
        tenant: &Tenant,
        (workflow, graph, target): (WorkflowId, &Arc<Graph>, Option<NodeIx>),
        all: &[wire::CarriedOutput],
    ) -> Result<(), Status> {
        let mut read: BTreeMap<RunId, Option<Read>> = BTreeMap::new();
        for carried in all {
            let Some(node) = graph.find(&carried.node_id) else { continue };
            let is_around = target.is_some_and(|target| graph.is_inside(target, node));
            if target == Some(node)
                || is_around
                || self.differs.binary_search(&node).is_ok()
                || graph.within(node).is_some()
                || !graph.is_reusable(node)
            {
                continue;
            }
            let mut found = None;
            if let Ok(run) = carried.execution_id.parse::<RunId>() {
                if let std::collections::btree_map::Entry::Vacant(place) = read.entry(run) {
                    place.insert(of_workflow(shared, tenant, workflow, run).await?);
                }
                let of_run = read.get(&run).and_then(Option::as_ref);
                let made = of_run.and_then(|read| recorded(read, graph, node, carried.seq));
                found = made.map(|made| (run, made));
            }
            if graph.asks_people(node) {
                let of_run = found.as_ref().and_then(|(run, _)| read.get(run)?.as_ref());
                of_run.iter().for_each(|read| self.lineage.note_starters(&read.run));
                self.take_decided(shared, (graph, node), found, carried).await?;
                continue;
            }
            // What names a run that is not there any more is no client's own word.
            let is_own_word = carried.execution_id.is_empty() || found.is_some();
            let mut before = None;
            if let Some((run, made)) = found {
                if self.take_recorded(shared, graph, (run, node), &made, carried).await? {
                    read.get(&run).into_iter().flatten().for_each(|read| self.lineage.note_starters(&read.run));
                    self.made.insert(node, made);
                    continue;
                }
                before = Some(made);
            }
            match graph.carried_outputs(node, &carried.output_json) {
                Ok(Some(given)) => {
                    self.take_given(shared, tenant, (graph, node, before.as_ref()), given, carried).await?
                }
                Err(problem) if is_own_word => return Err(not_given(carried, problem)),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes what a run has recorded; false if the request carries something else.
    async fn take_recorded(
        &mut self,
        shared: &Arc<Shared>,
        graph: &Graph,
        (run, node): (RunId, NodeIx),
        made: &Made,
        carried: &wire::CarriedOutput,
    ) -> Result<bool, Status> {
        let values = parent::values(shared, run, made.result.outputs.iter().map(|output| &output.value)).await?;
        if is_changed(made, &values, &carried.output_json) {
            return Ok(false);
        }
        let outputs = made.result.outputs.iter();
        let outputs = outputs.map(|output| {
            let value = self.packing.copy(&output.value, &|reference| values.get(reference).cloned())?;
            Some(PortOutput { port: output.port, value })
        });
        let outputs = outputs.collect::<Option<Vec<_>>>();
        let outputs = outputs.ok_or_else(|| Status::internal("a value that a node carries cannot be read"))?;
        self.trust(graph, node, made.result.source, outputs);
        Ok(true)
    }

    /// Of a node that asks people counts what they have decided about the same value, and nothing that a request says itself.
    async fn take_decided(
        &mut self,
        shared: &Arc<Shared>,
        (graph, node): (&Graph, NodeIx),
        found: Option<(RunId, Made)>,
        carried: &wire::CarriedOutput,
    ) -> Result<(), Status> {
        let Some((run, made)) = found else {
            // Of a run that is not there any more nobody knows what was decided: people are asked anew.
            let is_own_word = carried.execution_id.is_empty();
            let could_give = graph.carried_outputs(node, &carried.output_json).is_ok_and(|given| given.is_some());
            return if is_own_word && could_give { Err(not_decided(graph, node)) } else { Ok(()) };
        };
        let values = parent::values(shared, run, made.result.outputs.iter().map(|output| &output.value)).await?;
        if is_changed(&made, &values, &carried.output_json) {
            return Err(not_decided(graph, node));
        }
        let result = Checkpoint { node, ..made.result };
        let (index, outputs) = (Vec::new(), result.outputs.clone());
        let offer = Offer { node, index, key: result.key, source: result.source, outputs };
        let copied = self.packing.add(offer, &|reference| values.get(reference).cloned());
        copied.ok_or_else(|| Status::internal("a value that a node carries cannot be read"))?;
        self.decided.push(result);
        Ok(())
    }

    /// Takes what the request says itself, if it is something that the node could have given.
    async fn take_given(
        &mut self,
        shared: &Arc<Shared>,
        tenant: &Tenant,
        (graph, node, before): (&Graph, NodeIx, Option<&Made>),
        given: Vec<(PortIx, Value)>,
        carried: &wire::CarriedOutput,
    ) -> Result<(), Status> {
        let mut resolved: BTreeMap<PortIx, Value> = BTreeMap::new();
        for (port, value) in given {
            let found = submitted::value_of(shared, tenant, &value, graph.list_place(node, port)).await?;
            resolved.insert(port, found.map_err(|problem| not_given(carried, problem.node(&graph.node(node).id)))?);
        }
        let ports = graph.node(node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
        let outputs = (0..ports as u16).map(PortIx).map(|port| PortOutput {
            port,
            value: match resolved.get(&port) {
                Some(value) => {
                    let before = before.and_then(|made| made.result.outputs.iter().find(|it| it.port == port));
                    OutputValue::in_place_of(self.packing.put(value.clone()), before.map(|it| &it.value))
                }
                None => OutputValue::Closed,
            },
        });
        let outputs = outputs.collect();
        self.trust(graph, node, Source::Request, outputs);
        Ok(())
    }

    fn trust(&mut self, graph: &Graph, node: NodeIx, source: Source, outputs: Vec<PortOutput>) {
        let known = outputs.iter().map(|it| (it.port, graph.content(node, it.port, &it.value))).collect();
        self.trusted.insert(node, (source, known));
        self.lineage.trusted.push(node);
        self.lineage.trusted.sort_unstable();
        self.lineage.trusted.dedup();
        self.packing.add_own(Offer { node, index: Vec::new(), key: Digest([0; 32]), source, outputs });
    }

    /// Nodes that are reused though they were made of something else.
    fn stale(&self, graph: &Graph, part: &[NodeIx], plan: &Plan) -> Vec<wire::StaleDependency> {
        let in_part = self.made.iter().filter(|(node, _)| part.binary_search(node).is_ok());
        let stale = in_part.filter_map(|(node, made)| {
            let now = plan.inputs.get(node).map_or(&[][..], Vec::as_slice);
            let mut changed_keys = Vec::new();
            let was = made.graph.node(made.result.node);
            let is = graph.node(*node);
            if was.type_id != is.type_id {
                changed_keys.push("nodeType".to_owned());
            } else if made.graph.identity(made.result.node) != graph.identity(*node) {
                changed_keys.push("config".to_owned());
            }
            for (name, digest) in now {
                let before = made.result.inputs.iter().find(|(known, _)| known == name);
                if before.is_none_or(|(_, before)| before != digest) {
                    changed_keys.push(name.clone());
                }
            }
            (!changed_keys.is_empty()).then(|| wire::StaleDependency { node_id: is.id.to_string(), changed_keys })
        });
        stale.collect()
    }

    /// One node alone runs on what is there: says what is not.
    fn refuse_missing(&self, graph: &Graph, target: NodeIx, runs: impl Iterator<Item = NodeIx>) -> Result<(), Status> {
        let is_other = |node: &NodeIx| {
            *node != target
                && graph.is_reusable(*node)
                && !graph.is_inside(*node, target)
                && !graph.is_inside(target, *node)
                && !graph.node(*node).is_anonymous
        };
        let mut missing: Vec<NodeIx> = runs.filter(is_other).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        const NAMED_MAX: usize = 20;
        let names: Vec<String> =
            missing.iter().take(NAMED_MAX).map(|node| format!("\"{}\"", graph.node(*node).id)).collect();
        let message = format!(
            "nothing is there to run that node alone on: {} of the nodes before it have no result ({}); {}",
            missing.len(),
            names.join(", "),
            self.instead(graph, &missing)
        );
        Err(failure::plain(422, "only_needs_results", message))
    }

    /// What can be done where these nodes have no result.
    fn instead(&self, graph: &Graph, missing: &[NodeIx]) -> &'static str {
        if missing.iter().any(|node| self.differs.binary_search(node).is_ok()) {
            return "each run of the batch has other inputs there: leave out \"only\", or iterate over what does not lead to it";
        }
        match (missing.iter().any(|node| graph.within(*node).is_some()), self.from.is_some()) {
            (false, _) => "leave out \"only\", carry their outputs, or name a run that has them (\"fromExecutionId\")",
            // They have results item by item, which no request carries.
            (true, false) => {
                "leave out \"only\", or name a run that has run them for the same items (\"fromExecutionId\")"
            }
            (true, true) => {
                "leave out \"only\": the run that is named has not run them for the same items, or turns of a loop would go on \
                 from each other"
            }
        }
    }
}

/// What follows from the inputs that the runs of a batch differ in, sorted; nothing of a run that is started alone.
fn differs(graph: &Graph, target: Option<NodeIx>, iterators: &[u8]) -> Result<Vec<NodeIx>, Status> {
    if iterators.is_empty() {
        return Ok(Vec::new());
    }
    let whole = resume::part(graph, &Lineage::default(), target);
    let axes = graph.read_iterators(&whole, iterators).map_err(failure::bad_inputs)?;
    let nodes = axes.iter().flat_map(|axis| &axis.columns).map(|column| column.node);
    let following: BTreeSet<NodeIx> = nodes.flat_map(|node| graph.following(node)).collect();
    Ok(following.into_iter().collect())
}

/// A request says itself what a node gave, and the node could not have given it.
fn not_given(carried: &wire::CarriedOutput, problem: Problem) -> Status {
    let path = format!("{}{}", carried.path, problem.path.as_deref().unwrap_or_default());
    with_problems("invalid_outputs", vec![problem.at(path)])
}

/// A run, if it is one of the workflow's.
async fn of_workflow(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    workflow: WorkflowId,
    run: RunId,
) -> Result<Option<Read>, Status> {
    let row = match runs::row(shared, tenant, run).await {
        Err(ReadError::NotFound | ReadError::Expired(_)) => return Ok(None),
        row => row.map_err(failure::read)?,
    };
    if row.created.workflow != workflow || row.quarantine_reason.is_some() {
        return Ok(None);
    }
    parent::read(shared, &row, true).await.map(Some).map_err(failure::read)
}

/// What a node gave in a run.
fn recorded(read: &Read, graph: &Graph, node: NodeIx, seq: u64) -> Option<Made> {
    let of_run = read.run.graph();
    let there = of_run.find(&graph.node(node).id)?;
    let results = read.results.results.iter().rev();
    let result = results.into_iter().find(|result| result.node == there && (seq == 0 || result.seq.0 == seq))?;
    // Outputs are known by their places: another type may have others.
    let ports =
        |graph: &Graph, node| graph.outer_outputs(node).map(|(ix, port)| (ix, port.id.clone())).collect::<Vec<_>>();
    (ports(of_run, there) == ports(graph, node)).then(|| Made { graph: Arc::clone(of_run), result: result.clone() })
}

/// Whether a request carries something else than was recorded. Files are told by where they lie, which differs from answer to
/// answer: they are not compared.
fn is_changed(made: &Made, values: &parent::Values, output: &[u8]) -> bool {
    let Ok(serde_json::Value::Object(given)) = serde_json::from_slice(output) else { return false };
    let node_type = made.graph.node(made.result.node).node_type.as_ref();
    let ports = node_type.iter().flat_map(|node_type| node_type.outputs.iter().zip(0..));
    ports.into_iter().any(|(port, place)| {
        let Some(given) = given.get(&*port.id) else { return false };
        let kept = made.result.outputs.iter().find(|output| output.port == PortIx(place));
        match kept.map(|kept| &kept.value) {
            Some(OutputValue::One(reference) | OutputValue::List(reference)) => match values.get(reference) {
                Some(value) if value.artifact().is_none() => {
                    let kept = serde_json::from_slice::<serde_json::Value>(value.json());
                    kept.is_ok_and(|kept| kept != *given) && !is_described(given)
                }
                _ => false,
            },
            _ => false,
        }
    })
}

/// Whether a value is, or holds, the description of a file.
fn is_described(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(object) => object.contains_key("digest") || object.values().any(is_described),
        serde_json::Value::Array(items) => items.iter().any(is_described),
        _ => false,
    }
}
