//! How large nodes are drawn, and in which other nodes they lie.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use super::Draft;
use super::edit::Point;
use super::json::Json;
use crate::limits::CANVAS_PIXELS_MAX;

/// What a node is taken for that nobody has measured, in pixels.
const WIDTH: f64 = 280.0;
const HEIGHT: f64 = 140.0;
/// Between the border of a node and the nodes inside it.
pub(super) const PADDING: f64 = 40.0;
/// The same at its top, where its title is.
pub(super) const PADDING_TOP: f64 = 80.0;

/// How large a node is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Whether the document says both.
    pub(super) is_measured: bool,
}

/// Which nodes lie in which, by their places in the document.
pub(super) struct Family {
    pub(super) parent: Vec<Option<usize>>,
    pub(super) depth: Vec<usize>,
}

impl Family {
    /// Nodes that would lie in themselves lie in none.
    pub(super) fn of(draft: &Draft) -> Self {
        let by_id: BTreeMap<&str, usize> =
            draft.nodes.iter().enumerate().map(|(place, node)| (&*node.id, place)).collect();
        let find = |id: &str| by_id.get(id).copied();
        let mut parent: Vec<Option<usize>> =
            draft.nodes.iter().map(|node| node.parent.as_deref().and_then(find)).collect();
        let mut depth = vec![usize::MAX; parent.len()];
        let mut path = Vec::new();
        let mut is_on_path = vec![false; parent.len()];
        for place in 0..parent.len() {
            let mut next = Some(place);
            while let Some(at) = next.filter(|at| depth[*at] == usize::MAX) {
                path.push(at);
                is_on_path[at] = true;
                if parent[at].is_some_and(|above| is_on_path[above]) {
                    parent[at] = None;
                }
                next = parent[at];
            }
            while let Some(at) = path.pop() {
                depth[at] = parent[at].map_or(0, |above| depth[above] + 1);
                is_on_path[at] = false;
            }
        }
        Self { parent, depth }
    }

    /// All nodes, those inside others before them.
    pub(super) fn inside_out(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.parent.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(self.depth[*place]));
        order
    }
}

impl Draft {
    /// The nodes as they are kept, each with a member `dims`: how large it is drawn, `measured` by a client or `estimated`.
    pub fn nodes_with_dims(&self) -> Bytes {
        let family = Family::of(self);
        let mut sizes: Vec<Size> = self.nodes.iter().map(|node| own(node.json())).collect();
        let mut inner = vec![(0.0_f64, 0.0_f64); sizes.len()];
        for place in family.inside_out() {
            sizes[place] = sizes[place].around(inner[place]);
            if let Some(above) = family.parent[place] {
                inner[above] = reach(inner[above], position(self.nodes[place].json()), sizes[place]);
            }
        }
        let mut out = String::with_capacity(self.stored().nodes.len() + 64 * sizes.len());
        out.push('[');
        for (place, (node, size)) in self.nodes.iter().zip(&sizes).enumerate() {
            if place > 0 {
                out.push(',');
            }
            let open = node.json().0.strip_suffix('}').unwrap_or_default();
            let source = if size.is_measured { "measured" } else { "estimated" };
            let (width, height) = (number(size.width), number(size.height));
            let _ = write!(out, r#"{open},"dims":{{"width":{width},"height":{height},"source":"{source}"}}}}"#);
        }
        out.push(']');
        out.into()
    }
}

impl Size {
    /// Large enough for what lies inside, unless the document says how large it is.
    pub(super) fn around(self, (right, bottom): (f64, f64)) -> Self {
        if self.is_measured || right == 0.0 {
            return self;
        }
        let (width, height) = (self.width.max(right + PADDING), self.height.max(bottom + PADDING));
        Self { width, height, ..self }
    }
}

/// How far to the right and down nodes reach, with one more.
pub(super) fn reach((right, bottom): (f64, f64), at: Point, size: Size) -> (f64, f64) {
    (right.max(at.x + size.width), bottom.max(at.y + size.height))
}

/// What the document says of a node's size, filled up: React Flow's own measure, else what its author wants.
pub(super) fn own(node: Json<'_>) -> Size {
    let said = |key: &str| {
        let places = [node.get("measured"), Some(node), node.get("style")];
        let mut values = places.into_iter().flatten().filter_map(|place| place.get(key)?.as_number());
        values.find(|value| *value > 0.0 && *value <= CANVAS_PIXELS_MAX)
    };
    let (width, height) = (said("width"), said("height"));
    let is_measured = width.is_some() && height.is_some();
    Size { width: width.unwrap_or(WIDTH), height: height.unwrap_or(HEIGHT), is_measured }
}

/// Where a node lies; in the corner if it does not say.
pub(super) fn position(node: Json<'_>) -> Point {
    said_position(node).unwrap_or(Point { x: 0.0, y: 0.0 })
}

/// Where a node says it lies.
pub(super) fn said_position(node: Json<'_>) -> Option<Point> {
    let position = node.get("position")?;
    let value = |key| position.get(key)?.as_number().filter(|value| value.abs() <= CANVAS_PIXELS_MAX);
    Some(Point { x: value("x")?, y: value("y")? })
}

/// A number as JSON, without a fraction where there is none.
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{}", value as i64) } else { value.to_string() }
}
