//! Results that runs share: what a run takes is what another run of the same tenant has committed, and not too long ago. That it is
//! what the node itself would have made of its config and inputs, the reference interpreter holds.

use std::collections::BTreeMap;

use heddle_core::id::{Instance, RunId, TenantId};
use heddle_core::run::Run;
use heddle_core::run::event::{Decision, Event, Fact, PortOutput};
use heddle_core::run::lineage::Source;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::check::{Checker, digests};

/// What runs have given to others.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Until when, by the run, the type of its node and what that gave.
    results: BTreeMap<(RunId, String, Vec<Digest>), Timestamp>,
    tenants: BTreeMap<RunId, TenantId>,
}

impl Checker {
    /// What a run gives to others with an event, or takes from them. `run` reflects the event.
    pub(super) fn shared(&mut self, id: RunId, event: &Event) {
        let Some(run) = self.runs.get(&id).and_then(|account| account.fold.as_ref()) else { return };
        self.given.tenants.insert(id, run.tenant().clone());
        if let Fact::Succeeded { attempt, outputs, .. } = &event.fact
            && let Some(ttl) = run.graph().shared_for(attempt.instance.node)
        {
            let until = self.given.results.entry((id, kind(run, attempt.instance), all(outputs))).or_insert(event.at);
            *until = (*until).max(event.at.plus(ttl));
        }
        let mut wrong = None;
        for decision in &event.decisions {
            let Decision::Reused { instance, offer: None, source, outputs } = decision else { continue };
            let Source::Run(made_by) = *source else {
                wrong = Some(format!("{instance:?} takes what no run gave: {source:?}"));
                continue;
            };
            if self.given.tenants.get(&made_by) != Some(run.tenant()) {
                wrong = Some(format!("{instance:?} takes what {made_by} of another tenant gave"));
            }
            match self.given.results.get(&(made_by, kind(run, *instance), all(outputs))) {
                None => wrong = Some(format!("{instance:?} takes what {made_by} never gave")),
                Some(until) if *until <= event.at => {
                    wrong = Some(format!("{instance:?} takes what {made_by} gave until {until:?}, at {:?}", event.at));
                }
                Some(_) => {}
            }
        }
        self.expect(wrong.is_none(), "H33", || format!("{id}: {}", wrong.unwrap_or_default()));
    }
}

fn kind(run: &Run, instance: Instance) -> String {
    run.graph().node(instance.node).type_id.to_string()
}

fn all(outputs: &[PortOutput]) -> Vec<Digest> {
    outputs.iter().flat_map(digests).collect()
}
