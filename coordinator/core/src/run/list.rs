//! Lists that are kept as references (E16): how a chunk of them is written down as a value, and what is read back. A chunk's own
//! digest is that of what its items are, so that equal lists have equal digests in all runs (E22).

use bytes::Bytes;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::Body;
use super::reuse::content;
use crate::graph::Hasher;
use crate::id::EventSeq;
use crate::limits;
use crate::run::event::{ListChunk, OutputValue, Piece};
use crate::value::{Digest, Value, ValueRef};

/// An item of a list that is gone through.
#[derive(Debug, Clone, PartialEq)]
pub enum ListItem {
    /// The value itself.
    Value(Value),
    /// A value that lies elsewhere.
    One(ValueRef),
    /// A list that is a value, which lies elsewhere.
    Array(ValueRef),
    /// A list that lies elsewhere: what [`read_list`] reads.
    List(ValueRef),
}

/// A part of a list that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPart {
    /// How many items the whole list has.
    pub total: u32,
    /// Those of this part.
    pub items: Vec<ListItem>,
}

impl ListPart {
    /// A part of a list that is a value; of one that is no list, that it is one item, which is the value itself.
    pub fn of_text(json: &Bytes, part: u32) -> Self {
        let Some(texts) = items(json) else { return Self { total: 1, items: Vec::new() } };
        let total = texts.len() as u32;
        let from = (part as usize).saturating_mul(limits::LIST_CHUNK_ITEMS_MAX);
        let texts = texts.into_iter().skip(from).take(limits::LIST_CHUNK_ITEMS_MAX);
        Self { total, items: texts.map(|text| ListItem::Value(Value::from_json(text))).collect() }
    }

    /// A chunk of references; `None` if the value is none.
    pub fn of_chunk(value: &Value) -> Option<Self> {
        let items: Vec<ListItem> = read_chunk(value)?
            .into_iter()
            .map(|item| match item {
                ChunkItem::Null => ListItem::Value(Value::from_json(Bytes::from_static(b"null"))),
                ChunkItem::One(reference) => ListItem::One(reference),
                ChunkItem::Array(reference) => ListItem::Array(reference),
                ChunkItem::List(reference) => ListItem::List(reference),
            })
            .collect();
        Some(Self { total: items.len() as u32, items })
    }
}

/// The items of a JSON list, each as its own text; `None` if the text is no list.
pub fn items(json: &Bytes) -> Option<Vec<Bytes>> {
    let texts: Vec<&RawValue> = serde_json::from_slice(json).ok()?;
    Some(texts.into_iter().map(|text| json.slice_ref(text.get().as_bytes())).collect())
}

/// Writes a list down: as references where that is enough, else as chunks. Null stands where there is nothing.
pub(super) fn write(done: Vec<ListChunk>, rest: &[Option<OutputValue>], body: &mut Body) -> OutputValue {
    let is_plain = |item: &Option<OutputValue>| matches!(item, None | Some(OutputValue::One(_) | OutputValue::Closed));
    if done.is_empty() && rest.len() <= limits::LIST_CHUNK_ITEMS_MAX && rest.iter().all(is_plain) {
        let references = rest.iter().map(|item| match item {
            Some(OutputValue::One(reference)) => *reference,
            _ => body.put(Value::from_json(Bytes::from_static(b"null"))),
        });
        return OutputValue::Gather(references.collect());
    }
    let mut pieces: Vec<Piece> = done.into_iter().filter(|chunk| chunk.items > 0).map(Piece::Chunk).collect();
    pieces.extend(rest.chunks(limits::LIST_CHUNK_ITEMS_MAX).map(|items| Piece::Chunk(write_chunk(items, body))));
    OutputValue::Pieces(pieces)
}

/// Writes down one chunk of at most [`limits::LIST_CHUNK_ITEMS_MAX`] items.
pub(super) fn write_chunk(items: &[Option<OutputValue>], body: &mut Body) -> ListChunk {
    let mut text = String::with_capacity(96 * items.len() + 2);
    let mut content = Hasher::default();
    text.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        match item {
            None | Some(OutputValue::Closed) => {
                content.digest(None);
                text.push_str("null");
            }
            Some(OutputValue::One(reference)) => {
                content.digest(Some(reference.digest));
                text.push_str(&reference_text(reference));
            }
            Some(OutputValue::List(reference)) => {
                content.number(2).digest(Some(reference.digest));
                text.push_str(&array_text(reference));
            }
            Some(list) => {
                let inner = write_list(list, body);
                content.number(1).digest(Some(inner.digest));
                text.push_str(&format!("{{\"list\":{}}}", reference_text(&inner)));
            }
        }
    }
    text.push(']');
    let reference = body.put_as(Value::from_json(text.into()), content.done());
    ListChunk { reference, items: items.len() as u32 }
}

/// A list inside a list gets a value of its own, which says what its pieces are.
fn write_list(list: &OutputValue, body: &mut Body) -> ValueRef {
    let pieces: Vec<Piece> = match list {
        OutputValue::Pieces(pieces) => pieces.clone(),
        OutputValue::Gather(references) if references.len() <= limits::LIST_CHUNK_ITEMS_MAX => {
            references.iter().copied().map(Piece::Item).collect()
        }
        OutputValue::Gather(references) => {
            let items: Vec<_> = references.iter().map(|reference| Some(OutputValue::One(*reference))).collect();
            items.chunks(limits::LIST_CHUNK_ITEMS_MAX).map(|items| Piece::Chunk(write_chunk(items, body))).collect()
        }
        OutputValue::One(reference) => vec![Piece::Item(*reference)],
        OutputValue::List(reference) => vec![Piece::List(*reference)],
        OutputValue::Closed => Vec::new(),
    };
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Item(reference) => reference_text(reference),
        Piece::List(reference) => array_text(reference),
        Piece::Chunk(chunk) => format!("{{\"items\":{},\"chunk\":{}}}", chunk.items, reference_text(&chunk.reference)),
    });
    let text = format!("[{}]", texts.collect::<Vec<_>>().join(","));
    let content = content(&OutputValue::Pieces(pieces)).unwrap_or(Digest([0; 32]));
    body.put_as(Value::from_json(text.into()), content)
}

fn reference_text(reference: &ValueRef) -> String {
    let ValueRef { seq, place, bytes, digest, is_array } = reference;
    format!("[{seq},{place},{bytes},\"{digest}\"{}]", if *is_array { ",1" } else { "" })
}

fn array_text(reference: &ValueRef) -> String {
    format!("{{\"array\":{}}}", reference_text(reference))
}

/// What a chunk says of one of its items.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkItem {
    /// Nothing.
    Null,
    /// A value.
    One(ValueRef),
    /// A list that is a value.
    Array(ValueRef),
    /// A list; here lies what [`read_list`] reads.
    List(ValueRef),
}

/// Reads a chunk; `None` if the value is none.
pub fn read_chunk(value: &Value) -> Option<Vec<ChunkItem>> {
    let items: Vec<Json> = serde_json::from_slice(value.json()).ok()?;
    let read = |item: &Json| match item {
        Json::Null => Some(ChunkItem::Null),
        Json::Array(_) => read_reference(item).map(ChunkItem::One),
        Json::Object(object) => match object.get("array") {
            Some(array) => read_reference(array).map(ChunkItem::Array),
            None => read_reference(object.get("list")?).map(ChunkItem::List),
        },
        _ => None,
    };
    items.iter().map(read).collect()
}

/// Reads what a list inside a list is made of; `None` if the value is no such list.
pub fn read_list(value: &Value) -> Option<Vec<Piece>> {
    let pieces: Vec<Json> = serde_json::from_slice(value.json()).ok()?;
    let read = |piece: &Json| match piece {
        Json::Array(_) => read_reference(piece).map(Piece::Item),
        Json::Object(object) if object.contains_key("array") => read_reference(object.get("array")?).map(Piece::List),
        Json::Object(object) => {
            let items = u32::try_from(object.get("items")?.as_u64()?).ok()?;
            read_reference(object.get("chunk")?).map(|reference| Piece::Chunk(ListChunk { reference, items }))
        }
        _ => None,
    };
    pieces.iter().map(read).collect()
}

fn read_reference(json: &Json) -> Option<ValueRef> {
    let [seq, place, bytes, digest, is_array @ ..] = json.as_array()?.as_slice() else { return None };
    Some(ValueRef {
        seq: EventSeq(seq.as_u64()?),
        place: u32::try_from(place.as_u64()?).ok()?,
        bytes: u32::try_from(bytes.as_u64()?).ok()?,
        digest: read_digest(digest.as_str()?)?,
        is_array: !is_array.is_empty(),
    })
}

fn read_digest(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, place) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(Digest(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(seq: u64) -> ValueRef {
        ValueRef {
            seq: EventSeq(seq),
            place: 3,
            bytes: 17,
            digest: Digest::of(&seq.to_be_bytes()),
            is_array: seq % 2 == 1,
        }
    }

    #[test]
    fn a_chunk_is_read_back_as_it_was_written() {
        let mut body = Body::new(EventSeq(9));
        let list = OutputValue::Gather(vec![reference(4), reference(5)]);
        let pieces = OutputValue::Pieces(vec![Piece::List(reference(6)), Piece::Item(reference(7))]);
        let items = [
            Some(OutputValue::One(reference(1))),
            None,
            Some(list),
            Some(OutputValue::Closed),
            Some(OutputValue::List(reference(2))),
            Some(pieces),
        ];
        let chunk = write_chunk(&items, &mut body);
        assert_eq!(chunk.items, 6);
        let values = body.into_values();
        let read = read_chunk(&values[chunk.reference.place as usize]).unwrap();
        let [
            ChunkItem::One(one),
            ChunkItem::Null,
            ChunkItem::List(inner),
            ChunkItem::Null,
            ChunkItem::Array(array),
            ChunkItem::List(mixed),
        ] = read[..]
        else {
            panic!("{read:?}");
        };
        assert_eq!((one, array), (reference(1), reference(2)));
        let pieces = read_list(&values[mixed.place as usize]).unwrap();
        assert_eq!(pieces, [Piece::List(reference(6)), Piece::Item(reference(7))]);
        let pieces = read_list(&values[inner.place as usize]).unwrap();
        assert_eq!(pieces, [Piece::Item(reference(4)), Piece::Item(reference(5))]);
    }

    #[test]
    fn the_longest_chunk_is_kept_in_a_row() {
        let far = ValueRef {
            seq: EventSeq(limits::RUN_EVENTS_MAX),
            place: u32::MAX,
            bytes: u32::MAX,
            digest: Digest([9; 32]),
            is_array: true,
        };
        let mut body = Body::new(EventSeq(9));
        let items = vec![Some(OutputValue::List(far)); limits::LIST_CHUNK_ITEMS_MAX];
        let chunk = write_chunk(&items, &mut body);
        assert!(chunk.reference.bytes as usize <= limits::INLINE_VALUE_BYTES_MAX);
    }

    #[test]
    fn a_short_list_of_values_names_them_and_a_long_one_is_cut() {
        let mut body = Body::new(EventSeq(9));
        let one = Some(OutputValue::One(reference(1)));
        assert_eq!(write(Vec::new(), &[], &mut body), OutputValue::Gather(Vec::new()));
        assert_eq!(write(Vec::new(), std::slice::from_ref(&one), &mut body), OutputValue::Gather(vec![reference(1)]));
        let OutputValue::Pieces(pieces) =
            write(Vec::new(), &vec![one; 2 * limits::LIST_CHUNK_ITEMS_MAX + 1], &mut body)
        else {
            panic!("it is long");
        };
        assert_eq!(pieces.iter().map(Piece::items).collect::<Vec<_>>(), [Some(512), Some(512), Some(1)]);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for text in ["{}", "[[1,2,3]]", "[[1,2,3,\"zz\"]]", "[1]", "[{\"list\":1}]", "x"] {
            assert_eq!(read_chunk(&Value::from_json(text.into())), None, "{text}");
        }
    }
}
