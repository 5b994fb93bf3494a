//! Numbers in queries. They are read from texts, so that a refusal names the parameter and its range in our own words.

use std::fmt::Display;
use std::str::FromStr;

use super::error::ApiError;

/// A number from `least` to `most`, if the parameter is there. An empty text is no number.
///
/// # Errors
/// 400 `invalid_parameter`
pub(super) fn number<T: FromStr + PartialOrd + Display>(
    name: &'static str,
    text: Option<&str>,
    (least, most): (T, T),
) -> Result<Option<T>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number >= least && *number <= most);
    let refused = || ApiError::invalid_parameter(name, &format!("a whole number from {least} to {most}"));
    number.map(Some).ok_or_else(refused)
}

/// How many of a list come at once: `usual` if nobody says, and never more than `most`, however many are asked for.
///
/// # Errors
/// 400 `invalid_parameter`
pub(super) fn limit(name: &'static str, text: Option<&str>, usual: u32, most: u32) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(usual) };
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    let form = format!("a whole number from 1 to {}; at most {most} come at once", u32::MAX);
    number.map(|number| number.min(most)).ok_or_else(|| ApiError::invalid_parameter(name, &form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range() {
        assert_eq!(limit("limit", None, 50, 200).unwrap(), 50);
        assert_eq!(limit("limit", Some("9999"), 50, 200).unwrap(), 200, "so many come at most");
        for text in ["", "0", "-1", "abc", "1.5", "4294967296"] {
            let refusal = limit("limit", Some(text), 50, 200).unwrap_err();
            let expected =
                "the query parameter limit must be a whole number from 1 to 4294967295; at most 200 come at once";
            assert_eq!((&*refusal.code, &*refusal.message), ("invalid_parameter", expected), "{text}");
        }
        assert_eq!(number("after", Some("7"), (0, u64::MAX)).unwrap(), Some(7));
        for text in ["", "-1"] {
            let refusal = number("offset", Some(text), (0, u32::MAX)).unwrap_err();
            let expected = "the query parameter offset must be a whole number from 0 to 4294967295";
            assert_eq!(refusal.message, expected, "{text}");
        }
    }
}
