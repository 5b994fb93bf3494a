//! `heddle doctor`: what is in the way, and what to do about it.

mod database;
mod machine;
mod server;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::connection::Connection;
use crate::data_dir::DataDir;
use crate::error::{Failure, Result};
use crate::ui::style::Style;
use crate::ui::{print, print_json};

/// Check this machine, the data folder and the server, and say what to do
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    connection: Connection,
    /// The database to look at, as the coordinator is told [default: heddle.db in the data folder]
    #[arg(long, env = "HEDDLE_DATABASE", hide_env_values = true, value_name = "DATABASE")]
    database: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, and not as well as it could.
    Warning,
    /// Something does not work.
    Failed,
    /// It could not be checked.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Check {
    name: &'static str,
    state: State,
    message: String,
    next: Option<String>,
}

impl Check {
    fn new(name: &'static str, state: State, message: impl Into<String>) -> Self {
        Check { name, state, message: message.into(), next: None }
    }

    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Check::new(name, State::Ok, message)
    }

    fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Check::new(name, State::Skipped, message)
    }

    fn warning(name: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Check { next: Some(next.into()), ..Check::new(name, State::Warning, message) }
    }

    fn failed(name: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Check { next: Some(next.into()), ..Check::new(name, State::Failed, message) }
    }

    /// What a failed request says, as a check.
    fn refused(name: &'static str, failure: Failure) -> Self {
        Check { next: failure.next, ..Check::new(name, State::Failed, failure.message) }
    }

    fn render(&self, style: Style) -> String {
        let word = match self.state {
            State::Ok => style.green("ok  "),
            State::Warning => style.yellow("warn"),
            State::Failed => style.red("FAIL"),
            State::Skipped => style.dim("skip"),
        };
        let next = self.next.as_ref().map(|next| format!("\n      next: {next}")).unwrap_or_default();
        format!("{word}  {:<12}  {}{next}", self.name, self.message)
    }
}

impl Doctor {
    /// Runs all checks.
    pub async fn run(self) -> Result<()> {
        let data = DataDir::choose(self.connection.data_dir.as_deref())?;
        let mut checks = machine::checks(&data);
        checks.push(database::check(self.database.as_deref(), &data).await);
        checks.extend(server::checks(&self.connection, &data).await);
        let bad = checks.iter().filter(|check| check.state == State::Failed).count();
        if self.json {
            print_json(&json!({ "healthy": bad == 0, "checks": checks }))?;
        } else {
            let style = Style::stdout();
            checks.iter().try_for_each(|check| print(&check.render(style)))?;
        }
        match bad {
            0 => Ok(()),
            1 => Err(Failure::failed("one check failed")),
            bad => Err(Failure::failed(format!("{bad} checks failed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_what_to_do() {
        assert_eq!(Check::ok("disk", "fast").render(Style::PLAIN), "ok    disk          fast");
        let text = Check::failed("key", "no", "yes").render(Style::PLAIN);
        assert_eq!(text, "FAIL  key           no\n      next: yes");
        let value = serde_json::to_value(Check::skipped("agents", "x")).unwrap();
        assert_eq!(value, json!({"name": "agents", "state": "skipped", "message": "x", "next": null}));
    }
}
