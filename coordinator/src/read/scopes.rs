//! Items and turns beside a run's events, and what is given up, for readers that begin anywhere in a history.

use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, Instance, NodeIx, RunId, ScopeIx};
use heddle_core::run::event::Event;
use heddle_core::run::items::{ItemCounts, ItemsView};

/// What is known of a run's items as far as its events have been read. Runs without maps and loops cost nothing.
#[derive(Debug)]
pub(crate) struct Scopes {
    run: RunId,
    graph: Arc<Graph>,
    /// Nothing where there is nothing to know, or where the history does not follow: whoever decides says so.
    items: Option<ItemsView>,
    is_wanted: bool,
}

impl Scopes {
    pub(crate) fn new(run: RunId, graph: Arc<Graph>) -> Self {
        Self { run, is_wanted: graph.has_scopes() || graph.has_losers(), graph, items: None }
    }

    /// The run.
    pub(super) fn run(&self) -> RunId {
        self.run
    }

    /// The graph of the run.
    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The last event that has to be read before this one may be.
    pub(super) fn lacks(&self, next: EventSeq) -> Option<EventSeq> {
        let known = self.items.as_ref().map_or(EventSeq(0), |items| items.run().seq());
        (self.is_wanted && known.next() < next).then_some(known)
    }

    /// Reads the next event.
    pub(crate) fn step(&mut self, run: RunId, event: &Event) {
        if !self.is_wanted {
            return;
        }
        let followed = match &mut self.items {
            Some(items) => items.step(event),
            None => ItemsView::begin(run, Arc::clone(&self.graph), event).map(|items| self.items = Some(items)),
        };
        if let Err(corrupt) = followed {
            tracing::warn!(%run, %corrupt, "the items of a run cannot be told");
            (self.items, self.is_wanted) = (None, false);
        }
    }

    /// The numbers of the items and turns that a scope lies in.
    pub(super) fn index(&self, scope: ScopeIx) -> Vec<u32> {
        self.items.as_ref().map_or_else(Vec::new, |items| items.path(scope))
    }

    /// What the last event has given up.
    pub(super) fn given_up(&self) -> &[Instance] {
        self.items.as_ref().map_or(&[], |items| items.run().given_up())
    }

    /// How the items of those containers stand that the last event has changed.
    pub(super) fn changed(&self) -> impl Iterator<Item = (NodeIx, ItemCounts)> {
        let touched = self.items.iter().flat_map(|items| items.touched().iter().map(move |node| (items, *node)));
        let shown = touched.filter(|(_, node)| !self.graph.node(*node).is_anonymous);
        shown.filter_map(|(items, node)| Some((node, items.counts(node)?)))
    }
}
