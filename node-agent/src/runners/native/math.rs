//! `utility:math`: an expression over numbers.

use std::collections::BTreeMap;

use minijinja::value::{Rest, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value as Item};
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::Answer;
use super::call::{Call, output, refused};
use crate::limits::{EXPRESSION_BYTES_MAX, MATH_FUEL, TEMPLATE_DEPTH_MAX};
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "expression": {"type": "string", "minLength": 1, "description": "For example (a + b) / 2. Operators: + - * / // % **, comparisons, x if c else y. Functions: abs, ceil, exp, floor, ln, log10, max, min, round(x, digits), sqrt, sum. a and b are the inputs, values is the list."},
    });
    Manifest::pure("utility:math", "Arithmetic", "Works out an expression over numbers.")
        .ports(
            [
                Port::new("a", PortType::Number),
                Port::new("b", PortType::Number),
                Port::new("values", PortType::Number).list(),
            ],
            [Port::new("value", PortType::Number)],
        )
        .config(&["expression"], properties)
        .aliases(&[], &[("number", "value")], &[])
        .example("A mean", json!({"expression": "(a + b) / 2"}), json!({"a": 3, "b": 4}), json!({"value": 3.5}))
        .example("A sum", json!({"expression": "sum(values)"}), json!({"values": [1, 2, 3]}), json!({"value": 6}))
}

#[derive(Deserialize)]
struct Config {
    expression: String,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { expression } = call.config()?;
    if expression.len() > EXPRESSION_BYTES_MAX {
        let message = format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes; use several nodes");
        return Err(refused("expression_invalid", message));
    }
    let mut variables: BTreeMap<&str, Value> = BTreeMap::from([("values", Value::Array(call.values("values")?))]);
    for name in ["a", "b"] {
        variables.extend(call.value(name)?.map(|value| (name, value)));
    }
    let environment = environment();
    let compiled = environment.compile_expression(&expression).map_err(|error| broken(&error))?;
    let value = compiled.eval(Serde(&variables)).map_err(|error| broken(&error))?;
    Ok(vec![output("value", number(&value)?)])
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(MATH_FUEL));
    environment.set_recursion_limit(TEMPLATE_DEPTH_MAX);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_global("pi", std::f64::consts::PI);
    let mut add = |name: &'static str, function: fn(f64) -> f64| environment.add_function(name, function);
    add("exp", f64::exp);
    add("ln", f64::ln);
    add("log10", f64::log10);
    add("sqrt", f64::sqrt);
    environment.add_function("floor", |value: f64| whole(value.floor()));
    environment.add_function("ceil", |value: f64| whole(value.ceil()));
    environment.add_function("abs", minijinja::filters::abs);
    environment.add_function("round", |value: f64, digits: Option<i32>| {
        let factor = 10_f64.powi(digits.unwrap_or(0).clamp(-300, 300));
        let rounded = (value * factor).round() / factor;
        if digits.unwrap_or(0) <= 0 { whole(rounded) } else { Item::from(rounded) }
    });
    environment.add_function("min", |values: Rest<Item>| extreme(&values, f64::min));
    environment.add_function("max", |values: Rest<Item>| extreme(&values, f64::max));
    environment.add_function("sum", |values: Rest<Item>| {
        fold(&values, |sum, value| sum + value).map(|sum| sum.unwrap_or_else(|| Item::from(0)))
    });
    environment
}

/// An integer where the number is one and floats hold them all.
fn whole(value: f64) -> Item {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX { Item::from(value as i64) } else { Item::from(value) }
}

fn extreme(values: &[Item], pick: fn(f64, f64) -> f64) -> Result<Item, Error> {
    let empty = || Error::new(ErrorKind::InvalidOperation, "there is no number to choose from");
    fold(values, pick)?.ok_or_else(empty)
}

/// Folds numbers, and lists of them.
fn fold(values: &[Item], join: fn(f64, f64) -> f64) -> Result<Option<Item>, Error> {
    let mut result = None;
    for value in values {
        let items: Vec<Item> = match value.kind() {
            ValueKind::Seq => value.try_iter()?.collect(),
            _ => vec![value.clone()],
        };
        for item in items {
            let number = f64::try_from(item)?;
            result = Some(result.map_or(number, |result| join(result, number)));
        }
    }
    Ok(result.map(whole))
}

fn number(value: &Item) -> Result<Number, Failure> {
    let other = || refused("math_no_number", "the expression gives no finite number; check it and its inputs");
    if !value.is_number() {
        return Err(other());
    }
    match i64::try_from(value.clone()) {
        Ok(whole) if value.is_integer() => Ok(Number::from(whole)),
        _ => f64::try_from(value.clone()).ok().and_then(Number::from_f64).ok_or_else(other),
    }
}

fn broken(error: &Error) -> Failure {
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    refused(
        "expression_invalid",
        format!("the expression cannot be used: {}{detail}; correct it, or wire its inputs", error.kind()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn math(expression: &str) -> Given {
        Given::config(json!({"expression": expression})).one("a", json!(7)).one("b", json!(2.5))
    }

    #[test]
    fn whole_numbers_and_others_mix() {
        let cases = [
            ("a + 1", json!(8)),
            ("a * b", json!(17.5)),
            ("a / 2", json!(3.5)),
            ("a // 2 + a % 2", json!(4)),
            ("2 ** 10 - 1", json!(1023)),
            ("-a", json!(-7)),
            ("round(b)", json!(3)),
            ("round(10 / 3, 2)", json!(3.33)),
            ("max(a, b, [9, 1])", json!(9)),
            ("min(a, b)", json!(2.5)),
            ("sum(values)", json!(0)),
            ("sqrt(16) + floor(b) + ceil(b) + abs(-1)", json!(10.0)),
            ("1 if a > b else 0", json!(1)),
            ("round(pi * 1000)", json!(3142)),
        ];
        for (expression, value) in cases {
            assert_eq!(one(run, math(expression)), value, "{expression}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for expression in ["1 +", "c + 1", "open('x')", "a|safe|nothing", "'x' * 999999999", "max()", "max('x')"] {
            assert_eq!(code(run, math(expression)), "expression_invalid", "{expression}");
        }
        for expression in ["'7'", "c", "a.x", "a > b", "[1]", "sqrt(-1)", "ln(0)", "exp(1000)"] {
            assert_eq!(code(run, math(expression)), "math_no_number", "{expression}");
        }
        for expression in ["a / 0", "a % 0", "a // 0"] {
            let code = code(run, math(expression));
            assert!(["math_no_number", "expression_invalid"].contains(&&*code), "{expression}: {code}");
        }
        assert_eq!(code(run, math(&"(".repeat(2_000))), "expression_invalid");
        assert_eq!(code(run, math(&"1+".repeat(5_000))), "expression_invalid");
    }
}
