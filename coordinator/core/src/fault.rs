//! Deliberate faults. Without the feature `planted-faults` they cost nothing and cannot be switched on; with it the
//! simulator plants one at a time and must find each.

/// What can be made wrong inside the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::VariantArray)]
pub enum Fault {
    /// A rejection leaves before the batch that it observed has landed.
    RejectionAnsweredEarly,
    /// A lost attempt's token is given to the next one.
    TokenReused,
    /// Effects leave before the commit that caused them.
    EffectBeforeCommit,
    /// A result is believed whatever its token.
    TokenNotChecked,
    /// An attempt that its agent holds is lost when the agent redials.
    InventoryIgnored,
    /// A new boot of an agent does not lose what the old one held.
    NewBootIgnored,
    /// A second submission with the same key starts a second run.
    KeyForgotten,
    /// The open batch survives a flying batch that did not land.
    SpeculationKept,
    /// A timer that is due when its run is loaded never fires.
    TimerDropped,
    /// A result after the end changes the outputs.
    TerminalNotAbsorbing,
    /// The next attempt does not learn by what handle the job of a lost one can be asked for.
    HandleForgotten,
    /// A lost attempt that may have acted on the world runs again, though nobody asked for that.
    UnknownRetried,
    /// After a load, agents get no time to come back.
    GraceSkipped,
    /// A death while alone proves nothing.
    ProofIgnored,
    /// An attempt may act before its intent is durable.
    IntentAnsweredEarly,
    /// What hangs on a branch that was not taken runs all the same.
    ClosedNotSkipped,
    /// A replay decides anew what was left to chance.
    DecidedInReplay,
    /// A merge takes the last branch instead of the first.
    MergeTakesLast,
    /// A list that came in one value is one item to an input that takes a list.
    ListTakenAsOne,
    /// A list that a turn carries on is one value to the next.
    CarriedListIsOne,
    /// What hangs on a failed node of an item starts all the same.
    FailedItemGoesOn,
    /// What has lost a race goes on.
    LosersKept,
    /// Values that a decision waits for are asked for before they are in the journal.
    ValuesAskedEarly,
    /// A failure ends its run though the node's policy wants it caught.
    CaughtEndsRun,
    /// After a provider has failed for good, it is tried again instead of the next one.
    FallbackForgotten,
    /// A place of a concurrency key is free as soon as its attempt is decided to be over, and not when that is durable.
    PlaceFreedEarly,
    /// A load of a partition forgets the places that its attempts hold.
    PlacesForgotten,
    /// Attempts of an instance are numbered from 1 again after each that failed.
    AttemptNumberRestarted,
    /// A node fails for good one try too early.
    RetriesCutShort,
    /// A node is called poison though its agent had other things to do.
    InnocentBlamed,
    /// What paid attempts bring after their run was cancelled is kept.
    LateResultKept,
    /// Agents are not told that a run was cancelled.
    CancelNotTold,
    /// A node that is skipped does not settle what hangs on it.
    SkipNotPropagated,
    /// A node runs as soon as one of its inputs is there.
    StartedEarly,
    /// A timer is heard though an earlier one has taken its place.
    OldTimersHeard,
    /// What an agent found out for a node's conditions is taken as if none held.
    AnswerNotHeard,
    /// Two approvals of one person count as those of two.
    DecidedTwice,
    /// The time of a review is over though it was decided.
    TimeoutAfterDecision,
    /// A node gives what it has made, though people have changed it.
    EditForgotten,
    /// What a load finds of open reviews is not kept.
    ReviewLost,
    /// Another try of a node gets the values of its inputs in another order.
    InputsReordered,
    /// An edited node gives what it makes, and not what it was edited to.
    EditIgnored,
    /// A node that is forced to run takes over an earlier result.
    ForcedReused,
    /// What came through first outputs does not count when an earlier result is looked for.
    KeyWithoutInput,
    /// A config does not count when an earlier result is looked for.
    KeyWithoutConfig,
    /// That people look at a node does not count when an earlier result is looked for.
    KeyWithoutReview,
    /// A run that goes on from another one does not end with the node that it is to end with.
    EndNotHeard,
    /// What a run of a part leaves out counts as null for the container around it, which goes on with that.
    LeftOutIsNull,
    /// What people put in the place of what came into a node is forgotten.
    InputEditForgotten,
    /// What lies downstream of the start takes over earlier results though it is to run.
    DownstreamReused,
    /// Of the items that a run is to start from, all run.
    IndicesIgnored,
    /// What failed in a container that has completed is not made again though it is to be.
    FailedItemsIgnored,
    /// What a node's config says does not count when a shared result is looked for.
    SharedKeyWithoutConfig,
    /// Results are shared among tenants.
    SharedAcrossTenants,
    /// A shared result is taken after its time.
    SharedTooLong,
    /// What a load finds of signals that nobody has taken yet is not kept.
    SignalLost,
    /// Who calls a hook after another is told that the call counts.
    HookCalledTwice,
    /// A signal that a node has got goes to the next one, too.
    SignalGivenTwice,
    /// A node that waits for an instant has no timer.
    TimerNotSet,
    /// A partition sets no timer for what a run has told it.
    AlarmNotSet,
    /// What is ready of a paused run begins all the same.
    PausedGoesOn,
    /// A child is started a second time, as another run.
    ChildStartedTwice,
    /// The end of a child is not told.
    ChildEndLost,
    /// Children go on when their run is over.
    CancelNotCascaded,
    /// A node gives at one output what its child has for another.
    ChildOutputsCrossed,
    /// A provider's job that nobody goes on with is not cancelled.
    JobForgotten,
    /// A run works on after its deadline.
    DeadlineForgotten,
    /// Time in which a run only waits, or is paused, counts against its deadline.
    WaitingCounts,
    /// Permits are taken for nodes whose type is paused.
    PausedTypeBegins,
}

#[cfg(feature = "planted-faults")]
mod planted {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use strum::VariantArray as _;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// What is wrong in all threads, from a process's start to its end.
    static EVERYWHERE: OnceLock<Fault> = OnceLock::new();

    /// Makes this thread's partitions wrong in one way, or right again.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    /// Makes the partitions of all threads wrong in the way of this name; false if there is none.
    pub fn plant_everywhere(name: &str) -> bool {
        let named = Fault::VARIANTS.iter().find(|fault| format!("{fault:?}") == name);
        named.is_some_and(|fault| EVERYWHERE.get_or_init(|| *fault) == fault)
    }

    pub(crate) fn is_planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault) || EVERYWHERE.get() == Some(&fault)
    }
}

#[cfg(feature = "planted-faults")]
pub(crate) use planted::is_planted;
#[cfg(feature = "planted-faults")]
pub use planted::{plant, plant_everywhere};

#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}
