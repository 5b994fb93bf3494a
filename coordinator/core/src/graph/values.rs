//! The values that a node carries: its config as one object, and what its unwired inputs are (graph.md, part 1).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::config_fault::ConfigFault;
use super::json::{self, Json, Member};
use super::large_list;
use super::ports::{Found, NO_PLACE, Side};
use super::problem::{Problem, join, rule, shown};
use crate::id::PortIx;
use crate::limits::INLINE_VALUE_BYTES_MAX;
use crate::node_type::{NodeType, Port, PortType};
use crate::value::Value;

/// Bytes of one node's merged config.
pub const CONFIG_BYTES_MAX: usize = 256 * 1024;

/// Keys of `data` that describe the node; never a value of it.
const STRUCTURAL_KEYS: [&str; 15] = [
    "label",
    "nodeType",
    "category",
    "config",
    "params",
    "inputs",
    "outputs",
    "policy",
    "inputType",
    "childNodeIds",
    "description",
    "icon",
    "color",
    "model",
    "exposedInputs",
];

/// What a node carries.
pub(super) struct Carried<'a> {
    /// The config keys by precedence, in the order of the document.
    config: Vec<(Cow<'a, str>, Given<'a>)>,
    /// The values given for inputs: by port, then by place in its list.
    given: BTreeMap<(PortIx, u32), Given<'a>>,
    /// The aliases that were used, with what they mean.
    pub(super) aliases: Vec<(String, String)>,
    /// The place of the node's `data` in the document.
    path: String,
}

/// A value, and where it stands in the node's `data`.
struct Given<'a> {
    value: Json<'a>,
    /// `config`, `params`, or nothing for a bare value.
    level: &'static str,
    key: Cow<'a, str>,
}

impl<'a> Carried<'a> {
    /// Collects the values of a node from `config`, `params` and bare `data`, in this order of precedence.
    pub(super) fn collect(node_type: &'a NodeType, data: &[Member<'a>], path: &str) -> Self {
        let mut carried =
            Self { config: Vec::new(), given: BTreeMap::new(), aliases: Vec::new(), path: format!("{path}/data") };
        let mut taken = BTreeSet::new();
        for level in ["config", "params"] {
            let members: Vec<_> = data.iter().filter(|member| member.key == level).collect();
            let members: Vec<_> = members.iter().flat_map(|member| member.value.members()).collect();
            carried.take(node_type, &members, level, &mut taken);
        }
        let bare: Vec<_> = data.iter().filter(|member| is_bare_value(node_type, &member.key)).cloned().collect();
        carried.take(node_type, &bare, "", &mut taken);
        carried
    }

    /// Takes one level. Names of ports and keys go before their aliases.
    fn take(
        &mut self,
        node_type: &'a NodeType,
        members: &[Member<'a>],
        level: &'static str,
        taken: &mut BTreeSet<Cow<'a, str>>,
    ) {
        let inputs = Side::inputs(node_type);
        let meanings: Vec<_> = members.iter().map(|member| Meaning::of(node_type, &inputs, &member.key)).collect();
        for is_alias_turn in [false, true] {
            for (member, meaning) in members.iter().zip(&meanings) {
                if meaning.is_alias() != is_alias_turn {
                    continue;
                }
                let is_new = match meaning {
                    Meaning::Port(found) => self.give(*found, member, level),
                    Meaning::Key => self.set(member.key.clone(), member, level, taken),
                    Meaning::KeyAndPort(found) => {
                        let given = self.give(*found, member, level);
                        self.set(member.key.clone(), member, level, taken) || given
                    }
                    Meaning::KeyAlias(key) => self.set(Cow::Borrowed(key), member, level, taken),
                };
                if is_alias_turn && is_new {
                    self.aliases.push((member.key.to_string(), meaning.name(&inputs)));
                }
            }
        }
    }

    fn give(&mut self, found: Found, member: &Member<'a>, level: &'static str) -> bool {
        // Clients write null for what is not filled in yet.
        let is_new = !member.value.is_null() && !self.given.contains_key(&(found.port, found.place));
        if is_new {
            let given = Given { value: member.value, level, key: member.key.clone() };
            self.given.insert((found.port, found.place), given);
        }
        is_new
    }

    fn set(
        &mut self,
        key: Cow<'a, str>,
        member: &Member<'a>,
        level: &'static str,
        taken: &mut BTreeSet<Cow<'a, str>>,
    ) -> bool {
        let is_new = taken.insert(key.clone());
        if is_new {
            self.config.push((key, Given { value: member.value, level, key: member.key.clone() }));
        }
        is_new
    }

    /// The config as one object.
    pub(super) fn config(&self, report: &mut dyn FnMut(Problem)) -> String {
        let keys: Vec<_> = self.config.iter().map(|(key, _)| quoted(key)).collect();
        let mut text = String::new();
        json::write_object(
            &mut text,
            keys.iter().zip(&self.config).map(|(key, (_, given))| (key.as_str(), given.value.0)),
        );
        let path = join(&self.path, "config");
        if text.len() > CONFIG_BYTES_MAX {
            let message = format!("The config has {} bytes; at most {CONFIG_BYTES_MAX} are kept.", text.len());
            report(Problem::new(rule::VALUE_TOO_LARGE, message, "Bring large values in through an input.").at(path));
        } else if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
            let message = format!("The config holds a value that cannot be read: {error}.");
            report(Problem::new(rule::BAD_CONFIG, message, "Correct the number or the text.").at(path));
        }
        text
    }

    /// A fault of the config, at the place where the value is written: in `config`, in `params` or bare, maybe under an alias.
    pub(super) fn problem(&self, fault: ConfigFault) -> Problem {
        let (step, rest) = match fault.place.strip_prefix('/') {
            Some(steps) => steps.find('/').map_or((steps, ""), |end| steps.split_at(end)),
            None => ("", ""),
        };
        let step = step.replace("~1", "/").replace("~0", "~");
        let written = self.config.iter().find(|(key, _)| !fault.place.is_empty() && *key == step);
        let path = match written {
            Some((_, given)) => self.path_of(given) + rest,
            None => join(&self.path, "config") + &fault.place,
        };
        fault.into_problem(path)
    }

    /// The values of the inputs that no edge feeds, down to the ports' defaults. `wired` lists the fed places.
    pub(super) fn constants(
        &self,
        node_type: &NodeType,
        wired: &[Found],
        report: &mut dyn FnMut(Problem),
    ) -> Vec<(PortIx, Value)> {
        let mut constants = Vec::new();
        for (place, port) in node_type.inputs.iter().enumerate() {
            let ix = PortIx(place as u16);
            if wired.iter().any(|found| found.port == ix) {
                self.check_beside_edges(ix, port, wired, report);
            } else if let Some(text) = self.constant(ix, port, report) {
                constants.push((ix, Value::from_json(Bytes::from(text))));
            }
        }
        constants
    }

    fn constant(&self, ix: PortIx, port: &Port, report: &mut dyn FnMut(Problem)) -> Option<String> {
        let whole = self.given.get(&(ix, NO_PLACE));
        let given: Vec<_> = match whole {
            Some(given) => vec![given],
            None => self.given.range((ix, 0)..(ix, NO_PLACE)).map(|(_, given)| given).collect(),
        };
        let Some(first) = given.first() else {
            return port.default.as_ref().map(ToString::to_string);
        };
        let text = match whole {
            Some(given) => fit(given.value, port),
            None => {
                let one = Port { list: false, ..port.clone() };
                let parts: Result<Vec<_>, _> = given.iter().map(|given| fit(given.value, &one)).collect();
                parts.map(|parts| if port.list { format!("[{}]", parts.join(",")) } else { parts.concat() })
            }
        };
        match text.and_then(|text| checked(text, port)) {
            Ok(text) => Some(text),
            Err(problem) => {
                report(problem.at(self.path_of(first)));
                None
            }
        }
    }

    /// Places of a list may not come partly from edges and partly from values; a value would be lost.
    fn check_beside_edges(&self, ix: PortIx, port: &Port, wired: &[Found], report: &mut dyn FnMut(Problem)) {
        if !wired.iter().any(|found| found.port == ix && found.place != NO_PLACE) {
            return;
        }
        let places: BTreeSet<_> = wired.iter().filter(|found| found.port == ix).map(|found| found.place).collect();
        for ((_, place), given) in self.given.range((ix, 0)..(ix, NO_PLACE)) {
            if !places.contains(place) {
                let message =
                    format!("Input \"{}\" is fed by edges and by a value; that is not supported yet.", port.id);
                let fix = "Bring the value in through an input node and an edge.";
                report(Problem::new(rule::NOT_SUPPORTED_YET, message, fix).at(self.path_of(given)));
            }
        }
    }

    fn path_of(&self, given: &Given<'_>) -> String {
        let level = if given.level.is_empty() { self.path.clone() } else { join(&self.path, given.level) };
        join(&level, &given.key)
    }
}

/// What a key of a node's values stands for.
enum Meaning<'a> {
    Port(Found),
    Key,
    /// A port that the config's schema names as well.
    KeyAndPort(Found),
    KeyAlias(&'a str),
}

impl<'a> Meaning<'a> {
    fn of(node_type: &'a NodeType, inputs: &Side<'a>, key: &str) -> Self {
        // A key is never a handle: it has no prefix.
        let port = inputs.find(key).filter(|_| !key.starts_with(inputs.prefix));
        match (port, node_type.config_aliases.get(key)) {
            (Some(found), _) if is_schema_key(node_type, key) => Meaning::KeyAndPort(found),
            (Some(found), _) => Meaning::Port(found),
            (None, Some(alias)) => Meaning::KeyAlias(alias),
            (None, None) => Meaning::Key,
        }
    }

    fn is_alias(&self) -> bool {
        match self {
            Meaning::Port(found) | Meaning::KeyAndPort(found) => found.is_alias,
            Meaning::Key => false,
            Meaning::KeyAlias(_) => true,
        }
    }

    fn name(&self, inputs: &Side<'_>) -> String {
        match self {
            Meaning::Port(found) | Meaning::KeyAndPort(found) => inputs.port(found.port).id.to_string(),
            Meaning::Key => String::new(),
            Meaning::KeyAlias(key) => (*key).to_owned(),
        }
    }
}

/// Whether a key directly in `data` is a value. A type whose schema names its keys knows; else every key counts that
/// is not known to be something else.
fn is_bare_value(node_type: &NodeType, key: &str) -> bool {
    if STRUCTURAL_KEYS.contains(&key) {
        return false;
    }
    let names_keys = node_type.config_schema.as_ref().is_some_and(|schema| schema.get("properties").is_some());
    !names_keys
        || is_schema_key(node_type, key)
        || node_type.config_aliases.contains_key(key)
        || Side::inputs(node_type).find(key).is_some()
}

pub(super) fn is_schema_key(node_type: &NodeType, key: &str) -> bool {
    let properties = node_type.config_schema.as_ref().and_then(|schema| schema.get("properties"));
    properties.is_some_and(|properties| properties.get(key).is_some())
}

/// Refuses a value that is too long for a row, or that no reader of JSON could take in.
pub(super) fn checked(text: String, port: &Port) -> Result<String, Problem> {
    if text.len() > INLINE_VALUE_BYTES_MAX {
        let message = format!("The value has {} bytes; at most {INLINE_VALUE_BYTES_MAX} are kept.", text.len());
        let fix = match (port.port_type, port.list) {
            (PortType::Text | PortType::Number | PortType::Boolean, false) => "Give a shorter one.",
            (port_type, _) if port_type.is_media() => "Give of each file only digest and mediaType, or fewer files.",
            _ => "Upload it as JSON (POST /api/v1/media/upload) and give what the answer shows.",
        };
        return Err(Problem::new(rule::VALUE_TOO_LARGE, message, fix));
    }
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let message = format!("The value cannot be read: {error}.");
            Err(Problem::new(rule::BAD_CONFIG, message, "Correct the number or the text."))
        }
    }
}

/// Makes a value written by a person into what a port takes: numbers become texts where texts are taken, and one
/// value becomes a list of one.
pub(super) fn fit(value: Json<'_>, port: &Port) -> Result<String, Problem> {
    let misfit = |value: Json<'_>| {
        let message = format!("\"{}\" takes {}, not {}.", port.id, port.port_type, shown(value.0));
        Problem::new(rule::BAD_CONFIG, message, format!("Give a value of type {}.", port.port_type))
    };
    let one = |value: Json<'_>| fit_one(value, port.port_type).ok_or_else(|| misfit(value));
    match (port.list, value.is_array()) {
        (false, _) => one(value),
        (true, false) => Ok(format!("[{}]", one(value)?)),
        (true, true) => {
            let parts: Result<Vec<_>, _> = value.elements().map(one).collect();
            Ok(format!("[{}]", parts?.join(",")))
        }
    }
}

/// A value as a node gives it at an output: nothing is made into what the port takes. What was uploaded may be the whole list.
pub(super) fn as_given(value: Json<'_>, port: &Port) -> Result<String, Problem> {
    let is_list = port.list && value.is_array();
    if port.list && !port.port_type.is_media() && large_list::is_upload(value) {
        return Ok(value.0.to_owned());
    }
    let is_text = |value: Json<'_>| value.0.starts_with('"');
    let wrong = match port.port_type {
        PortType::Text if is_list => value.elements().find(|item| !is_text(*item)),
        PortType::Text => Some(value).filter(|value| !is_text(*value)),
        _ => None,
    };
    match wrong.or_else(|| Some(value).filter(|_| port.list && !is_list)) {
        None => fit(value, port),
        Some(wrong) => {
            let what = if port.list { "a list of " } else { "" };
            let message = format!("\"{}\" gives {what}{}, not {}.", port.id, port.port_type, shown(wrong.0));
            Err(Problem::new(rule::BAD_CONFIG, message, format!("Give {what}values of type {}.", port.port_type)))
        }
    }
}

fn fit_one(value: Json<'_>, port_type: PortType) -> Option<String> {
    let is_text = value.0.starts_with('"');
    let fits = match port_type {
        PortType::Any | PortType::Json => true,
        PortType::Text if is_text => true,
        PortType::Text => return (!value.is_null()).then(|| quoted(value.0)),
        PortType::Number => value.is_number(),
        PortType::Boolean => value.is_boolean(),
        // A reference, or its address alone.
        PortType::Image | PortType::Video | PortType::Audio | PortType::File => is_text || value.is_object(),
    };
    fits.then(|| value.0.to_owned())
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
