//! Tables for eyes. Nothing is cut short, ids least of all.

use console::measure_text_width;

use super::style::Style;

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

    /// The table in so many columns. Where it does not fit, each row becomes a few lines: nothing is cut.
    fn layout(&self, style: Style, width: Option<usize>) -> String {
        let widths: Vec<usize> = (0..self.headings.len()).map(|column| self.width(column)).collect();
        let all = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let Some(width) = width.filter(|width| *width < all) {
            let rows = self.rows.iter().map(|row| self.stacked(row, width, style));
            return rows.collect::<Vec<_>>().join("\n");
        }
        let line = |cells: &[String], paint: &dyn Fn(usize, &str) -> String| {
            let mut text = String::new();
            for (column, cell) in cells.iter().enumerate() {
                text.push_str(&paint(column, cell));
                if column + 1 < cells.len() {
                    text.push_str(&" ".repeat(widths[column] - measure_text_width(cell) + 2));
                }
            }
            text
        };
        let headings = self.shows_headings.then(|| line(&self.headings, &|_, cell| style.dim(cell)));
        let rows = self.rows.iter().map(|row| line(row, &|column, cell| self.paint(column, cell, style)));
        headings.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.chain([&self.headings[column]]).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
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
            let columns = measure_text_width(cell);
            if used > 0 && used + 2 + columns > width {
                text.push_str("\n    ");
                used = 4;
            } else if used > 0 {
                text.push_str("  ");
                used += 2;
            }
            text.push_str(&self.paint(column, cell, style));
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
    fn a_row_that_is_too_wide_takes_more_lines_and_is_not_cut() {
        let mut table = Table::new(&["ID", "STATUS", "NOTE", "ERROR"]);
        table.row(vec!["exec_01JABCDEFGHJKMNPQRSTVWXYZ0".into(), "FAILED".into(), String::new(), "no money".into()]);
        table.row(vec!["b".into(), "RUNNING".into(), "x".into(), String::new()]);
        let expected = "exec_01JABCDEFGHJKMNPQRSTVWXYZ0  FAILED\n    no money\nb  RUNNING  x";
        assert_eq!(table.layout(Style::PLAIN, Some(40)), expected);
    }
}
