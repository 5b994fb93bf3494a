//! From an answer that is no success to a failure that says what to do.

use std::fmt::Write;

use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

use super::types::error_text;
use crate::error::{Exit, Failure};
use crate::ui::program;

/// Both forms of the API's errors: a sentence, or an object; `code` and `message` beside them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Refusal {
    error: Value,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    violations: Vec<Value>,
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
    let retry_after = header("Retry-After");
    let body = response.bytes().await.unwrap_or_default();
    let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();

    let mut failure = Failure::new(Exit::of_status(status), sentence(&refusal, status));
    failure.next = next(status, refusal.code.as_deref(), retry_after.as_deref(), had_key);
    failure.request_id = request_id.or(refusal.request_id);
    failure
}

fn sentence(refusal: &Refusal, status: u16) -> String {
    let said = refusal.message.clone().filter(|text| !text.is_empty());
    let mut text = match (said, &refusal.error) {
        (Some(message), _) => message,
        (None, Value::Null) => format!("the server answered {status} and did not say why"),
        (None, error) => error_text(error),
    };
    for violation in &refusal.violations {
        let _ = write!(text, "\n  - {}", violation_line(violation));
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

fn next(status: u16, code: Option<&str>, retry_after: Option<&str>, had_key: bool) -> Option<String> {
    let next = match (status, code) {
        (401, _) if had_key => "check the key: --key KEY, HEDDLE_KEY, or the file `key` in the data folder",
        (401, _) => "pass a key: --key KEY, or set HEDDLE_KEY",
        (403, _) => "use a key that has the scope",
        (404, Some("workflow_not_found")) => {
            return Some(format!("see what there is with `{} workflows list`", program()));
        }
        (404, Some("node_type_not_found")) => {
            return Some(format!("see what there is with `{} nodes list`", program()));
        }
        (404, Some("key_not_found")) => return Some(format!("see what there is with `{} keys list`", program())),
        (404, _) => return Some(format!("see what there is with `{} executions list`", program())),
        (409, Some("stale_write")) => {
            return Some(format!("see what has changed with `{} workflows diff ID FILE`, then apply again", program()));
        }
        (409, _) => {
            return Some(format!("read the current state with `{} executions get ID`, then decide again", program()));
        }
        (413, _) => "make the file smaller: large values belong into artifacts",
        (422, Some("invalid_graph")) => "change the file as said and run it again",
        (429 | 503, _) => {
            return Some(format!("try again in {} s", retry_after.unwrap_or("1")));
        }
        (500.., _) => "try again; if it stays, look for the request id in the server's log",
        _ => return None,
    };
    Some(next.to_owned())
}
