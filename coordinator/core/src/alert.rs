//! Rules that watch over workflows: what is bad, and when an incident opens and closes.
//!
//! An incident closes only when all has been well for a while, so that what goes to and fro opens one and not many.

use crate::run::RunStatus;
use crate::stats::{EndedRun, percentile};
use crate::time::{Span, Timestamp};

/// What a rule asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertCondition {
    /// Of the runs that ended by themselves too many failed.
    ErrorRate {
        /// How far it looks back.
        window: Span,
        /// The share that is too much, in millionths: from 1 to 1,000,000.
        millionths: u32,
        /// With fewer runs it says nothing.
        runs_min: u32,
    },
    /// The slowest twentieth of the runs that ended by themselves took too long.
    DurationP95 {
        /// How far it looks back.
        window: Span,
        /// What is too long.
        threshold: Span,
        /// With fewer runs it says nothing.
        runs_min: u32,
    },
    /// No run has completed for too long.
    NoSuccessFor {
        /// For how long.
        span: Span,
    },
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertRule {
    /// What it asks.
    pub condition: AlertCondition,
    /// For how long all must be well before its incident closes.
    pub close_after: Span,
}

/// What was found out for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Runs that ended by themselves.
    ErrorRate {
        /// All of them.
        runs: u64,
        /// Those that failed.
        failed: u64,
    },
    /// How long runs took that ended by themselves.
    DurationP95 {
        /// How many they are.
        runs: u64,
        /// Nothing without any.
        p95: Option<Span>,
    },
    /// How long no run has completed.
    NoSuccessFor {
        /// Since when.
        since: Timestamp,
        /// For how long.
        span: Span,
    },
}

/// How a rule's open incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenIncident {
    /// Since when all has been well.
    pub well_since: Option<Timestamp>,
}

/// What becomes of a rule's incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All stays as it is.
    Nothing,
    /// One opens.
    Open,
    /// From now on all is well.
    Well,
    /// It is not well after all.
    Unwell,
    /// It closes.
    Close,
}

impl AlertCondition {
    /// How far it looks back.
    pub fn window(self) -> Span {
        match self {
            AlertCondition::ErrorRate { window, .. } | AlertCondition::DurationP95 { window, .. } => window,
            AlertCondition::NoSuccessFor { span } => span,
        }
    }

    /// What the runs of its window say. Without a success in the window, `since` says since when there was none: the rule's own
    /// beginning, if the window reaches beyond it.
    pub fn measure(
        self,
        ended: &[EndedRun],
        last_success: Option<Timestamp>,
        began: Timestamp,
        now: Timestamp,
    ) -> Measure {
        let by_itself = ended.iter().filter(|run| run.duration().is_some());
        match self {
            AlertCondition::ErrorRate { .. } => {
                let failed = ended.iter().filter(|run| run.status == RunStatus::Failed).count() as u64;
                Measure::ErrorRate { runs: by_itself.count() as u64, failed }
            }
            AlertCondition::DurationP95 { .. } => {
                let mut millis: Vec<u64> = by_itself.filter_map(|run| run.duration().map(Span::as_millis)).collect();
                Measure::DurationP95 { runs: millis.len() as u64, p95: percentile(&mut millis, 95) }
            }
            AlertCondition::NoSuccessFor { .. } => {
                let since = last_success.map_or(began, |at| at.max(began));
                Measure::NoSuccessFor { since, span: now.since(since) }
            }
        }
    }

    /// Whether what was measured is bad. With too few runs nothing is.
    pub fn is_bad(self, measure: Measure) -> bool {
        match (self, measure) {
            (AlertCondition::ErrorRate { millionths, runs_min, .. }, Measure::ErrorRate { runs, failed }) => {
                let share = u128::from(failed) * 1_000_000;
                runs > 0 && runs >= u64::from(runs_min) && share >= u128::from(runs) * u128::from(millionths)
            }
            (AlertCondition::DurationP95 { threshold, runs_min, .. }, Measure::DurationP95 { runs, p95 }) => {
                runs >= u64::from(runs_min) && p95.is_some_and(|p95| p95 >= threshold)
            }
            (AlertCondition::NoSuccessFor { span: most }, Measure::NoSuccessFor { span, .. }) => span >= most,
            _ => false,
        }
    }
}

impl AlertRule {
    /// What becomes of the rule's incident, if one is open, or of the rule.
    pub fn step(&self, measure: Measure, open: Option<OpenIncident>, now: Timestamp) -> Step {
        match (self.condition.is_bad(measure), open) {
            (true, None) => Step::Open,
            (true, Some(OpenIncident { well_since: Some(_) })) => Step::Unwell,
            (true, Some(_)) | (false, None) => Step::Nothing,
            (false, Some(OpenIncident { well_since: None })) if self.close_after == Span::ZERO => Step::Close,
            (false, Some(OpenIncident { well_since: None })) => Step::Well,
            (false, Some(OpenIncident { well_since: Some(since) })) if now.since(since) >= self.close_after => {
                Step::Close
            }
            (false, Some(_)) => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
