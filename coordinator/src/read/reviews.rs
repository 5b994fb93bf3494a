//! A review as people see it: its row, and what its run's history says of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use heddle_core::graph::{Graph, OnTimeout, Review};
use heddle_core::id::{EventSeq, NodeIx, PortIx, ReviewIx, RunId};
use heddle_core::node_type::{Port, PortType};
use heddle_core::partition::batch::ReviewState;
use heddle_core::run::event::{
    Asked, Decision, Event, Fact, OutputValue, PortOutput, ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed,
};
use heddle_core::time::Timestamp;
use heddle_proto::control as wire;

use super::runs::{self, ReadError};
use super::values::{self, Kept, Of};
use crate::auth::Tenant;
use crate::limits::ANSWER_VALUES_BYTES;
use crate::reviews::rows::StoredReview;
use crate::shared::Shared;

/// What a history says of one review.
#[derive(Debug, Default)]
pub(crate) struct Found {
    asked: Option<Box<Asked>>,
    pub(crate) entries: Vec<(Box<Reviewed>, Timestamp)>,
    pub(crate) revision: u64,
    kept: Kept,
    is_sandboxed: bool,
}

impl Found {
    /// Takes down what an event says.
    fn note(&mut self, review: ReviewIx, event: &Event) {
        if let Fact::Submitted(submitted) = &event.fact {
            self.is_sandboxed = submitted.sandbox;
        }
        for decision in &event.decisions {
            if let Decision::Asked { asked, .. } = decision
                && asked.review == review
            {
                self.asked = Some(asked.clone());
                self.kept.keep(event);
            }
        }
        if let Fact::Reviewed(reviewed) = &event.fact
            && reviewed.review == review
        {
            self.revision += 1;
            self.entries.push((reviewed.clone(), event.at));
            self.kept.keep(event);
        }
    }

    /// The version that is looked at now, or was when the review was decided; nothing: the first one.
    fn newest(&self, asked: &Asked) -> Option<Vec<PortOutput>> {
        let open = self.entries.iter().filter(|(it, _)| matches!(it.outcome, ReviewOutcome::Open { .. }));
        let mut edits = open.flat_map(|(it, _)| &it.edit).peekable();
        edits.peek()?;
        let mut newest = asked.values.clone();
        for edit in edits {
            newest.retain(|known| known.port != edit.port);
            newest.push(edit.clone());
        }
        newest.sort_by_key(|value| value.port);
        Some(newest)
    }

    /// How many people have approved the newest version.
    fn approvals(&self) -> u32 {
        let is_edit = |(it, _): &(Box<Reviewed>, Timestamp)| !it.edit.is_empty();
        let since = self.entries.iter().rposition(is_edit).unwrap_or(0);
        let approvals = self.entries[since..].iter();
        approvals.filter(|(it, _)| it.by.is_some() && it.verdict == ReviewVerdict::Approve).count() as u32
    }
}

/// A port that people look at.
pub(crate) struct Looked {
    pub(crate) id: Arc<str>,
    pub(crate) port_type: PortType,
    pub(crate) list: bool,
}

/// The port of a review's value: what comes into a `logic:review` is what its source gives.
pub(crate) fn looked_at(graph: &Graph, node: NodeIx, kind: ReviewKind, port: PortIx) -> Option<Looked> {
    let node_type = graph.node(node).node_type.as_ref()?;
    let of = |port: &Port| Looked { id: port.id.clone(), port_type: port.port_type, list: port.list };
    match kind {
        ReviewKind::Before => node_type.inputs.get(usize::from(port.0)).map(of),
        ReviewKind::After | ReviewKind::Outcome => node_type.outputs.get(usize::from(port.0)).map(of),
        ReviewKind::Value => {
            let own = of(node_type.inputs.get(usize::from(port.0))?);
            let edge = graph.in_edges(node).first();
            let source = edge.and_then(|edge| {
                let node_type = graph.node(edge.source).node_type.as_ref()?;
                node_type.outputs.get(usize::from(edge.source_port.0))
            });
            Some(match source {
                Some(source) => Looked { port_type: source.port_type, list: source.list, ..own },
                None => own,
            })
        }
    }
}

/// A review with all that is known of it, and what its history says; if a revision is named, as it stood then.
pub(crate) async fn review(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    stored: &StoredReview,
    at: Option<u64>,
) -> Result<(wire::Review, Found), ReadError> {
    let row = runs::row(shared, tenant, stored.run).await?;
    let graph = runs::graph_of(shared, &row).await?;
    let node = graph.find(&stored.created.node).ok_or(ReadError::NotFound)?;
    let mut found = Found::default();
    if row.quarantine_reason.is_some() {
        return Ok((wire::Review { head: Some(head(stored, None)), ..Default::default() }, found));
    }
    // The row names the events that tell of the review; a history may be long.
    for seq in [EventSeq(1)].into_iter().chain(stored.told.iter().copied()) {
        found.note(stored.created.ordinal, &*runs::event(shared, &row, seq).await?);
        if found.asked.is_some() && at == Some(found.revision) {
            break;
        }
    }
    let may = graph.may_decide(node, stored.created.kind);
    let about = About { shared, tenant, stored, graph: &graph, node, kept: &found.kept };
    let mut room = ANSWER_VALUES_BYTES;
    let asked = found.asked.clone().unwrap_or_else(|| nothing(stored));
    let newest = found.newest(&asked);
    let values = about.shown(newest.as_ref().unwrap_or(&asked.values), &mut room).await?;
    let mut history = Vec::with_capacity(found.entries.len());
    for (reviewed, at) in &found.entries {
        history.push(about.entry((reviewed, *at), &mut room).await?);
    }
    let originals = match newest {
        Some(_) => about.shown(&asked.values, &mut room).await?,
        None => Vec::new(),
    };
    let definition = graph.review(node).filter(|_| stored.created.kind == ReviewKind::Value);
    let last = found.entries.last().filter(|(it, _)| !matches!(it.outcome, ReviewOutcome::Open { .. }));
    let mut head = head(stored, last.map(|(reviewed, at)| decided(reviewed, *at)));
    head.title = title(&graph, node, stored.created.kind);
    if at.is_some() && last.is_none() {
        // What came later is not known yet.
        (head.decided, head.closed_at_ms) = (None, None);
        head.set_state(wire::ReviewState::Open);
    }
    let review = wire::Review {
        title: head.title.clone(),
        head: Some(head),
        description: definition.map_or_else(String::new, |it| it.description.to_string()),
        ports: about.ports(&values),
        values,
        schema_json: definition.and_then(|it| it.schema.clone()).unwrap_or_default(),
        allow: may.names().map(str::to_owned).collect(),
        required: definition.map_or(1, |it| it.required),
        approvals: found.approvals(),
        on_timeout: on_timeout(definition),
        revision: found.revision,
        history,
        error: asked.error.as_ref().map(|error| runs::node_error(error, &stored.created.node, 0)),
        sandbox: found.is_sandboxed,
        originals,
    };
    Ok((review, found))
}

/// What a review is called: by its config, or else as its node is.
fn title(graph: &Graph, node: NodeIx, kind: ReviewKind) -> String {
    let definition = graph.review(node).filter(|_| kind == ReviewKind::Value);
    let given = definition.map(|it| &it.title).filter(|title| !title.is_empty());
    let node = graph.node(node);
    let label = Some(&node.label).filter(|label| !label.is_empty());
    given.or(label).unwrap_or(&node.id).to_string()
}

fn nothing(stored: &StoredReview) -> Box<Asked> {
    let (review, kind) = (stored.created.ordinal, stored.created.kind);
    Box::new(Asked { review, kind, values: Vec::new(), due_at: stored.due_at, error: None })
}

fn on_timeout(definition: Option<&Review>) -> String {
    let timeout = definition.and_then(|it| it.timeout.as_ref());
    timeout.map_or_else(String::new, |timeout| timeout.then.name().to_owned())
}

/// What lists show of a review.
pub(crate) fn head(stored: &StoredReview, last: Option<wire::ReviewDecision>) -> wire::ReviewHead {
    let of_row = || {
        Some(wire::ReviewDecision {
            decision: stored.verdict?.name().into(),
            by: stored.decided_by.as_ref().map_or_else(String::new, ToString::to_string),
            at_ms: stored.closed_at?.as_millis(),
            ..Default::default()
        })
    };
    let kind = match stored.created.kind {
        ReviewKind::Value => wire::ReviewKind::Review,
        ReviewKind::Before => wire::ReviewKind::Before,
        ReviewKind::After => wire::ReviewKind::After,
        ReviewKind::Outcome => wire::ReviewKind::Outcome,
    };
    let state = match stored.state {
        ReviewState::Open => wire::ReviewState::Open,
        ReviewState::Decided => wire::ReviewState::Decided,
        ReviewState::Withdrawn => wire::ReviewState::Withdrawn,
    };
    wire::ReviewHead {
        id: stored.review.to_string(),
        execution_id: stored.run.to_string(),
        workflow_id: stored.created.workflow.to_string(),
        node_id: stored.created.node.to_string(),
        index: stored.created.index.clone(),
        kind: kind.into(),
        state: state.into(),
        assignees: stored.assignees.iter().map(ToString::to_string).collect(),
        opened_at_ms: stored.created.opened_at.as_millis(),
        due_at_ms: stored.due_at.map(|at| at.as_millis()),
        closed_at_ms: stored.closed_at.map(|at| at.as_millis()),
        decided: last.or_else(of_row),
        title: stored.created.node.to_string(),
    }
}

/// What lists show of these reviews, each by what it is called: one look at each run, whose graph is mostly at hand.
pub(crate) async fn heads(shared: &Arc<Shared>, tenant: &Tenant, page: &[StoredReview]) -> Vec<wire::ReviewHead> {
    let mut graphs: BTreeMap<RunId, Option<Arc<Graph>>> = BTreeMap::new();
    let mut heads = Vec::with_capacity(page.len());
    for stored in page {
        if let Entry::Vacant(place) = graphs.entry(stored.run) {
            place.insert(graph(shared, tenant, stored.run).await);
        }
        let mut head = head(stored, None);
        let graph = graphs.get(&stored.run).and_then(Option::as_ref);
        if let Some((graph, node)) = graph.and_then(|graph| Some((graph, graph.find(&stored.created.node)?))) {
            head.title = title(graph, node, stored.created.kind);
        }
        heads.push(head);
    }
    heads
}

/// The graph of a run; nothing if that cannot be read: then its reviews are called as their nodes are.
async fn graph(shared: &Arc<Shared>, tenant: &Tenant, run: RunId) -> Option<Arc<Graph>> {
    let row = runs::row(shared, tenant, run).await.ok()?;
    runs::graph_of(shared, &row).await.ok()
}

/// What was decided, for people.
pub(crate) fn decided(reviewed: &Reviewed, at: Timestamp) -> wire::ReviewDecision {
    wire::ReviewDecision {
        decision: reviewed.verdict.name().into(),
        by: reviewed.by.as_ref().map_or_else(String::new, ToString::to_string),
        at_ms: at.as_millis(),
        comment: reviewed.comment.as_deref().unwrap_or_default().into(),
        edited: !reviewed.edit.is_empty(),
    }
}

/// One review, and where what it shows is read.
#[derive(Clone, Copy)]
struct About<'a> {
    shared: &'a Arc<Shared>,
    tenant: &'a Tenant,
    stored: &'a StoredReview,
    graph: &'a Graph,
    node: NodeIx,
    kept: &'a Kept,
}

impl About<'_> {
    fn of(&self) -> Of<'_> {
        Of { tenant: self.tenant, run: self.stored.run, kept: self.kept }
    }

    async fn entry(
        &self,
        (reviewed, at): (&Reviewed, Timestamp),
        room: &mut usize,
    ) -> Result<wire::ReviewEntry, ReadError> {
        let data = self.shown(&reviewed.edit, room).await?;
        let config = match reviewed.config {
            None => None,
            Some(config) => values::output(self.shared, self.of(), &OutputValue::One(config), *room).await?,
        };
        let due_at = match reviewed.outcome {
            ReviewOutcome::Open { due_at } if reviewed.verdict == ReviewVerdict::Escalate => due_at,
            _ => None,
        };
        let escalated = due_at.and_then(|_| self.graph.review(self.node)?.timeout.as_ref());
        let assignees = match escalated.map(|timeout| &timeout.then) {
            Some(OnTimeout::Escalate { to }) => to.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Ok(wire::ReviewEntry {
            decision: Some(decided(reviewed, at)),
            last: !matches!(reviewed.outcome, ReviewOutcome::Open { .. }),
            data,
            config_json: config.map_or_else(Default::default, |shown| shown.json),
            assignees,
            due_at_ms: due_at.map(|at| at.as_millis()),
        })
    }

    async fn shown(&self, given: &[PortOutput], room: &mut usize) -> Result<Vec<wire::ReviewedValue>, ReadError> {
        let mut shown = Vec::with_capacity(given.len());
        for output in given {
            let Some(port) = looked_at(self.graph, self.node, self.stored.created.kind, output.port) else { continue };
            let value = values::whole_output(self.shared, self.of(), &output.value, *room).await?;
            let Some(whole) = value else { continue };
            *room = room.saturating_sub(whole.json.len());
            let value =
                wire::PortValue { port: port.id.to_string(), value_json: whole.json, artifacts: whole.artifacts };
            let list = port.list;
            shown.push(wire::ReviewedValue { value: Some(value), r#type: port.port_type.to_string(), list });
        }
        Ok(shown)
    }

    /// The ports that an edit may name: of an outcome those that the node would have given, else those that are looked at.
    fn ports(&self, values: &[wire::ReviewedValue]) -> Vec<wire::ReviewedPort> {
        let looked_at = |of: &wire::ReviewedValue| {
            let port = of.value.as_ref()?.port.clone();
            Some(wire::ReviewedPort { port, r#type: of.r#type.clone(), list: of.list })
        };
        if self.stored.created.kind != ReviewKind::Outcome {
            return values.iter().filter_map(looked_at).collect();
        }
        let document = self.graph.node(self.node);
        let outputs = document.node_type.as_ref().map_or(&[][..], |node_type| &node_type.outputs);
        let given = (0..).map(PortIx).zip(outputs).filter(|(ix, _)| Some(*ix) != document.error_port);
        given
            .map(|(_, port)| wire::ReviewedPort {
                port: port.id.to_string(),
                r#type: port.port_type.to_string(),
                list: port.list,
            })
            .collect()
    }
}
