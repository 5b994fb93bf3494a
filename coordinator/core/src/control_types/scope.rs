//! The node types that have a body of other nodes, and those that cut lists for them (graph.md, part 5).

use serde_json::json;

use super::{aliases, control, port};
use crate::id::PortIx;
use crate::limits;
use crate::node_type::{Control, NodeType, Port, PortType};

/// Which ports of a container lead into its body and out of it; the others join it to what lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doors {
    /// So many outputs, the first ones, give values to the body.
    pub inner_outputs: u16,
    /// So many inputs, the first ones, come from beside the container; the others take what the body gives.
    pub outer_inputs: u16,
}

impl Doors {
    /// Whether an output gives values to the body.
    pub(crate) fn is_inner_output(self, port: PortIx) -> bool {
        port.0 < self.inner_outputs
    }

    /// Whether an input takes what the body gives.
    pub(crate) fn is_inner_input(self, port: PortIx) -> bool {
        port.0 >= self.outer_inputs
    }
}

/// Ports of `logic:map`.
pub(crate) mod map {
    use crate::id::PortIx;

    pub(crate) const ITEMS: PortIx = PortIx(0);
    pub(crate) const RESULT: PortIx = PortIx(1);
    pub(crate) const ITEM: PortIx = PortIx(0);
    pub(crate) const INDEX: PortIx = PortIx(1);
    pub(crate) const RESULTS: PortIx = PortIx(2);
    pub(crate) const ERRORS: PortIx = PortIx(3);
}

/// Ports of `logic:loop`.
pub(crate) mod looping {
    use crate::id::PortIx;

    pub(crate) const SEED: PortIx = PortIx(0);
    pub(crate) const RESULT: PortIx = PortIx(1);
    pub(crate) const CARRY: PortIx = PortIx(2);
    pub(crate) const VALUE: PortIx = PortIx(0);
    pub(crate) const ITERATION: PortIx = PortIx(1);
    pub(crate) const LAST: PortIx = PortIx(2);
    pub(crate) const ITERATIONS: PortIx = PortIx(3);
    pub(crate) const ALL: PortIx = PortIx(4);
}

/// Ports of `logic:reduce`.
pub(crate) mod reduce {
    use crate::id::PortIx;

    pub(crate) const ITEMS: PortIx = PortIx(0);
    pub(crate) const INITIAL: PortIx = PortIx(1);
    pub(crate) const RESULT: PortIx = PortIx(2);
    pub(crate) const ACCUMULATOR: PortIx = PortIx(0);
    pub(crate) const ITEM: PortIx = PortIx(1);
    pub(crate) const INDEX: PortIx = PortIx(2);
    pub(crate) const LAST: PortIx = PortIx(3);
}

pub(super) fn all() -> Vec<NodeType> {
    vec![map(), loop_(), reduce(), batch()]
}

pub(super) fn control_of(name: &str) -> Option<Control> {
    Some(match name {
        "map" => Control::Map,
        "loop" => Control::Loop,
        "reduce" => Control::Reduce,
        "batch" => Control::Batch,
        _ => return None,
    })
}

/// The doors of the types whose bodies people draw.
pub(crate) fn doors(control: Control) -> Option<Doors> {
    match control {
        Control::Map => Some(Doors { inner_outputs: 2, outer_inputs: 1 }),
        Control::Loop => Some(Doors { inner_outputs: 2, outer_inputs: 1 }),
        Control::Reduce => Some(Doors { inner_outputs: 3, outer_inputs: 2 }),
        _ => None,
    }
}

/// The input that takes what the body of a container gives.
pub(crate) fn result(control: Control) -> Option<PortIx> {
    match control {
        Control::Map => Some(map::RESULT),
        Control::Loop => Some(looping::RESULT),
        Control::Reduce => Some(reduce::RESULT),
        _ => None,
    }
}

fn any(id: &str) -> Port {
    port(id, PortType::Any)
}

fn list(id: &str) -> Port {
    Port { list: true, ..any(id) }
}

fn required(port: Port) -> Port {
    Port { required: true, ..port }
}

fn map() -> NodeType {
    let summary = "Runs the nodes inside it once for each item of a list, many at a time.";
    let properties = json!({
        "concurrency": {"type": "integer", "minimum": 1, "maximum": limits::SCOPE_WINDOW_MAX,
            "description": format!("items at work at a time; {} if absent", limits::SCOPE_WINDOW)},
        "onItemError": {"enum": ["fail", "skip", "collect"],
            "description": "fail: the first failed item ends the run (the default); skip: it is left out of results; collect: null takes its place"},
        "batchSize": {"type": "integer", "minimum": 1, "maximum": limits::BATCH_ITEMS_MAX,
            "description": "absent: one item at a time; else each item is a list of so many"}
    });
    NodeType {
        inputs: vec![required(list("items")), any("result")],
        outputs: vec![
            any("item"),
            port("index", PortType::Number),
            list("results"),
            Port { list: true, ..port("errors", PortType::Json) },
        ],
        input_aliases: aliases(&["in", "input", "list"], "items"),
        output_aliases: aliases(&["out", "output"], "results"),
        config_aliases: aliases(&["on_item_error"], "onItemError")
            .into_iter()
            .chain(aliases(&["batch_size"], "batchSize"))
            .collect(),
        ..control("logic:map", "Map", summary, properties)
    }
}

fn loop_() -> NodeType {
    let summary = "Runs the nodes inside it again and again, until a condition holds.";
    let condition = |what: &str| json!({"type": "string", "description": format!("CEL over result, carry, iteration and nodes.<id>.output, after each turn: {what}")});
    let properties = json!({
        "until": condition("true ends the loop"),
        "maxIterations": {"type": "integer", "minimum": 1, "maximum": limits::LOOP_TURNS_MAX,
            "description": format!("turns at most; {} if absent", limits::LOOP_TURNS)},
        "select": {"enum": ["last", "best", "all"], "description": "what result is: the last turn's (the default), the best one's, or all in a list"},
        "score": condition("a number; with select best, the highest counts")
    });
    NodeType {
        inputs: vec![any("seed"), required(any("result")), any("carry")],
        outputs: vec![
            any("value"),
            port("iteration", PortType::Number),
            any("result"),
            port("iterations", PortType::Number),
            list("all"),
        ],
        aliases: vec!["logic:loop_until".into(), "logic:while".into()],
        input_aliases: aliases(&["in", "input"], "seed"),
        output_aliases: aliases(&["out", "output"], "result"),
        config_aliases: aliases(&["max_iterations"], "maxIterations")
            .into_iter()
            .chain(aliases(&["keep"], "select"))
            .collect(),
        ..control("logic:loop", "Loop", summary, properties)
    }
}

fn reduce() -> NodeType {
    let summary =
        "Runs the nodes inside it for one item of a list after the other, with what the items before have given.";
    NodeType {
        inputs: vec![required(list("items")), any("initial"), required(any("result"))],
        outputs: vec![any("accumulator"), any("item"), port("index", PortType::Number), any("result")],
        input_aliases: aliases(&["in", "input", "list"], "items"),
        output_aliases: aliases(&["out", "output"], "result"),
        ..control("logic:reduce", "Reduce", summary, json!({}))
    }
}

fn batch() -> NodeType {
    let summary = "Cuts a list into lists of a size; the last one may be shorter.";
    let properties = json!({"size": {"type": "integer", "minimum": 1, "maximum": limits::BATCH_ITEMS_MAX}});
    NodeType {
        inputs: vec![required(list("items"))],
        outputs: vec![Port { list: true, ..port("batches", PortType::Json) }],
        input_aliases: aliases(&["in", "input", "list"], "items"),
        output_aliases: aliases(&["out", "output"], "batches"),
        ..control("logic:batch", "Batch", summary, properties)
    }
}
