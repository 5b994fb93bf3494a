//! Whether commits get through, and who finds out that they do again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;

use super::{Inner, query};
use crate::journal::JournalState;
use crate::journal::limits::{STALLED_BACKOFF_MAX, STALLED_BACKOFF_MIN};

/// What is known of the database.
pub(super) struct Health {
    state: watch::Sender<JournalState>,
    /// Batches that are tried again and again. While there is one, only a commit tells that commits get through.
    pub(super) stuck: AtomicUsize,
    closing: watch::Sender<bool>,
}

/// The pause before the next try: longer each time.
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(STALLED_BACKOFF_MIN)
    }
}

impl Health {
    pub(super) fn new() -> Self {
        let (state, closing) = (watch::Sender::new(JournalState::Ready), watch::Sender::new(false));
        Self { state, stuck: AtomicUsize::new(0), closing }
    }

    pub(super) fn watch(&self) -> watch::Receiver<JournalState> {
        self.state.subscribe()
    }

    pub(super) fn ready(&self) {
        self.report(JournalState::Ready);
    }

    pub(super) fn stalled(&self, reason: &str) {
        self.report(JournalState::Stalled { reason: reason.into() });
    }

    /// Ends all trying.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits before the next try; `false` = there is to be none.
    pub(super) async fn pause(&self, backoff: &mut Backoff) -> bool {
        let mut closing = self.closing.subscribe();
        let pause = backoff.0;
        backoff.0 = (pause * 2).min(STALLED_BACKOFF_MAX);
        tokio::select! {
            _ = closing.wait_for(|is_closing| *is_closing) => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    fn report(&self, state: JournalState) {
        self.state.send_if_modified(|current| {
            let has_changed = *current != state;
            if has_changed {
                match &state {
                    JournalState::Ready => tracing::info!("the database takes commits again"),
                    JournalState::Stalled { reason } => {
                        tracing::error!(%reason, "the database takes no commits: check that it runs and has space; trying on");
                    }
                }
                *current = state;
            }
            has_changed
        });
    }
}

/// While the database takes no commits, writes a row now and then until it is taken: nobody else may be writing.
pub(super) async fn probe_while_stalled(inner: Weak<Inner>) {
    let Some(mut state) = inner.upgrade().map(|inner| inner.health.watch()) else { return };
    let is_stalled = |state: &JournalState| matches!(state, JournalState::Stalled { .. });
    let mut backoff = Backoff::default();
    // Ends with the journal, which has the sender.
    while state.wait_for(is_stalled).await.is_ok() {
        let Some(inner) = inner.upgrade() else { return };
        if !inner.health.pause(&mut backoff).await {
            return;
        }
        if inner.health.stuck.load(Ordering::Acquire) == 0 && inner.probe().await {
            inner.health.ready();
            backoff = Backoff::default();
        }
    }
}

impl Inner {
    async fn probe(self: &Arc<Self>) -> bool {
        self.rows.lend(|| (), |connection| query::probe(connection).boxed()).await.is_ok()
    }
}
