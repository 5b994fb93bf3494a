//! Every code that the servers refuse with, and that nodes fail with, stands in the list that users read.

use std::collections::BTreeSet;

use super::{Problem, TextFile};

/// What comes right before a code, once white space is gone. A status is cut off its end.
const BEFORE: &[&str] = &["busy(", "bad_request(", "unauthorized(", "plain(", "ApiError::new("];
const WHERE: &[&str] = &["gateway/src/", "coordinator/src/rpc/", "coordinator/src/auth.rs"];
/// Speaks to agents and gateways that join, and not to users.
const FOR_MEMBERS: &str = "coordinator/src/rpc/enrol.rs";

/// The same for nodes that fail.
const BEFORE_FAILURES: &[&str] = &["refused(", "Failure::new("];
const WHERE_FAILURES: &[&str] = &["node-agent/src/runners/", "node-agent/src/artifacts/", "node-agent/src/secrets.rs"];
/// The same for nodes and runs that fail in the engine and around it.
const BEFORE_ENGINE_FAILURES: &[&str] = &[
    "refused(",
    "cannot(",
    "Unanswered::new(",
    "code:",
    "invalid(",
    "returnerror(",
    "unfit(",
    "broken(",
    "QUARANTINED:&str=",
];
const WHERE_ENGINE_FAILURES: &[&str] = &[
    "condition/src/",
    "coordinator/core/src/run/",
    "coordinator/src/actor/",
    "coordinator/src/artifacts/",
    "coordinator/src/children/",
    "coordinator/src/journal/mod.rs",
    "coordinator/src/read/",
    "coordinator/src/session/convert.rs",
];

/// The types for tests and benches fail as their graphs say.
const DEBUG: &str = "node-agent/src/runners/debug";

/// Codes of refusals in the sources that `listed` does not have.
pub fn unlisted(files: &[TextFile], listed: &BTreeSet<&str>) -> Vec<Problem> {
    let is_ours = |path: &str| path != FOR_MEMBERS && WHERE.iter().any(|place| path.starts_with(place));
    missing(files, listed, is_ours, BEFORE)
}

/// Codes of failed nodes in the sources that `listed` does not have.
pub fn unlisted_failures(files: &[TextFile], listed: &BTreeSet<&str>) -> Vec<Problem> {
    let is_ours = |path: &str| {
        let is_test = path.ends_with("tests.rs") || path.starts_with(DEBUG);
        !is_test && WHERE_FAILURES.iter().any(|place| path.starts_with(place))
    };
    missing(files, listed, is_ours, BEFORE_FAILURES)
}

/// Codes of nodes and runs that fail in the engine, or before work reaches an agent, that `listed` does not have.
pub fn unlisted_engine_failures(files: &[TextFile], listed: &BTreeSet<&str>) -> Vec<Problem> {
    let is_ours = |path: &str| {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        !is_test && WHERE_ENGINE_FAILURES.iter().any(|place| path.starts_with(place))
    };
    missing(files, listed, is_ours, BEFORE_ENGINE_FAILURES)
}

fn missing(
    files: &[TextFile],
    listed: &BTreeSet<&str>,
    is_ours: impl Fn(&str) -> bool,
    before: &[&str],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs") && is_ours(&file.path)) {
        let sources = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for code in codes(sources, before).filter(|code| !listed.contains(code.as_str())) {
            problems.push(file.problem(1, format!("says {code:?}, which gateway/src/docs/codes.rs does not list")));
        }
    }
    problems
}

/// The codes that a source refuses with.
fn codes(source: &str, before: &[&str]) -> impl Iterator<Item = String> {
    let dense: String = source.chars().filter(|letter| !letter.is_whitespace()).collect();
    let mut found = BTreeSet::new();
    for before in before {
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
        || text.strip_prefix("ErrorClass::").is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic()))
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
        let found: Vec<String> = codes(source, BEFORE).collect();
        assert_eq!(found, ["idempotency_mismatch", "invalid_path", "key_not_found", "unknown_route"]);
        let source = r#"
            pub const QUARANTINED: &str = "quarantined";
            return error(ErrorClass::Poison, "poison_node", message);
            NodeError { class, code: "item_failed".into(), message }
            Err(refused("unequal_lists", message))
            Unanswered::new(
                "condition_failed",
                format!("{condition}: {why}"),
            )
        "#;
        let found: Vec<String> = codes(source, BEFORE_ENGINE_FAILURES).collect();
        assert_eq!(found, ["condition_failed", "item_failed", "poison_node", "quarantined", "unequal_lists"]);
    }

    #[test]
    fn a_code_that_nobody_explains_is_found() {
        let file =
            TextFile { path: "coordinator/core/src/run/expand.rs".into(), text: "refused(\"odd_list\", it)".into() };
        let found = unlisted_engine_failures(&[file], &BTreeSet::from(["even_list"]));
        assert_eq!(found.len(), 1);
    }
}
