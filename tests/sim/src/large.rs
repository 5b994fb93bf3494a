//! Large values: what agents put into the artifact store, and what they answer when the engine asks them about it.

use std::collections::BTreeMap;

use bytes::Bytes;
use heddle_core::condition::limits::DELEGATED_COST_MAX;
use heddle_core::condition::question::{ANSWER_PORT, Arrived, ITEMS_PORT, LIST_PORTS, Question, port_of};
use heddle_core::id::RunId;
use heddle_core::limits;
use heddle_core::partition::io::{Dispatch, Input, QUESTION_ITEMS};
use heddle_core::run::ListNeed;
use heddle_core::run::event::{ErrorClass, NodeError};
use heddle_core::run::list::ListPart;
use heddle_core::value::{Artifact, Digest, Value};
use serde_json::Value as Json;

use super::event::{Event, SeatId};
use super::queue::millis;
use super::world::World;

/// The artifact store: texts by their digests.
pub(super) type Artifacts = BTreeMap<Digest, Bytes>;

/// What every large value is said to weigh: its text is short all the same.
const BYTES: u64 = limits::INLINE_VALUE_BYTES_MAX as u64 + 1;

/// A value as its agent gives it.
pub(super) fn value_of(json: &Json, is_large: bool, artifacts: &mut Artifacts) -> Value {
    let text = Bytes::from(json.to_string());
    if !is_large {
        return Value::from_json(text);
    }
    let digest = Digest::of(&text);
    artifacts.insert(digest, text);
    Value::from_artifact(Artifact { digest, bytes: BYTES, media_type: "application/json".into(), is_json: true })
}

/// What an agent finds out for the engine, by port; or why it cannot.
pub(super) fn answer(
    question: &Question,
    dispatch: &Dispatch,
    inputs: &[Json],
) -> Result<Vec<(&'static str, Json)>, NodeError> {
    let mut ports: BTreeMap<String, (bool, Vec<String>)> = BTreeMap::new();
    for (binding, input) in dispatch.inputs.iter().zip(inputs) {
        let port = if binding.port == QUESTION_ITEMS { ITEMS_PORT.to_owned() } else { port_of(binding.port.0.into()) };
        let texts = match input {
            Json::Array(items) if binding.list => items.iter().map(Json::to_string).collect(),
            one => vec![one.to_string()],
        };
        ports.insert(port, (binding.list, texts));
    }
    let arrived = |port: &str| ports.get(port).map(|(list, texts)| Arrived { list: *list, texts });
    let (answer, lists) = question.answer(arrived, &mut { DELEGATED_COST_MAX }).map_err(|unanswered| NodeError {
        class: ErrorClass::InvalidRequest,
        code: unanswered.code.into(),
        message: unanswered.message.into(),
    })?;
    let answer = serde_json::to_value(&answer).expect("an answer can be written");
    let lists = lists.map(|(kept, dropped)| LIST_PORTS.into_iter().zip([kept, dropped])).into_iter().flatten();
    let lists = lists.map(|(port, list)| (port, serde_json::from_str(&list).expect("a list is JSON")));
    Ok(std::iter::once((ANSWER_PORT, answer)).chain(lists).collect())
}

impl World {
    /// A part of a list that lies in the store.
    pub(super) fn read_list(&mut self, id: SeatId, run: RunId, need: ListNeed) {
        let stored = self.store.stored(run).value(&need.reference);
        let text = stored.and_then(|value| self.store.artifacts.get(&value.digest()));
        let Some(part) = text.map(|text| ListPart::of_text(text, need.part)) else {
            let is_gone = self.check.is_quarantined(run) || self.shell.seat(id).is_none();
            return self
                .check
                .expect(is_gone, "E15", || format!("{run}: a list is asked for that is not in the journal"));
        };
        let pause = millis(self.random.between(self.knobs.read_ms));
        self.after(pause, Event::Outcome { seat: id, input: Box::new(Input::ListPart(run, need, Ok(part))) });
    }
}
