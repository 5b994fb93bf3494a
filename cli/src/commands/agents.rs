//! `heddle agents`: which there are, who may join, and which get no more work.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{JoinToken, NewJoinToken};
use crate::connection::Connection;
use crate::error::Result;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print, print_json};

/// List and drain agents, and make the tokens with which they join
#[derive(Debug, Args)]
pub struct Agents {
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
    /// List the agents that are connected
    List,
    /// Give an agent no more work: it hands back what it has not begun and finishes the rest
    Drain {
        /// The agent's id
        id: String,
    },
    /// Give a drained agent work again
    Resume {
        /// The agent's id
        id: String,
    },
    /// Make, list and revoke join tokens
    #[command(subcommand)]
    Token(TokenVerb),
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token and print it: one agent or gateway can join with it, once
    Create {
        /// What will join
        #[arg(long = "for", default_value = "agent", value_parser = ["agent", "gateway"])]
        role: String,
        /// How long it can be used (30m, 2d) [default: 1h]
        #[arg(long, value_name = "TIME", value_parser = clock::parse_span)]
        ttl: Option<Duration>,
    },
    /// List tokens, youngest first
    List,
    /// End a token that nobody has used
    Revoke {
        /// The token's id
        id: String,
    },
}

impl Agents {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::List => list(&client.agents().await?, self.json),
            Verb::Drain { id } => {
                let agent = client.drain_agent(&id, false).await?;
                said(&agent, self.json, &format!("{id} gets no more work; {} left to finish", count(&agent["busy"])))
            }
            Verb::Resume { id } => {
                let agent = client.drain_agent(&id, true).await?;
                said(&agent, self.json, &format!("{id} gets work again"))
            }
            Verb::Token(TokenVerb::Create { role, ttl }) => {
                let ttl_seconds = ttl.map(|ttl| ttl.as_secs().max(1));
                show_once(&client.create_join_token(&NewJoinToken { role: &role, ttl_seconds }).await?, self.json)
            }
            Verb::Token(TokenVerb::List) => list_tokens(&client.join_tokens().await?, self.json),
            Verb::Token(TokenVerb::Revoke { id }) => {
                let token = client.revoke_join_token(&id).await?;
                if self.json {
                    return print_json(&token);
                }
                note(&format!("nobody can join with {} any more", token.id));
                Ok(())
            }
        }
    }
}

fn said(agent: &Value, as_json: bool, words: &str) -> Result<()> {
    if as_json {
        return print_json(agent);
    }
    note(words);
    Ok(())
}

fn list(agents: &[Value], as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&agents);
    }
    let mut table = Table::new(&["ID", "STATE", "BUSY", "SLOTS", "HOST", "VERSION", "CONNECTED", "LABELS"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for agent in agents {
        let labels = agent["labels"].as_object().into_iter().flatten();
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={}", text(value))).collect();
        table.row(vec![
            text(&agent["id"]),
            text(&agent["state"]),
            count(&agent["busy"]),
            count(&agent["slots"]),
            text(&agent["hostname"]),
            text(&agent["version"]),
            text(&agent["connectedAt"]),
            labels.join(","),
        ]);
    }
    print(&table.render(Style::stdout()))
}

fn count(value: &Value) -> String {
    value.as_u64().unwrap_or_default().to_string()
}

/// The token alone on stdout, so that a script can keep it; what it is on stderr.
fn show_once(token: &JoinToken, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(token);
    }
    let JoinToken { id, role, expires_at, .. } = token;
    note(&format!("{id} for one {role}, until {expires_at}; this is the only time it is shown"));
    print(token.token.as_deref().unwrap_or_default())
}

fn list_tokens(tokens: &[JoinToken], as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&tokens);
    }
    let mut table = Table::new(&["ID", "FOR", "STATUS", "MADE BY", "CREATED", "EXPIRES", "USED BY"]);
    for token in tokens {
        table.row(vec![
            token.id.clone(),
            token.role.clone(),
            status(token).into(),
            token.subject.clone(),
            token.created_at.clone(),
            token.expires_at.clone(),
            token.used_by.clone().unwrap_or_default(),
        ]);
    }
    print(&table.render(Style::stdout()))
}

fn status(token: &JoinToken) -> &'static str {
    let is_over = clock::parse(&token.expires_at).is_some_and(|at| at <= clock::now_ms());
    match (&token.used_at, &token.revoked_at, is_over) {
        (Some(_), _, _) => "used",
        (None, Some(_), _) => "revoked",
        (None, None, true) => "expired",
        (None, None, false) => "waits",
    }
}
