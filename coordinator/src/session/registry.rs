//! The agents that are connected now. One stream per agent; a newer one takes over.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::{AgentBoot, AgentId, AttemptKey, AttemptToken, BootId, PartitionId, SessionNumber};
use heddle_core::partition::io::Verdict;
use heddle_core::time::Timestamp;
use heddle_proto::agent::coordinator_message::Kind;
use heddle_proto::agent::{CoordinatorMessage, HandBackRequest, PermitClass, Ping, ReturnPermit};
use heddle_telemetry::metrics::Counter;
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
    /// Agents that did not read what was sent to them.
    pub(crate) cut_off: Counter,
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
    /// Attempts that were sent to it or that it may keep, until it has ended them: only of these it may show anything.
    holds: HashSet<AttemptToken>,
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

impl Session {
    /// Sends a bundle, or keeps it until the agent is welcome.
    fn send(&mut self, from: PartitionId, bundle: Vec<CoordinatorMessage>, cut_off: &Counter) {
        match &mut self.welcome {
            Some(welcome) => welcome.held.push((from, bundle)),
            None => self.pass(bundle, cut_off),
        }
    }

    /// Puts a bundle on the stream. An agent that does not read its stream is cut off.
    fn pass(&mut self, bundle: Vec<CoordinatorMessage>, cut_off: &Counter) {
        let assigned = bundle.iter().filter_map(|message| match &message.kind {
            Some(Kind::Assign(assign)) => assign.key.as_ref().map(|key| AttemptToken(key.token)),
            _ => None,
        });
        self.holds.extend(assigned);
        if self.outgoing.try_send(bundle).is_err() && !self.end.send_replace(true) {
            cut_off.add(1);
        }
    }
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

    /// Returns permits that an agent granted on a stream, and that nobody will use.
    pub(crate) fn return_permits(&self, agent: &AgentBoot, number: SessionNumber, class: PermitClass, count: u32) {
        let inner = self.lock();
        let Some(session) = inner.agents.get(&agent.agent).filter(|session| session.number == number) else { return };
        let returned = ReturnPermit { class: class.into(), count };
        let returned = CoordinatorMessage { kind: Some(Kind::ReturnPermit(returned)) };
        if session.outgoing.try_send(vec![returned]).is_err() {
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
            holds: HashSet::new(),
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

    /// The coordinator stops: what was sent leaves, and then the streams end.
    pub(crate) fn close(&self) {
        self.lock().agents.clear();
    }

    /// Sends messages to one start of an agent. If it is not connected they are dropped: what it holds is settled by
    /// its next inventory.
    pub(crate) fn send(&self, from: PartitionId, to: &AgentBoot, bundle: Vec<CoordinatorMessage>) {
        let mut inner = self.lock();
        let session = inner.agents.get_mut(&to.agent).filter(|session| session.boot == to.boot);
        if let Some(session) = session {
            session.send(from, bundle, &self.cut_off);
        }
    }

    /// The same for what belongs to one session: a later one has settled it without.
    pub(crate) fn send_in(
        &self,
        number: SessionNumber,
        from: PartitionId,
        to: &AgentBoot,
        bundle: Vec<CoordinatorMessage>,
    ) {
        let mut inner = self.lock();
        let session = inner.agents.get_mut(&to.agent).filter(|session| session.number == number);
        if let Some(session) = session {
            session.send(from, bundle, &self.cut_off);
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
        let Session { welcome: Some(welcome), holds, .. } = session else { return };
        // What it sent before it saw the inventory, its verdicts have taken into account.
        welcome.held.retain(|(partition, _)| *partition != from);
        holds.extend(verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Keep).map(|(key, _)| key.token));
        welcome.verdicts.extend(verdicts);
        welcome.left = welcome.left.saturating_sub(1);
        if welcome.left == 0
            && let Some(done) = welcome.done.take()
        {
            // The session that waits for it may have ended.
            let _gone = done.send(std::mem::take(&mut welcome.verdicts));
        }
    }

    /// The inventory is answered: from now on everything may be sent. False if a newer session has taken its place.
    #[must_use]
    pub(crate) fn welcome(&self, agent: &AgentBoot, number: SessionNumber, welcome: CoordinatorMessage) -> bool {
        let mut inner = self.lock();
        let Some(session) = inner.agents.get_mut(&agent.agent).filter(|session| session.number == number) else {
            return false;
        };
        let held = session.welcome.take().map(|welcome| welcome.held).unwrap_or_default();
        for bundle in std::iter::once(vec![welcome]).chain(held.into_iter().map(|(_, bundle)| bundle)) {
            session.pass(bundle, &self.cut_off);
        }
        true
    }

    /// Whether an agent holds an attempt now.
    pub(crate) fn holds(&self, agent: &AgentBoot, token: AttemptToken) -> bool {
        let inner = self.lock();
        inner
            .agents
            .get(&agent.agent)
            .is_some_and(|session| session.boot == agent.boot && session.holds.contains(&token))
    }

    /// An agent holds these attempts no longer.
    pub(crate) fn ended(&self, agent: &AgentBoot, tokens: impl Iterator<Item = AttemptToken>) {
        let mut inner = self.lock();
        let Some(session) = inner.agents.get_mut(&agent.agent).filter(|session| session.boot == agent.boot) else {
            return;
        };
        tokens.for_each(|token| {
            session.holds.remove(&token);
        });
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

#[cfg(test)]
mod tests {
    use heddle_proto::agent as wire;

    use super::*;

    const PARTITION: PartitionId = PartitionId(0);

    fn message(nonce: u64) -> CoordinatorMessage {
        CoordinatorMessage { kind: Some(Kind::Ping(Ping { nonce })) }
    }

    #[test]
    fn what_belongs_to_an_earlier_session_does_not_reach_a_later_one() {
        let (sessions, agent) = (Sessions::default(), AgentBoot { agent: "a".into(), boot: BootId(1) });
        let begin = || {
            let (outgoing, sent) = mpsc::channel(8);
            let begun = sessions.begin(&agent, AgentInfo::default(), outgoing, 1, Timestamp::from_millis(0));
            (begun, sent)
        };
        let ((first, mut sent_first), (second, mut sent)) = (begin(), begin());
        assert!(*first.ended.borrow(), "the first is told to end");
        assert!(!sessions.welcome(&agent, first.number, message(1)), "and welcomes nobody any more");
        // Its inputs took long to read: by now the inventory has settled the attempt without.
        sessions.send_in(first.number, PARTITION, &agent, vec![message(2)]);
        sessions.send_in(second.number, PARTITION, &agent, vec![message(3)]);
        assert!(sessions.welcome(&agent, second.number, message(4)));
        sessions.send_in(first.number, PARTITION, &agent, vec![message(5)]);
        sessions.send_in(second.number, PARTITION, &agent, vec![message(6)]);
        let bundles: Vec<_> = std::iter::from_fn(|| sent.try_recv().ok()).flatten().collect();
        assert_eq!(bundles, [message(4), message(3), message(6)]);
        assert!(sent_first.try_recv().is_err());
        assert!(!sessions.end(&agent.agent, first.number) && sessions.end(&agent.agent, second.number));
    }

    #[test]
    fn an_attempt_whose_inputs_go_ahead_in_parts_is_held() {
        let (sessions, agent) = (Sessions::default(), AgentBoot { agent: "a".into(), boot: BootId(1) });
        let (outgoing, _sent) = mpsc::channel(8);
        let begun = sessions.begin(&agent, AgentInfo::default(), outgoing, 1, Timestamp::from_millis(0));
        let key = |token| Some(wire::AttemptKey { token, ..Default::default() });
        let part = |token| Kind::InputsPart(wire::InputsPart { key: key(token), inputs: Vec::new() });
        let assign = |token| Kind::Assign(wire::Assign { key: key(token), parts: 2, ..Default::default() });
        let bundle = |token| {
            let kinds = [part(token), part(token), assign(token)];
            kinds.into_iter().map(|kind| CoordinatorMessage { kind: Some(kind) }).collect::<Vec<_>>()
        };
        sessions.send(PARTITION, &agent, bundle(7));
        assert!(!sessions.holds(&agent, AttemptToken(7)), "nothing was sent before it is welcome");
        assert!(sessions.welcome(&agent, begun.number, message(1)));
        sessions.send_in(begun.number, PARTITION, &agent, bundle(8));
        assert!(sessions.holds(&agent, AttemptToken(7)) && sessions.holds(&agent, AttemptToken(8)));
        assert!(!sessions.holds(&agent, AttemptToken(9)));
    }

    #[tokio::test]
    async fn a_stop_ends_the_streams_after_what_was_sent() {
        let (sessions, agent) = (Sessions::default(), AgentBoot { agent: "a".into(), boot: BootId(1) });
        let (outgoing, mut sent) = mpsc::channel(8);
        let begun = sessions.begin(&agent, AgentInfo::default(), outgoing, 1, Timestamp::from_millis(0));
        assert!(sessions.welcome(&agent, begun.number, message(1)));
        sessions.close();
        assert_eq!(sent.recv().await, Some(vec![message(1)]));
        assert_eq!(sent.recv().await, None);
    }
}
