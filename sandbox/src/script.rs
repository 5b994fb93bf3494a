//! What the next calls with a credential meet.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::limits::{DELAY_MS_MAX, RULES_MAX, SCRIPTS_MAX, STEPS_MAX};

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
    /// What calls meet by what they ask. The first rule that fits a call has it; calls that none fits follow `steps`.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// The steps of those calls of a credential that ask for something, however they are ordered among the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The rule is for calls whose last message has these words.
    pub contains: String,
    /// Steps in order. After the last one the rule is over, and the next that fits has the call.
    pub steps: VecDeque<Step>,
    /// Whether the last step goes on for good instead.
    #[serde(default)]
    pub repeat: bool,
}

impl Rule {
    fn next(&mut self) -> Option<Step> {
        match self.repeat && self.steps.len() == 1 {
            true => self.steps.front().cloned(),
            false => self.steps.pop_front(),
        }
    }
}

/// Scripts by credential, as a file holds them.
pub type ScriptsByCredential = BTreeMap<String, Script>;

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
pub(crate) struct Scripts(Mutex<HashMap<String, Course>>);

/// What is left of a script.
#[derive(Debug)]
struct Course {
    steps: VecDeque<Step>,
    rules: Vec<Rule>,
}

impl Course {
    /// The step of a call with this last message, if there is one.
    fn next(&mut self, message: &str) -> Option<Step> {
        let fitting = self.rules.iter_mut().filter(|rule| message.contains(&rule.contains));
        let by_rule = fitting.filter_map(Rule::next).next();
        by_rule.or_else(|| self.steps.pop_front())
    }

    fn is_over(&self) -> bool {
        self.steps.is_empty() && self.rules.iter().all(|rule| rule.steps.is_empty())
    }
}

impl Scripts {
    /// Puts a script in the place of the one before. The error says what is wrong with it.
    pub(crate) fn put(&self, credential: String, script: Script) -> Result<(), String> {
        let answers = script.answers.into_iter().map(|answer| Step { answer: Some(answer), ..Step::default() });
        let steps: VecDeque<Step> = answers.chain(script.steps).collect();
        let rules = script.rules;
        if rules.len() > RULES_MAX {
            return Err(format!("a script has at most {RULES_MAX} rules"));
        }
        let all = || steps.iter().chain(rules.iter().flat_map(|rule| &rule.steps));
        if all().count() > STEPS_MAX {
            return Err(format!("a script has at most {STEPS_MAX} steps, with those of its rules"));
        }
        for (place, step) in all().enumerate() {
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
        let course = Course { steps, rules };
        match course.is_over() {
            true => drop(scripts.remove(&credential)),
            false => drop(scripts.insert(credential, course)),
        }
        Ok(())
    }

    /// The step of this call, whose last message is given.
    pub(crate) fn next(&self, credential: &str, message: &str) -> Step {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let step = scripts.get_mut(credential).and_then(|course| course.next(message));
        if scripts.get(credential).is_some_and(Course::is_over) {
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
