//! What a `logic:review` asks, read from its config, and which node a person can have run again (graph.md, part 7).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::logic::Reader;
use super::problem::{Problem, join, rule, shown};
use super::{Graph, Logic, ScopeKind};
use crate::id::{NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::policy::{OnError, OnItemError, ReviewWhen};
use crate::time::Span;

/// The output that a rejected value leaves by.
pub(crate) const REJECTED: PortIx = PortIx(1);

/// What a `logic:review` asks, and of whom.
#[derive(Debug, Default)]
pub struct Review {
    /// One line for people; empty = the node's label.
    pub title: Arc<str>,
    /// What they are to look at, in Markdown.
    pub description: Arc<str>,
    /// Who may decide; nobody = whoever is allowed to decide reviews.
    pub assignees: Vec<Arc<str>>,
    /// The JSON Schema that an edited value has to fit.
    pub schema: Option<Bytes>,
    /// How many people have to approve.
    pub required: u32,
    /// What happens when nobody decides in time.
    pub timeout: Option<Timeout>,
    /// What may be decided.
    pub allow: Allow,
    /// The node that runs again at a retry.
    pub again: Option<NodeIx>,
}

/// How long a review waits for people, and what it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeout {
    /// How long.
    pub after: Span,
    /// What happens.
    pub then: OnTimeout,
}

/// What a review does when its time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnTimeout {
    /// As if it was approved.
    Approve,
    /// As if it was rejected.
    Reject,
    /// The node fails.
    Fail,
    /// Others may decide, for as long again; after that the node fails.
    Escalate {
        /// Who.
        to: Vec<Arc<str>>,
    },
}

impl OnTimeout {
    /// Its word in the API.
    pub fn name(&self) -> &'static str {
        match self {
            OnTimeout::Approve => "approve",
            OnTimeout::Reject => "reject",
            OnTimeout::Fail => "fail",
            OnTimeout::Escalate { .. } => "escalate",
        }
    }
}

/// What may be decided at a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allow {
    /// The value is good.
    pub approve: bool,
    /// It is good as the person has changed it.
    pub edit: bool,
    /// It is not.
    pub reject: bool,
    /// The node is to run again.
    pub retry: bool,
}

impl Allow {
    /// Everything.
    pub const ALL: Self = Self { approve: true, edit: true, reject: true, retry: true };

    /// Its words in the API.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let words = [("approve", self.approve), ("edit", self.edit), ("reject", self.reject), ("retry", self.retry)];
        words.into_iter().filter(|(_, is_allowed)| *is_allowed).map(|(word, _)| word)
    }
}

impl Graph {
    /// Whether people decide on what a node gives, or on something inside it: only what they have decided may stand in for that.
    pub fn asks_people(&self, ix: NodeIx) -> bool {
        let asks = |ix: NodeIx| {
            let node = self.node(ix);
            node.policy.review.is_some() || node.runner == Runner::Control(Control::Review)
        };
        asks(ix) || self.all_inside(ix).into_iter().any(asks)
    }
}

impl Reader<'_> {
    pub(super) fn review(&self) -> Result<Review, Problem> {
        let timeout = match self.time()? {
            None => None,
            Some(after) => Some(Timeout { after, then: self.on_timeout()? }),
        };
        if timeout.is_none() && self.is_given("onTimeout") {
            let message = format!("Node \"{}\" has onTimeout, but no timeoutMs.", shown(&self.node.label));
            return Err(self.wrong("timeoutMs", message, "Write timeoutMs, or take onTimeout out."));
        }
        let (assignees, required) =
            (self.people("assignees")?, self.number("required", 1..=limits::REVIEW_APPROVALS_MAX)?.unwrap_or(1));
        self.can_be_approved(&assignees, required, timeout.as_ref())?;
        Ok(Review {
            title: self.text("title", limits::REVIEW_TITLE_BYTES_MAX)?,
            description: match self.is_given("instructions") {
                true => self.text("instructions", limits::REVIEW_DESCRIPTION_BYTES_MAX)?,
                false => self.text("description", limits::REVIEW_DESCRIPTION_BYTES_MAX)?,
            },
            assignees,
            schema: self.schema()?,
            required,
            timeout,
            allow: self.allow()?,
            again: None,
        })
    }

    /// Approvals are of different people: of those who are named there must be enough, also after an escalation. Time may
    /// approve what they do not.
    fn can_be_approved(&self, assignees: &[Arc<str>], required: u32, timeout: Option<&Timeout>) -> Result<(), Problem> {
        let later = match timeout.map(|timeout| &timeout.then) {
            Some(OnTimeout::Approve) => return Ok(()),
            Some(OnTimeout::Escalate { to }) => &to[..],
            _ => &[],
        };
        let people = assignees.iter().chain(later).collect::<BTreeSet<_>>().len();
        if assignees.is_empty() || people >= required as usize {
            return Ok(());
        }
        let label = shown(&self.node.label);
        let message = format!("Node \"{label}\" asks for {required} approvals, and names {people} who may approve.");
        Err(self.wrong("required", message, "Name more people, each once, or ask for fewer approvals."))
    }

    fn is_given(&self, key: &str) -> bool {
        self.config.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, key: &str, message: String, fix: &str) -> Problem {
        Problem::new(rule::BAD_CONFIG, message, fix).at(join(&(self.path)(), key))
    }

    pub(super) fn time(&self) -> Result<Option<Span>, Problem> {
        let most = limits::WAIT_MAX.as_millis();
        match self.config.get("timeoutMs") {
            None | Some(Value::Null) => Ok(None),
            Some(given) => match given.as_u64().filter(|millis| (1..=most).contains(millis)) {
                Some(millis) => Ok(Some(Span::from_millis(millis))),
                None => {
                    let given = shown(&given.to_string());
                    let message = format!("timeoutMs of node \"{}\" cannot be {given}.", shown(&self.node.label));
                    Err(self.wrong("timeoutMs", message, &format!("Write milliseconds, from 1 to {most}.")))
                }
            },
        }
    }

    fn on_timeout(&self) -> Result<OnTimeout, Problem> {
        Ok(match self.word("onTimeout", &["fail", "approve", "reject", "escalate"])? {
            "approve" => OnTimeout::Approve,
            "reject" => OnTimeout::Reject,
            "escalate" => {
                let to = self.people("escalateTo")?;
                if to.is_empty() {
                    let message = format!("Node \"{}\" escalates to nobody.", shown(&self.node.label));
                    return Err(self.wrong("escalateTo", message, "Write escalateTo: one subject or a list of them."));
                }
                OnTimeout::Escalate { to }
            }
            _ => OnTimeout::Fail,
        })
    }

    fn text(&self, key: &str, bytes_max: usize) -> Result<Arc<str>, Problem> {
        match self.config.get(key) {
            None | Some(Value::Null) => Ok(Arc::from("")),
            Some(Value::String(text)) if text.len() <= bytes_max => Ok(text.as_str().into()),
            Some(_) => {
                let message =
                    format!("{key} of node \"{}\" is no text of at most {bytes_max} bytes.", shown(&self.node.label));
                Err(self.wrong(key, message, "Write a text for those who decide."))
            }
        }
    }

    /// One subject or a list of them.
    fn people(&self, key: &str) -> Result<Vec<Arc<str>>, Problem> {
        let is_name = |text: &&str| {
            let is_plain = !text.is_empty() && !text.chars().any(char::is_control);
            is_plain && text.len() <= limits::REVIEW_ASSIGNEE_BYTES_MAX
        };
        let name = |value: &Value| value.as_str().filter(is_name).map(Arc::from);
        let people: Option<Vec<Arc<str>>> = match self.config.get(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(people)) if people.len() <= limits::REVIEW_ASSIGNEES_MAX => {
                people.iter().map(name).collect()
            }
            Some(one) => name(one).map(|one| vec![one]),
        };
        people.ok_or_else(|| {
            let message = format!("{key} of node \"{}\" names no subjects.", shown(&self.node.label));
            let fix = format!("Write the subject of a key, or a list of at most {}.", limits::REVIEW_ASSIGNEES_MAX);
            self.wrong(key, message, &fix)
        })
    }

    pub(super) fn schema(&self) -> Result<Option<Bytes>, Problem> {
        match self.config.get("schema") {
            None | Some(Value::Null) => Ok(None),
            Some(schema @ Value::Object(_)) => Ok(Some(schema.to_string().into())),
            Some(_) => {
                let message = format!("schema of node \"{}\" is no JSON Schema.", shown(&self.node.label));
                Err(self.wrong(
                    "schema",
                    message,
                    "Write an object such as {\"type\": \"object\", \"properties\": {}}.",
                ))
            }
        }
    }

    fn allow(&self) -> Result<Allow, Problem> {
        let words = match self.config.get("allow") {
            None | Some(Value::Null) => return Ok(Allow::ALL),
            Some(words) => words.as_array().map(Vec::as_slice).unwrap_or_default(),
        };
        let mut allow = Allow::default();
        for word in words {
            match word.as_str() {
                Some("approve") => allow.approve = true,
                Some("edit") => (allow.approve, allow.edit) = (true, true),
                Some("reject") => allow.reject = true,
                Some("retry") => allow.retry = true,
                _ => return Err(self.bad_allow()),
            }
        }
        if allow.approve || allow.reject { Ok(allow) } else { Err(self.bad_allow()) }
    }

    fn bad_allow(&self) -> Problem {
        let message = format!("allow of node \"{}\" lets nobody decide.", shown(&self.node.label));
        self.wrong("allow", message, "Write a list of approve, edit, reject and retry, with approve or reject in it.")
    }
}

/// Finds the nodes whose output is reviewed: attempts of theirs are counted on when a person has them run again.
pub(super) fn link(graph: &mut Graph) {
    let reviews: Vec<NodeIx> =
        graph.nodes().filter(|(_, node)| node.runner == Runner::Control(Control::Review)).map(|(ix, _)| ix).collect();
    for ix in reviews {
        let again = graph.reviewed_by(ix);
        if let Some(Logic::Review(review)) = graph.nodes[ix.0 as usize].logic.as_deref_mut() {
            review.again = again;
            review.allow.retry &= again.is_some();
        }
        if let Some(again) = again {
            graph.nodes[again.0 as usize].is_reviewed = true;
        }
    }
    for node in graph.nodes.iter_mut().filter(|node| node.policy.review == Some(ReviewWhen::After)) {
        node.is_reviewed = true;
    }
}

/// Warnings about reviews whose rejection fails the run: nothing takes what is rejected, and nothing catches the failure.
pub(super) fn failing_rejections(graph: &Graph) -> impl Iterator<Item = (NodeIx, Problem)> {
    graph.nodes().filter_map(|(ix, node)| {
        let review = graph.review(ix)?;
        let by_time = review.timeout.as_ref().is_some_and(|timeout| timeout.then == OnTimeout::Reject);
        let leads_on = graph.out_edges(ix).iter().any(|edge| edge.source_port == REJECTED);
        if leads_on || !(review.allow.reject || by_time) || graph.is_caught(ix) {
            return None;
        }
        let message =
            format!("Nothing takes what is rejected at \"{}\": a rejection fails the run.", shown(&node.label));
        let fix = "Join a node to \"out-rejected\", set policy.onError to continue, or leave reject out of allow.";
        Some((ix, Problem::new(rule::REJECTION_FAILS, message, fix).node(&node.id)))
    })
}

impl Graph {
    /// Whether a failure of a node, or of what it lies in, is something that the run goes on with.
    fn is_caught(&self, ix: NodeIx) -> bool {
        let node = self.node(ix);
        let goes_on = |found: Option<OnItemError>| found.is_some_and(|it| it != OnItemError::Fail);
        let of_scope = match self.scope(ix).map(|scope| &scope.kind) {
            Some(ScopeKind::Map { on_item_error, .. }) => *on_item_error,
            _ => None,
        };
        node.policy.on_error == OnError::Continue
            || goes_on(node.policy.on_item_error)
            || goes_on(of_scope)
            || self.within(ix).is_some_and(|container| self.is_caught(container))
    }

    /// What a `logic:review` asks.
    pub fn review(&self, ix: NodeIx) -> Option<&Review> {
        match self.get(ix)?.logic.as_deref() {
            Some(Logic::Review(review)) => Some(review),
            _ => None,
        }
    }

    /// The node whose output a review looks at, if it can run again: agents run it, it lies beside the review, and nobody
    /// but the review has got its output.
    fn reviewed_by(&self, review: NodeIx) -> Option<NodeIx> {
        let [edge] = self.in_edges(review) else { return None };
        let source = self.node(edge.source);
        let leads_here = self.out_edges(edge.source).iter().all(|edge| edge.target == review);
        let is_beside = source.within == self.node(review).within && self.node(review).waits_for == 1;
        (source.runner == Runner::Agent && leads_here && is_beside).then_some(edge.source)
    }
}
