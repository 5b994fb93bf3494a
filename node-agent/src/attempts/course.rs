//! The course of one attempt: a plain value that says what comes next.

use crate::runners::{ErrorClass, JobEnd};
use crate::wire::Outcome;

/// Where an attempt stands.
#[derive(Debug, PartialEq)]
pub(super) enum Course {
    /// Its intent is not durable yet: nothing may leave.
    AwaitingIntent,
    /// Its work is under way.
    Working,
    /// Its job at the provider is cancelled before it ends so.
    Cancelling(Outcome),
    /// It has ended, and how.
    Ended(Outcome),
}

/// What happens to an attempt.
#[derive(Debug)]
pub(super) enum Happening {
    IntentAcknowledged {
        go: bool,
    },
    Cancelled,
    /// It was given away, or its run is over: nobody asks what comes of it, and its job is not its own any more.
    Disowned,
    /// Its job was cancelled, or could not be.
    JobEnded(Option<JobEnd>),
    /// The work came to its end, or its time ran out.
    Ended(Outcome),
}

/// What the attempt does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Begin,
    CancelJob,
    End,
    Nothing,
}

impl Course {
    pub(super) fn new(needs_intent: bool) -> Self {
        if needs_intent { Course::AwaitingIntent } else { Course::Working }
    }

    /// `has_job` says whether it may have a job that can be cancelled.
    pub(super) fn on(&mut self, happening: Happening, has_job: bool) -> Next {
        let outcome = match (std::mem::replace(self, Course::Working), happening) {
            // The first end counts, and an intent is answered once.
            (course @ Course::Ended(_), _)
            | (course @ (Course::Working | Course::Cancelling(_)), Happening::IntentAcknowledged { .. })
            | (course @ (Course::Working | Course::AwaitingIntent), Happening::JobEnded(_))
            | (
                course @ Course::Cancelling(_),
                Happening::Cancelled | Happening::Ended(Outcome::Failed(_) | Outcome::Stopped),
            ) => {
                *self = course;
                return Next::Nothing;
            }
            (Course::Working, Happening::Cancelled) if has_job => return self.cancel_job(Outcome::Stopped),
            (Course::Working, Happening::Ended(outcome)) if has_job && leaves_job(&outcome) => {
                return self.cancel_job(outcome);
            }
            (Course::Cancelling(outcome), Happening::JobEnded(_)) => outcome,
            (Course::AwaitingIntent, Happening::IntentAcknowledged { go: true }) => {
                *self = Course::Working;
                return Next::Begin;
            }
            (_, Happening::IntentAcknowledged { go: false } | Happening::Cancelled | Happening::Disowned) => {
                Outcome::Stopped
            }
            (_, Happening::Ended(outcome)) => outcome,
        };
        *self = Course::Ended(outcome);
        Next::End
    }

    fn cancel_job(&mut self, outcome: Outcome) -> Next {
        *self = Course::Cancelling(outcome);
        Next::CancelJob
    }
}

/// Whether work that ends so may leave its job behind. Where nobody can tell what happened, people decide what becomes of it.
fn leaves_job(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.class != ErrorClass::UnknownOutcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::Failure;

    const GO: Happening = Happening::IntentAcknowledged { go: true };
    const NO_GO: Happening = Happening::IntentAcknowledged { go: false };

    fn succeeded() -> Outcome {
        Outcome::Succeeded(Vec::new())
    }

    #[test]
    fn work_without_intent_begins_at_once() {
        let mut course = Course::new(false);
        assert_eq!(course, Course::Working);
        assert_eq!(course.on(Happening::Ended(succeeded()), false), Next::End);
        assert_eq!(course, Course::Ended(succeeded()));
    }

    #[test]
    fn an_intent_begins_the_work_once() {
        let mut course = Course::new(true);
        assert_eq!(course.on(GO, false), Next::Begin);
        assert_eq!(course.on(GO, false), Next::Nothing);
        assert_eq!(course.on(NO_GO, false), Next::Nothing, "a late answer stops nothing that was allowed");
        assert_eq!(course, Course::Working);
    }

    #[test]
    fn a_refused_intent_stops_before_anything_leaves() {
        let mut course = Course::new(true);
        assert_eq!(course.on(NO_GO, false), Next::End);
        assert_eq!(course, Course::Ended(Outcome::Stopped));
    }

    #[test]
    fn the_first_end_counts() {
        for needs_intent in [false, true] {
            let mut course = Course::new(needs_intent);
            assert_eq!(course.on(Happening::Cancelled, false), Next::End);
            assert_eq!(course.on(Happening::Ended(succeeded()), false), Next::Nothing);
            assert_eq!(course.on(GO, false), Next::Nothing);
            assert_eq!(course, Course::Ended(Outcome::Stopped));
        }
    }

    #[test]
    fn a_job_is_cancelled_before_the_end_is_told() {
        let failed = |class| Outcome::Failed(Failure::new(class, "code", "message"));
        for (happening, outcome) in [
            (Happening::Cancelled, Outcome::Stopped),
            (Happening::Ended(failed(ErrorClass::Timeout)), failed(ErrorClass::Timeout)),
        ] {
            let mut course = Course::new(false);
            assert_eq!(course.on(happening, true), Next::CancelJob);
            assert_eq!(course.on(Happening::Cancelled, true), Next::Nothing);
            assert_eq!(
                course.on(Happening::Ended(failed(ErrorClass::Internal)), true),
                Next::Nothing,
                "its work is dropped"
            );
            assert_eq!(course.on(Happening::JobEnded(Some(JobEnd::Cancelled)), true), Next::End);
            assert_eq!(course, Course::Ended(outcome));
        }
    }

    #[test]
    fn no_job_is_cancelled_that_gave_its_result_or_is_not_its_own() {
        let unknown = Outcome::Failed(Failure::new(ErrorClass::UnknownOutcome, "code", "message"));
        for happening in [Happening::Ended(succeeded()), Happening::Ended(unknown), Happening::Disowned] {
            assert_eq!(Course::new(false).on(happening, true), Next::End);
        }
        let mut course = Course::new(false);
        assert_eq!(course.on(Happening::Cancelled, true), Next::CancelJob);
        assert_eq!(course.on(Happening::Ended(succeeded()), true), Next::End, "it was done before");
        assert_eq!(course, Course::Ended(succeeded()));
        let mut course = Course::new(true);
        assert_eq!(course.on(Happening::Cancelled, true), Next::End, "nothing has left");
    }
}
