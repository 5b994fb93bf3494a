//! One spelling for all texts of the same JSON value, so that a body can be compared by its hash.

use super::cursor::Cursor;
use super::scan::decoded;

/// Writes JSON with sorted keys, without white space, with strings in one spelling. Numbers stay as their text.
///
/// Expects valid JSON whose depth was checked; anything else ends the output early, which is only a different hash.
pub(crate) fn canonical(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    value(&mut Cursor::new(text), &mut out);
    out
}

fn value(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Option<()> {
    match cursor.peek()? {
        b'{' => object(cursor, out),
        b'[' => array(cursor, out),
        b'"' => string(cursor.string()?, out),
        _ => out.extend_from_slice(cursor.scalar()?),
    }
    Some(())
}

fn object(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    cursor.skip();
    let mut members = Vec::new();
    let mut values = Vec::new();
    while let Some(byte) = cursor.peek() {
        match byte {
            b'"' => {
                let Some(key) = cursor.string() else { break };
                if cursor.peek() == Some(b':') {
                    cursor.skip();
                }
                let start = values.len();
                if value(cursor, &mut values).is_none() {
                    break;
                }
                members.push((decoded(key), key, start..values.len()));
            }
            b',' => cursor.skip(),
            _ => {
                cursor.skip();
                break;
            }
        }
    }
    members.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    out.push(b'{');
    for (at, (_, key, range)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(key, out);
        out.push(b':');
        out.extend_from_slice(&values[range]);
    }
    out.push(b'}');
}

fn array(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    cursor.skip();
    out.push(b'[');
    while let Some(byte) = cursor.peek() {
        match byte {
            b']' => {
                cursor.skip();
                break;
            }
            b',' => {
                cursor.skip();
                out.push(b',');
            }
            _ => {
                if value(cursor, out).is_none() {
                    break;
                }
            }
        }
    }
    out.push(b']');
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    if text.contains(&b'\\')
        && let Ok(content) = serde_json::from_slice::<String>(text)
        && let Ok(spelling) = serde_json::to_vec(&content)
    {
        out.extend_from_slice(&spelling);
    } else {
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(String::from_utf8(canonical(text.as_bytes())).unwrap(), expected);
    }

    #[test]
    fn one_value_has_one_spelling() {
        check(
            " { \"b\" : [ 1 , 2.50 , { \"d\":null,\"c\":true } ], \"a\":\"x\\u0041\\/\" } ",
            r#"{"a":"xA/","b":[1,2.50,{"c":true,"d":null}]}"#,
        );
        check("[]", "[]");
        check("{}", "{}");
        check("[[],{}]", "[[],{}]");
        check(r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#);
    }

    #[test]
    fn numbers_keep_their_text() {
        check("[12345678901234567890123,1.0,1e2]", "[12345678901234567890123,1.0,1e2]");
    }

    #[test]
    fn broken_text_ends() {
        for text in ["", "{", "[", "{\"a\"", "{\"a\":", "[1,", "[}", "{]", "\u{1F9F5}", "[\u{1F9F5}"] {
            let _ = canonical(text.as_bytes());
        }
    }
}
