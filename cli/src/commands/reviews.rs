//! `heddle reviews`: what runs ask of people, and what they answer.

use std::io::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::pages::{Listed, Pages};
use crate::client::{Client, Decision, Large, Review, ReviewFilter, error_text, with_index};
use crate::completion;
use crate::connection::Connection;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{EDIT_BYTES_MAX, EDIT_SENT_BYTES_MAX, RESULT_SHOWN_CHARS_MAX};
use crate::review_edit::Edit;
use crate::text_file;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, plain, print, print_json, program};

/// List reviews and decide them
#[derive(Debug, Args)]
pub struct Reviews {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List reviews that are open, the oldest first
    List(List),
    /// Get one review: what is asked, about what, and what was decided
    Get {
        /// The review's id
        #[arg(add = completion::reviews())]
        id: String,
    },
    /// Approve, as it is or as edited elsewhere
    Approve {
        /// Reviews' ids
        #[arg(required = true, value_name = "ID", add = completion::reviews())]
        ids: Vec<String>,
        /// What goes on in its place: a text or JSON, @FILE, or @- (the standard input)
        #[arg(long, value_name = "VALUE")]
        data: Option<String>,
        /// For its history
        #[arg(long)]
        comment: Option<String>,
    },
    /// Edit what is asked about in $VISUAL or $EDITOR, and approve that
    Edit {
        /// The review's id
        #[arg(add = completion::reviews())]
        id: String,
        /// For its history
        #[arg(long)]
        comment: Option<String>,
    },
    /// Reject
    Reject {
        /// Reviews' ids
        #[arg(required = true, value_name = "ID", add = completion::reviews())]
        ids: Vec<String>,
        /// Why
        #[arg(long)]
        comment: Option<String>,
    },
    /// Have the node that is reviewed run again
    Retry {
        /// The review's id
        #[arg(add = completion::reviews())]
        id: String,
        /// Keys of the node's config to change: a JSON object, @FILE, or @- (the standard input)
        // `--config` is every command's.
        #[arg(long, value_name = "JSON")]
        set: Option<String>,
        /// Why
        #[arg(long)]
        comment: Option<String>,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only reviews that stand so
    #[arg(long, ignore_case = true, default_value = "open")]
    state: State,
    /// Only those that this subject may decide
    #[arg(long, value_name = "SUBJECT")]
    assignee: Option<String>,
    /// Only those of runs of this workflow
    #[arg(long, value_name = "ID", add = completion::workflows())]
    workflow: Option<String>,
    /// Only those of this run
    #[arg(long, value_name = "ID", add = completion::executions())]
    execution: Option<String>,
    #[command(flatten)]
    pages: Pages,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Decided,
    Withdrawn,
    All,
}

impl Reviews {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::List(list) => list.run(&client, self.json).await,
            Verb::Get { id } => get(&client, &id, self.json).await,
            Verb::Approve { ids, data: Some(data), comment } => {
                let [id] = ids.as_slice() else {
                    return Err(Failure::usage("an edit is of one review; name one with --data"));
                };
                let text = text_file::given(&data, EDIT_BYTES_MAX)?;
                let mut review = read(client.review(id).await?)?;
                client.spell_out(&mut review).await?;
                approve_edited(&client, &Edit::of(&review)?, &review, &text, comment, self.json).await
            }
            Verb::Approve { ids, data: None, comment } => {
                each(&client, &ids, &Decision { decision: "approve", comment, ..Decision::default() }, self.json).await
            }
            Verb::Edit { id, comment } => {
                let mut review = read(client.review(&id).await?)?;
                refuse_closed(&review)?;
                client.spell_out(&mut review).await?;
                let edit = Edit::of(&review)?;
                let written = edit.in_editor()?;
                let sent = approve_edited(&client, &edit, &review, &written.text, comment, self.json).await;
                sent.map_err(|failure| written.refused(failure))
            }
            Verb::Reject { ids, comment } => {
                each(&client, &ids, &Decision { decision: "reject", comment, ..Decision::default() }, self.json).await
            }
            Verb::Retry { id, set, comment } => {
                let config = set.map(|given| config_of(&text_file::given(&given, EDIT_BYTES_MAX)?)).transpose()?;
                let decision = Decision { decision: "retry", config, comment, ..Decision::default() };
                each(&client, &[id], &decision, self.json).await
            }
        }
    }
}

impl List {
    async fn run(self, client: &Client, as_json: bool) -> Result<()> {
        let state = self.state.to_possible_value().map(|state| state.get_name().to_owned());
        let filter = ReviewFilter {
            state,
            assignee: self.assignee,
            workflow_id: self.workflow,
            execution_id: self.execution,
            limit: self.pages.limit,
            cursor: None,
        };
        let listed = Listed { name: "reviews", word: "reviews", command: "reviews list".into(), table: table_of };
        let page = async |cursor| client.reviews(&ReviewFilter { cursor, ..filter.clone() }).await;
        self.pages.show(listed, as_json, page).await
    }
}

fn table_of(items: Vec<Value>) -> Result<Table> {
    Ok(table(&items.into_iter().map(read).collect::<Result<Vec<_>>>()?))
}

fn table(reviews: &[Review]) -> Table {
    let mut table = Table::new(&["ID", "STATE", "TITLE", "NODE", "ASKS", "OPENED", "DUE", "ASSIGNEES", "EXECUTION"]);
    for review in reviews {
        let state = review.decided.as_ref().map_or(&review.state, |decided| &decided.decision);
        table.row(vec![
            review.id.clone(),
            state.clone(),
            review.title.clone(),
            with_index(&review.node_id, &review.index),
            asks(review).to_owned(),
            review.opened_at.clone(),
            review.due_at.clone().unwrap_or_default(),
            review.assignees.join(" "),
            review.execution_id.clone(),
        ]);
    }
    table
}

/// What a review is about, in a word or two.
fn asks(review: &Review) -> &'static str {
    match (review.kind.as_str(), review.stage.as_deref()) {
        ("outcome", _) => "outcome",
        (_, Some("before")) => "before work",
        (_, Some(_)) => "after work",
        _ => "value",
    }
}

async fn get(client: &Client, id: &str, as_json: bool) -> Result<()> {
    let value = client.review(id).await?;
    if as_json {
        return print_json(&value);
    }
    let review = read(value)?;
    print(&whole(&review, Style::stdout())?)?;
    if review.state == "open" {
        note(&format!("next: {}", answers(&review)));
    }
    Ok(())
}

/// The commands that decide it.
fn answers(review: &Review) -> String {
    let verbs =
        review.allow.iter().map(String::as_str).filter(|verb| ["approve", "edit", "reject", "retry"].contains(verb));
    format!("{} reviews {} {}", program(), verbs.collect::<Vec<_>>().join("|"), review.id)
}

fn whole(review: &Review, style: Style) -> Result<String> {
    let mut lines = vec![format!("{}  {}", style.bold(&review.id), review.state)];
    let mut say = |name: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("{name:<9} {}", text.replace(char::is_control, " ")));
        }
    };
    say("title", &review.title);
    say("node", &with_index(&review.node_id, &review.index));
    say("asks", asks(review));
    say("execution", &review.execution_id);
    say("opened", &review.opened_at);
    if let Some(due) = &review.due_at {
        say("due", &format!("{due}, then {}", review.on_timeout.as_deref().unwrap_or("nothing")));
    }
    say("assignees", &review.assignees.join(" "));
    if review.required > 1 {
        say("approvals", &format!("{} of {}", review.approvals, review.required));
    }
    if let Some(error) = review.error.as_ref().filter(|error| !error.is_null()) {
        say("known", &error_text(error));
    }
    if !review.description.is_empty() {
        lines.push(format!("\n{}", plain(&review.description)));
    }
    let large = Large::of(&review.value).filter(|_| review.is_whole());
    let value = match &large {
        Some(large) => format!("{} bytes: {}", large.bytes, large.url),
        None => cut(Edit::of(review)?.text()),
    };
    lines.push(format!("\n{value}"));
    lines.extend(review.original.as_ref().map(|_| style.dim("(an edit; the first version is in --json as original)")));
    for entry in &review.history {
        let (decided, data) = (&entry.decided, entry.data.as_ref());
        lines.push(format!("\n{}", style.dim(&decided.text().replace(char::is_control, " "))));
        lines.extend(data.map(|data| cut(&data.as_str().map_or_else(|| data.to_string(), str::to_owned))));
        lines.extend(entry.config.as_ref().map(|config| cut(&config.to_string())));
    }
    Ok(lines.join("\n"))
}

/// A text that may have many lines, cut where it grows long.
fn cut(text: &str) -> String {
    match text.char_indices().nth(RESULT_SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}… (whole with --json)", plain(&text[..end])),
        None => plain(text),
    }
}

/// Shows what an edit changes, and approves it, if nobody has decided anything since it was read.
async fn approve_edited(
    client: &Client,
    edit: &Edit<'_>,
    review: &Review,
    text: &str,
    comment: Option<String>,
    as_json: bool,
) -> Result<()> {
    let data = edit.read(text)?;
    if !as_json {
        note(&edit.diff(&data, Style::stderr()));
    }
    let data = if review.is_whole() { sendable(client, data).await? } else { data };
    let revision = Some(review.revision);
    let decision = Decision { decision: "approve", data: Some(data), comment, revision, ..Decision::default() };
    each(client, std::slice::from_ref(&review.id), &decision, as_json).await
}

/// An edit as it is sent: one that is too large for a request goes ahead as a file, and its description stands for it.
async fn sendable(client: &Client, data: Value) -> Result<Value> {
    let text = data.to_string();
    if text.len() <= EDIT_SENT_BYTES_MAX {
        return Ok(data);
    }
    let file = tempfile::Builder::new().prefix("heddle-review-").suffix(".json").tempfile();
    let mut file = file.context(Exit::Failed, "cannot make a file to upload")?;
    file.write_all(text.as_bytes()).context(Exit::Failed, "cannot write the file to upload")?;
    client.upload(file.path(), "application/json").await
}

/// Decides these reviews alike, until one of them refuses.
async fn each(client: &Client, ids: &[String], decision: &Decision, as_json: bool) -> Result<()> {
    for (place, id) in ids.iter().enumerate() {
        let value = client.decide(id, decision).await.map_err(|mut failure| {
            if ids.len() > 1 {
                failure.message = format!("{id}: {}", failure.message);
            }
            let left = &ids[place + 1..];
            if !left.is_empty() {
                failure.message = format!("{}\n  not decided either: {}", failure.message, left.join(" "));
            }
            failure
        })?;
        if as_json {
            print_json(&value)?;
            continue;
        }
        print(&outcome(&read(value)?))?;
    }
    Ok(())
}

/// What a decision has led to, on one line.
fn outcome(review: &Review) -> String {
    let node = with_index(&review.node_id, &review.index);
    match (&review.decided, review.required.saturating_sub(review.approvals)) {
        (Some(decided), _) => format!("{}  {}  {node}", review.id, decided.decision),
        (None, left) => format!("{}  {}  {node}, {left} more to approve", review.id, review.state),
    }
}

fn refuse_closed(review: &Review) -> Result<()> {
    if review.state == "open" {
        return Ok(());
    }
    let how = review.decided.as_ref().map_or_else(|| "its run is over".to_owned(), |decided| decided.text());
    Err(Failure::new(Exit::Conflict, format!("{} is not open any more: {how}", review.id)))
}

fn config_of(text: &str) -> Result<Value> {
    let value: Value = serde_json::from_str(text).context(Exit::Usage, "--set is no JSON")?;
    match value.is_object() {
        true => Ok(value),
        false => Err(Failure::usage("--set is no JSON object")),
    }
}

fn read(value: Value) -> Result<Review> {
    serde_json::from_value(value).context(Exit::Failed, "the server's review cannot be read")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review() -> Value {
        json!({
            "id": "rev_1", "executionId": "exec_1", "workflowId": "wf_1", "nodeId": "check", "index": [3], "kind": "review",
            "state": "open", "assignees": ["ada", "grace"], "openedAt": "2026-05-02T09:00:00.000Z",
            "dueAt": "2026-05-03T09:00:00.000Z", "closedAt": null, "decided": null, "title": "Check the draft",
            "description": "Is it *true*?", "value": "A draft.", "schema": null,
            "ports": [{"port": "value", "type": "TEXT", "list": false}], "allow": ["approve", "edit", "reject"],
            "required": 2, "approvals": 1, "onTimeout": "reject", "revision": 1,
            "history": [{"decision": "approve", "by": "ada", "at": "2026-05-02T09:30:00.000Z", "comment": "fine",
                "edited": true, "last": false, "data": "A text."}],
        })
    }

    #[test]
    fn a_review_reads_well_in_plain_text() {
        let review = read(review()).unwrap();
        assert_eq!(
            whole(&review, Style::PLAIN).unwrap(),
            "rev_1  open\ntitle     Check the draft\nnode      check[3]\nasks      value\nexecution exec_1\n\
             opened    2026-05-02T09:00:00.000Z\ndue       2026-05-03T09:00:00.000Z, then reject\n\
             assignees ada grace\napprovals 1 of 2\n\nIs it *true*?\n\nA draft.\n\n\
             approve with an edit by ada at 2026-05-02T09:30:00.000Z: fine\nA text."
        );
        assert!(answers(&review).ends_with(" reviews approve|edit|reject rev_1"));
        assert_eq!(outcome(&review), "rev_1  open  check[3], 1 more to approve");
        let table = table(&[review]).render(Style::PLAIN);
        assert!(table.contains("rev_1  open   Check the draft  check[3]  value  2026-05-02T09:00:00.000Z"), "{table}");
    }

    #[test]
    fn what_an_option_gives_may_lie_in_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("draft.txt");
        std::fs::write(&path, "A text.\n").unwrap();
        assert_eq!(text_file::given(&format!("@{}", path.display()), 100).unwrap(), "A text.\n");
        assert_eq!(text_file::given("A text.", 100).unwrap(), "A text.");
        assert_eq!(text_file::given("@@home", 100).unwrap(), "@home");
        assert!(text_file::given("@nowhere", 100).is_err());
        assert!(config_of("[]").is_err() && config_of("x").is_err());
        assert_eq!(config_of("{\"width\":3}").unwrap(), json!({"width": 3}));
    }
}
