//! Reviews as clients see them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::run::RunError;
use super::time::Time;

/// What lists show of a review.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReviewHead<'a> {
    pub(crate) id: &'a str,
    /// Of its config; without one the node's label, or its id.
    pub(crate) title: &'a str,
    pub(crate) execution_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) node_id: &'a str,
    /// The numbers of the items and turns that it lies in, the outermost first; absent outside of maps and loops.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub(crate) index: &'a [u32],
    /// `review`, or `outcome`: nobody knows whether the node did its work.
    pub(crate) kind: &'static str,
    /// Of a node whose policy asks for a review: `before` it begins, or `after` it has worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<&'static str>,
    /// `open`, `decided`, or `withdrawn` with the end of its run.
    pub(crate) state: &'static str,
    /// Who may decide; nobody is named: whose key has the scope.
    pub(crate) assignees: Vec<&'a str>,
    pub(crate) opened_at: Time,
    pub(crate) due_at: Option<Time>,
    pub(crate) closed_at: Option<Time>,
    /// The last word.
    pub(crate) decided: Option<Decided<'a>>,
}

/// A review: the answer of `GET /reviews/{id}`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Review<'a> {
    #[serde(flatten)]
    pub(crate) head: ReviewHead<'a>,
    /// Markdown.
    pub(crate) description: &'a str,
    /// What is asked about: the value, or where `stage` or `kind` speaks of a node with ports, an object of their values. Of
    /// a review that several have to approve it is the newest version, as the last one who approved has edited it.
    #[schemars(with = "serde_json::Value")]
    pub(crate) value: ReviewValue<'a>,
    /// The first version, if `value` is another; null if it is not.
    #[schemars(with = "serde_json::Value")]
    pub(crate) original: Option<ReviewValue<'a>>,
    /// Of which type an edit must be, by port.
    pub(crate) ports: Vec<ReviewPort<'a>>,
    /// The form that an edit must fit, as JSON Schema.
    #[schemars(with = "serde_json::Value")]
    pub(crate) schema: Option<&'a RawValue>,
    /// What may be decided: some of `approve`, `edit`, `reject`, `retry`.
    pub(crate) allow: Vec<&'a str>,
    /// How many people must approve.
    pub(crate) required: u32,
    /// How many have approved the newest version: an edit makes a new one.
    pub(crate) approvals: u32,
    /// What happens at `dueAt`: `approve`, `reject`, `fail` or `escalate`.
    pub(crate) on_timeout: Option<&'a str>,
    /// Goes up with each entry of the history.
    pub(crate) revision: u64,
    pub(crate) history: Vec<ReviewEntry<'a>>,
    /// What is known of an attempt whose outcome is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<RunError<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sandbox: bool,
}

/// One value, or values by port.
#[derive(Debug)]
pub(crate) enum ReviewValue<'a> {
    Whole(&'a RawValue),
    Ports(Vec<(&'a str, &'a RawValue)>),
}

impl Serialize for ReviewValue<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ReviewValue::Whole(value) => value.serialize(serializer),
            ReviewValue::Ports(values) => serializer.collect_map(values.iter().copied()),
        }
    }
}

/// What one port takes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReviewPort<'a> {
    pub(crate) port: &'a str,
    pub(crate) r#type: &'a str,
    pub(crate) list: bool,
}

/// What was decided, by whom and when.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Decided<'a> {
    /// `approve`, `reject` or `retry`; by its time also `fail` or `escalate`.
    pub(crate) decision: &'a str,
    /// A subject; null: its time was over.
    pub(crate) by: Option<&'a str>,
    pub(crate) at: Time,
    pub(crate) comment: Option<&'a str>,
    /// Whether something else was approved than what was asked about.
    pub(crate) edited: bool,
}

/// Something that happened at a review.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReviewEntry<'a> {
    #[serde(flatten)]
    pub(crate) decision: Decided<'a>,
    /// Whether it closed the review.
    pub(crate) last: bool,
    /// The edit, in the form of `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub(crate) data: Option<ReviewValue<'a>>,
    /// What a retry changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub(crate) config: Option<&'a RawValue>,
    /// Who may decide since it was handed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) assignees: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_at: Option<Time>,
}
