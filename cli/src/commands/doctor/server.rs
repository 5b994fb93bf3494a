//! What the server says of itself, its key, and its agents.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Check;
use crate::client::{AgentInfo, Client, Health, read_value};
use crate::connection::Connection;
use crate::data_dir::DataDir;
use crate::error::{Exit, Failure, Result};
use crate::limits::DOCTOR_SKEW_MAX;
use crate::ui::clock;

const SERVER: &str = "server";

pub(super) async fn checks(connection: &Connection, data: &DataDir) -> Vec<Check> {
    let found = match find(connection, data) {
        Ok(found) => found,
        Err(failure) => return vec![Check::refused(SERVER, failure)],
    };
    let Some(client) = found else {
        let message = format!("no server has said that it runs on {}", data.path().display());
        return vec![Check::failed(
            SERVER,
            message,
            "start one with `heddle up`, or name one with --server URL --key KEY",
        )];
    };
    let health = match client.health().await {
        Ok(health) => health,
        Err(failure) => return vec![Check::refused(SERVER, failure)],
    };
    let mut checks = vec![alive(&client, &health).await, version(&health), skew(&client).await, runs(&health)];
    let key = key(&client).await;
    let is_known = key.state == super::State::Ok;
    checks.push(key);
    checks.push(if is_known { agents(&client).await } else { Check::skipped("agents", "that needs a valid key") });
    checks
}

/// The server that commands would speak to, whether it answers or not.
fn find(connection: &Connection, data: &DataDir) -> Result<Option<Client>> {
    if connection.server.is_some() {
        return connection.named();
    }
    let Some(server) = data.server() else { return Ok(None) };
    Client::new(&server.url, connection.key.clone().or_else(|| data.key())).map(Some)
}

async fn alive(client: &Client, health: &Health) -> Check {
    let database = health.database.as_deref().map(|kind| format!(", on {kind}")).unwrap_or_default();
    let place = client.origin();
    if health.status != "ok" {
        let message = format!("{place} runs and cannot reach its coordinator");
        return Check::failed(SERVER, message, "start the coordinator, or look at its log");
    }
    match client.is_ready().await {
        true => Check::ok(SERVER, format!("{place} is ready{database}")),
        false => {
            let message = format!("{place} runs and is not ready{database}");
            Check::failed(SERVER, message, "`curl -s URL/readyz` says why; look at the coordinator's log")
        }
    }
}

fn version(health: &Health) -> Check {
    let (name, own) = ("version", env!("CARGO_PKG_VERSION"));
    match health.version.as_str() {
        "" => Check::skipped(name, "the server does not say which it is"),
        theirs if theirs == own => Check::ok(name, format!("{own}, here and there")),
        theirs => Check::warning(name, format!("the server is {theirs}, this is {own}"), "use the same build"),
    }
}

/// Whether something would wake each run that is not over.
fn runs(health: &Health) -> Check {
    let name = "runs";
    match health.counters {
        None => Check::skipped(name, "the coordinator does not say how they are"),
        Some(counters) if counters.orphaned_runs == 0 => Check::ok(name, "none is stuck"),
        Some(counters) => {
            let message = match counters.orphaned_runs {
                1 => "1 is stuck: nothing would ever wake it, which is a fault of Heddle".to_owned(),
                runs => format!("{runs} are stuck: nothing would ever wake them, which is a fault of Heddle"),
            };
            let next = "the coordinator's log names each; `heddle executions explain ID` says what is missing";
            Check::failed(name, message, next)
        }
    }
}

async fn skew(client: &Client) -> Check {
    let name = "clock";
    let before = clock::now_ms();
    let theirs = client.clock().await;
    let after = clock::now_ms();
    match theirs {
        Err(failure) => Check::refused(name, failure),
        Ok(None) => Check::skipped(name, "the server does not tell its time"),
        Ok(Some(theirs)) => apart(before, theirs, after),
    }
}

/// Judges a time in whole seconds that was read between two of ours, in milliseconds.
fn apart(before: i64, theirs: i64, after: i64) -> Check {
    let name = "clock";
    let (earliest, latest) = (theirs, theirs + 999);
    let apart = (earliest - after).max(before - latest).max(0);
    let apart = Duration::from_millis(u64::try_from(apart).unwrap_or(0));
    match apart > DOCTOR_SKEW_MAX {
        true => {
            let message = format!("it is {} off the server's", clock::span(apart));
            Check::warning(name, message, "let both machines keep time by NTP")
        }
        false => Check::ok(name, "it agrees with the server's"),
    }
}

async fn key(client: &Client) -> Check {
    let name = "key";
    match client.workflow_list().await {
        Ok(_) => Check::ok(name, "it is valid"),
        Err(Failure { exit: Exit::Auth, message, .. }) if message.contains("scope") => {
            Check::ok(name, format!("it is valid and may not do everything: {message}"))
        }
        Err(failure) => Check::refused(name, failure),
    }
}

async fn agents(client: &Client) -> Check {
    let name = "agents";
    let agents = client.agents().await;
    let agents = match agents.and_then(|agents| {
        agents.into_iter().map(|agent| read_value(agent, "agent")).collect::<Result<Vec<AgentInfo>>>()
    }) {
        Ok(agents) => agents,
        Err(failure) if failure.exit == Exit::Auth => {
            return Check::skipped(name, "that needs a key with the scope operate");
        }
        Err(failure) => return Check::refused(name, failure),
    };
    let connected: Vec<_> = agents.iter().filter(|agent| agent.state == "connected").collect();
    if connected.is_empty() {
        let next = "start one: heddle agent --coordinator ADDRESS";
        return Check::failed(name, format!("none of {} is connected, so nothing can run", agents.len()), next);
    }
    let types: BTreeSet<&String> = connected.iter().flat_map(|agent| &agent.node_types).collect();
    let (slots, busy) = connected.iter().fold((0, 0), |(slots, busy), agent| (slots + agent.slots, busy + agent.busy));
    let others = connected.iter().filter(|agent| agent.version != env!("CARGO_PKG_VERSION")).count();
    let message = format!("{} connected, {busy} of {slots} slots busy, {} node types", connected.len(), types.len());
    match others {
        0 => Check::ok(name, message),
        others => {
            Check::warning(name, format!("{message}; {others} of another version"), "use the same build everywhere")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::{Json, Router, routing::get};
    use serde_json::{Value, json};

    use super::super::State;
    use super::*;
    use crate::client::Counters;

    async fn gateway(agents: (StatusCode, Value), key: StatusCode) -> Vec<Check> {
        let health = json!({
            "status": "ok", "version": env!("CARGO_PKG_VERSION"), "bootId": "b", "database": "sqlite",
            "counters": {"orphanedRuns": 0},
        });
        let (status, body) = agents;
        let router = Router::new()
            .route("/healthz", get(|| async move { Json(health) }))
            .route("/readyz", get(|| async { Json(json!({"ready": true})) }))
            .route("/api/v1/workflows", get(move || async move { (key, Json(json!([]))).into_response() }))
            .route("/api/v1/agents", get(move || async move { (status, Json(body)) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path());
        checks(&Connection { server: Some(url), key: Some("sk-1".into()), data_dir: None }, &data).await
    }

    fn states(checks: &[Check]) -> Vec<(&'static str, State)> {
        checks.iter().map(|check| (check.name, check.state)).collect()
    }

    #[tokio::test]
    async fn a_healthy_server_passes() {
        let agent = json!([{"state": "connected", "version": env!("CARGO_PKG_VERSION"), "slots": 4, "busy": 1, "nodeTypes": ["a:b"]}]);
        let checks = gateway((StatusCode::OK, agent), StatusCode::OK).await;
        let expected = ["server", "version", "clock", "runs", "key", "agents"].map(|name| (name, State::Ok));
        assert_eq!(states(&checks), expected, "{checks:?}");
        assert_eq!(checks[5].message, "1 connected, 1 of 4 slots busy, 1 node types");
    }

    #[tokio::test]
    async fn a_bad_key_and_absent_agents_fail() {
        let checks = gateway((StatusCode::OK, json!([])), StatusCode::UNAUTHORIZED).await;
        assert_eq!(states(&checks)[4..], [("key", State::Failed), ("agents", State::Skipped)]);
        let checks = gateway((StatusCode::OK, json!([])), StatusCode::OK).await;
        assert_eq!(states(&checks)[5], ("agents", State::Failed));
        let checks = gateway((StatusCode::FORBIDDEN, json!({})), StatusCode::OK).await;
        assert_eq!(states(&checks)[5], ("agents", State::Skipped));
    }

    #[tokio::test]
    async fn no_server_is_a_failure_with_advice() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path());
        let nowhere = |server: Option<&str>| Connection {
            server: server.map(str::to_owned),
            key: Some("sk-1".into()),
            data_dir: None,
        };
        for server in [None, Some("http://127.0.0.1:1")] {
            let checks = checks(&nowhere(server), &data).await;
            assert_eq!(states(&checks), [("server", State::Failed)]);
            assert!(checks[0].next.is_some());
        }
    }

    #[test]
    fn a_stuck_run_is_a_failure() {
        let health = |orphaned_runs| Health { counters: Some(Counters { orphaned_runs }), ..Health::default() };
        assert_eq!(runs(&Health::default()).state, State::Skipped);
        assert_eq!(runs(&health(0)).state, State::Ok);
        let stuck = runs(&health(2));
        assert!(stuck.state == State::Failed && stuck.message.starts_with("2 are stuck") && stuck.next.is_some());
    }

    #[test]
    fn clocks_are_compared_to_the_second() {
        assert_eq!(apart(10_900, 10_000, 10_950).state, State::Ok);
        assert_eq!(apart(20_000, 10_000, 20_050).state, State::Warning);
        assert_eq!(apart(10_000, 20_000, 10_050).state, State::Warning);
    }
}
