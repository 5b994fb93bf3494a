//! A run together with the history that led to it.

use std::sync::Arc;

use bytes::Bytes;

use crate::draw::Draw;
use crate::graph::Graph;
use crate::graph::fixture::Fixture;
use crate::hook::{HOOK_KEY_BYTES, Hooks};
use crate::id::{AgentBoot, AttemptToken, BootId, EventSeq, Instance, NodeIx, RunId, Subject, TenantId, WorkflowId};
use crate::run::event::{
    Assignment, Attempt, ErrorClass, Event, Fact, NodeError, OutputValue, PermitClass, Piece, Submitted, Timing,
};
use crate::run::lineage::{Lineage, Offer};
use crate::run::list::{self, ChunkItem, ListPart};
use crate::run::recall::CachedResult;
use crate::run::view::RunView;
use crate::run::{Admitted, Body, Command, Deciding, Lists, Outcome, Rejection, Run, RunStatus, Values, WiredInput};
use crate::time::{Span, Timestamp};
use crate::value::{Value, ValueRef};

pub(super) const ID: RunId = RunId(7);
pub(super) const START: Timestamp = Timestamp::from_millis(1_000_000);

/// A run, its events, and the clock.
pub(super) struct Course {
    pub(super) run: Run,
    pub(super) events: Vec<Event>,
    pub(super) now: Timestamp,
    /// What it gave to other runs.
    pub(super) shared: Vec<CachedResult>,
    tokens: u64,
    draws: u64,
}

impl Course {
    pub(super) fn begin(graph: &Arc<Graph>) -> Self {
        Self::begin_drawing(graph, 0)
    }

    /// Draws begin with this seed.
    pub(super) fn begin_drawing(graph: &Arc<Graph>, draws: u64) -> Self {
        Self::begin_with(graph, draws, ID, (None, None), Vec::new())
    }

    /// A run that takes over what is offered.
    pub(super) fn begin_with(
        graph: &Arc<Graph>,
        draws: u64,
        id: RunId,
        (lineage, target): (Option<Box<Lineage>>, Option<NodeIx>),
        offers: Vec<(Vec<Offer>, Vec<Value>)>,
    ) -> Self {
        let submitted = Submitted {
            tenant: TenantId::from("acme"),
            subject: Subject::from("somebody"),
            workflow: WorkflowId(1),
            graph: graph.digest(),
            target,
            inputs: Vec::new(),
            traceparent: None,
            sandbox: false,
            lineage,
            deadline: None,
            invoked_by: None,
        };
        Self::begin_as(graph, draws, id, submitted, offers)
    }

    /// A run that begins with these words.
    pub(super) fn begin_as(
        graph: &Arc<Graph>,
        draws: u64,
        id: RunId,
        submitted: Submitted,
        offers: Vec<(Vec<Offer>, Vec<Value>)>,
    ) -> Self {
        let event = bare(EventSeq(1), START, Fact::Submitted(Box::new(submitted)));
        let run = Run::begin(id, Arc::clone(graph), &event).unwrap();
        let mut course = Self { run, events: vec![event], now: START, shared: Vec::new(), tokens: 0, draws };
        for (offers, values) in offers {
            let event = Event { values, ..bare(course.run.seq().next(), START, Fact::Offered { offers }) };
            course.run.step_fact(event.seq, event.at, &event.fact).expect("offers follow");
            course.events.push(event);
        }
        course.settle();
        course
    }

    /// The instance of a node.
    pub(super) fn instance(&self, id: &str) -> Instance {
        Instance::root(self.run.graph().find(id).unwrap())
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Span::from_millis(millis));
    }

    /// Admits a command and folds what follows from it, as a partition does.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Rejection> {
        let before = self.run.snapshot();
        let admitted = self.run.admit(command, self.now, 0);
        assert_eq!(self.run.snapshot(), before, "admitting changes nothing");
        let Admitted { fact, values } = admitted?;
        self.shared.extend(self.run.shares(&fact, &values, self.now).map(|(_, result)| result));
        let event = Event { values, ..bare(self.run.seq().next(), self.now, fact) };
        self.run.step_fact(event.seq, event.at, &event.fact).expect("an admitted fact follows");
        self.events.push(event);
        self.settle();
        Ok(())
    }

    /// Evaluates what has fallen due, and ends the run when it is done.
    pub(super) fn settle(&mut self) {
        while let Some(instance) = self.run.next_decision().filter(|_| !self.run.can_conclude()) {
            let (values, lists) = self.at_hand(instance);
            let event = self.events.last_mut().unwrap();
            let mut body = Body::resume(event.seq, std::mem::take(&mut event.values));
            let mut draw = Draw::from_seed(self.draws);
            self.draws += 1;
            let hooks = hooks();
            let mut deciding = Deciding {
                now: self.now,
                draw: &mut draw,
                values: &values,
                lists: &lists,
                hooks: &hooks,
                cost: &mut 0,
            };
            let decision = self.run.decide(instance, &mut deciding, &mut body);
            event.values = body.into_values();
            self.run.step_decision(&decision).expect("a decision follows");
            event.decisions.push(decision);
        }
        if self.run.can_conclude() {
            self.command(Command::Conclude).unwrap();
        }
    }

    /// All that a decision looks at.
    pub(super) fn at_hand(&self, instance: Instance) -> (Values, Lists) {
        let (mut values, mut lists) = (Values::new(), Lists::new());
        loop {
            let needs = self.run.needs_to_decide(instance, &values, &lists);
            let known = values.len() + lists.len();
            values.extend(needs.values.iter().map(|reference| (*reference, self.value(reference))));
            lists.extend(needs.lists.iter().map(|need| {
                let value = self.value(&need.reference);
                let part = match need.is_chunk {
                    true => ListPart::of_chunk(&value).unwrap(),
                    false => ListPart::of_text(value.json(), need.part),
                };
                ((need.reference, need.part), Ok(Arc::new(part)))
            }));
            if values.len() + lists.len() == known {
                return (values, lists);
            }
        }
    }

    /// Gives whatever is ready to an agent, one by one, until nothing is; `work` says what comes of a node with its inputs.
    pub(super) fn run_through(&mut self, mut work: impl FnMut(&str, serde_json::Value) -> Outcome) {
        while let Some(instance) = self.next_ready() {
            let id = self.run.graph().node(instance.node).id.to_string();
            let inputs = self.inputs(instance);
            let attempt = self.assign(instance, 1, false);
            self.finish(attempt, work(&id, inputs)).unwrap();
        }
    }

    pub(super) fn next_ready(&self) -> Option<Instance> {
        self.run.ready().next()
    }

    /// What an instance is given: an object of its wired inputs.
    pub(super) fn inputs(&self, instance: Instance) -> serde_json::Value {
        let node_type = self.run.graph().node(instance.node).node_type.as_ref().unwrap();
        let inputs = self.run.wired_inputs(instance).into_iter().filter(|input| !input.values.is_empty());
        let input = |input: WiredInput<'_>| {
            let id = node_type.inputs[usize::from(input.port.0)].id.to_string();
            (id, self.json(&self.run.gather(instance, &input)))
        };
        serde_json::Value::Object(inputs.map(input).collect())
    }

    /// The JSON that an output stands for.
    pub(super) fn json(&self, value: &OutputValue) -> serde_json::Value {
        let one = |reference: &ValueRef| serde_json::from_slice(self.value(reference).json()).unwrap();
        let item = |item: ChunkItem| match item {
            ChunkItem::Null => serde_json::Value::Null,
            ChunkItem::One(reference) | ChunkItem::Array(reference) => one(&reference),
            ChunkItem::List(reference) => {
                self.json(&OutputValue::Pieces(list::read_list(&self.value(&reference)).unwrap()))
            }
        };
        match value {
            OutputValue::One(reference) | OutputValue::List(reference) => one(reference),
            OutputValue::Gather(references) => references.iter().map(one).collect(),
            OutputValue::Pieces(pieces) => pieces
                .iter()
                .flat_map(|piece| match piece {
                    Piece::Item(reference) => vec![one(reference)],
                    Piece::List(reference) => one(reference).as_array().unwrap().clone(),
                    Piece::Chunk(chunk) => {
                        let items = list::read_chunk(&self.value(&chunk.reference)).unwrap();
                        assert_eq!(items.len(), chunk.items as usize);
                        items.into_iter().map(item).collect()
                    }
                })
                .collect(),
            OutputValue::Closed => serde_json::Value::Null,
        }
    }

    /// Gives a ready instance to an agent.
    pub(super) fn assign(&mut self, instance: Instance, boot: u64, alone: bool) -> Attempt {
        self.tokens += 1;
        let attempt = Attempt { instance, number: self.run.next_attempt(instance), token: AttemptToken(self.tokens) };
        let to = AgentBoot { agent: "agent".into(), boot: BootId(boot) };
        let provider = self.run.provider_of(instance);
        let assignment = Assignment { attempt, to, permit: PermitClass::Slot, alone, provider };
        let mut event = bare(self.run.seq().next(), self.now, Fact::Continued);
        self.run.step_fact(event.seq, event.at, &event.fact).unwrap();
        self.run.step_assignment(event.at, &assignment).expect("a ready instance can be given");
        event.assignments.push(assignment);
        self.events.push(event);
        attempt
    }

    pub(super) fn finish(&mut self, attempt: Attempt, outcome: Outcome) -> Result<(), Rejection> {
        self.command(Command::Finish { attempt, outcome, timing: Timing::default() })
    }

    pub(super) fn facts(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.fact.name()).collect()
    }

    /// The value behind a reference.
    pub(super) fn value(&self, reference: &ValueRef) -> Value {
        self.events[reference.seq.0 as usize - 1].values[reference.place as usize].clone()
    }

    /// Puts another value in a place.
    pub(super) fn put(&mut self, reference: &ValueRef, value: Value) {
        self.events[reference.seq.0 as usize - 1].values[reference.place as usize] = value;
    }

    /// What came out of a node's output: its JSON, or nothing if the output is closed.
    pub(super) fn gave(&self, output: &str) -> Option<serde_json::Value> {
        let (node, port) = output.split_once('.').unwrap();
        let node = self.instance(node).node;
        let (port, _) = self.run.graph().node(node).node_type.as_ref().unwrap().output(port).unwrap();
        let value = self.run.output(node, port)?;
        (*value != OutputValue::Closed).then(|| self.json(value))
    }

    /// The fold of the recorded history.
    pub(super) fn replayed(&self) -> Run {
        let mut run = Run::begin(self.run.id(), Arc::clone(self.run.graph()), &self.events[0]).unwrap();
        self.events[1..].iter().for_each(|event| run.step(event).expect("a recorded event follows"));
        run
    }

    /// What people see of the recorded history.
    pub(super) fn view(&self) -> RunView {
        let mut view = RunView::begin(ID, Arc::clone(self.run.graph()), &self.events[0]).unwrap();
        self.events[1..].iter().for_each(|event| view.step(event).expect("a recorded event follows"));
        view
    }

    pub(super) fn is_over(&self) -> bool {
        self.run.status() != RunStatus::Running
    }
}

pub(super) fn hooks() -> Hooks {
    Hooks::new("https://example.org", &[1; HOOK_KEY_BYTES])
}

pub(super) fn bare(seq: EventSeq, at: Timestamp, fact: Fact) -> Event {
    Event { seq, at, fact, decisions: Vec::new(), assignments: Vec::new(), values: Vec::new() }
}

/// A map over a list whose one node `w` gets the item as `extra`, and is tried once.
pub(super) fn mapped(config: serde_json::Value, items: serde_json::Value) -> Fixture {
    Fixture::default()
        .list("list", items)
        .logic("m", "map", config)
        .work("w", "pure", &serde_json::json!({"retry": {"maxAttempts": 1}}))
        .inside("m")
        .output("end")
        .edge("list", "m.items")
        .edge("m.item", "w.extra")
        .edge("w.out", "m.result")
        .edge("m.results", "end")
}

pub(super) fn value(text: &str) -> Value {
    Value::from_json(Bytes::from(format!("\"{text}\"")))
}

pub(super) fn success(text: &str) -> Outcome {
    Outcome::Succeeded(vec![("out".into(), value(text))])
}

pub(super) fn failure(class: ErrorClass) -> Outcome {
    let error = NodeError { class, code: "because".into(), message: "it did not go well".into() };
    Outcome::Failed { error, retry_after: None }
}
