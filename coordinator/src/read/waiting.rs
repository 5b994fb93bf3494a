//! `waitingOn` of a run: what lies outside of it that its nodes wait for. It is the same as the run's explanation says.

use std::sync::Arc;

use heddle_core::explain::{Cause, Explained, Part, Told, needed, paused_by};
use heddle_core::run::Run;
use heddle_proto::control as wire;

use super::explain::look_outside;
use crate::shared::Shared;

/// What the nodes of a run wait for, in the order of the graph; of a node in a body the first of its instances of each kind, and
/// how many more there are.
pub(super) fn waiting_on(shared: &Arc<Shared>, run: &Run) -> Vec<wire::WaitingOn> {
    let mut explained = Explained::of(run, Part::Outside, shared.clock.now());
    look_outside(shared, &mut explained);
    // Whatever else its nodes wait for: nothing of it goes on before somebody lets it.
    let paused = explained.pause.as_ref().map(|pause| wire::WaitingOn {
        kind: "paused".into(),
        since_ms: pause.at.as_millis(),
        need: paused_by(&pause.by, pause.reason.as_deref()),
        ..wire::WaitingOn::default()
    });
    paused.into_iter().chain(explained.nodes.iter().filter_map(|told| waiting(shared, run, told))).collect()
}

fn waiting(shared: &Shared, run: &Run, told: &Told) -> Option<wire::WaitingOn> {
    let waiting = wire::WaitingOn {
        kind: told.cause.kind().into(),
        node_id: told.node.to_string(),
        since_ms: told.since.as_millis(),
        index: told.index.clone(),
        more: told.more,
        ..wire::WaitingOn::default()
    };
    Some(match &told.cause {
        Cause::Review { id, due_at, .. } => {
            let due_at_ms = due_at.map(|at| at.as_millis());
            wire::WaitingOn { review_id: id.to_string(), due_at_ms, ..waiting }
        }
        Cause::Timer { until } | Cause::Retry { until, .. } => {
            wire::WaitingOn { due_at_ms: Some(until.as_millis()), ..waiting }
        }
        Cause::Signal { name, until } => {
            let due_at_ms = until.map(|at| at.as_millis());
            wire::WaitingOn { signal: name.to_string(), due_at_ms, ..waiting }
        }
        Cause::Webhook { until } => {
            let due_at_ms = until.map(|at| at.as_millis());
            wire::WaitingOn { url: shared.hooks.address(run.id(), told.instance), due_at_ms, ..waiting }
        }
        Cause::Child { run: child, .. } => wire::WaitingOn { child_execution_id: child.to_string(), ..waiting },
        Cause::Paused { node_type, by, reason } => {
            let need = format!("{node_type} is {}", paused_by(by, reason.as_deref()));
            wire::WaitingOn { need, ..waiting }
        }
        Cause::Work { need, standing } => {
            let text = match (told.cause.kind(), &need.key) {
                ("agent", _) => needed(need, standing.as_deref()),
                ("concurrency", Some(key)) => key.text.to_string(),
                _ => String::new(),
            };
            wire::WaitingOn { need: text, ..waiting }
        }
        _ => return None,
    })
}
