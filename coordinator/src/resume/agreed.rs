//! The token by which a plan is agreed to. It says what the plan hangs on, with digests in place of values: so any coordinator can
//! make the agreed plan again, and say in what it is not the one of now.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use heddle_core::graph::Graph;
use heddle_core::id::{NodeIx, PortIx};
use heddle_core::run::lineage::Edited;
use heddle_core::run::plan::Plan;
use heddle_core::run::plan_moves::{self, Move};
use heddle_core::run::resume::{Parent, Resume, part};
use heddle_core::value::Digest;
use heddle_proto::control as wire;
use heddle_proto::limits::PLAN_TOKEN_LENGTH_MAX;
use prost::Message as _;
use tonic::Status;

use super::parent::Read;
use super::plan::why;
use super::start::{asked_of, planned};
use crate::auth::Tenant;
use crate::limits::{EDITS_SHOWN_MAX, PLAN_MOVES_SHOWN_MAX};
use crate::rpc::failure;
use crate::shared::Shared;

/// What a plan is asked for with, beside the graph: edits and values for inputs as digests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) edits: &'a [(Edited, Digest)],
    pub(super) inputs: &'a [(NodeIx, Digest)],
}

/// What is agreed to with a plan of now.
pub(super) fn agreement(
    read: &Read,
    graph: &Graph,
    request: &wire::ResumeRequest,
    given: Given<'_>,
) -> wire::AgreedPlan {
    let id = |node: NodeIx| graph.node(node).id.to_string();
    let port = |edit: &Edited| {
        let node_type = graph.node(edit.node).node_type.as_ref();
        let port = node_type.and_then(|node_type| node_type.outputs.get(usize::from(edit.port.0)));
        port.map_or_else(String::new, |port| port.id.to_string())
    };
    let bytes = |digest: &Digest| digest.0.to_vec().into();
    let output = |(edit, digest): &(Edited, Digest)| wire::AskedValue {
        node_id: id(edit.node),
        port: port(edit),
        digest: bytes(digest),
    };
    let input = |(node, digest): &(NodeIx, Digest)| wire::AskedValue {
        node_id: id(*node),
        port: String::new(),
        digest: bytes(digest),
    };
    let mut details = wire::AskedPlan {
        rerun: request.rerun,
        from_node_id: request.from_node_id.clone(),
        to_node_id: request.to_node_id.clone(),
        downstream_all: request.downstream_all,
        indices: request.indices.clone(),
        failed_items: request.failed_items,
        outputs: given.edits.iter().map(output).collect(),
        inputs: given.inputs.iter().map(input).collect(),
    };
    details.outputs.sort_by(|a, b| (&a.node_id, &a.port).cmp(&(&b.node_id, &b.port)));
    details.inputs.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    wire::AgreedPlan {
        execution_id: read.run.id().to_string(),
        seq: read.run.seq().0,
        graph: bytes(&graph.digest()),
        asked: bytes(&Digest::of(&details.encode_to_vec())),
        details: Some(details),
    }
}

/// The token of it. What would be too long is left out: it is known by its digest.
pub(super) fn token(agreed: &wire::AgreedPlan) -> String {
    let text = URL_SAFE_NO_PAD.encode(agreed.encode_to_vec());
    if text.len() <= PLAN_TOKEN_LENGTH_MAX {
        return text;
    }
    URL_SAFE_NO_PAD.encode(wire::AgreedPlan { details: None, ..agreed.clone() }.encode_to_vec())
}

/// The plan that was agreed to is not the one that would be carried out now: in what.
pub(super) async fn changed(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    agreed: &str,
    (read, now): (&Read, &wire::AgreedPlan),
    (graph, plan): (&Graph, &Plan),
) -> Status {
    let decoded = URL_SAFE_NO_PAD.decode(agreed).ok();
    let Some(was) = decoded.and_then(|bytes| wire::AgreedPlan::decode(&*bytes).ok()) else {
        return refusal(wire::PlanChanges { unknown: true, ..Default::default() });
    };
    let mut changes = differences(&was, now);
    if was.execution_id == now.execution_id
        && let Some((before, of)) = plan_again(shared, tenant, read, &was).await
    {
        let moved = plan_moves::moves((&before, &of), (graph, plan));
        changes.moved_total = moved.len() as u32;
        changes.moved = moved.iter().take(PLAN_MOVES_SHOWN_MAX).map(to_wire).collect();
    }
    refusal(changes)
}

/// The agreed plan, if all that it hung on is there.
async fn plan_again(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    read: &Read,
    agreed: &wire::AgreedPlan,
) -> Option<(Arc<Graph>, Plan)> {
    let asked = agreed.details.as_ref()?;
    let graph = shared.graphs.get(tenant, digest(&agreed.graph)?).await.ok()?;
    let results = read.results.clone().in_graph(read.run.graph(), &graph);
    let node = |id: &str| if id.is_empty() { Some(None) } else { graph.find(id).map(Some) };
    let edit = |value: &wire::AskedValue| {
        let node = graph.find(&value.node_id)?;
        let mut outputs = (0..).map(PortIx).zip(&graph.node(node).node_type.as_ref()?.outputs);
        let (port, _) = outputs.find(|(_, port)| *port.id == *value.port)?;
        Some((Edited { node, port }, digest(&value.digest)?))
    };
    let edits: Vec<_> = asked.outputs.iter().map(edit).collect::<Option<_>>()?;
    let input = |value: &wire::AskedValue| Some((graph.find(&value.node_id)?, digest(&value.digest)?));
    let inputs: Vec<_> = asked.inputs.iter().map(input).collect::<Option<_>>()?;
    let request = wire::ResumeRequest {
        rerun: asked.rerun,
        downstream_all: asked.downstream_all,
        indices: asked.indices.clone(),
        failed_items: asked.failed_items,
        ..Default::default()
    };
    let ends = (node(&asked.from_node_id)?, node(&asked.to_node_id)?);
    let given = Given { edits: &edits, inputs: &inputs };
    let resume: Resume = asked_of(&request, ends, given, read, &graph);
    let root = crate::read::runs::root_of(&read.run);
    let taken = resume.taken(&graph, Parent { run: &read.run, results: &results, root }).ok()?;
    let part = part(&graph, &taken.lineage, taken.target);
    let plan = planned((read, &graph, &results), &taken, &part, given);
    Some((graph, plan))
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest)
}

/// What was agreed to and what is asked for, field by field.
fn differences(was: &wire::AgreedPlan, now: &wire::AgreedPlan) -> wire::PlanChanges {
    let mut changes = wire::PlanChanges {
        parent: (&was.execution_id, was.seq) != (&now.execution_id, now.seq),
        graph: was.graph != now.graph,
        ..Default::default()
    };
    if was.asked == now.asked {
        return changes;
    }
    let (Some(before), Some(after)) = (&was.details, &now.details) else {
        changes.unknown = true;
        return changes;
    };
    let fields = [
        ("rerun", before.rerun != after.rerun),
        ("fromNodeId", before.from_node_id != after.from_node_id),
        ("toNodeId", before.to_node_id != after.to_node_id),
        ("outputs", before.outputs != after.outputs),
        ("inputs", before.inputs != after.inputs),
        ("downstream", before.downstream_all != after.downstream_all),
        ("indices", before.indices != after.indices),
        ("failedItems", before.failed_items != after.failed_items),
    ];
    changes.options = fields.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()).collect();
    let outputs = others(&before.outputs, &after.outputs).map(|value| {
        let wire::AskedValue { node_id, port, .. } = value.clone();
        wire::EditedPort { node_id, port }
    });
    changes.outputs = outputs.collect();
    changes.inputs = others(&before.inputs, &after.inputs).map(|value| value.node_id.clone()).collect();
    changes
}

/// What only one of both has, or has another value, each once.
fn others<'a>(
    before: &'a [wire::AskedValue],
    after: &'a [wire::AskedValue],
) -> impl Iterator<Item = &'a wire::AskedValue> {
    let named = |list: &[wire::AskedValue], value: &wire::AskedValue| {
        list.iter().any(|it| (&it.node_id, &it.port) == (&value.node_id, &value.port))
    };
    let added = after.iter().filter(|value| !before.contains(value));
    let gone = before.iter().filter(move |value| !named(after, value));
    added.chain(gone).take(EDITS_SHOWN_MAX)
}

fn to_wire(moved: &Move) -> wire::PlanMove {
    wire::PlanMove {
        node_id: moved.node.to_string(),
        index: moved.index.clone(),
        instances: if moved.instances == 1 { 0 } else { moved.instances },
        from: moved.from.map_or_else(String::new, |part| part.name().to_owned()),
        to: moved.to.map_or_else(String::new, |(part, _)| part.name().to_owned()),
        why: moved.to.map_or(wire::PlanReason::Unspecified, |(_, reason)| why(reason)).into(),
    }
}

fn refusal(changes: wire::PlanChanges) -> Status {
    let mut said = Vec::new();
    if changes.parent {
        said.push("another run is gone on from, or its history has gone on".to_owned());
    }
    if changes.graph {
        said.push("the graph is another".to_owned());
    }
    if !changes.options.is_empty() {
        said.push(format!("something else is asked for ({})", changes.options.join(", ")));
    }
    if changes.unknown {
        said.push("the token is not one that a plan of this request gave".to_owned());
    }
    match changes.moved_total {
        0 => {}
        1 => said.push("one node stands elsewhere in the plan".to_owned()),
        count => said.push(format!("{count} nodes stand elsewhere in the plan")),
    }
    let message = format!("the plan has changed since: {}; plan it again", said.join("; "));
    failure::failure(wire::Failure {
        code: "plan_changed".into(),
        http_status: 409,
        message,
        plan_changes: Some(changes),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use heddle_core::id::RunId;

    use super::*;

    fn value(node: &str, digest: u8) -> wire::AskedValue {
        wire::AskedValue { node_id: node.into(), port: "text".into(), digest: vec![digest; 32].into() }
    }

    fn agreed(from: &str, outputs: Vec<wire::AskedValue>) -> wire::AgreedPlan {
        let details = wire::AskedPlan { from_node_id: from.into(), outputs, ..Default::default() };
        wire::AgreedPlan {
            execution_id: RunId(7).to_string(),
            seq: 3,
            graph: vec![1; 32].into(),
            asked: Digest::of(&details.encode_to_vec()).0.to_vec().into(),
            details: Some(details),
        }
    }

    #[test]
    fn what_is_another_is_named() {
        let was = agreed("a", vec![value("draft", 1), value("title", 1)]);
        let same = differences(&was, &was.clone());
        assert_eq!(same, wire::PlanChanges::default());
        let now = wire::AgreedPlan { seq: 4, graph: vec![2; 32].into(), ..agreed("b", vec![value("draft", 2)]) };
        let changes = differences(&was, &now);
        assert!(changes.parent && changes.graph && !changes.unknown);
        assert_eq!(changes.options, ["fromNodeId", "outputs"]);
        let outputs: Vec<_> = changes.outputs.iter().map(|it| &*it.node_id).collect();
        assert_eq!(outputs, ["draft", "title"]);
    }

    #[test]
    fn a_long_plan_is_known_by_its_digest() {
        let was = agreed("a", (0..100).map(|node| value(&format!("node {node}"), 1)).collect());
        let token = token(&was);
        assert!(token.len() <= PLAN_TOKEN_LENGTH_MAX);
        let read = wire::AgreedPlan::decode(&*URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
        assert_eq!((read.asked.clone(), read.details.clone()), (was.asked, None));
        let now = agreed("a", Vec::new());
        assert!(differences(&read, &now).unknown);
    }
}
