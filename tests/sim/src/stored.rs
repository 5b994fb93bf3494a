//! Values of a run as its rows hold them: what references lead to.

use heddle_core::partition::io::{BoundValue, Holds, InputBinding};
use heddle_core::run::event::{Event, OutputValue, Piece};
use heddle_core::run::list::{self, ChunkItem};
use heddle_core::value::{Value, ValueRef};
use serde_json::Value as Json;

use super::large::Artifacts;

/// The events of one run, and what lies in the artifact store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) events: &'a [Event],
    pub(super) artifacts: &'a Artifacts,
}

impl<'a> Stored<'a> {
    /// The value that a reference leads to.
    pub(super) fn value(self, reference: &ValueRef) -> Option<&'a Value> {
        let event = self.events.get(reference.seq.0.checked_sub(1)? as usize)?;
        event.values.get(reference.place as usize)
    }

    /// The same as JSON; null if it is not there.
    pub(super) fn json(self, reference: &ValueRef) -> Json {
        let text = self.value(reference).and_then(|value| match value.artifact() {
            Some(artifact) => self.artifacts.get(&artifact.digest),
            None => Some(value.json()),
        });
        text.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
    }

    /// What an output gives; nothing if it is closed.
    pub(super) fn output(self, value: &OutputValue) -> Option<Json> {
        match value {
            OutputValue::One(reference) | OutputValue::List(reference) => Some(self.json(reference)),
            OutputValue::Gather(references) => Some(references.iter().map(|reference| self.json(reference)).collect()),
            OutputValue::Pieces(pieces) => Some(Json::Array(self.list(pieces))),
            OutputValue::Closed => None,
        }
    }

    /// What an attempt is given at an input.
    pub(super) fn input(self, input: &InputBinding) -> Json {
        let mut values = input.values.iter().flat_map(|bound| self.bound(bound));
        if input.list || input.joined { values.collect() } else { values.next().unwrap_or_default() }
    }

    fn bound(self, bound: &BoundValue) -> Vec<Json> {
        match (bound.holds, self.json(&bound.reference)) {
            (Holds::Chunk, _) => self.chunk(&bound.reference),
            (Holds::List, Json::Array(items)) => items,
            (_, value) => vec![value],
        }
    }

    fn list(self, pieces: &[Piece]) -> Vec<Json> {
        let of = |piece: &Piece| match piece {
            Piece::Item(reference) => vec![self.json(reference)],
            Piece::List(reference) => match self.json(reference) {
                Json::Array(items) => items,
                value => vec![value],
            },
            Piece::Chunk(chunk) => self.chunk(&chunk.reference),
        };
        pieces.iter().flat_map(of).collect()
    }

    /// A part of a list that is kept as references.
    fn chunk(self, reference: &ValueRef) -> Vec<Json> {
        let items = self.value(reference).and_then(list::read_chunk).unwrap_or_default();
        let of = |item: &ChunkItem| match item {
            ChunkItem::Null => Json::Null,
            ChunkItem::One(reference) | ChunkItem::Array(reference) => self.json(reference),
            ChunkItem::List(reference) => {
                let pieces = self.value(reference).and_then(list::read_list).unwrap_or_default();
                Json::Array(self.list(&pieces))
            }
        };
        items.iter().map(of).collect()
    }
}
