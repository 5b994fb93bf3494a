//! Regular expressions in schemas. The engine goes through a text once, whatever the pattern, with a time for each byte that
//! grows with the size of the pattern. So a pattern counts by the size that it is compiled to.

use jsonschema_regex::to_rust_regex;
use regex::{Error, RegexBuilder};
use regex_syntax::ast::{ErrorKind, parse::Parser};

/// Bytes of a pattern when it is compiled.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Up to so many bytes a pattern counts as [`SMALL_PARTS`]; one of twice the bytes counts twice.
const SMALL_BYTES: usize = 8 * 1024;
const SMALL_PARTS: usize = 64;

/// As how many parts of a schema a pattern counts.
///
/// # Errors
/// Why it is not taken, in a few words that follow its place, and what to do.
pub(crate) fn parts(pattern: &str) -> Result<usize, (String, &'static str)> {
    let no_regex = || ("is no regular expression".to_owned(), "correct it");
    let turns_back =
        || ("has a look-around or a back-reference, which are not possible".to_owned(), "write it without");
    // A group that is named again is no escape that the reader knows.
    let named_again = || pattern.contains(r"\k<");
    let translated = to_rust_regex(pattern).map_err(|()| if named_again() { turns_back() } else { no_regex() })?;
    if let Err(error) = Parser::new().parse(&translated) {
        let kind = error.kind();
        let is_known = matches!(kind, ErrorKind::UnsupportedLookAround | ErrorKind::UnsupportedBackreference);
        return Err(if is_known { turns_back() } else { no_regex() });
    }
    let (mut bytes, mut parts) = (SMALL_BYTES, SMALL_PARTS);
    loop {
        match RegexBuilder::new(&translated).size_limit(bytes).dfa_size_limit(bytes).build() {
            Ok(_) => return Ok(parts),
            Err(Error::CompiledTooBig(_)) if bytes < PATTERN_BYTES_MAX => (bytes, parts) = (bytes * 2, parts * 2),
            Err(Error::CompiledTooBig(_)) => {
                let most = PATTERN_BYTES_MAX / 1024;
                let what = format!("is too large: compiled it takes more than {most} KiB");
                return Err((what, "repeat less of it, or fewer times"));
            }
            Err(_) => return Err(no_regex()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_counts_by_its_size() {
        for small in ["", "^a", r"^[\w.+-]+@\w+\.\w+$", r"^\d{4}-\d{2}-\d{2}$", r"\cA\/"] {
            assert_eq!(parts(small), Ok(SMALL_PARTS), "{small}");
        }
        let (some, more) = (parts("a{1000}").unwrap(), parts("a{4000}").unwrap());
        assert!(SMALL_PARTS < some && some < more, "{some} {more}");
        assert!(parts(r"^\p{L}{1,3}$").is_ok());
    }

    #[test]
    fn what_is_not_taken_says_why() {
        for around in ["(?=a)b", "(?!a)b", "(?<=(a|aa)+)c$", "(?<!a)b", r"(a+)\1b", r"(?<n>a)\k<n>"] {
            assert!(parts(around).is_err_and(|(why, _)| why.contains("look-around")), "{around}");
        }
        for large in [r"^(\p{L}{1,50}){1,20}$", "(((a{1,100}){1,100}){1,100}){1,100}", "a{0,60000}b"] {
            assert!(parts(large).is_err_and(|(why, _)| why.contains("too large")), "{large}");
        }
        for broken in ["([", "(", "*a"] {
            assert!(parts(broken).is_err_and(|(why, _)| why.contains("no regular")), "{broken}");
        }
    }
}
