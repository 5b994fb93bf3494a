//! Instants as RFC 3339, UTC, with milliseconds.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Milliseconds since 1970, written as `2026-05-02T09:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) i64);

impl Time {
    /// Reads any RFC 3339 text. Less than a millisecond is dropped.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse::<Timestamp>().ok().map(|time| Self(time.as_millisecond()))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => serializer.collect_str(&format_args!("{time:.3}")),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        let text = |millis| serde_json::to_string(&Time(millis)).unwrap();
        assert_eq!(text(0), r#""1970-01-01T00:00:00.000Z""#);
        assert_eq!(text(1_777_712_400_007), r#""2026-05-02T09:00:00.007Z""#);
        assert_eq!(Time::parse("2026-05-02T11:00:00.007+02:00"), Some(Time(1_777_712_400_007)));
        assert_eq!(Time::parse("yesterday"), None);
        assert!(serde_json::to_string(&Time(i64::MAX)).is_err());
    }
}
