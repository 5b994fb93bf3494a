//! Races in a plan: what leads to a race alone is given up as soon as another branch has won it, so nobody knows whether it runs.

use std::collections::BTreeSet;

use super::{Known, Plan, Planned, Planner, Why};
use crate::id::NodeIx;

/// What may lose a race, with the numbers of the items and turns that the race lies in.
pub(super) type MayLose = BTreeSet<(NodeIx, Vec<u32>)>;

impl Planner<'_> {
    /// Notes what may lose a race of these nodes, which are those of one item, or those outside of all.
    pub(super) fn races(&mut self, nodes: &[NodeIx], index: &[u32]) {
        let (graph, part) = (self.ask.graph, self.ask.part);
        for race in nodes.iter().filter(|ix| graph.cancels_losers(**ix) && part.binary_search(ix).is_ok()) {
            for node in self.may_lose(*race) {
                let inside = graph.all_inside(node).into_iter().chain([node]);
                self.may_lose.extend(inside.map(|node| (node, index.to_vec())));
            }
        }
    }

    /// What leads to a race alone, but for what all its branches wait for: that has run before anything can win.
    fn may_lose(&self, race: NodeIx) -> Vec<NodeIx> {
        let (graph, part) = (self.ask.graph, self.ask.part);
        let mut region = graph.leading_only_to(race, &|node| part.binary_search(&node).is_ok());
        region.sort_unstable();
        let edges = graph.in_edges(race).iter();
        let gives = edges.filter(|edge| self.known(edge.source, edge.source_port) != Known::Closed);
        let branches: BTreeSet<NodeIx> = gives.map(|edge| edge.source).collect();
        // How many branches wait for each node, and for which branch it was counted last.
        let (mut waiting, mut counted) = (vec![0_usize; region.len()], vec![0_usize; region.len()]);
        for (number, branch) in (1..).zip(&branches) {
            let mut open = vec![*branch];
            while let Some(node) = open.pop() {
                let Ok(place) = region.binary_search(&node) else { continue };
                if std::mem::replace(&mut counted[place], number) != number {
                    waiting[place] += 1;
                    open.extend(graph.in_edges(node).iter().map(|edge| edge.source));
                }
            }
        }
        let may_lose = region.into_iter().zip(waiting).filter(|(_, waiting)| *waiting < branches.len());
        may_lose.map(|(node, _)| node).collect()
    }
}

impl Plan {
    /// What may lose a race runs if it has not lost it by then.
    pub(super) fn doubt(&mut self, may_lose: &MayLose) {
        let is_in_doubt = |node: NodeIx, index: &[u32]| {
            (0..=index.len()).any(|depth| may_lose.contains(&(node, index[..depth].to_vec())))
        };
        let planned = std::mem::take(&mut self.will_run).into_iter();
        let (doubted, certain): (Vec<_>, Vec<_>) = planned.partition(|it| is_in_doubt(it.node, &it.index));
        self.will_run = certain;
        self.may_run.extend(doubted.into_iter().map(|it| Planned { why: Why::RaceMayBeWon, ..it }));
    }
}
