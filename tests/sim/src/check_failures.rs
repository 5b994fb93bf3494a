//! What must hold of failures, of the end of cancelled runs, and of everything that waits (H15, H21, H25, H31).

use heddle_core::id::{AttemptToken, Instance, NodeIx, RunId};
use heddle_core::limits;
use heddle_core::policy::OnUnknown;
use heddle_core::run::event::{Attempt, ErrorClass, Event, Fact, NodeError, OutputValue};
use heddle_core::run::{NodePhase, Run, RunStatus};
use heddle_core::time::Timestamp;
use heddle_core::value::ValueRef;

use super::check::Checker;
use super::event::SeatId;
use super::store::Store;

impl Checker {
    /// An agent has said of an attempt that it failed.
    pub(super) fn reported(&mut self, token: AttemptToken, class: ErrorClass) {
        self.tokens.get_mut(&token).into_iter().for_each(|token| token.failed_with = Some(class));
    }

    /// An agent is told to stop an attempt.
    pub(super) fn told_to_stop(&mut self, token: AttemptToken) {
        self.tokens.get_mut(&token).into_iter().for_each(|token| token.is_told = true);
    }

    /// What a failure may lead to, by the node's policy and what became of the attempts before.
    pub(super) fn failure(&mut self, run: RunId, fact: &Fact) {
        match fact {
            Fact::Failed { attempt, error, retry_at, fallback, .. } => {
                self.failed(run, attempt, error, retry_at.is_some());
                if fallback.is_some() {
                    self.instances.entry((run, attempt.instance)).or_default().failed = 0;
                }
            }
            // A turn is looked at: the next look is other work, which has all tries of its own.
            Fact::Answered { attempt, .. } => self.instances.entry((run, attempt.instance)).or_default().failed = 0,
            Fact::Lost { attempt, failure: Some(error), .. } => self.lost_for_good(run, attempt, error),
            Fact::Settled { attempt, .. } => {
                let is_cancelled = self.fold_of(run).is_some_and(|fold| fold.status() == RunStatus::Cancelled);
                self.expect(!is_cancelled, "H15", || {
                    format!("{run} was cancelled, and what {attempt:?} brought is kept")
                });
            }
            _ => {}
        }
    }

    /// A node fails for good when its tries are used up, or when another would not help; no sooner and no later.
    fn failed(&mut self, run: RunId, attempt: &Attempt, error: &NodeError, tries_again: bool) {
        let reported = self.tokens.get(&attempt.token).and_then(|token| token.failed_with);
        self.expect(reported == Some(error.class), "H6", || {
            format!("{run}: {attempt:?} failed with {:?}, but its agent said {reported:?}", error.class)
        });
        let Some(fold) = self.fold_of(run) else { return };
        let policy =
            fold.graph().node(attempt.instance.node).provided(fold.provider_of(attempt.instance)).policy.clone();
        let account = self.instances.entry((run, attempt.instance)).or_default();
        account.failed += u32::from(error.class != ErrorClass::RateLimited);
        let may_help = match error.class {
            ErrorClass::UnknownOutcome => policy.on_unknown == OnUnknown::Retry,
            ErrorClass::Retryable | ErrorClass::RateLimited | ErrorClass::Timeout | ErrorClass::Internal => true,
            _ => false,
        };
        let failed = account.failed;
        let must = may_help && failed < policy.retry.attempts_max && attempt.number.0 < limits::ATTEMPTS_MAX;
        self.expect(must == tries_again, "H31", || {
            let most = policy.retry.attempts_max;
            format!(
                "{run}: {attempt:?} failed with {:?}, {failed} of {most}, and is tried again: {tries_again}",
                error.class
            )
        });
    }

    fn lost_for_good(&mut self, run: RunId, attempt: &Attempt, error: &NodeError) {
        let killed = self.instances.get(&(run, attempt.instance)).map_or(0, |account| account.killed.len());
        let has_intent = self.tokens.get(&attempt.token).is_some_and(|token| token.has_intent);
        let (invariant, is_right) = match error.class {
            // Once or twice its agent may have died of something else.
            ErrorClass::Poison => ("H25", killed > 0),
            ErrorClass::UnknownOutcome => ("H31", has_intent),
            _ => ("H31", attempt.number.0 >= limits::ATTEMPTS_MAX),
        };
        self.expect(is_right, invariant, || {
            format!("{run}: {attempt:?} is lost for good as {:?}; it ended {killed} agents", error.class)
        });
    }

    /// Nothing waits without something that wakes it: a place in the line, an agent, a timer, or an input that is open.
    pub(super) fn check_waiting(&self, run: RunId) {
        // A paused run is woken by whoever lets it go on, and by nothing else.
        let goes_on = |fold: &&Run| fold.status() == RunStatus::Running && fold.pause().is_none();
        let Some(fold) = self.fold_of(run).filter(goes_on) else { return };
        let ready: Vec<Instance> = fold.ready().map(Instance::first).collect();
        for (node, _) in fold.graph().nodes() {
            let (instance, phase) = (Instance::root(node), fold.phase_of(node));
            let is_woken = match phase {
                NodePhase::Ready => ready.contains(&instance),
                NodePhase::Running => fold.attempts().any(|(it, _)| it.first() == instance),
                NodePhase::Backoff => {
                    fold.retries_due(Timestamp::from_millis(i64::MAX)).any(|due| due.first() == instance)
                }
                NodePhase::Waiting => {
                    fold.next_due().is_some()
                        || fold.open_reviews().any(|(_, open)| open.instance.first() == instance)
                        || fold.listener(instance).is_some()
                        || fold.open_children().any(|(it, _)| it.first() == instance)
                }
                NodePhase::Due => fold.next_decision().is_some() || fold.is_recalling(instance),
                NodePhase::Pending => has_open_input(fold, node),
                _ => true,
            };
            self.expect(is_woken, "H21", || format!("{run}: node {node} is {phase:?}, and nothing will wake it"));
        }
    }

    /// What was committed is still what it was.
    pub(super) fn check_values(&self, store: &Store) {
        for (id, row) in store.runs.iter().filter(|(_, row)| !row.is_quarantined) {
            let stored = store.stored(*id);
            for output in row.events.iter().flat_map(outputs) {
                let value = stored.value(output);
                let is_same = value.is_some_and(|value| value.digest() == output.digest);
                self.expect(is_same, "H4", || format!("{id}: what lies at {output:?} is not what was committed"));
            }
        }
    }

    /// Readers are told of the end of a cancelled run: those who work for it are told to stop.
    pub(super) fn check_told(&mut self, seat: SeatId, run: RunId) {
        // Another load knows nothing of what its agents were told: it asks them what they hold.
        let owed = self.runs.get_mut(&run).and_then(|account| account.end_is_owed.take());
        if owed != Some(seat) {
            return;
        }
        let is_cancelled = self.fold_of(run).is_some_and(|fold| fold.status() == RunStatus::Cancelled);
        if is_cancelled {
            let mut deaf = self.tokens.values().filter(|token| token.run == run && token.is_live && !token.is_told);
            let deaf = deaf.next().map(|token| token.attempt);
            self.expect(deaf.is_none(), "H15", || format!("{run} is cancelled, and nobody tells {deaf:?}"));
        }
    }

    fn fold_of(&self, run: RunId) -> Option<&Run> {
        self.runs.get(&run).and_then(|account| account.fold.as_ref())
    }
}

/// Whether something that a node waits for is not settled. A container waits for what enters its body, too.
fn has_open_input(fold: &Run, node: NodeIx) -> bool {
    use NodePhase::{Cached, Completed, Dropped, Failed, Skipped};
    const SETTLED: [NodePhase; 5] = [Completed, Cached, Skipped, Failed, Dropped];
    let is_container = !fold.graph().body(node).is_empty();
    let mut sources = fold.graph().in_edges(node).iter().map(|edge| edge.source);
    is_container || sources.any(|source| !SETTLED.contains(&fold.phase_of(source)))
}

/// References to what an event commits.
fn outputs(event: &Event) -> Vec<&ValueRef> {
    let Fact::Succeeded { outputs, .. } = &event.fact else { return Vec::new() };
    outputs
        .iter()
        .filter_map(|output| match &output.value {
            OutputValue::One(reference) => Some(reference),
            _ => None,
        })
        .collect()
}
