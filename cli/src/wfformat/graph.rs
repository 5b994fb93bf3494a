//! From a [`Workflow`] to a graph of `debug:sleep` nodes that can be run and drawn.

use std::collections::{BTreeMap, HashSet};

use clap::ValueEnum;
use heddle_agent::limits::DEBUG_SLEEP_MS_MAX;
use serde_json::{Value, json};

use super::order::{layers, successors, upward_ranks};
use super::{Task, Workflow};
use crate::error::{Failure, Result};
use crate::limits::IMPORT_ID_BYTES_MAX;

/// Between two layers on the canvas, and between two nodes of a layer.
const LAYER_APART: f64 = 260.0;
const NODES_APART: f64 = 90.0;
/// The least and the greatest `policy.priority`.
const PRIORITY_MIN: i32 = -100;
const PRIORITY_MAX: i32 = 100;

/// How long nodes wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// As long as the tasks ran, times this.
    Factor(f64),
    /// All nodes together so many seconds.
    TotalSeconds(f64),
}

/// Which nodes go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priorities {
    /// None is more important than another
    None,
    /// By upward rank: those from which the longest way leads to the end go first
    Rank,
}

/// How a graph is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Import {
    /// How long nodes wait.
    pub scale: Scale,
    /// Which nodes go first.
    pub priorities: Priorities,
}

/// Nodes that wait, and what each of them waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct SleepGraph {
    /// The workflow's name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its nodes, in the order of the tasks.
    pub nodes: Vec<SleepNode>,
}

/// A node that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct SleepNode {
    /// The task's id with safe letters only, which no other node has.
    pub id: String,
    /// The task's name.
    pub label: String,
    /// How long it waits, in milliseconds.
    pub ms: u64,
    /// Its `policy.priority`.
    pub priority: i32,
    /// The nodes before it, by their places.
    pub parents: Vec<usize>,
    /// Where it lies on the canvas.
    pub position: (f64, f64),
}

impl Import {
    /// Makes the graph. Refused is a node that would wait for longer than one can.
    pub fn graph(&self, workflow: &Workflow) -> Result<SleepGraph> {
        let times = self.times_ms(&workflow.tasks)?;
        let successors = successors(workflow.tasks.iter().map(|task| &*task.parents));
        let priorities = match self.priorities {
            Priorities::None => vec![0; times.len()],
            Priorities::Rank => by_rank(&upward_ranks(&successors, &times)),
        };
        let ids = safe_ids(workflow.tasks.iter().map(|task| &*task.id));
        let positions = positions(&workflow.tasks, &layers(&successors));
        let mut nodes = Vec::with_capacity(workflow.tasks.len());
        for (place, (task, id)) in workflow.tasks.iter().zip(ids).enumerate() {
            nodes.push(SleepNode {
                id,
                label: task.name.clone(),
                ms: times[place],
                priority: priorities[place],
                parents: task.parents.clone(),
                position: positions[place],
            });
        }
        Ok(SleepGraph { name: workflow.name.clone(), description: workflow.description.clone(), nodes })
    }

    fn times_ms(&self, tasks: &[Task]) -> Result<Vec<u64>> {
        let total: f64 = tasks.iter().map(|task| task.seconds).sum();
        let factor = match self.scale {
            Scale::Factor(factor) => factor,
            Scale::TotalSeconds(_) if total == 0.0 => {
                return Err(Failure::usage("no task ran for any time, so no scale gives them a total")
                    .with_next("leave out --total-seconds"));
            }
            Scale::TotalSeconds(seconds) => seconds / total,
        };
        let ms = |task: &Task| {
            let ms = (task.seconds * factor * 1e3).round();
            if ms <= DEBUG_SLEEP_MS_MAX as f64 {
                return Ok(ms as u64);
            }
            let hours = DEBUG_SLEEP_MS_MAX / (60 * 60 * 1_000);
            let message = format!("the node of task {:?} would wait for more than {hours} hours", task.id);
            Err(Failure::usage(message).with_next("choose a smaller --scale or --total-seconds"))
        };
        tasks.iter().map(ms).collect()
    }
}

impl SleepGraph {
    /// How long all nodes together wait, in milliseconds.
    pub fn total_ms(&self) -> u64 {
        self.nodes.iter().map(|node| node.ms).sum()
    }

    /// How long the longest way through the graph takes, in milliseconds: no number of slots makes it shorter.
    pub fn critical_path_ms(&self) -> u64 {
        let times: Vec<u64> = self.nodes.iter().map(|node| node.ms).collect();
        let ranks = upward_ranks(&successors(self.nodes.iter().map(|node| &*node.parents)), &times);
        ranks.into_iter().max().unwrap_or(0)
    }

    /// How many edges there are.
    pub fn edge_count(&self) -> usize {
        self.nodes.iter().map(|node| node.parents.len()).sum()
    }

    /// The workflow as `heddle run` and `heddle workflows apply` take it.
    pub fn to_json(&self) -> Value {
        let mut document = json!({ "name": self.name, "tags": ["wfformat"] });
        if let Some(description) = &self.description {
            document["description"] = json!(description);
        }
        document["nodes"] = self.nodes.iter().map(SleepNode::to_json).collect();
        let edges = self.nodes.iter().flat_map(|node| node.parents.iter().map(move |parent| (*parent, &node.id)));
        let edge = |(number, (source, target)): (usize, (usize, &String))| {
            json!({
                "id": format!("e{number}"), "source": self.nodes[source].id, "target": target,
                "sourceHandle": "out-out", "targetHandle": "in-in",
            })
        };
        document["edges"] = edges.enumerate().map(edge).collect();
        document
    }
}

impl SleepNode {
    fn to_json(&self) -> Value {
        let mut data = json!({ "label": self.label, "nodeType": "debug:sleep", "config": { "ms": self.ms } });
        if self.priority != 0 {
            data["policy"] = json!({ "priority": self.priority });
        }
        let (x, y) = self.position;
        json!({ "id": self.id, "type": "basedNode", "position": { "x": x, "y": y }, "data": data })
    }
}

/// A priority for each rank: the higher, the higher. Ranks often lie close together and far apart by turns, so it is their
/// order that is spread over all priorities.
fn by_rank(ranks: &[u64]) -> Vec<i32> {
    let distinct: BTreeMap<u64, ()> = ranks.iter().map(|rank| (*rank, ())).collect();
    let place_of: BTreeMap<u64, usize> = distinct.into_keys().zip(0..).collect();
    let last = place_of.len().saturating_sub(1).max(1) as f64;
    let levels = f64::from(PRIORITY_MAX - PRIORITY_MIN);
    let priority = |rank| match place_of.len() {
        0 | 1 => 0,
        _ => PRIORITY_MIN + (place_of[rank] as f64 / last * levels).round() as i32,
    };
    ranks.iter().map(priority).collect()
}

/// Ids of letters, digits, `-`, `_` and `.` alone. What would be the same afterwards gets a number.
fn safe_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut taken = HashSet::new();
    let mut unique = |id: &str| {
        let safe: String = id.chars().map(|letter| if is_safe(letter) { letter } else { '_' }).collect();
        let safe = &safe[..safe.len().min(IMPORT_ID_BYTES_MAX)];
        let mut candidates = std::iter::once(safe.to_owned()).chain((2_u64..).map(|number| format!("{safe}-{number}")));
        let free = candidates.find(|candidate| !taken.contains(candidate)).unwrap_or_default();
        taken.insert(free.clone());
        free
    };
    ids.map(&mut unique).collect()
}

/// Layers from left to right. Within one, nodes lie near the middle of what they wait for.
fn positions(tasks: &[Task], layers: &[usize]) -> Vec<(f64, f64)> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    layers.iter().enumerate().for_each(|(place, layer)| members.entry(*layer).or_default().push(place));
    let mut positions = vec![(0.0, 0.0); tasks.len()];
    for (layer, places) in members {
        let middle = |place: usize| {
            let parents = &tasks[place].parents;
            parents.iter().map(|parent| positions[*parent].1).sum::<f64>() / parents.len().max(1) as f64
        };
        let mut places: Vec<(f64, usize)> = places.into_iter().map(|place| (middle(place), place)).collect();
        places.sort_by(|left, right| left.0.total_cmp(&right.0));
        let top = -(places.len() as f64 - 1.0) / 2.0;
        for (row, (_, place)) in places.into_iter().enumerate() {
            positions[place] = (layer as f64 * LAYER_APART, (top + row as f64) * NODES_APART);
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow(tasks: &[(&str, f64, &[usize])]) -> Workflow {
        let task = |(id, seconds, parents): &(&str, f64, &[usize])| Task {
            id: (*id).to_owned(),
            name: format!("task {id}"),
            seconds: *seconds,
            parents: parents.to_vec(),
        };
        Workflow { name: "w".into(), description: None, tasks: tasks.iter().map(task).collect() }
    }

    fn fork() -> Workflow {
        workflow(&[("a", 1.0, &[]), ("b", 2.0, &[0]), ("c", 5.0, &[0]), ("d", 2.0, &[1, 2])])
    }

    fn import(scale: Scale, priorities: Priorities) -> SleepGraph {
        Import { scale, priorities }.graph(&fork()).unwrap()
    }

    #[test]
    fn times_are_scaled() {
        let times = |scale| import(scale, Priorities::None).nodes.iter().map(|node| node.ms).collect::<Vec<_>>();
        assert_eq!(times(Scale::Factor(1.0)), [1_000, 2_000, 5_000, 2_000]);
        assert_eq!(times(Scale::Factor(0.0015)), [2, 3, 8, 3]);
        assert_eq!(times(Scale::TotalSeconds(1.0)), [100, 200, 500, 200]);
        let graph = import(Scale::Factor(1.0), Priorities::None);
        assert_eq!((graph.total_ms(), graph.critical_path_ms(), graph.edge_count()), (10_000, 8_000, 4));
    }

    #[test]
    fn what_cannot_be_scaled_is_refused() {
        let idle = workflow(&[("a", 0.0, &[])]);
        let total = Import { scale: Scale::TotalSeconds(4.0), priorities: Priorities::None };
        assert!(total.graph(&idle).unwrap_err().message.starts_with("no task ran for any time"));
        let long = Import { scale: Scale::Factor(1e9), priorities: Priorities::None };
        let failure = long.graph(&fork()).unwrap_err();
        assert_eq!(failure.message, "the node of task \"a\" would wait for more than 24 hours");
    }

    #[test]
    fn ranks_become_priorities_over_the_whole_range() {
        let priorities = |graph: &SleepGraph| graph.nodes.iter().map(|node| node.priority).collect::<Vec<_>>();
        // Ranks 8, 4, 7, 2.
        assert_eq!(priorities(&import(Scale::Factor(1.0), Priorities::Rank)), [100, -33, 33, -100]);
        assert_eq!(priorities(&import(Scale::Factor(1.0), Priorities::None)), [0; 4]);
        assert_eq!(by_rank(&[3, 3]), [0, 0]);
    }

    #[test]
    fn ids_are_safe_and_unique() {
        let ids = ["a b", "a/b", "a_b-2", "a_b", "ü.x"].into_iter();
        assert_eq!(safe_ids(ids), ["a_b", "a_b-2", "a_b-2-2", "a_b-3", "_.x"]);
        let long = "x".repeat(IMPORT_ID_BYTES_MAX + 9);
        let twice = safe_ids([&*long, &*long].into_iter());
        assert_eq!((twice[0].len(), &twice[1][IMPORT_ID_BYTES_MAX..]), (IMPORT_ID_BYTES_MAX, "-2"));
    }

    #[test]
    fn nodes_lie_in_layers_and_never_on_each_other() {
        let graph = import(Scale::Factor(1.0), Priorities::None);
        let positions: Vec<_> = graph.nodes.iter().map(|node| node.position).collect();
        assert_eq!(positions, [(0.0, 0.0), (260.0, -45.0), (260.0, 45.0), (520.0, 0.0)]);
    }

    #[test]
    fn the_document_is_a_graph_of_nodes_that_wait() {
        let document = import(Scale::Factor(0.001), Priorities::Rank).to_json();
        let node = json!({
            "id": "b", "type": "basedNode", "position": {"x": 260.0, "y": -45.0},
            "data": {"label": "task b", "nodeType": "debug:sleep", "config": {"ms": 2}, "policy": {"priority": -33}},
        });
        assert_eq!(document["nodes"][1], node);
        let edge = json!({
            "id": "e2", "source": "b", "target": "d", "sourceHandle": "out-out", "targetHandle": "in-in",
        });
        assert_eq!(document["edges"][2], edge);
        assert_eq!((&document["name"], document.get("description")), (&json!("w"), None));
    }
}
