//! What simulated nodes say of their failures and of what they share, and what must follow from it. This shares no code
//! with the engine: what it expects it finds from the plan and the history.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::concurrency::ConcurrencyLimits;
use heddle_core::id::{AttemptToken, Instance, ProviderIx, RunId};
use heddle_core::run::event::{Attempt, ErrorClass, Event, Fact, NodeError, PortOutput};
use heddle_core::run::{Run, RunStatus};
use serde_json::{Value as Json, json};

use super::knobs::Knobs;
use super::random::Random;
use super::work;

/// The keys that simulated nodes name, with what each is for the one tenant, and how many may be at work at once.
const KEYS: [(&str, u32); 3] = [("one", 1), ("two:{{tenant}}", 2), ("two:shared", 2)];

/// What a node's failure for good leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    /// The end of its run.
    Ends,
    /// It is caught.
    Caught,
    /// This many others are tried first.
    FallsBack(u16),
}

impl OnError {
    pub(super) fn draw(random: &mut Random, knobs: &Knobs) -> Self {
        match random.percent(knobs.policy_percent) {
            false => OnError::Ends,
            true if random.percent(50) => OnError::Caught,
            true => OnError::FallsBack(random.between((1, 2)) as u16),
        }
    }

    /// What a node of a document says.
    fn of(node: Option<&Json>) -> Self {
        let policy = node.map_or(&Json::Null, |node| &node["data"]["policy"]);
        match policy["onError"].as_str() {
            Some("continue") => OnError::Caught,
            Some("fallback") => OnError::FallsBack(policy["fallback"].as_array().map_or(0, |list| list.len() as u16)),
            _ => OnError::Ends,
        }
    }

    /// The output that it opens.
    pub(super) fn output(self) -> Option<&'static str> {
        (self == OnError::Caught).then_some("error")
    }
}

/// Writes it into the policy of a node of this type, and a key for some.
pub(super) fn add(
    policy: &mut Json,
    (kind, config): (&str, &Json),
    on_error: OnError,
    random: &mut Random,
    knobs: &Knobs,
) {
    match on_error {
        OnError::Ends => {}
        OnError::Caught => policy["onError"] = json!("continue"),
        OnError::FallsBack(count) => {
            policy["onError"] = json!("fallback");
            // Another type of the same ports, which makes something else of the same inputs.
            let kinds = if kind == work::ONE { [work::ONE; 2] } else { [work::WORK, work::PREFETCHED] };
            let entry = |_| {
                let config =
                    json!({"effect": config["effect"], "salt": random.below(1_000), "refuses": config["refuses"]});
                json!({"nodeType": random.pick(&kinds), "config": config})
            };
            policy["fallback"] = (0..count).map(entry).collect();
        }
    }
    // People decide anew in each run.
    if knobs.cache_percent > 0 && policy.get("review").is_none() && random.percent(knobs.cache_percent) {
        let seconds = random.pick(&[0, 1, 4]);
        policy["cache"] = if seconds == 0 { json!("on") } else { json!({ "ttlSeconds": seconds }) };
    }
    if random.percent(knobs.shared_percent) {
        policy["concurrencyKey"] = json!(random.pick(&KEYS).0);
    }
}

/// The limits of the server's settings.
pub(super) fn limits() -> ConcurrencyLimits {
    ConcurrencyLimits::new([("two:*", 2)]).expect("the patterns are sound")
}

/// Attempts at work by key, as the journal has them.
#[derive(Debug, Default)]
pub(super) struct Places {
    out: BTreeMap<&'static str, BTreeSet<(RunId, AttemptToken)>>,
}

impl Places {
    /// An attempt is out: what is wrong with that, if anything is.
    pub(super) fn given(&mut self, run: RunId, fold: &Run, attempt: &Attempt) -> Option<String> {
        let written = fold.graph().node(attempt.instance.node).policy.concurrency_key.as_ref()?.to_string();
        let (key, limit) = KEYS.into_iter().find(|(key, _)| *key == written)?;
        let out = self.out.entry(key).or_default();
        out.insert((run, attempt.token));
        (out.len() > limit as usize).then(|| format!("{} attempts of {key} are at work at once: {out:?}", out.len()))
    }

    pub(super) fn over(&mut self, run: RunId, token: AttemptToken) {
        for out in self.out.values_mut() {
            out.remove(&(run, token));
        }
    }

    /// A run was set aside.
    pub(super) fn forget(&mut self, run: RunId) {
        self.out.values_mut().for_each(|out| out.retain(|(of, _)| *of != run));
    }
}

/// What was wrong with a node, as its output must give it.
fn caught_as(id: &str, attempt: &Attempt, error: &NodeError) -> Json {
    json!({"code": &*error.code, "class": error.class.name(), "message": &*error.message,
        "nodeId": id, "attempts": attempt.number.0})
}

/// Compares what failures have led to with what they must have led to.
pub(super) fn compare(nodes: &[Json], events: &[Event], fold: &Run) -> Result<(), String> {
    let mut providers: BTreeMap<Instance, u16> = BTreeMap::new();
    let mut ends_with = None;
    for event in events {
        if let Some((attempt, error, fallback, caught)) = failure(&event.fact) {
            let instance = attempt.instance;
            let (node, id) = (nodes.get(instance.node.0 as usize), &fold.graph().node(instance.node).id);
            let on_error = OnError::of(node);
            let provider = providers.entry(instance).or_default();
            let goes_on = is_reason_for_another(error.class) && !matches!(event.fact, Fact::Lost { .. });
            let next = match on_error {
                OnError::FallsBack(count) if goes_on && *provider < count => Some(ProviderIx(*provider + 1)),
                _ => None,
            };
            if fallback != next {
                return Err(format!("node {id} failed and {fallback:?} is tried, not {next:?}"));
            }
            *provider = next.map_or(*provider, |next| next.0);
            let is_caught = on_error == OnError::Caught;
            if is_caught == caught.is_empty() {
                return Err(format!("node {id} ({on_error:?}) failed for good, and gave {caught:?}"));
            }
            let told = json!(caught_as(id, attempt, error));
            let gave = event.values.iter().filter_map(|value| serde_json::from_slice::<Json>(value.json()).ok());
            if is_caught && !gave.collect::<Vec<_>>().contains(&told) {
                return Err(format!("node {id} failed, and what it gives is not {told}"));
            }
            let names_tried = error.message.contains("(tried ");
            if next.is_none() && names_tried != (*provider > 0) {
                return Err(format!("node {id} failed at provider {provider}: {}", error.message));
            }
            if next.is_none() && !is_caught && fold.graph().within(instance.node).is_none() {
                ends_with.get_or_insert(id);
            }
        }
        for assignment in &event.assignments {
            let expected = providers.get(&assignment.attempt.instance).copied().unwrap_or_default();
            if assignment.provider != ProviderIx(expected) {
                return Err(format!("{:?} asks provider {}, not {expected}", assignment.attempt, assignment.provider));
            }
        }
    }
    let failed = fold.error().and_then(|error| error.node).filter(|_| fold.status() == RunStatus::Failed);
    match failed {
        Some(node) if OnError::of(nodes.get(node.0 as usize)) == OnError::Caught => {
            Err(format!("the run ended with node {}, which is caught", fold.graph().node(node).id))
        }
        None if ends_with.is_some() && fold.status() == RunStatus::Completed => {
            Err(format!("node {ends_with:?} failed, and the run is completed"))
        }
        _ => Ok(()),
    }
}

/// What a fact says of a provider's failure for good: of which attempt, why, who is tried next, and what the node gives.
fn failure(fact: &Fact) -> Option<(&Attempt, &NodeError, Option<ProviderIx>, &[PortOutput])> {
    match fact {
        // Where people decide, it is not over with that.
        Fact::Failed { asks: true, .. } | Fact::Lost { asks: true, .. } => None,
        Fact::Failed { attempt, error, retry_at: None, fallback, caught, .. } => {
            Some((attempt, error, *fallback, caught))
        }
        Fact::Lost { attempt, failure: Some(error), caught, .. } => Some((attempt, error, None, caught)),
        _ => None,
    }
}

fn is_reason_for_another(class: ErrorClass) -> bool {
    !matches!(class, ErrorClass::UnknownOutcome | ErrorClass::Poison | ErrorClass::Cancelled)
}
