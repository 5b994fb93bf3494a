//! What the runs of a batch are given: one run for each combination of values.
//!
//! All lists that are zipped are one axis, which stands where the first of them does; each other list is an axis of its
//! own. Combinations are counted with the last axis running fastest.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::graph::json::{self, Json};
use crate::graph::nearest::is_slip_of;
use crate::graph::problem::{Problems, join, shown};
use crate::graph::{Graph, Problem, rule};
use crate::id::NodeIx;
use crate::limits::{BATCH_RUNS_MAX, BATCH_VALUES_BYTES_MAX, RESULT_VALUES_MAX};
use crate::partition::io::Inherited;
use crate::time::Span;
use crate::value::Value;

/// Where the lists stand in a request.
const AT: &str = "/iteratorConfigs";
/// What a list of values may be called.
const VALUES: [&str; 4] = ["values", "items", "inputs", "data"];

/// What a batch gives its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The axes, of which each combination of places is a run.
    pub axes: Vec<Axis>,
    /// Values for input nodes that are the same in all runs.
    pub inputs: Vec<(NodeIx, Value)>,
    /// Run up to and with this node only.
    pub target: Option<NodeIx>,
    /// The caller's trace context.
    pub traceparent: Option<Arc<str>>,
    /// Whether the work asks the sandbox provider alone.
    pub sandbox: bool,
    /// What each run takes over from earlier ones.
    pub inherited: Option<Box<Inherited>>,
    /// How long whoever starts it lets each run be active.
    pub deadline: Option<Span>,
}

/// Lists that go along together; all of one length, which is not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// A list for each of these input nodes.
    pub columns: Vec<Column>,
}

/// The values of one input node.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which node.
    pub node: NodeIx,
    /// One for each place; `None` leaves the node what it has without.
    pub values: Vec<Option<Value>>,
}

impl Axis {
    fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }
}

impl Plan {
    /// How many runs there are.
    pub fn total(&self) -> u32 {
        self.axes.iter().map(|axis| axis.len() as u32).product()
    }

    /// How many runs in a row have the same place on the first axis.
    pub fn stride(&self) -> u32 {
        self.axes.iter().skip(1).map(|axis| axis.len() as u32).product()
    }

    /// The values of one run, sorted by node.
    pub fn inputs_of(&self, index: u32) -> Vec<(NodeIx, Value)> {
        let mut inputs = self.inputs.clone();
        let mut rest = index as usize;
        for axis in self.axes.iter().rev() {
            let place = rest % axis.len().max(1);
            rest /= axis.len().max(1);
            for column in &axis.columns {
                if let Some(value) = column.values.get(place).and_then(Option::as_ref) {
                    inputs.retain(|(node, _)| *node != column.node);
                    inputs.push((column.node, value.clone()));
                }
            }
        }
        inputs.sort_by_key(|(node, _)| *node);
        inputs
    }

    /// Values that every run has, whatever its combination: with them it can be asked whether an input is left empty.
    pub fn inputs_of_all(&self) -> Vec<(NodeIx, Value)> {
        let columns = self.axes.iter().flat_map(|axis| &axis.columns);
        let full = columns.filter(|column| column.values.iter().all(Option::is_some));
        let first = full.filter_map(|column| Some((column.node, column.values.first()?.clone()?)));
        let mut inputs: Vec<_> = first.collect();
        let given = self.inputs.iter().filter(|(node, _)| !inputs.iter().any(|(known, _)| known == node));
        let given: Vec<_> = given.cloned().collect();
        inputs.extend(given);
        inputs.sort_by_key(|(node, _)| *node);
        inputs
    }

    /// All values, to be looked through or changed: each with its node, and of those that are iterated over their place.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (NodeIx, Option<usize>, &mut Value)> {
        let columns = self.axes.iter_mut().flat_map(|axis| &mut axis.columns);
        let listed = columns.flat_map(|Column { node, values }| {
            let numbered = values.iter_mut().enumerate();
            numbered.filter_map(|(place, value)| Some((*node, Some(place), value.as_mut()?)))
        });
        listed.chain(self.inputs.iter_mut().map(|(node, value)| (*node, None, value)))
    }
}

/// One element of the request.
struct Given {
    column: Column,
    is_zipped: bool,
}

impl Graph {
    /// Reads `iteratorConfigs`: a JSON array of `{"nodeId", "values", "mode"}`, whose nodes are inputs in `part`, the part
    /// of the graph that runs. Each value must be what its input takes.
    ///
    /// # Errors
    /// All problems, each with its place in the request.
    pub fn read_iterators(&self, part: &[NodeIx], configs: &[u8]) -> Result<Vec<Axis>, Vec<Problem>> {
        let text = read(configs).map_err(|problem| vec![problem])?;
        let mut problems = Problems::default();
        let (mut seen, mut given) = (BTreeSet::new(), Vec::new());
        for (place, config) in Json(&text).elements().enumerate() {
            let at = format!("{AT}/{place}");
            slips(config, &at).for_each(|problem| problems.push(problem));
            let node = self.iterated(part, config, &at).and_then(|ix| match seen.insert(ix) {
                true => Ok(ix),
                false => {
                    let message = format!("Node \"{}\" is iterated over twice.", shown(&self.node(ix).id));
                    let problem = Problem::new(rule::AMBIGUOUS_INPUT, message, "Put all its values into one list.");
                    Err(problem.node(&self.node(ix).id).at(join(&at, "nodeId")))
                }
            });
            let is_zipped = mode(config, &at);
            match (node, is_zipped) {
                (Ok(node), Ok(is_zipped)) => {
                    let values = self.listed(node, config, &at, &mut problems);
                    given.extend(values.map(|values| Given { column: Column { node, values }, is_zipped }));
                }
                (node, is_zipped) => {
                    node.err().into_iter().chain(is_zipped.err()).for_each(|problem| problems.push(problem));
                }
            }
        }
        let axes = problems.into_result(()).and_then(|()| arranged(self, given))?;
        let total = axes.iter().try_fold(1_usize, |total, axis| total.checked_mul(axis.len()));
        match total.filter(|total| *total <= BATCH_RUNS_MAX as usize) {
            Some(_) => Ok(axes),
            None => {
                let lengths: Vec<_> = axes.iter().map(|axis| axis.len().to_string()).collect();
                let message = format!(
                    "{} combinations are too many for one batch: {BATCH_RUNS_MAX} is the most.",
                    lengths.join(" × ")
                );
                Err(vec![
                    Problem::new(rule::LIMITS, message, "Start several batches, each with a part of the values.")
                        .at(AT),
                ])
            }
        }
    }

    /// Where `iteratorConfigs` that were read give a node its value at this place, as problems name it.
    pub fn iterator_path(&self, configs: &[u8], node: NodeIx, place: usize) -> String {
        let text = read(configs).unwrap_or_default();
        let is_of_node = |config: &Json<'_>| {
            config.get("nodeId").and_then(Json::as_text).is_some_and(|id| *id == *self.node(node).id)
        };
        let found = Json(&text).elements().enumerate().find(|(_, config)| is_of_node(config));
        found.map_or_else(String::new, |(at, config)| {
            let name = VALUES.into_iter().find(|name| config.get(name).is_some()).unwrap_or(VALUES[0]);
            format!("{AT}/{at}/{name}/{place}")
        })
    }

    /// The input node that an element names.
    fn iterated(&self, part: &[NodeIx], config: Json<'_>, at: &str) -> Result<NodeIx, Problem> {
        let at = join(at, "nodeId");
        let Some(id) = config.get("nodeId").and_then(Json::as_text) else {
            let problem =
                Problem::new(rule::BAD_JSON, "An iterator names no node.", "Give the id of an input node as nodeId.");
            return Err(problem.at(at));
        };
        let inputs = || part.iter().copied().filter(|ix| self.is_input(*ix));
        self.find(&id).filter(|ix| inputs().any(|input| input == *ix)).ok_or_else(|| {
            let known: Vec<_> = inputs().take(8).map(|ix| format!("\"{}\"", self.node(ix).id)).collect();
            let fix = match known.is_empty() {
                true => "Take it out: what is to run has no inputs.".to_owned(),
                false => format!("Name one of the input nodes that run: {}.", known.join(", ")),
            };
            Problem::new(rule::UNKNOWN_INPUT, format!("No input node that runs is called \"{}\".", shown(&id)), fix)
                .at(at)
        })
    }

    /// The values of an element, each checked; `None` if there are none that could be counted.
    fn listed(&self, node: NodeIx, config: Json<'_>, at: &str, problems: &mut Problems) -> Option<Vec<Option<Value>>> {
        let found = VALUES.into_iter().find_map(|name| Some((name, config.get(name)?)));
        let (name, list) = match found {
            Some((name, list)) if list.is_array() => (name, list),
            found => {
                let message = "An iterator has no list of values.";
                let problem = Problem::new(rule::BAD_JSON, message, "Give the values as a JSON array named values.");
                problems.push(problem.at(join(at, found.map_or(VALUES[0], |(name, _)| name))));
                return None;
            }
        };
        let at = join(at, name);
        let mut values = Vec::new();
        for (place, value) in list.elements().enumerate() {
            match self.check_input(node, value) {
                Ok(value) => values.push(value),
                Err(problem) => {
                    problems.push(problem.at(format!("{at}/{place}")));
                    values.push(None);
                }
            }
        }
        if values.is_empty() {
            let message =
                format!("The list of \"{}\" is empty, so there is nothing to run.", shown(&self.node(node).id));
            problems.push(
                Problem::new(rule::BAD_INPUT, message, "Give at least one value, or take the iterator out.").at(at),
            );
            return None;
        }
        Some(values)
    }
}

fn read(configs: &[u8]) -> Result<String, Problem> {
    if configs.len() > BATCH_VALUES_BYTES_MAX {
        let message =
            format!("iteratorConfigs has {} bytes; at most {BATCH_VALUES_BYTES_MAX} are taken.", configs.len());
        let fix = "Give references to files instead of their content, or start several batches.";
        return Err(Problem::new(rule::LIMITS, message, fix).at(AT));
    }
    let fix = "Send iteratorConfigs as a JSON array of objects with nodeId and values.";
    let text = json::compact(configs)
        .map_err(|fault| Problem::new(rule::BAD_JSON, fault.message("iteratorConfigs"), fix).at(AT))?;
    let json = Json(&text);
    if !json.is_array() {
        return Err(
            Problem::new(rule::BAD_JSON, format!("iteratorConfigs is {}, not an array.", shown(&text)), fix).at(AT)
        );
    }
    if let Some(place) = json.elements().position(|element| !element.is_object()) {
        return Err(Problem::new(rule::BAD_JSON, "An iterator is no object.", fix).at(format!("{AT}/{place}")));
    }
    match json.elements().count() {
        0 => Err(Problem::new(rule::BAD_JSON, "iteratorConfigs is empty.", "Leave it out to start one run.").at(AT)),
        count if count > RESULT_VALUES_MAX => {
            let message = format!("iteratorConfigs has {count} lists; at most {RESULT_VALUES_MAX} are taken.");
            Err(Problem::new(rule::LIMITS, message, "Bring several values in as one JSON input.").at(AT))
        }
        _ => Ok(text),
    }
}

/// Members of an element that nobody reads and that look like one that is read: a slip there would quietly start other runs
/// than were meant. All others are let be, as everywhere in what existing clients send.
fn slips<'a>(config: Json<'a>, at: &'a str) -> impl Iterator<Item = Problem> + 'a {
    let list = VALUES.into_iter().find(|name| config.get(name).is_some());
    let is_read = move |key: &str| ["nodeId", "mode"].contains(&key) || list == Some(key);
    let is_meant = |key: &str| {
        let known = ["nodeId", "mode"].into_iter().chain(VALUES);
        // Of short names each is near another.
        let is_near = |known: &str| known.len() > 4 && is_slip_of(key, known);
        known.into_iter().any(|known| key.eq_ignore_ascii_case(known) || is_near(known))
    };
    config.members().filter(move |member| !is_read(&member.key) && is_meant(&member.key)).map(move |member| {
        let message = match VALUES.contains(&&*member.key) {
            true => format!("An iterator has two lists, \"{}\" and \"{}\".", list.unwrap_or_default(), member.key),
            false => format!("An iterator has no field \"{}\".", shown(&member.key)),
        };
        let fix = "Take it out, or correct its name: the fields are nodeId, values and mode.";
        Problem::new(rule::BAD_JSON, message, fix).at(join(at, &member.key))
    })
}

/// Whether an element is zipped with the others that are; it is unless it says otherwise.
fn mode(config: Json<'_>, at: &str) -> Result<bool, Problem> {
    let Some(mode) = config.get("mode").filter(|mode| !mode.is_null()) else { return Ok(true) };
    match mode.as_text().as_deref() {
        Some("zip") => Ok(true),
        Some("product") => Ok(false),
        _ => {
            let message = format!("The mode {} is unknown.", shown(mode.0));
            Err(Problem::new(rule::BAD_INPUT, message, "Say \"zip\" or \"product\".").at(join(at, "mode")))
        }
    }
}

/// Puts the lists on axes.
fn arranged(graph: &Graph, given: Vec<Given>) -> Result<Vec<Axis>, Vec<Problem>> {
    let mut axes: Vec<Axis> = Vec::new();
    let mut zip: Option<usize> = None;
    let mut problems = Problems::default();
    for (place, Given { column, is_zipped }) in given.into_iter().enumerate() {
        match zip.filter(|_| is_zipped) {
            Some(axis) if axes[axis].len() != column.values.len() => {
                let (first, node) = (&axes[axis].columns[0], graph.node(column.node));
                let message = format!(
                    "\"{}\" has {} values and \"{}\" has {}, and they are zipped.",
                    shown(&graph.node(first.node).id),
                    first.values.len(),
                    shown(&node.id),
                    column.values.len()
                );
                let fix = "Give both as many values, or say \"mode\": \"product\" for all their combinations.";
                problems.push(Problem::new(rule::BAD_INPUT, message, fix).node(&node.id).at(format!("{AT}/{place}")));
            }
            Some(axis) => axes[axis].columns.push(column),
            None => {
                zip = zip.or_else(|| is_zipped.then_some(axes.len()));
                axes.push(Axis { columns: vec![column] });
            }
        }
    }
    problems.into_result(axes)
}
