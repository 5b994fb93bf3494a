//! What a live view knows of a run's nodes, and its picture: pure, so that it can be looked at in tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use console::measure_text_width;

use super::clock;
use super::progress::Change;
use super::style::Style;
use crate::client::{ItemCounts, RunStatus};
use crate::limits::{DELTA_CHARS_KEPT, TREE_LINES_MAX, TREE_ROWS_MAX};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// From this width on there is room for the agent's id, which is never cut.
const AGENT_COLUMNS: usize = 100;
/// Fewer columns than these hold no words.
const SAID_COLUMNS_MIN: usize = 8;
/// Columns of a label before it is cut; on a narrow terminal it is half of that.
const LABEL_COLUMNS_MAX: usize = 48;
/// Columns of the bar that shows how far a map is.
const ITEMS_BAR_COLUMNS: usize = 16;

/// The nodes of a run.
#[derive(Debug, Default)]
pub struct Tree {
    rows: Vec<Row>,
    places: HashMap<String, usize>,
    agents: BTreeSet<String>,
    retries: u64,
    /// Reviews that are open, and the command that lists them.
    asked: BTreeSet<String>,
    answer_with: String,
    /// Nodes that wait for what somebody has to send, and how that is done.
    awaited: BTreeMap<String, String>,
    /// Why nothing comes at the moment.
    notice: Option<String>,
}

/// One node.
#[derive(Debug, Clone, Default)]
struct Row {
    label: String,
    depth: usize,
    state: Option<State>,
    started_ms: Option<i64>,
    ran: Option<Duration>,
    agent: Option<String>,
    attempt: u64,
    /// The last words of a text that is being written.
    said: String,
    detail: String,
    /// Of a map or a loop.
    items: Option<ItemCounts>,
    /// Of a node inside one: the items that it is at work in, and what came of the others.
    at_work: BTreeSet<String>,
    done: u64,
    /// Of the done ones, those that another run has made.
    cached: u64,
    failed: u64,
}

/// Where a node stands, as far as pictures tell states apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Waiting,
    Completed,
    /// Another run has made what it gives.
    Cached,
    Failed,
    Skipped,
    Cancelled,
}

impl State {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "STARTED" | "RUNNING" | "PROGRESS" | "DELTA" | "OUTPUT" => State::Running,
            "WAITING" | "RETRYING" | "LOST" => State::Waiting,
            "COMPLETED" => State::Completed,
            "CACHED" => State::Cached,
            "FAILED" => State::Failed,
            "SKIPPED" => State::Skipped,
            "CANCELLED" => State::Cancelled,
            _ => return None,
        })
    }

    fn is_over(self) -> bool {
        !matches!(self, State::Running | State::Waiting)
    }
}

/// What became of all nodes, for the last line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    nodes: usize,
    completed: usize,
    cached: usize,
    failed: usize,
    skipped: usize,
    cancelled: usize,
    retries: u64,
    agents: usize,
}

impl Totals {
    /// The same, with what the answer about the run says of its nodes, by the words of their states: no event tells of nodes
    /// on branches that were not taken, nor of what nodes inside maps and loops came to over all items.
    pub fn with_states<'a>(self, states: impl Iterator<Item = &'a str>) -> Self {
        let mut totals = Totals { completed: 0, cached: 0, failed: 0, skipped: 0, cancelled: 0, ..self };
        for state in states.filter_map(State::of) {
            match state {
                State::Completed => totals.completed += 1,
                State::Cached => totals.cached += 1,
                State::Failed => totals.failed += 1,
                State::Skipped => totals.skipped += 1,
                State::Cancelled => totals.cancelled += 1,
                State::Running | State::Waiting => {}
            }
        }
        totals
    }

    /// The summary of a run: `exec_1 COMPLETED in 2.1 s: 3 nodes completed, 1 retry, 1 agent`.
    pub fn line(&self, execution: &str, status: RunStatus, took: &str) -> String {
        let style = Style::stderr();
        let mut parts = Vec::new();
        let counts = [
            (self.completed, "completed"),
            (self.cached, "reused"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.cancelled, "cancelled"),
        ];
        let over: usize = counts.iter().map(|(count, _)| count).sum();
        let not_run = self.nodes.saturating_sub(over);
        let said = counts.into_iter().chain([(not_run, "not run")]).filter(|(count, _)| *count > 0);
        for (at, (count, word)) in said.enumerate() {
            let noun = if count == 1 { "node " } else { "nodes " };
            parts.push(format!("{count} {}{word}", if at == 0 { noun } else { "" }));
        }
        for (count, noun) in [(self.retries, "retry"), (self.agents as u64, "agent")] {
            match (count, noun) {
                (0, _) => {}
                (1, noun) => parts.push(format!("1 {noun}")),
                (count, "retry") => parts.push(format!("{count} retries")),
                (count, noun) => parts.push(format!("{count} {noun}s")),
            }
        }
        let end = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        format!("{execution} {} in {took}{}", style.status(status.word()), style.dim(&end))
    }
}

impl Tree {
    /// For nodes given as (id, label, depth in the graph), in the order to show them.
    pub fn new(nodes: &[(String, String, usize)]) -> Self {
        let mut tree = Tree::default();
        for (id, label, depth) in nodes {
            tree.add(id, Row { label: label.clone(), depth: *depth, ..Row::default() });
        }
        tree
    }

    fn add(&mut self, id: &str, row: Row) -> Option<&mut Row> {
        if self.rows.len() >= TREE_ROWS_MAX {
            return None;
        }
        self.places.insert(id.to_owned(), self.rows.len());
        self.rows.push(row);
        self.rows.last_mut()
    }

    /// Takes in what became of a node.
    pub fn change(&mut self, change: &Change) {
        self.notice = None;
        if change.state != "WAITING" {
            self.awaited.remove(&format!("{}{}", change.node, change.index));
        }
        if let Some(agent) = &change.agent {
            self.agents.insert(agent.clone());
        }
        if change.state == "STARTED" && change.attempt.is_some_and(|attempt| attempt > 1) {
            self.retries += 1;
        }
        let row = match self.places.get(&change.node) {
            Some(place) => self.rows.get_mut(*place),
            None => self.add(&change.node, Row { label: change.node.clone(), ..Row::default() }),
        };
        if let Some(row) = row {
            row.change(change);
        }
    }

    /// Takes in how the items of a map or a loop stand.
    pub fn counts(&mut self, node: &str, counts: ItemCounts) {
        let row = self.places.get(node).and_then(|place| self.rows.get_mut(*place));
        row.into_iter().for_each(|row| row.items = Some(counts));
    }

    /// What is worth saying of a change beside its state: at the end of a map or a loop, what came of its items.
    pub fn said_of(&self, change: &Change) -> String {
        let row = self.places.get(&change.node).and_then(|place| self.rows.get(*place));
        let is_over = State::of(&change.state).is_some_and(State::is_over);
        let items = row.and_then(|row| row.items).filter(|_| is_over && change.index.is_empty());
        let parts = [items.map(|items| items.text()).unwrap_or_default(), change.detail.clone()];
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("  ")
    }

    /// A review has opened; `answer_with` is the command that lists all of the run.
    pub fn asked(&mut self, review: String, answer_with: &str) {
        if self.asked.len() < TREE_ROWS_MAX {
            self.asked.insert(review);
        }
        answer_with.clone_into(&mut self.answer_with);
    }

    /// A review has closed.
    pub fn answered(&mut self, review: &str) {
        self.asked.remove(review);
    }

    /// An instance, by its node and index, waits for what somebody sends with this command.
    pub fn awaits(&mut self, instance: String, next: String) {
        self.awaited.insert(instance, next);
    }

    /// Says why nothing comes, until something does.
    pub fn notice(&mut self, text: &str) {
        self.notice = Some(text.replace(char::is_control, " "));
    }

    /// What people call a node.
    pub fn label<'a>(&'a self, node: &'a str) -> &'a str {
        self.places.get(node).and_then(|place| self.rows.get(*place)).map_or(node, |row| &row.label)
    }

    /// What became of the nodes so far.
    pub fn totals(&self) -> Totals {
        let count = |state: State| self.rows.iter().filter(|row| row.state == Some(state)).count();
        Totals {
            nodes: self.rows.len(),
            completed: count(State::Completed),
            cached: count(State::Cached),
            failed: count(State::Failed),
            skipped: count(State::Skipped),
            cancelled: count(State::Cancelled),
            retries: self.retries,
            agents: self.agents.len(),
        }
    }

    /// The picture at this instant, no more lines than `height`, and none wider than `width` but what is to be typed.
    pub fn render(&self, now_ms: i64, width: usize, height: usize, style: Style) -> Vec<String> {
        let asks = if self.asked.is_empty() { 0 } else { 2 } + 2 * self.awaited.len();
        let room = TREE_LINES_MAX.min(height.saturating_sub(2 + asks)).max(1);
        let shown = self.shown(room);
        let label = |place: &usize| self.rows.get(*place).map_or(0, Row::head_columns);
        let labels = shown.iter().map(label).max().unwrap_or(0).min(LABEL_COLUMNS_MAX).min(width / 2);
        let rows = shown.iter().filter_map(|place| self.rows.get(*place));
        let mut lines: Vec<String> = rows.map(|row| row.render(now_ms, labels, width, style)).collect();
        if shown.len() < self.rows.len() {
            lines.push(fit(&style.dim(&self.rest(&shown)), width));
        }
        if !self.asked.is_empty() {
            let count = match self.asked.len() {
                1 => "a review is".to_owned(),
                count => format!("{count} reviews are"),
            };
            // It is to be typed, so it is not cut: a narrow terminal wraps it.
            lines.push(style.yellow(&format!("{count} open; next: {}", self.answer_with)));
        }
        // What is to be typed, again.
        lines.extend(self.awaited.values().map(|next| style.yellow(&format!("next: {next}"))));
        if let Some(notice) = &self.notice {
            lines.push(fit(&style.yellow(notice), width));
        }
        lines
    }

    /// Which rows are shown: all if they fit, else what goes on or went wrong, then the others, each in its order.
    fn shown(&self, room: usize) -> Vec<usize> {
        if self.rows.len() <= room {
            return (0..self.rows.len()).collect();
        }
        let rank = |row: &Row| match row.state {
            Some(State::Running | State::Failed) => 0,
            Some(State::Waiting) => 1,
            None => 2,
            Some(_) => 3,
        };
        let mut places: Vec<usize> = (0..self.rows.len()).collect();
        places.sort_by_key(|place| (self.rows.get(*place).map_or(4, rank), *place));
        places.truncate(room);
        places.sort_unstable();
        places
    }

    fn rest(&self, shown: &[usize]) -> String {
        let hidden = (0..self.rows.len()).filter(|place| shown.binary_search(place).is_err());
        let hidden: Vec<&Row> = hidden.filter_map(|place| self.rows.get(place)).collect();
        let done = hidden.iter().filter(|row| row.state.is_some_and(State::is_over)).count();
        format!("… and {} more nodes, {done} of them done", hidden.len())
    }
}

impl Row {
    fn change(&mut self, change: &Change) {
        let Some(state) = State::of(&change.state) else { return };
        if !change.index.is_empty() {
            return self.change_of_item(change, state);
        }
        match change.state.as_str() {
            // A word that comes after the end changes nothing.
            "PROGRESS" | "DELTA" | "OUTPUT" if self.state.is_some_and(State::is_over) => return,
            "DELTA" => {
                self.said.push_str(&change.said);
                let extra = self.said.chars().count().saturating_sub(DELTA_CHARS_KEPT);
                self.said = self.said.chars().skip(extra).collect();
            }
            "STARTED" => {
                self.started_ms = change.at_ms;
                self.said.clear();
                self.ran = None;
            }
            _ => {}
        }
        if change.state != "DELTA" {
            self.detail = change.detail.replace(char::is_control, " ");
        }
        self.state = Some(state);
        self.agent = change.agent.clone().or_else(|| self.agent.take());
        self.attempt = change.attempt.unwrap_or(self.attempt);
        self.started_ms = self.started_ms.or(change.at_ms);
        if state.is_over() {
            let since = self.started_ms.zip(change.at_ms).and_then(|(start, end)| u64::try_from(end - start).ok());
            self.ran = change.ran.or_else(|| since.map(Duration::from_millis));
        }
    }

    /// A node inside a map or a loop has one line for all items.
    fn change_of_item(&mut self, change: &Change, state: State) {
        self.started_ms = self.started_ms.or(change.at_ms);
        match state {
            State::Completed => self.done += 1,
            State::Cached => (self.done, self.cached) = (self.done + 1, self.cached + 1),
            State::Failed => self.failed += 1,
            _ => {}
        }
        match state.is_over() {
            true => self.at_work.remove(&change.index),
            false => self.at_work.insert(change.index.clone()),
        };
        let over = if self.done > 0 || self.failed == 0 { State::Completed } else { State::Failed };
        self.state = Some(if self.at_work.is_empty() { over } else { State::Running });
        let since = self.started_ms.zip(change.at_ms).and_then(|(start, end)| u64::try_from(end - start).ok());
        self.ran = since.map(Duration::from_millis);
        let mut detail = format!("{} done", self.done);
        for (count, word) in [(self.cached, "reused"), (self.failed, "failed")].iter().filter(|(count, _)| *count > 0) {
            detail.push_str(&format!(", {count} {word}"));
        }
        self.detail = detail;
    }

    /// A bar and numbers of a map, numbers of a loop.
    fn items(&self, style: Style) -> Option<String> {
        let items = self.items?;
        let bar = items.share().filter(|_| !self.state.is_some_and(State::is_over)).map(|share| {
            let full = ((share * ITEMS_BAR_COLUMNS as f64) as usize).min(ITEMS_BAR_COLUMNS);
            format!("{}{} ", "▰".repeat(full), style.dim(&"▱".repeat(ITEMS_BAR_COLUMNS - full)))
        });
        Some(format!("{}{}", bar.unwrap_or_default(), items.text()))
    }

    fn branch(&self) -> String {
        // Deeper graphs would leave no room for labels.
        let depth = self.depth.min(6);
        if depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(depth - 1)) }
    }

    fn head_columns(&self) -> usize {
        measure_text_width(&self.branch()) + measure_text_width(&self.label)
    }

    fn mark(&self, now_ms: i64, style: Style) -> String {
        match self.state {
            None => style.dim("·"),
            Some(State::Running) => {
                let at = usize::try_from(now_ms / 100).unwrap_or(0) % SPINNER.len();
                style.yellow(SPINNER[at])
            }
            Some(State::Waiting) => style.yellow("◷"),
            Some(State::Completed) => style.green("✓"),
            Some(State::Cached) => style.green("↺"),
            Some(State::Failed) => style.red("✗"),
            Some(State::Skipped) => style.dim("↷"),
            Some(State::Cancelled) => style.dim("■"),
        }
    }

    fn time(&self, now_ms: i64) -> String {
        let runs = || u64::try_from(now_ms - self.started_ms?).ok().map(Duration::from_millis);
        match self.state {
            None | Some(State::Skipped | State::Cached) => String::new(),
            // What took no time at all was no work.
            Some(state) if state.is_over() => {
                self.ran.filter(|ran| !ran.is_zero()).map(clock::span).unwrap_or_default()
            }
            Some(_) => runs().map(clock::span).unwrap_or_default(),
        }
    }

    fn render(&self, now_ms: i64, labels: usize, width: usize, style: Style) -> String {
        let branch = self.branch();
        let room = labels.saturating_sub(measure_text_width(&branch));
        let label = console::truncate_str(&self.label, room, "…");
        let gap = " ".repeat(labels.saturating_sub(measure_text_width(&branch) + measure_text_width(&label)));
        let mut line = format!("{} {}{label}{gap}", self.mark(now_ms, style), style.dim(&branch));
        let time = self.time(now_ms);
        line.push_str(&format!("  {time:>9}"));
        let mut notes = Vec::new();
        if self.attempt > 1 {
            notes.push(style.yellow(&format!("try {}", self.attempt)));
        }
        if let Some(agent) = self.agent.as_ref().filter(|_| width >= AGENT_COLUMNS) {
            notes.push(style.dim(agent));
        }
        notes.extend(self.items(style));
        if self.state == Some(State::Cached) {
            notes.push(style.dim("reused"));
        }
        if !self.detail.is_empty() {
            notes.push(match self.state {
                Some(State::Failed) => style.red(&self.detail),
                _ => self.detail.clone(),
            });
        }
        if self.state == Some(State::Running) && !self.said.is_empty() {
            let used = measure_text_width(&line) + notes.iter().map(|note| measure_text_width(note) + 2).sum::<usize>();
            let room = width.saturating_sub(used + 2);
            if room >= SAID_COLUMNS_MIN {
                notes.push(style.dim(&tail(&self.said, room)));
            }
        }
        for note in notes.iter().filter(|note| !note.is_empty()) {
            line.push_str("  ");
            line.push_str(note);
        }
        fit(line.trim_end(), width)
    }
}

/// The end of a text, on one line of so many columns.
fn tail(text: &str, columns: usize) -> String {
    let clean: Vec<char> = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut at = clean.len();
    let mut used = 0;
    while at > 0 {
        let wide = measure_text_width(clean[at - 1].encode_utf8(&mut [0; 4]));
        // One column is left for the mark of what is missing.
        let limit = if at == 1 { columns } else { columns.saturating_sub(1) };
        if used + wide > limit {
            break;
        }
        used += wide;
        at -= 1;
    }
    let end: String = clean[at..].iter().collect();
    if at > 0 && columns > 0 { format!("…{end}") } else { end }
}

fn fit(line: &str, width: usize) -> String {
    console::truncate_str(line, width.max(1), "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(node: &str, state: &str, at_ms: i64) -> Change {
        Change { node: node.into(), state: state.into(), at_ms: Some(at_ms), ..Change::default() }
    }

    fn tree() -> Tree {
        let node = |id: &str, label: &str, depth| (id.to_owned(), label.to_owned(), depth);
        Tree::new(&[node("a", "Topic", 0), node("b", "Write a story", 1), node("c", "Out", 2)])
    }

    #[test]
    fn a_picture_has_a_line_for_each_node() {
        let mut tree = tree();
        tree.change(&Change { ran: Some(Duration::from_millis(12)), ..change("a", "COMPLETED", 0) });
        let agent = Some("agent_01".to_owned());
        tree.change(&Change { attempt: Some(2), agent, ..change("b", "STARTED", 1_000) });
        tree.change(&Change { said: "Once upon\na time".into(), ..change("b", "DELTA", 1_100) });
        let lines = tree.render(3_100, 120, 50, Style::PLAIN);
        assert_eq!(
            lines,
            [
                "✓ Topic                12 ms",
                "⠙ └ Write a story      2.1 s  try 2  agent_01  Once upon a time",
                "·   └ Out",
            ]
        );
        let narrow = tree.render(3_100, 48, 50, Style::PLAIN);
        assert_eq!(
            narrow[1], "⠙ └ Write a story      2.1 s  try 2  …pon a time",
            "the agent's id is left out, never cut"
        );
        assert!(narrow.iter().all(|line| measure_text_width(line) <= 48), "{narrow:?}");

        tree.change(&Change { detail: "no money".into(), ..change("b", "FAILED", 3_500) });
        assert_eq!(
            tree.render(9_000, 120, 50, Style::PLAIN)[1],
            "✗ └ Write a story      2.5 s  try 2  agent_01  no money"
        );
        // A late word changes nothing.
        tree.change(&change("b", "PROGRESS", 9_100));
        let totals = tree.totals();
        let line = totals.line("exec_1", RunStatus::Failed, "3.5 s");
        assert_eq!(line, "exec_1 FAILED in 3.5 s: 1 node completed, 1 failed, 1 not run, 1 retry, 1 agent");
        let states = ["COMPLETED", "FAILED", "SKIPPED"];
        let line = tree.totals().with_states(states.into_iter()).line("exec_1", RunStatus::Failed, "3.5 s");
        assert_eq!(line, "exec_1 FAILED in 3.5 s: 1 node completed, 1 failed, 1 skipped, 1 retry, 1 agent");
    }

    #[test]
    fn many_nodes_are_counted_and_what_goes_on_is_shown() {
        let nodes: Vec<_> = (0..100).map(|at| (format!("n{at}"), format!("n{at}"), 0)).collect();
        let mut tree = Tree::new(&nodes);
        for at in 0..50 {
            tree.change(&change(&format!("n{at}"), "COMPLETED", 0));
        }
        tree.change(&change("n99", "STARTED", 0));
        let lines = tree.render(0, 80, 12, Style::PLAIN);
        assert_eq!(lines.len(), 11);
        assert!(lines[9].contains("n99"), "{lines:?}");
        assert_eq!(lines[10], "… and 90 more nodes, 50 of them done");
        tree.notice("the connection\nis lost");
        assert_eq!(tree.render(0, 80, 12, Style::PLAIN).last().unwrap(), "the connection is lost");
        tree.change(&change("n98", "STARTED", 0));
        assert_eq!(tree.render(0, 80, 12, Style::PLAIN).len(), 11, "what comes takes the notice away");
    }

    #[test]
    fn a_map_has_a_bar_and_its_nodes_have_a_line_each() {
        let mut tree = tree();
        let counts =
            |completed, failed| ItemCounts { total: Some(8), completed, failed, skipped: 0, running: 1, cached: 0 };
        tree.change(&change("b", "RUNNING", 0));
        tree.counts("b", counts(0, 0));
        let item = |state: &str, index: &str, at_ms| Change { index: index.into(), ..change("c", state, at_ms) };
        for index in ["[0]", "[1]", "[2]"] {
            tree.change(&item("STARTED", index, 100));
        }
        tree.change(&item("COMPLETED", "[0]", 1_100));
        tree.change(&item("FAILED", "[1]", 1_200));
        tree.counts("b", counts(1, 1));
        let lines = tree.render(2_100, 80, 50, Style::PLAIN);
        assert_eq!(lines[1], "⠙ └ Write a story      2.1 s  ▰▰▰▰▱▱▱▱▱▱▱▱▱▱▱▱ 1/8 done, 1 failed");
        assert_eq!(lines[2], "⠙   └ Out              2.0 s  1 done, 1 failed");
        tree.change(&item("COMPLETED", "[2]", 2_100));
        tree.counts("b", counts(7, 1));
        let end = change("b", "COMPLETED", 3_000);
        tree.change(&end);
        assert_eq!(tree.said_of(&end), "7/8 done, 1 failed");
        let lines = tree.render(9_000, 80, 50, Style::PLAIN);
        assert_eq!(lines[1], "✓ └ Write a story      3.0 s  7/8 done, 1 failed");
        assert_eq!(lines[2], "✓   └ Out              2.0 s  2 done, 1 failed");
        assert_eq!(tree.totals().nodes, 3, "items are no nodes");
        // Its items say that it is done; the answer says that the map was given up with them.
        let states = ["COMPLETED", "FAILED", "CANCELLED"];
        let line = tree.totals().with_states(states.into_iter()).line("exec_1", RunStatus::Failed, "3.0 s");
        assert_eq!(line, "exec_1 FAILED in 3.0 s: 1 node completed, 1 failed, 1 cancelled");
    }

    #[test]
    fn the_end_of_a_text_fits() {
        assert_eq!(tail("hello", 10), "hello");
        assert_eq!(tail("hello", 5), "hello");
        assert_eq!(tail("hello", 4), "…llo");
        assert_eq!(tail("日本語", 4), "…語");
        assert_eq!(tail("hello", 0), "");
    }
}
