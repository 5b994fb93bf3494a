//! What an event carries beside what it says: the values that came to be with it.

use crate::id::EventSeq;
use crate::value::{Digest, Value, ValueRef};

/// The body of an event while it is written: takes values, gives references.
#[derive(Debug, Default)]
pub struct Body {
    seq: EventSeq,
    pub(super) values: Vec<Value>,
}

impl Body {
    /// An empty body of the event with this seq.
    pub fn new(seq: EventSeq) -> Self {
        Self { seq, values: Vec::new() }
    }

    /// Goes on with a body that holds values already.
    pub fn resume(seq: EventSeq, values: Vec<Value>) -> Self {
        Self { seq, values }
    }

    /// Takes a value in.
    pub fn put(&mut self, value: Value) -> ValueRef {
        let reference = ValueRef {
            seq: self.seq,
            place: self.values.len() as u32,
            bytes: value.bytes() as u32,
            digest: value.digest(),
            is_array: value.artifact().is_none() && value.json().first() == Some(&b'['),
        };
        self.values.push(value);
        reference
    }

    /// Takes in a value that names others, and is known by the digest of what these are: where they lie differs from run to run.
    pub fn put_as(&mut self, value: Value, digest: Digest) -> ValueRef {
        ValueRef { digest, is_array: false, ..self.put(value) }
    }

    /// The values, in the order of their places.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}
