//! A graph's document as the reference interpreter reads it, and which of its nodes run once per item.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::super::work;

/// Nodes and edges in the order of the document.
#[derive(Debug)]
pub(in super::super) struct Document {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) regions: Vec<Region>,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) config: Json,
    pub(super) policy: Json,
    pub(super) place: Place,
}

/// Where a node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Outside all scopes.
    Root,
    /// In the body of this node.
    Body(usize),
    /// Among nodes that run once per item of the same lists.
    Region(usize),
}

/// One edge, its handles without their prefixes.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) source: usize,
    pub(super) output: String,
    pub(super) target: usize,
    pub(super) input: String,
}

/// Nodes that run once per item of the same lists.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) outer: Place,
    /// The outputs that bring the lists.
    pub(super) origins: BTreeSet<(usize, String)>,
    /// How many others have been left on the way to it.
    after: usize,
}

impl Document {
    /// Reads a valid document.
    pub(in super::super) fn read(nodes: &[Json], edges: &[Json]) -> Self {
        let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
        let places: BTreeMap<String, usize> = nodes.iter().zip(0..).map(|(node, ix)| (text(&node["id"]), ix)).collect();
        let node = |node: &Json| Node {
            id: text(&node["id"]),
            kind: text(&node["data"]["nodeType"]),
            config: node["data"]["config"].clone(),
            policy: node["data"]["policy"].clone(),
            place: node["parentId"].as_str().map_or(Place::Root, |parent| Place::Body(places[parent])),
        };
        let handle = |edge: &Json, key: &str, prefix: &str| {
            let handle = text(&edge[key]);
            handle.strip_prefix(prefix).unwrap_or(&handle).to_owned()
        };
        let edge = |edge: &Json| Edge {
            source: places[&text(&edge["source"])],
            output: handle(edge, "sourceHandle", "out-"),
            target: places[&text(&edge["target"])],
            input: handle(edge, "targetHandle", "in-"),
        };
        let mut document = Self {
            nodes: nodes.iter().map(node).collect(),
            edges: edges.iter().map(edge).collect(),
            regions: Vec::new(),
        };
        document.lift();
        document.part();
        document
    }

    pub(super) fn edges_into(&self, target: usize) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.target == target)
    }

    /// The place around one.
    pub(super) fn around(&self, place: Place) -> Place {
        match place {
            Place::Root => Place::Root,
            Place::Body(container) => self.nodes[container].place,
            Place::Region(region) => self.regions[region].outer,
        }
    }

    /// Whether one place lies inside another, or is the same.
    pub(super) fn lies_in(&self, inner: Place, outer: Place) -> bool {
        inner == outer || (inner != Place::Root && self.lies_in(self.around(inner), outer))
    }

    /// An edge from a list output to a non-list input lifts the target; so does one from a lifted node, unless its target
    /// takes a list. Lifted nodes with the same origins are one region, unless they come after different numbers of others.
    fn lift(&mut self) {
        let mut after = vec![0; self.nodes.len()];
        for node in self.in_order() {
            let (outer, lifting) = (self.nodes[node].place, self.lifting(node));
            let sources: BTreeSet<Place> = lifting.iter().filter_map(|edge| self.region_beside(*edge, outer)).collect();
            let outside = lifting.iter().filter(|edge| self.region_beside(**edge, outer).is_none());
            let outside: BTreeSet<_> = outside.map(|edge| self.output_of(*edge)).collect();
            let origins: BTreeSet<_> = lifting.iter().map(|edge| self.output_of(*edge)).collect();
            let known = self.regions.iter().zip(0..).find(|(region, ix)| {
                region.outer == outer
                    && region.after == self.after(node, (&lifting, Some(Place::Region(*ix))), &after)
                    && match sources.len() {
                        0 => region.origins == outside,
                        1 => sources.contains(&Place::Region(*ix)) && outside.is_subset(&region.origins),
                        _ => false,
                    }
            });
            let known = known.map(|(_, ix)| ix).filter(|_| !lifting.is_empty());
            after[node] = self.after(node, (&lifting, known.map(Place::Region)), &after);
            if !lifting.is_empty() {
                self.nodes[node].place = Place::Region(known.unwrap_or_else(|| {
                    self.regions.push(Region { outer, origins, after: after[node] });
                    self.regions.len() - 1
                }));
            }
        }
    }

    /// Nodes of a region that no item leads between, not even by way of others, are regions of their own.
    fn part(&mut self) {
        for node in 0..self.nodes.len() {
            let Place::Region(region) = self.nodes[node].place else { continue };
            let together = self.together(node);
            let is_all = (0..self.nodes.len())
                .all(|other| self.nodes[other].place != Place::Region(region) || together.contains(&other));
            if is_all {
                continue;
            }
            let brought = self.edges.iter().zip(0..).filter(|(edge, ix)| {
                together.contains(&edge.target)
                    && self.lifting(edge.target).contains(ix)
                    && !together.contains(&edge.source)
            });
            let origins = brought.map(|(edge, _)| (edge.source, edge.output.clone())).collect();
            let Region { outer, after, .. } = self.regions[region];
            self.regions.push(Region { outer, origins, after });
            together.iter().for_each(|other| self.nodes[*other].place = Place::Region(self.regions.len() - 1));
        }
        // The one that is left has the lists that its own nodes go through.
        for region in 0..self.regions.len() {
            let place = Place::Region(region);
            let brought = self.edges.iter().zip(0..).filter(|(edge, ix)| {
                self.nodes[edge.target].place == place
                    && self.nodes[edge.source].place != place
                    && self.lifting(edge.target).contains(ix)
            });
            self.regions[region].origins = brought.map(|(edge, _)| (edge.source, edge.output.clone())).collect();
        }
    }

    /// The nodes of a node's region that edges connect with it.
    fn together(&self, node: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([node]);
        loop {
            let count = found.len();
            for (ix, edge) in self.edges.iter().enumerate() {
                let is_inside = self.nodes[edge.source].place == self.nodes[node].place
                    && self.nodes[edge.target].place == self.nodes[node].place
                    && self.lifting(edge.target).contains(&ix);
                if is_inside && (found.contains(&edge.source) || found.contains(&edge.target)) {
                    found.extend([edge.source, edge.target]);
                }
            }
            if found.len() == count {
                return found;
            }
        }
    }

    /// How many regions have been left on the way to a node, if it lies in this one. Each could lead back, and a node that waits for
    /// what has left a region cannot run with those of a region that begins before that.
    fn after(&self, node: usize, (lifting, region): (&[usize], Option<Place>), after: &[usize]) -> usize {
        let edges = self.edges.iter().zip(0..).filter(|(edge, _)| edge.target == node && !self.is_item(edge));
        let before = edges.map(|(edge, ix)| {
            let place = self.nodes[edge.source].place;
            let stays = !matches!(place, Place::Region(_)) || region == Some(place) && lifting.contains(&ix);
            after[edge.source] + usize::from(!stays)
        });
        // The body of a container counts for it.
        before.chain(self.inside(node).map(|inside| after[inside])).max().unwrap_or_default()
    }

    /// All nodes, each after those before it; a container after its body.
    fn in_order(&self) -> Vec<usize> {
        fn visit(document: &Document, node: usize, order: &mut Vec<usize>, seen: &mut BTreeSet<usize>) {
            if seen.insert(node) {
                let before = document.edges_into(node).filter(|edge| !document.is_item(edge)).map(|edge| edge.source);
                before.chain(document.inside(node)).for_each(|before| visit(document, before, order, seen));
                order.push(node);
            }
        }
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        (0..self.nodes.len()).for_each(|node| visit(self, node, &mut order, &mut seen));
        order
    }

    /// Whether an edge brings an item of a container to a node in it: that comes from outside, through the container's own inputs.
    fn is_item(&self, edge: &Edge) -> bool {
        self.is_within(edge.target, edge.source)
    }

    /// The nodes of a container's own body.
    fn inside(&self, container: usize) -> impl Iterator<Item = usize> {
        let lies_here = move |place: Place| match place {
            Place::Region(region) => self.regions[region].outer == Place::Body(container),
            place => place == Place::Body(container),
        };
        self.nodes.iter().zip(0..).filter(move |(node, _)| lies_here(node.place)).map(|(_, ix)| ix)
    }

    /// The edges that lift a node.
    fn lifting(&self, node: usize) -> Vec<usize> {
        let here = &self.nodes[node];
        let lifts = |edge: &Edge| edge.target == node && !takes_list(&here.kind, &edge.input) && self.brings_list(edge);
        let edges = self.edges.iter().enumerate().filter(|(_, edge)| !takes_whole_lists(&here.kind) && lifts(edge));
        edges.map(|(ix, _)| ix).collect()
    }

    /// Whether an edge brings a list: its source says so, or is lifted, or passes on what is a list on all edges into it.
    fn brings_list(&self, edge: &Edge) -> bool {
        let source = &self.nodes[edge.source];
        let passes_on = || {
            let Some((input, outputs)) = source.passes_on() else { return false };
            let mut into = self.edges_into(edge.source).filter(|into| into.input == input).peekable();
            into.peek().is_some()
                && outputs.is_none_or(|output| edge.output == output)
                && edge.output != "error"
                && into.all(|into| self.brings_list(into))
        };
        matches!(source.place, Place::Region(_)) || source.gives_list(&edge.output) || passes_on()
    }

    /// The region that an edge comes from, if that lies beside.
    fn region_beside(&self, edge: usize, beside: Place) -> Option<Place> {
        let place = self.nodes[self.edges[edge].source].place;
        matches!(place, Place::Region(region) if self.regions[region].outer == beside).then_some(place)
    }

    fn output_of(&self, edge: usize) -> (usize, String) {
        (self.edges[edge].source, self.edges[edge].output.clone())
    }
}

impl Node {
    /// The input that comes out as it went in, and by which output; of most types by each.
    fn passes_on(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some(match &*self.kind {
            "logic:if" | "logic:switch" | "logic:gate" | "logic:split_test" | "logic:wait" => ("value", None),
            "logic:router" => ("input", None),
            "logic:merge" if self.config["mode"] != "all" => ("branches", Some("value")),
            "logic:race" => ("branches", Some("value")),
            "output:preview" => ("value", None),
            _ => return None,
        })
    }

    /// Whether an output gives a list.
    pub(super) fn gives_list(&self, output: &str) -> bool {
        match (&*self.kind, output) {
            (work::LIST | "input:list", "items")
            | ("logic:merge", "values")
            | ("logic:filter", "kept" | "dropped")
            | ("logic:map", "results" | "errors")
            | ("logic:loop", "all")
            | ("logic:batch", "batches") => true,
            ("logic:map", "item") => self.config["batchSize"].is_number(),
            ("logic:loop", "result") => self.config["select"] == "all",
            ("logic:merge", "value") => self.config["mode"] == "all",
            _ => false,
        }
    }
}

pub(super) fn is_container(kind: &str) -> bool {
    matches!(kind, "logic:map" | "logic:loop" | "logic:reduce")
}

/// What the engine evaluates itself takes a whole list where it takes anything.
fn takes_whole_lists(kind: &str) -> bool {
    !work::TYPES.contains(&kind)
}

pub(super) fn takes_list(kind: &str, input: &str) -> bool {
    matches!(
        (kind, input),
        (work::WORK | work::PREFETCHED | work::LIST, "in")
            | ("logic:merge" | "logic:race", "branches")
            | ("logic:filter" | "logic:map" | "logic:reduce" | "logic:batch", "items")
    )
}

/// A node is skipped when one of these is closed.
pub(super) fn required_inputs(kind: &str) -> &'static [&'static str] {
    match kind {
        work::ONE => &["one"],
        work::WORK | work::PREFETCHED | work::LIST => &["in"],
        "logic:filter" | "logic:map" | "logic:reduce" | "logic:batch" => &["items"],
        "logic:merge" | "logic:race" => &["branches"],
        "logic:if" | "logic:switch" | "logic:gate" | "logic:split_test" | "logic:review" => &["value"],
        "logic:router" => &["input"],
        _ => &[],
    }
}
