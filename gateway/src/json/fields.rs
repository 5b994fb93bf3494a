//! The members of a request body, each as the text it was sent as.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dto::time::Time;
use crate::http::error::ApiError;

/// Above this, numbers with a fraction part skip whole numbers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The top-level members of a JSON object. `null` reads as absent, except where [`Fields::nullable_text`] is asked.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Takes a body apart.
    ///
    /// # Errors
    /// 400 `invalid_json` when it is no JSON, or no object.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| match serde_json::from_slice::<IgnoredAny>(body) {
            // The error speaks of Rust's types.
            Ok(_) if kind_of(body) != "an object" => ApiError::wrong_kind("an object", kind_of(body)),
            Ok(_) => ApiError::invalid_json(&error),
            Err(error) => ApiError::invalid_json(&error),
        })
    }

    /// The names of all members.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.raw(name).filter(|value| value.get() != "null")
    }

    /// A member as its text, if it is there and not `null`.
    pub(crate) fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name)
    }

    /// All members, in their order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (&**key, *value))
    }

    /// Whether the member is there, whatever it holds but `null`.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether the member is there and says something: not `null`, not `false`, not an empty array or object.
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            let text = value.get();
            let is_empty = text.len() >= 2
                && matches!(text.as_bytes()[0], b'[' | b'{')
                && text[1..text.len() - 1].trim().is_empty();
            text != "false" && !is_empty
        })
    }

    /// A string that any database keeps as it is.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        let text: Option<String> = self.typed(name, "a string")?;
        without_nul(name, text.as_slice())?;
        Ok(text)
    }

    /// What names something: a string that is not empty. Empty is not absent, since what is done without a name is another thing.
    pub(crate) fn id(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.text(name)? {
            Some(id) if id.is_empty() => Err(ApiError::empty_field(name)),
            id => Ok(id),
        }
    }

    /// A string, or `null`, which is told apart from an absent member.
    pub(crate) fn nullable_text(&self, name: &'static str) -> Result<Option<Option<String>>, ApiError> {
        match self.raw(name) {
            None => Ok(None),
            Some(_) => self.text(name).map(Some),
        }
    }

    /// A boolean.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.typed(name, "true or false")
    }

    /// A whole number that is not negative; `3600.0` is one, too.
    pub(crate) fn count(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let expected = "a whole number, 0 or more";
        match self.typed::<u64>(name, expected) {
            Ok(count) => Ok(count),
            Err(refused) => match self.typed::<f64>(name, expected)? {
                Some(number) if number.fract() == 0.0 && (0.0..=WHOLE_MAX).contains(&number) => Ok(Some(number as u64)),
                _ => Err(refused),
            },
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<f64>, ApiError> {
        self.typed(name, "a number")
    }

    /// An instant, in milliseconds since 1970.
    pub(crate) fn instant(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = Time::parse(&text).ok_or_else(|| {
            ApiError::invalid_field(name, "an instant in the form of RFC 3339, such as 2026-05-02T09:00:00Z")
        })?;
        Ok(Some(time.0))
    }

    /// An array of strings.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Option<Vec<String>>, ApiError> {
        let texts: Option<Vec<String>> = self.typed(name, "an array of strings")?;
        without_nul(name, texts.as_deref().unwrap_or_default())?;
        Ok(texts)
    }

    /// The text of an array.
    pub(crate) fn array(&self, name: &'static str) -> Result<Option<&'a [u8]>, ApiError> {
        self.shaped(name, b'[', "an array")
    }

    /// The text of an object.
    pub(crate) fn object(&self, name: &'static str) -> Result<Option<&'a [u8]>, ApiError> {
        self.shaped(name, b'{', "an object")
    }

    /// The text of any value.
    pub(crate) fn any(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name).map(|value| value.get().as_bytes())
    }

    /// # Errors
    /// 400 `unknown_field` when there is a member that `known` does not list.
    pub(crate) fn refuse_unknown(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.first_unknown(known) {
            None => Ok(()),
            Some(key) => Err(ApiError::unknown_field(key, known)),
        }
    }

    /// The first member that `known` does not list, whatever it holds.
    pub(crate) fn first_unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(key, _)| &**key).find(|key| !known.contains(key))
    }

    fn typed<T: Deserialize<'a>>(&self, name: &'static str, expected: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map(Some).map_err(|_| ApiError::invalid_field(name, expected))
    }

    fn shaped(&self, name: &'static str, first: u8, expected: &str) -> Result<Option<&'a [u8]>, ApiError> {
        match self.get(name).map(|value| value.get().as_bytes()) {
            Some(text) if text[0] != first => Err(ApiError::invalid_field(name, expected)),
            text => Ok(text),
        }
    }
}

/// What a text that is JSON is in JSON's own words.
fn kind_of(text: &[u8]) -> &'static str {
    match text.trim_ascii_start().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn without_nul(name: &'static str, texts: &[String]) -> Result<(), ApiError> {
    match texts.iter().any(|text| text.contains('\0')) {
        true => Err(ApiError::invalid_field(name, "text without the character U+0000")),
        false => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Fields(members))
            }
        }

        /// A key that borrows from the body unless it holds an escape.
        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_text() {
        let body = br#"{"nodes": [ {"id" : "a","n":1.0} ],"name":"x","gone":null,"on":true,"tags":["t"]}"#;
        let fields = Fields::parse(body).unwrap();
        assert_eq!(fields.array("nodes").unwrap().unwrap(), br#"[ {"id" : "a","n":1.0} ]"#);
        assert_eq!(fields.text("name").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.text("gone").unwrap(), None);
        assert_eq!(fields.nullable_text("gone").unwrap(), Some(None));
        assert_eq!(fields.nullable_text("absent").unwrap(), None);
        assert_eq!(fields.flag("on").unwrap(), Some(true));
        assert_eq!(fields.texts("tags").unwrap().unwrap(), ["t"]);
    }

    #[test]
    fn wrong_types_are_refused() {
        let fields =
            Fields::parse(br#"{"nodes":{},"name":1,"on":"yes","inputs":[],"nul":"a\u0000","nuls":["\u0000"]}"#);
        let fields = fields.unwrap();
        assert!(fields.text("nul").is_err() && fields.texts("nuls").is_err());
        assert!(fields.array("nodes").is_err());
        assert!(fields.text("name").is_err());
        assert!(fields.flag("on").is_err());
        assert!(fields.object("inputs").is_err());
        assert!(fields.refuse_unknown(&["nodes", "name", "on"]).is_err());
        let empty = Fields::parse(br#"{"targetNodeId":"","planToken":null}"#).unwrap();
        let refused = empty.id("targetNodeId").unwrap_err();
        assert_eq!((refused.status.as_u16(), empty.id("planToken").unwrap()), (422, None));
        for body in ["", "[]", "1", "{\"a\":}", "{\"a\":1} x", "\u{FEFF}{}"] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_named_in_the_words_of_json() {
        for (body, found) in [
            ("[]", "an array"),
            (" [1]", "an array"),
            ("1", "a number"),
            ("\"x\"", "a string"),
            ("true", "a boolean"),
            ("null", "null"),
        ] {
            let refusal = Fields::parse(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.message, format!("the body must be an object, not {found}"), "{body}");
        }
        for body in ["[", "nonsense", "{\"a\":}", "{} {}", ""] {
            let refusal = Fields::parse(body.as_bytes()).unwrap_err();
            assert!(refusal.details.iter().any(|(name, _)| *name == "line"), "{body}: {refusal:?}");
            let words = ["struct", "sequence", "map", "unit"];
            assert!(!words.iter().any(|word| refusal.message.contains(word)), "{body}: {refusal:?}");
        }
    }

    #[test]
    fn only_what_says_something_asks() {
        let fields = Fields::parse(br#"{"a":null,"b":false,"c":[],"d":{ },"e":[1],"f":true,"g":""}"#).unwrap();
        let asking: Vec<_> =
            ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().filter(|name| fields.asks_for(name)).collect();
        assert_eq!(asking, ["e", "f", "g"]);
    }
}
