//! What a run takes over from earlier ones, as rows keep it, and back.

use bytes::Bytes;
use heddle_core::id::{NodeIx, PortIx, RunId, Subject};
use heddle_core::run::lineage::{Edited, Forced, Lineage, Offer, Source};
use heddle_proto::journal as pb;

use super::decode::{self, Part};
use super::encode::outputs;

pub(super) fn encode(it: &Lineage) -> pb::Lineage {
    let run = |run: Option<RunId>| run.map_or_else(Bytes::new, |run| Bytes::copy_from_slice(&run.to_bytes()));
    let nodes = |nodes: &[NodeIx]| nodes.iter().map(|node| node.0).collect();
    let forced = |it: &Forced| pb::Forced { node: it.node.0, index: it.index.clone() };
    let edited = |it: &Edited| pb::Edited { node: it.node.0, port: it.port.0.into() };
    pb::Lineage {
        parent: run(it.parent),
        root: run(it.root),
        rerun: it.rerun,
        from: it.from.map(|node| node.0),
        ends: nodes(&it.ends),
        forced: it.forced.iter().map(forced).collect(),
        edits: it.edits.iter().map(edited).collect(),
        trusted: nodes(&it.trusted),
        offered: it.offered,
        fresh: it.fresh,
        subjects: it.subjects.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn decode(it: pb::Lineage) -> Part<Lineage> {
    let nodes = |nodes: Vec<u32>| nodes.into_iter().map(NodeIx).collect();
    let edited = |it: pb::Edited| Ok(Edited { node: NodeIx(it.node), port: port(it.port)? });
    Ok(Lineage {
        parent: run(&it.parent)?,
        root: run(&it.root)?,
        rerun: it.rerun,
        from: it.from.map(NodeIx),
        ends: nodes(it.ends),
        forced: it.forced.into_iter().map(|it| Forced { node: NodeIx(it.node), index: it.index }).collect(),
        edits: it.edits.into_iter().map(edited).collect::<Part<_>>()?,
        trusted: nodes(it.trusted),
        offered: it.offered,
        fresh: it.fresh,
        subjects: it.subjects.iter().map(|subject| Subject::from(subject.as_str())).collect(),
    })
}

pub(super) fn encode_offers(offers: &[Offer]) -> pb::Offered {
    let offer = |it: &Offer| pb::Offer {
        node: it.node.0,
        index: it.index.clone(),
        key: Bytes::copy_from_slice(&it.key.0),
        source: Some(encode_source(it.source)),
        outputs: outputs(&it.outputs),
    };
    pb::Offered { offers: offers.iter().map(offer).collect() }
}

pub(super) fn decode_offers(it: pb::Offered) -> Part<Vec<Offer>> {
    let offer = |it: pb::Offer| {
        Ok(Offer {
            node: NodeIx(it.node),
            index: it.index,
            key: decode::digest(&it.key)?,
            source: decode_source(it.source)?,
            outputs: decode::outputs(it.outputs)?,
        })
    };
    it.offers.into_iter().map(offer).collect()
}

pub(super) fn encode_source(it: Source) -> pb::Source {
    use pb::source::Kind;
    let kind = match it {
        Source::Run(run) => Kind::Run(Bytes::copy_from_slice(&run.to_bytes())),
        Source::Edit => Kind::Edit(pb::Closed {}),
        Source::Request => Kind::Request(pb::Closed {}),
    };
    pb::Source { kind: Some(kind) }
}

pub(super) fn decode_source(it: Option<pb::Source>) -> Part<Source> {
    use pb::source::Kind;
    Ok(match it.and_then(|it| it.kind).ok_or("no source of a result")? {
        Kind::Run(id) => Source::Run(run(&id)?.ok_or("no run")?),
        Kind::Edit(pb::Closed {}) => Source::Edit,
        Kind::Request(pb::Closed {}) => Source::Request,
    })
}

/// The run that made a shared result; nothing else makes one.
pub(super) fn run_of(source: Source) -> Bytes {
    match source {
        Source::Run(run) => Bytes::copy_from_slice(&run.to_bytes()),
        Source::Edit | Source::Request => Bytes::new(),
    }
}

/// The run that made a shared result.
pub(super) fn run_from(bytes: &[u8]) -> Part<Source> {
    Ok(Source::Run(run(bytes)?.ok_or("no run")?))
}

fn port(it: u32) -> Part<PortIx> {
    u16::try_from(it).map(PortIx).map_err(|_| "a port")
}

/// A run's id, or nothing.
fn run(bytes: &[u8]) -> Part<Option<RunId>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    RunId::from_bytes(bytes).map(Some).ok_or("a run's id")
}
