//! The one timer that a shell keeps for a partition.

use crate::fault::{Fault, is_planted};
use crate::time::{Span, Timestamp};

/// Whoever has to wait a little longer than asked is sure that the instant has come.
const AFTER: Span = Span::from_millis(1);

/// When the timer rings. Timers that were set before an earlier one cannot be called back: what they say is not heard.
#[derive(Debug, Clone, Default)]
pub struct Alarm {
    rings_at: Option<Timestamp>,
}

impl Alarm {
    /// Takes what a partition asks for ([`super::io::Outputs::wake_at`]); gives the instant for which a timer is to be set, if
    /// none is under way that rings by then.
    pub fn set(&mut self, wake_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let rings_at = wake_at?.max(now).plus(AFTER);
        if self.rings_at.is_some_and(|under_way| under_way <= rings_at) {
            return None;
        }
        self.rings_at = Some(rings_at);
        self.rings_at
    }

    /// The timer that was set for this instant rings; false if another has taken its place, and there is nothing to do.
    pub fn rings(&mut self, at: Timestamp) -> bool {
        // Whoever heard them all would set a new timer after each: they would never become fewer.
        let is_heard = self.rings_at == Some(at) || is_planted(Fault::OldTimersHeard);
        if is_heard {
            self.rings_at = None;
        }
        is_heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_timer_is_set_for_what_comes_first_and_not_for_the_past() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.set(None, at(0)), None);
        assert_eq!(alarm.set(Some(at(100)), at(0)), Some(at(101)));
        assert_eq!(alarm.set(Some(at(200)), at(0)), None, "it is looked again at 101");
        assert_eq!(alarm.set(Some(at(100)), at(50)), None);
        assert_eq!(alarm.set(Some(at(50)), at(60)), Some(at(61)));
    }

    #[test]
    fn timers_do_not_become_more() {
        let mut alarm = Alarm::default();
        let mut under_way: Vec<Timestamp> = Vec::new();
        for round in 0..100 {
            let now = round * 1_000;
            // Something far off, then something near: twice a timer is set, and the first cannot be called back.
            under_way.extend(alarm.set(Some(at(now + 999)), at(now)));
            under_way.extend(alarm.set(Some(at(now + 10)), at(now)));
            under_way.sort_unstable();
            let rung: Vec<Timestamp> = under_way.extract_if(.., |ringing| *ringing < at(now + 1_000)).collect();
            let mut heard = 0;
            for ringing in rung {
                heard += u32::from(alarm.rings(ringing));
                under_way.extend(alarm.set(Some(at(now + 999)), ringing));
            }
            assert!(heard > 0 && under_way.len() <= 3, "round {round}: {under_way:?}");
        }
    }
}
