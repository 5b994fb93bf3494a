//! Where runs and nodes stand.

use serde::{Deserialize, Serialize};

/// How a run stands, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunStatus {
    /// Accepted, at work or waiting.
    Running,
    /// Everything asked for is done.
    Completed,
    /// A node failed, or the deadline passed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// Where a node stands. Legal moves:
///
/// ```text
/// Pending ─▶ Due ─▶ Completed | Waiting | Failed      control nodes; one that completes may end the run
/// Pending ─▶ Ready ─▶ Running ─▶ Completed | Failed   dispatched nodes
///            Running ─▶ Backoff | Ready               a failed, lost or returned attempt; another provider
///            Backoff ─▶ Running
///            Waiting ─▶ Completed                     a timer, or a word from outside
/// Due ─▶ Waiting ─▶ Ready | Completed | Failed         people are asked; a child runs
/// Due ─▶ Ready                                        an agent looks at its values
/// Pending ─▶ Skipped                                  a required input is closed
/// Due ─▶ Open ─▶ Completed | Failed                   containers: their body runs
/// Open ─▶ Ready … Running ─▶ Open | Failed            loops: an agent looks at a turn
/// Pending ─▶ Due ─▶ Cached | Ready                    where an earlier result may be reused
/// any but a final one ─▶ Dropped                      given up: what it would give counts no more
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodePhase {
    /// Not part of this run.
    Excluded,
    /// An input is not settled yet.
    Pending,
    /// A control node that can be evaluated.
    Due,
    /// Can be given to an agent.
    Ready,
    /// Given to an agent.
    Running,
    /// Waits for its next try.
    Backoff,
    /// Waits for a timer, for people, for a child or for a word from outside.
    Waiting,
    /// Has its output.
    Completed,
    /// Has the output that an earlier run gave.
    Cached,
    /// Has failed for good; where its policy says so, it gives what was wrong.
    Failed,
    /// Will not run: a required input is closed.
    Skipped,
    /// Lies in a body: each item has it for itself.
    Inside,
    /// A container whose body runs.
    Open,
    /// Was given up before it was done.
    Dropped,
}
