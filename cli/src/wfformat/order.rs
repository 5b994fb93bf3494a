//! What can be said of tasks by what waits for what.

use std::collections::VecDeque;

/// Who waits for each task, in order, by what each task waits for.
pub(super) fn successors<'a>(parents: impl ExactSizeIterator<Item = &'a [usize]>) -> Vec<Vec<usize>> {
    let mut successors = vec![Vec::new(); parents.len()];
    for (place, parents) in parents.enumerate() {
        parents.iter().for_each(|parent| successors[*parent].push(place));
    }
    successors
}

/// All tasks, each after those that it waits for; those that wait for each other, and who waits for them, are left out.
pub(super) fn topological(successors: &[Vec<usize>]) -> Vec<usize> {
    let mut open = vec![0_usize; successors.len()];
    successors.iter().flatten().for_each(|place| open[*place] += 1);
    let mut ready: VecDeque<usize> = (0..open.len()).filter(|place| open[*place] == 0).collect();
    let mut order = Vec::with_capacity(open.len());
    while let Some(place) = ready.pop_front() {
        order.push(place);
        for next in &successors[place] {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.push_back(*next);
            }
        }
    }
    order
}

/// Some tasks each of which waits for the one before it, and the first for the last; `None` if there are no such.
pub(super) fn cycle(successors: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut is_left = vec![true; successors.len()];
    topological(successors).into_iter().for_each(|place| is_left[place] = false);
    // Each of those left waits for another of them: going back never ends, so it comes to a place where it has been.
    let mut parent_of = vec![None; successors.len()];
    for (place, next) in successors.iter().enumerate().filter(|(place, _)| is_left[*place]) {
        next.iter().for_each(|next| parent_of[*next] = Some(place));
    }
    let mut place = is_left.iter().position(|is_left| *is_left)?;
    let (mut path, mut step) = (Vec::new(), vec![None; successors.len()]);
    while step[place].is_none() {
        step[place] = Some(path.len());
        path.push(place);
        place = parent_of[place]?;
    }
    let mut cycle = path.split_off(step[place]?);
    cycle.reverse();
    let first = cycle.iter().enumerate().min_by_key(|(_, place)| **place).map_or(0, |(at, _)| at);
    cycle.rotate_left(first);
    Some(cycle)
}

/// How many tasks lie before each, on the longest way to it.
pub(super) fn layers(successors: &[Vec<usize>]) -> Vec<usize> {
    let mut layers = vec![0; successors.len()];
    for place in topological(successors) {
        for next in &successors[place] {
            layers[*next] = layers[*next].max(layers[place] + 1);
        }
    }
    layers
}

/// The upward rank of each task: how long the longest way from its beginning to the end of all takes.
pub(super) fn upward_ranks(successors: &[Vec<usize>], times: &[u64]) -> Vec<u64> {
    let mut ranks = vec![0; successors.len()];
    for place in topological(successors).into_iter().rev() {
        let after = successors[place].iter().map(|next| ranks[*next]).max().unwrap_or(0);
        ranks[place] = times[place] + after;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 → 1 → 3, 0 → 2 → 3
    fn diamond() -> Vec<Vec<usize>> {
        successors([&[][..], &[0], &[0], &[1, 2]].into_iter())
    }

    #[test]
    fn tasks_follow_what_they_wait_for() {
        assert_eq!(topological(&diamond()), [0, 1, 2, 3]);
        assert_eq!(layers(&diamond()), [0, 1, 1, 2]);
        assert_eq!(upward_ranks(&diamond(), &[1, 5, 2, 4]), [10, 9, 6, 4]);
    }

    #[test]
    fn a_cycle_is_found_among_what_leads_to_it_and_from_it() {
        assert_eq!(cycle(&diamond()), None);
        // 0 → 1 → 2 → 3 → 1, 3 → 4
        assert_eq!(cycle(&[vec![1], vec![2], vec![3], vec![1, 4], vec![]]), Some(vec![1, 2, 3]));
        assert_eq!(cycle(&[vec![], vec![1]]), Some(vec![1]));
    }
}
