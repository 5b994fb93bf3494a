//! The id of a batch, and the ids of its runs, which follow from it.
//!
//! A batch's id is a UUID (version 4 by its form): 48 bits of time, 10 of slot, 46 of randomness; the rest follows from
//! these. A run's id holds the same time and randomness, the batch's slot and the run's index. So the id alone says which
//! batch may have started a run, and two starts of one run are the same run (E24).

use std::fmt;
use std::str::FromStr;

use crate::draw::Draw;
use crate::id::{ParseIdError, RunId, Slot};
use crate::time::Timestamp;

const RANDOM_BITS: u32 = 46;
const INDEX_BITS: u32 = 14;
const SLOT_BITS: u32 = 10;
const CHECK_BITS: u32 = 18;

const _: () = assert!(crate::limits::BATCH_RUNS_MAX <= 1 << INDEX_BITS, "an id holds every index");

/// Many runs that one request has started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u128);

impl BatchId {
    /// Makes an id from a time, a slot and random bits. The caller draws; this type never does.
    pub fn new(at: Timestamp, slot: Slot, random: u64) -> Self {
        Self::of_parts((at.as_millis().max(0) as u64) & ((1 << 48) - 1), slot, random & ((1 << RANDOM_BITS) - 1))
    }

    fn of_parts(time: u64, slot: Slot, random: u64) -> Self {
        let (high, low) = (random >> 44, random & ((1 << 44) - 1));
        let check = mixed(time ^ u64::from(slot.0) ^ random.rotate_left(SLOT_BITS)) & ((1 << CHECK_BITS) - 1);
        Self(
            u128::from(time) << 80
                | 4 << 76
                | u128::from(slot.0) << 66
                | u128::from(high) << 64
                | 0b10 << 62
                | u128::from(low) << CHECK_BITS
                | u128::from(check),
        )
    }

    fn time(self) -> u64 {
        (self.0 >> 80) as u64
    }

    fn random(self) -> u64 {
        let (high, low) = (self.0 >> 64 & 0b11, self.0 >> CHECK_BITS & ((1 << 44) - 1));
        (high << 44 | low) as u64
    }

    /// The slot it carries.
    pub fn slot(self) -> Slot {
        Slot((self.0 >> 66) as u16 & (crate::id::SLOTS - 1))
    }

    /// The id of its run with this index. Its runs spread over all slots.
    pub fn run(self, index: u32) -> RunId {
        let (time, slot, random) = (self.time(), self.slot(), self.random());
        let own = Slot::of_hash(mixed(random << INDEX_BITS ^ u64::from(index)));
        RunId(
            u128::from(time) << 80
                | u128::from(own.0) << 70
                | u128::from(random) << (SLOT_BITS + INDEX_BITS)
                | u128::from(slot.0) << INDEX_BITS
                | u128::from(index) & ((1 << INDEX_BITS) - 1),
        )
    }

    /// The batch whose run this would be, and its index there. One in a thousand of other runs has such an id by chance:
    /// only the batch's row can tell.
    pub fn of_run(run: RunId) -> Option<(Self, u32)> {
        let bits = run.0;
        let index = (bits & ((1 << INDEX_BITS) - 1)) as u32;
        let slot = Slot((bits >> INDEX_BITS) as u16 & (crate::id::SLOTS - 1));
        let random = (bits >> (SLOT_BITS + INDEX_BITS)) as u64 & ((1 << RANDOM_BITS) - 1);
        let batch = Self::of_parts((bits >> 80) as u64, slot, random);
        (batch.run(index) == run).then_some((batch, index))
    }

    /// Sixteen bytes, big-endian: sorts as the id does.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id these bytes hold, if there are sixteen.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

fn mixed(seed: u64) -> u64 {
    Draw::from_seed(seed).next_u64()
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BatchId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = ParseIdError { prefix: "" };
        let lengths = text.split('-').map(str::len);
        if !text.is_ascii() || !lengths.eq([8, 4, 4, 4, 12]) {
            return Err(wrong);
        }
        let hex: String = text.split('-').collect();
        let is_hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        u128::from_str_radix(&hex, 16).ok().filter(|_| is_hex).map(Self).ok_or(wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::BATCH_RUNS_MAX;

    proptest! {
        #[test]
        fn a_run_says_which_batch_it_is_of(at in 0..1_i64 << 48, slot in 0..1_024_u16, random: u64, index in 0..BATCH_RUNS_MAX) {
            let batch = BatchId::new(Timestamp::from_millis(at), Slot(slot), random);
            prop_assert_eq!(batch.slot(), Slot(slot));
            prop_assert_eq!(batch.to_string().parse::<BatchId>(), Ok(batch));
            prop_assert_eq!(BatchId::from_bytes(&batch.to_bytes()), Some(batch));
            prop_assert_eq!(BatchId::of_run(batch.run(index)), Some((batch, index)));
        }
    }

    #[test]
    fn it_looks_like_a_uuid_of_version_4() {
        let text = BatchId::new(Timestamp::from_millis(1_700_000_000_000), Slot(1_023), u64::MAX).to_string();
        assert_eq!((text.len(), &text[14..15]), (36, "4"), "{text}");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
        for other in ["", "x", &text[1..], &text.replace('-', ""), &text.replacen('-', "+", 1)] {
            assert!(other.parse::<BatchId>().is_err(), "{other}");
        }
    }

    #[test]
    fn its_runs_spread_over_the_slots() {
        let batch = BatchId::new(Timestamp::from_millis(1), Slot(7), 42);
        let slots: std::collections::BTreeSet<_> = (0..1_000).map(|index| batch.run(index).slot()).collect();
        assert!(slots.len() > 500, "{}", slots.len());
    }
}
