//! Every code that the servers refuse with stands in the list that users read.

use std::collections::BTreeSet;

use super::{Problem, TextFile};

/// What comes right before a code, once white space is gone. A status is cut off its end.
const BEFORE: &[&str] = &["busy(", "bad_request(", "unauthorized(", "plain(", "ApiError::new("];
const WHERE: &[&str] = &["gateway/src/", "coordinator/src/rpc/", "coordinator/src/auth.rs"];
/// Speaks to agents and gateways that join, and not to users.
const FOR_MEMBERS: &str = "coordinator/src/rpc/enrol.rs";

/// Codes in the sources that `listed` does not have.
pub fn unlisted(files: &[TextFile], listed: &BTreeSet<&str>) -> Vec<Problem> {
    let ours = files.iter().filter(|file| {
        file.has_extension("rs") && file.path != FOR_MEMBERS && WHERE.iter().any(|place| file.path.starts_with(place))
    });
    let mut problems = Vec::new();
    for file in ours {
        let sources = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for code in codes(sources).filter(|code| !listed.contains(code.as_str())) {
            problems
                .push(file.problem(1, format!("refuses with {code:?}, which gateway/src/docs/codes.rs does not list")));
        }
    }
    problems
}

/// The codes that a source refuses with.
fn codes(source: &str) -> impl Iterator<Item = String> {
    let dense: String = source.chars().filter(|letter| !letter.is_whitespace()).collect();
    let mut found = BTreeSet::new();
    for before in BEFORE {
        for rest in dense.split(before).skip(1) {
            // The code is the first argument, or the second after a status.
            let rest = match rest.split_once(",\"") {
                Some((status, code)) if is_status(status) => code,
                _ => match rest.strip_prefix('"') {
                    Some(code) => code,
                    None => continue,
                },
            };
            found.extend(rest.split('"').next().filter(|code| is_code(code)).map(str::to_owned));
        }
    }
    found.into_iter()
}

/// A literal status; a code after anything else may be a sentence.
fn is_status(text: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    text.strip_prefix("StatusCode::").is_some_and(is_name)
        || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_calls_of_all_shapes() {
        let source = r#"
            failure::plain(404, "key_not_found", "API key not found");
            plain(
                422,
                "idempotency_mismatch",
                "this key came, \"twice\"",
            );
            ApiError::new(StatusCode::NOT_FOUND, "unknown_route", message);
            bad_request("invalid_path", "no UTF-8"); busy(code, "text with words");
            ApiError::new(status, code, message);
        "#;
        let found: Vec<String> = codes(source).collect();
        assert_eq!(found, ["idempotency_mismatch", "invalid_path", "key_not_found", "unknown_route"]);
    }
}
