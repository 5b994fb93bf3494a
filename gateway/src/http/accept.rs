//! What a client would rather have, of the two forms that a history comes in (RFC 9110, part 12.5.1).

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use super::error::ApiError;

/// What `Accept` says of one media type.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// In thousandths, from 0, which refuses it.
    weight: u16,
    /// By its own name, not by one of many.
    is_named: bool,
}

/// Whether a stream of events is wanted, and not JSON. The greater weight counts. Where both weigh the same, who names a stream
/// gets it; else who says whether to follow does, unless they name JSON or refuse a stream: a list ends by itself, so nobody who
/// asks for neither is left to wait for its end. Who names other forms alone gets one of these two all the same.
///
/// # Errors
/// 406 `not_acceptable` where the form that is left is refused by its weight.
pub(super) fn wants_stream(headers: &HeaderMap, says_follow: bool) -> Result<bool, ApiError> {
    let (stream, json) = (said(headers, "text", "event-stream"), said(headers, "application", "json"));
    let weight = |said: Option<Said>| said.map_or(0, |said| said.weight);
    let is_named = |said: Option<Said>| said.is_some_and(|said| said.is_named && said.weight > 0);
    if weight(stream) != weight(json) {
        return Ok(weight(stream) > weight(json));
    }
    let is_refused = |said: Option<Said>| said.is_some_and(|said| said.weight == 0);
    match is_named(stream) || says_follow && !is_refused(stream) && !is_named(json) {
        false if is_refused(json) => {
            let message = "Accept refuses all that there is; take application/json or text/event-stream";
            Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message))
        }
        is_stream => Ok(is_stream),
    }
}

/// What the closest of the header's ranges says of a media type; nothing if none fits. What cannot be read counts for nothing.
fn said(headers: &HeaderMap, family: &str, kind: &str) -> Option<Said> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut closest: Option<(u8, Said)> = None;
    for range in texts.flat_map(|text| text.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some((its_family, its_kind)) = parts.next().and_then(|name| name.split_once('/')) else { continue };
        let closeness = match (its_family, its_kind) {
            ("*", "*") => 0,
            (its, "*") if its.eq_ignore_ascii_case(family) => 1,
            (its, own) if its.eq_ignore_ascii_case(family) && own.eq_ignore_ascii_case(kind) => 2,
            _ => continue,
        };
        let said = Said { weight: weight(parts), is_named: closeness == 2 };
        let is_closer = closest
            .is_none_or(|(other, before)| closeness > other || closeness == other && said.weight > before.weight);
        if is_closer {
            closest = Some((closeness, said));
        }
    }
    closest.map(|(_, said)| said)
}

/// The `q` of a range, in thousandths; 1,000 where it says none, or none that can be read.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let named = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let weight = named.and_then(|text| text.parse::<f32>().ok()).filter(|weight| (0.0..=1.0).contains(weight));
    weight.map_or(1_000, |weight| (weight * 1_000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &[&'static str], says_follow: bool) -> Result<bool, ApiError> {
        let mut headers = HeaderMap::new();
        accept.iter().for_each(|text| _ = headers.append(ACCEPT, text.parse().unwrap()));
        wants_stream(&headers, says_follow)
    }

    fn wants(accept: &[&'static str], says_follow: bool) -> bool {
        asked(accept, says_follow).unwrap()
    }

    #[test]
    fn the_greater_weight_counts() {
        for (accept, is_stream) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/*", true),
            ("text/event-stream, application/json", true),
            ("application/json, text/event-stream", true),
            ("text/event-stream, */*", true),
            ("text/event-stream;q=0.9, application/json;q=0.8", true),
            ("text/event-stream;q=0.1, application/xml", true),
            ("application/json;q=0, */*", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=0.000", false),
            ("text/event-stream ; Q=0, */*", false),
            ("text/event-stream;q=0.5, application/json", false),
            ("text/event-stream;q=0.5, */*", false),
            ("text/*;q=0.5, application/json;q=0.6", false),
            ("text/*, text/event-stream;q=0, application/json;q=0.1", false),
            ("application/json", false),
            ("application/*", false),
            ("*/*;q=0, application/json;q=0.1", false),
            ("*/*;q=0, text/event-stream", true),
        ] {
            for says_follow in [false, true] {
                assert_eq!(wants(&[accept], says_follow), is_stream, "{accept}, follow said: {says_follow}");
            }
        }
        assert!(!wants(&["text/event-stream;q=0.1", "application/json;q=0.2"], true), "lines make one list");
    }

    #[test]
    fn who_prefers_neither_says_by_follow_what_they_want() {
        for accept in [
            &[][..],
            &["*/*"],
            &["text/html"],
            &["text/event-streams"],
            &["text/html, */*;q=0.8"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"],
            &["application/xml, text/html;q=0"],
            &["*/*;q=none"],
            &[""],
        ] {
            assert!(wants(accept, true) && !wants(accept, false), "{accept:?}");
        }
    }

    #[test]
    fn what_is_refused_is_never_given() {
        for accept in ["application/json;q=0", "application/*; q=0.0", "*/*, application/json;q=0, text/*;q=0"] {
            assert_eq!(asked(&[accept], false).unwrap_err().status, StatusCode::NOT_ACCEPTABLE, "{accept}");
        }
        for says_follow in [false, true] {
            for accept in ["*/*;q=0", "application/json;q=0, text/event-stream;q=0"] {
                assert_eq!(asked(&[accept], says_follow).unwrap_err().code, "not_acceptable", "{accept}");
            }
        }
        assert!(wants(&["application/json;q=0"], true), "of the stream nothing was said");
        assert!(!wants(&["text/event-stream;q=0"], true), "of the list nothing was said");
    }
}
