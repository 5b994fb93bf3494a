//! What an output for a text makes of what is none: a number, true or false and JSON become their compact JSON text (graph.md,
//! part 1), as they do where an agent takes a text. The value alone says what it is, whoever gave it or passed it on.

use super::control::PORT;
use super::{Body, Run, Values};
use crate::graph::json;
use crate::id::Instance;
use crate::limits;
use crate::run::event::{OutputValue, PortOutput};
use crate::value::{Value, ValueRef};

impl Run {
    /// The value that an output for a text has to look at; nothing where it gives what comes as it is.
    pub(super) fn to_be_text(&self, instance: Instance) -> Option<ValueRef> {
        if !self.graph.makes_text(instance.node) {
            return None;
        }
        let input = self.wired_inputs(instance).into_iter().find(|input| input.port == PORT)?;
        let [sourced] = input.values.as_slice() else { return None };
        match sourced.value {
            OutputValue::One(reference) => Some(*reference),
            _ => None,
        }
    }

    /// What an output gives.
    pub(super) fn decide_output(&self, instance: Instance, values: &Values, body: &mut Body) -> Vec<PortOutput> {
        let value = self.to_be_text(instance).and_then(|reference| values.get(&reference)).and_then(text_of);
        match value {
            Some(text) => vec![PortOutput { port: PORT, value: OutputValue::One(body.put(text)) }],
            None => self.pass_on(instance, body),
        }
    }
}

/// A value as the text of its JSON; nothing if it is a text, or is too large to be written anew.
fn text_of(value: &Value) -> Option<Value> {
    let first = value.json().first().filter(|_| value.artifact().is_none())?;
    if matches!(first, b'"' | b'n') {
        return None;
    }
    let text = serde_json::Value::from(json::compact(value.json()).ok()?).to_string();
    (text.len() <= limits::INLINE_VALUE_BYTES_MAX).then(|| Value::from_json(text.into()))
}
