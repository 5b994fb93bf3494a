//! The document as a page without a line of script: it works offline, in any browser, and in a terminal's. And the text
//! for language models.

use std::fmt::Write;

use serde_json::Value;

use super::codes::{Code, FAILURES, REFUSALS};
use crate::http::page::escaped;

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
    padding:0 1rem}code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.6rem;border:1px solid #8884}\
    summary{cursor:pointer;padding:.3rem 0}summary b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse}\
    td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top;border-bottom:1px solid #8884}";

/// All routes by tag, each with its parameters, its answers and a call that works.
pub(crate) fn routes(document: &Value) -> String {
    let mut out = head("Heddle API");
    out.push_str(
        "<h1>Heddle API</h1><p>Send a key as <code>Authorization: Bearer sk-…</code>. The same as a document: \
         <a href=\"/api/v1/openapi.json\">openapi.json</a>. <a href=\"/docs/errors\">All error codes</a>.</p>",
    );
    let mut tag = String::new();
    for (path, method, operation) in operations(document) {
        let this = operation["tags"][0].as_str().unwrap_or_default();
        if this != tag {
            tag = this.to_owned();
            let _ = write!(out, "<h2>{}</h2>", escaped(&tag));
        }
        route(&mut out, path, method, operation);
    }
    out
}

/// Operations in the order of the router, those of one tag together.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let mut all: Vec<_> = paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect();
    let first_of_tag: Vec<&Value> = all.iter().map(|(_, _, operation)| &operation["tags"][0]).collect();
    let rank = |operation: &Value| first_of_tag.iter().position(|tag| **tag == operation["tags"][0]);
    all.sort_by_key(|(_, _, operation)| rank(operation));
    all
}

fn route(out: &mut String, path: &str, method: &str, operation: &Value) {
    let text = |name: &str| escaped(operation[name].as_str().unwrap_or_default());
    let method = method.to_ascii_uppercase();
    let _ = write!(
        out,
        "<details id=\"{}\"><summary><b>{method}</b> <code>{}</code> {}</summary><p>{}</p>",
        text("operationId"),
        escaped(path),
        text("summary"),
        text("description"),
    );
    let parameters = operation["parameters"].as_array().filter(|parameters| !parameters.is_empty());
    if let Some(parameters) = parameters {
        out.push_str("<table><tr><th>Parameter<th>In<th>Type<th>");
        for parameter in parameters {
            let text = |name: &str| escaped(parameter[name].as_str().unwrap_or_default());
            let schema = escaped(&parameter["schema"].to_string());
            let (name, place, says) = (text("name"), text("in"), text("description"));
            let _ = write!(out, "<tr><td><code>{name}</code><td>{place}<td><code>{schema}</code><td>{says}");
        }
        out.push_str("</table>");
    }
    let _ = write!(out, "<pre>{}</pre>", escaped(&call(path, &method, operation)));
    let statuses: Vec<&str> =
        operation["responses"].as_object().into_iter().flatten().map(|(status, _)| &**status).collect();
    let _ = write!(out, "<p>Answers: {}</p></details>", statuses.join(", "));
}

/// A call for a shell.
fn call(path: &str, method: &str, operation: &Value) -> String {
    let mut call = format!("curl -X {method} \"$HEDDLE_URL{path}\"");
    if operation.get("security").is_some() {
        call.push_str(" \\\n  -H \"Authorization: Bearer $HEDDLE_KEY\"");
    }
    let example = &operation["requestBody"]["content"]["application/json"]["example"];
    if !example.is_null() {
        let _ = write!(call, " \\\n  -H 'Content-Type: application/json' \\\n  -d '{example}'");
    }
    let content = &operation["requestBody"]["content"];
    if let Some(field) = content["multipart/form-data"]["schema"]["required"][0].as_str() {
        let _ = write!(call, "\ncurl -X {method} \"$HEDDLE_URL{path}\" \\\n  -H \"Authorization: Bearer $HEDDLE_KEY\"");
        let _ = write!(call, " \\\n  -F {field}=@cat.png");
    }
    if content.get("*/*").is_some() {
        call.push_str(" \\\n  -T cat.png");
    }
    call
}

/// All codes.
pub(crate) fn errors() -> String {
    let mut out = head("Heddle error codes");
    out.push_str(
        "<h1>Error codes</h1><p>Every refusal has a stable <code>code</code>, a <code>message</code> and the \
        <code>requestId</code> under which the server's log knows it. <a href=\"/docs\">All routes</a>.</p>",
    );
    for (title, codes) in [("Refused requests", REFUSALS), ("Failed runs and nodes", FAILURES)] {
        let _ = write!(out, "<h2>{title}</h2><table><tr><th>Code<th>What it means<th>What to do");
        for Code { code, meaning, next } in codes {
            let (meaning, next) = (escaped(meaning), escaped(next));
            let _ = write!(out, "<tr id=\"{code}\"><td><code>{code}</code><td>{meaning}<td>{next}");
        }
        out.push_str("</table>");
    }
    out
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style>"
    )
}

/// The routes in plain text, with what a program that writes calls needs to know.
pub(crate) fn for_models(document: &Value) -> String {
    let mut out = String::from(
        "# Heddle\n\n> Runs graphs of nodes (React Flow JSON) durably on many machines. REST, JSON, one bearer key.\n\n\
         - Every request: `Authorization: Bearer sk-...`; bodies are `Content-Type: application/json`.\n\
         - Save: POST /api/v1/workflows. Run: POST /api/v1/workflows/{id}/execute. Wait: GET \
         /api/v1/workflows/executions/{id}/poll?wait=30 until `status` is COMPLETED, FAILED or CANCELLED.\n\
         - Ask GET /api/v1/nodes for node types with their ports, and POST /api/v1/workflows/lint before you save.\n\
         - Send an `Idempotency-Key` with what starts a run; repeat with the same key when there was no answer.\n\
         - Refusals have `code`, `message`, `requestId`, and `violations` for graphs: all problems at once, with fixes.\n\n\
         ## Routes\n\n",
    );
    for (path, method, operation) in operations(document) {
        let (method, summary) = (method.to_ascii_uppercase(), operation["summary"].as_str().unwrap_or_default());
        let _ = writeln!(out, "- {method} {path}: {summary}");
    }
    out.push_str("\n## More\n\n- [OpenAPI document](/api/v1/openapi.json)\n- [Error codes](/docs/errors)\n");
    out
}
