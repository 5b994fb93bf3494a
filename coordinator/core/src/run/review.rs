//! Reviews (graph.md, part 7): what a run asks of people, what they may decide, and what follows. How that changes the state
//! is in `review_fold.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::admit::check_size;
use super::control::PORT;
use super::scope_fold::cut;
use super::{Admitted, Body, NodePhase, Rejection, Run, Slot};
use crate::fault::{Fault, is_planted};
use crate::graph::review::REJECTED;
use crate::graph::{Allow, Graph, OnTimeout};
use crate::id::{AttemptNumber, AttemptToken, Generation, Instance, NodeIx, PortIx, ReviewIx, Subject};
use crate::limits;
use crate::run::event::{
    Asked, Decision, ErrorClass, Fact, NodeError, OutputValue, PortOutput, ReviewKind, ReviewOutcome, ReviewVerdict,
    Reviewed,
};
use crate::time::Timestamp;
use crate::value::{Digest, Value, ValueRef};

/// The output of a `logic:review` that gives what the person said.
const COMMENT: PortIx = PortIx(2);

/// What a run has to do with people. Runs that ask nobody have none of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reviews {
    /// The number of the next review.
    pub(super) next: ReviewIx,
    /// Instances that are due to ask, or wait for room.
    pub(super) asking: BTreeMap<Instance, Ask>,
    /// Those of them that wait until another review closes, in order.
    pub(super) waiting: VecDeque<Instance>,
    pub(super) open: BTreeMap<ReviewIx, OpenReview>,
    /// Of instances that people had run again, by their first generation.
    pub(super) generations: BTreeMap<Instance, Generation>,
    /// What was changed of their config, by the same.
    pub(super) configs: BTreeMap<Instance, ValueRef>,
    /// What was changed of the inputs of instances before they began, by the same.
    pub(super) inputs: BTreeMap<Instance, Vec<PortOutput>>,
}

/// What an instance is about to ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) kind: ReviewKind,
    /// What it has made, if it has.
    pub(super) outputs: Vec<PortOutput>,
    /// In which attempt.
    pub(super) attempt: Option<(AttemptNumber, AttemptToken)>,
    /// Why nobody knows what came of that.
    pub(super) error: Option<NodeError>,
}

/// A review that waits for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenReview {
    /// Of which instance.
    pub instance: Instance,
    /// What is looked at.
    pub kind: ReviewKind,
    /// That, by port.
    pub values: Vec<PortOutput>,
    /// What was changed by those who have approved, by port: with it the values are the newest version, which is approved.
    pub edits: Vec<PortOutput>,
    /// What is known of an attempt with an unknown outcome.
    pub error: Option<NodeError>,
    /// Since when.
    pub opened_at: Timestamp,
    /// Until when, if it does not wait for ever.
    pub due_at: Option<Timestamp>,
    /// Goes up with all that happens to it.
    pub revision: u64,
    /// Who has approved the newest version, where several have to.
    pub approvals: Vec<Subject>,
    /// Whether its time was over once, and others may decide now.
    pub is_escalated: bool,
    /// The attempt that gave the values, or of which nobody knows what came.
    pub(super) attempt: Option<(AttemptNumber, AttemptToken)>,
}

/// What somebody says to a review.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewAnswer {
    /// Which review.
    pub review: ReviewIx,
    /// Who.
    pub by: Subject,
    /// What: to approve, to reject, or to make it again.
    pub verdict: ReviewVerdict,
    /// With an approval: what is changed, by port. It fits the port and the form.
    pub edit: Vec<(PortIx, Value)>,
    /// With a retry: keys of the node's config to change, a JSON object.
    pub config: Option<Value>,
    /// In their own words; at most [`limits::REVIEW_COMMENT_BYTES_MAX`] bytes.
    pub comment: Option<Arc<str>>,
    /// The revision that they have looked at.
    pub revision: Option<u64>,
    /// Whether they may decide reviews of runs that they have started.
    pub decides_own: bool,
}

/// Why what somebody says to a review changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewRefusal {
    /// The run has no such review.
    Unknown,
    /// It was decided, or withdrawn: its row says by whom.
    Closed,
    /// More has happened to it than they have looked at.
    Stale {
        /// Its revision.
        revision: u64,
    },
    /// They have started the run, or one that it goes on from.
    Own,
    /// It names others.
    NotAssignee,
    /// They have approved this version already.
    AlreadyApproved,
    /// It does not take that.
    NotAllowed(&'static str),
}

/// What changes in a review's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewChange {
    /// It is opened.
    Opened {
        /// Of which instance.
        instance: Instance,
        /// The numbers of the items and turns that it lies in, the outermost first.
        index: Vec<u32>,
        /// What is looked at.
        kind: ReviewKind,
        /// Who may decide; nobody = whoever is allowed to.
        assignees: Vec<Arc<str>>,
        /// When.
        at: Timestamp,
        /// When its time is over.
        due_at: Option<Timestamp>,
    },
    /// Somebody has approved, and others have yet to.
    Approved,
    /// Others may decide, for a while.
    Escalated {
        /// Who.
        assignees: Vec<Arc<str>>,
        /// For how long.
        due_at: Option<Timestamp>,
    },
    /// It is decided.
    Decided {
        /// Since when it was open.
        opened_at: Timestamp,
        /// When.
        at: Timestamp,
        /// By whom; nobody: its time was over.
        by: Option<Subject>,
        /// What.
        verdict: ReviewVerdict,
    },
    /// Nothing depends on it any more.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
}

impl OpenReview {
    /// What a port has in the newest version.
    fn newest(&self, port: PortIx) -> Option<&PortOutput> {
        self.edits.iter().chain(&self.values).find(|output| output.port == port)
    }

    /// Whether the newest version has just this there.
    fn has(&self, port: PortIx, digest: Digest) -> bool {
        let newest = self.newest(port).map(|output| &output.value);
        newest.and_then(OutputValue::whole).is_some_and(|whole| whole.digest == digest)
    }
}

impl Ask {
    /// Of what no attempt has made.
    pub(super) fn new(kind: ReviewKind) -> Self {
        Self { kind, outputs: Vec::new(), attempt: None, error: None }
    }
}

impl Reviews {
    /// Whether one more may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() + self.asking.len() - self.waiting.len().min(self.asking.len())
            < limits::OPEN_REVIEWS_PER_RUN_MAX
    }

    /// The open review of an instance.
    pub(super) fn of(&self, instance: Instance) -> Option<(ReviewIx, &OpenReview)> {
        self.open.iter().find(|(_, open)| open.instance == instance).map(|(ix, open)| (*ix, open))
    }
}

impl Graph {
    /// What may be decided at a review of this kind of a node.
    pub fn may_decide(&self, node: NodeIx, kind: ReviewKind) -> Allow {
        match kind {
            ReviewKind::Value => self.review(node).map_or(Allow::ALL, |review| review.allow),
            ReviewKind::Before => Allow { retry: false, ..Allow::ALL },
            ReviewKind::After | ReviewKind::Outcome => Allow::ALL,
        }
    }
}

impl Run {
    /// The reviews that wait for people, in the order in which they were opened.
    pub fn open_reviews(&self) -> impl Iterator<Item = (ReviewIx, &OpenReview)> {
        self.state.reviews.iter().flat_map(|reviews| reviews.open.iter().map(|(ix, open)| (*ix, open)))
    }

    /// A review that waits for people.
    pub fn open_review(&self, review: ReviewIx) -> Option<&OpenReview> {
        self.state.reviews.as_ref()?.open.get(&review)
    }

    /// Whether people are waited for.
    pub(super) fn has_open_reviews(&self) -> bool {
        self.state.reviews.as_ref().is_some_and(|reviews| !reviews.open.is_empty())
    }

    /// Who may decide at a review; nobody = whoever is allowed to.
    pub fn assignees(&self, open: &OpenReview) -> &[Arc<str>] {
        let Some(review) = self.graph.review(open.instance.node) else { return &[] };
        match &review.timeout {
            Some(timeout) if open.is_escalated => match &timeout.then {
                OnTimeout::Escalate { to } => to,
                _ => &review.assignees,
            },
            _ => &review.assignees,
        }
    }

    /// Whether somebody has started the run, or one whose results it goes on from.
    fn is_own(&self, by: &Subject) -> bool {
        *by == self.state.origin.subject || self.lineage().is_some_and(|lineage| lineage.subjects.contains(by))
    }

    /// The generation of an instance that is the present one.
    pub(super) fn current(&self, instance: Instance) -> Instance {
        let Some(reviews) = &self.state.reviews else { return instance };
        let generation = reviews.generations.get(&instance.first()).copied().unwrap_or_default();
        Instance { generation, ..instance }
    }

    /// Keys of the node's config that people have changed for an instance, a JSON object.
    pub(crate) fn changed_config(&self, instance: Instance) -> Option<ValueRef> {
        self.state.reviews.as_ref()?.configs.get(&instance.first()).copied()
    }

    /// What people have put in the place of inputs of an instance, by port, before it began. A list is one value.
    pub(crate) fn changed_inputs(&self, instance: Instance) -> &[PortOutput] {
        let changed = self.state.reviews.as_ref().and_then(|reviews| reviews.inputs.get(&instance.first()));
        changed.map_or(&[], Vec::as_slice)
    }

    /// Whether people look at what this attempt gave.
    pub(super) fn is_looked_at(&self, instance: Instance, token: AttemptToken) -> bool {
        let Some(reviews) = &self.state.reviews else { return false };
        let asking = reviews.asking.get(&instance).map(|ask| (ask.kind, ask.attempt));
        let open = reviews.of(instance).map(|(_, open)| (open.kind, open.attempt));
        let is_same = |(kind, attempt): (ReviewKind, Option<(AttemptNumber, AttemptToken)>)| {
            kind == ReviewKind::After && attempt.is_some_and(|(_, known)| known == token)
        };
        asking.or(open).is_some_and(is_same)
    }

    /// What an instance asks that is due to ask; nothing of other instances.
    pub(super) fn ask(&self, instance: Instance, now: Timestamp, body: &mut Body) -> Option<Decision> {
        let reviews = self.state.reviews.as_ref()?;
        let ask = reviews.asking.get(&instance)?;
        let values = match ask.kind {
            ReviewKind::Value => self.pass_on(instance, body),
            ReviewKind::Before => {
                let inputs = self.wired_inputs(instance).into_iter();
                let inputs = inputs.map(|input| PortOutput { port: input.port, value: self.gather(instance, &input) });
                inputs.filter(|input| input.value != OutputValue::Closed).collect()
            }
            ReviewKind::After | ReviewKind::Outcome => {
                ask.outputs.iter().filter(|output| output.value != OutputValue::Closed).cloned().collect()
            }
        };
        let timeout = self.graph.review(instance.node).and_then(|review| review.timeout.as_ref());
        let asked = Asked {
            review: reviews.next,
            kind: ask.kind,
            values,
            due_at: timeout.map(|timeout| now.plus(timeout.after)),
            error: ask.error.clone(),
        };
        Some(Decision::Asked { instance, asked: Box::new(asked) })
    }

    /// What follows from what somebody says to a review.
    pub(super) fn answer(&self, answer: ReviewAnswer) -> Result<Admitted, Rejection> {
        let refused = |why| Err(Rejection::Review(why));
        let ReviewAnswer { review, by, verdict, edit, config, comment, revision, decides_own } = answer;
        let known = self.state.reviews.as_ref().filter(|reviews| review < reviews.next);
        let Some(reviews) = known else { return refused(ReviewRefusal::Unknown) };
        let Some(open) = reviews.open.get(&review) else { return refused(ReviewRefusal::Closed) };
        if revision.is_some_and(|revision| revision != open.revision) {
            return refused(ReviewRefusal::Stale { revision: open.revision });
        }
        if self.is_own(&by) && !decides_own {
            return refused(ReviewRefusal::Own);
        }
        let assignees = self.assignees(open);
        if !assignees.is_empty() && !assignees.contains(&by.0) {
            return refused(ReviewRefusal::NotAssignee);
        }
        let mut body = Body::new(self.seq().next());
        let edit: Vec<PortOutput> = match self.edited(open, verdict, edit, &mut body) {
            Ok(edit) => edit,
            Err(why) => return refused(why),
        };
        if config.is_some() && verdict != ReviewVerdict::Retry {
            return refused(ReviewRefusal::NotAllowed("config"));
        }
        let comment = comment.filter(|comment| !comment.is_empty());
        let allow = self.graph.may_decide(open.instance.node, open.kind);
        let outcome = match verdict {
            ReviewVerdict::Approve
                if allow.approve
                    && edit.is_empty()
                    && open.approvals.contains(&by)
                    && !is_planted(Fault::DecidedTwice) =>
            {
                return refused(ReviewRefusal::AlreadyApproved);
            }
            ReviewVerdict::Approve if allow.approve => {
                let required = self.graph.review(open.instance.node).map_or(1, |review| review.required);
                // Who has approved another version has not approved this one.
                let before = if edit.is_empty() { open.approvals.len() as u32 } else { 0 };
                match before + 1 < required {
                    true => ReviewOutcome::Open { due_at: open.due_at },
                    false => self.approved(open, &edit, comment.as_deref(), &mut body),
                }
            }
            ReviewVerdict::Reject if allow.reject => self.rejected(open, Some(&by), comment.as_deref(), &mut body),
            ReviewVerdict::Retry if allow.retry => match self.again(open) {
                Some(instance) => ReviewOutcome::Again { instance },
                None => return refused(ReviewRefusal::NotAllowed("decision")),
            },
            _ => return refused(ReviewRefusal::NotAllowed("decision")),
        };
        let config = config.map(|config| body.put(config));
        let instance = open.instance;
        let reviewed = Reviewed { review, instance, by: Some(by), verdict, comment, edit, config, outcome };
        Ok(Admitted { fact: Fact::Reviewed(Box::new(reviewed)), values: body.into_values() })
    }

    /// What was changed, as far as the review takes changes. What is as it was makes no new version.
    fn edited(
        &self,
        open: &OpenReview,
        verdict: ReviewVerdict,
        edit: Vec<(PortIx, Value)>,
        body: &mut Body,
    ) -> Result<Vec<PortOutput>, ReviewRefusal> {
        let refused = ReviewRefusal::NotAllowed("data");
        let allow = self.graph.may_decide(open.instance.node, open.kind);
        if !edit.is_empty() && (verdict != ReviewVerdict::Approve || !allow.edit) {
            return Err(refused);
        }
        let node = self.graph.node(open.instance.node);
        let mut edited = Vec::with_capacity(edit.len());
        for (port, value) in edit {
            let is_there = match open.kind {
                ReviewKind::Value => port == PORT,
                // Inputs that nothing came into are not there to be changed.
                ReviewKind::Before => open.values.iter().any(|input| input.port == port),
                ReviewKind::After | ReviewKind::Outcome => {
                    let outputs = node.node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
                    usize::from(port.0) < outputs && node.error_port != Some(port)
                }
            };
            if !is_there || check_size("data", &value).is_err() {
                return Err(refused);
            }
            if !open.has(port, value.digest()) {
                let before = open.newest(port).map(|output| &output.value);
                edited.push(PortOutput { port, value: OutputValue::in_place_of(body.put(value), before) });
            }
        }
        Ok(edited)
    }

    /// Nobody has decided in time.
    pub(super) fn timed_out(&self, instance: Instance, now: Timestamp) -> Option<Admitted> {
        let (review, open) = self.state.reviews.as_ref()?.of(instance)?;
        let timeout = self.graph.review(instance.node)?.timeout.as_ref()?;
        let mut body = Body::new(self.seq().next());
        let (verdict, outcome) = match &timeout.then {
            OnTimeout::Approve => (ReviewVerdict::Approve, self.approved(open, &[], None, &mut body)),
            OnTimeout::Reject => (ReviewVerdict::Reject, self.rejected(open, None, None, &mut body)),
            OnTimeout::Escalate { .. } if !open.is_escalated => {
                (ReviewVerdict::Escalate, ReviewOutcome::Open { due_at: Some(now.plus(timeout.after)) })
            }
            OnTimeout::Fail | OnTimeout::Escalate { .. } => {
                let error = NodeError {
                    class: ErrorClass::Timeout,
                    code: "review_timeout".into(),
                    message: "nobody decided the review in time".into(),
                };
                (ReviewVerdict::Fail, self.failed_at(open, error, &mut body))
            }
        };
        let (by, comment, edit, config) = (None, None, Vec::new(), None);
        let reviewed = Reviewed { review, instance, by, verdict, comment, edit, config, outcome };
        Some(Admitted { fact: Fact::Reviewed(Box::new(reviewed)), values: body.into_values() })
    }

    /// The last approval: the node begins, or gives what it has made, as it was changed.
    fn approved(
        &self,
        open: &OpenReview,
        edit: &[PortOutput],
        comment: Option<&str>,
        body: &mut Body,
    ) -> ReviewOutcome {
        let value = |port: PortIx| {
            let edited = edit.iter().find(|output| output.port == port);
            edited.or_else(|| open.newest(port)).map_or(OutputValue::Closed, |output| output.value.clone())
        };
        match open.kind {
            ReviewKind::Before => ReviewOutcome::Begins,
            ReviewKind::Value => ReviewOutcome::Gave(vec![
                PortOutput { port: PORT, value: value(PORT) },
                PortOutput { port: REJECTED, value: OutputValue::Closed },
                self.said(comment, body),
            ]),
            ReviewKind::After | ReviewKind::Outcome => {
                let node_type = self.graph.node(open.instance.node).node_type.as_ref();
                let ports = (0..node_type.map_or(0, |node_type| node_type.outputs.len())).map(|ix| PortIx(ix as u16));
                ReviewOutcome::Gave(ports.map(|port| PortOutput { port, value: value(port) }).collect())
            }
        }
    }

    /// A `logic:review` gives the value through `rejected` if anything takes it there; else the node fails.
    fn rejected(
        &self,
        open: &OpenReview,
        by: Option<&Subject>,
        comment: Option<&str>,
        body: &mut Body,
    ) -> ReviewOutcome {
        let mut edges = self.graph.out_edges(open.instance.node).iter();
        if open.kind == ReviewKind::Value && edges.any(|edge| edge.source_port == REJECTED) {
            let value = open.values.first().map_or(OutputValue::Closed, |output| output.value.clone());
            return ReviewOutcome::Gave(vec![
                PortOutput { port: PORT, value: OutputValue::Closed },
                PortOutput { port: REJECTED, value },
                self.said(comment, body),
            ]);
        }
        let who = by.map_or_else(
            || "nobody decided in time, so it counts as rejected".to_owned(),
            |by| format!("{by} rejected it"),
        );
        let message = comment.map_or_else(|| who.clone(), |comment| format!("{who}: {comment}"));
        let error = match &open.error {
            // What is known of the attempt stays, and who has said that it counts as failed.
            Some(known) => NodeError { message: cut(format!("{}; {message}", known.message)), ..known.clone() },
            None => NodeError { class: ErrorClass::Cancelled, code: "review_rejected".into(), message: cut(message) },
        };
        self.failed_at(open, error, body)
    }

    fn failed_at(&self, open: &OpenReview, error: NodeError, body: &mut Body) -> ReviewOutcome {
        let attempts = open.attempt.map_or(AttemptNumber(0), |(number, _)| number);
        let caught = self.caught(open.instance, &error, attempts, body);
        ReviewOutcome::Failed { error, caught }
    }

    fn said(&self, comment: Option<&str>, body: &mut Body) -> PortOutput {
        let value = match comment {
            None => OutputValue::Closed,
            Some(comment) => {
                let text = serde_json::Value::from(comment).to_string();
                OutputValue::One(body.put(Value::from_json(Bytes::from(text))))
            }
        };
        PortOutput { port: COMMENT, value }
    }

    /// What runs again at a retry, if its tries are not used up.
    fn again(&self, open: &OpenReview) -> Option<Instance> {
        let again = match open.kind {
            ReviewKind::Value => self.current(open.instance.beside(self.graph.review(open.instance.node)?.again?)),
            ReviewKind::Before => return None,
            ReviewKind::After | ReviewKind::Outcome => open.instance,
        };
        let has_given = |slot: &Slot| slot.phase == NodePhase::Completed;
        let is_there = open.kind != ReviewKind::Value || self.slot_of(again).is_some_and(has_given);
        (is_there && self.next_attempt(again).0 <= limits::ATTEMPTS_MAX).then_some(again)
    }
}
