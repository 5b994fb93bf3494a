//! `heddle alerts`: rules that watch over workflows, and what they found.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::pages::{Listed, Pages};
use crate::client::{Alert, Client, Incident, IncidentFilter, read_value};
use crate::completion;
use crate::connection::Connection;
use crate::error::Result;
use crate::ui::clock::{self, parse_span};
use crate::ui::next::with_server;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json, program};

/// List, make and delete rules that watch over workflows, and list what they found
#[derive(Debug, Args)]
pub struct Alerts {
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
    /// List the rules of a workflow
    List {
        /// The workflow's id
        #[arg(value_name = "WORKFLOW", add = completion::workflows())]
        workflow: String,
    },
    /// Get one rule
    Get {
        /// The workflow's id
        #[arg(value_name = "WORKFLOW", add = completion::workflows())]
        workflow: String,
        /// The rule's id
        id: String,
    },
    /// Make a rule
    Create {
        #[command(subcommand)]
        rule: Rule,
    },
    /// Delete a rule, and close its incident
    Delete {
        /// The workflow's id
        #[arg(value_name = "WORKFLOW", add = completion::workflows())]
        workflow: String,
        /// The rule's id
        id: String,
    },
    /// List what rules found, the youngest first
    Incidents {
        /// Only incidents that stand so
        #[arg(long, ignore_case = true, default_value = "all")]
        state: State,
        /// Only those of this workflow
        #[arg(long, value_name = "ID", add = completion::workflows())]
        workflow: Option<String>,
        #[command(flatten)]
        pages: Pages,
    },
}

#[derive(Debug, Subcommand)]
enum Rule {
    /// Too many of the runs that ended by themselves failed
    ErrorRate {
        #[command(flatten)]
        watched: Watched,
        /// How far it looks back
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        window: Duration,
        /// The share that is too much, such as 0.2
        #[arg(long, value_name = "SHARE", value_parser = share)]
        threshold: f64,
        /// With fewer runs it says nothing
        #[arg(long, default_value_t = 1)]
        min_runs: u64,
    },
    /// The slowest twentieth of the runs that ended by themselves took too long
    #[command(name = "duration-p95")]
    DurationP95 {
        #[command(flatten)]
        watched: Watched,
        /// How far it looks back
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        window: Duration,
        /// What is too long
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        threshold: Duration,
        /// With fewer runs it says nothing
        #[arg(long, default_value_t = 1)]
        min_runs: u64,
    },
    /// No run has completed for too long
    NoSuccessFor {
        #[command(flatten)]
        watched: Watched,
        /// For how long
        #[arg(value_name = "TIME", value_parser = parse_span)]
        time: Duration,
    },
}

/// What every rule has.
#[derive(Debug, Args)]
struct Watched {
    /// The workflow's id
    #[arg(value_name = "WORKFLOW", add = completion::workflows())]
    workflow: String,
    /// For how long all must be well before an incident closes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    close_after: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Closed,
    All,
}

impl Alerts {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::List { workflow } => list(&client, &workflow, self.json).await,
            Verb::Get { workflow, id } => show(client.alert(&workflow, &id).await?, self.json),
            Verb::Create { rule } => {
                let (watched, body) = rule.body();
                show(client.create_alert(&watched.workflow, &body).await?, self.json)
            }
            Verb::Delete { workflow, id } => {
                client.delete_alert(&workflow, &id).await?;
                match self.json {
                    true => print_json(&json!({ "id": id, "deleted": true })),
                    false => print(&format!("deleted  {id}")),
                }
            }
            Verb::Incidents { state, workflow, pages } => {
                let (name, word, command) = ("incidents", "incidents", "alerts incidents".to_owned());
                let limit = pages.limit;
                let page = async |cursor| {
                    let state = state.to_possible_value().map(|state| state.get_name().to_owned());
                    let filter = IncidentFilter { state, workflow_id: workflow.clone(), limit, cursor };
                    client.incidents(&filter).await
                };
                pages.show(Listed { name, word, command, table: incidents }, self.json, page).await
            }
        }
    }
}

impl Rule {
    /// As the API takes it.
    fn body(&self) -> (&Watched, Value) {
        let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (watched, mut body) = match self {
            Rule::ErrorRate { watched, window, threshold, min_runs } => {
                let window = ms(window);
                (
                    watched,
                    json!({"kind": "error_rate", "windowMs": window, "threshold": threshold, "minRuns": min_runs}),
                )
            }
            Rule::DurationP95 { watched, window, threshold, min_runs } => {
                let (window, threshold) = (ms(window), ms(threshold));
                let kind = "duration_p95";
                (watched, json!({"kind": kind, "windowMs": window, "thresholdMs": threshold, "minRuns": min_runs}))
            }
            Rule::NoSuccessFor { watched, time } => (watched, json!({"kind": "no_success_for", "ms": ms(time)})),
        };
        body["closeAfterMs"] = json!(ms(&watched.close_after));
        (watched, body)
    }
}

async fn list(client: &Client, workflow: &str, as_json: bool) -> Result<()> {
    let alerts = client.alerts(workflow).await?;
    if as_json {
        return print_json(&json!({ "alerts": alerts }));
    }
    if alerts.is_empty() {
        let next =
            format!("no rule watches over it; make one with `{} alerts create error-rate {workflow}`", program());
        note(&with_server(&next));
        return Ok(());
    }
    print(&table(alerts)?.render(Style::stdout()))
}

fn show(alert: Value, as_json: bool) -> Result<()> {
    if as_json { print_json(&alert) } else { print(&table(vec![alert])?.render(Style::stdout())) }
}

fn table(alerts: Vec<Value>) -> Result<Table> {
    let mut table = Table::new(&["ID", "STATUS", "RULE", "CLOSES AFTER", "INCIDENT"]);
    for alert in alerts {
        let alert: Alert = read_value(alert, "alert rule")?;
        let status = if alert.incident_id.is_some() { "open" } else { "ok" };
        let closes = span(alert.close_after_ms);
        let rule = sentence(&alert);
        table.row(vec![alert.id, status.into(), rule, closes, alert.incident_id.unwrap_or_default()]);
    }
    Ok(table)
}

/// What a rule asks, in words.
fn sentence(alert: &Alert) -> String {
    let window = span(alert.window_ms.unwrap_or_default());
    let runs = alert.min_runs.unwrap_or_default();
    match alert.kind.as_str() {
        "error_rate" => {
            let share = alert.threshold.unwrap_or_default() * 100.0;
            format!("error_rate: {share} % of at least {runs} runs in {window} failed")
        }
        "duration_p95" => {
            let threshold = span(alert.threshold_ms.unwrap_or_default());
            format!("duration_p95: {threshold} of at least {runs} runs in {window}")
        }
        kind => format!("{kind}: {}", span(alert.ms.unwrap_or_default())),
    }
}

fn span(ms: u64) -> String {
    clock::span(Duration::from_millis(ms))
}

fn incidents(items: Vec<Value>) -> Result<Table> {
    let mut table = Table::new(&["ID", "STATUS", "WORKFLOW", "OPENED", "CLOSED", "MEASURED"]);
    for item in items {
        let incident: Incident = read_value(item, "incident")?;
        let data = &incident.event["data"];
        let kind = data["condition"]["kind"].as_str().unwrap_or_default();
        let measured = format!("{kind}: {}", data["measured"]);
        table.row(vec![
            incident.id,
            incident.state,
            incident.workflow_id,
            incident.opened_at,
            incident.closed_at.unwrap_or_default(),
            measured,
        ]);
    }
    Ok(table)
}

/// A share: people write percents, too, which would be a hundred times as much.
fn share(text: &str) -> std::result::Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a share: write a number such as 0.2 for 20 percent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_well() {
        let table = table(vec![
            json!({"id": "alr_1", "kind": "error_rate", "windowMs": 3_600_000, "threshold": 0.2, "minRuns": 10, "closeAfterMs": 60_000}),
            json!({"id": "alr_2", "kind": "duration_p95", "windowMs": 60_000, "thresholdMs": 2_000, "minRuns": 1, "incidentId": "inc_1"}),
            json!({"id": "alr_3", "kind": "no_success_for", "ms": 86_400_000}),
        ]);
        let text = table.unwrap().render(Style::PLAIN);
        let lines: Vec<&str> = text.lines().skip(1).map(str::trim_end).collect();
        assert!(
            lines[0].contains("ok") && lines[0].contains("error_rate: 20 % of at least 10 runs in 1 h 0 min failed"),
            "{text}"
        );
        assert!(
            lines[1].contains("open") && lines[1].ends_with("inc_1") && lines[1].contains("duration_p95: 2.0 s of"),
            "{text}"
        );
        assert!(lines[2].contains("no_success_for: 1 d 0 h"), "{text}");
    }
}
