//! `heddle completion`: the shell's completion script.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Command;
use crate::error::Result;

/// Print the completion script of a shell
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    /// Writes the script to stdout.
    pub fn run(self) -> Result<()> {
        clap_complete::generate(self.shell, &mut Command::command(), "heddle", &mut io::stdout());
        Ok(())
    }
}
