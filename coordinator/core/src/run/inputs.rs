//! What comes into a node, and where most of it was made.

use std::collections::BTreeMap;

use super::Run;
use crate::id::{AgentId, Instance, NodeIx, PortIx};
use crate::limits;
use crate::node_type::{Control, Runner};
use crate::run::event::OutputValue;
use crate::value::ValueRef;

/// What the edges into one port brought.
#[derive(Debug, Clone, PartialEq)]
pub struct WiredInput<'a> {
    /// Which input.
    pub port: PortIx,
    /// In edge order.
    pub values: Vec<SourcedValue<'a>>,
}

/// A value with the node it came from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourcedValue<'a> {
    /// The node it came from.
    pub source: NodeIx,
    /// What it is.
    pub value: &'a OutputValue,
}

impl Run {
    /// The wired inputs of a node whose inputs are settled, seen from its scope: each port with what its edges brought, in
    /// edge order, closed ones left out.
    pub fn wired_inputs(&self, instance: Instance) -> Vec<WiredInput<'_>> {
        let mut inputs: Vec<WiredInput<'_>> = Vec::new();
        for edge in self.graph.in_edges(instance.node) {
            let value = match self.output_at(instance.scope, edge.source, edge.source_port) {
                None | Some(OutputValue::Closed) => None,
                Some(value) => Some(SourcedValue { source: edge.source, value }),
            };
            match inputs.iter_mut().find(|input| input.port == edge.target_port) {
                Some(input) => input.values.extend(value),
                None => inputs.push(WiredInput { port: edge.target_port, values: value.into_iter().collect() }),
            }
        }
        inputs
    }

    /// Whether of JSON at an input its items are meant: where it is gone through and no other edge leads there. Of what lies in the
    /// artifact store only who reads it knows whether it has any.
    pub(super) fn means_items(&self, node: NodeIx, port: PortIx, value: &ValueRef) -> bool {
        let goes_through = matches!(
            self.graph.node(node).runner,
            Runner::Control(Control::Filter | Control::Map | Control::Reduce | Control::Batch)
        );
        let may_have_some = value.is_array || value.bytes as usize > limits::INLINE_VALUE_BYTES_MAX;
        goes_through && may_have_some && self.is_only_edge(node, port)
    }

    /// The agent that made most of a node's inputs, if they are large enough to send the node there.
    pub(crate) fn near(&self, instance: Instance) -> Option<&AgentId> {
        if self.state.makers.is_empty() {
            return None;
        }
        let mut made: BTreeMap<&AgentId, u64> = BTreeMap::new();
        for edge in self.graph.in_edges(instance.node) {
            let source = instance.beside(edge.source);
            let beside = self.state.makers.get(&source);
            let maker = beside.or_else(|| self.state.makers.get(&Instance::root(edge.source)));
            let (Some(maker), Some(value)) = (maker, self.output_at(instance.scope, edge.source, edge.source_port))
            else {
                continue;
            };
            *made.entry(maker).or_default() += value.bytes();
        }
        let most = made.into_iter().max_by_key(|(_, bytes)| *bytes);
        most.filter(|(_, bytes)| *bytes >= limits::LOCALITY_INPUT_BYTES_MIN).map(|(maker, _)| maker)
    }
}
