//! What the fold says of a history that cannot be one.

use thiserror::Error;

use super::{JobKey, NodePhase};
use crate::id::{EventSeq, Instance, NodeIx, ProviderIx, ReviewIx};
use crate::run::event::Attempt;

/// Why an event does not follow from what was before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Corrupt {
    /// A history begins with `Submitted`.
    #[error("the history does not begin with a submission")]
    NoBeginning,
    /// An event is missing or doubled.
    #[error("expected event {expected}, found {found}")]
    Gap {
        /// The seq that should have come.
        expected: EventSeq,
        /// The seq that came.
        found: EventSeq,
    },
    /// It names a node that the graph does not have, or that is not part of the run.
    #[error("event {seq} names node {node}, which this run does not have")]
    UnknownNode {
        /// Which event.
        seq: EventSeq,
        /// The index it names.
        node: NodeIx,
    },
    /// It names an attempt that no agent holds.
    #[error("event {seq} names attempt {} of node {}, which is not out", attempt.number, attempt.instance.node)]
    UnknownAttempt {
        /// Which event.
        seq: EventSeq,
        /// The attempt it names.
        attempt: Attempt,
    },
    /// It names a job that is not to be cancelled.
    #[error("event {seq} names the job of attempt {} of node {}, which is not to be cancelled", job.number, job.instance.node)]
    UnknownJob {
        /// Which event.
        seq: EventSeq,
        /// The job it names.
        job: JobKey,
    },
    /// The node does not stand where the event needs it.
    #[error("event {seq} does not follow: node {} is {phase:?}", instance.node)]
    WrongPhase {
        /// Which event.
        seq: EventSeq,
        /// Which instance.
        instance: Instance,
        /// Where it stands.
        phase: NodePhase,
    },
    /// The items that it opens or puts together are not those that come next.
    #[error("event {seq} does not follow: it names other items of node {} than come next", instance.node)]
    WrongItems {
        /// Which event.
        seq: EventSeq,
        /// Which container.
        instance: Instance,
    },
    /// It names an instance that does not listen to that, or a signal that is not there to be taken.
    #[error("event {seq} does not follow: node {} does not hear that", instance.node)]
    NotListening {
        /// Which event.
        seq: EventSeq,
        /// Which instance.
        instance: Instance,
    },
    /// It names a review that is not open, or opens another one than comes next.
    #[error("event {seq} does not follow: it names review {review}, which does not stand so")]
    WrongReview {
        /// Which event.
        seq: EventSeq,
        /// Which review.
        review: ReviewIx,
    },
    /// More has ended than was open, or more inputs were settled than there are.
    #[error("event {seq} does not follow: more of what node {} belongs to has ended than had begun", instance.node)]
    Miscounted {
        /// Which event.
        seq: EventSeq,
        /// Which instance.
        instance: Instance,
    },
    /// It names a fallback that the node does not have.
    #[error("event {seq} names fallback {provider} of node {node}, which has no such one")]
    UnknownProvider {
        /// Which event.
        seq: EventSeq,
        /// Which node.
        node: NodeIx,
        /// The number it names.
        provider: ProviderIx,
    },
    /// Something that must come before or after the terminal event came on its other side.
    #[error("event {seq} is on the wrong side of the run's end")]
    WrongSide {
        /// Which event.
        seq: EventSeq,
    },
}
