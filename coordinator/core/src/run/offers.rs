//! Results on their way into another run: their values are copied into its first events, so that it never reads where they came
//! from (E22).

use std::collections::BTreeMap;

use super::Body;
use super::lineage::Offer;
use super::list::{self, ChunkItem};
use crate::id::EventSeq;
use crate::limits;
use crate::run::event::{ListChunk, OutputValue, Piece, PortOutput};
use crate::value::{Digest, Value, ValueRef};

/// Gives the value behind a reference of the run that results come from.
pub type Read<'a> = &'a dyn Fn(&ValueRef) -> Option<Value>;

/// Where the values of outputs lie: leaves, and chunks and lists that name others.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Values.
    pub leaves: Vec<ValueRef>,
    /// Values that are lists of references; what they name is found with [`Wanted::within`].
    pub lists: Vec<ValueRef>,
}

impl Wanted {
    /// What an output refers to.
    pub fn add(&mut self, value: &OutputValue) {
        match value {
            OutputValue::Closed => {}
            OutputValue::One(reference) | OutputValue::List(reference) => self.leaves.push(*reference),
            OutputValue::Gather(references) => self.leaves.extend(references),
            OutputValue::Pieces(pieces) => self.add_pieces(pieces),
        }
    }

    /// What a chunk or a list names.
    pub fn within(&mut self, list: &Value) {
        if let Some(items) = list::read_chunk(list) {
            for item in items {
                match item {
                    ChunkItem::Null => {}
                    ChunkItem::One(reference) | ChunkItem::Array(reference) => self.leaves.push(reference),
                    ChunkItem::List(reference) => self.lists.push(reference),
                }
            }
        }
        // What is no chunk of references may be a list of pieces; of one that is both, both are read.
        self.add_pieces(&list::read_list(list).unwrap_or_default());
    }

    fn add_pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Item(reference) | Piece::List(reference) => self.leaves.push(*reference),
                Piece::Chunk(chunk) => self.lists.push(chunk.reference),
            }
        }
    }
}

/// Fills the events that follow the first one of a run: at most [`limits::OFFERS_PER_EVENT_MAX`] offers and about
/// [`limits::OFFERED_BYTES_PER_EVENT_MAX`] bytes each.
#[derive(Debug)]
pub struct Packing {
    events: Vec<(Vec<Offer>, Vec<Value>)>,
    /// Where values lie that were copied already: what is equal is copied once.
    copied: BTreeMap<(Digest, Option<bool>), ValueRef>,
    offers: Vec<Offer>,
    body: Body,
    bytes: usize,
    all_bytes: usize,
}

impl Default for Packing {
    fn default() -> Self {
        let body = Body::new(EventSeq(2));
        Self { events: Vec::new(), copied: BTreeMap::new(), offers: Vec::new(), body, bytes: 0, all_bytes: 0 }
    }
}

impl Packing {
    /// Adds a result; its outputs are references into the run it comes from. `None` if one of its values cannot be read.
    pub fn add(&mut self, offer: Offer, read: Read<'_>) -> Option<()> {
        let outputs = offer.outputs.iter();
        let outputs = outputs.map(|it| Some(PortOutput { port: it.port, value: self.copy(&it.value, read)? }));
        let outputs = outputs.collect::<Option<Vec<_>>>()?;
        self.offers.push(Offer { outputs, ..offer });
        if self.offers.len() >= limits::OFFERS_PER_EVENT_MAX {
            self.seal();
        }
        Some(())
    }

    /// Copies a value that lies in no run yet.
    pub fn put(&mut self, value: Value) -> ValueRef {
        // A file and a JSON text may have the same bytes.
        let kind = (value.digest(), value.artifact().map(|artifact| artifact.is_json));
        if let Some(reference) = self.copied.get(&kind) {
            return *reference;
        }
        self.make_room(value.json().len());
        let reference = self.body.put(value);
        self.copied.insert(kind, reference);
        reference
    }

    /// Adds a result whose outputs were put here.
    pub fn add_own(&mut self, offer: Offer) {
        self.offers.push(offer);
    }

    /// What an output is in the run that it goes to.
    pub fn copy(&mut self, value: &OutputValue, read: Read<'_>) -> Option<OutputValue> {
        Some(match value {
            OutputValue::Closed => OutputValue::Closed,
            OutputValue::One(reference) => OutputValue::One(self.copy_one(reference, read)?),
            OutputValue::List(reference) => OutputValue::List(self.copy_one(reference, read)?),
            OutputValue::Gather(references) => {
                let copied = references.iter().map(|reference| self.copy_one(reference, read));
                OutputValue::Gather(copied.collect::<Option<_>>()?)
            }
            OutputValue::Pieces(pieces) => OutputValue::Pieces(self.copy_pieces(pieces, read)?),
        })
    }

    fn copy_one(&mut self, reference: &ValueRef, read: Read<'_>) -> Option<ValueRef> {
        read(reference).map(|value| self.put(value))
    }

    fn copy_pieces(&mut self, pieces: &[Piece], read: Read<'_>) -> Option<Vec<Piece>> {
        let copied = pieces.iter().map(|piece| match piece {
            Piece::Item(reference) => self.copy_one(reference, read).map(Piece::Item),
            Piece::List(reference) => self.copy_one(reference, read).map(Piece::List),
            Piece::Chunk(chunk) => self.copy_chunk(chunk, read).map(Piece::Chunk),
        });
        copied.collect()
    }

    fn copy_chunk(&mut self, chunk: &ListChunk, read: Read<'_>) -> Option<ListChunk> {
        let items = list::read_chunk(&read(&chunk.reference)?)?.into_iter();
        let items = items.map(|item| {
            Some(match item {
                ChunkItem::Null => None,
                ChunkItem::One(reference) => Some(OutputValue::One(self.copy_one(&reference, read)?)),
                ChunkItem::Array(reference) => Some(OutputValue::List(self.copy_one(&reference, read)?)),
                ChunkItem::List(reference) => {
                    let pieces = list::read_list(&read(&reference)?)?;
                    Some(OutputValue::Pieces(self.copy_pieces(&pieces, read)?))
                }
            })
        });
        let items = items.collect::<Option<Vec<_>>>()?;
        self.make_room(96 * items.len());
        Some(list::write_chunk(&items, &mut self.body))
    }

    /// Bytes of all that was copied.
    pub fn bytes_copied(&self) -> usize {
        self.all_bytes
    }

    fn make_room(&mut self, bytes: usize) {
        if self.bytes > 0 && self.bytes + bytes > limits::OFFERED_BYTES_PER_EVENT_MAX {
            self.seal();
        }
        self.bytes += bytes;
        self.all_bytes += bytes;
    }

    fn seal(&mut self) {
        let next = Body::new(EventSeq(self.events.len() as u64 + 3));
        let body = std::mem::replace(&mut self.body, next);
        self.events.push((std::mem::take(&mut self.offers), body.into_values()));
        self.bytes = 0;
    }

    /// The events, in order.
    pub fn finish(mut self) -> Vec<(Vec<Offer>, Vec<Value>)> {
        if !self.offers.is_empty() || !self.body.values.is_empty() {
            self.seal();
        }
        self.events
    }
}
