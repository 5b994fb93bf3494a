//! Which nodes a run covers, and what follows from a node: found from the document, as graph.md, part 8, says it.

use std::collections::BTreeSet;

use super::document::{Document, Place, is_container, takes_list};
use super::expression::Expression;
use super::interpreter::Interpreter;

impl Document {
    /// The nodes of a run up to and with one: all that leads to it. Of the maps and loops that it lies in only what leads to it.
    pub(in super::super) fn part_up_to(&self, target: usize) -> BTreeSet<usize> {
        let around = std::iter::successors(Some(self.nodes[target].place), |place| Some(self.around(*place)));
        let around: Vec<Place> = around.take_while(|place| *place != Place::Root).collect();
        self.leading_to(vec![target], &around)
    }

    /// The nodes of a run that goes on from one: what follows from it to its ends, and all that this needs.
    pub(in super::super) fn part_after(&self, start: usize) -> BTreeSet<usize> {
        let following = self.following(start);
        let is_outside = |node: &&usize| match self.nodes[**node].place {
            Place::Root => true,
            Place::Region(region) => self.regions[region].outer == Place::Root,
            Place::Body(_) => false,
        };
        // Lifted nodes that run together end together.
        let leads_on = |node: usize| {
            let together = |other: usize| match self.nodes[node].place {
                place @ Place::Region(_) => self.nodes[other].place == place,
                _ => other == node,
            };
            let leaves = |target: usize| !together(target) && !self.is_within(target, node);
            self.edges.iter().any(|edge| together(edge.source) && leaves(edge.target))
        };
        let ends = following.iter().filter(is_outside).copied().filter(|node| !leads_on(*node));
        self.leading_to(ends.collect(), &[])
    }

    fn leading_to(&self, mut open: Vec<usize>, around: &[Place]) -> BTreeSet<usize> {
        let mut wanted = BTreeSet::new();
        while let Some(node) = open.pop() {
            if !wanted.insert(node) {
                continue;
            }
            match self.nodes[node].place {
                Place::Root => {}
                Place::Body(container) => open.push(container),
                place @ Place::Region(region) => {
                    let here = &self.regions[region];
                    if let Place::Body(container) = here.outer {
                        open.push(container);
                    }
                    open.extend(here.origins.iter().map(|(source, _)| *source));
                    if !around.contains(&place) {
                        open.extend((0..self.nodes.len()).filter(|other| self.nodes[*other].place == place));
                    }
                }
            }
            let is_around = around.contains(&Place::Body(node));
            if is_container(&self.nodes[node].kind) && !is_around {
                open.extend((0..self.nodes.len()).filter(|inside| self.is_within(*inside, node)));
            }
            let leads = |source: usize| !is_around || !self.is_within(source, node);
            open.extend(self.edges_into(node).map(|edge| edge.source).filter(|source| leads(*source)));
        }
        wanted
    }

    /// A node and all that follows from it. A container that something inside leads to follows, but not what lies beside that.
    pub(in super::super) fn following(&self, start: usize) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::new(), vec![(start, true)]);
        let mut whole = BTreeSet::new();
        while let Some((node, with_body)) = open.pop() {
            if with_body && whole.insert(node) {
                open.extend((0..self.nodes.len()).filter(|inside| self.is_within(*inside, node)).map(|it| (it, true)));
            }
            if !found.insert(node) {
                continue;
            }
            let place = self.nodes[node].place;
            let mut sources = vec![node];
            let mut outer = place;
            if let Place::Region(region) = place {
                // What is lifted gives lists together.
                sources = (0..self.nodes.len()).filter(|other| self.nodes[*other].place == place).collect();
                outer = self.regions[region].outer;
            }
            if let Place::Body(container) = outer {
                open.push((container, false));
            }
            for edge in self.edges.iter().filter(|edge| sources.contains(&edge.source)) {
                let target = edge.target;
                let leaves = self.nodes[target].place != place || matches!(place, Place::Root | Place::Body(_));
                if edge.source != node && !leaves || self.is_within(target, node) {
                    continue;
                }
                open.push((target, !self.is_within(node, target)));
                // A list that is gone through runs all that is lifted over it.
                if let beside @ Place::Region(region) = self.nodes[target].place
                    && beside != place
                    && self.regions[region].origins.contains(&(edge.source, edge.output.clone()))
                    && !takes_list(&self.nodes[target].kind, &edge.input)
                {
                    open.extend(
                        (0..self.nodes.len()).filter(|other| self.nodes[*other].place == beside).map(|it| (it, true)),
                    );
                }
            }
        }
        found
    }

    /// Whether a node lies in the body of another, at any depth.
    pub(in super::super) fn is_within(&self, node: usize, container: usize) -> bool {
        node != container && self.lies_in(self.nodes[node].place, Place::Body(container))
    }

    /// Whether all that a node lies in are maps, and lists that it is lifted over.
    pub(in super::super) fn is_in_maps_only(&self, node: usize) -> bool {
        let around = std::iter::successors(Some(self.nodes[node].place), |place| Some(self.around(*place)));
        around.take_while(|place| *place != Place::Root).all(|place| match place {
            Place::Body(container) => self.nodes[container].kind == "logic:map",
            Place::Region(_) | Place::Root => true,
        })
    }

    /// Whether it has a node of a type.
    pub(in super::super) fn has(&self, kind: &str) -> bool {
        self.nodes.iter().any(|node| node.kind == kind)
    }

    /// The node that a body is of that a node lies in by itself, and whether it lies outside of all.
    pub(in super::super) fn container_of(&self, node: usize) -> Option<usize> {
        match self.nodes[node].place {
            Place::Body(container) => Some(container),
            _ => None,
        }
    }

    /// Whether a node lies outside of all maps and loops, and is not lifted.
    pub(in super::super) fn is_outside(&self, node: usize) -> bool {
        self.nodes[node].place == Place::Root
    }
}

impl Interpreter<'_> {
    /// Whether a loop or a reduce runs once only, and gives nothing: some of its result, of what it carries, or of what its conditions
    /// look at comes from what the run leaves out.
    pub(super) fn is_cut_short(&self, container: usize) -> bool {
        let node = &self.document.nodes[container];
        let conditions = ["until", "score"].into_iter().filter_map(|key| node.config[key].as_str());
        let looks_at_unknown =
            |text: &str| Expression::read(text).names().iter().any(|path| self.is_unknown_name(path));
        matches!(node.kind.as_str(), "logic:loop" | "logic:reduce")
            && self.is_in_part(container)
            && (self.takes_unknown(container) || conditions.into_iter().any(looks_at_unknown))
    }

    /// Whether something that leads to what a body gives is left out.
    pub(super) fn takes_unknown(&self, container: usize) -> bool {
        let mut edges = ["result", "carry"].into_iter().flat_map(|input| self.results_into(container, input));
        edges.any(|edge| self.is_unknown(edge.source, &edge.output))
    }

    /// Whether a run leaves out some of a body.
    fn is_in_part(&self, container: usize) -> bool {
        self.left_out.iter().any(|node| self.document.is_within(*node, container))
    }

    /// Whether a node never gives an output, as it is left out itself or what leads there is.
    pub(super) fn is_unknown(&self, node: usize, output: &str) -> bool {
        self.left_out.contains(&node)
            || match (self.document.nodes[node].kind.as_str(), output) {
                ("logic:map", "results") => self.takes_unknown(node),
                ("logic:loop", "value" | "iteration") | ("logic:reduce", "accumulator" | "item" | "index") => false,
                _ => self.is_cut_short(node),
            }
    }

    /// Whether a name in a condition stands for what a node never gives; `output` is the first that it gives.
    fn is_unknown_name(&self, path: &[String]) -> bool {
        let [nodes, id, rest @ ..] = path else { return false };
        let node = self.document.nodes.iter().position(|node| node.id == *id).filter(|_| nodes == "nodes");
        node.is_some_and(|node| match rest {
            [outputs, output, ..] if outputs == "outputs" => self.is_unknown(node, output),
            _ => self.is_unknown(node, "results"),
        })
    }
}
