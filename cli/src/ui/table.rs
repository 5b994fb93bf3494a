//! Tables for eyes. On a terminal long cells are cut with `…`, ids never; in a pipe nothing is.

use console::{measure_text_width, truncate_str};

use super::style::Style;

/// Columns whose cells are ids, or are nothing without their end: they are shown whole, as the first column is.
const WHOLE: [&str; 5] = ["STATUS", "KEY", "WORKFLOW", "TYPE", "USED BY"];
/// Columns that a cell keeps when it is cut.
const CELL_WIDTH_MIN: usize = 12;
/// Columns that a cell in a pipe may take before it no longer pushes those below it aside.
const CELL_ALIGNED_MAX: usize = 48;

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    shows_headings: bool,
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&str]) -> Self {
        Table {
            headings: headings.iter().map(|heading| (*heading).to_owned()).collect(),
            rows: Vec::new(),
            shows_headings: true,
        }
    }

    /// Adds a row; cells beyond the headings are left out. Line ends and control characters become spaces.
    pub fn row(&mut self, cells: Vec<String>) {
        let clean = |cell: String| cell.replace(char::is_control, " ");
        self.rows.push(cells.into_iter().take(self.headings.len()).map(clean).collect());
    }

    /// Leaves the headings out: for pages after the first.
    pub fn without_headings(mut self) -> Self {
        self.shows_headings = false;
        self
    }

    /// The table as text for the standard output. Cells of a column headed `STATUS` are coloured.
    pub fn render(&self, style: Style) -> String {
        let terminal = console::Term::stdout();
        let width = terminal.is_term().then(|| usize::from(terminal.size().1));
        self.layout(style, width)
    }

    /// The table in so many columns, long cells cut. Where even that does not fit, each row becomes a few lines.
    fn layout(&self, style: Style, width: Option<usize>) -> String {
        let mut widths: Vec<usize> = (0..self.headings.len()).map(|column| self.width(column, width)).collect();
        if let Some(width) = width {
            let Some(fitting) = self.fitted(&widths, width) else {
                let rows = self.rows.iter().map(|row| self.stacked(row, width, style));
                return rows.collect::<Vec<_>>().join("\n");
            };
            widths = fitting;
        }
        let line = |cells: &[String], paint: &dyn Fn(usize, &str) -> String| {
            let mut text = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let cell = if width.is_some() { truncate_str(cell, widths[column], "…") } else { cell.into() };
                text.push_str(&paint(column, &cell));
                if column + 1 < cells.len() {
                    text.push_str(&" ".repeat(widths[column].saturating_sub(measure_text_width(&cell)) + 2));
                }
            }
            text
        };
        let headings = self.shows_headings.then(|| line(&self.headings, &|_, cell| style.dim(cell)));
        let rows = self.rows.iter().map(|row| line(row, &|column, cell| self.paint(column, cell, style)));
        headings.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }

    fn width(&self, column: usize, terminal: Option<usize>) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widths = cells.chain([&self.headings[column]]).map(|cell| measure_text_width(cell));
        let aligned = widths.filter(|width| terminal.is_some() || self.is_whole(column) || *width <= CELL_ALIGNED_MAX);
        aligned.max().unwrap_or(0)
    }

    fn is_whole(&self, column: usize) -> bool {
        column == 0 || WHOLE.contains(&self.headings[column].as_str())
    }

    /// The widths with which the table fits, the widest cells cut first; nothing if too little would be left of them.
    fn fitted(&self, widths: &[usize], width: usize) -> Option<Vec<usize>> {
        let gaps = 2 * widths.len().saturating_sub(1);
        let capped = |most: usize| -> Vec<usize> {
            let all = widths.iter().enumerate();
            all.map(|(column, width)| if self.is_whole(column) { *width } else { (*width).min(most) }).collect()
        };
        let widest = widths.iter().copied().max().unwrap_or(0);
        let most = (CELL_WIDTH_MIN..=widest.max(CELL_WIDTH_MIN)).rev();
        most.map(capped).find(|capped| capped.iter().sum::<usize>() + gaps <= width)
    }

    fn paint(&self, column: usize, cell: &str, style: Style) -> String {
        match self.headings[column].as_str() {
            "STATUS" => style.status(cell),
            _ => cell.to_owned(),
        }
    }

    /// A row over several lines, those after the first indented; empty cells are left out.
    fn stacked(&self, row: &[String], width: usize, style: Style) -> String {
        let (mut text, mut used) = (String::new(), 0);
        for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let cell =
                if self.is_whole(column) { cell.into() } else { truncate_str(cell, width.saturating_sub(4), "…") };
            let columns = measure_text_width(&cell);
            if used > 0 && used + 2 + columns > width {
                text.push_str("\n    ");
                used = 4;
            } else if used > 0 {
                text.push_str("  ");
                used += 2;
            }
            text.push_str(&self.paint(column, &cell, style));
            used += columns;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_ids_stay_whole() {
        let mut table = Table::new(&["ID", "STATUS", "ERROR"]);
        table.row(vec!["exec_01JABCDEFGHJKMNPQRSTVWXYZ0".into(), "FAILED".into(), "two\nlines".into()]);
        table.row(vec!["é".into(), "RUNNING".into(), String::new()]);
        let expected = "ID                               STATUS   ERROR\n\
                        exec_01JABCDEFGHJKMNPQRSTVWXYZ0  FAILED   two lines\n\
                        é                                RUNNING  ";
        assert_eq!(table.layout(Style::PLAIN, None), expected);
        assert_eq!(table.layout(Style::PLAIN, Some(53)), expected);
        let rows = expected.split_once('\n').unwrap().1;
        assert_eq!(table.without_headings().layout(Style::PLAIN, None), rows);
    }

    #[test]
    fn a_long_cell_is_cut_to_the_terminal_and_whole_in_a_pipe() {
        let long = "n".repeat(500);
        let mut table = Table::new(&["ID", "NAME", "TAGS"]);
        table.row(vec!["wf_1".into(), long.clone(), "daily".into()]);
        table.row(vec!["wf_2".into(), "short".into(), "x, y".into()]);
        let on_terminal = table.layout(Style::PLAIN, Some(40));
        let expected = format!(
            "ID    NAME                         TAGS\nwf_1  {}…  daily\nwf_2  short                        x, y",
            "n".repeat(26)
        );
        assert_eq!(on_terminal, expected);
        assert!(on_terminal.lines().all(|line| measure_text_width(line) <= 40));
        let in_pipe = table.layout(Style::PLAIN, None);
        assert_eq!(in_pipe, format!("ID    NAME   TAGS\nwf_1  {long}  daily\nwf_2  short  x, y"));
        let narrow = table.layout(Style::PLAIN, Some(20));
        assert!(narrow.lines().all(|line| measure_text_width(line) <= 20), "{narrow}");
    }

    #[test]
    fn a_row_that_is_too_wide_takes_more_lines() {
        let mut table = Table::new(&["ID", "STATUS", "NOTE", "ERROR"]);
        table.row(vec!["exec_01JABCDEFGHJKMNPQRSTVWXYZ0".into(), "FAILED".into(), String::new(), "no money".into()]);
        table.row(vec!["b".into(), "RUNNING".into(), "x".into(), String::new()]);
        let expected = "exec_01JABCDEFGHJKMNPQRSTVWXYZ0  FAILED\n    no money\nb  RUNNING  x";
        assert_eq!(table.layout(Style::PLAIN, Some(40)), expected);
    }
}
