//! `utility:csv_parse`: rows of a CSV text.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Answer;
use super::call::{Call, output, refused};
use crate::limits::ROWS_MAX;
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "delimiter": {"type": "string", "default": ",", "description": "What stands between two fields: one character, or tab."},
        "header": {"type": "boolean", "default": true, "description": "Whether the first row names the columns; rows are objects then, else lists."},
        "trim": {"type": "boolean", "default": false, "description": "Whether blanks around fields are taken off."},
    });
    Manifest::pure("utility:csv_parse", "Read CSV", "Gives the rows of a CSV text; every field is a text.")
        .ports([Port::new("text", PortType::Text).required()], [Port::new("rows", PortType::Json)])
        .config(&[], properties)
        .aliases(&[("csv", "text"), ("file", "text")], &[], &[])
        .example(
            "With a header",
            json!({}),
            json!({"text": "name,note\nAda,\"first, of all\"\n"}),
            json!({"rows": [{"name": "Ada", "note": "first, of all"}]}),
        )
}

#[derive(Deserialize)]
struct Config {
    delimiter: Option<String>,
    #[serde(default = "yes")]
    header: bool,
    #[serde(default)]
    trim: bool,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { delimiter, header, trim } = call.config()?;
    let text = call.text("text")?;
    let trim = if trim { csv::Trim::All } else { csv::Trim::None };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter_byte(delimiter.as_deref())?)
        .has_headers(header)
        .trim(trim)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let columns = if header { columns(&mut reader)? } else { Vec::new() };
    let mut rows: Vec<Value> = Vec::new();
    for record in reader.records() {
        call.go_on()?;
        let record = record.map_err(|error| broken(&error))?;
        if rows.len() == ROWS_MAX {
            return Err(refused("rows_too_many", format!("the text has more than {ROWS_MAX} rows; split it")));
        }
        rows.push(match header {
            true => columns.iter().cloned().zip(record.iter().map(Value::from)).collect::<Map<_, _>>().into(),
            false => record.iter().map(Value::from).collect(),
        });
    }
    Ok(vec![output("rows", rows)])
}

fn columns(reader: &mut csv::Reader<&[u8]>) -> Result<Vec<String>, Failure> {
    let columns: Vec<String> =
        reader.headers().map_err(|error| broken(&error))?.iter().map(ToOwned::to_owned).collect();
    let mut sorted: Vec<&String> = columns.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let message = format!("two columns are called {:?}; rename one, or set header to false", pair[0]);
            Err(refused("csv_columns_alike", message))
        }
        None => Ok(columns),
    }
}

/// The one byte between fields.
pub(super) fn delimiter_byte(delimiter: Option<&str>) -> Result<u8, Failure> {
    match delimiter.unwrap_or(",").as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err(refused("config_invalid", "delimiter is no single character; write , or ; or tab")),
    }
}

fn broken(error: &csv::Error) -> Failure {
    refused("csv_invalid", format!("the text is no CSV: {error}; correct what writes it"))
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn parse(config: Value, text: &str) -> Given {
        Given::config(config).one("text", json!(text))
    }

    #[test]
    fn fields_may_hold_anything() {
        let text = "\u{feff}a;b\r\n\"x;\"\"y\"\"\nz\"; 1 \r\n";
        let config = json!({"delimiter": ";", "trim": true});
        assert_eq!(one(run, parse(config, text)), json!([{"a": "x;\"y\"\nz", "b": "1"}]));
        assert_eq!(one(run, parse(json!({"header": false, "delimiter": "tab"}), "a\tb")), json!([["a", "b"]]));
        assert_eq!(one(run, parse(json!({}), "")), json!([]));
    }

    #[test]
    fn broken_texts_are_refused() {
        assert_eq!(code(run, parse(json!({}), "a,b\n1")), "csv_invalid");
        assert_eq!(code(run, parse(json!({}), "a,a\n1,2")), "csv_columns_alike");
        for delimiter in ["", "ab", "\"", "\n", "ü"] {
            assert_eq!(code(run, parse(json!({"delimiter": delimiter}), "a")), "config_invalid", "{delimiter:?}");
        }
        assert_eq!(code(run, parse(json!({"header": false}), &"a\n".repeat(ROWS_MAX + 1))), "rows_too_many");
    }
}
