//! Parts of lists that maps go through (E16). As with values, nothing of that is durable: whoever loads the run asks again.

use std::sync::Arc;

use super::values::Lack;
use super::{Partition, Turn};
use crate::fault::{Fault, is_planted};
use crate::id::RunId;
use crate::limits;
use crate::run::ListNeed;
use crate::run::event::NodeError;
use crate::run::list::ListPart;

/// A part, or why its list cannot be gone through.
type Found = Result<Arc<ListPart>, NodeError>;

/// The parts that a run looked at last, the youngest at the end.
#[derive(Debug, Default)]
pub(super) struct RecentLists(Vec<(ListNeed, Found)>);

impl RecentLists {
    fn get(&mut self, need: &ListNeed) -> Option<Found> {
        let place = self.0.iter().position(|(known, _)| known == need)?;
        let found = self.0.remove(place);
        let part = found.1.clone();
        self.0.push(found);
        Some(part)
    }

    fn keep(&mut self, need: ListNeed, part: Found) {
        self.0.retain(|(known, _)| *known != need);
        self.0.push((need, part));
    }

    /// Lets go what was not looked at lately. Not while a decision still waits for others.
    pub(super) fn trim(&mut self) {
        let left = self.0.len().saturating_sub(limits::LIST_PARTS_KEPT_MAX);
        self.0.drain(..left);
    }
}

impl Partition {
    /// A part of a list; `None` if the run has to wait for it.
    pub(super) fn list_at_hand(&mut self, id: RunId, need: &ListNeed, turn: &mut Turn<'_>) -> Option<Found> {
        if let Some(part) = self.runs.get_mut(&id)?.lists.get(need) {
            return Some(part);
        }
        let is_inline = need.is_chunk || need.reference.bytes as usize <= limits::INLINE_VALUE_BYTES_MAX;
        if !is_inline {
            // What it is made of lies in the store; that it is a list, only the journal tells.
            let is_open = self.open.value(id, &need.reference).is_some();
            if is_open && !is_planted(Fault::ValuesAskedEarly) {
                self.runs.get_mut(&id)?.lack = Lack::Landing;
            } else if self.may_ask(id) {
                turn.outputs.lists.push((id, *need));
            }
            return None;
        }
        let values = self.values_at_hand(id, &[need.reference], turn)?;
        let value = values.get(&need.reference)?;
        let part = match need.is_chunk {
            true => ListPart::of_chunk(value).unwrap_or(ListPart { total: 0, items: Vec::new() }),
            false => ListPart::of_text(value.json(), need.part),
        };
        let part = Ok(Arc::new(part));
        self.runs.get_mut(&id)?.lists.keep(*need, part.clone());
        Some(part)
    }

    /// A part that was asked for has come.
    pub(super) fn list_read(
        &mut self,
        id: RunId,
        need: &ListNeed,
        part: Result<ListPart, NodeError>,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.runs.get_mut(&id).filter(|entry| entry.lack == Lack::Asked) else { return };
        entry.lists.keep(*need, part.map(Arc::new));
        entry.lack = Lack::Nothing;
        self.settle(id, turn);
    }
}
