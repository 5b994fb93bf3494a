//! The agent's numbers, all of them. Agents of one process count together.

use std::fmt;
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use heddle_artifacts::Traffic;
use heddle_telemetry::metrics::{self, Counter, Gauge, Histogram, Labels, Page};

use crate::runners::ErrorClass;
use crate::wire::Outcome;

/// How attempts end: the word of each, at its place in [`Numbers::attempts`].
const OUTCOMES: [&str; 11] = [
    "succeeded",
    "stopped",
    "retryable",
    "rate_limited",
    "invalid_request",
    "auth",
    "content_policy",
    "timeout",
    "cancelled",
    "internal",
    "unknown_outcome",
];

/// What is counted.
pub(crate) struct Numbers {
    /// Agents that a coordinator has welcomed and not lost.
    pub(crate) connected: Gauge,
    /// Attempts that agents may run at once.
    pub(crate) slots: Gauge,
    /// Attempts that were taken in and have not ended.
    pub(crate) open: Gauge,
    /// Results that no coordinator has acknowledged.
    pub(crate) unacknowledged: Gauge,
    /// Dials that no coordinator answered.
    pub(crate) failed_dials: Counter,
    /// Sessions that broke.
    pub(crate) lost_sessions: Counter,
    /// Sessions that a coordinator refused.
    pub(crate) refused_sessions: Counter,
    attempts: [Counter; OUTCOMES.len()],
    queued: Histogram,
    ran: Histogram,
}

/// The numbers of this process.
pub(crate) static NUMBERS: Numbers = Numbers {
    connected: Gauge::new(),
    slots: Gauge::new(),
    open: Gauge::new(),
    unacknowledged: Gauge::new(),
    failed_dials: Counter::new(),
    lost_sessions: Counter::new(),
    refused_sessions: Counter::new(),
    attempts: [const { Counter::new() }; OUTCOMES.len()],
    queued: Histogram::new(),
    ran: Histogram::new(),
};

/// What has gone between agents of this process and the artifact store.
pub(crate) static TRAFFIC: LazyLock<Arc<Traffic>> = LazyLock::new(Arc::default);

impl Numbers {
    /// An attempt has ended.
    pub(crate) fn ended(&self, outcome: &Outcome, queued: Duration, ran: Duration) {
        self.attempts[place(outcome)].add(1);
        self.queued.observe(queued);
        self.ran.observe(ran);
    }

    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("heddle_agent_connected", "Agents that a coordinator has welcomed", value(&self.connected))?;
        page.gauge("heddle_agent_slots", "Attempts that may run at once", value(&self.slots))?;
        page.gauge("heddle_agent_attempts_open", "Attempts that were taken in and have not ended", value(&self.open))?;
        let unacknowledged = value(&self.unacknowledged);
        page.gauge("heddle_agent_results_unacknowledged", "Results kept until they are durable", unacknowledged)?;
        page.counter("heddle_agent_dials_failed", "Dials that no coordinator answered", self.failed_dials.get())?;
        page.counter("heddle_agent_sessions_lost", "Sessions that broke", self.lost_sessions.get())?;
        page.counter("heddle_agent_sessions_refused", "Sessions that were refused", self.refused_sessions.get())?;
        let labels = OUTCOMES.map(|outcome| [("outcome", outcome)]);
        let attempts = labels.iter().zip(&self.attempts).map(|(labels, count)| (&labels[..], count.get()));
        page.counters("heddle_agent_attempts", "Attempts that have ended, by outcome or class of failure", attempts)?;
        let none: Labels<'_> = &[];
        let queued = [(none, &self.queued)];
        page.histograms("heddle_agent_attempt_queue_seconds", "From an attempt's arrival to its start", queued)?;
        page.histograms("heddle_agent_attempt_run_seconds", "From an attempt's start to its end", [(none, &self.ran)])?;
        write_traffic(page, &TRAFFIC)
    }
}

fn write_traffic(page: &mut Page<'_>, traffic: &Traffic) -> fmt::Result {
    let artifacts = traffic.artifacts().map(|(word, count)| ([("operation", word)], count));
    let artifacts = artifacts.iter().map(|(labels, count)| (&labels[..], *count));
    page.counters("heddle_agent_artifacts", "Artifacts by what the store was asked for", artifacts)?;
    let bytes = traffic.bytes().map(|(word, count)| ([("operation", word)], count));
    let bytes = bytes.iter().map(|(labels, count)| (&labels[..], *count));
    page.counters("heddle_agent_artifact_bytes", "Bytes of artifacts, to the store and from it", bytes)?;
    page.counter("heddle_agent_artifact_errors", "What the store did not do", traffic.errors())
}

fn value(gauge: &Gauge) -> f64 {
    gauge.get() as f64
}

fn place(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Succeeded(_) => 0,
        Outcome::Stopped => 1,
        Outcome::Failed(failure) => match failure.class {
            ErrorClass::Retryable => 2,
            ErrorClass::RateLimited => 3,
            ErrorClass::InvalidRequest => 4,
            ErrorClass::Auth => 5,
            ErrorClass::ContentPolicy => 6,
            ErrorClass::Timeout => 7,
            ErrorClass::Cancelled => 8,
            ErrorClass::Internal => 9,
            ErrorClass::UnknownOutcome => 10,
        },
    }
}

/// What a gauge was told by one agent or session, and forgets with it.
#[derive(Debug)]
pub(crate) struct Share {
    gauge: &'static Gauge,
    told: i64,
}

impl Share {
    pub(crate) fn of(gauge: &'static Gauge, value: i64) -> Self {
        let mut share = Self { gauge, told: 0 };
        share.set(value);
        share
    }

    pub(crate) fn set(&mut self, value: i64) {
        if value != self.told {
            self.gauge.add(value - self.told);
            self.told = value;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Makes the numbers known to who may ask for them.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    if metrics::is_wanted() {
        ONCE.call_once(|| metrics::register(|page| NUMBERS.write(page)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::Failure;

    #[test]
    fn an_outcome_is_counted_under_its_class() {
        let failed = |class| Outcome::Failed(Failure::new(class, "code", "a message"));
        for (outcome, word) in [
            (Outcome::Succeeded(Vec::new()), "succeeded"),
            (Outcome::Stopped, "stopped"),
            (failed(ErrorClass::Retryable), "retryable"),
            (failed(ErrorClass::ContentPolicy), "content_policy"),
            (failed(ErrorClass::UnknownOutcome), "unknown_outcome"),
        ] {
            assert_eq!(OUTCOMES[place(&outcome)], word);
        }
    }

    #[test]
    fn a_share_goes_with_who_told_it() {
        static GAUGE: Gauge = Gauge::new();
        let mut first = Share::of(&GAUGE, 3);
        let second = Share::of(&GAUGE, 4);
        first.set(1);
        assert_eq!(GAUGE.get(), 5);
        drop(first);
        assert_eq!(GAUGE.get(), 4);
        drop(second);
        assert_eq!(GAUGE.get(), 0);
    }
}
