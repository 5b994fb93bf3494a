//! Which partition each slot belongs to.

use std::sync::Arc;

use heddle_core::id::{PartitionId, SLOTS, Slot};

use super::JournalError;
use super::limits::{PARTITIONS_DEFAULT, PARTITIONS_MAX};

/// The partition of each of the [`SLOTS`]: chosen at the first start and kept in the database (E24).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    by_slot: Arc<[PartitionId]>,
    count: u16,
}

impl Partitions {
    /// How many a new journal gets: one for each core, within bounds.
    pub(super) fn usual_count() -> u16 {
        let cores =
            std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX));
        cores.clamp(*PARTITIONS_DEFAULT.start(), *PARTITIONS_DEFAULT.end())
    }

    /// Spreads the slots over `count` partitions.
    ///
    /// # Errors
    /// [`JournalError::PartitionCount`] unless `count` is from 1 to [`PARTITIONS_MAX`].
    pub fn spread(count: u16) -> Result<Self, JournalError> {
        if !(1..=PARTITIONS_MAX).contains(&count) {
            return Err(JournalError::PartitionCount { asked: count, max: PARTITIONS_MAX });
        }
        Ok(Self { by_slot: (0..SLOTS).map(|slot| PartitionId(slot % count)).collect(), count })
    }

    /// The table as it was kept: one partition per slot, in the order of the slots.
    pub(super) fn from_table(by_slot: Vec<PartitionId>) -> Option<Self> {
        let count = by_slot.iter().max()?.0.checked_add(1)?;
        (by_slot.len() == usize::from(SLOTS)).then(|| Self { by_slot: by_slot.into(), count })
    }

    /// How many partitions there are; they are numbered from 0.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// All partitions.
    pub fn ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.count).map(PartitionId)
    }

    /// The partition of a slot.
    pub fn of(&self, slot: Slot) -> PartitionId {
        self.by_slot[usize::from(slot.0 % SLOTS)]
    }

    /// All slots with their partitions.
    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, PartitionId)> {
        (0..SLOTS).map(Slot).zip(self.by_slot.iter().copied())
    }
}
