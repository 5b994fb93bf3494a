//! What a node's error says of its child: which run failed, told once, however many runs lie between.

use std::fmt;

use crate::id::{RunId, WorkflowId};

/// Between the number of levels and the rest.
const DOWN: &str = " runs down, ";

/// The run that an error comes from, as the error's message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCause<'a> {
    /// How far below the node's run it lies: 1 = the node itself has invoked it.
    pub levels: u32,
    /// The run.
    pub run: RunId,
    /// What it ran.
    pub workflow: WorkflowId,
    /// What became of it.
    what: &'a str,
}

impl<'a> ChildCause<'a> {
    /// Of a child itself; `what` became of it, as `failed at node "a" with code: message`.
    pub fn new(run: RunId, workflow: WorkflowId, what: &'a str) -> Self {
        Self { levels: 1, run, workflow, what }
    }

    /// Reads what [`fmt::Display`] has written; nothing if the text is another.
    pub fn parse(message: &'a str) -> Option<Self> {
        let down = message.split_once(DOWN).and_then(|(levels, rest)| Some((levels.parse().ok()?, rest)));
        let (levels, rest) = down.unwrap_or((1, message));
        let (run, rest) = rest.strip_prefix("the run ")?.split_once(" of ")?;
        let (workflow, what) = rest.split_once(' ')?;
        Some(Self { levels, run: run.parse().ok()?, workflow: workflow.parse().ok()?, what })
    }

    /// The same, as the run above tells it.
    #[must_use]
    pub fn from_above(self) -> Self {
        Self { levels: self.levels.saturating_add(1), ..self }
    }
}

impl fmt::Display for ChildCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.levels > 1 {
            write!(f, "{}{DOWN}", self.levels)?;
        }
        write!(f, "the run {} of {} {}", self.run, self.workflow, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_however_deep_it_lies() {
        let what = "failed at node \"a of b\" with bad: it says 3 runs down, the run";
        let mut text = ChildCause::new(RunId(5), WorkflowId(7), what).to_string();
        assert_eq!(text, format!("the run {} of {} {what}", RunId(5), WorkflowId(7)));
        let once = text.len();
        for levels in 2..=16 {
            text = ChildCause::parse(&text).unwrap().from_above().to_string();
            assert!(text.starts_with(&format!("{levels} runs down, the run ")), "{text}");
        }
        assert!(text.len() < once + 20 && text.ends_with(what), "{text}");
        let cause = ChildCause::parse(&text).unwrap();
        assert_eq!((cause.levels, cause.run, cause.workflow), (16, RunId(5), WorkflowId(7)));
        for other in ["", "no node", "the run x of y failed", "2 runs down, no", "the run of"] {
            assert_eq!(ChildCause::parse(other), None, "{other}");
        }
    }
}
