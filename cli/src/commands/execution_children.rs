//! `heddle executions children`: the runs that a run has invoked, and what `get` says of them.

use clap::Args;

use super::executions::table;
use super::pages::{Listed, Pages};
use crate::client::{Client, Execution, InvokedBy, with_index};
use crate::completion;
use crate::error::Result;
use crate::limits::CHILDREN_SHOWN_MAX;
use crate::ui::next::server_options;
use crate::ui::style::Style;
use crate::ui::{note, print, program};

/// Which run's children.
#[derive(Debug, Args)]
pub(super) struct ChildrenOf {
    /// The run's id
    #[arg(add = completion::executions())]
    id: String,
    #[command(flatten)]
    pages: Pages,
}

impl ChildrenOf {
    pub(super) async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let (id, limit) = (self.id, self.pages.limit);
        let command = format!("executions children {id}");
        let listed = Listed { name: "executions", word: "children", command, table };
        let page = async |cursor: Option<String>| {
            let page = client.children(&id, limit, cursor.as_deref()).await?;
            Ok((page.items, page.next_cursor))
        };
        self.pages.show(listed, as_json, page).await
    }
}

/// Prints the youngest children of a run that runs other workflows.
pub(super) async fn shown(client: &Client, run: &Execution) -> Result<()> {
    let invokes = run.node_runs.iter().any(|node| node.node_type.as_deref() == Some("blueprint:invoke"));
    if !invokes {
        return Ok(());
    }
    let page = client.children(&run.id, CHILDREN_SHOWN_MAX, None).await?;
    if page.items.is_empty() {
        return Ok(());
    }
    print("\nchildren")?;
    print(&table(page.items)?.render(Style::stdout()))?;
    if page.next_cursor.is_some() {
        note(&format!("and more: `{} executions children {}{}`", program(), run.id, server_options()));
    }
    Ok(())
}

/// Who has invoked a run, as a line of its head.
pub(super) fn invoked_by(by: &InvokedBy) -> String {
    let node = by.node_id.as_deref().map(|node| format!(" at {}", with_index(node, &by.index)));
    format!("invoked   by {}{}", by.execution_id, node.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_invoked_a_run_is_one_line() {
        let by = InvokedBy { execution_id: "exec_1".into(), node_id: Some("call".into()), index: vec![2] };
        assert_eq!(invoked_by(&by), "invoked   by exec_1 at call[2]");
        assert_eq!(invoked_by(&InvokedBy { node_id: None, ..by }), "invoked   by exec_1");
    }
}
