//! How long a `logic:wait` waits: texts for lengths of time and for instants.

use super::Graph;
use super::json::Json;
use crate::id::NodeIx;
use crate::limits::WAIT_MAX;
use crate::time::{Span, Timestamp};

const SECOND_MS: f64 = 1_000.0;
const MINUTE_MS: f64 = 60.0 * SECOND_MS;
const HOUR_MS: f64 = 60.0 * MINUTE_MS;
const DAY_MS: f64 = 24.0 * HOUR_MS;

impl Graph {
    /// When the wait of this node is due if it begins now; never before now, at most [`WAIT_MAX`] after it. The error is
    /// a sentence for the run's author.
    pub fn wait_until(&self, ix: NodeIx, now: Timestamp) -> Result<Timestamp, String> {
        let config = std::str::from_utf8(&self.node(ix).config).unwrap_or_default();
        let due = match Pause::read(Json(config))? {
            Pause::For(span) => now.plus(span),
            Pause::Until(at) => at.max(now),
        };
        if due > now.plus(WAIT_MAX) { Err(too_long()) } else { Ok(due) }
    }
}

/// What a wait's config asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    For(Span),
    Until(Timestamp),
}

impl Pause {
    /// Reads `for`, `forMs` or `until` of a config.
    pub(super) fn read(config: Json<'_>) -> Result<Self, String> {
        let given = ["for", "forMs", "until"].map(|key| config.get(key).filter(|value| !value.is_null()));
        match given {
            [Some(value), None, None] => span(value).map(Pause::For),
            [None, Some(value), None] => match value.as_number() {
                Some(millis) => checked(millis).map(Pause::For),
                None => Err("forMs is not a number of milliseconds.".to_owned()),
            },
            [None, None, Some(value)] => match value.as_text().and_then(|text| instant(&text)) {
                Some(at) => Ok(Pause::Until(at)),
                None => Err("until is not an RFC 3339 time like 2030-01-31T09:00:00Z.".to_owned()),
            },
            [None, None, None] => Err("The wait has neither for nor until.".to_owned()),
            _ => Err("The wait has several of for, forMs and until; keep one.".to_owned()),
        }
    }
}

fn span(value: Json<'_>) -> Result<Span, String> {
    let millis = match value.as_text() {
        Some(text) => text.strip_prefix('P').map_or_else(|| short_span(&text), iso_span),
        None => value.as_number(),
    };
    checked(millis.ok_or("for is neither a number of milliseconds nor a time like \"5s\" or \"PT5S\".")?)
}

fn checked(millis: f64) -> Result<Span, String> {
    if !millis.is_finite() || millis < 0.0 {
        return Err("A wait cannot be negative.".to_owned());
    }
    if millis > WAIT_MAX.as_millis() as f64 {
        return Err(too_long());
    }
    Ok(Span::from_millis(millis.ceil() as u64))
}

fn too_long() -> String {
    format!("A wait is at most {} days.", WAIT_MAX.as_millis() as f64 / DAY_MS)
}

/// `1h30m`, `5s`, `250ms`.
fn short_span(text: &str) -> Option<f64> {
    parts(text, |unit| match unit {
        "ms" => Some(1.0),
        "s" => Some(SECOND_MS),
        "m" => Some(MINUTE_MS),
        "h" => Some(HOUR_MS),
        "d" => Some(DAY_MS),
        _ => None,
    })
}

/// What follows the P of `PT5S`, `P1DT12H`, `P2W`. Months and years have no fixed length.
fn iso_span(text: &str) -> Option<f64> {
    let (days, time) = text.split_once('T').map_or((text, None), |(days, time)| (days, Some(time)));
    let days = match days {
        "" if time.is_some() => 0.0,
        days => parts(days, |unit| match unit {
            "D" => Some(DAY_MS),
            "W" => Some(7.0 * DAY_MS),
            _ => None,
        })?,
    };
    let time = time.map(|time| {
        parts(time, |unit| match unit {
            "H" => Some(HOUR_MS),
            "M" => Some(MINUTE_MS),
            "S" => Some(SECOND_MS),
            _ => None,
        })
    });
    Some(days + time.unwrap_or(Some(0.0))?)
}

/// The sum of numbers, each with its unit.
fn parts(text: &str, unit_ms: fn(&str) -> Option<f64>) -> Option<f64> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() || sum == 0.0 && rest.len() == text.len() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        sum += number.parse::<f64>().ok()? * unit_ms(unit)?;
        rest = after;
    }
    Some(sum)
}

/// An RFC 3339 time.
fn instant(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (clock, zone) = time.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let (millis, zone) = match zone.strip_prefix('.') {
        None => (0, zone),
        Some(fraction) => {
            let end = fraction.find(|c: char| !c.is_ascii_digit())?;
            let digits = fraction.get(..end).filter(|digits| !digits.is_empty())?;
            (format!("{digits:0<3}")[..3].parse::<i64>().ok()?, &fraction[end..])
        }
    };
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        zone => {
            let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
            let sign = if zone.starts_with('+') { Some(1) } else { zone.starts_with('-').then_some(-1) };
            sign.filter(|_| hours < 24 && minutes < 60)? * (hours * 60 + minutes)
        }
    };
    // A leap second counts as the second after it, as everywhere in Unix time.
    if !(1..=12).contains(&month)
        || !(1..=month_days(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some(Timestamp::from_millis((minutes * 60 + second) * 1_000 + millis))
}

fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut out = [0; N];
    for (number, width) in out.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = |year: i64| 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let months: i64 = (1..month).map(|earlier| month_days(year, earlier)).sum();
    before(year) - before(1970) + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Pause, String> {
        Pause::read(Json(config))
    }

    #[test]
    fn lengths_are_read_in_all_their_forms() {
        let cases = [
            (r#"{"for":1500}"#, 1_500),
            (r#"{"forMs":0}"#, 0),
            (r#"{"for":"5s"}"#, 5_000),
            (r#"{"for":"1h30m"}"#, 5_400_000),
            (r#"{"for":"250ms","until":null}"#, 250),
            (r#"{"for":"1.5s"}"#, 1_500),
            (r#"{"for":"PT5S"}"#, 5_000),
            (r#"{"for":"P1DT12H"}"#, 129_600_000),
            (r#"{"for":"P2W"}"#, 1_209_600_000),
            (r#"{"for":"PT0S"}"#, 0),
        ];
        for (config, millis) in cases {
            assert_eq!(read(config), Ok(Pause::For(Span::from_millis(millis))), "{config}");
        }
    }

    #[test]
    fn instants_are_read_with_their_zone() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.25Z", 951_825_600_250),
            ("2026-11-23T22:00:00+02:00", 1_795_464_000_000),
            ("1969-12-31T19:00:00.000-05:00", 0),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ];
        for (text, millis) in cases {
            assert_eq!(instant(text), Some(Timestamp::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for config in [
            r#"{}"#,
            r#"{"for":-1}"#,
            r#"{"for":1e999}"#,
            r#"{"for":"5"}"#,
            r#"{"for":""}"#,
            r#"{"for":"P"}"#,
            r#"{"for":"PT"}"#,
            r#"{"for":"P1M"}"#,
            r#"{"for":"9999d"}"#,
            r#"{"for":1,"forMs":1}"#,
            r#"{"until":"tomorrow"}"#,
            r#"{"until":"2026-02-29T00:00:00Z"}"#,
            r#"{"until":"2026-01-01T00:00:00"}"#,
            r#"{"until":"2026-01-01T00:00:00é"}"#,
        ] {
            assert!(read(config).is_err(), "{config}");
        }
    }
}
