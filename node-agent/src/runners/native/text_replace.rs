//! `utility:text_replace`: puts one text in the place of another.

use regex::Regex;
use serde::Deserialize;
use serde_json::json;

use super::call::{Call, output, refused};
use super::{Answer, pattern};
use crate::limits::{NATIVE_TEXT_BYTES_MAX, REPLACEMENT_BYTES_MAX};
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "pattern": {"type": "string", "minLength": 1, "description": "What is looked for."},
        "with": {"type": "string", "default": "", "description": "What is put there; with a regular expression, $1 and ${name} stand for its groups."},
        "mode": {"enum": ["literal", "regex"], "default": "literal", "description": "How the pattern is read."},
        "flags": {"type": "string", "default": "", "description": pattern::FLAGS},
        "count": {"type": "integer", "minimum": 0, "default": 0, "description": "How many places are changed, from the first; 0: all."},
    });
    Manifest::pure("utility:text_replace", "Replace text", "Puts one text in the place of another.")
        .ports([Port::new("text", PortType::Text).required()], [Port::new("text", PortType::Text)])
        .config(&["pattern"], properties)
        .example(
            "A word",
            json!({"pattern": "cat", "with": "dog"}),
            json!({"text": "a cat, two cats"}),
            json!({"text": "a dog, two dogs"}),
        )
        .example(
            "Groups",
            json!({"pattern": "(\\w+) (\\w+)", "with": "$2 $1", "mode": "regex"}),
            json!({"text": "high tide"}),
            json!({"text": "tide high"}),
        )
}

#[derive(Deserialize)]
struct Config {
    pattern: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    flags: String,
    #[serde(default)]
    count: usize,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Literal,
    Regex,
}

pub(super) fn run(call: &Call) -> Answer {
    let config: Config = call.config()?;
    let text = call.text("text")?;
    if config.pattern.is_empty() {
        return Err(refused("config_invalid", "pattern is empty; say what to look for"));
    }
    if config.mode == Mode::Regex && config.with.len() > REPLACEMENT_BYTES_MAX {
        let message = format!(
            "with has {} bytes of at most {REPLACEMENT_BYTES_MAX} beside a regular expression; shorten it",
            config.with.len()
        );
        return Err(refused("config_invalid", message));
    }
    let regex = match config.mode {
        Mode::Literal => pattern::compile(&regex::escape(&config.pattern), &config.flags)?,
        Mode::Regex => pattern::compile(&config.pattern, &config.flags)?,
    };
    Ok(vec![output("text", replaced(call, &text, &regex, &config)?)])
}

fn replaced(call: &Call, text: &str, regex: &Regex, config: &Config) -> Result<String, Failure> {
    let count = if config.count == 0 { usize::MAX } else { config.count };
    let mut result = String::with_capacity(text.len());
    let mut end = 0;
    for captures in regex.captures_iter(text).take(count) {
        call.go_on()?;
        let whole = captures.get_match();
        result.push_str(&text[end..whole.start()]);
        match config.mode {
            Mode::Literal => result.push_str(&config.with),
            Mode::Regex => captures.expand(&config.with, &mut result),
        }
        end = whole.end();
        if result.len() > NATIVE_TEXT_BYTES_MAX {
            let message =
                format!("the new text is longer than {NATIVE_TEXT_BYTES_MAX} bytes; replace less, or shorter");
            return Err(refused("text_too_long", message));
        }
    }
    result.push_str(&text[end..]);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn replace(config: serde_json::Value, text: &str) -> Given {
        Given::config(config).one("text", json!(text))
    }

    #[test]
    fn a_literal_means_itself() {
        assert_eq!(one(run, replace(json!({"pattern": "a.c", "with": "$0"}), "abc a.c")), json!("abc $0"));
        assert_eq!(
            one(run, replace(json!({"pattern": "A", "with": "-", "flags": "i", "count": 1}), "aAa")),
            json!("-Aa")
        );
        assert_eq!(one(run, replace(json!({"pattern": "ü"}), "süß")), json!("sß"));
    }

    #[test]
    fn groups_stand_for_what_they_matched() {
        let swap = json!({"pattern": "(?P<a>.)(.)", "with": "$2${a}", "mode": "regex"});
        assert_eq!(one(run, replace(swap, "1234")), json!("2143"));
        let empty = json!({"pattern": "", "mode": "regex"});
        assert_eq!(code(run, replace(empty, "x")), "config_invalid");
        let lines = json!({"pattern": "^", "with": "> ", "mode": "regex", "flags": "m"});
        assert_eq!(one(run, replace(lines, "a\nb")), json!("> a\n> b"));
    }

    #[test]
    fn bad_patterns_and_long_texts_are_refused() {
        for (pattern, flags) in [("(", ""), ("a", "q"), ("(a{1000}){1000}", ""), (&*"(".repeat(400), "")] {
            let config = json!({"pattern": pattern, "mode": "regex", "flags": flags});
            assert_eq!(code(run, replace(config, "a")), "pattern_invalid", "{pattern} {flags}");
        }
        let config = json!({"pattern": "x", "with": "y".repeat(1_000)});
        assert_eq!(code(run, replace(config, &"x".repeat(50_000))), "text_too_long");
    }
}
