//! An attempt as it is sent to an agent, and where its inputs lie.

use std::sync::Arc;

use crate::condition::question::Question as Condition;
use crate::graph::Graph;
use crate::id::{AgentBoot, AttemptKey, PortIx, ProviderIx, SessionNumber, TenantId};
use crate::run::event::PermitClass;
use crate::value::ValueRef;

/// An attempt to be sent.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// To whom.
    pub to: AgentBoot,
    /// Which attempt.
    pub key: AttemptKey,
    /// The numbers of the items and turns that it lies in, the outermost first.
    pub index: Vec<u32>,
    /// The permit it uses up.
    pub permit: PermitClass,
    /// The stream that the permit was granted on: it is sent there or not at all.
    pub session: SessionNumber,
    /// The graph its node is in.
    pub graph: Arc<Graph>,
    /// Who does its node's work.
    pub provider: ProviderIx,
    /// What its wired inputs hold, by reference; ports are those of the provider's type.
    pub inputs: Vec<InputBinding>,
    /// Keys of its node's config that people have changed, a JSON object.
    pub config: Option<ValueRef>,
    /// What it has to answer, if it looks at values for the engine: its inputs are at the ports that the question names.
    pub question: Option<Arc<Condition>>,
    /// A pollable job to go on with.
    pub handle: Option<ValueRef>,
    /// How many jobs earlier attempts have left to be cancelled.
    pub jobs_left: u32,
    /// The caller's trace context.
    pub traceparent: Option<Arc<str>>,
    /// Whose run it is.
    pub tenant: TenantId,
    /// Whether its work asks the sandbox provider alone.
    pub sandbox: bool,
}

impl PartialEq for Dispatch {
    fn eq(&self, other: &Self) -> bool {
        (&self.to, &self.key, &self.inputs) == (&other.to, &other.key, &other.inputs)
    }
}

/// The port that stands for the items of a question.
pub const QUESTION_ITEMS: PortIx = PortIx(u16::MAX);

/// What one wired input holds.
#[derive(Debug, Clone, PartialEq)]
pub struct InputBinding {
    /// Which input; of a question, the number of the value, [`QUESTION_ITEMS`] for the items.
    pub port: PortIx,
    /// Whether it takes a list.
    pub list: bool,
    /// Whether it takes one value and gets a list: the values are that list's items.
    pub joined: bool,
    /// The values, in edge order.
    pub values: Vec<BoundValue>,
}

/// A value of an input, by reference.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundValue {
    /// Where it lies.
    pub reference: ValueRef,
    /// What lies there.
    pub holds: Holds,
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// The value of the input, or one of them.
    Value,
    /// A list whose items are values of the input, one by one.
    List,
    /// References to values of the input, in order ([`crate::run::list::read_chunk`]).
    Chunk,
}
