//! `utility:prompt_template`: a text with places that values are put into.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value as Item, escape_formatter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::call::{Call, output, refused};
use crate::limits::{TEMPLATE_DEPTH_MAX, TEMPLATE_FUEL};
use crate::runners::{Failure, Manifest, Port, PortType};

/// The variable that holds all values in the order of their edges.
const ALL_VALUES: &str = "vars";

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "template": {"type": "string", "description": "The text; {{name}} stands for a value, {% for %} and {% if %} work as in Jinja."},
        "names": {"type": "array", "items": {"type": "string"}, "description": "Names of the wired values, in the order of their edges."},
        "variables": {"type": "object", "description": "Values that the template may name besides."},
        "missing": {"enum": ["fail", "empty"], "default": "fail", "description": "What happens where a name has no value."},
    });
    Manifest::pure(
        "utility:prompt_template",
        "Text template",
        "Puts values into a text. A wired object gives its fields, any other value the name it has in names.",
    )
    .ports([Port::new("vars", PortType::Any).list()], [Port::new("text", PortType::Text)])
    .config(&["template"], properties)
    .aliases(&[("var{n}", "vars[]"), ("prompt{n}", "vars[]")], &[("prompt", "text")], &[])
    .example(
        "Named values",
        json!({"template": "{{subject}} in {{style|upper}}", "names": ["subject", "style"]}),
        json!({"vars": ["a cat", "oil"]}),
        json!({"text": "a cat in OIL"}),
    )
    .example(
        "A list",
        json!({"template": "{% for tag in tags %}#{{tag}} {% endfor %}"}),
        json!({"vars": [{"tags": ["sea", "tide"]}]}),
        json!({"text": "#sea #tide "}),
    )
}

#[derive(Deserialize)]
struct Config {
    template: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    #[serde(default)]
    missing: Missing,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Fail,
    Empty,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { template, names, variables, missing } = call.config()?;
    let values = named(variables, &names, call.values("vars")?)?;
    let environment = environment(missing);
    let compiled = environment.template_from_str(&template).map_err(|error| broken(&error))?;
    let rendered = compiled.render(Serde(&values)).map_err(|error| match error.kind() {
        ErrorKind::UndefinedError => unnamed(&error, compiled.undeclared_variables(false), &values),
        ErrorKind::OutOfFuel => {
            refused("template_too_long", "the template does too much work; shorten its loops or its values")
        }
        _ => broken(&error),
    })?;
    Ok(vec![output("text", rendered)])
}

/// The variables by name. A wired value beats one of the config, a later one an earlier one.
fn named(
    mut variables: BTreeMap<String, Value>,
    names: &[String],
    wired: Vec<Value>,
) -> Result<BTreeMap<String, Value>, Failure> {
    if names.len() > wired.len() {
        let message = format!(
            "names has {} names for {} values; wire the others, or take their names out",
            names.len(),
            wired.len()
        );
        return Err(refused("template_names_too_many", message));
    }
    for (place, value) in wired.iter().enumerate() {
        match (names.get(place), value) {
            (Some(name), value) => drop(variables.insert(name.clone(), value.clone())),
            (None, Value::Object(fields)) => variables.extend(fields.clone()),
            (None, _) => {}
        }
    }
    variables.entry(ALL_VALUES.to_owned()).or_insert(Value::Array(wired));
    Ok(variables)
}

fn environment(missing: Missing) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_recursion_limit(TEMPLATE_DEPTH_MAX);
    environment.set_formatter(format);
    environment.set_undefined_behavior(match missing {
        Missing::Fail => UndefinedBehavior::Strict,
        Missing::Empty => UndefinedBehavior::Chainable,
    });
    environment
}

/// Lists and objects become compact JSON, as everywhere that JSON becomes text.
fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Item) -> Result<(), Error> {
    let is_json = matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::None);
    match is_json.then(|| serde_json::to_string(value)) {
        Some(Ok(json)) => out.write_str(&json).map_err(Error::from),
        Some(Err(_)) | None => escape_formatter(out, state, value),
    }
}

fn broken(error: &Error) -> Failure {
    let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    refused("template_invalid", format!("the template cannot be used{line}: {}{detail}; correct it", error.kind()))
}

fn unnamed(error: &Error, names: impl IntoIterator<Item = String>, values: &BTreeMap<String, Value>) -> Failure {
    let missing: BTreeSet<String> = names.into_iter().filter(|name| !values.contains_key(name)).collect();
    if missing.is_empty() {
        return broken(error);
    }
    let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
    let message = format!("the template names {missing}, which has no value; wire it, or set it in variables");
    refused("template_value_missing", message)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn template(template: &str) -> Given {
        Given::config(json!({"template": template, "variables": {"x": "X", "n": 2, "o": {"b": [1, null]}}}))
    }

    #[test]
    fn values_are_put_in_as_text() {
        assert_eq!(
            one(run, template("{{x}}{{n + 1}} {{o}} {{o.b[1]}} <{{x}}>")),
            json!(r#"X3 {"b":[1,null]} null <X>"#)
        );
        assert_eq!(one(run, template("{{vars|length}}").list("vars", json!([1, 2]))), json!("2"));
        assert_eq!(one(run, template("{{x}}").list("vars", json!([{"x": "wired"}]))), json!("wired"));
        assert_eq!(one(run, template("no places")), json!("no places"));
        let by_order = Given::config(json!({"template": "{{b}}{{a}}", "names": ["a", "b"]}));
        assert_eq!(one(run, by_order.list("vars", json!(["1", "2"]))), json!("21"));
    }

    #[test]
    fn a_missing_value_fails_or_is_empty() {
        assert_eq!(code(run, template("{{y}}")), "template_value_missing");
        assert_eq!(code(run, template("{{o.c}}")), "template_invalid");
        let empty = Given::config(json!({"template": "<{{y.z}}>", "missing": "empty"}));
        assert_eq!(one(run, empty), json!("<>"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        assert_eq!(code(run, template("{{")), "template_invalid");
        assert_eq!(code(run, template("{{x|nothing}}")), "template_invalid");
        assert_eq!(code(run, template("{% include 'x' %}")), "template_invalid");
        assert_eq!(code(run, Given::config(json!({}))), "config_invalid");
        assert_eq!(code(run, Given::config(json!({"template": "", "names": ["a"]}))), "template_names_too_many");
    }

    #[test]
    fn work_and_memory_have_a_bound() {
        let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        assert_eq!(code(run, template(endless)), "template_too_long");
        let doubling =
            "{% set t = namespace(x='xxxxxxxx') %}{% for a in range(40) %}{% set t.x = t.x ~ t.x %}{% endfor %}";
        assert_eq!(code(run, template(doubling)), "template_too_long");
        assert_eq!(code(run, template("{{ 'x' * 100000000 }}")), "template_too_long");
        let deep = format!("{}{}", "{% if x %}".repeat(5_000), "{% endif %}".repeat(5_000));
        assert_eq!(code(run, template(&deep)), "template_invalid");
    }
}
