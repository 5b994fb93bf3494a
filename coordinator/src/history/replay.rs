//! Reading an exported history: whether it is whole, and how its run stood after any of its events. The engine's fold does it,
//! without a database.

use std::io::{BufRead, Read as _};
use std::sync::Arc;

use heddle_core::graph::{Compile, Graph, TypeCatalogue};
use heddle_core::id::{EventSeq, RunId};
use heddle_core::node_type::NodeType;
use heddle_core::run::view::RunView;
use heddle_core::run::{Corrupt, Run};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{End, EventLine, FORMAT, Head, digest};
use crate::graphs;
use crate::journal::codec::{self, DecodeError, Row};
use crate::limits::EXPORT_LINE_BYTES_MAX;
use crate::read::event_json::show;
use crate::read::scopes::Scopes;

/// A history out of a file, whole: its hash, its order and the checksum of each row are right.
#[derive(Debug)]
pub struct History {
    pub(super) head: Head,
    pub(super) run: RunId,
    pub(super) graph: Arc<Graph>,
    pub(super) rows: Vec<Row>,
}

/// A run as far as its history was folded.
#[derive(Debug)]
pub struct Replayed {
    pub(super) run: Run,
    pub(super) last: EventSeq,
    /// When that was.
    at: Timestamp,
}

impl Replayed {
    /// When the last event was that was folded, in milliseconds since 1970.
    pub fn at_ms(&self) -> i64 {
        self.at.as_millis()
    }

    /// The last event that was folded.
    pub fn last(&self) -> u64 {
        self.last.0
    }
}

/// Why a file is no whole history.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is something else.
    #[error(
        "this is no exported run: its first line does not say so; make one with `heddle executions export ID -o FILE`"
    )]
    NotAnExport,
    /// A newer release wrote it.
    #[error(
        "the export has form {found}, and this release reads up to {FORMAT}: use the release that wrote it, or a newer one"
    )]
    Newer {
        /// Its form.
        found: u32,
    },
    /// A line is none.
    #[error("line {line} is damaged ({what}): export the run again, or take another copy of the file")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Which part of it.
        what: &'static str,
    },
    /// A row is damaged.
    #[error("line {line} is damaged: {source}")]
    Event {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An event is missing or twice.
    #[error("line {line} has event {found} where event {expected} should be: the file has lost or changed lines")]
    Gap {
        /// Its number, from 1.
        line: u64,
        /// The event that follows.
        expected: u64,
        /// The one that is there.
        found: u64,
    },
    /// What people read of an event is not what the event says.
    #[error(
        "line {line} shows something else than the event in it (its \"type\" or \"data\"): it was changed, or another release \
         wrote the file; export the run again"
    )]
    Shown {
        /// Its number, from 1.
        line: u64,
    },
    /// It has no end.
    #[error("the file ends before its last line: it was cut off; export the run again")]
    CutOff,
    /// It is not what was written.
    #[error("the hash over the file is not the one that its last line says: something in it was changed")]
    Hash,
    /// The graph is not the one that the run was started with.
    #[error("the graph of the export cannot be used: {0}")]
    Graph(String),
    /// The events do not follow from each other.
    #[error("the history does not follow: {0}")]
    Corrupt(#[from] Corrupt),
    /// There is no such event.
    #[error("the history has {events} events: choose one from 1 to {events}")]
    NoEvent {
        /// How many there are.
        events: u64,
    },
}

impl History {
    /// Reads a history to its end.
    ///
    /// # Errors
    /// [`ReplayError`]; it names the first fault.
    pub fn read(file: impl BufRead) -> Result<Self, ReplayError> {
        let mut lines = Lines { file, hash: Sha256::new(), number: 0 };
        let first = lines.next()?.ok_or(ReplayError::NotAnExport)?;
        let head = head(&first)?;
        let run: RunId = head.run.id.parse().map_err(|_| ReplayError::Line { line: 1, what: "the run's id" })?;
        let graph = Arc::new(compile(&head)?);
        let (mut rows, mut scopes): (Vec<Row>, _) = (Vec::new(), Scopes::new(run, Arc::clone(&graph)));
        loop {
            let before = hex(lines.hash.clone());
            let line = lines.next()?.ok_or(ReplayError::CutOff)?;
            let number = lines.number;
            let damaged = |what| ReplayError::Line { line: number, what };
            if line.starts_with(b"{\"seq\":") {
                let event: EventLine = serde_json::from_slice(&line).map_err(|_| damaged("its JSON"))?;
                let expected = rows.len() as u64 + 1;
                if event.seq != expected {
                    return Err(ReplayError::Gap { line: number, expected, found: event.seq });
                }
                let row = event.row(run).map_err(damaged)?;
                let decoded = codec::decode(&row).map_err(|source| ReplayError::Event { line: number, source })?;
                scopes.step(run, &decoded);
                let shown = show(&scopes, &decoded);
                if (shown.r#type, &shown.data_json[..]) != (event.name, event.data.get().as_bytes()) {
                    return Err(ReplayError::Shown { line: number });
                }
                rows.push(row);
            } else if line.starts_with(b"{\"end\":") {
                let End { end } = serde_json::from_slice(&line).map_err(|_| damaged("its JSON"))?;
                let head_hash = codec::head_hash(rows.last()).to_string();
                if (end.events, end.head_hash, end.sha256) != (rows.len() as u64, head_hash, before) {
                    return Err(ReplayError::Hash);
                }
                return match lines.next()? {
                    None => Ok(Self { head, run, graph, rows }),
                    Some(_) => Err(ReplayError::Line { line: lines.number, what: "it comes after the end" }),
                };
            } else if !line.starts_with(b"{\"artifact\":") {
                return Err(damaged("it is no event"));
            }
        }
    }

    /// Which run.
    pub fn run(&self) -> String {
        self.run.to_string()
    }

    /// How many events it has.
    pub fn events(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Folds the history up to and with event `at`, or to its end.
    ///
    /// # Errors
    /// The events do not follow from each other, or there is no event `at`.
    pub fn replay(&self, at: Option<u64>) -> Result<Replayed, ReplayError> {
        let events = self.events();
        let count = at.unwrap_or(events);
        if count == 0 || count > events {
            return Err(ReplayError::NoEvent { events });
        }
        let mut view: Option<RunView> = None;
        for (line, row) in (2..).zip(&self.rows[..count as usize]) {
            let event = codec::decode(row).map_err(|source| ReplayError::Event { line, source })?;
            match &mut view {
                None => view = Some(RunView::begin(self.run, Arc::clone(&self.graph), &event)?),
                Some(view) => view.step(&event)?,
            }
        }
        let view = view.ok_or(ReplayError::NoEvent { events })?;
        let at = self.rows[..count as usize].last().map_or(Timestamp::from_millis(0), |row| row.at);
        Ok(Replayed { run: view.run().clone(), last: view.seq(), at })
    }
}

fn head(line: &[u8]) -> Result<Head, ReplayError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        heddle_export: u32,
    }
    let Form { heddle_export } = serde_json::from_slice(line).map_err(|_| ReplayError::NotAnExport)?;
    if heddle_export > FORMAT {
        return Err(ReplayError::Newer { found: heddle_export });
    }
    serde_json::from_slice(line).map_err(|_| ReplayError::Line { line: 1, what: "its JSON" })
}

/// The graph of a history, which is the one that its run has pinned.
fn compile(head: &Head) -> Result<Graph, ReplayError> {
    let wrong = |what: String| ReplayError::Graph(what);
    let mut types = TypeCatalogue::new();
    for it in &head.types {
        types
            .add_manifest(it.manifest.as_bytes())
            .map_err(|error| wrong(format!("the manifest of {}: {error}", it.id)))?;
    }
    let graph = &head.graph;
    let draft = graphs::draft(graph.nodes.as_bytes(), graph.edges.as_bytes(), graph.policy.as_bytes());
    let first = |problems: Vec<heddle_core::graph::Problem>| {
        wrong(problems.into_iter().next().map_or_else(String::new, |problem| problem.message))
    };
    let draft = draft.map_err(first)?;
    if Some(draft.stored().digest()) != digest(&graph.digest) {
        return Err(wrong("its digest is another".into()));
    }
    let check_config = |_: &NodeType, _: &str| Vec::new();
    let compile = Compile { strict: false, complete: false, check_config: &check_config };
    Graph::compile(&draft, &types, compile).map(|compiled| compiled.graph).map_err(first)
}

/// Lines with their number, and the hash over those that were read.
struct Lines<F> {
    file: F,
    hash: Sha256,
    number: u64,
}

impl<F: BufRead> Lines<F> {
    /// The next line, without its end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ReplayError> {
        let mut line = Vec::new();
        let most = EXPORT_LINE_BYTES_MAX as u64 + 1;
        (&mut self.file).take(most).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        self.hash.update(&line);
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            _ if line.len() as u64 + 1 >= most => {
                Err(ReplayError::Line { line: self.number, what: "it is longer than any line is" })
            }
            _ => Err(ReplayError::CutOff),
        }
    }
}

pub(crate) fn hex(hash: Sha256) -> String {
    Digest(hash.finalize().into()).to_string()
}
