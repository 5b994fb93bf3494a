//! Keys of providers that stand in a graph: they would be kept, shown and shared with it. A graph names a credential.

use super::json::Json;
use super::problem::{Problem, join, rule, shown};

/// Config keys that hold nothing but a secret, in small letters without `-` and `_`.
const SECRET_KEYS: [&str; 11] = [
    "apikey",
    "authorization",
    "proxyauthorization",
    "xapikey",
    "password",
    "passwd",
    "secret",
    "clientsecret",
    "accesstoken",
    "authtoken",
    "privatekey",
];
/// What keys of well-known providers begin with.
const PREFIXES: [&str; 10] =
    ["sk-", "sk_live_", "sk_test_", "rk_live_", "ghp_", "github_pat_", "xoxb-", "xoxp-", "AKIA", "AIza"];
/// Characters of the shortest key of a provider.
const KEY_LENGTH_MIN: usize = 20;
/// Characters of the shortest value under a key that is a secret's.
const VALUE_LENGTH_MIN: usize = 6;
/// Faults that one config reports.
const FAULTS_MAX: usize = 8;

/// Every secret in a config, with its place. No message shows it.
pub(super) fn find(config: Json<'_>, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(config, path, "", &mut problems);
    problems
}

fn walk(value: Json<'_>, path: &str, key: &str, problems: &mut Vec<Problem>) {
    if problems.len() >= FAULTS_MAX {
        return;
    }
    if value.is_object() {
        for member in value.members() {
            walk(member.value, &join(path, &member.key), &member.key, problems);
        }
    } else if value.is_array() {
        for (place, element) in value.elements().enumerate() {
            walk(element, &format!("{path}/{place}"), key, problems);
        }
    } else if let Some(text) = value.as_text()
        && is_secret(key, text.trim())
    {
        let message = format!("\"{}\" holds what looks like a secret.", shown(key));
        let fix = "Keep it with: heddle secrets set NAME, and write \"credential\": \"NAME\" here.";
        problems.push(Problem::new(rule::LITERAL_SECRET, message, fix).at(path));
    }
}

fn is_secret(key: &str, text: &str) -> bool {
    let plain: String = key.chars().filter(|letter| !matches!(letter, '-' | '_')).collect();
    let is_secret_key = SECRET_KEYS.iter().any(|secret| plain.eq_ignore_ascii_case(secret));
    is_secret_key && text.chars().count() >= VALUE_LENGTH_MIN || is_provider_key(text)
}

/// Whether the whole text is a provider's key, alone or as `Bearer KEY`.
fn is_provider_key(text: &str) -> bool {
    let bearer = text.get(..7).filter(|begin| begin.eq_ignore_ascii_case("bearer ")).map(|_| text[7..].trim());
    let token = bearer.unwrap_or(text);
    let is_token =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=');
    let is_long = token.len() >= KEY_LENGTH_MIN && token.bytes().all(is_token);
    let has_digit = token.bytes().any(|byte| byte.is_ascii_digit());
    is_long && (bearer.is_some() || has_digit && PREFIXES.iter().any(|prefix| token.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(config: serde_json::Value) -> Vec<String> {
        let text = config.to_string();
        let problems = find(Json(&text), "/config");
        assert!(problems.iter().all(|problem| problem.rule == rule::LITERAL_SECRET));
        problems.into_iter().filter_map(|problem| problem.path).collect()
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let key = "sk-abcdefghij0123456789";
        assert_eq!(paths(json!({"apiKey": "hunter22"})), ["/config/apiKey"]);
        assert_eq!(paths(json!({"x": key})), ["/config/x"]);
        assert_eq!(paths(json!({"headers": {"X-Any": format!("Bearer {key}")}})), ["/config/headers/X-Any"]);
        assert_eq!(
            paths(json!({"headers": {"Authorization": "Basic dXNlcjpwYXNz"}})),
            ["/config/headers/Authorization"]
        );
        assert_eq!(paths(json!({"list": ["a", [format!(" {key} ")]]})), ["/config/list/1/0"]);
        assert_eq!(paths(json!({"api-key": "x1y2z3", "Client_Secret": "abcdef"})).len(), 2);
        assert_eq!(paths(json!(vec![key; 100])).len(), FAULTS_MAX);
    }

    #[test]
    fn what_only_looks_like_one_is_left_alone() {
        for config in [
            json!({"prompt": "Explain what sk-abcdefghij0123456789 is."}),
            json!({"credential": "openai", "secret": "", "apiKey": null, "password": 7}),
            json!({"word": "sk-antidisestablishmentarianism", "text": "Bearer of good news"}),
            json!({"maxTokens": 12, "token": "a word", "AKIA": "short"}),
        ] {
            assert!(paths(config.clone()).is_empty(), "{config}");
        }
    }

    #[test]
    fn no_message_shows_the_secret() {
        let text = json!({"apiKey": "canary-123456"}).to_string();
        let problems = find(Json(&text), "");
        assert!(!format!("{problems:?}").contains("canary"));
    }
}
