//! The variables of a condition, from JSON.

use cel::{Context, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

use super::cost::Size;

/// What a condition sees: its variables by name.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    variables: Vec<(&'static str, Value)>,
    named: Vec<(String, Value)>,
    size: Size,
}

impl Seen {
    /// Adds a variable.
    pub fn set(&mut self, name: &'static str, value: &Json) {
        self.measure(value);
        self.variables.push((name, read(value)));
    }

    /// The same, and one item of a list.
    pub fn with_item(&self, item: &Json, index: usize) -> Self {
        let mut seen = self.clone();
        seen.set("item", item);
        seen.set("index", &Json::from(index));
        seen
    }

    /// Adds a variable whose name the graph gives.
    pub fn set_named(&mut self, name: &str, value: &Json) {
        self.measure(value);
        self.named.push((name.to_owned(), read(value)));
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn declare(&self, context: &mut Context<'_, '_>) {
        let named = self.named.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in self.variables.iter().map(|(name, value)| (*name, value)).chain(named) {
            context.add_variable_from_value(name, value.clone());
        }
    }

    fn measure(&mut self, value: &Json) {
        let size = size_of(value);
        self.size.items = self.size.items.max(size.items);
        self.size.bytes = self.size.bytes.saturating_add(size.bytes);
    }
}

fn size_of(value: &Json) -> Size {
    let whole = |size: Size, part: Size| Size { items: size.items.max(part.items), bytes: size.bytes + part.bytes };
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => Size { items: 0, bytes: 8 },
        Json::String(text) => Size { items: 0, bytes: text.len() as u64 + 8 },
        Json::Array(list) => list.iter().map(size_of).fold(Size { items: list.len() as u64, bytes: 8 }, whole),
        Json::Object(map) => map.iter().fold(Size { items: map.len() as u64, bytes: 8 }, |size, (key, value)| {
            let value = size_of(value);
            whole(size, Size { bytes: value.bytes + key.len() as u64, ..value })
        }),
    }
}

fn read(value: &Json) -> Value {
    // Nothing of JSON is refused.
    cel::to_value(Seeing(value)).unwrap_or(Value::Null)
}

/// JSON as conditions see it: whole numbers are `int` where they fit, all others `double`.
struct Seeing<'a>(&'a Json);

impl Serialize for Seeing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(it) => serializer.serialize_bool(*it),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => serializer.serialize_i64(whole),
                None => serializer.serialize_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|item| seq.serialize_element(&Seeing(item)))?;
                seq.end()
            }
            Json::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.len()))?;
                object.iter().try_for_each(|(key, value)| map.serialize_entry(key, &Seeing(value)))?;
                map.end()
            }
        }
    }
}
