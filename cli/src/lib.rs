//! Heddle: one binary that runs, watches and measures AI workflows on a cluster you own.
//!
//! `commands` has a file per command; `client` speaks the public REST API; `ui` writes for people. A command ends with
//! `Ok`, or with a [`error::Failure`] that is turned into an exit code in one place, [`main`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod bench;
pub mod client;
pub mod commands;
pub mod completion;
pub mod compose;
pub mod config_file;
pub mod connection;
pub mod contradiction;
pub mod data_dir;
pub mod error;
pub mod follow;
pub mod inputs;
pub mod iterate;
pub mod json_shape;
pub mod limits;
pub mod metrics;
pub mod outputs;
pub mod review_edit;
pub mod service;
pub mod session;
pub mod telemetry;
pub mod text_file;
pub mod ui;
pub mod wfformat;
pub mod workflow_diff;
pub mod workflow_file;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use error::{Context, Exit, Result};
use ui::style::Style;

/// Run AI workflows on a cluster you own
#[derive(Debug, Parser)]
#[command(name = "heddle", version, propagate_version = true, max_term_width = 100)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
    /// A TOML file with a table for each part; options and variables go before it
    // Read by `config_file`, before the rest of the command line.
    #[arg(long, global = true, env = config_file::VARIABLE, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(commands::up::Up),
    Coordinator(commands::coordinator::Coordinator),
    Gateway(commands::gateway::Gateway),
    Agent(commands::agent::Agent),
    Run(commands::run::Run),
    #[command(alias = "runs")]
    Executions(commands::executions::Executions),
    Replay(commands::replay::Replay),
    Reviews(commands::reviews::Reviews),
    Batches(commands::batches::Batches),
    Workflows(commands::workflows::Workflows),
    Alerts(commands::alerts::Alerts),
    Import(commands::import::Import),
    Nodes(commands::nodes::Nodes),
    Agents(commands::agents::Agents),
    Keys(commands::keys::Keys),
    Tenants(commands::tenants::Tenants),
    Doctor(commands::doctor::Doctor),
    Secrets(commands::secrets::Secrets),
    Sandbox(commands::sandbox::Sandbox),
    Bench(commands::bench::Bench),
    Completion(commands::completion::Completion),
}

/// The process: reads the command line, runs the command, says what went wrong, and exits with its code.
pub fn main() -> ExitCode {
    // Ends the process if the shell's completion asks.
    clap_complete::CompleteEnv::with_factory(Command::command).complete();
    match read(std::env::args_os().collect()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(mut failure) => {
            failure.next = failure.next.as_deref().map(ui::next::with_server);
            ui::note(&format!("{} {}", Style::stderr().red("error:"), ui::plain(&failure.to_string())));
            failure.exit.into()
        }
    }
}

/// The command line, over the variables, over the file of the configuration. Ends the process when it makes no sense.
fn read(arguments: Vec<OsString>) -> Result<Command> {
    let definition = config_file::apply(Command::command(), &arguments, std::env::var_os(config_file::VARIABLE))?;
    let matches = definition.get_matches_from(arguments);
    Ok(Command::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

fn run(command: Command) -> Result<()> {
    let mut runtime = match command.verb {
        // The load generator shares the cores with what it measures: one thread wakes up less.
        Verb::Bench(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build().context(Exit::Failed, "cannot start the runtime")?.block_on(async {
        match command.verb {
            Verb::Up(up) => up.run().await,
            Verb::Coordinator(coordinator) => coordinator.run().await,
            Verb::Gateway(gateway) => gateway.run().await,
            Verb::Agent(agent) => agent.run().await,
            Verb::Run(run) => run.run().await,
            Verb::Executions(executions) => executions.run().await,
            Verb::Replay(replay) => replay.run().await,
            Verb::Reviews(reviews) => reviews.run().await,
            Verb::Batches(batches) => batches.run().await,
            Verb::Workflows(workflows) => workflows.run().await,
            Verb::Alerts(alerts) => alerts.run().await,
            Verb::Import(import) => import.run(),
            Verb::Nodes(nodes) => nodes.run().await,
            Verb::Agents(agents) => agents.run().await,
            Verb::Keys(keys) => keys.run().await,
            Verb::Tenants(tenants) => tenants.run().await,
            Verb::Doctor(doctor) => doctor.run().await,
            Verb::Secrets(secrets) => secrets.run(),
            Verb::Sandbox(sandbox) => sandbox.run().await,
            Verb::Bench(bench) => bench.run().await,
            Verb::Completion(completion) => completion.run(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parses(line: &str) -> bool {
        Command::try_parse_from(line.split_whitespace()).is_ok()
    }

    #[test]
    fn the_definitions_are_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn command_lines_are_read() {
        for line in [
            "heddle run f.json -i a=1 -i b:=2 --to out --json --timeout 90s --server http://h:1 --key k",
            "heddle executions list --status failed --limit 10 --json",
            "heddle runs get exec_1 --data-dir /tmp/x",
            "heddle runs watch exec_1 --timeout 5m",
            "heddle executions events exec_1 --after 7 --follow",
            "heddle executions cancel exec_1 --reason because",
            "heddle executions export exec_1 -o run.jsonl",
            "heddle replay run.jsonl --at 7 --json",
            "heddle replay run.jsonl --trace",
            "heddle up --listen 127.0.0.1:0 --data-dir /tmp/x --agents 3 --slots 4 --debug-nodes --debug-effects /tmp/e",
            "heddle coordinator --listen 127.0.0.1:0 --database sqlite:x.db --data-dir /tmp/x --debug-nodes",
            "heddle gateway --listen [::1]:0 --coordinator 127.0.0.1:7420 --metrics 127.0.0.1:9101",
            "heddle agent --coordinator http://c:7420 --labels gpu=a100,region=eu --slots 4 --data-dir /tmp/x",
            "heddle coordinator --listen 0.0.0.0:0 --tls --ca-cert c.pem --ca-key k.pem --certificate-life 1h",
            "heddle coordinator --tls --new-gateway-token",
            "heddle gateway --join @token --data-dir /tmp/x",
            "heddle agent --join hjt_x --coordinator https://c:7420",
            "heddle agent --insecure --coordinator http://c:7420",
            "heddle reviews list --state all --assignee grace --workflow wf_1 --execution exec_1 --all --json",
            "heddle reviews get rev_1 --json",
            "heddle reviews approve rev_1 rev_2 --comment good",
            "heddle reviews approve rev_1 --data @draft.txt",
            "heddle reviews edit rev_1 --comment shorter",
            "heddle reviews reject rev_1",
            "heddle reviews retry rev_1 --set @config.json",
            "heddle agents list --json",
            "heddle agents drain agt_1",
            "heddle agents resume agt_1",
            "heddle agents token create --for gateway --ttl 2d",
            "heddle agents token list --json",
            "heddle agents token revoke jtk_1",
            "heddle keys create --scope workflows:execute,executions:read --subject ci --expires 90d",
            "heddle keys list --json",
            "heddle keys create --scope admin --tenant acme",
            "heddle keys list --tenant acme",
            "heddle tenants create acme --name Acme --json",
            "heddle tenants list",
            "heddle tenants close acme",
            "heddle keys rotate key_1 --overlap 1h",
            "heddle keys revoke key_1 --server http://h:1 --key k",
            "heddle secrets set openai --host api.openai.com --data-dir /tmp/x",
            "heddle secrets list --json",
            "heddle secrets delete openai",
            "heddle sandbox --listen 127.0.0.1:0",
            "heddle up --sandbox",
            "heddle agent --sandbox-address 127.0.0.1:7430",
            "heddle completion bash",
            "heddle bench --work W1,w3 --out /tmp/x",
            "heddle bench --work makespan --graphs /tmp/x --repeats 5",
            "heddle import wfformat f.json",
            "heddle import wfformat f.json -o g.json --scale 0.01 --priorities rank --json",
            "heddle import wfformat f.json --total-seconds 4.5",
        ] {
            assert!(parses(line), "{line}");
        }
        for line in [
            "heddle",
            "heddle run",
            "heddle run f.json --timeout soon",
            "heddle runs list --limit 0",
            "heddle bench --work W9",
            "heddle up --agents 0",
            "heddle reviews approve",
            "heddle reviews edit rev_1 rev_2",
            "heddle reviews list --state closed",
            "heddle import f.json",
            "heddle import wfformat f.json --scale 0",
            "heddle import wfformat f.json --scale 2 --total-seconds 4",
            "heddle import wfformat f.json --total-seconds -4",
            "heddle import wfformat f.json --json",
            "heddle agents token create --for coordinator",
            "heddle replay run.jsonl --trace --events",
            "heddle keys create",
            "heddle tenants rename acme",
            "heddle secrets set openai",
            "heddle secrets set openai sk-on-the-command-line --host h",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
