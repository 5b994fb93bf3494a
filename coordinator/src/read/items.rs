//! Values that are lists of references: what they are made of, step by step, and what comes of it.

use std::collections::HashMap;

use heddle_core::limits::INLINE_VALUE_BYTES_MAX;
use heddle_core::run::event::{OutputValue, Piece};
use heddle_core::run::list::{self, ChunkItem, read_chunk, read_list};
use heddle_core::value::{Value, ValueRef};

/// A list of references is none.
#[derive(Debug)]
pub(crate) struct Broken;

/// A value, or what stands for some.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// Nothing came of an item of a list.
    Null,
    /// A value.
    One(Value),
    /// A list whose items are meant, one by one.
    Spread(Value),
    /// A list that is put together.
    List(Vec<Item>),
}

/// How much a value is.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    /// Values, those inside lists among them.
    pub(crate) items: usize,
    /// Those in the artifact store.
    pub(crate) artifacts: usize,
    /// Bytes of the others.
    pub(crate) bytes: usize,
}

/// What is known of a value while it is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Null,
    One(ValueRef),
    Spread(ValueRef),
    /// References to values.
    Chunk(ValueRef),
    /// What a list inside a list is made of.
    Inner(ValueRef),
    /// Values in a row.
    Many(Vec<Part>),
    /// A list inside a list.
    List(Vec<Part>),
}

impl Part {
    /// An output's value.
    pub(crate) fn of(output: &OutputValue) -> Self {
        match output {
            OutputValue::Closed => Part::Null,
            OutputValue::One(reference) | OutputValue::List(reference) => Part::One(*reference),
            OutputValue::Gather(references) => Part::List(references.iter().copied().map(Part::One).collect()),
            OutputValue::Pieces(pieces) => Part::List(pieces.iter().copied().map(Part::of_piece).collect()),
        }
    }

    fn of_piece(piece: Piece) -> Self {
        match piece {
            Piece::Item(reference) => Part::One(reference),
            Piece::Chunk(chunk) => Part::Chunk(chunk.reference),
            Piece::List(reference) => Part::Spread(reference),
        }
    }

    /// The references that have to be read to know what the value is made of.
    pub(crate) fn unread(&self, named: &mut Vec<ValueRef>) {
        match self {
            Part::Chunk(reference) | Part::Inner(reference) => named.push(*reference),
            Part::Many(parts) | Part::List(parts) => parts.iter().for_each(|part| part.unread(named)),
            Part::Null | Part::One(_) | Part::Spread(_) => {}
        }
    }

    /// Puts in the place of what was read what it names.
    pub(crate) fn expand(&mut self, lists: &HashMap<ValueRef, Value>) -> Result<(), Broken> {
        match self {
            Part::Chunk(reference) => {
                let items = lists.get(reference).and_then(read_chunk).ok_or(Broken)?;
                let part = |item| match item {
                    ChunkItem::Null => Part::Null,
                    ChunkItem::One(reference) | ChunkItem::Array(reference) => Part::One(reference),
                    ChunkItem::List(reference) => Part::Inner(reference),
                };
                *self = Part::Many(items.into_iter().map(part).collect());
            }
            Part::Inner(reference) => {
                let pieces = lists.get(reference).and_then(read_list).ok_or(Broken)?;
                *self = Part::List(pieces.into_iter().map(Part::of_piece).collect());
            }
            Part::Many(parts) | Part::List(parts) => parts.iter_mut().try_for_each(|part| part.expand(lists))?,
            Part::Null | Part::One(_) | Part::Spread(_) => {}
        }
        Ok(())
    }

    /// The values, in order, once nothing is unread.
    pub(crate) fn leaves(&self, leaves: &mut Vec<ValueRef>) {
        match self {
            Part::One(reference) | Part::Spread(reference) => leaves.push(*reference),
            Part::Many(parts) | Part::List(parts) => parts.iter().for_each(|part| part.leaves(leaves)),
            Part::Null | Part::Chunk(_) | Part::Inner(_) => {}
        }
    }

    /// Puts values in their places, in the same order.
    pub(crate) fn fill(self, values: &mut impl Iterator<Item = Value>, items: &mut Vec<Item>) {
        match self {
            Part::One(_) => items.extend(values.next().map(Item::One)),
            Part::Spread(_) => items.extend(values.next().map(Item::Spread)),
            Part::Many(parts) => parts.into_iter().for_each(|part| part.fill(values, items)),
            Part::List(parts) => {
                let mut inner = Vec::with_capacity(parts.len());
                parts.into_iter().for_each(|part| part.fill(values, &mut inner));
                items.push(Item::List(inner));
            }
            Part::Null | Part::Chunk(_) | Part::Inner(_) => items.push(Item::Null),
        }
    }

    /// Adds up what references say before values are read.
    pub(crate) fn add_to(&self, sum: &mut Sum) {
        sum.items += 1;
        match self {
            Part::One(reference) | Part::Spread(reference) if reference.bytes as usize <= INLINE_VALUE_BYTES_MAX => {
                sum.bytes += reference.bytes as usize;
            }
            Part::One(_) | Part::Spread(_) => sum.artifacts += 1,
            Part::Many(parts) | Part::List(parts) => parts.iter().for_each(|part| part.add_to(sum)),
            Part::Null | Part::Chunk(_) | Part::Inner(_) => {}
        }
    }
}

impl Item {
    /// The values that are JSON in the artifact store, and the bytes of all that are no files.
    pub(crate) fn values<'a>(&'a mut self, large: &mut Vec<&'a mut Value>, bytes: &mut u64) {
        match self {
            Item::Null => {}
            Item::One(value) | Item::Spread(value) => {
                let artifact = value.artifact().map(|artifact| artifact.is_json);
                *bytes += if artifact == Some(false) { 0 } else { value.bytes() };
                large.extend((artifact == Some(true)).then_some(value));
            }
            Item::List(items) => items.iter_mut().for_each(|item| item.values(large, bytes)),
        }
    }

    /// The lists whose items are meant and that lie in the artifact store.
    pub(crate) fn large_lists<'a>(&'a mut self, large: &mut Vec<&'a mut Value>) {
        match self {
            Item::Spread(value) => large.extend(value.artifact().is_some().then_some(value)),
            Item::List(items) => items.iter_mut().for_each(|item| item.large_lists(large)),
            Item::Null | Item::One(_) => {}
        }
    }

    /// The same with the items of lists that are values in the places of these, where they are at hand.
    pub(crate) fn spread_out(self) -> Self {
        let Item::List(items) = self else { return self };
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            let spread = match &item {
                Item::Spread(value) if value.artifact().is_none() => list::items(value.json()),
                _ => None,
            };
            match spread {
                Some(texts) => out.extend(texts.into_iter().map(Value::from_json).map(Item::One)),
                None => out.push(item.spread_out()),
            }
        }
        Item::List(out)
    }

    /// Its JSON text; of artifacts their descriptions.
    pub(crate) fn write(&self, text: &mut Vec<u8>) {
        match self {
            Item::Null => text.extend_from_slice(b"null"),
            Item::One(value) | Item::Spread(value) => text.extend_from_slice(value.json()),
            Item::List(items) => {
                text.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        text.push(b',');
                    }
                    item.write(text);
                }
                text.push(b']');
            }
        }
    }
}
