//! Resume and rerun: a run that goes on from another, or the plan of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::graph::{Graph, Problem};
use heddle_core::id::{NodeIx, PortIx, RunId, Slot};
use heddle_core::limits::{OFFERED_BYTES_MAX, OFFERS_MAX};
use heddle_core::node_type::{Control, Runner};
use heddle_core::partition::batch::{KeyRow, Phase, Started};
use heddle_core::partition::io::{Inherited, Input, Reply, Submission};
use heddle_core::run::RunStatus;
use heddle_core::run::checkpoint::Checkpoints;
use heddle_core::run::event::{OutputValue, PortOutput};
use heddle_core::run::lineage::{Edited, Offer, Source};
use heddle_core::run::offers::Packing;
use heddle_core::run::plan::{Plan, Planning, Trusted};
use heddle_core::run::resume::{self, Parent, Resume, ResumeRefusal, Taken};
use heddle_core::value::{Digest, Value, ValueRef};
use heddle_proto::control as wire;
use tonic::Status;

use super::agreed::{self, Given};
use super::parent::{self, Read, Values};
use super::plan as shown;
use crate::artifacts::submitted;
use crate::auth::{self, Tenant};
use crate::graphs;
use crate::journal::RunRow;
use crate::limits::HELD_FILES_MAX;
use crate::read::batches;
use crate::read::runs::{self, Ask, ReadError};
use crate::records::Relative;
use crate::rpc::{failure, run_requests};
use crate::shared::Shared;

/// A resume that can begin.
struct Prepared {
    row: RunRow,
    graph: Arc<Graph>,
    read: Read,
    results: Checkpoints,
    taken: Taken,
    part: Vec<NodeIx>,
    inputs: Vec<(NodeIx, Value)>,
    packing: Packing,
    plan: Plan,
    agreed: wire::AgreedPlan,
    root: RunId,
}

/// What a resume would do.
pub(crate) async fn plan(shared: &Arc<Shared>, request: wire::ResumeRequest) -> Result<wire::ResumePlan, Status> {
    let prepared = prepare(shared, &request).await?;
    Ok(shown::to_wire(&prepared.graph, prepared.row.run, &prepared.plan, agreed::token(&prepared.agreed)))
}

/// Starts the child.
pub(crate) async fn resume(shared: &Arc<Shared>, request: wire::ResumeRequest) -> Result<wire::ResumeReply, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let key = request.idempotency.as_ref().map(|given| run_requests::key_row(&tenant, given)).transpose()?;
    if let Some(reply) = replayed(shared, &tenant, key.as_ref()).await? {
        return Ok(reply);
    }
    let Prepared { row, graph, read, results, taken, part, inputs, mut packing, plan, agreed: now, root } =
        prepare(shared, &request).await?;
    if !request.plan_token.is_empty() && request.plan_token != agreed::token(&now) {
        let said = &request.plan_token;
        return Err(agreed::changed(shared, &tenant, said, (&read, &now), (&graph, &plan)).await);
    }
    run_requests::room(shared, &tenant).await?;
    let offers = resume::offers(&graph, &taken.lineage, &part, &results, &plan.covered);
    pack(shared, row.run, offers, &mut packing).await?;
    let slot = match &key {
        Some(row) => Slot::of_hash(run_requests::hash_of(&row.key)),
        None => shared.new_slot(),
    };
    let random = u128::from(shared.seed()) << 64 | u128::from(shared.seed());
    let run = RunId::new(shared.clock.now(), slot, random);
    let relative = Relative { root, run, parent: Some(row.run) };
    let noted = shared.records.put_relative(tenant.clone(), relative).await;
    noted.map_err(|error| failure::journal(&error))?;
    let submission = Submission {
        run,
        tenant: tenant.id().clone(),
        subject: request.subject.as_str().into(),
        workflow: row.created.workflow,
        target: taken.target,
        graph,
        inputs,
        key,
        traceparent: Some(request.traceparent.as_str()).filter(|text| !text.is_empty()).map(Arc::from),
        // What a run of the sandbox gave is no result of a real one.
        sandbox: request.sandbox || shared.sandbox || read.run.is_sandboxed(),
        batch: None,
        deadline: run_requests::deadline(request.deadline_ms),
        lineage: Some(Box::new(Inherited { lineage: taken.lineage, offers: packing.finish() })),
        invoked_by: None,
    };
    let partition = shared.partition_of(run);
    match shared.doors.request(partition, |caller| Input::Submit(caller, Box::new(submission))).await {
        Reply::Submitted { run: started, replayed: true, .. } if started != run => {
            replied(shared, &tenant, started).await
        }
        Reply::Submitted { run, workflow, created_at, replayed } => Ok(wire::ResumeReply {
            run: Some(wire::SubmitReply {
                execution_id: run.to_string(),
                workflow_id: workflow.to_string(),
                batch_id: runs::batch_id(run),
                started_at_ms: created_at.as_millis(),
                replayed,
                ..Default::default()
            }),
            parent_execution_id: row.run.to_string(),
            lineage_id: root.to_string(),
        }),
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a resume was answered as something else")),
    }
}

/// The answer to a request that was made before; whatever has changed since is of no interest.
async fn replayed(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    key: Option<&KeyRow>,
) -> Result<Option<wire::ResumeReply>, Status> {
    let Some(row) = key else { return Ok(None) };
    let found = shared.journal.lookup_key(row.key.clone(), shared.clock.now()).await;
    match found.map_err(|error| failure::journal(&error))? {
        Some(found) if found.body != row.body => Err(failure::key_mismatch()),
        Some(found) => match found.started {
            Started::Run(run) => replied(shared, tenant, run).await.map(Some),
            Started::Batch(_) => Ok(None),
        },
        None => Ok(None),
    }
}

/// What was answered when a child began.
async fn replied(shared: &Arc<Shared>, tenant: &Tenant, run: RunId) -> Result<wire::ResumeReply, Status> {
    let row = runs::row(shared, tenant, run).await.map_err(failure::read)?;
    let submitted = super::family::first(shared, tenant, run).await.map_err(failure::read)?;
    let lineage = submitted.lineage.unwrap_or_default();
    Ok(wire::ResumeReply {
        run: Some(wire::SubmitReply {
            execution_id: run.to_string(),
            workflow_id: row.created.workflow.to_string(),
            batch_id: runs::batch_id(run),
            started_at_ms: row.created.created_at.as_millis(),
            replayed: true,
            ..Default::default()
        }),
        parent_execution_id: lineage.parent.map_or_else(String::new, |parent| parent.to_string()),
        lineage_id: lineage.root.unwrap_or(run).to_string(),
    })
}

/// Copies results into the events of a run.
pub(super) async fn pack(
    shared: &Arc<Shared>,
    from: RunId,
    offers: Vec<Offer>,
    packing: &mut Packing,
) -> Result<(), Status> {
    if offers.len() > OFFERS_MAX {
        return Err(parent::too_much());
    }
    let outputs = offers.iter().flat_map(|offer| &offer.outputs).map(|output| &output.value);
    let values = parent::values(shared, from, outputs).await?;
    hold(shared, from, &values, packing).await?;
    for offer in offers {
        let copied = packing.add(offer, &|reference| values.get(reference).cloned());
        copied.ok_or_else(|| Status::internal("a value of the run that is gone on from cannot be read"))?;
    }
    if packing.bytes_copied() > OFFERED_BYTES_MAX { Err(parent::too_much()) } else { Ok(()) }
}

/// Keeps what these values only describe, as what a child gave beside what edges take of it, for as long as the run is kept.
async fn hold(shared: &Shared, from: RunId, values: &Values, packing: &mut Packing) -> Result<(), Status> {
    let inline = values.values().filter(|value| value.artifact().is_none());
    let described: BTreeSet<Digest> = inline.flat_map(|value| submitted::within(value.json())).collect();
    if described.is_empty() {
        return Ok(());
    }
    let row = shared.journal.read_row(from).await.map_err(|error| failure::journal(&error))?;
    let Some(tenant) = row.map(|row| Tenant::of_run(&row.created)) else { return Ok(()) };
    for digest in described.into_iter().take(HELD_FILES_MAX) {
        // What is gone already cannot be kept.
        if let Some(artifact) = submitted::find(shared, &tenant, digest).await? {
            packing.put(Value::from_artifact(artifact));
        }
    }
    Ok(())
}

async fn prepare(shared: &Arc<Shared>, request: &wire::ResumeRequest) -> Result<Prepared, Status> {
    let tenant = auth::tenant(request)?;
    let row = parent_row(shared, &tenant, request).await?;
    let graph = graph_of(shared, &tenant, &row, request).await?;
    let read = parent::read(shared, &row, false).await.map_err(failure::read)?;
    let root = runs::root_of(&read.run);
    let results = read.results.clone().in_graph(read.run.graph(), &graph);
    let edits = edits(shared, &tenant, &graph, request).await?;
    let edited: Vec<(Edited, Digest)> = edits.iter().map(|(edit, value)| (*edit, value.digest())).collect();
    let given = given_inputs(shared, &tenant, &graph, request).await?;
    let new: Vec<(NodeIx, Digest)> = given.iter().map(|(node, value)| (*node, value.digest())).collect();
    let said = Given { edits: &edited, inputs: &new };
    let ends = (node(&graph, &request.from_node_id, "fromNodeId")?, node(&graph, &request.to_node_id, "toNodeId")?);
    let asked = asked_of(request, ends, said, &read, &graph);
    let taken = asked.taken(&graph, Parent { run: &read.run, results: &results, root });
    let taken = taken.map_err(|refusal| refused(&graph, &refusal))?;
    let part = resume::part(&graph, &taken.lineage, taken.target);
    let can_run = graph.can_execute(&part, &taken.lineage.trusted);
    can_run.map_err(|problems| failure::invalid_graph(problems, Vec::new()))?;
    let inputs = inputs(shared, (&read, &graph, &part), given).await?;
    let packing = trusted(shared, &row, (&graph, &results), &taken, &edits).await?;
    let plan = planned((&read, &graph, &results), &taken, &part, said);
    let agreed = agreed::agreement(&read, &graph, request, said);
    Ok(Prepared { row, graph, read, results, taken, part, inputs, packing, plan, agreed, root })
}

/// What is asked for, by nodes of the graph that the child will run.
pub(super) fn asked_of(
    request: &wire::ResumeRequest,
    (from, to): (Option<NodeIx>, Option<NodeIx>),
    given: Given<'_>,
    read: &Read,
    graph: &Graph,
) -> Resume {
    Resume {
        rerun: request.rerun,
        from,
        to,
        edits: given.edits.iter().map(|(edit, _)| *edit).collect(),
        indices: request.indices.iter().map(|it| it.index.clone()).collect(),
        failed_items: request.failed_items,
        downstream_all: request.downstream_all,
        differs: !given.inputs.is_empty() || graph.digest() != read.run.graph().digest(),
    }
}

/// The plan. Of what is given only digests count.
pub(super) fn planned(
    (read, graph, results): (&Read, &Graph, &Checkpoints),
    taken: &Taken,
    part: &[NodeIx],
    given: Given<'_>,
) -> Plan {
    let mut trusted = Trusted::new();
    for node in taken.lineage.trusted.iter().copied() {
        let outputs = resume::edited_outputs(graph, node, results).into_iter().map(|(port, kept)| {
            let edit = given.edits.iter().find(|(edit, _)| (edit.node, edit.port) == (node, port));
            let edit = edit.map(|(_, digest)| graph.content_of(node, port, *digest, kept.as_ref()));
            (port, edit.or_else(|| graph.content(node, port, kept.as_ref()?)))
        });
        trusted.insert(node, (Source::Edit, outputs.collect()));
    }
    let mut inputs = known_inputs(graph, &[]);
    let kept = kept_inputs(read, graph).map(|(node, reference)| (node, reference.digest));
    let given = kept.chain(given.inputs.iter().copied()).filter(|(node, _)| part.binary_search(node).is_ok());
    inputs.extend(given.map(|(node, digest)| (node, graph.content_of(node, PortIx(0), digest, None))));
    let planning = Planning {
        graph,
        part,
        lineage: &taken.lineage,
        reasons: &taken.reasons,
        results,
        trusted: &trusted,
        inputs: &inputs,
    };
    planning.plan()
}

/// The row of the parent, which must be over.
async fn parent_row(shared: &Arc<Shared>, tenant: &Tenant, request: &wire::ResumeRequest) -> Result<RunRow, Status> {
    let id = failure::run_id(&request.execution_id)?;
    let row = match runs::row(shared, tenant, id).await {
        Err(ReadError::NotFound) => {
            let run = batches::not_begun(shared, tenant, id).await.map_err(failure::read)?;
            if matches!(run.status(), wire::RunStatus::Cancelled | wire::RunStatus::Failed) {
                let message = "the run was cancelled with its batch before it began, or could not be started, so it has no inputs and no results to go on \
                               from; execute the workflow with its values instead";
                return Err(failure::plain(422, "nothing_to_resume", message));
            }
            return Err(not_terminal("the run has not begun: wait for it, or cancel its batch", run.waiting_on));
        }
        row => row.map_err(failure::read)?,
    };
    failure::if_set_aside(&row)?;
    match (row.summary.status, row.summary.phase) {
        (RunStatus::Running, _) => {
            let run = runs::run(shared, tenant, id, Ask::default()).await.map_err(failure::read)?;
            let message = "the run goes on by itself; wait until it is over, or cancel it first";
            Err(not_terminal(message, run.waiting_on))
        }
        // What is paid for and comes in a moment must not be paid for again.
        (_, Phase::Closing) => {
            let message = "attempts of the run still finish, and what they give is kept; ask again in a moment";
            Err(not_terminal(message, Vec::new()))
        }
        _ => Ok(row),
    }
}

fn not_terminal(message: &str, waiting_on: Vec<wire::WaitingOn>) -> Status {
    failure::failure(wire::Failure {
        code: "execution_not_terminal".into(),
        http_status: 409,
        message: message.into(),
        waiting_on,
        ..Default::default()
    })
}

/// The graph that the child runs.
async fn graph_of(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    row: &RunRow,
    request: &wire::ResumeRequest,
) -> Result<Arc<Graph>, Status> {
    match request.graph_choice() {
        wire::ResumeGraph::Unspecified | wire::ResumeGraph::Same => {
            shared.graphs.get(tenant, row.created.graph).await.map_err(failure::graph)
        }
        wire::ResumeGraph::Current => {
            let workflow = shared.workflows.get(tenant, row.created.workflow).await;
            let workflow =
                workflow.map_err(|error| failure::journal(&error))?.ok_or_else(failure::workflow_not_found)?;
            shared.graphs.get(tenant, workflow.graph).await.map_err(failure::graph)
        }
        wire::ResumeGraph::Given => {
            let json = request.graph.clone().unwrap_or_default();
            let draft = graphs::draft(&json.nodes, &json.edges, &json.policy);
            let draft = draft.map_err(|problems| failure::invalid_graph(problems, Vec::new()))?;
            shared.graphs.put(tenant, &draft).await.map_err(failure::graph)
        }
    }
}

fn node(graph: &Graph, id: &str, field: &str) -> Result<Option<NodeIx>, Status> {
    if id.is_empty() {
        return Ok(None);
    }
    let unknown = || unknown_node(vec![graph.unknown_node(id).at(format!("/{field}"))]);
    graph.find(id).map(Some).ok_or_else(unknown)
}

fn unknown_node(problems: Vec<Problem>) -> Status {
    with_problems("unknown_node", problems)
}

pub(super) fn with_problems(code: &str, problems: Vec<Problem>) -> Status {
    let message = problems.first().map_or_else(String::new, |it| format!("{} {}", it.message, it.fix));
    let diagnosis = Some(failure::diagnosis(problems, Vec::new(), &[]));
    failure::failure(wire::Failure { code: code.into(), http_status: 422, message, diagnosis, ..Default::default() })
}

/// The edits, with files in the place of their descriptions.
async fn edits(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    graph: &Graph,
    request: &wire::ResumeRequest,
) -> Result<Vec<(Edited, Value)>, Status> {
    if request.outputs_json.is_empty() {
        return Ok(Vec::new());
    }
    let bound = graph.bind_outputs(&request.outputs_json).map_err(|problems| {
        let is_unknown = problems.iter().all(|it| it.rule == heddle_core::graph::rule::UNKNOWN_TARGET);
        with_problems(if is_unknown { "unknown_node" } else { "invalid_outputs" }, problems)
    })?;
    let mut edits = Vec::with_capacity(bound.len());
    for (node, port, value) in bound {
        let found = submitted::value_of(shared, tenant, &value, graph.list_place(node, port)).await?;
        let value = found.map_err(|problem| {
            let problem = problem.node(&graph.node(node).id).at(graph.edit_path(node, port));
            with_problems("invalid_outputs", vec![problem])
        })?;
        edits.push((Edited { node, port }, value));
    }
    Ok(edits)
}

/// Values that the request gives for inputs.
async fn given_inputs(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    graph: &Graph,
    request: &wire::ResumeRequest,
) -> Result<Vec<(NodeIx, Value)>, Status> {
    if request.inputs_json.is_empty() {
        return Ok(Vec::new());
    }
    let bound = graph.bind_inputs(&request.inputs_json).map_err(failure::bad_inputs)?;
    submitted::resolve(shared, tenant, graph, bound).await
}

/// What the parent was given for input nodes that are there still.
fn kept_inputs(read: &Read, graph: &Graph) -> impl Iterator<Item = (NodeIx, ValueRef)> {
    let kept = read.run.given_inputs().iter();
    let known = kept.filter_map(|(node, reference)| Some((graph.counterpart(read.run.graph(), *node)?, *reference)));
    known.filter(|(node, _)| graph.node(*node).runner == Runner::Control(Control::Input))
}

/// Values for the inputs of the part that runs: those of the parent, unless others are given.
async fn inputs(
    shared: &Arc<Shared>,
    (read, graph, part): (&Read, &Graph, &[NodeIx]),
    given: Vec<(NodeIx, Value)>,
) -> Result<Vec<(NodeIx, Value)>, Status> {
    let kept: Vec<(NodeIx, ValueRef)> = kept_inputs(read, graph).collect();
    let outputs: Vec<OutputValue> = kept.iter().map(|(_, reference)| OutputValue::One(*reference)).collect();
    let values = parent::values(shared, read.run.id(), &outputs).await?;
    let mut all: BTreeMap<NodeIx, Value> = BTreeMap::new();
    all.extend(kept.iter().filter_map(|(node, reference)| Some((*node, values.get(reference)?.clone()))));
    all.extend(given);
    let all: Vec<(NodeIx, Value)> = all.into_iter().filter(|(ix, _)| part.binary_search(ix).is_ok()).collect();
    graph.complete_inputs(part, &all).map_err(failure::bad_inputs)?;
    Ok(all)
}

/// What the plan knows of input nodes.
pub(super) fn known_inputs(graph: &Graph, given: &[(NodeIx, Value)]) -> BTreeMap<NodeIx, Digest> {
    let defaults = graph.nodes().filter_map(|(ix, _)| Some((ix, graph.input_default(ix)?)));
    let given = given.iter().map(|(ix, value)| (*ix, value.clone()));
    defaults.chain(given).map(|(ix, value)| (ix, graph.content_of(ix, PortIx(0), value.digest(), None))).collect()
}

/// What edited nodes give: what was edited, and what the parent gave at other outputs.
async fn trusted(
    shared: &Arc<Shared>,
    row: &RunRow,
    (graph, results): (&Graph, &Checkpoints),
    taken: &Taken,
    edits: &[(Edited, Value)],
) -> Result<Packing, Status> {
    let mut packing = Packing::default();
    for node in taken.lineage.trusted.iter().copied() {
        let before = resume::edited_outputs(graph, node, results);
        let kept = before.iter().filter_map(|(_, kept)| kept.as_ref());
        let values = parent::values(shared, row.run, kept).await?;
        let mut outputs = Vec::with_capacity(before.len());
        for (port, kept) in before {
            let edit = edits.iter().find(|(edit, _)| (edit.node, edit.port) == (node, port));
            let value = match (edit, kept) {
                (Some((_, value)), kept) => OutputValue::in_place_of(packing.put(value.clone()), kept.as_ref()),
                (None, Some(kept)) => {
                    let copied = packing.copy(&kept, &|reference| values.get(reference).cloned());
                    copied.ok_or_else(|| Status::internal("a value of an edited node cannot be read"))?
                }
                (None, None) => OutputValue::Closed,
            };
            outputs.push(PortOutput { port, value });
        }
        packing.add_own(Offer { node, index: Vec::new(), key: Digest([0; 32]), source: Source::Edit, outputs });
    }
    Ok(packing)
}

fn refused(graph: &Graph, refusal: &ResumeRefusal) -> Status {
    match refusal {
        ResumeRefusal::NotTerminal => not_terminal("the run goes on by itself; wait until it is over", Vec::new()),
        ResumeRefusal::Nothing => failure::plain(
            422,
            "nothing_to_resume",
            "the run completed: name the node to go on from (fromNodeId; toNodeId only says where to stop), or change an output \
             (outputs)",
        ),
        ResumeRefusal::NotOnTheWay => failure::plain(
            422,
            "unknown_node",
            "fromNodeId does not lead to toNodeId; name a node behind it, or leave one of them out",
        ),
        ResumeRefusal::BadIndex(index) => {
            let message = format!(
                "there is no item {index:?} of that node; an index has a number for each map or loop around it, the outermost first"
            );
            failure::plain(422, "invalid_indices", message)
        }
        ResumeRefusal::EditOutside(edit) => {
            let node = graph.node(edit.node);
            let port = node.node_type.as_ref().and_then(|node_type| node_type.outputs.get(usize::from(edit.port.0)));
            let message = format!(
                "nothing that would run takes \"{}\" of node \"{}\"; leave this output as it is, or name another toNodeId, or none",
                port.map_or("", |port| &port.id),
                node.label
            );
            failure::plain(422, "invalid_outputs", message)
        }
        ResumeRefusal::EditReviewed(node) => not_decided(graph, *node),
        ResumeRefusal::EditInside(node) => {
            let is_lifted = graph.node(*node).within.is_some_and(|container| graph.node(container).is_anonymous);
            let why = match is_lifted {
                true => {
                    "runs once for each item of a list, and its results are not changed one by one; name indices to run items again"
                }
                false => {
                    "lies inside a map or loop; change what its container gives, or name indices to run items again"
                }
            };
            failure::plain(422, "invalid_outputs", format!("node \"{}\" {why}", graph.node(*node).label))
        }
    }
}

/// Something is to stand in for what people decide, and they have not.
pub(super) fn not_decided(graph: &Graph, node: NodeIx) -> Status {
    let message = format!(
        "people decide on what node \"{}\" gives, and nothing stands in for that: leave its output out, and decide its review; \
         or change what comes into it",
        graph.node(node).label
    );
    failure::plain(422, "review_not_decided", message)
}
