//! What a `blueprint:invoke` runs, read from its config, and which ports it has: those that its edges and its config name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as JsonValue;

use super::draft::Draft;
use super::json::{Json, Member};
use super::logic::Reader;
use super::ports::Found;
use super::problem::{Problem, join, rule, shown};
use super::{Graph, Logic, Node};
use crate::control_types::invoke as types;
use crate::id::{NodeIx, PortIx, WorkflowId};
use crate::limits;
use crate::node_type::{Control, NodeType, Runner};
use crate::value::Value;

/// Which workflow a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invoke {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Its version; none: what is saved when the node begins.
    pub version: Option<u64>,
}

/// The names at which edges end and begin, by node.
#[derive(Debug, Default)]
pub(super) struct Handles<'a>(BTreeMap<&'a str, (BTreeSet<String>, BTreeSet<String>)>);

impl<'a> Handles<'a> {
    pub(super) fn of(draft: &'a Draft) -> Self {
        let mut handles = Self::default();
        let plain = |handle: &str, prefix: &str| handle.strip_prefix(prefix).unwrap_or(handle).to_owned();
        for edge in &draft.edges {
            if let Some(handle) = edge.target_handle.as_deref() {
                handles.0.entry(&edge.target).or_default().0.insert(plain(handle, "in-"));
            }
            if let Some(handle) = edge.source_handle.as_deref() {
                handles.0.entry(&edge.source).or_default().1.insert(plain(handle, "out-"));
            }
        }
        handles
    }

    /// The type of one node. More ports than a node may have are left out: edges to them name what is not there.
    pub(super) fn shaped(&self, id: &str, node_type: &NodeType, data: &[Member<'_>]) -> Arc<NodeType> {
        let nothing = (BTreeSet::new(), BTreeSet::new());
        let (wired, outputs) = self.0.get(id).unwrap_or(&nothing);
        let mut inputs: BTreeSet<String> = wired.clone();
        for (name, _) in constants(data) {
            inputs.insert(name);
        }
        let named = |names: &BTreeSet<String>| -> BTreeSet<String> {
            let is_name = |name: &&String| !name.is_empty() && name.len() <= limits::GRAPH_ID_BYTES_MAX;
            names.iter().filter(is_name).take(limits::CHILD_PORTS_MAX).cloned().collect()
        };
        // What its policy adds is no name of the child's, and what goes by another name has one already.
        let mut outputs = named(outputs);
        outputs.retain(|name| name != super::policies::ERROR_OUTPUT && !node_type.output_aliases.contains_key(name));
        types::shaped(node_type, &named(&inputs), &outputs)
    }
}

/// The values that a node's config gives the child, by name.
fn constants<'a>(data: &[Member<'a>]) -> impl Iterator<Item = (String, Json<'a>)> {
    let of = |level: &str| data.iter().find(|member| member.key == level).map(|member| member.value);
    let given = ["config", "params"].into_iter().find_map(|level| of(level)?.get("inputs"));
    given.into_iter().flat_map(|given| given.members()).map(|member| (member.key.to_string(), member.value))
}

/// The values of inputs that no edge feeds.
pub(super) fn unwired(node_type: &NodeType, data: &[Member<'_>], wired: &[Found]) -> Vec<(PortIx, Value)> {
    let value = |(name, value): (String, Json<'_>)| {
        let (port, _) = node_type.input(&name)?;
        let text = super::json::compact(value.0.as_bytes()).ok()?;
        wired.iter().all(|found| found.port != port).then(|| (port, Value::from_json(text.into())))
    };
    let mut values: Vec<_> = constants(data).filter_map(value).collect();
    values.sort_by_key(|(port, _)| *port);
    values.dedup_by_key(|(port, _)| *port);
    values
}

impl Reader<'_> {
    pub(super) fn invoke(&self) -> Result<Invoke, Problem> {
        let at = |key: &str| join(&(self.path)(), key);
        let given = self.config.get("workflowId");
        let workflow = given.and_then(JsonValue::as_str).unwrap_or_default().parse().map_err(|_| {
            let label = shown(&self.node.label);
            let message = match given {
                None => format!("Node \"{label}\" names no workflow: it has no workflowId."),
                Some(given) => format!("workflowId of node \"{label}\" cannot be {}.", shown(&given.to_string())),
            };
            Problem::new(rule::BAD_CONFIG, message, "Write workflowId: the id of a workflow, such as \"wf_…\".")
                .at(at("workflowId"))
        })?;
        let version = match self.config.get("version") {
            None | Some(JsonValue::Null) => None,
            Some(JsonValue::String(word)) if word == "latest" => None,
            Some(version) => Some(version.as_u64().filter(|version| *version > 0).ok_or_else(|| {
                let label = shown(&self.node.label);
                let message = format!("version of node \"{label}\" cannot be {}.", shown(&version.to_string()));
                Problem::new(rule::BAD_CONFIG, message, "Write the number of a version, or \"latest\".")
                    .at(at("version"))
            })?),
        };
        if self.config.get("inputs").is_some_and(|inputs| !inputs.is_null() && !inputs.is_object()) {
            let message = format!("inputs of node \"{}\" is no object.", shown(&self.node.label));
            let fix = "Write the values by the names of the workflow's inputs: {\"topic\": \"tea\"}.";
            return Err(Problem::new(rule::BAD_CONFIG, message, fix).at(at("inputs")));
        }
        Ok(Invoke { workflow, version })
    }
}

impl Graph {
    /// Which workflow a node runs.
    pub fn invoke(&self, ix: NodeIx) -> Option<&Invoke> {
        match self.get(ix)?.logic.as_deref() {
            Some(Logic::Invoke(invoke)) => Some(invoke),
            _ => None,
        }
    }

    /// All nodes that run another workflow.
    pub fn invokes(&self) -> impl Iterator<Item = (NodeIx, &Invoke)> {
        self.nodes().filter_map(|(ix, _)| Some((ix, self.invoke(ix)?)))
    }

    /// The nodes that give a run's results, outside of maps and loops, in the order of the document.
    pub fn results(&self) -> impl Iterator<Item = NodeIx> {
        let is_result = |node: &Node| node.runner == Runner::Control(Control::Output) && node.within.is_none();
        self.nodes().filter(move |(_, node)| is_result(node)).map(|(ix, _)| ix)
    }

    /// What a result is called: what its config says, else the id of its node.
    pub fn result_name(&self, ix: NodeIx) -> Arc<str> {
        let node = self.node(ix);
        name_in_config(node).map_or_else(|| node.id.clone(), Arc::from)
    }

    /// The result of this name: a node's id, else the label of one, else the name in the config of one; of several the first.
    pub fn find_result(&self, name: &str) -> Option<NodeIx> {
        let by = |is_it: &dyn Fn(&Node) -> bool| self.results().find(|ix| is_it(self.node(*ix)));
        by(&|node| *node.id == *name)
            .or_else(|| by(&|node| *node.label == *name))
            .or_else(|| by(&|node| name_in_config(node).as_deref() == Some(name)))
    }

    /// What is wrong with the names by which a node takes and gives values, if it runs this graph.
    pub fn unfit_child(&self, ix: NodeIx, child: &Graph) -> Vec<Problem> {
        let (node, Some(invoke)) = (self.node(ix), self.invoke(ix)) else { return Vec::new() };
        let (label, workflow) = (shown(&node.label), invoke.workflow);
        let (inputs, outputs) = self.child_ports(ix);
        let no_input = inputs.iter().filter_map(|name| child.check_input_name(name).err());
        let no_input = no_input.map(|problem| {
            let message = format!("Node \"{label}\" runs {workflow}: {}", problem.message);
            Problem { message, ..problem }
        });
        let no_output = outputs.iter().filter(|name| child.find_result(name).is_none()).map(|name| {
            let known: Vec<String> =
                child.results().map(|ix| format!("\"{}\"", shown(&child.result_name(ix)))).take(8).collect();
            let fix = match known.is_empty() {
                true => "Add an output node to the workflow, or take the edge out.".to_owned(),
                false => format!("It has: {}.", known.join(", ")),
            };
            let message = format!("Node \"{label}\" runs {workflow}, which has no output \"{}\".", shown(name));
            Problem::new(rule::UNKNOWN_OUTPUT, message, fix)
        });
        no_input.chain(no_output).map(|problem| problem.node(&node.id)).collect()
    }

    /// That the workflow a node runs is not saved; nothing of other nodes.
    pub fn unknown_child(&self, ix: NodeIx) -> Option<Problem> {
        let Invoke { workflow, version } = self.invoke(ix)?;
        let what = version.map_or_else(String::new, |version| format!("version {version} of "));
        let label = shown(&self.node(ix).label);
        let message = format!("Node \"{label}\" runs {what}the workflow {workflow}, which is not saved here.");
        let problem = Problem::new(rule::UNKNOWN_WORKFLOW, message, "Save it before the node runs.");
        Some(problem.node(&self.node(ix).id))
    }

    /// The names by which a node takes values for its child, and those by which it gives what the child gives.
    pub fn child_ports(&self, ix: NodeIx) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let node = self.node(ix);
        let Some(node_type) = &node.node_type else { return (Vec::new(), Vec::new()) };
        let is_own = |port: PortIx| {
            let id = &*node_type.outputs[usize::from(port.0)].id;
            id == types::OUTPUTS || id == types::EXECUTION_ID || node.error_port == Some(port)
        };
        let outputs = (0..node_type.outputs.len() as u16).map(PortIx).filter(|port| !is_own(*port));
        let outputs = outputs.map(|port| node_type.outputs[usize::from(port.0)].id.clone());
        (node_type.inputs.iter().map(|port| port.id.clone()).collect(), outputs.collect())
    }
}

fn name_in_config(node: &Node) -> Option<String> {
    let config = Json(std::str::from_utf8(&node.config).unwrap_or_default());
    let name = config.get("name")?.as_text().filter(|name| !name.is_empty())?;
    Some(name.into_owned())
}
