//! The agents that are connected now. One stream per agent; a newer one takes over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::{AgentBoot, AgentId, AttemptKey, BootId, PartitionId, SessionNumber};
use heddle_core::partition::io::Verdict;
use heddle_core::time::Timestamp;
use heddle_proto::agent::coordinator_message::Kind;
use heddle_proto::agent::{CoordinatorMessage, HandBackRequest, Ping};
use tokio::sync::{mpsc, oneshot, watch};

/// What an agent says of itself, for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentInfo {
    pub(crate) version: String,
    pub(crate) hostname: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) slots: u32,
    pub(crate) types: Vec<Arc<str>>,
}

/// An agent for people's lists.
#[derive(Debug, Clone)]
pub(crate) struct ConnectedAgent {
    pub(crate) agent: AgentBoot,
    pub(crate) info: AgentInfo,
    pub(crate) since: Timestamp,
}

/// All sessions of this coordinator.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    agents: BTreeMap<AgentId, Session>,
}

#[derive(Debug)]
struct Session {
    number: SessionNumber,
    boot: BootId,
    outgoing: mpsc::Sender<Vec<CoordinatorMessage>>,
    /// Raised to end the session's reading.
    end: watch::Sender<bool>,
    /// The youngest nonce that the agent has sent back.
    answered: watch::Sender<u64>,
    welcome: Option<Welcoming>,
    info: AgentInfo,
    since: Timestamp,
}

/// The answer to an inventory, while partitions give their parts of it.
#[derive(Debug)]
struct Welcoming {
    left: usize,
    verdicts: Vec<(AttemptKey, Verdict)>,
    done: Option<oneshot::Sender<Vec<(AttemptKey, Verdict)>>>,
    /// What partitions sent since they gave their part; it leaves after the answer.
    held: Vec<(PartitionId, Vec<CoordinatorMessage>)>,
}

/// A session that has begun.
pub(crate) struct Begun {
    pub(crate) number: SessionNumber,
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) answered: watch::Sender<u64>,
    /// All verdicts, when every partition has spoken.
    pub(crate) verdicts: oneshot::Receiver<Vec<(AttemptKey, Verdict)>>,
}

impl Sessions {
    /// An older process of this agent that is still connected: its answers to pings.
    pub(crate) fn older(&self, agent: &AgentBoot) -> Option<watch::Receiver<u64>> {
        let inner = self.lock();
        let session = inner.agents.get(&agent.agent).filter(|session| session.boot != agent.boot)?;
        Some(session.answered.subscribe())
    }

    /// Asks a connected agent for a sign of life.
    pub(crate) fn ping(&self, agent: &AgentId, nonce: u64) {
        let inner = self.lock();
        let Some(session) = inner.agents.get(agent) else { return };
        let ping = CoordinatorMessage { kind: Some(Kind::Ping(Ping { nonce })) };
        // An agent that does not read will not answer.
        let _full = session.outgoing.try_send(vec![ping]);
    }

    /// The start of an agent that is connected.
    pub(crate) fn boot(&self, agent: &AgentId) -> Option<AgentBoot> {
        let inner = self.lock();
        inner.agents.get(agent).map(|session| AgentBoot { agent: agent.clone(), boot: session.boot })
    }

    /// Whether an agent is connected and answered.
    pub(crate) fn is_here(&self, agent: &AgentId) -> bool {
        self.lock().agents.get(agent).is_some_and(|session| session.welcome.is_none())
    }

    /// Asks a connected agent for what it has not started. One that is not welcome yet is asked when it is.
    pub(crate) fn ask_back(&self, agent: &AgentId) {
        let inner = self.lock();
        let Some(session) = inner.agents.get(agent) else { return };
        let asked = CoordinatorMessage { kind: Some(Kind::HandBackRequest(HandBackRequest {})) };
        if session.welcome.is_none() && session.outgoing.try_send(vec![asked]).is_err() {
            session.end.send_replace(true);
        }
    }

    /// Begins a session in place of any older one; `partitions` will give verdicts.
    pub(crate) fn begin(
        &self,
        agent: &AgentBoot,
        info: AgentInfo,
        outgoing: mpsc::Sender<Vec<CoordinatorMessage>>,
        partitions: usize,
        now: Timestamp,
    ) -> Begun {
        let mut inner = self.lock();
        inner.last += 1;
        let number = SessionNumber(inner.last);
        let (done, verdicts) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        let answered = watch::channel(0).0;
        let session = Session {
            number,
            boot: agent.boot,
            outgoing,
            end,
            answered: answered.clone(),
            welcome: Some(Welcoming { left: partitions, verdicts: Vec::new(), done: Some(done), held: Vec::new() }),
            info,
            since: now,
        };
        if let Some(older) = inner.agents.insert(agent.agent.clone(), session) {
            older.end.send_replace(true);
        }
        Begun { number, ended, answered, verdicts }
    }

    /// Ends a session. False if a newer one has taken its place.
    pub(crate) fn end(&self, agent: &AgentId, number: SessionNumber) -> bool {
        let mut inner = self.lock();
        let is_current = inner.agents.get(agent).is_some_and(|session| session.number == number);
        if is_current {
            inner.agents.remove(agent);
        }
        is_current
    }

    /// Ends all sessions: every agent dials again and says everything that it holds. For when a partition is loaded
    /// anew, since nobody knows what its last load had sent.
    pub(crate) fn end_all(&self) {
        self.lock().agents.values().for_each(|session| {
            session.end.send_replace(true);
        });
    }

    /// Sends messages to one start of an agent. If it is not connected they are dropped: what it holds is settled by
    /// its next inventory. An agent that does not read its stream is cut off.
    pub(crate) fn send(&self, from: PartitionId, to: &AgentBoot, bundle: Vec<CoordinatorMessage>) {
        let mut inner = self.lock();
        let Some(session) = inner.agents.get_mut(&to.agent).filter(|session| session.boot == to.boot) else { return };
        if let Some(welcome) = &mut session.welcome {
            return welcome.held.push((from, bundle));
        }
        if session.outgoing.try_send(bundle).is_err() {
            session.end.send_replace(true);
        }
    }

    /// One partition's part of the answer to an inventory.
    pub(crate) fn verdicts(
        &self,
        from: PartitionId,
        to: &AgentBoot,
        number: SessionNumber,
        verdicts: Vec<(AttemptKey, Verdict)>,
    ) {
        let mut inner = self.lock();
        // The answer to an earlier inventory is no answer to this one.
        let Some(session) = inner.agents.get_mut(&to.agent).filter(|session| session.number == number) else { return };
        let Some(welcome) = &mut session.welcome else { return };
        // What it sent before it saw the inventory, its verdicts have taken into account.
        welcome.held.retain(|(partition, _)| *partition != from);
        welcome.verdicts.extend(verdicts);
        welcome.left = welcome.left.saturating_sub(1);
        if welcome.left == 0
            && let Some(done) = welcome.done.take()
        {
            // The session that waits for it may have ended.
            let _gone = done.send(std::mem::take(&mut welcome.verdicts));
        }
    }

    /// The inventory is answered: from now on everything may be sent.
    pub(crate) fn welcome(&self, agent: &AgentBoot, number: SessionNumber, welcome: CoordinatorMessage) {
        let mut inner = self.lock();
        let Some(session) = inner.agents.get_mut(&agent.agent).filter(|session| session.number == number) else {
            return;
        };
        let held = session.welcome.take().map(|welcome| welcome.held).unwrap_or_default();
        for bundle in std::iter::once(vec![welcome]).chain(held.into_iter().map(|(_, bundle)| bundle)) {
            if session.outgoing.try_send(bundle).is_err() {
                session.end.send_replace(true);
            }
        }
    }

    /// The agents that are connected and answered.
    pub(crate) fn list(&self) -> Vec<ConnectedAgent> {
        let inner = self.lock();
        let welcomed = inner.agents.iter().filter(|(_, session)| session.welcome.is_none());
        welcomed
            .map(|(agent, session)| ConnectedAgent {
                agent: AgentBoot { agent: agent.clone(), boot: session.boot },
                info: session.info.clone(),
                since: session.since,
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
