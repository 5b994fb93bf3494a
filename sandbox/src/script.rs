//! What the next calls with a credential meet.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, read};
use crate::limits::{DELAY_MS_MAX, RULES_MAX, SCRIPTS_MAX, STEPS_MAX};
use crate::object::{self, Object};

/// The steps of one credential, one for each call; after the last, calls are answered as without a script.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// Answers in order: each is a step that says only this. They come before `steps`.
    #[serde(default)]
    pub answers: Vec<String>,
    /// Steps in order.
    #[serde(default, deserialize_with = "object::list")]
    pub steps: Vec<Step>,
    /// What calls meet by what they ask. The first rule that fits a call has it; calls that none fits follow `steps`.
    #[serde(default, deserialize_with = "object::list")]
    pub rules: Vec<Rule>,
}

/// The steps of those calls of a credential that ask for something, however they are ordered among the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The rule is for calls whose last message has these words.
    pub contains: String,
    /// Steps in order. After the last one the rule is over, and the next that fits has the call.
    #[serde(deserialize_with = "object::list")]
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

/// Scripts by credential that a sandbox can follow.
#[derive(Debug, Clone, Default)]
pub struct ScriptsByCredential(BTreeMap<String, Script>);

impl ScriptsByCredential {
    /// Reads the text of a file: a JSON object with a script for each credential.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(text: &[u8]) -> Result<Self, Fault> {
        let scripts: BTreeMap<String, Object<Script>> = read(text)?;
        let scripts: BTreeMap<_, _> = scripts.into_iter().map(|(credential, script)| (credential, script.0)).collect();
        if scripts.len() > SCRIPTS_MAX {
            return Err(Fault::at(
                "",
                format!("there are {} scripts, and at most {SCRIPTS_MAX} are taken", scripts.len()),
            ));
        }
        for (credential, script) in &scripts {
            script.check().map_err(|fault| fault.inside(credential))?;
        }
        Ok(Self(scripts))
    }
}

impl Script {
    /// Reads the text of one script.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Fault> {
        let Object(script): Object<Self> = read(text)?;
        script.check()?;
        Ok(script)
    }

    fn check(&self) -> Result<(), Fault> {
        if self.rules.len() > RULES_MAX {
            return Err(Fault::at("/rules", format!("a script has at most {RULES_MAX} rules")));
        }
        let count =
            self.rules.iter().map(|rule| rule.steps.len()).sum::<usize>() + self.answers.len() + self.steps.len();
        if count > STEPS_MAX {
            return Err(Fault::at("", format!("a script has at most {STEPS_MAX} steps, with those of its rules")));
        }
        for (place, step) in self.steps.iter().enumerate() {
            step.check(&format!("/steps/{place}"))?;
        }
        for (rule_place, rule) in self.rules.iter().enumerate() {
            for (place, step) in rule.steps.iter().enumerate() {
                step.check(&format!("/rules/{rule_place}/steps/{place}"))?;
            }
        }
        Ok(())
    }
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

impl Step {
    fn check(&self, place: &str) -> Result<(), Fault> {
        let delays = [
            ("delayMs", self.delay_ms),
            ("pieceDelayMs", self.piece_delay_ms),
            ("retryAfterMs", self.retry_after_ms.unwrap_or_default()),
        ];
        if let Some((field, _)) = delays.iter().find(|(_, delay)| *delay > DELAY_MS_MAX) {
            return Err(Fault::at(&format!("{place}/{field}"), format!("a delay is at most {DELAY_MS_MAX} ms")));
        }
        match self.status {
            Some(status) if !(200..600).contains(&status) => {
                Err(Fault::at(&format!("{place}/status"), "a status is from 200 to 599".to_owned()))
            }
            _ => Ok(()),
        }
    }
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

impl From<Script> for Course {
    fn from(script: Script) -> Self {
        let answers = script.answers.into_iter().map(|answer| Step { answer: Some(answer), ..Step::default() });
        Self { steps: answers.chain(script.steps).collect(), rules: script.rules }
    }
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
    /// Takes up these scripts.
    pub(crate) fn of(scripts: ScriptsByCredential) -> Self {
        Self(Mutex::new(scripts.0.into_iter().map(|(credential, script)| (credential, script.into())).collect()))
    }

    /// Puts a script in the place of the one before. The error says why there is no room for it.
    pub(crate) fn put(&self, credential: String, script: Script) -> Result<(), String> {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if scripts.len() >= SCRIPTS_MAX && !scripts.contains_key(&credential) {
            return Err(format!("there are {SCRIPTS_MAX} scripts; take one out by giving it no steps"));
        }
        let course = Course::from(script);
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
