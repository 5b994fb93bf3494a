//! Control nodes: what the core evaluates itself.

use super::{Body, Lists, Run, SourcedValue, Values, WiredInput};
use crate::draw::Draw;
use crate::hook::Hooks;
use crate::id::{Instance, PortIx};
use crate::node_type::{Control, Runner};
use crate::run::event::{Decision, ErrorClass, NodeError, OutputValue, Piece, PortOutput};
use crate::time::Timestamp;

/// The first port of a control node.
pub(super) const PORT: PortIx = PortIx(0);

/// What a decision may use beside the run itself.
pub(crate) struct Deciding<'a> {
    /// When it is made.
    pub(crate) now: Timestamp,
    /// For what is left to chance: the outcome is part of the decision.
    pub(crate) draw: &'a mut Draw,
    /// The values that [`Run::needs_to_decide`] asked for.
    pub(crate) values: &'a Values,
    /// The parts of lists that it asked for.
    pub(crate) lists: &'a Lists,
    /// Makes the addresses of hooks.
    pub(crate) hooks: &'a Hooks,
    /// Grows by what the decision may have cost, in the measure of [`crate::limits::EXPRESSION_COST_MAX`].
    pub(crate) cost: &'a mut u64,
}

impl Run {
    /// Evaluates a control node that is due. New values go into `body`.
    pub(crate) fn decide(&self, instance: Instance, deciding: &mut Deciding<'_>, body: &mut Body) -> Decision {
        if let Some(asked) = self.ask(instance, deciding.now, body) {
            return asked;
        }
        if let Some(invoked) = self.invoke(instance, deciding.now) {
            return self.caught_decision(invoked, body);
        }
        if let Some(reused) = self.reuse(instance) {
            return reused;
        }
        let decision = self.evaluate(instance, deciding, body);
        self.caught_decision(decision, body)
    }

    fn evaluate(&self, instance: Instance, deciding: &mut Deciding<'_>, body: &mut Body) -> Decision {
        let control = match self.graph.node(instance.node).runner {
            Runner::Control(control) if !Runner::Control(control).takes_over() => control,
            // What was offered does not fit.
            _ => return Decision::Afresh { instance },
        };
        if let Some(logic) = &self.graph.node(instance.node).logic {
            return self.decide_branch(instance, logic, deciding, body);
        }
        let now = deciding.now;
        match control {
            Control::Input => self.decide_input(instance, body),
            Control::Output => {
                Decision::Completed { instance, outputs: self.decide_output(instance, deciding.values, body) }
            }
            Control::Wait => match self.graph.wait_until(instance.node, now) {
                Err(message) => self.undecidable(instance, &message),
                Ok(until) if until <= now => Decision::Completed { instance, outputs: self.pass_on(instance, body) },
                Ok(until) => Decision::Waiting { instance, until },
            },
            // Its config was refused, or nobody has read it.
            Control::If
            | Control::Switch
            | Control::Router
            | Control::Merge
            | Control::Race
            | Control::Gate
            | Control::Filter
            | Control::Stop
            | Control::SplitTest
            | Control::Review
            | Control::Signal
            | Control::Webhook
            | Control::Invoke
            | Control::Map
            | Control::Loop
            | Control::Reduce
            | Control::Batch => self.undecidable(instance, "its config cannot be read"),
        }
    }

    /// The value given with the run, else the one in the graph, else nothing.
    fn decide_input(&self, instance: Instance, body: &mut Body) -> Decision {
        let given = self.state.origin.inputs.iter().find(|(node, _)| *node == instance.node);
        let value = match given {
            Some((_, reference)) => OutputValue::One(*reference),
            None => match self.graph.input_default(instance.node) {
                Some(value) => OutputValue::One(body.put(value)),
                None => OutputValue::Closed,
            },
        };
        Decision::Completed { instance, outputs: vec![PortOutput { port: PORT, value }] }
    }

    /// Output 0 gives what input 0 was given: by reference if it is wired, else the graph's own value.
    pub(super) fn pass_on(&self, instance: Instance, body: &mut Body) -> Vec<PortOutput> {
        let wired = self.wired_inputs(instance).into_iter().find(|input| input.port == PORT);
        let value = match wired {
            Some(input) => self.gather(instance, &input),
            None => match self.graph.node(instance.node).constants.iter().find(|(port, _)| *port == PORT) {
                Some((_, value)) => OutputValue::One(body.put(value.clone())),
                None => OutputValue::Closed,
            },
        };
        vec![PortOutput { port: PORT, value }]
    }

    /// One edge brings its value as it is. What takes a list makes one of one value, and of several edges: in their order, each
    /// adds the items of its list, or its one value.
    pub(super) fn gather(&self, instance: Instance, input: &WiredInput<'_>) -> OutputValue {
        let node_type = self.graph.node(instance.node).node_type.as_ref();
        let port = node_type.and_then(|node_type| node_type.inputs.get(usize::from(input.port.0)));
        match input.values.as_slice() {
            [] => OutputValue::Closed,
            [SourcedValue { value: OutputValue::One(reference), .. }] if port.is_some_and(|port| port.list) => {
                OutputValue::Gather([*reference].into())
            }
            [one] => one.value.clone(),
            several => {
                let pieces: Vec<Piece> = several.iter().flat_map(|sourced| sourced.value.pieces()).collect();
                let item = |piece: &Piece| match piece {
                    Piece::Item(reference) => Some(*reference),
                    Piece::Chunk(_) | Piece::List(_) => None,
                };
                pieces.iter().map(item).collect::<Option<_>>().map_or(OutputValue::Pieces(pieces), OutputValue::Gather)
            }
        }
    }

    pub(super) fn undecidable(&self, instance: Instance, message: &str) -> Decision {
        let error = NodeError { class: ErrorClass::InvalidRequest, code: "bad_config".into(), message: message.into() };
        Decision::Failed { instance, error, caught: Vec::new() }
    }
}
