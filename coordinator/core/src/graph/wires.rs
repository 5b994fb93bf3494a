//! Finds for each edge the output and the input that it joins.

use std::sync::Arc;

use super::compile::{Compiler, Migration, Place, Running};
use super::draft::DraftEdge;
use super::order::Wire;
use super::policies;
use super::ports::{Fit, Found, NO_PLACE, Side, fit, is_assignable, type_name};
use super::problem::{Problem, rule, shown};
use super::scope::{self, Crossing};
use crate::control_types::scope::doors;
use crate::id::{NodeIx, PortIx};
use crate::node_type::{Control, Port, Runner};

/// Stands for every port of a node whose type nobody offers; such a node never runs.
const ANY_PORT: Found = Found { port: PortIx(0), place: NO_PLACE, is_alias: false };

/// Reads all edges. Those with a problem are left out.
pub(super) fn read(compiler: &mut Compiler<'_>) -> Vec<Wire> {
    report_duplicate_ids(compiler);
    let mut wires = Vec::with_capacity(compiler.draft.edges.len());
    for (place, edge) in compiler.draft.edges.iter().enumerate() {
        let ends = (end(compiler, edge, place, true), end(compiler, edge, place, false));
        let (Some(source), Some(target)) = ends else { continue };
        let Some(crossing) = compiler.nesting.crossing(source, target) else {
            let problem = scope::across(&edge.source, &edge.target);
            compiler.problems.push(problem.edge(edge.id.as_ref()).at(format!("/edges/{place}")));
            continue;
        };
        let ends = (&compiler.running[source.0 as usize], &compiler.running[target.0 as usize]);
        match join(edge, ends.0, ends.1, crossing) {
            Ok((output, input, lifts)) => {
                note_aliases(compiler, edge, [source, target], [output, input]);
                wires.push(Wire { place: place as u32, source, target, output, input, lifts });
            }
            Err(fault) => {
                let (problem, key) = *fault;
                compiler.problems.push(problem.edge(edge.id.as_ref()).at(format!("/edges/{place}/{key}")));
            }
        }
    }
    wires
}

fn report_duplicate_ids(compiler: &mut Compiler<'_>) {
    let edges = compiler.draft.edges.iter().enumerate();
    let mut ids: Vec<_> = edges.filter_map(|(place, edge)| Some((edge.id.as_ref()?, place))).collect();
    ids.sort_unstable();
    for pair in ids.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let (id, place) = pair[1];
        let message = format!("Two edges have the id \"{id}\".");
        let problem = Problem::new(rule::DUPLICATE_ID, message, "Give each edge an id of its own.");
        compiler.problems.push(problem.edge(Some(id)).at(format!("/edges/{place}/id")));
    }
}

/// The node at one end, if it runs.
fn end(compiler: &mut Compiler<'_>, edge: &DraftEdge, place: usize, is_source: bool) -> Option<NodeIx> {
    let (id, key) = if is_source { (&edge.source, "source") } else { (&edge.target, "target") };
    let (message, fix) = match compiler.places.get(id) {
        Some(Place::Runs(ix)) => return Some(ix),
        Some(Place::Broken) => return None,
        Some(Place::NeverRuns) => (
            format!("An edge's {key} is \"{}\", a note or a group, which never runs.", shown(id)),
            "Take the edge out, or join it to a node that runs.",
        ),
        None => (
            format!("An edge's {key} is \"{}\", but there is no such node.", shown(id)),
            "Take the edge out, or correct the id.",
        ),
    };
    let problem = Problem::new(rule::DANGLING_EDGE, message, fix);
    compiler.problems.push(problem.edge(edge.id.as_ref()).at(format!("/edges/{place}/{key}")));
    None
}

/// A problem, and the key of the edge that it is about.
type Fault = Box<(Problem, &'static str)>;

/// The output and the input that an edge joins, and whether its target runs once per item.
fn join(
    edge: &DraftEdge,
    source: &Running<'_>,
    target: &Running<'_>,
    crossing: Crossing,
) -> Result<(Found, Found, bool), Fault> {
    let mut outputs = source.node_type.as_deref().map(Side::outputs);
    outputs.iter_mut().for_each(|side| side.unnamed -= usize::from(source.has_error_output));
    let inputs = target.node_type.as_deref().map(Side::inputs);
    let output = match (&outputs, &edge.source_handle) {
        (Some(side), Some(handle)) => Some(named(side, handle, source, true)?),
        (Some(side), None) if side.unnamed == 0 => return Err(fault(portless(source, true), "source")),
        (Some(_), None) => None,
        (None, _) => Some(ANY_PORT),
    };
    let input = match (&inputs, &edge.target_handle) {
        (Some(side), Some(handle)) => Some(named(side, handle, target, false)?),
        (Some(side), None) if side.ports.is_empty() => return Err(fault(portless(target, false), "target")),
        (Some(_), None) => None,
        (None, _) => Some(ANY_PORT),
    };
    let doors = (doors_of(source), doors_of(target));
    let may_leave = |port: PortIx| doors.0.is_none_or(|it| it.is_inner_output(port) == (crossing == Crossing::Item));
    let may_enter = |port: PortIx| doors.1.is_none_or(|it| it.is_inner_input(port) == (crossing == Crossing::Result));
    let sides = (outputs.as_ref(), inputs.as_ref());
    let (output, input) = choose(sides, (output, input), (&may_leave, &may_enter), target.runner);
    let Some((outputs, inputs)) = outputs.zip(inputs) else { return Ok((output, input, false)) };
    if !may_leave(output.port) {
        let port = &outputs.port(output.port).id;
        return Err(fault(scope::wrong_side(&source.draft.id, port, true, crossing != Crossing::Item), "sourceHandle"));
    }
    if !may_enter(input.port) {
        let port = &inputs.port(input.port).id;
        let is_inner = crossing != Crossing::Result;
        return Err(fault(scope::wrong_side(&target.draft.id, port, false, is_inner), "targetHandle"));
    }
    let lifts = check_fit(&outputs, &inputs, (output, input), source, target)?;
    Ok((output, input, lifts))
}

fn doors_of(node: &Running<'_>) -> Option<crate::control_types::scope::Doors> {
    match node.runner {
        Runner::Control(control) => doors(control),
        Runner::Agent | Runner::Unavailable => None,
    }
}

fn named(side: &Side<'_>, handle: &str, node: &Running<'_>, is_source: bool) -> Result<Found, Fault> {
    if let Some(found) = side.find(handle) {
        return Ok(found);
    }
    // Vendors' graphs name the ports of a router as they like.
    if node.runner == Runner::Control(Control::Router) && side.unnamed == 1 {
        return Ok(Found { is_alias: true, ..ANY_PORT });
    }
    let (rule, kind, key) = if is_source {
        (rule::BAD_SOURCE_HANDLE, "output", "sourceHandle")
    } else {
        (rule::BAD_TARGET_HANDLE, "input", "targetHandle")
    };
    if is_source && handle.strip_prefix(side.prefix).unwrap_or(handle) == policies::ERROR_OUTPUT {
        let message = format!(
            "Node \"{}\" ({}) has no output \"error\": it ends the run when it fails.",
            node.draft.id, node.type_id
        );
        let fix = "Write \"onError\": \"continue\" in its data.policy, or take the edge out.";
        return Err(fault(Problem::new(rule, message, fix).node(&node.draft.id), key));
    }
    if side.ports.is_empty() {
        return Err(fault(portless(node, is_source), key));
    }
    let message = format!(
        "Node \"{}\" ({}) has no {kind} \"{}\"; it has {}.",
        node.draft.id,
        node.type_id,
        shown(handle),
        side.names()
    );
    let fix = match side.suggest(handle) {
        Some(meant) => format!("Did you mean \"{meant}\"?"),
        None => format!("Choose one of its {kind}s."),
    };
    Err(fault(Problem::new(rule, message, fix).node(&node.draft.id), key))
}

fn fault(problem: Problem, key: &'static str) -> Fault {
    Box::new((problem, key))
}

fn portless(node: &Running<'_>, is_source: bool) -> Problem {
    let (rule, message) = if is_source {
        (rule::BAD_SOURCE_HANDLE, format!("Node \"{}\" ({}) has no outputs.", node.draft.id, node.type_id))
    } else {
        (rule::BAD_TARGET_HANDLE, format!("Node \"{}\" ({}) takes no inputs.", node.draft.id, node.type_id))
    };
    Problem::new(rule, message, "Take the edge out.").node(&node.draft.id)
}

/// Fills in what the edge leaves open: the first ports, in the order of the type, that fit each other; the very first
/// ones if none do, so that a message can name them.
fn choose(
    (outputs, inputs): (Option<&Side<'_>>, Option<&Side<'_>>),
    (output, input): (Option<Found>, Option<Found>),
    (may_leave, may_enter): (&dyn Fn(PortIx) -> bool, &dyn Fn(PortIx) -> bool),
    target: Runner,
) -> (Found, Found) {
    // A side that is left open has all its ports for candidates; of an unknown type, the one that stands for all.
    let candidates = |side: Option<&Side<'_>>, fixed: Option<Found>| {
        let count = if fixed.is_some() { 1 } else { side.map_or(1, |side| side.unnamed) };
        (0..count).map(move |place| fixed.unwrap_or(Found { port: PortIx(place as u16), ..ANY_PORT }))
    };
    let fit = |output: &Found, input: &Found| match (outputs, inputs) {
        (Some(outputs), Some(inputs)) => fit(outputs.port(output.port), inputs.port(input.port), target),
        _ => Fit::Yes,
    };
    let pairs = || {
        let outputs = candidates(outputs, output).filter(|found| output.is_some() || may_leave(found.port));
        outputs.flat_map(|output| {
            let inputs = candidates(inputs, input).filter(|found| input.is_some() || may_enter(found.port));
            inputs.map(move |input| (output, input))
        })
    };
    let find = |wanted: Fit| pairs().find(|(output, input)| fit(output, input) == wanted);
    find(Fit::Yes).or_else(|| find(Fit::Lifts)).or_else(|| pairs().next()).unwrap_or((ANY_PORT, ANY_PORT))
}

/// Whether the edge lifts its target; the error says why it does not fit.
fn check_fit(
    outputs: &Side<'_>,
    inputs: &Side<'_>,
    (output, input): (Found, Found),
    source: &Running<'_>,
    target: &Running<'_>,
) -> Result<bool, Fault> {
    let (from, to) = (outputs.port(output.port), inputs.port(input.port));
    let fit = fit(from, to, target.runner);
    if fit != Fit::No && (input.place == NO_PLACE || !from.list) {
        return Ok(fit == Fit::Lifts);
    }
    let (given, taken) = (type_name(from), type_name(to));
    let (rule, message, fix) = match fit {
        Fit::Yes | Fit::Lifts => (
            rule::NOT_SUPPORTED_YET,
            format!("A whole list cannot be one item of \"in-{}\" yet.", to.id),
            format!("Join the list to \"in-{}\" itself.", to.id),
        ),
        Fit::No => (
            rule::TYPE_MISMATCH,
            format!(
                "\"out-{}\" of node \"{}\" gives {given}, but \"in-{}\" of node \"{}\" takes {taken}.",
                from.id, source.draft.id, to.id, target.draft.id
            ),
            fitting(outputs, inputs, from, to),
        ),
    };
    Err(fault(Problem::new(rule, message, fix).node(&target.draft.id), "targetHandle"))
}

/// Another port that would fit, as advice.
fn fitting(outputs: &Side<'_>, inputs: &Side<'_>, from: &Port, to: &Port) -> String {
    let input = inputs.ports.iter().find(|port| is_assignable(from.port_type, port.port_type));
    let output = outputs.ports.iter().find(|port| is_assignable(port.port_type, to.port_type));
    match (input, output) {
        (Some(port), _) => format!("Did you mean \"in-{}\"?", port.id),
        (None, Some(port)) => format!("Did you mean \"out-{}\"?", port.id),
        (None, None) => format!("Put a node between them that makes {} from {}.", type_name(to), type_name(from)),
    }
}

fn note_aliases(compiler: &mut Compiler<'_>, edge: &DraftEdge, nodes: [NodeIx; 2], found: [Found; 2]) {
    let handles = [&edge.source_handle, &edge.target_handle];
    for (is_target, (handle, (node, found))) in handles.into_iter().zip(nodes.into_iter().zip(found)).enumerate() {
        let (Some(handle), true) = (handle, found.is_alias) else { continue };
        let running = &compiler.running[node.0 as usize];
        let Some(node_type) = running.node_type.as_deref() else { continue };
        let side = if is_target == 1 { Side::inputs(node_type) } else { Side::outputs(node_type) };
        let migration = Migration {
            rule: "port-alias",
            node_id: Arc::clone(&running.draft.id),
            edge_id: edge.id.clone(),
            from: handle.to_string(),
            to: format!("{}{}", side.prefix, side.port(found.port).id),
        };
        compiler.migrate(migration);
    }
}
