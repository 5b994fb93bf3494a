//! `utility:datetime`: reads, shifts and writes a time.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::call::{Call, output, refused};
use crate::runners::{Failure, Manifest, Port, PortType};

/// RFC 3339 with the offset of the zone.
const FORMAT: &str = "%Y-%m-%dT%H:%M:%S%:z";
/// Bytes of a format: it may ask for long fields.
const FORMAT_BYTES_MAX: usize = 256;

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "format": {"type": "string", "default": FORMAT, "description": "How the time is written, with the letters of strftime."},
        "parse": {"type": "string", "description": "How the value is read, with the letters of strptime; without it, RFC 3339, a date, or seconds since 1970."},
        "tz": {"type": "string", "default": "UTC", "description": "The time zone it is written in, and read in where it names none: for example Europe/Berlin."},
        "add": {"type": "string", "description": "What is added: \"2 days\", \"-1h30m\" or \"P1M\", by the calendar of the time zone."},
    });
    Manifest::pure(
        "utility:datetime",
        "Date and time",
        "Reads a time, adds to it, and writes it; without a value it is the time of the run.",
    )
    .ports(
        [Port::new("value", PortType::Text)],
        [Port::new("text", PortType::Text), Port::new("epoch", PortType::Number)],
    )
    .config(&[], properties)
    .aliases(&[], &[], &[("timezone", "tz")])
    .example(
        "The day after, over a change of the clocks",
        json!({"tz": "Europe/Berlin", "add": "1 day", "format": "%A %H:%M %Z"}),
        json!({"value": "2026-03-28T12:00:00+01:00"}),
        json!({"text": "Sunday 12:00 CEST", "epoch": 1_774_778_400}),
    )
}

#[derive(Deserialize)]
struct Config {
    format: Option<String>,
    parse: Option<String>,
    tz: Option<String>,
    add: Option<String>,
}

pub(super) fn run(call: &Call) -> Answer {
    let config: Config = call.config()?;
    let zone = zone(config.tz.as_deref().unwrap_or("UTC"))?;
    let time = match call.value("value")? {
        Some(Value::Null) | None => Timestamp::now().to_zoned(zone),
        Some(value) => read(&value, config.parse.as_deref(), &zone)?,
    };
    let time = match &config.add {
        Some(span) => add(&time, span)?,
        None => time,
    };
    let format = config.format.as_deref().unwrap_or(FORMAT);
    let bad_format = |what: String| refused("format_invalid", format!("the format cannot be used: {what}; correct it"));
    if format.len() > FORMAT_BYTES_MAX {
        return Err(bad_format(format!("it has more than {FORMAT_BYTES_MAX} bytes")));
    }
    let text = strtime::format(format, &time).map_err(|error| bad_format(error.to_string()))?;
    Ok(vec![output("text", text), output("epoch", epoch(time.timestamp()))])
}

fn zone(name: &str) -> Result<TimeZone, Failure> {
    TimeZone::get(name).map_err(|_| {
        refused("tz_unknown", format!("there is no time zone {name:?}; write it like Europe/Berlin, or UTC"))
    })
}

fn read(value: &Value, format: Option<&str>, zone: &TimeZone) -> Result<Zoned, Failure> {
    let invalid = |what: &str| {
        let value = value.to_string().chars().take(80).collect::<String>();
        refused("time_invalid", format!("{value} is no time: {what}; write it like 2026-11-26T12:00:00Z, or set parse"))
    };
    let text = match value {
        Value::Number(number) => {
            let seconds = number.as_f64().unwrap_or(f64::NAN);
            return from_seconds(seconds)
                .map(|time| time.to_zoned(zone.clone()))
                .ok_or_else(|| invalid("it is too far off"));
        }
        Value::String(text) => text.trim(),
        _ => return Err(invalid("it is no text")),
    };
    if let Some(format) = format {
        let parts = strtime::parse(format, text).map_err(|error| invalid(&error.to_string()))?;
        let time = parts.to_zoned().or_else(|_| parts.to_datetime().and_then(|time| time.to_zoned(zone.clone())));
        let time = time.or_else(|_| parts.to_date().and_then(|date| date.to_zoned(zone.clone())));
        return time.map(|time| time.with_time_zone(zone.clone())).map_err(|error| invalid(&error.to_string()));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_zoned(zone.clone()));
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    civil.and_then(|time| time.to_zoned(zone.clone())).map_err(|error| invalid(&error.to_string()))
}

fn from_seconds(seconds: f64) -> Option<Timestamp> {
    let milliseconds = (seconds * 1_000.0).round();
    // Beyond this a float has no milliseconds left; jiff refuses earlier.
    (milliseconds.abs() < 9e15).then(|| Timestamp::from_millisecond(milliseconds as i64).ok())?
}

fn add(time: &Zoned, span: &str) -> Result<Zoned, Failure> {
    let span: Span = span.parse().map_err(|error| {
        refused("add_invalid", format!("add cannot be used: {error}; write it like \"2 days\" or \"-1h30m\""))
    })?;
    time.checked_add(span).map_err(|error| refused("add_invalid", format!("add leads too far: {error}; add less")))
}

/// Seconds since 1970; a fraction only if there is one.
fn epoch(time: Timestamp) -> Value {
    match time.subsec_nanosecond() {
        0 => Value::from(time.as_second()),
        _ => Value::from(time.as_millisecond() as f64 / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, all, code};
    use super::*;

    fn at(config: Value, value: Value) -> Given {
        Given::config(config).one("value", value)
    }

    #[test]
    fn times_are_read_in_their_zone() {
        let written = |config, value| all(run, at(config, value))["text"].clone();
        assert_eq!(written(json!({}), json!("2026-11-26T12:00:00+01:00")), json!("2026-11-26T11:00:00+00:00"));
        assert_eq!(written(json!({"tz": "Asia/Kolkata"}), json!("2026-11-26")), json!("2026-11-26T00:00:00+05:30"));
        assert_eq!(written(json!({}), json!(0)), json!("1970-01-01T00:00:00+00:00"));
        let german = json!({"parse": "%d.%m.%Y %H:%M", "tz": "Europe/Berlin", "format": "%FT%T%:z"});
        assert_eq!(written(german, json!("26.11.2026 09:30")), json!("2026-11-26T09:30:00+01:00"));
        assert_eq!(all(run, at(json!({}), json!(1.5)))["epoch"], json!(1.5));
    }

    #[test]
    fn months_are_added_by_the_calendar() {
        let added = |add: &str| all(run, at(json!({"add": add, "format": "%F"}), json!("2024-01-31")))["text"].clone();
        assert_eq!(added("1 month"), json!("2024-02-29"));
        assert_eq!(added("P1Y"), json!("2025-01-31"));
        assert_eq!(added("-24h"), json!("2024-01-30"));
    }

    #[test]
    fn without_a_value_it_is_now() {
        let before = Timestamp::now().as_second();
        let epoch = all(run, Given::config(json!({"format": "%s"})))["epoch"].as_f64().unwrap();
        assert!(epoch >= before as f64 && epoch <= Timestamp::now().as_second() as f64 + 1.0);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for value in [json!("soon"), json!("2026-13-01"), json!(1e18), json!({}), json!("")] {
            assert_eq!(code(run, at(json!({}), value)), "time_invalid");
        }
        assert_eq!(code(run, at(json!({"tz": "Mars/Olympus"}), json!(0))), "tz_unknown");
        assert_eq!(code(run, at(json!({"add": "a while"}), json!(0))), "add_invalid");
        assert_eq!(code(run, at(json!({"add": "P9000Y"}), json!(0))), "add_invalid");
        assert_eq!(code(run, at(json!({"format": "%!"}), json!(0))), "format_invalid");
        assert_eq!(code(run, at(json!({"format": "%Y".repeat(200)}), json!(0))), "format_invalid");
    }
}
