//! `utility:regex_extract`: what a pattern finds in a text.

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, output, refused};
use super::{Answer, pattern};
use crate::limits::MATCHES_MAX;
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "pattern": {"type": "string", "minLength": 1, "description": "A regular expression."},
        "flags": {"type": "string", "default": "", "description": pattern::FLAGS},
        "group": {"type": ["integer", "string"], "default": 0, "description": "The group that is given, by number or name; 0: the whole match."},
        "all": {"type": "boolean", "default": true, "description": "Whether all matches are given, or the first alone."},
    });
    Manifest::pure(
        "utility:regex_extract",
        "Extract by pattern",
        "Gives what a regular expression finds in a text; without a match, first is closed.",
    )
    .ports(
        [Port::new("text", PortType::Text).required()],
        [Port::new("matches", PortType::Json), Port::new("first", PortType::Text)],
    )
    .config(&["pattern"], properties)
    .example(
        "Numbers",
        json!({"pattern": "\\d+"}),
        json!({"text": "3 of 14"}),
        json!({"matches": ["3", "14"], "first": "3"}),
    )
    .example("Nothing", json!({"pattern": "\\d+"}), json!({"text": "none"}), json!({"matches": []}))
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    #[serde(default)]
    flags: String,
    #[serde(default)]
    group: Group,
    #[serde(default = "yes")]
    all: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Group {
    Number(usize),
    Name(String),
}

impl Default for Group {
    fn default() -> Self {
        Group::Number(0)
    }
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { pattern, flags, group, all } = call.config()?;
    let text = call.text("text")?;
    let regex = pattern::compile(&pattern, &flags)?;
    let place = match &group {
        Group::Number(number) => (*number < regex.captures_len()).then_some(*number),
        Group::Name(name) => regex.capture_names().position(|group| group == Some(name)),
    };
    let Some(place) = place else {
        return Err(refused("group_unknown", "the pattern has no such group; name one that it has"));
    };
    let mut matches = Vec::new();
    for captures in regex.captures_iter(&text) {
        call.go_on()?;
        // A group that took no part in its match gives nothing.
        matches.extend(captures.get(place).map(|found| Value::from(found.as_str())));
        if !all && !matches.is_empty() {
            break;
        }
        if matches.len() > MATCHES_MAX {
            return Err(refused(
                "matches_too_many",
                format!("there are more than {MATCHES_MAX} matches; narrow the pattern"),
            ));
        }
    }
    let first = matches.first().cloned();
    let mut outputs = vec![output("matches", matches)];
    outputs.extend(first.map(|first| output("first", first)));
    Ok(outputs)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, all, code};
    use super::*;

    fn extract(config: Value, text: &str) -> Given {
        Given::config(config).one("text", json!(text))
    }

    #[test]
    fn groups_go_by_number_and_name() {
        let text = "a=1, b=22";
        let both = |group: Value| all(run, extract(json!({"pattern": "(\\w)=(?<n>\\d+)", "group": group}), text));
        assert_eq!(both(json!(1)), json!({"matches": ["a", "b"], "first": "a"}));
        assert_eq!(both(json!("n")), json!({"matches": ["1", "22"], "first": "1"}));
        let one = extract(json!({"pattern": "\\d", "all": false}), text);
        assert_eq!(all(run, one), json!({"matches": ["1"], "first": "1"}));
        let absent = extract(json!({"pattern": "x|(y)", "group": 1}), "xyx");
        assert_eq!(all(run, absent), json!({"matches": ["y"], "first": "y"}));
    }

    #[test]
    fn what_cannot_be_found_is_refused() {
        assert_eq!(code(run, extract(json!({"pattern": "a", "group": 1}), "a")), "group_unknown");
        assert_eq!(code(run, extract(json!({"pattern": "a", "group": "n"}), "a")), "group_unknown");
        assert_eq!(code(run, extract(json!({"pattern": "a", "group": -1}), "a")), "config_invalid");
        assert_eq!(code(run, extract(json!({"pattern": "."}), &"a".repeat(MATCHES_MAX + 1))), "matches_too_many");
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let began = std::time::Instant::now();
        let found = all(run, extract(json!({"pattern": "(a+)+$"}), &("a".repeat(20_000) + "b")));
        assert_eq!(found, json!({"matches": []}));
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "backtracking would take for ever");
    }
}
