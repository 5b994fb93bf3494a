//! The values of a run's outputs for an answer: those that were read with its history, others when they are asked for.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::run::event::{Event, OutputValue};
use heddle_core::value::{Value, ValueRef};
use heddle_error_chain::chain;
use heddle_proto::control as wire;
use serde::de::IgnoredAny;

use super::items::{Item, Part, Sum};
use super::runs::ReadError;
use crate::artifacts::submitted;
use crate::auth::Tenant;
use crate::limits::{HISTORY_VALUES_BYTES_MAX, READ_VALUES_MAX, REVIEW_ARTIFACTS_SHOWN_MAX, REVIEW_EDIT_BYTES_MAX};
use crate::shared::Shared;

/// What came with a run's history, as far as that is not too much.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    by_seq: HashMap<EventSeq, Vec<Value>>,
    bytes: usize,
}

impl Kept {
    /// Keeps the values of an event. Of a long history they are read again when they are asked for.
    pub(crate) fn keep(&mut self, event: &Event) {
        let bytes: usize = event.values.iter().map(|value| value.json().len()).sum();
        if event.values.is_empty() || self.bytes + bytes > HISTORY_VALUES_BYTES_MAX {
            return;
        }
        self.bytes += bytes;
        self.by_seq.insert(event.seq, event.values.clone());
    }

    /// How much that is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn get(&self, reference: &ValueRef) -> Option<&Value> {
        self.by_seq.get(&reference.seq)?.get(reference.place as usize)
    }
}

/// Whose values are read.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    /// Whose run it is.
    pub(crate) tenant: &'a Tenant,
    /// The run.
    pub(crate) run: RunId,
    /// What is at hand of it.
    pub(crate) kept: &'a Kept,
}

/// The value of an output, as an answer shows it.
pub(crate) struct Shown {
    /// Its JSON text.
    pub(crate) json: Bytes,
    /// Which of its items lie in the artifact store.
    pub(crate) artifacts: Vec<wire::PlacedArtifact>,
}

/// Reads an output's value if it has at most `room` bytes; nothing if the output was not taken.
pub(crate) async fn output(
    shared: &Arc<Shared>,
    of: Of<'_>,
    output: &OutputValue,
    room: usize,
) -> Result<Option<Shown>, ReadError> {
    Ok(item(shared, of, output, room).await?.map(|read| read.shown(room)))
}

/// The same with the values that were too large for a row as they are, if the whole can be sent back as an edit.
pub(crate) async fn whole_output(
    shared: &Arc<Shared>,
    of: Of<'_>,
    output: &OutputValue,
    room: usize,
) -> Result<Option<Shown>, ReadError> {
    let Some(mut read) = item(shared, of, output, room).await? else { return Ok(None) };
    if let Read::Item(item) = &mut read {
        spell_out(shared, of.tenant, item, room.min(REVIEW_EDIT_BYTES_MAX)).await;
    }
    let read = match read {
        Read::Item(item) => Read::Item(item.spread_out()),
        left_out => left_out,
    };
    Ok(Some(read.shown(room)))
}

/// Puts the values that lie in the store as JSON into their places, if all of it has at most `room` bytes. What the store does
/// not give stays a reference.
async fn spell_out(shared: &Shared, tenant: &Tenant, item: &mut Item, room: usize) {
    let (mut values, mut bytes) = (Vec::new(), 0);
    item.values(&mut values, &mut bytes);
    if values.len() > REVIEW_ARTIFACTS_SHOWN_MAX || bytes > room as u64 {
        return;
    }
    put_whole(shared, tenant, values).await;
}

/// The same for these values.
async fn put_whole(shared: &Shared, tenant: &Tenant, values: Vec<&mut Value>) {
    for value in values {
        let Some(artifact) = value.artifact().filter(|artifact| artifact.is_json) else { continue };
        match shared.artifacts.whole(tenant, artifact).await {
            Ok(json) if serde_json::from_slice::<IgnoredAny>(&json).is_ok() => *value = Value::from_json(json),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "a value could not be read from the artifact store, and is not shown"
                );
            }
        }
    }
}

/// What was read of an output.
pub(crate) enum Read {
    Item(Item),
    /// It has so many bytes.
    LeftOut(usize),
}

impl Read {
    fn shown(self, room: usize) -> Shown {
        let item = match self {
            Read::Item(item) => item,
            Read::LeftOut(bytes) => return left_out(bytes),
        };
        let mut json = Vec::new();
        item.write(&mut json);
        if json.len() > room {
            return left_out(json.len());
        }
        Shown { artifacts: artifacts(&item), json: json.into() }
    }
}

/// What there is of an output, if it has at most `room` bytes; nothing if it was not taken.
pub(crate) async fn item(
    shared: &Arc<Shared>,
    of: Of<'_>,
    output: &OutputValue,
    room: usize,
) -> Result<Option<Read>, ReadError> {
    let Of { tenant, run, kept } = of;
    if *output == OutputValue::Closed {
        return Ok(None);
    }
    let mut part = Part::of(output);
    loop {
        let mut sum = Sum::default();
        part.add_to(&mut sum);
        // An artifact shows as its description, an item as a null at least.
        let bytes = sum.bytes + sum.items * 2 + sum.artifacts * 100;
        if bytes > room {
            return Ok(Some(Read::LeftOut(bytes)));
        }
        let mut named = Vec::new();
        part.unread(&mut named);
        if named.is_empty() {
            break;
        }
        let lists: HashMap<ValueRef, Value> =
            named.iter().copied().zip(read(shared, run, kept, &named).await?).collect();
        // What is no list shows as nothing.
        if part.expand(&lists).is_err() {
            return Ok(None);
        }
    }
    let mut leaves = Vec::new();
    part.leaves(&mut leaves);
    let mut items = Vec::new();
    part.fill(&mut read(shared, run, kept, &leaves).await?.into_iter(), &mut items);
    let Some(mut item) = items.pop() else { return Ok(None) };
    let mut large = Vec::new();
    item.large_lists(&mut large);
    let bytes: u64 = large.iter().map(|value| value.bytes()).sum();
    if bytes > room as u64 {
        return Ok(Some(Read::LeftOut(bytes as usize)));
    }
    if !large.is_empty() {
        put_whole(shared, tenant, large).await;
    }
    Ok(Some(Read::Item(item.spread_out())))
}

/// A value that a graph says itself, if it has at most `room` bytes.
pub(crate) fn constant(value: &Value, room: usize) -> Shown {
    if value.json().len() > room {
        return left_out(value.json().len());
    }
    Shown { json: value.json().clone(), artifacts: artifacts(&Item::One(value.clone())) }
}

/// Values of a run, from what is at hand or from the journal, a window at a time.
async fn read(shared: &Arc<Shared>, run: RunId, kept: &Kept, references: &[ValueRef]) -> Result<Vec<Value>, ReadError> {
    let mut values = Vec::with_capacity(references.len());
    for window in references.chunks(READ_VALUES_MAX) {
        let here: Option<Vec<Value>> = window.iter().map(|reference| kept.get(reference).cloned()).collect();
        values.extend(match here.or_else(|| shared.recent.values(run, window.iter().copied())) {
            Some(values) => values,
            None => shared.journal.read_values(run, window.to_vec()).await.map_err(ReadError::Journal)?,
        });
    }
    Ok(values)
}

/// In a value's place that no answer could hold.
fn left_out(bytes: usize) -> Shown {
    Shown { json: format!(r#"{{"leftOut":true,"bytes":{bytes}}}"#).into(), artifacts: Vec::new() }
}

/// Which items lie in the artifact store.
fn artifacts(item: &Item) -> Vec<wire::PlacedArtifact> {
    let items = match item {
        Item::One(value) if value.artifact().is_none() => return submitted::placed(value.json()),
        Item::List(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let placed = items.iter().zip(0..).filter_map(|(item, place)| match item {
        Item::One(value) => Some((value.artifact()?, place)),
        _ => None,
    });
    placed
        .map(|(artifact, place)| wire::PlacedArtifact {
            place,
            digest: artifact.digest.to_string(),
            bytes: artifact.bytes,
            media_type: artifact.media_type.to_string(),
        })
        .collect()
}
