//! Lists that come in pages.

use clap::Args;
use serde_json::{Value, json};

use crate::error::Result;
use crate::ui::next::server_options;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json, program};

/// Which pages of a list are shown.
#[derive(Debug, Args)]
pub(super) struct Pages {
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(super) limit: u32,
    /// All pages, one after the other; a page has at most `--limit`
    #[arg(long)]
    all: bool,
    /// Go on after the page that named this cursor
    #[arg(long)]
    pub(super) cursor: Option<String>,
}

/// What is in a list.
pub(super) struct Listed {
    /// The key of the items in `--json`, and the word for them when there are none.
    pub(super) name: &'static str,
    pub(super) word: &'static str,
    /// The command that lists them, with the arguments that it needs.
    pub(super) command: String,
    /// Makes a table of items.
    pub(super) table: fn(Vec<Value>) -> Result<Table>,
}

impl Pages {
    /// Shows a page, or all from it on: `page` reads the one after a cursor, and gives its items and the next cursor.
    pub(super) async fn show(
        self,
        listed: Listed,
        as_json: bool,
        page: impl AsyncFn(Option<String>) -> Result<(Vec<Value>, Option<String>)>,
    ) -> Result<()> {
        let (mut cursor, mut is_first) = (self.cursor, true);
        let next = loop {
            let (items, next) = page(cursor.clone()).await?;
            let is_last = items.is_empty() || next.is_none() || next == cursor;
            let next = next.filter(|_| !is_last);
            match as_json {
                // A page a line: all of them may be more than fits into memory.
                true => print_json(&json!({ listed.name: items, "nextCursor": next }))?,
                false => listed.print(items, is_first)?,
            }
            is_first = false;
            if !self.all || next.is_none() {
                break next;
            }
            cursor = next;
        };
        if let Some(cursor) = next.filter(|_| !as_json) {
            let (command, options) = (listed.command, server_options());
            note(&format!("more: {} {command}{options} --cursor {cursor}, or --all", program()));
        }
        Ok(())
    }
}

impl Listed {
    /// Prints a page; those after the first have no headings.
    fn print(&self, items: Vec<Value>, is_first: bool) -> Result<()> {
        if items.is_empty() {
            if is_first {
                note(&format!("no {} fit", self.word));
            }
            return Ok(());
        }
        let table = (self.table)(items)?;
        let table = if is_first { table } else { table.without_headings() };
        print(&table.render(Style::stdout()))
    }
}
