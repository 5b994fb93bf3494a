//! The makespans side by side: a table for eyes, and the same in Markdown for the documents.

use std::fmt::Write as _;

use super::measured::Measured;
use crate::ui::table::Table;

const COLUMNS: [&str; 10] = [
    "Graph",
    "Tasks",
    "Slots",
    "Agents",
    "Priorities",
    "Bound s",
    "List schedule s",
    "Measured s",
    "Slowest s",
    "Ratio",
];
/// Columns whose cells are words.
const WORDS: [&str; 2] = ["Graph", "Priorities"];

/// What the columns say, for whoever reads the table alone.
pub(super) const LEGEND: &str = "Bound: the longest way through the graph, or all work divided by the slots. List schedule: costs nothing, \
     and takes ready nodes by priority, then by how long they have been ready, then by the document. Priorities: none, or rank \
     (the longest way to the end first). Measured: the median. Ratio: measured by list schedule.";

/// One case in its columns; `None` for other works.
fn cells(measured: &Measured) -> Option<[String; COLUMNS.len()]> {
    let Measured::Makespan { graph, nodes, slots, agents, priorities, wall_ms, list_ms, bound_ms, ratio, walls_ms } =
        measured
    else {
        return None;
    };
    let seconds = |ms: f64| format!("{:.2}", ms / 1e3);
    let slowest = walls_ms.iter().copied().fold(*wall_ms, f64::max);
    Some([
        graph.clone(),
        nodes.to_string(),
        slots.to_string(),
        agents.to_string(),
        (*priorities).to_owned(),
        seconds(*bound_ms as f64),
        seconds(*list_ms as f64),
        seconds(*wall_ms),
        seconds(slowest),
        format!("{ratio:.3}"),
    ])
}

/// For eyes; `None` if no makespan was measured.
pub(super) fn plain<'a>(measured: impl Iterator<Item = &'a Measured>) -> Option<Table> {
    let mut table = Table::new(&COLUMNS.map(str::to_uppercase).each_ref().map(String::as_str));
    let mut is_empty = true;
    for cells in measured.filter_map(cells) {
        table.row(cells.into());
        is_empty = false;
    }
    (!is_empty).then_some(table)
}

/// For documents; `None` if no makespan was measured.
pub(super) fn markdown<'a>(measured: impl Iterator<Item = &'a Measured>) -> Option<String> {
    let rows: Vec<[String; COLUMNS.len()]> = measured.filter_map(cells).collect();
    if rows.is_empty() {
        return None;
    }
    let rule = COLUMNS.map(|column| if WORDS.contains(&column) { "---" } else { "--:" });
    let mut text = format!("| {} |\n|{}|\n", COLUMNS.join(" | "), rule.join("|"));
    for row in rows {
        // A graph is called after its file, which may hold anything.
        let row = row.map(|cell| cell.replace('|', "\\|"));
        // Writing to a text cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::style::Style;

    fn measured() -> [Measured; 2] {
        let makespan = Measured::Makespan {
            graph: "mon|tage".into(),
            nodes: 1066,
            slots: 16,
            agents: 4,
            priorities: "rank",
            wall_ms: 4_318.4,
            list_ms: 4_264,
            bound_ms: 4_012,
            ratio: 1.0128,
            walls_ms: vec![4_301.0, 4_318.4, 9_540.1],
        };
        [Measured::W1 { p50_ms: 3.5, p99_ms: 5.0, runs: 1 }, makespan]
    }

    #[test]
    fn a_run_that_was_held_up_shows_beside_the_median() {
        let text = markdown(measured().iter()).unwrap();
        let expected = "\
| Graph | Tasks | Slots | Agents | Priorities | Bound s | List schedule s | Measured s | Slowest s | Ratio |
|---|--:|--:|--:|---|--:|--:|--:|--:|--:|
| mon\\|tage | 1066 | 16 | 4 | rank | 4.01 | 4.26 | 4.32 | 9.54 | 1.013 |
";
        assert_eq!(text, expected);
        let table = plain(measured().iter()).unwrap().render(Style::PLAIN);
        let cells: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(cells, ["mon|tage", "1066", "16", "4", "rank", "4.01", "4.26", "4.32", "9.54", "1.013"]);
    }

    #[test]
    fn other_works_have_no_such_table() {
        let other = &measured()[..1];
        assert!(markdown(other.iter()).is_none());
        assert!(plain(other.iter()).is_none());
    }
}
