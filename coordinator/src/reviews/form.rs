//! Schemas that users write for what people send: edits at reviews, signals, calls of hooks.
//!
//! A check that runs cannot be stopped, so what it costs is known before it begins: a schema without circles looks at each
//! value no more often than it has parts, and a pattern goes through a text once. Checks run beside the threads that serve
//! everybody, a few at a time and one of each tenant, and each keeps its turn until it is over, whoever has given up on it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use bytes::Bytes;
use heddle_core::graph::ConfigFault;
use heddle_core::id::TenantId;
use heddle_schema_cost as cost;
use jsonschema::Validator;
use serde_json::Value as Json;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use crate::config_schemas;
use crate::limits::{FORM_CHECKS_MAX, FORM_LOOKS_MAX, FORM_REASON_BYTES_MAX, FORM_REASONS_BYTES_MAX};
use crate::schema_words::{self, Told};

/// How many checks run at once.
static CHECKS: Semaphore = Semaphore::const_new(FORM_CHECKS_MAX);
/// The turns of tenants that have checks now.
static TURNS: LazyLock<Mutex<HashMap<TenantId, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Where a value is not as a schema says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// A JSON pointer into the value.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// What a schema costs, in parts, if it is one that values can be held against. What it refers to lies inside it: nothing is fetched.
///
/// # Errors
/// What is wrong with it, at which place in it, and what to write instead.
pub(crate) fn check(schema: &Json) -> Result<usize, ConfigFault> {
    let parts = cost::parts(schema).map_err(|fault| {
        let mut fix = fault.todo().to_owned();
        if let Some(first) = fix.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let (message, fix) = (format!("the schema {}.", fault.what()), fix + ".");
        ConfigFault { place: cut(fault.place), message, fix }
    })?;
    match compile(schema) {
        Ok(_) => Ok(parts),
        Err(Told { place, sentence, fix }) => {
            let message = format!("the schema cannot be used: {sentence}.");
            Err(ConfigFault { place, message, fix: fix + "." })
        }
    }
}

fn compile(schema: &Json) -> Result<Validator, Told> {
    // What somebody sends is not compiled: that costs more than any other look.
    let options = config_schemas::options().should_validate_formats(true).with_format("regex", |_: &str| true);
    options.build(schema).map_err(|error| {
        // The fault is of the schema of schemas, which is not at hand.
        let Told { place, sentence, fix } = schema_words::told(&Json::Null, &error, "the schema");
        Told { place: cut(place), sentence: cut(sentence), fix: cut(fix) }
    })
}

/// Holds a value against schemas.
///
/// # Errors
/// The first of what does not fit; that a schema cannot be used; or that there is too much to look at.
pub(crate) async fn fits(tenant: &TenantId, schemas: Vec<Bytes>, value: Json) -> Result<(), Misfit> {
    if schemas.is_empty() {
        return Ok(());
    }
    let Ok(turn) = turn(tenant).await else { return Err(whole("the check was given up".to_owned())) };
    let check = move || {
        let _turn = turn;
        fits_all(schemas, &value)
    };
    spawn_blocking(check).await.unwrap_or_else(|error| Err(whole(error.to_string())))
}

/// Waits for the tenant's turn first: of all who wait for one of everybody's turns, each tenant is one.
async fn turn(tenant: &TenantId) -> Result<(OwnedSemaphorePermit, SemaphorePermit<'static>), AcquireError> {
    let own = {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        match turns.get(tenant).and_then(Weak::upgrade) {
            Some(own) => own,
            None => {
                let own = Arc::new(Semaphore::new(1));
                turns.insert(tenant.clone(), Arc::downgrade(&own));
                own
            }
        }
    };
    let own = own.acquire_owned().await?;
    Ok((own, CHECKS.acquire().await?))
}

fn fits_all(mut schemas: Vec<Bytes>, value: &Json) -> Result<(), Misfit> {
    schemas.sort_unstable();
    schemas.dedup();
    let (values, mut looks) = (cost::values(value), 0_usize);
    for schema in schemas {
        let json: Json = serde_json::from_slice(&schema).unwrap_or(Json::Bool(true));
        let parts = cost::parts(&json).map_err(|fault| whole(format!("the schema {fault}")))?;
        looks = looks.saturating_add(parts.saturating_mul(values));
        if looks > FORM_LOOKS_MAX {
            let message = format!(
                "there is too much to check: {values} values against a schema of {parts} parts; send less, or write a shorter schema"
            );
            return Err(whole(message));
        }
        let validator =
            compile(&json).map_err(|told| whole(format!("the schema cannot be used: {}", told.sentence)))?;
        if validator.is_valid(value) {
            continue;
        }
        // Of branches that do not fit all reasons are put together, with the place of each.
        let has_branches = [&b"\"anyOf\""[..], b"\"oneOf\""].iter().any(|word| contains(&schema, word));
        if has_branches && parts.saturating_mul(value.to_string().len()) > FORM_REASONS_BYTES_MAX {
            return Err(whole("it does not fit the schema".to_owned()));
        }
        if let Err(error) = validator.validate(value) {
            let path = cut(error.instance_path().to_string());
            return Err(Misfit { path, message: cut(schema_words::sentence(&json, &error)) });
        }
    }
    Ok(())
}

/// A text with its middle left out if it is long.
fn cut(text: String) -> String {
    if text.len() <= FORM_REASON_BYTES_MAX {
        return text;
    }
    let part = FORM_REASON_BYTES_MAX / 2;
    let (begin, end) = (text.floor_char_boundary(part), text.ceil_char_boundary(text.len() - part));
    format!("{}…{}", &text[..begin], &text[end..])
}

fn whole(message: String) -> Misfit {
    Misfit { path: String::new(), message }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|piece| piece == word)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    /// More than any check takes on a slow machine, and far less than one without bounds.
    const CHECK_TIME_MAX: Duration = Duration::from_secs(30);

    fn fit(schema: &Json, value: &Json) -> Result<(), Misfit> {
        fits_all(vec![schema.to_string().into()], value)
    }

    #[test]
    fn a_broken_form_says_what_is_wrong_with_it() {
        for broken in [
            json!({"type": "nonsense"}),
            json!({"pattern": "("}),
            json!({"pattern": "(a{1000}){1000}"}),
            json!({"minimum": "x"}),
            json!({"properties": 5}),
            json!({"$ref": "#/nope"}),
            json!({"properties": {"a": {"$ref": "http://h.example/schema"}}}),
            json!({"allOf": [{"$ref": "other.json"}]}),
            json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}]}),
        ] {
            assert!(check(&broken).is_err(), "{broken}");
        }
        let typed = check(&json!({"properties": {"a": {"type": "txt"}}})).unwrap_err();
        assert_eq!(typed.place, "/properties/a/type");
        assert!(typed.message.contains("properties.a.type is \"txt\", but must be"), "{typed:?}");
        assert!(typed.fix.starts_with("Set properties.a.type to") && typed.fix.contains("\"string\""), "{typed:?}");
        let outside = check(&json!({"$ref": "file:///etc/passwd"})).unwrap_err().message;
        assert!(outside.contains("file:///etc/passwd") && outside.contains("inside"), "{outside}");
        let own = json!({"$defs": {"name": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/name"}}});
        assert!(check(&own).is_ok());
        let misfit = fit(&own, &json!({"a": 3})).unwrap_err();
        assert_eq!(misfit.path, "/a", "{misfit:?}");
    }

    #[test]
    fn what_would_take_too_long_is_not_begun() {
        let begun = Instant::now();
        let turns = json!({"type": "object", "anyOf": [
            {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            {"properties": {"a": {"$ref": "#"}}, "required": ["a", "z"]},
        ]});
        let deep = (0..60).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert!(fit(&turns, &deep).unwrap_err().message.contains("itself"));
        let choices: Vec<Json> = (0..3_000).map(|number| json!({ "const": number })).collect();
        let many = fit(&json!({"items": {"anyOf": choices}}), &json!(vec![5_000; 10_000])).unwrap_err();
        assert!(many.message.contains("too much to check"), "{many:?}");
        assert!(begun.elapsed() < CHECK_TIME_MAX, "{:?}", begun.elapsed());
    }

    #[test]
    fn the_most_that_is_taken_ends_soon() {
        let begun = Instant::now();
        // A reference twice in each of eight levels: written out thousands of parts.
        let mut doubled = json!({"$ref": "#/$defs/d0", "$defs": {"d8": {"type": "object"}}});
        for level in 0..8 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            doubled["$defs"][format!("d{level}")] = json!({"anyOf": [next, next]});
        }
        let branches: Vec<Json> = (0..900).map(|number| json!({"properties": {"a": {"const": number}}})).collect();
        let flat = json!({"additionalProperties": {"anyOf": branches}});
        let items: serde_json::Map<String, Json> = (0..900).map(|it| (it.to_string(), json!({"a": -1}))).collect();
        // A pattern whose automaton has too many states to be kept.
        let evil = json!({"items": {"pattern": format!("[ab]*a[ab]{{{}}}c$", 150)}});
        for (schema, value) in
            [(&doubled, json!(vec![1; 1_000])), (&flat, json!(items)), (&evil, json!(["a".repeat(60_000) + "b"]))]
        {
            assert!(check(schema).is_ok_and(|parts| parts * cost::values(&value) < FORM_LOOKS_MAX), "{schema}");
            assert!(fit(schema, &value).is_err(), "{schema}");
        }
        assert!(begun.elapsed() < CHECK_TIME_MAX, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_pattern_that_tries_things_out_is_refused_by_its_place() {
        let around = json!({"properties": {"name": {"pattern": "(?<=(a|aa)+)c$"}}});
        let fault = check(&around).unwrap_err();
        assert_eq!((&*fault.place, &*fault.fix), ("/properties/name/pattern", "Write it without."));
        assert!(fault.message.contains("\"/properties/name/pattern\"") && fault.message.contains("look-around"));
        let large = check(&json!({"pattern": "^(\\p{L}{1,50}){1,20}$"})).unwrap_err().message;
        assert!(large.contains("too large"), "{large}");
        let begun = Instant::now();
        let misfit = fit(&around, &json!({"name": "a".repeat(60_000)})).unwrap_err();
        assert!(misfit.message.contains("look-around"), "{misfit:?}");
        assert!(begun.elapsed() < CHECK_TIME_MAX, "{:?}", begun.elapsed());
    }

    #[test]
    fn reasons_are_short_whatever_was_sent() {
        let long = "x".repeat(50_000);
        for (schema, value) in [
            (json!({"const": long}), json!(1)),
            (json!({"type": "number"}), json!(long)),
            (json!({"enum": [long, 2]}), json!(long.clone() + "y")),
            (json!({"additionalProperties": false}), json!({ long.clone(): 1 })),
            (json!({"items": {"not": {"const": long}}}), json!([long])),
            (json!({"additionalProperties": {"type": "string"}}), json!({ long: 1 })),
        ] {
            let misfit = fit(&schema, &value).unwrap_err();
            let bytes = misfit.message.len().max(misfit.path.len());
            assert!(bytes <= FORM_REASON_BYTES_MAX + "…".len(), "{misfit:?}");
        }
        assert_eq!(
            fit(&json!({"type": "number"}), &json!("x")).unwrap_err().message,
            "it is \"x\", but must be a number"
        );
        let zero = check(&json!({"items": {"multipleOf": 0}})).unwrap_err().message;
        assert!(zero.contains("items.multipleOf is 0, but must be more than 0"), "{zero}");
    }

    #[test]
    fn formats_are_checked_and_constants_are_no_schemas() {
        assert!(fit(&json!({"format": "email"}), &json!("nope")).is_err());
        assert!(fit(&json!({"format": "email"}), &json!("a@example.com")).is_ok());
        assert!(fit(&json!({"format": "regex"}), &json!("([")).is_ok());
        assert!(fit(&json!({"const": {"$ref": "#"}}), &json!({"$ref": "#"})).is_ok());
    }

    #[tokio::test]
    async fn a_tenant_has_one_turn_and_leaves_the_other_to_others() {
        let (busy, other) = (TenantId("busy".into()), TenantId("other".into()));
        let held = turn(&busy).await.unwrap();
        let second = tokio::time::timeout(Duration::from_millis(50), turn(&busy)).await;
        assert!(second.is_err(), "a tenant has two turns");
        assert!(fits(&other, vec!["{}".into()], json!(1)).await.is_ok());
        drop(held);
        assert!(fits(&busy, vec!["{}".into()], json!(1)).await.is_ok());
    }
}
