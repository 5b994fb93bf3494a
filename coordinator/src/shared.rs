//! What all parts of one coordinator share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use heddle_core::hook::Hooks;
use heddle_core::id::{AgentId, EventSeq, PartitionId, RunId, Slot};
use heddle_core::partition::batch::Phase;
use heddle_core::partition::io::Input;
use heddle_core::partition::permits::{Grant, Permits};

use tokio::sync::mpsc;

use crate::actor::doors::Doors;
use crate::alerts::AlertRows;
use crate::artifacts::Artifacts;
use crate::batches::Batches;
use crate::cache::CacheRows;
use crate::clock::DatabaseClock;
use crate::counters::Counters;
use crate::graphs::Graphs;
use crate::journal::{Journal, JournalState, Owner};
use crate::members::{Members, NodePauseRow};
use crate::metrics::Metrics;
use crate::new_runs::NewRuns;
use crate::read::hub::{Hint, Hub};
use crate::read::live::Live;
use crate::read::recent::RecentRuns;
use crate::read::seen::SeenRuns;
use crate::records::Records;
use crate::retention::{KeepRuns, RetentionRows};
use crate::reviews::rows::ReviewRows;
use crate::session::Sessions;
use crate::stats::Stats;
use crate::watchdog::Watchdog;
use crate::workflows::Workflows;

/// The parts that more than one actor needs. No lock in here but that of orders is held across an await.
pub(crate) struct Shared {
    pub(crate) owner: Owner,
    /// What keeps the journal, for people.
    pub(crate) database: &'static str,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) members: Arc<dyn Members>,
    /// Who holds it takes an order of an operator down and heeds it.
    pub(crate) orders: tokio::sync::Mutex<()>,
    /// Agents that get no more work; as the database has them.
    pub(crate) drains: Mutex<BTreeSet<AgentId>>,
    /// Types of nodes that agents get no attempts of; as the database has them.
    pub(crate) node_pauses: Mutex<BTreeMap<Arc<str>, NodePauseRow>>,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) batches: Batches,
    pub(crate) reviews: Arc<dyn ReviewRows>,
    pub(crate) cache: Arc<dyn CacheRows>,
    /// Makes the addresses that end a wait when they are called, and knows them again.
    pub(crate) hooks: Hooks,
    pub(crate) stats: Stats,
    pub(crate) alerts: Arc<dyn AlertRows>,
    pub(crate) retention: Arc<dyn RetentionRows>,
    /// How long runs are kept where their workflow says nothing.
    pub(crate) keep_runs: KeepRuns,
    pub(crate) workflows: Workflows,
    pub(crate) graphs: Graphs,
    pub(crate) doors: Doors,
    pub(crate) new_runs: NewRuns,
    pub(crate) sessions: Sessions,
    pub(crate) hub: Hub,
    pub(crate) live: Live,
    pub(crate) recent: RecentRuns,
    pub(crate) seen: SeenRuns,
    pub(crate) clock: DatabaseClock,
    pub(crate) counters: Counters,
    pub(crate) metrics: Metrics,
    pub(crate) watchdog: Watchdog,
    pub(crate) permits: Mutex<Permits>,
    /// Takes runs whose spans are to be told to a collector; `None` if nobody wants them.
    pub(crate) ended_runs: Option<mpsc::Sender<RunId>>,
    /// Whether every run asks the sandbox provider alone.
    pub(crate) sandbox: bool,
}

impl Shared {
    /// The permits of all agents, for a short while.
    pub(crate) fn permits(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition that owns a run.
    pub(crate) fn partition_of(&self, run: RunId) -> PartitionId {
        self.journal.partitions().of(run.slot())
    }

    /// The slot of a run that may be anywhere.
    pub(crate) fn new_slot(&self) -> Slot {
        self.new_runs.slot(self.journal.partitions(), Instant::now(), || self.seed())
    }

    /// A run was set aside: what memory has of it is no longer so, and whoever waits for its end has waited.
    pub(crate) fn tell_set_aside(&self, run: RunId) {
        self.recent.forget(&[run]);
        self.hub.publish(run, Hint { seq: EventSeq(0), phase: Phase::Closed });
    }

    /// Why the journal takes no commits now, if it does not: then nothing new is taken in (E14).
    pub(crate) fn stalled(&self) -> Option<Arc<str>> {
        match &*self.journal.state().borrow() {
            JournalState::Ready => None,
            JournalState::Stalled { reason } => Some(Arc::clone(reason)),
        }
    }

    /// A number that nobody can foretell: for tokens, ids and jitter.
    pub(crate) fn seed(&self) -> u64 {
        rand::random()
    }

    /// Whether an agent gets no more work.
    pub(crate) fn is_draining(&self, agent: &AgentId) -> bool {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner).contains(agent)
    }

    /// How an agent that is here stands, for people.
    pub(crate) fn agent_state(&self, agent: &AgentId) -> &'static str {
        if self.is_draining(agent) { "draining" } else { "connected" }
    }

    /// From now on an agent gets nothing new, and gives back what it has not started; what is on its way to it at this
    /// moment, it finishes. What is noted first holds for a stream that begins meanwhile, too.
    pub(crate) fn drain(&self, agent: &AgentId) {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner).insert(agent.clone());
        if let Some(boot) = self.sessions.boot(agent) {
            self.permits().close(&boot);
        }
        self.sessions.ask_back(agent);
    }

    /// Takes [`Shared::drain`] back.
    pub(crate) fn resume(&self, agent: &AgentId) {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner).remove(agent);
        let Some(boot) = self.sessions.boot(agent) else { return };
        let dealt = {
            let mut permits = self.permits();
            permits.open(&boot);
            permits.deal()
        };
        self.deliver(dealt);
    }

    /// Why agents get no attempts of a type, if they do not.
    pub(crate) fn node_pause(&self, node_type: &str) -> Option<NodePauseRow> {
        self.node_pauses.lock().unwrap_or_else(PoisonError::into_inner).get(node_type).cloned()
    }

    /// From now on no attempt at nodes of a type begins: no permit is given to them, and what is on its way is given back.
    pub(crate) fn pause_node_type(&self, row: NodePauseRow) {
        let node_type = Arc::clone(&row.node_type);
        self.node_pauses.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&node_type), row);
        self.permits().pause(node_type);
    }

    /// Takes [`Shared::pause_node_type`] back.
    pub(crate) fn unpause_node_type(&self, node_type: &str) {
        self.node_pauses.lock().unwrap_or_else(PoisonError::into_inner).remove(node_type);
        let dealt = {
            let mut permits = self.permits();
            permits.unpause(node_type);
            permits.deal()
        };
        self.deliver(dealt);
    }

    /// Brings permits to those who waited for them.
    pub(crate) fn deliver(&self, dealt: Vec<(PartitionId, Grant)>) {
        for (partition, grant) in dealt {
            self.doors.report(partition, [Input::Granted(vec![grant])]);
        }
    }
}
