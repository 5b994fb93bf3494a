//! Whether a world comes nearer to its end. What a graph can do only so often is counted: as long as that happens a world may
//! take its time, however much it has to do; when it does not happen any more, the world is stuck or turns in circles.

use heddle_core::partition::batch::Batch;
use heddle_core::run::event::{Event, Fact};
use heddle_core::time::{Span, Timestamp};

/// The longest that anything waits for: a wait of a graph, the end of an agent's grace, and what poison costs.
const STILL_MAX: Span = Span::from_seconds(30 * 60);
/// More does not happen while everything waits.
const STILL_STEPS_MAX: u64 = 50_000;

/// No world has so much to do: what seems to get on without end turns in a circle that is not seen as one.
const STEPS_MAX: u64 = 2_000_000;

/// When something was last done that is never done again.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What was done so far.
    done: u64,
    at: Timestamp,
    at_step: u64,
}

impl Progress {
    /// Looks at how much is done; false if nothing was for too long. Troubles count: after each, much has to begin anew.
    pub(super) fn goes_on(&mut self, done: u64, step: u64, now: Timestamp, last_trouble: Timestamp) -> bool {
        if done > self.done || now <= last_trouble {
            *self = Self { done, at: now, at_step: step };
        }
        step <= STEPS_MAX && step - self.at_step <= STILL_STEPS_MAX && now.since(self.at) <= STILL_MAX
    }
}

/// How much of what a batch makes durable cannot happen without end.
pub(super) fn done_by(batch: &Batch) -> u64 {
    let events = batch.runs.iter().flat_map(|run| &run.events).filter(|event| is_progress(event)).count();
    let started = batch.beside.batches.iter().filter(|row| row.created.is_some() || row.state.ended_at.is_some());
    (events + batch.beside.received.len() + started.count()) as u64
}

/// Attempts may be given out, lost and handed back for ever; everything else happens so often at most.
fn is_progress(event: &Event) -> bool {
    let is_over = match &event.fact {
        Fact::HandedBack { .. } | Fact::IntentRecorded { .. } | Fact::HandleRecorded { .. } | Fact::Continued => false,
        Fact::Lost { failure, .. } => failure.is_some(),
        Fact::Submitted(_)
        | Fact::Offered { .. }
        | Fact::Succeeded { .. }
        | Fact::Answered { .. }
        | Fact::Failed { .. }
        | Fact::TimerFired { .. }
        | Fact::Reviewed(_)
        | Fact::Signalled(_)
        | Fact::Called(_)
        | Fact::Paused { .. }
        | Fact::Unpaused { .. }
        | Fact::ChildEnded(_)
        | Fact::Stopped { .. }
        | Fact::Discarded { .. }
        | Fact::Settled { .. }
        | Fact::ProviderCancelled { .. }
        | Fact::Ended { .. } => true,
    };
    is_over || !event.decisions.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TROUBLE: Timestamp = Timestamp::from_millis(1_000);

    fn later(span: Span) -> Timestamp {
        TROUBLE.plus(span)
    }

    #[test]
    fn what_takes_long_is_not_stuck_as_long_as_something_is_done() {
        let mut progress = Progress::default();
        for round in 1..STEPS_MAX / STILL_STEPS_MAX {
            let now = later(Span::from_seconds(round * 20 * 60));
            assert!(progress.goes_on(round, round * (STILL_STEPS_MAX - 1), now, TROUBLE), "round {round}");
        }
        assert!(!progress.goes_on(1_000_000, STEPS_MAX + 1, later(Span::ZERO), TROUBLE), "even so");
    }

    #[test]
    fn what_stands_still_or_turns_in_circles_is_stuck() {
        let mut progress = Progress::default();
        assert!(progress.goes_on(1, 1, TROUBLE, TROUBLE));
        assert!(progress.goes_on(1, 2, later(STILL_MAX), TROUBLE));
        assert!(!progress.goes_on(1, 3, later(Span::from_seconds(30 * 60 + 1)), TROUBLE));
        let mut progress = Progress::default();
        assert!(progress.goes_on(1, 1, later(Span::ZERO), TROUBLE));
        assert!(!progress.goes_on(1, STILL_STEPS_MAX + 2, later(Span::from_millis(1)), TROUBLE));
    }
}
