//! `heddle completion`: what makes a shell complete command lines.

use std::io;

use clap::Args;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::error::{Context, Exit, Failure, Result};

/// The variable by which the script calls this program back.
pub const VARIABLE: &str = "COMPLETE";

/// Print the completion script of a shell
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    /// Writes the script to stdout. It asks this program for candidates, so it fits its version and knows ids.
    pub fn run(self) -> Result<()> {
        let name = self.shell.to_string();
        let shells = Shells::builtins();
        let shell = shells.completer(&name).ok_or_else(|| Failure::usage(format!("no completion for {name}")))?;
        let called = std::env::args().next().unwrap_or_else(|| "heddle".to_owned());
        // A relative path would mean something else in another folder.
        let program = match called.contains('/') {
            true => std::path::absolute(&called).map_or(called, |path| path.display().to_string()),
            false => called,
        };
        let mut script = Vec::new();
        shell
            .write_registration(VARIABLE, "heddle", "heddle", &program, &mut script)
            .context(Exit::Failed, "cannot write the script")?;
        if self.shell == Shell::Bash {
            // Bash takes a colon for the end of a word, and node types have one.
            script.extend_from_slice(b"COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n");
        }
        match io::Write::write_all(&mut io::stdout(), &script) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context(Exit::Failed, "cannot write to the standard output"),
        }
    }
}
