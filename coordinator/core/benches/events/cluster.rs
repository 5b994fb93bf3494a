//! A partition with one agent that finishes everything at once, and a journal that takes everything.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::draw::Draw;
use heddle_core::graph::Graph;
use heddle_core::hook::Hooks;
use heddle_core::id::{
    AgentBoot, AttemptKey, BootId, CallerId, Epoch, PartitionId, RunId, SessionNumber, Slot, Subject, TenantId,
    WorkflowId,
};
use heddle_core::partition::Partition;
use heddle_core::partition::batch::CommitOutcome;
use heddle_core::partition::io::{Effect, Input, Outputs, Release, Submission};
use heddle_core::partition::permits::{Offer, Permits};
use heddle_core::run::Outcome;
use heddle_core::run::event::{Event, Fact, PermitClass, Timing};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Value;

use crate::{measured, now, shape};

const PARTITION: PartitionId = PartitionId(0);
/// As many as the smallest graph can use, so that graphs of all sizes have the same number of attempts out.
const SLOTS: u32 = 8;
const TURN: Span = Span::from_millis(1);

/// Everything around the partition that a coordinator would be.
#[derive(Debug)]
pub(crate) struct Cluster {
    partition: Partition,
    permits: Permits,
    agent: AgentBoot,
    output: Value,
    draw: Draw,
    at: Timestamp,
    runs: u128,
    spent: Duration,
}

impl Cluster {
    /// A cluster whose agent has joined.
    pub(crate) fn new() -> Self {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let agent = AgentBoot { agent: "agent".into(), boot: BootId(1) };
        let mut permits = Permits::default();
        let types = [shape::LIST_TYPE_ID, shape::TYPE_ID].map(|id| (id.into(), u32::MAX)).to_vec();
        let labels = Default::default();
        let session = SessionNumber(1);
        let offer = Offer { session, boot: agent.boot, types, labels, held: 0, slots: SLOTS, prefetch: 0 };
        permits.join(agent.agent.clone(), offer);
        let mut cluster = Self {
            partition: Partition::new(PARTITION, Epoch(1), Hooks::new("https://example.org", &[1; 32]), at),
            permits,
            agent: agent.clone(),
            output: Value::from_json(Bytes::from_static(b"\"done\"")),
            draw: Draw::from_seed(1),
            at,
            runs: 0,
            spent: Duration::ZERO,
        };
        cluster.turn(vec![Input::AgentHello { agent, session, running: Vec::new(), finished: Vec::new() }]);
        cluster
    }

    /// How long the partition has worked.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }

    /// Runs a graph from submission to end, with so many items in a list; answers its history as the journal has it.
    pub(crate) fn drive(&mut self, graph: &Arc<Graph>, items: usize) -> (RunId, Vec<Event>) {
        let list = Value::from_json(format!("[{}]", vec!["1"; items].join(",")).into());
        self.runs += 1;
        let run = RunId::new(self.at, Slot(0), self.runs);
        let mut inputs = vec![Input::Submit(CallerId(1), Box::new(submission(run, graph)))];
        let mut history = Vec::new();
        while !inputs.is_empty() {
            let outputs = self.turn(std::mem::take(&mut inputs));
            for release in outputs.releases {
                if let Release::Effect(Effect::Dispatch(dispatch)) = release {
                    let is_list = &*dispatch.graph.node(dispatch.key.instance.node).type_id == shape::LIST_TYPE_ID;
                    inputs.push(self.finish(dispatch.key, if is_list { &list } else { &self.output }.clone()));
                }
            }
            for (partition, grant) in outputs.dealt.into_iter().chain(self.permits.deal()) {
                assert_eq!(partition, PARTITION);
                inputs.push(Input::Granted(vec![grant]));
            }
            if let Some(batch) = outputs.commit {
                inputs.push(Input::Committed(batch.number, CommitOutcome::Applied { quarantined: Vec::new() }));
                history.extend(batch.runs.into_iter().flat_map(|written| written.events).map(Arc::unwrap_or_clone));
            }
        }
        let ended = history.last().is_some_and(|event| matches!(event.fact, Fact::Ended { .. }));
        assert!(ended, "the run stands still after {} events", history.len());
        (run, history)
    }

    /// The agent is done with an attempt, and has its slot free again.
    fn finish(&mut self, key: AttemptKey, output: Value) -> Input {
        self.permits.finished(&self.agent, SessionNumber(1), 1);
        self.permits.grant(&self.agent, SessionNumber(1), PermitClass::Slot, 1);
        let outcome = Outcome::Succeeded(vec![(shape::OUTPUT_ID.into(), output)]);
        Input::Finished { from: self.agent.clone(), key, outcome, timing: Timing::default() }
    }

    fn turn(&mut self, inputs: Vec<Input>) -> Outputs {
        self.at = self.at.plus(TURN);
        let draw = Draw::from_seed(self.draw.next_u64());
        let begun = now();
        let outputs = measured::drive(&mut self.partition, inputs, self.at, draw, &mut self.permits);
        self.spent += begun.elapsed();
        assert!(outputs.stop.is_none(), "nothing goes wrong here");
        outputs
    }
}

fn submission(run: RunId, graph: &Arc<Graph>) -> Submission {
    Submission {
        run,
        tenant: TenantId::from("tenant"),
        subject: Subject::from("subject"),
        workflow: WorkflowId(1),
        graph: Arc::clone(graph),
        target: None,
        inputs: Vec::new(),
        key: None,
        traceparent: None,
        sandbox: false,
        lineage: None,
        batch: None,
        deadline: None,
        invoked_by: None,
    }
}
