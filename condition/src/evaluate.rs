//! What branching nodes make of their conditions: the same in the engine and on an agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::{Condition, NoAnswer, Seen};

/// What a value is called in conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Name {
    /// An input of the node, by its id.
    Input(String),
    /// What an item or turn is that the node lies in: a variable, such as `item`.
    OfScope(String),
    /// `nodes.<id>.output`
    Node(String),
    /// `nodes.<id>.outputs.<port>`
    Output(String, String),
}

/// Why a node cannot be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

impl Unanswered {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What conditions see: the values that they look at, and the run. `inputs` is there if one of them names it.
pub fn seen<'a>(
    values: impl IntoIterator<Item = (Name, Json)>,
    conditions: impl IntoIterator<Item = &'a Condition>,
    run: &Json,
) -> Seen {
    let mut seen = Seen::default();
    let mut inputs = serde_json::Map::new();
    let mut nodes: BTreeMap<String, NodeSeen> = BTreeMap::new();
    for (name, value) in values {
        match name {
            Name::Input(id) => drop(inputs.insert(id, value)),
            Name::OfScope(name) => seen.set_named(&name, &value),
            Name::Node(id) => nodes.entry(id).or_default().output = value,
            Name::Output(id, port) => drop(nodes.entry(id).or_default().outputs.insert(port, value)),
        }
    }
    inputs.iter().for_each(|(id, value)| seen.set_named(id, value));
    if conditions.into_iter().any(Condition::sees_inputs) {
        seen.set("inputs", &Json::Object(inputs));
    }
    let nodes =
        nodes.into_iter().map(|(id, node)| (id, serde_json::json!({"output": node.output, "outputs": node.outputs})));
    seen.set("nodes", &Json::Object(nodes.collect()));
    seen.set("run", run);
    seen
}

/// What conditions see of another node.
#[derive(Default)]
struct NodeSeen {
    output: Json,
    outputs: serde_json::Map<String, Json>,
}

/// The places of the conditions that hold: of all, or up to the first. `node` is for messages.
///
/// # Errors
/// `condition_failed`, `condition_too_costly`.
pub fn holding(
    node: &str,
    conditions: &[Condition],
    seen: &Seen,
    all: bool,
    budget: &mut u64,
) -> Result<Vec<u16>, Unanswered> {
    let mut holding = Vec::new();
    for (condition, place) in conditions.iter().zip(0..) {
        if holds(node, condition, seen, budget)? {
            holding.push(place);
            if !all {
                break;
            }
        }
    }
    Ok(holding)
}

/// Whether a filter keeps an item, given as JSON text.
///
/// # Errors
/// As [`holding`].
pub fn keeps(
    node: &str,
    condition: &Condition,
    seen: &Seen,
    (index, item): (usize, &[u8]),
    budget: &mut u64,
) -> Result<bool, Unanswered> {
    holds(node, condition, &seen.with_item(&parse(item), index), budget)
}

/// Divides a JSON list into the one of the items that are kept, and the one of the others. Items stay as they are written.
///
/// # Errors
/// `bad_input` if it is no list, and those of `keeps`.
pub fn divide(
    list: &[u8],
    keeps: impl FnMut(usize, &[u8]) -> Result<bool, Unanswered>,
) -> Result<(String, String), Unanswered> {
    let no_list = |_| Unanswered::new("bad_input", "\"items\" is no list");
    let items: Vec<&RawValue> = serde_json::from_slice(list).map_err(no_list)?;
    divide_items(items.into_iter().map(|item| item.get().as_bytes()), keeps)
}

/// The same for items that are JSON texts of their own.
///
/// # Errors
/// Those of `keeps`, and `bad_input` if an item is no text.
pub fn divide_items<'a>(
    items: impl IntoIterator<Item = &'a [u8]>,
    mut keeps: impl FnMut(usize, &[u8]) -> Result<bool, Unanswered>,
) -> Result<(String, String), Unanswered> {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        let text = str::from_utf8(item).map_err(|_| Unanswered::new("bad_input", "an item is no JSON"))?;
        if keeps(index, item)? { kept.push(text) } else { dropped.push(text) }
    }
    let list = |items: &[&str]| format!("[{}]", items.join(","));
    Ok((list(&kept), list(&dropped)))
}

/// Whether the value of a gate's `open` opens it.
///
/// # Errors
/// `bad_input` if it is neither true nor false.
pub fn is_open(value: &Json) -> Result<bool, Unanswered> {
    value.as_bool().ok_or_else(|| Unanswered::new("bad_input", "\"open\" is neither true nor false"))
}

/// JSON text as conditions see it: what is nested too deep is null.
pub fn parse(json: &[u8]) -> Json {
    serde_json::from_slice(json).unwrap_or(Json::Null)
}

/// Whether a condition holds. `node` is for messages.
///
/// # Errors
/// `condition_failed`, `condition_too_costly`.
pub fn holds(node: &str, condition: &Condition, seen: &Seen, budget: &mut u64) -> Result<bool, Unanswered> {
    condition.holds(seen, budget).map_err(|no_answer| unanswered(node, condition, no_answer))
}

/// Whether a turn of a loop is the last one by its `until`, and what it is worth by its `score`. `node` is for messages.
///
/// # Errors
/// As [`holds`].
pub fn turn(
    node: &str,
    until: Option<&Condition>,
    score: Option<&Condition>,
    seen: &Seen,
    budget: &mut u64,
) -> Result<(bool, Option<f64>), Unanswered> {
    // A loop has both: which of them it was has to be said.
    let named = |key: &str, it: Unanswered| match it.code {
        "condition_failed" => Unanswered { message: format!("{key}: {}", it.message), ..it },
        _ => it,
    };
    let holds = |until| holds(node, until, seen, budget).map_err(|it| named("until", it));
    let ends = until.map(holds).transpose()?.unwrap_or(false);
    let number = |score: &Condition| {
        let number = score.number(seen, budget);
        number.map_err(|no_answer| named("score", unanswered(node, score, no_answer)))
    };
    Ok((ends, score.map(number).transpose()?))
}

fn unanswered(node: &str, condition: &Condition, no_answer: NoAnswer) -> Unanswered {
    match no_answer {
        NoAnswer::TooCostly => Unanswered::new(
            "condition_too_costly",
            "its conditions could take too many steps on these values; give it smaller ones, or loop over less",
        ),
        NoAnswer::Failed(why) => Unanswered::new("condition_failed", format!("{condition} of node \"{node}\": {why}")),
    }
}
