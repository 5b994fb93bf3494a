//! Bodies of rows beside the histories: plans of batches, and messages between slots.

use bytes::Bytes;
use heddle_core::batch::{Axis, BatchId, Column, Plan};
use heddle_core::id::{EventSeq, NodeIx, PortIx, RunId, Slot, Subject};
use heddle_core::outbox::{Message, MessageBody, MessageId};
use heddle_core::partition::io::Inherited;
use heddle_core::run::lineage::Offer;
use heddle_core::time::Span;
use heddle_core::value::Value;
use heddle_proto::journal as pb;
use prost::Message as _;

use super::{decode, encode, lineage};

/// The number of a message's kind, which is never reused.
mod kind {
    pub(super) const START_RUN: i64 = 1;
    pub(super) const CANCEL_RUN: i64 = 2;
    pub(super) const START_CHILD: i64 = 3;
    pub(super) const CHILD_ENDED: i64 = 4;
}

/// A message's kind and body, as its row keeps them.
pub fn encode_message(body: &MessageBody) -> (i64, Vec<u8>) {
    match body {
        MessageBody::StartRun { batch, index } => {
            let message = pb::StartRun { batch: Bytes::copy_from_slice(&batch.to_bytes()), index: *index };
            (kind::START_RUN, message.encode_to_vec())
        }
        MessageBody::CancelRun { run, by } => {
            let message = pb::CancelRun { run: Bytes::copy_from_slice(&run.to_bytes()), by: by.to_string() };
            (kind::CANCEL_RUN, message.encode_to_vec())
        }
        MessageBody::StartChild { child, parent, instance, seq } => {
            let (child, parent) = (run_bytes(*child), run_bytes(*parent));
            let message = pb::StartChild { child, parent, instance: Some(encode::instance(*instance)), seq: seq.0 };
            (kind::START_CHILD, message.encode_to_vec())
        }
        MessageBody::ChildEnded { child, parent, instance } => {
            let (child, parent) = (run_bytes(*child), run_bytes(*parent));
            let message = pb::TellParent { child, parent, instance: Some(encode::instance(*instance)) };
            (kind::CHILD_ENDED, message.encode_to_vec())
        }
    }
}

/// A message from its row; `None` if this release does not understand it.
pub fn decode_message(id: MessageId, source: Slot, destination: Slot, kind: i64, body: &[u8]) -> Option<Message> {
    let body = match kind {
        kind::START_RUN => {
            let message = pb::StartRun::decode(body).ok()?;
            MessageBody::StartRun { batch: BatchId::from_bytes(&message.batch)?, index: message.index }
        }
        kind::CANCEL_RUN => {
            let message = pb::CancelRun::decode(body).ok()?;
            MessageBody::CancelRun { run: RunId::from_bytes(&message.run)?, by: Subject(message.by.into()) }
        }
        kind::START_CHILD => {
            let message = pb::StartChild::decode(body).ok()?;
            MessageBody::StartChild {
                child: RunId::from_bytes(&message.child)?,
                parent: RunId::from_bytes(&message.parent)?,
                instance: decode::instance(message.instance).ok()?,
                seq: EventSeq(message.seq),
            }
        }
        kind::CHILD_ENDED => {
            let message = pb::TellParent::decode(body).ok()?;
            MessageBody::ChildEnded {
                child: RunId::from_bytes(&message.child)?,
                parent: RunId::from_bytes(&message.parent)?,
                instance: decode::instance(message.instance).ok()?,
            }
        }
        _ => return None,
    };
    Some(Message { id, source, destination, body })
}

fn run_bytes(run: RunId) -> Bytes {
    Bytes::copy_from_slice(&run.to_bytes())
}

/// A result that runs share, as its row keeps it.
pub fn encode_cached(outputs: &[(PortIx, Value)]) -> Vec<u8> {
    let (ports, values): (Vec<u32>, Vec<Value>) =
        outputs.iter().map(|(port, value)| (u32::from(port.0), value.clone())).unzip();
    pb::CachedOutputs { ports, values: Some(encode::body(&values)) }.encode_to_vec()
}

/// A result that runs share from its row; `None` if it is not one that this release understands.
pub fn decode_cached(bytes: &Bytes) -> Option<Vec<(PortIx, Value)>> {
    let cached: pb::CachedOutputs = decode::message(bytes).ok()?;
    let values = decode::values(cached.values?).ok()?;
    let ports = cached.ports.into_iter().map(|port| u16::try_from(port).map(PortIx).ok());
    let ports = ports.collect::<Option<Vec<_>>>()?;
    (ports.len() == values.len()).then(|| ports.into_iter().zip(values).collect())
}

/// A plan as its row keeps it.
pub fn encode_plan(plan: &Plan) -> Vec<u8> {
    let nothing = Value::from_json(Bytes::new());
    let column = |column: &Column| {
        let values: Vec<Value> =
            column.values.iter().map(|value| value.clone().unwrap_or_else(|| nothing.clone())).collect();
        let not_given = (0..).zip(&column.values).filter(|(_, value)| value.is_none()).map(|(place, _)| place);
        pb::BatchColumn { node: column.node.0, values: Some(encode::body(&values)), not_given: not_given.collect() }
    };
    let axis = |axis: &Axis| pb::BatchAxis { columns: axis.columns.iter().map(column).collect() };
    let (nodes, values): (Vec<u32>, Vec<Value>) =
        plan.inputs.iter().map(|(node, value)| (node.0, value.clone())).unzip();
    let plan = pb::BatchPlan {
        axes: plan.axes.iter().map(axis).collect(),
        input_nodes: nodes,
        inputs: Some(encode::body(&values)),
        target: plan.target.map(|target| target.0),
        traceparent: plan.traceparent.as_deref().map(str::to_owned),
        sandbox: plan.sandbox,
        deadline_ms: plan.deadline.map(Span::as_millis),
        lineage: plan.inherited.as_ref().map(|inherited| lineage::encode(&inherited.lineage)),
        offered: plan.inherited.iter().flat_map(|inherited| &inherited.offers).map(offered).collect(),
    };
    plan.encode_to_vec()
}

fn offered((offers, values): &(Vec<Offer>, Vec<Value>)) -> pb::BatchOffered {
    pb::BatchOffered { offers: Some(lineage::encode_offers(offers)), values: Some(encode::body(values)) }
}

/// A plan from its row; `None` if it is not one that this release understands.
pub fn decode_plan(bytes: Bytes) -> Option<Plan> {
    let plan: pb::BatchPlan = decode::message(&bytes).ok()?;
    let column = |column: pb::BatchColumn| {
        let mut values: Vec<Option<Value>> = decode::values(column.values?).ok()?.into_iter().map(Some).collect();
        for place in column.not_given {
            *values.get_mut(place as usize)? = None;
        }
        Some(Column { node: NodeIx(column.node), values })
    };
    let axis = |axis: pb::BatchAxis| {
        let columns: Option<Vec<Column>> = axis.columns.into_iter().map(column).collect();
        Some(Axis { columns: columns? })
    };
    let axes: Option<Vec<Axis>> = plan.axes.into_iter().map(axis).collect();
    let values = decode::values(plan.inputs?).ok()?;
    let inputs = plan.input_nodes.into_iter().map(NodeIx).zip(values).collect();
    let target = plan.target.map(NodeIx);
    let offered =
        |it: pb::BatchOffered| Some((lineage::decode_offers(it.offers?).ok()?, decode::values(it.values?).ok()?));
    let inherited = match plan.lineage {
        None => None,
        Some(lineage) => {
            let offers: Option<Vec<_>> = plan.offered.into_iter().map(offered).collect();
            Some(Box::new(Inherited { lineage: lineage::decode(lineage).ok()?, offers: offers? }))
        }
    };
    let traceparent = plan.traceparent.map(Into::into);
    let deadline = plan.deadline_ms.map(Span::from_millis);
    Some(Plan { axes: axes?, inputs, target, traceparent, sandbox: plan.sandbox, inherited, deadline })
}

#[cfg(test)]
mod tests {
    use heddle_core::id::{Generation, Instance, ScopeIx};
    use heddle_core::run::lineage::{Lineage, Source};
    use heddle_core::value::{Artifact, Digest};

    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let batch = BatchId(7);
        let instance = Instance { node: NodeIx(3), scope: ScopeIx(2), generation: Generation(1) };
        let bodies = [
            MessageBody::StartRun { batch, index: 9_999 },
            MessageBody::CancelRun { run: RunId(8), by: "somebody".into() },
            MessageBody::StartChild { child: RunId(8), parent: RunId(9), instance, seq: EventSeq(4) },
            MessageBody::ChildEnded { child: RunId(8), parent: RunId(9), instance },
        ];
        for body in bodies {
            let (kind, bytes) = encode_message(&body);
            let message = Message { id: MessageId(3), source: Slot(1), destination: Slot(2), body };
            assert_eq!(decode_message(message.id, message.source, message.destination, kind, &bytes), Some(message));
            assert_eq!(decode_message(MessageId(3), Slot(1), Slot(2), 99, &bytes), None);
        }
    }

    #[test]
    fn a_plan_comes_back_as_it_was() {
        let text = |text: &str| Value::from_json(Bytes::copy_from_slice(text.as_bytes()));
        let media_type = "image/png".into();
        let file = Value::from_artifact(Artifact { digest: Digest::of(b"x"), bytes: 1, media_type, is_json: false });
        let columns = vec![
            Column { node: NodeIx(0), values: vec![Some(text("1")), None, Some(file)] },
            Column { node: NodeIx(2), values: vec![Some(text("\"a\"")), Some(text("null")), Some(text("[]"))] },
        ];
        let plan = Plan {
            axes: vec![Axis { columns }, Axis { columns: vec![Column { node: NodeIx(1), values: vec![None] }] }],
            inputs: vec![(NodeIx(3), text("{}"))],
            target: Some(NodeIx(4)),
            traceparent: Some("00-a".into()),
            sandbox: true,
            inherited: None,
            deadline: Some(Span::from_millis(5)),
        };
        assert_eq!(decode_plan(encode_plan(&plan).into()), Some(plan.clone()));
        let offer = Offer {
            node: NodeIx(5),
            index: vec![3],
            key: Digest::of(b"key"),
            source: Source::Request,
            outputs: Vec::new(),
        };
        let lineage = Lineage { trusted: vec![NodeIx(5)], offered: 1, ..Lineage::default() };
        let offers = vec![(vec![offer], vec![text("\"kept\"")])];
        let plan = Plan { inherited: Some(Box::new(Inherited { lineage, offers })), ..plan };
        assert_eq!(decode_plan(encode_plan(&plan).into()), Some(plan));
        assert_eq!(decode_plan(Bytes::from_static(b"nonsense")), None);
    }
}
