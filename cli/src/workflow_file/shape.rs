//! What is wrong with the shape of a workflow's file, in the words of JSON and with its place.

use serde_json::Value;

/// A kind of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    Text,
}

/// The first fault of a text that is JSON and no workflow; `None` if it is no JSON.
pub(super) fn fault(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text).ok()?;
    document_fault(&document).err()
}

fn document_fault(document: &Value) -> Result<(), String> {
    expect(Some(document), Kind::Object, "")?;
    for list in ["nodes", "edges"] {
        expect(document.get(list), Kind::Array, &format!("/{list}"))?;
    }
    optional(document.get("policy"), Kind::Object, "/policy")?;
    for (place, node) in items(document, "nodes") {
        expect(Some(node), Kind::Object, &place)?;
        expect(node.get("id"), Kind::Text, &format!("{place}/id"))?;
        optional(node.get("type"), Kind::Text, &format!("{place}/type"))?;
        let data = node.get("data");
        data.map_or(Ok(()), |data| expect(Some(data), Kind::Object, &format!("{place}/data")))?;
        for key in ["label", "nodeType"] {
            optional(data.and_then(|data| data.get(key)), Kind::Text, &format!("{place}/data/{key}"))?;
        }
    }
    for (place, edge) in items(document, "edges") {
        expect(Some(edge), Kind::Object, &place)?;
        for key in ["source", "target"] {
            expect(edge.get(key), Kind::Text, &format!("{place}/{key}"))?;
        }
    }
    Ok(())
}

fn items<'a>(document: &'a Value, list: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
    let items = document[list].as_array().into_iter().flatten().enumerate();
    items.map(move |(number, item)| (format!("/{list}/{number}"), item))
}

fn optional(value: Option<&Value>, kind: Kind, place: &str) -> Result<(), String> {
    match value {
        None | Some(Value::Null) => Ok(()),
        value => expect(value, kind, place),
    }
}

fn expect(value: Option<&Value>, kind: Kind, place: &str) -> Result<(), String> {
    let Some(value) = value else { return Err(format!("there is nothing at {place}; expected {}", kind.name())) };
    let is_so = match kind {
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::Text => value.is_string(),
    };
    if is_so {
        return Ok(());
    }
    let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
    Err(format!("expected {}, found {}{at}", kind.name(), name_of(value)))
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::Text => "a string",
        }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
