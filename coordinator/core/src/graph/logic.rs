//! What a branching node does, read from its config when its graph is compiled (graph.md, part 4).

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::problem::{Problem, join, rule, shown};
use super::{Graph, Invoke, Listen, Node, Review, Scope, review};
use crate::condition::{Condition, Known, Need};
use crate::control_types::branch::{DEFAULT_OUTPUT, cases_key};
use crate::control_types::scope as ports;
use crate::id::{NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::run::RunStatus;

/// What a branching node does.
#[derive(Debug)]
pub enum Logic {
    /// Output 0 if the condition holds, else output 1.
    If(Condition),
    /// The output of each case that holds; the last one if none does.
    Switch {
        /// In the order of their outputs.
        cases: Vec<Condition>,
        /// Whether all cases that hold count, not only the first.
        all: bool,
    },
    /// Output 0, always.
    Pass,
    /// Brings branches together.
    Merge {
        /// Whether its value is the list of all.
        all: bool,
    },
    /// Gives what comes first.
    Race {
        /// Whether what leads to it alone is given up then.
        cancel_losers: bool,
    },
    /// Passes its value on if its input 1 is true.
    Gate,
    /// Divides a list.
    Filter(Condition),
    /// Ends the run.
    Stop {
        /// How.
        status: RunStatus,
        /// Why.
        message: Arc<str>,
    },
    /// Output 0 with this probability, else output 1.
    Split(f64),
    /// Asks people.
    Review(Box<Review>),
    /// Waits for a word from outside.
    Listen(Box<Listen>),
    /// Runs another workflow.
    Invoke(Invoke),
    /// Runs a body of other nodes, or cuts a list as if it did.
    Scope(Box<Scope>),
}

impl Logic {
    /// The conditions it is made of; those of a container are asked after each turn ([`Scope::conditions`]).
    pub(crate) fn conditions(&self) -> &[Condition] {
        match self {
            Logic::If(condition) | Logic::Filter(condition) => std::slice::from_ref(condition),
            Logic::Switch { cases, .. } => cases,
            Logic::Pass
            | Logic::Merge { .. }
            | Logic::Race { .. }
            | Logic::Gate
            | Logic::Stop { .. }
            | Logic::Split(_)
            | Logic::Review(_)
            | Logic::Listen(_)
            | Logic::Invoke(_)
            | Logic::Scope(_) => &[],
        }
    }
}

/// Reads what the branching nodes of a graph do. `path_of` gives a node's place in the document.
pub(super) fn read(graph: &mut Graph, path_of: &dyn Fn(NodeIx) -> String, report: &mut dyn FnMut(Problem)) {
    let looking_back = Cell::new(0);
    let mut found = Vec::new();
    for (ix, node) in graph.nodes().filter(|(_, node)| node.logic.is_none()) {
        let Runner::Control(control) = node.runner else { continue };
        // A config that is not JSON was reported already.
        let Ok(config) = serde_json::from_slice::<Value>(&node.config) else { continue };
        let names = Names { graph, ix, control, before: OnceCell::new(), looking_back: &looking_back };
        let path = || path_of(ix) + "/data/config";
        let reader = Reader { node, config: &config, names: &names, path: &path };
        match reader.read(control, report) {
            Ok(Some(logic)) => found.push((ix, logic)),
            Ok(None) => {}
            Err(problem) => report(problem.node(&node.id)),
        }
    }
    for (ix, logic) in found {
        graph.nodes[ix.0 as usize].logic = Some(Box::new(logic));
    }
    review::link(graph);
    let logics = || graph.nodes.iter().filter_map(|node| node.logic.as_deref());
    let looks = |logic: &Logic| !logic.conditions().is_empty() || matches!(logic, Logic::Gate | Logic::Scope(_));
    graph.decides_on_values = logics().any(looks) || graph.nodes().any(|(ix, _)| graph.makes_text(ix));
    let of_scopes = logics().filter_map(|logic| match logic {
        Logic::Scope(scope) => Some(scope),
        _ => None,
    });
    let conditions = logics().flat_map(Logic::conditions).chain(of_scopes.flat_map(|scope| scope.conditions()));
    let seen: BTreeSet<(NodeIx, PortIx)> = conditions
        .flat_map(Condition::needs)
        .filter_map(|need| match need {
            Need::Output(node, port) => Some((NodeIx(*node), PortIx(*port))),
            Need::Input(_) | Need::Node(_) => None,
        })
        .collect();
    drop_unseen_indices(graph, &seen);
}

/// The number of an item is a value of its own only where something looks at it.
fn drop_unseen_indices(graph: &mut Graph, seen: &BTreeSet<(NodeIx, PortIx)>) {
    let containers: Vec<NodeIx> = graph.bodies.keys().copied().collect();
    for container in containers {
        let Some(port) = graph.scope(container).and_then(|scope| scope.index) else { continue };
        let is_wired = graph.out_edges(container).iter().any(|edge| edge.source_port == port);
        if let Some(Logic::Scope(scope)) = graph.nodes[container.0 as usize].logic.as_deref_mut()
            && !is_wired
            && !seen.contains(&(container, port))
        {
            scope.index = None;
        }
    }
}

pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) config: &'a Value,
    names: &'a Names<'a>,
    pub(super) path: &'a dyn Fn() -> String,
}

impl Reader<'_> {
    fn read(&self, control: Control, report: &mut dyn FnMut(Problem)) -> Result<Option<Logic>, Problem> {
        Ok(Some(match control {
            Control::Input | Control::Output | Control::Wait => return Ok(None),
            Control::If => Logic::If(self.condition("condition")?),
            Control::Filter => Logic::Filter(self.condition("condition")?),
            Control::Switch | Control::Router => return self.switch(control, report),
            Control::Merge => Logic::Merge { all: self.word("mode", &["first", "any", "all"])? == "all" },
            Control::Race => Logic::Race { cancel_losers: self.flag("cancelLosers", true)? },
            Control::Gate => Logic::Gate,
            Control::Stop => Logic::Stop {
                status: match self.word("status", &["completed", "failed", "cancelled"])? {
                    "failed" => RunStatus::Failed,
                    "cancelled" => RunStatus::Cancelled,
                    _ => RunStatus::Completed,
                },
                message: self.message()?,
            },
            Control::SplitTest => Logic::Split(self.share()?),
            Control::Review => Logic::Review(Box::new(self.review()?)),
            Control::Signal => Logic::Listen(Box::new(self.signal()?)),
            Control::Webhook => Logic::Listen(Box::new(self.webhook()?)),
            Control::Invoke => Logic::Invoke(self.invoke()?),
            Control::Map => Logic::Scope(Box::new(self.map(report)?)),
            Control::Loop => Logic::Scope(Box::new(self.looping(report)?)),
            Control::Reduce => Logic::Scope(Box::new(self.reduce())),
            Control::Batch => Logic::Scope(Box::new(self.batch()?)),
        }))
    }

    fn condition(&self, key: &str) -> Result<Condition, Problem> {
        self.expression(self.config.get(key), key, &join(&(self.path)(), key))
    }

    pub(super) fn expression(&self, value: Option<&Value>, key: &str, path: &str) -> Result<Condition, Problem> {
        let fix = "Write a CEL expression that is true or false, such as \"value.score > 3\".";
        let Some(text) = value.and_then(Value::as_str) else {
            let message = format!("Node \"{}\" needs {key}, as a text.", self.node.label);
            return Err(Problem::new(rule::BAD_CONFIG, message, fix).at(path));
        };
        Condition::read(text, self.names).map_err(|bad| {
            let message = format!(
                "The {key} of node \"{}\" cannot be read: {}, at line {}, column {}.",
                self.node.label, bad.message, bad.line, bad.column
            );
            Problem::new(rule::BAD_EXPRESSION, message, fix).at(path)
        })
    }

    /// All cases with a fault are reported, not only the first.
    fn switch(&self, control: Control, report: &mut dyn FnMut(Problem)) -> Result<Option<Logic>, Problem> {
        let key = cases_key(control).unwrap_or_default();
        let path = join(&(self.path)(), key);
        let cases = match self.config.get(key) {
            None | Some(Value::Null) if control == Control::Router => return Ok(Some(Logic::Pass)),
            Some(Value::Array(cases)) if cases.is_empty() && control == Control::Router => {
                return Ok(Some(Logic::Pass));
            }
            Some(Value::Array(cases)) if !cases.is_empty() => cases,
            _ => {
                let message = format!("Node \"{}\" needs {key}, a list of objects with id and when.", self.node.label);
                let fix = "List at least one; the output \"default\" is taken when none holds.";
                return Err(Problem::new(rule::BAD_CONFIG, message, fix).at(path));
            }
        };
        if cases.len() > limits::SWITCH_CASES_MAX {
            let message = format!(
                "Node \"{}\" has {} {key}; at most {} are read.",
                self.node.label,
                cases.len(),
                limits::SWITCH_CASES_MAX
            );
            return Err(Problem::new(rule::LIMITS, message, "Let its default lead to another switch.").at(path));
        }
        let mut known = BTreeSet::from([DEFAULT_OUTPUT]);
        let mut conditions = Vec::with_capacity(cases.len());
        for (place, case) in cases.iter().enumerate() {
            let path = format!("{path}/{place}");
            match case.get("id").and_then(Value::as_str) {
                Some(id) if !id.is_empty() && id.len() <= limits::GRAPH_ID_BYTES_MAX && known.insert(id) => {}
                id => {
                    let message = format!(
                        "\"{}\" cannot be the id of a case of node \"{}\".",
                        shown(id.unwrap_or_default()),
                        self.node.label
                    );
                    let fix = "Give each case an id of its own, other than \"default\": it names its output.";
                    report(Problem::new(rule::BAD_CONFIG, message, fix).node(&self.node.id).at(path.clone() + "/id"));
                    continue;
                }
            }
            match self.expression(case.get("when"), "when", &(path + "/when")) {
                Ok(condition) => conditions.push(condition),
                Err(problem) => report(problem.node(&self.node.id)),
            }
        }
        if conditions.len() < cases.len() {
            return Ok(None);
        }
        let all = control == Control::Switch && self.word("mode", &["first", "all"])? == "all";
        Ok(Some(Logic::Switch { cases: conditions, all }))
    }

    /// One of several words; the first if the key is absent.
    pub(super) fn word<'w>(&self, key: &str, words: &[&'w str]) -> Result<&'w str, Problem> {
        let given = match self.config.get(key) {
            None | Some(Value::Null) => return Ok(words.first().copied().unwrap_or_default()),
            Some(given) => given,
        };
        let found = words.iter().find(|word| given.as_str() == Some(**word));
        found.copied().ok_or_else(|| {
            let message = format!("{key} of node \"{}\" cannot be {}.", self.node.label, shown(&given.to_string()));
            let fix = format!("Write one of: {}.", words.join(", "));
            Problem::new(rule::BAD_CONFIG, message, fix).at(join(&(self.path)(), key))
        })
    }

    /// True or false; `absent` if the key is.
    fn flag(&self, key: &str, absent: bool) -> Result<bool, Problem> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(absent),
            Some(Value::Bool(given)) => Ok(*given),
            Some(given) => {
                let message = format!("{key} of node \"{}\" cannot be {}.", self.node.label, shown(&given.to_string()));
                Err(Problem::new(rule::BAD_CONFIG, message, "Write true or false.").at(join(&(self.path)(), key)))
            }
        }
    }

    fn message(&self) -> Result<Arc<str>, Problem> {
        let message = match self.config.get("message") {
            None | Some(Value::Null) => return Ok(format!("node \"{}\" ended the run", shown(&self.node.label)).into()),
            Some(message) => message,
        };
        let text = message.as_str().filter(|text| text.len() <= limits::ERROR_MESSAGE_BYTES_MAX);
        text.map(Arc::from).ok_or_else(|| {
            let what = format!(
                "message of node \"{}\" is no text of at most {} bytes.",
                self.node.label,
                limits::ERROR_MESSAGE_BYTES_MAX
            );
            Problem::new(rule::BAD_CONFIG, what, "Write a sentence for people.").at(join(&(self.path)(), "message"))
        })
    }

    /// The share of output `a`.
    fn share(&self) -> Result<f64, Problem> {
        let weights = match self.config.get("weights") {
            None | Some(Value::Null) => return Ok(0.5),
            Some(weights) if weights.as_object().is_some_and(serde_json::Map::is_empty) => return Ok(0.5),
            Some(weights) => weights,
        };
        let path = || join(&(self.path)(), "weights");
        let bad = |name: &str, given: &Value, path: String| {
            let message = format!("{name} of node \"{}\" cannot be {}.", self.node.label, shown(&given.to_string()));
            let fix = "Write {\"a\": 3, \"b\": 1}: numbers from 0, not both 0.";
            Problem::new(rule::BAD_CONFIG, message, fix).at(path)
        };
        let weight = |key: &str| match weights.get(key) {
            None => Ok(0.0),
            Some(given) => given
                .as_f64()
                .filter(|weight| weight.is_finite() && *weight >= 0.0)
                .ok_or_else(|| bad(&format!("weights.{key}"), given, join(&path(), key))),
        };
        let (a, b) = (weight("a")?, weight("b")?);
        Some(a / (a + b)).filter(|share| share.is_finite()).ok_or_else(|| bad("weights", weights, path()))
    }
}

/// The names that the conditions of a node may use.
struct Names<'a> {
    graph: &'a Graph,
    ix: NodeIx,
    control: Control,
    /// The nodes before it, sorted.
    before: OnceCell<Vec<NodeIx>>,
    looking_back: &'a Cell<usize>,
}

impl Names<'_> {
    /// The containers whose items or turns the conditions see, the innermost first.
    fn scopes(&self) -> impl Iterator<Item = NodeIx> {
        let own = (self.graph.doors(self.ix).is_some()).then_some(self.ix);
        let around = std::iter::successors(self.graph.within(self.ix), |ix| self.graph.within(*ix));
        own.into_iter().chain(around)
    }

    fn ports(&self) -> impl Iterator<Item = (PortIx, &str)> {
        let ports = self.graph.node(self.ix).node_type.iter().flat_map(|node_type| &node_type.inputs);
        ports.zip(0..).map(|(port, place)| (PortIx(place), &*port.id))
    }
}

impl Known for Names<'_> {
    fn input(&self, id: &str) -> Option<u16> {
        self.ports().find(|(_, known)| *known == id).map(|(port, _)| port.0)
    }

    fn inputs(&self) -> Vec<&str> {
        self.ports().map(|(_, id)| id).collect()
    }

    fn is_own(&self, name: &str) -> bool {
        self.control == Control::Filter && matches!(name, "item" | "index")
    }

    fn of_scope(&self, name: &str) -> Option<(u32, u16)> {
        let port = |ix: NodeIx| match (self.graph.node(ix).runner, name) {
            _ if self.graph.node(ix).is_anonymous => None,
            (Runner::Control(Control::Map), "item") => Some(ports::map::ITEM),
            (Runner::Control(Control::Map), "index") => Some(ports::map::INDEX),
            (Runner::Control(Control::Reduce), "item") => Some(ports::reduce::ITEM),
            (Runner::Control(Control::Reduce), "index") => Some(ports::reduce::INDEX),
            (Runner::Control(Control::Loop), "iteration") => Some(ports::looping::ITERATION),
            _ => None,
        };
        self.scopes().find_map(|ix| Some((ix.0, port(ix)?.0)))
    }

    fn node(&self, id: &str) -> Result<u32, String> {
        let Some(node) = self.graph.find(id) else { return Err(format!("there is no node \"{}\"", shown(id))) };
        if self.before.get().is_none() {
            self.looking_back.set(self.looking_back.get() + 1);
        }
        if self.looking_back.get() > limits::GRAPH_LOOKING_BACK_MAX {
            return Err(format!("at most {} nodes of a graph may look at nodes", limits::GRAPH_LOOKING_BACK_MAX));
        }
        let before = self.before.get_or_init(|| self.graph.closure(self.ix));
        if before.binary_search(&node).is_err() || self.scopes().any(|scope| scope == node) || node == self.ix {
            return Err(format!("node \"{}\" does not lead here, so it may have no output yet", shown(id)));
        }
        match self.graph.within(node).filter(|within| self.scopes().all(|scope| scope != *within)) {
            None => Ok(node.0),
            Some(_) => Err(format!("node \"{}\" runs once per item of a list; look at what its list gives", shown(id))),
        }
    }

    fn output(&self, node: u32, port: &str) -> Option<u16> {
        let node_type = self.graph.node(NodeIx(node)).node_type.as_ref()?;
        node_type.output(port).map(|(port, _)| port.0)
    }
}
