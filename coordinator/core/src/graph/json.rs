//! JSON as text. Graphs are kept byte for byte (E31), so they are never turned into a tree and written back: the text
//! is checked once, loses its white space, and is cut into slices from then on. Nothing in here recurses.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::problem::join;
use crate::limits::GRAPH_JSON_DEPTH_MAX;

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    NotUtf8,
    TooDeep,
    /// What the parser said, with line and column.
    Syntax(String),
    /// The place of the object, as a JSON pointer, and the key.
    DuplicateKey(String, String),
}

impl Fault {
    /// What is wrong, in one sentence, about a text called `name`.
    pub(crate) fn message(&self, name: &str) -> String {
        match self {
            Fault::NotUtf8 => format!("{name} is not UTF-8."),
            Fault::TooDeep => format!("{name} is nested deeper than {GRAPH_JSON_DEPTH_MAX} levels."),
            Fault::Syntax(error) => format!("{name} is not JSON: {error}."),
            Fault::DuplicateKey(path, key) => format!("The object at {name}{path} has the key \"{key}\" twice."),
        }
    }
}

/// Checks a text (UTF-8, depth, grammar, no key twice in one object) and takes the white space between tokens away.
/// All else stays as it is: the order of keys, the text of numbers, escapes.
pub(crate) fn compact(text: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::NotUtf8)?;
    // The depth comes first: no parser sees a text that could cost it its stack.
    if is_too_deep(text.as_bytes()) {
        return Err(Fault::TooDeep);
    }
    serde_json::from_str::<&RawValue>(text).map_err(|error| Fault::Syntax(error.to_string()))?;
    squeeze(text)
}

fn is_too_deep(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > GRAPH_JSON_DEPTH_MAX {
            return true;
        }
    }
    false
}

enum Frame {
    /// Where this object's keys begin.
    Object(usize),
    /// The place of the current element.
    Array(usize),
}

fn squeeze(text: &str) -> Result<String, Fault> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut frames = Vec::new();
    let mut keys: Vec<Cow<'_, str>> = Vec::new();
    // What lies between `copied` and `at` is owed to `out`.
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let start = at;
        at += 1;
        match bytes[start] {
            byte if byte.is_ascii_whitespace() => {
                out.push_str(&text[copied..start]);
                copied = at;
            }
            b'{' => frames.push(Frame::Object(keys.len())),
            b'[' => frames.push(Frame::Array(0)),
            b',' => {
                if let Some(Frame::Array(place)) = frames.last_mut() {
                    *place += 1;
                }
            }
            b'"' => {
                at = string_end(bytes, start);
                // Only a key stands before a colon.
                if bytes[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':') {
                    let token = &text[start..at];
                    let bad = || Fault::Syntax(format!("the key {token} has a bad escape"));
                    keys.push(unescape(token).ok_or_else(bad)?);
                }
            }
            b'}' | b']' => {
                if let Some(Frame::Object(first)) = frames.pop() {
                    if let Some(key) = twice(&mut keys[first..]) {
                        return Err(Fault::DuplicateKey(pointer(&frames, &keys[..first]), key));
                    }
                    keys.truncate(first);
                }
            }
            _ => {}
        }
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

fn twice(keys: &mut [Cow<'_, str>]) -> Option<String> {
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string())
}

fn pointer(frames: &[Frame], keys: &[Cow<'_, str>]) -> String {
    let mut path = String::new();
    for (depth, frame) in frames.iter().enumerate() {
        path = match frame {
            Frame::Array(place) => format!("{path}/{place}"),
            Frame::Object(_) => {
                // The key being read is the last one before those of the next object inside.
                let inner = frames[depth + 1..].iter().find_map(|frame| match frame {
                    Frame::Object(first) => Some(*first),
                    Frame::Array(_) => None,
                });
                join(&path, &keys[inner.unwrap_or(keys.len()) - 1])
            }
        };
    }
    path
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of the whole value at the start of a valid, compact text.
fn value_end(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            // A number or a word ends where what holds it goes on.
            b',' | b']' | b'}' if depth == 0 => return at,
            _ if depth > 0 => {}
            _ => {
                let end = bytes[at..].iter().position(|byte| matches!(byte, b',' | b']' | b'}'));
                return end.map_or(bytes.len(), |length| at + length);
            }
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    at
}

fn unescape(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A value inside a text that [`compact`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Json<'a>(pub(crate) &'a str);

/// One key of an object, with its value.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// The key as it is written, with quotes and escapes.
    pub(crate) raw_key: &'a str,
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Json<'a>,
}

impl<'a> Json<'a> {
    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(crate) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(crate) fn is_boolean(self) -> bool {
        matches!(self.0, "true" | "false")
    }

    pub(crate) fn is_number(self) -> bool {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// The text, if it is one that can be written in UTF-8.
    pub(crate) fn as_text(self) -> Option<Cow<'a, str>> {
        unescape(self.0)
    }

    pub(crate) fn as_number(self) -> Option<f64> {
        if self.is_number() { self.0.parse().ok() } else { None }
    }

    /// The members of an object in their order; none of anything else.
    pub(crate) fn members(self) -> impl Iterator<Item = Member<'a>> {
        let mut rest = self.0.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (raw_key, after) = rest.split_at(string_end(rest.as_bytes(), 0));
            let after = after.strip_prefix(':')?;
            let (value, after) = after.split_at(value_end(after.as_bytes()));
            rest = after.strip_prefix(',').unwrap_or_default();
            Some(Member { raw_key, key: unescape(raw_key)?, value: Json(value) })
        })
    }

    /// The elements of an array in their order; none of anything else.
    pub(crate) fn elements(self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = self.0.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (value, after) = rest.split_at(value_end(rest.as_bytes()));
            rest = after.strip_prefix(',').unwrap_or_default();
            Some(Json(value))
        })
    }

    /// The value of a key.
    pub(crate) fn get(self, key: &str) -> Option<Json<'a>> {
        self.members().find(|member| member.key == key).map(|member| member.value)
    }
}

/// Writes an object of members as they were written.
pub(crate) fn write_object<'a>(out: &mut String, members: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (place, (raw_key, value)) in members.enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(raw_key);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_white_space_goes() {
        let text = b" { \"a\\u0020b\" : [ 1.50e+2 , \" x \\\" y \" , { } ] ,\n\"c\":null } ";
        assert_eq!(compact(text).unwrap(), r#"{"a\u0020b":[1.50e+2," x \" y ",{}],"c":null}"#);
    }

    #[test]
    fn depth_is_refused_before_any_parser_sees_it() {
        let deep = "[".repeat(10_000_000);
        assert_eq!(compact(deep.as_bytes()), Err(Fault::TooDeep));
        let most = format!("{}{}", "[".repeat(GRAPH_JSON_DEPTH_MAX), "]".repeat(GRAPH_JSON_DEPTH_MAX));
        assert!(compact(most.as_bytes()).is_ok());
        assert!(compact(format!("\"{most}{most}\"").as_bytes()).is_ok(), "brackets in a text do not nest");
    }

    #[test]
    fn a_key_given_twice_is_named_with_its_place() {
        let text = br#"[{"x":1},{"data":{"config":[0,{"k":1,"\u006b":2}]}}]"#;
        let fault = Fault::DuplicateKey("/1/data/config/1".into(), "k".into());
        assert_eq!(compact(text), Err(fault));
        assert!(compact(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "[1,]", "{\"a\"}", "[1] [2]", "'a'", "01", "\"\u{1}\"", "nul"] {
            assert!(matches!(compact(text.as_bytes()), Err(Fault::Syntax(_))), "{text}");
        }
        assert_eq!(compact(b"\"\xff\""), Err(Fault::NotUtf8));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn compact_text_means_the_same_and_cuts_into_the_same_parts(value in any_json()) {
            let compacted = compact(serde_json::to_string_pretty(&value).unwrap().as_bytes()).unwrap();
            prop_assert_eq!(&compacted, &value.to_string());
            let json = Json(&compacted);
            match &value {
                serde_json::Value::Array(list) => {
                    let texts: Vec<_> = list.iter().map(ToString::to_string).collect();
                    prop_assert_eq!(json.elements().map(|part| part.0).collect::<Vec<_>>(), texts);
                }
                serde_json::Value::Object(map) => {
                    let texts: Vec<_> = map.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
                    let parts = json.members().map(|part| (part.key.into_owned(), part.value.0.to_owned()));
                    prop_assert_eq!(parts.collect::<Vec<_>>(), texts);
                }
                _ => prop_assert_eq!(json.elements().count() + json.members().count(), 0),
            }
        }

        #[test]
        fn random_bytes_are_refused_or_read_as_serde_reads_them(text in "[\\[\\]{}:,\"a\\\\u0-9 .eE+-]{0,24}") {
            match compact(text.as_bytes()) {
                Ok(out) => prop_assert!(serde_json::from_str::<&RawValue>(&out).is_ok()),
                Err(Fault::Syntax(_)) => {}
                Err(fault) => prop_assert!(matches!(fault, Fault::DuplicateKey(..)), "{:?}", fault),
            }
        }
    }
}
