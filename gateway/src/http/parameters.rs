//! A query as the type of its route. The texts are read here and not by a library, so that a refusal names the parameter and says
//! in our own words what is wrong with it.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::ApiError;

/// Reads a query. Parameters that the type does not have are ignored, however often they are there.
///
/// # Errors
/// 400 `invalid_parameter`
pub(super) fn read<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let pairs = pairs.map(|(name, text)| (name.clone(), Text { name, text }));
    T::deserialize(MapDeserializer::new(pairs))
        .map_err(|fault: Fault| ApiError::bad_request("invalid_parameter", fault.to_string()))
}

/// What a parameter says.
struct Text<'de> {
    name: Cow<'de, str>,
    text: Cow<'de, str>,
}

/// What is wrong with a query.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the query parameter {0} is there more than once; give it once")]
    Repeated(&'static str),
    #[error("the query parameter {0} is missing")]
    Missing(&'static str),
    #[error("the query parameter {0} must be a whole number from 0 to {max}", max = u64::MAX)]
    NoNumber(String),
    #[error("the query of this request cannot be read: {0}")]
    Other(String),
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::Repeated(name)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.text.into_owned())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => Err(Fault::NoNumber(self.name.into_owned())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        bytes: u64,
        workflow_id: Option<String>,
        expires: Option<u64>,
    }

    #[test]
    fn a_query_is_its_texts_by_name() {
        let some = Asked { bytes: 7, workflow_id: Some("ä b".to_owned()), expires: None };
        assert_eq!(read::<Asked>("bytes=7&workflowId=%C3%A4+b&other=1&other=2").unwrap(), some);
        let empty = Asked { workflow_id: Some(String::new()), expires: Some(u64::MAX), ..some };
        assert_eq!(read::<Asked>("workflowId=&bytes=7&expires=18446744073709551615").unwrap(), empty);
    }

    #[test]
    fn a_fault_names_its_parameter() {
        let number = "must be a whole number from 0 to 18446744073709551615";
        for (query, expected) in [
            (
                "bytes=1&workflowId=1&workflowId=1",
                "the query parameter workflowId is there more than once; give it once",
            ),
            ("bytes=1&bytes=2", "the query parameter bytes is there more than once; give it once"),
            ("workflowId=1", "the query parameter bytes is missing"),
            ("", "the query parameter bytes is missing"),
            ("bytes=many", &format!("the query parameter bytes {number}")),
            ("bytes=1&expires=", &format!("the query parameter expires {number}")),
        ] {
            let refused = read::<Asked>(query).unwrap_err();
            assert_eq!((&*refused.code, &*refused.message), ("invalid_parameter", expected), "{query}");
        }
    }
}
