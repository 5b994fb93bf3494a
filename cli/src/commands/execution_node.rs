//! `heddle executions node`: one node of a run, or one item of a map.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Client, ItemCounts, error_text, with_index};
use crate::completion;
use crate::error::{Context, Exit, Result};
use crate::limits::RESULT_SHOWN_CHARS_MAX;
use crate::ui::next::server_options;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, note, print, print_json, program};

/// Which node.
#[derive(Debug, Args)]
pub(super) struct NodeOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    /// The node's id
    node: String,
    /// Which item of the maps and loops around it, the outermost first: 17, or 3,0
    #[arg(long, value_name = "NUMBERS")]
    index: Option<String>,
    /// Only items that stand so, in a list of them: failed, running, waiting…
    #[arg(long)]
    status: Option<String>,
    /// At most so many items
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Go on after the page that named this cursor
    #[arg(long)]
    cursor: Option<String>,
}

/// The answer, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Detail {
    node_id: String,
    index: Vec<u64>,
    kind: String,
    state: String,
    /// The type of the fallback that was asked; nothing: the node's own.
    provider: Option<String>,
    error: Option<Value>,
    start_time: Option<String>,
    end_time: Option<String>,
    items: Option<ItemCounts>,
    inputs: Option<Value>,
    output: Option<Value>,
    attempt_runs: Vec<Try>,
    instances: Vec<Instance>,
    next_cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Try {
    number: u32,
    agent: String,
    provider: Option<String>,
    outcome: String,
    error: Option<Value>,
    assigned_time: String,
    end_time: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Instance {
    index: Vec<u64>,
    state: String,
    provider: Option<String>,
    error: Option<Value>,
    attempts: u32,
    start_time: Option<String>,
    end_time: Option<String>,
}

impl NodeOf {
    /// Runs the verb.
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.index.clone().map(|index| ("index", index)));
        query.extend(self.status.clone().map(|status| ("status", status)));
        query.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        let value = client.execution_node(&self.id, &self.node, &query).await?;
        if as_json {
            return print_json(&value);
        }
        let detail: Detail =
            serde_json::from_value(value).context(Exit::Failed, "the server's answer about a node cannot be read")?;
        print(&detail.text(Style::stdout()))?;
        if let Some(cursor) = &detail.next_cursor {
            let (id, node, options) = (&self.id, &self.node, server_options());
            note(&format!("more: {} executions node {id} {node}{options} --cursor {cursor}", program()));
        }
        Ok(())
    }
}

impl Detail {
    fn text(&self, style: Style) -> String {
        let name = with_index(&self.node_id, &self.index);
        let what = if self.kind == "item" { "  item" } else { "" };
        let took = clock::elapsed(self.start_time.as_deref(), self.end_time.as_deref());
        let took = if took.is_empty() { took } else { format!("  {took}") };
        let mut parts = vec![format!("{}{what}  {}{took}", style.bold(&name), style.status(&self.state))];
        parts.extend(self.provider.as_ref().map(|provider| format!("by      {provider} (a fallback)")));
        parts.extend(self.items.map(|items| format!("items   {}", items.text())));
        parts.extend(said(&self.error).map(|error| style.red(&format!("error   {error}"))));
        for (name, values) in [("inputs", &self.inputs), ("output", &self.output)] {
            parts.extend(
                values.as_ref().filter(|values| !values.is_null()).map(|values| format!("{name}  {}", cut(values))),
            );
        }
        if !self.attempt_runs.is_empty() {
            let has_fallback = self.attempt_runs.iter().any(|it| it.provider.is_some());
            let mut table = Table::new(&with_fallback(&["TRY", "OUTCOME", "TOOK", "AGENT"], has_fallback));
            for it in &self.attempt_runs {
                let took = clock::elapsed(Some(&it.assigned_time), it.end_time.as_deref());
                let mut cells = vec![it.number.to_string(), it.outcome.clone(), took, it.agent.clone()];
                cells.extend(has_fallback.then(|| it.provider.clone().unwrap_or_default()));
                cells.push(said(&it.error).unwrap_or_default());
                table.row(cells);
            }
            parts.push(format!("\n{}", table.render(style)));
        }
        if !self.instances.is_empty() {
            let has_fallback = self.instances.iter().any(|it| it.provider.is_some());
            let mut table = Table::new(&with_fallback(&["INDEX", "STATUS", "TOOK", "ATTEMPTS"], has_fallback));
            for it in &self.instances {
                let index = it.index.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
                let took = clock::elapsed(it.start_time.as_deref(), it.end_time.as_deref());
                let attempts = if it.attempts > 0 { it.attempts.to_string() } else { String::new() };
                let mut cells = vec![index, it.state.clone(), took, attempts];
                cells.extend(has_fallback.then(|| it.provider.clone().unwrap_or_default()));
                cells.push(said(&it.error).unwrap_or_default());
                table.row(cells);
            }
            parts.push(format!("\n{}", table.render(style)));
        }
        parts.join("\n")
    }
}

fn said(error: &Option<Value>) -> Option<String> {
    error.as_ref().filter(|error| !error.is_null()).map(error_text)
}

/// Values on one line, cut where they grow long.
fn cut(values: &Value) -> String {
    let text = values.to_string();
    match text.char_indices().nth(RESULT_SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}… (whole with --json)", &text[..end]),
        None => text,
    }
}

/// Headings, with a column for fallbacks only where one was asked.
fn with_fallback<'a>(headings: &[&'a str], has_fallback: bool) -> Vec<&'a str> {
    headings.iter().copied().chain(has_fallback.then_some("FALLBACK")).chain(["ERROR"]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_and_a_page_of_items_read_well() {
        let item: Detail = serde_json::from_value(json!({
            "nodeId": "say", "index": [3, 0], "kind": "instance", "state": "FAILED", "inputs": {"item": "ebb"}, "output": null,
            "error": {"message": "no money"}, "startTime": "2026-05-02T09:00:00.000Z", "endTime": "2026-05-02T09:00:01.500Z",
            "attemptRuns": [{"number": 1, "outcome": "FAILED", "agent": "agt_1", "assignedTime": "2026-05-02T09:00:00.000Z",
                "endTime": "2026-05-02T09:00:01.500Z", "error": {"message": "no money"}}],
        }))
        .unwrap();
        let text = item.text(Style::PLAIN);
        assert!(
            text.starts_with("say[3,0]  FAILED  1.5 s\nerror   no money\ninputs  {\"item\":\"ebb\"}\n\nTRY"),
            "{text}"
        );
        let page: Detail = serde_json::from_value(json!({
            "nodeId": "each", "index": [], "kind": "instance", "state": "RUNNING",
            "items": {"total": 8, "completed": 3, "failed": 1, "skipped": 0, "running": 4},
            "instances": [{"index": [7], "state": "FAILED", "attempts": 0, "error": {"message": "no money"}}],
        }))
        .unwrap();
        let text = page.text(Style::PLAIN);
        assert!(text.starts_with("each  RUNNING\nitems   3/8 done, 1 failed\n\nINDEX"), "{text}");
        assert!(text.ends_with("no money"), "{text}");
    }

    #[test]
    fn a_fallback_that_was_asked_is_named() {
        let node: Detail = serde_json::from_value(json!({
            "nodeId": "draw", "index": [], "kind": "instance", "state": "COMPLETED", "provider": "utility:hash",
            "attemptRuns": [
                {"number": 1, "outcome": "FAILED", "agent": "agt_1", "assignedTime": "2026-05-02T09:00:00.000Z"},
                {"number": 2, "outcome": "SUCCEEDED", "agent": "agt_1", "provider": "utility:hash",
                    "assignedTime": "2026-05-02T09:00:01.000Z"},
            ],
        }))
        .unwrap();
        let text = node.text(Style::PLAIN);
        assert!(text.contains("\nby      utility:hash (a fallback)\n"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let column = lines.iter().find_map(|line| line.find("FALLBACK")).unwrap();
        assert!(lines.last().unwrap()[column..].starts_with("utility:hash"), "{text}");
    }
}
