//! Parts of a graph that a run covers or that follow from a node (graph.md, part 8).

use super::Graph;
use crate::id::NodeIx;

impl Graph {
    /// The nodes that a run up to and with `target` needs, sorted (graph.md, part 8): what leads there, containers with
    /// all that is inside. Of a container around the target, only what leads there.
    pub fn closure(&self, target: NodeIx) -> Vec<NodeIx> {
        self.closure_of(&[target], &[])
    }

    /// The same for several nodes. What only leads to one of `known` is not needed: what these give is there already.
    pub fn closure_of(&self, targets: &[NodeIx], known: &[NodeIx]) -> Vec<NodeIx> {
        let mut wanted = vec![false; self.len()];
        let (outside, inside): (Vec<NodeIx>, Vec<NodeIx>) =
            targets.iter().partition(|target| self.within(**target).is_none());
        self.lead_to(&outside, &[], known, &mut wanted);
        for target in inside {
            let around: Vec<NodeIx> = std::iter::successors(self.within(target), |ix| self.within(*ix)).collect();
            let mut found = vec![false; self.len()];
            self.lead_to(&[target], &around, known, &mut found);
            wanted.iter_mut().zip(found).for_each(|(wanted, found)| *wanted |= found);
        }
        if !known.is_empty() {
            self.keep_known(targets, known, &mut wanted);
        }
        marked(&wanted)
    }

    /// Of what is not needed, what costs nothing stays: nodes that give something already, and what the engine decides by such alone.
    /// So it can be seen whether they were made of what is there now.
    fn keep_known(&self, targets: &[NodeIx], known: &[NodeIx], wanted: &mut [bool]) {
        let all = self.closure_of(targets, &[]);
        let is_free = |ix: NodeIx| !self.is_reusable(ix) && self.within(ix).is_none();
        loop {
            let can_stay = |ix: &NodeIx| {
                let sources = self.in_edges(*ix).iter().map(|edge| edge.source);
                !wanted[ix.0 as usize]
                    && (known.contains(ix) || is_free(*ix) && sources.into_iter().all(|it| wanted[it.0 as usize]))
            };
            let kept: Vec<NodeIx> = all.iter().filter(|ix| can_stay(ix)).copied().collect();
            if kept.is_empty() {
                return;
            }
            for ix in kept.iter().flat_map(|ix| self.all_inside(*ix).into_iter().chain([*ix])) {
                wanted[ix.0 as usize] = true;
            }
        }
    }

    fn lead_to(&self, targets: &[NodeIx], around: &[NodeIx], known: &[NodeIx], wanted: &mut [bool]) {
        let mut open = targets.to_vec();
        while let Some(ix) = open.pop() {
            if std::mem::replace(&mut wanted[ix.0 as usize], true) {
                continue;
            }
            open.extend(self.within(ix));
            let is_around = around.contains(&ix);
            if !is_around {
                open.extend(self.body(ix));
            }
            let is_known = known.iter().any(|known| *known == ix || self.is_inside(ix, *known));
            if is_known && !targets.contains(&ix) {
                continue;
            }
            // What comes out of a body does not lead to a node inside it.
            let leads = |source: NodeIx| !is_around || self.within(source) != Some(ix);
            open.extend(self.in_edges(ix).iter().map(|edge| edge.source).filter(|source| leads(*source)));
        }
    }

    /// A node and all that follows from it, sorted. A container that something inside leads to follows, but not what lies beside
    /// that in its body.
    pub fn following(&self, start: NodeIx) -> Vec<NodeIx> {
        let mut found = vec![false; self.len()];
        let mut whole = vec![false; self.len()];
        let mut open = vec![(start, true)];
        while let Some((ix, with_body)) = open.pop() {
            if with_body && !std::mem::replace(&mut whole[ix.0 as usize], true) {
                open.extend(self.body(ix).iter().map(|node| (*node, true)));
            }
            if std::mem::replace(&mut found[ix.0 as usize], true) {
                continue;
            }
            open.extend(self.within(ix).map(|container| (container, false)));
            let is_inner = |port| self.is_inner_output(ix, port);
            let beside = self.out_edges(ix).iter().filter(|edge| !is_inner(edge.source_port));
            open.extend(beside.map(|edge| (edge.target, self.within(ix) != Some(edge.target))));
        }
        marked(&found)
    }

    /// How many edges a node waits for in a run of a part of the graph. What leads to a node in its body counts only if one of both
    /// belongs to that.
    pub(crate) fn waits_for_of(&self, ix: NodeIx, covers: &dyn Fn(NodeIx) -> bool) -> u32 {
        let left_out = self.all_inside(ix).into_iter().filter(|inside| !covers(*inside));
        let edges = left_out.flat_map(|inside| self.in_edges(inside));
        let is_beside = |source: NodeIx| self.within(source) == self.within(ix) && source != ix;
        let unheard = edges.filter(|edge| is_beside(edge.source) && !covers(edge.source)).count();
        self.node(ix).waits_for.saturating_sub(unheard as u32)
    }

    /// How many containers lie around both of two nodes.
    pub fn shared_depth(&self, one: NodeIx, other: NodeIx) -> usize {
        let around = |ix| {
            let mut around: Vec<NodeIx> = std::iter::successors(self.within(ix), |ix| self.within(*ix)).collect();
            around.reverse();
            around
        };
        around(one).iter().zip(around(other)).take_while(|(a, b)| **a == *b).count()
    }

    /// Whether a container lies around a node, at any depth.
    pub fn is_inside(&self, ix: NodeIx, container: NodeIx) -> bool {
        std::iter::successors(self.within(ix), |ix| self.within(*ix)).any(|around| around == container)
    }
}

fn marked(marks: &[bool]) -> Vec<NodeIx> {
    marks.iter().enumerate().filter(|(_, mark)| **mark).map(|(ix, _)| NodeIx(ix as u32)).collect()
}
