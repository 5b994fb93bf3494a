//! Conditions: expressions in CEL that say which way a run goes. Read once, when their graph is compiled; total, without
//! effects, and bounded: an expression that could cost too much on the values at hand is refused instead of evaluated. The engine
//! evaluates them where it can look at the values, and asks an agent else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod cost;
pub mod evaluate;
pub mod limits;
mod names;
pub mod question;
mod seen;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::parser::{Expression, PrattParser};
use cel::{Env, ExecutionError};

pub use names::{Known, Need};
pub use seen::Seen;

/// The language's own functions and macros; nothing of this machine.
static LANGUAGE: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// An expression that was read.
pub struct Condition {
    text: Arc<str>,
    expression: Expression,
    needs: Vec<Need>,
    /// Whether it names `inputs`.
    sees_inputs: bool,
}

/// Why a text is no condition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExpression {
    /// What is wrong, without a full stop.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// Why a condition has no answer for these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It could cost more than is allowed.
    TooCostly,
    /// It does not fit the values; why, without a full stop and without the values.
    Failed(String),
}

impl Condition {
    /// Reads an expression; `known` says which names it may use.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(text: &str, known: &dyn Known) -> Result<Self, BadExpression> {
        let at = |message: String, line, column| BadExpression { message, line, column };
        if text.len() > limits::EXPRESSION_BYTES_MAX {
            let message =
                format!("the expression has {} bytes; at most {} are read", text.len(), limits::EXPRESSION_BYTES_MAX);
            return Err(at(message, 1, 1));
        }
        if text.trim().is_empty() {
            return Err(at("the expression is empty".to_owned(), 1, 1));
        }
        if names::signs(text) > limits::EXPRESSION_SIGNS_MAX {
            let message = format!("the expression has more than {} words and signs", limits::EXPRESSION_SIGNS_MAX);
            return Err(at(message, 1, 1));
        }
        let parser = PrattParser::new().max_recursion_depth(limits::EXPRESSION_DEPTH_MAX);
        let expression = parser.parse(text).map_err(|errors| match errors.errors.into_iter().next() {
            Some(error) => {
                let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
                at(names::short(&error.msg), place(error.pos.0), place(error.pos.1))
            }
            None => at("it is no expression".to_owned(), 1, 1),
        })?;
        if names::is_deeper(&expression, limits::EXPRESSION_DEPTH_MAX) {
            let message = format!("the expression is nested deeper than {} levels", limits::EXPRESSION_DEPTH_MAX);
            return Err(at(message, 1, 1));
        }
        let (needs, sees_inputs) = names::check(&expression, known).map_err(|fault| {
            let (line, column) = names::position(text, &fault.word);
            at(fault.message, line, column)
        })?;
        Ok(Self { text: text.into(), expression, needs, sees_inputs })
    }

    /// The values that it looks at.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// Whether it names `inputs`, not only single ones.
    pub fn sees_inputs(&self) -> bool {
        self.sees_inputs
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates it. `budget` goes down by what it may have cost.
    ///
    /// # Errors
    /// Why it has no answer for these values.
    pub fn holds(&self, seen: &Seen, budget: &mut u64) -> Result<bool, NoAnswer> {
        match self.evaluate(seen, budget)? {
            cel::Value::Bool(answer) => Ok(answer),
            other => Err(NoAnswer::Failed(format!("it gives {}, not true or false", kind(&other)))),
        }
    }

    /// Evaluates an expression that gives a number. `budget` goes down by what it may have cost.
    ///
    /// # Errors
    /// Why it has no answer for these values.
    pub fn number(&self, seen: &Seen, budget: &mut u64) -> Result<f64, NoAnswer> {
        let number = match self.evaluate(seen, budget)? {
            cel::Value::Int(number) => number as f64,
            cel::Value::UInt(number) => number as f64,
            cel::Value::Float(number) => number,
            other => return Err(NoAnswer::Failed(format!("it gives {}, not a number", kind(&other)))),
        };
        Some(number).filter(|it| !it.is_nan()).ok_or_else(|| NoAnswer::Failed("it gives no number".to_owned()))
    }

    fn evaluate(&self, seen: &Seen, budget: &mut u64) -> Result<cel::Value, NoAnswer> {
        let cost = cost::of(&self.expression, seen.size());
        *budget = budget.checked_sub(cost).ok_or(NoAnswer::TooCostly)?;
        let mut context = cel::Context::with_env(Arc::clone(&LANGUAGE));
        seen.declare(&mut context);
        cel::Value::resolve(&self.expression, &context).map_err(|error| NoAnswer::Failed(sentence(&error)))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the condition \"{}\"", names::short(&self.text))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.text)
    }
}

fn kind(value: &cel::Value) -> &'static str {
    match value {
        cel::Value::Int(_) | cel::Value::UInt(_) | cel::Value::Float(_) => "a number",
        cel::Value::String(_) => "a text",
        cel::Value::List(_) => "a list",
        cel::Value::Map(_) => "an object",
        cel::Value::Null => "null",
        _ => "something else",
    }
}

/// What went wrong, without the values: they are a tenant's data, and of any length.
fn sentence(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => {
            format!("there is no key \"{}\"; ask has(…) first where one may be missing", names::short(key))
        }
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(", ");
            format!("\"{}\" does not go with ({types})", operator(overload.function()))
        }
        ExecutionError::UndeclaredReference(name) => format!("\"{}\" is not known", names::short(name)),
        ExecutionError::UnexpectedType { got, want } => format!("it needs {want} where it gets {got}"),
        ExecutionError::IndexOutOfBounds(_) => "a list has fewer items than it asks for".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number grows too large".to_owned(),
        ExecutionError::FunctionError { function, .. } => {
            format!("\"{}\" cannot take what it is given", names::short(function))
        }
        _ => "it does not fit the values".to_owned(),
    }
}

/// `_>_` is `>` for people.
fn operator(name: &str) -> &str {
    name.trim_matches(|sign| matches!(sign, '_' | '@'))
}
