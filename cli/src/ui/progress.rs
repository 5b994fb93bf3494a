//! A run while it goes on: a tree of nodes on a terminal, one plain line per change elsewhere. Always on stderr.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::style::Style;
use super::tree::{Totals, Tree};
use super::{clock, note, program};
use crate::client::{Event, ItemCounts, error_text, with_index};
use crate::limits::{REVIEWS_NAMED_MAX, TREE_PAUSE, WAITS_NAMED_MAX};

/// What became of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The node.
    pub node: String,
    /// The item or turn that it is of, as people write it; empty outside of maps and loops.
    pub index: String,
    /// The state's word in capitals: STARTED, COMPLETED…
    pub state: String,
    /// An error's sentence, or how far it is.
    pub detail: String,
    /// How long its work took, where the event says so.
    pub ran: Option<Duration>,
    /// A piece of a text that it writes.
    pub said: String,
    /// Who got it.
    pub agent: Option<String>,
    /// Which try.
    pub attempt: Option<u64>,
    /// When, in milliseconds since 1970, by the server's clock.
    pub at_ms: Option<i64>,
}

impl Change {
    /// What an event says of nodes: the one it is about, those decided or given up in its wake, and those that
    /// started then.
    pub fn all(event: &Event) -> Vec<Self> {
        let about = match event.kind.split_once('.') {
            // Pieces that a watcher does not get change nothing about their node.
            Some(("node", "gap")) => None,
            Some(("node", state)) => Change::read(&event.data, Some(&state.to_ascii_uppercase())),
            // A signal that is kept names no node.
            Some(("timer", "fired") | ("signal", "received") | ("webhook", "called")) => {
                Change::read(&event.data, Some("COMPLETED"))
            }
            Some(("attempt", "lost")) => Change::read(&event.data, Some("LOST")),
            Some(("review", _)) => Change::read(&event.data, None),
            Some(("child", state)) => Change::read(&event.data, Some(&state.to_ascii_uppercase())),
            _ => None,
        };
        let at_ms = event.data["at"].as_str().and_then(clock::parse);
        let list = |name: &str| event.data.get(name).and_then(Value::as_array).into_iter().flatten();
        let decided = list("decided").filter_map(|item| Change::read(item, None));
        let given_up = list("givenUp").filter_map(|item| Change::read(item, None));
        let started = list("assigned").filter_map(|item| Change::read(item, Some("STARTED")));
        about
            .into_iter()
            .chain(decided)
            .chain(given_up)
            .chain(started)
            .map(|change| Change { at_ms, ..change })
            .collect()
    }

    fn read(data: &Value, state: Option<&str>) -> Option<Self> {
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        let number = |name: &str| data.get(name).and_then(Value::as_u64).map(Duration::from_millis);
        let node = text("nodeId")?.to_owned();
        let index = data.get("index").filter(|index| !index.is_null()).map(Value::to_string).unwrap_or_default();
        let error = data.get("error").filter(|error| !error.is_null()).map(error_text);
        let retry = number("retryInMs").map(|pause| format!("again in {}", clock::span(pause)));
        let due = number("dueInMs").map(|pause| format!("for {}", clock::span(pause)));
        let asks = text("reviewId").filter(|_| text("decision").is_none()).map(|id| format!("for the review {id}"));
        let signal = text("signal").map(|name| format!("for the signal {name}"));
        let call = data["outputs"]["url"].as_str().filter(|_| state.is_none() && text("state") == Some("WAITING"));
        let call = call.map(|_| "for a call".to_owned());
        let child = text("childExecutionId").map(|id| format!("by the run {id}"));
        let decision = text("decision").map(|decision| match text("by") {
            Some(by) => format!("{decision} by {by}"),
            None => format!("{decision}, its time was over"),
        });
        let progress = data.get("progress").and_then(Value::as_f64).map(|part| format!("{:.0} %", part * 100.0));
        let message = text("message").filter(|message| !message.is_empty()).map(str::to_owned);
        let detail: Vec<String> =
            [error, asks, signal, call, child, decision, retry, due, progress, message].into_iter().flatten().collect();
        let state = state.or_else(|| text("state"))?.to_owned();
        Some(Change {
            node,
            index,
            state,
            detail: detail.join(", "),
            ran: number("ranMs"),
            said: text("text").unwrap_or_default().to_owned(),
            agent: text("agentId").map(str::to_owned),
            attempt: data.get("attempt").and_then(Value::as_u64),
            at_ms: None,
        })
    }

    /// How the items of maps and loops stand after an event, by node.
    fn counts(event: &Event) -> impl Iterator<Item = (&str, ItemCounts)> {
        let items = event.data.get("items").and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| Some((item["nodeId"].as_str()?, ItemCounts::deserialize(item).ok()?)))
    }

    /// Whether it is worth a line where lines stay.
    fn is_news(&self) -> bool {
        !matches!(self.state.as_str(), "PROGRESS" | "DELTA" | "OUTPUT" | "QUEUED")
    }
}

/// How long after a run's beginning its events are, by their own times: a watcher may come long after them.
#[derive(Debug)]
struct EventClock {
    /// For events that do not say when they were.
    since: Instant,
    /// When the run's first event was, in milliseconds since 1970.
    began_ms: Option<i64>,
}

impl EventClock {
    fn start() -> Self {
        EventClock { since: Instant::now(), began_ms: None }
    }

    fn elapsed(&mut self, event: &Event) -> Duration {
        match event.data["at"].as_str().and_then(clock::parse) {
            None => self.since.elapsed(),
            Some(at_ms) => {
                let began_ms = *self.began_ms.get_or_insert(at_ms);
                Duration::from_millis(u64::try_from(at_ms - began_ms).unwrap_or(0))
            }
        }
    }
}

/// Shows a run's nodes as they change.
pub struct Progress {
    tree: Arc<Mutex<Tree>>,
    view: View,
    /// Reviews that were spoken of.
    asked: usize,
    /// Waits for signals and calls that were spoken of.
    awaited: usize,
    /// Options with which other commands reach the same server.
    options: String,
}

enum View {
    Quiet,
    Lines { clock: EventClock, is_lost: bool },
    Live(Screen),
}

impl Progress {
    /// For nodes given as (id, label, depth in the graph), in the order to show them.
    pub fn new(nodes: &[(String, String, usize)], quiet: bool) -> Self {
        let tree = Arc::new(Mutex::new(Tree::new(nodes)));
        let view = match quiet {
            true => View::Quiet,
            false if is_live() => View::Live(Screen::start(tree.clone())),
            false => View::Lines { clock: EventClock::start(), is_lost: false },
        };
        Progress { tree, view, asked: 0, awaited: 0, options: String::new() }
    }

    /// Says with which options other commands reach the run's server.
    pub fn reached_by(self, options: String) -> Self {
        Progress { options, ..self }
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        let mut tree = lock(&self.tree);
        let elapsed = match &mut self.view {
            View::Lines { clock, .. } => clock.elapsed(event),
            _ => Duration::ZERO,
        };
        Change::counts(event).for_each(|(node, counts)| tree.counts(node, counts));
        for change in Change::all(event) {
            tree.change(&change);
            if let View::Lines { is_lost, .. } = &mut self.view
                && change.is_news()
            {
                *is_lost = false;
                let label = format!("{}{}", tree.label(&change.node), change.index);
                note(&line(elapsed, &label, &Change { detail: tree.said_of(&change), ..change }));
            }
        }
        event.answered().into_iter().for_each(|review| tree.answered(review));
        for asked in event.asked() {
            self.asked += 1;
            let list = || event.data["executionId"].as_str().map(|run| format!("list --execution {run}"));
            let verb = match self.asked {
                ..=REVIEWS_NAMED_MAX => Some(format!("get {}", asked.review)),
                // A map may ask a thousand times.
                asked if asked == REVIEWS_NAMED_MAX + 1 => list(),
                _ => None,
            };
            if let (View::Lines { .. }, Some(verb)) = (&self.view, verb) {
                note(&format!("{:>9}  next: {} reviews {verb}{}", "", program(), self.options));
            }
            let list = list().unwrap_or_else(|| "list".to_owned());
            tree.asked(asked.review, &format!("{} reviews {list}{}", program(), self.options));
        }
        let execution = event.data["executionId"].as_str().unwrap_or_default();
        for waiting in event.awaited() {
            self.awaited += 1;
            let next = waiting.answer(execution, &self.options).filter(|_| self.awaited <= WAITS_NAMED_MAX);
            if let (View::Lines { .. }, Some(next)) = (&self.view, &next) {
                note(&format!("{:>9}  next: {next}", ""));
            }
            next.into_iter().for_each(|next| tree.awaits(with_index(&waiting.node_id, &waiting.index), next));
        }
    }

    /// Says that the server cannot be heard at the moment.
    pub fn lost(&mut self, why: &str) {
        let text = format!("trying again, the run goes on: {why}");
        match &mut self.view {
            View::Quiet => {}
            // Once for each time that the connection is lost, not for each try.
            View::Lines { is_lost: true, .. } => {}
            View::Lines { is_lost, .. } => {
                *is_lost = true;
                note(&text);
            }
            View::Live(_) => lock(&self.tree).notice(&text),
        }
    }

    /// Ends the show; what was drawn stays. Returns what became of the nodes.
    pub fn finish(self) -> Totals {
        if let View::Live(screen) = self.view {
            screen.finish();
        }
        lock(&self.tree).totals()
    }
}

/// Whether a picture may be drawn again and again: on a terminal that can go back, and not where a log is kept.
fn is_live() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && !dumb && !set("CI")
}

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    // A picture is as good after a panic as before it.
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One change as a plain line.
fn line(since: Duration, label: &str, change: &Change) -> String {
    let mut text = format!("{:>8.2}s  {:<9}  {label}", since.as_secs_f64(), change.state.to_lowercase());
    if let Some(attempt) = change.attempt.filter(|attempt| *attempt > 1) {
        text.push_str(&format!("  try {attempt}"));
    }
    if let Some(took) = change.ran {
        text.push_str(&format!("  {}", clock::span(took)));
    }
    if let Some(agent) = &change.agent {
        text.push_str(&format!("  on {agent}"));
    }
    if !change.detail.is_empty() {
        text.push_str(&format!("  {}", change.detail.replace(char::is_control, " ")));
    }
    text
}

/// Draws the tree over its last picture, some times a second, until it is told to stop.
struct Screen {
    stop: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    fn start(tree: Arc<Mutex<Tree>>) -> Self {
        let (stop, asked) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let mut lines = Vec::new();
            loop {
                let is_last = asked.recv_timeout(TREE_PAUSE) != Err(RecvTimeoutError::Timeout);
                lines = draw(&lock(&tree), &lines);
                if is_last {
                    break;
                }
            }
        });
        Screen { stop, thread: Some(thread) }
    }

    fn finish(mut self) {
        // A thread that has ended needs no word to end.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Draws over the picture before, whose lines had these widths; returns the widths of this one's.
fn draw(tree: &Tree, before: &[usize]) -> Vec<usize> {
    let (height, width) = console::Term::stderr().size();
    let (height, width) = (usize::from(height), usize::from(width));
    let lines = tree.render(clock::now_ms(), width, height, Style::stderr());
    let up = rows(before, width);
    let mut text = if up > 0 { format!("\x1b[{up}A\r") } else { String::new() };
    for line in &lines {
        text.push_str(line);
        // What is left of the line before goes.
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    lines.iter().map(|line| console::measure_text_width(line)).collect()
}

/// How many rows lines of these widths take: a terminal that has become narrower has wrapped them.
fn rows(lines: &[usize], width: usize) -> usize {
    lines.iter().map(|line| line.div_ceil(width.max(1)).max(1)).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changes(kind: &str, data: Value) -> Vec<(String, String, String)> {
        let event = Event { seq: None, kind: kind.into(), data };
        Change::all(&event)
            .into_iter()
            .map(|change| (change.node + &change.index, change.state, change.detail))
            .collect()
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
        let data = json!({"nodeId": "a", "givenUp": [{"nodeId": "loser", "state": "CANCELLED"}]});
        assert_eq!(changes("node.completed", data), [row("a", "COMPLETED", ""), row("loser", "CANCELLED", "")]);
        assert_eq!(changes("run.started", json!({"assigned": [{"nodeId": "b"}]})), [row("b", "STARTED", "")]);
        assert_eq!(changes("timer.fired", json!({"nodeId": "w"})), [row("w", "COMPLETED", "")]);
        assert_eq!(changes("run.completed", json!({"error": null})), []);
    }

    #[test]
    fn what_is_asked_of_people_names_the_review() {
        let data =
            json!({"nodeId": "a", "decided": [{"nodeId": "r", "index": [2], "state": "WAITING", "reviewId": "rev_1"}]});
        let event = Event { seq: Some(1), kind: "node.completed".into(), data: data.clone() };
        assert_eq!(event.asked().len(), 1);
        assert_eq!(
            changes("node.completed", data),
            [row("a", "COMPLETED", ""), row("r[2]", "WAITING", "for the review rev_1")]
        );
        let data =
            json!({"nodeId": "r", "reviewId": "rev_1", "decision": "approve", "by": "grace", "state": "COMPLETED"});
        let event = Event { seq: Some(2), kind: "review.decided".into(), data: data.clone() };
        assert_eq!((event.asked(), event.answered()), (vec![], Some("rev_1")));
        assert_eq!(changes("review.decided", data), [row("r", "COMPLETED", "approve by grace")]);
        let data = json!({"nodeId": "r", "reviewId": "rev_1", "decision": "approve", "by": "ada", "state": "WAITING"});
        let event = Event { seq: Some(2), kind: "review.decided".into(), data };
        assert_eq!((event.asked(), event.answered()), (vec![], None), "others have to approve, too");
    }

    #[test]
    fn what_somebody_has_to_send_is_said_with_how() {
        let url = "http://127.0.0.1:8080/api/v1/hooks/x";
        let data = json!({"executionId": "exec_1", "decided": [
            {"nodeId": "w", "state": "WAITING", "dueInMs": 2500, "signal": "order.paid"},
            {"nodeId": "h", "index": [3], "state": "WAITING", "dueInMs": null, "outputs": {"url": url}},
            {"nodeId": "t", "state": "WAITING", "dueInMs": 7},
        ]});
        let event = Event { seq: Some(1), kind: "run.started".into(), data: data.clone() };
        let next: Vec<_> = event.awaited().iter().filter_map(|waiting| waiting.answer("exec_1", " --key k")).collect();
        assert!(next[0].ends_with(" executions signal exec_1 order.paid --key k"), "{next:?}");
        assert_eq!(next[1..], [format!("curl --json '{{}}' {url}")]);
        let waits = [
            row("w", "WAITING", "for the signal order.paid, for 2.5 s"),
            row("h[3]", "WAITING", "for a call"),
            row("t", "WAITING", "for 7 ms"),
        ];
        assert_eq!(changes("run.started", data), waits);
        let called = json!({"nodeId": "h", "index": [3], "outputs": {"body": 1, "url": url}});
        assert_eq!(changes("webhook.called", called), [row("h[3]", "COMPLETED", "")]);
        let kept = json!({"name": "order.paid", "by": "ada", "delivered": false});
        assert_eq!(changes("signal.received", kept), []);
    }

    #[test]
    fn a_child_shows_in_one_line_with_how_it_stands() {
        let begun = json!({"decided": [{"nodeId": "c", "state": "WAITING", "childExecutionId": "exec_2"}]});
        assert_eq!(changes("run.started", begun), [row("c", "WAITING", "by the run exec_2")]);
        let over = json!({"nodeId": "c", "childExecutionId": "exec_2", "outputs": {}});
        assert_eq!(changes("child.completed", over), [row("c", "COMPLETED", "by the run exec_2")]);
    }

    #[test]
    fn errors_pauses_and_progress_are_details() {
        let data = json!({"nodeId": "a", "error": {"code": "x", "message": "no money"}, "retryInMs": 500});
        assert_eq!(changes("node.retrying", data), [row("a", "RETRYING", "no money, again in 500 ms")]);
        let data = json!({"nodeId": "n1", "index": [2], "progress": 0.5, "message": "half"});
        assert_eq!(changes("node.progress", data), [row("n1[2]", "PROGRESS", "50 %, half")]);
    }

    #[test]
    fn who_does_what_since_when_is_read() {
        let data = json!({"at": "1970-01-01T00:00:02.500Z", "assigned": [{"nodeId": "b", "attempt": 2, "agentId": "agent_1"}]});
        let event = Event { seq: Some(3), kind: "node.retrying".into(), data };
        let [change] = &Change::all(&event)[..] else { panic!("one change") };
        assert_eq!((change.at_ms, change.attempt, change.agent.as_deref()), (Some(2_500), Some(2), Some("agent_1")));
        let data = json!({"nodeId": "n1", "attempt": 1, "text": "pieces"});
        let [change] = &Change::all(&Event { seq: None, kind: "node.delta".into(), data })[..] else { panic!() };
        assert_eq!((change.said.as_str(), change.detail.as_str()), ("pieces", ""));
    }

    #[test]
    fn events_are_as_late_as_they_say() {
        let mut clock = EventClock::start();
        let mut elapsed =
            |at: &str| clock.elapsed(&Event { seq: Some(1), kind: "node.completed".into(), data: json!({"at": at}) });
        assert_eq!(elapsed("2026-05-02T09:00:00.000Z"), Duration::ZERO);
        assert_eq!(elapsed("2026-05-02T09:01:01.250Z"), Duration::from_millis(61_250));
        assert_eq!(elapsed("2026-05-02T08:59:59.000Z"), Duration::ZERO, "never before it began");
    }

    #[test]
    fn lines_are_plain() {
        let ran = Some(Duration::from_millis(40));
        let change = Change { state: "FAILED".into(), detail: "a\nb".into(), ran, ..Change::default() };
        let text = line(Duration::from_millis(1230), "Draw", &change);
        assert_eq!(text, "    1.23s  failed     Draw  40 ms  a b");
        let agent = Some("agent_1".to_owned());
        let change = Change { state: "STARTED".into(), attempt: Some(2), agent, ..Change::default() };
        assert_eq!(line(Duration::ZERO, "Draw", &change), "    0.00s  started    Draw  try 2  on agent_1");
    }

    #[test]
    fn a_narrower_terminal_has_wrapped_what_was_drawn() {
        assert_eq!(rows(&[], 80), 0);
        assert_eq!(rows(&[0, 80, 40], 80), 3);
        assert_eq!(rows(&[0, 80, 40], 40), 4);
        assert_eq!(rows(&[81], 40), 3);
    }
}
