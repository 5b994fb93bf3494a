//! A run while it goes on: a tree of nodes on a terminal, one plain line per change elsewhere. Always on stderr.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::style::Style;
use super::{clock, note};
use crate::client::{Event, error_text};
use crate::limits::{DELTA_CHARS_SHOWN, TREE_LINES_MAX};

/// What became of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The node.
    pub node: String,
    /// The state's word in capitals: STARTED, COMPLETED…
    pub state: String,
    /// An error's sentence, or how far it is.
    pub detail: String,
    /// How long its work took, where the event says so.
    pub ran: Option<Duration>,
}

impl Change {
    /// What an event says of nodes: the one it is about, those decided in its wake, and those that started then.
    pub fn all(event: &Event) -> Vec<Self> {
        let about = match event.kind.split_once('.') {
            Some(("node", state)) => Change::read(&event.data, Some(&state.to_ascii_uppercase())),
            Some(("timer", "fired")) => Change::read(&event.data, Some("COMPLETED")),
            Some(("attempt", "lost")) => Change::read(&event.data, Some("LOST")),
            _ => None,
        };
        let list = |name: &str| event.data.get(name).and_then(Value::as_array).into_iter().flatten();
        let decided = list("decided").filter_map(|item| Change::read(item, None));
        let started = list("assigned").filter_map(|item| Change::read(item, Some("STARTED")));
        about.into_iter().chain(decided).chain(started).collect()
    }

    fn read(data: &Value, state: Option<&str>) -> Option<Self> {
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        let number = |name: &str| data.get(name).and_then(Value::as_u64).map(Duration::from_millis);
        let node = match data.get("index").filter(|index| !index.is_null()) {
            Some(index) => format!("{}{index}", text("nodeId")?),
            None => text("nodeId")?.to_owned(),
        };
        let error = data.get("error").filter(|error| !error.is_null()).map(error_text);
        let retry = number("retryInMs").map(|pause| format!("again in {}", clock::span(pause)));
        let due = number("dueInMs").map(|pause| format!("for {}", clock::span(pause)));
        let progress = data.get("progress").and_then(Value::as_f64).map(|part| format!("{:.0} %", part * 100.0));
        let said = text("text").map(|text| tail(text, DELTA_CHARS_SHOWN));
        let detail: Vec<String> = [error, retry, due, progress, said].into_iter().flatten().collect();
        let state = state.or_else(|| text("state"))?.to_owned();
        Some(Change { node, state, detail: detail.join(", "), ran: number("ranMs") })
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
        for change in Change::all(event) {
            self.change(change);
        }
    }

    fn change(&mut self, mut change: Change) {
        if change.state == "STARTED" {
            self.started.insert(change.node.clone(), Instant::now());
        }
        if change.is_over() && change.ran.is_none() {
            change.ran = self.started.get(&change.node).map(Instant::elapsed);
        }
        match &mut self.view {
            View::Quiet => {}
            View::Lines { since } => {
                if change.is_news() {
                    let label = self.labels.get(&change.node).unwrap_or(&change.node);
                    note(&line(since.elapsed(), label, &change));
                }
            }
            View::Tree(tree) => tree.change(&change),
        }
    }

    /// Ends the show; what was drawn stays.
    pub fn finish(self) {
        if let View::Tree(tree) = self.view {
            tree.finish();
        }
    }
}

/// The end of a text, on one line.
fn tail(text: &str, chars_max: usize) -> String {
    let all = text.chars().count();
    let shown = text.chars().skip(all.saturating_sub(chars_max));
    shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// One change as a plain line.
fn line(since: Duration, label: &str, change: &Change) -> String {
    let mut text = format!("{:>8.2}s  {:<9}  {label}", since.as_secs_f64(), change.state.to_lowercase());
    if let Some(took) = change.ran {
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

    fn change(&mut self, change: &Change) {
        let Some((bar, label)) = self.lines.get(&change.node) else {
            if let Some(rest) = self.rest.as_ref().filter(|_| change.is_over()) {
                rest.inc(1);
            }
            return;
        };
        // What it says while it runs stands where its state was.
        let mut text = match change.is_news() {
            true => format!("{label}  {}", self.style.status(&change.state)),
            false => format!("{label}  {}", self.style.status("RUNNING")),
        };
        if let Some(took) = change.ran {
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

    fn changes(kind: &str, data: Value) -> Vec<(String, String, String)> {
        let event = Event { seq: None, kind: kind.into(), data };
        Change::all(&event).into_iter().map(|change| (change.node, change.state, change.detail)).collect()
    }

    fn row(node: &str, state: &str, detail: &str) -> (String, String, String) {
        (node.into(), state.into(), detail.into())
    }

    #[test]
    fn an_event_tells_of_all_nodes_it_moves() {
        let data = json!({
            "nodeId": "a", "decided": [{"nodeId": "w", "state": "WAITING", "dueInMs": 2500}],
            "assigned": [{"nodeId": "b", "attempt": 1}],
        });
        let expected = [row("a", "COMPLETED", ""), row("w", "WAITING", "for 2.5 s"), row("b", "STARTED", "")];
        assert_eq!(changes("node.completed", data), expected);
        assert_eq!(changes("run.started", json!({"assigned": [{"nodeId": "b"}]})), [row("b", "STARTED", "")]);
        assert_eq!(changes("timer.fired", json!({"nodeId": "w"})), [row("w", "COMPLETED", "")]);
        assert_eq!(changes("run.completed", json!({"error": null})), []);
    }

    #[test]
    fn errors_pauses_and_progress_are_details() {
        let data = json!({"nodeId": "a", "error": {"code": "x", "message": "no money"}, "retryInMs": 500});
        assert_eq!(changes("node.retrying", data), [row("a", "RETRYING", "no money, again in 500 ms")]);
        let data = json!({"nodeId": "n1", "text": format!("{}\nend", "x".repeat(100))});
        let [(_, state, detail)] = &changes("node.delta", data)[..] else { panic!("one change") };
        assert_eq!((state.as_str(), detail.chars().count()), ("DELTA", DELTA_CHARS_SHOWN));
        assert!(detail.ends_with("x end"), "{detail}");
        let data = json!({"nodeId": "n1", "index": [2], "progress": 0.5});
        assert_eq!(changes("node.progress", data), [row("n1[2]", "PROGRESS", "50 %")]);
    }

    #[test]
    fn lines_are_plain() {
        let ran = Some(Duration::from_millis(40));
        let change = Change { node: "n1".into(), state: "FAILED".into(), detail: "a\nb".into(), ran };
        let text = line(Duration::from_millis(1230), "Draw", &change);
        assert_eq!(text, "    1.23s  failed     Draw  40 ms  a b");
    }
}
