//! `heddle workflows`: workflows as files, and the server's.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, Diagnosis, Draft, Problem, Workflow, read_value};
use crate::completion;
use crate::connection::Connection;
use crate::error::{Context, Exit, Failure, Result};
use crate::session::Session;
use crate::ui::clock::parse_since;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json};
use crate::workflow_diff::{Diff, State};
use crate::workflow_file::WorkflowFile;

use super::run::is_of_run;
use super::{workflow_stats, workflow_versions};

/// List, get, apply, lint, count, compare, restore, copy and delete workflows
#[derive(Debug, Args)]
pub struct Workflows {
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
    /// List workflows, newest change first
    List {
        /// Only workflows that have this tag
        #[arg(long)]
        tag: Option<String>,
    },
    /// Get one workflow and its nodes
    // The option takes the place of what prints the command's own version.
    #[command(disable_version_flag = true)]
    Get {
        /// The workflow's id
        #[arg(add = completion::workflows())]
        id: String,
        /// As it was saved then: the number of a version
        #[arg(long)]
        version: Option<u64>,
    },
    /// List the versions of a workflow, newest first: every change of its graph is one
    Versions {
        /// The workflow's id
        #[arg(add = completion::workflows())]
        id: String,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Make the server's workflow what the file says: create it, or replace it if nobody else has meanwhile
    Apply {
        /// The workflow: JSON with `nodes` and `edges`
        file: PathBuf,
        /// Which workflow to replace [default: the file's `id`, else the one workflow of its name, else a new one]
        #[arg(long, add = completion::workflows())]
        id: Option<String>,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what is wrong with a file
    Lint {
        /// The workflow: JSON with `nodes` and `edges`
        file: PathBuf,
    },
    /// Show what apply would change; or, of two numbers, what differs between two versions
    Diff {
        /// The workflow's id
        #[arg(add = completion::workflows())]
        id: String,
        /// The workflow: JSON with `nodes` and `edges`; or the number of the older version
        #[arg(value_name = "FILE|FROM")]
        file: PathBuf,
        /// The number of the newer version
        to: Option<u64>,
    },
    /// Make the graph of a version the newest one again, as a version of its own
    Restore {
        /// The workflow's id
        #[arg(add = completion::workflows())]
        id: String,
        /// The number of the version
        #[arg(value_name = "VERSION")]
        number: u64,
    },
    /// Make a workflow of its own with the same graph
    Duplicate {
        /// The workflow's id
        #[arg(add = completion::workflows())]
        id: String,
        /// What the copy is called [default: the original's name with `(copy)`]
        #[arg(long)]
        name: Option<String>,
    },
    /// Show how runs ended, how long they took, and why they failed
    Stats {
        /// The workflow's id [default: all workflows]
        #[arg(add = completion::workflows())]
        id: Option<String>,
        /// Runs that ended from then on: a time, a date, or how long ago [default: seven days before `--to`]
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        from: Option<i64>,
        /// Up to then, and not with it [default: now]
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        to: Option<i64>,
    },
    /// Delete a workflow; its runs stay
    Delete {
        /// The workflow's id
        #[arg(add = completion::workflows())]
        id: String,
    },
}

impl Workflows {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let Workflows { connection, json, verb } = self;
        if let Verb::Lint { file } = verb {
            return lint(&connection, &WorkflowFile::read(&file)?, json).await;
        }
        let client = connection.client().await?;
        match verb {
            Verb::List { tag } => list(&client, tag.as_deref(), json).await,
            Verb::Get { id, version } => get(&client, &id, version, json).await,
            Verb::Versions { id, limit } => workflow_versions::list(&client, &id, limit as usize, json).await,
            Verb::Restore { id, number } => workflow_versions::restore(&client, &id, number, json).await,
            Verb::Duplicate { id, name } => workflow_versions::duplicate(&client, &id, name.as_deref(), json).await,
            Verb::Apply { file, id, dry_run } => {
                apply(&client, &WorkflowFile::read(&file)?, id.as_deref(), dry_run, json).await
            }
            Verb::Diff { id, file, to: None } => diff(&client, &id, &WorkflowFile::read(&file)?, json).await,
            Verb::Diff { id, file, to: Some(to) } => {
                workflow_versions::diff(&client, &id, number(&file)?, to, json).await
            }
            Verb::Stats { id, from, to } => workflow_stats::show(&client, id.as_deref(), (from, to), json).await,
            Verb::Delete { id } => delete(&client, &id, json).await,
            Verb::Lint { .. } => Ok(()),
        }
    }
}

async fn list(client: &Client, tag: Option<&str>, as_json: bool) -> Result<()> {
    let has = |item: &Value, tag: &str| item["tags"].as_array().is_some_and(|tags| tags.iter().any(|own| own == tag));
    let mut items = client.workflow_list().await?;
    items.retain(|item| tag.is_none_or(|tag| has(item, tag)));
    if as_json {
        return print_json(&json!({ "workflows": items }));
    }
    if items.is_empty() {
        note("no workflows; make one with `heddle workflows apply FILE`");
        return Ok(());
    }
    let mut table = Table::new(&["ID", "NAME", "VERSION", "CHANGED", "TAGS"]);
    for item in items {
        let item: Workflow = read_value(item, "workflow")?;
        table.row(vec![item.id, item.name, item.version.to_string(), item.updated_at, item.tags.join(", ")]);
    }
    print(&table.render(Style::stdout()))
}

/// The number of a version, where a file could stand.
fn number(text: &Path) -> Result<u64> {
    text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let message = format!("{} is not the number of a version", text.display());
        Failure::usage(message).with_next("heddle workflows diff ID FROM TO, or heddle workflows diff ID FILE")
    })
}

async fn get(client: &Client, id: &str, version: Option<u64>, as_json: bool) -> Result<()> {
    let value = match version {
        None => client.workflow(id).await?,
        Some(version) => client.version(id, version).await?,
    };
    if as_json {
        return print_json(&value);
    }
    let style = Style::stdout();
    if version.is_some() {
        print(&format!("{}  {}", style.bold(id), workflow_versions::head(&value)?))?;
        return show_nodes(&read_value(value, "version")?, style);
    }
    let item: Workflow = read_value(value, "workflow")?;
    print(&format!("{}  {}", style.bold(&item.id), item.name))?;
    if let Some(description) = item.description.as_ref().filter(|text| !text.is_empty()) {
        print(description)?;
    }
    print(&format!("version {}, changed {}", item.version, item.updated_at))?;
    if !item.tags.is_empty() {
        print(&format!("tags {}", item.tags.join(", ")))?;
    }
    show_nodes(&item, style)
}

fn show_nodes(item: &Workflow, style: Style) -> Result<()> {
    let mut table = Table::new(&["NODE", "TYPE", "LABEL", "AFTER"]);
    for node in &item.nodes {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let before = item.edges.iter().filter(|edge| edge["target"] == node["id"]).map(|edge| text(&edge["source"]));
        let (kind, label) = (text(&node["data"]["nodeType"]), text(&node["data"]["label"]));
        table.row(vec![text(&node["id"]), kind, label, before.collect::<Vec<_>>().join(", ")]);
    }
    print("")?;
    print(&table.render(style))
}

/// Where a file goes: over a workflow, or beside the others.
async fn target(client: &Client, file: &WorkflowFile, id: Option<&str>) -> Result<Option<Workflow>> {
    let named = id.or(file.about.id.as_deref()).filter(|id| !id.is_empty());
    let id = match named {
        Some(id) => id.to_owned(),
        None => {
            let known = client.workflows().await?;
            let mut fitting = known.iter().filter(|workflow| workflow.name == file.title() && !is_of_run(workflow));
            match (fitting.next(), fitting.next()) {
                (None, _) => return Ok(None),
                (Some(one), None) => one.id.clone(),
                (Some(one), Some(two)) => {
                    let ids: Vec<&str> = [one, two].into_iter().chain(fitting).map(|known| &*known.id).collect();
                    let message = format!("{} workflows are called {:?}: {}", ids.len(), file.title(), ids.join(", "));
                    let next = "name one: heddle workflows apply FILE --id ID";
                    return Err(Failure::new(Exit::Conflict, message).with_next(next));
                }
            }
        }
    };
    read_value(client.workflow(&id).await?, "workflow").map(Some)
}

/// What differs between the server's workflow and a file; a file that is silent about name, description or tags
/// changes none of them.
fn difference(current: &Workflow, file: &WorkflowFile) -> Result<Diff> {
    let array = |text: &str| serde_json::from_str::<Vec<Value>>(text).context(Exit::Usage, "the file cannot be read");
    let (nodes, edges) = (array(file.nodes.get())?, array(file.edges.get())?);
    let policy = file.policy.as_ref().map(|text| serde_json::from_str::<Value>(text.get())).transpose();
    let policy = policy.context(Exit::Usage, "the file cannot be read")?;
    let before = State {
        name: Some(&current.name),
        description: Some(current.description.as_deref().unwrap_or_default()),
        tags: Some(&current.tags),
        nodes: &current.nodes,
        edges: &current.edges,
        policy: current.policy.as_ref(),
    };
    let after = State {
        name: file.about.name.as_deref(),
        description: file.about.description.as_deref(),
        tags: file.about.tags.as_deref(),
        nodes: &nodes,
        edges: &edges,
        policy: policy.as_ref(),
    };
    Ok(Diff::between(before, after))
}

/// What became of a file that was applied, or would become of it.
struct Applied {
    action: &'static str,
    id: Option<String>,
    version: Option<u64>,
    warnings: Vec<String>,
}

async fn apply(client: &Client, file: &WorkflowFile, id: Option<&str>, dry_run: bool, as_json: bool) -> Result<()> {
    let current = target(client, file, id).await?;
    let diff = difference(&current.clone().unwrap_or_default(), file)?;
    let applied = match &current {
        Some(current) if diff.is_empty() => Applied {
            action: "unchanged",
            id: Some(current.id.clone()),
            version: Some(current.version),
            warnings: Vec::new(),
        },
        current if dry_run => would_save(client, file, current.as_ref()).await?,
        current => save(client, file, current.as_ref()).await?,
    };
    if as_json {
        let Applied { action, id, version, warnings } = applied;
        return print_json(&json!({
            "action": action, "dryRun": dry_run, "id": id, "name": file.title(), "version": version,
            "changes": diff, "warnings": warnings,
        }));
    }
    note_warnings(&applied.warnings);
    let style = Style::stdout();
    let word = match (applied.action, dry_run) {
        ("created", true) => "would create",
        ("updated", true) => "would update",
        (action, _) => action,
    };
    let version = applied.version.map(|version| format!("  version {version}")).unwrap_or_default();
    let place = applied.id.map(|id| format!("  {id}")).unwrap_or_default();
    print(&format!("{}{place}  {}{version}", style.bold(word), file.title()))?;
    // What is new as a whole needs no list of its parts.
    if current.is_some() {
        diff.render(style).iter().try_for_each(|line| print(line))?;
    }
    Ok(())
}

/// What saving would do, if the server would take the file.
async fn would_save(client: &Client, file: &WorkflowFile, current: Option<&Workflow>) -> Result<Applied> {
    let diagnosis = client.lint(file).await?;
    refuse(&diagnosis)?;
    Ok(Applied {
        action: if current.is_some() { "updated" } else { "created" },
        id: current.map(|current| current.id.clone()),
        version: current.map(|current| current.version),
        warnings: texts(&diagnosis.warnings),
    })
}

/// Saves the file as a new workflow, or over the one that was compared, unless somebody has saved that since.
async fn save(client: &Client, file: &WorkflowFile, current: Option<&Workflow>) -> Result<Applied> {
    let draft = Draft {
        name: file.about.name.as_deref().or_else(|| current.map(|current| &*current.name)).unwrap_or(&file.name),
        description: file.about.description.as_deref(),
        tags: file.about.tags.as_deref(),
        nodes: &file.nodes,
        edges: &file.edges,
        policy: file.policy.as_deref(),
        base_updated_at: current.map(|current| &*current.updated_at),
    };
    let saved = client.save(current.map(|current| &*current.id), &draft).await?;
    Ok(Applied {
        action: if current.is_some() { "updated" } else { "created" },
        id: Some(saved.id.clone()),
        version: Some(saved.version),
        warnings: texts(&saved.warnings()),
    })
}

async fn diff(client: &Client, id: &str, file: &WorkflowFile, as_json: bool) -> Result<()> {
    let current: Workflow = read_value(client.workflow(id).await?, "workflow")?;
    let diff = difference(&current, file)?;
    if as_json {
        return print_json(&json!({ "id": id, "version": current.version, "same": diff.is_empty(), "changes": diff }));
    }
    if diff.is_empty() {
        note("no difference");
    }
    diff.render(Style::stdout()).iter().try_for_each(|line| print(line))
}

async fn lint(connection: &Connection, file: &WorkflowFile, as_json: bool) -> Result<()> {
    let session = Session::open(connection).await?;
    let diagnosis = session.client().lint(file).await;
    session.close().await?;
    let diagnosis = diagnosis?;
    if as_json {
        print_json(&diagnosis)?;
        return if diagnosis.ok { Ok(()) } else { Err(verdict(&diagnosis)) };
    }
    let style = Style::stdout();
    for found in &diagnosis.violations {
        print(&format!("{} {}", style.red("error:"), found))?;
    }
    for found in &diagnosis.warnings {
        print(&format!("{} {}", style.yellow("warning:"), found))?;
    }
    for migration in &diagnosis.migrations {
        print(&format!("{} {migration}", style.dim("read as newer:")))?;
    }
    match diagnosis.ok {
        true => print(&format!("{}  {}", style.green("ok"), file.title())),
        false => Err(verdict(&diagnosis)),
    }
}

/// Sentences for people and for `--json`.
pub(super) fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Tells people what is odd in their file.
pub(super) fn note_warnings(warnings: &[String]) {
    warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
}

fn verdict(diagnosis: &Diagnosis) -> Failure {
    let message = match diagnosis.violations.len() {
        1 => "the workflow has one error".to_owned(),
        errors => format!("the workflow has {errors} errors"),
    };
    Failure::usage(message).with_next("change the file as said; `heddle nodes get TYPE` tells what a node takes")
}

/// The failure that a graph is which the server would not take.
fn refuse(diagnosis: &Diagnosis) -> Result<()> {
    if diagnosis.ok {
        return Ok(());
    }
    let mut failure = verdict(diagnosis);
    for found in &diagnosis.violations {
        failure.message.push_str("\n  - ");
        failure.message.push_str(&found.to_string());
    }
    Err(failure)
}

async fn delete(client: &Client, id: &str, as_json: bool) -> Result<()> {
    client.delete_workflow(id).await?;
    if as_json {
        return print_json(&json!({ "id": id, "deleted": true }));
    }
    print(&format!("deleted  {id}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::{Json, Router, routing::get};

    use super::*;

    /// A server whose workflow somebody saves between the comparing and the saving.
    #[tokio::test]
    async fn a_save_that_comes_too_late_is_a_conflict() {
        let sent = Arc::new(Mutex::new(Value::Null));
        let log = sent.clone();
        let known =
            json!({"id": "wf_1", "name": "w", "updatedAt": "2026-05-02T09:00:00.000Z", "nodes": [], "edges": []});
        let read = || async move { Json(known) };
        let write = |Json(body): Json<Value>| async move {
            *log.lock().unwrap() = body;
            let body = json!({"error": "changed since", "code": "stale_write", "message": "changed since"});
            (StatusCode::CONFLICT, Json(body)).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let router = Router::new().route("/api/v1/workflows/{id}", get(read).put(write));
        tokio::spawn(async move { axum::serve(listener, router).await });

        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("w.json");
        std::fs::write(&path, json!({"nodes": [{"id": "a", "data": {}}], "edges": []}).to_string()).unwrap();
        let file = WorkflowFile::read(&path).unwrap();
        let failure = apply(&client, &file, Some("wf_1"), false, true).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.next.unwrap().contains("workflows diff"));
        let sent = sent.lock().unwrap();
        assert_eq!((&sent["baseUpdatedAt"], &sent["name"]), (&json!("2026-05-02T09:00:00.000Z"), &json!("w")));
        assert!(sent.get("tags").is_none() && sent.get("description").is_none(), "what the file does not say stays");
    }
}
