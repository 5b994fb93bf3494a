//! Workflows in WfFormat, in which the WfCommons project keeps recorded workflows of others: tasks, what they wait for, and
//! how long they ran. They become graphs of nodes that wait as long.

mod graph;
mod order;
mod read;

use std::path::Path;

pub use graph::{Import, Priorities, Scale, SleepGraph, SleepNode};

use crate::error::{Failure, Result};
use crate::limits::{IMPORT_FAULTS_MAX, IMPORT_FILE_BYTES_MAX};
use crate::text_file;

/// A recorded workflow whose parts fit together: every parent is there, and no task waits for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its tasks, as they stand in the document.
    pub tasks: Vec<Task>,
}

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id, which no other task has.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How long it ran.
    pub seconds: f64,
    /// The tasks that it waits for, by their places, each once and in order.
    pub parents: Vec<usize>,
}

impl Workflow {
    /// Reads a document of WfFormat 1.5, or 1.6, which only adds to it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = text_file::read(path, IMPORT_FILE_BYTES_MAX)?;
        read::workflow(&text).map_err(|faults| refusal(path, &faults))
    }
}

fn refusal(path: &Path, faults: &[String]) -> Failure {
    let message = format!("{} is not a workflow in WfFormat", path.display());
    let message = match faults {
        [fault] => format!("{message}: {fault}"),
        faults => {
            let left_out = faults.len().saturating_sub(IMPORT_FAULTS_MAX);
            let mut lines: Vec<String> = faults.iter().take(IMPORT_FAULTS_MAX).map(ToString::to_string).collect();
            lines.extend((left_out > 0).then(|| format!("and {left_out} more")));
            format!("{message}:\n  - {}", lines.join("\n  - "))
        }
    };
    Failure::usage(message).with_next("give a document of WfFormat 1.5 in which every task has a run time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_faults_are_counted() {
        let faults: Vec<String> = (0..IMPORT_FAULTS_MAX + 3).map(|number| format!("fault {number}")).collect();
        let failure = refusal(Path::new("w.json"), &faults);
        assert!(failure.message.contains("\n  - fault 19\n  - and 3 more"), "{}", failure.message);
        let failure = refusal(Path::new("w.json"), &faults[..1]);
        assert_eq!(failure.message, "w.json is not a workflow in WfFormat: fault 0");
    }
}
