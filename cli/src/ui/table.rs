//! Tables for eyes. Nothing is cut short, ids least of all.

use super::style::Style;

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&str]) -> Self {
        Table { headings: headings.iter().map(|heading| (*heading).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the headings are left out. Line ends and control characters become spaces.
    pub fn row(&mut self, cells: Vec<String>) {
        let clean = |cell: String| cell.replace(char::is_control, " ");
        self.rows.push(cells.into_iter().take(self.headings.len()).map(clean).collect());
    }

    /// The table as text. Cells of a column headed `STATUS` are coloured.
    pub fn render(&self, style: Style) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain([&self.headings[column]]).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: &[String], paint: &dyn Fn(usize, &str) -> String| {
            let mut text = String::new();
            for (column, cell) in cells.iter().enumerate() {
                text.push_str(&paint(column, cell));
                if column + 1 < cells.len() {
                    text.push_str(&" ".repeat(widths[column] - cell.chars().count() + 2));
                }
            }
            text
        };
        let mut lines = vec![line(&self.headings, &|_, cell| style.dim(cell))];
        let status = self.headings.iter().position(|heading| heading == "STATUS");
        let paint =
            |column: usize, cell: &str| if Some(column) == status { style.status(cell) } else { cell.to_owned() };
        lines.extend(self.rows.iter().map(|row| line(row, &paint)));
        lines.join("\n")
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
        assert_eq!(table.render(Style::PLAIN), expected);
    }
}
