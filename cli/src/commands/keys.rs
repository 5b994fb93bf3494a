//! `heddle keys`: who may do what.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::client::{ApiKey, NewKey};
use crate::connection::Connection;
use crate::error::Result;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print, print_json};

/// Make, list, replace and revoke API keys
#[derive(Debug, Args)]
pub struct Keys {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key and print it: it cannot be read again
    Create {
        /// What it may do, such as workflows:execute,executions:read
        #[arg(long = "scope", required = true, value_delimiter = ',', value_name = "SCOPES")]
        scopes: Vec<String>,
        /// Who will hold it [default: who asks]
        #[arg(long)]
        subject: Option<String>,
        /// Let it end after this time (12h, 90d)
        #[arg(long, value_name = "TIME", value_parser = clock::parse_span)]
        expires: Option<Duration>,
        /// Make it for another tenant (for keys with the scope operate)
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// List all keys, youngest first
    List {
        /// Those of another tenant (for keys with the scope operate)
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Make a key like this one, which works on for a while
    Rotate {
        /// The key's id
        id: String,
        /// How long the old key works on (0s, 12h) [default: 24h]
        #[arg(long, value_name = "TIME", value_parser = clock::parse_span)]
        overlap: Option<Duration>,
    },
    /// End a key within a second
    Revoke {
        /// The key's id
        id: String,
    },
}

impl Keys {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::Create { scopes, subject, expires, tenant } => {
                let end = |span: Duration| clock::rfc3339(clock::now_ms().saturating_add(span.as_millis() as i64));
                let new = NewKey { subject: subject.as_deref(), scopes: &scopes, expires_at: expires.map(end) };
                show_once(&client.create_key(tenant.as_deref(), &new).await?, self.json)
            }
            Verb::List { tenant } => list(&client.keys(tenant.as_deref()).await?, self.json),
            Verb::Rotate { id, overlap } => {
                let new = client.rotate_key(&id, overlap.map(|overlap| overlap.as_secs())).await?;
                show_once(&new, self.json)
            }
            Verb::Revoke { id } => {
                let key = client.revoke_key(&id).await?;
                if self.json {
                    return print_json(&key);
                }
                note(&format!("{} does not work any more", key.id));
                Ok(())
            }
        }
    }
}

/// The key alone on stdout, so that a script can keep it; what it is on stderr.
fn show_once(key: &ApiKey, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(key);
    }
    note(&format!("{} for {}, {}; this is the only time it is shown", key.id, key.subject, key.scopes.join(" ")));
    print(key.key.as_deref().unwrap_or_default())
}

fn list(keys: &[ApiKey], as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&keys);
    }
    let mut table = Table::new(&["ID", "KEY", "STATUS", "SUBJECT", "CREATED", "USED", "ENDS", "SCOPES"]);
    for key in keys {
        let ends = key.revoked_at.clone().or_else(|| key.expires_at.clone()).unwrap_or_default();
        let used = key.last_used_at.clone().unwrap_or_default();
        let (status, scopes) = (status(key).to_owned(), key.scopes.join(" "));
        let (id, hint, subject, created) =
            (key.id.clone(), key.hint.clone(), key.subject.clone(), key.created_at.clone());
        table.row(vec![id, hint, status, subject, created, used, ends, scopes]);
    }
    print(&table.render(Style::stdout()))
}

fn status(key: &ApiKey) -> &'static str {
    let is_over = key.expires_at.as_deref().and_then(clock::parse).is_some_and(|at| at <= clock::now_ms());
    match (&key.revoked_at, is_over) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "works",
    }
}
