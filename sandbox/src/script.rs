//! What the next calls with a credential meet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::limits::{DELAY_MS_MAX, SCRIPTS_MAX, STEPS_MAX};

/// The steps of one credential, one for each call; after the last, calls are answered as without a script.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// Answers in order: each is a step that says only this. They come before `steps`.
    #[serde(default)]
    pub answers: Vec<String>,
    /// Steps in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// What one call meets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The answer's text.
    pub answer: Option<String>,
    /// The status, if it is not 200.
    pub status: Option<u16>,
    /// With a status: when to come back.
    pub retry_after_ms: Option<u64>,
    /// Before the answer begins.
    #[serde(default)]
    pub delay_ms: u64,
    /// Between two pieces of a stream.
    #[serde(default)]
    pub piece_delay_ms: u64,
    /// Whether the answer breaks off in its middle.
    #[serde(default)]
    pub truncate: bool,
    /// Why the answer ends, if not `stop`: `length`, `content_filter`…
    pub finish_reason: Option<String>,
    /// The body of a refusal, if not the usual one.
    pub body: Option<serde_json::Value>,
}

/// All scripts.
#[derive(Debug, Default)]
pub(crate) struct Scripts(Mutex<HashMap<String, VecDeque<Step>>>);

impl Scripts {
    /// Puts a script in the place of the one before. The error says what is wrong with it.
    pub(crate) fn put(&self, credential: String, script: Script) -> Result<(), String> {
        let answers = script.answers.into_iter().map(|answer| Step { answer: Some(answer), ..Step::default() });
        let steps: VecDeque<Step> = answers.chain(script.steps).collect();
        if steps.len() > STEPS_MAX {
            return Err(format!("a script has at most {STEPS_MAX} steps"));
        }
        for (place, step) in steps.iter().enumerate() {
            let delays = [step.delay_ms, step.piece_delay_ms, step.retry_after_ms.unwrap_or_default()];
            if delays.iter().any(|delay| *delay > DELAY_MS_MAX) {
                return Err(format!("step {place}: a delay is at most {DELAY_MS_MAX} ms"));
            }
            if step.status.is_some_and(|status| !(200..600).contains(&status)) {
                return Err(format!("step {place}: a status is from 200 to 599"));
            }
        }
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if scripts.len() >= SCRIPTS_MAX && !scripts.contains_key(&credential) {
            return Err(format!("there are {SCRIPTS_MAX} scripts; take one out by giving it no steps"));
        }
        match steps.is_empty() {
            true => drop(scripts.remove(&credential)),
            false => drop(scripts.insert(credential, steps)),
        }
        Ok(())
    }

    /// The step of this call.
    pub(crate) fn next(&self, credential: &str) -> Step {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let step = scripts.get_mut(credential).and_then(VecDeque::pop_front);
        if scripts.get(credential).is_some_and(VecDeque::is_empty) {
            scripts.remove(credential);
        }
        step.unwrap_or_else(|| Step { status: status_in(credential), ..Step::default() })
    }
}

/// The status with which every call of a credential called `status-503` is refused: an example needs no script for that.
fn status_in(credential: &str) -> Option<u16> {
    let status = credential.strip_prefix("status-")?.parse().ok()?;
    (400..600).contains(&status).then_some(status)
}
