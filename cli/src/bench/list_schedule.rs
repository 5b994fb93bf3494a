//! The time that a list schedule takes which costs nothing: what a run of a graph is measured against.
//!
//! Whenever a slot is free, it takes the first of the nodes that are ready: the one with the highest `policy.priority`, of
//! those the one that has been ready for longest, of those the first in the document. That is the order of Heddle's queue,
//! but for its ageing, by which waiting makes up for priority.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::wfformat::{SleepGraph, SleepNode};

/// What no schedule on so many slots can beat, in milliseconds: the longest way through the graph, or all work divided by the
/// slots.
pub(super) fn bound_ms(graph: &SleepGraph, slots: usize) -> u64 {
    graph.critical_path_ms().max(graph.total_ms().div_ceil(slots as u64))
}

/// How long the nodes take on so many slots, in milliseconds.
pub(super) fn makespan_ms(nodes: &[SleepNode], slots: usize) -> u64 {
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (place, node) in nodes.iter().enumerate() {
        node.parents.iter().for_each(|parent| successors[*parent].push(place));
    }
    let mut open: Vec<usize> = nodes.iter().map(|node| node.parents.len()).collect();
    let rank = |place: usize, since: u64| (nodes[place].priority, Reverse(since), Reverse(place));
    let mut ready: BinaryHeap<_> =
        (0..nodes.len()).filter(|place| open[*place] == 0).map(|place| rank(place, 0)).collect();
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut now = 0;
    loop {
        while running.len() < slots
            && let Some((_, _, Reverse(place))) = ready.pop()
        {
            running.push(Reverse((now + nodes[place].ms, place)));
        }
        let Some(Reverse((at, _))) = running.peek().copied() else { return now };
        now = at;
        // All that end at one instant do so before anything begins.
        while let Some(Reverse((_, place))) = running.peek().copied().filter(|Reverse((at, _))| *at == now) {
            running.pop();
            for next in &successors[place] {
                open[*next] -= 1;
                if open[*next] == 0 {
                    ready.push(rank(*next, now));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(nodes: &[(u64, i32, &[usize])]) -> Vec<SleepNode> {
        let node = |(ms, priority, parents): &(u64, i32, &[usize])| SleepNode {
            id: String::new(),
            label: String::new(),
            ms: *ms,
            priority: *priority,
            parents: parents.to_vec(),
            position: (0.0, 0.0),
        };
        nodes.iter().map(node).collect()
    }

    fn bounds(nodes: Vec<SleepNode>, slots: &[usize]) -> Vec<u64> {
        let graph = SleepGraph { name: String::new(), description: None, nodes };
        slots.iter().map(|slots| bound_ms(&graph, *slots)).collect()
    }

    #[test]
    fn the_bound_is_the_longest_way_or_all_work_by_the_slots() {
        // 0 → 1 → 3, 0 → 2 → 3: the longest way is 1 + 5 + 2, all work 10.
        let fork = nodes(&[(1, 0, &[]), (2, 0, &[0]), (5, 0, &[0]), (2, 0, &[1, 2])]);
        assert_eq!(bounds(fork, &[1, 2, 16]), [10, 8, 8]);
        // A part of a millisecond counts as a whole one.
        let parallel = nodes(&[(3, 0, &[]), (3, 0, &[]), (4, 0, &[])]);
        assert_eq!(bounds(parallel, &[1, 2, 3, 4]), [10, 5, 4, 4]);
        assert_eq!(bounds(Vec::new(), &[1]), [0]);
    }

    /// Graham's example of 1966: with one more slot the same list takes longer, since the longest node is begun last.
    #[test]
    fn one_more_slot_can_make_a_list_longer_and_a_priority_makes_up_for_it() {
        let graham = |priority: i32| {
            let four: &[usize] = &[3];
            let rest = [(4, 0, four), (4, 0, four), (4, 0, four), (4, 0, four), (9, priority, &[0])];
            let first: [(u64, i32, &[usize]); 4] = [(3, 0, &[]), (2, 0, &[]), (2, 0, &[]), (2, 0, &[])];
            nodes(&[&first[..], &rest[..]].concat())
        };
        assert_eq!([1, 2, 3, 4].map(|slots| makespan_ms(&graham(0), slots)), [34, 17, 12, 15]);
        assert_eq!(makespan_ms(&graham(1), 4), 12);
        assert_eq!(bounds(graham(0), &[1, 2, 3, 4]), [34, 17, 12, 12]);
    }

    #[test]
    fn the_longest_way_and_the_slots_bound_it() {
        let chain = nodes(&[(3, 0, &[]), (0, 0, &[0]), (4, 0, &[1])]);
        assert_eq!([makespan_ms(&chain, 1), makespan_ms(&chain, 9)], [7, 7]);
        let parallel = nodes(&[(3, 0, &[]), (3, 0, &[]), (3, 0, &[]), (3, 0, &[])]);
        assert_eq!([1, 2, 3, 4].map(|slots| makespan_ms(&parallel, slots)), [12, 6, 6, 3]);
        assert_eq!(makespan_ms(&[], 1), 0);
    }

    #[test]
    fn priority_comes_before_arrival_and_arrival_before_the_document() {
        // In the document's order the long one begins last.
        let plain = nodes(&[(2, 0, &[]), (2, 0, &[]), (4, 0, &[])]);
        assert_eq!(makespan_ms(&plain, 2), 6);
        let ranked = nodes(&[(2, 0, &[]), (2, 0, &[]), (4, 1, &[])]);
        assert_eq!(makespan_ms(&ranked, 2), 4);
        // The long one is ready before the first two, and after them in the document.
        let arrival = nodes(&[(2, 0, &[2]), (2, 0, &[2]), (1, 0, &[]), (1, 0, &[]), (6, 0, &[])]);
        assert_eq!(makespan_ms(&arrival, 2), 7);
    }

    #[test]
    fn a_slot_is_never_idle_while_something_is_ready() {
        // 0 → 2, 1 → 3; both of the second half become ready at once.
        let pairs = nodes(&[(2, 0, &[]), (2, 0, &[]), (1, 0, &[0]), (3, 0, &[1])]);
        assert_eq!([makespan_ms(&pairs, 1), makespan_ms(&pairs, 2)], [8, 5]);
    }
}
