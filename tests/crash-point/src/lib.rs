//! Named places in the commit protocol where a test can end or stop the process.
//!
//! Production code marks a place with [`crash_point!`]. Without the feature `armed` the mark costs nothing at run time. With
//! it, the environment variable `HEDDLE_CRASH_POINT` picks one place and one hit of it: `journal.committed:2` sends SIGKILL to the
//! own process at the second hit, `journal.committed:2:stop` raises SIGSTOP instead, and the process goes on at SIGCONT.
//!
//! A name that is not in [`CRASH_POINTS`] does not compile, so a suite that sweeps the list misses no place:
//!
//! ```
//! heddle_crash_point::crash_point!("journal.committed");
//! ```
//! ```compile_fail
//! heddle_crash_point::crash_point!("journal.comitted");
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "armed")]
mod armed;

#[cfg(feature = "armed")]
pub use armed::{VARIABLE, hit};

/// One place where a test can end the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// Component and moment, for example `journal.committed`.
    pub name: &'static str,
    /// What has happened when the process gets here, and what has not.
    pub means: &'static str,
}

/// Every place, in the order in which one submitted run passes them.
pub const CRASH_POINTS: &[CrashPoint] = &[
    CrashPoint {
        name: "gateway.authenticated",
        means: "the caller is known; the coordinator has not been asked to start the run",
    },
    CrashPoint { name: "gateway.submitted", means: "the coordinator has committed the run; the caller has no answer" },
    CrashPoint { name: "journal.before-begin", means: "a batch is ready; no transaction is open" },
    CrashPoint { name: "journal.in-transaction", means: "the rows of a batch are written; COMMIT is not sent" },
    CrashPoint { name: "journal.committed", means: "COMMIT has returned; the partition does not know the outcome" },
    CrashPoint {
        name: "partition.committed",
        means: "the partition knows its batch landed; no reply and no effect of it has left",
    },
    CrashPoint { name: "batches.planned", means: "what a batch gives its runs is kept; the batch is not begun" },
    CrashPoint {
        name: "outbox.before-deliver",
        means: "a message to another slot is committed; its receiver has not been told",
    },
    CrashPoint { name: "outbox.before-arrived", means: "what a message asks for is committed; its sender is not told" },
    CrashPoint { name: "session.before-assign", means: "an assignment is committed; it is not on the agent's stream" },
    CrashPoint { name: "session.assigned", means: "an assignment is on the agent's stream; nothing was sent after it" },
    CrashPoint { name: "session.result-received", means: "a result has arrived; it is in no batch" },
    CrashPoint { name: "session.before-acknowledge", means: "a result is committed; the agent is not told" },
    CrashPoint { name: "timers.due", means: "a timer is due; its partition has not been told" },
    CrashPoint { name: "alerts.measured", means: "a rule has found something; no incident is written" },
    CrashPoint { name: "alerts.opened", means: "an incident is written; nobody was told" },
    CrashPoint {
        name: "retention.page",
        means: "a page of old rows is removed; what is left of its runs is still there",
    },
    CrashPoint { name: "agent.assignment-received", means: "an assignment has arrived; the agent has noted nothing" },
    CrashPoint { name: "agent.before-work", means: "the attempt is about to begin; no provider has been called" },
    CrashPoint { name: "agent.before-result", means: "the work is done; its result is not on the stream" },
    CrashPoint { name: "agent.result-sent", means: "the result is on the stream; no acknowledgement has arrived" },
    CrashPoint {
        name: "jobs.before-order",
        means: "that a job is to be cancelled at its provider is committed; no agent is asked to",
    },
    CrashPoint {
        name: "jobs.ordered",
        means: "the order to cancel a job is on the stream of an agent; nothing was sent after it",
    },
    CrashPoint { name: "jobs.order-received", means: "the agent is asked to cancel a job; the provider is not" },
    CrashPoint { name: "jobs.cancelled", means: "the provider has cancelled a job; the coordinator is not told" },
    CrashPoint {
        name: "jobs.answer-received",
        means: "the coordinator is told what became of a job; it is in no batch",
    },
];

/// Marks a place. The name must be one of [`CRASH_POINTS`], which is checked when the caller compiles.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::hit(const { $crate::index_of($name) })
    };
}

/// The position of `name` in [`CRASH_POINTS`]; called by [`crash_point!`] in a constant.
///
/// # Panics
/// When no place has this name. In a constant that is a compile error.
#[expect(clippy::panic, reason = "it is called in constants, where this is a compile error")]
pub const fn index_of(name: &str) -> usize {
    let mut index = 0;
    while index < CRASH_POINTS.len() {
        if is_same(CRASH_POINTS[index].name, name) {
            return index;
        }
        index += 1;
    }
    panic!("no crash point has this name: add it to CRASH_POINTS with what it means");
}

/// What [`crash_point!`] calls when nothing can be armed: nothing.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub const fn hit(_index: usize) {}

/// `==` of strings is not available in constants.
const fn is_same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_itself() {
        for (index, point) in CRASH_POINTS.iter().enumerate() {
            assert_eq!(index_of(point.name), index, "{} is listed twice", point.name);
            assert!(!point.means.is_empty(), "{} does not say what it means", point.name);
        }
    }

    #[test]
    #[should_panic(expected = "no crash point has this name")]
    fn an_unknown_name_is_refused() {
        index_of("journal.commit");
    }
}
