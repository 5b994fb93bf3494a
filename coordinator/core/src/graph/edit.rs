//! Small changes to a document: one node's values, where nodes lie. All else stays byte for byte (E31).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Draft;
use super::json::{self, Json};
use super::problem::Problem;
use super::size::number;

/// What to change of one node. Objects are JSON texts as a client sent them.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodePatch<'a> {
    /// Keys of its config to set, and with `null` to remove. They are set in `params`, too, so that both say the same.
    pub config: Option<&'a [u8]>,
    /// Keys of its `params`, likewise; they go before what comes from `config`.
    pub params: Option<&'a [u8]>,
    /// What people call it.
    pub label: Option<&'a str>,
    /// Where it lies: an object with the numbers `x` and `y`.
    pub position: Option<&'a [u8]>,
}

/// Why a document is not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// It has no node of this id.
    NodeNotFound(String),
    /// A part of the change is not what it must be: its name, and what is wrong.
    BadField(&'static str, String),
    /// The document would not be one any more.
    Refused(Vec<Problem>),
}

/// A place on the canvas: inside the node that the node lies in, else on the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right, in pixels.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

impl Draft {
    /// The same document with one node changed.
    ///
    /// # Errors
    /// There is no such node, the patch is malformed, or what comes out breaks a bound of documents.
    pub fn patched(&self, node_id: &str, patch: NodePatch<'_>) -> Result<Draft, EditError> {
        let place = self.place_of(node_id).ok_or_else(|| EditError::NodeNotFound(node_id.to_owned()))?;
        let [config, params, position] =
            [("config", patch.config), ("params", patch.params), ("position", patch.position)]
                .map(|(name, text)| text.map(|text| object(name, text)).transpose());
        let (config, params, position) = (config?, params?, position?);
        if let Some(position) = &position {
            let is_number = |key| Json(position).get(key).is_some_and(Json::is_number);
            if !is_number("x") || !is_number("y") {
                return Err(EditError::BadField("position", "must have the numbers x and y".into()));
            }
        }
        self.rewritten(|at, node| {
            let mut changes: Vec<(&str, String)> = Vec::new();
            if at != place {
                return changes;
            }
            let data = node.get("data").filter(|data| data.is_object());
            let mut inner: Vec<(&str, String)> = Vec::new();
            if let Some(config) = &config {
                inner.push(("config", merged(data.and_then(|data| data.get("config")), &[Json(config)])));
            }
            let mirrored: Vec<Json<'_>> = config.iter().chain(&params).map(|text| Json(text)).collect();
            let old_params = data.and_then(|data| data.get("params")).filter(|params| params.is_object());
            let new_params = merged(old_params, &mirrored);
            if !mirrored.is_empty() && (old_params.is_some() || new_params != "{}") {
                inner.push(("params", new_params));
            }
            if let Some(label) = patch.label {
                inner.push(("label", serde_json::Value::from(label).to_string()));
            }
            if !inner.is_empty() {
                changes.push(("data", with_members(data.unwrap_or(Json("{}")), &inner)));
            }
            changes.extend(position.iter().map(|position| ("position", position.clone())));
            changes
        })
    }

    /// The same document with nodes at other places, by their place in the array of nodes.
    ///
    /// # Errors
    /// What comes out breaks a bound of documents.
    pub fn moved(&self, positions: &BTreeMap<usize, Point>) -> Result<Draft, EditError> {
        self.rewritten(|at, _| match positions.get(&at) {
            Some(Point { x, y }) => vec![("position", format!(r#"{{"x":{},"y":{}}}"#, number(*x), number(*y)))],
            None => Vec::new(),
        })
    }

    /// The text of a node as it is kept.
    pub fn node_text(&self, node_id: &str) -> Option<&str> {
        self.place_of(node_id).map(|place| self.nodes[place].json().0)
    }

    /// A node as it is kept, but with what it gives: `output` is a JSON object, by port.
    pub fn node_with_output(&self, node_id: &str, output: &str) -> Option<String> {
        let node = Json(self.node_text(node_id)?);
        let data = node.get("data").filter(|data| data.is_object()).unwrap_or(Json("{}"));
        let data = with_members(data, &[("output", output.to_owned())]);
        Some(with_members(node, &[("data", data)]))
    }

    fn place_of(&self, node_id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| &*node.id == node_id)
    }

    /// Sets members of nodes: `changes` says which, for each node by its place.
    fn rewritten<'c>(&self, changes: impl Fn(usize, Json<'_>) -> Vec<(&'c str, String)>) -> Result<Draft, EditError> {
        let mut nodes = String::with_capacity(self.stored().nodes.len() + 256);
        nodes.push('[');
        for (place, node) in self.nodes.iter().enumerate() {
            if place > 0 {
                nodes.push(',');
            }
            let changes = changes(place, node.json());
            match changes.is_empty() {
                true => nodes.push_str(node.json().0),
                false => nodes.push_str(&with_members(node.json(), &changes)),
            }
        }
        nodes.push(']');
        let draft = Draft::parse(nodes.as_bytes(), &self.stored().edges);
        draft.and_then(|draft| draft.with_policy(&self.stored().policy)).map_err(EditError::Refused)
    }
}

/// A part of a patch, checked.
fn object(name: &'static str, text: &[u8]) -> Result<String, EditError> {
    let text = json::compact(text).map_err(|fault| EditError::BadField(name, fault.message("it")))?;
    match Json(&text).is_object() {
        true => Ok(text),
        false => Err(EditError::BadField(name, "must be an object".into())),
    }
}

/// An object with members set; those that it has stay where they are, new ones come last.
fn with_members(object: Json<'_>, set: &[(&str, String)]) -> String {
    let new = |key: &str| set.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    let mut members: Vec<(Cow<'_, str>, &str)> = Vec::new();
    let mut seen = Vec::new();
    for member in object.members() {
        members.push((Cow::Borrowed(member.raw_key), new(&member.key).unwrap_or(member.value.0)));
        seen.push(member.key);
    }
    let fresh = set.iter().filter(|(name, _)| !seen.iter().any(|key| key == name));
    members.extend(fresh.map(|(name, value)| (Cow::Owned(format!("\"{name}\"")), value.as_str())));
    written(&members)
}

/// An object with the members of others laid over it, the last above all; `null` takes one away.
fn merged(old: Option<Json<'_>>, over: &[Json<'_>]) -> String {
    let old = old.filter(|old| old.is_object()).unwrap_or(Json("{}"));
    // In the order in which their keys first come.
    let mut places: BTreeMap<Cow<'_, str>, usize> = BTreeMap::new();
    let mut members: Vec<(Cow<'_, str>, Option<&str>)> = Vec::new();
    for (layer, object) in std::iter::once(old).chain(over.iter().copied()).enumerate() {
        for member in object.members() {
            // What is there already may well be null.
            let value = (layer == 0 || !member.value.is_null()).then_some(member.value.0);
            match places.get(&member.key) {
                Some(place) => members[*place].1 = value,
                None => {
                    places.insert(member.key, members.len());
                    members.push((Cow::Borrowed(member.raw_key), value));
                }
            }
        }
    }
    let kept: Vec<_> = members.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    written(&kept)
}

fn written(members: &[(Cow<'_, str>, &str)]) -> String {
    let mut out = String::new();
    json::write_object(&mut out, members.iter().map(|(key, value)| (&**key, *value)));
    out
}
