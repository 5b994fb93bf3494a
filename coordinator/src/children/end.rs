//! What a child has come to, as its parent keeps it: values of its results are copied, and its artifacts referred to, so that it need
//! not be kept for its parent's sake.

use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{Instance, NodeIx, PortIx, RunId};
use heddle_core::limits::{CHILD_LIST_ITEMS_MAX, CHILD_OUTPUTS_BYTES_MAX, INLINE_VALUE_BYTES_MAX};
use heddle_core::run::event::{ErrorClass, NodeError, OutputValue};
use heddle_core::run::{ChildCause, ChildEnd, ChildGave, ChildValue, RunStatus};
use heddle_core::value::Value;
use serde_json::value::RawValue;

use super::{NotNow, kept, one_value, refused, row};
use crate::auth::Tenant;
use crate::journal::RunRow;
use crate::read::items::Item;
use crate::read::runs;
use crate::read::values::{self, Of, Read};
use crate::shared::Shared;

/// The output that gives all that a child gave, and the one that names it.
const OUTPUTS: &str = "outputs";
const EXECUTION_ID: &str = "executionId";

/// What a child has come to.
///
/// # Errors
/// [`NotNow`]: it may be otherwise a moment later.
pub(crate) async fn end(
    shared: &Arc<Shared>,
    parent: RunId,
    instance: Instance,
    child: RunId,
) -> Result<ChildEnd, NotNow> {
    let row = row(shared, child).await?;
    let outcome = match row.summary.status {
        _ if row.quarantine_reason.is_some() => {
            let message = format!("the run {child} was set aside: its data could not be kept or read");
            Err(refused(ErrorClass::Internal, "child_failed", message))
        }
        RunStatus::Running => return Err(NotNow::NotThere(child)),
        RunStatus::Completed => gave(shared, &row, parent, instance).await?,
        RunStatus::Failed | RunStatus::Cancelled => Err(failed(shared, &row).await?),
    };
    Ok(ChildEnd { instance, child, outcome })
}

/// Why the node fails: its child, and what that one failed with. If that was a child in its turn, the innermost one is named.
async fn failed(shared: &Arc<Shared>, row: &RunRow) -> Result<NodeError, NotNow> {
    let (child, workflow) = (row.run, row.created.workflow);
    let error = row.summary.error.as_ref();
    if row.summary.status == RunStatus::Cancelled {
        let why = error.map_or_else(String::new, |error| format!(": {}", error.message));
        let message = ChildCause::new(child, workflow, &format!("was cancelled{why}")).to_string();
        return Ok(refused(ErrorClass::Cancelled, "child_cancelled", message));
    }
    let Some(error) = error else {
        let message = ChildCause::new(child, workflow, "failed").to_string();
        return Ok(refused(ErrorClass::Internal, "child_failed", message));
    };
    let class = error.class.unwrap_or(ErrorClass::Internal);
    let mut at = String::new();
    if let Some(node) = error.node {
        let graph = runs::graph_of(shared, row).await?;
        let is_of_child = graph.invoke(node).is_some() && matches!(&*error.code, "child_failed" | "child_cancelled");
        if let Some(cause) = ChildCause::parse(&error.message).filter(|_| is_of_child) {
            return Ok(refused(class, "child_failed", cause.from_above().to_string()));
        }
        at = graph.get(node).map_or_else(String::new, |node| format!(" at node \"{}\"", node.id));
    }
    let what = format!("failed{at} with {}: {}", error.code, error.message);
    Ok(refused(class, "child_failed", ChildCause::new(child, workflow, &what).to_string()))
}

/// What the child's results hold, for those outputs of the node that something may look at.
async fn gave(
    shared: &Arc<Shared>,
    row: &RunRow,
    parent: RunId,
    instance: Instance,
) -> Result<Result<ChildGave, NodeError>, NotNow> {
    let parent = super::row(shared, parent).await?;
    let tenant = Tenant::of_run(&row.created);
    let parents_graph = runs::graph_of(shared, &parent).await?;
    let graph = runs::graph_of(shared, row).await?;
    let seen = runs::seen(shared, row, Arc::clone(&graph)).await?;
    let (view, values) = (&seen.view, &seen.values);
    let (mut found, mut room) = (Vec::new(), CHILD_OUTPUTS_BYTES_MAX);
    for ix in graph.results() {
        let Some(output) = view.run().output(ix, PortIx(0)) else { continue };
        match values::item(shared, Of { tenant: &tenant, run: row.run, kept: values }, output, room).await? {
            None => {}
            Some(Read::Item(item)) => {
                room = room.saturating_sub(length(&item));
                found.push((ix, item));
            }
            Some(Read::LeftOut(_)) => {
                let message = format!(
                    "the run {} gave more than {CHILD_OUTPUTS_BYTES_MAX} bytes beside artifacts; let it give less, or one \
                     large value, which becomes an artifact",
                    row.run
                );
                return Ok(Err(refused(ErrorClass::InvalidRequest, "child_outputs_too_large", message)));
            }
        }
    }
    let mut held = Vec::new();
    found.iter().for_each(|(_, item)| artifacts(item, &mut held));
    let mut outputs = vec![
        (Arc::from(OUTPUTS), ChildValue::One(kept(shared, &tenant, together(&graph, &found).into()).await?)),
        (Arc::from(EXECUTION_ID), ChildValue::One(Value::from_json(format!("\"{}\"", row.run).into()))),
    ];
    let (_, wanted) = parents_graph.child_ports(instance.node);
    for name in wanted {
        let place = graph.find_result(&name).and_then(|ix| found.iter().find(|(known, _)| *known == ix));
        let Some((ix, item)) = place else { continue };
        let is_list = view.run().output(*ix, PortIx(0)).is_some_and(OutputValue::is_list);
        let value = match items_of(item, is_list) {
            Some(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(one_value(shared, &tenant, item).await?);
                }
                ChildValue::List(list)
            }
            None if is_list => ChildValue::Array(one_value(shared, &tenant, item.clone()).await?),
            None => ChildValue::One(one_value(shared, &tenant, item.clone()).await?),
        };
        outputs.push((name, value));
    }
    Ok(Ok(ChildGave { outputs, held }))
}

/// The items of a list that is kept item by item.
fn items_of(item: &Item, is_list: bool) -> Option<Vec<Item>> {
    let items = match item {
        Item::List(items) => items.clone(),
        Item::One(value) if is_list && value.artifact().is_none() => {
            let items: Vec<&RawValue> = serde_json::from_slice(value.json()).ok()?;
            items.into_iter().map(|item| Item::One(Value::from_json(item.get().to_owned().into()))).collect()
        }
        _ => return None,
    };
    let fits = |item: &Item| !matches!(item, Item::One(value) if value.json().len() > INLINE_VALUE_BYTES_MAX);
    (items.len() <= CHILD_LIST_ITEMS_MAX && items.iter().all(fits)).then_some(items)
}

/// All results in one object, by their names; of artifacts their descriptions.
fn together(graph: &Graph, found: &[(NodeIx, Item)]) -> Vec<u8> {
    let mut text = vec![b'{'];
    let mut named: Vec<Arc<str>> = Vec::new();
    for (ix, item) in found {
        let name = graph.result_name(*ix);
        let name = if named.contains(&name) { graph.node(*ix).id.clone() } else { name };
        if !named.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(serde_json::Value::from(&*name).to_string().as_bytes());
        text.push(b':');
        item.write(&mut text);
        named.push(name);
    }
    text.push(b'}');
    text
}

fn length(item: &Item) -> usize {
    let mut text = Vec::new();
    item.write(&mut text);
    text.len()
}

fn artifacts(item: &Item, held: &mut Vec<Value>) {
    match item {
        Item::One(value) | Item::Spread(value) => held.extend(value.artifact().is_some().then(|| value.clone())),
        Item::List(items) => items.iter().for_each(|item| artifacts(item, held)),
        Item::Null => {}
    }
}
