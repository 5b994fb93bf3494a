//! Children as parts of rows, both ways.

use bytes::Bytes;
use heddle_core::id::RunId;
use heddle_core::run::event::{ChildEnded, ChildOutcome, Invoked, InvokedBy};
use heddle_proto::journal as pb;

use super::decode::{self, Part};
use super::encode;

pub(super) fn invoked_by_to_wire(it: &InvokedBy) -> pb::InvokedBy {
    pb::InvokedBy {
        run: id(it.run),
        instance: Some(encode::instance(it.instance)),
        depth: it.depth,
        node: it.node.as_ref().to_owned(),
        index: it.index.clone(),
    }
}

pub(super) fn invoked_by_from_wire(it: pb::InvokedBy) -> Part<InvokedBy> {
    let (run, instance) = (run(&it.run)?, decode::instance(it.instance)?);
    Ok(InvokedBy { run, instance, node: it.node.into(), index: it.index, depth: it.depth })
}

pub(super) fn invoked_to_wire(it: &Invoked) -> pb::Invoked {
    pb::Invoked { child: id(it.child), inputs: encode::outputs(&it.inputs), index: it.index.clone() }
}

pub(super) fn invoked_from_wire(it: pb::Invoked) -> Part<Invoked> {
    Ok(Invoked { child: run(&it.child)?, inputs: decode::outputs(it.inputs)?, index: it.index })
}

pub(super) fn ended_to_wire(it: &ChildEnded) -> pb::ChildEnded {
    use pb::child_ended::Outcome;
    let outcome = match &it.outcome {
        ChildOutcome::Gave(outputs) => Outcome::Gave(pb::Gave { outputs: encode::outputs(outputs) }),
        ChildOutcome::Failed { error, caught } => {
            Outcome::Failed(pb::ChildFailed { error: Some(encode::node_error(error)), caught: encode::outputs(caught) })
        }
    };
    pb::ChildEnded { instance: Some(encode::instance(it.instance)), child: id(it.child), outcome: Some(outcome) }
}

pub(super) fn ended_from_wire(it: pb::ChildEnded) -> Part<ChildEnded> {
    use pb::child_ended::Outcome;
    let outcome = match it.outcome.ok_or("the end of a child without outcome")? {
        Outcome::Gave(it) => ChildOutcome::Gave(decode::outputs(it.outputs)?),
        Outcome::Failed(it) => ChildOutcome::Failed {
            error: decode::node_error(it.error.ok_or("no error")?)?,
            caught: decode::outputs(it.caught)?,
        },
    };
    Ok(ChildEnded { instance: decode::instance(it.instance)?, child: run(&it.child)?, outcome })
}

fn id(run: RunId) -> Bytes {
    Bytes::copy_from_slice(&run.to_bytes())
}

fn run(bytes: &[u8]) -> Part<RunId> {
    RunId::from_bytes(bytes).ok_or("a run's id")
}
