//! One configuration for every part: each long option of `up`, `coordinator`, `gateway` and `agent` is also a variable
//! (`--debug-nodes` is `HEDDLE_DEBUG_NODES`, unless its help names another: the data folder's is `HEDDLE_DATA`) and a key of a TOML file:
//!
//! ```toml
//! [coordinator]
//! listen = "10.0.0.5:7420"
//!
//! [agent]
//! slots = 8
//! labels = ["gpu=a100", "region=eu"]
//! ```
//!
//! One precedence for all: the option, then the variable, then the file, then the default. The file is read and checked
//! whole before anything starts, the tables of the other parts too: a fault in it is named with its path.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction};
use toml::{Table, Value};

use crate::error::{Context, Exit, Failure, Result};
use crate::ui::program;

/// The option that names the file, on every part.
pub const OPTION: &str = "config";
/// The variable that names it.
pub const VARIABLE: &str = "HEDDLE_CONFIG";

/// The commands that run a part of a cluster; a table of the file is named after each.
const PARTS: [&str; 4] = ["up", "coordinator", "gateway", "agent"];

/// Gives the options of all parts their variables, and their values in the file that `arguments` or `variable` name.
///
/// # Errors
/// The file cannot be read, is no TOML, or says something that no part understands.
pub fn apply(command: clap::Command, arguments: &[OsString], variable: Option<OsString>) -> Result<clap::Command> {
    let command = with_variables(command);
    let runs_part = arguments.get(1).and_then(|verb| verb.to_str()).is_some_and(|verb| PARTS.contains(&verb));
    let named = named(arguments).or_else(|| variable.filter(|file| !file.is_empty()).map(PathBuf::from));
    match named.filter(|_| runs_part) {
        Some(file) => with_file(command, &file),
        None => Ok(command),
    }
}

/// The file that the arguments name, before anything else of them is read.
fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let options = || arguments.iter().take_while(|argument| *argument != "--");
    let next = options().position(|argument| argument == "--config").and_then(|at| arguments.get(at + 1));
    let joined = || options().find_map(|argument| argument.to_str()?.strip_prefix("--config=").map(PathBuf::from));
    next.map(PathBuf::from).or_else(joined)
}

fn with_variables(mut command: clap::Command) -> clap::Command {
    for part in PARTS {
        command = command.mut_subcommand(part, |part| {
            part.mut_args(|argument| match variable_of(&argument) {
                Some(variable) => argument.env(variable).hide_env_values(true),
                None => argument,
            })
        });
    }
    command
}

/// The variable of an option that has none of its own.
fn variable_of(argument: &Arg) -> Option<String> {
    let long = argument.get_long().filter(|_| argument.get_env().is_none() && takes_part(argument))?;
    Some(format!("HEDDLE_{}", long.replace('-', "_").to_ascii_uppercase()))
}

/// Help and the file itself are no settings.
fn takes_part(argument: &Arg) -> bool {
    let asks = matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong);
    !asks && !matches!(argument.get_action(), ArgAction::Version) && argument.get_long() != Some(OPTION)
}

fn with_file(mut command: clap::Command, file: &Path) -> Result<clap::Command> {
    let failed = format!("cannot read the configuration in {}", file.display());
    let text = std::fs::read_to_string(file).context(Exit::Usage, &failed)?;
    let tables: Table = text.parse().map_err(|error: toml::de::Error| {
        Failure::usage(format!("{} is no TOML: {}", file.display(), error.to_string().trim_end()))
    })?;
    let wrong = |path: &str, why: &str| {
        let line = line_of(&text, path).map(|line| format!(":{line}")).unwrap_or_default();
        Failure::usage(format!("{}{line}: {path}: {why}", file.display()))
    };
    for (part, settings) in tables {
        if !PARTS.contains(&part.as_str()) {
            let failure = wrong(&part, "there is no such part");
            return Err(failure.with_next(format!("write its settings under one of {}", in_brackets(&PARTS))));
        }
        let Value::Table(settings) = settings else {
            return Err(wrong(&part, "must be a table").with_next(format!("begin it with a line [{part}]")));
        };
        for (key, value) in settings {
            let path = format!("{part}.{key}");
            let values = words(&value)
                .ok_or_else(|| wrong(&path, "must be a text, a number, a truth, a list of texts or a table of them"))?;
            check(&command, &part, &key, &values).map_err(|(why, next)| wrong(&path, &why).with_next(next))?;
            command = command.mut_subcommand(&part, |part| {
                part.mut_args(|argument| match argument.get_long() == Some(&key) {
                    true => argument.default_values(&values),
                    false => argument,
                })
            });
        }
    }
    Ok(command)
}

/// The line on which the file sets `part.key`, or begins the table `part`; `None` if it is written in another way.
fn line_of(text: &str, path: &str) -> Option<usize> {
    let (part, key) = path.split_once('.').map_or((path, None), |(part, key)| (part, Some(key)));
    let mut table = "";
    text.lines().enumerate().find_map(|(at, line)| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = name.trim();
            return (key.is_none() && table == part).then_some(at + 1);
        }
        let set = line.split('=').next().unwrap_or_default().trim().trim_matches('"');
        let is_it = match key {
            Some(key) => table == part && set == key,
            None => table.is_empty() && set == part,
        };
        is_it.then_some(at + 1)
    })
}

fn in_brackets(names: &[&str]) -> String {
    names.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ")
}

/// A value as the words that the command line would hold; a table is a list of `key=value`.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Table(entries) => entries.iter().map(|(key, value)| Some(format!("{key}={}", word(value)?))).collect(),
        Value::Array(items) => items.iter().map(word).collect(),
        single => word(single).map(|word| vec![word]),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Whether the part has this option and takes these values for it; else why not, and what to do.
fn check(
    command: &clap::Command,
    part: &str,
    key: &str,
    values: &[String],
) -> std::result::Result<(), (String, String)> {
    let found = command.find_subcommand(part).and_then(|command| {
        command.get_arguments().find(|argument| argument.get_long() == Some(key) && takes_part(argument))
    });
    let list = format!("`{} {part} --help` lists what can be set", program());
    let Some(argument) = found else { return Err(("there is no such setting".to_owned(), list)) };
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        let truth = matches!(values, [word] if word == "true" || word == "false");
        return if truth { Ok(()) } else { Err(("must be true or false".to_owned(), list)) };
    }
    if values.len() != 1 && argument.get_value_delimiter().is_none() {
        return Err(("takes one value, not a list".to_owned(), list));
    }
    let line = [command.get_name().to_owned(), part.to_owned()].into_iter();
    let line = line.chain(values.iter().map(|value| format!("--{key}={value}")));
    match command.clone().try_get_matches_from(line) {
        Err(error) if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Err((line.trim_start_matches("error: ").to_owned(), list))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn applied(text: &str, line: &str) -> Result<clap::ArgMatches> {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("heddle.toml");
        std::fs::write(&file, text).unwrap();
        let mut arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        arguments.extend(["--config".into(), file.into()]);
        let command = apply(crate::Command::command(), &arguments, None)?;
        let matches = command.try_get_matches_from(arguments).unwrap();
        Ok(matches.subcommand().unwrap().1.clone())
    }

    #[test]
    fn an_option_goes_before_the_file_and_the_file_before_the_default() {
        let text = "[agent]\nslots = 3\nlabels = ['gpu=a100', 'region=eu']\ndebug-nodes = true\n[gateway]\nlisten='127.0.0.1:1'";
        let agent = applied(text, "heddle agent").unwrap();
        assert_eq!(agent.get_one::<u32>("slots"), Some(&3));
        assert_eq!(agent.get_many::<String>("labels").unwrap().collect::<Vec<_>>(), ["gpu=a100", "region=eu"]);
        assert!(agent.get_flag("debug_nodes"));
        let agent = applied(text, "heddle agent --slots 5 --labels a=b").unwrap();
        assert_eq!(agent.get_one::<u32>("slots"), Some(&5));
        assert_eq!(agent.get_many::<String>("labels").unwrap().collect::<Vec<_>>(), ["a=b"]);
        assert_eq!(applied("", "heddle agent").unwrap().get_one::<u32>("slots"), Some(&16));
        let text =
            "[coordinator]\nconcurrency-limits = { 'openai:*' = 8, one = 1 }\nnode-policy = '{\"timeoutMs\": 5}'";
        let coordinator = applied(text, "heddle coordinator").unwrap();
        let limits = coordinator.get_many::<heddle_coordinator::ConcurrencyLimit>("concurrency_limits").unwrap();
        assert_eq!(limits.cloned().collect::<Vec<_>>(), ["one=1", "openai:*=8"].map(|limit| limit.parse().unwrap()));
        assert!(coordinator.get_one::<heddle_coordinator::NodePolicy>("node_policy").is_some());
    }

    #[test]
    fn a_fault_is_named_with_its_path_whichever_part_starts() {
        for (text, expected) in [
            ("[agent]\nslot = 3", "agent.slot: there is no such setting"),
            ("[agents]\nslots = 3", "agents: there is no such part"),
            ("agent = 3", "agent: must be a table"),
            ("[agent]\nslots = 'many'", "agent.slots: invalid value 'many'"),
            ("[agent]\nslots = [1, 2]", "agent.slots: takes one value"),
            ("[agent]\nslots = 1.5", "agent.slots: must be a text"),
            ("[agent]\ndebug-nodes = 'yes'", "agent.debug-nodes: must be true or false"),
            ("[coordinator]\nlisten = 'here'", "coordinator.listen: invalid value 'here'"),
            ("[gateway]\nconfig = 'x'", "gateway.config: there is no such setting"),
            ("[coordinator]\nconcurrency-limits = { a = 0 }", "coordinator.concurrency-limits: invalid value 'a=0'"),
            ("[up]\nnode-policy = '{\"retry\": {\"tries\": 1}}'", "up.node-policy: invalid value"),
            ("[gateway", "is no TOML"),
        ] {
            let failure = applied(text, "heddle gateway").unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(expected), "{text}: {failure}");
        }
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (text, expected) in [
            ("[gateway]\nlisten = '127.0.0.1:1'\n\n[agent]\n# few\nslot = 3", "heddle.toml:6: agent.slot:"),
            ("[gateway]\nlisten = '127.0.0.1:1'\n[agent]\nlisten = 3", "heddle.toml:4: agent.listen:"),
            ("# all\n[agents]\nslots = 3", "heddle.toml:2: agents:"),
            ("agent = 3", "heddle.toml:1: agent:"),
            ("agent = { slot = 3 }", "heddle.toml: agent.slot:"),
        ] {
            let failure = applied(text, "heddle gateway").unwrap_err();
            assert!(failure.message.contains(expected), "{text}: {failure}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let arguments = ["heddle", "up", "--config=/nowhere/heddle.toml"].map(OsString::from);
        assert!(apply(crate::Command::command(), &arguments, None).is_err());
        let arguments = ["heddle", "up"].map(OsString::from);
        assert!(apply(crate::Command::command(), &arguments, Some("/nowhere/heddle.toml".into())).is_err());
        // Commands for people read no file: they must work beside a broken one.
        let arguments = ["heddle", "run", "x.json"].map(OsString::from);
        assert!(apply(crate::Command::command(), &arguments, Some("/nowhere/heddle.toml".into())).is_ok());
    }

    #[test]
    fn every_option_of_a_part_has_a_variable() {
        let command = with_variables(crate::Command::command());
        for part in PARTS {
            let part = command.find_subcommand(part).unwrap();
            for argument in part.get_arguments().filter(|argument| takes_part(argument)) {
                assert!(argument.get_env().is_some(), "{} {}", part.get_name(), argument.get_id());
            }
        }
        let agent = command.find_subcommand("agent").unwrap();
        let variable =
            |long| agent.get_arguments().find(|argument| argument.get_long() == Some(long)).unwrap().get_env();
        assert_eq!(variable("slots").unwrap(), "HEDDLE_SLOTS");
        assert_eq!(variable("coordinator").unwrap(), "HEDDLE_COORDINATOR");
    }

    #[test]
    fn the_data_folder_has_one_variable_everywhere() {
        let command = with_variables(crate::Command::command());
        let mut found = 0;
        for part in command.get_subcommands() {
            for argument in part.get_arguments().filter(|argument| argument.get_long() == Some("data-dir")) {
                assert_eq!(argument.get_env(), Some("HEDDLE_DATA".as_ref()), "{}", part.get_name());
                found += 1;
            }
        }
        assert!(found >= 5, "up, coordinator, agent, run and executions have one");
    }
}
