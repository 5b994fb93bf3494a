//! A run's history as one file: its form, and reading it without a coordinator.
//!
//! JSON lines: a [`Head`] with the run, its graph and the manifests of its node types; a line for each event, as the events API shows
//! it and with the bytes of its row; a line for each artifact that the run refers to; and an [`End`] with a hash over all before it.

mod place;
mod replay;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use self::replay::hex;
pub use self::replay::{History, ReplayError, Replayed};

use crate::journal::codec::Row;

/// The form that this release writes; it reads all up to it.
pub(crate) const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) heddle_export: u32,
    pub(crate) run: HeadRun,
    pub(crate) graph: HeadGraph,
    /// Manifests of the node types that the graph names, each as the text that an agent brought.
    pub(crate) types: Vec<HeadType>,
}

/// The run, as its row has it. Times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadRun {
    pub(crate) id: String,
    pub(crate) workflow_id: String,
    pub(crate) subject: String,
    pub(crate) status: String,
    pub(crate) created_at: i64,
    pub(crate) ended_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) batch_id: Option<String>,
}

/// The document, byte for byte: its digest is over these texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadGraph {
    pub(crate) digest: String,
    pub(crate) nodes: String,
    pub(crate) edges: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) policy: String,
}

/// A node type's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadType {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) manifest: String,
}

/// A line for an event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventLine {
    pub(crate) seq: u64,
    /// As the events API has it.
    #[serde(rename = "type")]
    pub(crate) name: String,
    pub(crate) data: Box<RawValue>,
    /// The row: milliseconds since 1970, hexadecimal digits, and base 64.
    pub(crate) at: i64,
    pub(crate) kind: u16,
    pub(crate) version: u16,
    pub(crate) crc: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A line for an artifact.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArtifactLine {
    pub(crate) artifact: ArtifactOf,
}

/// An artifact that the run refers to; its bytes are not here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArtifactOf {
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    pub(crate) media_type: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) end: Sum,
}

/// What all lines before the last come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sum {
    pub(crate) events: u64,
    /// A hash over the last row: what a tombstone of the run keeps.
    pub(crate) head_hash: String,
    /// SHA-256 over all lines before this one, their ends of lines included.
    pub(crate) sha256: String,
}

impl EventLine {
    /// The line of a row, which has its body, with what the events API shows of it.
    pub(crate) fn new(row: &Row, name: String, data: Box<RawValue>) -> Self {
        Self {
            seq: row.seq.0,
            name,
            data,
            at: row.at.as_millis(),
            kind: row.kind,
            version: row.version,
            crc: format!("{:016x}", row.crc),
            head: STANDARD.encode(&row.head),
            body: STANDARD.encode(row.body.as_deref().unwrap_or_default()),
        }
    }

    /// The row of a line; the name of the part that makes none.
    pub(crate) fn row(&self, run: RunId) -> Result<Row, &'static str> {
        let bytes = |text: &str, what| STANDARD.decode(text).map(Bytes::from).map_err(|_| what);
        Ok(Row {
            run,
            seq: EventSeq(self.seq),
            kind: self.kind,
            version: self.version,
            at: Timestamp::from_millis(self.at),
            crc: u64::from_str_radix(&self.crc, 16).map_err(|_| "crc")?,
            head: bytes(&self.head, "head")?,
            body: Some(bytes(&self.body, "body")?),
        })
    }
}

/// A digest as a line has it.
pub(crate) fn digest(text: &str) -> Option<Digest> {
    let digit = |place: usize| u8::from_str_radix(text.get(place..place + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(digit).collect();
    (text.len() == 64).then_some(bytes?.try_into().ok().map(Digest)).flatten()
}
