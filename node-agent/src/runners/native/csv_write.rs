//! `utility:csv_write`: a CSV text of rows.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::call::{Call, as_text, output, refused};
use super::csv_parse::delimiter_byte;
use crate::limits::ROWS_MAX;
use crate::runners::{ErrorClass, Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "columns": {"type": "array", "items": {"type": "string"}, "description": "The columns, in order; without them, all names in the rows, by alphabet."},
        "delimiter": {"type": "string", "default": ",", "description": "What stands between two fields: one character, or tab."},
        "header": {"type": "boolean", "default": true, "description": "Whether the first row names the columns."},
        "spreadsheet": {"type": "boolean", "default": false, "description": "Whether texts that a spreadsheet would run as formulas get an apostrophe before them."},
    });
    Manifest::pure("utility:csv_write", "Write CSV", "Makes a CSV text of rows, which are objects or lists.")
        .ports([Port::new("rows", PortType::Json).required()], [Port::new("text", PortType::Text)])
        .config(&[], properties)
        .aliases(&[], &[("csv", "text"), ("file", "text")], &[])
        .example(
            "Two columns",
            json!({"columns": ["name", "score"]}),
            json!({"rows": [{"score": 7, "name": "Ada, the first"}, {"name": "Bo"}]}),
            json!({"text": "name,score\n\"Ada, the first\",7\nBo,\n"}),
        )
}

#[derive(Deserialize)]
struct Config {
    columns: Option<Vec<String>>,
    delimiter: Option<String>,
    #[serde(default = "yes")]
    header: bool,
    #[serde(default)]
    spreadsheet: bool,
}

pub(super) fn run(call: &Call) -> Answer {
    let config: Config = call.config()?;
    let Value::Array(rows) = call.needed("rows")? else {
        return Err(refused("rows_invalid", "rows is no list; give a list of objects or of lists"));
    };
    if rows.len() > ROWS_MAX {
        return Err(refused("rows_too_many", format!("there are more than {ROWS_MAX} rows; split them")));
    }
    let columns = match &config.columns {
        Some(columns) => columns.clone(),
        None => rows
            .iter()
            .filter_map(Value::as_object)
            .flat_map(|row| row.keys())
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    };
    let delimiter = delimiter_byte(config.delimiter.as_deref())?;
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
    let mut write = |record: Vec<String>| writer.write_record(record).map_err(|error| defect(&error));
    if config.header && !columns.is_empty() {
        write(columns.iter().map(|column| field(Value::from(column.as_str()), config.spreadsheet)).collect())?;
    }
    for (place, row) in rows.into_iter().enumerate() {
        call.go_on()?;
        write(record(place, row, &columns, config.spreadsheet)?)?;
    }
    let text = writer.into_inner().map_err(|error| defect(error.error()))?;
    let text = String::from_utf8(text).map_err(|error| defect(&error))?;
    Ok(vec![output("text", text)])
}

fn record(place: usize, row: Value, columns: &[String], is_for_spreadsheet: bool) -> Result<Vec<String>, Failure> {
    let values: Vec<Value> = match row {
        Value::Object(mut row) => columns.iter().map(|column| row.remove(column).unwrap_or_default()).collect(),
        Value::Array(row) => row,
        _ => {
            let message = format!("row {} is no object and no list; make it one", place + 1);
            return Err(refused("rows_invalid", message));
        }
    };
    Ok(values.into_iter().map(|value| field(value, is_for_spreadsheet)).collect())
}

fn field(value: Value, is_for_spreadsheet: bool) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if is_for_spreadsheet && text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        value => as_text(value),
    }
}

fn defect(error: &dyn std::fmt::Display) -> Failure {
    let message = format!("the rows could not be written: {error}; report this as a defect");
    Failure::new(ErrorClass::Internal, "csv_not_written", message)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::super::csv_parse;
    use super::super::tests::{Given, code, one};
    use super::*;

    fn write(config: Value, rows: Value) -> Given {
        Given::config(config).one("rows", rows)
    }

    #[test]
    fn what_is_written_is_read_alike() {
        let rows = json!([{"a": "x\"y\nz", "b": ""}, {"a": ",", "b": "ü"}]);
        let text = one(run, write(json!({}), rows.clone()));
        assert_eq!(one(csv_parse::run, Given::config(json!({})).one("text", text)), rows);
    }

    #[test]
    fn rows_may_be_lists_and_values_anything() {
        let rows = json!([[1, null, true, {"x": 1}], ["=1+1"]]);
        assert_eq!(one(run, write(json!({"header": false}), rows.clone())), json!("1,,true,\"{\"\"x\"\":1}\"\n=1+1\n"));
        let safe = one(run, write(json!({"spreadsheet": true, "delimiter": ";"}), rows));
        assert!(safe.as_str().unwrap().ends_with("'=1+1\n"), "{safe}");
        assert_eq!(one(run, write(json!({}), json!([]))), json!(""));
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(code(run, write(json!({}), json!({"a": 1}))), "rows_invalid");
        assert_eq!(code(run, write(json!({}), json!([1]))), "rows_invalid");
        assert_eq!(code(run, write(json!({}), json!(vec![json!([]); ROWS_MAX + 1]))), "rows_too_many");
    }
}
