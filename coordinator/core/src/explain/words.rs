//! The sentences of explanations. Each says what is waited for, and where a person can do something about it, what.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{Cause, Explained, Told};
use crate::id::{NodeIx, Subject};
use crate::limits;
use crate::partition::permits::{Misfit, Need, Standing};
use crate::run::event::{ErrorClass, ReviewKind, RunError};
use crate::run::{ChildCause, JobKey, OwedCancel, Run, RunStatus};
use crate::time::{Span, Timestamp};

impl Told {
    /// What it waits for, as one sentence.
    pub fn sentence(&self, now: Timestamp) -> String {
        let name = quoted(&self.node, &self.index);
        let why = self.cause.sentence(now);
        match self.more {
            0 => format!("{name} {why}."),
            more => format!("{name} {why}; {} of the same node too.", counted(more, "more instance", "more instances")),
        }
    }
}

impl Cause {
    fn sentence(&self, now: Timestamp) -> String {
        match self {
            Cause::Inputs { nodes, more } => {
                let names: Vec<String> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
                let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
                format!("waits for what {}{more} will give", names.join(", "))
            }
            Cause::Turn => "is decided next by the coordinator".into(),
            Cause::Values => "waits for a value that the coordinator reads from the database or the artifact store".into(),
            Cause::Room => format!(
                "asks people as soon as one of the run's {} open reviews is decided",
                limits::OPEN_REVIEWS_PER_RUN_MAX
            ),
            Cause::Shared => "looks for a result of an earlier run that it may take over".into(),
            Cause::Work { need, standing: None } => format!("needs {}", needed(need, None)),
            Cause::Work { need, standing: Some(standing) } => work(need, standing),
            Cause::Paused { node_type, by, reason } => format!(
                "waits until {node_type} goes on, which was {} (heddle nodes unpause)",
                paused_by(by, reason.as_deref())
            ),
            Cause::Attempt { agent, number, away: None } => format!("is at work on agent {agent}, attempt {}", number.0),
            Cause::Attempt { agent, number, away: Some((since, lost_at)) } => format!(
                "is on agent {agent}, attempt {}, which has been away for {}: unless it comes back, its work counts as lost {}",
                number.0,
                span(now.since(*since)),
                when(*lost_at, now)
            ),
            Cause::Retry { until, failed, attempts_max, error } => {
                let why = error.as_ref().map_or_else(String::new, |error| format!(" ({}: {})", error.code, error.message));
                let tries = match failed {
                    0 => "its last try was turned away".to_owned(),
                    failed => format!("{failed} of {attempts_max} tries failed"),
                };
                format!("is tried again {}: {tries}{why}", when(*until, now))
            }
            Cause::Timer { until } => format!("waits until its time comes, {}", when(*until, now)),
            Cause::Review { id, kind, due_at, assignees } => review(id, *kind, *due_at, assignees, now),
            Cause::Signal { name, until } => {
                format!("waits for the signal \"{name}\" (heddle executions signal){}", until_then(*until, now))
            }
            Cause::Webhook { until } => format!("waits until its address is called{}", until_then(*until, now)),
            Cause::Child { run, is_unreadable: true } => format!(
                "waits for {run}, which it has invoked, and which was set aside because it cannot be read: this node fails \
                 within a minute. Resume the run then: it invokes another, and what is done is not done again"
            ),
            Cause::Child { run, .. } => format!("waits for the run that it has invoked (heddle executions explain {run})"),
            Cause::Items { open } => format!("has {} at work", counted(*open, "item or turn", "items or turns")),
            Cause::Nothing => {
                "waits for nothing that will ever come: that is a fault of Heddle. Cancel the run and resume it, and please \
                 report it with the coordinator's log"
                    .into()
            }
        }
    }
}

/// Jobs at providers that a run which is over still has to have cancelled, each with its node, since when, and a sentence.
pub fn owed_cancels(run: &Run) -> Vec<(NodeIx, Timestamp, String)> {
    let owed = run.owed_cancels().take(limits::EXPLAINED_INSTANCES_MAX);
    let sentence = |(job, owed): (JobKey, &OwedCancel)| {
        let node = run.graph().node(job.instance.node);
        let name = quoted(&node.id, &run.path(job.instance.scope));
        let what = &node.provided(owed.provider).type_id;
        let sentence = format!(
            "{name} has left a job at its provider that is still to be cancelled: an agent that runs {what} is asked to do so."
        );
        (job.instance.node, owed.since, sentence)
    };
    owed.map(sentence).collect()
}

/// What a run that is over has left at providers, in one sentence; nothing if it owes no cancels.
pub fn owing(run: &Run) -> Option<String> {
    let jobs = run.owed_cancels().count() as u32;
    let counted = counted(jobs, "job at a provider is", "jobs at providers are");
    (jobs > 0).then(|| format!("{counted} still to be cancelled, and may cost something until then."))
}

/// When whoever waits for the world waits no longer.
fn until_then(until: Option<Timestamp>, now: Timestamp) -> String {
    until.map_or_else(String::new, |at| format!("; its time is over {}", when(at, now)))
}

fn review(
    id: &crate::id::ReviewId,
    kind: ReviewKind,
    due_at: Option<Timestamp>,
    assignees: &[std::sync::Arc<str>],
    now: Timestamp,
) -> String {
    let who = match assignees {
        [] => "somebody".to_owned(),
        names => names.join(" or "),
    };
    let what = match kind {
        ReviewKind::Value => "review what came to it",
        ReviewKind::Before => "review its inputs before it begins",
        ReviewKind::After => "review what it has made",
        ReviewKind::Outcome => "say what became of an attempt of which nobody knows whether it acted",
    };
    format!("waits for {who} to {what} (review {id}){}", until_then(due_at, now))
}

/// What an attempt needs of an agent; its version where that is what is lacking.
pub fn needed(need: &Need, standing: Option<&Standing>) -> String {
    let mut text = format!("an agent that runs {}", need.type_id);
    if standing.is_some_and(|standing| standing.lacking[1] > 0) {
        let _infallible = write!(text, " in version {} or newer", need.version);
    }
    for (name, value) in &need.labels {
        let _infallible = write!(text, " with {name}={value}");
    }
    text
}

fn work(need: &Need, standing: &Standing) -> String {
    if standing.fit == 0 {
        return format!("needs {}: {}", needed(need, Some(standing)), unfit(need, standing));
    }
    if let Some(place) = standing.place.as_ref().filter(|_| !standing.has_place) {
        if !place.is_counted {
            return format!(
                "waits for a place of the concurrency key \"{}\": after a start the coordinator still counts who has one",
                place.key
            );
        }
        return format!(
            "waits for a place of the concurrency key \"{}\": {} of {} are taken",
            place.key, place.taken, place.limit
        );
    }
    let agents = counted(standing.fit, "agent", "agents");
    // The one that is told here is among those that wait.
    let others = standing.waiting.saturating_sub(1);
    let line = match others {
        0 => "nothing else waits for one".to_owned(),
        others => format!("up to {others} more {} for one", if others == 1 { "waits" } else { "wait" }),
    };
    if standing.busy < standing.slots {
        let held = if standing.is_held_back { ", and one is kept for a node that has ended agents" } else { "" };
        return format!(
            "is about to get a slot: {} of {} on {agents} that could run it are busy{held}; {line}",
            standing.busy, standing.slots
        );
    }
    format!("waits for a slot: all {} on {agents} that could run it are busy, and {line}", standing.slots)
}

/// Why no agent fits.
fn unfit(need: &Need, standing: &Standing) -> String {
    if standing.agents == 0 {
        return "no agent is connected (start one: heddle agent)".into();
    }
    let [_, old, unlabelled, drained] = standing.lacking;
    let runs = old + unlabelled + drained;
    if runs == 0 {
        let none = match standing.agents {
            1 => "the one agent that is connected does not run it".to_owned(),
            agents => format!("none of the {agents} agents that are connected runs it"),
        };
        return format!("{none} (heddle nodes list shows what is offered)");
    }
    let mut reasons = Vec::new();
    let all = |count: u32| -> String {
        match count {
            _ if count < runs => counted(count, "is", "are"),
            1 => "it is".into(),
            2 => "both are".into(),
            _ => "all are".into(),
        }
    };
    let lack = |count: u32, what: &str| -> String {
        match count {
            _ if count < runs => format!("{count} {} {what}", if count == 1 { "lacks" } else { "lack" }),
            1 => format!("it lacks {what}"),
            2 => format!("both lack {what}"),
            _ => format!("all lack {what}"),
        }
    };
    if drained > 0 {
        reasons.push(format!("{} drained", all(drained)));
    }
    if unlabelled > 0 {
        let label = standing.misfits.iter().find_map(|(_, misfit)| match misfit {
            Misfit::Label { name, value } => Some(format!("the label {name}={value}")),
            _ => None,
        });
        reasons.push(lack(unlabelled, &label.unwrap_or_else(|| "a label".into())));
    }
    if old > 0 {
        reasons.push(format!("{} older", all(old)));
    }
    let agents = match runs {
        1 => format!("1 agent runs {}", need.type_id),
        runs => format!("{runs} agents run {}", need.type_id),
    };
    format!("{agents}, {}", reasons.join(", "))
}

/// Who has paused something, and why.
pub fn paused_by(by: &Subject, reason: Option<&str>) -> String {
    reason.map_or_else(|| format!("paused by {by}"), |reason| format!("paused by {by}: {reason}"))
}

/// What a run waits for, in one sentence over all its nodes.
pub fn headline(explained: &Explained, now: Timestamp) -> String {
    let kinds = explained.kinds();
    let Some((first, _)) = kinds.first() else { return "The run is about to end.".into() };
    if *first == "nothing" {
        let stuck = explained.nodes.iter().find(|told| told.cause == Cause::Nothing);
        return stuck.map_or_else(String::new, |told| format!("The run is stuck: {}", told.sentence(now)));
    }
    if let Some(pause) = &explained.pause {
        let paused = paused_by(&pause.by, pause.reason.as_deref());
        return format!("The run is {paused}. Nothing of it begins until it goes on (heddle executions unpause).");
    }
    // What follows from the rest need not be said.
    let mut by_words: Vec<((&str, &str), u32)> = Vec::new();
    for (kind, count) in kinds.iter().filter(|(kind, _)| *kind != "items") {
        let words = of_kind(kind);
        match by_words.iter_mut().find(|(known, _)| *known == words) {
            Some((_, counted)) => *counted += count,
            None => by_words.push((words, *count)),
        }
    }
    let parts: Vec<String> = by_words.into_iter().map(|((one, many), count)| counted(count, one, many)).collect();
    match parts.is_empty() {
        true => "The run is at work in its items.".into(),
        false => format!("The run goes on: {}.", parts.join(", ")),
    }
}

/// What one instance does that waits for a kind of thing, and what several do.
fn of_kind(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "agent" => ("node waits for an agent that can run it", "nodes wait for an agent that can run them"),
        "slot" => ("node waits for a slot", "nodes wait for a slot"),
        "concurrency" => {
            ("node waits for a place of its concurrency key", "nodes wait for a place of their concurrency key")
        }
        "paused" => ("node waits until its type goes on", "nodes wait until their type goes on"),
        "retry" => ("node is tried again later", "nodes are tried again later"),
        "review" | "outcome" => ("node waits for people", "nodes wait for people"),
        "signal" => ("node waits for a signal", "nodes wait for signals"),
        "webhook" => ("node waits until its address is called", "nodes wait until their addresses are called"),
        "child" => ("node waits for another run", "nodes wait for other runs"),
        "timer" => ("node waits for its time", "nodes wait for their time"),
        "attempt" => ("node is at work", "nodes are at work"),
        "inputs" => ("node waits for others", "nodes wait for others"),
        _ => ("node is about to go on", "nodes are about to go on"),
    }
}

/// That somebody has cancelled a run, in one sentence.
pub fn cancelled(by: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("The run was cancelled by {by}: {}.", sentence_end(reason)),
        None => format!("The run was cancelled by {by}."),
    }
}

/// How a run has ended, in one sentence; what failed, if a node has: its id.
pub fn ended(status: RunStatus, error: Option<&RunError>, node: Option<&str>) -> String {
    match (status, error) {
        (RunStatus::Completed, _) => "The run has completed.".into(),
        (RunStatus::Cancelled, Some(error)) => format!("The run was cancelled: {}.", sentence_end(&error.message)),
        (RunStatus::Cancelled, None) => "The run was cancelled.".into(),
        (_, None) => "The run has failed.".into(),
        (_, Some(error)) => {
            let message = sentence_end(&error.message);
            match node {
                Some(node) => {
                    let tries = match error.attempts {
                        0 => String::new(),
                        tries => format!(" after {}", counted(tries, "attempt", "attempts")),
                    };
                    format!("The run failed at \"{node}\"{tries} with {}: {message}.", error.code)
                }
                None => format!("The run failed with {}: {message}.", error.code),
            }
        }
    }
}

/// That a run which is over has work that is let finish, in one sentence, if it has.
pub fn finishing(run: &Run) -> Option<String> {
    let finishes = run.attempts().filter(|(_, live)| run.status() != RunStatus::Running && !live.stopping).count();
    let (works, it) =
        if finishes == 1 { ("attempt still works", "it is") } else { ("attempts still work", "they are") };
    let sentence = format!(
        "{finishes} {works}: {it} let finish for a resume (onRunFailure: finish); the node's timeoutMs limits how long."
    );
    (finishes > 0).then_some(sentence)
}

/// What to do about a failure of this class.
pub(super) fn advice(class: Option<ErrorClass>) -> &'static str {
    match class {
        Some(ErrorClass::Auth) => "Put the credential right, then resume the run: what is done is not done again.",
        Some(ErrorClass::Poison) => "The node has ended its agents: look at their logs before you run it again.",
        Some(ErrorClass::InvalidRequest | ErrorClass::ContentPolicy) => {
            "Put the node's config or inputs right, then resume the run: what is done is not done again."
        }
        _ => "Resume the run: what is done is not done again.",
    }
}

impl RunError {
    /// What to do about it, in a sentence.
    pub fn advice(&self) -> Cow<'static, str> {
        // What is to be put right is not in the run that invoked it.
        let cause = ChildCause::parse(&self.message).filter(|_| &*self.code == "child_failed");
        let Some(ChildCause { run, workflow, .. }) = cause else { return Cow::Borrowed(advice(self.class)) };
        let why = format!("See what went wrong in the workflow {workflow} (heddle executions explain {run})");
        Cow::Owned(format!("{why}, put that right, then resume the run: what is done is not done again."))
    }
}

/// What is said of a run that nothing would wake.
pub fn orphaned(what: &str) -> String {
    format!(
        "The run is stuck: {what}. That is a fault of Heddle: cancel the run and resume it, and please report it with the \
         coordinator's log."
    )
}

fn sentence_end(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn when(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "now".into() } else { format!("in {}", span(at.since(now))) }
}

/// A node with the numbers of the items and turns that it lies in.
pub(crate) fn quoted(node: &str, index: &[u32]) -> String {
    let numbers: Vec<String> = index.iter().map(u32::to_string).collect();
    let place = if index.is_empty() { String::new() } else { format!("[{}]", numbers.join(",")) };
    format!("\"{node}{place}\"")
}

/// A span in the largest two units.
fn span(span: Span) -> String {
    let seconds = span.as_millis().div_ceil(1_000);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}
