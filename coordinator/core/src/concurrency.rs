//! Concurrency keys: what shares a limit, and how many attempts may be at work at once (graph.md, part 6).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{TenantId, WorkflowId};
use crate::limits;

/// `policy.concurrencyKey`: literal text with `{{tenant}}` and `{{workflow}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyTemplate {
    written: Arc<str>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Arc<str>),
    Tenant,
    Workflow,
}

/// Why a text is no template of a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadKeyTemplate {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is longer than {} bytes", limits::CONCURRENCY_KEY_BYTES_MAX)]
    TooLong,
    /// A pair of braces is not closed.
    #[error("\"{{{{\" is not closed")]
    Open,
    /// A name that it does not know.
    #[error("\"{0}\" is not known in it")]
    UnknownName(String),
}

/// Attempts that share a limit have equal keys.
///
/// A key belongs to the tenant of its run, unless the server's settings name it: those limits are for what all tenants
/// share. One that is made of the tenant's name is the tenant's own in any case, so nobody can take another's places by
/// writing the name out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConcurrencyKey {
    /// Its text.
    pub text: Arc<str>,
    /// Whose run it is of.
    pub tenant: TenantId,
    /// Whether the tenant's name is part of its text.
    pub names_tenant: bool,
}

/// How many attempts of a key may be at work at once: the limit of the longest pattern that fits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConcurrencyLimits {
    exact: BTreeMap<Arc<str>, u32>,
    /// Patterns that end with `*`, without it.
    prefixes: BTreeMap<Arc<str>, u32>,
}

/// Why a limit cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLimit {
    /// It is no pattern.
    #[error("\"{0}\" is no pattern of concurrency keys: write a key, or its beginning and one * at the end")]
    Pattern(String),
    /// Nothing could ever run.
    #[error("the limit of \"{0}\" must be at least 1")]
    Zero(String),
    /// There are too many.
    #[error("there are more than {} limits", limits::CONCURRENCY_LIMITS_MAX)]
    TooMany,
}

impl KeyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`BadKeyTemplate`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadKeyTemplate> {
        if text.trim().is_empty() {
            return Err(BadKeyTemplate::Empty);
        }
        if text.len() > limits::CONCURRENCY_KEY_BYTES_MAX {
            return Err(BadKeyTemplate::TooLong);
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let (name, after) = after.split_once("}}").ok_or(BadKeyTemplate::Open)?;
            parts.push(match name.trim() {
                "tenant" => Part::Tenant,
                "workflow" => Part::Workflow,
                other => return Err(BadKeyTemplate::UnknownName(other.to_owned())),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self { written: text.into(), parts })
    }

    /// The key of a tenant's run of a workflow.
    pub fn of(&self, tenant: &TenantId, workflow: WorkflowId) -> ConcurrencyKey {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Tenant => text.push_str(&tenant.0),
                Part::Workflow => text.push_str(&workflow.to_string()),
            }
        }
        let names_tenant = self.parts.contains(&Part::Tenant);
        ConcurrencyKey { text: text.into(), tenant: tenant.clone(), names_tenant }
    }
}

impl TryFrom<String> for KeyTemplate {
    type Error = BadKeyTemplate;

    fn try_from(text: String) -> Result<Self, BadKeyTemplate> {
        Self::parse(&text)
    }
}

impl From<KeyTemplate> for String {
    fn from(template: KeyTemplate) -> String {
        template.written.as_ref().to_owned()
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl ConcurrencyLimits {
    /// Limits by pattern: a whole key, or its beginning with one `*` at the end.
    ///
    /// # Errors
    /// [`BadLimit`] names the first that cannot be taken.
    pub fn new<'a>(limits: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, BadLimit> {
        let mut known = Self::default();
        for (pattern, limit) in limits {
            if limit == 0 {
                return Err(BadLimit::Zero(pattern.to_owned()));
            }
            let (text, into) = match pattern.strip_suffix('*') {
                Some(prefix) => (prefix, &mut known.prefixes),
                None => (pattern, &mut known.exact),
            };
            if pattern.is_empty() || text.contains('*') || text.len() > limits::CONCURRENCY_KEY_BYTES_MAX {
                return Err(BadLimit::Pattern(pattern.to_owned()));
            }
            into.insert(text.into(), limit);
        }
        match known.exact.len() + known.prefixes.len() > limits::CONCURRENCY_LIMITS_MAX {
            true => Err(BadLimit::TooMany),
            false => Ok(known),
        }
    }

    /// The limit of a key's text, if a pattern names it.
    pub fn of(&self, text: &str) -> Option<u32> {
        let longest = || {
            let ends = (0..=text.len()).rev().filter(|end| text.is_char_boundary(*end));
            ends.into_iter().find_map(|end| self.prefixes.get(&text[..end]))
        };
        self.exact.get(text).or_else(longest).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(template: &str) -> ConcurrencyKey {
        KeyTemplate::parse(template).unwrap().of(&TenantId::from("acme"), WorkflowId(1))
    }

    #[test]
    fn a_template_is_text_with_two_names() {
        assert_eq!(&*key("openai:{{tenant}}").text, "openai:acme");
        assert_eq!(&*key("{{ workflow }}/{{tenant}}/x").text, format!("{}/acme/x", WorkflowId(1)));
        assert!(key("openai:{{tenant}}").names_tenant && !key("openai:acme").names_tenant);
        assert_ne!(
            key("openai:{{tenant}}"),
            key("openai:acme"),
            "a name that is written out is not the tenant's own key"
        );
        let json = serde_json::to_string(&KeyTemplate::parse("a{{tenant}}").unwrap()).unwrap();
        assert_eq!(json, r#""a{{tenant}}""#);
        assert!(serde_json::from_str::<KeyTemplate>(r#""a{{run}}""#).is_err());
    }

    #[test]
    fn what_is_no_template_is_said() {
        let fault = |text: &str| KeyTemplate::parse(text).unwrap_err();
        assert_eq!(fault(" "), BadKeyTemplate::Empty);
        assert_eq!(fault("a{{tenant"), BadKeyTemplate::Open);
        assert_eq!(fault("{{input}}"), BadKeyTemplate::UnknownName("input".to_owned()));
        assert_eq!(fault(&"a".repeat(limits::CONCURRENCY_KEY_BYTES_MAX + 1)), BadKeyTemplate::TooLong);
        assert_eq!(BadKeyTemplate::Open.to_string(), "\"{{\" is not closed");
    }

    #[test]
    fn the_longest_pattern_that_fits_gives_the_limit() {
        let limits = ConcurrencyLimits::new([("openai:*", 8), ("openai:big*", 3), ("openai:bigger", 2)]).unwrap();
        assert_eq!(limits.of("openai:acme"), Some(8));
        assert_eq!(limits.of("openai:big"), Some(3));
        assert_eq!(limits.of("openai:bigger"), Some(2));
        assert_eq!(limits.of("openai:biggest"), Some(3));
        assert_eq!(limits.of("openai"), None);
        assert_eq!(ConcurrencyLimits::new([("*", 4)]).unwrap().of("ä"), Some(4));
        assert_eq!(ConcurrencyLimits::new([("a", 0)]), Err(BadLimit::Zero("a".to_owned())));
        for pattern in ["", "a*b", "**"] {
            assert_eq!(ConcurrencyLimits::new([(pattern, 1)]), Err(BadLimit::Pattern(pattern.to_owned())));
        }
    }
}
