//! What a child begins with: the workflow as it is saved, or a version of it, and the values that its parent has for it.

use std::sync::Arc;

use heddle_core::graph::{Graph, Invoke, Problem};
use heddle_core::id::{EventSeq, Instance, RunId};
use heddle_core::limits::SUBMIT_INPUTS_BYTES_MAX;
use heddle_core::partition::io::Submission;
use heddle_core::run::event::{Decision, ErrorClass, Fact, Invoked, InvokedBy, NodeError, Submitted};
use heddle_core::run::lineage::Lineage;
use heddle_core::run::resume;
use heddle_core::value::{Digest, Value};
use heddle_telemetry::{InstanceName, RunTrace, TraceParent};
use tonic::{Code, Status};

use super::{NotNow, one_value, refused, row};
use crate::artifacts::submitted;
use crate::auth::Tenant;
use crate::graphs::GraphError;
use crate::journal::RunRow;
use crate::read::runs;
use crate::read::values::{self, Kept, Of, Read};
use crate::rpc::run_requests::room;
use crate::shared::Shared;

/// What becomes of a child that is to begin.
pub(crate) enum Started {
    /// It begins so.
    Begins(Box<Submission>),
    /// It has begun before.
    Exists,
    /// It never can, and its node is told why.
    Cannot(NodeError),
}

/// A child as it is to be started.
///
/// # Errors
/// [`NotNow`]: it may be otherwise a moment later.
pub(crate) async fn start(
    shared: &Arc<Shared>,
    parent: RunId,
    instance: Instance,
    seq: EventSeq,
    child: RunId,
) -> Result<Started, NotNow> {
    let row = row(shared, parent).await?;
    let begins = match &row.quarantine_reason {
        // This message may have been written without the events beside it, so nothing can be read of what the child is given.
        Some(_) => Err(refused(ErrorClass::Internal, "child_failed", format!("the run {parent} was set aside"))),
        None => Parent::read(shared, &row, instance, seq, child).await?.submission(shared, child).await?,
    };
    match begins {
        Ok(submission) => Ok(Started::Begins(Box::new(submission))),
        // What has begun goes on, whatever has become of its workflow since.
        Err(_) if shared.journal.read_row(child).await.map_err(NotNow::Journal)?.is_some() => Ok(Started::Exists),
        Err(error) => Ok(Started::Cannot(error)),
    }
}

/// The run that invokes another, as far as that hangs on it.
struct Parent {
    run: RunId,
    instance: Instance,
    tenant: Tenant,
    graph: Arc<Graph>,
    submitted: Submitted,
    invoked: Invoked,
}

/// Something for ever, or why it cannot be for now.
type Answer<T> = Result<Result<T, NodeError>, NotNow>;

impl Parent {
    async fn read(
        shared: &Arc<Shared>,
        row: &RunRow,
        instance: Instance,
        seq: EventSeq,
        child: RunId,
    ) -> Result<Self, NotNow> {
        let run = row.run;
        let tenant = Tenant::of_run(&row.created);
        let graph = runs::graph_of(shared, row).await?;
        let first = runs::event(shared, row, EventSeq(1)).await?;
        let Fact::Submitted(submitted) = &first.fact else { return Err(NotNow::NotThere(run)) };
        let event = runs::event(shared, row, seq).await?;
        let invoked = event.decisions.iter().find_map(|decision| match decision {
            Decision::Invoked { instance: of, invoked } if *of == instance => Some(invoked),
            _ => None,
        });
        let invoked = Invoked { child, ..Invoked::clone(invoked.ok_or(NotNow::NotThere(run))?) };
        Ok(Self { run, instance, tenant, graph, submitted: Submitted::clone(submitted), invoked })
    }

    async fn submission(&self, shared: &Arc<Shared>, child: RunId) -> Answer<Submission> {
        let Some(invoke) = self.graph.invoke(self.instance.node).copied() else {
            return Ok(Err(cannot("child_not_found", "its config names no workflow")));
        };
        let graph = match self.child_graph(shared, invoke).await? {
            Ok(graph) => graph,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(status) = room(shared, &self.tenant).await {
            return if is_passing(&status) { Err(NotNow::Asked(status)) } else { Ok(Err(of_status(&status))) };
        }
        let given = match self.values(shared).await? {
            Ok(given) => given,
            Err(error) => return Ok(Err(error)),
        };
        let inputs = match self.inputs(shared, &graph, &given).await? {
            Ok(inputs) => inputs,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Submission {
            run: child,
            tenant: self.tenant.id().clone(),
            subject: self.submitted.subject.clone(),
            workflow: invoke.workflow,
            graph,
            target: None,
            inputs,
            key: None,
            traceparent: Some(self.traceparent()),
            sandbox: self.submitted.sandbox || shared.sandbox,
            batch: None,
            lineage: None,
            deadline: None,
            invoked_by: Some(InvokedBy {
                run: self.run,
                instance: self.instance,
                node: self.graph.node(self.instance.node).id.clone(),
                index: self.invoked.index.clone(),
                depth: self.submitted.invoked_by.as_ref().map_or(0, |by| by.depth) + 1,
            }),
        }))
    }

    /// The graph that the child runs, if it can run here and has the outputs that are wanted of it.
    async fn child_graph(&self, shared: &Arc<Shared>, invoke: Invoke) -> Answer<Arc<Graph>> {
        let Invoke { workflow, version } = invoke;
        let row = shared.workflows.get(&self.tenant, workflow).await.map_err(NotNow::Journal)?;
        let Some(row) = row else {
            let message = format!("there is no workflow {workflow}; save it, or correct workflowId");
            return Ok(Err(cannot("child_not_found", message)));
        };
        if !row.is_active {
            let message = format!("the workflow {workflow} is not active; activate it, or name another one");
            return Ok(Err(cannot("child_inactive", message)));
        }
        let digest: Digest = match version {
            None => row.graph,
            Some(version) => {
                let found = shared.records.version(self.tenant.clone(), workflow, version).await;
                match found.map_err(NotNow::Journal)? {
                    Some(found) => found.graph,
                    None => {
                        let message = format!(
                            "the workflow {workflow} has no version {version}; its newest one is {}",
                            row.version
                        );
                        return Ok(Err(cannot("child_not_found", message)));
                    }
                }
            }
        };
        let graph = match shared.graphs.get(&self.tenant, digest).await {
            Ok(graph) => graph,
            Err(GraphError::Journal(error)) => return Err(NotNow::Journal(error)),
            Err(error) => {
                return Ok(Err(cannot("child_unfit", format!("the workflow {workflow} cannot run: {error}"))));
            }
        };
        if let Err(problems) = graph.can_execute(&resume::part(&graph, &Lineage::default(), None), &[]) {
            return Ok(Err(unfit("child_unfit", &format!("the workflow {workflow} cannot run"), &problems)));
        }
        let (_, wanted) = self.graph.child_ports(self.instance.node);
        match wanted.iter().find(|name| graph.find_result(name).is_none()) {
            None => Ok(Ok(graph)),
            Some(name) => {
                let names: Vec<_> = graph.results().map(|ix| graph.result_name(ix)).take(8).collect();
                let message = format!("the workflow {workflow} has no output \"{name}\"; it has: {}", names.join(", "));
                Ok(Err(cannot("child_outputs", message)))
            }
        }
    }

    /// What the node has for its child, by name.
    async fn values(&self, shared: &Arc<Shared>) -> Answer<Vec<(Arc<str>, Value)>> {
        let node = self.graph.node(self.instance.node);
        let ports = node.node_type.as_ref().map_or(&[][..], |node_type| &node_type.inputs);
        let name = |port: usize| ports.get(port).map_or_else(|| Arc::from(""), |port| port.id.clone());
        let constants = node.constants.iter().map(|(port, value)| (name(usize::from(port.0)), value.clone()));
        let mut values: Vec<_> = constants.collect();
        let (nothing, mut room) = (Kept::default(), SUBMIT_INPUTS_BYTES_MAX);
        for input in &self.invoked.inputs {
            match values::item(shared, Of { tenant: &self.tenant, run: self.run, kept: &nothing }, &input.value, room)
                .await?
            {
                None => {}
                Some(Read::Item(item)) => {
                    let value = one_value(shared, &self.tenant, item).await?;
                    room = room.saturating_sub(value.json().len());
                    values.push((name(usize::from(input.port.0)), value));
                }
                Some(Read::LeftOut(bytes)) => {
                    let message = format!(
                        "its inputs have more than {SUBMIT_INPUTS_BYTES_MAX} bytes beside artifacts, \"{}\" alone {bytes}; \
                         pass on less, or a file",
                        name(usize::from(input.port.0))
                    );
                    return Ok(Err(cannot("child_inputs", message)));
                }
            }
        }
        Ok(Ok(values))
    }

    /// These as inputs of the child.
    async fn inputs(
        &self,
        shared: &Arc<Shared>,
        graph: &Graph,
        given: &[(Arc<str>, Value)],
    ) -> Answer<Vec<(heddle_core::id::NodeIx, Value)>> {
        let what = "what it gives does not fit the inputs of its workflow";
        let bound = match graph.bind_values(given) {
            Ok(bound) => bound,
            Err(problems) => return Ok(Err(unfit("child_inputs", what, &problems))),
        };
        // What lies in the store is this tenant's, and the parent's run keeps it.
        let (mut inputs, plain): (Vec<_>, Vec<_>) =
            bound.into_iter().partition(|(_, value)| value.artifact().is_some());
        match submitted::resolve(shared, &self.tenant, graph, plain).await {
            Ok(resolved) => inputs.extend(resolved),
            Err(status) if is_passing(&status) => return Err(NotNow::Asked(status)),
            Err(status) => return Ok(Err(of_status(&status))),
        }
        inputs.sort_by_key(|(ix, _)| *ix);
        let part = resume::part(graph, &Lineage::default(), None);
        match graph.complete_inputs(&part, &inputs) {
            Ok(_) => Ok(Ok(inputs)),
            Err(problems) => Ok(Err(unfit("child_inputs", what, &problems))),
        }
    }

    /// The span of the node, as the caller of the child: both are of one trace.
    fn traceparent(&self) -> Arc<str> {
        let execution = self.run.to_string();
        let names = RunTrace::new(&execution, self.submitted.traceparent.as_deref());
        let Instance { node, scope, generation } = self.instance;
        let name = InstanceName { node: node.0, scope: scope.0, generation: generation.0 };
        let is_sampled = names.caller().is_none_or(|caller| caller.is_sampled);
        TraceParent { trace: names.id(), span: names.instance(name), is_sampled }.to_string().into()
    }
}

fn cannot(code: &str, message: impl Into<String>) -> NodeError {
    refused(ErrorClass::InvalidRequest, code, message)
}

fn unfit(code: &str, what: &str, problems: &[Problem]) -> NodeError {
    let first = problems.first();
    let first = first.map_or_else(String::new, |problem| format!(": {} {}", problem.message, problem.fix));
    cannot(code, format!("{what}{first}"))
}

fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Internal | Code::Aborted)
}

fn of_status(status: &Status) -> NodeError {
    cannot("child_inputs", status.message())
}
