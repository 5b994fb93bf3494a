//! Regular expressions: matching takes time in proportion to text and pattern, whatever the pattern.

use regex::{Regex, RegexBuilder};

use super::call::refused;
use crate::limits::{PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX, PATTERN_DEPTH_MAX};
use crate::runners::Failure;

/// What the flags mean, for schemas.
pub(super) const FLAGS: &str = "i: upper and lower case are alike; m: ^ and $ match at lines; s: the dot matches line ends; x: blanks in the pattern mean nothing.";

/// The pattern with its flags.
///
/// # Errors
/// `pattern_invalid`.
pub(super) fn compile(pattern: &str, flags: &str) -> Result<Regex, Failure> {
    let invalid = |what: String| refused("pattern_invalid", format!("the pattern cannot be used: {what}; correct it"));
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(invalid(format!("it has {} bytes of at most {PATTERN_BYTES_MAX}", pattern.len())));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            'g' | 'u' => &mut builder,
            other => return Err(invalid(format!("there is no flag {other:?}"))),
        };
    }
    // The library's message repeats the pattern over several lines; the last one says what is wrong.
    builder.build().map_err(|error| {
        let message = error.to_string();
        invalid(message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })
}
