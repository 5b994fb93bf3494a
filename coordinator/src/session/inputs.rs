//! What an attempt gets, on its way to an agent: values in the order of the edges, lists inside lists, and parts of what is
//! too much for one message.

use bytes::Bytes;
use heddle_core::partition::io::InputBinding;
use heddle_core::value::Value;
use heddle_proto::agent as wire;
use heddle_proto::agent::coordinator_message::Kind;
use heddle_proto::limits::SHARED_VALUE_BYTES_MIN;
use serde_json::value::RawValue;

use super::convert::{artifact_to_wire, message};
use crate::limits::INPUTS_PART_BYTES;
use crate::read::items::Item;

/// The values of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// Of each wired input.
    pub(crate) inputs: Vec<Vec<Item>>,
    /// The pollable job to go on with.
    pub(crate) handle: Option<Value>,
    /// Keys of the node's config that a person has changed.
    pub(crate) config: Option<Value>,
}

/// One input as it goes over the wire; none if nothing came.
pub(super) fn to_wire(port: String, binding: &InputBinding, items: Vec<Item>) -> Option<wire::Input> {
    let mut input = wire::Input { port, list: binding.list, ..wire::Input::default() };
    match binding.joined {
        true => put(&mut input, Item::List(items)),
        false => items.into_iter().for_each(|item| put(&mut input, item)),
    }
    (!input.values_json.is_empty() || input.list).then_some(input)
}

/// Lists lie inside each other only as deep as maps do.
fn put(input: &mut wire::Input, item: Item) {
    let place = input.values_json.len() as u32;
    let (value, spread) = match item {
        Item::Null => return input.values_json.push(Bytes::from_static(b"null")),
        Item::List(items) if items.is_empty() => return input.values_json.push(Bytes::from_static(b"[]")),
        Item::List(items) => {
            items.into_iter().for_each(|item| put(input, item));
            let count = input.values_json.len() as u32 - place;
            return input.joined.push(wire::Joined { place, count });
        }
        Item::One(value) => (value, false),
        Item::Spread(value) => (value, true),
    };
    match value.artifact() {
        Some(artifact) => {
            input.artifacts.push(wire::PlacedArtifact { place, spread, artifact: Some(artifact_to_wire(artifact)) });
            input.values_json.push(value.json().clone());
        }
        None if spread => input.values_json.extend(self::items(value.json())),
        None => {
            if value.json().len() >= SHARED_VALUE_BYTES_MIN {
                let digest = Bytes::copy_from_slice(&value.digest().0);
                input.shared.push(wire::SharedValue { place, digest });
            }
            input.values_json.push(value.json().clone());
        }
    }
}

/// The items of a JSON list, each as its own text; a value that is no list is its own only item.
pub(super) fn items(list: &Bytes) -> Vec<Bytes> {
    match serde_json::from_slice::<Vec<&RawValue>>(list) {
        Ok(items) => items.into_iter().map(|item| list.slice_ref(item.get().as_bytes())).collect(),
        Err(_) => vec![list.clone()],
    }
}

/// An assignment as messages that fit: values that are too much for one go ahead in parts, in order.
pub(crate) fn in_parts(mut assign: wire::CoordinatorMessage) -> Vec<wire::CoordinatorMessage> {
    let Some(Kind::Assign(it)) = &mut assign.kind else { return vec![assign] };
    let bytes = |input: &wire::Input| input.values_json.iter().map(Bytes::len).sum::<usize>();
    if it.inputs.iter().map(bytes).sum::<usize>() <= INPUTS_PART_BYTES {
        return vec![assign];
    }
    let mut parts: Vec<Vec<wire::Input>> = Vec::new();
    let mut left = 0;
    for input in &mut it.inputs {
        let mut shared = std::mem::take(&mut input.shared).into_iter().peekable();
        for (place, value) in std::mem::take(&mut input.values_json).into_iter().enumerate() {
            let weight = value.len() + 64;
            if weight > left || parts.is_empty() {
                parts.push(Vec::new());
                left = INPUTS_PART_BYTES.max(weight);
            }
            left -= weight;
            let Some(part) = parts.last_mut() else { continue };
            if part.last().is_none_or(|last| last.port != input.port) {
                part.push(wire::Input { port: input.port.clone(), list: input.list, ..wire::Input::default() });
            }
            let Some(last) = part.last_mut() else { continue };
            if let Some(wire::SharedValue { digest, .. }) = shared.next_if(|shared| shared.place as usize == place) {
                last.shared.push(wire::SharedValue { place: last.values_json.len() as u32, digest });
            }
            last.values_json.push(value);
        }
    }
    it.parts = parts.len() as u32;
    let key = it.key.clone();
    let parts =
        parts.into_iter().map(|inputs| message(Kind::InputsPart(wire::InputsPart { key: key.clone(), inputs })));
    parts.chain([assign]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names a value by its length.
    fn shared(place: u32, length: usize) -> wire::SharedValue {
        wire::SharedValue { place, digest: Bytes::copy_from_slice(&length.to_be_bytes()) }
    }

    fn assign(lengths: &[&[usize]]) -> wire::CoordinatorMessage {
        let input = |(place, lengths): (usize, &&[usize])| wire::Input {
            port: format!("p{place}"),
            list: true,
            values_json: lengths.iter().map(|length| Bytes::from(vec![b'1'; *length])).collect(),
            shared: (0..).zip(lengths.iter()).map(|(place, length)| shared(place, *length)).collect(),
            ..wire::Input::default()
        };
        let inputs = lengths.iter().enumerate().map(input).collect();
        message(Kind::Assign(wire::Assign { inputs, ..Default::default() }))
    }

    /// Puts the parts together as an agent does.
    fn whole(messages: Vec<wire::CoordinatorMessage>) -> (usize, Vec<(String, Vec<usize>)>) {
        let mut values: Vec<(String, Vec<usize>)> = Vec::new();
        let mut parts = 0;
        for message in messages {
            assert!(prost::Message::encoded_len(&message) <= INPUTS_PART_BYTES + 64 * 1024);
            let inputs = match message.kind.unwrap() {
                Kind::InputsPart(part) => part.inputs,
                Kind::Assign(assign) => {
                    parts = assign.parts as usize;
                    assign.inputs
                }
                other => panic!("{other:?}"),
            };
            for input in inputs {
                let lengths = input.values_json.iter().map(Bytes::len);
                let named = (0..).zip(lengths.clone()).map(|(place, length)| shared(place, length));
                assert!(input.shared.iter().cloned().eq(named), "each name stays with its value");
                match values.iter_mut().find(|(port, _)| *port == input.port) {
                    Some((_, known)) => known.extend(lengths),
                    None => values.push((input.port, lengths.collect())),
                }
            }
        }
        (parts, values)
    }

    #[test]
    fn many_inputs_travel_in_parts() {
        let small = assign(&[&[1, 2], &[3]]);
        assert_eq!(in_parts(small.clone()), [small]);
        let lengths: &[&[usize]] = &[&[60_000; 40], &[7], &[50_000; 30]];
        let (parts, values) = whole(in_parts(assign(lengths)));
        assert_eq!(parts, 2);
        let expected = lengths.iter().enumerate().map(|(place, lengths)| (format!("p{place}"), lengths.to_vec()));
        assert_eq!(values, expected.collect::<Vec<_>>());
    }

    fn text(json: &'static str) -> Value {
        Value::from_json(Bytes::from_static(json.as_bytes()))
    }

    fn binding(list: bool, joined: bool) -> InputBinding {
        InputBinding { port: heddle_core::id::PortIx(0), list, joined, values: Vec::new() }
    }

    #[test]
    fn lists_inside_lists_are_said_from_the_inside_out() {
        let inner = Item::List(vec![Item::One(text("1")), Item::List(vec![Item::One(text("2")), Item::Null])]);
        let items = vec![Item::Spread(text("[7,8]")), inner, Item::List(Vec::new())];
        let input = to_wire("p".into(), &binding(true, false), items.clone()).unwrap();
        assert_eq!(input.values_json, ["7", "8", "1", "2", "null", "[]"]);
        assert_eq!(input.joined, [(3, 2), (2, 3)].map(|(place, count)| wire::Joined { place, count }));
        let whole = to_wire("p".into(), &binding(false, true), items).unwrap();
        assert_eq!(whole.joined.last(), Some(&wire::Joined { place: 0, count: 6 }));
        assert_eq!(to_wire("p".into(), &binding(false, true), Vec::new()).unwrap().values_json, ["[]"]);
        assert_eq!(to_wire("p".into(), &binding(false, false), Vec::new()), None);
    }
}
