//! `policy.fallback`: who does a node's work when its own type fails for good. A fallback takes the same inputs and gives
//! the same outputs, by the ids of ports, and is checked as a node of its type would be.

use std::sync::Arc;

use bytes::Bytes;

use super::compile::{Compiler, effect_of};
use super::json::{Json, Member};
use super::policies;
use super::ports::{is_assignable, type_name};
use super::problem::{Problem, Problems, join, rule, shown};
use super::values::Carried;
use super::{Graph, Provider, config_keys, secrets};
use crate::control_types::control_of;
use crate::id::{NodeIx, PortIx};
use crate::limits::FALLBACKS_MAX;
use crate::node_type::{EffectClass, NodeType, Port, Runner};
use crate::policy::{OnError, PolicyDraft};
use crate::value::Value;

/// The fallbacks of one node, as they are written.
pub(super) struct Written<'a> {
    node: NodeIx,
    own: PolicyDraft,
    entries: Vec<Json<'a>>,
    /// `/nodes/3/data/policy`
    path: String,
}

/// What is written of fallbacks. What contradicts itself is reported.
pub(super) fn collect<'a>(compiler: &mut Compiler<'a>) -> Vec<Written<'a>> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (running, ix) in compiler.running.iter().zip(0..) {
        let list = policies::written(&running.data).and_then(|policy| policy.get("fallback"));
        let entries: Vec<Json<'a>> = list.into_iter().flat_map(Json::elements).collect();
        let is_wanted = running.own.on_error == Some(OnError::Fallback);
        let path = format!("{}/data/policy", running.path);
        let (message, fix, key) = match (is_wanted, entries.len()) {
            (false, 0) => continue,
            (true, 0) => (
                "policy: onError is \"fallback\", but there is no fallback.".to_owned(),
                "Name who does the work instead: \"fallback\": [{\"nodeType\": \"…\", \"config\": {}}].",
                "onError",
            ),
            (false, _) => (
                "policy: nothing reads fallback without onError.".to_owned(),
                "Write \"onError\": \"fallback\" beside it.",
                "fallback",
            ),
            (true, count) if count > FALLBACKS_MAX => (
                format!("policy: there are {count} fallbacks; a node has at most {FALLBACKS_MAX}."),
                "Take some of them out.",
                "fallback",
            ),
            (true, _) if matches!(running.runner, Runner::Control(_)) => (
                format!("policy: {} is built in and has no fallback.", running.type_id),
                "Take onError and fallback out.",
                "fallback",
            ),
            (true, _) => {
                found.push(Written { node: NodeIx(ix), own: running.own.clone(), entries, path });
                continue;
            }
        };
        let problem = Problem::new(rule::BAD_POLICY, message, fix).node(&running.draft.id);
        problems.push(problem.at(format!("{path}/{key}")));
    }
    problems.into_iter().for_each(|problem| compiler.problems.push(problem));
    found
}

/// Reads the fallbacks of all nodes into the graph.
pub(super) fn read(compiler: &mut Compiler<'_>, graph: &mut Graph, written: Vec<Written<'_>>) {
    for Written { node, own, entries, path } in written {
        for (place, entry) in entries.into_iter().enumerate() {
            let path = format!("{path}/fallback/{place}");
            let (provider, problems) = read_one(compiler, graph, node, &own, entry, &path);
            let id = graph.node(node).id.clone();
            problems.into_iter().for_each(|problem| compiler.problems.push(problem.node(&id)));
            // One that cannot be read is a problem, and the graph will not be.
            graph.nodes[node.0 as usize].fallback.extend(provider);
        }
    }
}

fn read_one(
    compiler: &mut Compiler<'_>,
    graph: &Graph,
    node: NodeIx,
    own: &PolicyDraft,
    entry: Json<'_>,
    path: &str,
) -> (Option<Provider>, Vec<Problem>) {
    let mut problems = Vec::new();
    let bad = |message: String, fix: &str| Problem::new(rule::BAD_POLICY, message, fix);
    if !entry.is_object() {
        let message = format!("policy: a fallback cannot be {}.", shown(entry.0));
        problems.push(bad(message, "Write {\"nodeType\": \"…\", \"config\": {}}.").at(path));
        return (None, problems);
    }
    let members: Vec<Member<'_>> = entry.members().collect();
    for member in members.iter().filter(|member| !matches!(&*member.key, "nodeType" | "config")) {
        let message = format!("policy: a fallback has no field \"{}\".", shown(&member.key));
        let fix = "Take the field out: a fallback has nodeType and config, the rest is the node's own policy.";
        problems.push(bad(message, fix).at(join(path, &member.key)));
    }
    if let Some(config) = entry.get("config").filter(|config| !config.is_null() && !config.is_object()) {
        let message = format!("config is {}, not an object.", shown(config.0));
        let problem = Problem::new(rule::BAD_CONFIG, message, "Write config as an object.");
        problems.push(problem.at(join(path, "config")));
    }
    let node_type = match find_type(compiler, entry) {
        Ok(node_type) => node_type,
        Err(problem) => {
            let problem = problem.at(join(path, "nodeType"));
            let id = entry.get("nodeType").and_then(Json::as_text).filter(|_| problem.rule == rule::UNKNOWN_NODE_TYPE);
            let Some(id) = id.filter(|_| !compiler.is_strict()) else {
                problems.push(problem);
                return (None, problems);
            };
            // It is kept in its place, and cannot run.
            let policy = compiler.defaults().with(None, own);
            let (config, constants, effect) = (Bytes::from_static(b"{}"), Vec::new(), EffectClass::Pure);
            compiler.warn(problem.node(&graph.node(node).id));
            return (
                Some(Provider { type_id: (&*id).into(), node_type: None, config, constants, effect, policy }),
                problems,
            );
        }
    };
    problems.extend(misfits(graph, node, &node_type).into_iter().map(|problem| problem.at(join(path, "nodeType"))));
    let own_data = format!("{path}/data");
    let mut report = |problem: Problem| {
        // It has no `data` between itself and its config.
        let at = problem.path.as_ref().map(|at| at.replacen(&own_data, path, 1));
        problems.push(Problem { path: at, ..problem });
    };
    let data: Vec<Member<'_>> = members.into_iter().filter(|member| member.key == "config").collect();
    let plain = without_defaults(graph, node, &node_type);
    let carried = Carried::collect(&plain, &data, path);
    let config = carried.config(&mut report);
    secrets::find(Json(&config), &format!("{path}/config")).into_iter().for_each(&mut report);
    let effect = effect_of(&node_type, &config, path, &mut report);
    for fault in compiler.check_config(&node_type, &config) {
        report(carried.problem(fault));
    }
    let mut warnings = Problems::default();
    config_keys::report_unknown(&node_type, &graph.node(node).id, &data, path, &mut warnings);
    for warning in warnings.into_list() {
        let at = warning.path.as_ref().map(|at| at.replacen(&own_data, path, 1));
        compiler.warn(Problem { path: at, ..warning });
    }
    let wired = wired_by_id(graph, node, &node_type);
    let given = carried.constants(&plain, &[], &mut report);
    let constants: Vec<(PortIx, Value)> = given
        .into_iter()
        .chain(inherited(graph, node, &node_type))
        .filter(|(port, _)| !wired.contains(port))
        .fold(Vec::new(), |mut kept, (port, value)| {
            if kept.iter().all(|(other, _)| *other != port) {
                kept.push((port, value));
            }
            kept
        });
    for port in missing(graph, node, &node_type, &wired, &constants) {
        let message = format!("policy: the fallback {} needs a value for \"{}\".", node_type.id, port.id);
        let fix = format!("Set {} in the fallback's config.", port.id);
        report(Problem::new(rule::MISSING_REQUIRED_INPUT, message, fix).at(path));
    }
    let policy = compiler.defaults().with(Some(&node_type), own);
    let (type_id, config) = (node_type.id.clone(), Bytes::from(config));
    (Some(Provider { type_id, node_type: Some(node_type), config, constants, effect, policy }), problems)
}

fn find_type(compiler: &Compiler<'_>, entry: Json<'_>) -> Result<Arc<NodeType>, Problem> {
    let Some(id) = entry.get("nodeType").and_then(Json::as_text) else {
        let message = "policy: a fallback names no nodeType.";
        return Err(Problem::new(rule::BAD_POLICY, message, "Name the type in nodeType."));
    };
    let Some(node_type) = compiler.types.resolve(&id) else {
        return Err(super::kinds::unknown_type(compiler.types, &id));
    };
    if control_of(&node_type.id).is_some() {
        let message = format!("policy: {} is built in and cannot be a fallback.", node_type.id);
        return Err(Problem::new(rule::BAD_POLICY, message, "Name a type that agents run."));
    }
    Ok(node_type.clone())
}

/// What a fallback lacks of the ports that edges of the node use.
fn misfits(graph: &Graph, ix: NodeIx, node_type: &NodeType) -> Vec<Problem> {
    let Some(own) = &graph.node(ix).node_type else { return Vec::new() };
    let mut problems = Vec::new();
    for edge in graph.in_edges(ix) {
        let Some(port) = own.inputs.get(usize::from(edge.target_port.0)) else { continue };
        let source = graph.node(edge.source).node_type.as_ref();
        let from = source.and_then(|source| source.outputs.get(usize::from(edge.source_port.0)));
        let there = node_type.input(&port.id).map(|(_, there)| there);
        let takes = |there: &&Port| {
            there.list == port.list && from.is_none_or(|from| is_assignable(from.port_type, there.port_type))
        };
        if there.filter(takes).is_none() {
            let needed = format!("the input \"{}\", which takes {}", port.id, type_name(from.unwrap_or(port)));
            problems.push(misfit(node_type, &needed));
        }
    }
    for edge in graph.out_edges(ix) {
        let Some(port) = own.outputs.get(usize::from(edge.source_port.0)) else { continue };
        let target = graph.node(edge.target).node_type.as_ref();
        let to = target.and_then(|target| target.inputs.get(usize::from(edge.target_port.0)));
        let there = node_type.output(&port.id).map(|(_, there)| there);
        let gives =
            |there: &&Port| there.list == port.list && to.is_none_or(|to| is_assignable(there.port_type, to.port_type));
        if there.filter(gives).is_none() {
            problems.push(misfit(node_type, &format!("the output \"{}\", which gives {}", port.id, type_name(port))));
        }
    }
    if graph.out_edges(ix).is_empty() && own.outputs.iter().all(|port| node_type.output(&port.id).is_none()) {
        problems.push(misfit(node_type, &format!("any output of {}", own.id)));
    }
    problems.dedup_by(|a, b| a.message == b.message);
    problems
}

fn misfit(node_type: &NodeType, lacks: &str) -> Problem {
    let message = format!("policy: the fallback {} lacks {lacks}.", node_type.id);
    Problem::new(rule::BAD_POLICY, message, "Choose a type with the same ports.")
}

/// The inputs of a fallback that the node's edges feed.
fn wired_by_id(graph: &Graph, ix: NodeIx, node_type: &NodeType) -> Vec<PortIx> {
    let Some(own) = &graph.node(ix).node_type else { return Vec::new() };
    let ids = graph.in_edges(ix).iter().filter_map(|edge| own.inputs.get(usize::from(edge.target_port.0)));
    ids.filter_map(|port| node_type.input(&port.id)).map(|(port, _)| port).collect()
}

/// The values that the node itself has for inputs of the same id and kind.
fn inherited<'a>(graph: &'a Graph, ix: NodeIx, node_type: &'a NodeType) -> impl Iterator<Item = (PortIx, Value)> + 'a {
    let node = graph.node(ix);
    let own = node.node_type.as_ref();
    node.constants.iter().filter_map(move |(port, value)| {
        let port = own?.inputs.get(usize::from(port.0))?;
        let (there, declared) = node_type.input(&port.id)?;
        (declared.port_type == port.port_type && declared.list == port.list).then(|| (there, value.clone()))
    })
}

/// The type without the defaults of inputs for which the node has a value: that goes before them.
fn without_defaults(graph: &Graph, ix: NodeIx, node_type: &NodeType) -> NodeType {
    let mut plain = node_type.clone();
    for (port, _) in inherited(graph, ix, node_type).collect::<Vec<_>>() {
        plain.inputs[usize::from(port.0)].default = None;
    }
    plain
}

/// Required inputs that nothing feeds, unless the node itself lacks them too: that is reported once.
fn missing<'a>(
    graph: &'a Graph,
    ix: NodeIx,
    node_type: &'a NodeType,
    wired: &'a [PortIx],
    constants: &'a [(PortIx, Value)],
) -> impl Iterator<Item = &'a Port> {
    let own = graph.node(ix).node_type.as_ref();
    node_type.inputs.iter().zip(0..).filter_map(move |(port, place)| {
        let place = PortIx(place);
        let is_fed = wired.contains(&place) || constants.iter().any(|(port, _)| *port == place);
        let is_own = own.and_then(|own| own.input(&port.id)).is_some_and(|(_, own)| own.required);
        (port.required && !is_fed && !is_own).then_some(port)
    })
}
