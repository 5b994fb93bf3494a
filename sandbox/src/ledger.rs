//! The calls that came.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::limits::LEDGER_MAX;

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// Whose it is.
    pub credential: String,
    /// `POST /v1/chat/completions`
    pub call: String,
    /// The model it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The status it was answered with; none until then, and for good if the caller went away before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<serde_json::Value>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Entry>,
    count: u64,
}

impl Ledger {
    /// Notes a call and gives it its number.
    pub(crate) fn add(&self, entry: Entry) -> u64 {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.count += 1;
        let number = entries.count;
        entries.kept.push_back(Entry { number, ..entry });
        if entries.kept.len() > LEDGER_MAX {
            entries.kept.pop_front();
        }
        number
    }

    /// Notes how a call was answered, unless it is forgotten.
    pub(crate) fn answered(&self, number: u64, status: u16) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(place) = entries.kept.binary_search_by_key(&number, |entry| entry.number) {
            entries.kept[place].status = Some(status);
        }
    }

    pub(crate) fn all(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).kept.iter().cloned().collect()
    }

    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).kept.clear();
    }
}
