//! Faults that are planted on purpose: a simulator that misses one of them is the first thing to mend.

use heddle_core::fault::Fault;
use strum::VariantArray as _;

/// One planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// In the engine.
    Core(Fault),
    /// In the shell around it, or in the journal.
    Shell(ShellFault),
}

/// What can be made wrong around the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum ShellFault {
    /// A partition is loaded again under the epoch it had.
    EpochNotRaised,
    /// A partition's runs are read before the epoch is raised.
    ReadBeforeFence,
    /// Agents may forget a result as soon as the coordinator has read it.
    ResultAcknowledgedEarly,
    /// A commit is reported as applied before it is.
    AppliedReportedEarly,
    /// A commit whose outcome is unknown is reported as applied.
    UnknownReportedApplied,
    /// A batch that is sent twice is written twice.
    CommitAppliedTwice,
    /// Of a batch that is cut short, the first run's rows stay.
    TornCommit,
    /// A crash takes the last commit that was reported as applied with it.
    LostFlush,
    /// Runs that are over but have an attempt out are not loaded.
    ClosingNotLoaded,
    /// Nobody looks for parked runs that fall due.
    DueNotScanned,
    /// Agents keep their streams when a partition is loaded again, and do not say what they hold.
    SessionsKept,
    /// What comes in for a partition while it is loaded is thrown away.
    EarlyMailLost,
    /// Idempotency keys are looked up in a replica that lags behind.
    KeysReadLate,
    /// A part of a value changes after it was written.
    ValueDamaged,
    /// Messages between slots that have not arrived are not read at a load.
    OutboxNotRead,
    /// What a database has received before it stalled it writes afterwards, whoever owns the partition by then.
    StalledUnfenced,
    /// What agents say while the coordinator is stopped is thrown away, and their streams go on.
    PausedMailLost,
    /// Agents do not say again what they said on a stream that has ended.
    NotSaidAgain,
    /// Which types of nodes are paused is forgotten when the coordinator starts again.
    NodePausesForgotten,
}

impl std::fmt::Display for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Planted::Core(fault) => write!(f, "engine: {fault:?}"),
            Planted::Shell(fault) => write!(f, "shell: {fault:?}"),
        }
    }
}

impl Planted {
    /// All of them.
    pub fn all() -> Vec<Planted> {
        let core = Fault::VARIANTS.iter().copied().map(Planted::Core);
        core.chain(ShellFault::VARIANTS.iter().copied().map(Planted::Shell)).collect()
    }

    pub(super) fn core(planted: Option<Planted>) -> Option<Fault> {
        match planted {
            Some(Planted::Core(fault)) => Some(fault),
            _ => None,
        }
    }
}
