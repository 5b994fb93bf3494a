//! From an answer that is no success to a failure that says what to do.

use std::fmt::Write;

use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

use super::resumes::PlanChanges;
use super::reviews::Decided;
use super::types::{RunStatus, error_text};
use crate::error::{Exit, Failure};
use crate::ui::{clock, program};

/// Both forms of the API's errors: a sentence, or an object; `code` and `message` beside them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Refusal {
    error: Value,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    violations: Vec<Value>,
    /// Who was first at a review.
    decided: Option<Decided>,
    /// What is left of a run that was removed.
    removed: Option<Removed>,
    /// In what a plan is not the one that was agreed to.
    plan_changes: Option<PlanChanges>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Removed {
    id: String,
    workflow_id: String,
    status: RunStatus,
    started_at: Option<String>,
    ended_at: Option<String>,
    events: u64,
    head_hash: String,
    removed_at: Option<String>,
}

impl Removed {
    fn lines(&self) -> [String; 2] {
        let Self { id, workflow_id, events, head_hash, .. } = self;
        let took = clock::elapsed(self.started_at.as_deref(), self.ended_at.as_deref());
        let at = |time: &Option<String>| time.clone().unwrap_or_default();
        let (status, ended, removed) = (self.status.word(), at(&self.ended_at), at(&self.removed_at));
        [
            format!("{id} of {workflow_id} ended {status} at {ended}, after {took}"),
            format!(
                "removed at {removed}; what is left is that it had {events} events, the last with the hash {head_hash}"
            ),
        ]
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Violation {
    message: String,
    fix: Option<String>,
    node_id: Option<String>,
    edge_id: Option<String>,
}

/// Reads the body of a refusal. `had_key`: whether the request carried a key.
pub(super) async fn failure(response: Response, had_key: bool) -> Failure {
    let status = response.status().as_u16();
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let request_id = header("X-Request-Id");
    let id = named(response.url().path()).unwrap_or("ID").to_owned();
    let retry_after = header("Retry-After");
    let body = response.bytes().await.unwrap_or_default();
    let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();

    let mut failure = Failure::new(Exit::of_status(status), sentence(&refusal, status));
    failure.next = next(status, refusal.code.as_deref(), retry_after.as_deref(), had_key, &id);
    failure.request_id = request_id.or(refusal.request_id);
    failure
}

/// The id of what a request was about: what follows the name of a kind in its path.
fn named(path: &str) -> Option<&str> {
    let mut segments = path.split('/').skip_while(|segment| !["executions", "reviews", "workflows"].contains(segment));
    let id = segments.nth(1).filter(|id| !id.is_empty())?;
    if id == "executions" { segments.next() } else { Some(id) }
}

/// What a violation says that is not said already: a single one is often the sentence itself, with or without what to do.
fn news(violation: &Value, said: &str) -> Option<String> {
    let message = violation["message"].as_str().unwrap_or_default();
    let fix = violation["fix"].as_str().unwrap_or_default();
    let is_told = !message.is_empty() && said.contains(message);
    match is_told && (fix.is_empty() || said.contains(fix)) {
        true => None,
        false if is_told && said.starts_with(message) => Some(fix.to_owned()),
        false => Some(violation_line(violation)),
    }
}

fn sentence(refusal: &Refusal, status: u16) -> String {
    let said = refusal.message.clone().filter(|text| !text.is_empty());
    let mut text = match (said, &refusal.error) {
        (Some(message), _) => message,
        (None, Value::Null) => format!("the server answered {status} and did not say why"),
        (None, error) => error_text(error),
    };
    let lines: Vec<String> = refusal.violations.iter().filter_map(|violation| news(violation, &text)).collect();
    for line in lines {
        let _ = write!(text, "\n  - {line}");
    }
    if let Some(decided) = &refusal.decided {
        let _ = write!(text, "\n  - {}", decided.text());
    }
    for line in refusal.removed.iter().flat_map(Removed::lines) {
        let _ = write!(text, "\n  - {line}");
    }
    for line in refusal.plan_changes.iter().flat_map(PlanChanges::lines) {
        let _ = write!(text, "\n  - {line}");
    }
    text
}

fn violation_line(value: &Value) -> String {
    let Ok(violation) = serde_json::from_value::<Violation>(value.clone()) else {
        return error_text(value);
    };
    let mut line = match violation.node_id.or(violation.edge_id) {
        Some(id) if !id.is_empty() => format!("{id}: {}", violation.message),
        _ => violation.message,
    };
    if let Some(fix) = violation.fix.filter(|fix| !fix.is_empty()) {
        let _ = write!(line, " ({fix})");
    }
    line
}

/// What to do now: by the code, which says what the request was about, and by the status where every code of it asks for the
/// same. Where the message says it all there is nothing more.
fn next(status: u16, code: Option<&str>, retry_after: Option<&str>, had_key: bool, id: &str) -> Option<String> {
    let list = |what: &str| Some(format!("see what there is with `{} {what} list`", program()));
    match (status, code.unwrap_or_default()) {
        (401, "api_key_expired") => {
            Some(format!("make another with `{} keys create`, with a key that works", program()))
        }
        (401, _) if had_key => {
            Some("check the key: --key KEY, HEDDLE_KEY, or the file `key` in the data folder".into())
        }
        (401, _) => Some("pass a key: --key KEY, or set HEDDLE_KEY".into()),
        (403, "missing_scope") => Some("use a key that has the scope".into()),
        (404, "workflow_not_found") => list("workflows"),
        (404, "execution_not_found") => list("executions"),
        (404, "node_type_not_found") => list("nodes"),
        (404, "review_not_found") => list("reviews"),
        (409, "review_decided" | "stale_review" | "already_approved") => {
            Some(format!("read how it stands with `{} reviews get {id}`", program()))
        }
        (403, "own_review") => Some("let somebody else decide, or use a key with the scope reviews:decide:own".into()),
        (404, "key_not_found") => list("keys"),
        (404, "agent_not_found") => list("agents"),
        (404, "token_not_found") => list("agents token"),
        (404, "tenant_not_found") | (409, "tenant_exists" | "first_tenant") => list("tenants"),
        (404, "unknown_route") => Some("update the server: it does not know what this command asks for".into()),
        (409, "stale_write") => {
            Some(format!("see what has changed with `{} workflows diff {id} FILE`, then apply again", program()))
        }
        (409, "execution_over" | "execution_not_terminal") => {
            Some(format!("read how it stands with `{} executions get {id}`, then decide again", program()))
        }
        (409, "plan_changed") => Some("look at the plan again, and then carry it out".into()),
        (422, "nothing_to_resume") => Some("name a node with --from, or change an output with --set".into()),
        (409, "token_used") => list("agents token"),
        (409, "key_ended") => list("keys"),
        (409, "last_admin_key") => Some(format!("make another first: `{} keys create --scope admin`", program())),
        (413, _) => Some("make the file smaller: large values belong into artifacts".into()),
        (422, "invalid_graph") => Some("change the file as said and run it again".into()),
        (429 | 503, _) => Some(format!("try again in {} s", retry_after.unwrap_or("1"))),
        (500.., _) => Some("try again; if it stays, look for the request id in the server's log".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_next_is_about_the_thing_that_was_asked_for() {
        let said = |status, code| next(status, Some(code), None, true, "it_1").unwrap_or_default();
        for (code, list) in [
            ("agent_not_found", "agents list"),
            ("token_not_found", "agents token list"),
            ("tenant_not_found", "tenants list"),
            ("key_not_found", "keys list"),
            ("execution_not_found", "executions list"),
            ("workflow_not_found", "workflows list"),
            ("review_not_found", "reviews list"),
            ("node_type_not_found", "nodes list"),
        ] {
            assert!(said(404, code).contains(list), "{code}: {}", said(404, code));
        }
        assert!(said(409, "execution_over").contains("executions get it_1`"));
        assert!(said(409, "stale_write").contains("workflows diff it_1 FILE`"));
        assert!(said(409, "review_decided").contains("reviews get it_1`"));
        for (path, id) in [
            ("/api/v1/workflows/wf_1", Some("wf_1")),
            ("/api/v1/workflows/wf_1/nodes/n", Some("wf_1")),
            ("/api/v1/workflows/executions/exec_1/cancel", Some("exec_1")),
            ("/api/v1/reviews/rev_1/decision", Some("rev_1")),
            ("/api/v1/workflows", None),
            ("/api/v1/keys/key_1", None),
        ] {
            assert_eq!(named(path), id, "{path}");
        }
        for (status, code) in [(404, "media_not_found"), (409, "no_certificates"), (409, "whatever"), (403, "other")] {
            assert_eq!(said(status, code), "", "{code}: its message says it all");
        }
        assert!(said(401, "invalid_api_key").contains("check the key"));
    }
}
