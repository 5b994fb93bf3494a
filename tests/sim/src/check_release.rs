//! What must be durable when an answer or an instruction leaves (I3, E3).

use heddle_core::id::{AttemptKey, RunId, ScopeIx};
use heddle_core::partition::io::{Dispatch, Effect, Refusal, Release, Reply, Verdict};
use heddle_core::run::{JobKey, NodePhase, RunStatus};
use heddle_core::value::Digest;

use super::check::Checker;

impl Checker {
    /// Something leaves a partition.
    pub(super) fn release(&mut self, release: &Release) {
        match release {
            Release::Reply(_, reply) => self.reply(reply),
            Release::Effect(effect) => self.effect(effect),
        }
    }

    fn reply(&self, reply: &Reply) {
        match reply {
            Reply::Submitted { run, .. } => {
                let is_there = self.events_of(*run).0 > 0 || self.is_quarantined(*run);
                self.expect(is_there, "H1", || format!("{run} is acknowledged before it is durable"));
            }
            Reply::Cancelled { status, seq, .. } => {
                // The reply does not name its run; no answer may be ahead of all histories.
                let is_there = self.runs.values().any(|account| {
                    let stands = account.fold.as_ref().map(|fold| fold.status());
                    account.events >= seq.0 && stands == Some(*status)
                });
                self.expect(*status != RunStatus::Running, "H10", || "a cancelled run is still running".to_owned());
                self.expect(is_there, "E3", || format!("an answer speaks of {status:?} before it is durable"));
            }
            Reply::Refused(Refusal::NotFound | Refusal::KeyMismatch) => {
                let is_there = self.runs.values().any(|account| account.events > 0 || account.is_quarantined);
                self.expect(is_there, "E3", || "a refusal speaks of a run before any is durable".to_owned());
            }
            Reply::Paused { seq, .. } => {
                let is_there = self.runs.values().any(|account| account.events >= seq.0 || account.is_quarantined);
                self.expect(is_there, "E3", || "a pause is acknowledged before it is durable".to_owned());
            }
            Reply::Answered { seq } => {
                let is_there = self.runs.values().any(|account| account.events >= seq.0 || account.is_quarantined);
                self.expect(is_there, "E3", || "an answer to a review is told before it is durable".to_owned());
            }
            Reply::Heard { seq, .. } => {
                let is_there = self.runs.values().any(|account| account.events >= seq.0 || account.is_quarantined);
                self.expect(is_there, "E3", || "a signal is acknowledged before it is durable".to_owned());
            }
            // What is acknowledged of batches is looked at in the end.
            Reply::BatchSubmitted { .. } | Reply::BatchCancelled | Reply::Refused(_) => {}
        }
    }

    /// Every try of an instance is given the same, whoever has loaded its run meanwhile.
    fn given_the_same(&mut self, dispatch: &Dispatch) {
        let given = Digest::of(format!("{:?} {:?}", dispatch.inputs, dispatch.question).as_bytes());
        let key = (dispatch.key.run, dispatch.key.instance, dispatch.provider);
        let first = *self.inputs.entry(key).or_insert(given);
        self.expect(first == given, "H1", || format!("{:?} is given other inputs than before", dispatch.key));
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Dispatch(dispatch) => {
                self.given_the_same(dispatch);
                let key = dispatch.key;
                let is_its = self.tokens.get(&key.token).is_some_and(|token| token.boot == dispatch.to);
                self.expect(is_its && self.is_live(&key), "I3", || format!("{key:?} is sent before it is durable"));
            }
            Effect::CancelJob(job) => {
                let key = JobKey { instance: job.key.instance, number: job.key.number };
                let fold = self.runs.get(&job.key.run).and_then(|account| account.fold.as_ref());
                let is_owed = fold.is_some_and(|fold| fold.owed_cancel(key).is_some());
                self.expect(is_owed, "I3", || format!("the job of {key:?} is cancelled before that is durable"));
            }
            Effect::CancelAttempt { key, .. } => {
                self.told_to_stop(key.token);
                let is_over = self.has_ended(key.run) || self.is_given_up(key);
                self.expect(is_over, "I3", || format!("{key:?} is cancelled before that it is not wanted is durable"));
            }
            Effect::Acknowledge { key, .. } => self.expect_done(key, "acknowledged"),
            Effect::AnswerIntent { key, go: true, .. } => {
                let has_intent = self.tokens.get(&key.token).is_some_and(|token| token.has_intent);
                let may = has_intent || self.is_quarantined(key.run);
                self.expect(may, "I3", || format!("{key:?} may act before its intent is durable"));
            }
            Effect::Verdicts { to, verdicts, .. } => {
                for (key, verdict) in verdicts {
                    if *verdict != Verdict::Keep {
                        self.told_to_stop(key.token);
                    }
                    let is_its = self.tokens.get(&key.token).is_some_and(|token| token.boot == *to);
                    match verdict {
                        Verdict::Keep => {}
                        Verdict::Stop if !is_its => {}
                        Verdict::Stop | Verdict::Acknowledged => self.expect_done(key, "given up"),
                    }
                }
            }
            Effect::Notify { run, seq, .. } => {
                let is_there = self.events_of(*run) >= *seq;
                self.expect(is_there, "I3", || format!("readers of {run} are told of event {seq} too early"));
            }
            Effect::CountZombie(key) => self.expect_done(key, "called a zombie"),
            Effect::CountForeign(key) => {
                // Agents of the simulation speak of nothing but what they were given.
                self.expect(false, "E8", || format!("{key:?} is called another agent's"));
            }
            // The world looks at these, which knows the messages that are durable.
            Effect::Deliver(_) | Effect::Arrived { .. } | Effect::AnswerIntent { go: false, .. } => {}
        }
    }

    /// An agent forgets a result.
    pub(super) fn forgotten(&self, key: &AttemptKey) {
        self.expect_done(key, "forgotten by its agent");
    }

    fn expect_done(&self, key: &AttemptKey, what: &str) {
        self.expect(!self.is_live(key), "I3", || format!("{key:?} is {what} before its end is durable"));
    }

    /// Whether durable history says that a node will not run to its end.
    fn is_given_up(&self, key: &AttemptKey) -> bool {
        let fold = self.runs.get(&key.run).and_then(|account| account.fold.as_ref());
        fold.is_some_and(|fold| match key.instance.scope {
            ScopeIx(0) => fold.phase_of(key.instance.node) == NodePhase::Dropped,
            // An item that has closed has left memory.
            _ => {
                let mut open = fold.open_instances(key.instance.node);
                open.find(|(instance, _)| *instance == key.instance.first())
                    .is_none_or(|(_, phase)| phase == NodePhase::Dropped)
            }
        })
    }

    fn has_ended(&self, run: RunId) -> bool {
        self.is_quarantined(run) || self.runs.get(&run).is_some_and(|account| account.ended.is_some())
    }
}
