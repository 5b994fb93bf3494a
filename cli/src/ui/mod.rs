//! What people see: colours, tables, live progress. Results go to stdout, everything else to stderr.

pub mod clock;
pub mod progress;
pub mod style;
pub mod table;
pub mod transfer;
pub mod tree;
pub mod waterfall;

use std::io::{self, Write};

use crate::error::{Context, Exit, Result};

/// Writes a line to stdout. A reader that left (`| head`) is no failure.
pub fn print(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context(Exit::Failed, "cannot write to the standard output"),
    }
}

/// Writes a value to stdout as one line of JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&serde_json::to_string(value).context(Exit::Failed, "cannot write the result as JSON")?)
}

/// Writes a line to stderr, if anybody reads it.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
