//! When to dial again: a plain value.

use std::time::{Duration, Instant};

use heddle_proto::limits::{REDIAL_BACKOFF_MS_MAX, REDIAL_BACKOFF_MS_MIN};

use crate::limits::OUTAGE_WORD_INTERVAL;

/// How a session came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The coordinator could not be reached, or the stream broke.
    Lost { was_welcomed: bool, reason: String },
    /// The coordinator does not want this agent.
    Refused { code: String, message: String, retry: bool },
}

/// What the link does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    DialAfter(Duration),
    /// A person has to act: the agent ends with this message.
    GiveUp {
        code: String,
        message: String,
    },
    /// The agent has said goodbye: it is gone.
    Leave,
}

/// Counts failures in a row, so that each pause may be longer than the one before.
#[derive(Debug, Default)]
pub(super) struct Redial {
    failures: u32,
    is_leaving: bool,
}

impl Redial {
    /// From now on the end of a session is the end.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Decides by how the session ended. `draw` is random: it spreads the agents of a coordinator that was restarted.
    pub(super) fn ended(&mut self, end: SessionEnd, draw: u64) -> Next {
        if self.is_leaving {
            return Next::Leave;
        }
        match end {
            SessionEnd::Refused { code, message, retry: false } => return Next::GiveUp { code, message },
            SessionEnd::Lost { was_welcomed: true, .. } => self.failures = 1,
            SessionEnd::Lost { .. } | SessionEnd::Refused { .. } => self.failures = self.failures.saturating_add(1),
        }
        Next::DialAfter(self.pause(draw))
    }

    /// Anything between the shortest pause and a ceiling that doubles with each failure.
    fn pause(&self, draw: u64) -> Duration {
        let doubled = REDIAL_BACKOFF_MS_MIN << self.failures.min(16);
        let spread = doubled.min(REDIAL_BACKOFF_MS_MAX) - REDIAL_BACKOFF_MS_MIN;
        Duration::from_millis(REDIAL_BACKOFF_MS_MIN + draw % (spread + 1))
    }
}

/// Decides when to tell people that there is no coordinator: at once, when the reason changes in kind, and then rarely.
#[derive(Debug, Default)]
pub(super) struct Outage {
    said: Option<(&'static str, Instant)>,
}

impl Outage {
    /// Whether to say now that there is no coordinator for a reason of this kind.
    pub(super) fn is_news(&mut self, kind: &'static str, now: Instant) -> bool {
        let is_old = self.said.is_some_and(|(said, at)| said == kind && now.duration_since(at) < OUTAGE_WORD_INTERVAL);
        if !is_old {
            self.said = Some((kind, now));
        }
        !is_old
    }

    /// The coordinator is there.
    pub(super) fn is_over(&mut self) {
        self.said = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_once_and_then_rarely() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert!(outage.is_news("unreachable", start));
        assert!(!outage.is_news("unreachable", start + OUTAGE_WORD_INTERVAL / 2));
        assert!(outage.is_news("refused", start + OUTAGE_WORD_INTERVAL / 2), "another reason is news");
        assert!(outage.is_news("refused", start + OUTAGE_WORD_INTERVAL * 2));
        outage.is_over();
        assert!(outage.is_news("refused", start + OUTAGE_WORD_INTERVAL * 2), "so is the next outage");
    }

    fn lost(was_welcomed: bool) -> SessionEnd {
        SessionEnd::Lost { was_welcomed, reason: "gone".into() }
    }

    fn refused(retry: bool) -> SessionEnd {
        SessionEnd::Refused { code: "duplicate_agent".into(), message: "another runs".into(), retry }
    }

    #[test]
    fn pauses_grow_within_bounds() {
        let mut redial = Redial::default();
        for ceiling in [100, 200, 400, REDIAL_BACKOFF_MS_MAX, REDIAL_BACKOFF_MS_MAX] {
            let spread = ceiling - REDIAL_BACKOFF_MS_MIN;
            assert_eq!(redial.ended(lost(false), spread), Next::DialAfter(Duration::from_millis(ceiling)));
            let shortest = Duration::from_millis(REDIAL_BACKOFF_MS_MIN);
            assert_eq!(redial.pause(0), shortest);
            assert_eq!(redial.pause(spread + 1), shortest);
        }
    }

    #[test]
    fn a_session_that_stood_starts_the_count_again() {
        let mut redial = Redial::default();
        (0..5).for_each(|_| drop(redial.ended(refused(true), 7)));
        assert_eq!(redial.ended(lost(true), 50), Next::DialAfter(Duration::from_millis(100)));
    }

    #[test]
    fn a_final_refusal_ends_the_agent() {
        let mut redial = Redial::default();
        assert!(matches!(redial.ended(refused(true), 0), Next::DialAfter(_)));
        let Next::GiveUp { code, .. } = redial.ended(refused(false), 0) else { panic!("dials again") };
        assert_eq!(code, "duplicate_agent");
    }

    #[test]
    fn nobody_dials_after_goodbye() {
        let mut redial = Redial::default();
        redial.leave();
        assert_eq!(redial.ended(lost(true), 0), Next::Leave);
    }
}
