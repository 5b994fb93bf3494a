//! What the documents say of the command line is so.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use heddle::error::EXIT_CODES;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// README.md and everything in docs/.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.push(root().join("README.md"));
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// One command line in a document.
struct Line {
    text: String,
    /// In a block of code, where it has to be whole; else it may be the name of a command in a sentence.
    is_block: bool,
}

fn lines(document: &str) -> Vec<Line> {
    let (mut found, mut in_block) = (Vec::new(), false);
    let mut rest = document.replace("\\\n", " ");
    rest.push('\n');
    for line in rest.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.extend(command(line).map(|text| Line { text, is_block: true }));
        } else {
            let code = line.split('`').skip(1).step_by(2);
            found.extend(code.filter_map(command).map(|text| Line { text, is_block: false }));
        }
    }
    found
}

/// The command line of this program that a line of code begins with, up to the shell's own signs.
fn command(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches("$ ");
    let rest = ["heddle ", "target/release/heddle ", "cargo run --release -- "]
        .iter()
        .find_map(|begin| line.strip_prefix(begin))?;
    let end =
        [" #", " |", " >", " 2>", " &", ";"].iter().filter_map(|sign| rest.find(sign)).min().unwrap_or(rest.len());
    Some(rest[..end].trim().to_owned())
}

/// Why a line is none, if it is none.
fn fault(line: &Line) -> Option<String> {
    let Some(words) = shlex::split(&line.text) else { return Some("its quotes are not closed".to_owned()) };
    let words = words.into_iter().map(|word| match word.as_str() {
        // A part of the cluster, in a sentence about all of them.
        "PART" => "up".to_owned(),
        // Numbers of versions.
        "V" | "FROM" | "TO" => "1".to_owned(),
        _ => word,
    });
    let error = heddle::Command::try_parse_from(["heddle".to_owned()].into_iter().chain(words)).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand
        | ErrorKind::MissingRequiredArgument
            if !line.is_block =>
        {
            None
        }
        _ => Some(error.to_string()),
    }
}

#[test]
fn every_command_line_in_the_documents_is_one() {
    let mut count = 0;
    for (path, text) in documents() {
        for line in lines(&text) {
            count += 1;
            assert!(fault(&line).is_none(), "{path}: heddle {}: {}", line.text, fault(&line).unwrap());
        }
    }
    assert!(count > 60, "only {count} were found");
    for wrong in ["```sh\nheddle nodes got x\n```", "see `heddle executions list --state x`", "```\nheddle run\n```"] {
        assert!(lines(wrong).iter().any(|line| fault(line).is_some()), "{wrong}");
    }
}

/// The names of all commands that do something: `executions list`, `up`…
fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = format!("{path} {}", inner.get_name()).trim().to_owned();
        if inner.has_subcommands() { leaves(inner, &name, found) } else { assert!(found.insert(name)) }
    }
}

#[test]
fn every_command_is_documented_with_an_example() {
    let text = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let examples = lines(&text);
    let mut commands = BTreeSet::new();
    leaves(&heddle::Command::command(), "", &mut commands);
    assert!(commands.len() > 20);
    for command in commands {
        let shown = |line: &&Line| line.is_block && format!("{} ", line.text).starts_with(&format!("{command} "));
        assert!(examples.iter().any(|line| shown(&line)), "docs/cli.md has no example of `heddle {command}`");
    }
}

#[test]
fn the_exit_codes_are_the_documented_ones() {
    let text = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let part = text.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let expected: Vec<String> = EXIT_CODES.iter().map(|(code, meaning)| format!("| {code} | {meaning} |")).collect();
    assert_eq!(rows, expected);
}

/// The help of a command and of what is below it.
fn helps(command: &clap::Command, found: &mut Vec<(String, String)>) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    found.push((format!("heddle {}", command.get_name()), about));
    for argument in command.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
    {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        found.push((format!("{} {}", command.get_name(), argument.get_id()), help));
    }
    command.get_subcommands().for_each(|inner| helps(inner, found));
}

#[test]
fn every_help_is_one_sentence_without_a_full_stop() {
    let mut found = Vec::new();
    helps(&heddle::Command::command(), &mut found);
    assert!(found.len() > 100);
    for (name, help) in found {
        assert!(!help.is_empty(), "{name} has no help");
        assert!(help.starts_with(|c: char| c.is_uppercase()), "{name}: {help}");
        assert!(!help.ends_with('.') && !help.contains(". "), "{name}: {help}");
    }
}
