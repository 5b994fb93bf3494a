//! What a node waits for that listens to the world, read from its config (graph.md, part 9).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::logic::Reader;
use super::problem::{Problem, shown};
use super::{Graph, Logic};
use crate::id::NodeIx;
use crate::limits;
use crate::time::Span;

/// What a `logic:signal` or a `logic:wait_webhook` waits for.
#[derive(Debug)]
pub struct Listen {
    /// Who may end its wait.
    pub to: ListensTo,
    /// How long it waits, if not for ever.
    pub timeout: Option<Span>,
    /// The JSON Schema that a body has to fit.
    pub schema: Option<Bytes>,
}

/// What ends a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListensTo {
    /// A signal of this name, sent to the run.
    Signal(Arc<str>),
    /// A call of the address that it gives.
    Webhook,
}

impl Graph {
    /// What a node waits for, if it listens to the world.
    pub fn listen(&self, ix: NodeIx) -> Option<&Listen> {
        match self.get(ix)?.logic.as_deref() {
            Some(Logic::Listen(listen)) => Some(listen),
            _ => None,
        }
    }

    /// The nodes that wait for signals of a name.
    pub fn hearing<'a>(&'a self, name: &'a str) -> impl Iterator<Item = NodeIx> + 'a {
        let hears = move |ix: &NodeIx| matches!(self.listen(*ix), Some(Listen { to: ListensTo::Signal(it), .. }) if **it == *name);
        self.nodes().map(|(ix, _)| ix).filter(hears)
    }
}

impl Reader<'_> {
    pub(super) fn signal(&self) -> Result<Listen, Problem> {
        let name = self.config.get("name").and_then(Value::as_str);
        let Some(name) = name.filter(|name| is_signal_name(name)) else {
            let what = if name.is_none_or(str::is_empty) {
                "needs the name of the"
            } else {
                "has no name that can be one of a"
            };
            let message = format!("Node \"{}\" {what} signal that it waits for.", shown(&self.node.label));
            let fix = format!(
                "Write name: 1 to {} of the characters A-Z, a-z, 0-9, _, . and -, but not . or .. alone.",
                limits::SIGNAL_NAME_BYTES_MAX
            );
            return Err(self.wrong("name", message, &fix));
        };
        self.listen(ListensTo::Signal(name.into()))
    }

    pub(super) fn webhook(&self) -> Result<Listen, Problem> {
        self.listen(ListensTo::Webhook)
    }

    fn listen(&self, to: ListensTo) -> Result<Listen, Problem> {
        Ok(Listen { to, timeout: self.time()?, schema: self.schema()? })
    }
}

/// Whether a text can be the name of a signal. It stands in addresses, where `.` and `..` mean something else.
pub fn is_signal_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_step = matches!(text, "." | "..");
    (1..=limits::SIGNAL_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) && !is_step
}
