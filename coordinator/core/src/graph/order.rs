//! Edges as flat arrays, and the circles among them.

use super::{InEdge, OutEdge};
use crate::id::NodeIx;

/// An edge between two nodes that run, with both ports found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    /// Its place in the document.
    pub(super) place: u32,
    pub(super) source: NodeIx,
    pub(super) target: NodeIx,
    pub(super) output: super::ports::Found,
    pub(super) input: super::ports::Found,
    /// Whether it brings a list to what takes one item: the target runs once for each.
    pub(super) lifts: bool,
}

/// Sorts the wires by target, in the order of the document; places that aliases give come first. Node n's wires are
/// `offsets[n]..offsets[n + 1]`.
pub(super) fn by_target(wires: &[Wire], nodes: usize) -> (Vec<Wire>, Vec<u32>) {
    let (mut sorted, offsets) = group(wires, nodes, |wire| wire.target);
    for bounds in offsets.windows(2) {
        // Stable: wires without a place keep the order of the document.
        sorted[bounds[0] as usize..bounds[1] as usize].sort_by_key(|wire| wire.input.place);
    }
    (sorted, offsets)
}

/// Sorts the wires by source, in the order of the document.
pub(super) fn by_source(wires: &[Wire], nodes: usize) -> (Vec<Wire>, Vec<u32>) {
    group(wires, nodes, |wire| wire.source)
}

fn group(wires: &[Wire], nodes: usize, key: fn(&Wire) -> NodeIx) -> (Vec<Wire>, Vec<u32>) {
    let mut offsets = vec![0u32; nodes + 1];
    for wire in wires {
        offsets[key(wire).0 as usize + 1] += 1;
    }
    for node in 0..nodes {
        offsets[node + 1] += offsets[node];
    }
    let mut sorted = wires.to_vec();
    sorted.sort_by_key(key);
    (sorted, offsets)
}

impl From<&Wire> for InEdge {
    fn from(wire: &Wire) -> Self {
        InEdge { source: wire.source, source_port: wire.output.port, target_port: wire.input.port }
    }
}

/// An edge as its source sees it; `settles` is what waits for it beside the source.
pub(super) fn out_edge(wire: &Wire, settles: Option<NodeIx>) -> OutEdge {
    OutEdge { source_port: wire.output.port, target: wire.target, target_port: wire.input.port, settles }
}

/// Finds circles, each as the nodes along it; at most `cycles_max`, and at least one if there are any. `wires` and
/// `offsets` are as [`by_source`] gives them. Walks with a stack of its own: a chain of any length is fine.
pub(super) fn cycles(wires: &[Wire], offsets: &[u32], cycles_max: usize) -> Vec<Vec<NodeIx>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let nodes = offsets.len().saturating_sub(1);
    let mut marks = vec![Mark::New; nodes];
    let mut next: Vec<u32> = offsets[..nodes].to_vec();
    let mut found = Vec::new();
    let mut path: Vec<usize> = Vec::new();
    for root in 0..nodes {
        if marks[root] != Mark::New {
            continue;
        }
        path.push(root);
        marks[root] = Mark::Open;
        while let Some(&node) = path.last() {
            if next[node] == offsets[node + 1] {
                marks[node] = Mark::Done;
                path.pop();
                continue;
            }
            let target = wires[next[node] as usize].target.0 as usize;
            next[node] += 1;
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::Open;
                    path.push(target);
                }
                Mark::Open if found.len() < cycles_max => {
                    let start = path.iter().rposition(|open| *open == target).unwrap_or(0);
                    found.push(path[start..].iter().map(|node| NodeIx(*node as u32)).collect());
                }
                Mark::Open | Mark::Done => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::ports::{Found, NO_PLACE};
    use super::*;
    use crate::id::PortIx;

    fn wires(pairs: &[(u32, u32)]) -> Vec<Wire> {
        let found = Found { port: PortIx(0), place: NO_PLACE, is_alias: false };
        let wire = |(place, (source, target)): (usize, &(u32, u32))| Wire {
            place: place as u32,
            source: NodeIx(*source),
            target: NodeIx(*target),
            output: found,
            input: found,
            lifts: false,
        };
        pairs.iter().enumerate().map(wire).collect()
    }

    fn cycles_of(pairs: &[(u32, u32)], nodes: usize) -> Vec<Vec<u32>> {
        let (wires, offsets) = by_source(&wires(pairs), nodes);
        cycles(&wires, &offsets, 10).into_iter().map(|path| path.into_iter().map(|node| node.0).collect()).collect()
    }

    #[test]
    fn circles_are_found_with_their_path() {
        assert_eq!(cycles_of(&[(0, 1), (1, 2), (0, 2)], 3), Vec::<Vec<u32>>::new());
        assert_eq!(cycles_of(&[(0, 1), (1, 2), (2, 1)], 3), [[1, 2]]);
        assert_eq!(cycles_of(&[(0, 0), (1, 2), (2, 1)], 3), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let pairs: Vec<_> = (0..200_000).map(|node| (node, node + 1)).chain([(200_000, 0)]).collect();
        assert_eq!(cycles_of(&pairs, 200_001)[0].len(), 200_001);
    }
}
