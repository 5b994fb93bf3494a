//! What came from the world as parts of rows, both ways.

use bytes::Bytes;
use heddle_core::id::Subject;
use heddle_core::run::event::{Called, RequestKey, Signalled};
use heddle_proto::journal as pb;

use super::decode::{self, Part};
use super::encode;

pub(super) fn signalled_to_wire(it: &Signalled) -> pb::Signalled {
    pb::Signalled {
        name: it.name.as_ref().to_owned(),
        by: it.by.0.as_ref().to_owned(),
        body: Some(encode::value_ref(&it.body)),
        to: it.to.map(encode::instance),
        outputs: encode::outputs(&it.outputs),
        key: it.key.as_ref().map(key_to_wire),
    }
}

pub(super) fn signalled_from_wire(it: pb::Signalled) -> Part<Signalled> {
    Ok(Signalled {
        name: it.name.into(),
        by: Subject(it.by.into()),
        body: decode::value_ref(it.body)?,
        to: it.to.map(|to| decode::instance(Some(to))).transpose()?,
        outputs: decode::outputs(it.outputs)?,
        key: it.key.map(|key| key_from_wire(&key)).transpose()?,
    })
}

pub(super) fn called_to_wire(it: &Called) -> pb::Called {
    pb::Called {
        instance: Some(encode::instance(it.instance)),
        outputs: encode::outputs(&it.outputs),
        key: it.key.as_ref().map(key_to_wire),
    }
}

pub(super) fn called_from_wire(it: pb::Called) -> Part<Called> {
    Ok(Called {
        instance: decode::instance(it.instance)?,
        outputs: decode::outputs(it.outputs)?,
        key: it.key.map(|key| key_from_wire(&key)).transpose()?,
    })
}

fn key_to_wire(it: &RequestKey) -> pb::RequestKey {
    pb::RequestKey { key: Bytes::copy_from_slice(&it.key.0), body: Bytes::copy_from_slice(&it.body.0) }
}

fn key_from_wire(it: &pb::RequestKey) -> Part<RequestKey> {
    Ok(RequestKey { key: decode::digest(&it.key)?, body: decode::digest(&it.body)? })
}
