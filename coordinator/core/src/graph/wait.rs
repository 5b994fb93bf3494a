//! How long a `logic:wait` waits: texts for lengths of time and for instants.

use jiff::civil::{DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::Graph;
use super::json::Json;
use super::problem::{Problem, rule, shown};
use crate::id::NodeIx;
use crate::limits::{TIMEZONE_BYTES_MAX, WAIT_MAX};
use crate::node_type::{Control, Runner};
use crate::time::{Span, Timestamp};

/// Of `2030-01-31T09:00:00`.
const DATE_TIME_BYTES: usize = 19;
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
            Pause::Local(local, zone) => local.instant(&zone, now).ok_or("until is too far off.")?.max(now),
        };
        if due > now.plus(WAIT_MAX) { Err(too_long()) } else { Ok(due) }
    }
}

impl Graph {
    /// Waits that would fail if the graph ran now: for an instant further off than one may be. It may be near enough when it does.
    pub fn far_waits(&self, now: Timestamp) -> Vec<Problem> {
        let waits = self.nodes().filter(|(_, node)| node.runner == Runner::Control(Control::Wait));
        let far = waits.filter_map(|(ix, node)| Some((node, self.wait_until(ix, now).err()?)));
        let problem = |(node, message): (&super::Node, String)| {
            let message = format!("Node \"{}\" would fail if it ran now: {message}", shown(&node.label));
            Problem::new(rule::WAIT_TOO_LONG, message, "Write an until that is nearer.").node(&node.id)
        };
        far.map(problem).collect()
    }
}

/// What a wait's config asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pause {
    For(Span),
    Until(Timestamp),
    /// What clocks show in a time zone.
    Local(LocalTime, TimeZone),
}

/// A time without an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalTime {
    /// Of one day.
    Date(DateTime),
    /// Of any day: the next one is meant.
    OfDay(Time),
}

impl Pause {
    /// Reads `for`, `forMs` or `until` of a config.
    pub(super) fn read(config: Json<'_>) -> Result<Self, String> {
        let given = ["for", "forMs", "until"].map(|key| config.get(key).filter(|value| !value.is_null()));
        let has_zone = config.get("timezone").is_some_and(|value| !value.is_null());
        match given {
            [_, _, None] if has_zone => Err("timezone is only of use with a local time in until.".to_owned()),
            [Some(value), None, None] => span(value).map(Pause::For),
            [None, Some(value), None] => match value.as_number() {
                Some(millis) => checked(millis).map(Pause::For),
                None => Err("forMs is not a number of milliseconds.".to_owned()),
            },
            [None, None, Some(value)] => {
                let text = value.as_text().ok_or("until is not a text like 2030-01-31T09:00:00Z.")?;
                until(&text, config.get("timezone"))
            }
            [None, None, None] => Err("The wait has none of for, forMs and until.".to_owned()),
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

/// What `until` means, with the time zone that is named beside it.
fn until(text: &str, timezone: Option<Json<'_>>) -> Result<Pause, String> {
    let timezone = timezone.filter(|value| !value.is_null()).map(zone).transpose()?;
    if text.contains('[') {
        return Err(
            "until has a time zone in brackets; write it as timezone, beside a time without an offset.".to_owned()
        );
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return match timezone {
            None => Ok(Pause::Until(Timestamp::from_millis(at.as_millisecond()))),
            Some(_) => Err("until says its offset itself; take timezone out, or the offset.".to_owned()),
        };
    }
    let local = match text.as_bytes().get(2) {
        Some(b':') => text.parse().map(LocalTime::OfDay).ok(),
        _ => text.parse().map(LocalTime::Date).ok(),
    };
    let Some(local) = local.filter(|_| !has_offset(text)) else {
        if text.get(..DATE_TIME_BYTES).is_some_and(|start| start.parse::<DateTime>().is_ok()) {
            return Err("until is no instant that there is, or too far off; its offset is like Z or +02:00.".to_owned());
        }
        return Err(
            "until is neither an RFC 3339 time like 2030-01-31T09:00:00Z nor a local one like 2030-01-31T09:00 \
                    or 09:00."
                .to_owned(),
        );
    };
    match timezone {
        Some(zone) => Ok(Pause::Local(local, zone)),
        None => Err("until is a local time; write timezone, such as \"Europe/Berlin\", or an offset.".to_owned()),
    }
}

/// Whether an offset stands behind a time: a local one has none, and nothing is left out that somebody has written.
fn has_offset(text: &str) -> bool {
    let clock = text.split_once(['T', 't', ' ']).map_or(text, |(_, clock)| clock);
    clock.contains(|letter: char| !matches!(letter, '0'..='9' | ':' | '.'))
}

fn zone(value: Json<'_>) -> Result<TimeZone, String> {
    let unknown = || "timezone is not the name of a time zone, such as \"Europe/Berlin\" or \"UTC\".".to_owned();
    let name = value.as_text().filter(|name| name.len() <= TIMEZONE_BYTES_MAX).ok_or_else(unknown)?;
    // What is compiled in, never the machine's own: all coordinators mean the same.
    TimeZoneDatabase::bundled().get(&name).map_err(|_| unknown())
}

impl LocalTime {
    /// Which instant it is, seen from now. A time that the clocks skip is as much later as they skip; of one that comes twice the
    /// first is meant.
    fn instant(self, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let at = |local: DateTime| {
            let at = zone.to_ambiguous_timestamp(local).compatible().ok()?;
            Some(Timestamp::from_millis(at.as_millisecond()))
        };
        match self {
            LocalTime::Date(local) => at(local),
            LocalTime::OfDay(time) => {
                let now_there = zone.to_datetime(jiff::Timestamp::from_millisecond(now.as_millis()).ok()?);
                // Where the clocks skip most of a day, the second one may have passed, too.
                let days = std::iter::successors(Some(now_there.date()), |day| day.tomorrow().ok()).take(3);
                days.filter_map(|day| at(day.to_datetime(time))).find(|at| *at > now)
            }
        }
    }
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
            assert_eq!(until(text, None), Ok(Pause::Until(Timestamp::from_millis(millis))), "{text}");
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
            r#"{"until":"2030-01-31T09:00:00+05:00[Europe/Berlin]"}"#,
            r#"{"until":"9999-12-31T23:59:59Z"}"#,
            r#"{"until":"2026-02-29T00:00:00Z"}"#,
            r#"{"until":"2026-01-01T00:00:00"}"#,
            r#"{"until":"2026-01-01T00:00:00é"}"#,
            r#"{"until":"09:00"}"#,
            r#"{"until":"09:00","timezone":"Europe/Atlantis"}"#,
            r#"{"until":"09:00","timezone":7}"#,
            r#"{"until":"25:00","timezone":"UTC"}"#,
            r#"{"until":"2026-02-30T09:00","timezone":"UTC"}"#,
            r#"{"until":"2026-01-01T09:00:00Z","timezone":"UTC"}"#,
            r#"{"until":"2026-12-24","timezone":"UTC"}"#,
            r#"{"until":"09:00Z","timezone":"UTC"}"#,
            r#"{"until":"09:00+01:00","timezone":"UTC"}"#,
            r#"{"for":"5s","timezone":"UTC"}"#,
        ] {
            assert!(read(config).is_err(), "{config}");
        }
    }

    /// What a local time means, as people write instants.
    fn local(text: &str, zone: &str, now: &str) -> String {
        let config = serde_json::json!({ "until": text, "timezone": zone }).to_string();
        let Ok(Pause::Local(local, zone)) = read(&config) else { panic!("{config} is no local time") };
        let now = now.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let at = local.instant(&zone, Timestamp::from_millis(now)).unwrap();
        jiff::Timestamp::from_millisecond(at.as_millis()).unwrap().to_string()
    }

    #[test]
    fn a_local_time_is_one_of_its_place() {
        let now = "2026-11-27T18:00:00Z";
        for (text, zone, at) in [
            ("2026-12-24T18:00", "Europe/Berlin", "2026-12-24T17:00:00Z"),
            ("2026-06-24T18:00", "Europe/Berlin", "2026-06-24T16:00:00Z"),
            ("2026-12-24T18:00:30.5", "Asia/Kolkata", "2026-12-24T12:30:30.5Z"),
            ("2026-12-24 18:00", "America/New_York", "2026-12-24T23:00:00Z"),
        ] {
            assert_eq!(local(text, zone, now), at, "{text} {zone}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_next_one() {
        for (text, zone, now, at) in [
            ("09:00", "UTC", "2026-11-27T08:59:59.999Z", "2026-11-27T09:00:00Z"),
            ("09:00", "UTC", "2026-11-27T09:00:00Z", "2026-11-28T09:00:00Z"),
            // There it is tomorrow already.
            ("09:00", "Asia/Tokyo", "2026-11-27T18:00:00Z", "2026-11-28T00:00:00Z"),
            // A day of 23 hours lies between.
            ("09:00", "Europe/Berlin", "2026-03-28T10:00:00Z", "2026-03-29T07:00:00Z"),
            // Samoa has left out a day.
            ("09:00", "Pacific/Apia", "2011-12-29T20:00:00Z", "2011-12-30T19:00:00Z"),
        ] {
            assert_eq!(local(text, zone, now), at, "{text} {zone} {now}");
        }
    }

    #[test]
    fn where_the_clocks_are_changed_there_is_a_rule() {
        let now = "2026-01-01T00:00:00Z";
        // From 2 to 3 in the morning: 2:30 is not, and half past three is meant.
        assert_eq!(local("2026-03-29T02:30", "Europe/Berlin", now), "2026-03-29T01:30:00Z");
        // From 3 back to 2: half past two is twice, and the first is meant.
        assert_eq!(local("2026-10-25T02:30", "Europe/Berlin", now), "2026-10-25T00:30:00Z");
        // Between the two, the next one is that of the next day.
        assert_eq!(local("02:30", "Europe/Berlin", "2026-10-25T00:45:00Z"), "2026-10-26T01:30:00Z");
        assert_eq!(local("02:30", "Europe/Berlin", "2026-03-29T00:00:00Z"), "2026-03-29T01:30:00Z");
    }
}
