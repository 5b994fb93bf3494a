//! Signals.

use heddle_proto::control;

use crate::dto::signal::SentSignal;

pub(crate) fn sent(sent: &control::SentSignal) -> SentSignal<'_> {
    let control::SentSignal { execution_id, name, seq, delivered, replayed: _ } = sent;
    SentSignal { execution_id, name, seq: *seq, delivered: *delivered }
}
