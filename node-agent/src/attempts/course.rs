//! The course of one attempt: a plain value that says what comes next.

use crate::wire::Outcome;

/// Where an attempt stands.
#[derive(Debug, PartialEq)]
pub(super) enum Course {
    /// Its intent is not durable yet: nothing may leave.
    AwaitingIntent,
    /// Its work is under way.
    Working,
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
    /// The work came to its end, or its time ran out.
    Ended(Outcome),
}

/// What the attempt does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Begin,
    End,
    Nothing,
}

impl Course {
    pub(super) fn new(needs_intent: bool) -> Self {
        if needs_intent { Course::AwaitingIntent } else { Course::Working }
    }

    pub(super) fn on(&mut self, happening: Happening) -> Next {
        let outcome = match (&self, happening) {
            // The first end counts, and an intent is answered once.
            (Course::Ended(_), _) | (Course::Working, Happening::IntentAcknowledged { .. }) => return Next::Nothing,
            (Course::AwaitingIntent, Happening::IntentAcknowledged { go: true }) => {
                *self = Course::Working;
                return Next::Begin;
            }
            (_, Happening::IntentAcknowledged { go: false } | Happening::Cancelled) => Outcome::Stopped,
            (_, Happening::Ended(outcome)) => outcome,
        };
        *self = Course::Ended(outcome);
        Next::End
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: Happening = Happening::IntentAcknowledged { go: true };
    const NO_GO: Happening = Happening::IntentAcknowledged { go: false };

    fn succeeded() -> Outcome {
        Outcome::Succeeded(Vec::new())
    }

    #[test]
    fn work_without_intent_begins_at_once() {
        let mut course = Course::new(false);
        assert_eq!(course, Course::Working);
        assert_eq!(course.on(Happening::Ended(succeeded())), Next::End);
        assert_eq!(course, Course::Ended(succeeded()));
    }

    #[test]
    fn an_intent_begins_the_work_once() {
        let mut course = Course::new(true);
        assert_eq!(course.on(GO), Next::Begin);
        assert_eq!(course.on(GO), Next::Nothing);
        assert_eq!(course.on(NO_GO), Next::Nothing, "a late answer stops nothing that was allowed");
        assert_eq!(course, Course::Working);
    }

    #[test]
    fn a_refused_intent_stops_before_anything_leaves() {
        let mut course = Course::new(true);
        assert_eq!(course.on(NO_GO), Next::End);
        assert_eq!(course, Course::Ended(Outcome::Stopped));
    }

    #[test]
    fn the_first_end_counts() {
        for needs_intent in [false, true] {
            let mut course = Course::new(needs_intent);
            assert_eq!(course.on(Happening::Cancelled), Next::End);
            assert_eq!(course.on(Happening::Ended(succeeded())), Next::Nothing);
            assert_eq!(course.on(GO), Next::Nothing);
            assert_eq!(course, Course::Ended(Outcome::Stopped));
        }
    }
}
