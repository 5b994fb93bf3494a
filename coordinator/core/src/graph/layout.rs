//! A tidy canvas: nodes in columns from left to right, each right of all that leads to it. The same document always
//! gives the same places, and where nodes lie now counts only for the corner that a part of a graph is put at.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use super::edit::{EditError, Point};
use super::size::{self, Family, PADDING, PADDING_TOP, Size, reach};

/// Times that columns are ordered by their neighbours, back and forth.
const SWEEPS: usize = 4;
/// Nodes without an edge in one row, at least.
const ROW_NODES_MIN: f64 = 4.0;

/// Space between nodes, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaps {
    /// Between two columns.
    pub x: f64,
    /// Between two nodes of a column.
    pub y: f64,
}

/// Where nodes go.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Of all nodes that were laid out, by their place in the document. Inside another node it is counted from that.
    pub positions: BTreeMap<usize, Point>,
    /// How many of them lie elsewhere now.
    pub moved: usize,
    /// Around those of them that lie in no other node, if there are any, else around all.
    pub bounds: Bounds,
}

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Its left and upper corner.
    pub corner: Point,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

impl Draft {
    /// Lays out all nodes, or those of a scope. What lies in a node is laid out by itself, and goes with it.
    ///
    /// # Errors
    /// The scope names a node that is not there.
    pub fn lay_out(&self, gaps: Gaps, scope: Option<&[String]>) -> Result<Layout, EditError> {
        let wanted = match scope {
            None => vec![true; self.nodes.len()],
            Some(ids) => self.chosen(ids)?,
        };
        let family = Family::of(self);
        let edges = self.edges_beside(&family);
        let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for place in (0..self.nodes.len()).filter(|place| wanted[*place]) {
            groups.entry(family.parent[place]).or_default().push(place);
        }
        let mut sizes: Vec<Size> = self.nodes.iter().map(|node| size::own(node.json())).collect();
        let mut inner = vec![(0.0_f64, 0.0_f64); sizes.len()];
        let mut positions = BTreeMap::new();
        // The nodes inside a node are placed before its own size is asked for.
        let mut order = family.inside_out().into_iter().peekable();
        let depths = |place: Option<usize>| place.map_or(0, |place| family.depth[place] + 1);
        while let Some(first) = order.next() {
            let mut level = vec![first];
            while let Some(next) = order.next_if(|next| family.depth[*next] == family.depth[first]) {
                level.push(next);
            }
            for place in &level {
                let (right, bottom) = inner[*place];
                let around = Size { is_measured: false, ..sizes[*place] }.around((right, bottom));
                sizes[*place] = Size { width: around.width, height: around.height, ..sizes[*place] };
            }
            let depth = family.depth[first];
            for (parent, members) in groups.iter().filter(|(parent, _)| depths(**parent) == depth) {
                let corner = match (scope, parent) {
                    (Some(_), _) => self.corner(members),
                    (None, Some(_)) => Point { x: PADDING, y: PADDING_TOP },
                    (None, None) => Point { x: 0.0, y: 0.0 },
                };
                let group = Group::new(members, &edges, &sizes);
                positions.extend(group.places(gaps).map(|(place, at)| {
                    let at = Point { x: corner.x + at.x.round(), y: corner.y + at.y.round() };
                    (place, at)
                }));
            }
            for place in level {
                if let Some(above) = family.parent[place] {
                    let at = positions.get(&place).copied();
                    let at = at.unwrap_or_else(|| size::position(self.nodes[place].json()));
                    inner[above] = reach(inner[above], at, sizes[place]);
                }
            }
        }
        let is_moved = |(place, at): &(&usize, &Point)| size::said_position(self.nodes[**place].json()) != Some(**at);
        let moved = positions.iter().filter(is_moved).count();
        let bounds = bounds(&positions, &sizes, &family);
        Ok(Layout { positions, moved, bounds })
    }

    /// The id of a node by its place in the document.
    pub fn node_id(&self, place: usize) -> &str {
        self.nodes.get(place).map_or("", |node| &*node.id)
    }

    fn chosen(&self, ids: &[String]) -> Result<Vec<bool>, EditError> {
        let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        let chosen: Vec<bool> = self.nodes.iter().map(|node| ids.contains(&*node.id)).collect();
        let known: BTreeSet<&str> = self.nodes.iter().map(|node| &*node.id).collect();
        match ids.difference(&known).next() {
            None => Ok(chosen),
            Some(id) => Err(EditError::NodeNotFound((*id).to_owned())),
        }
    }

    /// The left and upper corner of where nodes lie now.
    fn corner(&self, members: &[usize]) -> Point {
        let positions = || members.iter().map(|place| size::position(self.nodes[*place].json()));
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        Point { x: least(&mut positions().map(|at| at.x)), y: least(&mut positions().map(|at| at.y)) }
    }

    /// The edges, each between the two nodes beside each other that its ends are or lie in.
    fn edges_beside(&self, family: &Family) -> Vec<(usize, usize)> {
        let by_id: BTreeMap<&str, usize> =
            self.nodes.iter().enumerate().map(|(place, node)| (&*node.id, place)).collect();
        let find = |id: &str| by_id.get(id).copied();
        let ends = self.edges.iter().filter_map(|edge| Some((find(&edge.source)?, find(&edge.target)?)));
        ends.filter_map(|(mut source, mut target)| {
            while family.depth[source] > family.depth[target] {
                source = family.parent[source]?;
            }
            while family.depth[target] > family.depth[source] {
                target = family.parent[target]?;
            }
            while family.parent[source] != family.parent[target] {
                (source, target) = (family.parent[source]?, family.parent[target]?);
            }
            (source != target).then_some((source, target))
        })
        .collect()
    }
}

fn bounds(positions: &BTreeMap<usize, Point>, sizes: &[Size], family: &Family) -> Bounds {
    let has_roots = positions.keys().any(|place| family.parent[*place].is_none());
    let shown = positions.iter().filter(|(place, _)| !has_roots || family.parent[**place].is_none());
    let (mut from, mut to) = ((f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY));
    for (place, at) in shown {
        from = (from.0.min(at.x), from.1.min(at.y));
        to = reach(to, *at, sizes[*place]);
    }
    if positions.is_empty() {
        (from, to) = ((0.0, 0.0), (0.0, 0.0));
    }
    Bounds { corner: Point { x: from.0, y: from.1 }, width: to.0 - from.0, height: to.1 - from.1 }
}

/// Nodes beside each other, with numbers of their own.
struct Group<'a> {
    members: &'a [usize],
    sizes: Vec<Size>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
}

impl<'a> Group<'a> {
    fn new(members: &'a [usize], edges: &[(usize, usize)], sizes: &[Size]) -> Self {
        let numbers: BTreeMap<usize, usize> = members.iter().enumerate().map(|(n, place)| (*place, n)).collect();
        let (mut before, mut after) = (vec![Vec::new(); members.len()], vec![Vec::new(); members.len()]);
        for (source, target) in edges {
            if let (Some(source), Some(target)) = (numbers.get(source), numbers.get(target)) {
                before[*target].push(*source);
                after[*source].push(*target);
            }
        }
        Self { members, sizes: members.iter().map(|place| sizes[*place]).collect(), before, after }
    }

    /// Where each member goes, counted from the corner.
    fn places(&self, gaps: Gaps) -> impl Iterator<Item = (usize, Point)> {
        let columns = self.columns();
        let height_of = |column: &[usize]| {
            let heights: f64 = column.iter().map(|node| self.sizes[*node].height).sum();
            heights + gaps.y * column.len().saturating_sub(1) as f64
        };
        let tallest = columns.iter().map(|column| height_of(column)).fold(0.0, f64::max);
        let mut at = vec![Point { x: 0.0, y: 0.0 }; self.members.len()];
        let mut x = 0.0;
        for column in &columns {
            let mut y = (tallest - height_of(column)) / 2.0;
            for node in column {
                at[*node] = Point { x, y };
                y += self.sizes[*node].height + gaps.y;
            }
            x += column.iter().map(|node| self.sizes[*node].width).fold(0.0, f64::max) + gaps.x;
        }
        // Notes, and what nobody has wired yet, go in rows under the rest.
        let lone: Vec<usize> = (0..self.members.len()).filter(|node| self.is_lone(*node)).collect();
        let widest = lone.iter().map(|node| self.sizes[*node].width).fold(0.0, f64::max);
        let room = (x - gaps.x).max(ROW_NODES_MIN * (widest + gaps.x) - gaps.x);
        let mut row = Point { x: 0.0, y: if columns.is_empty() { 0.0 } else { tallest + 2.0 * gaps.y } };
        let mut height: f64 = 0.0;
        for node in lone {
            if row.x > 0.0 && row.x + self.sizes[node].width > room {
                row = Point { x: 0.0, y: row.y + height + gaps.y };
                height = 0.0;
            }
            at[node] = row;
            row.x += self.sizes[node].width + gaps.x;
            height = height.max(self.sizes[node].height);
        }
        self.members.iter().copied().zip(at)
    }

    fn is_lone(&self, node: usize) -> bool {
        self.before[node].is_empty() && self.after[node].is_empty()
    }

    /// The wired members by the longest way that leads to them, each column ordered by its neighbours.
    fn columns(&self) -> Vec<Vec<usize>> {
        let mut columns: Vec<Vec<usize>> = Vec::new();
        for (node, layer) in self.layers().into_iter().enumerate().filter(|(node, _)| !self.is_lone(*node)) {
            if columns.len() <= layer {
                columns.resize(layer + 1, Vec::new());
            }
            columns[layer].push(node);
        }
        let mut rank = vec![0.0; self.members.len()];
        let note = |column: &[usize], rank: &mut Vec<f64>| {
            // The middle of a column is 0, so that columns of any length compare.
            let middle = (column.len() as f64 - 1.0) / 2.0;
            column.iter().enumerate().for_each(|(row, node)| rank[*node] = row as f64 - middle);
        };
        columns.iter().for_each(|column| note(column, &mut rank));
        for sweep in 0..SWEEPS {
            let (neighbours, is_forth) = if sweep % 2 == 0 { (&self.before, true) } else { (&self.after, false) };
            for step in 0..columns.len() {
                let at = if is_forth { step } else { columns.len() - 1 - step };
                let mean = |node: &usize| match neighbours[*node].as_slice() {
                    [] => rank[*node],
                    near => near.iter().map(|other| rank[*other]).sum::<f64>() / near.len() as f64,
                };
                let mut keyed: Vec<(f64, usize)> = columns[at].iter().map(|node| (mean(node), *node)).collect();
                keyed.sort_by(|left, right| left.0.total_cmp(&right.0));
                columns[at] = keyed.into_iter().map(|(_, node)| node).collect();
                note(&columns[at], &mut rank);
            }
        }
        columns
    }

    /// How many nodes lie on the longest way to each member. A circle is cut where the document first enters it.
    fn layers(&self) -> Vec<usize> {
        let count = self.members.len();
        let (mut layers, mut waits): (Vec<usize>, Vec<usize>) =
            (vec![0; count], self.before.iter().map(Vec::len).collect());
        let mut is_done = vec![false; count];
        let mut open: Vec<usize> = (0..count).rev().filter(|node| waits[*node] == 0).collect();
        let mut first = 0;
        loop {
            while let Some(node) = open.pop() {
                if std::mem::replace(&mut is_done[node], true) {
                    continue;
                }
                for next in self.after[node].iter().filter(|next| !is_done[**next]).copied().collect::<Vec<_>>() {
                    layers[next] = layers[next].max(layers[node] + 1);
                    waits[next] = waits[next].saturating_sub(1);
                    if waits[next] == 0 {
                        open.push(next);
                    }
                }
            }
            while first < count && is_done[first] {
                first += 1;
            }
            if first == count {
                return layers;
            }
            open.push(first);
        }
    }
}
