//! What nodes give, by reference: values, and lists that are put together from values that lie elsewhere.

use serde::{Deserialize, Serialize};

use crate::id::PortIx;
use crate::value::ValueRef;

/// A part of a list that is kept as references: a value that lists them (E16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChunk {
    /// Where the references lie.
    pub reference: ValueRef,
    /// How many items they stand for.
    pub items: u32,
}

/// A part of a list that lies in several places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// One item.
    Item(ValueRef),
    /// Many.
    Chunk(ListChunk),
    /// A list that is a value: how many items it has, only who reads it knows.
    List(ValueRef),
}

/// What came out of one port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortOutput {
    /// Which output.
    pub port: PortIx,
    /// What.
    pub value: OutputValue,
}

/// The value of an output, by reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OutputValue {
    /// One value; JSON that is an array, too.
    One(ValueRef),
    /// A list that is one value: a JSON array whose items are meant, or a value that is its own only item.
    List(ValueRef),
    /// A list put together from values that lie elsewhere (E16).
    Gather(Vec<ValueRef>),
    /// The same, too long to name each item, or with lists among its items.
    Pieces(Vec<Piece>),
    /// The port was not taken: it never gives a value.
    Closed,
}

impl OutputValue {
    /// Its parts, as a list of lists' parts takes them.
    pub fn pieces(&self) -> Vec<Piece> {
        match self {
            OutputValue::One(reference) => vec![Piece::Item(*reference)],
            OutputValue::List(reference) => vec![Piece::List(*reference)],
            OutputValue::Gather(references) => references.iter().copied().map(Piece::Item).collect(),
            OutputValue::Pieces(pieces) => pieces.clone(),
            OutputValue::Closed => Vec::new(),
        }
    }

    /// An item of a list: one that is an array is a list itself, wherever it came from.
    pub(crate) fn item(reference: ValueRef) -> Self {
        if reference.is_array { OutputValue::List(reference) } else { OutputValue::One(reference) }
    }

    /// A value that somebody puts in the place of another one: in that of a list it is one.
    pub fn in_place_of(value: ValueRef, before: Option<&OutputValue>) -> Self {
        match before {
            Some(before) if before.is_list() => OutputValue::List(value),
            _ => OutputValue::One(value),
        }
    }

    /// Where the whole lies, if that is one value.
    pub fn whole(&self) -> Option<&ValueRef> {
        match self {
            OutputValue::One(reference) | OutputValue::List(reference) => Some(reference),
            OutputValue::Gather(_) | OutputValue::Pieces(_) | OutputValue::Closed => None,
        }
    }

    /// Whether it is a list, whoever passes it on.
    pub fn is_list(&self) -> bool {
        matches!(self, OutputValue::List(_) | OutputValue::Gather(_) | OutputValue::Pieces(_))
    }

    /// Bytes of what it refers to.
    pub fn bytes(&self) -> u64 {
        match self {
            OutputValue::One(reference) | OutputValue::List(reference) => u64::from(reference.bytes),
            OutputValue::Gather(references) => references.iter().map(|reference| u64::from(reference.bytes)).sum(),
            OutputValue::Pieces(pieces) => pieces.iter().map(|piece| u64::from(piece.reference().bytes)).sum(),
            OutputValue::Closed => 0,
        }
    }
}

impl Piece {
    /// What it refers to.
    pub fn reference(&self) -> &ValueRef {
        match self {
            Piece::Item(reference) | Piece::List(reference) | Piece::Chunk(ListChunk { reference, .. }) => reference,
        }
    }

    /// How many items it stands for; of a list that is a value nobody knows before it is read.
    pub fn items(&self) -> Option<u32> {
        match self {
            Piece::Item(_) => Some(1),
            Piece::Chunk(chunk) => Some(chunk.items),
            Piece::List(_) => None,
        }
    }
}
