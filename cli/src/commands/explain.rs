//! `heddle executions explain`: what a run waits for, or how it ended and why.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::client::{Client, RunStatus, with_index};
use crate::error::{Context, Exit, Result};
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{clock, one_line, print, print_json};

/// The answer, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Explanation {
    execution_id: String,
    status: RunStatus,
    headline: String,
    orphaned: bool,
    at: Option<String>,
    kinds: BTreeMap<String, u64>,
    nodes: Vec<Explained>,
    ending: Option<Ending>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Explained {
    node_id: String,
    index: Vec<u64>,
    state: String,
    waits_for: Option<Kind>,
    sentence: String,
    since: Option<String>,
    more: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kind {
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ending {
    next: Option<String>,
}

/// Runs the verb.
pub(super) async fn explain(client: &Client, id: &str, as_json: bool) -> Result<()> {
    let value = client.explanation(id).await?;
    if as_json {
        return print_json(&value);
    }
    print(&render(&read(value)?, Style::stdout()))
}

fn read(value: Value) -> Result<Explanation> {
    serde_json::from_value(value).context(Exit::Failed, "the server's explanation cannot be read")
}

fn render(it: &Explanation, style: Style) -> String {
    let headline = one_line(&it.headline);
    let headline = if it.orphaned { style.red(&headline) } else { headline };
    let mut text = format!("{}  {}\n{headline}", style.bold(&it.execution_id), style.status(it.status.word()));
    if let Some(next) = it.ending.as_ref().and_then(|ending| ending.next.as_ref()) {
        let next = one_line(next);
        text += &format!("\nnext: {next} (heddle executions resume {})", it.execution_id);
    }
    if it.nodes.is_empty() {
        return text;
    }
    let mut table = Table::new(&["NODE", "STATE", "WAITS FOR", "SINCE"]);
    for node in &it.nodes {
        let kind = node.waits_for.as_ref().map(|waits| waits.kind.clone()).unwrap_or_default();
        let since = node.since.as_deref().map(|since| clock::elapsed(Some(since), it.at.as_deref()));
        let name = with_index(&node.node_id, &node.index);
        table.row(vec![name, node.state.clone(), kind, since.unwrap_or_default()]);
    }
    text += &format!("\n\n{}\n", table.render(style));
    for node in &it.nodes {
        text += &format!("\n{}", one_line(&node.sentence));
    }
    let told: u64 = it.nodes.iter().map(|node| 1 + node.more).sum();
    let left_out = it.kinds.values().sum::<u64>().saturating_sub(told);
    if left_out > 0 {
        text += &format!("\n{left_out} more are not named.");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_that_waits_is_a_table_and_sentences() {
        let value = json!({
            "executionId": "exec_1", "status": "RUNNING", "headline": "The run goes on: 2 nodes wait for a slot.",
            "orphaned": false, "at": "2026-05-02T09:00:10.000Z", "seq": 4, "kinds": {"slot": 2, "inputs": 1},
            "nodes": [{
                "nodeId": "draft", "index": [3], "state": "READY", "waitsFor": {"kind": "slot", "need": {}},
                "sentence": "\"draft[3]\" waits for a slot.", "since": "2026-05-02T09:00:00.000Z", "more": 1,
            }],
        });
        let text = render(&read(value).unwrap(), Style::PLAIN);
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[..2], ["exec_1  RUNNING", "The run goes on: 2 nodes wait for a slot."]);
        assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["NODE", "STATE", "WAITS", "FOR", "SINCE"]);
        assert!(lines[4].starts_with("draft[3]") && lines[4].ends_with("10.0 s"), "{text}");
        assert_eq!(lines[6..], ["\"draft[3]\" waits for a slot.", "1 more are not named."]);
    }

    #[test]
    fn a_run_that_failed_says_what_to_do() {
        let value = json!({
            "executionId": "exec_1", "status": "FAILED", "headline": "The run failed at \"draft\".", "nodes": [],
            "ending": {"code": "boom", "next": "Resume the run."}, "kinds": {},
        });
        let text = render(&read(value).unwrap(), Style::PLAIN);
        let next = "next: Resume the run. (heddle executions resume exec_1)";
        assert_eq!(text, format!("exec_1  FAILED\nThe run failed at \"draft\".\n{next}"));
    }

    #[test]
    fn what_others_have_written_tells_the_terminal_nothing() {
        let value = json!({"executionId": "exec_1", "status": "RUNNING",
            "headline": "Paused by ann: \u{1b}[31mred\u{1b}]0;title\u{7}\nnext", "kinds": {}});
        let text = render(&read(value).unwrap(), Style::PLAIN);
        assert!(!text.contains(['\u{1b}', '\u{7}']) && text.lines().count() == 2, "{text:?}");
    }
}
