//! `utility:json_path`: what a path of RFC 9535 selects.

use serde::Deserialize;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::Answer;
use super::call::{Call, output, refused};
use crate::limits::{PATH_BYTES_MAX, PATH_DESCENTS_MAX, PATH_FILTERS_MAX, PATH_UNIONS_MAX, SELECTED_MAX};
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "path": {"type": "string", "minLength": 1, "description": "A JSONPath of RFC 9535, for example $.items[*].name."},
        "first": {"type": "boolean", "default": false, "description": "Whether the first selected value is given, or all as a list. If nothing is selected, the output is closed or an empty list."},
    });
    Manifest::pure("utility:json_path", "Select from JSON", "Gives what a JSONPath selects.")
        .ports([Port::new("json", PortType::Json).required()], [Port::new("value", PortType::Any)])
        .config(&["path"], properties)
        .example(
            "Names",
            json!({"path": "$[?@.age > 20].name"}),
            json!({"json": [{"name": "Ada", "age": 36}, {"name": "Bo", "age": 7}]}),
            json!({"value": ["Ada"]}),
        )
        .example(
            "One value",
            json!({"path": "$.a.b", "first": true}),
            json!({"json": {"a": {"b": 1}}}),
            json!({"value": 1}),
        )
}

#[derive(Deserialize)]
struct Config {
    path: String,
    #[serde(default)]
    first: bool,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { path, first } = call.config()?;
    check_cost(&path)?;
    let parsed = JsonPath::parse(&path).map_err(|error| {
        let (place, what) = (error.position(), error.message());
        refused("path_invalid", format!("the path cannot be used at character {}: {what}; correct it", place + 1))
    })?;
    let json = call.needed("json")?;
    // A text at this port is JSON that was not read yet.
    let json = match json {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        json => json,
    };
    let selected = parsed.query(&json);
    if first {
        return Ok(selected.first().into_iter().map(|value| output("value", value.clone())).collect());
    }
    if selected.len() > SELECTED_MAX {
        return Err(refused(
            "selected_too_many",
            format!("the path selects more than {SELECTED_MAX} values; narrow it"),
        ));
    }
    Ok(vec![output("value", selected.iter().map(|value| (*value).clone()).collect::<Vec<_>>())])
}

/// Bounds what multiplies: a union gives a value several times, a descent all that lies below, a filter looks at each.
fn check_cost(path: &str) -> Result<(), Failure> {
    let costly = |what: String| Err(refused("path_too_costly", format!("the path has {what}; use several nodes")));
    if path.len() > PATH_BYTES_MAX {
        return costly(format!("{} bytes of at most {PATH_BYTES_MAX}", path.len()));
    }
    let (mut unions, mut descents, mut filters) = (0, 0, 0);
    let mut quote = None;
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, ',') => unions += 1,
            (None, '?') => filters += 1,
            (None, '.') if characters.next_if_eq(&'.').is_some() => descents += 1,
            (None, _) => {}
        }
    }
    let counted = [
        (unions, PATH_UNIONS_MAX, "commas"),
        (descents, PATH_DESCENTS_MAX, "descents"),
        (filters, PATH_FILTERS_MAX, "filters"),
    ];
    match counted.into_iter().find(|(count, most, _)| count > most) {
        Some((count, most, what)) => costly(format!("{count} {what} of at most {most}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, all, code, one};
    use super::*;

    fn select(path: &str, first: bool, value: Value) -> Given {
        Given::config(json!({"path": path, "first": first})).one("json", value)
    }

    #[test]
    fn paths_select() {
        let store = json!({"a": [{"p": 1}, {"p": 2}], "b": {"p": 3}});
        assert_eq!(one(run, select("$..p", false, store.clone())), json!([1, 2, 3]));
        assert_eq!(one(run, select("$.a[-1].p", true, store.clone())), json!(2));
        assert_eq!(one(run, select("$.none", false, store.clone())), json!([]));
        assert_eq!(all(run, select("$.none", true, store)), json!({}));
        assert_eq!(one(run, select("$.x", true, json!("{\"x\": null}"))), json!(null));
        assert_eq!(one(run, select("$['..,,??']", true, json!({"..,,??": 1}))), json!(1));
    }

    #[test]
    fn bad_and_costly_paths_are_refused() {
        for path in ["x", "$.", "$[", "$[?@.a ==]"] {
            assert_eq!(code(run, select(path, false, json!([]))), "path_invalid", "{path}");
        }
        let union = format!("${}", "[*,*]".repeat(40));
        let long = format!("$.{}", "x".repeat(PATH_BYTES_MAX));
        for path in ["$..*..*..*..*", &*union, &*long, "$[?@[?@[?@[?@[?@]]]]]"] {
            assert_eq!(code(run, select(path, false, json!([]))), "path_too_costly", "{path}");
        }
    }
}
