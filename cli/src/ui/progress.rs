//! A run while it goes on: a tree of nodes on a terminal, one plain line per change elsewhere. Always on stderr.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::style::Style;
use super::{clock, note};
use crate::client::{Event, error_text};
use crate::limits::TREE_LINES_MAX;

/// What became of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The node.
    pub node: String,
    /// The state's word in capitals: STARTED, COMPLETED…
    pub state: String,
    /// An error's sentence, or how far it is.
    pub detail: String,
}

impl Change {
    /// Reads an event; `None` for those that are not about a node.
    pub fn of(event: &Event) -> Option<Self> {
        let state = event.kind.strip_prefix("node.")?;
        let data = event.data.get("data").filter(|inner| inner.is_object()).unwrap_or(&event.data);
        let node = data.get("nodeId")?.as_str()?.to_owned();
        let node = match data.get("index").filter(|index| !index.is_null()) {
            Some(index) => format!("{node}{index}"),
            None => node,
        };
        let detail = match (data.get("error"), data.get("progress").and_then(Value::as_f64)) {
            (Some(error), _) if !error.is_null() => error_text(error),
            (_, Some(progress)) => format!("{:.0} %", progress * 100.0),
            _ => String::new(),
        };
        Some(Change { node, state: state.to_ascii_uppercase(), detail })
    }

    fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "COMPLETED" | "FAILED" | "SKIPPED" | "CANCELLED" | "CACHED")
    }

    /// Whether it is worth a line where lines stay.
    fn is_news(&self) -> bool {
        !matches!(self.state.as_str(), "PROGRESS" | "DELTA" | "OUTPUT" | "QUEUED")
    }
}

/// Shows a run's nodes as they change.
pub struct Progress {
    labels: HashMap<String, String>,
    started: HashMap<String, Instant>,
    view: View,
}

enum View {
    Quiet,
    Lines { since: Instant },
    Tree(Tree),
}

impl Progress {
    /// For nodes given as (id, label, depth in the graph), in the order to show them.
    pub fn new(nodes: &[(String, String, usize)], quiet: bool) -> Self {
        let view = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => View::Quiet,
            (false, true) => View::Tree(Tree::new(nodes)),
            (false, false) => View::Lines { since: Instant::now() },
        };
        let labels = nodes.iter().map(|(id, label, _)| (id.clone(), label.clone())).collect();
        Progress { labels, started: HashMap::new(), view }
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        let Some(change) = Change::of(event) else { return };
        if change.state == "STARTED" {
            self.started.insert(change.node.clone(), Instant::now());
        }
        let took = self.started.get(&change.node).filter(|_| change.is_over()).map(Instant::elapsed);
        match &mut self.view {
            View::Quiet => {}
            View::Lines { since } => {
                if change.is_news() {
                    let label = self.labels.get(&change.node).unwrap_or(&change.node);
                    note(&line(since.elapsed(), label, &change, took));
                }
            }
            View::Tree(tree) => tree.change(&change, took),
        }
    }

    /// Ends the show; what was drawn stays.
    pub fn finish(self) {
        if let View::Tree(tree) = self.view {
            tree.finish();
        }
    }
}

/// One change as a plain line.
fn line(since: Duration, label: &str, change: &Change, took: Option<Duration>) -> String {
    let mut text = format!("{:>8.2}s  {:<9}  {label}", since.as_secs_f64(), change.state.to_lowercase());
    if let Some(took) = took {
        text.push_str(&format!("  {}", clock::span(took)));
    }
    if !change.detail.is_empty() {
        text.push_str(&format!("  {}", change.detail.replace(char::is_control, " ")));
    }
    text
}

/// The live tree: a line per node up to a limit, then one line that counts the rest.
struct Tree {
    bars: MultiProgress,
    lines: HashMap<String, (ProgressBar, String)>,
    rest: Option<ProgressBar>,
    style: Style,
}

impl Tree {
    fn new(nodes: &[(String, String, usize)]) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = Style::stderr();
        let mut lines = HashMap::new();
        for (id, label, depth) in nodes.iter().take(TREE_LINES_MAX) {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(template("{prefix}{msg}"));
            let branch = if *depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(*depth - 1)) };
            bar.set_prefix(style.dim(&branch));
            bar.set_message(format!("{} {label}", style.dim("·")));
            lines.insert(id.clone(), (bar, label.clone()));
        }
        let hidden = nodes.len().saturating_sub(TREE_LINES_MAX);
        let rest = (hidden > 0).then(|| {
            let bar = bars.add(ProgressBar::new(hidden as u64));
            bar.set_style(template("… and {len} more nodes: {pos} done"));
            bar.tick();
            bar
        });
        Tree { bars, lines, rest, style }
    }

    fn change(&mut self, change: &Change, took: Option<Duration>) {
        let Some((bar, label)) = self.lines.get(&change.node) else {
            if let Some(rest) = self.rest.as_ref().filter(|_| change.is_over()) {
                rest.inc(1);
            }
            return;
        };
        let mut text = format!("{label}  {}", self.style.status(&change.state));
        if let Some(took) = took {
            text.push_str(&format!("  {}", self.style.dim(&clock::span(took))));
        }
        if !change.detail.is_empty() {
            text.push_str(&format!("  {}", change.detail.replace(char::is_control, " ")));
        }
        if change.is_over() {
            bar.set_style(template("{prefix}{msg}"));
            bar.disable_steady_tick();
            bar.finish_with_message(text);
        } else {
            bar.set_style(template("{prefix}{spinner} {msg}  {elapsed}"));
            if change.state == "STARTED" {
                bar.reset_elapsed();
            }
            bar.set_message(text);
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    fn finish(self) {
        for (bar, _) in self.lines.values() {
            if !bar.is_finished() {
                bar.set_style(template("{prefix}{msg}"));
                bar.abandon();
            }
        }
        if let Some(rest) = &self.rest {
            rest.abandon();
        }
        drop(self.bars);
    }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, data: Value) -> Event {
        Event { seq: None, kind: kind.into(), data }
    }

    #[test]
    fn changes_are_read_from_both_shapes_of_an_event() {
        let failed = Change { node: "n1".into(), state: "FAILED".into(), detail: "no money".into() };
        let data = json!({"nodeId": "n1", "error": {"code": "auth", "message": "no money"}});
        assert_eq!(Change::of(&event("node.failed", data.clone())), Some(failed.clone()));
        assert_eq!(Change::of(&event("node.failed", json!({"type": "node.failed", "data": data}))), Some(failed));
        let progress = Change { node: "n1[2]".into(), state: "PROGRESS".into(), detail: "50 %".into() };
        assert_eq!(
            Change::of(&event("node.progress", json!({"nodeId": "n1", "index": [2], "progress": 0.5}))),
            Some(progress)
        );
        assert_eq!(Change::of(&event("run.started", json!({}))), None);
    }

    #[test]
    fn lines_are_plain() {
        let change = Change { node: "n1".into(), state: "FAILED".into(), detail: "a\nb".into() };
        let text = line(Duration::from_millis(1230), "Draw", &change, Some(Duration::from_millis(40)));
        assert_eq!(text, "    1.23s  failed     Draw  40 ms  a b");
    }
}
