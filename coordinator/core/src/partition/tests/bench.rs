//! A partition on the bench: the test says what happens, and sees what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::draw::Draw;
use crate::graph::Graph;
use crate::hook::Hooks;
use crate::id::{
    AgentBoot, AttemptKey, BootId, CallerId, Epoch, PartitionId, RunId, SessionNumber, Subject, TenantId, WorkflowId,
};
use crate::partition::Partition;
use crate::partition::batch::{Batch, CommitOutcome, IdempotencyKey, KeyRow};
use crate::partition::io::{Dispatch, Effect, Input, Leaving, Outputs, Release, Reply, Submission, Verdict};
use crate::partition::permits::{Grant, Offer, Permits};
use crate::run::event::{Event, Timing};
use crate::run::{Outcome, Run};
use crate::time::{Span, Timestamp};
use crate::value::{Digest, Value};

pub(super) const RUN: RunId = RunId(1);
pub(super) const START: Timestamp = Timestamp::from_millis(1_000_000);

/// One partition, its permits, and what has been written.
pub(super) struct Bench {
    pub(super) partition: Partition,
    pub(super) permits: Permits,
    pub(super) now: Timestamp,
    pub(super) flying: Option<Batch>,
    pub(super) history: BTreeMap<RunId, Vec<Event>>,
    dealt: Vec<(PartitionId, Grant)>,
    draws: u64,
    sessions: u64,
    /// Of each agent that joins.
    slots: u32,
    types: Vec<&'static str>,
    /// The stream of each agent.
    streams: BTreeMap<String, SessionNumber>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            partition: Partition::new(PartitionId(0), Epoch(1), Hooks::new("https://example.org", &[1; 32]), START),
            permits: Permits::default(),
            now: START,
            flying: None,
            history: BTreeMap::new(),
            dealt: Vec::new(),
            draws: 0,
            sessions: 0,
            slots: 2,
            types: vec!["debug:work"],
            streams: BTreeMap::new(),
        }
    }

    /// With an agent `a`, boot 1, that has two free slots.
    pub(super) fn with_agent() -> Self {
        let mut bench = Self::new();
        bench.join("a", 1, &[], &[]);
        bench
    }

    pub(super) fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    /// Passes inputs in and keeps what is to be written.
    pub(super) fn on(&mut self, inputs: impl IntoIterator<Item = Input>) -> Outputs {
        self.draws += 1;
        let mut outputs = self.partition.on(inputs, self.now, Draw::from_seed(self.draws), &mut self.permits);
        self.dealt.append(&mut outputs.dealt);
        if let Some(batch) = outputs.commit.take() {
            assert!(self.flying.replace(batch).is_none(), "one batch is on its way at a time");
        }
        outputs
    }

    pub(super) fn tick(&mut self) -> Outputs {
        self.on([Input::Tick])
    }

    /// The flying batch lands.
    pub(super) fn land(&mut self) -> Outputs {
        self.land_without(&[])
    }

    /// The flying batch lands but for runs that are set aside.
    pub(super) fn land_without(&mut self, quarantined: &[RunId]) -> Outputs {
        let batch = self.flying.take().expect("a batch is on its way");
        for written in batch.runs.into_iter().filter(|written| !quarantined.contains(&written.run)) {
            self.history
                .entry(written.run)
                .or_default()
                .extend(written.events.into_iter().map(std::sync::Arc::unwrap_or_clone));
        }
        self.on([Input::Committed(batch.number, CommitOutcome::Applied { quarantined: quarantined.to_vec() })])
    }

    /// Lands until nothing is on its way; all that was released on the way.
    pub(super) fn land_all(&mut self) -> Vec<Release> {
        let mut releases = Vec::new();
        while self.flying.is_some() {
            releases.extend(self.land().releases);
        }
        releases
    }

    /// Another load of the partition, from what has landed.
    pub(super) fn reload(&mut self, graph: &Arc<Graph>) -> Outputs {
        self.reload_with(graph, Permits::default())
    }

    /// The same, with these permits.
    pub(super) fn reload_with(&mut self, graph: &Arc<Graph>, permits: Permits) -> Outputs {
        self.flying = None;
        self.permits = permits;
        self.partition =
            Partition::new(PartitionId(0), Epoch(2), Hooks::new("https://example.org", &[1; 32]), self.now);
        let runs: Vec<Input> =
            self.history.keys().map(|id| Input::Loaded(*id, Some(self.folded(*id, graph)))).collect();
        self.on(runs)
    }

    pub(super) fn folded(&self, id: RunId, graph: &Arc<Graph>) -> Box<Run> {
        let events = &self.history[&id];
        let mut run = Run::begin(id, Arc::clone(graph), &events[0]).unwrap();
        events[1..].iter().for_each(|event| run.step(event).unwrap());
        Box::new(run)
    }

    /// A new agent with this many slots.
    pub(super) fn join_with(&mut self, agent: &str, boot: u64, slots: u32) {
        self.slots = slots;
        self.join(agent, boot, &[], &[]);
    }

    /// A new agent that runs these types.
    pub(super) fn join_as(&mut self, agent: &str, types: &[&'static str]) {
        self.types = types.to_vec();
        self.join(agent, 1, &[], &[]);
    }

    /// An agent says what it holds, and joins with its slots when it is answered.
    pub(super) fn join(
        &mut self,
        agent: &str,
        boot: u64,
        running: &[AttemptKey],
        finished: &[AttemptKey],
    ) -> Vec<Release> {
        self.sessions += 1;
        let session = SessionNumber(self.sessions);
        self.streams.insert(agent.to_owned(), session);
        let agent = AgentBoot { agent: agent.into(), boot: BootId(boot) };
        self.permits.leave(&agent.agent, session);
        let (running, finished) = (running.to_vec(), finished.to_vec());
        let hello = Input::AgentHello { agent: agent.clone(), session, running, finished };
        let mut releases = self.on([hello]).releases;
        releases.extend(self.land_all());
        let types = self.types.iter().map(|id| ((*id).into(), u32::MAX)).collect();
        let labels = BTreeMap::new();
        let offer = Offer { session, boot: agent.boot, types, labels, held: 0, slots: self.slots, prefetch: 0 };
        self.permits.join(agent.agent, offer);
        releases
    }

    /// The youngest stream of an agent ends.
    pub(super) fn gone(&mut self, agent: &str, boot: u64, leaving: Leaving) -> Outputs {
        let session = self.stream(agent);
        let agent = AgentBoot { agent: agent.into(), boot: BootId(boot) };
        self.permits.leave(&agent.agent, session);
        self.on([Input::AgentGone { agent, session, leaving }])
    }

    pub(super) fn stream(&self, agent: &str) -> SessionNumber {
        self.streams[agent]
    }

    /// Permits come to who waits for them, and everything lands; the attempts that were sent.
    pub(super) fn deal(&mut self) -> Vec<Dispatch> {
        self.tick();
        let dealt: Vec<_> = std::mem::take(&mut self.dealt).into_iter().chain(self.permits.deal()).collect();
        self.on(dealt.into_iter().map(|(_, grant)| Input::Granted(vec![grant])));
        dispatches(&self.land_all())
    }

    /// Permits come to who waits for them, and nothing lands; the attempts that were sent.
    pub(super) fn deal_only(&mut self) -> Vec<Dispatch> {
        let dealt = self.take_dealt();
        dispatches(&self.on(dealt.into_iter().map(|(_, grant)| Input::Granted(vec![grant]))).releases)
    }

    /// What was dealt and has not been delivered.
    pub(super) fn take_dealt(&mut self) -> Vec<(PartitionId, Grant)> {
        std::mem::take(&mut self.dealt).into_iter().chain(self.permits.deal()).collect()
    }

    /// What an agent that is here would say to another partition.
    pub(super) fn hello(&self, agent: &str, boot: u64) -> Input {
        let (session, agent) = (self.stream(agent), AgentBoot { agent: agent.into(), boot: BootId(boot) });
        Input::AgentHello { agent, session, running: Vec::new(), finished: Vec::new() }
    }

    /// Submits a run and lets everything land that follows; the attempts that were sent.
    pub(super) fn start(&mut self, run: RunId, graph: &Arc<Graph>) -> Vec<Dispatch> {
        self.on([submit(run, graph, None)]);
        dispatches(&self.land_all())
    }
}

/// A submission of another tenant.
pub(super) fn submit_of(tenant: &str, run: RunId, graph: &Arc<Graph>) -> Input {
    let submission = Submission { tenant: tenant.into(), ..submission(run, graph, None) };
    Input::Submit(CallerId(run.0 as u64), Box::new(submission))
}

pub(super) fn submission(run: RunId, graph: &Arc<Graph>, key: Option<(&str, &str)>) -> Submission {
    let tenant = TenantId::from("acme");
    let key = key.map(|(key, body)| KeyRow { key: idempotency_key(key), body: Digest::of(body.as_bytes()) });
    Submission {
        run,
        tenant,
        subject: Subject::from("somebody"),
        workflow: WorkflowId(1),
        graph: Arc::clone(graph),
        target: None,
        inputs: Vec::new(),
        key,
        traceparent: None,
        sandbox: false,
        lineage: None,
        batch: None,
        deadline: None,
        invoked_by: None,
    }
}

pub(super) fn idempotency_key(key: &str) -> IdempotencyKey {
    IdempotencyKey { tenant: TenantId::from("acme"), route: "POST /execute".into(), key: key.into() }
}

/// A submission by the caller with the run's number.
pub(super) fn submit(run: RunId, graph: &Arc<Graph>, key: Option<(&str, &str)>) -> Input {
    Input::Submit(CallerId(run.0 as u64), Box::new(submission(run, graph, key)))
}

pub(super) fn cancel(caller: u64, run: RunId) -> Input {
    Input::Cancel {
        caller: CallerId(caller),
        run,
        tenant: TenantId::from("acme"),
        by: Subject::from("somebody"),
        reason: None,
    }
}

pub(super) fn finished(dispatch: &Dispatch, text: &str) -> Input {
    finished_with(dispatch, Value::from_json(Bytes::from(format!("\"{text}\""))))
}

pub(super) fn finished_with(dispatch: &Dispatch, value: Value) -> Input {
    let outcome = Outcome::Succeeded(vec![("out".into(), value)]);
    Input::Finished { from: dispatch.to.clone(), key: dispatch.key, outcome, timing: Timing::default() }
}

pub(super) fn dispatches(releases: &[Release]) -> Vec<Dispatch> {
    let found = releases.iter().filter_map(|release| match release {
        Release::Effect(Effect::Dispatch(dispatch)) => Some(dispatch.as_ref().clone()),
        _ => None,
    });
    found.collect()
}

pub(super) fn replies(releases: &[Release]) -> Vec<(u64, Reply)> {
    let found = releases.iter().filter_map(|release| match release {
        Release::Reply(caller, reply) => Some((caller.0, reply.clone())),
        Release::Effect(_) => None,
    });
    found.collect()
}

pub(super) fn verdicts(releases: &[Release]) -> Vec<(AttemptKey, Verdict)> {
    let found = releases.iter().find_map(|release| match release {
        Release::Effect(Effect::Verdicts { verdicts, .. }) => Some(verdicts.clone()),
        _ => None,
    });
    found.expect("the inventory is answered")
}
