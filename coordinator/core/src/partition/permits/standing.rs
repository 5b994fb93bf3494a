//! How a need stands, for people: who could serve it, who cannot and why, and how many wait for the same.

use std::sync::Arc;

use super::{Alone, Need, Permits, Pool};
use crate::id::AgentId;
use crate::limits;

/// Why an agent that is here does not get what a node needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It does not run the node type.
    Type,
    /// It runs an older version.
    Version {
        /// Which.
        has: u32,
    },
    /// It does not carry this label with this value.
    Label {
        /// The label's name.
        name: String,
        /// The value that is needed.
        value: String,
    },
    /// It is drained: it takes nothing new.
    Drained,
}

/// How many places a concurrency key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceStanding {
    /// The key's text.
    pub key: Arc<str>,
    /// How many attempts may be at work at once.
    pub limit: u32,
    /// How many are.
    pub taken: u32,
    /// After a start: whether all partitions have said what they hold. Before that nobody gets a place.
    pub is_counted: bool,
}

/// How a need stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Agents that are here.
    pub agents: u32,
    /// Those that could serve it.
    pub fit: u32,
    /// Attempts that those run at once.
    pub slots: u32,
    /// Attempts that they have.
    pub busy: u32,
    /// Permits of those that wait for the same agents, over all runs.
    pub waiting: u32,
    /// Whether an agent that would fit takes nothing now, so that a node that has ended agents gets it alone.
    pub is_held_back: bool,
    /// Agents that do not fit, and why, those that lack the least first; at most [`limits::EXPLAINED_AGENTS_MAX`].
    pub misfits: Vec<(AgentId, Misfit)>,
    /// How many lack the type, the version, a label, or are drained.
    pub lacking: [u32; 4],
    /// Its concurrency key, if it has one.
    pub place: Option<PlaceStanding>,
    /// Whether a place of that key is free for it.
    pub has_place: bool,
}

impl Misfit {
    /// Its word in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Misfit::Type => "type",
            Misfit::Version { .. } => "version",
            Misfit::Label { .. } => "label",
            Misfit::Drained => "drained",
        }
    }

    fn kind(&self) -> usize {
        match self {
            Misfit::Type => 0,
            Misfit::Version { .. } => 1,
            Misfit::Label { .. } => 2,
            Misfit::Drained => 3,
        }
    }
}

impl Pool {
    /// Why it does not get this; nothing if it could.
    fn misfit(&self, need: &Need) -> Option<Misfit> {
        let known = self.offer.types.binary_search_by(|(id, _)| id.cmp(&need.type_id));
        let Ok(at) = known else { return Some(Misfit::Type) };
        let has = self.offer.types[at].1;
        if has < need.version {
            return Some(Misfit::Version { has });
        }
        let lacks = need.labels.iter().find(|(name, value)| self.offer.labels.get(name) != Some(value));
        if let Some((name, value)) = lacks {
            return Some(Misfit::Label { name: name.clone(), value: value.clone() });
        }
        self.closed.then_some(Misfit::Drained)
    }
}

impl Permits {
    /// How a need stands.
    pub fn standing(&self, need: &Need) -> Standing {
        let mut standing = Standing { has_place: self.places.have_room(need), ..Standing::default() };
        for (agent, pool) in &self.agents {
            standing.agents += 1;
            match pool.misfit(need) {
                Some(misfit) => {
                    standing.lacking[misfit.kind()] += 1;
                    standing.misfits.push((agent.clone(), misfit));
                }
                None => {
                    standing.fit += 1;
                    standing.slots += pool.size;
                    standing.busy += pool.out.min(pool.size);
                    standing.is_held_back |= pool.alone != Alone::No;
                }
            }
        }
        standing.misfits.sort_by_key(|(_, misfit)| std::cmp::Reverse(misfit.kind()));
        standing.misfits.truncate(limits::EXPLAINED_AGENTS_MAX);
        let is_same = |other: &Need| {
            self.agents.values().any(|pool| !pool.closed && pool.misfit(need).is_none() && pool.can_run(other))
        };
        standing.waiting = self.lines.wanted().filter(|(other, _)| is_same(other)).map(|(_, wanted)| wanted).sum();
        standing.place = need.key.as_ref().map(|key| {
            let (limit, taken, is_counted) = self.places.standing(key);
            PlaceStanding { key: key.text.clone(), limit, taken, is_counted }
        });
        standing
    }
}
