//! What people see: colours, tables, live progress. Results go to stdout, everything else to stderr.

pub mod clock;
pub mod next;
pub mod progress;
pub mod style;
pub mod table;
pub mod transfer;
pub mod tree;
pub mod waterfall;

use std::io::{self, Write};
use std::sync::LazyLock;

use crate::error::{Context, Exit, Result};

/// How this program was called, for commands that people are to type next: who built it in a clone has no `heddle` on the
/// path.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| program_of(std::env::args().next().as_deref()));
    &PROGRAM
}

fn program_of(called: Option<&str>) -> String {
    match called {
        Some(path) if path.contains('/') && !path.contains(char::is_whitespace) => {
            let here = std::env::current_dir().ok().and_then(|here| Some(format!("{}/", here.to_str()?)));
            here.and_then(|here| path.strip_prefix(&here)).unwrap_or(path).to_owned()
        }
        _ => "heddle".to_owned(),
    }
}

/// What somebody else has written, as one line that tells a terminal nothing: control characters are spaces.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The same with its own lines and tabs.
pub fn plain(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n' && letter != '\t', " ")
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_speaks_to_the_terminal() {
        let told = "\u{1b}[31mred\u{1b}]0;title\u{7}\nnext\u{9b}2J";
        assert_eq!(one_line(told), " [31mred ]0;title  next 2J");
        assert_eq!(plain(told), " [31mred ]0;title \nnext 2J");
    }

    #[test]
    fn commands_to_type_next_begin_as_this_one_did() {
        let here = std::env::current_dir().unwrap();
        let inside = here.join("target/release/heddle");
        assert_eq!(program_of(inside.to_str()), "target/release/heddle");
        assert_eq!(program_of(Some("target/debug/heddle")), "target/debug/heddle");
        assert_eq!(program_of(Some("/usr/local/bin/heddle")), "/usr/local/bin/heddle");
        for plain in [None, Some("heddle"), Some("/with space/heddle")] {
            assert_eq!(program_of(plain), "heddle");
        }
    }
}
