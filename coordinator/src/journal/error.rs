//! What can go wrong between the journal and its caller.

use std::path::PathBuf;

use heddle_core::id::{EventSeq, PartitionId, RunId};
use thiserror::Error;

use super::codec::DecodeError;

/// Why the journal did not do or say what was asked.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process has the data folder.
    #[error("the data folder {} is in use: stop the other process, or name another folder", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// A newer release wrote the data.
    #[error(
        "the data has format {found} and this release knows up to {known}: start the release that wrote it, or a newer one"
    )]
    NewerFormat {
        /// The format found.
        found: i64,
        /// The newest format that this release knows.
        known: i64,
    },
    /// The number of partitions is out of range.
    #[error("{asked} partitions are not possible: choose from 1 to {max}")]
    PartitionCount {
        /// What was asked for.
        asked: u16,
        /// The most that are possible.
        max: u16,
    },
    /// There is no such partition.
    #[error("there is no partition {partition}: ask a coordinator for the partition map")]
    UnknownPartition {
        /// The one asked for.
        partition: PartitionId,
    },
    /// Another start of a coordinator has taken the partition.
    #[error(
        "another coordinator has taken partition {partition}: only one may run on a database, so stop one of the two for good"
    )]
    TakenOver {
        /// The one that was taken.
        partition: PartitionId,
    },
    /// A row of a run's history cannot be understood.
    #[error("a run's history cannot be read")]
    Event {
        /// The row, and what is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// A row beside the histories cannot be understood.
    #[error("a row of {table} cannot be understood ({what}): restore it from a backup, or report this with the row")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A reference names a value that is not there.
    #[error("event {seq} of {run} has no value at place {place}: please report this with the run's history")]
    NoValue {
        /// The run.
        run: RunId,
        /// The event.
        seq: EventSeq,
        /// The place in its body.
        place: u32,
    },
    /// The database refused.
    #[error("the database could not {doing}: see its reason, then check that it runs and that its disk has space")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The database's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file beside the database could not be used.
    #[error("{} could not be used: check that it exists and who may read and write it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The journal has stopped: the process is about to end.
    #[error("the journal has stopped: the process is ending, ask again when it is back")]
    Stopped,
}

impl JournalError {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            JournalError::Locked { .. } => "data_folder_locked",
            JournalError::NewerFormat { .. } => "data_format_newer",
            JournalError::PartitionCount { .. } => "partition_count",
            JournalError::UnknownPartition { .. } => "partition_unknown",
            JournalError::TakenOver { .. } => "partition_taken",
            JournalError::Event { source: DecodeError::UnknownKind { .. } | DecodeError::UnknownVersion { .. } } => {
                "event_unknown"
            }
            JournalError::Event { .. } => "event_corrupt",
            JournalError::Row { .. } => "row_corrupt",
            JournalError::NoValue { .. } => "value_missing",
            JournalError::Database { .. } => "database_failed",
            JournalError::File { .. } => "data_file_failed",
            JournalError::Stopped => "journal_stopped",
        }
    }
}
