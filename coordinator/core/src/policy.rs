//! What happens around a node's attempts: retries, timeouts, unknown outcomes (graph.md, part 6).

use serde::{Deserialize, Serialize};

use crate::concurrency::KeyTemplate;
use crate::limits;
use crate::time::Span;

/// `data.policy` as people write it. Unknown fields are refused with their path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyDraft {
    /// Tries and pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryDraft>,
    /// Longest time of one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Of a workflow: longest active time of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// What a failure does to the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnError>,
    /// What an unknown outcome does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// What happens to this node's attempt when the run fails elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_run_failure: Option<OnRunFailure>,
    /// Higher goes first; from -100 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Where it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentDraft>,
    /// With which other attempts it shares a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<KeyTemplate>,
    /// Whether people look at it before it begins, or after it has worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewWhen>,
    /// Whether its results are shared among runs, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheDraft>,
    /// What a failed item does to the map that the node is run by, once per item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_item_error: Option<OnItemError>,
}

/// What a workflow's policy says of its runs as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunPolicy {
    /// How many days they are kept after their end; `None` = as many as the server's settings say.
    pub keep_runs_days: Option<u16>,
}

/// `policy.retry` as people write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryDraft {
    /// All tries, the first included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Pause before the second try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_ms: Option<u64>,
    /// Each pause is this many times the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Longest pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// Share of the pause that is drawn: 0 = none, 1 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
}

/// `policy.agent` as people write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentDraft {
    /// Labels that the agent must carry.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// What a node's failure does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It fails.
    Fail,
    /// It goes on: the node's outputs are closed, and its port `error` gives what was wrong.
    Continue,
    /// The next provider is tried; when the last one fails, so does the run.
    Fallback,
}

/// What a failed item does to its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnItemError {
    /// The map fails.
    Fail,
    /// The item is left out of the results.
    Skip,
    /// Null stands in its place.
    Collect,
}

/// What is done when nobody can tell whether an attempt took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// A person decides, at a review.
    Park,
    /// It runs again, at the risk of a second effect.
    Retry,
    /// The node fails with class `unknown_outcome`.
    Fail,
}

/// `policy.cache` as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CacheDraft {
    /// `"on"` or `"off"`.
    Switch(CacheSwitch),
    /// Shared for so long.
    #[serde(rename_all = "camelCase")]
    For {
        /// How long.
        ttl_seconds: u64,
    },
}

/// Whether a node's results are shared among runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheSwitch {
    /// They are, for [`limits::CACHE_TTL_DEFAULT`].
    On,
    /// They are not.
    Off,
}

impl CacheDraft {
    /// How long a result is shared; `None` = it is not.
    pub fn ttl(self) -> Option<Span> {
        match self {
            CacheDraft::Switch(CacheSwitch::On) => Some(limits::CACHE_TTL_DEFAULT),
            CacheDraft::Switch(CacheSwitch::Off) => None,
            CacheDraft::For { ttl_seconds } => {
                Some(Span::from_seconds(ttl_seconds.clamp(1, limits::CACHE_TTL_SECONDS_MAX)))
            }
        }
    }
}

/// When people look at a node that agents run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReviewWhen {
    /// At its inputs, before it begins.
    Before,
    /// At its outputs, before they go on.
    After,
}

/// What happens to an attempt in flight when the run fails elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRunFailure {
    /// It may finish, and its result is kept for a resume.
    Finish,
    /// It is stopped.
    Stop,
}

/// A policy with every default filled in and every bound applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Tries and pauses.
    pub retry: Retry,
    /// Longest time of one attempt; `None` = only the run's deadline bounds it.
    pub timeout: Option<Span>,
    /// What a failure for good does to the run.
    pub on_error: OnError,
    /// What an unknown outcome does.
    pub on_unknown: OnUnknown,
    /// What the run's failure does to it; `None` = by effect class (pure stops, the rest finish).
    pub on_run_failure: Option<OnRunFailure>,
    /// Higher goes first.
    pub priority: i32,
    /// Labels that the agent must carry, sorted by name.
    pub labels: Vec<(String, String)>,
    /// With which other attempts it shares a limit.
    pub concurrency_key: Option<KeyTemplate>,
    /// Whether people look at it, and when.
    pub review: Option<ReviewWhen>,
    /// How long its results are shared among runs; `None` = they are not.
    pub cache: Option<Span>,
    /// What a failed item does where the node is run once per item; `None` = the map's own default.
    pub on_item_error: Option<OnItemError>,
}

/// Tries and pauses.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// All tries, the first included.
    pub attempts_max: u32,
    /// Pause before the second try.
    pub initial: Span,
    /// Each pause is this many times the one before.
    pub factor: f64,
    /// Longest pause.
    pub max: Span,
    /// Share of the pause that is drawn.
    pub jitter: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry: Retry {
                attempts_max: 4,
                initial: Span::from_millis(limits::RETRY_INITIAL_MS),
                factor: 2.0,
                max: Span::from_millis(limits::RETRY_MS_MAX),
                jitter: 0.2,
            },
            timeout: None,
            on_error: OnError::Fail,
            on_unknown: OnUnknown::Park,
            on_run_failure: None,
            priority: 0,
            labels: Vec::new(),
            concurrency_key: None,
            review: None,
            cache: None,
            on_item_error: None,
        }
    }
}

impl Policy {
    /// Lays a draft over this policy; what the draft leaves out stays.
    pub fn with(mut self, draft: &PolicyDraft) -> Self {
        if let Some(retry) = &draft.retry {
            let base = &mut self.retry;
            base.attempts_max = retry.max_attempts.unwrap_or(base.attempts_max).clamp(1, limits::ATTEMPTS_MAX);
            base.initial = retry.initial_ms.map_or(base.initial, Span::from_millis);
            base.factor = retry.factor.filter(|factor| factor.is_finite()).unwrap_or(base.factor).clamp(1.0, 100.0);
            base.max = retry.max_ms.map_or(base.max, Span::from_millis);
            base.jitter = retry.jitter.filter(|jitter| jitter.is_finite()).unwrap_or(base.jitter).clamp(0.0, 1.0);
        }
        self.timeout = draft.timeout_ms.map_or(self.timeout, |millis| Some(Span::from_millis(millis)));
        self.on_error = draft.on_error.unwrap_or(self.on_error);
        self.on_unknown = draft.on_unknown.unwrap_or(self.on_unknown);
        self.on_run_failure = draft.on_run_failure.or(self.on_run_failure);
        self.priority = draft.priority.unwrap_or(self.priority).clamp(-100, 100);
        if let Some(agent) = &draft.agent {
            self.labels = agent.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        self.concurrency_key = draft.concurrency_key.clone().or(self.concurrency_key);
        self.review = draft.review.or(self.review);
        self.cache = draft.cache.map_or(self.cache, CacheDraft::ttl);
        self.on_item_error = draft.on_item_error.or(self.on_item_error);
        self
    }
}

impl Retry {
    /// The pause after the given number of failed tries, with `draw` (uniform over all of `u64`) for its jitter.
    pub fn pause(&self, failed: u32, draw: u64) -> Span {
        let exponent = failed.saturating_sub(1).min(64) as i32;
        let full = (self.initial.as_millis() as f64 * self.factor.powi(exponent)).min(self.max.as_millis() as f64);
        let share = draw as f64 / u64::MAX as f64;
        Span::from_millis((full * (1.0 - self.jitter * share)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_jitter_shortens_them() {
        let retry = Policy::default().retry;
        assert_eq!(retry.pause(1, 0).as_millis(), 500);
        assert_eq!(retry.pause(2, 0).as_millis(), 1_000);
        assert_eq!(retry.pause(2, u64::MAX).as_millis(), 800);
        assert_eq!(retry.pause(1_000, 0).as_millis(), limits::RETRY_MS_MAX);
    }

    proptest::proptest! {
        /// Jitter takes away at most its share, and never adds; without it nothing is left to chance.
        #[test]
        fn jitter_stays_within_its_share(failed in 1..20u32, draw: u64, jitter in 0.0..=1.0f64, factor in 1.0..10.0f64) {
            let retry = |jitter| Retry { jitter, factor, ..Policy::default().retry };
            let (full, retry) = (retry(0.0), retry(jitter));
            let (most, pause) = (full.pause(failed, draw).as_millis(), retry.pause(failed, draw).as_millis());
            proptest::prop_assert_eq!(most, full.pause(failed, 0).as_millis());
            proptest::prop_assert!(most <= limits::RETRY_MS_MAX && pause <= most);
            let least = most as f64 * (1.0 - jitter) - 2.0;
            proptest::prop_assert!(pause as f64 >= least, "{} of {}", pause, most);
        }
    }
}
