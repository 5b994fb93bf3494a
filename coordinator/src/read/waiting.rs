//! What keeps a run from going on: timers, people, children, and nodes that no agent can run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::id::{Instance, NodeIx, ReviewId, ReviewIx};
use heddle_core::partition::permits::Need;
use heddle_core::run::event::ReviewKind;
use heddle_core::run::view::RunView;
use heddle_core::run::{NodePhase, OpenReview, Run};
use heddle_proto::control as wire;

use crate::limits::WAITING_INSTANCES_MAX;
use crate::shared::Shared;

/// Kinds of waiting that are told apart where a node has many instances: people twice, time, work, and
/// children.
const KINDS: usize = 5;

/// What the nodes of a run wait for, in the order of the graph; of a node in a body the first of its instances of each kind, and
/// how many more there are.
pub(super) fn waiting_on(shared: &Arc<Shared>, view: &RunView, part: &[NodeIx]) -> Vec<wire::WaitingOn> {
    let run = view.run();
    let retries: BTreeSet<Instance> = run.retries_due(shared.clock.now()).collect();
    let reviews: BTreeMap<Instance, (ReviewIx, &OpenReview)> =
        run.open_reviews().map(|(ix, open)| (open.instance.first(), (ix, open))).collect();
    let of_node = |ix: &NodeIx| -> Vec<wire::WaitingOn> {
        let wait = |(instance, phase)| match reviews.get(&instance) {
            Some((ix, open)) => Some(waits_for_people(view, *ix, open)),
            None => waits(shared, view, &retries, instance, phase),
        };
        match run.graph().within(*ix) {
            None => wait((Instance::root(*ix), run.phase_of(*ix))).into_iter().collect(),
            Some(_) => {
                let (mut named, mut more) = ([const { Vec::new() }; KINDS], [0; KINDS]);
                for (instance, phase) in run.open_instances(*ix) {
                    let kind = match (reviews.get(&instance), phase) {
                        (Some((_, open)), _) => usize::from(open.kind == ReviewKind::Outcome),
                        (None, NodePhase::Waiting) if run.open_child(instance).is_some() => 4,
                        (None, NodePhase::Waiting) => 2,
                        (None, NodePhase::Ready) => 3,
                        (None, NodePhase::Backoff) if retries.contains(&instance) => 3,
                        _ => continue,
                    };
                    match named[kind].len() < WAITING_INSTANCES_MAX {
                        true => named[kind].extend(wait((instance, phase))),
                        false => more[kind] += 1,
                    }
                }
                let tell = |(mut named, more): (Vec<wire::WaitingOn>, u32)| {
                    if let Some(last) = named.last_mut() {
                        last.more = more;
                    }
                    named
                };
                named.into_iter().zip(more).flat_map(tell).collect()
            }
        }
    };
    part.iter().flat_map(of_node).collect()
}

fn waits_for_people(view: &RunView, review: ReviewIx, open: &OpenReview) -> wire::WaitingOn {
    let run = view.run();
    wire::WaitingOn {
        kind: if open.kind == ReviewKind::Outcome { "outcome" } else { "review" }.into(),
        node_id: run.graph().node(open.instance.node).id.to_string(),
        since_ms: open.opened_at.as_millis(),
        due_at_ms: open.due_at.map(|at| at.as_millis()),
        need: String::new(),
        index: view.items().path(open.instance.scope),
        review_id: ReviewId::of(run.id(), review).to_string(),
        more: 0,
        ..wire::WaitingOn::default()
    }
}

/// What one instance waits for, if it does.
fn waits(
    shared: &Arc<Shared>,
    view: &RunView,
    retries: &BTreeSet<Instance>,
    instance: Instance,
    phase: NodePhase,
) -> Option<wire::WaitingOn> {
    let run = view.run();
    // Since when is known of nodes that have no other instance.
    let alone = run.graph().within(instance.node).is_none();
    let since = view.node(instance.node).started_at.filter(|_| alone).unwrap_or_else(|| run.last_at());
    let waiting = |kind: &str, due_at_ms, need| wire::WaitingOn {
        kind: kind.into(),
        node_id: run.graph().node(instance.node).id.to_string(),
        since_ms: since.as_millis(),
        due_at_ms,
        need,
        index: view.items().path(instance.scope),
        ..wire::WaitingOn::default()
    };
    match phase {
        NodePhase::Waiting if let Some(child) = run.open_child(instance) => {
            Some(wire::WaitingOn { child_execution_id: child.to_string(), ..waiting("child", None, String::new()) })
        }
        NodePhase::Waiting => {
            let due = run.waits_until(instance).map(|at| at.as_millis());
            Some(waiting("timer", due, String::new()))
        }
        NodePhase::Ready => Some(waits_for_agent(shared, run, instance, waiting)),
        // The pause before its next try is over.
        NodePhase::Backoff if retries.contains(&instance) => Some(waits_for_agent(shared, run, instance, waiting)),
        _ => None,
    }
}

/// Whether there is an agent that could run this node, and so a slot will do, or a place of its concurrency key; else what
/// no agent offers.
fn waits_for_agent(
    shared: &Shared,
    run: &Run,
    instance: Instance,
    waiting: impl Fn(&str, Option<i64>, String) -> wire::WaitingOn,
) -> wire::WaitingOn {
    let need = Need { alone: false, ..Need::of(run, instance) };
    let permits = shared.permits();
    if permits.is_offered(&need) {
        return match &need.key {
            Some(key) if !permits.has_room(&need) => waiting("concurrency", None, key.text.to_string()),
            _ => waiting("slot", None, String::new()),
        };
    }
    let any_version = Need { version: 0, labels: Vec::new(), ..need.clone() };
    let version =
        match permits.is_offered(&any_version) && !permits.is_offered(&Need { version: need.version, ..any_version }) {
            true => format!(" in version {} or newer", need.version),
            false => String::new(),
        };
    let labels = need.labels.iter().map(|(name, value)| format!(" with {name}={value}"));
    let text = std::iter::once(format!("an agent that runs {}{version}", need.type_id)).chain(labels).collect();
    waiting("agent", None, text)
}
