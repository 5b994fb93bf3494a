//! Points in time and spans, as people read them. Times are UTC.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;

/// Milliseconds since 1970 of an RFC 3339 time, as the API writes it.
pub fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Milliseconds since 1970 of a date as HTTP writes it: `Sat, 02 May 2026 09:00:00 GMT`.
pub fn parse_http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().as_millisecond())
}

/// Reads a point in time: RFC 3339, a date, or a span that lies behind us (`2h`, `7d`).
pub fn parse_since(text: &str) -> Result<i64, String> {
    let span = || parse_span(text).ok().and_then(|span| now_ms().checked_sub(i64::try_from(span.as_millis()).ok()?));
    let date = || parse(&format!("{text}T00:00:00Z"));
    parse(text).or_else(date).or_else(span).ok_or_else(|| {
        format!("{text:?} is neither a span such as 2h, nor a time such as 2026-05-02 or 2026-05-02T09:00:00Z")
    })
}

/// What [`now_ms`] says, where that is not the machine's time.
static STANDS_AT: OnceLock<i64> = OnceLock::new();

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    STANDS_AT.get().copied().unwrap_or_else(|| Timestamp::now().as_millisecond())
}

/// From here on it is this moment, in milliseconds since 1970: what is shown then is of the past.
pub fn stand_at(at_ms: i64) {
    let _first_word_counts = STANDS_AT.set(at_ms);
}

/// A date as `2026-05-02`.
pub fn date(at_ms: i64) -> String {
    rfc3339(at_ms).split('T').next().unwrap_or_default().to_owned()
}

/// A point in time as the API writes it: `2026-05-02T09:00:00.250Z`.
pub fn rfc3339(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| format!("{at:.3}"))
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

/// Reads `90`, `90s`, `1500ms`, `5m`, `2h`, `30d`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("{text:?} is not a time span such as 90s or 5m"))?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => return Err(format!("{unit:?} is not a unit of time: use ms, s, m, h or d")),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(parse("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(parse("2026-05-02T09:00:00.250Z"), Some(1_777_712_400_250));
        assert_eq!(parse("2024-02-29T23:59:59Z"), Some(1_709_251_199_000));
        for wrong in ["", "2026-05-02", "2026-13-02T09:00:00Z", "aTbZ"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_the_api_writes_them() {
        assert_eq!(rfc3339(1_777_712_400_250), "2026-05-02T09:00:00.250Z");
        assert_eq!(date(1_777_712_400_250), "2026-05-02");
    }

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(parse_http_date("Sat, 02 May 2026 09:00:00 GMT"), Some(1_777_712_400_000));
        assert_eq!(parse_http_date("yesterday"), None);
    }

    #[test]
    fn a_start_is_a_time_a_date_or_a_span() {
        assert_eq!(parse_since("2026-05-02T09:00:00.250Z"), Ok(1_777_712_400_250));
        assert_eq!(parse_since("2026-05-02"), Ok(1_777_680_000_000));
        let hour_ago = now_ms() - 3_600_000;
        assert!((hour_ago..hour_ago + 60_000).contains(&parse_since("1h").unwrap()));
        for wrong in ["", "soon", "2026-13-02", "-1h"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
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
        assert_eq!(parse_span("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "m", "5 m", "5y", "-5", "99999999999999999999h", "18446744073709551615h"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
