//! Permits and their two classes.

use std::ops::{AddAssign, Sub};

use heddle_proto::agent as wire;

/// What kind of place an attempt takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// For any type.
    Slot,
    /// For types that may wait inside the agent.
    Prefetch,
}

impl Class {
    /// The class a message names, if this build knows it.
    pub(crate) fn from_wire(class: i32) -> Option<Self> {
        match wire::PermitClass::try_from(class) {
            Ok(wire::PermitClass::Slot) => Some(Class::Slot),
            Ok(wire::PermitClass::Prefetch) => Some(Class::Prefetch),
            Ok(wire::PermitClass::Unspecified) | Err(_) => None,
        }
    }
}

/// A number for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Permits {
    pub(crate) slot: u32,
    pub(crate) prefetch: u32,
}

impl Permits {
    pub(crate) const NONE: Permits = Permits { slot: 0, prefetch: 0 };

    pub(crate) fn of(class: Class, count: u32) -> Self {
        match class {
            Class::Slot => Permits { slot: count, prefetch: 0 },
            Class::Prefetch => Permits { slot: 0, prefetch: count },
        }
    }

    /// As messages, without those that grant nothing.
    pub(crate) fn into_wire(self) -> Vec<wire::Permit> {
        [(wire::PermitClass::Slot, self.slot), (wire::PermitClass::Prefetch, self.prefetch)]
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|(class, count)| wire::Permit { class: class.into(), count })
            .collect()
    }
}

impl AddAssign for Permits {
    fn add_assign(&mut self, other: Self) {
        self.slot = self.slot.saturating_add(other.slot);
        self.prefetch = self.prefetch.saturating_add(other.prefetch);
    }
}

/// Never below zero.
impl Sub for Permits {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Permits { slot: self.slot.saturating_sub(other.slot), prefetch: self.prefetch.saturating_sub(other.prefetch) }
    }
}
