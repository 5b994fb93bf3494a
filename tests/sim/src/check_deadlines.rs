//! What must hold of runs' deadlines (H34): a run ends with `run_timeout` when it has been active for as long as it may, and not
//! before. How long it has been active is counted here by what was at work from event to event.

use heddle_core::id::RunId;
use heddle_core::run::event::{Event, Fact};
use heddle_core::run::{Run, RunStatus};
use heddle_core::time::{Span, Timestamp};

use super::check::Checker;

/// Whoever sets a timer waits so much longer, to be sure.
const TIMER_AFTER: Span = Span::from_millis(1);
/// So long after a trouble, or after a partition begins to be read, timers may be late.
const LATE_MAX: Span = Span::from_seconds(2);

/// How long a run has been active.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// How long it may be, if somebody has said so.
    limit: Option<Span>,
    spent: Span,
    /// Whether something of it is at work since its last event.
    is_at_work: bool,
}

impl Checker {
    /// There was trouble until then, or there will be.
    pub(super) fn calm(&mut self, last_trouble: Timestamp) {
        self.calm_at = self.calm_at.max(last_trouble.plus(LATE_MAX));
    }

    /// Time has passed from a run's last event to this one.
    pub(super) fn worked_for(&mut self, run: RunId, passed: Span, event: &Event) {
        let Some(account) = self.runs.get_mut(&run) else { return };
        if let Fact::Submitted(submitted) = &event.fact {
            account.activity.limit = submitted.deadline;
        }
        let is_active = account.activity.is_at_work && !account.is_paused && account.ended.is_none();
        if is_active {
            let spent = account.activity.spent.as_millis() + passed.as_millis();
            account.activity.spent = Span::from_millis(spent);
        }
        let Activity { limit, spent, .. } = account.activity;
        if is_timeout(&event.fact) {
            let is_due = is_active && limit.is_some_and(|limit| spent >= limit);
            self.expect(is_due, "H34", || format!("{run} ran out of time after {spent} of {limit:?}"));
        } else if let Some(limit) = limit.filter(|limit| is_active && spent > *limit) {
            let over = i64::try_from(spent.as_millis() - limit.as_millis()).unwrap_or(i64::MAX);
            let due_at = Timestamp::from_millis(event.at.as_millis() - over);
            self.expect(event.at <= self.calm_at.max(due_at.plus(TIMER_AFTER)), "H34", || {
                format!("{run} had been active for {limit} at {due_at:?}, and goes on with {:?}", event.fact)
            });
        }
    }

    /// Whether something of a run is at work from here on.
    pub(super) fn goes_on(&mut self, run: RunId) {
        let Some(account) = self.runs.get_mut(&run).filter(|account| account.activity.limit.is_some()) else { return };
        account.activity.is_at_work = account.fold.as_ref().is_some_and(is_at_work);
    }
}

/// Whether an agent has something of it, or something of it waits for an agent or is to be decided. Who waits for people, for the
/// world, for an instant or for another run does nothing.
fn is_at_work(fold: &Run) -> bool {
    let begins = fold.ready().next().is_some() || fold.next_decision().is_some() || fold.recalls().next().is_some();
    fold.status() == RunStatus::Running && (begins || fold.attempts().next().is_some())
}

fn is_timeout(fact: &Fact) -> bool {
    matches!(fact, Fact::Ended { error: Some(error), .. } if &*error.code == "run_timeout")
}
