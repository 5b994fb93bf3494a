//! Commands that people are to type next: on the server that they have named, as the command before.

use std::sync::LazyLock;

use super::program;

/// Options that say which server is meant. A key is none: nobody wants to see it again.
const OPTIONS: [&str; 2] = ["--server", "--data-dir"];
/// Commands that speak to no server.
const WITHOUT_SERVER: [&str; 8] =
    ["agent", "bench", "completion", "coordinator", "gateway", "import", "sandbox", "secrets"];

/// The options by which this command was told its server, each after a space.
pub fn server_options() -> &'static str {
    static GIVEN: LazyLock<String> = LazyLock::new(|| given(std::env::args()));
    &GIVEN
}

/// A text with [`server_options`] behind each command that it quotes.
pub fn with_server(text: &str) -> String {
    completed(text, program(), server_options())
}

fn given(arguments: impl Iterator<Item = String>) -> String {
    let mut arguments = arguments.take_while(|argument| argument != "--");
    let mut given = String::new();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        if OPTIONS.contains(&name.as_str())
            && let Some(value) = value.or_else(|| arguments.next())
        {
            given.push_str(&format!(" {name} {}", quoted(&value)));
        }
    }
    given
}

/// As a shell takes it for one word.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/@%+,[]".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn completed(text: &str, program: &str, options: &str) -> String {
    let mut parts: Vec<String> = text.split('`').map(str::to_owned).collect();
    // Every other part stands between two marks; behind the last mark nothing does.
    let last = parts.len() - 1;
    for part in parts[..last].iter_mut().skip(1).step_by(2) {
        if takes(part, program, options) {
            part.push_str(options);
        }
    }
    // Where nothing is quoted, a command may be the end of it all.
    let ends_with_one = |text: &str| text.rfind(program).is_some_and(|at| takes(&text[at..], program, options));
    if last == 0 && ends_with_one(&parts[0]) {
        parts[0].push_str(options);
    }
    parts.join("`")
}

/// Whether this is a command that speaks to a server, and does not say yet to which.
fn takes(command: &str, program: &str, options: &str) -> bool {
    let verb = command.strip_prefix(program).and_then(|rest| rest.strip_prefix(' ')?.split(' ').next());
    let has_server = verb.is_some_and(|verb| !WITHOUT_SERVER.contains(&verb));
    let knows_it = OPTIONS.iter().any(|option| command.contains(option));
    has_server && !knows_it && (verb != Some("up") || !options.contains("--server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_goes_to_the_server_that_was_named() {
        let given = |line: &str| given(line.split(' ').map(str::to_owned));
        let options = given("heddle --key sk-1 workflows get wf_1 --server http://h:1");
        assert_eq!(options, " --server http://h:1", "no key is told");
        assert_eq!(given("heddle keys list --data-dir=/tmp/x"), " --data-dir /tmp/x");
        assert_eq!(given("heddle keys list --data-dir=a'b"), r" --data-dir 'a'\''b'");
        assert_eq!(given("heddle run f -- --server x"), "");
        assert_eq!(given("heddle keys list --server"), "");
        for (text, expected) in [
            (
                "see what there is with `heddle keys list`",
                "see what there is with `heddle keys list --server http://h:1`",
            ),
            ("`heddle up` or `heddle runs list`, or x", "`heddle up` or `heddle runs list --server http://h:1`, or x"),
            ("`heddle secrets list`", "`heddle secrets list`"),
            ("the file `key`", "the file `key`"),
            ("`heddle keys list --server http://other`", "`heddle keys list --server http://other`"),
            ("a mark ` and heddle keys list", "a mark ` and heddle keys list"),
            ("as it is: heddle runs get x", "as it is: heddle runs get x --server http://h:1"),
            ("heddle secrets list", "heddle secrets list"),
            ("ask the operator", "ask the operator"),
        ] {
            assert_eq!(completed(text, "heddle", &options), expected);
        }
        assert_eq!(completed("`heddle up`", "heddle", " --data-dir x"), "`heddle up --data-dir x`");
    }
}
