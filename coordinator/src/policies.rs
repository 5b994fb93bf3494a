//! What an operator's settings say of all runs: how attempts are tried where nobody else says it, and how many may be at
//! work at once for a concurrency key.

use std::str::FromStr;

use heddle_core::concurrency::{BadLimit, ConcurrencyLimits};
use heddle_core::graph::read_server_policy;
use heddle_core::policy::PolicyDraft;
use thiserror::Error;

use crate::retention::KeepRuns;

/// The settings; without any, the engine's own defaults count.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// For nodes whose own policy, type and workflow say nothing.
    pub node: NodePolicy,
    /// How many attempts may be at work at once, by key.
    pub concurrency: Vec<ConcurrencyLimit>,
    /// How long runs are kept after their end.
    pub keep_runs: KeepRuns,
}

/// A policy for all nodes, as JSON: `{"retry": {"maxAttempts": 2}}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodePolicy(pub(crate) PolicyDraft);

/// How many attempts of a key may be at work at once: `KEY=NUMBER`, where the key may end with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    pattern: String,
    limit: u32,
}

/// Why a policy for all nodes is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadNodePolicy(String);

/// Why a limit is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadConcurrencyLimit {
    /// It has another form.
    #[error("write KEY=NUMBER, such as openai:*=8")]
    Form,
    /// It cannot be taken.
    #[error(transparent)]
    Limit(#[from] BadLimit),
}

impl FromStr for NodePolicy {
    type Err = BadNodePolicy;

    fn from_str(text: &str) -> Result<Self, BadNodePolicy> {
        read_server_policy(text).map(Self).map_err(BadNodePolicy)
    }
}

impl FromStr for ConcurrencyLimit {
    type Err = BadConcurrencyLimit;

    fn from_str(text: &str) -> Result<Self, BadConcurrencyLimit> {
        // A key may hold the sign, a number cannot.
        let (pattern, limit) = text.rsplit_once('=').ok_or(BadConcurrencyLimit::Form)?;
        let limit = limit.trim().parse().map_err(|_| BadConcurrencyLimit::Form)?;
        let limit = Self { pattern: pattern.trim().to_owned(), limit };
        ConcurrencyLimits::new([(limit.pattern.as_str(), limit.limit)])?;
        Ok(limit)
    }
}

impl Policies {
    /// The limits by key.
    pub(crate) fn limits(&self) -> Result<ConcurrencyLimits, BadLimit> {
        ConcurrencyLimits::new(self.concurrency.iter().map(|limit| (limit.pattern.as_str(), limit.limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_a_key_and_a_number() {
        let limits = ["openai:*=8", "a=b = 2"].map(|text| text.parse::<ConcurrencyLimit>().unwrap()).to_vec();
        let limits = Policies { concurrency: limits, ..Policies::default() }.limits().unwrap();
        assert_eq!((limits.of("openai:x"), limits.of("a=b"), limits.of("other")), (Some(8), Some(2), None));
        for text in ["openai", "openai=many", "openai=0", "=3", "a*b=3", "a=-1"] {
            assert!(text.parse::<ConcurrencyLimit>().is_err(), "{text}");
        }
    }
}
