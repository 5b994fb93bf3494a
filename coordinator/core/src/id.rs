//! Identities: newtypes for everything that is named or counted across a module boundary.
//!
//! Public ids look like `exec_01J…`: a prefix and 26 characters of Crockford base 32 (128 bits). The bits are: 48 of
//! time (milliseconds), 10 of **slot**, 70 of randomness; so ids sort by time and route by themselves (E24).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::draw::Draw;
use crate::time::Timestamp;

/// How many slots there are. A slot maps to a partition by a table, so the number of partitions may change.
pub const SLOTS: u16 = 1 << 10;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_LENGTH: usize = 26;
const RANDOM_BITS: u32 = 70;

/// A number from 0 to 1,023 inside every run id, from which its partition follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot that any 64-bit hash falls into.
    pub fn of_hash(hash: u64) -> Self {
        Slot((hash % u64::from(SLOTS)) as u16)
    }
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an id of this kind: expected \"{prefix}_\" and 26 letters or digits")]
pub struct ParseIdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

fn encode(mut bits: u128, out: &mut [u8; TEXT_LENGTH]) {
    for place in out.iter_mut().rev() {
        *place = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
}

fn decode(text: &str) -> Option<u128> {
    let text = text.as_bytes();
    // 26 characters hold 130 bits: the first may only use its lower three.
    if text.len() != TEXT_LENGTH || text[0] > b'7' {
        return None;
    }
    text.iter().try_fold(0u128, |bits, byte| {
        let digit = ALPHABET.iter().position(|letter| letter == byte)?;
        Some(bits << 5 | digit as u128)
    })
}

macro_rules! sortable_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl $name {
            /// What its text form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from a time, a slot and random bits. The caller draws; this type never does.
            pub fn new(at: Timestamp, slot: Slot, random: u128) -> Self {
                let time = (at.as_millis().max(0) as u128) & ((1 << 48) - 1);
                Self(time << 80 | u128::from(slot.0) << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1))
            }

            /// The slot it carries.
            pub fn slot(self) -> Slot {
                Slot((self.0 >> RANDOM_BITS) as u16 & (SLOTS - 1))
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

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; TEXT_LENGTH];
                encode(self.0, &mut text);
                f.write_str(concat!($prefix, "_"))?;
                text.iter().try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }
    };
}

sortable_id!(
    /// One execution of one pinned graph.
    RunId,
    "exec"
);
sortable_id!(
    /// A named, versioned graph.
    WorkflowId,
    "wf"
);
sortable_id!(
    /// An API key's public name (never the key).
    KeyId,
    "key"
);
sortable_id!(
    /// A file that somebody brought.
    UploadId,
    "media"
);

sortable_id!(
    /// A join token's public name (never the token).
    JoinTokenId,
    "jtk"
);

sortable_id!(
    /// Something that a run asks of people.
    ReviewId,
    "rev"
);

sortable_id!(
    /// A rule that watches over a workflow.
    AlertId,
    "alr"
);

sortable_id!(
    /// What such a rule found, from its opening to its close.
    IncidentId,
    "inc"
);

impl ReviewId {
    /// The id of a run's review; it has the run's slot and time.
    pub fn of(run: RunId, review: ReviewIx) -> Self {
        let mixed = |salt: u64| Draw::from_seed((run.0 as u64) ^ (run.0 >> 64) as u64 ^ salt).next_u64();
        let salt = u64::from(review.0) << 8;
        let random = u128::from(mixed(salt)) << 64 | u128::from(mixed(salt | 1));
        Self(run.0 >> RANDOM_BITS << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1))
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Arc<str>);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Whose data it is. Only the authentication layer makes one from outside input.
    TenantId
);
text_id!(
    /// An agent, over all its restarts.
    AgentId
);
text_id!(
    /// Who stands behind a key: the author of a cancel or a decision.
    Subject
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next one.
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// One start of an agent's process. A new boot revokes what the old one held.
    BootId(u64)
);
number!(
    /// The unit of ownership, ordering, batching and recovery.
    PartitionId(u16)
);
number!(
    /// Raised by every load of a partition; every commit names it (E4).
    Epoch(u64)
);
number!(
    /// Commits of a partition, counted within one epoch from 1.
    BatchNumber(u64)
);
number!(
    /// Place of an event in its run's history: 1, 2, 3… without a gap.
    EventSeq(u64)
);
number!(
    /// A node, by its place in the compiled graph.
    NodeIx(u32)
);
number!(
    /// A port, by its place among the inputs or the outputs of its node's type.
    PortIx(u16)
);
number!(
    /// Who does a node's work: 0 is the node itself, the others are its fallbacks in their order.
    ProviderIx(u16)
);
number!(
    /// An instance of a map's or loop's body; 0 is the graph itself.
    ScopeIx(u32)
);
number!(
    /// Raised by a person's retry at a review, and by nothing else (E12).
    Generation(u32)
);
number!(
    /// A review of a run, in the order in which they were opened.
    ReviewIx(u32)
);
number!(
    /// Tries of one instance, from 1; never restarts (E12).
    AttemptNumber(u32)
);
number!(
    /// A random number that one assignment carries to one boot of one agent (E8).
    AttemptToken(u64)
);
number!(
    /// A stream between an agent and this coordinator; later ones have higher numbers.
    SessionNumber(u64)
);
number!(
    /// A waiting caller, named by the shell that holds its reply channel.
    CallerId(u64)
);

/// A node together with the place where it runs (E12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Which node.
    pub node: NodeIx,
    /// Inside which scope.
    pub scope: ScopeIx,
    /// Which generation of its output.
    pub generation: Generation,
}

impl Instance {
    /// The first generation of a node outside all scopes.
    pub fn root(node: NodeIx) -> Self {
        Self { node, scope: ScopeIx(0), generation: Generation(0) }
    }

    /// The first generation of another node in the same scope.
    pub fn beside(self, node: NodeIx) -> Self {
        Self { node, scope: self.scope, generation: Generation(0) }
    }

    /// Its first generation.
    pub fn first(self) -> Self {
        self.beside(self.node)
    }
}

/// One try of one instance, as agents name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The run.
    pub run: RunId,
    /// The node instance.
    pub instance: Instance,
    /// Which try.
    pub number: AttemptNumber,
    /// Must be the current one, or the result is refused.
    pub token: AttemptToken,
}

/// One start of one agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentBoot {
    /// The agent.
    pub agent: AgentId,
    /// Its start.
    pub boot: BootId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_slot_and_their_text() {
        let id = RunId::new(Timestamp::from_millis(1_700_000_000_000), Slot(1_023), u128::MAX);
        assert_eq!(id.slot(), Slot(1_023));
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        assert_eq!(RunId::from_bytes(&id.to_bytes()), Some(id));
        assert_eq!(id.to_string().len(), "exec_".len() + 26);
    }

    #[test]
    fn ids_sort_by_time() {
        let early = RunId::new(Timestamp::from_millis(1), Slot(1_023), u128::MAX);
        let late = RunId::new(Timestamp::from_millis(2), Slot(0), 0);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "exec_",
            "exec_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "wf_00000000000000000000000000",
            "exec_0000000000000000000000000u",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
