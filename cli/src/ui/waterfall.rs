//! A run's trace as text: a lane for each agent, a line for each attempt, time from left to right.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::clock;
use super::style::Style;
use crate::client::with_index;

/// Columns of the widest name; longer ones are cut.
const NAME_WIDTH_MAX: usize = 28;
/// Columns where nobody says how many there are.
const WIDTH_USUAL: usize = 100;
const BAR_WIDTH_MIN: usize = 20;
const LEGEND: &str = "· waits for inputs   ░ waits for an agent   ╌ given, not begun   █ at work   ▒ waits for a time or for people   ▓ has items at work   ◆ decided at once";

/// A trace as the API gives it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waterfall {
    execution_id: String,
    trace_id: String,
    status: String,
    start_time: String,
    end_time: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    node_id: String,
    #[serde(default)]
    index: Vec<u64>,
    state: String,
    error_code: Option<String>,
    ready_time: String,
    wait_start_time: Option<String>,
    opened_time: Option<String>,
    end_time: Option<String>,
    attempts: Vec<Attempt>,
}

impl Node {
    fn name(&self) -> String {
        with_index(&self.node_id, &self.index)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    number: u32,
    agent_id: String,
    outcome: String,
    error_code: Option<String>,
    assigned_time: String,
    start_time: Option<String>,
    end_time: Option<String>,
}

/// One line: its name, and the instants at which its parts begin and end, in milliseconds.
struct Line<'a> {
    name: String,
    ready: i64,
    given: i64,
    begun: i64,
    ended: i64,
    part: Part,
    state: &'a str,
    error: Option<&'a str>,
}

/// What a line's last part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Work,
    Wait,
    /// From its first items to its end.
    Items,
    /// The coordinator decided it in no time.
    Decision,
}

impl Part {
    fn fill(self) -> char {
        match self {
            Part::Work => '█',
            Part::Wait => '▒',
            Part::Items => '▓',
            Part::Decision => '◆',
        }
    }

    /// How long it took. Agents tell whole milliseconds, and less than one is work all the same.
    fn took(self, line: &Line<'_>) -> String {
        match self {
            Part::Decision => "at once".to_owned(),
            Part::Work if line.ended == line.begun => "<1 ms".to_owned(),
            Part::Work | Part::Wait | Part::Items => clock::span(millis(line.ended - line.begun)),
        }
    }
}

/// Columns of the terminal: `COLUMNS`, else what it says itself.
pub fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    told.or_else(|| console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)))
        .unwrap_or(WIDTH_USUAL)
}

impl Waterfall {
    /// The trace as text of at most so many columns, with room for a bar.
    pub fn render(&self, width: usize, style: Style) -> String {
        let start = clock::parse(&self.start_time).unwrap_or(0);
        let lanes = self.lanes(start);
        let last = lanes.values().flatten().map(|line| line.ended).max().unwrap_or(start);
        let end = self.end_time.as_deref().and_then(clock::parse).unwrap_or(last).max(last).max(start + 1);
        let longest = lanes.values().flatten().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let names = longest.min(NAME_WIDTH_MAX);
        let took = clock::span(millis(end - start));
        // Two columns before the name, two after it, two after the bar, ten for the time.
        let bar = width.saturating_sub(names + 16).max(BAR_WIDTH_MIN);
        let scale = Scale { start, end, columns: bar };
        let mut lines = vec![format!(
            "{}  {}  {took}  {}",
            style.bold(&self.execution_id),
            style.status(&self.status),
            style.dim(&format!("trace {}", self.trace_id))
        )];
        for (lane, attempts) in &lanes {
            lines.push(style.bold(lane));
            lines.extend(attempts.iter().map(|line| line.render(&scale, names, style)));
        }
        lines.push(style.dim(LEGEND));
        lines.join("\n")
    }

    fn lanes(&self, start: i64) -> BTreeMap<String, Vec<Line<'_>>> {
        let mut lanes: BTreeMap<String, Vec<Line<'_>>> = BTreeMap::new();
        for node in &self.nodes {
            let mut ready = clock::parse(&node.ready_time).unwrap_or(start);
            let now = clock::now_ms();
            let opened = node.opened_time.as_deref().and_then(clock::parse);
            // What an agent found of a loop's turns stands in that agent's lane.
            if node.attempts.is_empty() || opened.is_some() {
                let ended = node.end_time.as_deref().and_then(clock::parse).unwrap_or(now);
                let waits = node.wait_start_time.as_deref().and_then(clock::parse);
                let since = opened.map(|at| (Part::Items, at)).or_else(|| waits.map(|at| (Part::Wait, at)));
                let (part, begun) = since.unwrap_or((Part::Decision, ended));
                let (name, error) = (node.name(), node.error_code.as_deref());
                // Until it opens, it waits for what leads into its body.
                let ready = if part == Part::Items { begun } else { ready };
                let line = Line { name, ready, given: begun, begun, ended, part, state: &node.state, error };
                lanes.entry("coordinator".into()).or_default().push(line);
            }
            for attempt in &node.attempts {
                let assigned = clock::parse(&attempt.assigned_time).unwrap_or(ready);
                let begun = attempt.start_time.as_deref().and_then(clock::parse).unwrap_or(assigned);
                let ended = attempt.end_time.as_deref().and_then(clock::parse).unwrap_or(now);
                let name = match attempt.number {
                    1 => node.name(),
                    number => format!("{} #{number}", node.name()),
                };
                let (state, error) = (&*attempt.outcome, attempt.error_code.as_deref());
                let line = Line { name, ready, given: assigned, begun, ended, part: Part::Work, state, error };
                lanes.entry(format!("agent {}", attempt.agent_id)).or_default().push(line);
                ready = ended;
            }
        }
        lanes
    }
}

struct Scale {
    start: i64,
    end: i64,
    columns: usize,
}

impl Scale {
    fn column(&self, at: i64) -> usize {
        let (part, whole) = ((at - self.start).max(0) as u128, (self.end - self.start).max(1) as u128);
        ((part * self.columns as u128 / whole) as usize).min(self.columns)
    }
}

impl Line<'_> {
    /// Every part that took any time at all shows; the last one always does.
    fn render(&self, scale: &Scale, names: usize, style: Style) -> String {
        let begun = scale.column(self.begun).min(scale.columns - 1);
        let given = scale.column(self.given).min(begun);
        let ready = scale.column(self.ready).min(given);
        let ended = match self.part {
            Part::Decision => begun + 1,
            Part::Work | Part::Wait | Part::Items => scale.column(self.ended).max(begun + 1),
        };
        let fill = |count: usize, with: char| with.to_string().repeat(count);
        let work = fill(ended - begun, self.part.fill());
        let word = match self.state {
            "SUCCEEDED" => "COMPLETED",
            "LOST" => "FAILED",
            other => other,
        };
        let mut name: String = self.name.replace(char::is_control, " ");
        if name.chars().count() > names {
            name = name.chars().take(names.saturating_sub(1)).chain(['…']).collect();
        }
        let padding = " ".repeat(names - name.chars().count());
        let parts = [fill(ready, '·'), fill(given - ready, '░'), fill(begun - given, '╌')];
        let waits = style.dim(&parts.concat());
        let after = " ".repeat(scale.columns - ended);
        let took = self.part.took(self);
        let error = self.error.map(|code| format!("  {}", style.red(code))).unwrap_or_default();
        format!("  {name}{padding}  {waits}{}{after}  {took}{error}", style.as_status(word, &work))
    }
}

fn millis(span: i64) -> Duration {
    Duration::from_millis(u64::try_from(span).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(millis: u32) -> Value {
        json!(format!("2026-05-02T09:00:00.{millis:03}Z"))
    }

    fn attempt(number: u32, agent: &str, times: [u32; 3], outcome: &str) -> Value {
        let [assigned, start, end] = times.map(at);
        json!({
            "number": number, "agentId": agent, "outcome": outcome, "errorCode": null,
            "assignedTime": assigned, "startTime": start, "endTime": end,
        })
    }

    #[test]
    fn lanes_show_who_had_what_when() {
        let node = |id: &str, ready: u32, end: u32, attempts: Vec<Value>| json!({"nodeId": id, "state": "COMPLETED", "readyTime": at(ready), "endTime": at(end), "attempts": attempts});
        let trace = json!({
            "executionId": "exec_1", "traceId": "4bf9", "status": "COMPLETED", "startTime": at(0), "endTime": at(400),
            "nodes": [
                node("a", 0, 200, vec![attempt(1, "agt_1", [0, 100, 200], "SUCCEEDED")]),
                node("b", 200, 400, vec![
                    attempt(1, "agt_1", [200, 200, 300], "FAILED"), attempt(2, "agt_2", [300, 300, 400], "SUCCEEDED"),
                ]),
                node("i", 0, 0, vec![]),
                node("o", 400, 400, vec![]),
                json!({"nodeId": "w", "state": "COMPLETED", "readyTime": at(200), "waitStartTime": at(200), "endTime": at(300),
                    "attempts": []}),
                json!({"nodeId": "m", "state": "COMPLETED", "readyTime": at(0), "openedTime": at(100), "endTime": at(400),
                    "attempts": []}),
                node("q", 100, 400, vec![attempt(1, "agt_2", [200, 400, 400], "SUCCEEDED")]),
            ],
        });
        let waterfall: Waterfall = serde_json::from_value(trace).unwrap();
        let expected = "\
exec_1  COMPLETED  400 ms  trace 4bf9
agent agt_1
  a     ╌╌╌╌╌█████            100 ms
  b     ··········█████       100 ms
agent agt_2
  b #2  ···············█████  100 ms
  q     ·····░░░░░╌╌╌╌╌╌╌╌╌█  <1 ms
coordinator
  i     ◆                     at once
  o     ···················◆  at once
  w     ··········▒▒▒▒▒       100 ms
  m     ·····▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓  300 ms
· waits for inputs   ░ waits for an agent   ╌ given, not begun   █ at work   ▒ waits for a time or for people   ▓ has items at work   ◆ decided at once";
        assert_eq!(waterfall.render(40, Style::PLAIN), expected);
    }

    #[test]
    fn what_took_no_time_shows_all_the_same() {
        let trace = json!({
            "executionId": "exec_1", "traceId": "4bf9", "status": "FAILED", "startTime": at(0), "endTime": at(0),
            "nodes": [{
                "nodeId": "a node with a name that is longer than any column", "state": "FAILED", "readyTime": at(0),
                "endTime": at(0), "attempts": [attempt(1, "agt_1", [0, 0, 0], "FAILED")],
            }],
        });
        let waterfall: Waterfall = serde_json::from_value(trace).unwrap();
        let text = waterfall.render(0, Style::PLAIN);
        assert!(text.contains("  a node with a name that is …  █"), "{text}");
    }
}
