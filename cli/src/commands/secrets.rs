//! `heddle secrets`: the credentials of this machine, which graphs name and never hold.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use heddle_agent::secrets::{Entry, SecretsFile};
use heddle_error_chain::chain;
use serde_json::json;

use crate::data_dir::DataDir;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::SECRET_INPUT_BYTES_MAX;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json};

/// Keep the keys of providers on this machine; graphs name them
#[derive(Debug, Args)]
pub struct Secrets {
    /// The data folder [default: $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, global = true, env = "HEDDLE_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep a secret, read from a prompt or from stdin: never from the command line, which others can see
    Set {
        /// What graphs call it
        name: String,
        /// A host that it is sent to, with a port if it is not 443; it goes to no other
        #[arg(long = "host", required = true, value_name = "HOST")]
        hosts: Vec<String>,
        /// Let the host lie in your own network, as a model server of yours does
        #[arg(long)]
        allow_private: bool,
        /// The header it is sent in
        #[arg(long, default_value = "authorization")]
        header: String,
        /// What stands before it there
        #[arg(long, default_value = "Bearer ")]
        prefix: String,
    },
    /// List names and hosts; no secret is shown
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a secret
    Delete {
        /// What graphs call it
        name: String,
    },
}

impl Secrets {
    /// Runs the verb.
    pub fn run(self) -> Result<()> {
        let data = DataDir::choose(self.data_dir.as_deref())?;
        let file = SecretsFile::at(data.secrets_path());
        match self.verb {
            Verb::Set { name, hosts, allow_private, header, prefix } => {
                let value = read_secret(&name)?;
                data.create()?;
                file.set(&name, Entry { value, hosts, allow_private, header, prefix }).map_err(failed)?;
                note(&format!("{name} is kept in {}", data.secrets_path().display()));
                Ok(())
            }
            Verb::List { json } => list(&file, json),
            Verb::Delete { name } => {
                match file.delete(&name).map_err(failed)? {
                    true => {
                        note(&format!("{name} is forgotten"));
                        Ok(())
                    }
                    false => Err(Failure::usage(format!("there is no secret {name:?}"))
                        .with_next("look with: heddle secrets list")),
                }
            }
        }
    }
}

fn failed(error: heddle_agent::secrets::SecretsError) -> Failure {
    Failure::usage(chain(&error))
}

/// From a prompt that shows nothing, else the whole of stdin without its last line end.
fn read_secret(name: &str) -> Result<String> {
    let failed = "cannot read the secret";
    if std::io::stdin().is_terminal() {
        note(&format!("secret for {name} (not shown):"));
        return console::Term::stderr().read_secure_line().context(Exit::Usage, failed);
    }
    let mut text = String::new();
    std::io::stdin().take(SECRET_INPUT_BYTES_MAX).read_to_string(&mut text).context(Exit::Usage, failed)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn list(file: &SecretsFile, as_json: bool) -> Result<()> {
    let entries = file.entries().map_err(failed)?;
    if as_json {
        let shown: Vec<_> = entries
            .iter()
            .map(|(name, entry)| json!({"name": name, "hosts": entry.hosts, "allowPrivate": entry.allow_private}))
            .collect();
        return print_json(&shown);
    }
    let mut table = Table::new(&["NAME", "HOSTS", "PRIVATE"]);
    for (name, entry) in entries {
        let private = if entry.allow_private { "yes" } else { "no" };
        table.row(vec![name, entry.hosts.join(" "), private.to_owned()]);
    }
    print(&table.render(Style::stdout()))
}
