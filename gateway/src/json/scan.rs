//! One linear pass over a body before anything parses it: nesting and duplicate keys, which `serde_json` does not mind.

use std::borrow::Cow;

use super::cursor::Cursor;
use crate::limits::JSON_DEPTH_MAX;

/// What is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// JSON pointer to the place.
    pub(crate) path: String,
    pub(crate) kind: FaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// More than [`JSON_DEPTH_MAX`] levels.
    TooDeep,
    /// A key twice in one object.
    DuplicateKey,
}

/// An object or array that is open at the cursor.
enum Open {
    /// Its keys begin at this index of the shared list.
    Object {
        keys_start: usize,
        is_key_next: bool,
    },
    Array {
        index: usize,
    },
}

/// Reports the first object or array that is nested too deep, or the first object with a duplicate key.
///
/// Text that is not JSON passes: the parser that comes next says what is wrong with it.
pub(crate) fn check(text: &[u8]) -> Result<(), Fault> {
    let mut cursor = Cursor::new(text);
    let mut open: Vec<Open> = Vec::new();
    // Keys of all open objects, those of the innermost last.
    let mut keys: Vec<Cow<'_, [u8]>> = Vec::new();
    while let Some(byte) = cursor.peek() {
        match byte {
            b'{' | b'[' => {
                if open.len() == JSON_DEPTH_MAX {
                    return Err(Fault { path: pointer(&open, &keys), kind: FaultKind::TooDeep });
                }
                cursor.skip();
                open.push(match byte {
                    b'{' => Open::Object { keys_start: keys.len(), is_key_next: true },
                    _ => Open::Array { index: 0 },
                });
            }
            b'}' | b']' => {
                cursor.skip();
                match open.pop() {
                    Some(Open::Object { keys_start, .. }) => {
                        if let Some(key) = duplicate(&mut keys[keys_start..]) {
                            let path = format!("{}/{}", pointer(&open, &keys[..keys_start]), escaped(&key));
                            return Err(Fault { path, kind: FaultKind::DuplicateKey });
                        }
                        keys.truncate(keys_start);
                    }
                    Some(Open::Array { .. }) => {}
                    None => return Ok(()),
                }
            }
            b'"' => {
                let Some(string) = cursor.string() else { return Ok(()) };
                if let Some(Open::Object { is_key_next: is_key_next @ true, .. }) = open.last_mut() {
                    *is_key_next = false;
                    keys.push(decoded(string));
                }
            }
            b',' => {
                cursor.skip();
                match open.last_mut() {
                    Some(Open::Object { is_key_next, .. }) => *is_key_next = true,
                    Some(Open::Array { index }) => *index += 1,
                    None => return Ok(()),
                }
            }
            b':' => cursor.skip(),
            _ => {
                if cursor.scalar().is_none() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The content of a JSON string. `a` and `\u0061` are the same key.
pub(super) fn decoded(string: &[u8]) -> Cow<'_, [u8]> {
    let content = &string[1..string.len() - 1];
    if !content.contains(&b'\\') {
        return Cow::Borrowed(content);
    }
    match serde_json::from_slice::<String>(string) {
        Ok(text) => Cow::Owned(text.into_bytes()),
        // Half of a surrogate pair, or no JSON at all: its own spelling is all there is.
        Err(_) => Cow::Borrowed(content),
    }
}

fn duplicate<'a>(keys: &mut [Cow<'a, [u8]>]) -> Option<Cow<'a, [u8]>> {
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}

/// The place at the cursor. The keys of open objects are still in their order: they are sorted when an object ends.
fn pointer(open: &[Open], keys: &[Cow<'_, [u8]>]) -> String {
    let mut path = String::new();
    for (depth, level) in open.iter().enumerate() {
        path.push('/');
        match level {
            Open::Array { index } => path.push_str(&index.to_string()),
            Open::Object { .. } => {
                // The key being read is the last one before the next inner object's first.
                let inner_start = open[depth + 1..].iter().find_map(|inner| match inner {
                    Open::Object { keys_start, .. } => Some(*keys_start),
                    Open::Array { .. } => None,
                });
                let end = inner_start.unwrap_or(keys.len());
                path.push_str(&end.checked_sub(1).map_or_else(String::new, |last| escaped(&keys[last])));
            }
        }
    }
    path
}

/// A key as a step of a JSON pointer (RFC 6901).
fn escaped(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<(String, FaultKind)> {
        check(text.as_bytes()).err().map(|fault| (fault.path, fault.kind))
    }

    #[test]
    fn plain_json_passes() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"a":1,"b":{"a":[1,{"a":2},{"a":3}]}}"#,
            r#"{"a":"{\"a\":1,\"a\":2}","b":[-1.5e+3,true,null]}"#,
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn duplicate_keys_are_named() {
        let key = |path: &str| Some((path.to_owned(), FaultKind::DuplicateKey));
        assert_eq!(fault(r#"{"a":1,"b":2,"a":3}"#), key("/a"));
        assert_eq!(fault(r#"{"nodes":[{},{"data":{"x/y":1,"x\/y":2}}]}"#), key("/nodes/1/data/x~1y"));
        assert_eq!(fault(r#"{"a":1,"\u0061":2}"#), key("/a"));
        assert_eq!(fault(r#"{"k":{"z":1},"q":[[{"m":0,"m":0}]]}"#), key("/q/0/0/m"));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(fault(&nested(JSON_DEPTH_MAX)), None);
        assert_eq!(fault(&nested(JSON_DEPTH_MAX + 1)), Some(("/0".repeat(JSON_DEPTH_MAX), FaultKind::TooDeep)));
        let (path, kind) = fault(&format!(r#"{{"nodes":[0,{}"#, "[".repeat(1_000_000))).unwrap();
        assert!(path.starts_with("/nodes/1/0/0"), "{path}");
        assert_eq!(kind, FaultKind::TooDeep);
    }

    #[test]
    fn text_that_is_no_json_is_left_to_the_parser() {
        for text in ["}", "]]", "{\"a", "\"\\", "{,,,:::}", "\u{1F9F5}", "[1 2 \"", "{{{{}}}}"] {
            let _ = check(text.as_bytes());
        }
    }
}
