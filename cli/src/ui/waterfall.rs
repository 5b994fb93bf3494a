//! A run's time as a picture of text: a line for each attempt, a lane for each agent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock;
use super::style::Style;
use crate::client::{Trace, TraceAttempt, TraceNode};

/// The least and the most columns of the bars.
const BAR_COLUMNS: std::ops::RangeInclusive<usize> = 20..=100;

const WAITING: char = '·';
const QUEUED: char = '░';
const WORKING: char = '█';

/// One line, before it is drawn: where each part of it begins and ends, in milliseconds of the run.
struct Line<'a> {
    node: &'a str,
    lane: Option<usize>,
    parts: Vec<(char, i64, i64)>,
    note: String,
    has_failed: bool,
}

/// The picture of a trace, `columns` wide.
pub fn waterfall(trace: &Trace, columns: usize, style: Style) -> String {
    let begun = clock::parse(&trace.start_time).unwrap_or_default();
    let at = |time: Option<&str>| time.and_then(clock::parse).map(|at| at - begun);
    let lanes = lanes(trace);
    let latest = trace.times().filter_map(|time| at(Some(time))).max().unwrap_or(0);
    let end = at(trace.end_time.as_deref()).unwrap_or(latest).max(latest).max(1);
    let mut lines: Vec<Line<'_>> = Vec::new();
    for node in &trace.nodes {
        if node.attempts.is_empty() {
            lines.push(unassigned(node, at(node.ready_at.as_deref()), at(node.end_time.as_deref()), end));
        }
        let mut since = at(node.ready_at.as_deref());
        for attempt in &node.attempts {
            lines.push(tried(node, attempt, &lanes, since, &at, end));
            since = at(attempt.end_time.as_deref());
        }
    }
    // In the order in which they came to pass; what has not begun comes last.
    lines.sort_by_key(|line| line.parts.first().map_or(i64::MAX, |(_, from, _)| *from));
    draw(&lines, &lanes, trace, end, columns, style)
}

/// A number for each agent, in the order of the graph's nodes.
fn lanes(trace: &Trace) -> BTreeMap<&str, usize> {
    let mut lanes = BTreeMap::new();
    for attempt in trace.nodes.iter().flat_map(|node| &node.attempts) {
        let next = lanes.len();
        lanes.entry(attempt.agent.as_str()).or_insert(next);
    }
    lanes
}

/// `A` to `Z`, then `A1`, `B1`…
fn letter(lane: usize) -> String {
    let letter = char::from(b'A' + (lane % 26) as u8);
    if lane < 26 { letter.to_string() } else { format!("{letter}{}", lane / 26) }
}

/// A node that no agent has had: the engine's own, or one that waits.
fn unassigned<'a>(node: &'a TraceNode, ready: Option<i64>, ended: Option<i64>, end: i64) -> Line<'a> {
    let parts = ready.map(|ready| (WAITING, ready, ended.unwrap_or(end))).into_iter().collect();
    let note = match (ready, ended) {
        (Some(ready), Some(ended)) if ended > ready => format!("{} wait", ms(ended - ready)),
        (Some(_), Some(_)) => String::new(),
        _ => node.state.to_lowercase(),
    };
    Line { node: &node.node_id, lane: None, parts, note, has_failed: node.state == "FAILED" }
}

fn tried<'a>(
    node: &'a TraceNode,
    attempt: &'a TraceAttempt,
    lanes: &BTreeMap<&str, usize>,
    since: Option<i64>,
    at: &dyn Fn(Option<&str>) -> Option<i64>,
    end: i64,
) -> Line<'a> {
    let assigned = at(Some(&attempt.assigned_at)).unwrap_or_default();
    let (started, ended) = (at(attempt.start_time.as_deref()), at(attempt.end_time.as_deref()));
    let since = since.unwrap_or(assigned).min(assigned);
    let until = ended.unwrap_or(end);
    let mut parts = vec![(WAITING, since, assigned)];
    let mut words = Vec::new();
    if assigned > since {
        words.push(format!("{} wait", ms(assigned - since)));
    }
    match started {
        Some(started) => {
            parts.extend([(QUEUED, assigned, started), (WORKING, started, until)]);
            if started > assigned {
                words.push(format!("{} queue", ms(started - assigned)));
            }
            words.push(format!("{} work", ms(until - started)));
        }
        // When it began is known with its end only.
        None => parts.push((QUEUED, assigned, until)),
    }
    let has_failed = !matches!(attempt.outcome.as_str(), "SUCCEEDED" | "RUNNING");
    if attempt.outcome != "SUCCEEDED" {
        let code = attempt.error_code.as_ref().map(|code| format!(" {code}"));
        words.push(format!("{}{}", attempt.outcome.to_lowercase().replace('_', " "), code.unwrap_or_default()));
    }
    if attempt.number > 1 {
        words.push(format!("attempt {}", attempt.number));
    }
    Line {
        node: &node.node_id,
        lane: lanes.get(attempt.agent.as_str()).copied(),
        parts,
        note: words.join(", "),
        has_failed,
    }
}

fn draw(
    lines: &[Line<'_>],
    lanes: &BTreeMap<&str, usize>,
    trace: &Trace,
    end: i64,
    columns: usize,
    style: Style,
) -> String {
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let node_width = width(&mut lines.iter().map(|line| line.node.chars().count()));
    let note_width = width(&mut lines.iter().map(|line| line.note.chars().count()));
    let lane_width = width(&mut lanes.values().map(|lane| letter(*lane).len())).max(1);
    let free = columns.saturating_sub(node_width + lane_width + note_width + 6);
    let bar_width = free.clamp(*BAR_COLUMNS.start(), *BAR_COLUMNS.end());
    let mut drawn = Vec::new();
    for line in lines {
        let lane = line.lane.map(letter).unwrap_or_default();
        let bar = painted(&cells(&line.parts, end, bar_width), line.lane, style);
        let note = if line.has_failed { style.red(&line.note) } else { style.dim(&line.note) };
        drawn.push(format!("{:node_width$}  {lane:lane_width$}  {bar}  {note}", line.node).trim_end().to_owned());
    }
    let scale = format!("{:>bar_width$}", ms(end));
    drawn.push(style.dim(&format!("{:1$}{scale}", "", node_width + lane_width + 4)));
    drawn.push(style.dim(&format!("{WAITING} waiting  {QUEUED} on its way and queued  {WORKING} working")));
    let mut agents: Vec<(&str, usize)> = lanes.iter().map(|(agent, lane)| (*agent, *lane)).collect();
    agents.sort_by_key(|(_, lane)| *lane);
    for (agent, lane) in agents {
        let attempts = || trace.nodes.iter().flat_map(|node| &node.attempts).filter(|attempt| attempt.agent == agent);
        let (count, worked) = (attempts().count(), attempts().filter_map(|attempt| attempt.worked_ms).sum());
        let lane_text = style.lane(lane, &format!("{:lane_width$}", letter(lane)));
        drawn.push(format!("{lane_text}  {agent}  {count} attempts, {} work", ms(worked)));
    }
    drawn.join("\n")
}

/// The parts of a line in so many cells. What took any time gets at least one cell, and later parts go over earlier ones.
fn cells(parts: &[(char, i64, i64)], end: i64, width: usize) -> Vec<char> {
    let mut cells = vec![' '; width];
    let cell = |at: i64| (at.clamp(0, end) as usize * width / end as usize).min(width - 1);
    for (sign, from, to) in parts.iter().filter(|(sign, from, to)| to > from || *sign == WORKING || parts.len() == 1) {
        let last = if to > from { cell(to - 1) } else { cell(*to) };
        cells[cell(*from)..=last.max(cell(*from))].fill(*sign);
    }
    cells
}

/// Cells with the colour of their agent.
fn painted(cells: &[char], lane: Option<usize>, style: Style) -> String {
    let mut text = String::new();
    for run in cells.chunk_by(|one, other| one == other) {
        let part: String = run.iter().collect();
        match (run.first(), lane) {
            (Some(&(QUEUED | WORKING)), Some(lane)) => text.push_str(&style.lane(lane, &part)),
            (Some(&WAITING), _) => text.push_str(&style.dim(&part)),
            _ => text.push_str(&part),
        }
    }
    text
}

fn ms(millis: i64) -> String {
    clock::span(Duration::from_millis(millis.max(0) as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn time(millis: u32) -> String {
        format!("2026-05-02T09:00:00.{millis:03}Z")
    }

    fn trace() -> Trace {
        serde_json::from_value(json!({
            "executionId": "exec_1", "status": "COMPLETED", "traceId": "ab", "startTime": time(0), "endTime": time(400),
            "nodesTotal": 3,
            "nodes": [
                {"nodeId": "out", "state": "COMPLETED", "readyAt": time(400), "endTime": time(400), "attempts": []},
                {"nodeId": "paint", "state": "COMPLETED", "readyAt": time(0), "endTime": time(400), "attempts": [
                    {"number": 1, "agent": "agt_1", "assignedAt": time(100), "startTime": time(120), "endTime": time(200),
                     "outcome": "FAILED", "errorCode": "no_colour", "queuedMs": 20, "workedMs": 80},
                    {"number": 2, "agent": "agt_2", "assignedAt": time(200), "startTime": time(200), "endTime": time(400),
                     "outcome": "SUCCEEDED", "queuedMs": 0, "workedMs": 200},
                ]},
                {"nodeId": "later", "state": "PENDING", "attempts": []},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_trace_reads_as_a_picture() {
        let text = waterfall(&trace(), 90, Style::PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("paint  A  ······░█"), "{text}");
        assert!(lines[0].contains("██"), "{text}");
        assert!(lines[0].ends_with("100 ms wait, 20 ms queue, 80 ms work, failed no_colour"), "{text}");
        assert!(lines[1].starts_with("paint  B  ") && lines[1].ends_with("200 ms work, attempt 2"), "{text}");
        assert!(lines[2].starts_with("out") && lines[2].contains('·'), "{text}");
        assert!(lines[3].starts_with("later") && lines[3].ends_with("pending"), "{text}");
        assert!(lines[4].ends_with("400 ms"), "{text}");
        assert_eq!(lines[6..], ["A  agt_1  1 attempts, 80 ms work", "B  agt_2  1 attempts, 200 ms work"], "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn no_width_and_no_time_break_it() {
        let mut trace = trace();
        for columns in [0, 1, 40, 1_000] {
            assert!(!waterfall(&trace, columns, Style::PLAIN).is_empty());
        }
        trace.end_time = None;
        trace.nodes.clear();
        assert!(!waterfall(&trace, 80, Style::PLAIN).is_empty());
    }

    #[test]
    fn cells_cover_what_took_time() {
        let text = |parts: &[(char, i64, i64)]| cells(parts, 100, 10).iter().collect::<String>();
        assert_eq!(text(&[(WAITING, 0, 20), (WORKING, 20, 50)]), "··███     ");
        assert_eq!(text(&[(WAITING, 99, 99), (WORKING, 99, 100)]), "         █");
        assert_eq!(text(&[(WAITING, 0, 0), (QUEUED, 0, 0), (WORKING, 0, 0)]), "█         ");
    }
}
