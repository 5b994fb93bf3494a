//! Points in time and spans, as people read them. Times are UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 of an RFC 3339 time in UTC, as the API writes it.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute): (i64, i64) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let seconds: f64 = time.next()?.parse().ok()?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && seconds < 61.0;
    let minutes = hour * 60 + minute;
    in_range.then(|| days_from_civil(year, month, day) * DAY_MS + minutes * 60_000 + (seconds * 1000.0).round() as i64)
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A date as `2026-05-02`.
pub fn date(at_ms: i64) -> String {
    let (year, month, day) = civil_from_days(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// A point in time as the API writes it: `2026-05-02T09:00:00.250Z`.
pub fn rfc3339(at_ms: i64) -> String {
    let of_day = at_ms.rem_euclid(DAY_MS);
    let (seconds, ms) = (of_day / 1_000, of_day % 1_000);
    format!("{}T{:02}:{:02}:{:02}.{ms:03}Z", date(at_ms), seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A span in two units at most: `340 ms`, `2.1 s`, `3 min 4 s`, `2 h 5 min`, `3 d 4 h`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64().min(59.9)),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long something took, or goes on by now; empty where its start is not known.
pub fn elapsed(start: Option<&str>, end: Option<&str>) -> String {
    let Some(start) = start.and_then(parse) else { return String::new() };
    let end = end.and_then(parse).unwrap_or_else(now_ms);
    span(Duration::from_millis(u64::try_from(end - start).unwrap_or(0)))
}

/// Reads `90`, `90s`, `1500ms`, `5m`, `2h`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} is not a time span such as 90s or 5m"))?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        unit => return Err(format!("{unit:?} is not a unit of time: use ms, s, m or h")),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

/// Days from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + days.div_euclid(146_097) * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(parse("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(parse("2026-05-02T09:00:00.250Z"), Some(1_777_712_400_250));
        assert_eq!(parse("2024-02-29T23:59:59Z"), Some(1_709_251_199_000));
        for wrong in ["", "2026-05-02", "2026-13-02T09:00:00Z", "2026-05-02T09:00:00+01:00", "aTbZ"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_go_both_ways() {
        for days in (-100_000..100_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(rfc3339(1_777_712_400_250), "2026-05-02T09:00:00.250Z");
    }

    #[test]
    fn spans_use_fitting_units() {
        let table = [(0, "0 ms"), (340, "340 ms"), (2_100, "2.1 s"), (184_000, "3 min 4 s"), (7_500_000, "2 h 5 min")];
        for (ms, text) in table {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn spans_are_read() {
        assert_eq!(parse_span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_span("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "m", "5 m", "5d", "-5", "99999999999999999999h", "18446744073709551615h"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
