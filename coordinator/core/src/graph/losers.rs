//! What runs for one node only.

use std::collections::BTreeMap;

use super::{Graph, Logic, OutEdge};
use crate::id::NodeIx;

impl Graph {
    /// Whether any node of it is a race that stops the losers.
    pub fn has_losers(&self) -> bool {
        self.nodes().any(|(ix, _)| self.cancels_losers(ix))
    }

    /// Whether a node is a race that stops the losers.
    pub(crate) fn cancels_losers(&self, ix: NodeIx) -> bool {
        matches!(self.node(ix).logic.as_deref(), Some(Logic::Race { cancel_losers: true }))
    }

    /// The nodes beside `last` from which every path ends in it, with only those considered that belong to the run. Costs time
    /// linear in what lies before `last`.
    pub(crate) fn leading_only_to(&self, last: NodeIx, belongs: &dyn Fn(NodeIx) -> bool) -> Vec<NodeIx> {
        let mut found = Vec::new();
        // How many edges of a node lead elsewhere, as far as is known.
        let mut elsewhere: BTreeMap<NodeIx, usize> = BTreeMap::new();
        let mut open = vec![last];
        while let Some(ix) = open.pop() {
            for edge in self.in_edges(ix).iter().filter(|edge| self.within(edge.source) == self.within(last)) {
                // What a container gives to its body leads nowhere else; what its body gives to it, does. What leads into
                // the body of another one leads to that: it waits for it, though the node inside may be left out.
                let around = self.within(edge.source);
                let leads = |out: &&OutEdge| out.settles.map_or_else(|| around == Some(out.target), belongs);
                let count = || self.out_edges(edge.source).iter().filter(leads).count();
                let left = elsewhere.entry(edge.source).or_insert_with(count);
                *left = left.saturating_sub(1);
                if *left == 0 && !self.holds_an_end(edge.source) {
                    found.push(edge.source);
                    open.push(edge.source);
                }
            }
        }
        found
    }

    /// Whether a region of lifted nodes holds one that leads nowhere: people see it beside the others, not inside anything.
    fn holds_an_end(&self, ix: NodeIx) -> bool {
        self.node(ix).is_anonymous && self.body(ix).iter().any(|inner| self.out_edges(*inner).is_empty())
    }
}
