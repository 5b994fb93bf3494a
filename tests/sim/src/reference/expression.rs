//! The little of CEL that simulated graphs ask: names, numbers, `%`, comparisons, `&&`, `||`, `!`, `size()`.

use serde_json::Value as Json;

/// What a name of the graph stands for, and how many words of it were used.
pub(super) type Look<'a> = &'a dyn Fn(&[String]) -> Option<(Json, usize)>;

/// An expression that has been read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Constant(Json),
    /// A name and the fields after it.
    Name(Vec<String>),
    Size(Box<Expression>),
    Not(Box<Expression>),
    Two(Box<Expression>, &'static str, Box<Expression>),
}

/// Why there is no answer: a name or a field is not there, or something is of the wrong kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// Signs by how tightly they bind, the loosest first.
const SIGNS: [&[&str]; 5] = [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["%"]];

impl Expression {
    /// Reads one; ends the test on what it does not know.
    pub(super) fn read(text: &str) -> Self {
        let mut rest = text;
        let read = two(&mut rest, 0);
        assert!(rest.trim().is_empty(), "the reference cannot read {rest:?} in {text:?}");
        read
    }

    /// Its value, with names as `look` knows them: the first name, and how many of the fields after it were used up.
    pub(super) fn value(&self, look: Look<'_>) -> Result<Json, NoAnswer> {
        match self {
            Expression::Constant(value) => Ok(value.clone()),
            Expression::Name(path) => {
                let (value, used) = look(path).ok_or(NoAnswer)?;
                path[used..].iter().try_fold(value, |value, field| value.get(field).cloned().ok_or(NoAnswer))
            }
            Expression::Size(of) => match of.value(look)? {
                Json::Array(items) => Ok(items.len().into()),
                Json::String(text) => Ok(text.chars().count().into()),
                _ => Err(NoAnswer),
            },
            Expression::Not(of) => of.value(look)?.as_bool().map(|is| Json::Bool(!is)).ok_or(NoAnswer),
            Expression::Two(left, sign, right) => {
                let (left, right) = (left.value(look), right.value(look));
                match *sign {
                    "||" => either(left, right, true),
                    "&&" => either(left, right, false),
                    sign => apply(&left?, sign, &right?),
                }
            }
        }
    }

    /// The names in it, each with the fields after it.
    pub(super) fn names(&self) -> Vec<&[String]> {
        match self {
            Expression::Constant(_) => Vec::new(),
            Expression::Name(path) => vec![path],
            Expression::Size(of) | Expression::Not(of) => of.names(),
            Expression::Two(left, _, right) => [left.names(), right.names()].concat(),
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, look: Look<'_>) -> Result<bool, NoAnswer> {
        self.value(look)?.as_bool().ok_or(NoAnswer)
    }
}

/// One side may decide it alone, whatever the other says.
fn either(left: Result<Json, NoAnswer>, right: Result<Json, NoAnswer>, decides: bool) -> Result<Json, NoAnswer> {
    let sides = [left.map(|side| side.as_bool()), right.map(|side| side.as_bool())];
    if sides.contains(&Ok(Some(decides))) {
        return Ok(Json::Bool(decides));
    }
    if sides == [Ok(Some(!decides)), Ok(Some(!decides))] { Ok(Json::Bool(!decides)) } else { Err(NoAnswer) }
}

fn apply(left: &Json, sign: &str, right: &Json) -> Result<Json, NoAnswer> {
    match sign {
        "==" => return Ok(Json::Bool(left == right)),
        "!=" => return Ok(Json::Bool(left != right)),
        _ => {}
    }
    let (left, right) = (left.as_i64().ok_or(NoAnswer)?, right.as_i64().ok_or(NoAnswer)?);
    Ok(match sign {
        "<=" => Json::Bool(left <= right),
        ">=" => Json::Bool(left >= right),
        "<" => Json::Bool(left < right),
        ">" => Json::Bool(left > right),
        "+" => (left + right).into(),
        "-" => (left - right).into(),
        _ => left.checked_rem(right).ok_or(NoAnswer)?.into(),
    })
}

fn two(rest: &mut &str, level: usize) -> Expression {
    let Some(signs) = SIGNS.get(level) else { return one(rest) };
    let mut left = two(rest, level + 1);
    while let Some(sign) = signs.iter().find(|sign| rest.trim_start().starts_with(**sign)) {
        *rest = &rest.trim_start()[sign.len()..];
        left = Expression::Two(Box::new(left), sign, Box::new(two(rest, level + 1)));
    }
    left
}

fn one(rest: &mut &str) -> Expression {
    *rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix('!') {
        *rest = after;
        return Expression::Not(Box::new(one(rest)));
    }
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let inner = two(rest, 0);
        close(rest);
        return inner;
    }
    let word = word(rest);
    match word {
        "true" => return Expression::Constant(Json::Bool(true)),
        "false" => return Expression::Constant(Json::Bool(false)),
        "null" => return Expression::Constant(Json::Null),
        _ => {}
    }
    if let Ok(number) = word.parse::<i64>() {
        return Expression::Constant(number.into());
    }
    if let Some(after) = rest.strip_prefix('(').filter(|_| word == "size") {
        *rest = after;
        let inner = two(rest, 0);
        close(rest);
        return Expression::Size(Box::new(inner));
    }
    let mut path = vec![word.to_owned()];
    while let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        path.push(self::word(rest).to_owned());
    }
    Expression::Name(path)
}

fn word<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    assert!(!word.is_empty(), "the reference expects a word at {rest:?}");
    *rest = after;
    word
}

fn close(rest: &mut &str) {
    let after = rest.trim_start().strip_prefix(')');
    assert!(after.is_some(), "the reference expects a bracket at {rest:?}");
    *rest = after.unwrap_or_default();
}
