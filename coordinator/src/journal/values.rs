//! Values by their references, from the rows that hold them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use heddle_core::id::{EventSeq, RunId};
use heddle_core::value::{Value, ValueRef};

use super::JournalError;
use super::codec::ReadBody;

/// The values that references name, in the order of the references. `body_of` is asked once for each row, however many values
/// of it are meant: a row holds hundreds, and decoding it costs all of them.
///
/// # Errors
/// Those of `body_of`, and `NoValue` if a row, or a place in it, is not there.
pub(super) fn read<E: From<JournalError>>(
    run: RunId,
    references: &[ValueRef],
    mut body_of: impl FnMut(EventSeq) -> Result<Option<ReadBody>, E>,
) -> Result<Vec<Value>, E> {
    let mut bodies = BTreeMap::<EventSeq, Option<ReadBody>>::new();
    let mut value = |reference: &ValueRef| {
        let body = match bodies.entry(reference.seq) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(body_of(reference.seq)?),
        };
        let missing = || JournalError::NoValue { run, seq: reference.seq, place: reference.place };
        Ok(body.as_ref().and_then(|body| body.value(reference)).ok_or_else(missing)?)
    };
    references.iter().map(&mut value).collect()
}

#[cfg(test)]
mod tests {
    use heddle_core::run::event::{Event, Fact};
    use heddle_core::time::Timestamp;

    use super::super::codec::{decode_body, encode};
    use super::*;

    const RUN: RunId = RunId(7);

    fn event(seq: EventSeq, values: u32) -> Event {
        Event {
            seq,
            at: Timestamp::from_millis(1),
            fact: Fact::Continued,
            decisions: Vec::new(),
            assignments: Vec::new(),
            values: (0..values)
                .map(|place| Value::from_json(format!("{}", seq.0 * 1_000 + u64::from(place)).into()))
                .collect(),
        }
    }

    fn reference(event: &Event, place: u32) -> ValueRef {
        let value = &event.values[place as usize];
        ValueRef { seq: event.seq, place, bytes: value.bytes() as u32, digest: value.digest(), is_array: false }
    }

    #[test]
    fn a_row_is_decoded_once_for_all_values_that_are_asked_of_it() {
        let events = [event(EventSeq(1), 512), event(EventSeq(2), 512)];
        // One of the one, one of the other, from the last to the first.
        let references: Vec<ValueRef> =
            (0..512).rev().flat_map(|place| events.iter().map(move |event| reference(event, place))).collect();
        let mut decoded = Vec::new();
        let found = read::<JournalError>(RUN, &references, |seq| {
            decoded.push(seq);
            let event = &events[seq.0 as usize - 1];
            Ok(Some(decode_body(&encode(RUN, event)).unwrap()))
        });
        let expected: Vec<Value> = (0..512)
            .rev()
            .flat_map(|place: usize| events.iter().map(move |event| event.values[place].clone()))
            .collect();
        assert_eq!((found.unwrap(), decoded), (expected, vec![EventSeq(1), EventSeq(2)]));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let event = event(EventSeq(1), 2);
        let beyond = ValueRef { place: 2, ..reference(&event, 1) };
        let body = || Some(decode_body(&encode(RUN, &event)).unwrap());
        let found = read::<JournalError>(RUN, &[reference(&event, 0), beyond], |_| Ok(body()));
        assert!(matches!(found, Err(JournalError::NoValue { seq: EventSeq(1), place: 2, .. })), "{found:?}");
        let found = read::<JournalError>(RUN, &[reference(&event, 1)], |_| Ok(None));
        assert!(matches!(found, Err(JournalError::NoValue { place: 1, .. })), "{found:?}");
    }
}
