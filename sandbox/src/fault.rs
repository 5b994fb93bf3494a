//! What is wrong with the text of a script, and where.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// What a sandbox cannot follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands in the document, as a JSON pointer; empty for the document itself.
    place: String,
    why: String,
}

impl Fault {
    pub(crate) fn at(place: &str, why: String) -> Self {
        Self { place: place.to_owned(), why }
    }

    /// The same where the document lies in this field of another.
    pub(crate) fn inside(self, field: &str) -> Self {
        Self { place: format!("/{}{}", escaped(field), self.place), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place[..] {
            "" => write!(f, "{}", self.why),
            place => write!(f, "{place}: {}", self.why),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads JSON; what is wrong has its place in the document, and its line.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Fault> {
    let json = &mut serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut *json).map_err(|error| Fault {
        place: error.path().iter().map_while(field).map(|field| format!("/{field}")).collect(),
        why: error.inner().to_string(),
    })?;
    json.end().map_err(|error| Fault::at("", error.to_string()))?;
    Ok(value)
}

/// None for what is not known because the text ends before it.
fn field(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(escaped(key)),
        Segment::Enum { variant } => Some(escaped(variant)),
        Segment::Unknown => None,
    }
}

/// A field's name as a part of a JSON pointer (RFC 6901).
fn escaped(field: &str) -> String {
    field.replace('~', "~0").replace('/', "~1")
}
