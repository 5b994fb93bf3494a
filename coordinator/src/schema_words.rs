//! What does not fit a JSON Schema, said to people: where, what is there, and what is allowed.

use std::fmt::Write as _;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value as Json;

/// Characters of a value that are shown.
const VALUE_CHARACTERS_MAX: usize = 60;
/// Alternatives, keys and branches that are named.
const NAMED_MAX: usize = 12;

/// One fault in full, for those who write what is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// A JSON pointer to what is wrong: of a key that nobody knows to that key, of one that is missing to the object that lacks it.
    pub(crate) place: String,
    /// As [`sentence`].
    pub(crate) sentence: String,
    /// What to write instead, without its full stop.
    pub(crate) fix: String,
}

/// Tells one fault in full; `whole` is what is checked, such as `the config`.
pub(crate) fn told(schema: &Json, error: &ValidationError<'_>, whole: &str) -> Told {
    let meant = meant(error);
    let mut place = meant.instance_path().to_string();
    if let Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } = meant.kind()
        && let [name] = &**unexpected
    {
        place = place + "/" + &name.replace('~', "~0").replace('/', "~1");
    }
    Told { place, sentence: sentence(schema, error), fix: fix(schema, meant, whole) }
}

/// What to write instead, without a full stop: `Set retry.maxMs to a whole number`.
fn fix(schema: &Json, error: &ValidationError<'_>, whole: &str) -> String {
    let place = place(error.instance_path().as_str());
    let subject = if place.is_empty() { whole } else { &*place };
    let give = |bound: &str, most: u64, what: &str| format!("Give {subject} {bound} {}", count(most, what));
    match error.kind() {
        Kind::Minimum { .. } | Kind::Maximum { .. } | Kind::ExclusiveMinimum { .. } | Kind::ExclusiveMaximum { .. } => {
            format!("Set {subject} to a number that is {}", must(error).unwrap_or_default())
        }
        Kind::MinLength { limit } => give("at least", *limit, "character"),
        Kind::MaxLength { limit } => give("at most", *limit, "character"),
        Kind::MinItems { limit } => give("at least", *limit, "item"),
        Kind::MaxItems { limit } => give("at most", *limit, "item"),
        Kind::AdditionalItems { limit } => give("at most", *limit as u64, "item"),
        Kind::MinProperties { limit } => give("at least", *limit, "key"),
        Kind::MaxProperties { limit } => give("at most", *limit, "key"),
        Kind::UniqueItems => format!("Keep each item of {subject} once"),
        Kind::Required { property } => {
            let what = wanted(schema, error, property).map(|what| format!(": {what}"));
            format!("Add {property} to {subject}{}", what.unwrap_or_default())
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("Take {} out of {subject}", join(unexpected.iter().map(|name| quoted(name)), "and"))
        }
        Kind::PropertyNames { .. } => format!("Give the key of {subject} another name, or take it out"),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => match wanted_here(error, context) {
            Some(wanted) => format!("Set {subject} to {}", join(wanted, "or")),
            None => {
                let fixes = once(near(error, context).take(NAMED_MAX).map(|fault| fix(schema, meant(fault), whole)));
                if let [fix] = &*fixes { fix.clone() } else { format!("Do one of these: {}", fixes.join("; or ")) }
            }
        },
        Kind::OneOfMultipleValid { .. } => format!("Change {subject} so that it fits one of its forms alone"),
        Kind::FalseSchema if error.schema_path().as_str().ends_with("/additionalProperties") => {
            format!("Take all keys out of {subject}")
        }
        Kind::FalseSchema if !place.is_empty() => format!("Take {subject} out"),
        Kind::UnevaluatedItems { .. } => format!("Take the items that are not allowed out of {subject}"),
        _ => match must(error) {
            Some(must) => format!("Set {subject} to {must}"),
            None => format!("Change {subject}"),
        },
    }
}

/// What the schema wants of a key that is missing, if it says so in one word.
fn wanted(schema: &Json, error: &ValidationError<'_>, property: &Json) -> Option<String> {
    let around = error.schema_path().as_str().rsplit_once('/').map_or("", |(around, _)| around);
    let wanted = schema.pointer(around)?.get("properties")?.get(property.as_str()?)?;
    if let Some(options) = wanted.get("enum").and_then(Json::as_array) {
        return Some(join(options.iter().map(text), "or"));
    }
    let kind = wanted.get("type")?.as_str()?.parse().ok()?;
    Some(type_name(kind).to_owned())
}

/// The fault that is told: where one of several forms was meant, what is wrong with that one.
fn meant<'e>(error: &'e ValidationError<'_>) -> &'e ValidationError<'e> {
    if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind()
        && wanted_here(error, context).is_none()
        && let [one] = &*near(error, context).take(2).collect::<Vec<_>>()
    {
        return meant(one);
    }
    error
}

/// One fault as a sentence without its full stop, such as `retry.maxMs is 1.5, but must be a whole number`. `schema` is the whole
/// one that the fault is of.
pub(crate) fn sentence(schema: &Json, error: &ValidationError<'_>) -> String {
    let place = place(error.instance_path().as_str());
    let subject = if place.is_empty() { "it" } else { &*place };
    let given = given(error.instance());
    if let Some(must) = must(error) {
        return format!("{subject} is {given}, but must be {must}");
    }
    let is_and_may =
        |is: String, bound: &str, most: String| format!("{subject} has {is}, but must have {bound} {most}");
    let length = || error.instance().as_str().map_or(0, |text| text.chars().count() as u64);
    let items = || error.instance().as_array().map_or(0, |list| list.len() as u64);
    let keys = || error.instance().as_object().map_or(0, |object| object.len() as u64);
    match error.kind() {
        Kind::MinLength { limit } => is_and_may(count(length(), "character"), "at least", limit.to_string()),
        Kind::MaxLength { limit } => is_and_may(count(length(), "character"), "at most", limit.to_string()),
        Kind::MinItems { limit } => is_and_may(count(items(), "item"), "at least", limit.to_string()),
        Kind::MaxItems { limit } => is_and_may(count(items(), "item"), "at most", limit.to_string()),
        Kind::AdditionalItems { limit } => is_and_may(count(items(), "item"), "at most", limit.to_string()),
        Kind::MinProperties { limit } => is_and_may(count(keys(), "key"), "at least", limit.to_string()),
        Kind::MaxProperties { limit } => is_and_may(count(keys(), "key"), "at most", limit.to_string()),
        Kind::UniqueItems => format!("{subject} has an item twice, but each must be there once"),
        Kind::Contains => format!("{subject} has no item of the kind that must be there"),
        Kind::Required { property } if place.is_empty() => format!("{property} is missing"),
        Kind::Required { property } => format!("{property} is missing in {subject}"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names = join(unexpected.iter().map(|name| quoted(name)), "and");
            let are = if unexpected.len() == 1 { "is" } else { "are" };
            match (place.is_empty(), allowed_keys(schema, error)) {
                (true, None) => format!("{names} {are} not known"),
                (true, Some(allowed)) => format!("{names} {are} not known; it may have {allowed}"),
                (false, None) => format!("{names} {are} not known in {subject}"),
                (false, Some(allowed)) => format!("{names} {are} not known in {subject}, which may have {allowed}"),
            }
        }
        Kind::PropertyNames { error } => match must(error) {
            Some(must) => {
                format!("{subject} has the key {}, but its keys must be {must}", self::given(error.instance()))
            }
            None => format!("{subject} has the key {}, which is not allowed", self::given(error.instance())),
        },
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => none_of(schema, error, subject, context),
        Kind::OneOfMultipleValid { .. } => format!("{subject} fits several of its forms, but must fit one alone"),
        Kind::FalseSchema if error.schema_path().as_str().ends_with("/additionalProperties") => {
            format!("{subject} has keys, but may have none")
        }
        Kind::FalseSchema | Kind::Not { .. } => format!("{subject} is {given}, which is not allowed"),
        Kind::UnevaluatedItems { .. } => format!("{subject} has items that are not allowed"),
        // What a schema rarely says, in the words of who checks.
        _ if place.is_empty() => shown(&error.to_string()),
        _ => format!("{subject}: {}", shown(&error.to_string())),
    }
}

/// What a value must be, where that is all there is to say of it.
fn must(error: &ValidationError<'_>) -> Option<String> {
    Some(match error.kind() {
        Kind::Type { kind: TypeKind::Single(one) } => type_name(*one).to_owned(),
        Kind::Type { kind: TypeKind::Multiple(several) } => join((*several).into_iter().map(type_name), "or"),
        Kind::Enum { options } => join(options.as_array().into_iter().flatten().map(text), "or"),
        Kind::Constant { expected_value } => text(expected_value),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::Pattern { pattern } => format!("text of the pattern {}", shown(pattern)),
        Kind::Format { format } => format!("text of the format {format}"),
        _ => return None,
    })
}

/// Nothing of several forms fits. If all of them want another value there, what they want is one list; else each says its fault.
fn none_of(
    schema: &Json,
    error: &ValidationError<'_>,
    subject: &str,
    branches: &[Vec<ValidationError<'static>>],
) -> String {
    if let Some(wanted) = wanted_here(error, branches) {
        return format!("{subject} is {}, but must be {}", given(error.instance()), join(wanted, "or"));
    }
    let faults = once(near(error, branches).take(NAMED_MAX).map(|fault| sentence(schema, fault)));
    match &*faults {
        [fault] => fault.clone(),
        _ => format!("{subject} fits none of its forms: {}", faults.join("; or ")),
    }
}

/// What several forms want of a value, if all of them only want another one there.
fn wanted_here(error: &ValidationError<'_>, branches: &[Vec<ValidationError<'static>>]) -> Option<Vec<String>> {
    let firsts = branches.iter().filter_map(|faults| faults.first());
    let wanted: Option<Vec<String>> =
        firsts.map(|fault| Some(fault).filter(|fault| is_here(error, fault)).and_then(must)).collect();
    wanted.filter(|wanted| !wanted.is_empty()).map(once)
}

/// The first fault of each form that may have been meant: those of another kind altogether were not, if there are others.
fn near<'e>(
    error: &'e ValidationError<'_>,
    branches: &'e [Vec<ValidationError<'static>>],
) -> impl Iterator<Item = &'e ValidationError<'static>> {
    let is_near =
        move |fault: &ValidationError<'_>| !(is_here(error, fault) && matches!(fault.kind(), Kind::Type { .. }));
    let firsts = move || branches.iter().filter_map(|faults| faults.first());
    let has_near = firsts().any(&is_near);
    firsts().filter(move |fault| !has_near || is_near(fault))
}

fn is_here(error: &ValidationError<'_>, fault: &ValidationError<'_>) -> bool {
    fault.instance_path() == error.instance_path()
}

/// The keys that an object may have, as far as its schema names them.
fn allowed_keys(schema: &Json, error: &ValidationError<'_>) -> Option<String> {
    let around = error.schema_path().as_str().rsplit_once('/').map_or("", |(around, _)| around);
    let known = schema.pointer(around)?.get("properties")?.as_object()?;
    (!known.is_empty()).then(|| join(known.keys().map(|key| quoted(key)), "and"))
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

/// A value that is there: what is large is only named.
fn given(value: &Json) -> String {
    match value {
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        Json::String(text) => quoted(text),
        Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
    }
}

/// A value that a schema names.
fn text(value: &Json) -> String {
    shown(&value.to_string())
}

fn quoted(text: &str) -> String {
    Json::from(shown(text)).to_string()
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `a, b or c`; of many the first few, and how many more there are.
fn join(all: impl IntoIterator<Item = impl Into<String>>, word: &str) -> String {
    let mut all: Vec<String> = all.into_iter().map(Into::into).collect();
    if all.len() > NAMED_MAX {
        let more = all.len() - NAMED_MAX;
        all.truncate(NAMED_MAX);
        all.push(format!("{more} more"));
    }
    match &*all {
        [before @ .., last] if !before.is_empty() => format!("{} {word} {last}", before.join(", ")),
        _ => all.concat(),
    }
}

/// Each once, as they come.
fn once(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    for it in all {
        if !kept.contains(&it) {
            kept.push(it);
        }
    }
    kept
}

/// A JSON pointer as people write places: `cases[0].id`.
fn place(pointer: &str) -> String {
    let mut place = String::new();
    for step in pointer.split('/').skip(1) {
        let step = shown(&step.replace("~1", "/").replace("~0", "~"));
        let is_index = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        // Writing to a text cannot fail.
        let _ = match (is_index, place.is_empty()) {
            (true, _) => write!(place, "[{step}]"),
            (false, true) => write!(place, "{step}"),
            (false, false) => write!(place, ".{step}"),
        };
    }
    place
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(schema: &Json, value: &Json) -> Vec<String> {
        let validator = jsonschema::validator_for(schema).unwrap();
        validator.iter_errors(value).map(|error| sentence(schema, &error)).collect()
    }

    fn check(schema: Json, value: Json, said: &str) {
        assert_eq!(all(&schema, &value), [said], "{schema} {value}");
    }

    /// A schema of the value of one key.
    fn at(key: &str, schema: Json) -> Json {
        json!({ "properties": { key: schema } })
    }

    #[test]
    fn types_are_said_in_plain_words() {
        let whole = || at("forMs", json!({ "type": "integer" }));
        check(whole(), json!({ "forMs": 1.5 }), "forMs is 1.5, but must be a whole number");
        check(whole(), json!({ "forMs": "soon" }), "forMs is \"soon\", but must be a whole number");
        check(whole(), json!({ "forMs": [1, 2] }), "forMs is a list, but must be a whole number");
        check(json!({ "type": "object" }), json!(true), "it is true, but must be an object");
        let several = at("a", json!({ "type": ["string", "null", "boolean"] }));
        check(several, json!({ "a": 1 }), "a is 1, but must be null, true or false or text");
        let long = "ü".repeat(100);
        let said = format!("a is \"{}…\", but must be a number", "ü".repeat(VALUE_CHARACTERS_MAX));
        check(at("a", json!({ "type": "number" })), json!({ "a": long }), &said);
    }

    #[test]
    fn what_is_allowed_is_listed() {
        let mode = || at("mode", json!({ "enum": ["first", "all", 3] }));
        check(mode(), json!({ "mode": "none" }), "mode is \"none\", but must be \"first\", \"all\" or 3");
        check(at("a", json!({ "const": 1 })), json!({ "a": null }), "a is null, but must be 1");
        let many: Vec<u32> = (0..40).collect();
        check(
            json!({ "enum": many }),
            json!(50),
            "it is 50, but must be 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 or 28 more",
        );
    }

    #[test]
    fn bounds_say_what_is_there() {
        let bound = |word: &str| at("a", json!({ word: 3 }));
        check(bound("minimum"), json!({ "a": 2 }), "a is 2, but must be at least 3");
        check(bound("maximum"), json!({ "a": 4 }), "a is 4, but must be at most 3");
        check(bound("exclusiveMinimum"), json!({ "a": 3 }), "a is 3, but must be more than 3");
        check(bound("exclusiveMaximum"), json!({ "a": 3.5 }), "a is 3.5, but must be less than 3");
        check(bound("multipleOf"), json!({ "a": 4 }), "a is 4, but must be a multiple of 3");
        check(bound("minLength"), json!({ "a": "x" }), "a has 1 character, but must have at least 3");
        check(bound("maxLength"), json!({ "a": "xüxy" }), "a has 4 characters, but must have at most 3");
        check(bound("minItems"), json!({ "a": [] }), "a has 0 items, but must have at least 3");
        check(bound("maxItems"), json!({ "a": [1, 2, 3, 4] }), "a has 4 items, but must have at most 3");
        check(bound("minProperties"), json!({ "a": { "b": 1 } }), "a has 1 key, but must have at least 3");
        check(
            at("a", json!({ "uniqueItems": true })),
            json!({ "a": [1, 1] }),
            "a has an item twice, but each must be there once",
        );
        check(
            at("a", json!({ "pattern": "^[a-z]+$" })),
            json!({ "a": "A" }),
            "a is \"A\", but must be text of the pattern ^[a-z]+$",
        );
        check(at("a", json!(false)), json!({ "a": 1 }), "a is 1, which is not allowed");
        check(at("a", json!({ "not": { "type": "null" } })), json!({ "a": null }), "a is null, which is not allowed");
    }

    #[test]
    fn keys_that_lack_and_keys_that_nobody_knows_are_named() {
        check(json!({ "required": ["condition"] }), json!({}), "\"condition\" is missing");
        let inner = json!({ "items": { "required": ["id"] } });
        check(at("cases", inner), json!({ "cases": [{ "id": 1 }, {}] }), "\"id\" is missing in cases[1]");
        let closed = || json!({ "properties": { "a": {}, "b": {} }, "additionalProperties": false });
        check(closed(), json!({ "c": 1 }), "\"c\" is not known; it may have \"a\" and \"b\"");
        check(
            at("retry", closed()),
            json!({ "retry": { "c": 1, "d": 2 } }),
            "\"c\" and \"d\" are not known in retry, which may have \"a\" and \"b\"",
        );
        check(json!({ "additionalProperties": false }), json!({ "c": 1 }), "it has keys, but may have none");
        check(
            json!({ "propertyNames": { "pattern": "^[a-z]$" } }),
            json!({ "A": 1 }),
            "it has the key \"A\", but its keys must be text of the pattern ^[a-z]$",
        );
    }

    #[test]
    fn of_several_forms_the_one_that_was_meant_says_its_fault() {
        for word in ["anyOf", "oneOf"] {
            let plain = at("a", json!({ word: [{ "type": "string" }, { "type": "array" }, { "enum": [1, 2] }] }));
            check(plain, json!({ "a": true }), "a is true, but must be text, a list or 1 or 2");
            let forms = || {
                let object = json!({ "type": "object", "required": ["url"] });
                at("a", json!({ word: [{ "type": "string" }, object] }))
            };
            check(forms(), json!({ "a": {} }), "\"url\" is missing in a");
            let objects = json!({ word: [{ "required": ["url"] }, { "required": ["file"] }, { "maxProperties": 0 }] });
            check(
                at("a", objects),
                json!({ "a": { "b": 1 } }),
                "a fits none of its forms: \"url\" is missing in a; or \"file\" is missing in a; \
                 or a has 1 key, but must have at most 0",
            );
        }
        let both = json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] });
        check(both, json!(3), "it fits several of its forms, but must fit one alone");
    }

    #[test]
    fn what_to_write_is_said_with_the_exact_place() {
        let told = |schema: Json, value: Json| {
            let validator = jsonschema::validator_for(&schema).unwrap();
            let told = told(&schema, &validator.iter_errors(&value).next().unwrap(), "the config");
            (told.place, told.fix)
        };
        let closed = json!({ "properties": { "a": {} }, "additionalProperties": false });
        let object = json!({ "type": "object", "properties": { "n": { "type": "number" } }, "required": ["n"] });
        let forms = || at("a", json!({ "oneOf": [{ "type": "string" }, object] }));
        let text = || json!({ "type": "string" });
        for (schema, value, place, fix) in [
            (at("n", json!({ "type": "integer" })), json!({ "n": "x" }), "/n", "Set n to a whole number"),
            (json!({ "type": "object" }), json!(1), "", "Set the config to an object"),
            (at("m", json!({ "enum": ["a", "b"] })), json!({ "m": 1 }), "/m", "Set m to \"a\" or \"b\""),
            (at("n", json!({ "minimum": 3 })), json!({ "n": 1 }), "/n", "Set n to a number that is at least 3"),
            (at("n", json!({ "maxLength": 1 })), json!({ "n": "xx" }), "/n", "Give n at most 1 character"),
            (at("n", json!({ "pattern": "^a" })), json!({ "n": "b" }), "/n", "Set n to text of the pattern ^a"),
            (json!({ "required": ["n"] }), json!({}), "", "Add \"n\" to the config"),
            (
                json!({ "required": ["n"], "properties": { "n": text() } }),
                json!({}),
                "",
                "Add \"n\" to the config: text",
            ),
            (closed.clone(), json!({ "b/c": 1 }), "/b~1c", "Take \"b/c\" out of the config"),
            (at("r", closed), json!({ "r": { "b": 1, "c": 2 } }), "/r", "Take \"b\" and \"c\" out of r"),
            (at("a", json!(false)), json!({ "a": 1 }), "/a", "Take a out"),
            (forms(), json!({ "a": 1 }), "/a", "Set a to text or an object"),
            (forms(), json!({ "a": { "n": "x" } }), "/a/n", "Set a.n to a number"),
            (forms(), json!({ "a": {} }), "/a", "Add \"n\" to a: a number"),
            (
                at("a", json!({ "anyOf": [{ "required": ["x"] }, { "maxProperties": 0 }] })),
                json!({ "a": { "b": 1 } }),
                "/a",
                "Do one of these: Add \"x\" to a; or Give a at most 0 keys",
            ),
        ] {
            assert_eq!(told(schema, value), (place.to_owned(), fix.to_owned()));
        }
    }

    #[test]
    fn what_a_reference_leads_to_is_said_alike() {
        let schema = json!({
            "$defs": { "point": { "properties": { "x": { "type": "number" } }, "additionalProperties": false } },
            "properties": { "a": { "$ref": "#/$defs/point" } },
        });
        let said = ["a.x is \"1\", but must be a number", "\"y\" is not known in a, which may have \"x\""];
        let mut found = all(&schema, &json!({ "a": { "x": "1", "y": 2 } }));
        found.sort_by_key(|it| it.starts_with('"'));
        assert_eq!(found, said);
    }
}
