//! Who does a node's work: its own type, and the fallbacks that its policy names.

use std::sync::Arc;

use bytes::Bytes;

use super::Node;
use crate::id::{PortIx, ProviderIx};
use crate::node_type::{EffectClass, NodeType, Runner};
use crate::policy::Policy;
use crate::value::Value;

/// A fallback of a node.
#[derive(Debug)]
pub struct Provider {
    /// The id of its type.
    pub type_id: Arc<str>,
    /// Its type; `None` iff nobody offers it here.
    pub node_type: Option<Arc<NodeType>>,
    /// One JSON object, as [`Node::config`].
    pub config: Bytes,
    /// Values of its input ports that no edge of the node feeds.
    pub constants: Vec<(PortIx, Value)>,
    /// What it may do to the world.
    pub effect: EffectClass,
    /// The node's policy over the defaults of this type.
    pub policy: Policy,
}

/// What an attempt asks for: a node as one of its providers does it.
#[derive(Debug, Clone, Copy)]
pub struct Provided<'a> {
    /// The id of the type.
    pub type_id: &'a Arc<str>,
    /// The type; `None` iff nobody offers the node's own.
    pub node_type: Option<&'a Arc<NodeType>>,
    /// One JSON object.
    pub config: &'a Bytes,
    /// Values of input ports that no edge feeds, by the ports of this type.
    pub constants: &'a [(PortIx, Value)],
    /// What it may do to the world.
    pub effect: EffectClass,
    /// What happens around its attempts.
    pub policy: &'a Policy,
}

impl Node {
    /// The node as a provider does it; as its own type does it, if it has no such fallback.
    pub fn provided(&self, by: ProviderIx) -> Provided<'_> {
        match self.fallback_at(by) {
            Some(provider) => Provided {
                type_id: &provider.type_id,
                node_type: provider.node_type.as_ref(),
                config: &provider.config,
                constants: &provider.constants,
                effect: provider.effect,
                policy: &provider.policy,
            },
            None => Provided {
                type_id: &self.type_id,
                node_type: self.node_type.as_ref(),
                config: &self.config,
                constants: &self.constants,
                effect: self.effect,
                policy: &self.policy,
            },
        }
    }

    /// Whether nobody here offers a type that does its work, or may have to.
    pub fn is_unavailable(&self) -> bool {
        self.runner == Runner::Unavailable || self.fallback.iter().any(|provider| provider.node_type.is_none())
    }

    /// Whether it has such a provider.
    pub fn has_provider(&self, ix: ProviderIx) -> bool {
        usize::from(ix.0) <= self.fallback.len()
    }

    /// The types of its providers up to and with one, in the order in which they are tried.
    pub fn providers_up_to(&self, last: ProviderIx) -> impl Iterator<Item = &Arc<str>> {
        let fallbacks = self.fallback.iter().map(|provider| &provider.type_id);
        std::iter::once(&self.type_id).chain(fallbacks).take(usize::from(last.0) + 1)
    }

    /// The input of a provider that takes what comes in through one of the node's own: the one of the same id.
    pub fn input_at(&self, by: ProviderIx, port: PortIx) -> Option<PortIx> {
        let Some(provider) = self.fallback_at(by) else { return Some(port) };
        let id = &self.node_type.as_ref()?.inputs.get(usize::from(port.0))?.id;
        provider.node_type.as_ref()?.input(id).map(|(port, _)| port)
    }

    fn fallback_at(&self, by: ProviderIx) -> Option<&Provider> {
        self.fallback.get(usize::from(by.0).checked_sub(1)?)
    }
}
