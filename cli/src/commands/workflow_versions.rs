//! `heddle workflows versions`, `restore`, `duplicate`, and what of `get` and `diff` is about versions.

use serde_json::{Value, json};

use crate::client::{Client, KeyDifference, NodeDifference, Version, VersionDifference, read_value};
use crate::error::Result;
use crate::ui::next::server_options;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json, program};
use crate::workflow_diff::{Diff, KeyChange, Kind, PartChange, edge_name};

/// Digits of a hash that tell versions apart.
const HASH_SHOWN: usize = 12;

pub(super) async fn list(client: &Client, id: &str, limit: usize, as_json: bool) -> Result<()> {
    let (versions, more) = client.versions(id, limit).await?;
    if as_json {
        return print_json(&json!({ "versions": versions }));
    }
    let mut table = Table::new(&["VERSION", "SAVED", "BY", "HASH", ""]);
    for item in versions {
        let item: Version = read_value(item, "list of versions")?;
        let hash = item.content_hash.chars().take(HASH_SHOWN).collect();
        let mark = if item.is_current { "current" } else { "" };
        table.row(vec![item.version.to_string(), item.created_at, item.created_by, hash, mark.to_owned()]);
    }
    print(&table.render(Style::stdout()))?;
    if more {
        let limit = limit.saturating_mul(2);
        let options = server_options();
        note(&format!("there are older ones: {} workflows versions {id}{options} --limit {limit}", program()));
    }
    Ok(())
}

/// A line about a version, over its nodes.
pub(super) fn head(value: &Value) -> Result<String> {
    let item: Version = read_value(value.clone(), "version")?;
    let mark = if item.is_current { ", the current one" } else { "" };
    Ok(format!("version {}{mark}, saved {} by {}", item.version, item.created_at, item.created_by))
}

pub(super) async fn restore(client: &Client, id: &str, version: u64, as_json: bool) -> Result<()> {
    let (before, _) = client.versions(id, 1).await?;
    let workflow = client.restore_version(id, version).await?;
    if as_json {
        return print_json(&workflow);
    }
    if before.first().is_some_and(|newest| newest["version"] == workflow["version"]) {
        let newest = &workflow["version"];
        return print(&format!(
            "unchanged  {id}  what version {version} holds is current already, as version {newest}"
        ));
    }
    print(&format!("restored  {id}  version {version} as version {}", workflow["version"]))
}

pub(super) async fn duplicate(client: &Client, id: &str, name: Option<&str>, as_json: bool) -> Result<()> {
    let copy = client.duplicate_workflow(id, name).await?;
    if as_json {
        return print_json(&copy);
    }
    let text = |name: &str| copy[name].as_str().unwrap_or_default();
    print(&format!("created  {}  {}", text("id"), text("name")))
}

pub(super) async fn diff(client: &Client, id: &str, from: u64, to: u64, as_json: bool) -> Result<()> {
    let value = client.version_difference(id, from, to).await?;
    if as_json {
        return print_json(&value);
    }
    let found: VersionDifference = read_value(value, "difference")?;
    if found.identical {
        note("no difference");
    }
    shown(&found).render(Style::stdout()).iter().try_for_each(|line| print(line))?;
    for input in &found.edges.reordered {
        let target = json!({ "target": input["target"], "targetHandle": input["targetHandle"] });
        let name = edge_name(&target);
        print(&Style::stdout().yellow(&format!("~ order of edges {}", name.trim_start())))?;
    }
    if found.truncated {
        note("there is more; the rest is left out");
    }
    Ok(())
}

/// As files are compared.
fn shown(found: &VersionDifference) -> Diff {
    let VersionDifference { nodes, edges, policy, .. } = found;
    let part = |change: Kind| {
        move |node: &NodeDifference| PartChange {
            change,
            id: node.node_id.clone(),
            label: node.label.clone(),
            node_type: node.node_type.clone(),
            keys: node.changes.iter().map(key).collect(),
        }
    };
    let edge = |change: Kind| {
        let plain = move |id: String| PartChange { change, id, label: None, node_type: None, keys: Vec::new() };
        move |edge: &Value| plain(edge_name(edge))
    };
    let changed = nodes.changed.iter().map(part(Kind::Changed));
    let removed = nodes.removed.iter().map(part(Kind::Removed));
    let lost = edges.removed.iter().map(edge(Kind::Removed));
    Diff {
        fields: policy.iter().map(key).collect(),
        nodes: changed.chain(removed).chain(nodes.added.iter().map(part(Kind::Added))).collect(),
        edges: lost.chain(edges.added.iter().map(edge(Kind::Added))).collect(),
        moved: nodes.moved.len(),
    }
}

fn key(found: &KeyDifference) -> KeyChange {
    let said = |value: &Option<Value>| match found.left_out {
        true => Some(Value::from("…")),
        false => value.clone(),
    };
    KeyChange { key: found.key.clone(), before: said(&found.before), after: said(&found.after) }
}
