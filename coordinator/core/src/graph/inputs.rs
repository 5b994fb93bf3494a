//! Values that enter a run: which inputs a graph has, and what is given for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::json::{self, Json};
use super::problem::{Problem, Problems, join, rule, shown};
use super::{Graph, Node, large_list, values};
use crate::control_types::LIST_ITEM_TYPES;
use crate::id::NodeIx;
use crate::limits::{RESULT_VALUES_MAX, SUBMIT_INPUTS_BYTES_MAX};
use crate::node_type::{Control, Port, PortType, Runner};
use crate::value::Value;

/// An input of a graph, as people and programs are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputDescription {
    /// The node that takes the value.
    pub node_id: Arc<str>,
    /// What people call it.
    pub label: Arc<str>,
    /// `text`, `number`, `boolean`, `select`, `json`, `list`, `image`, `video`, `audio` or `file`.
    pub kind: &'static str,
    /// Whether a run must give a value.
    pub required: bool,
    /// The value in the graph.
    pub default: Option<Value>,
    /// What the author says of it.
    pub description: Option<String>,
    /// What a `select` may be.
    pub options: Vec<String>,
}

impl Graph {
    /// The inputs of the graph, in the order of the document.
    pub fn describe_inputs(&self) -> Vec<InputDescription> {
        let inputs = self.nodes().filter_map(|(ix, node)| Some((ix, node, Kind::of(node)?)));
        inputs
            .map(|(ix, node, kind)| {
                let config = config(node);
                let description = config.get("description").and_then(Json::as_text);
                InputDescription {
                    node_id: node.id.clone(),
                    label: node.label.clone(),
                    kind: kind.name(),
                    required: self.input_default(ix).is_none(),
                    default: in_graph(node, kind),
                    description: description.map(|text| text.into_owned()),
                    options: options(config),
                }
            })
            .collect()
    }

    /// The value that an input node has when a run gives none: the one in the graph; else, if its config says
    /// `"required": false`, the empty one (`""`, `[]`, or `null` for numbers, booleans and JSON); else none. None for
    /// other nodes too.
    pub fn input_default(&self, ix: NodeIx) -> Option<Value> {
        let node = self.node(ix);
        let kind = Kind::of(node)?;
        let is_optional = config(node).get("required") == Some(Json("false"));
        let empty = || Value::from_json(Bytes::from_static(kind.empty().as_bytes()));
        in_graph(node, kind).or_else(|| is_optional.then(empty))
    }

    /// Reads the `inputs` of a submission: a JSON object of at most [`SUBMIT_INPUTS_BYTES_MAX`] and
    /// [`RESULT_VALUES_MAX`] keys. A key is a node's id, else its label, else the name of its port or config key. Each
    /// value must be what its input takes. A `null` counts as not given, except for JSON. Sorted by node.
    pub fn bind_inputs(&self, inputs: &[u8]) -> Result<Vec<(NodeIx, Value)>, Vec<Problem>> {
        let text = read_inputs(inputs).map_err(|problem| vec![problem.at("/inputs")])?;
        let mut problems = Problems::default();
        let mut bound: BTreeMap<NodeIx, Option<Value>> = BTreeMap::new();
        for member in Json(&text).members() {
            let value = self.find_input(&member.key).and_then(|ix| Ok((ix, check_given(self.node(ix), member.value)?)));
            match value {
                Ok((ix, value)) => {
                    if bound.insert(ix, value).is_some() {
                        let message = format!("Input \"{}\" is given twice, under two names.", self.node(ix).label);
                        let problem = Problem::new(rule::AMBIGUOUS_INPUT, message, "Keep one of them.");
                        problems.push(problem.node(&self.node(ix).id).at(join("/inputs", &member.key)));
                    }
                }
                Err(problem) => problems.push(problem.at(join("/inputs", &member.key))),
            }
        }
        problems.into_result(bound.into_iter().filter_map(|(ix, value)| Some((ix, value?))).collect())
    }

    /// The same for values that are at hand, by name: what lies in the artifact store is taken as it is where the input takes such a
    /// value. Sorted by node.
    pub fn bind_values(&self, given: &[(Arc<str>, Value)]) -> Result<Vec<(NodeIx, Value)>, Vec<Problem>> {
        let mut problems = Problems::default();
        let mut bound: BTreeMap<NodeIx, Option<Value>> = BTreeMap::new();
        for (name, value) in given {
            match self.find_input(name).and_then(|ix| Ok((ix, self.check_value(ix, value)?))) {
                Ok((ix, value)) => {
                    if bound.insert(ix, value).is_some() {
                        let message = format!("Input \"{}\" is given twice, under two names.", self.node(ix).label);
                        let problem = Problem::new(rule::AMBIGUOUS_INPUT, message, "Keep one of them.");
                        problems.push(problem.node(&self.node(ix).id));
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        problems.into_result(bound.into_iter().filter_map(|(ix, value)| Some((ix, value?))).collect())
    }

    /// Where a request gives an input, as problems name it.
    pub fn input_path(&self, ix: NodeIx) -> String {
        join("/inputs", &self.node(ix).id)
    }

    /// Whether there is one input of this name.
    pub fn check_input_name(&self, name: &str) -> Result<(), Problem> {
        self.find_input(name).map(|_| ())
    }

    /// A value that is at hand, as an input takes it.
    fn check_value(&self, ix: NodeIx, value: &Value) -> Result<Option<Value>, Problem> {
        let node = self.node(ix);
        let text = std::str::from_utf8(value.json()).unwrap_or_default();
        match (value.artifact(), Kind::of(node)) {
            // It is not looked into: who goes through it will see.
            (Some(artifact), Some(Kind::Text | Kind::Json | Kind::List)) if artifact.is_json => Ok(Some(value.clone())),
            (Some(_), _) => Ok(check_given(node, Json(text))?.map(|_| value.clone())),
            (None, _) => check_given(node, Json(text)),
        }
    }

    /// The values of all input nodes in a part of the graph: those given, else those of [`Self::input_default`]. An
    /// input without any is a problem. Given values outside the part are left out. Sorted by node if `part` is.
    pub fn complete_inputs(
        &self,
        part: &[NodeIx],
        given: &[(NodeIx, Value)],
    ) -> Result<Vec<(NodeIx, Value)>, Vec<Problem>> {
        let given: BTreeMap<_, _> = given.iter().map(|(ix, value)| (*ix, value)).collect();
        let mut problems = Problems::default();
        let mut values = Vec::new();
        for ix in part.iter().filter(|ix| Kind::of(self.node(**ix)).is_some()) {
            match given.get(ix).map(|value| (*value).clone()).or_else(|| self.input_default(*ix)) {
                Some(value) => values.push((*ix, value)),
                None => problems.push(not_given(self.node(*ix))),
            }
        }
        problems.into_result(values)
    }

    /// Whether a node brings a value into a run.
    pub(crate) fn is_input(&self, ix: NodeIx) -> bool {
        Kind::of(self.node(ix)).is_some()
    }

    /// Checks a value for an input node as a submission's `inputs` are checked; `None` says that there is no value.
    pub(crate) fn check_input(&self, ix: NodeIx, value: Json<'_>) -> Result<Option<Value>, Problem> {
        check_given(self.node(ix), value)
    }

    fn find_input(&self, key: &str) -> Result<NodeIx, Problem> {
        let inputs = || self.nodes().filter(|(_, node)| Kind::of(node).is_some());
        if let Some(ix) = self.find(key).filter(|ix| Kind::of(self.node(*ix)).is_some()) {
            return Ok(ix);
        }
        let by_label = inputs().filter(|(_, node)| *node.label == *key);
        let found = only_one(key, by_label)?;
        let by_name = || inputs().filter(|(_, node)| goes_by(node, key));
        found.map_or_else(|| only_one(key, by_name()), |ix| Ok(Some(ix)))?.ok_or_else(|| self.unknown_input(key))
    }

    fn unknown_input(&self, key: &str) -> Problem {
        const NAMES_MAX: usize = 8;
        let inputs = self.nodes().filter(|(_, node)| Kind::of(node).is_some());
        let names: Vec<_> = inputs.take(NAMES_MAX).map(|(_, node)| format!("\"{}\"", node.id)).collect();
        let fix = if names.is_empty() {
            "Take it out: the graph has no inputs.".to_owned()
        } else {
            format!("Name an input by its node's id: {}.", names.join(", "))
        };
        Problem::new(rule::UNKNOWN_INPUT, format!("The graph has no input \"{}\".", shown(key)), fix)
    }
}

/// Checks the value that the graph itself gives an input. The error says what is wrong, in one sentence.
pub(super) fn check_in_graph(node: &Node) -> Result<(), String> {
    let Some(kind) = Kind::of(node) else { return Ok(()) };
    match config(node).get(kind.key()) {
        Some(value) => check(node, kind, value).map(|_| ()).map_err(|problem| problem.message),
        None => Ok(()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    Select,
    Json,
    List,
    Media(Media),
}

/// What an input takes a reference to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Image,
    Video,
    Audio,
    File,
}

impl Kind {
    fn of(node: &Node) -> Option<Self> {
        if node.runner != Runner::Control(Control::Input) {
            return None;
        }
        match &*node.type_id {
            "input:text" => Some(Kind::Text),
            "input:number" => Some(Kind::Number),
            "input:boolean" => Some(Kind::Boolean),
            "input:select" => Some(Kind::Select),
            "input:json" => Some(Kind::Json),
            "input:list" => Some(Kind::List),
            "input:image" => Some(Kind::Media(Media::Image)),
            "input:video" => Some(Kind::Media(Media::Video)),
            "input:audio" => Some(Kind::Media(Media::Audio)),
            "input:file" => Some(Kind::Media(Media::File)),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Select => "select",
            Kind::Json => "json",
            Kind::List => "list",
            Kind::Media(Media::Image) => "image",
            Kind::Media(Media::Video) => "video",
            Kind::Media(Media::Audio) => "audio",
            Kind::Media(Media::File) => "file",
        }
    }

    /// The config key of the value.
    fn key(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::List => "items",
            Kind::Media(_) => self.name(),
            Kind::Number | Kind::Boolean | Kind::Select | Kind::Json => "value",
        }
    }

    fn empty(self) -> &'static str {
        match self {
            Kind::Text | Kind::Select => "\"\"",
            Kind::List => "[]",
            Kind::Number | Kind::Boolean | Kind::Json | Kind::Media(_) => "null",
        }
    }
}

fn config(node: &Node) -> Json<'_> {
    Json(std::str::from_utf8(&node.config).unwrap_or_default())
}

fn in_graph(node: &Node, kind: Kind) -> Option<Value> {
    let value = config(node).get(kind.key())?;
    let text = check(node, kind, value).ok()??;
    Some(Value::from_json(text.into()))
}

/// The options of a choice: texts, or objects with a `value`.
fn options(config: Json<'_>) -> Vec<String> {
    let options = config.get("options").into_iter().flat_map(Json::elements);
    options.filter_map(|option| Some(option.get("value").unwrap_or(option).as_text()?.into_owned())).collect()
}

fn check_given(node: &Node, value: Json<'_>) -> Result<Option<Value>, Problem> {
    // The node was found as an input.
    let Some(kind) = Kind::of(node) else { return Ok(None) };
    if list_bounds(node).is_some_and(|(item, _)| !item.is_media()) && large_list::is_upload(value) {
        return Ok(Some(Value::from_json(value.0.to_owned().into())));
    }
    let text = check(node, kind, value).map_err(|problem| {
        let rule = if problem.rule == rule::BAD_CONFIG { rule::BAD_INPUT } else { problem.rule };
        Problem { rule, ..problem }.node(&node.id)
    })?;
    Ok(text.map(|text| Value::from_json(text.into())))
}

/// The JSON text of a value as the input's port gives it; `None` if it says that there is no value.
fn check(node: &Node, kind: Kind, value: Json<'_>) -> Result<Option<String>, Problem> {
    if value.is_null() && kind != Kind::Json {
        return Ok(None);
    }
    let Some(port) = node.node_type.as_ref().and_then(|node_type| node_type.outputs.first()) else { return Ok(None) };
    // Whoever gives a value knows the input by its name, and not what its port is called.
    let port = Port { id: node.label.clone(), ..port_of(port, kind, config(node)) };
    let text = values::checked(values::fit(value, &port)?, &port)?;
    check_bounds(kind, Json(&text), config(node)).map_or(Ok(Some(text)), |(message, fix)| {
        Err(Problem::new(rule::BAD_CONFIG, format!("Input \"{}\" {message}.", shown(&node.label)), fix))
    })
}

/// The port that a value must fit: the config may say what a list's items are.
fn port_of(port: &Port, kind: Kind, config: Json<'_>) -> Port {
    match kind {
        Kind::List => {
            let named = config.get("itemType").and_then(Json::as_text);
            let item = LIST_ITEM_TYPES.iter().find(|(name, _)| named.as_deref() == Some(name));
            Port { port_type: item.map_or(port.port_type, |(_, port_type)| *port_type), ..port.clone() }
        }
        Kind::Text | Kind::Number | Kind::Boolean | Kind::Select | Kind::Json | Kind::Media(_) => port.clone(),
    }
}

/// What the items of a list may be that an input takes, and how many; nothing of other inputs.
pub(super) fn list_bounds(node: &Node) -> Option<(PortType, Option<f64>)> {
    let port = node.node_type.as_ref()?.outputs.first().filter(|_| Kind::of(node) == Some(Kind::List))?;
    let config = config(node);
    Some((port_of(port, Kind::List, config).port_type, config.get("maxItems").and_then(Json::as_number)))
}

/// What is wrong with the files that an input was given, as far as their references say.
fn check_media(value: Json<'_>, config: Json<'_>) -> Option<(String, String)> {
    let files: Vec<Json<'_>> = if value.is_array() { value.elements().collect() } else { vec![value] };
    let bytes_max = config.get("maxBytes").and_then(Json::as_number);
    let accepted: Vec<_> =
        config.get("accept").into_iter().flat_map(Json::elements).filter_map(Json::as_text).collect();
    files.into_iter().find_map(|file| {
        if file.is_object() && !["url", "digest"].iter().any(|key| file.get(key).and_then(Json::as_text).is_some()) {
            let fix = "Give an object with url or digest, or the address as a text.".to_owned();
            return Some(("has no url and no digest".to_owned(), fix));
        }
        let bytes = file.get("bytes").and_then(Json::as_number);
        if let Some((bytes, most)) = bytes.zip(bytes_max).filter(|(bytes, most)| bytes > most) {
            return Some((format!("has {bytes} bytes"), format!("Give a file of at most {most} bytes.")));
        }
        let media_type = file.get("mediaType").and_then(Json::as_text)?;
        let is_accepted = accepted.is_empty() || accepted.iter().any(|accepted| does_accept(accepted, &media_type));
        let fix = || format!("Give one of: {}.", shown(&accepted.join(", ")));
        (!is_accepted).then(|| (format!("is {}", shown(&media_type)), fix()))
    })
}

/// Whether `image/*` or `image/png` lets a media type in.
fn does_accept(accepted: &str, media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match accepted.strip_suffix('*') {
        Some(family) => essence.get(..family.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(family)),
        None => essence.eq_ignore_ascii_case(accepted),
    }
}

/// What is wrong with a value of the right type, and what to do about it.
fn check_bounds(kind: Kind, value: Json<'_>, config: Json<'_>) -> Option<(String, String)> {
    let bound = |key: &str| config.get(key).and_then(Json::as_number);
    let too_many = |count: usize, key: &str, things: &str| {
        let most = bound(key).filter(|most| count as f64 > *most)?;
        Some((format!("has {count} {things}"), format!("Give at most {most} {things}.")))
    };
    match kind {
        Kind::Text => too_many(value.as_text()?.chars().count(), "maxChars", "characters"),
        Kind::List => too_many(value.elements().count(), "maxItems", "items"),
        Kind::Number => {
            let number = value.as_number()?;
            let (min, max) = (bound("min"), bound("max"));
            match (min.filter(|min| number < *min), max.filter(|max| number > *max)) {
                (Some(min), _) => Some((format!("is {number}"), format!("Give a number not below {min}."))),
                (_, Some(max)) => Some((format!("is {number}"), format!("Give a number not above {max}."))),
                (None, None) => None,
            }
        }
        Kind::Select => {
            let (text, options) = (value.as_text()?, options(config));
            let is_open = options.is_empty() || options.iter().any(|option| *option == text);
            let advice = || format!("Give one of: {}.", shown(&options.join(", ")));
            (!is_open).then(|| (format!("cannot be \"{}\"", shown(&text)), advice()))
        }
        Kind::Media(_) => {
            let count = if value.is_array() { value.elements().count() } else { 1 };
            too_many(count, "maxItems", "files").or_else(|| check_media(value, config))
        }
        Kind::Boolean | Kind::Json => None,
    }
}

fn not_given(node: &Node) -> Problem {
    let message = format!("Input \"{}\" has no value.", shown(&node.label));
    let fix =
        format!("Give inputs.{}, set it in the graph, or set \"required\": false in its config.", shown(&node.id));
    Problem::new(rule::MISSING_REQUIRED_INPUT, message, fix).node(&node.id).at(join("/inputs", &node.id))
}

fn read_inputs(inputs: &[u8]) -> Result<String, Problem> {
    if inputs.len() > SUBMIT_INPUTS_BYTES_MAX {
        let message = format!("inputs has {} bytes; at most {SUBMIT_INPUTS_BYTES_MAX} are taken.", inputs.len());
        return Err(Problem::new(rule::LIMITS, message, "Give references to files instead of their content."));
    }
    let text = json::compact(inputs)
        .map_err(|fault| Problem::new(rule::BAD_JSON, fault.message("inputs"), "Send inputs as a JSON object."))?;
    if !Json(&text).is_object() {
        let message = format!("inputs is {}, not an object.", shown(&text));
        return Err(Problem::new(rule::BAD_JSON, message, "Send inputs as a JSON object."));
    }
    match Json(&text).members().count() {
        count if count > RESULT_VALUES_MAX => {
            let message = format!("inputs has {count} keys; at most {RESULT_VALUES_MAX} are taken.");
            Err(Problem::new(rule::LIMITS, message, "Bring several values in as one JSON input."))
        }
        _ => Ok(text),
    }
}

fn only_one<'a>(key: &str, found: impl Iterator<Item = (NodeIx, &'a Node)>) -> Result<Option<NodeIx>, Problem> {
    let found: Vec<_> = found.take(2).collect();
    match found[..] {
        [] => Ok(None),
        [(ix, _)] => Ok(Some(ix)),
        _ => {
            let message = format!("Several inputs go by \"{}\".", shown(key));
            let fix = format!("Name the one you mean by its id, such as \"{}\".", found[0].1.id);
            Err(Problem::new(rule::AMBIGUOUS_INPUT, message, fix))
        }
    }
}

/// Whether a key is the name of the node's port or config key.
fn goes_by(node: &Node, key: &str) -> bool {
    node.node_type.as_ref().is_some_and(|node_type| {
        node_type.output(key).is_some()
            || node_type.output_aliases.contains_key(key)
            || node_type.config_aliases.contains_key(key)
            || Kind::of(node).is_some_and(|kind| kind.key() == key)
    })
}
